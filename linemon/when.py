"""Times and spans as a person types them. Not for lines: those have `wire.time_ns`."""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, timedelta
from typing import Final

from linemon.errors import LineError
from linemon.lines.wire import NUMBER, time_ns

SPAN: Final = re.compile("-?" + "".join(rf"(?:(\d{{1,9}}(?:\.\d{{1,9}})?){unit})?" for unit in "wdhms"), re.ASCII)
UNITS_S: Final = (604800, 86400, 3600, 60, 1)
CLOCK: Final = re.compile(r"(\d\d?):(\d\d)", re.ASCII)
EPOCH_DIGITS: Final = 9  # of a number that is a time: fewer could be a span whose unit was forgotten
EXPECTED: Final = "a span back from now (10m, 2h, 1h30m, 3d), 2026-11-22T10:15:00Z, HH:MM (today, UTC) or epoch seconds"


def span_ns(text: str) -> int | None:
    """Nanoseconds of a span such as ``1h30m``, which may have a minus before it; None if it is none."""
    if not (span := SPAN.fullmatch(text)) or not any(span.groups()):
        return None
    return round(sum(float(count or 0) * unit for count, unit in zip(span.groups(), UNITS_S, strict=True)) * 1e9)


def when(text: str, now: int) -> int:
    """Nanoseconds since the epoch of what `EXPECTED` says, or of the word ``now``; `now` in ns, too.

    An epoch number has its unit by magnitude, as in lines. ValueError for anything else.
    """
    if text == "now":
        return now
    if (back := span_ns(text)) is not None:
        return max(0, now - back)
    if clock := CLOCK.fullmatch(text):
        hour, minute = map(int, clock.groups())
        if hour < 24 and minute < 60:
            today = datetime.fromtimestamp(now // 10**9, UTC).date()
            at = datetime.combine(today, time(hour, minute), UTC) - datetime.fromtimestamp(0, UTC)
            return at // timedelta(seconds=1) * 10**9
    is_number = NUMBER.fullmatch(text.encode(errors="replace"))
    if not is_number or len(text.partition(".")[0]) >= EPOCH_DIGITS:
        try:
            found = time_ns(re.sub(r"^(\S{10}) (?=\d)", r"\1T", text).encode(errors="replace"))
        except LineError:
            found = None
        if found is not None:
            return found
    raise ValueError(f"{text!r} is not a time: expected {EXPECTED}")
