"""When rows are next to be looked for. Pure.

There is nobody to tell of new rows: a reader must look, and to wake up costs more than to look. A source that comes
every second is looked at a moment before it is expected, and then again and again at growing intervals.
"""

from __future__ import annotations

LEAST_S = 0.25  # the least between two finds: four a second
LONGEST_S = 1.0  # the longest without a look
EARLY_S = 0.025  # so much before they are expected, rows are looked for


class Rhythm:
    """Learns from when rows were found. All times are monotonic, in seconds."""

    def __init__(self) -> None:
        self.due = 0.0
        self._found = 0.0
        self._misses = 0

    def note(self, now: float, has_come: bool) -> None:
        """What a look has shown."""
        if has_come:
            step, self._found, self._misses = now - self._found, now, 0
            self.due = now + max(LEAST_S, min(step, LONGEST_S) - EARLY_S)
        else:
            self.due = now + min(LEAST_S, EARLY_S * 2 ** min(self._misses // 2, 4))
            self._misses += 1
