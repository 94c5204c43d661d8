"""`python -m tests.far_kills influx --kills 20`: rows are forwarded to a far side of that kind; it and `linemon work`
are killed so often each, at random moments. Then what it holds is compared with what was sent.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.forwards import Conformance, Near, Row, rows_of
from tests.running import eventually
from tests.test_forward import TestLinemon
from tests.test_forward_http import TestInflux, TestVictoria
from tests.test_forward_others import TestGraphite, TestMqtt, TestParquet

FAR: dict[str, type[Conformance]] = {
    "linemon": TestLinemon, "influx": TestInflux, "victoria": TestVictoria, "graphite": TestGraphite, "mqtt": TestMqtt,
    "parquet": TestParquet,
}  # fmt: skip


@dataclass
class Outcome:
    """What a run came to; rows that are twice are no fault where a far side is promised them at least once."""

    kills: int
    rows: int
    lost: int
    twice: int


def counted(rows: list[Row]) -> Counter[str]:
    return Counter(json.dumps(row, sort_keys=True) for row in rows)


def run(folder: Path, scheme: str, kills: int, seed: int) -> Outcome:
    """Kill each of both so often, and compare."""
    chance, count = random.Random(seed), 0
    far = FAR[scheme]()
    far.folder, far.points = folder, 100_000
    far.open()
    near = far.near = Near(folder / "near", far.forward(), far.points)

    def add() -> None:
        nonlocal count
        for _ in range(chance.randint(3, 10)):
            near.add("s", rows_of(10, count))
            count += 10
            time.sleep(chance.random() * 0.05)

    try:
        near.start()
        for what in chance.sample(("work", "far") * kills, 2 * kills):
            add()
            if what == "work":
                near.kill()
                near.start()
            else:
                far.close()
                add()
                time.sleep(chance.random())
                far.open()
        add()
        wanted = counted(far.expected(rows_of(count)))
        eventually(lambda: not wanted - counted(far.read("s")), "all rows", 120)
    except AssertionError as error:
        print(error)
    finally:
        near.kill()
    found = counted(far.read("s"))
    far.close()
    return Outcome(kills, count, (wanted - found).total(), sum(times - 1 for times in found.values()))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("far", choices=FAR)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        outcome = run(Path(place), asked.far, asked.kills, asked.seed)
    print(asked.far, outcome)
    raise SystemExit(bool(outcome.lost or (outcome.twice and FAR[asked.far].exactly_once)))
