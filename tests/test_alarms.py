"""Alarms through real processes: rows in, the part, its commands, what is told, over kills and wrong settings."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests import forked
from tests.running import DEADLINE_S, Running, Work, command, eventually
from tests.web import ask, get, post

RULE = '[[alarm]]\nname = "v high"\nsource = "web*"\ncolumns = "v"\nwarning = "> 90"\ncritical = "> 97"\n'
KEYS = {
    "n", "key", "alarm", "source", "column", "state", "level", "since", "value", "unit", "stale", "told", "acked",
    "silenced_until", "held", "text", "limits",
}  # fmt: skip


class Watched:
    """A collector, `linemon work alarms`, and a notifier that writes what it is told to a file."""

    def __init__(self, folder: Path, settings: str = RULE) -> None:
        self.file = folder / "told"
        notify = f'[[notify]]\nname = "file"\nkind = "command"\nargv = ["/bin/sh", "-c", "cat >> {self.file}"]\n'
        work = "" if "[work]" in settings else f'[work]\nstate = "{folder}/state"\n'
        self.collector = Running(folder, f"{settings}\n{work}{notify}")
        self.work = Work(self.collector.config, "alarms")
        self.start()

    def start(self) -> None:
        """Until it judges."""
        began = time.time() - 0.1  # a file's time is that of the last tick of the kernel
        self.work.start()
        status = self.collector.store_path / "work" / "alarms.json"
        eventually(lambda: status.exists() and f'"pid": {self.work.pid},' in status.read_text(), "the part runs")
        shown = self.collector.store_path / "alarms.json"
        eventually(lambda: shown.exists() and shown.stat().st_mtime >= began, "it judges")

    def row(self, value: float | str, source: str = "web1") -> None:
        self.collector.say(f"#source {source}\n#columns v:%\n{value}\n")

    @property
    def told(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.file.read_text().splitlines()] if self.file.exists() else []

    def until(self, state: str, deadline_s: float = DEADLINE_S) -> dict[str, Any]:
        """The newest message, once there is one of this kind."""
        eventually(lambda: any(each["state"] == state for each in self.told), f"{state} is told", deadline_s)
        return self.told[-1]

    def list(self, *more: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.collector.run("alarms", "--json", *more).stdout)
        return found

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.collector.run("alarms", *arguments)

    def stop(self) -> None:
        self.work.stop()
        self.collector.stop()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Watched]]:
    started: list[Watched] = []

    def begin(settings: str = RULE) -> Watched:
        started.append(Watched(tmp_path / "one", settings))
        return started[-1]

    yield begin
    for each in started:
        each.stop()


@pytest.mark.slow
def test_a_crossing_is_told_shown_and_logged(start: Callable[..., Watched]) -> None:
    """Within seconds of its row, once; worse is told again; the end, too. Exit code 3 while it is critical."""
    watched = start()
    assert watched.run().stdout.startswith("nothing fires")
    watched.row(50)
    began = time.monotonic()
    watched.row(95)
    told = watched.until("warning")
    assert time.monotonic() - began < 10  # 2 s but for a busy machine
    assert (told["alarm"], told["source"], told["column"], told["value"], told["unit"]) == (
        "v high", "web1", "v", 95.0, "%",
    )  # fmt: skip
    [shown] = eventually(lambda: watched.list(), "it is shown")
    assert set(shown) == KEYS
    assert (shown["state"], shown["level"], shown["told"]) == ("firing", 1, 1)
    assert shown["key"] == told["key"]
    assert shown["limits"] == {"warning": 90.0, "critical": 97.0}
    assert watched.run().returncode == 0
    watched.row(99)
    watched.until("critical")
    eventually(lambda: watched.run().returncode == 3, "the exit code says so")
    watched.row(50)
    assert watched.until("ok")["seq"] == 3
    assert [each["state"] for each in watched.told] == ["warning", "critical", "ok"]
    assert len({each["key"] for each in watched.told}) == 1
    log = [json.loads(line) for line in watched.run("log", "--json").stdout.splitlines()]
    assert [(each["event"], each["told"]) for each in log] == [("warning", True), ("critical", True), ("ok", True)]
    assert watched.run("log").stdout.count("v high") == 3
    store = watched.collector.store
    marks = eventually(lambda: [each for each in store.marks() if each.kind == "alarm"], "the beginning is marked")
    assert marks[0].source == "web1"
    eventually(lambda: "linemon.alarms" in store, "counts come back as a source")


def in_a_terminal(width: int, *arguments: str) -> list[str]:
    """The lines that a command prints in a terminal so wide."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, width))
    process = forked.NURSERY.start(arguments, [theirs] * 3, COLUMNS="")
    os.close(theirs)
    with open(ours, "rb", buffering=0) as terminal:
        said = b""
        with suppress(OSError):  # nobody holds the other end any more
            while data := terminal.read(4096):
                said += data
    process.wait(DEADLINE_S)
    return said.decode().splitlines()


