"""The connection to the collector: lines out, its complaints in.

A row that finds no connection, or one that takes no more bytes, is dropped and counted; sampling never
waits. What the operating system took and the collector never read is not known here: that takes
acknowledgements.
"""

from __future__ import annotations

import os
import selectors
import socket
import struct
import threading
import time
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

NAN = float("nan")
OFF = struct.pack("ii", 0, 0)  # SO_LINGER
CONNECT_TIMEOUT = 10.0  # seconds, for each address of the collector
SHORTEST_PAUSE, LONGEST_PAUSE = 0.5, 30.0  # seconds before the next attempt, at most
ATTEMPT_EVERY = 1.0  # seconds from one attempt to the next, at least
DEAD_AFTER = 30.0  # seconds without a sign of life from the other end
COMPLAIN_EVERY = 60.0  # seconds between two of the collector's complaints in the log
LONGEST_ANSWER = 4096  # bytes of an unfinished answer that are kept

# Where the platform has them: a peer that vanished without a word is noticed within DEAD_AFTER.
KEEP_ALIVE = (
    ("TCP_USER_TIMEOUT", int(DEAD_AFTER * 1000)),  # with bytes on their way
    ("TCP_KEEPIDLE", int(DEAD_AFTER / 2)),  # without
    ("TCP_KEEPALIVE", int(DEAD_AFTER / 2)),  # the same on macOS
    ("TCP_KEEPINTVL", 5),
    ("TCP_KEEPCNT", 3),
)


