"""What a column is like at this time of the day, on this day of the week."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from linemon.analysis._series import MAD_TO_SD, Floats, Outputs, Series, Times, grid, named, span_ns, times

DAY_S = 86400
SUNDAY = 6
WEEKS = 4  # from so many on each day of the week has a profile of its own; before, workdays and weekends
NEAR = 2  # steps to either side whose values also tell how far values lie from their middle
LEAST_DAYS = 2  # of a kind; with fewer, days of all kinds are taken together

Ints = npt.NDArray[np.int64]


def normal(
    rows: Series,
    *,
    step: str | float = "15m",
    ahead: str | float = "24h",
    width: float = 3.0,
    zone: str = "UTC",
    holidays: Sequence[str] = (),
    at: np.datetime64 | None = None,
) -> tuple[Times, Outputs]:
    """``COLUMN.expected .low .high`` for the next `ahead` from the last row (or from `at`) on, by steps of `step`.

    Expected is the median of what was at that time of the day in `zone`, on days of that kind: each day of the week
    where there are four weeks of rows, else workdays and weekends; `holidays` (``YYYY-MM-DD``) count as Sundays. Low
    and high lie `width` standard deviations away, each by the median distance of the values on its side (scaled as for
    a normal distribution: Rousseeuw and Croux, Journal of the American Statistical Association 88 (1993) 1273).
    A column without a whole day of values is left out.
    """
    length, place = span_ns(step), ZoneInfo(zone)
    if DAY_S * 10**9 % length or 4 * length > DAY_S * 10**9:
        raise ValueError(f"step = {step!r} must divide a day into four parts or more")
    off = {date.fromisoformat(each) for each in holidays}
    start, values = grid(rows, length, None if at is None else int(at.astype("datetime64[ns]").astype(np.int64)))
    begin, count = start + len(values) * length, max(1, round(span_ns(ahead) / length))
    days, slots = _calendar(start, length, len(values), place, off)
    next_days, next_slots = _calendar(begin, length, count, place, off)
    per_day = DAY_S * 10**9 // length
    if len(values) < WEEKS * 7 * per_day:
        days, next_days = days // 5, next_days // 5  # workdays 0, weekends 1
    outputs: Outputs = {}
    for i, (column, unit) in enumerate(zip(rows.columns, rows.units, strict=True)):
        if np.isfinite(values[:, i]).sum() < per_day:
            continue
        middle, below, above = _profile(_by_day(values[:, i], slots, per_day), days[_first_of_days(slots)], width)
        outputs[named(column, "expected", unit)] = middle[next_days, next_slots]
        outputs[named(column, "low", unit)] = (middle - below)[next_days, next_slots]
        outputs[named(column, "high", unit)] = (middle + above)[next_days, next_slots]
    return times(begin, length, count), outputs


def _calendar(start: int, step: int, count: int, zone: ZoneInfo, holidays: set[date]) -> tuple[Ints, Ints]:
    """Of `count` times: the day of the week (Monday 0), and the step of the local day."""
    days, slots = np.empty(count, np.int64), np.empty(count, np.int64)
    for i in range(count):
        local = datetime.fromtimestamp((start + i * step) / 1e9, UTC).astimezone(zone)
        days[i] = SUNDAY if local.date() in holidays else local.weekday()
        slots[i] = (local.hour * 3600 + local.minute * 60 + local.second) * 10**9 // step
    return days, slots


def _first_of_days(slots: Ints) -> npt.NDArray[np.bool_]:
    """Which steps begin a local day, or the rows; where the clock is set back, none does twice."""
    return np.concatenate([[True], np.diff(slots) < -(slots.max() // 2)])


def _by_day(values: Floats, slots: Ints, per_day: int) -> Floats:
    """The values as (days, steps of a day), nan where there are none."""
    table = np.full((_first_of_days(slots).sum(), per_day), np.nan)
    table[np.cumsum(_first_of_days(slots)) - 1, slots] = values
    return table


def _profile(table: Floats, days: Ints, width: float) -> tuple[Floats, Floats, Floats]:
    """Of each kind of day (7 at most) and step: the middle, and how far below and above it values may lie."""
    answer = np.empty((3, SUNDAY + 1, table.shape[1]))
    for kind in range(SUNDAY + 1):
        of_kind = table[days == kind]
        if np.isfinite(of_kind).any(1).sum() < LEAST_DAYS:
            of_kind = table
        middle = _median(of_kind)
        gaps = np.isnan(middle)
        if gaps.any():
            middle[gaps] = np.interp(np.flatnonzero(gaps), np.flatnonzero(~gaps), middle[~gaps], period=len(middle))
        rest = of_kind - middle
        near = np.concatenate([np.roll(rest, shift, 1) for shift in range(-NEAR, NEAR + 1)])
        few = np.sqrt(len(of_kind) / max(len(of_kind) - 1, 1))  # the middle lies amid the values that made it
        scale = width * MAD_TO_SD * few
        answer[:, kind] = (
            middle,
            scale * _median(np.where(near <= 0, -near, np.nan)),
            scale * _median(np.where(near >= 0, near, np.nan)),
        )
    return answer[0], answer[1], answer[2]


def _median(table: Floats) -> Floats:
    """The median of the finite values of each column of (n, k); nan where there are none."""
    ordered = np.sort(table, 0)  # nan last
    count = np.isfinite(table).sum(0)
    at = np.arange(table.shape[1])
    middle = (ordered[np.maximum(count - 1, 0) // 2, at] + ordered[np.minimum(count // 2, len(table) - 1), at]) / 2
    return np.where(count > 0, middle, np.nan)
