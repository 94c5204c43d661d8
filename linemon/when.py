"""Times in, ISO out: of lines, of HTTP, and as a person types them. No clock."""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import Final

import numpy as np
import numpy.typing as npt

from linemon.errors import LineError, show

NUMBER: Final = re.compile(rb"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?")
INTEGER: Final = re.compile(rb"[+-]?\d+")
# ISO 8601: a date alone, or date and time in extended or basic form with a fraction of the second and a zone. Not
# 24:00, which some versions of Python take.
ISO: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)"
    r"|(\d{4}-\d\d-\d\d[Tt](?!24)\d\d:\d\d(?::\d\d(?:[.,](\d+))?)?|\d{8}[Tt](?!24)\d{4}(?:\d\d(?:[.,](\d+))?)?)"
    r"([Zz]|[+-]\d\d(?::?[0-5]\d)?)?",
    re.ASCII,
)
DATE: Final = re.compile(rb"\d{4}-\d\d-\d\d")
CLOCK: Final = re.compile(rb"\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:[Zz]|[+-]\d\d(?::?\d\d)?)?")
SECOND_60: Final = re.compile(r".*(?::\d\d:|T\d{4})60")
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
YEAR_2000_S: Final = 946_684_800
INT64_MAX: Final = 2**63 - 1
NOT_A_TIME: Final = "{} is not a time: epoch seconds, ms, us or ns, or ISO 8601"

# The unit of an epoch number is told by its magnitude: below the limit, nanoseconds in one unit.
LIMITS: Final = (1e11, 1e14, 1e17)
UNIT_NS: Final = (10**9, 10**6, 10**3, 1)  # s, ms, us, ns
EXACT: Final = 2.0**53  # below it a double holds every whole number


def time_ns(token: bytes) -> int | None:
    """Nanoseconds since the epoch, or None for the time of arrival (``-1``). LineError `time` if it is not a time.

    Whole epoch numbers and ISO digits are kept exactly, fractions of an epoch number to the microsecond.
    """
    if NUMBER.fullmatch(token):
        value = float(token)
        if value == -1:
            return None
        ns = _epoch_ns(token, value)
    else:
        ns = _iso_ns(token)
    if ns < 0:
        raise LineError("time", f"{show(token)} lies before 1970")
    if ns > INT64_MAX:
        raise LineError("time", f"{show(token)} lies beyond what int64 nanoseconds hold (the year 2262)")
    return ns


def _epoch_ns(token: bytes, value: float) -> int:
    if value < 0 or value > 1e19:
        return -1 if value < 0 else INT64_MAX + 1
    if value >= EXACT or INTEGER.fullmatch(token):
        exact = Decimal(token.decode())
        unit = UNIT_NS[sum(exact >= int(limit) for limit in LIMITS)]
        if exact == exact.to_integral_value():
            return int(exact) * unit
    else:
        unit = UNIT_NS[sum(value >= limit for limit in LIMITS)]
    if value == int(value):
        return int(value) * unit
    return round(value * (unit / 1000)) * 1000


def _iso_ns(token: bytes) -> int:
    match = ISO.fullmatch(token.decode("ascii", "replace"))
    if match is None:
        raise LineError("time", NOT_A_TIME.format(show(token)))
    day, moment, *fractions, zone = match.groups()
    fraction = fractions[0] or fractions[1] or ""
    if fraction[9:].strip("0"):
        raise LineError("time", f"{show(token)} has digits below the nanosecond")
    whole = day + "T00" if day else re.split("[.,]", moment.upper())[0]
    more = 1 if whole.endswith("60") and SECOND_60.fullmatch(whole) else 0  # the first second of the minute after
    try:
        since = datetime.fromisoformat((whole[:-2] + "59" if more else whole) + (zone or "Z").upper()) - EPOCH
    except ValueError:
        raise LineError("time", NOT_A_TIME.format(show(token))) from None
    return (since.days * 86400 + since.seconds + more) * 10**9 + int(fraction[:9].ljust(9, "0"))


def is_moment(token: bytes) -> bool:
    """Whether a token that could be a word can only be meant as a time: a date, a number from 2000 on, or ``-1``."""
    if NUMBER.fullmatch(token):
        return float(token) >= YEAR_2000_S or float(token) == -1
    try:
        _iso_ns(token)
    except LineError:
        return False
    return True


def is_time_form(token: bytes) -> bool:
    """Whether a token is a day, or a day and a clock, or a clock, of whatever year."""
    return bool(CLOCK.fullmatch(token)) or (not NUMBER.fullmatch(token) and is_moment(token))


def with_clock(tokens: list[bytes], at: int) -> list[bytes]:
    """The tokens, with a date at this place and a clock behind it as one time."""
    if (
        at + 1 < len(tokens)
        and len(tokens[at]) == 10
        and DATE.fullmatch(tokens[at])
        and CLOCK.fullmatch(tokens[at + 1])
    ):
        return [*tokens[:at], tokens[at] + b"T" + tokens[at + 1], *tokens[at + 2 :]]
    return tokens


def number_ns(value: float) -> int:
    """Nanoseconds since the epoch of an epoch number, its unit told by its magnitude; -1 if it is none.

    A whole number is kept exactly, a fraction to the microsecond.
    """
    if not 0 <= value <= INT64_MAX:
        return -1
    unit = UNIT_NS[sum(value >= limit for limit in LIMITS)]
    ns = int(value) * unit if value == int(value) else round(value * (unit / 1000)) * 1000
    return ns if ns <= INT64_MAX else -1


def said_ns(text: str) -> int | None:
    """As `time_ns`, of a string of HTTP or a command: a date and a clock may have a blank between them."""
    token = text.encode(errors="replace")
    return time_ns(b"".join(with_clock(token.split(b" "), 0)))


def iso(times: npt.NDArray[np.datetime64]) -> list[str]:
    """ISO 8601 in UTC with `Z`; digits below the second are trimmed of trailing zeros."""
    return [text.rstrip("0").rstrip(".") + "Z" for text in np.datetime_as_string(times, unit="ns").tolist()]


def iso_ns(ns: int) -> str:
    """A time in ns since the epoch as ISO 8601."""
    return iso(np.array([ns], dtype="datetime64[ns]"))[0]


# -- what a person types

SPAN: Final = re.compile("-?" + "".join(rf"(?:(\d{{1,9}}(?:\.\d{{1,9}})?){unit})?" for unit in "wdhms"), re.ASCII)
UNITS_S: Final = (604800, 86400, 3600, 60, 1)
HOUR_MINUTE: Final = re.compile(r"(\d\d?):(\d\d)", re.ASCII)
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
    if clock := HOUR_MINUTE.fullmatch(text):
        hour, minute = map(int, clock.groups())
        if hour < 24 and minute < 60:
            today = datetime.fromtimestamp(now // 10**9, UTC).date()
            at = datetime.combine(today, time(hour, minute), UTC) - datetime.fromtimestamp(0, UTC)
            return at // timedelta(seconds=1) * 10**9
    is_number = NUMBER.fullmatch(text.encode(errors="replace"))
    if not is_number or len(text.partition(".")[0]) >= EPOCH_DIGITS:
        try:
            found = said_ns(text)
        except LineError:
            found = None
        if found is not None:
            return found
    raise ValueError(f"{text!r} is not a time: expected {EXPECTED}")
