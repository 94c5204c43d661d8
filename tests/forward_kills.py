"""`python -m tests.forward_kills --kills 20`: rows go from a sender to a collector, and are forwarded from there to
another one; each of the three processes is killed so often, at random moments. Then what the last one holds is compared
with what was sent.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from linemon import Sender
from linemon.store.reader import Store
from tests.running import Running, command, eventually
from tests.sinks import free_port

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
        self.work = self.start_work()
        self.senders = {name: Sender(name, to=f"127.0.0.1:{self.ports['near']}") for name in SOURCES}
        self.sent = dict.fromkeys(SOURCES, 0)

    def start_work(self) -> subprocess.Popen[bytes]:
        with (self.folder / "work.log").open("ab") as log:
            config = str(self.folder / "near" / "linemon.toml")
            return subprocess.Popen(command("work", "forward", "--config", config), stderr=log)

    def send(self) -> None:
        for name, sender in self.senders.items():
            for _ in range(self.random.randint(1, 40)):
                sender.send(float(self.sent[name]))
                self.sent[name] += 1

    def kill(self, name: str) -> None:
        if name == "work":
            self.work.kill()
            self.work.wait()
            self.work = self.start_work()
            return
        side = self.sides[name]
        side.process.kill()
        side.process.wait()
        side.log.close()
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
        self.work.wait()
        for side in self.sides.values():
            side.process.kill()
            side.process.wait()
            side.log.close()


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


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.forward_kills", description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        outcome = run(Path(folder) / "run", asked.kills, asked.seed)
    print(outcome)
    return int(outcome.lost > 0 or outcome.twice > 0)


if __name__ == "__main__":
    raise SystemExit(main())
