"""What there is to say of a source: one answer for the commands and HTTP."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from linemon.errors import StoreError, UnknownSource
from linemon.store.farewells import Farewell, of_store
from linemon.store.heads import Heads, arrivals, heads_of
from linemon.store.liveness import Life
from linemon.store.reader import Source, Store
from linemon.store.ring import AHEAD, ARRIVED, COMMIT, DISORDER, LATEST, REJECTED
from linemon.when import iso, iso_ns

NUMBERS = re.compile(r"\d+")
UNKNOWN = "rows", "newest", "arrived", "rejected", "ahead", "rate_per_s", "age_s", "silent_since", "back"
LOT = 256  # sources that are looked at together


def describe(source: Source, now: int) -> dict[str, Any]:
    """One source as `linemon sources --json` shows it; `now` in ns."""
    life, time = Life.of(source, now), source.newest
    newest = None if time is None else iso_ns(int(time.astype(np.int64)))
    arrived = None if life.arrived is None else iso_ns(life.arrived)
    counts = source.rows, source.rejected, source.ahead
    farewells = of_store(source._store).names
    return _shown(source.name, source.columns, source.units, *counts, life, newest, arrived, farewells)


def describe_all(store: Store, now: int, names: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    """All sources, or these, as `describe` has them; one that cannot be read has an `error`, its counters are null."""
    names = store.sources() if names is None else names
    farewells = of_store(store).names
    for at in range(0, len(names), LOT):
        lot = names[at : at + LOT]
        many = (source for heads in heads_of(store, lot) for source in _described(heads, now, farewells))
        found = {source["source"]: source for source in many}
        for name in lot:
            try:
                yield found[name] if name in found else describe(store[name], now)
            except UnknownSource:  # forgotten meanwhile
                continue
            except StoreError as error:
                yield {"source": name, "columns": (), "units": (), **dict.fromkeys(UNKNOWN), "error": str(error)}


def _described(heads: Heads, now: int, farewells: dict[str, Farewell]) -> Iterator[dict[str, Any]]:
    """Many sources as `describe` has them, by the heads of their rings; without those whose rows must be looked at."""
    cells, lives = heads.cells, Life.of_many(arrivals(heads.cells), now)
    rows = cells[:, COMMIT] >> 1
    is_in_order = (cells[:, DISORDER] == 0) | (cells[:, DISORDER] <= rows - heads.points)
    newest, arrived = (iso(cells[:, cell].view("datetime64[ns]")) for cell in (LATEST, ARRIVED))
    counts = np.column_stack([rows, cells[:, REJECTED], cells[:, AHEAD]]).tolist()
    for i in np.flatnonzero(is_in_order).tolist():
        entry, life, (held, rejected, ahead) = heads.entries[i], lives[i], counts[i]
        times = newest[i] if held else None, None if life.arrived is None else arrived[i]
        yield _shown(entry.source, entry.columns, entry.units, held, rejected, ahead, life, *times, farewells)


def _shown(
    name: str, columns: tuple[str, ...], units: tuple[str, ...], rows: int, rejected: int, ahead: int, life: Life,
    newest: str | None, arrived: str | None, farewells: dict[str, Farewell],
) -> dict[str, Any]:  # fmt: skip
    return {
        "source": name,
        "columns": columns,
        "units": units,
        "rows": rows,
        "newest": newest,
        "arrived": arrived,
        "rejected": rejected,
        "ahead": ahead,
        "rate_per_s": life.rate_per_s,
        "age_s": life.age_s,
        "silent_since": arrived if life.silent_since is not None else None,
        "back": str(farewells[name]) if name in farewells else None,
    }


def natural(name: str) -> str:
    """The key by which people sort names: numbers by their size, web2 before web10, in any case."""
    return NUMBERS.sub(lambda number: number[0].zfill(20), name.casefold())
