"""What grows with the number of sources: commands, and work that holds the collector's loop. CPU time, medians."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from bench.store import SECOND, Figure
from linemon.config import default_folder
from linemon.lines.intake import Intake
from linemon.lines.session import Session
from linemon.store.catalog import Catalog
from linemon.store.status import STATUS
from linemon.store.writer import StoreWriter

COUNTS = (1_000, 10_000, 100_000)
POINTS = 60
AFTER_S = 10.0
NEW = {  # lines of which each is of a new source
    "metrics": "site{0}.host{1}.load 12.5\n",
    "Influx points": "cpu,host=host{1},site=site{0} load=12.5,mem=3.5\n",
    "#source and a row": "#source site{0}.host{1}\n1.5 2.5\n",
    "#source and pairs": "#source site{0}.host{1}\na=1.5 b=2.5\n",
}
READ_BYTES = 1 << 16


def longest_ms(step: Callable[[], bool]) -> float:
    """Milliseconds of CPU time of the longest step but one in twenty, until there is none left."""
    spent, goes_on = [], True
    while goes_on:
        began = time.process_time()
        goes_on = step()
        spent.append(1000 * (time.process_time() - began))
    return float(np.quantile(spent, 0.95))


def command_s(folder: Path, *arguments: str) -> float:
    """Seconds of CPU time that a command takes."""
    config = folder.with_suffix(".toml")
    config.write_text(f'[store]\npath = "{folder}"\n')
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "linemon", *arguments, "--config", str(config)]
    root = str(Path(__file__).parent.parent)
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True, env=os.environ | {"PYTHONPATH": root})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    config.unlink()
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def new(folder: Path, kind: str, count: int) -> list[Figure]:
    """Lines of so many new sources that one connection brings: what one takes, and for how long others wait."""
    writer = StoreWriter(folder, POINTS, count + 1)
    intake, session = Intake(writer, clock=time.monotonic), Session("bench", READ_BYTES)
    lines = "".join(NEW[kind].format(i % 100, i) for i in range(count)).encode()
    waiting = [lines[at : at + READ_BYTES] for at in range(0, len(lines), READ_BYTES)]

    def turn() -> bool:
        with intake.turn:
            if session.held:
                intake.resume(session, time.time_ns())
            else:
                intake.take(session, waiting.pop(0), time.time_ns())
            intake.flush(time.time_ns())
        return bool(waiting or session.held)

    began = time.process_time()
    longest = longest_ms(turn)
    made_us = 1e6 * (time.process_time() - began) / count
    assert intake.accounts.stored == count
    writer.close()
    return [
        Figure(f"{kind}, of a new source each: a line", made_us, "µs"),
        Figure(f"{kind}, of a new source each: a turn", longest, "ms", 20),
    ]


def many(folder: Path, count: int) -> list[Figure]:
    """A store of so many sources that have had three rows each."""
    writer = StoreWriter(folder, POINTS, count)
    began = time.process_time()
    rings = [writer.bind(f"site{i % 100}.host{i}.load", ("value",), ("",)) for i in range(count)]
    made_us = 1e6 * (time.process_time() - began) / count
    slots = np.array([ring.entry.slot for ring in rings])
    for _ in range(3):
        rows = np.zeros((count, 2), np.int64)
        rows[:, 0] = time.time() * SECOND
        rings[0].arena.append(slots, rows)
        writer.note_arrivals()
    writer.replace_file(STATUS, b'{"pid": 1}')
    listed_s = command_s(folder, "sources")
    began = time.process_time()
    assert Catalog(folder).find(rings[count // 2].entry.source)
    found_ms = 1000 * (time.process_time() - began)
    for ring in rings:  # so that the catalog has too many lines
        for unit in ("a", "b"):
            writer.bind(ring.entry.source, ("value",), (unit,))

    def tidy() -> bool:
        writer.tidy()
        writer.sync()
        return writer._catalog.lines > 2 * count

    tidied_ms = longest_ms(tidy)
    looked_ms = longest_ms(lambda: not writer.forget_silent(0.0, AFTER_S))
    forgot_ms = longest_ms(lambda: not writer.forget_silent(2 * AFTER_S, AFTER_S))
    assert not writer.rings
    writer.close()
    of = f"{count:,} sources: "
    return [
        Figure(of + "to make one", made_us, "µs"),
        Figure(of + "`linemon sources`", listed_s, "s", 4 if count == COUNTS[-1] else None),
        Figure(of + "to find one, as `linemon send` does", found_ms, "ms"),
        Figure(of + "a step of making the catalog anew", tidied_ms, "ms", 20),
        Figure(of + "a step of looking who is silent", looked_ms, "ms", 20),
        Figure(of + "a step of forgetting the silent", forgot_ms, "ms", 20),
    ]


def figures() -> list[Figure]:
    """All of them, each in a store of its own where the default store would be."""
    makers = [partial(many, count=count) for count in COUNTS] + [partial(new, kind=kind, count=20_000) for kind in NEW]
    found: list[Figure] = []
    for maker in makers:
        folder = Path(tempfile.mkdtemp(prefix="linemon-bench-", dir=default_folder().parent))
        try:
            found += maker(folder)
        finally:
            shutil.rmtree(folder)
    return found
