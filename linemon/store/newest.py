"""The newest values of all sources, kept up to date many rings at once: of ten thousand it costs milliseconds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress

import numpy as np

from linemon.errors import StoreError
from linemon.store import heads
from linemon.store.catalog import Entry
from linemon.store.liveness import patience_s
from linemon.store.reader import Store
from linemon.store.ring import ARRIVED, COMMIT, DISORDER, ID, RESERVED, Arena, Cells, Floats, Ints, fence
from linemon.store.window import lower_bounds

BACK = 60  # rows in which the newest value of a column is looked for
STEADY = 10  # looks that found rows after which only every so manieth asks anew what is usual


class Rings:
    """Some rings of one arena, with the place of each among all sources."""

    def __init__(self, arena: Arena, places: Ints, entries: Sequence[Entry]) -> None:
        self.arena, self.places = arena, places
        self.slots, self.ids = np.array([[entry.slot, entry.id] for entry in entries], np.int64).T

    def values(self, at: Ints, columns: Ints, tops: Cells, since: Cells, latest: int) -> tuple[Floats, Cells]:
        """The newest values, (n, k), of these columns of the rings `at`, in their rows `since` up to `tops`, and the
        time of the newest of these rows, (n,); nan and -1 where there is none. A column below 0 has none.

        Rows later than `latest` (ns), and more than `BACK` rows before the newest, count for nothing.
        """
        arena, slots, has = self.arena, self.slots[at], columns >= 0
        found, times = np.full(columns.shape, np.nan), np.full(len(at), -1)
        todo = np.flatnonzero(tops > since)
        for back in range(1, BACK + 1):
            if not len(todo):
                break
            owners, numbers = slots[todo], tops[todo] - back
            rows = numbers % arena.points
            at_time = arena.rows[owners, rows, 0]
            cells = arena.rows[owners[:, None], rows[:, None], 1 + columns[todo]].view(np.float64)
            fence()
            is_good = (arena.cells[owners, RESERVED] - arena.points <= numbers) & (at_time <= latest)
            cells[~(is_good[:, None] & has[todo])] = np.nan
            found[todo] = np.where(np.isnan(found[todo]), cells, found[todo])
            times[todo] = np.where((times[todo] < 0) & is_good, at_time, times[todo])
            is_open = (np.isnan(found[todo]) & has[todo]).any(axis=1) | (times[todo] < 0)
            todo = todo[is_open & (numbers > since[todo])]
        return found, times

    def traces(self, at: Ints, columns: Ints, edges: Cells) -> Floats:
        """The last value between each two `edges` (n + 1,), int64 ns: (rings, k, n), nan where there is none."""
        arena, slots = self.arena, self.slots[at]
        tops = arena.cells[slots, COMMIT] >> 1
        fence()
        oldest = np.clip(arena.cells[slots, RESERVED] - arena.points, 0, tops)
        starts = lower_bounds(arena, slots, edges, oldest, tops)
        last = starts[:, 1:] - 1
        disorder = arena.cells[slots, DISORDER]
        for i in np.flatnonzero((disorder > 0) & (disorder > tops - arena.points)).tolist():
            numbers = arena.numbers_by_time(int(slots[i]), int(oldest[i]), int(tops[i]))
            ends = np.searchsorted(arena.rows[slots[i], numbers % arena.points, 0], edges)
            last[i] = np.where(np.diff(ends) > 0, np.append(numbers, -1)[ends[1:] - 1], -1)
            starts[i] = 0
        cells = arena.rows[slots[:, None, None], last[:, None, :] % arena.points, 1 + columns[:, :, None]]
        fence()
        is_held = (last >= starts[:, :-1]) & (last >= arena.cells[slots, RESERVED][:, None] - arena.points)
        return np.where(is_held[:, None, :] & (columns >= 0)[:, :, None], cells.view(np.float64), np.nan)


class Newest:
    """What is known of each source of a store, by its place: each array has one item, or row, per source.

    `names`, `entries` (n,); `picked` (n, k), the numbers of the columns that are kept up to date, -1 = none; `values`
    (n, k), nan = missing; `arrived` (n,), when its newest row came, `stamped` (n,), what that says, both in ns, 0 and
    -1 where there is none; `patience_s` (n,), when it is called silent. What is written into them by others is lost.
    """

    names: tuple[str, ...]
    entries: list[Entry]
    place: dict[str, int]  # by name
    values: Floats
    arrived: Ints
    stamped: Ints
    patience_s: Floats
    _tops: Ints  # the number of the next row, as far as was looked
    _looks: Ints  # that found rows

    def __init__(self, store: Store, pick: Callable[[Entry], Sequence[int]], width: int) -> None:
        self._store, self._pick, self._width = store, pick, width
        self.version = 0  # counted up when sources have come, gone, or changed their columns
        self._state: object = None
        self._meet((), [])

    def look(self, names: tuple[str, ...], latest: int) -> None:
        """Read what is new of these sources. Rows later than `latest` (ns) have wrong stamps, and no values."""
        self._store._refresh()
        if (state := self._store._catalog.state) != self._state or names != self.asked:
            entries = self._store._catalog.entries
            self._meet(names, [entries[name] for name in names if name in entries])
            self._state = state
        for rings in self.rings:
            self._take(rings, latest)

    def of_rings(self, places: Ints) -> Iterator[tuple[Rings, Ints, Ints]]:
        """Where some sources are: the rings of an arena, their numbers there, and their numbers in `places`."""
        for number in np.unique(self._ring[places]).tolist():
            if number >= 0:
                some = np.flatnonzero(self._ring[places] == number)
                yield self.rings[number], self._at[places[some]], some

    def values_of(self, places: Ints, columns: Ints, latest: int) -> Floats:
        """The newest value, (m,), of a column of each of these."""
        found = np.full(len(places), np.nan)
        for rings, at, some in self.of_rings(places):
            tops = rings.arena.cells[rings.slots[at], COMMIT] >> 1
            since = np.maximum(tops - BACK, 0)
            found[some] = rings.values(at, columns[some][:, None], tops, since, latest)[0][:, 0]
        return found

    def traces(self, places: Ints, steps: Ints, count: int, now: int) -> Floats:
        """The last value of each picked column in each of `count` steps (ns) up to `now`: (m, k, count)."""
        found = np.full((len(places), self._width, count), np.nan)
        for step in np.unique(steps).tolist():
            those = np.flatnonzero(steps == step)
            edges = (now // step - count + 1 + np.arange(count + 1)) * step
            for rings, at, some in self.of_rings(places[those]):
                found[those[some]] = rings.traces(at, self.picked[places[those[some]]], edges)
        return found

    def _take(self, rings: Rings, latest: int) -> None:
        arena = rings.arena
        tops = arena.cells[rings.slots, COMMIT] >> 1
        fence()
        new = np.flatnonzero(tops != self._tops[rings.places])
        places, tops = rings.places[new], tops[new]
        since = np.maximum(self._tops[places], tops - BACK)
        values, times = rings.values(new, self.picked[places], tops, np.maximum(since, 0), latest)
        cells = arena.cells[rings.slots[new], : ARRIVED + 1]
        is_whole = cells[:, ID] == rings.ids[new]  # else it has moved, and the catalog will say where to
        new, places, values, times = new[is_whole], places[is_whole], values[is_whole], times[is_whole]
        self._tops[places], self.arrived[places] = tops[is_whole], cells[is_whole, ARRIVED]
        self.values[places] = np.where(np.isnan(values), self.values[places], values)
        self.stamped[places] = np.maximum(self.stamped[places], times)
        self._looks[places] += 1
        looks = self._looks[places]
        self._ask(rings, new[(looks <= STEADY) | ((looks + places) % STEADY == 0)])  # not of all at once

    def _ask(self, rings: Rings, some: Ints) -> None:
        """What is usual between two arrivals."""
        if len(some):
            cells, is_whole = heads.copied(rings.arena, rings.slots[some], rings.ids[some])
            self.patience_s[rings.places[some[is_whole]]] = patience_s(heads.arrivals(cells[is_whole]))

    def _meet(self, asked: tuple[str, ...], entries: list[Entry]) -> None:
        """Take these for all there are; what is known of those that are still the same is kept."""
        before = self.place if self.version else {}
        kept = [before.get(entry.source, -1) for entry in entries]
        kept = [
            old if old >= 0 and self.entries[old] is entry else -1 for old, entry in zip(kept, entries, strict=True)
        ]
        old, n, width = np.array(kept, np.int64), len(entries), self._width
        picks = [(*self._pick(entry), *[-1] * width)[:width] for entry in entries]
        self.picked = np.array(picks, np.int64).reshape(n, width)
        for name, fresh in {
            "values": np.full((n, width), np.nan),
            "arrived": np.zeros(n, np.int64),
            "stamped": np.full(n, -1),
            "patience_s": np.full(n, np.inf),
            "_tops": np.zeros(n, np.int64),
            "_looks": np.zeros(n, np.int64),
        }.items():
            if (old >= 0).any():
                fresh[old >= 0] = getattr(self, name)[old[old >= 0]]
            setattr(self, name, fresh)
        self.asked, self.entries = asked, entries
        self.names = tuple(entry.source for entry in entries)
        self.place = {name: place for place, name in enumerate(self.names)}
        self.version += 1
        self._sort(entries)

    def _sort(self, entries: list[Entry]) -> None:
        """By arenas."""
        self.rings: list[Rings] = []
        self._ring, self._at = np.full(len(entries), -1), np.zeros(len(entries), np.int64)
        files: dict[str, list[int]] = {}
        for place, entry in enumerate(entries):
            files.setdefault(entry.file, []).append(place)
        for file, members in files.items():
            with suppress(StoreError, OSError):
                if arena := self._store._arena(file):
                    if any(entries[place].slot >= arena.slots for place in members):
                        arena.remap()  # it has grown
                    there = [place for place in members if entries[place].slot < arena.slots]
                    places = np.array(there, np.int64)
                    self._ring[places], self._at[places] = len(self.rings), np.arange(len(places))
                    self.rings.append(Rings(arena, places, [entries[place] for place in there]))


def entries_of(store: Store) -> tuple[object, Mapping[str, Entry]]:
    """What the catalog says of each source: another entry where that has changed; and before it what is another one
    after each change.
    """
    store._refresh()
    return store._catalog.state, store._catalog.entries


class Picked:
    """The newest values of some columns of some sources, whichever: of each a source and a column."""

    def __init__(self, store: Store, picked: Sequence[tuple[Entry, str]]) -> None:
        self._count = len(picked)
        self._rings: list[tuple[Rings, Ints]] = []  # and the numbers of the columns, (n, 1)
        files: dict[str, list[int]] = {}
        for place, (entry, _) in enumerate(picked):
            files.setdefault(entry.file, []).append(place)
        for file, places in files.items():
            with suppress(StoreError, OSError):
                if arena := store._arena(file):
                    if any(picked[place][0].slot >= arena.slots for place in places):
                        arena.remap()  # it has grown
                    there = [place for place in places if picked[place][0].slot < arena.slots]
                    rings = Rings(arena, np.array(there, np.int64), [picked[place][0] for place in there])
                    columns = [picked[place][0].columns.index(picked[place][1]) for place in there]
                    self._rings.append((rings, np.array(columns, np.int64)[:, None]))

    def values(self, latest: int) -> Floats:
        """(n,) of each the newest value, nan where there is none. Rows later than `latest` (ns) count for nothing."""
        found = np.full(self._count, np.nan)
        for rings, columns in self._rings:
            heads = rings.arena.cells[rings.slots]
            tops, is_same = heads[:, COMMIT] >> 1, heads[:, ID] == rings.ids
            fence()
            at = np.arange(len(rings.slots))
            values, _ = rings.values(at, columns, tops, np.maximum(tops - BACK, 0), latest)
            found[rings.places] = np.where(is_same, values[:, 0], np.nan)
        return found
