"""`python -m tests.archive_kills --kills 20`: kills the collector, `linemon work` and PostgreSQL, each so often, while
numbered rows come, and looks for each row in the archive.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from pathlib import Path

import linemon
from linemon.errors import StoreError
from linemon.store.status import read_part
from tests import kills
from tests.postgres import Server, server
from tests.running import Running, Work, eventually, free_port

SOURCES = ("a", "b", "c")
COLUMNS = tuple(f"c{i}" for i in range(6))


@dataclass
class Outcome:
    """What a run came to."""

    collector: int = 0  # kills
    work: int = 0
    server: int = 0
    rows: int = 0
    lost: int = 0
    twice: int = 0
    missed: int = 0  # said to be

    @property
    def is_right(self) -> bool:
        return not (self.lost or self.twice or self.missed)


class Run:
    """A chain of a sender, a collector, a forward and a server."""

    def __init__(self, folder: Path, postgres: Server, seed: int) -> None:
        self.random, self.folder, self.server = random.Random(seed), folder, postgres
        self.url = postgres.database()
        port = free_port()
        self.settings = (
            f'points = 200000\n[tcp]\nlisten = "127.0.0.1:{port}"\n'
            "[history]\nenabled = false\n[alarms]\nenabled = false\n"
            f'[[forward]]\nname = "it"\nto = "{self.url}"\nsince = "start"\nevery = 0.05\n'
        )
        self.collector = Running(folder, self.settings)
        self.work = Work(self.collector.config).start()
        self.senders = [linemon.Sender(name, COLUMNS, to=f"127.0.0.1:{port}") for name in SOURCES]
        self.sent = 0

    def send(self) -> None:
        for _ in range(self.random.randint(1, 40)):
            for sender in self.senders:
                sender.send(*[self.sent] * len(COLUMNS))
            self.sent += 1

    def kill(self, what: str) -> None:
        """One of them, and start it again."""
        if what == "work":
            self.work.kill()
            self.work.start()
        elif what == "collector":
            self.collector.kill()
            self.collector = Running(self.folder, self.settings)
        else:
            self.server.kill()
            self.server.start()

    def arrived(self) -> list[list[float]]:
        """The numbers in the archive, of each source."""
        try:
            with linemon.open(self.url) as archive:
                return [archive[name].between().values[:, -1].tolist() for name in SOURCES]
        except StoreError:
            return []

    def end(self, outcome: Outcome) -> Outcome:
        for sender in self.senders:
            assert sender.flush(120), "the collector has not taken all rows"
            sender.close()
        newest = float(self.sent - 1)
        try:
            eventually(lambda: all(newest in each for each in self.arrived() or [[]]), "the newest rows", 120)
        except AssertionError:
            status = read_part(self.folder / "store", "forward.it")
            raise AssertionError(f"{status}\n{self.work.log[-3000:]}") from None
        for each in self.arrived():
            outcome.rows += len(each)
            outcome.lost += self.sent - len(set(each))
            outcome.twice += len(each) - len(set(each))
        outcome.missed = self.collector.store.status().get("lost", 0)
        return outcome

    def close(self) -> None:
        self.work.kill()
        self.collector.kill()


def run(folder: Path, postgres: Server, kills: int, seed: int) -> Outcome:
    """Kill each so often, in any order, and look."""
    running, outcome = Run(folder, postgres, seed), Outcome()
    try:
        plan = ["collector", "work", "server"] * kills
        running.random.shuffle(plan)
        for what in plan:
            for _ in range(running.random.randint(1, 8)):
                running.send()
                time.sleep(running.random.random() * 0.1)  # rows come while it runs
            running.kill(what)
            setattr(outcome, what, getattr(outcome, what) + 1)
        return running.end(outcome)
    finally:
        running.close()


def with_server(folder: Path, kills: int, seed: int) -> Outcome:
    with server() as postgres:
        return run(folder, postgres, kills, seed)


if __name__ == "__main__":
    raise SystemExit(kills.main(with_server, __doc__))
