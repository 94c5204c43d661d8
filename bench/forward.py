"""What forwards to another linemon cost: 1,000 sources live on both sides, and a backlog of a million rows."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

from bench.cases import ROWS
from bench.receivers import Linemon
from bench.store import SECOND, Figure
from linemon.store.reader import Store
from linemon.store.writer import StoreWriter

SOURCES, COLUMNS, LIVE_S, WARM_S = 1000, 10, 20, 3


class Sender:
    """A store that this process writes, and `linemon work` that sends it on."""

    def __init__(self, folder: Path, port: int) -> None:
        config = folder / "linemon.toml"
        config.write_text(
            f'[store]\npath = "{folder}/store"\n[tcp]\nlisten = "127.0.0.1:1"\n[history]\nenabled = false\n'
            f'[alarms]\nenabled = false\n[[forward]]\nto = "linemon://127.0.0.1:{port}"\nsince = "start"\n'
        )
        self._writer = StoreWriter(folder / "store", 3600, 2 * SOURCES)
        names = tuple(f"c{i}" for i in range(COLUMNS))
        self._rings = [self._writer.bind(f"s{i}", names, None) for i in range(SOURCES)]
        self._command = [sys.executable, "-m", "linemon", "work", "forward", "--config", str(config)]

    def add(self, rows: int) -> None:
        """So many rows of each source, a second apart, the newest now; a digit below the point, as machines send."""
        cells = np.random.default_rng(1).integers(1, 1000, (rows, 1 + COLUMNS)) / 10
        cells.view(np.int64)[:, 0] = time.time_ns() - SECOND * np.arange(rows)[::-1]
        for ring in self._rings:
            ring.arena.append_to(ring.entry.slot, cells.view(np.int64))
        self._writer.note_arrivals()

    def start(self) -> psutil.Popen:
        return psutil.Popen(self._command, stderr=subprocess.DEVNULL)

    def close(self) -> None:
        self._writer.close()


def held(store: Store) -> int:
    return sum(store[name].rows for name in store.sources() if name.startswith("s"))


def until(store: Store, rows: int) -> None:
    end = time.monotonic() + 300
    while held(store) < rows:
        if time.monotonic() > end:
            raise TimeoutError(f"{held(store):,} rows of {rows:,}")
        time.sleep(0.02)


def spent(process: psutil.Popen) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def figures() -> list[Figure]:
    """Both, on the same pair."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        receiver = Linemon(ROWS)
        sender = Sender(Path(folder), receiver.port)
        far = Store(receiver.folder / "store")
        sender.add(1000)
        began = time.monotonic()
        work = sender.start()
        try:
            until(far, SOURCES * 1000)
            backlog = time.monotonic() - began
            for second in range(LIVE_S + WARM_S):
                if second == WARM_S:
                    before, since = (spent(work), receiver.cpu_s()), time.monotonic()
                next_at = time.monotonic() + 1
                sender.add(1)
                time.sleep(max(0.0, next_at - time.monotonic()))
            took, after = time.monotonic() - since, (spent(work), receiver.cpu_s())
            until(far, SOURCES * (1000 + LIVE_S + WARM_S))
        finally:
            work.terminate()
            work.wait()
            receiver.stop()
            sender.close()
    what = f"{SOURCES:,} sources × {COLUMNS} at 1 Hz to another linemon"
    shares = [100 * (now - was) / took for now, was in zip(after, before, strict=True)]
    return [
        Figure(f"{what}, sending", shares[0], "% of a core", 15),
        Figure(f"{what}, receiving", shares[1], "% of a core", 6),
        Figure("a backlog of a million rows", backlog, "s", 10),
    ]
