"""Who has fallen silent: one answer for the commands, HTTP and the page.

It is told by when rows came, on the collector's clock. What their senders stamped them with says nothing of it.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from linemon.errors import UnknownSource
from linemon.store.reader import Source, Store

OWN: Final = "linemon.collector"  # the source of the collector's own counters, a row a second
RECENT: Final = 100  # rows that tell what is usual
SILENT_S, SILENT_STEPS = 10.0, 5
USUAL: Final = 0.9  # of the steps, longest last: a sender that pauses now and then is not silent each time
RATE_SPAN_S: Final = 1.0  # over less a rate would be that of one burst


def silent_after(steps: npt.NDArray[np.float64] | float) -> float:
    """How long ago (seconds) the newest row of a source came when the source is called silent.

    `steps`: the seconds between its last arrivals (at most `RECENT` of them), or the usual one as one number. Those of
    0 are one arrival of several rows; the usual step is longer than nine in ten. A source is silent when it has missed
    five usual steps, and for ten seconds. A source that came once owes no second time: inf without any step.
    """
    steps = np.atleast_1d(steps)
    steps = steps[steps > 0]
    return max(SILENT_S, SILENT_STEPS * float(np.quantile(steps, USUAL))) if len(steps) else math.inf


class Life(NamedTuple):
    """How a source is at a moment. None where nothing is known, as before its first row."""

    arrived: int | None  # when its newest row came, ns
    age_s: float | None
    rate_per_s: float | None  # of late; of a silent source none
    silent_after_s: float  # at what age it is silent
    silent_since: int | None  # `arrived`, if it is

    @classmethod
    def of(cls, source: Source, now: int) -> Life:
        """At `now`, ns."""
        times, counts = source.arrivals.T
        if not len(times):
            return cls(None, None, None, math.inf, None)
        arrived = int(times[-1])
        age = max(0.0, (now - arrived) / 1e9)
        patience = silent_after(np.diff(times) / 1e9)
        if age > patience:
            return cls(arrived, age, None, patience, arrived)
        elapsed = float(times[-1] - times[0]) / 1e9
        rate = float(counts[-1] - counts[0]) / elapsed if elapsed >= RATE_SPAN_S else None
        return cls(arrived, age, rate, patience, None)


def collector_silent_since(store: Store, now: int) -> int | None:
    """When (ns) the collector last wrote its counters, where that was more than ten seconds before `now` (ns)."""
    try:
        arrived = Life.of(store[OWN], now).arrived
    except UnknownSource:  # it has never run, or had no room for this source
        return None
    return arrived if arrived is not None and now - arrived > SILENT_S * 1e9 else None
