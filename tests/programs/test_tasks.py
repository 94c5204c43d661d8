"""Tasks through real processes: `linemon work tasks`, its children, a collector; kill -9 in the midst of it."""

from __future__ import annotations

import json
import random
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from linemon.store.status import read_part
from tests.pki import Authority
from tests.running import Running, Work, eventually

ROOT = Path(__file__).parents[2]
ANALYSIS = (ROOT / "docs" / "ANALYSIS.md").read_text()


class House:
    """A collector and `linemon work tasks`, of a folder with linemon.toml and files of tasks."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def start(self, text: str, **files: str) -> None:
        self.folder.chmod(0o700)
        for name, code in files.items():
            (self.folder / f"{name}.py").write_text(code)
        self.running = Running(self.folder, f'{text}\n[work]\nstate = "{self.folder}/state"\n')
        self.work = Work(self.running.config, "tasks").start()

    def kill(self) -> None:
        self.work.kill()
        self.work.start()

    def stop(self) -> None:
        if hasattr(self, "running"):
            self.work.kill()
            self.running.stop()

    def rows(self, source: str, columns: str, rows: Sequence[tuple[float, ...]]) -> None:
        """Each a time in s since the epoch, and values."""
        lines = "".join(f"{at:.3f} {' '.join(map(str, values))}\n" for at, *values in rows)
        self.running.say(f"#source {source}\n#columns time {columns}\n{lines}")

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.running.run("tasks", *arguments)

    def tasks(self) -> dict[str, dict[str, Any]]:
        return {each["name"]: each for each in json.loads(self.run("--json").stdout)}

    def until(self, name: str, wanted: Callable[[dict[str, Any]], object], what: str, deadline_s: float = 60) -> Any:
        def look() -> dict[str, Any] | None:
            found = self.tasks()[name]
            return found if wanted(found) else None

        return eventually(look, what, deadline_s)

    def column(self, source: str, column: str) -> list[float]:
        found: list[float] = self.running.store[source].between()[column].tolist()
        return found

    def ends(self, source: str, column: str, value: float) -> None:
        """Wait until the newest row has this value."""
        eventually(lambda: self.column(source, column)[-1:] == [value], f"{value} in {source}", 60)

    def takes(self, name: str, count: int) -> None:
        """Wait until a task was given so many rows."""
        self.until(name, lambda each: each["rows_in"] >= count, "rows are taken")

    def listens(self) -> None:
        eventually((self.running.store_path / "work.sock").exists, "tasks run")


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    yield house
    house.stop()


def task(name: str, run: str, when: str = "daily at 02:30", inputs: str = "room*:*", more: str = "") -> str:
    return f'[[task]]\nname = "{name}"\nrun = "{run}"\ninputs = ["{inputs}"]\nwhen = "{when}"\n{more}\n'


def blocks(language: str) -> list[str]:
    """The examples in the docs."""
    return re.findall(rf"```{language}\n(.*?)```", ANALYSIS, re.S)


def test_a_user_writes_two_tasks(house: House) -> None:
    """As the docs say it: the file, its test, the settings; one runs by hand, one by itself, and a changed one anew."""
    [mine] = [each for each in blocks("python") if "def smooth" in each]
    [tested] = [each for each in blocks("python") if "def test_power" in each]
    [settings] = [each for each in blocks("toml") if "tasks/mine.py" in each]
    exec(compile(mine + tested + "test_power()", "mine.py", "exec"), {})
    (house.folder / "tasks").mkdir(mode=0o700)
    (house.folder / "tasks" / "mine.py").write_text(mine)
    house.start(settings)
    assert house.running.run("check").returncode == 0
    now = time.time()
    house.rows("room1", "volts:V amps:A", [(now - 60 + i, 230, i) for i in range(30)])
    house.until("smooth", lambda each: each["behind_s"] is not None, "smooth runs")
    house.rows("room1", "volts:V amps:A", [(now - 30 + i, 200 + i % 2, 1) for i in range(5)])
    dry = house.run("run", "power", "--dry")
    assert dry.stdout.splitlines()[0] == "time,power", dry.stderr
    assert dry.stdout.splitlines()[2].endswith(",690.0")
    done = house.run("run", "power")
    assert done.stdout == "power: 1 sources, 35 rows read, 35 written\n", done.stderr
    (house.folder / "room1.csv").write_text(house.running.run("export", "room1").stdout)
    for name, rows in (("power", 35), ("smooth", 35)):  # of files, without a collector; an online task begins anew
        of_file = house.run("run", name, "--dry", "--from", str(house.folder / "room1.csv"))
        assert len(of_file.stdout.splitlines()) == 1 + rows, of_file.stderr
    power = eventually(lambda: house.running.store["room1~power"], "power")
    eventually(lambda: power.rows == 35, "all rows")
    assert (power.columns, power.units) == (("power",), ("W",))
    assert house.run("run", "power").stdout.endswith(" 0 written, 35 left out, as there are later ones\n")
    smooth = eventually(lambda: house.running.store["room1~smooth"], "smooth")
    eventually(lambda: smooth.rows >= 5, "its rows")
    assert smooth.last(5)["smooth"][0] in (230.0, 200.0)  # the rows before it began, or not
    (house.folder / "tasks" / "mine.py").write_text(
        mine.replace('{"smooth:V": np.array(smoothed)}', '{"smooth:V": np.full(len(smoothed), -1.0)}')
    )

    def is_new() -> bool:
        house.rows("room1", "volts:V amps:A", [(time.time(), 230, 1)])
        return house.column("room1~smooth", "smooth")[-1] == -1.0

    eventually(is_new, "the file that was changed is taken up")
    house.work.stop()
    assert "sources" in house.run().stdout or "power" in house.run().stdout


ONLINE = """
import time
import numpy as np
from linemon.tasks import task

