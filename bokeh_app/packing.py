"""Rows as a page takes them: thinned to what its charts can show, in one array of numbers. Pure.

A message is one float64 array. Values of lines travel as float32 beside a float64 offset per column: half the bytes,
and as exact as a chart, a table or a difference of counters needs. A file that is saved has the float64 themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from linemon import Window
from linemon.store.ring import Floats, Ints

MS = 10**6  # ns
MAX_BYTES = 150_000  # of the values in one message, whatever is asked for: a page of 60 columns stays below 300 kB


@dataclass(frozen=True)
class Points:
    """Rows, or buckets of rows, in time order.

    `times` (n,) int64 ns; `mean`, `low`, `high` (n, k), the same array where nothing was thinned; `count` (n, k) values
    in each; `bucket` ns, 0 = rows. `longer`: until when (ns) buckets are how long (ns) where only the history has them,
    in order of time.
    """

    times: Ints
    mean: Floats
    low: Floats
    high: Floats
    count: Ints
    bucket: int
    longer: tuple[tuple[int, int], ...] = ()

    @classmethod
    def none(cls, columns: int, bucket: int = 0) -> Points:
        empty = np.empty((0, columns))
        return cls(np.empty(0, np.int64), empty, empty, empty, np.empty((0, columns), np.int64), bucket)

    @property
    def is_thinned(self) -> bool:
        return self.low is not self.mean

    def later(self, ns: int) -> Points:
        """The same so much later."""
        longer = tuple((until + ns, step) for until, step in self.longer)
        return replace(self, times=self.times + ns, longer=longer)

    def between(self, begin: int, end: int) -> Points:
        """Those that lie in [begin, end) ns whole."""
        ends = self.times + (self.bucket if self.is_thinned else 1)
        some = np.flatnonzero((self.times >= begin) & (ends <= end))
        if len(some) == len(self.times):
            return self
        mean = self.mean[some]
        low, high = (self.low[some], self.high[some]) if self.is_thinned else (mean, mean)
        return replace(self, times=self.times[some], mean=mean, low=low, high=high, count=self.count[some])


def room_for(columns: int, pixels: int) -> int:
    """How many points a message may hold for so many columns on charts so wide."""
    return max(2, min(pixels, MAX_BYTES // (3 * 4 * max(1, columns))))


def thin(times: Ints, values: Floats, bucket: int) -> Points:
    """The rows in time order, or least, mean and greatest of each column per bucket where that is fewer.

    Buckets stand at multiples of their length since the epoch, so that a second look finds the same ones; one that is
    not whole is drawn at its first row.
    """
    if (times[1:] < times[:-1]).any():
        order = np.argsort(times, kind="stable")
        times, values = times[order], values[order]
    there = ~np.isnan(values)
    starts = np.flatnonzero(np.diff(times // bucket, prepend=-1)) if bucket and len(times) > 1 else None
    if starts is None or len(starts) == len(times):
        return Points(times, values, values, values, there.astype(np.int64), bucket)
    count = np.add.reduceat(there, starts, axis=0, dtype=np.int64)
    with np.errstate(over="ignore"):  # a mean of what no float64 can sum is beyond any axis
        total = np.add.reduceat(np.where(there, values, 0.0), starts, axis=0)
    mean = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
    low, high = np.fmin.reduceat(values, starts), np.fmax.reduceat(values, starts)
    return Points(times[starts], mean, low, high, count, bucket)


def bucket_for(span: int, room: int) -> int:
    """The length of a bucket (ns, whole milliseconds) of which about `room` make up a span (ns).

    Whole, so that a page, which counts in milliseconds, finds the same buckets.
    """
    return max(1, -(-span // (room * MS))) * MS


def from_window(window: Window, columns: list[int], bucket: int) -> Points:
    """Some columns of a window as points; buckets without a row are left out."""
    some = np.flatnonzero(window.count.max(axis=1, initial=0))
    steps = window.step.astype(np.int64)
    last = np.append(np.flatnonzero(steps[1:] != steps[:-1]), len(steps) - 1)  # of each run of equal ones
    ends = window.time.view(np.int64)[last] + steps[last]
    longer = tuple(each for each in zip(ends.tolist(), steps[last].tolist(), strict=True) if each[1] > bucket)
    mean, low, high = (each[some][:, columns] for each in (window.mean, window.min, window.max))
    return Points(window.time[some].view(np.int64), mean, low, high, window.count[some][:, columns], bucket, longer)


def joined(parts: Sequence[Points]) -> Points:
    """Points one after the other."""
    if len(parts) == 1:
        return parts[0]
    names = "times", "mean", "low", "high", "count"
    arrays: dict[str, Any] = {name: np.concatenate([getattr(each, name) for each in parts]) for name in names}
    return Points(**arrays, bucket=parts[0].bucket, longer=tuple(each for part in parts for each in part.longer))


def pack(parts: Sequence[npt.ArrayLike]) -> Floats:
    """Arrays one after the other."""
    return np.concatenate([np.ravel(np.asarray(part, np.float64)) for part in parts])


def pack_points(points: Points) -> Floats:
    """[bucket ms, rows, is thinned, k, j], `longer` (j, 2) ms, times ms, an offset per column; as float32 the values by
    column, the counts.

    Counts come where it is thinned: of `k` columns, 1 where they are the same in all. What float32 cannot hold is inf.
    """
    count = points.count[:, : 0 if not points.is_thinned else 1 if _is_even(points.count) else None]
    head = [points.bucket / 1e6, len(points.times), points.is_thinned, count.shape[1], len(points.longer)]
    offsets = _offsets(points)
    arrays = (points.mean, points.low, points.high) if points.is_thinned else (points.mean,)
    shifted = [((array - offsets).T).ravel() for array in arrays]
    longer = np.array(points.longer) / MS
    return pack([head, longer, epoch_ms(points.times), offsets, as_pairs(np.concatenate([*shifted, count.T.ravel()]))])


def pack_exactly(points: Points) -> Floats:
    """[rows, is thinned], the bits of the times (int64 ns), and the values by column as they are."""
    arrays = (points.mean, points.low, points.high) if points.is_thinned else (points.mean,)
    times = points.times.view(np.float64)
    return pack([[len(times), points.is_thinned], times, *(array.T for array in arrays)])


def _offsets(points: Points) -> Floats:
    """What to subtract: a large number of which only the end changes keeps it, whole numbers stay whole."""
    low, high = np.fmin.reduce(points.low, initial=np.nan), np.fmax.reduce(points.high, initial=np.nan)
    with np.errstate(over="ignore"):
        return np.where(high - low < np.abs(low), np.trunc(low), 0.0)


def _is_even(count: Ints) -> bool:
    return bool((count == count[:, :1]).all())


def as_pairs(values: Floats) -> Floats:
    """Values as float32, two in each float64; one more where there is an odd number. What is too large is inf."""
    with np.errstate(over="ignore"):
        short = values.astype(np.float32)
    return np.append(short, np.zeros(len(short) % 2, np.float32)).view(np.float64)


def epoch_ms(time: npt.NDArray[np.datetime64] | Ints) -> Floats:
    """Times as a browser counts them."""
    return time.view(np.int64) / 1e6


def latest(values: Floats) -> Floats:
    """The last value of each column that is not missing, among the newest rows."""
    tail = values[-60:][::-1]
    if not len(tail):
        return np.full(values.shape[1], np.nan)
    found: Floats = tail[np.argmax(~np.isnan(tail), axis=0), np.arange(tail.shape[1])]
    return found
