"""The rows of a ring in pieces, for answers too long to be copied, or worked on, in one go."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from linemon.store.reader import Source
from linemon.store.ring import Arena, Cells, Floats
from linemon.store.window import Buckets, of_block

PIECE = 1024  # rows of one column that are read at once
PIECE_CELLS = 1 << 18  # of whole rows, to be reduced


class Slices:
    """The rows that a ring held when this was made, or those after the cursor `since`, `born`; nothing is copied yet.

    They come in time order, with `by_arrival` as they came; with `begin` (ns) those of that time or later. `times` is
    read first; what was overwritten by then does not come at all, and what is overwritten between that and `values` is
    nan there. Both count as `missed`.
    """

    def __init__(
        self,
        source: Source,
        since: int | None = None,
        born: int | None = None,
        *,
        by_arrival: bool = False,
        begin: int | None = None,
    ) -> None:
        """UnknownSource if it is forgotten."""
        self._source, self.source = source, source.name
        entry, arena, slot = next(source._attempts())
        self.columns, self.units = entry.columns, entry.units
        oldest, self.cursor = arena.held(slot)
        self.born = entry.born
        self.restarted = since is not None and (since > self.cursor or born not in (None, self.born))
        start = 0 if since is None or self.restarted else since
        self._first = max(start, oldest)
        self._skipped = self._first - start if since is not None else 0
        self._order: Cells | None = None  # the numbers, where their order is not that of their times
        if not (by_arrival or arena.is_in_order(slot, self.cursor)):
            self._order = arena.numbers_by_time(slot, self._first, self.cursor)
            self._skipped += self.cursor - self._first - len(self._order)
        if begin is not None:
            self._begin_at(begin, arena, slot)
        self._parts: list[Cells | range] = []  # the numbers whose times were read

    def __len__(self) -> int:
        return self.cursor - self._first if self._order is None else len(self._order)

    @property
    def missed(self) -> int:
        """How many rows were overwritten before, or while, they were read."""
        for _, arena, slot in self._source._attempts():
            oldest = arena.oldest(slot)
            return self._skipped + sum(int((_numbers(part) < oldest).sum()) for part in self._parts)
        raise AssertionError  # the attempts end with an error of their own

    def times(self) -> Iterator[Cells]:
        """The times, int64 ns, in pieces."""
        for start in range(0, len(self), PIECE):
            numbers = self._slice(start, min(start + PIECE, len(self)))
            times, is_held = self._gather(numbers, 0)
            self._skipped += len(numbers) - int(is_held.sum())
            numbers = numbers[is_held]
            if len(numbers):
                in_a_row = self._order is None
                self._parts.append(range(int(numbers[0]), int(numbers[-1]) + 1) if in_a_row else numbers)
                yield times[is_held]

    def values(self, column: int) -> Iterator[Floats]:
        """The values of one column, in the same pieces."""
        for part in self._parts:
            cells, is_held = self._gather(_numbers(part), 1 + column)
            values = cells.view(np.float64)
            values[~is_held] = np.nan
            yield values

    def blocks(self) -> Iterator[Cells]:
        """The rows whose times were read, (n, 1 + k) cells, in the same pieces; those overwritten meanwhile are not."""
        for part in self._parts:
            block, is_held = self._gather(_numbers(part), slice(0, 1 + len(self.columns)))
            yield block[is_held]

    def reduce(self, edges: Cells, into: Buckets) -> Iterator[None]:
        """Fill the buckets between `edges` (n + 1,), int64 ns, of one ring, a piece at a time."""
        numbers = self._slice(0, len(self))
        times, is_held = self._gather(numbers, 0)
        skipped = len(numbers) - int(is_held.sum())
        bounds = np.searchsorted(times[is_held], edges)
        if self._order is None:
            self._first += skipped
        else:
            self._order = numbers[is_held]
        del numbers, times, is_held
        step, at, last = max(1, PIECE_CELLS // (1 + into.min.shape[2])), 0, len(edges) - 1
        while at < last:
            to = min(int(np.searchsorted(bounds, bounds[at] + step, "right")) - 1, last)
            if to > at:
                _put(into, slice(at, to), self._part(bounds[at], bounds[to], edges[at : to + 1], into))
                yield
            else:  # more rows than a piece in one bucket
                to = at + 1
                whole = Buckets.empty(1, 1, into.min.shape[2])
                for row in range(bounds[at], bounds[to], step):
                    part = self._part(row, min(row + step, bounds[to]), edges[at : to + 1], into)
                    whole = _join(whole, part)
                    yield
                _put(into, slice(at, to), whole)
            at = to

    def _begin_at(self, begin: int, arena: Arena, slot: int) -> None:
        if self._order is None:
            self._first = arena.first_not_before(slot, begin, self._first, self.cursor)
        else:
            times, _ = arena.gather(slot, self._order, 0)
            self._order = self._order[np.searchsorted(times, begin) :]

    def _part(self, start: int, stop: int, edges: Cells, into: Buckets) -> Buckets:
        block, is_held = self._gather(self._slice(start, stop), slice(0, 1 + into.min.shape[2]))
        return of_block(block[is_held], edges)

    def _slice(self, start: int, stop: int) -> Cells:
        """Numbers of rows."""
        return np.arange(self._first + start, self._first + stop) if self._order is None else self._order[start:stop]

    def _gather(self, numbers: Cells, cells: int | slice) -> tuple[Cells, npt.NDArray[np.bool_]]:
        """The cells of these rows, and which of the rows are held. They keep their numbers where the source moves."""
        for entry, arena, slot in self._source._attempts():
            found, is_held = arena.gather(slot, numbers, cells)
            if self._source._whole(entry, arena, slot):
                return found, is_held
        raise AssertionError  # the attempts end with an error of their own


def _numbers(part: Cells | range) -> Cells:
    return np.arange(part.start, part.stop) if isinstance(part, range) else part


def _put(into: Buckets, at: slice, part: Buckets) -> None:
    into.min[:, at], into.max[:, at], into.mean[:, at], into.count[:, at] = part.min, part.max, part.mean, part.count


def _join(one: Buckets, other: Buckets) -> Buckets:
    """Both as if they had been reduced together."""
    count = one.count + other.count
    with np.errstate(invalid="ignore"):  # nothing of nothing
        total = sum(np.where(each.count, each.mean, 0) * each.count for each in (one, other))
        mean = total / count
    return Buckets(np.fmin(one.min, other.min), np.fmax(one.max, other.max), mean, count)