@task(online=True)
def copy(rows, state):
    time.sleep(0.01)
    seen = state.get("seen", 0) + np.arange(1, len(rows) + 1)
    state["seen"] = seen[-1]
    return {"n": rows["n"], "seen": seen}

@task
def slow(rows):
    time.sleep(0.2)
    return {"n": rows["n"]}
"""


def test_killed_in_the_midst_of_runs(house: House) -> None:
    """kill -9 at any moment, again and again: each row of an online task and of an offline one is there once."""
    settings = task("copy", "mine.py:copy", "rows") + task("slow", "mine.py:slow", "every 10s") + "[tasks]\nsave = 1\n"
    house.start(settings, mine=ONLINE)
    chance, n = random.Random(1), 0
    rooms = ("room1", "room2", "room3")
    house.until("copy", lambda each: each["behind_s"] is not None, "online tasks run")
    end = time.monotonic() + 40
    killed = 0
    kill_at = time.monotonic() + 3
    while time.monotonic() < end:
        n += 1
        for room in rooms:
            house.rows(room, "n", [(time.time(), n)])
        time.sleep(0.05)
        if time.monotonic() > kill_at:
            house.kill()
            killed += 1
            kill_at = time.monotonic() + chance.uniform(1.0, 6.0)
    assert killed >= 5
    for room in rooms:
        house.ends(f"{room}~copy", "n", n)
        assert house.column(f"{room}~copy", "n") == list(range(1, n + 1))
        assert house.column(f"{room}~copy", "seen") == list(range(1, n + 1))  # the state goes on
    done = house.until(
        "slow", lambda each: each["runs"] and each["last"] > iso(time.time() - 1), "a run after the last row"
    )
    assert done["failed"] == 0
    for room in rooms:
        house.ends(f"{room}~slow", "n", n)
        assert house.column(f"{room}~slow", "n") == list(range(1, n + 1))
    assert house.running.status()["rejected"] == {}
    assert house.running.status()["lost"] == 0
    house.work.stop()
    assert not list((house.folder / "state" / "tasks" / "out").iterdir())


def iso(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at))


ENDLESS = """
import os, subprocess, time

def endless(rows):
    if rows.source == "room1":
        child = subprocess.Popen(["sleep", "1000"])
        open(os.path.join(os.path.dirname(__file__), "pid"), "w").write(str(child.pid))
        while True:
            pass
    return {"n": rows["n"]}

def dies(rows):
    if rows.source == "room1":
        os.kill(os.getpid(), 11)
    return {"n": rows["n"]}

def eats(rows):
    if rows.source == "room1":
        bytearray(2 << 30)
    return {"n": rows["n"]}
