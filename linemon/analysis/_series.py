"""What the built-ins share: one column as values at equal steps."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from linemon.sections import Span

Floats = npt.NDArray[np.float64]
Times = npt.NDArray[np.datetime64]
Outputs = dict[str, Floats]

MINUTE_NS = 60 * 10**9
DAY_NS = 1440 * MINUTE_NS
MAD_TO_SD = 1.4826  # the standard deviation of a normal distribution in units of its median absolute deviation


class Series(Protocol):
    """What a task's function is given: linemon.Rows, or a linemon.Window, whose values are its means."""

    @property
    def time(self) -> Times: ...
    @property
    def columns(self) -> tuple[str, ...]: ...
    @property
    def units(self) -> tuple[str, ...]: ...
    def __getitem__(self, column: str) -> Floats: ...


def span_ns(said: str | float) -> int:
    """Nanoseconds of a span such as ``48h``, or of a number of seconds; ValueError if it is neither."""
    return Span.parse(said).ns


def named(column: str, what: str, unit: str = "") -> str:
    """``COLUMN.WHAT:UNIT``, the name of an output; the colon is there also without a unit, as columns may have one."""
    return f"{column}.{what}:{unit}"


def grid(rows: Series, step: int, end: int | None = None) -> tuple[int, Floats]:
    """Means in buckets of `step` ns: the start of the first (ns), and (n, k) means, nan where a column has no value.

    From the first row to the last, or to `end` (ns): later rows are left out, and missing ones are nan.
    """
    time = rows.time.astype("datetime64[ns]").astype(np.int64)
    early = np.ones(len(time), bool) if end is None else time < end
    if not early.any():
        return 0, np.empty((0, len(rows.columns)))
    first = int(time[early].min()) // step
    size = (int(time[early].max()) if end is None else end - 1) // step - first + 1
    means = np.empty((size, len(rows.columns)))
    for i, column in enumerate(rows.columns):
        known = early & np.isfinite(rows[column])
        at = time[known] // step - first
        with np.errstate(invalid="ignore"):
            means[:, i] = np.bincount(at, rows[column][known], size) / np.bincount(at, minlength=size)
    return first * step, means


def without_gaps(values: Floats, longest: int) -> Floats:
    """A copy with gaps of up to `longest` missing values between two known ones filled by a straight line."""
    known = np.flatnonzero(np.isfinite(values))
    if len(known) in (0, len(values)):
        return values.copy()
    filled = np.interp(np.arange(len(values)), known, values[known], np.nan, np.nan)
    before = np.maximum.accumulate(np.where(np.isfinite(values), np.arange(len(values)), -1))
    after = np.minimum.accumulate(np.where(np.isfinite(values), np.arange(len(values)), len(values))[::-1])[::-1]
    filled[after - before - 1 > longest] = np.nan
    return filled


def times(start: int, step: int, count: int) -> Times:
    """`count` times (datetime64[ns]) from `start` on, `step` apart (ns)."""
    return (start + step * np.arange(count, dtype=np.int64)).view("datetime64[ns]")
