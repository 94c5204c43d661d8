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
from linemon.store.ring import Cells

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
    return float(_patience(np.atleast_2d(steps))[0])


def _patience(steps: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The same of the steps of many sources, (n, k), of each those above 0."""
    steps = np.sort(np.where(steps > 0, steps, np.inf), axis=1)
    counts = np.count_nonzero(np.isfinite(steps), axis=1)
    if not counts.any():
        return np.full(len(steps), np.inf)
    at = USUAL * np.maximum(counts - 1, 0)
    rows, low = np.arange(len(steps)), at.astype(np.intp)
    usual = steps[rows, low]
    above = steps[rows, np.maximum(np.minimum(low + 1, counts - 1), 0)]
    with np.errstate(invalid="ignore"):  # inf - inf, where there are no steps
        usual = usual + (above - usual) * (at - low)
    return np.where(counts > 0, np.maximum(SILENT_S, SILENT_STEPS * usual), np.inf)


def patience_s(arrivals: Cells) -> npt.NDArray[np.float64]:
    """The same, (n,), of sources with these arrivals, (n, k, 2) as `Source.arrivals` has them; times of 0 are none."""
    times = arrivals[:, :, 0]
    return _patience(np.where(times[:, :-1] > 0, np.diff(times, axis=1), 0) / 1e9)


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
        arrivals = source.arrivals
        return cls.of_many(arrivals[np.newaxis], now)[0] if len(arrivals) else cls(None, None, None, math.inf, None)

    @classmethod
    def of_many(cls, arrivals: Cells, now: int) -> list[Life]:
        """Of sources with these arrivals, (n, k, 2) as `Source.arrivals` has them; times of 0, the first, are none."""
        times, counts = arrivals[:, :, 0], arrivals[:, :, 1]
        arrived = times[:, -1]
        patience = patience_s(arrivals)
        ages = np.maximum(0.0, (now - arrived) / 1e9)
        rows, first = np.arange(len(times)), (times > 0).argmax(axis=1)
        elapsed = (arrived - times[rows, first]) / 1e9
        rates = (counts[:, -1] - counts[rows, first]) / np.maximum(elapsed, RATE_SPAN_S)
        rates[(elapsed < RATE_SPAN_S) | (ages > patience)] = np.nan
        return [
            cls(came, age, None if rate != rate else rate, silent_after_s, came if age > silent_after_s else None)
            if came
            else cls(None, None, None, math.inf, None)
            for came, age, rate, silent_after_s in zip(
                arrived.tolist(), ages.tolist(), rates.tolist(), patience.tolist(), strict=True
            )
        ]


def collector_silent_since(store: Store, now: int) -> int | None:
    """When (ns) the collector last wrote its counters, where that was more than ten seconds before `now` (ns)."""
    if OWN not in store:  # it has never run, or had no room for this source
        return None
    try:
        arrived = Life.of(store[OWN], now).arrived
    except UnknownSource:  # it is gone meanwhile
        return None
    return arrived if arrived is not None and now - arrived > SILENT_S * 1e9 else None
