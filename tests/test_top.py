"""`linemon top` in a real terminal (tmux): what it shows, its keys, and how it leaves the terminal."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from linemon.cli._screen import alarmed, number
from linemon.store.liveness import OWN
from linemon.store.writer import StoreWriter
from tests.running import Running, arrive, command, eventually


class Terminal:
    """A terminal of 80 times 24 characters with a shell in it, in which `linemon top` was called."""

    def __init__(self, folder: Path, config: Path) -> None:
        """The variables COLUMNS and LINES are as some parents leave them behind; they are not to count."""
        self._socket = folder / "tmux"
        line = shlex.join(command("top", "--config", str(config)))
        self.tmux("-f", "/dev/null", "new-session", "-d", "-x", "80", "-y", "24", "env PS1='> ' COLUMNS=80 LINES=24 sh")
        self.type(f"{line}; echo ended $?", "Enter")
        self.shows("newest values")

    def tmux(self, *words: str) -> str:
        whole = ["tmux", "-S", str(self._socket), *words]
        return subprocess.run(whole, check=True, capture_output=True, text=True, timeout=20).stdout

    def type(self, *keys: str) -> None:
        self.tmux("send-keys", *keys)

    def resize(self, width: int, height: int) -> None:
        self.tmux("resize-window", "-x", str(width), "-y", str(height))

    @property
    def screen(self) -> list[str]:
        return self.tmux("capture-pane", "-p").split("\n")

    def shows(self, *texts: str) -> list[str]:
        """The screen once it has all these."""

        def look() -> list[str] | None:
            screen = self.screen
            return screen if all(text in "\n".join(screen) for text in texts) else None

        try:
            return eventually(look, f"{texts} on the screen")
        except AssertionError:
            raise AssertionError(f"no {texts} in\n" + "\n".join(self.screen)) from None

    @property
    def process(self) -> psutil.Process:
        shell = psutil.Process(int(self.tmux("list-panes", "-F", "#{pane_pid}")))
        return eventually(shell.children, "the process")[0]

    def is_clean(self) -> bool:
        """Whether it is the shell's again: its own screen, a cursor, and what is typed can be seen."""
        self.type("echo it is $((40 + 2))")
        self.shows("> echo it is $((40 + 2))")
        self.type("Enter")
        self.shows("it is 42")
        return self.tmux("display", "-p", "#{alternate_on} #{cursor_flag}") == "0 1\n"


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Callable[[Path], Terminal]]:
    opened: list[Terminal] = []

    def start(config: Path) -> Terminal:
        opened.append(Terminal(tmp_path, config))
        return opened[-1]

    yield start
    for each in opened:
        each.tmux("kill-server")


@pytest.mark.slow
def test_rows_move_and_keys_work(collector: Running, terminal: Callable[[Path], Terminal]) -> None:
    """Values come as they are stored; the screen fits its window; it can be gone through, searched and left."""
    collector.say("".join(f"room{n}.temperature {n}\n" for n in range(50)))
    collector.say("#source web1\n#columns cpu.busy_pct:% net.rx_bytes_per_s:B/s other\n12.5 123456 7\n#stats\n")
    seen = terminal(collector.config)
    screen = seen.shows("52 sources")
    assert len([line for line in screen if ".temperature" in line]) == 20
    collector.say("room3.temperature 4711\n")
    seen.shows("4711")
    seen.resize(120, 40)
    screen = seen.shows("room35.temperature")
    assert "1 to 37 of 52" in screen[0]
    seen.type("End")
    screen = seen.shows("room49.temperature")
    (web1,) = (line for line in screen if line.startswith("web1"))
    assert web1.split() == ["web1", "cpu", "12.5", "%", "in", "123.5", "kB/s", "+1", *web1.split()[-2:]]
    seen.type("Home", "Down", "Down")
    seen.shows("3 to 39 of 52")
    seen.type("PageDown")
    seen.shows("16 to 52 of 52")
    seen.type("/", "ROOM4")
    assert [line.split(".")[0] for line in seen.shows("11 sources")[2:13]] == [f"room{n}" for n in (4, *range(40, 50))]
    seen.type("q", "BSpace", "9", "Enter")  # a `q` that is looked for ends nothing
    seen.shows("/ROOM49", "1 source ")
    seen.resize(40, 6)
    assert seen.shows("room49.tempe…", "49")[0].startswith("linemon  1 source ")
    seen.type("q")
    seen.shows("ended 0")
    assert seen.is_clean()


