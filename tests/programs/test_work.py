"""`linemon work` and `linemon status`: parts run, fail and start again, each for itself."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from linemon.store.folder import read_key
from linemon.store.status import read_part
from tests.pki import Authority
from tests.running import Running, eventually

ROOT = Path(__file__).parents[2]
TOY = """
import asyncio
from pathlib import Path


class Toy:
    settings = None

    def __init__(self, name, folder):
        self.name, self.folder, self.turns = name, folder, 0

    async def run(self):
        self.folder.mkdir(exist_ok=True)
        if (self.folder / "needs").exists():
            import no_such_library.inner
        while not (self.folder / "broken").exists():
            self.turns += 1
            await asyncio.sleep(0.01)
        raise OSError(5, "the toy is broken")

    def state(self):
        return {"behind_s": 1.5, "turns": min(self.turns, 10), "since": "a word of ours", "failed": 3}


def parts(config):
    return [Toy(f"toy.{name}", config.store.folder.parent / name) for name in ("a", "b")]
"""


class Works:
    """A copy of linemon with another part, toy, of which there are two; and processes that run it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for room in ("linemon", "linemon_sender"):
            shutil.copytree(ROOT / room, folder / "tree" / room, ignore=shutil.ignore_patterns("__pycache__"))
        (folder / "tree" / "linemon" / "parts" / "toy.py").write_text(TOY)
        self.config = folder / "linemon.toml"
        self.configure()
        self.log = folder / "log"
        self.started: list[subprocess.Popen[bytes]] = []

    def configure(self, more: str = "") -> None:
        self.config.write_text(f'[store]\npath = "{self.folder}/store"\n{more}')

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "linemon", *arguments, "--config", str(self.config)]

    def start(self, *names: str) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            process = subprocess.Popen(self.command("work", *names), cwd=self.folder / "tree", stderr=log)
        self.started.append(process)
        return process

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments), cwd=self.folder / "tree", capture_output=True, text=True, timeout=60
        )

    def status(self, name: str) -> dict[str, Any]:
        done = self.run("status", "--json")
        found: list[dict[str, Any]] = json.loads(done.stdout)
        assert done.returncode == (0 if all(each["runs"] for each in found) else 1)
        return next(each for each in found if each["part"] == name)

    def until(self, name: str, wanted: Callable[[dict[str, Any]], bool], what: str) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            status = self.status(name)
            return status if wanted(status) else None

        return eventually(look, what)


@pytest.fixture
def works(tmp_path: Path) -> Iterator[Works]:
    works = Works(tmp_path)
    yield works
    for process in works.started:
        process.kill()
        process.wait()


def runs(status: dict[str, Any]) -> bool:
    return bool(status["runs"])


def test_a_part_is_a_file(works: Works) -> None:
    """What lies in parts/ is run and told of; one that fails is started again alone, and says why; Ctrl-C ends all."""
    process = works.start()
    assert works.until("toy.a", lambda each: each.get("turns") == 10, "toy.a works")["behind_s"] == 1.5
    assert "toy.a    runs for" in works.run("status").stdout  # whatever words it says of itself
    works.until("toy.b", runs, "toy.b runs")
    pid = works.status("toy.a")["pid"]
    (works.folder / "a" / "broken").touch()
    failed = works.until("toy.a", lambda each: not each["runs"], "toy.a fails")
    assert "the toy is broken" in failed["failed"]
    assert works.status("toy.b")["runs"]
    assert "the toy is broken" in works.run("status").stdout
    (works.folder / "a" / "broken").unlink()
    again = works.until("toy.a", runs, "toy.a runs again")
    assert again["pid"] == pid
    assert "the toy is broken" in again["failed"]  # the last failure stays in sight
    assert works.log.read_text().count("the toy is broken") == 1  # a line a minute
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0
    assert not works.status("toy.a")["runs"]
    assert not works.status("toy.b")["runs"]


