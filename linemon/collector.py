"""The collector: builds its parts, joins them, starts and stops them.

    inputs (bytes) -> Intake (rows) -> StoreWriter (rings) -> outputs, and every other reader of the store

One process, one thread, one event loop. It is the only writer of the store. What takes lines in and sends rows out are
its doors, `linemon.doors`.
"""

from __future__ import annotations

import asyncio
import concurrent.futures.thread  # noqa: F401  now: when `to_thread` needs it there may be no file left to open
import contextlib
import gc
import json
import logging
import os
import signal
import ssl
import time
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Any

import numpy as np

from linemon.access import Tokens
from linemon.config import Config
from linemon.doors import Count, House, doors
from linemon.errors import ConfigError, LineError
from linemon.lines import bulk
from linemon.lines.devices import Devices
from linemon.lines.intake import Intake
from linemon.lines.managing import commands
from linemon.lines.parting import Parting
from linemon.store.answering import Command, Commands
from linemon.store.devices import DeviceBook
from linemon.store.folder import KEY, keep_key
from linemon.store.liveness import OWN
from linemon.store.marks import Mark
from linemon.store.reader import Store
from linemon.store.specs import SHIPPED, Specs
from linemon.store.status import COLLECT_SOCKET, STATUS
from linemon.store.writer import StoreWriter
from linemon.tls import server_context
from linemon_sender.specs import Spec

log = logging.getLogger(__name__)

STATUS_S = 1.0  # how often the counters are written out
FORGET_S = 60.0  # how often silent sources are looked for
MANY_SOURCES = 1000
SYSTEM_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
UNITS = {"_per_s": "1/s", "_pct": "%", "_bytes": "B"}  # of our own columns, by how they end


