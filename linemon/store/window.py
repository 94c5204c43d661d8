"""Buckets of equal length over the rings of one arena: min, max, mean, count of each column. Many rings at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from linemon.store.ring import COMMIT, DISORDER, RESERVED, Arena, Cells, Floats, Slots, fence

CHUNK_CELLS = 1 << 16  # gathered at once: what is reduced three times should stay in the processor's cache


@dataclass(frozen=True)
class Buckets:
    """`min`, `max`, `mean` float64 and `count` int64, each (rings, buckets, width); count 0 goes with nan."""

    min: Floats
    max: Floats
    mean: Floats
    count: npt.NDArray[np.int64]

    @classmethod
    def empty(cls, rings: int, buckets: int, width: int) -> Buckets:
        shape = rings, buckets, width
        low, high, mean = (np.full(shape, np.nan) for _ in range(3))
        return cls(low, high, mean, np.zeros(shape, np.int64))


def equal_edges(begin: int, end: int, points: int) -> Cells:
    """The edges of at most `points` buckets of equal length, but the last, in [begin, end) ns."""
    length = -(-(end - begin) // points)
    return np.append(begin + length * np.arange(-(-(end - begin) // length)), end)


def last_of_each(block: Cells) -> Cells:
    """Of rows (n, 1 + k) in time order the last of each time: what is foretold again counts from then on."""
    found: Cells = block[np.append(block[1:, 0] != block[:-1, 0], True)[: len(block)]]
    return found


def of_rings(
    arena: Arena, slots: Slots, edges: Cells, column: int | None = None
) -> tuple[Buckets, Cells, npt.NDArray[np.bool_]]:
    """Buckets between `edges` (n + 1,), int64 ns, of rings that are read where they lie, and the cursors after them.

    Also says of which rings the answer holds: not of those with rows out of time order, or that were overwritten
    meanwhile. These must be copied first. `column`: of this one alone.
    """
    heads = arena.cells[slots, COMMIT] >> 1
    fence()
    oldest = np.clip(arena.cells[slots, RESERVED] - arena.points, 0, heads)
    disorder = arena.cells[slots, DISORDER]
    is_good = (disorder == 0) | (disorder <= heads - arena.points)
    starts = lower_bounds(arena, slots, edges, oldest, heads)
    lowest = starts.min(axis=1)  # each edge was looked for by itself, and any of them may have been misled
    starts = np.maximum.accumulate(starts, axis=1)  # also of times that are not in order
    buckets = Buckets.empty(len(slots), len(edges) - 1, arena.width if column is None else 1)
    _reduce(arena.rows, slots, starts, buckets, column)
    fence()
    held = arena.cells[slots, RESERVED] - arena.points
    is_good &= (lowest >= held) | (oldest >= held)  # `Arena.first_not_before` says why
    return buckets, heads, is_good


def of_block(block: Cells, edges: Cells) -> Buckets:
    """Buckets between `edges` of rows (n, 1 + width) in time order."""
    buckets = Buckets.empty(1, len(edges) - 1, block.shape[1] - 1)
    if len(block):
        _reduce(block[None], np.array([0]), np.searchsorted(block[:, 0], edges)[None], buckets)
    return buckets


def lower_bounds(arena: Arena, slots: Slots, edges: Cells, oldest: Cells, heads: Cells) -> Cells:
    """The number of the first row of each ring that is not before each edge: (rings, edges)."""
    low, high = (np.repeat(each, len(edges)).reshape(len(slots), len(edges)) for each in (oldest, heads))
    some = np.flatnonzero(heads > oldest)  # no page is touched in which there are no rows: it would come into being
    low, high, newest = low[some], high[some], heads[some, None] - 1
    for _ in range(int((heads - oldest).max(initial=0)).bit_length()):
        middle = (low + high) >> 1
        times = arena.rows[slots[some, None], np.minimum(middle, newest) % arena.points, 0]
        is_before = (middle < high) & (times < edges)
        low, high = np.where(is_before, middle + 1, low), np.where(is_before, high, middle)
    bounds = np.repeat(heads, len(edges)).reshape(len(slots), len(edges))
    bounds[some] = low
    return bounds


def _reduce(rows: Cells, slots: Slots, starts: Cells, buckets: Buckets, column: int | None = None) -> None:
    """Fill the buckets. `rows` is (slots, points, 1 + width), `starts` (rings, buckets + 1) has row numbers.

    Buckets of as many rows are reduced together: there are few such numbers where rows come at a steady rate.
    """
    points, cells = rows.shape[1], 1 + buckets.min.shape[2]
    counts = np.diff(starts, axis=1).ravel()
    firsts, owners = starts[:, :-1].ravel() % points, np.repeat(slots, starts.shape[1] - 1)
    parts = buckets.min, buckets.max, buckets.mean, buckets.count
    low, high, mean, count = (each.reshape(-1, cells - 1) for each in parts)
    for size in np.unique(counts[counts > 0]).tolist():
        same = np.flatnonzero(counts == size)
        offsets = np.arange(size)[:, None]
        step = max(1, CHUNK_CELLS // (size * cells))
        for at in range(0, len(same), step):
            which = same[at : at + step]
            places = firsts[which] + offsets
            places -= points * (places >= points)
            if column is None:
                block = rows[owners[which], places][:, :, 1:]
            else:
                block = rows[owners[which], places, 1 + column : 2 + column]
            values = block.view(np.float64)  # (size, buckets, width)
            low[which] = np.fmin.reduce(values, axis=0)
            high[which] = np.fmax.reduce(values, axis=0)
            total = np.add.reduce(values, axis=0)
            there = np.full(total.shape, size)
            holed = np.flatnonzero(np.isnan(total).any(axis=0))
            if len(holed):  # columns with missing values
                some = values[:, :, holed]
                there[:, holed] = np.count_nonzero(some == some, axis=0)
                total[:, holed] = np.nansum(some, axis=0)
            count[which] = there
            with np.errstate(invalid="ignore"):  # nothing of nothing
                mean[which] = total / there