class Sender:
    """Sends rows to one collector over a connection that is made anew whenever it is lost.

    Names are looked up and connections made in a thread that lives only while there is none, because a
    look-up can block for seconds and cannot be told not to.
    """

    def __init__(
        self,
        address: tuple[str, int],
        name: str,
        token: str,
        columns: dict[str, str],
        fixed: int,
        selector: selectors.BaseSelector,
        log: Callable[[str], None],
    ) -> None:
        """`columns` (name to unit) may grow at its end; its first `fixed` are those that every host has."""
        self.dropped = 0
        """Rows that were not handed to the operating system whole."""
        self._address = address
        self._where = "{}:{}".format(f"[{address[0]}]" if ":" in address[0] else address[0], address[1])
        self._name, self._token = name, token
        self._columns, self._fixed = columns, fixed
        self._selector, self._log = selector, log
        self._sending: bool | None = None  # as the log says; None: it has said nothing yet
        self._reported = 0  # dropped rows that the log has told of
        self._complained_at = float("-inf")
        self._complaints = 0  # since then
        self._pause = SHORTEST_PAUSE
        self._attempted = float("-inf")
        # Of the connection:
        self._unsent, self._answer = b"", b""
        self._row_waits = False
        self._linger = OFF
        self._lines = self._columns_line = 0  # sent so far; the number of the last #columns
        self._names: list[str] = []  # the columns it has declared,
        self._width = 0  # how many these are,
        self._seen = 0  # how many there were to declare,
        self._accepted = fixed  # and how many it can fall back to,
        self._refused = False  # which it has done
        self._sock: socket.socket | None = None
        self._dialled: socket.socket | None = None  # handed over by the thread
        self._dial()

    def send(self, at: float, values: dict[str, float]) -> None:
        """Send one row of epoch time `at` in seconds, or count it as dropped; returns at once."""
        if self._sock is None and self._dialled is not None:
            self._adopt(self._dialled)
        if self._sock is None or not self._flush():
            self.dropped += 1
            return
        self._works()
        if len(self._columns) > self._seen and not self._refused:
            self._accepted = self._width
            self._declare(len(self._columns))
        row = [f"{at:.6f}"]
        row.extend([f"{values.get(name, NAN):.15g}" for name in self._names])
        self._write(" ".join(row))
        self._row_waits = True
        self._flush()

    def close(self) -> None:
        """End the connection; the collector never takes a part of a row for all of it."""
        if self._sending is False:
            self._log(f"ends; {self.dropped - self._reported} rows were not sent to {self._where}")
        if self._sock is not None:
            self._hang_up(self._sock)

    # Lines on their way. `_unsent` is what a full buffer did not take; then no further row is begun.

    def _write(self, line: str) -> None:
        self._unsent += f"{line}\n".encode()
        self._lines += 1

    def _flush(self) -> bool:
        """Whether all that was written is sent."""
        if self._unsent and self._sock is not None:
            try:
                self._unsent = self._unsent[self._sock.send(self._unsent) :]
            except BlockingIOError:
                self._fails(f"{self._where} takes no more rows")
            except OSError as error:
                self._lost(error.strerror or str(error))
                return False
            # Whatever ends us in the middle of a row, SIGKILL too, must end the connection by a reset: at a
            # clean end the collector would take half a number for a whole one.
            linger = struct.pack("ii", bool(self._unsent), 0)
            if linger != self._linger:
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                self._linger = linger
        if not self._unsent:
            self._row_waits = False
        return not self._unsent

    def _declare(self, width: int) -> None:
        """Name the first `width` columns to the collector."""
        self._seen, self._width = len(self._columns), width
        self._names = list(self._columns)[:width]
        units = [f"{name}:{unit}" if unit else name for name, unit in self._columns.items()]
        self._write("#columns time " + " ".join(units[:width]))
        self._columns_line = self._lines

    # What the collector answers.

    def _readable(self, _mask: int) -> None:
        if self._sock is None:
            return
        try:
            answer = self._sock.recv(65536)
        except BlockingIOError:
            return
        except OSError as error:
            self._lost(error.strerror or str(error))
            return
        if not answer:
            self._lost("closed by the collector")
            return
        *lines, rest = (self._answer + answer).split(b"\n")
        self._answer = rest[:LONGEST_ANSWER]
        for line in lines:
            if line.startswith(b"#error "):
                text = line[len(b"#error ") :].decode("utf-8", "replace")
                self._complaint("".join(char if char.isprintable() else "?" for char in text))

    def _complaint(self, text: str) -> None:
        """Take one complaint, LINE REASON; the log gets the first, then one every COMPLAIN_EVERY."""
        line, _, reason = text.partition(" ")
        # A host whose devices changed since the agent's last run may not fit the columns that the collector
        # holds. Those of every host always do, and a part of the columns is better than none.
        about_columns = line in (str(self._columns_line), str(self._columns_line + 1)) and "column" in reason
        if about_columns and not self._refused and self._accepted < self._width:
            self._refused = True
            self._declare(self._accepted)
            self._log(f"{self._where} gets the first {self._width} columns, as it refuses more: {reason}")
            return
        self._complaints += 1
        if time.monotonic() - self._complained_at >= COMPLAIN_EVERY:
            more = f" ({self._complaints} since the last such line)" if self._complaints > 1 else ""
            self._log(f"{self._where} rejects line {line}: {reason}{more}")
            self._complained_at, self._complaints = time.monotonic(), 0

    # Connections.

    def _adopt(self, sock: socket.socket) -> None:
        """Begin a connection that the thread has made: say who sends, and all columns again."""
        self._sock, self._dialled = sock, None
        self._connected_at = time.monotonic()
        self._selector.register(sock, selectors.EVENT_READ, self._readable)
        self._unsent, self._answer = b"", b""
        self._row_waits = self._refused = False
        self._linger = OFF
        self._lines = 0
        if self._token:
            self._write(f"#token {self._token}")
        self._write("#errors on")
        self._write(f"#source {self._name}")
        self._accepted = self._fixed
        self._declare(len(self._columns))

    def _lost(self, reason: str) -> None:
        sock, self._sock = self._sock, None
        if sock is None:
            return
        self._selector.unregister(sock)
        self._hang_up(sock)
        self.dropped += self._row_waits
        self._fails(f"lost {self._where}: {reason}")
        if time.monotonic() - self._connected_at > LONGEST_PAUSE:  # else it may be refusing us politely
            self._pause = SHORTEST_PAUSE
        self._dial()

    def _hang_up(self, sock: socket.socket) -> None:
        with suppress(OSError):
            sock.recv(1 << 20)  # answers left unread would make a reset of a clean end, and lose rows
        sock.close()

    def _dial(self) -> None:
        threading.Thread(target=self._keep_dialling, daemon=True).start()

    def _keep_dialling(self) -> None:
        """In the thread: try until there is a connection, with full jitter so that a fleet spreads out."""
        while True:
            if self._attempted > 0:
                chance = int.from_bytes(os.urandom(4), "big") / 2**32
                next_at = self._attempted + ATTEMPT_EVERY
                time.sleep(max(next_at - time.monotonic(), chance * self._pause))
                self._pause = min(2 * self._pause, LONGEST_PAUSE)
            self._attempted = time.monotonic()
            try:
                self._dialled = _connect(self._address)
                return
            except (OSError, UnicodeError) as error:  # the latter from names that cannot be looked up
                reason = getattr(error, "strerror", None) or error
                self._fails(f"cannot reach {self._where}: {reason}")

    # One line in the log per change of state.

    def _fails(self, text: str) -> None:
        if self._sending is not False:
            self._sending = False
            self._log(f"{text}; rows are dropped until it is back")

    def _works(self) -> None:
        if not self._sending:
            self._sending = True
            lost = self.dropped - self._reported
            rows = f", {lost} rows were dropped" if lost else ""
            self._log(f"sends to {self._where} as {self._name}{rows}")
            self._reported = self.dropped


def _connect(address: tuple[str, int]) -> socket.socket:
    """A connection that never blocks; raises OSError."""
    host = address[0].encode("ascii" if address[0].isascii() else "idna")  # as str always loads that codec
    sock = socket.create_connection((host, address[1]), CONNECT_TIMEOUT)  # type: ignore[arg-type]
    try:
        if sock.getsockname() == sock.getpeername():  # nobody listens, and the kernel joined us to ourselves
            raise ConnectionRefusedError("Connection refused")
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in KEEP_ALIVE:
            if hasattr(socket, option):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    except OSError:
        sock.close()
        raise
    return sock
