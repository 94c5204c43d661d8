"""Rows of many sources over one connection, numbered by whoever gives them, so that what is given again after a kill is
stored once. `_port.py` is for a part's own source, whose rows need not outlive the process.

It is a thread: it says `#acks named`, and for each source `#source`, `#columns`, `#seq` and some rows, then waits until
they are acknowledged.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from linemon.config import Config
from linemon.logs import Seldom
from linemon.parts._port import find, tls_of

log = logging.getLogger(__name__)

PIECE: Final = 65536  # bytes that are on their way,
PAUSE_S: Final = 0.5  # after which others' lines have the collector for themselves
ANSWER_S: Final = 30.0  # for all of it to be acknowledged: a backlog is taken at its pace
IDLE_S: Final = 30.0  # then the connection is ended
AGAIN_S: Final = (0.5, 30.0)  # first and longest pause before the next attempt
CLOSE_S: Final = 2.0
LOOK_S: Final = 1.0
REST_S: Final = 10.0  # of a source that cannot be taken now
MAY_PASS: Final = ("token", "max_sources", "store_full", "sequence")  # reasons why not
HEAD: Final = 3  # lines before the rows of a source
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
        self._rests: dict[Key, float] = {}  # until when nothing is sent of these
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

    def _is_due(self) -> bool:
        now = time.monotonic()
        return any(self._rests.get(key, 0.0) <= now for key in self._runs)

    def _work(self) -> None:
        pause = AGAIN_S[0]
        while not self._is_over:
            if not self._wait(self._is_due, LOOK_S):
                continue
            try:
                self._connect()
                while self._wait(self._is_due, IDLE_S):
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

    def _wait(self, what: Callable[[], bool], seconds: float) -> bool:
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
        says, now = bytearray(), time.monotonic()
        wanted: dict[Key, tuple[int, int]] = {}  # the number after it, and where that is
        lines: dict[int, tuple[Key, bool]] = {}  # whose each is, and whether it is a row
        with self._news:
            runs = [(key, blocks[0]) for key, blocks in self._runs.items() if self._rests.get(key, 0.0) <= now]
        for key, block in runs:
            if len(says) >= PIECE:
                break
            source, sender = key
            end = min(len(block.rows), block.at + PIECE)
            end = block.rows.rfind(b"\n", block.at, end) + 1 or block.rows.index(b"\n", block.at) + 1
            count = block.rows.count(b"\n", block.at, end)
            says += f"#source {source}\n".encode() + block.header + f"\n#seq {block.first} {sender}\n".encode()
            says += block.rows[block.at : end]
            lines |= {self._lines + i: (key, i > HEAD) for i in range(1, HEAD + count + 1)}
            self._lines += HEAD + count
            wanted[key] = block.first + count, end
        is_much = len(says) >= PIECE
        self._sock.sendall(says)
        while wanted:
            heard = self._sock.recv(65536)
            if not heard:
                raise OSError("closed by the collector")
            *answers, self._heard = (self._heard + heard).split(b"\n")
            for answer in answers:
                self._hear(answer.decode("utf-8", "replace"), wanted, lines)
        if self._has_failed:
            log.info("outputs are sent again")
        self._has_failed = False
        if is_much:
            self._wait(lambda: False, PAUSE_S)

    def _hear(self, answer: str, wanted: dict[Key, tuple[int, int]], lines: dict[int, tuple[Key, bool]]) -> None:
        word, _, rest = answer.partition(" ")
        if word == "#error":
            number, _, reason = rest.partition(" ")
            if self._rejects.due():
                log.warning("the collector rejects outputs: %s", reason)
            key, is_row = lines.get(int(number) if number.isdigit() else 0, (None, False))
            if key is None or key not in wanted:
                return
            if reason.partition(":")[0] in MAY_PASS:
                self._rests[key] = time.monotonic() + REST_S
                del wanted[key]
            elif is_row:  # it is acknowledged all the same
                self.rejected += 1
            else:
                del wanted[key]
                block = self._runs[key][0]
                self.rejected += block.rows.count(b"\n", block.at)
                self._held(key, 0, len(block.rows))
        elif word == "#ack":
            number, sender, source = rest.split(" ", 2)
            key = source, sender
            if key in wanted and int(number) >= wanted[key][0]:
                self._held(key, *wanted.pop(key))

    def _held(self, key: Key, first: int, at: int) -> None:
        """The collector holds the rows of a run below this number, or will not have them."""
        with self._news:
            self._rests.pop(key, None)
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
