"""Hunts for torn rows: one writer that is killed again and again, readers in other processes that check every row.

    python -m tests.hunt --minutes 30            the writer as it is; exit 1 if anything is found
    python -m tests.hunt --minutes 1 --broken    a writer that publishes before it writes; exit 1 if it is not found

Each row carries its number in its time, numbers that follow from it in its columns, and a checksum of all of them. The
ring is so small that it wraps thousands of times a second. Blocks are of any length, longer than the ring too. The
numbers of a sequenced sender are published with the rows, and must be theirs whenever one looks.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import numpy as np

from linemon.errors import StoreError
from linemon.store.arena import ArenaWriter
from linemon.store.reader import Store
from linemon.store.ring import COMMIT, RESERVED, Cells
from linemon.store.writer import StoreWriter

POINTS = 8
WIDTH = 13  # 12 values that follow from the row's number, and their checksum
READERS = 4
KILL_S = 0.05, 0.4  # a writer lives so long
SENDER = "hunt"
Publish = Callable[[ArenaWriter, int, int, Cells, tuple[int, int]], None]


def rows(first: int, count: int) -> Cells:
    """Rows number `first` on: their time is the number, their values are made of it, the last one is a checksum."""
    cells = np.empty((count, 1 + WIDTH))
    numbers = np.arange(first, first + count)
    for i in range(1, WIDTH):
        cells[:, i] = (numbers * (2 * i + 1)) % 1_000_003
    cells[:, WIDTH] = cells[:, 1:WIDTH].sum(axis=1) + numbers % 65_521
    cells.view(np.int64)[:, 0] = numbers
    return cells.view(np.int64)


def as_it_is(arena: ArenaWriter, slot: int, _head: int, block: Cells, ack: tuple[int, int]) -> None:
    if len(block) % 2:
        arena.append_to(slot, block, ack)
    else:
        arena.append(np.full(len(block), slot), block, [(slot, *ack)])


def publishing_first(arena: ArenaWriter, slot: int, head: int, block: Cells, ack: tuple[int, int]) -> None:
    """What must be found: the rows are announced, then published, and only then written."""
    stop = head + len(block)
    arena.cells[slot, RESERVED] = stop
    arena.cells[slot, COMMIT] += 2 * len(block)
    newest = block[-POINTS:]
    arena.rows[slot, np.arange(stop - len(newest), stop) % POINTS] = newest
    arena.append_to(slot, block[:0], ack)


def write(folder: Path, is_broken: bool) -> None:
    """Append until killed, going on where the last writer was."""
    rng = random.Random()
    publish: Publish = publishing_first if is_broken else as_it_is
    while True:
        try:
            writer = StoreWriter(folder, POINTS, 10)
            break
        except StoreError:  # the one before is not quite dead
            time.sleep(0.001)
    ring = writer.bind("x", tuple(f"c{i}" for i in range(WIDTH)), None)
    arena, slot = ring.arena, ring.entry.slot
    place = arena.senders(slot).get(SENDER)
    if place is None:
        place = 0
        arena.register(slot, place, SENDER, arena.head(slot))
    if arena.acked(slot, place) != arena.head(slot):
        raise SystemExit(f"after a kill {arena.head(slot)} rows, but {arena.acked(slot, place)} acknowledged")
    while True:
        count = rng.choice((1, 1, 2, 3, 5, 8, POINTS - 1, POINTS, POINTS + 1, 5 * POINTS))
        head = arena.head(slot)
        publish(arena, slot, head, rows(head, count), (place, head + count))


@dataclass
class Findings:
    """What one reader has seen."""

    rows: int = 0
    missed: int = 0
    wraps: int = 0
    wrong: list[str] = field(default_factory=list)


def read(folder: Path, seed: int, over: Event, found: Synchronized[int], results: Any) -> None:
    """Read in all ways there are until told to stop, or until something is wrong."""
    rng, findings = random.Random(seed), Findings()
    store, cursor = Store(folder), 0
    while not over.is_set() and not findings.wrong:
        if rng.random() < 0.01:
            time.sleep(rng.random() / 50)  # the ring wraps many times meanwhile
        if rng.random() < 0.01:
            store = Store(folder)
        source = store["x"]
        if rng.random() < 0.7:
            got = source.since(cursor)
            numbers = np.arange(cursor + got.missed, got.cursor)
            findings.rows += len(got)
            findings.missed += got.missed
            cursor = got.cursor
        else:
            got = source.last(rng.randrange(1, 2 * POINTS))
            numbers = np.arange(got.cursor - len(got), got.cursor)
        expected = rows(int(numbers[0]), len(numbers)) if len(numbers) else rows(0, 0)
        held = np.column_stack([got.time.view(np.int64), got.values.view(np.int64)])
        if not np.array_equal(held, expected):
            findings.wrong.append(f"rows {numbers.tolist()} are\n{held}\ninstead of\n{expected}")
            found.value += 1
        start = max(0, cursor - POINTS)  # a window in which each bucket is one row
        window = source.window(np.datetime64(start, "ns"), np.datetime64(start + 5 * POINTS, "ns"), 5 * POINTS)
        there = window.count[:, 0] == 1
        missing = absent(store, start, min(window.cursor, start + 5 * POINTS), start + np.flatnonzero(there))
        expected = rows(start, 5 * POINTS)[there, 1:].view(np.float64)
        if (
            window.count.max() > 1
            or not (window.min[there] == expected).all()
            or not (window.max[there] == expected).all()
        ):
            findings.wrong.append(f"the window at row {start} is\n{window.min[there]}\ninstead of\n{expected}")
            found.value += 1
        stop = start + rng.randrange(1, 2 * POINTS) if rng.random() < 0.5 else None
        block, after = source._between(start, stop)[1:]
        if not np.array_equal(block, rows(int(block[0, 0]), len(block)) if len(block) else rows(0, 0)):
            findings.wrong.append(f"from row {start} on are\n{block}")
            found.value += 1
        missing += absent(store, start, after if stop is None else min(after, stop), block[:, 0])
        if missing or (len(block) and block[0, 0] < start):
            findings.wrong.append(f"rows {missing} were held and not shown; {start} to {stop}: {block[:, 0].tolist()}")
            found.value += 1
    findings.wraps = cursor // POINTS
    results.put(findings)


def absent(store: Store, start: int, stop: int, shown: Cells) -> list[int]:
    """Which of the rows `start` to `stop` are still held, but were not shown."""
    _, arena, slot = store._ring("x")
    return sorted(set(range(max(start, arena.oldest(slot)), stop)).difference(shown.tolist()))


@dataclass
class Hunt:
    """What came of it: how many writers were killed, what the readers saw, and what was wrong."""

    kills: int = 0
    seconds: float = 0.0
    findings: list[Findings] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        rows, missed = sum(each.rows for each in self.findings), sum(each.missed for each in self.findings)
        return (
            f"{self.seconds:.1f} s, {self.kills} writers killed, {rows:,} rows read by {len(self.findings)} readers, "
            f"{missed:,} counted as missed, the ring wrapped {max(each.wraps for each in self.findings):,} times, "
            f"{len(self.wrong)} wrong"
        )


def hunt(seconds: float, is_broken: bool = False) -> Hunt:
    """Run writers and readers until the time is over or something is wrong."""
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="hunt-", dir=memory if memory.is_dir() else None))
    context = multiprocessing.get_context("fork")
    over, found, results = context.Event(), context.Value("i", 0), context.Queue()
    first = StoreWriter(folder, POINTS, 10)
    first.bind("x", tuple(f"c{i}" for i in range(WIDTH)), None)
    first.close()
    readers = [context.Process(target=read, args=(folder, i, over, found, results)) for i in range(READERS)]
    for reader in readers:
        reader.start()
    result, began = Hunt(), time.monotonic()
    try:
        while time.monotonic() < began + seconds and not found.value and not result.wrong:
            writer = context.Process(target=write, args=(folder, is_broken))
            writer.start()
            writer.join(random.uniform(*KILL_S))
            if writer.exitcode is not None:
                result.wrong.append(f"the writer ended by itself with {writer.exitcode}")
            else:
                os.kill(writer.pid or 0, signal.SIGKILL)
                writer.join()
                result.kills += 1
        over.set()
        result.findings = [results.get(timeout=30) for _ in readers]
        result.wrong += [text for each in result.findings for text in each.wrong]
        result.seconds = time.monotonic() - began
        return result
    finally:
        over.set()
        for reader in readers:
            reader.join(10)
            reader.kill()
        shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--minutes", type=float, default=1.0)
    options.add_argument("--broken", action="store_true")
    given = options.parse_args()
    result = hunt(60 * given.minutes, given.broken)
    print(result)
    print(*result.wrong[:1])
    return int(bool(result.wrong) != given.broken)


if __name__ == "__main__":
    sys.exit(main())