@pytest.mark.slow
def test_tables_fit_the_terminal(start: Callable[..., Watched]) -> None:
    """Names are cut where there is no room for them, and for nobody else."""
    watched, name = start(), "web1." + "a-long-name-" * 4
    watched.row(95, name)
    watched.until("warning")
    for what in ("list", "log", "try"):
        asked = ("alarms", "--config", str(watched.collector.config), what)
        wide: list[str] = []

        def is_there(wide: list[str] = wide, asked: tuple[str, ...] = asked) -> bool:
            wide[:] = in_a_terminal(160, *asked)
            return name in "".join(wide)

        try:
            eventually(is_there, f"the {what} has it")
        finally:
            print(*wide, sep="\n")  # what was there instead
        narrow = in_a_terminal(80, *asked)
        assert max(map(len, narrow)) <= 80
        assert len(narrow) == 2
        assert name[:12] in narrow[1]
        assert "…" in narrow[1]
        assert name in watched.run(what).stdout


@pytest.mark.slow
def test_what_people_say_to_an_incident(start: Callable[..., Watched]) -> None:
    """Acknowledged, silenced and no longer: what was held then comes, by command and by HTTP."""
    watched = start()
    watched.row(95)
    n = watched.until("warning")["n"]
    assert watched.run("ack", str(n), "--why", "I see").returncode == 0
    acked = eventually(lambda: [each for each in watched.list() if each["acked"]], "it is shown")
    assert acked[0]["acked"]["why"] == "I see"
    assert watched.run("ack", "77").returncode == 1
    assert "no incident '77' goes on" in watched.run("ack", "77").stderr
    at = watched.collector.address("http")
    assert post(at, b'{"pattern": "web*", "for": "2h"}', "/api/alarms/silence").status == 200
    watched.row(99)
    held = eventually(lambda: [each for each in watched.list() if each["held"] == "silence"], "it is held")
    assert held[0]["silenced_until"]
    assert [each["state"] for each in watched.told] == ["warning"]
    assert watched.run("unsilence", "web*").returncode == 0
    watched.until("critical")
    assert watched.run("unsilence", "web*").returncode == 1
    assert watched.run("silence", "web*", "40d").returncode == 1
    assert watched.run("silence", "web*").returncode == 2
    assert post(at, b'{"n": "' + str(n).encode() + b'"}', "/api/alarms/ack").json["said"].startswith("acknowledged")
    assert post(at, b'{"n": 1, "why": 2}', "/api/alarms/ack").json["field"] == "why"
    assert post(at, b"{}", "/api/alarms/ack").json["field"] == "n"
    assert get(at, "/api/alarms", alarm="v high").json[0]["source"] == "web1"
    assert get(at, "/api/alarms", alarm="x").json == []
    assert get(at, "/api/alarms", all=1, source="linemon.collector").json[0]["state"] == "ok"
    assert get(at, "/api/alarms", state="none").json["field"] == "state"
    assert watched.run("test", "file").returncode == 0
    assert watched.told[-1]["alarm"] == "test"
    assert "no notifier 'x'; linemon.toml names: file" in watched.run("test", "x").stderr
    assert oct((watched.collector.store_path / "work.sock").stat().st_mode)[-3:] == "600"
    watched.stop()
    assert watched.run("ack", "1").returncode == 1
    assert "are not running" in watched.run("ack", "1").stderr


