"""The built-in analyses find what was put into made-up data, and take rows as people have them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench import made_up, nab
from linemon.analysis import groups as grouping
from linemon.analysis.spectrum import periods
from linemon.tasks import changed, forecast, groups, normal, spectrum, strange
from tests.examples import examples
from tests.running import Running

MINUTE, HOUR, DAY = 60, 3600, 86400
MONDAY = 1_764_547_200  # 2025-12-01 00:00 UTC


@dataclass
class Given:
    """Rows of columns `a`, `b`, …, in the unit %."""

    time: Any
    values: Any

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple("abcdefgh"[i] for i in range(self.values.shape[1]))

    @property
    def units(self) -> tuple[str, ...]:
        return ("%",) * len(self.columns)

    def __getitem__(self, column: str) -> Any:
        return self.values[:, self.columns.index(column)]

    def part(self, start: int, end: int) -> Given:
        return Given(self.time[start:end], self.values[start:end])


def given_rows(*columns: Any, step: int = MINUTE, start: int = MONDAY) -> Given:
    seconds = start + step * np.arange(len(columns[0]))
    return Given((seconds * 10**9).view("M8[ns]"), np.stack(columns, 1).astype(float))


def hours(count: int) -> Any:
    at = np.arange(count)
    return 50 + 20 * np.sin(2 * np.pi * at / 24) + 5 * np.sin(2 * np.pi * at / 168) + 0.01 * at


# -- forecast


def test_a_forecast_goes_on_with_seasons_and_trend() -> None:
    noise = np.random.default_rng(1).normal(size=500)
    whole = hours(548)
    times, found = forecast(given_rows(whole[:500] + noise, step=HOUR))
    assert times[0] == np.datetime64(MONDAY + 500 * HOUR, "s")
    assert len(times) == 48
    assert set(found) == {f"a.{what}:%" for what in ("expected", "low", "high", "error", "naive_error")}
    assert np.abs(found["a.expected:%"] - whole[500:]).mean() < 1.5
    inside = (found["a.low:%"] < whole[500:]) & (whole[500:] < found["a.high:%"])
    assert inside.mean() > 0.9
    assert found["a.error:%"][0] < found["a.naive_error:%"][0]


def test_a_forecast_of_what_repeats_itself_or_stands_still_is_that() -> None:
    day = np.tile(np.arange(24.0), 20)
    _, found = forecast(given_rows(day, np.full(480, 7.0), step=HOUR))
    assert found["a.expected:%"] == pytest.approx(day[:48], abs=1e-3)
    assert found["b.expected:%"] == pytest.approx(7.0)
    assert found["b.low:%"] == pytest.approx(7.0)


def test_a_forecast_begins_where_it_is_asked_to_and_bridges_gaps() -> None:
    values = hours(600)
    values[300:305] = np.nan
    values[590:] = np.nan
    times, found = forecast(given_rows(values, step=HOUR), horizon="12h")
    assert times[0] == np.datetime64(MONDAY + 600 * HOUR, "s")  # rows go on, the column has been silent for ten hours
    assert found["a.expected:%"] == pytest.approx(hours(612)[600:], abs=0.5)
    at = np.datetime64(MONDAY + 500 * HOUR, "s")
    times, found = forecast(given_rows(values, step=HOUR), horizon="6h", at=at)
    assert times[0] == at
    assert found["a.expected:%"] == pytest.approx(hours(506)[500:], abs=0.5)


def test_a_forecast_needs_two_seasons() -> None:
    times, found = forecast(given_rows(hours(90), step=HOUR))
    assert (len(times), found) == (48, {})
    with pytest.raises(ValueError, match="season"):
        forecast(given_rows(hours(90), step=HOUR), season=("1h",))


@settings(deadline=None, max_examples=examples(30))
@given(st.lists(st.one_of(st.floats(-1e6, 1e6), st.just(np.nan)), min_size=120, max_size=160))
def test_a_forecast_of_anything_is_a_number_in_its_interval(values: list[float]) -> None:
    _, found = forecast(given_rows(np.array(values), step=HOUR), horizon="24h")
    for low, expected, high in zip(
        *(found.get(f"a.{what}:%", ()) for what in ("low", "expected", "high")), strict=True
    ):
        assert np.isfinite([low, expected, high]).all()
        assert low <= expected <= high


# -- spectrum


@pytest.mark.parametrize("days", [13.3, 14, 30])
def test_a_day_and_a_week(days: float) -> None:
    at = np.arange(int(days * 1440))
    noise = 3 * np.random.default_rng(1).normal(size=len(at))
    values = 0.001 * at + 10 * np.sin(2 * np.pi * at / 1440) + 8 * np.cos(2 * np.pi * at / 10080) + noise
    times, found = spectrum(given_rows(values))
    assert times == [np.datetime64(MONDAY + (len(at) - 1) * MINUTE, "s")]
    assert found["a.period1_s:s"] == pytest.approx(DAY, rel=0.01)
    assert found["a.period2_s:s"] == pytest.approx(7 * DAY, rel=0.01)
    assert found["a.share1:"] + found["a.share2:"] == pytest.approx((50 + 32) / (50 + 32 + 9), abs=0.03)


def test_no_wave_is_made_up() -> None:
    assert all(np.isnan(each).all() for each in periods(3.0 + 0.5 * np.arange(100.0)))  # a line
    [(period, share), *none] = periods(np.sin(np.arange(64.0)))
    assert [period, share] == pytest.approx([2 * np.pi, 1.0])
    assert np.isnan(none).all()
    holes = np.sin(np.arange(400.0))
    holes[100:200] = np.nan
    _, found = spectrum(given_rows(holes, np.full(400, 2.0), np.full(400, np.nan)))
    assert found == {}


# -- groups


@pytest.mark.parametrize("method", ["linkage", "affinity"])
def test_planted_groups_are_found(method: str) -> None:
    series, labels = made_up.grouped(7, count=60, groups=5)
    sources = {f"s{i}": given_rows(*series[8 * i : 8 * i + 8]) for i in range(8)}
    times, found = groups(sources, method=method)
    assert times == [np.datetime64(MONDAY + 1435 * MINUTE, "s")]
    named = [(source, column) for source, rows in sources.items() for column in rows.columns]
    numbers = np.array([int(found[source][f"{column}.group:"][0]) for source, column in named])
    assert made_up.rand_index(labels, numbers) > 0.9
    assert np.bincount(numbers).tolist() == sorted(np.bincount(numbers).tolist(), reverse=True)
    exemplars = [found[source][f"{column}.exemplar:"][0] for source, column in named]
    assert sum(exemplars) == numbers.max() + 1
    alone = np.bincount(numbers)[numbers] == 1
    r = np.array([found[source][f"{column}.r:"][0] for source, column in named])
    assert np.isnan(r[alone]).all()
    assert (r[~alone] > 0.4).all()


def test_what_says_nothing_is_in_no_group() -> None:
    wave = np.random.default_rng(1).normal(size=1440).cumsum()
    few = wave.copy()
    few[: 1440 // 2] = np.nan
    _, found = groups({"x": given_rows(wave, -wave, np.full(1440, 5.0), few)})
    assert {name.partition(".")[0] for name in found["x"]} == {"a", "b"}
    assert found["x"]["a.group:"] == found["x"]["b.group:"]
    assert groups({})[1] == {}
    with pytest.raises(ValueError, match="neither"):
        groups({}, method="tarot")


@settings(deadline=None)
@given(st.integers(2, 24), st.integers(0, 10**6))
def test_average_linkage_is_what_its_definition_says(count: int, seed: int) -> None:
    r = np.random.default_rng(seed).random((count, count))
    r = (r + r.T) / 2
    np.fill_diagonal(r, 1.0)
    clusters = [[i] for i in range(count)]
    while len(clusters) > 1:  # by the definition: join the two that are closest on average
        apart, first, second = min(
            (float(1 - r[np.ix_(a, b)].mean()), i, j)
            for i, a in enumerate(clusters)
            for j, b in enumerate(clusters)
            if i < j
        )
        if apart > 0.45:
            break
        clusters[first] += clusters.pop(second)
    expected = {frozenset(cluster) for cluster in clusters}
    labels = grouping.joined(r, 0.45)
    assert {frozenset(np.flatnonzero(labels == label).tolist()) for label in set(labels.tolist())} == expected


# -- changed


def at(minute: int) -> np.datetime64:
    return np.datetime64(MONDAY + minute * MINUTE, "s")


def test_what_changed_comes_first() -> None:
    random = np.random.default_rng(3)
    same, level, spread = random.normal(size=(3, 300))
    level[240:] += 4
    spread[240:] *= 6
    was_constant = np.where(np.arange(300) < 240, 1.0, random.normal(size=300))
    rows = given_rows(same, level, spread, np.full(300, 2.0), was_constant)
    times, found = changed(rows, start=at(240), end=at(300))
    scores = {column: float(found[f"{column}.score:"][0]) for column in "abcde"}
    assert times == [at(300)]
    assert scores["d"] == 0
    assert scores["e"] > scores["b"] > 3 * scores["a"]
    assert scores["c"] > 2 * scores["a"]
    assert found["b.mean:%"] - found["b.mean_before:%"] == pytest.approx(4, abs=0.5)
    assert found["c.spread:%"] / found["c.spread_before:%"] == pytest.approx(6, rel=0.3)


def test_what_stands_still_as_it_did_before_did_not_change() -> None:
    """A lamp that was switched once in the spans before, and is off in this one as in most of them."""
    minutes = np.arange(300)
    lamp, on = np.where(minutes < 40, 1.0, 0.0), np.where(minutes < 240, 0.0, 1.0)
    _, found = changed(given_rows(lamp, on), start=at(240), end=at(300))
    assert found["a.score:"][0] < 3
    assert found["b.score:"][0] == 1000


def test_too_little_to_say_whether_it_changed() -> None:
    rows = given_rows(np.arange(300.0), np.where(np.arange(300) < 298, np.nan, 1.0))
    _, found = changed(rows, start=at(240), end=at(300))
    assert {name.partition(".")[0] for name in found} == {"a"}
    with pytest.raises(ValueError, match="before"):
        changed(rows, start=at(10), end=at(10))


@pytest.mark.slow
def test_changed_as_a_command(collector: Running) -> None:
    lines = ["#source pump", "#columns time flow:l/s heat:C"]
    random = np.random.default_rng(1)
    for minute in range(500):
        heat = random.normal() + (8 if minute >= 400 else 0)
        lines.append(f"{MONDAY + minute * MINUTE} {random.normal():.3f} {heat:.3f}")
    collector.say("\n".join([*lines, "#stats", ""]))
    asked = ["changed", "--from", str(MONDAY + 400 * MINUTE), "--to", str(MONDAY + 500 * MINUTE)]
    first, second = json.loads(collector.run(*asked, "--json", "pump").stdout)
    assert (first["source"], first["column"], first["unit"]) == ("pump", "heat", "C")
    assert first["score"] > 10
    assert second["column"] == "flow"
    assert second["score"] < 5
    assert collector.run(*asked).stdout.splitlines()[1].split()[:2] == ["pump", "heat"]
    nothing = collector.run("changed", "--from", "10m")
    assert (nothing.returncode, nothing.stdout, "enough values" in nothing.stderr) == (0, "", True)
    wrong = collector.run("changed", "--from", "10m", "--to", "20m")
    assert (wrong.returncode, "does not lie before" in wrong.stderr) == (2, True)


# -- normal


def test_normal_knows_the_time_of_day_and_the_weekend() -> None:
    quarter = np.arange(96 * 14)
    busy = (quarter // 96 % 7 < 5) & (quarter % 96 // 4 >= 8) & (quarter % 96 // 4 < 17)
    noise = np.random.default_rng(1).normal(size=len(quarter))
    rows = given_rows(10 + 50 * busy + noise, step=900)
    times, found = normal(rows)  # the next Monday
    assert times[0] == np.datetime64(MONDAY + 14 * DAY, "s")
    assert len(times) == 96
    assert found["a.expected:%"] == pytest.approx(10 + 50 * busy[:96], abs=1.5)
    assert (found["a.low:%"] < found["a.expected:%"]).all()
    assert (found["a.high:%"] - found["a.low:%"]).mean() < 12
    _, holiday = normal(rows, holidays=["2025-12-15"])
    assert holiday["a.expected:%"] == pytest.approx(10, abs=3)
    _, saturday = normal(rows, at=np.datetime64(MONDAY + 12 * DAY, "s"))
    assert saturday["a.expected:%"] == pytest.approx(10, abs=3)


def test_normal_goes_by_the_clock_on_the_wall() -> None:
    """The clocks of Berlin are set back on 2025-10-26: what happens at eight goes on to happen at eight."""
    start = 1_759_881_600  # 2025-10-08
    local = (start + 900 * np.arange(96 * 18) + 2 * HOUR) % DAY // HOUR
    times, found = normal(given_rows(np.where(local == 8, 90.0, 5.0), step=900, start=start), zone="Europe/Berlin")
    high = times[found["a.expected:%"] > 50]
    assert high[0] == np.datetime64("2025-10-26T07:00")
    assert len(high) == 4


def test_normal_needs_a_day_and_a_step_that_divides_it() -> None:
    _, found = normal(given_rows(np.arange(90.0), step=900))
    assert found == {}
    with pytest.raises(ValueError, match="divide a day"):
        normal(given_rows(np.arange(90.0)), step="7h")


# -- strange


def told(rows: Given, **options: Any) -> dict[int, float]:
    """The minutes at which column `a` was strange, and its scores."""
    times, found = strange(rows, {}, **options)
    at = (times.astype(np.int64) // 10**9 - MONDAY) // MINUTE - 1
    return {int(minute): float(score) for minute, score in zip(at, found["a.score:"], strict=True) if score >= 1}


def days(count: int, seed: int = 1) -> Any:
    at = np.arange(count * 1440)
    noise = np.random.default_rng(seed).normal(size=len(at))
    return 50 + 20 * np.sin(2 * np.pi * at / 1440) + np.clip(noise, -2.5, 2.5)


@pytest.mark.slow
def test_a_spike_is_told_once() -> None:
    values = days(5)
    values[6000:6030] += 60
    assert list(told(given_rows(values), by=["record"])) == [6000]


@pytest.mark.slow
def test_the_right_value_at_the_wrong_time() -> None:
    values = days(6)
    values[8000:8060] = 50 - (values[8000:8060] - 50)  # as half a day later
    found = told(given_rows(values))
    assert {minute for minute in found if minute > 7900} <= {*range(8000, 8060)}
    assert len([minute for minute in found if minute > 7900]) > 1
    assert not told(given_rows(values), by=["record"])


@pytest.mark.slow
def test_a_column_that_is_stuck() -> None:
    values = days(3)
    values[2000:2005] = values[2000]
    values[3000:3100] = values[3000]
    assert list(told(given_rows(values), by=["stuck"])) == [3019]
    steps = np.repeat(np.arange(50.0), 60)  # a column that always stands still for an hour
    assert not told(given_rows(steps), by=["stuck"])


@pytest.mark.slow
def test_a_lasting_shift_of_a_column_that_asked_for_it() -> None:
    noise = np.random.default_rng(2).normal(size=6000)
    noise[5000:] += 2.5
    found = told(given_rows(noise), by=[], cusum=["a"])
    assert len(found) == 1
    assert min(found) in range(5001, 5100)
    assert not told(given_rows(noise), by=[], cusum=["b*"])
    with pytest.raises(ValueError, match="expected record, profile, stuck"):
        strange(given_rows(noise), {}, by=["records"])


@pytest.mark.slow
def test_strange_columns_counts_those_of_the_last_minutes() -> None:
    columns = [days(4, seed) for seed in range(3)]
    for number, column in enumerate(columns):
        column[5000 + 4 * number : 5040] += 80
    _, found = strange(given_rows(*columns), {}, by=["record"])
    counts = found["strange_columns:"]
    assert [counts[minute] for minute in (4999, 5000, 5004, 5009, 5010, 5018)] == [0, 1, 2, 3, 2, 0]


@pytest.mark.slow
@settings(deadline=None, max_examples=examples(10))
@given(st.lists(st.integers(1, 1500), max_size=8), st.integers(0, 100))
def test_strange_is_the_same_however_rows_come(cuts: list[int], seed: int) -> None:
    random = np.random.default_rng(seed)
    values = random.normal(size=(1500, 2)) + 30 * (random.random((1500, 2)) < 0.004)
    values[random.random((1500, 2)) < 0.1] = np.nan
    rows = given_rows(*values.T, step=300)
    _, whole = strange(rows, {}, step="10m")
    state: dict[str, Any] = {}
    pieces = []
    edges = [0, *sorted(set(cuts)), 1500]
    for start, end in pairwise(edges):
        pieces.append(strange(rows.part(start, end), state, step="10m")[1])
        state = {name: np.array(kept) if isinstance(kept, np.ndarray) else kept for name, kept in state.items()}
    for name, expected in whole.items():
        np.testing.assert_array_equal(np.concatenate([piece[name] for piece in pieces]), expected)


@pytest.mark.slow
def test_the_state_of_strange_can_be_kept_and_columns_may_come_and_go() -> None:
    """It is JSON and arrays, and below 1 MB for 60 columns."""
    values = days(4)
    state: dict[str, Any] = {}
    strange(given_rows(values[:3000], values[:3000]), state)
    assert sum(kept.nbytes for kept in state.values() if isinstance(kept, np.ndarray)) / 2 * 60 < 1e6
    json.dumps({name: kept for name, kept in state.items() if not isinstance(kept, np.ndarray)})
    spiked = values[3000:5000].copy()
    spiked[1500] += 80
    more = given_rows(spiked, spiked, values[:2000], start=MONDAY + 3000 * MINUTE)
    _, found = strange(more, state, by=["record"])
    assert [(found[f"{column}.score:"] >= 1).sum() for column in "abc"] == [1, 1, 0]
    one = Given(more.time + np.timedelta64(2000, "m"), more.values[:, :1])
    assert list(strange(one, state)[1]) == ["a.score:", "strange_columns:"]


@pytest.mark.slow
def test_values_that_come_late_or_never_are_left_out() -> None:
    values = days(3)
    rows = given_rows(values)
    late = Given(rows.time.copy(), rows.values.copy())
    late.time[4000], late.values[4000] = late.time[100], 1e9
    assert not told(late, by=["record"])
    assert strange(rows.part(0, 0), {})[1]["a.score:"].size == 0


# -- the scorers of `make bench-analysis`


def scored(found: Sequence[int], windows: list[tuple[int, int]], profile: str = "standard") -> float:
    data = {"f": nab.Series(300.0 * np.arange(1000.0), np.zeros(1000), windows)}
    flags = np.zeros(1000)
    flags[list(found)] = 1.0
    return nab.score(data, {"f": flags}, profile, level=1.0)[0]


def test_nabs_score_by_its_definition() -> None:
    windows = [(400, 449), (700, 749)]
    assert scored([], windows) == 0
    assert scored([400, 700], windows) == pytest.approx(100, abs=1)
    assert scored([400], windows) == pytest.approx(50, abs=1)
    assert scored([449, 749], windows) < 55  # at the last moment
    assert scored([400, 700, 600], windows) == pytest.approx(scored([400, 700], windows) - 100 * 0.11 / 4, abs=0.1)
    assert scored([400, 401, 402], windows) == scored([400], windows)  # of a window one counts
    assert scored([50], windows) == 0  # on probation
    assert scored([400, 600], windows, "low FP") < scored([400, 600], windows)
