"""The machine of alarms: the worked examples, and random traces against the model (alarms_model.py).

What is driven is all of it but for the store: rules from their texts, windows, instances.
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

from linemon.config import Config
from linemon.parts.alarms.judged import Judged
from linemon.parts.alarms.machine import Instance
from linemon.parts.alarms.rules import Rule, make
from linemon.sections import AlarmsConfig, Span
from tests import alarms_model as model

S = 10**9
NAMES = ("ok", "warning", "critical")
Row = tuple[float, float | None, float]  # time, value, arrival


@dataclass
class Desk:
    """Whom instances tell: it keeps it, in the model's words. `quiet`: spans in which messages wait."""

    quiet: tuple[tuple[float, float], ...] = ()
    started: int | None = None
    said: list[tuple[float, str]] = field(default_factory=list)
    keys: list[tuple[int, int]] = field(default_factory=list)  # start of the incident, seq

    def held(self, instance: Instance, kind: str, level: int, w: int) -> str | None:
        return "quiet" if any(start * S <= w < end * S for start, end in self.quiet) else None

    def told(self, instance: Instance, start: int) -> None:
        return None

    def number(self) -> int:
        return 1

    def changed(self, instance: Instance, kind: str, w: int) -> None: ...

    def say(self, instance: Instance, kind: str, level: int, start: int, w: int) -> bool:
        self.keys.append((start, instance.seq))
        text = kind
        if kind in ("warning", "critical"):
            text = f"{kind} since {start / S:g}"
        elif kind == "still":
            text = f"still {NAMES[level]} since {instance.start / S:g}"
        elif kind == "ok":
            text = (
                "ok, no longer flapping" if instance.told < 0 else f"ok after {(instance.end - instance.start) / S:g}"
            )
        self.said.append((w / S, text))
        return True


class Alarm(model.Alarm):  # type: ignore[misc]
    """The model's, which keeps what it was made from."""

    def __init__(self, *limits: str, **more: Any) -> None:
        self.said = dict(zip(("warning", "critical"), limits, strict=False)) | more
        super().__init__(*limits, **more)


def rule_of(said: dict[str, Any], is_plain: bool = False) -> Rule:
    """The rule of these arguments of the model's `Alarm`. `is_plain`: of values that are all known."""
    said = {"no_data_after": "1m"} | said
    said["for"] = said.pop("for_", "0s")
    late, flap_quiet = (Span.parse(said.pop(key, span)) for key, span in (("late", "1m"), ("flap_quiet", "30m")))
    alarms = AlarmsConfig(flap=said.pop("flap", 4), late=late, flap_quiet=flap_quiet)
    said = {key: each for key, each in said.items() if each is not None and key != "quiet"}
    if said.get("value") != "age()":
        has_columns = said.pop("columns", True)
        said["value"] = ("last()" if is_plain else "last() / last('one')") if has_columns else "mean(1s, 'v')"
        if has_columns:
            said["columns"] = "v"
    return make("a", {"name": "a"} | said, (), Config(alarms=alarms))


def cells(row: Row) -> tuple[float, float]:
    """The columns v and one: the value of the alarm is v/one, not known where that is 0."""
    value = row[1]
    if value is None:
        return math.nan, 1.0
    return (1.0, 0.0) if math.isnan(value) else (value, 1.0)


def play(
    said: dict[str, Any], rows: list[Any], until: float | None = None, restart: Any = None, deaf: Any = None
) -> tuple[list[tuple[float, str]], Desk]:
    """As `alarms_model.play` does."""
    is_plain = not any(row[1] is not None and math.isnan(row[1]) for row in rows)  # then rows may pass without judging
    rule, quiet = rule_of(said, is_plain), tuple(said.get("quiet", ()))
    by_one = (
        said.get("columns") is False
    )  # each row is read by itself, else it would lie in the windows of all of its time
    queue: list[Row] = sorted(((*row, row[0])[:3] for row in rows), key=lambda row: (row[2], row[0]))
    desk = Desk(quiet)
    judged = judged_of(rule, desk)
    w, end = queue[0][2], until or queue[-1][2]
    past: list[Row] = []
    desk.started = round(w * S)
    while w <= end:
        if restart and restart[0] <= w < restart[1]:
            saved = json.loads(json.dumps([[each.save() for each in group] for group in judged.groups]))
            desk, down = Desk(quiet, round(restart[1] * S), desk.said, desk.keys), w
            w = restart[1]
            judged = judged_of(rule, desk)
            if past:
                judged.load(*arrays(past), round((down - 1) * S))  # its last turn
            if saved[0]:
                judged.groups[0].instance(0).load(saved[0][0])
                judged.arrived = saved[0][0].get("last_arrival")
        came = []
        while queue and queue[0][2] <= w:
            came.append(queue.pop(0))
            if by_one or not queue or queue[0][2] > w:
                judged.rows(*arrays(came), round(w * S))
                past += came
                came = []
        judged.tick(round(w * S), not (deaf and deaf[0] <= w < deaf[1]))
        w += 1
    return desk.said, desk


