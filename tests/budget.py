"""What a piece of work costs the collector: its CPU, and how long its loop let others wait."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.running import DEADLINE_S, Running

PAUSE_S = 0.01  # between two questions of the one who waits


class Cost(NamedTuple):
    """Seconds."""

    cpu_s: float  # user and system, of all the collector's threads
    wait_s: float  # the longest that a `#stats` asked on another connection meanwhile went unanswered


def cost(running: Running, work: Callable[[], object]) -> Cost:
    """Do the work and say what it cost the collector's process, from its start until it has returned.

    The work must return when the collector is done with it: read an answer, or wait for the rows. What an idle one
    does meanwhile, and the asking, count too (about 1 % of a core). On a busy machine `wait_s` grows with the load and
    `cpu_s` hardly: budgets are of CPU where they can be, and of waiting in multiples.
    """
    done, longest = threading.Event(), [0.0]

    def ask(sock: socket.socket) -> None:
        with sock, sock.makefile("rb") as answers:
            while not done.wait(PAUSE_S):
                asked = time.monotonic()
                sock.sendall(b"#stats\n")
                assert answers.readline().startswith(b"#stats ")
                longest[0] = max(longest[0], time.monotonic() - asked)

    asking = threading.Thread(target=ask, args=(running.connect(),))
    before = cpu_s(running.process.pid)
    asking.start()
    try:
        work()
    finally:
        done.set()
        asking.join(DEADLINE_S)
    return Cost(cpu_s(running.process.pid) - before, longest[0])


def cpu_s(pid: int) -> float:
    """What the scheduler has counted for all threads of a process, to the nanosecond."""
    return sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9
