"""`python -m tests.history_kills --kills 100`: kills `linemon work` and the collector at random while up to half of the
rows come late, then compares every bucket of every tier with the rows themselves.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from linemon import Store
from linemon.sections import Span
from tests import kills
from tests.histories import merged
from tests.running import Running, Work, eventually

TIERS = ("10s", "1m", "15m")
SETTINGS = """
[history]
every = 0.05
""" + "".join(f'[[history.tier]]\nstep = "{step}"\nkeep = "100d"\n' for step in TIERS)
SOURCES = ("a", "b")


@dataclass
class Outcome:
    """What a run came to; `wrong` names the first wrong buckets."""

    kills: int = 0
    buckets: int = 0
    rows: int = 0
    late: int = 0  # parts that were written for late rows
    wrong: int = 0
    first_wrong: str = ""

    @property
    def is_right(self) -> bool:
        return not self.wrong


class Run:
    """A collector, `linemon work`, and rows that come in between kills."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.random, self.rng = random.Random(seed), np.random.default_rng(seed)
        settings = f"points = 300000\n{SETTINGS}"
        self.folder, self.settings = folder, settings
        self.collector = Running(folder, settings)
        self.work = Work(self.collector.config).start()
        self.clock = dict.fromkeys(SOURCES, float(int(time.time()) - 30 * 86400))

    def send(self) -> None:
        """Some rows of each source, a second apart; up to half of them late."""
        for source in SOURCES:
            count = self.random.randint(1, 400)
            times = self.clock[source] + np.arange(count)
            self.clock[source] += count
            late = self.rng.random(count) < self.random.choice([0, 0.1, 0.5])
            times = times - np.where(late, self.rng.integers(0, 4000, count), 0)
            lines = [f"{at:.0f} {value:.6f}\n" for at, value in zip(times, self.rng.random(count), strict=True)]
            try:
                with self.collector.connect() as sock:
                    sock.sendall(f"#source {source}\n#columns time v\n{''.join(lines)}".encode())
            except OSError:  # it is being killed
                pass

    def kill(self, outcome: Outcome) -> None:
        """One of the two, and start it again."""
        outcome.kills += 1
        if self.random.random() < 0.75:
            self.work.kill()
            self.work.start()
        else:
            self.collector.kill()
            self.collector = Running(self.folder, self.settings)

    def has_begun(self) -> bool:
        """Whether the part has looked since it was started."""
        status = self.folder / "store" / "work" / "history.json"
        said = status.read_text() if status.exists() else ""
        return f'"pid": {self.work.pid},' in said and '"buckets"' in said  # not only started

    def end(self, outcome: Outcome) -> Outcome:
        eventually(self.has_begun, "history runs")
        time.sleep(0.1)
        self.work.stop(60)
        self.collector.stop()
        for source in SOURCES:
            self.compare(source, outcome)
        return outcome

    def compare(self, source: str, outcome: Outcome) -> None:
        rows = Store(self.folder / "store")[source].since(0)
        assert rows.missed == 0
        outcome.rows += len(rows)
        times, values = rows.time.view(np.int64), rows.values[:, 0]
        for step in TIERS:
            length = Span.parse(step).ns
            wanted = merged(times // length, np.column_stack((values, values, values, np.ones(len(values)))))
            starts, parts = [], []
            for folder in (step, f"{step}.late"):
                store = Store(self.folder / "store" / "history" / folder)
                if source in store:
                    found = store[source].since(0)
                    starts.append(found.time.view(np.int64) // length)
                    parts.append(found.values)
                    outcome.late += len(found) * folder.endswith(".late")
            got = merged(np.concatenate(starts), np.vstack(parts))
            outcome.buckets += len(wanted)
            for start in wanted.keys() | got.keys():
                if start not in got or start not in wanted or not np.allclose(got[start], wanted[start], rtol=1e-9):
                    outcome.wrong += 1
                    outcome.first_wrong = (
                        outcome.first_wrong or f"{source} {step} {start}: {got.get(start)} for {wanted.get(start)}"
                    )


def run(folder: Path, kills: int, seed: int) -> Outcome:
    """Kill so often, and compare."""
    running, outcome = Run(folder, seed), Outcome()
    try:
        while outcome.kills < kills:
            for _ in range(running.random.randint(1, 10)):
                running.send()
                time.sleep(running.random.random() * 0.1)
            if running.random.random() < 0.7:  # else while it starts
                eventually(running.has_begun, "history runs", 60)
                time.sleep(running.random.random() * 0.2)
            running.kill(outcome)
        return running.end(outcome)
    finally:
        running.work.kill()
        running.collector.kill()


if __name__ == "__main__":
    raise SystemExit(kills.main(run, __doc__, 100))