def test_a_part_that_fails_leaves_a_mark(works: Works) -> None:
    """One of all sources for many failures in a row, without the reason, which may name what is secret."""
    running = Running(works.folder / "run")
    try:
        works.config.write_text(running.config.read_text())
        works.start()
        works.until("toy.a", runs, "toy.a runs")
        (works.folder / "run" / "a" / "broken").touch()
        eventually(running.store.marks, "a mark")
        first = works.until("toy.a", lambda each: "failed_at" in each, "toy.a fails")["failed_at"]
        works.until("toy.a", lambda each: each["failed_at"] != first, "toy.a fails again")
        [mark] = running.store.marks()
    finally:
        running.stop()
    assert (mark.kind, mark.source) == ("part", None)
    assert mark.text == "toy.a failed and is started again: linemon status says why"


def test_a_part_whose_library_is_missing_says_what_to_install(works: Works) -> None:
    (works.folder / "a").mkdir()
    (works.folder / "a" / "needs").touch()
    works.start()
    failed = works.until("toy.a", lambda each: "failed" in each, "it fails")
    assert failed["failed"].endswith("-m pip install no_such_library")
    works.until("toy.b", runs, "the other one runs")


def test_a_part_runs_in_one_process_only(works: Works) -> None:
    """A second process says whose it is; after kill -9 the part is free, and told of as not running."""
    process = works.start("toy.a")
    works.until("toy.a", runs, "toy.a runs")
    assert not works.status("toy.b")["runs"]
    second = works.run("work", "toy")
    assert second.returncode == 1
    assert f"toy.a is run by process {process.pid} already" in second.stderr
    works.start("toy.b")
    works.until("toy.b", runs, "the other part has a process of its own")
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not works.status("toy.a")["runs"]
    works.start("toy.a")
    works.until("toy.a", runs, "toy.a runs again")


def test_linemon_toml_is_looked_at_anew(works: Works) -> None:
    """Parts begin and end as it says; what is wrong in it is told of, and changes nothing."""
    works.configure("[history]\nenabled = false\n")
    works.start()
    works.until("toy.a", runs, "toy.a runs")
    assert "history" not in works.run("status").stdout
    works.configure()
    works.until("history", runs, "history begins")
    works.configure("[history]\nevery = 0\n")
    eventually(lambda: "nothing is changed" in works.log.read_text(), "it is said")
    assert "[history] every = 0: expected" in works.log.read_text()
    works.configure("[history]\nevery = 3\n")
    assert works.status("history")["runs"]
    works.configure("[history]\nenabled = false\n")
    eventually(lambda: not (works.folder / "store" / "work" / "history.json").exists(), "history ends")


def test_what_is_not_configured_is_asked_wrongly(works: Works) -> None:
    for arguments in (("work", "forward"), ("work", "toy.c")):
        done = works.run(*arguments)
        assert done.returncode == 2
        assert f"configures no part '{arguments[1]}'; it does: alarms, history, toy.a, toy.b" in done.stderr
    (works.folder / "tree" / "linemon" / "parts" / "toy.py").unlink()
    works.configure("[history]\nenabled = false\n[alarms]\nenabled = false\n")
    assert works.run("work").returncode == 2


# -- what parts write

