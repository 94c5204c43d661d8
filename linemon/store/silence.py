"""Which sources have got no row for long, found a few at a time, as there may be a hundred thousand."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from linemon.store.writer import Ring


class Silence:
    """Looks at the sources of a store, `rings` by name, by and by."""

    def __init__(self, rings: dict[str, Ring]) -> None:
        self._rings = rings
        self._seen: dict[str, tuple[int, float]] = {}  # rows of each source, and since when it has had so many
        self._to_look: deque[str] = deque()  # the sources that were not looked at in this round

    @property
    def is_over(self) -> bool:
        """Whether all were looked at; if not, the next look goes on."""
        return not self._to_look

    def find(self, now_s: float, after_s: float, until_s: float) -> Iterator[Ring]:
        """The rings that got no row for `after_s` seconds, as seen by the calls of this; it looks up to `until_s`."""
        self._to_look = self._to_look or deque(self._rings)
        while self._to_look and time.monotonic() < until_s:
            name = self._to_look.popleft()
            ring = self._rings.get(name)
            if ring is None:
                continue
            head = ring.arena.head(ring.entry.slot)
            had, since_s = self._seen.get(name, (head, now_s))
            self._seen[name] = (head, since_s if head == had else now_s)
            if head == had and now_s - since_s >= after_s:
                yield ring

    def drop(self, source: str) -> None:
        """There is no such source any more: one of that name is another one."""
        self._seen.pop(source, None)
