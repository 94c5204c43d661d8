"""How rows become points, and points the one array that a page is sent; and what addresses mean."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bokeh_app.packing import MAX_BYTES, Points, bucket_for, latest, pack_points, room_for, thin
from bokeh_app.view import View, parse


def unpack(message: np.ndarray, columns: int) -> tuple[float, np.ndarray, np.ndarray, list[np.ndarray]]:
    """What the page's script makes of it: bucket, times, counts, and the arrays of the lines."""
    bucket, rows, is_thinned, counted, longer = message[:5]
    message = message[5 + 2 * int(longer) :]
    n = int(rows)
    times, offsets = message[:n], message[n : n + columns]
    arrays = 3 if is_thinned else 1
    short = message[n + columns :].view(np.float32)
    values = short[: arrays * columns * n].reshape(arrays, columns, n)
    counts = short[arrays * columns * n :][: int(counted) * n].reshape(int(counted), n).T
    return bucket, times, counts, [values[i].T + offsets for i in range(arrays)]


def test_few_rows_stay_as_they_are() -> None:
    times = np.array([30, 10, 20])
    points = thin(times, np.array([[3.0], [1.0], [2.0]]), 0)
    assert points.times.tolist() == [10, 20, 30]
    assert points.mean.tolist() == [[1], [2], [3]]
    assert not points.is_thinned


def test_many_rows_become_least_mean_and_greatest_per_bucket() -> None:
    times = np.arange(1000, 2000)
    values = np.stack([np.arange(1000.0), np.full(1000, np.nan)], axis=1)
    points = thin(times, values, 100)
    assert points.times.tolist() == list(range(1000, 2000, 100))
    assert (points.low[:2, 0].tolist(), points.high[:2, 0].tolist()) == ([0, 100], [99, 199])
    assert points.mean[:2, 0].tolist() == [49.5, 149.5]
    assert points.count.tolist() == [[100, 0]] * 10
    assert np.isnan(points.mean[:, 1]).all()
    assert np.isnan(points.low[:, 1]).all()
    again = thin(times[150:], values[150:], 100)
    assert again.mean[1:, 0].tolist() == points.mean[2:, 0].tolist()  # a later look finds the same buckets


def test_points_of_a_span_lie_in_it_whole() -> None:
    rows = thin(np.arange(10), np.arange(10.0)[:, None], 0)
    assert rows.between(2, 5).times.tolist() == [2, 3, 4]
    assert not rows.between(2, 5).is_thinned
    buckets = thin(np.arange(1000), np.arange(1000.0)[:, None], 100)
    assert buckets.between(150, 550).times.tolist() == [200, 300, 400]
    assert buckets.between(150, 550).low[:, 0].tolist() == [200, 300, 400]
    assert buckets.between(0, 1000) is buckets
    assert buckets.later(7).times.tolist() == list(range(7, 1000, 100))


@given(
    st.lists(st.tuples(st.integers(0, 2000), st.floats(-1e6, 1e6) | st.just(np.nan)), min_size=1, max_size=80),
    st.integers(1, 300),
)
def test_no_extreme_is_lost_and_no_row_counted_twice(rows: list[tuple[int, float]], bucket: int) -> None:
    times, values = np.array([t for t, _ in rows]), np.array([[v] for _, v in rows])
    points = thin(times, values, bucket)
    assert points.count.sum() == np.count_nonzero(~np.isnan(values))
    assert (np.diff(points.times) >= 0).all()
    if not np.isnan(values).all():
        assert np.nanmax(points.high) == np.nanmax(values)
        assert np.nanmin(points.low) == np.nanmin(values)


def test_nothing_gives_nothing() -> None:
    points = thin(np.empty(0, np.int64), np.empty((0, 3)), 1)
    assert points.times.shape == (0,)
    assert points.mean.shape == (0, 3)
    bucket, times, _, arrays = unpack(pack_points(points), 3)
    assert (bucket, len(times), arrays[0].shape) == (1e-6, 0, (0, 3))


@pytest.mark.parametrize("base", [0.0, 1.7e9, -4e15])
def test_a_message_is_as_exact_as_a_chart_needs(base: float) -> None:
    """float32 beside an offset: a counter of ten digits still moves by ones."""
    times = np.arange(5) * 10**9
    values = np.stack([base + np.arange(5.0), [np.nan, base, np.nan, base + 0.5, np.nan]], axis=1)
    bucket, sent, counts, (mean,) = unpack(pack_points(thin(times, values, 0)), 2)
    assert (bucket, sent.tolist(), counts.tolist()) == (0, [0, 1000, 2000, 3000, 4000], [[]] * 5)
    np.testing.assert_array_equal(mean, values)


