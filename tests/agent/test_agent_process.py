"""The agent as users start it: a process, its options, its lines, its end."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

Start = Callable[..., Any]


def held(spool: Path) -> int:
    """Lines in a spool's folder."""
    return sum(path.read_bytes().count(b"\n") for path in spool.glob("*.lines"))


def test_sends_named_rows_at_the_interval(start: Start, serve: Start) -> None:
    """Token, source, columns with units, then one row per point of the grid with this machine's numbers."""
    server = serve()
    agent = start("--to", server.address, "--name", "web 1", "--interval", "0.1", LINEMON_TOKEN="s3cret")
    lines = server.accept()
    assert [lines.line() for _ in range(3)] == ["#errors on", "#token s3cret", "#source web 1"]
    columns = lines.columns()
    assert columns[:2] == ["cpu.busy_pct:%", "cpu.user_pct:%"]
    names = ["time", *(column.partition(":")[0] for column in columns)]
    rows = [dict(zip(names, row, strict=True)) for row in (lines.row() for _ in range(11))]
    assert rows[-1]["mem.total_bytes"] == psutil.virtual_memory().total
    assert rows[-1]["agent.rss_bytes"] == pytest.approx(psutil.Process(agent.process.pid).memory_info().rss, rel=0.1)
    assert 0 <= rows[-1]["cpu.busy_pct"] <= 100
    assert abs(rows[-1]["time"] - time.time()) < 5
    assert 0.9 < rows[-1]["time"] - rows[0]["time"] < 2.0
    assert agent.log.splitlines() == [f"linemon agent: sends to {server.address} as web 1"]


def test_a_collector_that_goes_and_comes_back(start: Start, serve: Start, tmp_path: Path, until: Start) -> None:
    """The rows of an outage come after it, in order and without a gap; none is dropped."""
    server = serve()
    spool = tmp_path / "spool"
    agent = start("--to", server.address, "--interval", "0.05", "--spool", str(spool))
    first = server.accept()
    columns = first.columns()
    times = [first.row()[0] for _ in range(3)]
    server.close()
    agent.says("lost")
    rows = held(spool)
    until(lambda: held(spool) > rows + 10)
    server = serve(server.port)
    again = server.accept()
    assert again.columns() == columns
    came = [again.row() for _ in range(20)]
    times += [row[0] for row in came if row[0] > times[-1]]
    assert max(later - earlier for earlier, later in itertools.pairwise(times)) < 0.4
    assert {row[1 + columns.index("agent.dropped_rows")] for row in came} == {0.0}
    assert "rows waited" in agent.says("waited")
    assert len(agent.log.splitlines()) == 3


def test_a_spool_in_a_folder_outlives_kill_9(start: Start, serve: Start, tmp_path: Path, until: Start) -> None:
    """Rows of a killed agent are sent by the next one, under their numbers, before its own."""
    server = serve()
    server.close()
    spool = tmp_path / "spool"
    options = ("--to", server.address, "--interval", "0.05", "--spool", str(spool))
    agent = start(*options)
    until(lambda: held(spool) > 8)
    agent.process.kill()
    agent.process.wait()
    kept = [line for path in sorted(spool.glob("*.lines")) for line in path.read_text().splitlines()]
    rows = [float(line.split()[0]) for line in kept if not line.startswith("#")]
    agent = start(*options)
    agent.says("are in the spool folder")
    lines = serve(server.port).accept()
    assert [lines.row()[0] for _ in rows] == rows
    assert lines.row()[0] > rows[-1]
    assert lines.number == len(rows) + 2


def test_one_spool_folder_serves_one_agent(start: Start, serve: Start, tmp_path: Path, until: Start) -> None:
    """Two would give different rows one number: the second says why it does not start."""
    start("--to", serve().address, "--interval", "0.05", "--spool", str(tmp_path / "spool"))
    until(lambda: list(tmp_path.glob("spool/*.lines")))
    second = start("--to", serve().address, "--spool", str(tmp_path / "spool"))
    assert second.process.wait(15) == 1
    assert "is used by another process" in second.log


def test_a_collector_that_is_not_there_yet(start: Start, serve: Start, until: Start) -> None:
    """It says once that nobody answers, keeps serving its own port, and connects when somebody does."""
    server = serve()
    server.close()
    agent = start("--to", server.address, "--listen", "127.0.0.1:0", "--interval", "0.1")
    assert "Connection refused" in agent.says("cannot reach")
    assert agent.port
    server = serve(server.port)
    assert server.accept().row()
    agent.says("sends to")
    assert agent.log.count("cannot reach") == 1


def test_listens_for_labplot(start: Start, dial: Start) -> None:
    """Several clients read six tokens a row; no collector is asked for."""
    agent = start("--listen", "127.0.0.1:0", "--interval", "0.1")
    clients = [dial(agent.port) for _ in range(3)]
    for _ in range(3):
        for client in clients:
            line = client.line()
            assert all(repr(float(token)) == token for token in line.split(" "))
            assert len(line.split(" ")) == 6
    assert agent.stop() == 0
    assert len(agent.log.splitlines()) == 1