@pytest.mark.parametrize(("how", "code"), [("Ctrl-C", 0), ("SIGTERM", 128 + signal.SIGTERM)])
def test_it_leaves_the_terminal_clean(
    collector: Running, terminal: Callable[[Path], Terminal], how: str, code: int
) -> None:
    """However it ends; Ctrl-Z does not leave its screen to the shell."""
    seen = terminal(collector.config)
    seen.type("C-z")
    if how == "Ctrl-C":
        seen.type("C-c")
    else:
        seen.process.send_signal(signal.SIGTERM)
    seen.shows(f"ended {code}")
    assert seen.is_clean()


def test_what_is_silent(tmp_path: Path, terminal: Callable[[Path], Terminal]) -> None:
    """A source that stopped says since when; a killed collector is named; a source of one row is not silent."""
    writer = StoreWriter(tmp_path / "store", points=100, max_sources=20)
    now = time.time_ns() // 10**9
    stopped = [now - 40 + n for n in range(10)]
    for name, times in ((OWN, stopped), ("slow", [now - 100, now - 31]), ("once", [now - 31]), ("old", [9, 10])):
        for second in times:
            arrive(writer, name, second, [second])
    writer.close()
    config = tmp_path / "linemon.toml"
    config.write_text(f'[store]\npath = "{writer.folder}"\n')
    since = datetime.fromtimestamp(stopped[-1], UTC).strftime("%H:%M:%SZ")
    screen = terminal(config).shows("once")
    assert f"no data from the collector since {since}" in screen[0]
    said = {line.split()[0]: line.split(maxsplit=2)[2] for line in screen[2:6]}
    assert (said[OWN], said["old"]) == (f"no data since {since}", "no data since 1970-01-01")
    for name in ("slow", "once"):
        assert 31 <= int(said[name].removesuffix(" s")) < 60


def test_a_dot_where_an_alarm_fires(collector: Running) -> None:
    """Red for critical; none where the list of alarms is old."""
    collector.say("".join(f"room{n} {n}\n" for n in range(4)) + "#stats\n")
    firing = [("room1", "firing", 1), ("room1", "clearing", 2), ("room2", "firing", 1), ("room3", "ok", 0)]
    said = [{"source": source, "state": state, "level": level} for source, state, level in firing]
    (collector.store_path / "alarms.json").write_text(json.dumps(said))

    def dots() -> list[str]:
        lines = collector.run("top").stdout.splitlines()
        return [line.split("room")[0] for line in lines if "room" in line]

    assert dots() == ["  ", "● ", "● ", "  "]
    assert alarmed(collector.store) == {"room1": "red", "room2": "yellow"}
    os.utime(collector.store_path / "alarms.json", (1, 1))
    assert dots() == ["", "", "", ""]


@pytest.mark.slow
def test_without_a_store(tmp_path: Path) -> None:
    """It says so, as `linemon sources` does, and does not wait in front of an empty screen."""
    config = tmp_path / "linemon.toml"
    config.write_text(f'[store]\npath = "{tmp_path}/none"\n')
    said = [
        subprocess.run(command(each, "--config", str(config)), capture_output=True, text=True)
        for each in ("top", "sources")
    ]
    assert [each.returncode for each in said] == [1, 1]
    assert said[0].stderr == said[1].stderr
    assert "is the collector running?" in said[0].stderr


def test_without_a_terminal(collector: Running) -> None:
    """One table, values with their names and units, the age of the newest row, wider than 80 characters."""
    long = "a.name." + "x" * 50
    collector.say(f"#source web1\n#columns cpu.busy_pct:% other\n12.5 7\n#source {long}\n20.3\n#stats\n")
    for options in ([], ["--once"]):
        shown = collector.run("top", *options)
        assert shown.returncode == 0, shown.stderr
        (web1,) = (line for line in shown.stdout.splitlines() if line.startswith("web1"))
        assert "cpu   12.5 %  +1" in web1
        assert long in shown.stdout
        assert "\x1b" not in shown.stdout


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (20.3, "°C", "  20.3 °C"),
        (-0.5, "", "  -0.5"),
        (9999.4, "B", "  9999 B"),
        (9999.6, "B", "    10 kB"),
        (1.5e9, "", "  1500 M"),
        (-1e30, "", "-1e+12 E"),
        (float("nan"), "%", "   nan %"),
    ],
)
def test_numbers(value: float, unit: str, text: str) -> None:
    """Four digits, a prefix where they do not do, always as wide."""
    assert number(value, unit) == text
