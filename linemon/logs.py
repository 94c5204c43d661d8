"""Logging at a bounded rate what others can bring about again and again."""

from __future__ import annotations

import time
from typing import Final

EVERY_S: Final = 60.0


class Seldom:
    """Says when something that happens again and again is to be logged: the first time, then once a minute."""

    __slots__ = ("_count", "_next")

    def __init__(self) -> None:
        self._count = 0
        self._next = float("-inf")  # by the monotonic clock: the wall clock may be set back

    def due(self, count: int = 1) -> int:
        """How often it has happened since it was last logged, where it is time for the next line; else 0."""
        self._count += count
        now = time.monotonic()
        if now < self._next:
            return 0
        self._next = now + EVERY_S
        due, self._count = self._count, 0
        return due
