"""A window of several levels: the rings of a source as they stand at one moment, put together.

For each part of a span the coarsest level is read whose buckets fit into those that are asked for, else the finest that
there is; rows for the newest part. A tier has said itself which rows of its feed are in it (`rollup.py`), so the others
are added to what it holds: no row is counted twice at a seam, and none is missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import lcm

import numpy as np
import numpy.typing as npt

from linemon.store import buckets, window
from linemon.store.catalog import Entry
from linemon.store.reader import in_time_order, range_of
from linemon.store.ring import COMMIT, INHERITED, Arena, Cells, Floats, fence
from linemon.store.rollup import LATE_LIMIT, LATE_LOOKED, LATE_TAKEN, LOOKED, NEVER, NO_LIMIT, TAKEN
from linemon.store.rows import Window

SURE = 8  # of the rows of a ring that are out of order: the oldest such part tells from when on there are all


class RingNow:
    """One ring, and how it stood when it was looked at."""

    def __init__(self, entry: Entry, arena: Arena, slot: int) -> None:
        self.entry, self.arena, self.slot = entry, arena, slot
        self.names = {place: name for name, place in arena.senders(slot).items()}
        fence()
        self.commit = int(arena.cells[slot, COMMIT])
        self.head = self.commit >> 1
        fence()

    def has_changed(self) -> bool:
        fence()
        return int(self.arena.cells[self.slot, COMMIT]) != self.commit

    def number(self, place: int) -> int:
        """A number that was acknowledged then."""
        return int(self.arena._acked[self.slot, self.commit & 1, place])

    def newest(self) -> int:
        if not self.head:
            return NEVER
        return int(self.arena.rows[self.slot, (self.head - 1) % self.arena.points, 0])

    def between(self, begin: int, end: int) -> Cells:
        """Rows of [begin, end) in time order."""
        return range_of(self.arena, self.slot, begin, end)[0]

    def since(self, number: int) -> tuple[Cells, Cells]:
        """The numbers of the rows from this one on that were there then, and the rows."""
        first, block = self.arena.read(self.slot, number, self.head)
        return first + np.arange(len(block)), block

    def begin(self) -> int:
        """From when on (ns) all rows are held; NO_LIMIT where none are."""
        oldest, head = self.arena.held(self.slot)
        if head == oldest:
            return NO_LIMIT
        if self.arena.is_in_order(self.slot, head):
            return int(self.arena.rows[self.slot, oldest % self.arena.points, 0]) + (oldest > 0)
        times = self.arena.read(self.slot, oldest, head)[1][:, 0]
        return int(times[: max(1, len(times) // SURE)].max()) + 1 if oldest else int(times.min())


class TierNow(RingNow):
    """A tier's ring of a source, what feeds it, and its ring of late parts."""

    def __init__(
        self, name: str, step: int, ring: tuple[Entry, Arena, int], late: tuple[Entry, Arena, int] | None
    ) -> None:
        self.late = RingNow(*late) if late else None  # looked at first: late parts are written before the others
        super().__init__(*ring)
        self.name, self.step = name, step
        self.columns = buckets.sources_columns(self.entry.columns)
        self.life = self.names.get(TAKEN, "")
        self.start = self.newest()
        self.end = NEVER if self.start == NEVER else self.start + self.step

    def begin(self) -> int:
        """From where on all is held; NO_LIMIT where nothing is."""
        oldest, head = self.arena.held(self.slot)
        begin = NO_LIMIT
        if head > oldest:
            begin = int(self.arena.rows[self.slot, oldest % self.arena.points, 0]) + self.step * (oldest > 0)
        if self.late and not oldest and self.late.head:  # rows from before history began
            begin = min(begin, int(self.late.arena.read(self.late.slot, 0)[1][:, 0].min(initial=NO_LIMIT)))
        return begin

    def not_taken(self, number: Cells, time: Cells) -> npt.NDArray[np.bool_]:
        """Of rows of what feeds it: which are in no bucket yet, neither of this ring nor of the late ones."""
        waits = (number >= self.number(TAKEN)) & ((number >= self.number(LOOKED)) | (time >= self.end))
        if self.late and self.late.names.get(LATE_LOOKED) == f"{self.life}:looked":
            written = (number >= self.number(LOOKED)) & (number < self.late.number(LATE_LOOKED))
            is_late = (time - time % self.step < self.start) | (time > self.late.number(LATE_LIMIT))
            waits &= ~(written & is_late)
        return waits


@dataclass(frozen=True)
class Piece:
    """A part of a span, and the level that serves it: 0 = rows, 1 = the finest tier, None = nothing."""

    level: int | None
    begin: int
    end: int


