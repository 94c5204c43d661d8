"""History: each row in one bucket, whatever comes late, is killed, or changes."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from linemon.errors import LineError
from linemon.store.arena import ArenaWriter
from tests import history_kills
from tests.examples import examples
from tests.histories import BEGIN, SECOND, Place, assert_same, open_places, tier

FOUR = tier("10s", "1d"), tier("1m", "30d"), tier("15m", "2y"), tier("6h", "10y")
MakePlace = Callable[..., Place]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    yield from open_places(tmp_path, monkeypatch)


def test_each_tier_has_the_buckets_of_all_rows(make: MakePlace) -> None:
    """Two hours at a row a second into a ring of one; what is missing in a row is not counted."""
    place = make(*FOUR)
    place.live("host", 0, 7200, every=60)
    place.add("host", np.arange(7200, 7300), np.where(np.arange(100) % 3 == 0, np.nan, 1.5))
    place.settle()
    for step in ("10s", "1m", "15m", "6h"):
        assert_same(place.buckets(step, "host"), place.truth(step, "host"))
    assert place.chain.counts["missed"] == place.chain.counts["late"] == 0


def test_a_row_within_its_grace_goes_into_its_bucket(make: MakePlace) -> None:
    """Two senders, one a second behind: no late parts, and one bucket row a bucket."""
    place = make(tier("1m", "2d"))
    place.clock.now += 600 * SECOND
    seconds = np.arange(600.0)
    place.add("host", np.column_stack((seconds, seconds - 1)).ravel()[2:])
    place.turn()
    place.settle()
    held = place.held("1m", "host")
    assert held is not None
    assert np.unique(held.time).size == len(held) == 10
    assert_same(place.buckets("1m", "host"), place.truth("1m", "host"))


@pytest.mark.slow
def test_late_rows_become_parts_of_their_buckets(make: MakePlace) -> None:
    """A backlog of three hours beside live rows, over another connection; also that of a source that begins with it."""
    place = make(tier("10s", "1d"), tier("1m", "30d"))
    backlog = iter(np.arange(-10800, 0).reshape(-1, 30))
    for second in range(0, 3600, 10):
        place.clock.now = BEGIN + (second + 10) * SECOND
        place.add("device", np.arange(second, second + 10))
        place.add("device", next(backlog))
        place.turn()
    place.settle()
    for step in ("10s", "1m"):
        assert_same(place.buckets(step, "device"), place.truth(step, "device"))


@pytest.mark.slow
def test_more_than_the_ring_holds_within_a_bucket(make: MakePlace) -> None:
    """500 rows a second, buckets of a minute, a ring of 3600 rows: none is missed, as long as it is looked at."""
    place = make(tier("1m", "2d"))
    for second in range(600):
        place.clock.now = BEGIN + (second + 1) * SECOND
        place.add("fast", second + np.arange(500) / 500)
        if second % 10 == 9 or place.chain.fills():
            place.turn()
    place.settle()
    assert place.chain.counts["missed"] == 0
    assert_same(place.buckets("1m", "fast"), place.truth("1m", "fast"))


def test_rows_that_were_overwritten_unseen_are_counted(make: MakePlace) -> None:
    place = make(tier("1m", "2d"), points=100)
    place.live("host", 0, 60)
    place.add("host", np.arange(60, 1060))
    place.turn(ending=True)
    counted = sum(bucket[3] for bucket in place.buckets("1m", "host").values())
    assert counted == 160
    assert place.chain.counts["missed"] == 900


def test_one_row_ahead_of_the_clock_ends_nothing(make: MakePlace) -> None:
    """It is in a bucket of its own; the rows after it are where they belong, none of them late."""
    place = make(tier("1m", "2d"), tier("15m", "2y"))
    place.live("host", 0, 120)
    place.add("host", [365 * 86400.0])
    place.live("host", 120, 720)
    place.settle()
    assert_same(place.buckets("1m", "host"), place.truth("1m", "host"))
    assert_same(place.buckets("15m", "host"), place.truth("15m", "host"))
    assert place.chain.counts["late"] <= 3


def test_the_cost_goes_with_rows_not_with_time(make: MakePlace) -> None:
    """A row of 18 years ago, then one of now."""
    place = make(*FOUR)
    place.add("old", [-18 * 365 * 86400.0, 0.0, 1.0])
    place.settle()
    assert_same(place.buckets("10s", "old"), place.truth("10s", "old"))
    assert place.chain.counts["buckets"] == 8


def test_a_source_that_falls_silent(make: MakePlace) -> None:
    """Its open bucket is written a step and the grace after its last row; what comes after all is a part of it."""
    place = make(tier("1m", "2d"))
    place.live("host", 0, 90)
    place.clock.now = BEGIN + (89 + 61) * SECOND
    place.turn()
    assert set(place.buckets("1m", "host")) == {0}
    place.clock.now = BEGIN + (90 + 63) * SECOND
    place.turn()
    assert_same(place.buckets("1m", "host"), place.truth("1m", "host"))
    place.add("host", [91.0, 92.0])
    place.settle()
    assert_same(place.buckets("1m", "host"), place.truth("1m", "host"))
    assert place.chain.counts["late"] == 0


def test_a_clean_end_writes_the_open_buckets(make: MakePlace) -> None:
    """A planned reboot with rows in memory loses nothing; nor does it count anything twice."""
    place = make(tier("1m", "2d"), tier("15m", "30d"))
    for second in range(0, 1000, 100):
        place.live("host", second, second + 100)
        place.close()
        for step in ("1m", "15m"):
            assert_same(place.buckets(step, "host"), place.truth(step, "host"))
        place.open()


@pytest.mark.parametrize("columns", [("a", "b"), ("b", "c"), ("c",)])
def test_a_source_that_is_removed_and_made_again(make: MakePlace, columns: tuple[str, ...]) -> None:
    """Its row numbers begin at 0 again: not taken for those of before. A column keeps its place by its name."""
    place = make(tier("1m", "2d"), tier("15m", "30d"))
    place.add("x", np.arange(200), np.column_stack((np.arange(200), np.arange(200) * 2)), "a", "b")
    place.turn()
    place.writer.let_go(place.writer.rings["x"])
    place.add("x", np.arange(300, 600), np.arange(300)[:, None] + np.arange(len(columns)) * 1000, *columns)
    place.turn()
    place.settle()
    for step, length in (("1m", 60), ("15m", 900)):
        for column in {"a", "b", *columns}:
            counts = place.buckets(step, "x", column)
            for start in range(0, 600, length):
                first = [s for s in range(200) if start <= s < start + length and column in "ab"]
                second = [s for s in range(300, 600) if start <= s < start + length and column in columns]
                # What the first life had in its open bucket went with it.
                lost = [s for s in first if s >= 180]
                got = counts.get(start, (0, 0, 0, 0.0))[3]
                assert len(first) + len(second) - len(lost) <= got <= len(first) + len(second)


def test_a_store_that_is_made_anew(make: MakePlace, tmp_path: Path) -> None:
    """As after a reboot with rows in memory and history on a disk: its rows follow those of before."""
    import shutil
    from dataclasses import replace

    from linemon.store.reader import Store
    from linemon.store.writer import StoreWriter

    place = make(tier("1m", "2d"))
    place.close()
    disk = tmp_path / "disk"
    place.config = replace(place.config, history=replace(place.config.history, path=str(disk)))
    place.open()
    place.live("host", 0, 600)
    place.close()
    place.writer.close()
    shutil.rmtree(place.folder)
    place.writer, place.store = StoreWriter(place.folder, 3600, 100), Store(place.folder)
    place.open()
    place.live("host", 600, 1300)
    place.settle()
    (place.folder / "history").symlink_to(disk)
    assert_same(place.buckets("1m", "host"), place.truth("1m", "host"))


def test_columns_that_are_added(make: MakePlace) -> None:
    place = make(tier("10s", "1d"), tier("1m", "30d"))
    place.live("x", 0, 300)
    place.add("x", np.arange(300, 600), np.column_stack((np.arange(300, 600), np.arange(300))), "a", "b")
    place.settle()
    assert_same(place.buckets("1m", "x"), place.truth("1m", "x"))
    added = place.buckets("1m", "x", "b")
    assert {start: bucket[3] for start, bucket in added.items()} == {s: 60.0 * (s >= 300) for s in range(0, 600, 60)}


def test_tiers_change(make: MakePlace) -> None:
    """One more, one less, other lengths: nothing that is still wanted is thrown away, nothing counted twice."""
    minute, quarter, hour = tier("1m", "30d"), tier("15m", "2y"), tier("1h", "10y")
    place = make(minute, quarter, points=100_000)
    place.live("host", 0, 2000, every=100)
    place.configure(tier("10s", "1d"), tier("1m", "20d"), quarter, hour)  # finer, shorter, coarser
    place.live("host", 2000, 4000, every=100)
    place.configure(quarter, hour)  # what fed them is gone
    place.live("host", 4000, 6000, every=100)
    place.configure(tier("1m", "30d", "!host"), quarter, hour)  # and is there again, but not of this source
    place.live("host", 6000, 8000, every=100)
    place.settle()
    for step in ("15m", "1h"):
        assert_same(place.buckets(step, "host"), place.truth(step, "host"))
    minutes, truth = place.buckets("1m", "host"), place.truth("1m", "host")
    assert_same(minutes, {start: truth[start] for start in truth if start in minutes} | {3960: minutes[3960]})
    assert min(minutes) == 0


def test_a_tier_that_is_not_named_any_more_goes_when_it_is_too_old(make: MakePlace) -> None:
    place = make(tier("10s", "1d"), tier("1m", "30d"))
    place.live("host", 0, 100)
    place.configure(tier("1m", "30d"))
    place.part._forget(place.chain)
    assert place.buckets("10s", "host")
    place.clock.now += 2 * 86400 * SECOND
    place.part._forget(place.chain)
    assert not (place.folder / "history" / "10s").exists()
    assert place.buckets("1m", "host")


def test_a_forgotten_source_stays_until_keep_has_passed(make: MakePlace) -> None:
    place = make(tier("1m", "2d"))
    place.live("gone", 0, 200)
    place.settle()
    place.writer.let_go(place.writer.rings["gone"])
    place.part._forget(place.chain)
    place.turn()
    assert_same(place.buckets("1m", "gone"), place.truth("1m", "gone"))
    place.clock.now += 3 * 86400 * SECOND
    place.part._forget(place.chain)
    assert not place.buckets("1m", "gone")


def test_a_source_that_is_not_meant_any_more_stays_until_keep_has_passed(make: MakePlace) -> None:
    place = make(tier("1m", "2d"))
    place.live("web1", 0, 200)
    place.configure(tier("1m", "2d", "!web*"))
    place.live("web1", 200, 400)
    place.part._forget(place.chain)
    assert place.buckets("1m", "web1").keys() == {0, 60, 120, 180}
    place.clock.now += 3 * 86400 * SECOND
    place.part._forget(place.chain)
    assert not place.buckets("1m", "web1")


def test_wildcards_do_not_mean_our_own_sources(make: MakePlace) -> None:
    place = make(tier("10s", "1d"), tier("1m", "2d", "*", "linemon.*"))
    for source in ("linemon.collector", "web1"):
        place.live(source, 0, 200)
    place.settle()
    assert place.buckets("10s", "web1")
    assert not place.buckets("10s", "linemon.collector")
    assert_same(place.buckets("1m", "linemon.collector"), place.truth("1m", "linemon.collector"))


def test_where_there_is_no_space(make: MakePlace, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be written waits in the raw ring, and is written once there is space."""
    place = make(tier("1m", "2d"))
    place.live("host", 0, 300)

    def full(*_: object, **__: object) -> None:
        raise LineError("store_full", "no room")

    with monkeypatch.context() as patched:
        place.add("host", np.arange(300, 500))
        patched.setattr(ArenaWriter, "_make_rooms", full)
        with pytest.raises(LineError):
            place.turn()
    place.settle()
    assert_same(place.buckets("1m", "host"), place.truth("1m", "host"))