def judged_of(rule: Rule, desk: Desk) -> Judged:
    return Judged("s", ("v", "one"), ("%", ""), [rule], desk, begin=-(10**15))


def arrays(rows: list[Row]) -> tuple[Any, Any]:
    return np.array([round(row[0] * S) for row in rows]), np.array([cells(row) for row in rows])


@pytest.mark.parametrize(
    ("name", "alarm", "arguments", "told"), model.EX, ids=[each[0].split()[0] for each in model.EX]
)
def test_worked_examples(name: str, alarm: Any, arguments: dict[str, Any], told: list[str]) -> None:
    """Each example of the contract: what is told, and when."""
    said, _ = play(SAID[name], **arguments)
    assert [f"{w:g} {text}" for w, text in said] == told


def _made(name: str) -> dict[str, Any]:
    """The arguments of an example's alarm, from its text."""
    text = next(line for line in Path(model.__file__).read_text().splitlines() if f'"{name}"' in line)
    return dict(eval(text[text.index("Alarm(") :].split(", dict(")[0], {"Alarm": lambda *a, **k: Alarm(*a, **k).said}))


SAID = {each[0]: _made(each[0]) for each in model.EX}


def test_a_row_is_judged_after_a_silence() -> None:
    """What the clock began, while rows passed without being judged, a good row ends."""
    said = {"warning": "> 90", "no_data": "alarm", "no_data_after": "30s"}
    rows = [(0, 50, 0), (10, 50, 0), (20, 50, 0), (31, 50, 31)]
    assert play(said, rows, 40)[0] == [(30, "warning since 20"), (31, "ok after 11")]


def test_a_row_stamped_ahead_whose_time_comes_while_the_part_is_away() -> None:
    rows = [(t, 50, t) for t in range(0, 890, 10)] + [(899, 95, 299)]
    assert play({"warning": "> 90"}, rows, 950, restart=(899, 900))[0] == [(900, "warning since 899")]


@pytest.mark.parametrize(
    "rows",
    [
        [(0, 50), (10, 50)],
        [(0, 95), (10, math.nan)],
        [(0, math.nan)],
        [],
    ],
    ids=["known", "unknown at last", "never known", "no row"],
)
def test_what_is_saved_is_what_there_was(rows: list[tuple[float, float]]) -> None:
    """Also of how the newest value and the newest known one differ, which is saved only where they do."""
    judged = judged_of(rule_of({"warning": "> 90"}), Desk(started=0))
    instance = judged.groups[0].instance(0)
    for t, value in rows:
        judged.rows(*arrays([(t, value, t)]), round(t * S))
    saved = json.loads(json.dumps(instance.save()))
    other = judged_of(rule_of({"warning": "> 90"}), Desk(started=0)).groups[0].instance(0)
    other.load(saved)
    assert [getattr(other, name) for name in Instance.KEPT] == [getattr(instance, name) for name in Instance.KEPT]
    assert ("last_known" in saved) == any(math.isnan(value) for _, value in rows)


class Fuller(model.Instance):  # type: ignore[misc]
    """The model, with what the contract says beyond it.

    Flapping that begins in quiet hours is said after them, a critical level while flapping once; repeats rest while
    stale; a column that goes away while its source lives (an unmounted disk) ends.
    """

    state: str
    changes: Any
    flapping: bool
    told: int
    alive: float | None = None
    flap_said = critical_said = gone = False

    def row(self, t: float, value: float | None, w: float) -> None:
        self.alive = w
        super().row(t, value, w)

    def _no_data(self, w: float) -> None:
        super()._no_data(w)
        lives = self.alive is not None and w - self.alive < 10
        if lives and self.alarm.no_data == "keep":
            incident = self.state in ("firing", "clearing")
            self.state, self.since, self.gone = "ok", [None, None], True
            if incident:
                self._become("ok", 0, w, end=w)

    def _become(self, state: str, level: int, w: float, **times: float) -> None:
        self.gone = self.gone and "start" not in times
        super()._become(state, level, w, **times)

    def _tell(self, w: float) -> None:
        now = self.level if self.state in ("firing", "clearing") else 0
        changes = [x for x in self.changes if x > w - self.alarm.flap_in]
        is_flapping = self.flapping and changes and w - changes[-1] < self.alarm.flap_quiet
        if not self.catching and is_flapping:
            self.changes = changes
            if not self.flap_said:
                self.flap_said = self._say(w, "flapping", "flapping", now)
            elif now == 2 and not self.critical_said:
                self.critical_said = self._say(w, f"critical since {self.start:g}", "critical", 2)
            self.told = -1 if self.flap_said else self.told
            return
        if not self.catching and not self.flapping and len(changes) >= self.alarm.flap:
            self.flapping, self.changes, self.critical_said = True, changes, False
            self.flap_said = self._say(w, "flapping", "flapping", now)
            self.critical_said = self.flap_said and now == 2
            self.told = -1 if self.flap_said else self.told
            return
        repeat, self.alarm.repeat = self.alarm.repeat, None if self.stale else self.alarm.repeat
        super()._tell(w)
        self.alarm.repeat = repeat

    def _say(self, w: float, text: str, event: str, level: int) -> bool:
        return bool(super()._say(w, "gone" if event == "ok" and self.gone and self.told > 0 else text, event, level))


