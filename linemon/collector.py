"""The collector: builds its parts, joins them, starts and stops them.

    inputs (bytes) -> Intake (rows) -> StoreWriter (rings) -> outputs, and every other reader of the store

One process, one thread, one event loop. It is the only writer of the store.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import ssl
import time
from datetime import UTC, datetime
from typing import Any

import numpy as np

from linemon.access import Tokens
from linemon.config import Address, Config
from linemon.errors import ConfigError, LineError
from linemon.http.site import HttpInput
from linemon.inputs.tcp import TcpInput
from linemon.lines.intake import Intake
from linemon.outputs.tap import Tap
from linemon.store.liveness import OWN
from linemon.store.reader import Store
from linemon.store.status import STATUS
from linemon.store.writer import StoreWriter
from linemon.tls import server_context

log = logging.getLogger(__name__)

STATUS_S = 1.0  # how often the counters are written out
FORGET_S = 60.0  # how often silent sources are looked for
OWN_COLUMNS = {
    "lines.received_per_s": "1/s",
    "lines.stored_per_s": "1/s",
    "lines.rejected_per_s": "1/s",
    "lines.duplicate_per_s": "1/s",
    "lines.dropped_per_s": "1/s",
    "connections": "",
    "sources": "",
    "tap.readers": "",
    "tap.lost_rows_per_s": "1/s",
    "process.cpu_pct": "%",
    "process.rss_bytes": "B",
}
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Collector:
    """Everything between the ports and the store."""

    def __init__(self, config: Config) -> None:
        """Open the store and the ports; StoreError or OSError says which one cannot be had."""
        self.config = config
        store = config.store
        self.store = StoreWriter(store.folder, store.points, store.max_sources, store.max_columns, store.mode)
        self.intake = Intake(self.store)
        reader = Store(config.store.folder)
        tokens, tls = self._secrets()
        self.tcp = TcpInput(config.tcp, self.intake, tokens, tls, self._rows_came)
        self.taps = [Tap(tap, tap.source or config.agent.source, reader) for tap in config.tap]
        self.http = HttpInput(config.http, self.intake, reader, tokens, tls, self.status, config.dashboard.listen)
        self._started = datetime.now(UTC)
        self._written: dict[str, Any] = {}
        self._status_fails = False
        self._counted = self._counters()

    def status(self) -> dict[str, Any]:
        """The counters, and where the ports are, as they stand in the store for every reader."""
        accounts = self.intake.accounts
        return {
            "pid": os.getpid(),
            "started": self._started.isoformat(timespec="seconds"),
            "tcp": str(Address(self.config.tcp.listen.host, self.tcp.port)),
            "http": str(Address(self.config.http.listen.host, self.http.server.port)),
            "taps": [
                str(Address(tap.listen.host, port.port)) for tap, port in zip(self.config.tap, self.taps, strict=True)
            ],
            "received": accounts.received,
            "stored": accounts.stored,
            "duplicate": accounts.duplicate,
            "lost": accounts.lost,
            "rejected": dict(accounts.rejected),
            "dropped": dict(accounts.dropped),
            "ahead": self.store.ahead,
            "string_fields_left_out": accounts.strings,
            "connections": self.tcp.connections,
            "connections_refused": self.tcp.refused,
            "strangers": self.tcp.door.strangers + self.http.server.door.strangers,
            "http_connections": self.http.server.connections,
            "http_malformed": self.http.server.malformed,
            "http_connections_refused": self.http.server.refused,
            "tap_readers": sum(tap.readers for tap in self.taps),
            "tap_rows_lost": sum(tap.lost for tap in self.taps),
            "bad_lines": [bad._asdict() for bad in accounts.bad_lines],
        }

    async def run(self) -> None:
        """Serve until SIGINT or SIGTERM."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        self._write_status()
        log.info("lines on %s, store in %s", self._written["tcp"], self.config.store.folder)
        log.info("HTTP on %s", self._written["http"])
        for address in self._written["taps"]:
            log.info("tap on %s", address)
        serving = asyncio.create_task(self.tcp.run())
        serving.add_done_callback(lambda _: stop.set())
        looked = synced = time.monotonic()
        syncing: asyncio.Task[None] | None = None
        try:
            while not stop.is_set():
                try:
                    await asyncio.wait_for(stop.wait(), STATUS_S)
                except TimeoutError:
                    self._write_status()
                    self._count_ourselves()
                    self.store.note_arrivals()
                    if time.monotonic() - synced > self.config.store.sync and (syncing is None or syncing.done()):
                        synced = time.monotonic()
                        syncing = asyncio.create_task(asyncio.to_thread(self._sync))  # a slow disk takes its time
                    if time.monotonic() - looked > min(FORGET_S, self.config.store.forget_after / 2):
                        looked = time.monotonic()
                        self.store.forget_silent(looked, self.config.store.forget_after)
            if serving.done():
                serving.result()  # raises what ended it
        finally:
            serving.cancel()
            await asyncio.wait([serving, syncing] if syncing else [serving])
            self.tcp.close()
            self.http.close()
            for tap in self.taps:
                tap.close()
            self._write_status()
            self.store.close()

    def _sync(self) -> None:
        try:
            self.store.sync()
        except OSError as error:
            log.error("cannot write out %s: %s", self.config.store.folder, error.strerror)

    def _secrets(self) -> tuple[Tokens, ssl.SSLContext | None]:
        """The tokens, and what TLS needs, as their files are now. ConfigError where one is wrong."""
        return self.config.tokens(), server_context(self.config.tls) if self.config.tls.cert else None

    def _reload(self) -> None:
        """Read the files of [tls] and [[token]] anew, for the connections that come from now on."""
        try:
            tokens, tls = self._secrets()
        except ConfigError as error:
            log.error("nothing is changed: %s", error)
            return
        self.tcp.renew(tokens, tls)
        self.http.renew(tokens, tls)
        log.info("certificates and tokens read anew")

    def _rows_came(self) -> None:
        self.http.update()
        for tap in self.taps:
            tap.update()

    def _counters(self) -> tuple[float, ...]:
        """The clock (s), then what is counted since the start: lines by outcome, rows lost at taps, CPU seconds."""
        accounts = self.intake.accounts
        return (
            time.monotonic(),
            accounts.received,
            accounts.stored,
            accounts.rejected.total(),
            accounts.duplicate,
            accounts.dropped.total(),
            sum(tap.lost for tap in self.taps),
            time.process_time(),
        )

    def _count_ourselves(self) -> None:
        """Append our own counters to their source, as rates since the last time."""
        before, self._counted = self._counted, self._counters()
        elapsed, *counts = (now - then for now, then in zip(self._counted, before, strict=True))
        *lines, lost, cpu = (count / elapsed for count in counts)
        sources, readers = len(self.store.rings), sum(tap.readers for tap in self.taps)
        values = [*lines, self.tcp.connections, sources, readers, lost, 100 * cpu, rss_bytes()]
        try:
            ring = self.store.bind(OWN, tuple(OWN_COLUMNS), tuple(OWN_COLUMNS.values()))
        except LineError:
            return  # no room for one more source: the log and status.json say so
        row = np.full((1, 1 + ring.width), np.nan)
        row[0, 1 : 1 + len(values)] = values
        row.view(np.int64)[0, 0] = time.time_ns()
        with contextlib.suppress(LineError):  # no room: the log says so
            ring.arena.append_to(ring.entry.slot, row.view(np.int64))

    def _write_status(self) -> None:
        status = self.status()
        if status == self._written:
            return
        self._written = status
        try:
            os.close(self.store.replace_file(STATUS, json.dumps(status).encode()))
            self._status_fails = False
        except OSError as error:
            if not self._status_fails:
                log.error("cannot write %s: %s", self.store.folder / STATUS, error.strerror)
            self._status_fails = True


def rss_bytes() -> float:
    """Our resident memory; nan where the system does not tell."""
    try:
        with open("/proc/self/statm") as file:
            return float(file.read().split()[1]) * PAGE_BYTES
    except OSError:
        return float("nan")


def main(config: Config) -> None:
    """Run a collector until it is told to stop."""

    async def start() -> None:
        await Collector(config).run()

    asyncio.run(start())
