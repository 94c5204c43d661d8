"""Names to rings, for whoever reads: `Store`, its sources, and the rows and windows that they give.

A store is a folder that the collector writes (docs/STORE.md). Readers only read, and cost the collector nothing.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from linemon.errors import StoreError, UnknownSource
from linemon.patterns import is_output
from linemon.store import window
from linemon.store.catalog import Catalog, Entry
from linemon.store.farewells import FarewellFile
from linemon.store.marks import Mark, MarkFile
from linemon.store.ring import AHEAD, APPENDS, ARRIVED, ID, LATEST, REJECTED, Arena, Cells, fence
from linemon.store.rows import Level, Rows, TimeLike, Window, as_ns, known, some, span_of
from linemon.store.status import read_status

if TYPE_CHECKING:
    from linemon.store.levels import Levels

ATTEMPTS = 100  # a source moves seldom, and the catalog says at once where to
AGAIN_S = 0.001
LOOK_S = 0.02  # how often `wait` looks at a few numbers in memory
NO_ROWS: Cells = np.empty(0, np.int64)


class Source:
    """One named stream of rows, read from the ring that the collector writes."""

    def __init__(self, store: Store, name: str) -> None:
        self._store = store
        self.name = name

    @property
    def columns(self) -> tuple[str, ...]:
        return self._store._entry(self.name).columns

    @property
    def units(self) -> tuple[str, ...]:
        """One text per column, empty where none was given."""
        return self._store._entry(self.name).units

    @property
    def points(self) -> int:
        """How many rows the ring holds at most."""
        return self._store._ring(self.name)[1].points

    @property
    def rows(self) -> int:
        """How many rows were ever appended."""
        _, arena, slot = self._store._ring(self.name)
        return arena.head(slot)

    @property
    def rejected(self) -> int:
        """How many lines of this source were rejected."""
        _, arena, slot = self._store._ring(self.name)
        return int(arena.cells[slot, REJECTED])

    @property
    def ahead(self) -> int:
        """How many rows were stamped more than five minutes later than they came."""
        _, arena, slot = self._store._ring(self.name)
        return int(arena.cells[slot, AHEAD])

    @property
    def born(self) -> int:
        """When its row numbers began at 0 (ns), 0 if unknown: another number for each life of a source of this name."""
        return self._store._entry(self.name).born

    @property
    def arrived(self) -> np.datetime64 | None:
        """When its newest row came, by the collector's clock; None where it has none, or that is not known."""
        _, arena, slot = self._store._ring(self.name)
        arrived = int(arena.cells[slot, ARRIVED])
        return np.datetime64(arrived, "ns") if arrived else None

    @property
    def arrivals(self) -> Cells:
        """When rows came (ns) and how many there were then, (n, 2): about the last dozen, a second apart or more."""
        _, arena, slot = self._store._ring(self.name)
        now = [[int(arena.cells[slot, ARRIVED]), arena.head(slot)]]
        noted = arena.arrivals(slot)
        return np.vstack([noted, now]) if now[0][0] > (noted[-1, 0] if len(noted) else 0) else noted

    @property
    def newest(self) -> np.datetime64 | None:
        """The latest time the ring holds; None while it holds none."""
        time = self.last(1).time
        return time[0] if len(time) else None

    @property
    def oldest(self) -> np.datetime64 | None:
        """The earliest time that is held, of rows or in the history; None where there is none."""
        begins = [level.begin for level in self.kept]
        return np.datetime64(min(begins), "ns") if begins else None

    @property
    def kept(self) -> list[Level]:
        """What is kept of it, and how long: its rows, then the tiers of its history, the finest first."""
        levels = self._store._levels()
        oldest, (_, arena, slot) = self._oldest_row(), self._store._ring(self.name)
        rows = [] if oldest is None else [Level("rows", 0, oldest, int(arena.cells[slot, LATEST]), arena.slot_bytes)]
        return rows + (levels.kept(self.name) if levels else [])

    def _oldest_row(self) -> int | None:
        """The earliest time (ns) that the ring holds."""
        for entry, arena, slot in self._attempts():
            oldest, head = arena.held(slot)
            block = arena.read(slot, oldest, oldest + 1)[1] if arena.is_in_order(slot, head) else np.empty((0, 1))
            if not len(block):  # not in order, or overwritten meanwhile
                _, block = arena.read(slot, oldest)
            if self._whole(entry, arena, slot):
                return int(block[:, 0].min()) if len(block) else None
        raise AssertionError  # the attempts end with an error of their own

    def last(self, n: int) -> Rows:
        """The newest `n` rows by their times, also of those that are ahead of the clock; in time order."""
        for entry, arena, slot in self._attempts():
            _, head = arena.held(slot)
            if arena.is_in_order(slot, head):
                _, block = arena.read(slot, head - max(n, 0), head)
            else:
                block, is_held = arena.gather(slot, arena.numbers_by_time(slot, 0, head)[-n:] if n > 0 else NO_ROWS)
                block = block[is_held]
            if self._whole(entry, arena, slot):
                return Rows.of(entry, in_time_order(block), head)
        raise AssertionError  # the attempts end with an error of their own

    def last_arrived(self) -> Rows:
        """The row that came last, whatever its time: where a live view begins. None or more where rows just come."""
        return self.since(max(0, self.rows - 1))

    def since(self, cursor: int, born: int | None = None, most: int | None = None) -> Rows:
        """The rows appended after `cursor` was handed out (0: all that are held), in order of arrival.

        `born` came with it: where the source began anew meanwhile, the rows are those from its first one on. `most`: no
        more than so many, the first of them; the cursor is then the one after these.
        """
        for entry, arena, slot in self._attempts():
            restarted = cursor > arena.head(slot) or born not in (None, entry.born)
            start = 0 if restarted else cursor
            first = max(start, arena.held(slot)[0])
            first, block = arena.read(slot, first, None if most is None else first + most)
            if self._whole(entry, arena, slot):
                return Rows.of(entry, block, first + len(block), missed=first - start, restarted=restarted)
        raise AssertionError  # the attempts end with an error of their own

    def between(self, start: TimeLike | None = None, end: TimeLike | None = None) -> Rows:
        """The rows of [start, end) in time order; None leaves a side open."""
        return Rows.of(*self._between(None if start is None else as_ns(start), None if end is None else as_ns(end)))

    def window(self, start: TimeLike, end: TimeLike, points: int = 1200) -> Window:
        """[start, end) in at most `points` buckets, of rows and history; equal ones where rows are held for all."""
        return self._store.window([self.name], start, end, points)[self.name]

    def older(self, start: TimeLike, end: TimeLike, points: int = 1200) -> Window | None:
        """The same where rows alone do not have all of it, but the history more; else None."""
        levels = self._store._levels()
        return levels.window(self._store, self.name, as_ns(start), as_ns(end), points) if levels else None

    def __repr__(self) -> str:
        return f"<source {self.name!r}: {self.rows} rows of {some(self.columns)}>"

    def _between(self, begin: int | None, stop: int | None) -> tuple[Entry, Cells, int]:
        """The source, its cells of [begin, stop) ns in time order, and the cursor after them."""
        for entry, arena, slot in self._attempts():
            block, cursor = range_of(arena, slot, begin, stop)
            if self._whole(entry, arena, slot):
                return entry, window.last_of_each(block) if is_output(self.name) else block, cursor
        raise AssertionError  # the attempts end with an error of their own

    def _attempts(self) -> Iterator[tuple[Entry, Arena, int]]:
        """The ring of this source, and again when the source moved while it was read."""
        for _ in range(ATTEMPTS):
            yield self._store._ring(self.name)
        raise StoreError(f"{self.name!r} moved {ATTEMPTS} times while it was read")

    @staticmethod
    def _whole(entry: Entry, arena: Arena, slot: int) -> bool:
        """After a copy and the look at `reserved`: whether the slot still was this source's."""
        fence()
        return int(arena.cells[slot, ID]) == entry.id


