"""The heads of many rings, read at once: what there is to say of sources without a look at their rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from linemon.errors import StoreError
from linemon.store.catalog import Entry
from linemon.store.reader import Store
from linemon.store.ring import ARRIVALS, ARRIVED, COMMIT, HEAD_CELLS, ID, Arena, Cells, Slots, fence


class Heads(NamedTuple):
    """Copies of what stands at the head of rings of one arena: `cells`, (n, HEAD_CELLS), and whose they are."""

    entries: list[Entry]
    cells: Cells
    points: int

    @classmethod
    def of(cls, arena: Arena, entries: list[Entry]) -> Heads:
        slots, ids = np.array([[entry.slot, entry.id] for entry in entries], np.int64).reshape(-1, 2).T
        cells, is_whole = copied(arena, slots, ids)
        return cls(
            [entry for entry, whole in zip(entries, is_whole, strict=True) if whole], cells[is_whole], arena.points
        )


def copied(arena: Arena, slots: Slots, ids: Cells) -> tuple[Cells, npt.NDArray[np.bool_]]:
    """The heads of these slots, (n, HEAD_CELLS), and of which the copy is whole, and of the source with this id."""
    fence()
    cells = arena.cells[slots]
    fence()  # a slot that is still this source's after a copy that says so was all the while
    again = arena.cells[slots]
    is_same = (cells[:, ID] == ids) & (again[:, ID] == ids)
    return cells, is_same & (again[:, ARRIVALS:] == cells[:, ARRIVALS:]).all(axis=1)


def arrivals(cells: Cells) -> Cells:
    """As `Source.arrivals`, (n, k, 2), by the heads (n, HEAD_CELLS); those not noted come first, with the time 0."""
    noted = cells[:, ARRIVALS:].reshape(len(cells), (HEAD_CELLS - ARRIVALS) // 2, 2)
    noted = np.take_along_axis(noted, noted[:, :, :1].argsort(axis=1), axis=1)
    now = np.column_stack([cells[:, ARRIVED], cells[:, COMMIT] >> 1])
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