OFTEN = "[history]\nevery = 0.05\n"
TOKENS = '[[token]]\nsecret = "s"\nsources = ["web*"]\n'


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Collectors of one store, with `linemon work` beside them."""
    started: list[Running] = []
    works: list[subprocess.Popen[bytes]] = []

    def start(settings: str = "") -> Running:
        started.append(Running(tmp_path / "run", settings))
        if not works:
            command = [sys.executable, "-m", "linemon", "work", "--config", str(started[0].config)]
            works.append(subprocess.Popen(command, stderr=(tmp_path / "work.log").open("wb")))
        return started[-1]

    yield start
    for process in works:
        process.terminate()
        assert process.wait(20) == 0
    for running in started:
        running.process.kill()
        running.process.wait()


def rows_of_history(running: Running) -> int:
    """How many rows history has written about itself."""
    return running.store["linemon.history"].rows if "linemon.history" in running.store else 0


@pytest.mark.parametrize("settings", ["", '[tcp]\nlisten = "127.0.0.1:0"\ntoken = "t"\n', TOKENS])
def test_parts_write_whatever_the_port_asks_for(collector: Callable[..., Running], settings: str) -> None:
    """No token, one, or only some that are limited to sources: `work.key` is what a part shows."""
    running = collector(OFTEN + settings)
    eventually(lambda: rows_of_history(running) > 3, "history tells of itself")
    source = running.store["linemon.history"]
    assert source.columns == ("behind_s", "buckets", "late", "late_dropped", "missed", "refused")
    assert source.units == ("s", "", "", "", "", "")
    assert running.status()["rejected"] == {}


def test_parts_write_over_tls(collector: Callable[..., Running], tmp_path: Path) -> None:
    """The collector of the same file is known by its certificate, whatever name that is for."""
    cert, key = Authority(tmp_path).issue("elsewhere.example")
    running = collector(f'{OFTEN}[tls]\ncert = "{cert}"\nkey = "{key}"\n[tcp]\nlisten = "[::1]:0"\ntls = true\n')
    eventually(lambda: rows_of_history(running) > 3, "history tells of itself")


def test_what_a_part_writes_waits_for_the_collector(collector: Callable[..., Running]) -> None:
    """Each row is there once, also those that were written while no collector ran, or another store was made."""
    running = collector(OFTEN)
    eventually(lambda: rows_of_history(running) > 3, "history tells of itself")
    running.process.kill()
    running.process.wait()
    key = read_key(running.store_path)
    eventually(lambda: read_part(running.store_path, "history").get("unsent", 0) > 5, "rows wait")
    wanted = rows_of_history(running) + read_part(running.store_path, "history")["unsent"]
    again = collector()
    eventually(lambda: rows_of_history(again) >= wanted, "they are sent", 60)
    assert read_key(running.store_path) == key
    rows = again.store["linemon.history"].since(0)
    assert len(rows) > 10
    assert len(set(rows.time.tolist())) == len(rows)
    again.process.kill()
    again.process.wait()
    shutil.rmtree(running.store_path)
    anew = collector(TOKENS)
    eventually(lambda: rows_of_history(anew) > 3, "the part shows the new store's key")


def test_a_target_that_answers_nobody_delays_no_part(collector: Callable[..., Running]) -> None:
    """Where connecting blocks, history goes on, and what it has to say of itself waits."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as deaf, ExitStack() as filling:
        address = deaf.getsockname()
        for _ in range(4):  # what its queue takes, and then one that waits for an answer
            filling.enter_context(sock := socket.socket()).setblocking(False)
            sock.connect_ex(address)
        running = collector(f'{OFTEN}[work]\nto = "{address[0]}:{address[1]}"\n')
        running.say("#source web1\n#columns time v\n" + "".join(f"{1700000000 + at} {at}\n" for at in range(600)))
        eventually(lambda: read_part(running.store_path, "history").get("buckets", 0) >= 9, "history has them")
        eventually(lambda: read_part(running.store_path, "history").get("unsent", 0) > 20, "it goes on")
        assert rows_of_history(running) == 0


def test_the_key_of_parts_opens_what_parts_write(tmp_path: Path) -> None:
    """It is its owner's only, whoever may read the rings, and opens no other source."""
    running = Running(tmp_path / "run", f'readable_by = "everyone"\n{TOKENS}')
    assert (running.store_path / "work.key").stat().st_mode & 0o777 == 0o600
    assert running.store_path.stat().st_mode & 0o777 == 0o755
    key = read_key(running.store_path)
    said = running.say(f"#token {key}\n#errors on\n#source linemon.x\n1\n#source web1~normal\n2\n#source web1\n3\n")
    assert said == "#error 8 token: this token may not write to 'web1'\n"
    assert running.say("#errors on\n#token wrong\n#source linemon.x\n1\n").count("#error") == 2
    assert {"linemon.x", "web1~normal"} <= set(running.store.sources())
    running.stop()
