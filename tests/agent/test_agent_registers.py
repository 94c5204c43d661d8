"""Agents as devices at a real collector: tokens of their own, blocked and let in again, forgotten, cloned."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.running import Running, eventually

Start = Callable[..., Any]
ENROL = '[[token]]\nsecret = "enrolment"\nsources = ["*"]\nenrols = true\n'


def devices(running: Running) -> list[dict[str, Any]]:
    said: list[dict[str, Any]] = json.loads(running.run("devices", "--json").stdout)
    return said


def agent(start: Start, running: Running, folder: Path, *options: str, **environment: str) -> Any:
    to = "{}:{}".format(*running.address())
    kept = ("--spool", str(folder))
    return start("--to", to, "--name", "web1", "--interval", "0.1", *kept, *options, **environment)


def more(running: Running, count: int = 5) -> None:
    before = running.store["web1"].rows if "web1" in running.store else 0
    eventually(lambda: running.store["web1"].rows > before + count, "more rows", 40.0)


@pytest.mark.slow
def test_it_enrols_and_shows_its_own_token_from_then_on(
    start: Start, start_collector: Callable[..., Running], tmp_path: Path
) -> None:
    """Also after a restart without the enrolling one; forgotten at the centre, it enrols once more."""
    running = start_collector(ENROL)
    first = agent(start, running, tmp_path / "spool", LINEMON_TOKEN="enrolment")
    more(running)
    (path,) = (tmp_path / "spool").glob("device-*/token")
    own = path.read_text()
    first.stop()
    second = agent(start, running, tmp_path / "spool")
    more(running)
    second.stop()
    assert path.read_text() == own
    assert running.run("devices", "--forget", "web1").returncode == 0
    third = agent(start, running, tmp_path / "spool", LINEMON_TOKEN="enrolment")
    third.says("does not know this device's own token")
    more(running)
    assert path.read_text() != own
    assert own not in (running.folder / "log").read_text()


@pytest.mark.slow
def test_one_that_is_blocked_keeps_its_rows(start: Start, collector: Running, tmp_path: Path) -> None:
    """Let in again, it sends them all, and none twice."""
    blocked = agent(start, collector, tmp_path / "spool")
    more(collector)
    assert collector.run("devices", "--block", "web1").returncode == 0
    blocked.says("it is blocked here")
    before = collector.store["web1"].rows
    assert collector.run("devices", "--unblock", "web1").returncode == 0
    more(collector, 80)  # those of the ten seconds until it asks again, at least
    gaps = np.diff(collector.store["web1"].since(0).time).astype(np.int64) / 1e9
    assert gaps.min() > 0
    assert gaps.max() < 1.0
    assert before < collector.store["web1"].rows


@pytest.mark.slow
def test_a_copy_of_a_machine_is_refused_and_named(start: Start, collector: Running, tmp_path: Path) -> None:
    """The first one stays."""
    agent(start, collector, tmp_path / "one")
    more(collector)
    copy = agent(start, collector, tmp_path / "two")
    copy.says("this device is connected already")
    (said,) = devices(collector)
    assert said["clone"] == "127.0.0.1"
    assert said["connected"]
    more(collector)


def test_a_lost_connection_is_replaced_at_once(start: Start, collector: Running, tmp_path: Path) -> None:
    """By its numbers: a device whose link was cut without a word need not wait until the collector has noticed."""
    first = agent(start, collector, tmp_path / "spool")
    more(collector)
    first.process.send_signal(19)  # SIGSTOP: its connection stays, and says nothing
    (lines,) = (tmp_path / "spool").glob("*.lines")
    sender = next(line.split()[2] for line in lines.read_text().splitlines() if line.startswith("#seq"))
    identity = next(line for line in lines.read_text().splitlines() if line.startswith("#device"))
    with collector.connect() as sock, sock.makefile("rb") as answers:
        sock.sendall(f"#source web1\n{identity}\n#seq 1 {sender}\n".encode())
        assert answers.readline() == b"#device web1\n"
    first.process.send_signal(18)