def test_listens_with_chosen_columns(start: Start, dial: Start) -> None:
    """--columns chooses and orders; one that does not exist is missing."""
    agent = start("--listen", "127.0.0.1:0", "--interval", "0.1", "--columns", "mem.total_bytes,no.such")
    assert dial(agent.port).line() == f"{float(psutil.virtual_memory().total)!r} nan"
    assert "has no no.such now" in agent.log


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ends_cleanly(start: Start, serve: Start, dial: Start, number: int) -> None:
    """Either signal ends it with 0, in the middle of a long wait and with connections open."""
    server = serve()
    agent = start("--to", server.address, "--listen", "127.0.0.1:0", "--interval", "60")
    dial(agent.port)
    server.accept()
    begun = time.monotonic()
    assert agent.stop(number) == 0
    assert time.monotonic() - begun < 2
    assert "Traceback" not in agent.log


def test_ends_cleanly_while_nobody_answers(start: Start, serve: Start, tmp_path: Path, until: Start) -> None:
    """The attempts to connect hold nothing up; rows not sent are told of."""
    server = serve()
    server.close()
    agent = start("--to", server.address, "--interval", "0.05", "--spool", str(tmp_path / "spool"))
    agent.says("cannot reach")
    until(lambda: list(tmp_path.glob("spool/*.lines")))
    assert agent.stop() == 0
    assert "were not acknowledged" in agent.log


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        ["--bogus"],
        ["surplus"],
        ["--to"],
        ["--to", "nowhere"],
        ["--to", "host:70000"],
        ["--to", "::1:4000"],
        ["--listen", ":1027"],
        ["--interval", "0"],
        ["--interval", "nan"],
        ["--interval", "fast"],
        ["--interval", "3600"],
        ["--name", "a\nb"],
        ["--name", "x" * 256],
        ["--token", "two words"],
        ["--spool-bytes", "1000"],
        ["--spool-age", "0"],
        ["--subsamples", "1.5"],
        ["--interval", "0.05", "--subsamples", "50"],
        ["--groups", "cores,nonsense"],
        ["--columns", "a,b"],
        ["--listen", "127.0.0.1:0", "--columns", "a,,b"],
    ],
    ids=" ".join,
)
def test_wrong_options(options: list[str]) -> None:
    """One line on standard error, exit 2."""
    done = subprocess.run([sys.executable, "-m", "agent", *options], capture_output=True, text=True, timeout=15)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1


def test_address_in_use(start: Start, serve: Start) -> None:
    """It cannot listen where another does: one line, exit 1."""
    agent = start("--listen", serve().address)
    assert agent.process.wait(15) == 1
    assert "cannot listen" in agent.log
    assert len(agent.log.splitlines()) == 1


def test_open_address_is_warned_of(start: Start) -> None:
    """Anybody may read there, so it says so."""
    start("--listen", "0.0.0.0:0").says("warning")


@pytest.mark.slow
def test_a_token_in_the_clear_is_warned_of(start: Start, serve: Start) -> None:
    """Where it leaves this machine without TLS; not where it stays, nor where there is none."""
    agent = start("--to", "192.0.2.1:4000", LINEMON_TOKEN="s3cret")
    assert "the token goes to 192.0.2.1 in the clear" in agent.says("warning")
    assert "s3cret" not in agent.log
    for options, environment in (
        (["--to", "192.0.2.1:4000", "--tls"], {"LINEMON_TOKEN": "s3cret"}),
        (["--to", serve().address], {"LINEMON_TOKEN": "s3cret"}),
        (["--to", "192.0.2.1:4000"], {}),
    ):
        other = start(*options, "--listen", "127.0.0.1:0", **environment)
        other.says("listens on")
        assert other.stop() == 0
        assert "warning" not in other.log


def test_help_has_an_example() -> None:
    """--help goes to standard output and ends with 0."""
    done = subprocess.run([sys.executable, "-m", "agent", "--help"], capture_output=True, text=True, timeout=15)
    assert done.returncode == 0
    assert "linemon agent --to collector.example:4000" in done.stdout
    assert done.stderr == ""


@pytest.mark.slow
def test_is_small(start: Start, serve: Start, tmp_path: Path) -> None:
    """Of its own it adds less than 1.3 MB to a Python with psutil, 2.4 from 3.14 on; it starts in half a second."""
    compiled = {"PYTHONPYCACHEPREFIX": str(tmp_path / "compiled"), "PYTHONDONTWRITEBYTECODE": ""}
    script = "import psutil; rss = psutil.Process().memory_info().rss; import agent.__main__; print(rss)"
    for _ in range(2):  # the first compiles, which takes memory
        done = subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, **compiled},
            capture_output=True,
            check=True,
            timeout=15,
        )
    server = serve()
    agent = start("--to", server.address, "--interval", "0.1", **compiled)
    lines = server.accept()
    for _ in range(10):
        lines.row()
    process = psutil.Process(agent.process.pid)
    assert process.memory_info().rss - int(done.stdout) < (1.3e6 if sys.version_info < (3, 14) else 2.4e6)
    assert sum(process.cpu_times()[:2]) < 0.5
