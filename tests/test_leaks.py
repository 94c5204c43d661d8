"""A test that leaves something behind fails, and so does one whose collector forgot something."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.running import LEAKS

LEAKING = """\
import socket, threading, time

kept = []


def test_a_socket():
    kept.append(socket.socket())


def test_a_thread():
    threading.Thread(target=time.sleep, args=(4,)).start()


def test_nothing():
    socket.socket().close()
    thread = threading.Thread(target=time.sleep, args=(0.3,))
    thread.start()
"""


@pytest.mark.slow
def test_what_a_test_leaves_fails_it(tmp_path: Path) -> None:
    """A thread that ends by itself within a moment is none that was left."""
    file = tmp_path / "test_leaking.py"
    file.write_text(LEAKING)
    without = ["-p", "no:cacheprovider", "-p", "no:schemathesis"]  # which take long to be imported
    pytest = [sys.executable, "-m", "pytest", "-q", "-rE", "-p", "tests.conftest", *without, str(file)]
    done = subprocess.run(pytest, cwd=Path(__file__).parents[1], capture_output=True, text=True, timeout=110)
    failed = {line.split("::")[1].split()[0] for line in done.stdout.splitlines() if line.startswith("ERROR ")}
    assert failed == {"test_a_socket", "test_a_thread"}, done.stdout


def test_what_a_collector_forgot_is_read_in_its_log() -> None:
    for line in (
        "Task was destroyed but it is pending!",
        "x.py:3: RuntimeWarning: coroutine 'x' was never awaited",
        "Task exception was never retrieved",
        "x.py:3: ResourceWarning: unclosed <socket.socket fd=7>",
    ):
        assert LEAKS.search("10:00:00 collect: HTTP on 127.0.0.1:1\n" + line), line
    for end in ("sys:1", "<sys>:0"):  # as Python 3.11 and 3.14 say it
        assert not LEAKS.search(f"{end}: ResourceWarning: unclosed file <_io.FileIO name='catalog'>\n")
