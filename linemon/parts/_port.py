"""What a part writes: rows of a source of its own, to the collector's port like everybody's, numbered.

Those that the collector has not acknowledged wait here, the newest 16 MB of them; when the process ends they are gone.
"""

from __future__ import annotations

import asyncio
import json
import logging
import selectors
from collections.abc import Iterable, Mapping

import numpy as np

from linemon.config import Config
from linemon.ports import Address
from linemon.store.folder import read_key
from linemon.store.status import read_status
from linemon_sender.sender import SpoolSender
from linemon_sender.spool import MAX_AGE, MAX_BYTES, Spool
from linemon_sender.tls import Tls

log = logging.getLogger(__name__)

LOOK_S = 1.0  # from one look at what is due to the next
CLOSE_S = 0.5  # for the last rows to be acknowledged; the loop waits
ISO_BEFORE = 10**17  # ns: as numbers, earlier times would be taken for microseconds


class Output:
    """Rows of one source. Made in the loop that it is to work in; `close` ends it."""

    def __init__(self, config: Config, source: str) -> None:
        self._config = config
        self._spool = Spool(source, "", MAX_BYTES, MAX_AGE, log.warning)
        self._selector = selectors.DefaultSelector()
        self._connection: SpoolSender | None = None
        self._peer: tuple[Address, str] | None = None  # the collector, and the secret that it is shown
        self._rejected = 0  # by connections before
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._selector, self._turn)
        self._timer: asyncio.Handle = self._loop.call_soon(self._look)

    def state(self) -> dict[str, int]:
        """For a part's state, where there are any: rows that the collector has not acknowledged, and those that are
        lost, as too many waited or as it rejected them.
        """
        rejected = self._rejected + (self._connection.rejected if self._connection else 0)
        counts = {"unsent": self._spool.waiting, "lost": self._spool.dropped + rejected}
        return {name: count for name, count in counts.items() if count}

    def send(self, columns: Mapping[str, str], rows: Iterable[tuple[int, Iterable[float]]]) -> None:
        """Rows, each a time (ns) and a number for each of these columns, names with their units; nan is missing."""
        header = header_of(columns)
        for time, values in rows:
            self._spool.append(" ".join([time_of(time), *map(repr, map(float, values))]).encode(), header)
        if self._connection:
            self._connection.turn()

    def close(self) -> None:
        """Wait a moment for the last rows, and end."""
        self._timer.cancel()
        self._loop.remove_reader(self._selector)
        if self._connection:
            self._connection.close(CLOSE_S)
        self._selector.close()
        self._spool.close()

    def _turn(self) -> None:
        for key, mask in self._selector.select(0):
            key.data(mask)

    def _look(self) -> None:
        """Do what is due; where rows wait, see whether the collector, or its secret, is another one."""
        self._timer = self._loop.call_later(LOOK_S, self._look)
        if self._spool.waiting and (peer := find(self._config)) != self._peer:
            self._connect(*peer)
        if self._connection:
            self._connection.turn()

    def _connect(self, address: Address, token: str) -> None:
        if self._connection:
            self._rejected += self._connection.rejected
            self._connection.close(0)
        peer, tls = (address.host, address.port), tls_of(self._config, address)
        self._connection = SpoolSender(peer, token, self._spool, self._selector, _log, tls=tls)
        self._peer = address, token


def find(config: Config) -> tuple[Address, str]:
    """Where to write to, and what to show: linemon.toml says it, or else the store's collector does."""
    store, work = config.store.folder, config.work
    address = work.to
    if address is None:
        address = Address.parse(read_status(store).get("tcp", str(config.tcp.listen))).from_here
    return address, work.token or read_key(store)


def tls_of(config: Config, address: Address) -> Tls | None:
    """How the connection is made secret; None where it is not."""
    work = config.work
    if work.to and work.tls:
        return Tls(address.host, work.ca, work.cert)
    if not work.to and config.tcp.tls:
        return Tls(address.host, config.tls.cert, work.cert, is_its_own=True)
    return None


def header_of(columns: Mapping[str, str]) -> bytes:
    """The `#columns` line of these names and their units, whatever is in them; without a newline."""
    return f"#columns {json.dumps(['time', *columns.items()], ensure_ascii=False)}".encode()


def time_of(time: int) -> str:
    """A time (ns) as the line language has it."""
    return str(time) if time >= ISO_BEFORE else f"{np.datetime64(time, 'ns')}Z"


def _log(text: str) -> None:
    log.log(logging.INFO if text.startswith("sends to") else logging.WARNING, text)