class Collector:
    """Everything between the ports and the store."""

    def __init__(self, config: Config) -> None:
        """Open the store and the ports; StoreError or OSError says which one cannot be had."""
        self.config = config
        store = config.store
        self.store = StoreWriter(store.folder, store.points, store.max_sources, store.max_columns, store.mode)
        specs = Specs(config.devices.specs_folder, Spec, Specs(SHIPPED, Spec))
        self.devices = Devices(DeviceBook(config.devices_folder), specs, config.devices, self._mark)
        self.intake = Intake(self.store, self.devices, time.monotonic)
        self._reader = Store(config.store.folder)  # for those doors that send rows out
        self._started = datetime.now(UTC)
        self._written: dict[str, Any] = {}
        self._status_fails = False
        self._serving: list[asyncio.Task[None]] = []
        self._stop = asyncio.Event()
        self._key = self._keep_key()
        tokens, tls = self._secrets()
        house = House(config, self.intake, self._reader, tokens, tls, self.status, self._rows_came, self._serve)
        self.ports = [door.start(house) for door in doors()]
        self._commands = self._take_commands()
        self._counted, self._counted_at = self._totals(), time.monotonic()
        self._settled = 0  # at how many sources `_settle` has something to do

    def status(self) -> dict[str, Any]:
        """The counters, and where the ports are, as they stand in the store for every reader."""
        accounts = self.intake.accounts
        said: dict[str, Any] = {
            "pid": os.getpid(),
            "started": self._started.isoformat(timespec="seconds"),
            "received": accounts.received,
            "stored": accounts.stored,
            "duplicate": accounts.duplicate,
            "lost": accounts.lost,
            "rejected": dict(accounts.rejected),
            "dropped": dict(accounts.dropped),
            "ahead": self.store.ahead,
            "held_back": dict(accounts.held_back),
            "connections_failed": accounts.failed,
            "string_fields_left_out": accounts.strings,
            "bad_lines": [bad._asdict() for bad in accounts.bad_lines],
        }
        for port in self.ports:
            said |= port.addresses()
        for count in self._counters():
            said[count.name] = said.get(count.name, 0) + count.value
        return said

    async def run(self) -> None:
        """Serve until SIGINT or SIGTERM."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        log.info("%s", bulk.said())
        self._write_status()
        tell_ready()
        looked = synced = time.monotonic()
        syncing: asyncio.Task[None] | None = None
        try:
            while not self._stop.is_set():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(STATUS_S):
                        await self._stop.wait()
                    break
                self.store.check_place()
                self.devices.update()
                self._write_status()
                self._count_ourselves()
                self.store.note_arrivals()
                self._settle()
                if time.monotonic() - synced > self.config.store.sync and (syncing is None or syncing.done()):
                    synced = time.monotonic()
                    syncing = asyncio.create_task(asyncio.to_thread(self._sync))  # a slow disk takes its time
                self.store.tidy()
                if time.monotonic() - looked > min(FORGET_S, self.config.store.forget_after / 2):
                    now = time.monotonic()
                    if self.store.forget_silent(now, self.config.store.forget_after):
                        looked = now
            for task in self._serving:
                if task.done():
                    task.result()  # raises what ended it
        finally:
            if syncing:
                await asyncio.wait([syncing])
            await self.end()

    async def end(self) -> None:
        """Take what has arrived, and close the ports and the store."""
        for task in self._serving:
            task.cancel()
        await asyncio.wait(self._serving)
        for port in self.ports:
            port.close()
        if self._commands:
            self._commands.close()
        if not self.store.is_gone():  # another collector's may be in its place
            self._write_status()
        self.devices.book.close()
        self._reader.close()
        self.store.close()

    def _serve(self, work: Coroutine[Any, Any, None]) -> None:
        """Let a door work until the collector ends, which it does where the work fails."""
        task = asyncio.get_running_loop().create_task(work)
        task.add_done_callback(lambda _: self._stop.set())
        self._serving.append(task)

    def _settle(self) -> None:
        """Have Python look for garbage no more in sources, which stay: it takes a microsecond of each, all at once."""
        if len(self.store.rings) >= self._settled:
            self._settled = len(self.store.rings) + MANY_SOURCES
            gc.collect(1)
            gc.freeze()

    def _sync(self) -> None:
        try:
            self.store.sync()
        except OSError as error:
            log.error("cannot write out %s: %s", self.config.store.folder, error.strerror)

    def _secrets(self) -> tuple[Tokens, ssl.SSLContext | None]:
        """The tokens, and what TLS needs, as their files are now. ConfigError where one is wrong."""
        tokens = self.config.tokens(self._key)
        tokens.of_devices = self.devices.find
        return tokens, server_context(self.config.tls) if self.config.tls.cert else None

    def _take_commands(self) -> Commands | None:
        """What its own user asks by a socket beside the rings. Without one the collector works on."""
        made: dict[str, Command] = dict(commands(self.devices, time.time_ns, lambda: asyncio.sleep(0)))
        made |= Parting(self.intake, self._reader, self._rows_came, time.time_ns).commands()
        try:
            return Commands(self.store.folder / COLLECT_SOCKET, lambda: made)
        except OSError as error:
            log.error("`linemon devices`, `set`, `rename` and `forget` reach nobody: %s", error.strerror)
            return None

    def _mark(self, mark: Mark) -> None:
        with contextlib.suppress(LineError):  # no room: the log says so
            self.store.marks.add(mark)

    def _keep_key(self) -> str:
        """The secret of parts. Where the disk has no room for it, they write nothing that a token is asked for."""
        try:
            return keep_key(self.config.store.folder)
        except OSError as error:
            log.error("cannot write %s: %s", self.config.store.folder / KEY, error.strerror)
            return ""

    def _reload(self) -> None:
        """Read the files of [tls] and [[token]] anew, for the connections that come from now on."""
        try:
            tokens, tls = self._secrets()
        except ConfigError as error:
            log.error("nothing is changed: %s", error)
            return
        for port in self.ports:
            port.renew(tokens, tls)
        log.info("certificates and tokens read anew")

    def _rows_came(self) -> None:
        for port in self.ports:
            port.update()

    def _counters(self) -> list[Count]:
        return [count for port in self.ports for count in port.counters()]

    def _totals(self) -> dict[str, float]:
        """What is counted since the start, under the columns of our own source that have the rates."""
        accounts = self.intake.accounts
        totals: dict[str, float] = {
            "lines.received_per_s": accounts.received,
            "lines.stored_per_s": accounts.stored,
            "lines.rejected_per_s": accounts.rejected.total(),
            "lines.duplicate_per_s": accounts.duplicate,
            "lines.dropped_per_s": accounts.dropped.total(),
            "process.cpu_pct": 100 * time.process_time(),
        }
        return _add(totals, [count for count in self._counters() if count.column.endswith("_per_s")])

    def _count_ourselves(self) -> None:
        """Append our own counters to their source, as rates since the last time."""
        before, since = self._counted, self._counted_at
        self._counted, self._counted_at = self._totals(), time.monotonic()
        elapsed = self._counted_at - since
        row = {name: (total - before[name]) / elapsed for name, total in self._counted.items()}
        row |= {"sources": len(self.store.rings), "process.rss_bytes": rss_bytes()}
        _add(row, [count for count in self._counters() if not count.column.endswith("_per_s")])
        have = ring.entry.columns if (ring := self.store.rings.get(OWN)) else ()  # also of an earlier version
        columns = have + tuple(name for name in row if name not in have)
        units = tuple(next((unit for end, unit in UNITS.items() if name.endswith(end)), "") for name in columns)
        try:
            ring = self.store.bind(OWN, columns, units)
            cells = np.array([[np.nan] + [row.get(name, np.nan) for name in columns]])
            cells.view(np.int64)[0, 0] = time.time_ns()
            ring.arena.append_to(ring.entry.slot, cells.view(np.int64))
        except LineError:
            return  # no room: the log and status.json say so

    def _write_status(self) -> None:
        status = self.status()
        if status == self._written:
            return
        self._written = status
        try:
            self.store.replace_file(STATUS, json.dumps(status).encode())
            self._status_fails = False
        except OSError as error:
            if not self._status_fails:
                log.error("cannot write %s: %s", self.store.folder / STATUS, error.strerror)
            self._status_fails = True


def _add(row: dict[str, float], counts: list[Count]) -> dict[str, float]:
    """The row with these counts in it, those of one column added."""
    for count in counts:
        if count.column:
            row[count.column] = row.get(count.column, 0) + count.value
    return row


def rss_bytes() -> float:
    """Our resident memory; nan where the system does not tell."""
    try:
        with open("/proc/self/statm") as file:
            return float(file.read().split()[1]) * SYSTEM_PAGE_BYTES
    except OSError:
        return float("nan")


def tell_ready() -> None:
    """Tell the supervisor, where one has started us, that lines are taken."""
    if fd := os.environ.pop("LINEMON_READY", ""):
        with contextlib.suppress(OSError, ValueError), os.fdopen(int(fd), "wb") as file:
            file.write(b"\n")


def main(config: Config) -> None:
    """Run a collector until it is told to stop."""

    async def start() -> None:
        await Collector(config).run()

    asyncio.run(start())
