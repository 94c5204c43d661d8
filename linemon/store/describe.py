"""What there is to say of a source: one answer for the commands and HTTP."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from linemon.errors import StoreError, UnknownSource
from linemon.store.liveness import Life
from linemon.store.reader import Source, Store
from linemon.when import iso_ns

NUMBERS = re.compile(r"\d+")


def describe(source: Source, now: int) -> dict[str, Any]:
    """One source as `linemon sources --json` shows it; `now` in ns."""
    life, newest = Life.of(source, now), source.newest
    return {
        "source": source.name,
        "columns": source.columns,
        "units": source.units,
        "rows": source.rows,
        "newest": None if newest is None else iso_ns(int(newest.astype(np.int64))),
        "arrived": None if life.arrived is None else iso_ns(life.arrived),
        "rejected": source.rejected,
        "ahead": source.ahead,
        "rate_per_s": life.rate_per_s,
        "age_s": life.age_s,
        "silent_since": None if life.silent_since is None else iso_ns(life.silent_since),
    }


def describe_all(store: Store, now: int, names: Iterable[str] | None = None) -> Iterator[dict[str, Any]]:
    """All sources, or these, as `describe` has them; one that cannot be read has an `error`, its counters are null."""
    for name in store.sources() if names is None else names:
        try:
            yield describe(store[name], now)
        except UnknownSource:  # forgotten meanwhile
            continue
        except StoreError as error:
            unknown = "rows", "newest", "arrived", "rejected", "ahead", "rate_per_s", "age_s", "silent_since"
            yield {"source": name, "columns": (), "units": (), **dict.fromkeys(unknown), "error": str(error)}


def natural(name: str) -> str:
    """The key by which people sort names: numbers by their size, web2 before web10, in any case."""
    return NUMBERS.sub(lambda number: number[0].zfill(20), name.casefold())
