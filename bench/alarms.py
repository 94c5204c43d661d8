"""What alarms cost: a turn a second over a hundred hosts, their state. Times are CPU time."""

from __future__ import annotations

import json
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from bench.store import SECOND, START, Figure
from linemon.config import Config, default_folder
from linemon.parts.alarms.feed import Feed
from linemon.parts.alarms.judged import Group, Judged
from linemon.parts.alarms.keeping import kept
from linemon.parts.alarms.rules import rules
from linemon.parts.alarms.telling import Telling, as_json, order
from linemon.store.reader import Store
from linemon.store.writer import StoreWriter

HOSTS, WARM_S, MEASURED_S = 100, 620, 30
CORES = {"name": "cores", "columns": "cpu.*.busy_pct", "value": "mean(1m)", "warning": "> 95"}
# Columns of an agent, and how often a name with * comes.
NAMES = (
    "cpu.busy_pct", "cpu.user_pct", "cpu.steal_pct", "cpu.count", "cpu.*.busy_pct", "load.1m", "load.15m",
    "mem.used_pct", "mem.total_bytes", "mem.oom_kills", "swap.used_pct", "net.*.errors_per_s", "net.*.packets_per_s",
    "net.*.rx_bytes_per_s", "fs.*.used_pct", "fs.*.free_bytes", "fs.*.inodes_used_pct", "clock.synced",
    "clock.offset_s", "temp.*_celsius", "sys.uptime_s", "agent.rss_bytes", "agent.dropped_rows", "proc.total",
)  # fmt: skip
TIMES = {"cpu": 12, "net": 2, "fs": 3, "temp": 4}
GOOD = {
    "clock.synced": 1.0, "clock.offset_s": 0.0, "sys.uptime_s": 1e6, "mem.oom_kills": 0.0, "agent.dropped_rows": 0.0,
    "load.15m": 1.0, "net.*.errors_per_s": 0.0, "cpu.steal_pct": 1.0,
}  # fmt: skip


def columns() -> tuple[str, ...]:
    times = ((name, TIMES[name.split(".")[0]] if "*" in name else 1) for name in NAMES)
    return tuple(name.replace("*", str(i)) for name, count in times for i in range(count))


def turns(folder: Path) -> list[Figure]:
    """Hosts with a row a second each, all well."""
    writer, names = StoreWriter(folder, 3600, HOSTS), columns()
    rings = [writer.bind(f"host{i}", names, ("%",) * len(names)) for i in range(HOSTS)]
    slots, random = np.array([ring.entry.slot for ring in rings]), np.random.default_rng(1)
    telling = Telling(lambda event: None, lambda key: None, started=START)
    found = rules(Config(alarm=(CORES,)))
    feed, spent = Feed(Store(folder), found, telling, 20000), []
    row = np.empty((HOSTS, 1 + len(names)))
    for second in range(WARM_S + MEASURED_S):
        w = START + second * SECOND
        row[:, 1:] = random.uniform(20, 60, (HOSTS, len(names)))
        for i, name in enumerate(names, 1):
            if (value := GOOD.get(name.replace("0", "*", 1).replace("1", "*", 1), GOOD.get(name))) is not None:
                row[:, i] = value
        cells = row.view(np.int64)
        cells[:, 0] = w
        rings[0].arena.append(slots, cells)
        if second < WARM_S - 10:
            continue
        began, now = time.process_time(), w

        def resume(judged: Judged, born: int, head: int, now: int = now) -> tuple[int, int, list[Group]]:
            return head - 1, now, []

        for turn in (feed.attach(w, resume), feed.turn(w)):
            for _ in turn:
                pass
        spent.append(time.process_time() - began)
    pairs = list(feed)
    count = len(pairs)
    assert not any(instance.now for _, instance in pairs)
    began = time.process_time()
    shown = len(json.dumps(order(as_json(telling, rule, each, w) for rule, each in pairs), separators=(",", ":")))
    shows = time.process_time() - began
    state = len(json.dumps([kept(each, rule) for rule, each in pairs], separators=(",", ":")))
    writer.close()
    return [
        Figure(
            f"{HOSTS} hosts × {count // HOSTS} instances at 1 Hz", 100 * statistics.mean(spent[10:]), "% of a core", 3.0
        ),
        Figure("the list of them all, every 5 s", 100 * shows / 5, "% of a core", 1.0),
        Figure("state of an instance that is not at rest", state / count, "B"),
        Figure("an instance in the list", shown / count, "B"),
    ]


def figures() -> list[Figure]:
    """In a store where the default store would be."""
    folder = Path(tempfile.mkdtemp(prefix="linemon-bench-", dir=default_folder().parent))
    try:
        return turns(folder / "store")
    finally:
        shutil.rmtree(folder)
