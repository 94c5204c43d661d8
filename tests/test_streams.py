"""What the page reads of a source: when it looks, and rows or buckets of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import linemon
from bokeh_app.finding import found
from bokeh_app.kept import Kept
from bokeh_app.packing import bucket_for
from bokeh_app.pump import Pump
from bokeh_app.rhythm import AGAIN_S, LEAST_S, LONGEST_S, Rhythm
from bokeh_app.runs import Span, chosen
from bokeh_app.streams import LAST_NS, Stream, between
from bokeh_app.view import View
from linemon.store.marks import Mark
from linemon.store.writer import StoreWriter

MINUTE = 60 * 10**9


def look(arrivals: list[float], seconds: float) -> tuple[list[float], list[float]]:
    """When was looked, and how long each arrival has waited. A clock that takes a millisecond per look."""
    rhythm, now, looks, waits, seen = Rhythm(), 100.0, [], [], 0
    while now < 100 + seconds:
        come = [at for at in arrivals[seen:] if 100 + at <= now]
        waits += [now - 100 - at for at in come]
        seen += len(come)
        rhythm.note(now, len(come), come[-1] if come else 0.0)
        looks.append(now)
        now = max(rhythm.due, now + 0.001)
    return looks, waits


@given(st.floats(0, 1), st.sampled_from([0.3, 0.5, 0.9, 1.0]))
def test_a_steady_source_is_found_at_once_and_seldom_looked_at(phase: float, step: float) -> None:
    looks, waits = look([phase + step * n for n in range(200)], 60)
    assert max(waits[30:]) <= 2 * AGAIN_S
    assert sum(130 <= at < 160 for at in looks) <= 30 * 1.5 / step


@settings(deadline=None)
@given(st.lists(st.floats(0, 60), max_size=60).map(sorted))
def test_no_row_waits_long_and_nothing_is_looked_at_all_the_time(arrivals: list[float]) -> None:
    looks, waits = look(arrivals, 65)
    assert len(waits) == len(arrivals)
    assert max(waits, default=0) <= LONGEST_S
    assert len(looks) <= 65 / LEAST_S + 5 * len(arrivals) + 10  # a few quick ones at the start, and after each


def test_a_source_may_be_silent_for_months() -> None:
    rhythm = Rhythm()
    for _ in range(5000):
        rhythm.note(1.0, 0)
    assert rhythm.due == 1.0 + LEAST_S


@pytest.fixture
def pump(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pump:
    config = tmp_path / "linemon.toml"
    config.write_text(f'[store]\npath = "{tmp_path / "store"}"\nmax_sources = 11000\n')
    monkeypatch.setenv("LINEMON_CONFIG", str(config))
    return Pump()


def test_search_takes_words_of_sources_and_columns(pump: Pump) -> None:
    def listed(text: str) -> list[tuple[str, str]]:
        return [(name, column) for name, column, _ in found(pump, text)]

    with closing(StoreWriter(pump.store.path, 10, 10)) as writer:
        for name in ("web10", "web2", "Temp:room"):
            writer.bind(name, ("cpu.Busy_pct", "mem.used", "web"), None)
        assert listed("WEB")[:2] == [("web2", ""), ("web10", "")]
        assert listed("web")[2:] == [(name, "web") for name in ("Temp:room", "web2", "web10")]
        assert listed("busy web2") == [("web2", "cpu.Busy_pct")]
        assert listed("web2: ") == [("web2", column) for column in ("cpu.Busy_pct", "mem.used", "web")]
        assert listed("temp room:cpu pct") == [("Temp:room", "cpu.Busy_pct")]
        assert listed("web2:room") == []
        assert listed("no such") == []
        assert len(listed("")) == 3


def test_search_finds_what_people_call_a_column(pump: Pump) -> None:
    with closing(StoreWriter(pump.store.path, 10, 10)) as writer:
        for name in ("web1", "web2", "lab"):
            writer.bind(name, ("t1", "mem"), None)
        Kept(pump.config.dashboard_state).change({("columns", "web*", "t1", "label"): "Room Nord"}, {})
        assert found(pump, "nord") == [(name, "t1", "Room Nord") for name in ("web1", "web2")]
        assert found(pump, "web2 nord") == [("web2", "t1", "Room Nord")]
        assert found(pump, "web2 t1") == [("web2", "t1", "Room Nord")]
        assert found(pump, "lab: ") == [("lab", "t1", ""), ("lab", "mem", "")]


@pytest.mark.slow
def test_search_stays_quick_with_ten_thousand_sources(pump: Pump) -> None:
    with closing(StoreWriter(pump.store.path, 10, 11_000)) as writer:
        for i in range(10_000):
            columns = ("value",) if i % 3 else tuple(f"c{i % 50}.m{k}" for k in range(10))
            writer.bind(f"site{i % 100}.host{i}", columns, None)
        Kept(pump.config.dashboard_state).change({("columns", "site7*", "c7.m7", "label"): "Seven"}, {})
        assert found(pump, "host9999")[0] == ("site99.host9999", "", "")
        for text in ("h", "host", "no such thing", "c3 m7", "host9: m", "seven"):
            start = time.process_time()
            found(pump, text)
            assert time.process_time() - start < 0.25, text  # of its own it takes a third of that


Fill = Callable[[list[int], list[list[float]]], linemon.Source]


@pytest.fixture
def fill(tmp_path: Path) -> Fill:
    """A source with these rows."""
    writer = StoreWriter(tmp_path, 10_000, 10)

    def fill(times: list[int], values: list[list[float]]) -> linemon.Source:
        ring = writer.bind("x", ("a", "b"), None)
        block = np.empty((len(times), 3))
        block.view(np.int64)[:, 0] = times
        block[:, 1:] = values
        ring.arena.append_to(ring.entry.slot, block.view(np.int64))
        return linemon.open(tmp_path)["x"]

    return fill


def test_few_rows_are_sent_as_they_are(fill: Fill) -> None:
    source = fill([10**9 * i for i in range(100)], [[i, -i] for i in range(100)])
    points, cursor = between(source, 10 * 10**9, 90 * 10**9, [1], bucket_for(80 * 10**9, 50), 100)
    assert cursor == 100
    assert points.bucket == 0
    assert points.mean[:, 0].tolist() == [-i for i in range(10, 90)]


def test_of_many_rows_no_extreme_is_lost(fill: Fill) -> None:
    rng = np.random.default_rng(5)
    times = (np.arange(9000) * 10**8 + MINUTE).tolist()
    values = rng.normal(size=(9000, 2))
    values[rng.random((9000, 2)) < 0.1] = np.nan
    values[3000:4000] = np.nan
    source = fill(times, values.tolist())
    bucket = bucket_for(15 * MINUTE, 300)
    points, cursor = between(source, MINUTE, None, [0, 1], bucket, 600)
    assert (points.bucket, cursor) == (bucket, 9000)
    assert 250 < len(points.times) <= 301
    assert (points.times % bucket == 0).all()
    assert np.array_equal(np.nanmin(points.low, axis=0), np.nanmin(values, axis=0))
    assert np.array_equal(np.nanmax(points.high, axis=0), np.nanmax(values, axis=0))
    gap = [at for at in points.times if times[3010] <= at < times[3980]]
    assert not gap, "a bucket without a row is left out"
    fill([times[-1] + 1], [[7.0, 8.0]])
    assert source.since(cursor).values.tolist() == [[7.0, 8.0]], "what comes next is neither lost nor sent twice"


def test_rows_with_hardly_a_value_count_too(fill: Fill) -> None:
    """A message stays bounded where each row carries one column of many."""
    values = [[i, np.nan] if i % 2 else [np.nan, i] for i in range(1000)]
    source = fill([10**9 * i for i in range(1000)], values)
    points, _ = between(source, 0, None, [0, 1], bucket_for(1000 * 10**9, 300), 600)
    assert points.bucket > 0
    assert len(points.times) <= 301
    assert points.high.max(axis=0).tolist() == [999, 998]


@pytest.mark.parametrize("columns", [1, 60])
def test_rows_of_the_end_of_time_move_no_live_view(pump: Pump, columns: int) -> None:
    """Whatever is asked for, and however many columns share a message."""
    now = time.time_ns()
    with closing(StoreWriter(pump.store.path, 1000, 10)) as writer:
        ring = writer.bind("x", tuple(f"c{n}" for n in range(columns)), None)
        block = np.ones((102, 1 + columns))
        block.view(np.int64)[:, 0] = [2**63 - 1, now + 3600 * 10**9, *(now - 10**9 * np.arange(100))]
        ring.arena.append_to(ring.entry.slot, block.view(np.int64))
        stream = Stream(pump, "x", range(columns), ())
        for window, sight in ((300, ()), (0, ()), (300, (0.0, 1e300)), (300, (9.2e12, 9.22e12))):
            (came, newest, _, ahead, furthest), _, points = stream.fill(window, sight, 100)
            assert newest == pytest.approx(now / 1e6)
            assert came == pytest.approx(time.time() * 1e3, abs=60e3)
            assert (ahead, furthest) == (2, pytest.approx((2**63 - 1) / 1e6))
            times = points[4 : 4 + int(points[1])]
            if not sight:
                assert len(times) == 100
                assert times.max() == pytest.approx(now / 1e6)
        whole = stream.whole(is_live=True)
        assert whole[4 : 4 + int(whole[1])].max() <= now / 1e6
        block = block[:3]
        block.view(np.int64)[:, 0] = [now + 10**9, now + 7200 * 10**9, now + 2 * 10**9]
        ring.arena.append_to(ring.entry.slot, block.view(np.int64))
        more = stream.append(is_live=True, room=1000)
        assert more
        _, newest, _, ahead, _ = more[0]
        assert newest == pytest.approx((now + 2 * 10**9) / 1e6)
        assert ahead == 3


def test_the_ends_of_time(fill: Fill) -> None:
    """Whatever times rows have, and whatever a page asks for."""
    source = fill([-(10**18), 0, 9_200_000_000 * 10**9 - 1], [[1, 1], [2, 2], [3, 3]])
    for begin, end in ((-(10**18), None), (0, 9_200_000_000 * 10**9)):
        points, _ = between(source, begin, end, [0], bucket_for(9 * 10**18, 1000), 2)
        assert points.high.max() == 3


def test_a_run_reaches_from_the_mark_before_to_the_mark_after() -> None:
    """Of marks that begin with the text, of the source or of all, the newest; the last one goes on."""
    said = ((1, "Run 1", "oven"), (2, "lunch", "oven"), (3, "run 2", None), (4, "run 9", "room"), (5, "run 3", "oven"))
    marks = [Mark.of(*each) for each in said]
    view = View("runs", plot=(("oven", "t"), ("oven", "p"), ("room", "t")), mark="RUN", last=2)
    last, before, *of_room = chosen(marks, view)
    assert last == Span("oven", marks[4], 3, LAST_NS)
    assert before == Span("oven", marks[2], 1, 5)
    assert of_room == [Span("room", marks[3], 3, LAST_NS), Span("room", marks[2], 0, 4)]