limits = st.sampled_from([("> 90",), ("> 90", "> 98"), ("> 90", "< 60"), (None, "> 98")])
alarms = st.fixed_dictionaries(
    {
        "for_": st.sampled_from(["0s", "0s", "20s", "60s", "400s"]),
        "keep": st.sampled_from(["0s", "0s", "30s", "6m"]),
        "no_data": st.sampled_from(["keep", "ok", "alarm"]),
        "no_data_after": st.sampled_from(["30s", "1m", "1h"]),
        "flap_quiet": st.sampled_from(["2m", "10m"]),
    },
    optional={
        "clear": st.sampled_from(["< 85", "<= 62"]),
        "repeat": st.sampled_from(["60s", "5m"]),
        "quiet": st.lists(st.tuples(st.integers(0, 500), st.integers(500, 1500)), min_size=1, max_size=2),
        "value": st.just("age()"),
    },
)
lines = st.lists(
    st.tuples(
        st.sampled_from([0, 1, 5, 10, 10, 10, 10, 30, 60, 250, 299, 400]),  # seconds after the one before
        st.sampled_from([50.0, 61.0, 80.0, 88.0, 95.0, 95.0, 99.0, None, math.nan]),
        st.sampled_from([0, 0, 0, 0, 0, 0, 2, 70, 300, 301, 900, -100, -600]),  # seconds that it takes to come
        st.integers(1, 6),  # so many of them, ten seconds apart
    ),
    min_size=1,
    max_size=25,
)


@settings(max_examples=int(os.environ.get("ALARMS_TRACES", "150")), deadline=None)
@given(
    limits,
    alarms,
    lines,
    st.none() | st.tuples(st.integers(1, 900), st.integers(1, 300)),
    st.none() | st.tuples(st.integers(1, 900), st.integers(1, 300)),
    st.booleans(),
)
@pytest.mark.slow
def test_random_traces_against_the_model(said: Any, more: Any, steps: Any, down: Any, deaf: Any, known: bool) -> None:
    """Rows late, ahead, missing, of unknown values; the part restarted, the collector silent: both tell the same."""
    if more.get("value") == "age()":
        said, more = tuple(each and f"> {each[2:]}" for each in said), {**more, "clear": None}
    try:
        alarm = Alarm(*said, **more)
    except ValueError:  # clear overlaps a level
        return
    rows, at = [], 0.0
    for gap, value, delay, count in steps:
        at += gap
        value = None if known and value is not None and math.isnan(value) else value
        for _ in range(count):
            rows.append((at, value, max(0.0, at + delay)))
            at += 10.0
    spans = [each and (each[0], each[0] + each[1]) for each in (down, deaf)]
    if spans[0]:  # what came while the part was away is one read
        rows = [(t, v, float(spans[0][1]) if spans[0][0] <= came < spans[0][1] else came) for t, v, came in rows]
    wanted = replay(alarm, rows, *spans)
    got, desk = play(alarm.said, rows, at + 100, *spans)
    note(f"{alarm.said} {rows} {spans}")
    assert [f"{w:g} {text}" for w, text in got] == [f"{w:g} {text}" for w, text in wanted]
    assert len(set(desk.keys)) == len(desk.keys)  # no two messages have the same key and number


def replay(alarm: Any, rows: list[Row], restart: Any, deaf: Any) -> list[tuple[float, str]]:
    """The model's play, of rows in order of arrival and then of time, until 100 s after the last."""
    instance, model.Instance = model.Instance, Fuller
    try:
        end = max(row[0] for row in rows) + 10 + 100
        told: list[tuple[float, str]] = model.play(alarm, sorted(rows), end, restart, deaf)[0]
        return told
    finally:
        model.Instance = instance
