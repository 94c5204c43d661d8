"""The agent as a device: it registers, takes settings while it runs, and reports what it works with."""

from __future__ import annotations

import itertools
import json
import math
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.settings import host, state_of
from linemon_sender.device import Device, State, chosen, hashed
from tests.centre import Centre

Start = Callable[..., Any]
CAME = {"interval": 0.1, "subsamples": 1, "groups": [], "columns": ["*"]}


@pytest.fixture
def centre() -> Iterator[Centre]:
    made = Centre()
    yield made
    made.close()


@pytest.fixture
def agent(start: Start, centre: Centre, tmp_path: Path) -> Any:
    return start("--to", centre.address, "--interval", "0.1", XDG_STATE_HOME=str(tmp_path / "state"))


def reported(centre: Centre, version: int) -> dict[str, Any]:
    """What it said when it had applied that version."""
    found = centre.until(lambda: [said for number, said in centre.reports if number == version], f"#is {version}")
    said: dict[str, Any] = found[-1]
    return said


def test_a_host_registers_and_says_what_it_works_with(agent: Any, centre: Centre) -> None:
    """By a hash: the machine's id itself leaves it nowhere."""
    assert reported(centre, 0) == CAME
    product, serial = centre.devices[0].split()
    assert product == "host"
    assert len(serial) == 16
    assert f"#source {socket.gethostname()}" in centre.lines
    assert Path("/etc/machine-id").read_text().strip() not in "".join(centre.lines)


@pytest.mark.slow
def test_the_interval_changes_while_it_runs(agent: Any, centre: Centre) -> None:
    """Within two of the shorter interval and a second, in both directions; all wishes taken back, it is as it came."""
    centre.wait_rows(3)
    for interval in (2.0, 0.2):
        began, shorter, count = time.monotonic(), 0.2 if interval == 0.2 else 0.1, len(centre.rows)
        version = centre.set(interval=interval)
        reported(centre, version)
        if interval < 1:  # a longer one shows only after it
            centre.wait_rows(count + 1)
        assert time.monotonic() - began < 2 * shorter + 1
        assert reported(centre, version) == {**CAME, "interval": interval}
        first = centre.wait_rows(len(centre.rows) + 1)[-1].values["time"]
        times = [row.values["time"] for row in centre.wait_rows(len(centre.rows) + 2) if row.values["time"] >= first]
        assert all(abs(later - sooner - interval) < 0.15 for sooner, later in itertools.pairwise(times))
    assert reported(centre, centre.set()) == CAME


def test_groups_subsamples_and_columns_change_while_it_runs(agent: Any, centre: Centre) -> None:
    """Columns come with groups and stay, missing, without them; those that are not chosen are missing, too."""
    centre.wait_rows(2)
    version = centre.set(groups="cores", subsamples=5)
    assert reported(centre, version) == {**CAME, "groups": ["cores"], "subsamples": 5}
    core = "cpu.0.busy_pct"
    centre.wait_rows(2, lambda row: row.values.get(core, math.nan) >= 0 and "cpu.busy_max_pct" in row.values)
    version = centre.set(columns=["mem.*", "!mem.used_pct"])
    assert reported(centre, version) == {**CAME, "columns": ["mem.*", "!mem.used_pct"]}
    row = centre.wait_rows(1, lambda row: math.isnan(row.values["cpu.busy_pct"]))[0].values
    assert row["mem.total_bytes"] > 0
    assert math.isnan(row["mem.used_pct"])
    assert math.isnan(row[core])


@pytest.mark.parametrize(
    ("wish", "refused"),
    [
        ({"interval": 0}, {"interval": "expected 0.05 to 60 seconds"}),
        ({"interval": "fast"}, {"interval": "expected 0.05 to 60 seconds"}),
        ({"interval": True}, {"interval": "expected 0.05 to 60 seconds"}),
        ({"subsamples": 1.5}, {"subsamples": "expected 1 to 100 readings"}),
        ({"subsamples": 50}, {"subsamples": "readings would be less than 0.01 s apart"}),
        ({"groups": "cores,x"}, {"groups": "'x' is none of cores, sockets, top"}),
        ({"groups": 5}, {"groups": "expected a list of strings"}),
        ({"columns": ["x*"]}, {"columns": "there is no such column"}),
        ({"colour": 1}, {"colour": "a host has interval, subsamples, groups, columns"}),
    ],
    ids=str,
)
def test_what_it_cannot_do_is_refused_and_the_rest_applied(agent: Any, centre: Centre, wish: Any, refused: Any) -> None:
    key = "interval" if "interval" not in wish and "subsamples" not in wish else "columns"
    other = {"interval": 0.2} if key == "interval" else {"columns": ["cpu.*"]}
    assert reported(centre, centre.set(**other, **wish)) == {**CAME, **other, "refused": refused}


def test_settings_outlive_the_connection_and_not_the_agent(agent: Any, centre: Centre) -> None:
    """It says by which it works whenever it registers."""
    version = centre.set(interval=0.2)
    reported(centre, version)
    centre.reports.clear()
    centre.cut()
    assert centre.until(lambda: centre.reports)[0] == (version, {**CAME, "interval": 0.2})


