"""When rows are next to be looked for, and when a source is silent.

There is nobody to tell of new rows: a reader must look, and to wake up costs more than to look. A source that comes
every second is looked at when it is expected, and then again and again at growing intervals.
"""

from __future__ import annotations

import numpy as np

import linemon
from linemon.store.liveness import silent_after

LEAST_S = 0.25  # the least between two finds: four a second
LONGEST_S = 1.0  # the longest without a look after a find
AGAIN_S = 0.025  # after a look that came too early, at first
EARLIER_S = 0.002  # a look that finds rows at once may be late: the next one is earlier, at least by so much


class Rhythm:
    """Learns from when rows were found, and from the times they bear. All in seconds, looks on a monotonic clock."""

    def __init__(self) -> None:
        self.due = 0.0
        self._newest: float | None = None
        self._missed = 0.0  # the last look without rows
        self._misses = 0  # since the last find
        self._late = LEAST_S  # how late the last find was at most; halved from find to find
        self._earlier = 0.0

    def note(self, now: float, rows: int, newest: float = 0.0) -> None:
        """How many new rows a look has found, and the time of the newest."""
        if rows > 0:
            step = 0.0 if self._newest is None else (newest - self._newest) / rows
            self._newest = newest
            if self._misses:
                self._late = now - self._missed
            else:  # at once: it was late by what is left of the last find's delay, or by any part of a step
                self._late = self._late - self._earlier if rows == 1 else step
            self._earlier = max(EARLIER_S, self._late / 2)
            self._misses = 0
            self.due = now + min(max(LEAST_S, step - self._earlier), LONGEST_S)
        else:
            self.due = now + min(LEAST_S, AGAIN_S * 2 ** min(self._misses // 2, 4))
            self._missed, self._misses = now, self._misses + 1


class Patience:
    """How long (ms) after its newest row came a source is called silent, as `linemon sources` does."""

    STALE = 10  # looks after which it is asked anew what is usual

    def __init__(self) -> None:
        self.ms = np.inf
        self._looks = 0

    def look(self, source: linemon.Source) -> None:
        """Rows have come."""
        if self._looks < self.STALE or self._looks % self.STALE == 0:
            self.ms = 1e3 * silent_after(np.diff(source.arrivals[:, 0]) / 1e9)
        self._looks += 1
