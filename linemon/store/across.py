"""One measure of many sources in the same buckets: many rings at once, and of these one column."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import numpy as np

from linemon.errors import StoreError, UnknownSource
from linemon.store.catalog import Entry
from linemon.store.reader import Source, Store
from linemon.store.ring import Arena, Cells, Floats
from linemon.store.window import of_block, of_rings

LOT = 256  # rings at a time: others want to work, too

Column = tuple[str, str]  # a source, and the name of a column of it


def having(store: Store, measure: str) -> list[Column]:
    """The columns of all sources that are this measure: called so, or the one of a source whose name ends with it."""
    store._refresh()
    ending = f".{measure}"
    found = []
    for name, entry in store._catalog.entries.items():
        if measure in entry.columns:
            found.append((name, measure))
        elif entry.columns == ("value",) and name.endswith(ending):
            found.append((name, "value"))
    return found


def means(store: Store, columns: Sequence[Column], edges: Cells) -> Floats:
    """The mean of each between `edges` (b + 1,), int64 ns: (n, b), nan where there is none.

    Of what a ring does not hold any more, it is of the finest tier of the history that does.
    """
    found = _of_rings(store, columns, edges)
    levels = store._levels()
    for tier in levels.stores() if levels else ():
        some = np.flatnonzero(np.isnan(found[:, 0])).tolist()
        if not some:
            break
        more = _of_rings(tier, [(columns[i][0], f"{columns[i][1]}.mean") for i in some], edges)
        found[some] = np.where(np.isnan(found[some]), more, found[some])
    return found


def _of_rings(store: Store, columns: Sequence[Column], edges: Cells) -> Floats:
    found = np.full((len(columns), len(edges) - 1), np.nan)
    store._refresh()
    entries = store._catalog.entries
    alike: dict[tuple[str, int], list[tuple[int, Entry]]] = {}  # by their arenas, and places in the row
    for number, (name, column) in enumerate(columns):
        entry = entries.get(name)
        if entry and column in entry.columns:
            alike.setdefault((entry.file, entry.columns.index(column)), []).append((number, entry))
    for (file, column_at), members in alike.items():
        with suppress(StoreError, OSError):
            if arena := store._arena(file):
                if any(entry.slot >= arena.slots for _, entry in members):
                    arena.remap()  # it has grown
                for at in range(0, len(members), LOT):
                    lot = [member for member in members[at : at + LOT] if member[1].slot < arena.slots]
                    found[[number for number, _ in lot]] = _of_lot(
                        store, arena, [entry for _, entry in lot], column_at, edges
                    )
    return found


def _of_lot(store: Store, arena: Arena, entries: Sequence[Entry], column: int, edges: Cells) -> Floats:
    buckets, _, holds = of_rings(arena, np.array([entry.slot for entry in entries], np.intp), edges, column)
    found = buckets.mean[:, :, 0]
    for i, entry in enumerate(entries):
        if not (holds[i] and Source._whole(entry, arena, entry.slot)):  # not in order, or it has moved
            found[i] = np.nan
            with suppress(UnknownSource, StoreError):
                now, block, _ = Source(store, entry.source)._between(int(edges[0]), int(edges[-1]))
                if now.columns[: len(entry.columns)] == entry.columns:
                    found[i] = of_block(block[:, [0, 1 + column]], edges).mean[0, :, 0]
    return found


def spread(values: Floats, shares: Sequence[float]) -> Floats:
    """The quantiles, (b, s), at these shares of what there is of (n, b) in each bucket; nan where there is nothing."""
    ordered = np.sort(values, axis=0)  # what is missing comes last
    counts = np.count_nonzero(values == values, axis=0)
    found = np.full((values.shape[1], len(shares)), np.nan)
    some = np.flatnonzero(counts)
    for number, share in enumerate(shares):
        found[some, number] = ordered[np.rint(share * (counts[some] - 1)).astype(np.intp), some]
    return found
