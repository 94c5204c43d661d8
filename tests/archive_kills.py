"""`python -m tests.archive_kills --kills 20`: kills the collector, `linemon work` and PostgreSQL, each so often, while
numbered rows come, and looks for each row in the archive.
"""

from __future__ import annotations

import argparse
import random
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import linemon
from linemon.errors import StoreError
from linemon.store.status import read_part
from tests.postgres import Server, server
from tests.running import Running, command, eventually

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
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.settings = (
            f'points = 200000\n[tcp]\nlisten = "127.0.0.1:{port}"\n'
            "[history]\nenabled = false\n[alarms]\nenabled = false\n"
            f'[[forward]]\nname = "it"\nto = "{self.url}"\nsince = "start"\nevery = 0.05\n'
        )
        self.collector = Running(folder, self.settings)
        self.work = self._work()
        self.senders = [linemon.Sender(name, COLUMNS, to=f"127.0.0.1:{port}") for name in SOURCES]
        self.sent = 0

    def _work(self) -> subprocess.Popen[bytes]:
        with (self.folder / "work.log").open("ab") as log:
            return subprocess.Popen(command("work", "--config", str(self.collector.config)), stderr=log)

    def send(self) -> None:
        for _ in range(self.random.randint(1, 40)):
            for sender in self.senders:
                sender.send(*[self.sent] * len(COLUMNS))
            self.sent += 1

    def kill(self, what: str) -> None:
        """One of them, and start it again."""
        if what == "work":
            self.work.kill()
            self.work.wait()
            self.work = self._work()
        elif what == "collector":
            self.collector.process.kill()
            self.collector.process.wait()
            self.collector.log.close()
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
            raise AssertionError(f"{status}\n{(self.folder / 'work.log').read_text()[-3000:]}") from None
        for each in self.arrived():
            outcome.rows += len(each)
            outcome.lost += self.sent - len(set(each))
            outcome.twice += len(each) - len(set(each))
        outcome.missed = self.collector.store.status().get("lost", 0)
        return outcome

    def close(self) -> None:
        self.work.kill()
        self.work.wait()
        self.collector.process.kill()
        self.collector.process.wait()
        self.collector.log.close()


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


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.archive_kills", description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, server() as postgres:
        outcome = run(Path(folder) / "run", postgres, asked.kills, asked.seed)
    print(outcome)
    return int(not outcome.is_right)


if __name__ == "__main__":
    raise SystemExit(main())
