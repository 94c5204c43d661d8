"""What waits for one notifier, and when it is sent what. No I/O, no clock: times are seconds of one clock."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import inf
from typing import Final

from linemon.parts.alarms.event import Event

BACK_OFF_S: Final = (5.0, 600.0)  # first and longest wait after a failure
JITTER: Final = 0.25  # so much longer at most, so that many do not come back at once
HOUR_S: Final = 3600.0
TOO_OLD_S: Final = 86400.0  # what was not delivered by then is dead

Id = tuple[str, int]  # the incident's key and the event's number in it


@dataclass(slots=True)
class Letter:
    """An event that waits for a notifier; `at`: since when."""

    event: Event
    at: float

    @property
    def id(self) -> Id:
        return self.event.key, self.event.seq


@dataclass(slots=True)
class BackOff:
    """Until when not to try again; longer after each failure."""

    until: float = -inf
    wait: float = 0.0

    def fail(self, now: float, after: float | None, draw: Callable[[], float]) -> None:
        """`after`: what the peer asked for, in seconds; it counts in place of ours."""
        self.wait = min(max(2 * self.wait, BACK_OFF_S[0]), BACK_OFF_S[1])
        self.until = now + (self.wait * (1 + JITTER * draw()) if after is None else min(max(after, 0.0), TOO_OLD_S))


class Waiting:
    """The letters of one notifier.

    Those of one incident go in order. `alone`: each by itself, at once. Else all that wait go together, `group_wait`
    seconds after the first of them came, and `max_per_hour` times an hour; only incidents that are critical then do
    not wait for the next hour.
    """

    def __init__(
        self, alone: bool, group_wait: float, max_per_hour: int, draw: Callable[[], float] = random.random
    ) -> None:
        self._alone, self._group_wait, self._max_per_hour, self._draw = alone, group_wait, max_per_hour, draw
        self._letters: dict[Id, Letter] = {}  # in order of arrival
        self._whole = BackOff()
        self._of_key: dict[str, BackOff] = {}
        self._went: deque[float] = deque()  # when messages went, within the last hour

    def __len__(self) -> int:
        return len(self._letters)

    @property
    def oldest(self) -> Letter:
        return next(iter(self._letters.values()))

    def add(self, letter: Letter) -> None:
        self._letters[letter.id] = letter

    def went(self, at: float) -> None:
        """A message went then; in order of time."""
        self._went.append(at)

    def due(self, now: float) -> tuple[list[Letter], float]:
        """The letters to send now, as one message; if none, when to ask again."""
        if now < self._whole.until:
            return [], self._whole.until
        resting = {key: each.until for key, each in self._of_key.items() if each.until > now}
        ready = (each for each in self._letters.values() if each.event.key not in resting)
        if self._alone:
            letters = [each for each, _ in zip(ready, range(1), strict=False)]
            return letters, min(resting.values(), default=inf)
        letters = list(ready)
        if not letters:
            return [], min(resting.values(), default=inf)
        if (whole := letters[0].at + self._group_wait) > now:
            return [], whole
        while self._went and self._went[0] <= now - HOUR_S:
            self._went.popleft()
        if len(self._went) >= self._max_per_hour:
            urgent = {each.event.key for each in letters if each.event.kind == "critical"}
            letters = [each for each in letters if each.event.key in urgent]
            return letters, self._went[0] + HOUR_S
        return letters, now

    def sent(self, letters: Iterable[Letter], now: float) -> None:
        """These were taken."""
        self.remove(letters)
        self._whole = BackOff()
        if len(self._went) < self._max_per_hour:  # what is urgent and goes beyond does not keep the others waiting
            self.went(now)

    def failed(self, letters: Iterable[Letter], now: float, after: float | None, whole: bool) -> None:
        """These were not, and are to be tried again; `whole`: nor would others be."""
        if whole:
            self._whole.fail(now, after, self._draw)
            return
        for key in {each.event.key for each in letters}:
            self._of_key.setdefault(key, BackOff()).fail(now, after, self._draw)

    def remove(self, letters: Iterable[Letter]) -> None:
        for each in letters:
            self._letters.pop(each.id, None)
            self._of_key.pop(each.event.key, None)

    def too_old(self, now: float) -> list[Letter]:
        """Those that have waited for a day."""
        return [each for each in self._letters.values() if each.at <= now - TOO_OLD_S]
