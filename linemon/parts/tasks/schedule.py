"""When tasks are due: `when` of a [[task]]. Text and times in, times out; no clock.

    when = "rows" | "every" SPAN | DAYS "at" HH:MM {"," HH:MM}; DAYS = "daily" | DAY {("," | "-") DAY}

Times of day are wall-clock times in a zone, by `dateutil` rules. One that the clock skips is due at the first moment
after the gap, one that comes twice at the first of both.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from dateutil.rrule import WEEKLY, rrule, rruleset

from linemon.errors import ConfigError
from linemon.sections import DAYS, Span, weekdays

S: Final = 10**9
LEAST_S: Final = 10.0  # of `every`
CLOCK: Final = r"(?:[01]\d|2[0-3]):[0-5]\d"
AT: Final = re.compile(rf"(daily|[a-z]{{3}}(?: ?[,-] ?[a-z]{{3}})*) at ({CLOCK}(?: ?, ?{CLOCK})*)")
EXPECTED: Final = "expected 'rows', 'every 10m', 'daily at 02:30' or 'mon-fri at 08:00,18:00'"


class Schedule:
    """Due times, in ns since the epoch."""

    def __init__(self, said: str, zone: str = "") -> None:
        """ConfigError says what was expected. `zone` empty: this machine's own."""
        self._every = 0
        self._days: list[int] = []
        self._times: list[tuple[int, int]] = []
        self._zone = ZoneInfo(zone) if zone else own_zone()
        word, _, rest = said.partition(" ")
        if word == "every":
            try:
                span = Span.parse(rest)
            except ValueError:
                raise ConfigError(EXPECTED) from None
            if span < LEAST_S:
                raise ConfigError(f"expected {LEAST_S:g}s or more")
            self._every = span.ns
            return
        if not (found := AT.fullmatch(said)):
            raise ConfigError(EXPECTED)
        self._days = sorted(weekdays(",".join(DAYS) if found[1] == "daily" else found[1].replace(" ", "")))
        if not self._days:
            raise ConfigError(f"{EXPECTED}; days are {', '.join(DAYS)}")
        clocks = (clock.strip().split(":") for clock in found[2].split(","))
        self._times = sorted({(int(hour), int(minute)) for hour, minute in clocks})

    def next(self, after: int) -> int:
        """The first due time after this moment."""
        if self._every:
            return (after // self._every + 1) * self._every
        return next(self._walk(after))

    def turns(self, after: int, until: int) -> tuple[int, int]:
        """How many due times lie in (after, until], and the last of them; 0, 0 where there is none."""
        if self._every:
            count = max(0, until // self._every - after // self._every)
            return (count, until // self._every * self._every) if count else (0, 0)
        count = last = 0
        for due in self._walk(after):
            if due > until:
                break
            count, last = count + 1, due
        return count, last

    def _walk(self, after: int) -> Iterator[int]:
        """All after this moment, each once: two that the clock skips may be one."""
        start = datetime.fromtimestamp(after // S, self._zone).replace(tzinfo=None) - timedelta(days=2)
        rules = rruleset()
        for hour, minute in self._times:
            begin = start.replace(hour=hour, minute=minute, second=0, microsecond=0, fold=0)
            rules.rrule(rrule(WEEKLY, byweekday=self._days, dtstart=begin))
        for wall in rules:
            due = moment(wall, self._zone) * S
            if due > after:
                yield due
                after = due


def moment(wall: datetime, zone: ZoneInfo) -> int:
    """Seconds since the epoch of a wall-clock time without a zone."""
    first, second = wall.replace(tzinfo=zone), wall.replace(tzinfo=zone, fold=1)
    before, after = first.utcoffset(), second.utcoffset()
    assert before is not None
    assert after is not None
    if before >= after:  # once, or twice
        return round(first.timestamp())
    low, high = round((wall - after).replace(tzinfo=UTC).timestamp()), round(first.timestamp())
    while high - low > 1:  # the clock went on within these
        middle = (low + high) // 2
        if datetime.fromtimestamp(middle, zone).utcoffset() == before:
            low = middle
        else:
            high = middle
    return high


def own_zone() -> ZoneInfo:
    """This machine's; UTC where it says none."""
    with suppress(ValueError, OSError, KeyError):
        if name := os.environ.get("TZ", "").lstrip(":"):
            return ZoneInfo(name)
        with Path("/etc/localtime").open("rb") as file:
            return ZoneInfo.from_file(file)
    return ZoneInfo("UTC")
