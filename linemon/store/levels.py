"""Rows and the tiers of history, read as one.

For each part of a span the coarsest level is read whose buckets fit into those that are asked for, else the finest that
there is; rows for the newest part. A tier has said itself which rows of its feed are in it (`rollup.py`), so the others
are added to what it holds: no row is counted twice at a seam, and none is missing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from linemon.errors import UnknownSource
from linemon.store import buckets, window
from linemon.store.catalog import Entry
from linemon.store.folder import replace_file
from linemon.store.reader import Source, Store, TimeLike, in_time_order, range_of
from linemon.store.ring import COMMIT, Arena, Cells, fence
from linemon.store.rollup import LATE_LIMIT, LATE_LOOKED, LATE_TAKEN, LOOKED, NEVER, NO_LIMIT, TAKEN
from linemon.store.rows import Level, Rows, Window
from linemon.store.window import Floats

HISTORY = "history.json"  # beside the rings: where the tiers are
LATE = ".late"  # after a tier's name: the folder of what came late
ATTEMPTS = 5  # a tier is written once in ten seconds or so
MANY = 100_000  # rows of a ring: rather buckets, where they fit, than so many
SURE = 8  # of the rows of a ring that are out of order: the oldest such part tells from when on there are all


@dataclass(frozen=True)
class Known:
    """A tier as readers are told of it: its folder's name, step and keep in ns, whose it is, whether it still grows."""

    name: str
    step: int
    keep: int
    sources: tuple[str, ...] = ("*",)
    ended: bool = False


@dataclass(frozen=True)
class History:
    """Where the tiers of a store are, the finest first."""

    path: Path
    tiers: tuple[Known, ...]


def read(store: Path) -> History | None:
    """What the history part has told; None where there is none."""
    try:
        said = json.loads((store / HISTORY).read_bytes())
        tiers = tuple(Known(**{**each, "sources": tuple(each["sources"])}) for each in said["tiers"])
        return History(store / said["path"], tiers)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def tell(store: Path, history: History, mode: int) -> None:
    """Replace what is told, in one step."""
    path = str(history.path.absolute())
    said = {"path": os.path.relpath(path, store.absolute()) if history.path.is_relative_to(store) else path}
    data = json.dumps({**said, "tiers": [asdict(each) for each in history.tiers]}).encode()
    os.close(replace_file(store / HISTORY, data, mode))


class _Ring:
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


class _Tier(_Ring):
    """A tier's ring of a source, what feeds it, and its ring of late parts."""

    def __init__(self, known: Known, ring: tuple[Entry, Arena, int], late: tuple[Entry, Arena, int] | None) -> None:
        self.late = _Ring(*late) if late else None  # looked at first: late parts are written before the others
        super().__init__(*ring)
        self.name, self.step = known.name, known.step
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


