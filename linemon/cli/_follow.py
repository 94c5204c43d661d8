"""`linemon send --follow FILE`: a file from its beginning, then what is added to it, and the file that takes its place.

Each piece is sent with `#stats`, whose answer confirms it; a piece that is not confirmed is sent again on the next
connection. So each line arrives at least once. A file has connections of its own: what one says of sources and columns
does not hold for the next.
"""

from __future__ import annotations

import os
import socket
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from linemon.cli.send import END, PIECE_BYTES, Answers, Feed, say
from linemon.errors import AskedWrongly, LinemonError

LOOK_S = 0.2  # how often it looks whether there is more
IDLE_S = 30.0  # a connection that nothing needs is closed before the collector closes it
SOON_S, LATE_S = 0.5, 15.0  # the first and the longest pause before it connects again
KEPT = (b"#source", b"#columns")  # what a connection must hear again


class Follower:
    """Follows one path until Ctrl-C."""

    def __init__(
        self,
        path: str,
        connect: Callable[[], socket.socket],
        head: bytes,
        feed: Callable[[], Feed],
        answers: Answers,
    ) -> None:
        """`head`: the lines that a connection begins with. `feed` makes what reads a file."""
        self._path, self._connect, self._head, self._make_feed = Path(path), connect, head, feed
        self._answers = answers
        self._sock: socket.socket | None = None
        self._used = 0.0  # when the connection was needed last
        self._kept: dict[bytes, bytes] = {}
        self._lines = 0  # of this file that are confirmed, as the feed made them
        self._under_way = b""
        self._is_sent = False  # all of it

    def run(self) -> None:
        """Send what there is and what comes; returns after Ctrl-C."""
        say(f"following {self._path}; lines that a broken connection leaves open are sent again: at least once each")
        try:
            while True:
                with self._open() as file:
                    self._follow(file)
        except KeyboardInterrupt:
            self._hear_the_last()
        finally:
            self._hang_up()

    def _hear_the_last(self) -> None:
        """What was sent is waited for once more, not sent again; Ctrl-C may have cost us the answer that came."""
        with suppress(OSError):
            if self._sock and self._is_sent:
                self._sock.sendall(END)
            while self._sock and self._is_sent and (said := self._sock.recv(PIECE_BYTES)):
                if self._answers.hear(said):
                    self._under_way, self._is_sent = b"", False
        if count := self._under_way.count(b"\n"):
            self._answers.is_broken = True
            say(f"the collector did not confirm the last {count} lines")

    def _open(self) -> BinaryIO:
        """The file, as soon as there is one. AskedWrongly for what cannot grow."""
        is_told = False
        while True:
            try:
                if not stat.S_ISREG(self._path.stat().st_mode):
                    raise AskedWrongly(f"{self._path} is no file that grows; standard input takes it: < {self._path}")
                return self._path.open("rb")
            except FileNotFoundError:
                if not is_told:
                    say(f"{self._path} is not there yet; waiting for it")
                    is_told = True
                time.sleep(LOOK_S)

    def _follow(self, file: BinaryIO) -> None:
        """Send one file, to the end that it has when another took its place."""
        feed = self._make_feed()
        self._kept, self._lines = {}, 0
        is_over = False
        while True:
            if piece := file.read(PIECE_BYTES):
                self._deliver(feed.take(piece))
            elif is_over:
                self._deliver(feed.end())
                return self._hang_up()
            elif self._is_replaced(file):
                is_over = True  # what was added to it before that is read first
            else:
                self._rest_a_while()

    def _is_replaced(self, file: BinaryIO) -> bool:
        """Whether another file has this name now, or this one was emptied."""
        try:
            now, ours = self._path.stat(), os.fstat(file.fileno())
        except FileNotFoundError:  # moved away, and the next one is not there yet
            return False
        if (now.st_dev, now.st_ino) != (ours.st_dev, ours.st_ino):
            say(f"{self._path} was replaced; following the new one")
            return True
        if ours.st_size < file.tell():
            say(f"{self._path} was emptied; from its beginning again")
            return True
        return False

    def _rest_a_while(self) -> None:
        time.sleep(LOOK_S)
        if self._sock and time.monotonic() - self._used > IDLE_S:
            self._hang_up()

    # -- sending

    def _deliver(self, lines: bytes) -> None:
        """Send lines until they are confirmed, over as many connections as it takes."""
        if not lines:
            return
        self._under_way, self._is_sent = lines, False
        pause, is_told = SOON_S, False
        while True:
            try:
                self._exchange(lines)
                break
            except (OSError, LinemonError) as error:
                self._hang_up()
                if not is_told:
                    count = lines.count(b"\n")
                    say(f"{error or type(error).__name__}; {count} lines that it did not confirm are sent again")
                    is_told = True
                time.sleep(pause)
                pause = min(2 * pause, LATE_S)
        if is_told:
            say("connected again")
        self._under_way, self._is_sent = b"", False
        self._lines += lines.count(b"\n")
        self._keep(lines)

    def _exchange(self, lines: bytes) -> None:
        """Send lines and hear that they came; OSError or LinemonError if that is not heard."""
        if self._sock is None:
            self._sock = self._connect()
            self._answers.begin(self._lines - len(self._kept))
            self._sock.sendall(self._head + b"".join(self._kept.values()))
        self._used = time.monotonic()
        self._sock.sendall(lines + END)
        self._is_sent = True
        while said := self._sock.recv(PIECE_BYTES):
            if self._answers.hear(said):
                return
        raise ConnectionError("the collector closed the connection")

    def _keep(self, lines: bytes) -> None:
        """Remember the directives that a new connection needs."""
        if not lines.startswith(b"#") and b"\n#" not in lines:
            return
        for line in lines.split(b"\n"):
            word = line.split(None, 1)[0] if line.startswith(b"#") else b""
            if word in KEPT:
                if word == b"#source":
                    self._kept.clear()
                self._kept[word] = line + b"\n"

    def _hang_up(self) -> None:
        self._is_sent = False
        if self._sock:
            self._sock.close()
            self._sock = None
