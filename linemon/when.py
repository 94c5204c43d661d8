"""Times and spans as a person types them. Not for lines: those have `wire.time_ns`, which guesses nothing."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from dateutil import parser as free_form

from linemon.errors import LineError
from linemon.lines.wire import time_ns

SPAN = re.compile(r"(\d+(?:\.\d+)?) ?(s|m|min|h|d|w)")
UNIT_S = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def when(text: str, now: int) -> int:
    """Nanoseconds since the epoch of a span back from `now` (``10m``), an epoch number, ISO 8601, or free form.

    Without a zone it is UTC. ValueError says what is wrong, also where a date can be read in two ways.
    """
    if match := SPAN.fullmatch(text):
        return now - int(float(match[1]) * UNIT_S[match[2]] * 1e9)
    if text == "now":
        return now
    try:
        found = time_ns(text.encode())
        if found is not None:
            return found
    except LineError:
        pass
    try:
        today = datetime.fromtimestamp(now // 10**9, UTC).replace(hour=0, minute=0, second=0)
        day_first, month_first = (free_form.parse(text, dayfirst=first, default=today) for first in (True, False))
    except (ValueError, OverflowError):
        day_first = month_first = None
    if day_first is None or text.isdecimal():
        raise ValueError(f"{text!r} is not a time: expected 10m, 2h, 3d, or such as 2026-11-22T10:15:00Z")
    if day_first != month_first:
        raise ValueError(f"{text!r} can be read as {day_first:%d %B} or {month_first:%d %B}: write YYYY-MM-DD")
    return int(day_first.timestamp() * 1e6) * 1000
