"""History on a disk: that loses its power, that is full."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from linemon.store.reader import Store
from linemon.store.writer import StoreWriter
from tests.histories import BEGIN, SECOND, Bucket, Place, assert_same, open_places, tier
from tests.test_store import in_a_small_disk

MakePlace = Callable[..., Place]
PAGE = 4096


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    yield from open_places(tmp_path, monkeypatch)


class Disk:
    """The tiers' folder on a disk, while the rows are in memory."""

    def __init__(self, place: Place, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.place, self.folder, self.boots = place, folder, 0
        monkeypatch.setattr("linemon.store.writer.here", lambda: {"machine": "m", "boot": str(self.boots)})
        place.close()
        shutil.rmtree(place.folder)
        place.config = replace(place.config, history=replace(place.config.history, path=str(folder)))
        self.begin()

    def begin(self) -> None:
        self.place.writer, self.place.store = StoreWriter(self.place.folder, 3600, 100), Store(self.place.folder)
        self.place.open()
        (self.place.folder / "history").symlink_to(self.folder)
        self.sync()

    def sync(self) -> None:
        """As the part does after each look."""
        for each in self.place.chain.tiers:
            each.sync()
        self.synced = {path: path.read_bytes() for path in self.folder.rglob("*.ring")}

    def lose_power(self, rnd: random.Random) -> None:
        """Of the pages that changed since, some were written, others were not; the machine starts anew."""
        for each in self.place.chain.tiers:
            for store in (each.main, each.late):
                os.close(store._lock)
        for path in self.folder.rglob("*.ring"):
            new, old = bytearray(path.read_bytes()), self.synced.get(path, b"")
            old += bytes(len(new) - len(old))
            share = rnd.choice([0.1, 0.5, 0.9])
            for at in range(PAGE if path in self.synced else 0, len(new), PAGE):
                if rnd.random() < share:
                    new[at : at + PAGE] = old[at : at + PAGE]
            path.unlink()  # who has it open sees nothing of this
            path.write_bytes(new)
        self.place.writer.close()
        shutil.rmtree(self.place.folder)
        self.boots += 1
        self.begin()


@pytest.mark.parametrize("seed", [1, 2, 5])
@pytest.mark.slow
def test_power_is_lost_when_all_is_written_every_ten_minutes(
    make: MakePlace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Any page since may be lost, in rings that are new or have gone round, also while hours are caught up.

    What was written out is there; what came later is missing; nothing is counted twice, and nothing is made up. Of
    late parts that are more than their ring holds, the oldest are missing, too.
    """
    rnd, rng = random.Random(seed), np.random.default_rng(seed)
    tiers = tier("10s", rnd.choice(["30m", "1d"])), tier("1m", rnd.choice(["3h", "30d"])), tier("15m", "2y")
    place, second = make(*tiers), 0
    disk = Disk(place, tmp_path / "disk", monkeypatch)
    columns = tuple("abcdefghij"[: rnd.choice([1, 3, 10])])
    kept: dict[str, dict[int, Bucket]] = {}

    def ten_minutes(length: int) -> None:
        nonlocal second
        for part in range(second, second + length, 600):
            times = np.arange(part, part + 600)
            late = rng.random(600) < rnd.choice([0, 0, 0.2])
            times = times - np.where(late, rng.integers(0, 3000, 600), 0)
            place.clock.now = BEGIN + (part + 600) * SECOND
            place.add("host", np.maximum(times, 0), np.outer(times, np.ones(len(columns))), *columns)
            for _ in place.chain.steps():
                if any(each.must_sync() for each in place.chain.tiers):
                    sync()
        second += length

    def sync() -> None:
        nonlocal kept
        disk.sync()
        kept = {each.name: place.buckets(each.name, "host", columns[-1]) for each in place.chain.tiers}

    for _ in range(4):
        for _ in range(rnd.randint(1, 8)):
            ten_minutes(rnd.choice([600, 600, 6000]))
        sync()
        ten_minutes(rnd.choice([600, 6000]))
        late = {each.name: each.late.rings.get("host") for each in place.chain.tiers}
        overflowing = {
            step for step, ring in late.items() if ring and ring.arena.head(ring.entry.slot) >= ring.arena.points
        }
        disk.lose_power(rnd)
        for step, were in kept.items():
            held = place.buckets(step, "host", columns[-1])
            sure = sorted(held)[len(held) // 4 :]  # what would have been overwritten next may be
            assert max(sure, default=None) == max(were, default=None)
            if step in overflowing:
                assert all(held[start][3] <= were[start][3] for start in sure), step
            else:
                assert [held[start] for start in sure] == [were[start] for start in sure], step


def test_rows_on_the_same_disk_are_not_counted_again(
    make: MakePlace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a power loss their source begins another life with the rows that are left: those have their buckets."""
    boots = [0]
    monkeypatch.setattr("linemon.store.writer.here", lambda: {"machine": "m", "boot": str(boots[0])})
    place = make(tier("1m", "2d"))

    def reboot() -> None:
        for store in (place.writer, *(store for each in place.chain.tiers for store in (each.main, each.late))):
            store.sync()
            os.close(store._lock)
        for each in place.chain.tiers:
            each.sync()
        boots[0] += 1
        place.writer, place.store = StoreWriter(place.folder, 3600, 100), Store(place.folder)

    def counted() -> int:
        day = np.datetime64(BEGIN, "ns"), np.datetime64(BEGIN + 86400 * SECOND, "ns")
        return int(place.store["host"].window(*day, 100).count.sum())

    place.live("host", 0, 5000, every=100)
    born = place.store["host"].born
    for second in (5000, 5090, 5700):  # with rows in an open bucket, and with some that history never saw
        place.add("host", np.arange(second, second + 90) - np.where(np.arange(90) % 7, 0, 70))
        place.clock.now = BEGIN + (second + 90) * SECOND
        if second == 5000:
            place.turn()
        total = sum(len(times) for times, _ in place.sent["host"])
        assert counted() == total
        reboot()
        assert place.store["host"].born != born
        assert counted() == total  # also before the part has looked
        place.open()
        place.turn()
        assert counted() == total
        place.live("host", second + 90, second + 600, every=30) if second == 5090 else None
    place.settle()
    assert_same(place.buckets("1m", "host"), place.truth("1m", "host"))


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "size"), [("tmpfs", "4m"), ("ext4", "6m")])
def test_a_small_disk_that_is_full(tmp_path: Path, kind: str, size: str) -> None:
    """History waits, with one line in the log, and rows go on; with space again each is in its bucket.

    The columns beside `v` have the buckets take more than the page or two that others give back when they write.
    """
    found = in_a_small_disk(
        size,
        """
        import json, subprocess, sys, time
        from linemon.store.reader import Store
        from tests.running import Running, command, eventually
        tier = '[[history.tier]]\\nstep = "10s"\\nkeep = "2h"\\n'
        running = Running(disk, 'points = 4000\\n[history]\\nevery = 0.05\\nshare = 1.0\\n' + tier)
        begin = int(time.time()) // 60 * 60 - 6600
        said = command("work", "--config", str(running.config))
        work = subprocess.Popen(said, stderr=open("LOG", "wb"))

        def send(start, stop):
            lines = "".join(f"{begin + at} {at}{' 0' * 10}\\n" for at in range(start, stop))
            running.say(f"#source a\\n#columns time v b c d e f g h i j k\\n{lines}#stats\\n")

        def buckets():
            store = Store(running.store_path / "history" / "10s")
            return store["a"].rows if "a" in store else 0

        def fill():
            with open(disk / "left", "wb", buffering=0) as file:
                while True:
                    file.write(bytes(4096))

        try:
            send(0, 4000)
            eventually(lambda: buckets() >= 399, "the first ones")
            try:
                fill()
            except OSError:
                pass
            send(4000, 6000)
            log = lambda: open("LOG").read()
            eventually(lambda: "history waits" in log(), "it is said")
            held, rows = buckets(), running.store["a"].rows
            (disk / "left").unlink()
            eventually(lambda: buckets() >= 599, "all of them")
            told = running.store_path / "work" / "history.json"
            status = lambda: json.loads(told.read_text())
            eventually(lambda: status().get("buckets", 0) >= 599, "the status says so")
            minutes = running.run("export", "a", "--every", "1m", "--format", "jsonl", "--columns", "v").stdout
            print(json.dumps({
                "held": held, "rows": rows, "missed": status()["missed"], "said": log().count("history waits"),
                "counts": [json.loads(line)["v.count"] for line in minutes.splitlines()],
            }))
        finally:
            work.terminate()
            work.wait()
            running.stop()
        """.replace("LOG", str(tmp_path / "work.log")),
        kind,
    )
    assert found["rows"] == 6000
    assert found["held"] < 599
    assert (found["missed"], found["said"]) == (0, 1)
    assert found["counts"] == [60] * 100
