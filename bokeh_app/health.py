"""How the collector and this server are: for the strip on the overview, and for the health page."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import Any

import numpy as np

from linemon import locks
from linemon.errors import LinemonError
from linemon.store.liveness import OWN
from linemon.store.status import read_parts

from .packing import epoch_ms
from .pump import Pump

STORE_S = 5.0  # how often the store's memory is looked at
PARTS_S = 1.0  # and what parts say
COUNTERS = ("received", "stored", "duplicate", "lost", "connections", "connections_refused", "tap_rows_lost")


def facts(pump: Pump, with_lines: bool = False) -> dict[str, Any]:
    """What is known now; what is not known is left out. `with_lines`: the last bad lines and this server, too."""
    return pump.shared(("health", with_lines), lambda: _facts(pump, with_lines))


def _facts(pump: Pump, with_lines: bool) -> dict[str, Any]:
    known: dict[str, Any] = {"sources": len(pump.names()), "trouble": pump.trouble}
    try:
        status = pump.store.status()
        source = pump.source(OWN)
        rows = source.last(1) if source else None
    except (LinemonError, OSError, ValueError) as error:
        return known | {"trouble": str(error)}
    if source and rows is not None and len(rows):
        now = dict(zip(rows.columns, rows.values[0].tolist(), strict=True))
        known["age_ms"] = time.time() * 1e3 - float(epoch_ms(rows.time)[0])
        known["stored_per_s"] = now.get("lines.stored_per_s")
        known["rejected_per_s"] = now.get("lines.rejected_per_s")
    known["senders"] = status.get("connections")
    known["started"] = status.get("started")
    known["max_sources"] = pump.config.store.max_sources
    known["store_bytes"] = pump.shared("store bytes", lambda: _store_bytes(pump), STORE_S)
    if with_lines:
        known["counters"] = {name: status[name] for name in COUNTERS if name in status}
        known["rejected"] = status.get("rejected", {})
        known["dropped"] = status.get("dropped", {})
        known["held_back"] = status.get("held_back", {})
        known["parts"] = pump.shared("parts", lambda: _parts(pump), PARTS_S)
        known["bad_lines"] = status.get("bad_lines", [])[-100:]
        known["pages"] = len(pump.pages)
        known["tick_ms"] = pump.busy * 1e3
    return {name: None if isinstance(value, float) and np.isnan(value) else value for name, value in known.items()}


def _parts(pump: Pump) -> list[dict[str, Any]]:
    """What `linemon status` says of each part; one that was killed does not run."""
    found = read_parts(pump.store.path)
    for said in found:
        with suppress(OSError):
            said["runs"] = said.get("runs") and locks.is_taken(pump.config.state_folder / f"{said['part']}.lock")
    return found


def _store_bytes(pump: Pump) -> int:
    """What the store takes: its files are sparse."""
    try:
        return sum(entry.stat().st_blocks * 512 for entry in os.scandir(pump.store.path) if entry.is_file())
    except OSError:
        return 0
