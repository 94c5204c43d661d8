"""A real collector process on ports of its own, and ways to talk to it."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

import numpy as np
import pytest

from linemon.errors import UnknownSource
from linemon.store.reader import Store
from linemon.store.writer import StoreWriter
from tests import forked

DEADLINE_S = 45.0  # what is to come comes sooner, but on a machine that is busy with other tests
# What Python says of a task or a file that a program has forgotten; what is open at its end may be.
LEAKS = re.compile(
    r"(?m)^(?!<?sys>?:\d: ).*(?:Task was destroyed|never awaited|never retrieved|ResourceWarning: unclosed).*"
)
Found = TypeVar("Found")


def eventually(look: Callable[[], Found | None], what: str, deadline_s: float = DEADLINE_S) -> Found:
    """What `look` finds, as soon as it finds something that is true; a source that is not there yet is none."""
    end = time.monotonic() + deadline_s
    while time.monotonic() < end:
        with suppress(UnknownSource):
            if found := look():
                return found
        time.sleep(0.02)
    raise AssertionError(f"not within {deadline_s} s: {what}")


def free_port() -> int:
    """One that nobody listens on: these servers cannot choose one, or must come back to the same.

    It is below those that the kernel gives to connections, and to who asks for any: nobody else gets it meanwhile.
    """
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.SystemRandom().randrange(first // 2, first)
        with socket.socket() as sock, suppress(OSError):
            sock.bind(("127.0.0.1", port))
            return port


def archive(folder: Path) -> Path:
    """The agent in one file, as `make agent` builds it, in a folder of the test's own."""
    make = ["make", "agent", f"PYTHON={sys.executable}", f"DIST={folder}"]
    subprocess.run(make, cwd=Path(__file__).parents[1], check=True, capture_output=True)
    return folder / "linemon-agent.pyz"


def program(name: str, package: str = "") -> str:
    """Where it is. A package that the system does not offer leaves out the test; one that is not installed fails it."""
    found = shutil.which(name, path="/usr/bin:/bin:/usr/sbin:/sbin")
    if not found and package and shutil.which("apt-cache"):
        offered = subprocess.run(["apt-cache", "show", package], capture_output=True)
        if offered.returncode:
            pytest.skip(f"this system has no package {package}")
    assert found, f"the tests need {name}: sh tests/tools.sh"
    return found


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "linemon", *arguments]


def arrive(writer: StoreWriter, name: str, at_s: float, stamps_s: Sequence[float]) -> None:
    """Rows of one column, stamped so, come at that moment: all in seconds since the epoch."""
    ring, now = writer.bind(name, ("value",), ("",)), round(at_s * 1e9)
    rows = np.array([[round(stamp * 1e9), 0] for stamp in stamps_s])
    with mock.patch("linemon.store.arena.time.time_ns", return_value=now):
        ring.arena.append_to(ring.entry.slot, rows)
    writer.note_arrivals()


def forget(writer: StoreWriter, now_s: float, after_s: float) -> None:
    """What got no row for `after_s`, in as many steps as that takes: a busy machine may need more than one."""
    while not writer.forget_silent(now_s, after_s):
        pass


class Running:
    """A collector process and its store."""

    def __init__(
        self,
        folder: Path,
        settings: str = "",
        open_files: int = 0,
        options: Sequence[str] = (),
        environment: dict[str, str] | None = None,
        fresh: bool = False,
    ) -> None:
        """`fresh`: as `python -m linemon` starts it, where that is what a test is about, or its memory."""
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.config = folder / "linemon.toml"
        self.store_path = folder / "store"
        if not self.config.exists():
            self.config.write_text(
                f'[store]\npath = "{self.store_path}"\n'
                + (settings if "[tcp]" in settings else settings + '\n[tcp]\nlisten = "127.0.0.1:0"\n')
                + ("" if "[http]" in settings else '\n[http]\nlisten = "127.0.0.1:0"\n')
                + ("" if "[[tap]]" in settings else '\n[[tap]]\nlisten = "127.0.0.1:0"\nsource = "web1"\n')
            )
        self.log = open(folder / "log", "a+b")  # noqa: SIM115
        asked = ["collect", "--config", str(self.config), *options]
        self.process: subprocess.Popen[bytes] | forked.Forked
        if fresh or environment:
            self.process = subprocess.Popen(
                command(*asked),
                stderr=self.log,
                env=os.environ | {"PYTHONWARNINGS": "default::ResourceWarning"} | (environment or {}),
                cwd=folder if environment else None,  # another linemon than the one here
            )
        else:
            with open(os.devnull, "r+b") as nothing:
                files = [nothing.fileno(), nothing.fileno(), self.log.fileno()]
                self.process = forked.NURSERY.start(asked, files, open_files)
        self.store = Store(self.store_path)
        eventually(self._is_up, "collector up")

    def _is_up(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError((self.folder / "log").read_text())
        return self.status().get("pid") == self.process.pid

    def status(self) -> dict[str, Any]:
        return self.store.status()

    def address(self, port: str = "tcp") -> tuple[str, int]:
        at = self.status()["taps"][0] if port == "tap" else self.status()[port]
        host, _, number = at.rpartition(":")
        return host, int(number)

    def connect(self, port: str = "tcp") -> socket.socket:
        return socket.create_connection(self.address(port), timeout=DEADLINE_S)

    def say(self, text: str | bytes) -> str:
        """Send lines on a connection of their own, close our side, and return what was answered."""
        with self.connect() as sock:
            sock.sendall(text if isinstance(text, bytes) else text.encode())
            sock.shutdown(socket.SHUT_WR)
            return sock.makefile("rb").read().decode()

    def run(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """A linemon command with this collector's settings."""
        command, *more = arguments
        return forked.run([command, "--config", str(self.config), *more], stdin)

    def kill(self) -> None:
        """As `kill -9` does."""
        self.process.kill()
        self.process.wait()
        self.log.close()

    def stop(self) -> int:
        """The exit code. It must have left no task and no file behind."""
        if self.process.poll() is None:
            self.process.terminate()
        code = self.process.wait(DEADLINE_S)
        self.log.close()
        log = (self.folder / "log").read_text(errors="replace")
        assert not LEAKS.search(log), log
        return code


class Work:
    """`linemon work`, or some of its parts, in a process of its own; it logs to `work.log` beside the settings."""

    def __init__(self, config: Path, *parts: str) -> None:
        self._asked = ["work", *parts, "--config", str(config)]
        self._log = config.parent / "work.log"
        self.process: forked.Forked | None = None

    def start(self) -> Work:
        with self._log.open("ab") as log, open(os.devnull, "r+b") as nothing:
            self.process = forked.NURSERY.start(self._asked, [nothing.fileno(), nothing.fileno(), log.fileno()])
        return self

    @property
    def pid(self) -> int:
        assert self.process
        return self.process.pid

    @property
    def log(self) -> str:
        return self._log.read_text()

    def kill(self) -> None:
        """As `kill -9` does, where it runs."""
        if self.process:
            self.process.kill()
            self.process.wait(DEADLINE_S)
            self.process = None

    def stop(self, deadline_s: float = DEADLINE_S) -> None:
        """As Ctrl-C does, where it runs: it must end well."""
        if self.process:
            self.process.send_signal(signal.SIGINT)
            assert self.process.wait(deadline_s) == 0, self.log
            self.process = None
