"""Sets marks for whoever asks, so many a second. No I/O but the store."""

from __future__ import annotations

from collections import Counter
from typing import Final

from linemon.errors import LineError
from linemon.store.marks import Mark, MarkWriter

MARKS_PER_S: Final = 10  # of one connection: with more of them a stranger would soon have replaced all there are


class Marking:
    """The marks of a store, for all connections."""

    def __init__(self, marks: MarkWriter) -> None:
        self.marks = marks
        self._second = 0
        self._set: Counter[object] = Counter()  # in this second, by whom

    def set(self, by: object, mark: Mark, now: int) -> None:
        """Set a mark at `now` (ns); `by` is a connection, or a peer that has none. LineError `mark`, `store_full`."""
        if now // 10**9 != self._second:
            self._second = now // 10**9
            self._set.clear()
        if self._set[by] >= MARKS_PER_S:
            raise LineError("mark", f"more than {MARKS_PER_S} marks a second")
        self._set[by] += 1
        self.marks.add(mark)
