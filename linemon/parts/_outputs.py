"""Rows of many sources over one connection, numbered by whoever gives them, so that what is given again after a kill is
stored once. `_port.py` is for a part's own source, whose rows need not outlive the process.

It is a thread: it says `#acks named`, and for each source `#source`, `#columns`, `#seq` and some rows, then waits until
they are acknowledged.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from linemon.config import Config
from linemon.logs import Seldom
from linemon.parts._port import find, tls_of

log = logging.getLogger(__name__)

PIECE: Final = 65536  # bytes of a source that are on their way
TOGETHER: Final = 262144  # and of all
ANSWER_S: Final = 30.0  # for all of it to be acknowledged: a backlog is taken at its pace
IDLE_S: Final = 30.0  # then the connection is ended
AGAIN_S: Final = (0.5, 30.0)  # first and longest pause before the next attempt
CLOSE_S: Final = 2.0
Key = tuple[str, str]  # source and SENDER


@dataclass
class Block:
    """Rows with one `#columns` line; `first`: the number of the one at `at`, the first that is not acknowledged."""

    first: int
    header: bytes
    rows: bytes
    done: Callable[[], None] | None = None
    at: int = 0


class Outputs:
    """Sends until it is closed; what it was given and could not send is then for whoever gave it to give again."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._runs: dict[Key, deque[Block]] = {}
        self._news = threading.Condition()
        self._is_over = False
        self._has_failed = False
        self._sock: socket.socket | None = None
        self._lines = 0  # said on this connection
        self._heard = b""
        self._rejects = Seldom()
        self.waiting = 0  # bytes
        self.rejected = 0  # rows that the collector would not have
        self._thread = threading.Thread(target=self._work, name="outputs", daemon=True)
        self._thread.start()

    def put(
        self, source: str, sender: str, first: int, header: bytes, rows: bytes, done: Callable[[], None] | None = None
    ) -> None:
        """Whole lines, the first of which has this number; `done` is called, in a thread, once they are all held."""
        with self._news:
            self._runs.setdefault((source, sender), deque()).append(Block(first, header, rows, done))
            self.waiting += len(rows)
            self._news.notify()

    def has_all(self, source: str, sender: str) -> bool:
        """Whether the collector holds all that was put of this run."""
        with self._news:
            return (source, sender) not in self._runs

    def settle(self) -> None:
        """Wait a moment for what is on its way."""
        with self._news:
            self._news.wait_for(lambda: not self._runs, CLOSE_S)

    def close(self) -> None:
        """End at once."""
        with self._news:
            self._is_over = True
            self._news.notify_all()
            if self._sock:
                self._sock.shutdown(socket.SHUT_RDWR)
        self._thread.join(CLOSE_S)

    # -- the thread

    def _work(self) -> None:
        pause = AGAIN_S[0]
        while self._wait(lambda: bool(self._runs), None):
            try:
                self._connect()
                while self._wait(lambda: bool(self._runs), IDLE_S):
                    self._exchange()
                    pause = AGAIN_S[0]
            except (OSError, ValueError) as error:
                if not self._is_over and not self._has_failed:
                    log.warning("outputs wait, %d bytes so far: %s", self.waiting, error)
                self._has_failed = True
                self._wait(lambda: False, pause)
                pause = min(2 * pause, AGAIN_S[1])
            finally:
                with self._news:
                    if self._sock:
                        self._sock.close()
                    self._sock = None

    def _wait(self, what: Callable[[], bool], seconds: float | None) -> bool:
        """Whether that is so by then, and it is not over."""
        with self._news:
            self._news.wait_for(lambda: self._is_over or what(), seconds)
            return what() and not self._is_over

    def _connect(self) -> None:
        """Dial; OSError."""
        address, token = find(self._config)
        sock = socket.create_connection((address.host, address.port), ANSWER_S)
        tls = tls_of(self._config, address)
        sock = tls.wrap(sock) if tls else sock
        sock.settimeout(ANSWER_S)
        self._heard = b""
        said = (f"#token {token}\n" if token else "") + "#errors on\n#acks named\n"
        self._lines = said.count("\n")
        with self._news:
            self._sock = sock
        sock.sendall(said.encode())

    def _exchange(self) -> None:
        """Send some rows of each run, and hear that they are held. OSError."""
        assert self._sock
        wanted: dict[Key, tuple[int, int]] = {}  # the number after it, and where that is
        says, of_rows = bytearray(), set[int]()
        with self._news:
            runs = [(key, blocks[0]) for key, blocks in self._runs.items()]
        for (source, sender), block in runs:
            if len(says) > TOGETHER:
                break
            end = min(len(block.rows), block.at + PIECE)
            end = block.rows.rfind(b"\n", block.at, end) + 1 or block.rows.index(b"\n", block.at) + 1
            count = block.rows.count(b"\n", block.at, end)
            says += f"#source {source}\n".encode() + block.header + f"\n#seq {block.first} {sender}\n".encode()
            says += block.rows[block.at : end]
            of_rows |= set(range(self._lines + 4, self._lines + 4 + count))
            self._lines += 3 + count
            wanted[source, sender] = block.first + count, end
        self._sock.sendall(says)
        while wanted:
            heard = self._sock.recv(65536)
            if not heard:
                raise OSError("closed by the collector")
            *lines, self._heard = (self._heard + heard).split(b"\n")
            for line in lines:
                self._hear(line.decode("utf-8", "replace"), wanted, of_rows)
        if self._has_failed:
            log.info("outputs are sent again")
        self._has_failed = False

    def _hear(self, line: str, wanted: dict[Key, tuple[int, int]], of_rows: set[int]) -> None:
        word, _, rest = line.partition(" ")
        if word == "#error":
            number, _, reason = rest.partition(" ")
            self.rejected += number.isdigit() and int(number) in of_rows
            if self._rejects.due():
                log.warning("the collector rejects outputs: %s", reason)
        elif word == "#ack":
            number, sender, source = rest.split(" ", 2)
            key = source, sender
            if key in wanted and int(number) >= wanted[key][0]:
                self._held(key, *wanted.pop(key))

    def _held(self, key: Key, first: int, at: int) -> None:
        """The collector holds the rows of a run below this number."""
        with self._news:
            blocks = self._runs[key]
            block = blocks[0]
            self.waiting -= at - block.at
            block.first, block.at = first, at
            if at < len(block.rows):
                return
            blocks.popleft()
            if not blocks:
                del self._runs[key]
            self._news.notify_all()
        if block.done:
            block.done()
