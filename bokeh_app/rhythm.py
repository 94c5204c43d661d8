"""When rows are next to be looked for. Pure.

There is nobody to tell of new rows: a reader must look, and to wake up costs more than to look. A source that comes
every second is looked at when it is expected, and then again and again at growing intervals.
"""

from __future__ import annotations

LEAST_S = 0.25  # the least between two finds: four a second
LONGEST_S = 1.0  # the longest without a look after a find
AGAIN_S = 0.025  # after a look that came too early, at first
EARLIER_S = 0.002  # a look that finds rows at once may be late: the next one is earlier, by twice as much each time


class Rhythm:
    """Learns from when rows were found, and from the times they bear. All in seconds, looks on a monotonic clock."""

    def __init__(self) -> None:
        self.due = 0.0
        self._newest = 0.0
        self._earlier = EARLIER_S
        self._misses = 0

    def note(self, now: float, rows: int, newest: float = 0.0) -> None:
        """How many new rows a look has found, and the time of the newest."""
        if rows > 0:
            step, self._newest = (newest - self._newest) / rows, newest
            self._earlier = EARLIER_S if self._misses else min(2 * self._earlier, AGAIN_S)
            self._misses = 0
            self.due = now + min(max(LEAST_S, step - self._earlier), LONGEST_S)
        else:
            self.due = now + min(LEAST_S, AGAIN_S * 2 ** min(self._misses // 2, 4))
            self._misses += 1
