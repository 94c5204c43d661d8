"""`python -m tests.bus_kills --kills 20`: kills servers of a bus, the forward to it and the subscription from it, each
so often, while rows come, and looks for each row in the collector that takes them.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests import kills
from tests.bus import PASSWORD, Cluster, Taker
from tests.forwards import Near, rows_in, rows_of
from tests.running import eventually

SOURCES = ("s", "t", "u", "v")  # of both partitions
POINTS = 1_000_000
DRAIN_S = 120.0


@dataclass
class Outcome:
    """What a run came to."""

    servers: int = 0  # kills, of the one that led
    forwards: int = 0
    subscriptions: int = 0
    rows: int = 0
    lost: int = 0
    twice: int = 0
    in_disorder: int = 0  # sources
    missed: int = 0  # said to be

    @property
    def is_right(self) -> bool:
        return not (self.lost or self.twice or self.in_disorder or self.missed)


def run(folder: Path, servers: int, forwards: int, subscriptions: int, seed: int = 1) -> Outcome:
    """Kill each so often, in any order, and look."""
    chance, outcome, count = random.Random(seed), Outcome(), 0
    folder.mkdir(exist_ok=True)
    cluster = Cluster(folder / "cluster")
    keys = 'since = "start"\nevery = 0.05\npartitions = 2\nmax_bytes = 100000000\n'
    forward = f'[[forward]]\nname = "it"\nto = "{cluster.address("KILLS")}"\npassword = "{PASSWORD}"\n{keys}'
    near = Near(folder / "near", forward, POINTS)
    taker = Taker(folder / "far", cluster.address("KILLS"), settings=f"points = {POINTS}\n")

    def rows_come(times: int) -> None:
        nonlocal count
        for _ in range(times):
            for source in SOURCES:
                near.add(source, rows_of(20, count))
            count += 20
            time.sleep(0.01)  # they come while others work

    plan = ["servers"] * servers + ["forwards"] * forwards + ["subscriptions"] * subscriptions
    chance.shuffle(plan)
    try:
        near.start()
        taker.start()
        rows_come(5)
        eventually(lambda: taker.status().get("rows"), "it runs", 60)
        for what in plan:
            rows_come(chance.randint(1, 20))
            if what == "servers":
                cluster.kill(cluster.leader(f"KILLS-{chance.randrange(2)}"))
                rows_come(chance.randint(1, 100))
                cluster.start()
            else:
                side = near if what == "forwards" else taker
                side.kill()
                rows_come(chance.randint(1, 10))
                side.start()
            setattr(outcome, what, getattr(outcome, what) + 1)
        newest, store = rows_of(1, count - 1)[0][0], taker.collector.store

        def has_newest(source: str) -> bool:
            return bool(store[source].last(1).time.view("int64") == newest)

        for source in SOURCES:
            eventually(partial(has_newest, source), f"the newest row of {source}", DRAIN_S)
            found, wanted = [at for at, _ in rows_in(store, source)], [at for at, _ in rows_of(count)]
            outcome.rows += len(found)
            outcome.lost += len(set(wanted) - set(found))
            outcome.twice += len(found) - len(set(found))
            outcome.in_disorder += found != sorted(found)
        outcome.missed = taker.collector.status()["lost"]
        return outcome
    finally:
        near.close()
        taker.close()
        cluster.kill_all()


if __name__ == "__main__":
    raise SystemExit(kills.main(lambda folder, kills, seed: run(folder, kills, kills, kills, seed), __doc__))
