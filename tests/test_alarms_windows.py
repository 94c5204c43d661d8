"""What the language's functions give, against the same said plainly; and estimates of when a disk is full."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from linemon.config import Config
from linemon.errors import ConfigError
from linemon.parts.alarms import language
from linemon.parts.alarms.judged import Judged
from linemon.parts.alarms.rules import Rule, make, matcher
from linemon.parts.alarms.telling import Telling, is_quiet
from linemon.parts.alarms.windows import Cells, Floats, eta
from linemon.sections import QuietConfig

S = 10**9
HOUR = 3600 * S
SPAN = 60  # seconds, of the windows below


@dataclass
class Seen:
    """A rule on made up rows: what its value was at each."""

    text: str
    columns: tuple[str, ...] = ("v", "w")
    values: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        said = {"name": "a", "columns": "v", "value": self.text, "warning": "> 1e300", "no_data_after": "1m"}
        self.rule: Rule = make("a", said, (), Config())
        telling = Telling(lambda event: None, lambda key: None)
        self.judged = Judged("s", self.columns, ("%",) * len(self.columns), [self.rule], telling)

    def rows(self, times: list[float], values: list[list[float]]) -> list[float]:
        """One after the other; the value at each row."""
        for time, row in zip(times, values, strict=True):
            at = round(time * S)
            self.judged.rows(np.array([at]), np.array([row]), at)
            instance = self.judged.groups[0].instances[0]
            self.values.append(instance.value if instance else math.nan)
        return self.values


def plainly(function: str, times: list[float], values: list[float], i: int) -> float:
    """The function over the window that ends at row `i`; nan where it is not known."""
    window = [(t, v) for t, v in zip(times, values, strict=True) if times[i] - SPAN < t <= times[i] and v == v]
    samples = [v for _, v in window]
    if function == "count":
        return len(samples)
    if not samples or times[i] - times[0] < SPAN / 2:
        return math.nan
    if function in ("min", "max"):
        return min(samples) if function == "min" else max(samples)
    if function == "sum":
        return sum(samples)
    if function == "mean":
        return sum(samples) / len(samples)
    if function == "median":
        return float(np.median(samples))
    if function == "p":
        return float(np.percentile(samples, 90))
    if function == "change":
        return samples[-1] - samples[0]
    if function == "std":
        return math.nan if len(samples) < 2 else float(np.std(samples, ddof=1))
    if len(samples) < 2 or any(b < a for a, b in pairwise(samples)):
        return math.nan
    return (samples[-1] - samples[0]) / (window[-1][0] - window[0][0])


@given(
    st.sampled_from(["min", "max", "mean", "sum", "count", "median", "std", "p", "change", "rate"]),
    st.lists(st.tuples(st.sampled_from([1, 5, 20, 70]), st.integers(0, 5)), min_size=1, max_size=30),
)
def test_windows(function: str, steps: list[tuple[int, int]]) -> None:
    """Of (t - span, t], every finite sample; 5 stands for a missing one."""
    times = list(np.cumsum([gap for gap, _ in steps]).astype(float))
    values = [math.nan if value == 5 else float(value) for _, value in steps]
    call = f"{function}({'90, ' if function == 'p' else ''}{SPAN}s)"
    found = Seen(f"0 + {call}").rows(times, [[value, 1.0] for value in values])  # 0 +: no row is let pass
    for i, value in enumerate(values):
        if value == value:  # a row without a value is none of the instance's
            first = next(j for j, each in enumerate(values) if each == each or j == i)
            wanted = plainly(function, times, values, i)
            assert first <= i
            assert found[i] == pytest.approx(wanted, nan_ok=True), (i, times, values)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("last() + 2 * 3", 16.0),
        ("(last() + 2) * -3", -36.0),
        ("last() / last('w')", 2.5),
        ("last() / (last('w') - 4)", math.nan),
        ("last() - last('none')", math.nan),
        ("max(last(), -last())", 10.0),
        ("min(last(), last('w'))", 4.0),
        ("1.5e1 - .5", 14.5),
        ("max(1m) + max(1m, 'w')", math.nan),
    ],
)
def test_expressions(text: str, wanted: float) -> None:
    assert Seen(text).rows([100], [[10.0, 4.0]])[0] == pytest.approx(wanted, nan_ok=True)


@pytest.mark.parametrize(
    ("text", "values", "level"),
    [
        ("last('w') > 3", (99, 4), 1),
        ("last('w') > 3", (99, 2), 0),
        ("last('none') > 3", (99, 4), -1),
        ("last('none') > 3 or last('w') > 3", (99, 4), 1),
        ("last('none') > 3 and last('w') > 3", (99, 2), 0),
        ("last('w') > 3 and last('w') < 5 or last('w') == 9", (99, 9), 1),
        ("last('w') < last()", (99, 9), 1),
    ],
)
def test_only_if(text: str, values: tuple[float, float], level: int) -> None:
    """False is as if clear; what is not known decides nothing that does not depend on it."""
    said = {"name": "a", "columns": "v", "warning": "> 90", "only_if": text}
    judged = Judged("s", ("v", "w"), ("", ""), [make("a", said, (), Config())], Telling(lambda e: None, lambda k: None))
    judged.rows(np.array([S]), np.array([values], float), S)
    [(_, instance)] = list(judged)
    assert (instance.state, instance.last_unknown) == ("firing" if level == 1 else "ok", level < 0)


@pytest.mark.slow
@given(st.text(max_size=40))
def test_whatever_is_written_is_parsed_or_refused(text: str) -> None:
    for parse in (language.parse_value, language.parse_tests, language.Limit.parse):
        with suppress(ConfigError):
            parse(text)


def test_patterns_take_as_little_as_they_can() -> None:
    assert matcher("fs.*.used_pct").fullmatch("fs./.used_pct").groups() == ("/",)  # type: ignore[union-attr]
    assert matcher("a*b*").fullmatch("a1b2b3").groups() == ("1", "2b3")  # type: ignore[union-attr]
    assert not matcher("cpu.[!0]").fullmatch("cpu.0")


@dataclass
class Tiers:
    """A history of minutes of one column."""

    minutes: Floats
    end: int

    def rows(self, begin: int, end: int, places: Cells) -> None:
        return None

    def told(self, task: str) -> None:
        return None

    def buckets(self, begin: int, end: int, places: Cells, points: int) -> tuple[Cells, Floats, int]:
        starts = self.end - 60 * S * np.arange(len(self.minutes), 0, -1)
        some = (starts >= begin) & (starts < end)
        values = self.minutes[some]
        return starts[some], np.stack([values, values, values, np.ones(len(values))])[:, None], int(starts[0])


def full_in(minutes: Any) -> float:
    past = Tiers(np.asarray(minutes, float), 10**6 * HOUR)
    return float(eta(past, np.array([0]), past.end, 100.0)[0])


def test_when_a_disk_is_full() -> None:
    """A leak is; what is filled and emptied each night is not; of a day that is not over, nothing is known."""
    hours = np.arange(31 * 60) / 60
    assert full_in(50 + hours) == pytest.approx(19, abs=0.5)
    nightly = 60 + 10 * (hours % 24 < 4) + np.where(hours % 24 < 4, 2.5 * (hours % 24), 0)
    assert full_in(nightly) == math.inf
    assert full_in(np.full(len(hours), 80.0)) == math.inf
    assert full_in(90 - hours) == math.inf
    assert math.isnan(full_in((50 + hours)[:600]))


@pytest.mark.parametrize(
    ("said", "at", "level", "waits"),
    [
        ({}, "2026-11-25T21:59:00Z", 1, False),
        ({}, "2026-11-25T22:00:00Z", 1, True),
        ({}, "2026-11-26T06:59:00Z", 1, True),
        ({}, "2026-11-26T07:00:00Z", 1, False),
        ({}, "2026-11-25T23:00:00Z", 2, False),
        ({"below": "all"}, "2026-11-25T23:00:00Z", 2, True),
        ({"days": "mon-fri"}, "2026-11-28T06:00:00Z", 1, True),  # Saturday morning: the night began on Friday
        ({"days": "mon-fri"}, "2026-11-28T23:00:00Z", 1, False),
        ({"days": "sat,sun"}, "2026-11-28T23:00:00Z", 1, True),
        ({"from_": "12:00", "to": "12:00", "days": "sat"}, "2026-11-29T11:00:00Z", 1, True),  # 24 hours
        ({"zone": "Europe/Berlin"}, "2026-11-25T21:30:00Z", 1, True),
        ({"zone": "Europe/Berlin", "from_": "02:00", "to": "03:00"}, "2026-10-25T00:30:00Z", 1, True),  # it comes twice
        ({"zone": "Europe/Berlin", "from_": "02:00", "to": "03:00"}, "2026-10-25T01:30:00Z", 1, True),
    ],
)
def test_quiet_hours(said: dict[str, str], at: str, level: int, waits: bool) -> None:
    quiet = QuietConfig(**{"from_": "22:00", "to": "07:00", "zone": "UTC"} | said)
    at_s = int(np.datetime64(at.removesuffix("Z"), "s").astype(int))
    assert is_quiet(quiet, at_s, level) == waits
