"""A bus of three NATS servers on this machine: a backlog of many sources goes there, and from there into a collector.

All of it shares the machine's cores, so beside the rate there is what each process took: of several machines, each
has its own.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil

from bench.store import Figure
from tests.bus import PASSWORD, Cluster, Taker
from tests.forwards import Near
from tests.running import eventually

SOURCES = 1000
LINES = (2, 2000, 1000)  # columns, rows of each source, rows of a batch
HOSTS = (60, 300, 100)  # ten rows of a source in a message, as with every = "10s"
DEADLINE_S = 600.0


def fill(near: Near, columns: int, rows: int) -> None:
    """Numbers of four digits, a row a second."""
    random, now = np.random.default_rng(1), time.time_ns()
    names = tuple(f"cpu.{i}.busy_pct" for i in range(columns))
    for i in range(SOURCES):
        ring = near.writer.bind(f"host{i}", names, ("%",) * columns)
        cells = np.empty((rows, 1 + columns))
        cells[:, 1:] = (100 * random.random((rows, columns))).round(2)
        cells.view(np.int64)[:, 0] = now + (np.arange(rows) - rows) * 10**9
        ring.arena.append_to(ring.entry.slot, cells.view(np.int64))
    near.writer.note_arrivals()


def rate(count: Callable[[], int], total: int, pids: dict[str, list[int]]) -> tuple[float, dict[str, float]]:
    """Seconds for a million rows once it has begun, and those of CPU that each of these processes takes."""
    eventually(count, "it begins", DEADLINE_S)
    before, began, first = spent(pids), time.monotonic(), count()
    eventually(lambda: count() == total, "all of it", DEADLINE_S)
    took, after, millions = time.monotonic() - began, spent(pids), (total - first) / 1e6
    return took / millions, {name: (after[name] - before[name]) / millions for name in pids}


def spent(pids: dict[str, list[int]]) -> dict[str, float]:
    return {name: sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in each) for name, each in pids.items()}


def through(folder: Path, columns: int, rows: int, batch: int) -> list[Figure]:
    """In and out."""
    total, found = SOURCES * rows, []
    budget = 2.0 if columns == LINES[0] else None  # 500,000 lines/s
    cluster = Cluster(folder / "cluster")
    keys = f'since = "start"\nevery = 0.1\nbatch = {batch}\nmax_bytes = 100000000\n'
    forward = f'[[forward]]\nname = "it"\nto = "{cluster.address("BUS")}"\npassword = "{PASSWORD}"\n{keys}'
    near = Near(folder / "near", forward, max(rows, 3600))
    taker = Taker(folder / "far", cluster.address("BUS"), settings="points = 3600\nmax_sources = 2000\n")
    title = f"{SOURCES:,} sources × {columns}"
    try:
        fill(near, columns, rows)
        near.start()
        assert near.work
        servers = [server.pid for server in cluster.servers if server]
        pids = {"forward": [near.work.pid], "three servers": servers}
        took, cpu = rate(lambda: int(near.status().get("sent", 0)), total, pids)
        found.append(Figure(f"{title}: a million lines to the bus", took, "s", budget))
        found += [Figure(f"  {name}", each, "s of CPU") for name, each in cpu.items()]
        near.stop()
        size = sum(cluster.bytes_of(f"BUS-{i}") for i in range(16))
        found.append(Figure("  a line there, on each server", size / total, "bytes"))
        taker.start()
        assert taker.work
        pids = {"subscription": [taker.work.pid], "collector": [taker.collector.process.pid], "three servers": servers}
        took, cpu = rate(lambda: int(taker.status().get("rows", 0)), total, pids)
        found.append(Figure(f"{title}: from there into a collector", took, "s", budget))
        found += [Figure(f"  {name}", each, "s of CPU") for name, each in cpu.items()]
    finally:
        near.close()
        taker.close()
        cluster.kill_all()
    return found


def figures() -> list[Figure]:
    """Short lines, and rows of a host."""
    found = []
    for shape in (LINES, HOSTS):
        with tempfile.TemporaryDirectory() as folder:
            found += through(Path(folder), *shape)
    return found
