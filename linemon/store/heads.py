"""The heads of many rings, read at once: what there is to say of sources without a look at their rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

import numpy as np

from linemon.errors import StoreError
from linemon.store.catalog import Entry
from linemon.store.reader import Store
from linemon.store.ring import ARRIVALS, ARRIVED, COMMIT, HEAD_CELLS, ID, Arena, Cells, Floats, fence

AMONG = 10  # rows: so many senders say one column at a time


class Heads(NamedTuple):
    """Copies of what stands at the head of rings of one arena: `cells`, (n, HEAD_CELLS), and whose they are."""

    entries: list[Entry]
    cells: Cells
    points: int

    @classmethod
    def of(cls, arena: Arena, entries: list[Entry]) -> Heads:
        slots, ids = np.array([[entry.slot, entry.id] for entry in entries], np.int64).reshape(-1, 2).T
        fence()
        cells = arena.cells[slots]
        fence()  # a slot that is still this source's after a copy that says so was all the while
        again = arena.cells[slots]
        is_whole = (
            (cells[:, ID] == ids) & (again[:, ID] == ids) & (again[:, ARRIVALS:] == cells[:, ARRIVALS:]).all(axis=1)
        )
        return cls(
            [entry for entry, whole in zip(entries, is_whole, strict=True) if whole], cells[is_whole], arena.points
        )

    def arrivals(self) -> Cells:
        """As `Source.arrivals`, (n, k, 2); those that were not noted come first, with the time 0."""
        noted = self.cells[:, ARRIVALS:].reshape(len(self.cells), (HEAD_CELLS - ARRIVALS) // 2, 2)
        noted = np.take_along_axis(noted, noted[:, :, :1].argsort(axis=1), axis=1)
        now = np.column_stack([self.cells[:, ARRIVED], self.cells[:, COMMIT] >> 1])
        now = np.where(now[:, :1] > noted[:, -1, :1], now, noted[:, -1])
        return np.concatenate([noted, now[:, np.newaxis]], axis=1)


def heads_of(store: Store, names: Iterable[str]) -> Iterator[Heads]:
    """The heads of these rings; of those that move meanwhile, or cannot be read, there are none."""
    store._refresh()
    entries = store._catalog.entries
    rings: dict[str, list[Entry]] = {}
    for entry in filter(None, map(entries.get, names)):
        rings.setdefault(entry.file, []).append(entry)
    for file, members in rings.items():
        with suppress(StoreError, OSError):
            if arena := store._arena(file):
                if any(entry.slot >= arena.slots for entry in members):
                    arena.remap()  # it has grown
                yield Heads.of(arena, [entry for entry in members if entry.slot < arena.slots])


def entries_of(store: Store) -> tuple[object, Mapping[str, Entry]]:
    """What the catalog says of each source: another entry where that has changed; and before it what is another one
    after each change.
    """
    store._refresh()
    return store._catalog.state, store._catalog.entries


class Picked:
    """The newest values of picked columns of many sources, read at once where they lie, as the catalog has them now."""

    def __init__(self, store: Store, wanted: Sequence[tuple[str, str]]) -> None:
        """`wanted` has a source and a column each."""
        self._store, self._count = store, len(wanted)
        self._places = _places(entries_of(store)[1], wanted)

    def read(self, latest: int) -> Floats:
        """(n,) of each the last value among its newest rows, nan where is none; of rows of after `latest` ns, none."""
        values = np.full(self._count, np.nan)
        for file, (at, slots, ids, cells) in self._places.items():
            with suppress(StoreError, OSError):
                if arena := self._store._arena(file):
                    if slots.max() >= arena.slots:
                        arena.remap()  # it has grown
                    if slots.max() < arena.slots:
                        found = _newest(arena, slots, ids, cells, latest, 1)
                        rest = np.flatnonzero(np.isnan(found))  # few: most rows have all
                        found[rest] = _newest(arena, slots[rest], ids[rest], cells[rest], latest, AMONG)
                        values[at] = found
        return values


def _places(entries: Mapping[str, Entry], wanted: Sequence[tuple[str, str]]) -> dict[str, Cells]:
    """By files, (4, n): which it is of `wanted`, slot, id, cell in a row."""
    places: dict[str, list[tuple[int, int, int, int]]] = {}
    for at, (source, column) in enumerate(wanted):
        if (entry := entries.get(source)) and column in entry.columns:
            place = at, entry.slot, entry.id, 1 + entry.columns.index(column)
            places.setdefault(entry.file, []).append(place)
    return {file: np.array(found, np.int64).T for file, found in places.items()}


def _newest(arena: Arena, slots: Cells, ids: Cells, cells: Cells, latest: int, among: int) -> Floats:
    numbers = (arena.cells[slots, COMMIT] >> 1)[:, np.newaxis] - 1 - np.arange(min(among, arena.points))
    fence()
    places = slots[:, np.newaxis], numbers % arena.points
    times, found = arena.rows[*places, 0], arena.rows[*places, cells[:, np.newaxis]].view(np.float64)
    is_other = (numbers < 0) | (times > latest) | (arena.cells[slots, ID] != ids)[:, np.newaxis]
    found[is_other] = np.nan
    newest: Floats = found[np.arange(len(slots)), (~np.isnan(found)).argmax(axis=1)]
    return newest