def test_only_an_admin_changes_what_others_are_told(start: Callable[..., Watched]) -> None:
    tokens = '[[token]]\nsecret = "rooms"\n[[token]]\nsecret = "boss"\nadmin = true\n'
    watched = start(RULE + tokens)
    at, body = watched.collector.address("http"), b'{"pattern": "web*", "for": "2h"}'
    assert post(at, body, "/api/alarms/silence").status == 401
    refused = post(at, body, "/api/alarms/silence", Authorization="Bearer rooms")
    assert (refused.status, "admin = true" in refused.text) == (403, True)
    assert post(at, body, "/api/alarms/silence", Authorization="Bearer boss").status == 200
    assert ask(at, "POST", "/api/alarms/silence", Origin="https://evil.example").status == 403


@pytest.mark.slow
def test_nothing_is_told_twice_over_kills(start: Callable[..., Watched]) -> None:
    """Killed while it fires, and again: the state and the outbox know what was told; the end still comes, once."""
    watched = start()
    watched.row(95)
    watched.until("warning")
    for _ in range(2):
        watched.work.kill()
        watched.start()
    watched.work.kill()
    watched.row(50)
    watched.start()
    watched.until("ok")
    # Who is killed between telling and noting it tells it once more, with the same number.
    assert list(dict.fromkeys((each["state"], each["seq"]) for each in watched.told)) == [("warning", 1), ("ok", 2)]


def test_a_second_process_is_refused(start: Callable[..., Watched]) -> None:
    watched = start()
    second = watched.collector.run("work", "alarms")
    assert second.returncode == 1
    assert f"alarms is run by process {watched.work.pid} already" in second.stderr


@pytest.mark.slow
def test_a_source_that_is_forgotten_is_gone(start: Callable[..., Watched]) -> None:
    """What was told of it ends with one message."""
    watched = start(RULE.replace("[[alarm]]", "forget_after = 3.0\n[[alarm]]"))
    watched.row(95)
    watched.until("warning")
    assert watched.until("gone")["level"] == 1
    assert [each["state"] for each in watched.told] == ["warning", "gone"]
    eventually(lambda: not [each for each in watched.list("--all") if each["source"] == "web1"], "it is gone")


@pytest.mark.slow
def test_a_source_that_is_renamed_is_gone(start: Callable[..., Watched]) -> None:
    """What is wrong is told of its new name, and of the old one when it has that again: its rows are judged anew."""
    watched = start()
    watched.row(95)
    watched.until("warning")
    for name, to, messages in (("web1", "web2", 3), ("web2", "web1", 5)):
        assert watched.collector.run("rename", name, to).returncode == 0
        eventually(lambda: len(watched.told) >= messages, f"{messages} messages")  # noqa: B023
    said = {name: [each["state"] for each in watched.told if each["source"] == name] for name in ("web1", "web2")}
    assert said == {"web1": ["warning", "gone", "warning"], "web2": ["warning", "gone"]}


@pytest.mark.slow
def test_settings_are_taken_while_it_runs(start: Callable[..., Watched]) -> None:
    """A rule that is removed ends what it had told; what is wrong changes nothing."""
    watched = start()
    watched.row(95)
    watched.until("warning")
    before = watched.collector.config.read_text()
    watched.collector.config.write_text(before.replace('"> 90"', '"> x"'))
    eventually(lambda: "nothing is changed" in watched.work.log, "it is said")
    assert watched.list()[0]["state"] == "firing"
    watched.collector.config.write_text(before.replace('name = "v high"', 'name = "v higher"'))
    eventually(lambda: len(watched.told) == 3, "the old one ends, the new one fires")
    assert {(each["alarm"], each["state"]) for each in watched.told[1:]} == {
        ("v high", "gone"),
        ("v higher", "warning"),
    }


