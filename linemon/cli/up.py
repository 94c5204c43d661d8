"""`linemon up`: collector, dashboard and agent as processes of their own, restarted when one dies."""

from __future__ import annotations

import ctypes
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

PARTS = ("collect", "agent", "dashboard")
BACK_OFF_S = (0.5, 30.0)  # first and longest wait before a restart
STEADY_S = 10.0  # a part that ran so long had started well
STOP_S = 10.0  # until a part that does not end is killed
POLL_S = 0.1
PR_SET_PDEATHSIG = 1  # prctl(2)


def say(text: str) -> None:
    print(f"linemon: {text}", file=sys.stderr, flush=True)


@dataclass
class Part:
    """One of our processes, and how it is started again."""

    name: str
    options: list[str]
    wait: float = BACK_OFF_S[0]
    restart_at: float | None = None
    ran_well: bool = False
    process: subprocess.Popen[bytes] = field(init=False)
    started: float = field(init=False)

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        # In a session of its own: Ctrl-C reaches us alone, and we end the parts in order.
        command = [sys.executable, "-m", "linemon", self.name, *self.options]
        self.process = subprocess.Popen(command, start_new_session=True, preexec_fn=die_with_parent)  # noqa: S603
        self.started, self.restart_at = time.monotonic(), None

    def mind(self) -> int | None:
        """Start the process again if it has died; its exit code where another start would not help."""
        now = time.monotonic()
        if self.restart_at is not None:
            if now >= self.restart_at:
                self.start()
            return None
        if now - self.started > STEADY_S:
            self.ran_well, self.wait = True, BACK_OFF_S[0]
        code = self.process.poll()
        if code is None:
            return None
        if code > 0 and not self.ran_well:
            return code  # it has said why: a port in use, a wrong setting
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
        say(f"{self.name} {how}; it starts again in {self.wait:g} s")
        self.restart_at = now + self.wait
        self.wait = min(2 * self.wait, BACK_OFF_S[1])
        return None


def up(options: list[str], collector_is_up: Callable[[int], bool]) -> int:
    """Run all parts until SIGINT, SIGTERM or SIGHUP: 0. Where one cannot start at all: its exit code.

    `collector_is_up` tells whether the process of that number takes lines: the others are started then.
    """
    stopping: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: stopping.append(number))
    collector = Part(PARTS[0], options)
    parts = [collector]
    try:
        while not stopping:
            if len(parts) == 1 and collector_is_up(collector.process.pid):
                parts += [Part(name, options) for name in PARTS[1:]]
            for part in parts:
                if code := part.mind():
                    return code
            time.sleep(POLL_S)
    finally:
        stop(parts)
    return 0


def stop(parts: list[Part]) -> None:
    """End all parts, one after the other, the collector last; kill what does not end by itself."""
    for part in reversed(parts):
        if part.process.poll() is None:
            part.process.terminate()
            try:
                part.process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                say(f"{part.name} does not end; killed")
                part.process.kill()
                part.process.wait()


def die_with_parent() -> None:
    """Have the system end this process when its parent is gone, however that came (Linux; elsewhere nothing)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
