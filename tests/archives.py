"""Stores brought into archives, so that one suite can ask both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import numpy as np
import pytest

import linemon
from linemon import Archive
from linemon.archive.link import Place
from linemon.archive.writer import ArchiveWriter, Batch
from linemon.sections import Span
from linemon.store import levels
from linemon.store.reader import Store
from linemon.store.rows import Rows
from tests.postgres import Server

LONG = Span.parse("100y")
Reads = Callable[[Path], Store | Archive]
NUMBERS = count(1)


def batch_of(rows: Rows, late: bool = False) -> Batch:
    times, begin = rows.time.view(np.int64), rows.cursor - len(rows)
    return Batch(rows.source, rows.columns, rows.units, rows.born, begin, rows.cursor, times, rows.values, late)


def bring(folder: Path, url: str) -> None:
    """All that the store in a folder holds of rows and history, as its forwards would."""
    store, place = Store(folder), Place.parse(url)
    parts = [(0, store, "rows")]
    if history := levels.read(folder):
        named = [(tier.step // 10**9, tier.name + late) for tier in history.tiers for late in ("", levels.LATE)]
        parts += [(step, Store(history.path / name), name) for step, name in named]
    for step, part, name in parts:
        writer = ArchiveWriter(place, f"{store.id}/{name.removesuffix(levels.LATE)}", step, LONG)
        try:
            writer.write([batch_of(part[source].since(0), levels.LATE in name) for source in part.sources()])
        finally:
            writer.close()


@pytest.fixture(params=["store", pytest.param("archive", marks=pytest.mark.slow)])
def reads(request: pytest.FixtureRequest) -> Iterator[Reads]:
    """Opens what the store in a folder holds: the store itself, or an archive into which it was brought."""
    opened: list[Store | Archive] = []

    def read(folder: Path) -> Store | Archive:
        if request.param == "store":
            return linemon.open(folder)
        server: Server = request.getfixturevalue("postgres")
        for each in opened:
            each.close()
        url = f"{server.url('postgres')}?schema=test{next(NUMBERS)}"
        bring(folder, url)
        opened[:] = [linemon.open(url)]
        return opened[0]

    yield read
    for each in opened:
        each.close()
