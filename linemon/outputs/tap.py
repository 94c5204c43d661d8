"""A tap: a TCP port that sends the rows of one source, for LabPlot, nc and whoever reads raw lines.

A row is blank-separated numbers in a fixed order, each as Python's ``repr`` of the double, ``nan`` where it is missing;
no header. Programs differ in how they cut a stream, so a row is one write, sent at once.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from linemon.access import is_from
from linemon.config import Address, Config, TapConfig
from linemon.doors import Count, House, Port, reach
from linemon.errors import StoreError
from linemon.net import Listener, listen
from linemon.store.reader import Store
from linemon.store.rows import Rows
from linemon_sender.tutorial import SCALED, TUTORIAL

log = logging.getLogger(__name__)

AT_ONCE = 1000  # rows that are made into lines together
MAX_CLIENTS = 256
LOOK_S = 1.0  # how often clients that stopped talking are looked at
# Of a client that stopped talking only this tells whether it is gone, where no row comes.
KEEP_ALIVE = ((socket.TCP_KEEPIDLE, 15), (socket.TCP_KEEPINTVL, 15), (socket.TCP_KEEPCNT, 3))


def start(house: House) -> Port:
    taps = Taps(house)
    for address in taps.addresses()["taps"]:
        log.info("tap on %s", address)
    return taps


def check(config: Config) -> list[str]:
    said = []
    for tap in config.tap:
        columns = " ".join(tap.columns) or "the six columns of LabPlot's tutorial"
        said.append(f"tap:       {tap.listen}, {columns} of {tap.source or config.agent.source}, {reach(tap.listen)}")
    return said


def raw_lines(rows: Rows, columns: Sequence[str]) -> list[bytes]:
    """Each row as a line of `columns`, missing where the source lacks one; no columns: the tutorial's six."""
    wanted = [(name, 1.0) if name in rows.columns else SCALED.get(name, (name, 1.0)) for name in columns or TUTORIAL]
    out = np.full((len(rows), len(wanted)), np.nan)
    for i, (name, scale) in enumerate(wanted):
        if name in rows.columns:
            out[:, i] = rows[name] * scale
    return [" ".join(map(repr, row)).encode() + b"\n" for row in out.tolist()]


class Lines(NamedTuple):
    """Rows as lines, the cursor after them, and how many rows before them were overwritten."""

    lines: list[bytes]
    cursor: tuple[int, int | None]
    missed: int


