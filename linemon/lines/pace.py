"""How fast the backlog of a source is taken: so that whoever reads its ring once a second misses nothing. No I/O."""

from __future__ import annotations

from collections import deque
from typing import Final

from linemon.store.writer import Ring

OLD_NS: Final = 10 * 10**9  # rows that are older are a backlog
LEAST: Final = 100  # rows a second
SPAN_NS: Final = 10**9 // 4  # of which the rate is kept to: no second has more, and rows do not come in one heap


class Pace:
    """Rows of one source's backlog that were taken within the last span, over all its connections."""

    def __init__(self) -> None:
        self._taken: deque[tuple[int, int]] = deque()  # when (ns), and how many

    def room(self, ring: Ring | None, points: int, now: int) -> int:
        """How many rows may be taken at `now` (ns)."""
        while self._taken and not 0 <= now - self._taken[0][0] < SPAN_NS:  # or the clock was set
            self._taken.popleft()
        allowed = max(points // 4, LEAST, 2 * _stamped(ring)) * SPAN_NS // 10**9
        return max(0, allowed - sum(count for _, count in self._taken))

    def take(self, count: int, now: int) -> None:
        """So many are taken at `now` (ns)."""
        self._taken.append((now, count))

    def next(self) -> int:
        """When (ns) there is room again, if there is none now."""
        return self._taken[0][0] + SPAN_NS if self._taken else 0


def _stamped(ring: Ring | None) -> int:
    """Rows a second by their own stamps, over the newest quarter of a ring; 0 where they do not tell."""
    if ring is None or ring.is_gone:
        return 0
    arena, slot = ring.arena, ring.entry.slot
    head = arena.head(slot)
    count = min(head, arena.points // 4)
    if count < 2:
        return 0
    first, last = (int(arena.rows[slot, number % arena.points, 0]) for number in (head - count, head - 1))
    return (count - 1) * 10**9 // (last - first) if last > first else 0