"""


def test_a_run_that_never_ends_is_killed(house: House) -> None:
    """With all that it has started; so is one that dies, or takes too much memory. It costs that source alone."""
    names = ("endless", "dies", "eats")
    house.start("".join(task(name, f"mine.py:{name}", more='timeout = "1s"') for name in names), mine=ENDLESS)
    house.listens()
    for room in ("room1", "room2"):
        house.rows(room, "n", [(time.time() - 1, 7)])
    says = {"endless": "not done after 1 s: killed", "dies": "was killed by SIGSEGV", "eats": "MemoryError"}
    for name in names:
        done = house.run("run", name)
        assert done.returncode == 1
        assert f"{name}: 1 sources, 1 rows read, 1 written; 1 failed: room1: " in done.stderr
        assert says[name] in done.stderr
        house.ends(f"room2~{name}", "n", 7.0)
        house.until(name, lambda each: each["failed"] == 1, "it is counted")
    pid = int((house.folder / "pid").read_text())
    eventually(
        lambda: not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text(), "its child is gone"
    )
    assert not [name for name in house.running.store.sources() if name.startswith("room1~")]


RAISING = """
from linemon.tasks import task

def first(rows):
    raise ValueError("this is wrong")

def second(rows):
    return {"n": rows["n"]}

@task(online=True)
def moody(rows, state):
    if (rows["n"] == 13).any():
        raise KeyError("thirteen")
    return {"n": rows["n"]}
"""


def test_a_task_that_raises(house: House) -> None:
    """The traceback is logged once; each failure is counted, one is marked; what comes after it is skipped."""
    settings = task("first", "mine.py:first", "every 10s") + task("moody", "mine.py:moody", "rows")
    settings += task("second", "mine.py:second", "every 10s", more='after = ["first"]')
    house.start(settings, mine=RAISING)
    house.until("moody", lambda each: each["behind_s"] is not None, "online tasks run")
    for n in (12, 13, 14):
        house.rows("room1", "n", [(time.time(), n)])
        house.takes("moody", n - 11)
    found = house.until("second", lambda each: each["skipped"] >= 2, "two turns")
    assert "skipped, as first had failed" in found["last_error"]
    assert found["rows_out"] == found["failed"] == 0
    assert house.column("room1~moody", "n") == [12, 14]
    said = house.tasks()
    assert said["first"]["failed"] >= 2
    assert said["first"]["last_error"] == "room1: ValueError: this is wrong"
    assert (said["moody"]["failed"], said["moody"]["missed"]) == (1, 1)
    assert house.work.log.count("Traceback") == 2
    assert house.work.log.count("ValueError: this is wrong") == 2  # what is said, and the last line of the traceback
    eventually(lambda: len(house.running.store.marks()) == 2, "two marks")
    assert {(each.text, each.kind, each.source) for each in house.running.store.marks()} == {
        (f"task {name} failed ({kind}): linemon tasks says more", "task", "room1")
        for name, kind in (("first", "ValueError"), ("moody", "KeyError"))
    }
    for column in ("first.failing", "second.skipped"):
        eventually(lambda column=column: house.column("linemon.tasks", column)[-1] >= 2, "counts")  # type: ignore[misc]
    status = json.loads(house.running.run("status", "--json").stdout)
    [part] = [each for each in status if each["part"] == "tasks"]
    assert any("this is wrong" in each for each in part["failing"])


HANGING = """
import time
from linemon.tasks import task

@task(online=True)
def hangs(rows, state):
    if (rows["n"] == 13).any():
        time.sleep(1000)
    return {"n": rows["n"]}

@task(online=True)
def slow(rows, state):
    end = time.process_time() + 0.2 * len(rows)
    while time.process_time() < end:
        pass
    return {"n": rows["n"]}

@task(online=True)
def well(rows, state):
    return {"n": rows["n"]}