class View:
    """Levels of a source, and windows of them: rows first, then tiers, the finest first.

    Of each its step (ns), 0 for rows; from when on it holds all there is, NO_LIMIT where it holds nothing; and up to
    when. `firsts`: from when on each holds anything, where that is earlier. Who has the levels says what is in them.
    """

    def __init__(
        self,
        columns: tuple[str, ...],
        units: tuple[str, ...],
        levels: Sequence[tuple[int, int, int]],
        firsts: Sequence[int] = (),
        every: int = 0,
    ) -> None:
        self.columns, self.units, self._every = columns, units, every
        self._steps, self._begins, self._ends = (list(each) for each in zip(*levels, strict=True))
        self._firsts = list(firsts) or self._begins

    def fill(self, sums: Sums, piece: Piece) -> None:
        """Add what the piece's level, which is not None, has of its span."""
        raise NotImplementedError

    def cursor(self) -> int:
        """The number of the row after those that were seen."""
        return 0

    def window(self, begin: int, end: int, points: int) -> Window:
        length = self._every or -(-(end - begin) // points)
        for _ in range(100):  # the ends of pieces and of whole buckets take some of the points
            pieces = self._pieces(begin, end, length)
            edges = self._edges(pieces, length)
            if len(edges) - 1 <= points or self._every:
                break
            length += length // 20 + 1
        else:  # few, across the seams
            step = max(self._steps[piece.level or 0] for piece in pieces) or 1
            each = -(-(end - begin) // (step * max(1, points - 1))) * step
            inner = np.arange((begin // each + 1) * each, end, each)
            edges = np.concatenate([[begin], inner if points > 1 else [], [end]]).astype(np.int64)
        sums = Sums(edges, self.columns)
        for piece in pieces:
            if piece.level is not None:
                self.fill(sums, piece)
        return sums.found(self.units, self.cursor())

    def _pieces(self, begin: int, end: int, length: int) -> list[Piece]:
        """The span in pieces, each with the best level that covers it."""
        count = len(self._steps)
        fit = [level for level in range(1, count) if self._steps[level] <= length]
        if self._every:
            fit = [level for level in fit if self._every % self._steps[level] == 0]
        first = [0, *fit] if self._every else [*reversed(fit), 0]
        order = [*first, *(level for level in range(1, count) if level not in fit)]
        # A level begins where a bucket of the next coarser one does, so that none is cut at the seam; but where there
        # is nothing else, it begins where it begins.
        seams = [
            lcm(step, self._every if level in first and self._every else 1)
            for level, step in enumerate([*self._steps[1:], 1])
        ]
        spans = [(level, -(-self._begins[level] // seams[level]) * seams[level]) for level in order]
        spans += [(level, self._firsts[level]) for level in range(count)]
        cuts = {begin, end, *(start for _, start in spans), *self._ends}
        pieces: list[Piece] = []
        inside = sorted(cut for cut in cuts if begin <= cut <= end)
        for start, stop in pairwise(inside):
            level = next((at for at, from_ in spans if from_ <= start and stop <= self._ends[at]), None)
            if pieces and pieces[-1].level == level:
                pieces[-1] = Piece(level, pieces[-1].begin, stop)
            else:
                pieces.append(Piece(level, start, stop))
        return pieces

    def _edges(self, pieces: list[Piece], length: int) -> Cells:
        """Where buckets begin, and the end of the last: multiples of the steps that are served, and the seams."""
        found, before = [], 0
        newest = self._every or (self._steps[1] if length >= self._steps[1] else 0)  # of rows, and of nothing
        for piece in pieces:
            step = self._steps[piece.level] if piece.level else newest
            each = -(-length // step) * step if step else 0
            if each:
                inner = np.arange((piece.begin // each + 1) * each, piece.end, each)
            else:
                inner = np.arange(piece.begin + length, piece.end, length)
            if not (each and each == before and piece.begin % each):  # else a bucket goes on over the seam
                inner = np.append(piece.begin, inner)
            found.append(inner)
            before = each
        return np.append(np.concatenate(found), pieces[-1].end)


class RingsView(View):
    """The rings of a source as they stood at one moment."""

    def __init__(self, rows: RingNow | None, tiers: list[TierNow], every: int) -> None:
        self.rows, self.tiers = rows, tiers
        entry = rows.entry if rows else None
        columns = entry.columns if entry else tiers[0].columns
        units = entry.units if entry else tiers[0].entry.units[:: len(buckets.PARTS)]
        of_rows = (0, self._rows_begin(), NO_LIMIT)
        of_tiers = [(tier.step, tier.begin(), tier.end) for tier in tiers]
        super().__init__(columns, units, [of_rows, *of_tiers], every=every)

    def cursor(self) -> int:
        return self.rows.head if self.rows else 0

    def _rows_begin(self) -> int:
        """From when on (ns) rows are all there is: of a new source from its first bucket on, which is of them."""
        if self.rows is None:
            return NO_LIMIT
        begin = self.rows.begin()
        if begin != NO_LIMIT and self.tiers and not self.rows.arena.held(self.rows.slot)[0]:
            bucket = begin - begin % self.tiers[0].step
            begin = bucket if min(tier.begin() for tier in self.tiers) >= bucket else begin
        return begin

    def fill(self, sums: Sums, piece: Piece) -> None:
        if not piece.level:
            self._add_rows(sums, piece)
            return
        tier = self.tiers[piece.level - 1]
        for ring in (tier, tier.late):
            if ring:
                sums.add(ring.between(piece.begin, piece.end), tier.columns)
        self._add_waiting(sums, tier, piece)

    def _add_rows(self, sums: Sums, piece: Piece) -> None:
        assert self.rows
        first, last = np.searchsorted(sums.edges, (piece.begin, piece.end))
        edges = sums.edges[first : last + 1]
        if edges[0] == piece.begin and edges[-1] == piece.end:  # reduced where they lie
            found, _, holds = window.of_rings(self.rows.arena, np.array([self.rows.slot]), edges)
            if holds[0]:
                count = found.count[0].astype(np.float64)
                total = np.where(count > 0, found.mean[0] * count, 0.0)
                sums.put(np.arange(first, last), (found.min[0], found.max[0], total, count), self.columns)
                return
        sums.add(self.rows.between(piece.begin, piece.end), self.columns, of_tier=False)

    def _add_waiting(self, sums: Sums, tier: TierNow, piece: Piece) -> None:
        """What is not in the tier yet of what feeds it."""
        for block, columns, of_tier in self._waiting(tier):
            some = block[(block[:, 0] >= piece.begin) & (block[:, 0] < piece.end)]
            sums.add(in_time_order(some), columns, of_tier=of_tier)

    def _waiting(self, tier: TierNow) -> Iterator[tuple[Cells, tuple[str, ...], bool]]:
        """Rows, or bucket rows, that wait for the tier, and their columns."""
        finer = next((each for each in self.tiers if each.name == tier.life), None)
        if finer:
            number, block = finer.since(tier.number(TAKEN))
            yield block[tier.not_taken(number, block[:, 0])], finer.columns, True
            if finer.late:
                taken = tier.late.number(LATE_TAKEN) if tier.late else 0
                yield finer.late.since(taken)[1], finer.columns, True
            yield from self._waiting(finer)
        elif self.rows and tier.life == f"rows:{self.rows.entry.born}":
            number, block = self.rows.since(tier.number(TAKEN))
            yield block[tier.not_taken(number, block[:, 0])], self.columns, False
        elif self.rows and tier.life.startswith("rows:"):  # of a life before: of this one only what it left
            inherited = int(self.rows.arena.cells[self.rows.slot, INHERITED])
            number, block = self.rows.since(min(inherited, tier.number(TAKEN)))
            yield block[(number >= inherited) | tier.not_taken(number, block[:, 0])], self.columns, False


class Sums:
    """Buckets between edges, as they fill."""

    def __init__(self, edges: Cells, columns: tuple[str, ...]) -> None:
        self.edges, self._columns = edges, columns
        shape = len(edges) - 1, len(columns)
        self._low, self._high = np.full(shape, np.nan), np.full(shape, np.nan)
        self._total, self._count = np.zeros(shape), np.zeros(shape)

    def add(self, block: Cells, columns: tuple[str, ...], of_tier: bool = True) -> None:
        """Rows, or bucket rows, in time order and between the edges."""
        if len(block):
            at = np.searchsorted(self.edges, block[:, 0], "right") - 1
            starts = buckets.groups(at)
            reduce = buckets.of_buckets if of_tier else buckets.of_rows
            self.put(at[starts], reduce(block, starts), columns)

    def put(self, at: Cells, parts: tuple[Floats, Floats, Floats, Floats], columns: tuple[str, ...]) -> None:
        """Min, max, sum and count (m, j) of these columns into the buckets `at` (m,)."""
        where: tuple[Cells, ...] = (at,)
        if columns != self._columns:  # a life before had others
            shared = [column for column in columns if column in self._columns]
            parts_of = [columns.index(column) for column in shared]
            parts = parts[0][:, parts_of], parts[1][:, parts_of], parts[2][:, parts_of], parts[3][:, parts_of]
            where = np.ix_(at, np.array([self._columns.index(column) for column in shared]))
        low, high, total, count = parts
        self._low[where] = np.fmin(self._low[where], low)
        self._high[where] = np.fmax(self._high[where], high)
        self._total[where] += total
        self._count[where] += count

    def found(self, units: tuple[str, ...], cursor: int) -> Window:
        with np.errstate(all="ignore"):
            mean = self._total / self._count
        time, step = self.edges[:-1].view("datetime64[ns]"), np.diff(self.edges).view("timedelta64[ns]")
        count = self._count.astype(np.int64)
        return Window(self._columns, units, time, self._low, self._high, mean, count, cursor, step)
