"""One receiver that takes one case once: what it costs until all is stored."""

from __future__ import annotations

import time
from dataclasses import dataclass

from bench.cases import Case, Traffic
from bench.receivers import Failed, Receiver
from bench.senders import Sender

TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Run:
    """One receiver taking one case once."""

    lines: int
    cpu_s: float
    wall_s: float
    sender_cpu_s: float
    cost: float  # in the case's unit


def measure(case: Case, receiver: type[Receiver], traffic: Traffic) -> Run:
    """Start, send, wait until all is stored, compare. Failed says what went wrong."""
    running = receiver(case.kind)
    try:
        address = "127.0.0.1", running.port
        with Sender(address, running.streams(traffic), case.period_s, running.answered) as sender:
            cpu_s = running.idle_cpu_s()  # by then it has taken what the connections said first
            start = time.monotonic()
            sender.go()
            sender_cpu_s = sender.sent(TIMEOUT_S)
            if sender_cpu_s is None:
                raise Failed(f"not taken within {TIMEOUT_S:.0f} s")
            while not running.has_all(traffic):
                if time.monotonic() - start > TIMEOUT_S:
                    raise Failed(f"not stored within {TIMEOUT_S:.0f} s")
                time.sleep(0.02)
            wall_s = time.monotonic() - start
            cpu_s = running.cpu_s() - cpu_s
            running.verify(traffic)
        cost = 100 * cpu_s / wall_s if case.period_s else 1e6 * cpu_s / traffic.lines
        return Run(traffic.lines, cpu_s, wall_s, sender_cpu_s, cost)
    finally:
        running.stop()