"""


def test_an_online_task_that_hangs(house: House) -> None:
    """All are begun again without it being there, none of the others misses a row, and it is told which one it was."""
    house.start(task("hangs", "mine.py:hangs", "rows") + task("well", "mine.py:well", "rows"), mine=HANGING)
    house.until("well", lambda each: each["behind_s"] is not None, "online tasks run")
    for n in (12, 13, 14, 15):
        house.rows("room1", "n", [(time.time(), n)])
        house.takes("well", n - 12)
    found = house.until("hangs", lambda each: each["failed"], "it is killed")
    assert "not done after 10 s: killed" in found["last_error"]
    eventually(lambda: house.column("room1~well", "n") == [12, 13, 14, 15], "the other one", 60)
    assert house.tasks()["well"]["failed"] == 0


def test_a_budget_is_kept_to(house: House) -> None:
    """A task that needs more than 5 % of a core is given newer rows; what it missed is counted; others go on."""
    house.start(task("slow", "mine.py:slow", "rows") + task("well", "mine.py:well", "rows"), mine=HANGING)
    house.until("well", lambda each: each["behind_s"] is not None, "online tasks run")
    begin, n = time.monotonic(), 0
    while time.monotonic() - begin < 40:
        n += 1
        house.rows("room1", "n", [(time.time(), n)])
        time.sleep(0.25)
    found = house.tasks()["slow"]
    assert found["missed"] > 0
    assert found["rows_in"] * 0.2 < 0.05 * (time.monotonic() - begin + 10) + 1.0
    copied = house.column("room1~slow", "n")
    assert copied == sorted(set(copied))
    assert n - house.column("room1~slow", "n")[-1] < 120  # not behind for good
    house.work.stop()


def test_built_in_tasks(house: House) -> None:
    """Each, on five days of two rooms: what it gives has the columns of the docs, and no row is there twice."""
    names = ("normal", "forecast", "spectrum", "groups")
    tasks = "".join(task(each, f"linemon:{each}", more='over = "7d"') for each in names)
    house.start(f"points = 8000\n{tasks}")
    house.listens()
    now = time.time() // 900 * 900
    at = now - np.arange(5 * 1440, 0, -1) * 60
    day = np.sin(2 * np.pi * at / 86400)
    for room, phase in (("room1", 1.0), ("room2", -1.0)):
        rng = np.random.default_rng(1)
        values = np.stack([20 + phase * day, rng.normal(size=len(at))], 1)
        house.rows(room, "t:°C noise", np.column_stack([at, values]).tolist())
    for each in names:
        done = house.run("run", each)
        assert done.returncode == 0, done.stderr
    store = house.running.store

    def of(name: str) -> Any:
        return eventually(lambda: name in store and store[name].rows and store[name].between(), name)

    normal, forecast, spectrum, found = (of(f"room1~{each}") for each in names)
    for rows, step in ((normal, 900), (forecast, 3600)):
        assert {"t.expected", "t.low", "t.high"} <= set(rows.columns)
        assert rows.units[rows.columns.index("t.high")] == "°C"
        ahead = rows.time.astype("datetime64[s]").astype(np.int64)
        assert (np.diff(ahead) == step).all()
        assert ahead[-1] > now + 80000
        assert np.abs(rows["t.expected"] - (20 + np.sin(2 * np.pi * (ahead + step / 2) / 86400))).max() < 0.2
    assert spectrum["t.period1_s"][0] == pytest.approx(86400, rel=0.05)
    assert len(spectrum) == len(found) == 1
    assert found["t.group"][0] == of("room2~groups")["t.group"][0]
    first = float(found["t.group"][0])
    assert house.run("run", "groups").returncode == 0
    assert float(of("room1~groups")["t.group"][-1]) == first
    assert house.run("run", "groups").stdout.endswith("left out, as there are later ones\n")
    listed = house.running.run("sources", "*").stdout
    assert "room1~normal" not in listed
    assert "room1~normal" in house.running.run("sources").stdout


def test_what_waits_for_the_collector(house: House) -> None:
    """Outputs of a run while the collector is away, and `linemon work` killed meanwhile: they come once it is back."""
    house.start(task("slow", "mine.py:slow"), mine=ONLINE)
    house.listens()
    house.rows("room1", "n", [(time.time() - 10 + i, i) for i in range(5)])
    eventually(lambda: house.running.store["room1"].rows == 5, "rows")
    house.running.process.kill()
    house.running.process.wait(20)
    assert house.run("run", "slow").stdout == "slow: 1 sources, 5 rows read, 5 written\n"
    assert list((house.folder / "state" / "tasks" / "out").glob("*.run"))
    house.kill()
    again = Running(house.folder)
    try:
        eventually(lambda: again.store["room1~slow"].between()["n"].tolist() == [0, 1, 2, 3, 4], "they come", 60)
        eventually(lambda: not list((house.folder / "state" / "tasks" / "out").glob("*.run")), "nothing waits")
    finally:
        again.stop()


def test_outputs_go_over_tls_with_the_secret_of_parts(house: House) -> None:
    """Where tokens are limited to other sources: `work.key` opens outputs, online and offline."""
    cert, key = Authority(house.folder).issue("elsewhere.example")
    settings = f'[tls]\ncert = "{cert}"\nkey = "{key}"\n[tcp]\nlisten = "127.0.0.1:0"\ntls = true\n'
    settings += f'[unix]\npath = "{house.folder}/rooms.sock"\n[[token]]\nsecret = "s3cret"\nsources = ["room*"]\n'
    house.start(settings + task("slow", "mine.py:slow") + task("copy", "mine.py:copy", "rows"), mine=ONLINE)
    house.until("copy", lambda each: each["behind_s"] is not None, "online tasks run")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(house.folder / "rooms.sock"))
        sock.sendall(b"#token s3cret\n#source room1\n#columns n\n7\n")
        sock.shutdown(socket.SHUT_WR)
        sock.makefile("rb").read()
    eventually(lambda: house.running.store["room1"].rows, "a row")
    assert house.run("run", "slow").returncode == 0
    for output in ("room1~slow", "room1~copy"):
        house.ends(output, "n", 7.0)


WIDE = """
import numpy as np
from linemon.tasks import task

