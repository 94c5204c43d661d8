"""The processes of `linemon up`: started, restarted when one dies, and ended in order.

It is there for months and only waits, so it is run as a file of its own, in place of the command that was typed, and
imports nothing of linemon: 13 MB in place of 41.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress

AGAIN = 75  # EX_TEMPFAIL of sysexits(3): a process ends with it that asks to be started again, however young it is
BACK_OFF_S = (0.5, 30.0)  # first and longest wait before a restart
STEADY_S = 10.0  # a process that ran so long had started well
STOP_S = 10.0  # until a process that does not end is killed
LOOK_S = 0.1  # from one look to the next whether the collector takes lines
PR_SET_PDEATHSIG = 1  # prctl(2)


def say(text: str) -> None:
    print(f"linemon: {text}", file=sys.stderr, flush=True)


class Child:
    """One of our processes, and how it is started again."""

    def __init__(self, name: str, options: list[str]) -> None:
        self.name, self.options = name, options
        self.wait = BACK_OFF_S[0]  # seconds, before the next restart
        self.restart_at: float | None = None
        self.ran_well = False
        self.start()

    def start(self) -> None:
        # In a session of its own: Ctrl-C reaches us alone, and we end them in order. -P: a file of the folder that we
        # were started in must not be taken for a module of ours.
        command = [sys.executable, "-P", "-m", "linemon", self.name, *self.options]
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
        if code > 0 and code != AGAIN and not self.ran_well:
            return code  # it has said why: a port in use, a wrong setting
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with {code}"
        say(f"{self.name} {how}; restarting in {self.wait:g} s")
        self.restart_at = now + self.wait
        self.wait = min(2 * self.wait, BACK_OFF_S[1])
        return None


def up(status: str, commands: list[str], options: list[str]) -> int:
    """Run all these commands until SIGINT or SIGTERM: 0. Where one cannot start at all: its exit code.

    The first is the collector. The others start once it takes lines: once its file `status` names its process.
    """
    woken, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)  # they are read from the pipe
    ending = {signal.SIGINT, signal.SIGTERM} | ({signal.SIGHUP} if has_terminal() else set())
    children = [Child(commands[0], options)]
    try:
        while True:
            if len(children) == 1 and pid_in(status) == children[0].process.pid:
                children += [Child(name, options) for name in commands[1:]]
            for child in children:
                if code := child.mind():
                    return code
            waits = [child.restart_at - time.monotonic() for child in children if child.restart_at is not None]
            waits += [LOOK_S] if len(children) == 1 else []
            ready, _, _ = select.select([woken], [], [], max(0.0, min(waits)) if waits else None)
            signals = set(os.read(woken, 512)) if ready else set()
            if signals & ending:
                return 0
            if signal.SIGHUP in signals and children[0].restart_at is None:  # read certificates and tokens anew
                children[0].process.send_signal(signal.SIGHUP)
    finally:
        stop(children)


def pid_in(status: str) -> int | None:
    """The process that wrote this file last; None before the first time."""
    try:
        with open(status) as file:
            return int(json.load(file)["pid"])
    except (OSError, ValueError, KeyError):
        return None


def has_terminal() -> bool:
    """Whether SIGHUP means that our terminal is gone; a service is told by it to read its files anew."""
    with suppress(OSError):
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
        return True
    return False


def stop(children: list[Child]) -> None:
    """End all, one after the other, the collector last; kill what does not end by itself."""
    for child in reversed(children):
        if child.process.poll() is None:
            child.process.terminate()
            try:
                child.process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                say(f"{child.name} does not exit; killed")
                child.process.kill()
                child.process.wait()


def die_with_parent() -> None:
    """Have the system end this process when its parent is gone, however that came (Linux; elsewhere nothing)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(up(sys.argv[1], sys.argv[2].split(","), sys.argv[3:]))