def test_thinned_points_travel_with_their_extremes() -> None:
    low = np.array([[1.0, np.nan]])
    points = Points(np.array([5 * 10**6]), low + 1, low, low + 2, np.array([[7, 0]]), 10**9)
    bucket, times, counts, (mean, least, most) = unpack(pack_points(points), 2)
    assert (bucket, times.tolist(), counts.tolist()) == (1000, [5], [[7, 0]])
    assert (mean[0, 0], least[0, 0], most[0, 0]) == (2, 1, 3)
    assert np.isnan(mean[0, 1])


@pytest.mark.parametrize("value", [-2.204404e-12, 1e-30, -0.005, 23.619])
def test_small_values_keep_their_digits_whatever_their_sign(value: float) -> None:
    _, _, _, (mean,) = unpack(pack_points(thin(np.array([0]), np.array([[value]]), 0)), 1)
    assert mean[0, 0] == pytest.approx(value, rel=1e-7)


def test_what_a_chart_cannot_draw_is_told_from_what_is_missing() -> None:
    most = np.finfo(float).max
    values = np.array([[most, np.nan, -most], [20.3, 20.3, 1e-9], [-most, most, most]])
    _, _, _, (mean,) = unpack(pack_points(thin(np.arange(3), values, 0)), 3)
    assert mean[[0, 2]].tolist() == [[np.inf, pytest.approx(np.nan, nan_ok=True), -np.inf], [-np.inf, np.inf, np.inf]]
    assert mean[1] == pytest.approx([20.3, 20.3, 1e-9], rel=1e-7)


def test_a_message_is_bounded_whatever_is_asked_for() -> None:
    for columns in (1, 60, 1000):
        room = room_for(columns, 4000)
        assert room * columns * 12 <= max(MAX_BYTES, 2 * columns * 12)
        bucket = bucket_for(10**15, room)
        assert 10**15 / bucket <= room
        assert bucket % 10**6 == 0
    assert bucket_for(1, 1000) == 10**6


def test_the_newest_value_of_each_column() -> None:
    assert latest(np.array([[1.0, np.nan], [2.0, np.nan], [np.nan, np.nan]])).tolist()[0] == 2.0
    assert np.isnan(latest(np.empty((0, 2)))).all()


def test_addresses() -> None:
    def at(**arguments: str) -> View:
        return parse({name: [value.encode()] for name, value in arguments.items()})

    assert at() == View("overview")
    assert at(source="a b") == View("source", "a b")
    assert at(health="1").kind == "health"
    assert at(plot="web1:cpu.busy_pct,web2:cpu.busy_pct").plot == (("web1", "cpu.busy_pct"), ("web2", "cpu.busy_pct"))
    assert at(plot="room1.temperature").plot == (("room1.temperature", "value"),)
    assert at(plot="sys%2Chost=h7:cpu%3A0,").plot == (("sys,host=h7", "cpu:0"),)
    assert at(plot="").kind == "compare"
    for text in ("a:x,y", "a:x,a:y"):
        assert (at(xy=text).kind, at(xy=text).shape, at(xy=text).plot) == ("compare", "xy", (("a", "x"), ("a", "y")))
    assert at(xy="a,b").plot == (("a", "value"), ("b", "value"))
    assert at(histogram="a:x,b").plot == (("a", "x"), ("b", "value"))
    runs = at(runs="oven:temp,oven:door", mark="run ", last="7")
    assert (runs.kind, runs.plot, runs.mark) == ("runs", (("oven", "temp"), ("oven", "door")), "run ")
    assert (runs.last, runs.window) == (7, "all")
    assert [at(runs="a:b", last=said).last for said in ("", "x", "-3", "0", "1000")] == [5, 5, 5, 1, 20]
    assert at(source="a", histogram="a:x").shape == "", "one page"
    assert at(measure="cpu.busy_pct", small="1", find="web") == View(
        "measure", measure="cpu.busy_pct", find="web", is_small=True
    )
    sight = at(measure="x", **{"from": "1764028800000", "to": "1764030000000.5"}).sight
    assert sight == (1764028800000, 1764030000000.5)
    for times in ({"from": "1764028800000"}, {"from": "x", "to": "y"}, {"from": "2", "to": "1"}):
        assert at(measure="x", **times).sight == ()
    assert at(source="x", window="1h").window == "1h"
    assert at(source="x", window="1 h; rm").window == "5m"
    assert len(at(plot=",".join(f"s{i}:c" for i in range(1000))).plot) == 80
