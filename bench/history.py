"""What history costs: the part's turns, catching up, windows over full tiers, space. Times are CPU time."""

from __future__ import annotations

import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import psutil

from bench.cases import CASES
from bench.measuring import measure
from bench.receivers import Linemon
from bench.store import DAY, SECOND, START, Figure, block, median_ms
from linemon.config import Config, StoreConfig, default_folder
from linemon.parts.history import History
from linemon.sections import HistoryConfig, Span, TierConfig
from linemon.store.chain import Chain
from linemon.store.reader import Store
from linemon.store.writer import StoreWriter

SOURCES, COLUMNS = 1000, 10
HOST = 60
STEPS = {"10s": "1d", "1m": "2d", "15m": "30d", "6h": "1y"}  # as on a disk; what is kept does not matter here


def opened(folder: Path, stack: ExitStack) -> Chain:
    """The part on a store in this folder, with the four tiers of a disk."""
    tiers = tuple(TierConfig(Span.parse(step), Span.parse(keep)) for step, keep in STEPS.items())
    part = History(Config(store=StoreConfig(path=str(folder)), history=HistoryConfig(share=1.0, tier=tiers)))
    return part.open(stack)


def turn(chain: Chain) -> None:
    for _ in chain.steps():
        pass


def turns(folder: Path, every: int, count: int) -> Figure:
    """Turns every so many seconds over many sources that have a row a second each."""
    writer = StoreWriter(folder, 3600, SOURCES)
    names = tuple(f"c{i}" for i in range(COLUMNS))
    rings = [writer.bind(f"s{i}", names, None) for i in range(SOURCES)]
    slots, row = np.array([ring.entry.slot for ring in rings]), block(SOURCES, COLUMNS)
    row[:, 0] = START
    with ExitStack() as stack:
        chain, spent = opened(folder, stack), []
        for _ in range(count):
            for _ in range(every):
                row[:, 0] += SECOND
                rings[0].arena.append(slots, row)
            began = time.process_time()
            turn(chain)
            spent.append(time.process_time() - began)
        wanted = SOURCES * (every * count // 10 - 1)
        assert chain.counts["buckets"] >= wanted, f"{chain.counts['buckets']} buckets, not {wanted} or more"
    writer.close()
    share = 100 * statistics.mean(spent[2:]) / every
    title = f"{SOURCES:,} sources × {COLUMNS}, four tiers, every = {every}"
    return Figure(title, share, "% of a core", 1.5 if every == 10 else 0.1)


def catch_up(folder: Path) -> Figure:
    """A day at a row a second, all at once."""
    writer = StoreWriter(folder, DAY, 10)
    ring = writer.bind("host", tuple(f"c{i}" for i in range(HOST)), None)
    ring.arena.append_to(ring.entry.slot, block(DAY, HOST))
    with ExitStack() as stack:
        chain = opened(folder, stack)
        spent = median_ms(lambda: turn(chain), 1)
    writer.close()
    return Figure(f"a day of {HOST} columns is caught up in", spent / 1000, "s", 0.5)


SPANS = {
    "an hour": 3600,
    "a day": DAY,
    "a week": 7 * DAY,
    "30 days": 30 * DAY,
    "a year": 365 * DAY,
    "10 years": 3650 * DAY,
}


def windows(folder: Path) -> list[Figure]:
    """1,200 buckets of one host's 60 columns, over four tiers that ten years have filled."""
    writer = StoreWriter(folder, 3600, 10)
    ring = writer.bind("host", tuple(f"c{i}" for i in range(HOST)), None)
    config = HistoryConfig(path=str(folder / "history"))
    values = block(2000, HOST)
    end = time.time_ns() // SECOND * SECOND
    with ExitStack() as stack:
        chain = History(Config(store=StoreConfig(path=str(folder)), history=config)).open(stack)
        time_ = end - 3650 * DAY * SECOND
        for step, until in ((300, 30 * DAY), (10, DAY), (1, 0)):  # coarse rows are enough for old buckets
            while time_ < end - until * SECOND:
                step = min(step, max(1, (end - time_) // SECOND // 2000))
                values[:, 0] = time_ + np.arange(2000) * step * SECOND
                ring.arena.append_to(ring.entry.slot, values)
                time_ += 2000 * step * SECOND
                turn(chain)
        newest = time_
        store = Store(folder)
        found = []
        for name, span in SPANS.items():
            start, stop = (np.datetime64(each, "ns") for each in (newest - span * SECOND, newest))
            spent = median_ms(lambda start=start, stop=stop: store["host"].window(start, stop, 1200), 5)  # type: ignore[misc]
            found.append(Figure(f"window of {name}, 60 columns, four full tiers", spent, "ms", 100))
        taken = sum(tier.used() for tier in chain.tiers)
    writer.close()
    return [*found, Figure("four tiers of 60 columns, ten years", taken / 1e6, "MB")]


class WithHistory(Linemon):
    """A collector with `linemon work history` beside it."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        command = [sys.executable, "-m", "linemon", "work", "history", "--config", str(self.folder / "linemon.toml")]
        self.work = psutil.Popen(command, stderr=subprocess.DEVNULL)
        while not (self._store.path / "history.json").exists():
            time.sleep(0.05)

    def stop(self) -> None:
        self.work.terminate()
        self.work.wait()
        super().stop()


def beside() -> Figure:
    """What history adds to the collector's own cost, in turns with and without it."""
    case = next(case for case in CASES if case.name == "rows60-1")
    traffic = case.make(case.lines)
    alone, both = [], []
    for _ in range(5):
        alone.append(measure(case, Linemon, traffic).cpu_s)
        both.append(measure(case, WithHistory, traffic).cpu_s)
    more = 100 * (min(both) / min(alone) - 1)  # of the runs that were disturbed least
    return Figure(f"the collector beside it, {case.title}", more, "% more", 2)


def resident() -> Figure:
    """The memory of `linemon work history` once it has two hours of a host's rows."""
    running = WithHistory("rows")
    try:
        names = " ".join(f"c{i}" for i in range(HOST))
        with socket.create_connection(("127.0.0.1", running.port)) as sock:
            sock.sendall(f"#source host\n#columns time {names}\n".encode())
            begin = int(time.time()) - 7200
            for at in range(0, 7200, 20):  # no faster than it looks
                sock.sendall("".join(f"{begin + at + i} {'12.5 ' * HOST}\n" for i in range(20)).encode())
                time.sleep(0.02)
        tier = Store(running.folder / "store" / "history" / "1m")
        while "host" not in tier or tier["host"].rows < 118:
            time.sleep(0.1)
        return Figure(
            f"memory of its process, a host of {HOST} columns", running.work.memory_info().rss / 2**20, "MiB", 45
        )
    finally:
        running.stop()


def figures() -> list[Figure]:
    """All of them, each in a store of its own where the default store would be."""
    found: list[Figure] = []
    for case in (
        lambda folder: [turns(folder, 10, 100)],
        lambda folder: [turns(folder, 600, 4)],
        lambda folder: [catch_up(folder)],
        windows,
    ):
        folder = Path(tempfile.mkdtemp(prefix="linemon-bench-", dir=default_folder().parent))
        try:
            found += case(folder)
        finally:
            shutil.rmtree(folder)
    return [*found, beside(), resident()]