@pytest.mark.slow
def test_without_a_notifier_nothing_is_written_to_a_disk(tmp_path: Path) -> None:
    """The shipped alarms are judged and shown; their state lies with the rings, in memory where these do."""
    home = tmp_path / "home"
    collector = Running(tmp_path / "one", RULE)
    environment = os.environ | {"HOME": str(home), "XDG_STATE_HOME": str(home)}
    process = subprocess.Popen(command("work", "alarms", "--config", str(collector.config)), env=environment)
    try:
        collector.say("#source web1\n#columns v\n95\n")
        [shown] = eventually(lambda: json.loads(collector.run("alarms", "--json").stdout), "it is shown")
        assert (shown["state"], shown["told"], shown["held"]) == ("firing", 0, None)
        eventually((collector.store_path / "alarms.state").exists, "the state is kept")
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE_S) == 0
        collector.stop()
    assert not [path for path in home.rglob("*") if path.is_file() and path.suffix != ".lock"]


WRONG = [
    ('warning = "90"', 4, r"warning = '90': expected a limit such as '> 90'"),
    ('warning = "> 90"\nclear = "< 95"', 5, r"clear = '< 95': expected what no level holds for; "),
    ('warning = "> 90"\nvalue = "mean(5m"', 5, r"value = 'mean\(5m': expected '\)', not the end"),
    ('warning = "> 90"\nvalue = "meen(5m)"', 5, r"there is no function 'meen'; there are: last, min"),
    ('warning = "> 90"\nvalue = "mean(5)"', 5, r"expected a span such as mean\(5m\), not '5'"),
    ('warning = "> 90"\nonly_if = "last()"', 5, r"only_if = 'last\(\)': expected a test such as '> 90'"),
    ('warning = "> 90"\nvalue = "age()"', 5, r"age\(\), overdue\(\) and skew\(\) stand alone, and without columns"),
    ('warning = "> 90"\nrepeet = "1h"', 5, r"repeet: unknown setting; expected one of: name, source"),
    ('warning = "> 90"\nrepeat = "1s"', 5, r"repeat = '1s': expected 'never', or a span of 1m or more"),
    ('warning = "> 90"\nno_data = "no"', 5, r"no_data = 'no': expected one of: keep, ok, alarm"),
    ('warning = "> 90"\nnotify = ["x"]', 5, r"notify: no \[\[notify\]\] has the name 'x'"),
    ('warning = "> 90"\ntext = "{value.real}"', 5, r"text = .*there are \{alarm\} \{source\}"),
    ('warning = "> 90"\ntext = "{source!r}"', 5, r"text = "),
    ('warning = "> 90"\nneeds = "y"', 1, r"there is no alarm of this name that is enabled"),
    ('warning = "> 90"\nfor = "soon"', 5, r"for = 'soon': expected a span"),
    ("", 1, r"expected warning, critical, or both"),
    ('warning = "> 1"\n[[alarm]]\nname = "a"', 6, r"there are two of this name"),
    ('warning = "> 1"\n[[alarm]]\nname = "a/b"', 6, r"expected a name of 1 to 64"),
]


@pytest.mark.parametrize(("text", "line", "says"), WRONG)
def test_what_is_wrong_is_named_with_its_line(tmp_path: Path, text: str, line: int, says: str) -> None:
    import re

    from linemon.config import load
    from linemon.errors import ConfigError
    from linemon.parts.alarms.rules import rules

    file = tmp_path / "linemon.toml"
    file.write_text(f'[[alarm]]\nname = "a"\ncolumns = "v"\n{text}\n')
    with pytest.raises(ConfigError) as caught:
        rules(load(file))
    assert re.search(says, str(caught.value)), str(caught.value)
    assert f"line {line}: " in str(caught.value) or line == 1, str(caught.value)
