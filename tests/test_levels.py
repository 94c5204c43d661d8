"""Rows and history read as one: no row is counted twice at a seam, and none is missing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bokeh_app.streams import between
from linemon import Store, Window
from linemon.errors import UnknownSource
from linemon.store.levels import buckets_of
from tests.archives import Reads
from tests.examples import examples
from tests.histories import BEGIN, SECOND, Place, open_places, tier

MakePlace = Callable[..., Place]
DAY = 86400


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    yield from open_places(tmp_path, monkeypatch)


def at(seconds: float) -> np.datetime64:
    return np.datetime64(BEGIN + round(seconds * SECOND), "ns")


def seconds(found: Window) -> Any:
    """The edges of its buckets, in seconds after BEGIN."""
    edges = np.append(found.time.view(np.int64), found.time[-1].astype(np.int64) + found.step[-1].astype(np.int64))
    return (edges - BEGIN) / SECOND


def assert_is(found: Window, place: Place, source: str, start: float, end: float, points: int) -> None:
    """The buckets tile the span, are no more than `points`, and hold what was sent."""
    edges = seconds(found)
    assert edges[0] == start
    assert edges[-1] == end
    assert (np.diff(edges) > 0).all()
    assert len(found) <= points
    times = np.concatenate([time for time, _ in place.sent[source]])
    values = np.concatenate([cells[:, 0] for _, cells in place.sent[source]])
    bucket = np.searchsorted(edges, (times - BEGIN) / SECOND, "right") - 1
    for i in range(len(found)):
        some = values[(bucket == i) & (times >= BEGIN + start * SECOND) & ~np.isnan(values)]
        assert found.count[i, 0] == len(some), f"bucket {i} of {len(found)}, {edges[i]} to {edges[i + 1]}"
        if len(some):
            assert found.min[i, 0] == some.min()
            assert found.max[i, 0] == some.max()
            assert found.mean[i, 0] == pytest.approx(some.mean(), rel=1e-9)
        else:
            assert np.isnan([found.min[i, 0], found.max[i, 0], found.mean[i, 0]]).all()


@given(st.integers(0, 2**32))
@settings(max_examples=examples(10), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.slow
def test_a_window_over_all_levels_is_that_of_all_rows(make: MakePlace, reads: Reads, seed: int) -> None:
    """At every moment, also of rows that are late or in no bucket yet; spans begin and end with the longest buckets.

    An archive does not know which late rows wait for their buckets: those come with the next.
    """
    rng = np.random.default_rng(seed)
    place = make(tier("10s", "20m"), tier("1m", "3h"), tier("15m", "30d"), points=600)
    is_store = isinstance(reads(place.folder), Store)
    second, late = 0, is_store and rng.random() < 0.5
    for _ in range(12):
        length = int(rng.integers(1, 1800))
        length = length if is_store else length // 50 * 50 + 50  # else the next rows come before the last of these
        for part in range(second, second + length, 50):
            place.clock.now = BEGIN + (part + 50) * SECOND
            times = part + np.sort(rng.random(50) * 50)
            if late:
                times -= np.where(rng.random(50) < 0.1, rng.integers(0, 100, 50), 0)
            place.add("x", np.maximum(times, 0), rng.random(50))
            if rng.random() < 0.5 or place.chain.fills():
                place.turn()
        second += length
        if not is_store and rng.random() < 0.7:
            continue  # it takes its time
        source = reads(place.folder)["x"]
        end = -(-(second + 100) // 900) * 900
        start = 900 * int(rng.integers(0, end // 900))
        points = int(rng.choice([1, 3, 50, 400]))
        assert_is(source.window(at(start), at(end), points), place, "x", start, end, points)
    assert place.chain.counts["missed"] == 0


@pytest.mark.slow
def test_each_part_of_a_span_comes_from_the_level_that_fits(make: MakePlace) -> None:
    """Rows for an hour, 10 s for two, minutes for eight, a quarter of an hour for all."""
    place = make(tier("10s", "2h"), tier("1m", "8h"), tier("15m", "30d"))
    place.live("host", 0, 12 * 3600, every=300)
    found = place.store["host"].window(at(0), at(12 * 3600), 1200)
    steps, counts = np.unique(found.step.astype("timedelta64[s]").astype(int), return_counts=True)
    assert set(steps[counts > 2].tolist()) == {40, 60, 900}
    assert_is(found, place, "host", 0, 12 * 3600, 1200)
    hour = place.store["host"].window(at(11.2 * 3600), at(12 * 3600), 1200)
    assert set(hour.step.astype("timedelta64[ms]").astype(int).tolist()) == {2400}
    assert_is(hour, place, "host", 11.2 * 3600, 12 * 3600, 1200)
    two = place.store["host"].window(at(10 * 3600), at(12 * 3600), 1200)
    assert set(two.step[:300].astype("timedelta64[s]").astype(int).tolist()) == {10}
    assert_is(two, place, "host", 10 * 3600, 12 * 3600, 1200)


def test_neighbouring_windows_count_no_row_twice(make: MakePlace, reads: Reads) -> None:
    """Also where they do not begin with a bucket: one belongs to the window in which it starts."""
    place = make(tier("1m", "2d"), tier("15m", "30d"), points=600)
    place.live("host", 0, 7200, every=100)
    source = reads(place.folder)["host"]
    for first, middle, last, points in ((0, 1000, 7200, 7), (13, 3333, 7000, 40), (0, 7111, 7200, 100)):
        halves = [source.window(at(a), at(b), points).count.sum() for a, b in ((first, middle), (middle, last))]
        whole = source.window(at(first), at(last), points).count.sum()
        assert abs(sum(halves) - whole) <= 900  # of the bucket that another level may have put to the other side
    assert sum(source.window(at(a), at(a + 900), 1).count[0, 0] for a in range(0, 7200, 900)) == 7200


def test_where_rows_are_held_for_all_nothing_has_changed(make: MakePlace, reads: Reads) -> None:
    """Exactly as many equal buckets as are asked for."""
    place = make(tier("1m", "2d"))
    place.live("host", 0, 3000, every=100)
    found = reads(place.folder)["host"].window(at(100), at(2900), 1400)
    assert set(found.step.tolist()) == {2 * SECOND}
    assert len(found) == 1400


def test_the_first_minute_of_a_new_source_is_of_rows(make: MakePlace) -> None:
    """Its first bucket begins before its first row, and holds nothing that rows do not."""
    place = make(tier("1m", "2d"), tier("15m", "30d"))
    place.live("host", 38, 400, every=100)
    found = place.store["host"].window(at(0), at(400), 400)
    assert_is(found, place, "host", 0, 400, 400)
    assert set(found.step.tolist()) == {SECOND}


def test_before_all_there_is(make: MakePlace) -> None:
    """Empty buckets, and `oldest` says where it begins; rows are as before."""
    place = make(tier("1m", "2d"), points=600)
    place.live("host", 0, 3000, every=100)
    source = place.store["host"]
    assert source.oldest == at(0)
    assert source.between().time[0] == at(2400)
    assert [(level.name, level.begin) for level in source.kept] == [("rows", BEGIN + 2400 * SECOND), ("1m", BEGIN)]
    found = source.window(at(-7200), at(3000), 500)
    assert found.count[found.time < at(0)].sum() == 0
    assert found.count.sum() == 3000


def test_a_source_that_is_no_more(make: MakePlace) -> None:
    """Its history is found, and has its columns; it has no rows."""
    place = make(tier("1m", "2d"))
    place.live("gone", 0, 200)
    place.settle()
    place.writer.let_go(place.writer.rings["gone"])
    store = Store(place.folder)
    assert store.sources() == ()
    assert store.sources(history=True) == ("gone",)
    gone = store["gone"]
    assert gone.columns == ("a",)
    assert gone.oldest == at(0)
    assert len(gone.last(10)) == len(gone.between()) == len(gone.since(0)) == 0
    assert gone.window(at(0), at(240), 4).count[:, 0].tolist() == [60, 60, 60, 20]
    with pytest.raises(UnknownSource):
        store["never"]


def test_a_life_before_with_other_columns(make: MakePlace, reads: Reads) -> None:
    """What it had of the columns there are now is shown, the others are missing."""
    place = make(tier("1m", "2d"))
    place.add("x", np.arange(120), np.arange(120), "a")
    place.turn(ending=True)
    place.writer.let_go(place.writer.rings["x"])
    place.clock.now += 600 * SECOND
    place.add("x", np.arange(300, 420), np.column_stack((np.arange(120), np.arange(120))), "b", "a")
    found = place.store["x"].window(at(0), at(420), 7)
    assert found.columns == ("b", "a")
    assert found.count.tolist() == [[0, 60], [0, 60], [0, 0], [0, 0], [0, 0], [60, 60], [60, 60]]


def test_buckets_of_one_length_for_export(make: MakePlace) -> None:
    """From the finest level that divides it, and longer ones where only those are left; none that is empty."""
    place = make(tier("10s", "1h"), tier("1m", "30d"), points=600)
    place.live("host", 0, 7200, every=100)
    source = place.store["host"]
    for every in (30, 60, 90, 3600):
        parts = list(buckets_of(source, BEGIN, BEGIN + 7200 * SECOND, every * SECOND))
        times = np.concatenate([part.time.view(np.int64) for part in parts])
        counts = np.concatenate([part["a.count"] for part in parts])
        assert counts.sum() == 7200
        assert (times[1:] > times[:-1]).all()
        steps = set((np.diff(times[5:-5]) // SECOND).tolist()) if every < 3600 else {3600}
        assert steps <= {every, -(-every // 60) * 60}, steps
        assert (times % (every * SECOND) == 0)[-20:].all()
        assert parts[0].columns == ("a.min", "a.max", "a.mean", "a.count")


def test_the_page_is_sent_what_the_history_has(make: MakePlace) -> None:
    """Buckets where rows do not go back so far, rows where they do."""
    place = make(tier("1m", "2d"), points=600)
    place.live("host", 0, 7200, every=100)
    source = place.store["host"]
    points, _ = between(source, BEGIN, BEGIN + 7200 * SECOND, [0], 60 * SECOND, 2000)
    assert points.count.sum() == 7200
    assert points.bucket == 60 * SECOND
    points, _ = between(source, BEGIN + 6700 * SECOND, BEGIN + 7200 * SECOND, [0], SECOND, 2000)
    assert (len(points.times), points.bucket) == (500, 0)