class Levels:
    """The tiers of a store, for readers; found anew where the history part tells of others."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stat: object = None
        self._known: tuple[Known, ...] = ()
        self._stores: dict[str, Store] = {}

    def refresh(self) -> bool:
        """Whether there are any tiers."""
        try:
            stat = os.stat(self._folder / HISTORY)
        except OSError:
            return False
        if (state := (stat.st_ino, stat.st_mtime_ns)) != self._stat:
            told = read(self._folder)
            self._stat, self._known = state, told.tiers if told else ()
            paths = [each.name + late for each in self._known for late in ("", LATE)]
            self._stores = {name: Store(told.path / name) for name in paths} if told else {}
        return bool(self._known)

    def sources(self) -> tuple[str, ...]:
        """The names of all sources of which there is history."""
        return tuple(dict.fromkeys(name for each in self._known for name in self._stores[each.name].sources()))

    def __contains__(self, source: str) -> bool:
        return any(source in self._stores[known.name] for known in self._known)

    def kept(self, source: str) -> list[Level]:
        """What the tiers keep of a source, the finest first."""
        return [Level(t.name, t.step, t.begin(), t.end, t.arena.slot_bytes) for t in self._tiers(source) if t.head]

    def gone(self, store: Store, source: str) -> Source:
        """A source of which only the history is left. UnknownSource if that is gone, too."""
        tiers = self._tiers(source)
        if not tiers:
            raise UnknownSource(f"no source {source!r} in {store.path}, and no history of it")
        return Gone(store, source, tiers[0].entry)

    def window(self, store: Store, source: str, begin: int, end: int, points: int) -> Window | None:
        """[begin, end) over rows and tiers; None where the rows alone have all of it, or there are no tiers."""
        for _ in range(ATTEMPTS):
            rows = _Ring(*store._ring(source)) if source in store else None
            held = rows.begin() if rows else NO_LIMIT
            if rows and rows.head < MANY and held <= begin:
                return None
            tiers = self._tiers(source)
            oldest = min((tier.begin() for tier in tiers), default=NO_LIMIT)
            if oldest == NO_LIMIT or (rows and rows.head < MANY and held <= oldest):
                return None
            found = _View(rows, tiers).window(begin, end, points)
            if not any(ring.has_changed() for tier in tiers for ring in (tier, tier.late) if ring):
                break
        return found

    def _tiers(self, source: str) -> list[_Tier]:
        """Those that have the source, the finest first."""
        found = []
        for known in self._known:
            main, late = self._stores[known.name], self._stores[known.name + LATE]
            with suppress(UnknownSource):  # it is not there, or gone meanwhile
                found.append(_Tier(known, main._ring(source), late._ring(source) if source in late else None))
        return found


class Gone(Source):
    """A source that is no more: it has no rows, but a history."""

    def __init__(self, store: Store, name: str, entry: Entry) -> None:
        """`entry` is of its finest tier."""
        super().__init__(store, name)
        self._of_tier = entry

    @property
    def columns(self) -> tuple[str, ...]:
        return buckets.sources_columns(self._of_tier.columns)

    @property
    def units(self) -> tuple[str, ...]:
        return self._of_tier.units[:: len(buckets.PARTS)]

    @property
    def kept(self) -> list[Level]:
        levels = self._store._levels()
        return levels.kept(self.name) if levels else []

    @property
    def rows(self) -> int:
        return 0

    @property
    def points(self) -> int:
        return 0

    @property
    def born(self) -> int:
        return 0

    @property
    def arrived(self) -> None:
        return None

    def last(self, n: int) -> Rows:
        return self._none()

    def since(self, cursor: int, born: int | None = None, most: int | None = None) -> Rows:
        return self._none()

    def between(self, start: TimeLike | None = None, end: TimeLike | None = None) -> Rows:
        return self._none()

    def _none(self) -> Rows:
        times = np.empty(0, "datetime64[ns]")
        return Rows(self.name, self.columns, self.units, times, np.empty((0, len(self.columns))), 0)


@dataclass(frozen=True)
class _Piece:
    """A part of a span, and the level that serves it: 0 = rows, 1 = the finest tier, None = nothing."""

    level: int | None
    begin: int
    end: int


class _View:
    """The levels of a source as they stood at one moment."""

    def __init__(self, rows: _Ring | None, tiers: list[_Tier]) -> None:
        self.rows, self.tiers = rows, tiers
        entry = rows.entry if rows else None
        self.columns = entry.columns if entry else tiers[0].columns
        self.units = entry.units if entry else tiers[0].entry.units[:: len(buckets.PARTS)]
        self._steps = [0, *(tier.step for tier in tiers)]
        self._begins = [rows.begin() if rows else NO_LIMIT, *(tier.begin() for tier in tiers)]
        self._ends = [NO_LIMIT, *(tier.end for tier in tiers)]

    def window(self, begin: int, end: int, points: int) -> Window:
        length = -(-(end - begin) // points)
        for _ in range(100):  # the ends of pieces and of whole buckets take some of the points
            pieces = self._pieces(begin, end, length)
            edges = self._edges(pieces, length)
            if len(edges) - 1 <= points:
                break
            length += length // 20 + 1
        else:  # few, across the seams
            step = max(self._steps[piece.level or 0] for piece in pieces) or 1
            each = -(-(end - begin) // (step * max(1, points - 1))) * step
            inner = np.arange((begin // each + 1) * each, end, each)
            edges = np.concatenate([[begin], inner if points > 1 else [], [end]]).astype(np.int64)
        self._sums = _Sums(edges, self.columns)
        for piece in pieces:
            if piece.level == 0:
                self._add_rows(piece)
            elif piece.level:
                tier = self.tiers[piece.level - 1]
                for ring in (tier, tier.late):
                    if ring:
                        self._sums.add(ring.between(piece.begin, piece.end), tier.columns)
                self._add_waiting(tier, piece)
        return self._sums.found(self.units, self.rows.head if self.rows else 0)

    def _pieces(self, begin: int, end: int, length: int) -> list[_Piece]:
        """The span in pieces, each with the best level that covers it."""
        count = len(self._steps)
        fit = [level for level in range(1, count) if self._steps[level] <= length]
        order = [*reversed(fit), 0, *(level for level in range(1, count) if level not in fit)]
        # A level begins where a bucket of the next coarser one does, so that none is cut at the seam; but where there
        # is nothing else, it begins where it begins.
        seams = [*self._steps[1:], self._steps[-1]]
        spans = [(level, -(-self._begins[level] // seams[level]) * seams[level]) for level in order]
        spans += [(level, self._begins[level]) for level in range(count)]
        cuts = {begin, end, *(start for _, start in spans), *self._ends}
        pieces: list[_Piece] = []
        inside = sorted(cut for cut in cuts if begin <= cut <= end)
        for start, stop in pairwise(inside):
            level = next((at for at, from_ in spans if from_ <= start and stop <= self._ends[at]), None)
            if pieces and pieces[-1].level == level:
                pieces[-1] = _Piece(level, pieces[-1].begin, stop)
            else:
                pieces.append(_Piece(level, start, stop))
        return pieces

    def _edges(self, pieces: list[_Piece], length: int) -> Cells:
        """Where buckets begin, and the end of the last: multiples of the steps that are served, and the seams."""
        found = []
        finest = self._steps[1]
        for piece in pieces:
            step = self._steps[piece.level] if piece.level else finest if length >= finest else 0
            if step:
                each = -(-length // step) * step
                inner = np.arange((piece.begin // each + 1) * each, piece.end, each)
            else:
                inner = np.arange(piece.begin + length, piece.end, length)
            found.append(np.append(piece.begin, inner))
        return np.append(np.concatenate(found), pieces[-1].end)

    def _add_rows(self, piece: _Piece) -> None:
        assert self.rows
        first, last = np.searchsorted(self._sums.edges, (piece.begin, piece.end))
        edges = self._sums.edges[first : last + 1]
        if edges[0] == piece.begin and edges[-1] == piece.end:  # reduced where they lie
            found, _, holds = window.of_rings(self.rows.arena, np.array([self.rows.slot]), edges)
            if holds[0]:
                count = found.count[0].astype(np.float64)
                total = np.where(count > 0, found.mean[0] * count, 0.0)
                self._sums.put(np.arange(first, last), (found.min[0], found.max[0], total, count), self.columns)
                return
        self._sums.add(self.rows.between(piece.begin, piece.end), self.columns, of_tier=False)

    def _add_waiting(self, tier: _Tier, piece: _Piece) -> None:
        """What is not in the tier yet of what feeds it."""
        for block, columns, of_tier in self._waiting(tier):
            some = block[(block[:, 0] >= piece.begin) & (block[:, 0] < piece.end)]
            self._sums.add(in_time_order(some), columns, of_tier=of_tier)

    def _waiting(self, tier: _Tier) -> Iterator[tuple[Cells, tuple[str, ...], bool]]:
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
        elif self.rows and tier.life.startswith("rows:"):  # of a life before: nothing of this one is there
            yield self.rows.since(0)[1], self.columns, False


class _Sums:
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