def test_a_collector_that_knows_nothing_of_devices(start: Start, centre: Centre, tmp_path: Path) -> None:
    """It gets rows as before."""
    centre.knows_devices = False
    start("--to", centre.address, "--interval", "0.1", "--name", "web1", XDG_STATE_HOME=str(tmp_path))
    centre.wait_rows(3)
    assert not centre.reports
    assert "#source web1" in centre.lines


def test_rows_of_an_agent_of_before_are_sent_by_that_device(start: Start, centre: Centre, tmp_path: Path) -> None:
    """What waits in a folder when the agent is replaced by this one."""
    spool = tmp_path / "spool"
    spool.mkdir()
    old = "#source web1\n#boot x\n#seq 7 aaaa\n#columns time a\n1.5 2\n"
    (spool / f"{1:012}.lines").write_text(old)
    start("--to", centre.address, "--name", "web1", "--spool", str(spool), XDG_STATE_HOME=str(tmp_path))
    (row,) = centre.wait_rows(1, lambda row: "a" in row.values)
    assert row.device.startswith("host ")


def test_its_own_token_is_kept_and_shown(start: Start, centre: Centre, tmp_path: Path) -> None:
    """Readable by its user alone; one that is refused is forgotten, and the first one shown again."""
    options = ("--to", centre.address, "--interval", "0.1", "--spool", str(tmp_path / "spool"))
    agent = start(*options, LINEMON_TOKEN="enrol")
    centre.wait_rows(1)
    assert "#token enrol" in centre.lines
    centre.say("#token of-its-own\n")
    (path,) = centre.until(lambda: list(tmp_path.glob("spool/device-*/token")))
    assert path.read_text() == "of-its-own"
    assert path.stat().st_mode & 0o777 == 0o600
    agent.stop()
    centre.lines.clear()
    centre.wrong_token = "of-its-own"
    start(*options, LINEMON_TOKEN="enrol").says("does not know this device's own token")
    centre.until(lambda: "#token enrol" in centre.lines)
    assert "#token of-its-own" in centre.lines


def test_two_agents_of_one_machine_are_two_devices(tmp_path: Path) -> None:
    """Where one has another name than the host's."""

    def serial(*argv: str) -> str:
        from agent.options import Options
        from agent.sampler import Sampler
        from agent.settings import HostSettings

        options = Options(["--to", "127.0.0.1:1", "--spool", str(tmp_path), *argv])
        made: Device = host(options, HostSettings(options, Sampler(None, print)), print)
        return made.identity

    assert serial() == serial() == serial("--name", socket.gethostname())
    assert len({serial(), serial("--name", "a"), serial("--name", "b")}) == 3


def test_a_folder_that_takes_nothing_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    said: list[str] = []
    state = State(str(tmp_path / "file" / "x"), said.append)
    state.write("token", "a")
    assert state.read("token") == ""
    assert said == [f"cannot keep {tmp_path}/file/x/token: Not a directory"]


def test_where_state_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside the spool; else where systemd says; else in the user's state folder. One folder for each collector."""
    from agent.options import Options

    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))

    def folder(*argv: str) -> Path:
        return Path(state_of(Options(["--to", "127.0.0.1:1", *argv]), "", print)._folder)

    assert folder().parent == tmp_path / "xdg" / "linemon-agent"
    assert folder("--to", "127.0.0.1:2").name != folder().name
    assert folder("--spool", str(tmp_path / "spool")).parent == tmp_path / "spool"
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "sd"))
    assert folder().parent == tmp_path / "sd"


def test_where_state_is_kept_without_a_home_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a user whom a container made up: never in a folder named ~ where the agent happens to run."""
    from agent.options import Options

    def nobody(_: int) -> None:
        raise KeyError

    monkeypatch.setattr("pwd.getpwuid", nobody)
    for variable in ("HOME", "STATE_DIRECTORY", "XDG_STATE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    folder = state_of(Options(["--to", "127.0.0.1:1"]), "", print)._folder
    assert folder.startswith("/.local/state/linemon-agent/")


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["*"], [True, True, True]),
        (["a*"], [True, True, False]),
        (["a*", "!ab"], [True, False, False]),
        (["!ab"], [True, False, True]),
        ([], [True, True, True]),
        (["B"], [False, False, False]),
    ],
)
def test_patterns(patterns: list[str], expected: list[bool]) -> None:
    assert chosen(patterns, ["aa", "ab", "b"]) == expected


def test_what_is_reported_is_json() -> None:
    """Whatever a wish holds that is given back."""
    odd = {"a": ['"\\x', "é\n"], "b": None, "c": True, "d": {"e": 0.1}, "f": 3}
    device = Device("p", "1", lambda _: (odd, {"g": 'say "no"'}), print)
    said = json.loads(device.report().partition(b" ")[2].partition(b" ")[2])
    assert said == {**odd, "a": ['"\\x', "é?"], "refused": {"g": 'say "no"'}}


def test_hashes_stay_the_same() -> None:
    """A serial is for ever; it does not depend on which module makes it."""
    assert hashed("a", "b") == "aaa116c2b3d64cb7"
    assert hashed("a", "b") != hashed("ab")