def test_a_source_for_which_the_share_is_too_small(make: MakePlace, caplog: pytest.LogCaptureFixture) -> None:
    """The first ones have history, the others do not: one line in the log, counted; live rows are not touched."""
    place = make(tier("1m", "2d"))
    place.chain._limit = 250_000
    for i in range(5):
        place.add(f"s{i}", np.arange(100))
    with caplog.at_level(logging.WARNING):
        place.settle()
    assert place.chain.counts["refused"] == 3
    assert len([line for line in caplog.messages if "[history] share" in line]) == 1
    assert place.buckets("1m", "s0")
    assert not place.buckets("1m", "s4")
    assert place.store["s4"].rows == 100


class Killed(BaseException):
    """Instead of a kill."""


@given(st.integers(0, 2**32))
@settings(max_examples=examples(6), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.slow
def test_killed_between_any_two_writes(make: MakePlace, seed: int) -> None:
    """Late rows, rows ahead, missing values, several sources, kills before and after writes: no bucket is wrong."""
    rnd, rng = random.Random(seed), np.random.default_rng(seed)
    place = make(tier("10s", "1d"), tier("1m", "30d"), tier("15m", "2y"), points=20_000)
    left, append = 0, ArenaWriter.append

    def sometimes(self: ArenaWriter, *arguments: Any) -> None:
        nonlocal left
        is_ours = "history" in self.path.parts
        left -= is_ours
        if is_ours and left == 0 and rnd.random() < 0.5:
            raise Killed
        append(self, *arguments)
        if is_ours and left == 0:
            raise Killed

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ArenaWriter, "append", sometimes)
        second = 0
        for _ in range(20):
            length = rnd.choice([5, 20, 100, 600])
            place.clock.now = BEGIN + (second + length) * SECOND
            for source in ("s0", "s1", "s2"):
                times = np.arange(second, second + length, rnd.choice([0.5, 1, 7]))
                is_late = rng.random(len(times)) < rnd.choice([0, 0, 0.1, 0.5])
                times = times - np.where(is_late, rng.integers(0, 5000, len(times)), 0)
                if rnd.random() < 0.1:
                    times[rnd.randrange(len(times))] += rnd.choice([301, 10**6])
                values = rng.random((len(times), 2))
                values[rng.random(values.shape) < 0.1] = np.nan
                place.add(source, times, values)
            second += length
            left = rnd.choice([-1, 1, 2, 3, 5])
            try:
                place.turn(ending=rnd.random() < 0.1)
            except Killed:
                place.kill()
        left = -1
        place.settle()
    assert place.chain.counts["missed"] == 0
    for source in ("s0", "s1", "s2"):
        for step in ("10s", "1m", "15m"):
            for i, column in enumerate("ab"):
                assert_same(place.buckets(step, source, column), place.truth(step, source, i))


@pytest.mark.slow
def test_killed_with_its_process_and_the_collector(tmp_path: Path) -> None:
    """`kill -9` at random moments, up to half of the rows late; `python -m tests.history_kills` does it more often."""
    outcome = history_kills.run(tmp_path / "run", 5, seed=7)
    assert outcome.is_right, outcome
    assert outcome.late > 0
    assert outcome.buckets > 500
