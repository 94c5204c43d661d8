"""What the store costs: appends of a tick, windows, memory. Times are CPU time of one process, medians."""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from linemon.config import default_folder
from linemon.store.reader import Store
from linemon.store.writer import StoreWriter

SECOND = 10**9
START = 1_700_000_000 * SECOND
DAY = 86_400


class Figure(NamedTuple):
    """One line of the table; `budget` is the most it may be, None where none was set."""

    title: str
    measured: float
    unit: str
    budget: float | None = None


def median_ms(work: Callable[[], object], times: int) -> float:
    """Milliseconds of CPU time."""
    spent = []
    for _ in range(times):
        began = time.process_time()
        work()
        spent.append(1000 * (time.process_time() - began))
    return statistics.median(spent)


def block(rows: int, width: int, first_s: int = 0) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    """A row a second."""
    cells = np.random.default_rng(1).random((rows, 1 + width))
    cells.view(np.int64)[:, 0] = START + (first_s + np.arange(rows)) * SECOND
    return cells.view(np.int64)


def ticks(folder: Path, sources: int, width: int) -> Figure:
    """One row for each of many sources, into rings that have all their pages."""
    writer = StoreWriter(folder, 60, sources)
    names = tuple(f"c{i}" for i in range(width))
    rings = [writer.bind(f"s{i}", names, None) for i in range(sources)]
    slots, row = np.array([ring.entry.slot for ring in rings]), block(sources, width)

    def append() -> None:
        row[:, 0] += SECOND
        rings[0].arena.append(slots, row)

    for _ in range(60):
        append()
    figure = Figure(f"append a row to each of {sources:,} sources × {width}", median_ms(append, 200), "ms")
    writer.close()
    return figure


def windows(folder: Path) -> list[Figure]:
    """A day at one row a second, 60 columns, into as many buckets as a chart has pixels; many small sources."""
    writer = StoreWriter(folder, DAY, 1000)
    ring = writer.bind("host", tuple(f"c{i}" for i in range(60)), None)
    ring.arena.append_to(ring.entry.slot, block(DAY, 60))
    store = Store(folder)
    start, end = (np.datetime64(START + second * SECOND, "ns") for second in (0, DAY))
    day = median_ms(lambda: store["host"].window(start, end, 1200), 15)
    for i in range(500):
        ring = writer.bind(f"m{i}", ("value",), None)
        ring.arena.append_to(ring.entry.slot, block(3600, 1, DAY - 3600))
    names = [f"m{i}" for i in range(500)]
    many = median_ms(lambda: store.window(names, end - np.timedelta64(3600, "s"), end, 60), 5)
    last = median_ms(lambda: store["host"].last(3600), 15)
    writer.close()
    return [
        Figure("window: 60 columns, a day of rows, 1,200 buckets", day, "ms", 20),
        Figure("window: 500 sources, an hour each, 60 buckets", many, "ms"),
        Figure("read: the newest 3,600 rows of 60 columns", last, "ms"),
    ]


def small_sources(folder: Path) -> Figure:
    """Ten thousand sources that have had ten rows."""
    writer = StoreWriter(folder, 3600, 10_000)
    rings = [writer.bind(f"m{i}", ("value",), None) for i in range(10_000)]
    slots = np.array([ring.entry.slot for ring in rings])
    rows = block(len(rings), 1)
    for _ in range(10):
        rows[:, 0] += SECOND
        rings[0].arena.append(slots, rows)
    taken = sum(os.stat(path).st_blocks * 512 for path in folder.glob("*.ring"))
    writer.close()
    return Figure("memory of 10,000 sources with 10 rows each", taken / 2**20, "MiB")


def figures() -> list[Figure]:
    """All of them, each in a store of its own where the default store would be."""
    found: list[Figure] = []
    for measure in (
        lambda folder: [ticks(folder, 1000, 60)],
        lambda folder: [ticks(folder, 10_000, 1)],
        windows,
        lambda folder: [small_sources(folder)],
    ):
        folder = Path(tempfile.mkdtemp(prefix="linemon-bench-", dir=default_folder().parent))
        try:
            found += measure(folder)
        finally:
            shutil.rmtree(folder)
    return found