@task(online=True)
def copy(rows, state):
    return {"n": rows["n"]}

@task(online=True)
def wide(rows, state):
    return {f"c{i}": rows["n"] for i in range(20)}
"""


def test_an_output_that_cannot_be_taken_holds_up_no_other(house: House) -> None:
    """One beyond `max_sources` waits; one of more columns than a source may have is lost, and that is said."""
    settings = "max_sources = 6\nmax_columns = 15\n[history]\nenabled = false\n"
    settings += task("copy", "mine.py:copy", "rows") + task("wide", "mine.py:wide", "rows", "room1:*")
    house.start(settings, mine=WIDE)
    house.until("copy", lambda each: each["behind_s"] is not None, "online tasks run")
    for room in ("room1", "room2", "room3"):  # with two of linemon's own: one output has room
        house.rows(room, "n", [(time.time(), 1)])
    house.takes("copy", 3)
    eventually(lambda: [name for name in house.running.store.sources() if "~" in name], "an output")
    [taken] = [name for name in house.running.store.sources() if "~" in name]
    for n in (2, 3):
        house.rows(taken.partition("~")[0], "n", [(time.time(), n)])
        house.ends(taken, "n", n)
    eventually(lambda: read_part(house.running.store_path, "tasks").get("lost") == 1, "what is lost is said")
    assert house.column(taken, "n") == [1, 2, 3]


CLUSTER = """
import os, time

def where(rows, seconds=0.0):
    time.sleep(seconds)
    if rows.source == "room9":
        raise ValueError("of the cluster")
    return {"pid": rows["n"] * 0 + os.getpid()}
"""


ITS_PROCESS = """
import sys
from distributed import LocalCluster

if __name__ == "__main__":
    options = dict(threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1", scheduler_port=0)
    with LocalCluster(n_workers=2, **options) as cluster:
        print(cluster.scheduler_address, *(worker.pid for worker in cluster.workers.values()), flush=True)
        sys.stdin.read()
"""


def test_a_dask_cluster(house: House) -> None:
    """Two worker processes: the function runs there; a failure, a time limit, a scheduler that is away are told."""
    pytest.importorskip("distributed", reason="it has no msgpack for this Python yet")
    script = house.folder / "cluster.py"
    script.write_text(ITS_PROCESS)
    with (
        (house.folder / "cluster.log").open("wb") as log,
        subprocess.Popen(
            [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
        ) as cluster,
    ):
        assert cluster.stdout
        address, *workers = cluster.stdout.readline().split()
        settings = f'[tasks]\ndask = "{address}"\n' + task("where", "mine.py:where", more='timeout = "20s"')
        settings += task("long", "mine.py:where", more='timeout = "2s"\noptions = { seconds = 5 }')
        house.start(settings, mine=CLUSTER)
        house.listens()
        for room in ("room1", "room2", "room3", "room9"):
            house.rows(room, "n", [(time.time() - 1, 7)])
        done = house.run("run", "where")
        assert "where: 3 sources, 3 rows read, 3 written; 1 failed: room9: ValueError: of the cluster" in done.stderr
        names = ("room1~where", "room2~where", "room3~where")
        eventually(lambda: all(house.column(name, "pid") for name in names), "all of them")
        pids = {house.column(name, "pid")[0] for name in names}
        assert pids <= set(map(float, workers))
        late = house.run("run", "long", "--source", "room1")
        assert "not done after 2 s; the cluster may go on with it" in late.stderr
    house.rows("room1", "n", [(time.time(), 8)])
    gone = house.run("run", "where", "--source", "room1")
    assert gone.returncode == 1
    assert "0 sources" in gone.stderr
    assert len(house.column("room1~where", "pid")) == 1  # nothing ran here in its place
