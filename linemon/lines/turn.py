"""Turns: for how long lines are taken that take long, one by one or for a new source each, until others are. No I/O.

Such lines cost a hundred times what others cost. Who has thousands of them gets a few milliseconds of each turn; what
is left waits in its session, and nothing more is read of it meanwhile.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Final, TypeVar

TURN_S: Final = 0.008
LEAST: Final = 8  # lines of a block, or new sources, that are taken in any case, so that all get on

Item = TypeVar("Item")
Clock = Callable[[], float]


class TurnOver(Exception):
    """There is no time left: what was not done is to come again."""


class Turn:
    """How many seconds are left for such lines; any amount, unless who brings them can have them wait."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.left_s = math.inf

    def __enter__(self) -> None:
        self.left_s = TURN_S

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """What comes now is taken whole."""
        self.left_s = math.inf

    @property
    def is_over(self) -> bool:
        return self.left_s <= 0

    def each(self, items: Iterable[Item]) -> Iterator[Item]:
        """These, as far as there is time, but a few at least. TurnOver where there is more of them."""
        until = self.clock() + self.left_s
        try:
            for i, item in enumerate(items):
                if i >= LEAST and self.clock() >= until:
                    raise TurnOver
                yield item
        finally:
            self.left_s = until - self.clock()
