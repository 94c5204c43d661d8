"""What the language's functions give: windows of a source's rows, all columns of an alarm at once. Numpy, no I/O.

A window is (t - span, t] by the rows' own times. Short ones are taken from the newest rows, which are kept here column
by column; longer ones from what `Past` brings, at most every span/600. Missing values are nan and left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from linemon.parts.alarms.language import Window
from linemon.patterns import OUTPUT

if TYPE_CHECKING:
    from linemon.parts.alarms.judged import Group

Cells = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

SHORT: Final = 600 * 10**9  # the longest window that is computed anew at each row
PARTS: Final = 600  # of a longer one: so often it is
MINUTE, HOUR = 60 * 10**9, 3600 * 10**9
NEW_HIGH: Final = 0.5  # by how much `eta` wants a value to be beyond all of the day before
PATIENCE: Final = 3  # times the usual step of what a task gives, after which there is none for a moment
Rows = tuple[Cells, Floats]  # times (n,), in order, and values (k, n + 1); the last of these is nothing


class Told(NamedTuple):
    """What a task gives of a source: its columns, times (n,) in order, values (k + 1, n + 1); the last are nan."""

    columns: tuple[str, ...]
    times: Cells
    values: Floats

    @classmethod
    def of(cls, columns: tuple[str, ...], times: Cells, values: Floats) -> Told:
        """From rows (n,), (n, k) in time order; of those of one time the last counts."""
        counts = np.append(times[1:] != times[:-1], True)[: len(times)]
        told = np.full((len(columns) + 1, int(counts.sum()) + 1), np.nan)
        told[:-1, :-1] = values[counts].T
        return cls(columns, times[counts], told)


class Past(Protocol):
    """What is older, of the columns at these places; -1 is a column that is not there."""

    def rows(self, begin: int, end: int, places: Cells) -> tuple[Rows, int] | None:
        """Rows of (begin, end], and since when there are any; None where history has more of it."""
        ...

    def buckets(self, begin: int, end: int, places: Cells, points: int) -> tuple[Cells, Floats, int]:
        """Starts (n,) of those with rows; their min, max, mean, count (4, k, n); since when there are any."""
        ...

    def told(self, task: str) -> Told | None:
        """What a task gives of the source, as far as it is held; None where there is nothing."""
        ...


class Recent:
    """The newest rows of some columns of a source, in time order."""

    def __init__(self, columns: list[int], width: int, span: int, begin: int | None) -> None:
        """`columns`: their places in the source's rows, which have `width`. `begin`: since when it has rows."""
        self._columns, self._span, self.begin = np.array(columns, np.intp), span, begin
        self.place = np.full(width + 1, len(columns))  # of a source's column; the last, for -1, is nan throughout
        self.place[self._columns] = np.arange(len(columns))
        self._first = self._end = 0
        self._times, self._parts = np.empty(0, np.int64), [np.empty((len(columns) + 1, 1))]
        self._make(64)

    def _make(self, room: int) -> None:
        """Room for so many rows, with those that are here at its beginning."""
        kept = self._end - self._first
        times, before = np.empty(room, np.int64), self._parts
        times[:kept] = self.times
        self._parts = [np.zeros((len(self._columns) + 1, room + 1)) for _ in before]
        for part, was in zip(self._parts, before, strict=True):
            part[-1] = np.nan
            part[:-1, :kept] = was[:-1, self._first : self._end]
        self._times, self._first, self._end = times, 0, kept

    @property
    def times(self) -> Cells:
        return self._times[self._first : self._end]

    @property
    def values(self) -> Floats:
        """One more than `times` has."""
        return self._parts[0][:, self._first : self._end + 1]

    def part(self, function: str) -> Floats:
        """What this function is taken of: where rows are buckets, of their own min or max."""
        at = {"min": 1, "max": 2}.get(function, 0) if len(self._parts) > 1 else 0
        return self._parts[at][:, self._first : self._end + 1]

    def add(self, times: Cells, values: Floats, spread: tuple[Floats, Floats] | None = None) -> None:
        """Rows (n,), (n, width), in time order; they may be older than those that are here.

        `spread`: where they are buckets, from the first on, the min and max of each.
        """
        if not len(times):
            return
        self.begin = int(times[0]) if self.begin is None else min(self.begin, int(times[0]))
        count = len(times)
        if spread and len(self._parts) == 1:
            self._parts = [self._parts[0], self._parts[0].copy(), self._parts[0].copy()]
        if self._end + count > len(self._times):
            oldest = max(int(times[-1]), int(self.times[-1]) if self._end > self._first else 0) - self._span
            self._first += int(np.searchsorted(self.times, oldest, "right"))
            self._make(max(len(self._times), 2 * (self._end - self._first + count)))
        is_late = self._end > self._first and times[0] < self._times[self._end - 1]
        self._times[self._end : self._end + count] = times
        for part, rows in zip(self._parts, (values, *(spread or (values, values))), strict=False):
            part[:-1, self._end : self._end + count] = rows[:, self._columns].T
        self._end += count
        if is_late:
            order = np.argsort(self.times, kind="stable")
            self.times[:] = self.times[order]
            for part in self._parts:
                part[:-1, self._first : self._end] = part[:-1, self._first : self._end][:, order]


