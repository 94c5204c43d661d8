"""`linemon`, `agent` and `bokeh` in processes of their own, which have their imports from the start.

A nursery (`tests/nursery.py`) imports what its program imports, and forks for each command that is asked for; from
there on the process is one like any other, with its own files, environment, limits and end. What is about the start
itself, or about memory, starts `python -m linemon` instead.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).parents[1]


class Nursery:
    """The process that forks others: of each program one, for all processes of pytest's that are forked later."""

    def __init__(self, program: str) -> None:
        self._program = program
        self._made_in = os.getpid()
        self._sock, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._process: subprocess.Popen[bytes] | None = None
        atexit.register(lambda: self._sock.close())

    def prepare(self) -> socket.socket:
        """Start it, where that has not been done; where it is spoken to.

        Workers that start one of their own have a socket of their own to it: with one for all, a nursery would wait for
        what another one has taken, and nobody would hear how its children ended.
        """
        if self._process is None:
            if self._made_in != os.getpid():
                self._sock.close()
                self._theirs.close()
                self._sock, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with self._theirs:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "tests.nursery", self._program, str(self._theirs.fileno())],
                    cwd=ROOT,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    pass_fds=[self._theirs.fileno()],
                )
        return self._sock

    def start(self, arguments: Sequence[str], files: Sequence[int], open_files: int = 0, **environment: str) -> Forked:
        """Run PROGRAM ARGUMENTS with these files as its 0, 1 and 2, and at most `open_files` if that is not 0."""
        sock = self.prepare()
        ours, theirs = os.pipe()
        asked = {
            "arguments": arguments,
            "environment": os.environ | environment,
            "cwd": os.getcwd(),
            "open_files": open_files,
        }
        socket.send_fds(sock, [json.dumps(asked).encode()], [*files, theirs])
        os.close(theirs)
        return Forked(ours)


class Forked:
    """A process that was forked, as `subprocess.Popen` has one."""

    def __init__(self, reports: int) -> None:
        """`reports`: a pipe that brings the process's number, and when it has ended its exit code; 20 bytes each."""
        self._reports = reports
        self.returncode: int | None = None
        self.pid = int(self._report())

    def _report(self) -> str:
        return os.read(self._reports, 20).decode()

    def _has_reported(self, timeout: float | None) -> bool:
        """Within so many seconds. Not by `select.select`, which knows no descriptor from 1024 on."""
        reports = select.poll()
        reports.register(self._reports, select.POLLIN)
        return bool(reports.poll(None if timeout is None else 1000 * timeout))

    def poll(self) -> int | None:
        if self.returncode is None and self._has_reported(0):
            self.returncode = int(self._report())
            os.close(self._reports)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            self._has_reported(timeout)
            if self.poll() is None:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0.0)
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


NURSERY = Nursery("linemon")
AGENTS = Nursery("agent")
BOKEH = Nursery("bokeh")


def run(arguments: Sequence[str], stdin: str | None = None, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    """What `linemon ARGUMENTS` makes of its standard input."""
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        given.write((stdin or "").encode())
        given.seek(0)
        process = NURSERY.start(arguments, [given.fileno(), out.fileno(), err.fileno()])
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(arguments, code, out.read().decode(), err.read().decode())
