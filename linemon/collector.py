"""The collector: builds its parts, joins them, starts and stops them.

    inputs (bytes) -> Intake (rows) -> StoreWriter (rings) -> outputs, and every other reader of the store

One process, one thread, one event loop. It is the only writer of the store.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from linemon.config import Address, Config
from linemon.inputs.tcp import TcpInput
from linemon.intake import Intake
from linemon.outputs.tap import Tap
from linemon.store import STATUS, Store
from linemon.writer import StoreWriter

log = logging.getLogger(__name__)

STATUS_S = 1.0  # how often the counters are written out, if they changed


class Collector:
    """Everything between the ports and the store."""

    def __init__(self, config: Config) -> None:
        """Open the store and the ports; StoreError or OSError says which one cannot be had."""
        self.config = config
        self.store = StoreWriter(config.store.folder, config.store.points, config.store.max_sources)
        self.intake = Intake(self.store)
        reader = Store(config.store.folder)
        self.tcp = TcpInput(config.tcp, self.intake, self._rows_came)
        self.taps = [Tap(tap, tap.source or config.agent.source, reader) for tap in config.tap]
        self._started = datetime.now(UTC)
        self._written: dict[str, Any] = {}

    def status(self) -> dict[str, Any]:
        """The counters, and where the ports are, as they stand in the store for every reader."""
        intake = self.intake
        return {
            "pid": os.getpid(),
            "started": self._started.isoformat(timespec="seconds"),
            "tcp": str(Address(self.config.tcp.listen.host, self.tcp.port)),
            "taps": [
                str(Address(tap.listen.host, port.port)) for tap, port in zip(self.config.tap, self.taps, strict=True)
            ],
            "received": intake.received,
            "stored": intake.stored,
            "duplicate": intake.duplicate,
            "rejected": dict(intake.rejected),
            "dropped": dict(intake.dropped),
            "string_fields_left_out": intake.strings,
            "connections": self.tcp.connections,
            "connections_refused": self.tcp.refused,
            "tap_readers": sum(tap.readers for tap in self.taps),
            "tap_rows_lost": sum(tap.lost for tap in self.taps),
            "bad_lines": [asdict(bad) for bad in intake.bad_lines],
        }

    async def run(self) -> None:
        """Serve until SIGINT or SIGTERM."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        self._write_status()
        log.info("lines on %s, store in %s", self._written["tcp"], self.config.store.folder)
        for address in self._written["taps"]:
            log.info("tap on %s", address)
        serving = asyncio.create_task(self.tcp.run())
        serving.add_done_callback(lambda _: stop.set())
        try:
            while not stop.is_set():
                try:
                    await asyncio.wait_for(stop.wait(), STATUS_S)
                except TimeoutError:
                    self._write_status()
            if serving.done():
                serving.result()  # raises what ended it
        finally:
            serving.cancel()
            await asyncio.wait([serving])
            self.tcp.close()
            for tap in self.taps:
                tap.close()
            self._write_status()
            self.store.close()

    def _rows_came(self) -> None:
        for tap in self.taps:
            tap.update()

    def _write_status(self) -> None:
        status = self.status()
        if status == self._written:
            return
        self._written = status
        draft = self.store.folder / (STATUS + ".new")
        try:
            draft.write_text(json.dumps(status))
            draft.rename(self.store.folder / STATUS)
        except OSError as error:
            log.error("cannot write %s: %s", draft, error.strerror)


def main(config: Config) -> None:
    """Run a collector until it is told to stop."""

    async def start() -> None:
        await Collector(config).run()

    asyncio.run(start())
