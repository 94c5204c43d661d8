"""Rows as a page takes them: thinned to what its charts can show, in one array of numbers. Pure.

A message is one float64 array. Values of lines travel as float32 beside a float64 offset per column: half the bytes,
and as exact as a chart, a table of four digits or a difference of counters needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from linemon import Window

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MS = 10**6  # ns
MAX_BYTES = 150_000  # of the values in one message, whatever is asked for: a page of 60 columns stays below 300 kB


@dataclass(frozen=True)
class Points:
    """Rows, or buckets of rows, in time order.

    `times` (n,) int64 ns; `mean`, `low`, `high` (n, k), the same array where nothing was thinned; `count` (n,) rows in
    each; `bucket` ns, 0 = rows.
    """

    times: Ints
    mean: Floats
    low: Floats
    high: Floats
    count: Ints
    bucket: int

    @classmethod
    def none(cls, columns: int, bucket: int = 0) -> Points:
        empty = np.empty((0, columns))
        return cls(np.empty(0, np.int64), empty, empty, empty, np.empty(0, np.int64), bucket)

    @property
    def is_thinned(self) -> bool:
        return self.low is not self.mean


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
    starts = np.flatnonzero(np.diff(times // bucket, prepend=-1)) if bucket and len(times) > 1 else None
    if starts is None or len(starts) == len(times):
        return Points(times, values, values, values, np.ones(len(times), np.int64), bucket)
    there = ~np.isnan(values)
    count = np.add.reduceat(there, starts, axis=0, dtype=np.int64)
    total = np.add.reduceat(np.where(there, values, 0.0), starts, axis=0)
    mean = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
    low, high = np.fmin.reduceat(values, starts), np.fmax.reduceat(values, starts)
    return Points(times[starts], mean, low, high, np.diff(starts, append=len(times)), bucket)


def bucket_for(span: int, room: int) -> int:
    """The length of a bucket (ns, whole milliseconds) of which about `room` make up a span (ns).

    Whole, so that a page, which counts in milliseconds, finds the same buckets.
    """
    return max(1, -(-span // (room * MS))) * MS


def from_window(window: Window, columns: list[int], bucket: int) -> Points:
    """Some columns of a window as points; buckets without a row are left out."""
    count = window.count.max(axis=1, initial=0)
    some = np.flatnonzero(count)
    mean, low, high = (each[some][:, columns] for each in (window.mean, window.min, window.max))
    return Points(window.time[some].view(np.int64), mean, low, high, count[some], bucket)


def pack(parts: Sequence[npt.ArrayLike]) -> Floats:
    """Arrays one after the other."""
    return np.concatenate([np.ravel(np.asarray(part, np.float64)) for part in parts])


def pack_points(points: Points) -> Floats:
    """[bucket ms, rows, is thinned], times ms, counts, an offset per column, then the float32 values by column."""
    head = [points.bucket / 1e6, len(points.times), points.is_thinned]
    there = ~np.isnan(points.mean)
    first = np.argmax(there, axis=0) if len(points.times) else np.zeros(points.mean.shape[1], np.int64)
    offsets = points.mean[first, np.arange(points.mean.shape[1])] if len(points.times) else first.astype(np.float64)
    offsets = np.floor(np.where(np.isfinite(offsets), offsets, 0.0))  # whole, so that whole numbers arrive as they are
    arrays = (points.mean, points.low, points.high) if points.is_thinned else (points.mean,)
    with np.errstate(over="ignore"):  # what float32 cannot hold is off any axis
        shifted = [((array - offsets).T).astype(np.float32).ravel() for array in arrays]
    return pack([head, epoch_ms(points.times), points.count, offsets, as_pairs(np.concatenate(shifted))])


def as_pairs(values: npt.NDArray[np.float32]) -> Floats:
    """float32 values, two in each float64; one more where there is an odd number."""
    return np.append(values, np.zeros(len(values) % 2, np.float32)).view(np.float64)


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