class Store:
    """All rings of one folder, read-only. It may be opened before the collector has written anything.

    Several threads may read from one, but only one may `wait`. It keeps files open until it is closed, by `close` or at
    the end of a `with`, or until nobody has it any more; used after that, it opens them again.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._catalog = Catalog(self.path)
        self._arenas: dict[str, Arena] = {}
        self._lock = threading.Lock()  # on what is known of the catalog, and of the files
        self._seen: object = None  # the state that `wait` has told of
        self._history: Levels | None = None
        self._marks = MarkFile(self.path)
        self._farewells = FarewellFile(self.path)

    def close(self) -> None:
        """Let go of all files; rows and windows that were read stay."""
        with self._lock:
            for journal in (self._catalog, self._marks, self._farewells):
                journal.close()
            self._arenas = {}

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def id(self) -> str:
        """Twelve characters that name this store and no other; empty where it was written by an older linemon."""
        self._refresh()
        return str(self._catalog.head.get("store", ""))

    def sources(self, *, history: bool = False) -> tuple[str, ...]:
        """The names of all sources, in the order in which they came; `history`: also of those that only that holds."""
        self._refresh()
        levels = self._levels() if history else None
        return tuple(dict.fromkeys([*self._catalog.entries, *(levels.sources() if levels else ())]))

    def __getitem__(self, name: str) -> Source:
        if name not in self and (levels := self._levels()) and name in levels:
            return levels.gone(self, name)
        self._entry(name)
        return Source(self, name)

    def knows(self, name: str) -> bool:
        """Whether there are rows of this source, or a history."""
        levels = self._levels()
        return name in self or (levels is not None and name in levels)

    def __iter__(self) -> Iterator[str]:
        return iter(self.sources())

    def __contains__(self, name: object) -> bool:
        self._refresh()
        return name in self._catalog.entries

    def __len__(self) -> int:
        self._refresh()
        return len(self._catalog.entries)

    def _ipython_key_completions_(self) -> list[str]:
        return list(self.sources())

    def __repr__(self) -> str:
        names = self.sources()
        there = (
            f"{len(names)} sources{': ' if names else ''}{some(names)}" if self.path.exists() else "nothing there yet"
        )
        return f"<linemon store at {self.path}: {there}>"

    def status(self) -> dict[str, Any]:
        """The collector's counters as it last wrote them; empty before its first."""
        return read_status(self.path)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until rows or sources have come since the last call that returned true; the first returns at once.

        False after `timeout` seconds without any (None: wait for ever). It looks at a number per ring file every
        20 ms, and reads nothing else.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while (state := self._state()) == self._seen:
            if deadline is not None and time.monotonic() >= deadline:
                return False
            time.sleep(LOOK_S)
        self._seen = state
        fence()
        return True

    def window(self, sources: Iterable[str], start: TimeLike, end: TimeLike, points: int = 1200) -> dict[str, Window]:
        """[start, end) of each source in at most `points` buckets: all in the same ones where rows are held for all.

        Rows are reduced where they lie in the rings, without a copy of them all, many rings at once. What they do not
        hold any more is read from the history.
        """
        begin, stop = span_of(start, end, points)
        edges = window.equal_edges(begin, stop, points)
        rings: dict[Arena, list[tuple[Entry, int]]] = {}
        found: dict[str, Window] = {}
        levels = self._levels()
        for name in sources:
            if levels and (older := levels.window(self, name, begin, stop, points)):
                found[name] = older
                continue
            entry, arena, slot = self._ring(name)
            rings.setdefault(arena, []).append((entry, slot))
        for arena, members in rings.items():
            buckets, cursors, holds = window.of_rings(arena, np.array([slot for _, slot in members]), edges)
            for i, (entry, slot) in enumerate(members):
                if holds[i] and not is_output(entry.source) and Source._whole(entry, arena, slot):
                    found[entry.source] = Window.of(entry, edges, buckets, i, int(cursors[i]))
                else:
                    moved, block, cursor = Source(self, entry.source)._between(begin, stop)
                    found[entry.source] = Window.of(moved, edges, window.of_block(block, edges), 0, cursor)
        return found

    def marks(
        self, start: TimeLike | None = None, end: TimeLike | None = None, source: str | None = None
    ) -> list[Mark]:
        """The marks of [start, end) in time order; None leaves a side open. `source`: its own, and those of all."""
        begin, stop = (None if side is None else as_ns(side) for side in (start, end))
        with self._lock:
            self._marks.refresh()
            return self._marks.marks.between(begin, stop, source)

    def _levels(self) -> Levels | None:
        """The tiers of history; None where there are none."""
        if self._history is None:
            from linemon.store.levels import Levels  # which reads them by this class

            self._history = Levels(self.path)
        return self._history if self._history.refresh() else None

    def _state(self) -> object:
        self._refresh()
        arenas = [self._arena(file) for file in {entry.file for entry in list(self._catalog.entries.values())}]
        return self._catalog.state, [int(arena.header[APPENDS]) for arena in arenas if arena]

    def _refresh(self) -> None:
        """Read what is new in the catalog; after that no mapping is kept of a file that was removed or replaced."""
        with self._lock:
            before = self._catalog.state
            self._catalog.refresh()
            if self._catalog.state != before:
                self._arenas = {file: arena for file, arena in self._arenas.items() if not arena.is_gone()}

    def _entry(self, name: str) -> Entry:
        self._refresh()
        entry = self._catalog.entries.get(name)
        if entry is None:
            raise UnknownSource(f"no source {name!r} in {self.path}{known(name, tuple(self._catalog.entries))}")
        return entry

    def _arena(self, file: str) -> Arena | None:
        """The mapped file; None if there is none of that name."""
        with self._lock:
            arena = self._arenas.get(file)
            if arena is None:
                try:
                    arena = self._arenas[file] = Arena(self.path / file)
                except FileNotFoundError:
                    return None
            return arena

    def _ring(self, name: str) -> tuple[Entry, Arena, int]:
        """Where the rows of `name` are now."""
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(AGAIN_S)  # the writer is between two steps
            entry = self._entry(name)
            arena = self._arena(entry.file)
            if arena is None:
                continue  # the source moved between the two reads
            if entry.slot >= arena.slots:
                arena.remap()
            if entry.slot >= arena.slots:
                raise StoreError(f"{arena.path} is damaged: it ends before the ring of {name!r}")
            if int(arena.cells[entry.slot, ID]) == entry.id:
                fence()
                return entry, arena, entry.slot
            # The source moved on: the catalog says where to, unless the whole file was replaced.
            if arena.is_gone():
                self._arenas.pop(entry.file, None)
        raise StoreError(f"{self.path} is damaged: its catalog and its ring files disagree about {name!r}")


def range_of(arena: Arena, slot: int, begin: int | None, stop: int | None) -> tuple[Cells, int]:
    """The cells of [begin, stop) ns in time order, and the cursor after them."""
    oldest, head = arena.held(slot)
    if arena.is_in_order(slot, head):  # the times tell which rows to copy
        first, last = oldest, head
        if begin is not None:
            first = arena.first_not_before(slot, begin, oldest, head)
        if stop is not None:
            last = arena.first_not_before(slot, stop, oldest, head)
        return arena.read(slot, first, max(first, last))[1], head
    block = in_time_order(arena.read(slot, oldest, head)[1])
    from_row = 0 if begin is None else int(np.searchsorted(block[:, 0], begin))
    to_row = len(block) if stop is None else int(np.searchsorted(block[:, 0], stop))
    return block[from_row:to_row], head


def in_time_order(block: Cells) -> Cells:
    times = block[:, 0]
    if (times[1:] >= times[:-1]).all():
        return block
    return block[np.argsort(times, kind="stable")]