class Client:
    """One reader of a tap: how far it is in the ring, and the lines made of rows before that."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.cursor: tuple[int, int | None] = 0, None  # and the `born` of the source that it is of
        self.waiting: deque[bytes] = deque()
        self.half_closed = False


class Taps(Port):
    """All tap ports."""

    def __init__(self, house: House) -> None:
        self._taps = [Tap(tap, tap.source or house.config.agent.source, house.store) for tap in house.config.tap]

    def addresses(self) -> dict[str, str | list[str]]:
        return {"taps": [tap.address for tap in self._taps]}

    def counters(self) -> list[Count]:
        return [
            Count("tap_readers", sum(len(tap.clients) for tap in self._taps), "tap.readers"),
            Count("tap_readers_refused", sum(tap.refused for tap in self._taps)),
            Count("tap_rows_lost", sum(tap.lost for tap in self._taps), "tap.lost_rows_per_s"),
        ]

    def update(self) -> None:
        for tap in self._taps:
            tap.update()

    def close(self) -> None:
        for tap in self._taps:
            tap.close()


class Tap:
    """One tap port. The ring is the queue of all its clients: who is further behind than it holds loses the oldest."""

    def __init__(self, config: TapConfig, source: str, store: Store) -> None:
        self._source = source
        self._columns = config.columns
        self._allow = config.allow
        self._store = store
        self.clients: list[Client] = []
        self.lost = 0  # rows that slow clients lost
        self.refused = 0  # clients beyond MAX_CLIENTS
        self._loop = asyncio.get_running_loop()
        self._listener = Listener(
            listen(config.listen.host, config.listen.port),
            lambda sock: self._loop.add_reader(sock, self._accept),
            self._loop.remove_reader,
        )
        self.address = str(Address(config.listen.host, self._listener.port))
        self._looking = self._loop.call_later(LOOK_S, self._look)

    def update(self) -> None:
        """Send rows that came since the last call to all clients; never wait for one."""
        made: dict[tuple[int, int | None], Lines] = {}  # by cursor: most clients are at the same one
        for client in list(self.clients):
            if not client.waiting:  # else it has not taken what it was sent: its socket will say when
                self._send(client, made)

    def close(self) -> None:
        """Close the port and all connections."""
        self._listener.close()
        self._looking.cancel()
        for client in list(self.clients):
            self._close(client)

    def _accept(self) -> None:
        for sock, peer in self._listener.accepted():
            if not is_from(peer, self._allow):
                sock.close()
                continue
            if len(self.clients) >= MAX_CLIENTS:
                half_closed = next((each for each in self.clients if each.half_closed), None)
                if half_closed is None:
                    self.refused += 1
                    sock.close()
                    continue
                self._close(half_closed)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in KEEP_ALIVE:
                sock.setsockopt(socket.IPPROTO_TCP, option, value)
            try:
                newest = self._store[self._source].last_arrived()
            except (StoreError, OSError):  # not there yet, or being made anew: it gets all that comes
                newest = None
            client = Client(sock)
            self.clients.append(client)
            self._loop.add_reader(sock, self._hear, client)
            if newest:
                client.cursor = newest.cursor, newest.born
                client.waiting.extend(raw_lines(newest, self._columns))
            self._send(client, {})

    def _hear(self, client: Client) -> None:
        """What a client says is ignored; that it stops talking does not mean that it stops listening."""
        try:
            if client.sock.recv(65536):
                return
        except BlockingIOError:
            return
        except OSError:
            self._close(client)
            return
        client.half_closed = True
        self._loop.remove_reader(client.sock)

    def _look(self) -> None:
        """Count what slow clients lose, and close the connections of those that said no more and are gone since."""
        self._looking = self._loop.call_later(LOOK_S, self._look)
        for client in list(self.clients):
            if client.half_closed and client.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                self._close(client)
            elif client.waiting:
                self._count_lost(client)

    def _count_lost(self, client: Client) -> None:
        try:
            source = self._store[self._source]
            oldest = source.rows - source.points
        except (StoreError, OSError):
            return
        cursor, born = client.cursor
        if born == source.born and cursor < oldest:
            self.lost += oldest - cursor
            client.cursor = oldest, born

    def _send(self, client: Client, made: dict[tuple[int, int | None], Lines]) -> None:
        """One write per row, as far as the socket takes them."""
        waiting = client.waiting
        while waiting or self._fetch(client, made):
            try:
                sent = client.sock.send(waiting[0])
            except BlockingIOError:
                sent = 0
            except OSError:  # gone; usual for a tap
                self._close(client)
                return
            if sent < len(waiting[0]):
                waiting[0] = waiting[0][sent:]
                self._loop.add_writer(client.sock, self._send, client, {})
                return
            waiting.popleft()
        self._loop.remove_writer(client.sock)

    def _fetch(self, client: Client, made: dict[tuple[int, int | None], Lines]) -> bool:
        """Make lines of the next rows; False if there are none."""
        if client.cursor not in made:
            try:
                rows = self._store[self._source].since(*client.cursor, most=AT_ONCE)
            except (StoreError, OSError):  # not there yet, or being made anew
                return False
            made[client.cursor] = Lines(raw_lines(rows, self._columns), (rows.cursor, rows.born), rows.missed)
        lines, client.cursor, missed = made[client.cursor]
        self.lost += missed
        client.waiting.extend(lines)
        return bool(lines)

    def _close(self, client: Client) -> None:
        if client in self.clients:
            self.clients.remove(client)
            self._loop.remove_reader(client.sock)
            self._loop.remove_writer(client.sock)
            client.sock.close()
