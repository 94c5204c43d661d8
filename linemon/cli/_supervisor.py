"""The processes of `linemon up`: started, restarted when one dies, and ended in order.

It is there for months and only waits, so it is run as a file of its own, in place of the command that was typed, and
imports nothing of linemon: 13 MB in place of 41.
"""

from __future__ import annotations

import ctypes
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
READY = "LINEMON_READY"  # in the environment: the descriptor at which a process says that it is ready
PR_SET_PDEATHSIG = 1  # prctl(2)


def say(text: str) -> None:
    print(f"linemon: {text}", file=sys.stderr, flush=True)


class Child:
    """One of our processes, and how it is started again."""

    def __init__(self, name: str, options: list[str], tells: int | None = None) -> None:
        """`tells`: the descriptor at which the process is to say that it is ready."""
        self.name, self.options, self.tells = name, options, tells
        self.wait = BACK_OFF_S[0]  # seconds, before the next restart
        self.restart_at: float | None = None
        self.ran_well = False
        self.start()

    def start(self) -> None:
        # In a session of its own: Ctrl-C reaches us alone, and we end them in order. -P: a file of the folder that we
        # were started in must not be taken for a module of ours.
        command = [sys.executable, "-P", "-m", "linemon", self.name, *self.options]
        fds = () if self.tells is None else (self.tells,)
        environment = os.environ | ({READY: str(self.tells)} if fds else {})
        self.process = subprocess.Popen(  # noqa: S603
            command, start_new_session=True, preexec_fn=die_with_parent, pass_fds=fds, env=environment
        )
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


def up(commands: list[str], options: list[str]) -> int:
    """Run all these commands until SIGINT or SIGTERM: 0. Where one cannot start at all: its exit code.

    The first is the collector. The others start once it says that it takes lines.
    """
    woken, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)  # they are read from the pipe
    ending = {signal.SIGINT, signal.SIGTERM} | ({signal.SIGHUP} if has_terminal() else set())
    told, tells = os.pipe()
    children = [Child(commands[0], options, tells)]
    try:
        while True:
            for child in children:
                if code := child.mind():
                    return code
            waits = [child.restart_at - time.monotonic() for child in children if child.restart_at is not None]
            ready, _, _ = select.select([woken, told], [], [], max(0.0, min(waits)) if waits else None)
            if told in ready:
                os.read(told, 1)
                if len(children) == 1:
                    children += [Child(name, options) for name in commands[1:]]
            signals = set(os.read(woken, 512)) if woken in ready else set()
            if signals & ending:
                return 0
            if signal.SIGHUP in signals and children[0].restart_at is None:  # read certificates and tokens anew
                children[0].process.send_signal(signal.SIGHUP)
    finally:
        stop(children)


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
    sys.exit(up(sys.argv[1].split(","), sys.argv[2:]))
