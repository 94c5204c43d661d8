"""A tap: a TCP port that sends the rows of one source, for LabPlot, nc and whoever reads raw lines.

A row is blank-separated numbers in a fixed order, each as Python's ``repr`` of the double, ``nan`` where it is missing;
no header. Programs differ in how they cut a stream, so a row is one write, sent at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import deque
from collections.abc import Sequence

import numpy as np

from linemon.access import is_from
from linemon.config import TapConfig
from linemon.errors import StoreError
from linemon.inputs.tcp import listen
from linemon.store.reader import Rows, Store

# LabPlot's own tutorial: CPU percent, CPU MHz, memory percent, load of 1, 5 and 15 minutes; and what to multiply by.
TUTORIAL = {
    "cpu.busy_pct": 1.0,
    "cpu.freq_hz": 1e-6,
    "mem.used_pct": 1.0,
    "load.1m": 1.0,
    "load.5m": 1.0,
    "load.15m": 1.0,
}
WAITING_ROWS = 1000  # a reader that is further behind loses the oldest
MAX_READERS = 256


def raw_lines(rows: Rows, columns: Sequence[str]) -> list[bytes]:
    """Each row as a line of `columns`, missing where the source lacks one; no columns: the tutorial's six."""
    scales = dict.fromkeys(columns, 1.0) or TUTORIAL
    out = np.full((len(rows), len(scales)), np.nan)
    for i, (name, scale) in enumerate(scales.items()):
        if name in rows.columns:
            out[:, i] = rows.values[:, rows.columns.index(name)] * scale
    return [" ".join(map(repr, row)).encode() + b"\n" for row in out.tolist()]


class Reader:
    """One client, and the rows that wait for it."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.waiting: deque[bytes] = deque()
        self.half_closed = False


class Tap:
    """The tap port. `update` sends what has come; it never waits for a reader."""

    def __init__(self, config: TapConfig, source: str, store: Store) -> None:
        self._source = source
        self._columns = config.columns
        self._allow = config.allow
        self._store = store
        self._cursor: int | None = None  # None: nobody has listened yet
        self._readers: list[Reader] = []
        self.lost = 0  # rows that slow readers lost
        self._listener = listen(config.listen.host, config.listen.port)
        self.port = int(self._listener.getsockname()[1])  # where the setting says 0, the one we got
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._listener, self._accept)

    @property
    def readers(self) -> int:
        return len(self._readers)

    def update(self) -> None:
        """Send rows that came since the last call to all readers."""
        if not self._readers:
            return
        try:
            source = self._store[self._source]
            rows = source.last_arrived() if self._cursor is None else source.since(self._cursor)
        except (StoreError, OSError):  # not there yet, or being made anew
            return
        self._cursor = rows.cursor
        if not len(rows):
            return
        lost = max(0, len(rows) - WAITING_ROWS)
        lines = raw_lines(_newest(rows, WAITING_ROWS), self._columns)
        for reader in list(self._readers):
            self.lost += lost + rows.missed
            reader.waiting.extend(lines)
            self._send(reader)

    def close(self) -> None:
        """Close the port and all readers."""
        self._loop.remove_reader(self._listener)
        self._listener.close()
        for reader in list(self._readers):
            self._close(reader)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, address = self._listener.accept()
                if not is_from(str(address[0]).removeprefix("::ffff:"), self._allow):
                    sock.close()
                    continue
                if len(self._readers) >= MAX_READERS:
                    self._close(next((each for each in self._readers if each.half_closed), self._readers[0]))
                sock.setblocking(False)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.update()  # the others get theirs first, so that the new one starts at the newest row
                reader = Reader(sock)
                self._readers.append(reader)
                self._loop.add_reader(sock, self._listen, reader)
                with contextlib.suppress(StoreError):
                    newest = self._store[self._source].last_arrived()
                    self._cursor = newest.cursor
                    reader.waiting.extend(raw_lines(newest, self._columns))
                    self._send(reader)

    def _listen(self, reader: Reader) -> None:
        """What a client says is ignored; that it stops talking does not mean that it stops listening."""
        try:
            if reader.sock.recv(65536):
                return
        except BlockingIOError:
            return
        except OSError:
            self._close(reader)
            return
        reader.half_closed = True
        self._loop.remove_reader(reader.sock)

    def _send(self, reader: Reader) -> None:
        """One write per row, as far as the socket takes them."""
        while reader.waiting:
            try:
                sent = reader.sock.send(reader.waiting[0])
            except BlockingIOError:
                break
            except OSError:  # gone; usual for a tap
                self._close(reader)
                return
            if sent < len(reader.waiting[0]):
                reader.waiting[0] = reader.waiting[0][sent:]
                break
            reader.waiting.popleft()
        if reader.waiting:
            self._trim(reader)
            self._loop.add_writer(reader.sock, self._send, reader)
        else:
            self._loop.remove_writer(reader.sock)

    def _trim(self, reader: Reader) -> None:
        """Drop the oldest rows, but not one of which a part is sent already."""
        surplus = len(reader.waiting) - WAITING_ROWS
        if surplus > 0:
            first = reader.waiting.popleft()
            for _ in range(surplus):
                reader.waiting.popleft()
            reader.waiting.appendleft(first)
            self.lost += surplus

    def _close(self, reader: Reader) -> None:
        if reader in self._readers:
            self._readers.remove(reader)
            self._loop.remove_reader(reader.sock)
            self._loop.remove_writer(reader.sock)
            reader.sock.close()


def _newest(rows: Rows, count: int) -> Rows:
    if len(rows) <= count:
        return rows
    return Rows(rows.source, rows.columns, rows.units, rows.time[-count:], rows.values[-count:], rows.cursor)