class Frame:
    """The rows of a source that are judged now, by one alarm: at `times` (n,), read at `w`."""

    def __init__(self, group: Group, times: Cells, w: int) -> None:
        self._group, self._source, self.times, self._w = group, group.source, times, w

    def clock(self, function: str) -> Any:
        """Seconds, or a ratio; nan where it is not known."""
        return np.float64(self._source.clock(function, self._w))

    def window(self, node: Window) -> Floats:
        if node.column and node.column.startswith(OUTPUT):
            return np.stack([self._told(node, *pair) for pair in self._group.told(node.column or "")])
        places = self._group.places(node.column)
        recent = self._source.recent
        if node.function == "last":
            return last(recent, recent.place[places], self.times, self._source.patience(self._group))
        assert node.span
        if node.span <= SHORT and node.function != "eta":
            part = recent.part(node.function)
            one = part[recent.place[places[0]] :][:1]  # a view
            rows = recent.times, one if len(places) == 1 else part[recent.place[places]]
            return reduced(node, rows, self.times, recent.begin)
        return self._seldom(node, places, node.span // PARTS)

    def _told(self, node: Window, task: str, column: str) -> Floats:
        """The function of what a task gives, at each time."""
        found = self._source.past.told(task) if self._source.past else None
        if found is None or column not in found.columns or not len(found.times):
            return np.full(len(self.times), np.nan)
        values = found.values[[found.columns.index(column)]]
        if node.function != "last":
            return np.asarray(reduced(node, (found.times, values), self.times, int(found.times[0]))[0])
        is_value = values[0, :-1] == values[0, :-1]
        times = found.times[is_value]
        at = np.searchsorted(times, self.times, "right") - 1
        if not len(times):
            return np.full(len(self.times), np.nan)
        patience = max(MINUTE, PATIENCE * float(np.median(np.diff(times)))) if len(times) > 1 else np.inf
        is_there = (at >= 0) & (self.times - times[at] <= patience)
        return np.asarray(np.where(is_there, values[0, :-1][is_value][at], np.nan))

    def _seldom(self, node: Window, places: Cells, every: int) -> Floats:
        found = np.empty((len(places), len(self.times)))
        at, value = self._group.memory.get(node, (None, None))
        for i, t in enumerate(self.times.tolist()):
            if at is None or t - at >= every or len(value) != len(places):
                at, value = t, self._long(node, places, t)
            found[:, i] = value
        self._group.memory[node] = at, value
        return found

    def _long(self, node: Window, places: Cells, t: int) -> Floats:
        past, span = self._source.past, node.span or 0
        if past is None:
            return np.full(len(places), np.nan)
        if node.function == "eta":
            return eta(past, places, t, node.number)
        found = past.rows(t - span, t, places)
        if found is not None:
            rows, begin = found
            return reduced(node, rows, np.array([t]), begin)[:, 0]
        starts, parts, begin = past.buckets(t - span + 1, t + 1, places, 2 * PARTS)
        if t - begin < span / 2 or not len(starts):
            return np.full(len(places), np.nan)
        return of_buckets(node, starts, parts, t)


def last(recent: Recent, places: Cells, times: Cells, patience: float) -> Floats:
    """The newest finite value at or before each time, no older than `patience` (ns)."""
    if len(times) == 1 and len(recent.times) and times[0] == recent.times[-1]:  # the newest row, as a rule
        newest = recent.values[places, -2]
        if not np.isnan(newest).any():
            return np.asarray(newest[:, None])
    ends = np.searchsorted(recent.times, times, "right") - 1
    found = recent.values[places[:, None], np.maximum(ends, 0)]
    found[:, ends < 0] = np.nan
    if not np.isnan(found).any():
        age = times - recent.times[ends]
        return found if (age < patience).all() else np.where(age < patience, found, np.nan)
    values = recent.values[places, :-1]
    if not values.shape[1]:
        return found
    finite = np.maximum.accumulate(np.where(np.isnan(values), -1, np.arange(values.shape[1])), axis=1)
    at = np.where(ends < 0, -1, finite[:, np.maximum(ends, 0)])
    found = np.take_along_axis(values, np.maximum(at, 0), axis=1)
    return np.where((at >= 0) & (times - recent.times[np.maximum(at, 0)] < patience), found, np.nan)


def reduced(node: Window, rows: Rows, times: Cells, begin: int | None) -> Floats:
    """The function over the window at each time (k, n); nan where no value, or less than half of the span, is there."""
    t_rows, values = rows
    span, name = node.span or 0, node.function
    low, high = np.searchsorted(t_rows, times - span, "right"), np.searchsorted(t_rows, times, "right")
    first = int(low.min())
    part = values[:, first : int(high.max()) + 1]
    pairs = np.empty(2 * len(times), np.intp)
    pairs[::2], pairs[1::2] = low - first, high - first
    is_there = part == part
    count = np.add.reduceat(is_there, pairs, axis=1, dtype=np.int64)[:, ::2] * (high > low)
    if name == "count":
        return count.astype(np.float64)
    if name == "max":
        found = np.fmax.reduceat(part, pairs, axis=1)[:, ::2]
    elif name == "min":
        found = np.fmin.reduceat(part, pairs, axis=1)[:, ::2]
    elif name in ("sum", "mean"):
        found = np.add.reduceat(np.where(is_there, part, 0.0), pairs, axis=1)[:, ::2]
        if name == "mean":
            found = found / np.maximum(count, 1)
    else:
        found = np.full(count.shape, np.nan)
        for i, (a, b) in enumerate(zip(low.tolist(), high.tolist(), strict=True)):
            for k in np.flatnonzero(count[:, i]).tolist():
                some = values[k, a:b]
                is_value = some == some
                found[k, i] = of_samples(node, t_rows[a:b][is_value], some[is_value])
    known = (count > 0) & (times - (times[0] if begin is None else begin) >= span / 2)
    return found if known.all() else np.where(known, found, np.nan)


def of_samples(node: Window, times: Cells, values: Floats) -> float:
    """A function of the samples of a window, at least one and all finite; nan = unknown."""
    name = node.function
    if name == "median":
        return float(np.median(values))
    if name == "p":
        return float(np.percentile(values, node.number))
    if name == "slope":
        return slope(times, values)
    if len(values) < 2:
        return 0.0 if name == "change" else np.nan
    if name == "std":
        return float(np.std(values, ddof=1))
    if name == "change":
        return float(values[-1] - values[0])
    if times[-1] == times[0] or (values[1:] < values[:-1]).any():  # `rate`, of a counter that began anew
        return np.nan
    return float((values[-1] - values[0]) / ((times[-1] - times[0]) / 1e9))


def slope(times: Cells, values: Floats) -> float:
    """Least squares through the means of minutes, per hour; nan of fewer than two minutes."""
    minutes, at = np.unique(times // MINUTE, return_inverse=True)
    if len(minutes) < 2:
        return np.nan
    means = np.bincount(at, values) / np.bincount(at)
    hours = (minutes - minutes[0]) / 60.0
    off = hours - hours.mean()
    return float((off * means).sum() / (off * off).sum())


def of_buckets(node: Window, starts: Cells, parts: Floats, t: int) -> Floats:
    """The same of buckets (4, k, n): exact where buckets have it, else of their means."""
    low, high, mean, count = parts
    if node.function == "count":
        return np.asarray(count.sum(axis=1))
    found = np.full(len(mean), np.nan)
    for k in np.flatnonzero(count.sum(axis=1)).tolist():
        some = count[k] > 0
        if node.function in ("min", "max"):
            found[k] = low[k, some].min() if node.function == "min" else high[k, some].max()
        elif node.function in ("sum", "mean"):
            total = (mean[k, some] * count[k, some]).sum()
            found[k] = total if node.function == "sum" else total / count[k].sum()
        else:
            found[k] = of_samples(node, starts[some], mean[k, some])
    return found


def eta(past: Past, places: Cells, t: int, limit: float) -> Floats:
    """Hours until each column is at the limit, the later that lines through the last hour and the last six say.

    inf where it does not come nearer, or is not by `NEW_HIGH` beyond all that was from 30 h to 2 h ago: a disk that is
    filled and emptied each night has been there before. nan in a column's first 30 h.
    """
    starts, parts, _ = past.buckets(t - 30 * HOUR, t + 1, places, 1800)
    found = np.full(len(places), np.nan)
    for k in range(len(places)):
        some = parts[3, k] > 0
        times, values = starts[some], parts[2, k, some]
        before, hour, six = (times < t - 2 * HOUR), (times >= t - HOUR), (times >= t - 6 * HOUR)
        if not len(times) or times[0] > t - 29.5 * HOUR or not hour.any() or not before.any():
            continue
        now = float(values[-1])
        sign = 1.0 if limit >= now else -1.0
        beyond = sign * now - (parts[1, k, some] if sign > 0 else -parts[0, k, some])[before].max()
        if beyond < NEW_HIGH:
            found[k] = np.inf
            continue
        slopes = [sign * slope(times[part], values[part]) for part in (hour, six)]
        found[k] = max(abs(limit - now) / each if each > 0 else np.inf for each in slopes)
    return found
