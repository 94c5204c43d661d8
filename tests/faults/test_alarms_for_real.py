"""Alarms that are shipped, provoked on a real host: an agent and a collector that are stopped, a file system that is
filled, a notifier that refuses.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.running import eventually
from tests.test_alarms import Watched

# The shipped rules, but for times that a test can wait for.
SOONER = """
[[alarm]]
name = "disk full"
value = "max(5s)"
for = "1s"
keep = "1s"
[[alarm]]
name = "silent agent"
warning = "> 5"
only_if = "overdue() > 3"
[[alarm]]
name = "collector down"
critical = "> 5"
"""
REFUSES = """
[[notify]]
name = "refuses"
kind = "command"
argv = ["false"]
[[alarm]]
name = "v"
source = "web1"
columns = "v"
warning = "> 90"
notify = ["refuses"]
"""
DISK = 'truncate -s 16M "$0/disk" && mkfs.ext4 -q "$0/disk" && mount -o loop "$0/disk" "$0/mnt" && exec "$@"'


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    watched = Watched(tmp_path / "one", SOONER)
    yield watched
    watched.stop()


def agent(watched: Watched, *before: str) -> subprocess.Popen[bytes]:
    host, port = watched.collector.address()
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    command = [*before, sys.executable, "-m", "agent", "--to", f"{host}:{port}", "--name", "host"]
    return subprocess.Popen(command, env=environment)


def test_an_agent_that_is_stopped_is_silent(watched: Watched) -> None:
    """kill -STOP: told once; kill -CONT: over. What it could not send meanwhile raises nothing."""
    process = agent(watched)
    try:
        eventually(lambda: "host" in watched.collector.store and watched.collector.store["host"].rows > 5, "rows")
        # Silence proves nothing in the first minute of a collector, and for half a minute its message waits for others.
        process.send_signal(signal.SIGSTOP)
        eventually(lambda: watched.told, "it is told", 150)
        assert [(each["alarm"], each["source"], each["state"]) for each in watched.told] == [
            ("silent agent", "host", "warning")
        ]
        process.send_signal(signal.SIGCONT)
        assert watched.until("ok")["alarm"] == "silent agent"
        assert len(watched.told) == 2
    finally:
        process.kill()
        process.wait()


def test_a_file_system_that_is_filled_is_full(watched: Watched, tmp_path: Path) -> None:
    apart = ["unshare", "--mount", "sh", "-c", DISK, str(tmp_path)]
    if os.geteuid() != 0 or not shutil.which("mkfs.ext4") or subprocess.run([*apart[:4], "true"]).returncode:
        pytest.skip("a file system of its own needs root, and the programs unshare and mkfs.ext4")
    mount = tmp_path / "mnt"
    mount.mkdir()
    process = agent(watched, *apart)
    try:
        column = f"fs.{mount}.used_pct"
        store = watched.collector.store
        eventually(lambda: "host" in store and column in store["host"].columns, f"the column {column}")
        inside = Path(f"/proc/{process.pid}/root{mount}/file")
        try:
            inside.write_bytes(bytes(12_500_000))
        except FileNotFoundError:
            pytest.skip("this machine does not let us mount a loop device")
        told = watched.until("warning", deadline_s=60)
        assert (told["alarm"], told["column"]) == ("disk full", column)
        assert f"{mount} is 9" in told["text"]
        inside.unlink()
        assert watched.until("ok", deadline_s=60)["alarm"] == "disk full"
    finally:
        process.kill()
        process.wait()


def test_a_disk_that_fills_up_is_told_of_before_it_is_full(watched: Watched) -> None:
    """A day and a half of a disk that grew by more than a percent an hour, as a spool brings it; then rows of now."""
    now = int(time.time())
    lines = (f"{at} {90 + (at - now) / 3000:.3f}\n" for at in range(now - 36 * 3600, now, 60))
    head = "#source host\n#columns time fs./.used_pct:%\n"
    watched.collector.say(head + "".join(lines))

    def told() -> bool:
        watched.collector.say(f"{head}{time.time():.3f} 90\n")
        return bool(watched.told)

    eventually(told, "it is told", 90)
    assert [each["alarm"] for each in watched.told] == ["disk fills up"]
    assert "/ is full in 8 hours" in watched.told[0]["text"]


def test_a_collector_that_is_stopped_is_down(watched: Watched) -> None:
    """And silence of the sources behind it proves nothing meanwhile."""
    watched.row(5)
    own = "linemon.collector"
    eventually(lambda: own in watched.collector.store and watched.collector.store[own].rows > 3, "its own rows")
    watched.collector.process.send_signal(signal.SIGSTOP)
    try:
        assert watched.until("critical", deadline_s=60)["alarm"] == "collector down"
    finally:
        watched.collector.process.send_signal(signal.SIGCONT)
    assert watched.until("ok", deadline_s=60)["alarm"] == "collector down"
    assert len(watched.told) == 2


def test_a_notifier_that_refuses_is_told_of_by_another(tmp_path: Path) -> None:
    watched = Watched(tmp_path / "one", REFUSES)
    try:
        watched.row(99)
        told = watched.until("warning", deadline_s=60)
        assert (told["alarm"], told["column"]) == ("notifier fails", "notify.refuses.fails")
        assert "notifier refuses fails" in told["text"]
        eventually(lambda: "refuses" in watched.collector.run("status").stdout, "it is shown")
        status = watched.collector.run("status").stdout
        assert "outbox.dead 1" in status
        assert "outbox.failed 1" in status
    finally:
        watched.stop()
