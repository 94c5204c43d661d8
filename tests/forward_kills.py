"""`python -m tests.forward_kills --kills 20`: rows go from a sender to a collector, and are forwarded from there to
another one; each of the three processes is killed so often, at random moments. Then what the last one holds is compared
with what was sent.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from linemon import Sender
from linemon.store.reader import Store
from tests import kills
from tests.running import Running, Work, eventually, free_port

SOURCES = ("a", "b", "c")
KILLED = ("near", "work", "far")


@dataclass
class Outcome:
    """What a run came to: of each source the rows that were sent, and those that are lost or twice at the far side."""

    kills: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KILLED, 0))
    rows: int = 0
    lost: int = 0
    twice: int = 0
    disorder: int = 0

    @property
    def is_right(self) -> bool:
        return not (self.lost or self.twice or self.disorder)


class Run:
    def __init__(self, folder: Path, seed: int) -> None:
        folder.mkdir()
        self.folder, self.random = folder, random.Random(seed)
        self.ports = {name: free_port() for name in ("near", "far")}
        forward = f'[[forward]]\nto = "linemon://127.0.0.1:{self.ports["far"]}"\nevery = 0.05\nsince = "start"\n'
        self.settings = {
            name: f'points = 200000\n[tcp]\nlisten = "127.0.0.1:{port}"\n[history]\nenabled = false\n'
            + (forward if name == "near" else "")
            for name, port in self.ports.items()
        }
        self.sides = {name: Running(folder / name, self.settings[name]) for name in self.ports}
        self.work = Work(self.sides["near"].config, "forward").start()
        self.senders = {name: Sender(name, to=f"127.0.0.1:{self.ports['near']}") for name in SOURCES}
        self.sent = dict.fromkeys(SOURCES, 0)

    def send(self) -> None:
        for name, sender in self.senders.items():
            for _ in range(self.random.randint(1, 40)):
                sender.send(float(self.sent[name]))
                self.sent[name] += 1

    def kill(self, name: str) -> None:
        if name == "work":
            self.work.kill()
            self.work.start()
            return
        self.sides[name].kill()
        time.sleep(self.random.random() * 0.2)
        self.sides[name] = Running(self.folder / name, self.settings[name])

    def has_all(self) -> bool:
        store = self.sides["far"].store
        return all(name in store and store[name].rows >= count for name, count in self.sent.items())

    def compare(self, outcome: Outcome) -> Outcome:
        for name, count in self.sent.items():
            rows = Store(self.folder / "far" / "store")[name].since(0)
            found = rows.values[:, 0].astype(int)
            numbers, times = np.unique(found, return_counts=True)
            outcome.rows += count
            outcome.lost += count - len(numbers)
            outcome.twice += int((times - 1).sum())
            outcome.disorder += int((np.diff(found) < 0).sum())
        return outcome

    def end(self) -> None:
        for sender in self.senders.values():
            sender.close()
        self.work.kill()
        for side in self.sides.values():
            side.kill()


def run(folder: Path, kills: int, seed: int) -> Outcome:
    """Kill each of them so often, and compare."""
    running, outcome = Run(folder, seed), Outcome()
    try:
        order = [name for name in KILLED for _ in range(kills)]
        running.random.shuffle(order)
        for name in order:
            for _ in range(running.random.randint(1, 6)):
                running.send()
                time.sleep(running.random.random() * 0.2)
            running.kill(name)
            outcome.kills[name] += 1
        running.send()
        eventually(running.has_all, "all rows", 90)
        time.sleep(1.5)  # for what might come twice
        return running.compare(outcome)
    finally:
        running.end()


if __name__ == "__main__":
    raise SystemExit(kills.main(run, __doc__))
