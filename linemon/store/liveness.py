"""Who has fallen silent: one answer for the commands, HTTP and the page."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from linemon.errors import UnknownSource
from linemon.store.reader import Store

OWN: Final = "linemon.collector"  # the source of the collector's own counters, a row a second
RECENT: Final = 100  # rows that tell what is usual
SILENT_S, SILENT_STEPS = 10.0, 5


def silent_after(steps: npt.NDArray[np.float64] | float) -> float:
    """How old (seconds) the newest row of a source is when the source is called silent.

    `steps`: the seconds between its last rows (at most `RECENT` of them), or their median as one number. A source is
    silent when it has missed five of its usual steps, and for ten seconds. A source of one row owes no second: inf
    for an empty array and for nan.
    """
    usual = float(np.median(np.atleast_1d(steps))) if np.size(steps) else math.nan
    return math.inf if math.isnan(usual) else max(SILENT_S, SILENT_STEPS * usual)


def collector_silent_since(store: Store, now: int) -> int | None:
    """When (ns) the collector last wrote its counters, where that was more than ten seconds before `now` (ns)."""
    try:
        newest = store[OWN].last(1).time.view(np.int64)
    except UnknownSource:  # it has never run, or had no room for this source
        return None
    return int(newest[-1]) if len(newest) and now - newest[-1] > SILENT_S * 1e9 else None
