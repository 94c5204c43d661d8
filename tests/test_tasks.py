"""When tasks are due, what a [[task]] may say, what a function may give: by vectors and properties, without processes.

tests/programs/test_tasks.py runs them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from linemon.cli.tasks import arrows
from linemon.config import Config, load
from linemon.errors import ConfigError
from linemon.parts.tasks.giving import Given, TaskError, checked, fitted, text_of, without_told
from linemon.parts.tasks.keeping import NotKept, packed, unpacked
from linemon.parts.tasks.plan import check, feeds, tasks
from linemon.parts.tasks.schedule import Schedule
from linemon.parts.tasks.turns import Due, Record, Turns
from linemon.sections import Span
from linemon.store.rows import Rows
from linemon.tasks import groups, kind, task
from tests.running import Running

S = 10**9
ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "Asia/Kathmandu", "UTC")


def ns(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp()) * S


def iso(at: int) -> str:
    return datetime.fromtimestamp(at / S, UTC).strftime("%Y-%m-%dT%H:%MZ")


# -- when


@pytest.mark.parametrize(
    ("when", "zone", "after", "next_"),
    [
        ("daily at 02:30", "Europe/Berlin", "2026-01-05T12:00Z", "2026-01-06T01:30Z"),
        ("daily at 02:30", "Europe/Berlin", "2026-03-28T12:00Z", "2026-03-29T01:00Z"),  # 02:30 is skipped: 03:00
        ("daily at 02:30", "Europe/Berlin", "2026-03-29T01:00Z", "2026-03-30T00:30Z"),
        ("daily at 02:10,02:50", "Europe/Berlin", "2026-03-29T01:00Z", "2026-03-30T00:10Z"),  # both are one
        ("daily at 02:30", "Europe/Berlin", "2026-10-24T12:00Z", "2026-10-25T00:30Z"),  # comes twice: the first
        ("daily at 02:30", "Europe/Berlin", "2026-10-25T00:30Z", "2026-10-26T01:30Z"),  # and not the second
        ("daily at 02:15", "Australia/Lord_Howe", "2026-10-03T12:00Z", "2026-10-03T15:30Z"),  # by half an hour
        ("daily at 02:30", "Pacific/Apia", "2011-12-29T13:00Z", "2011-12-30T10:00Z"),  # a day that never was
        ("mon,thu at 18:00", "UTC", "2026-11-26T18:00Z", "2026-11-30T18:00Z"),
        ("mon-fri at 08:00,18:00", "UTC", "2026-11-27T08:00Z", "2026-11-27T18:00Z"),
        ("fri-mon at 08:00", "UTC", "2026-11-30T08:00Z", "2026-12-04T08:00Z"),
        ("every 10m", "", "2026-11-26T18:00Z", "2026-11-26T18:10Z"),
        ("every 7m", "", "1970-01-01T00:00Z", "1970-01-01T00:07Z"),
    ],
)
def test_the_next_time(when: str, zone: str, after: str, next_: str) -> None:
    assert iso(Schedule(when, zone).next(ns(after))) == next_


@pytest.mark.parametrize(
    "when", ["", "hourly", "every", "every 9s", "every x", "daily", "daily at 24:00", "mom at 08:00", "mon at 8:00",
             "Daily at 08:00", "daily at 08:00,", "daily at 08:00 UTC"],
)  # fmt: skip
def test_what_is_no_time(when: str) -> None:
    with pytest.raises(ConfigError, match="expected"):
        Schedule(when, "UTC")


@given(
    st.sampled_from(ZONES),
    st.integers(0, 23),
    st.integers(0, 59),
    st.integers(ns("2000-01-01T00:00Z") // S, ns("2037-01-01T00:00Z") // S),
)
def test_each_day_has_one(zone: str, hour: int, minute: int, begin: int) -> None:
    """Of any week, changes of the clock or not: one due time a day, in order, and none that is not the one before."""
    schedule = Schedule(f"daily at {hour:02}:{minute:02}", zone)
    after = begin * S
    week = after + 7 * 86400 * S
    found = [after]
    while found[-1] <= week:
        found.append(schedule.next(found[-1]))
    gaps = np.diff(found[1:]) / S / 3600
    assert ((gaps >= 21) & (gaps <= 49)).all()  # a day never was in Apia
    assert schedule.turns(after, week) == (len(found) - 2, found[-2] if len(found) > 2 else 0)
    place = ZoneInfo(zone)
    for at in found[1:-1]:
        wall = datetime.fromtimestamp(at // S, place)
        there = datetime.combine(wall.date(), datetime.min.time()).replace(hour=hour, minute=minute)
        is_skipped = (
            datetime.fromtimestamp(there.replace(tzinfo=place).timestamp(), UTC).astimezone(place).replace(tzinfo=None)
            != there
        )
        assert (wall.hour, wall.minute) == (hour, minute) or is_skipped or wall.hour == 0
        assert wall.fold == 0


@given(st.integers(10, 10**6), st.integers(0, 2 * 10**18), st.integers(0, 10**16))
def test_every_span_is_counted_from_the_epoch(span: int, after: int, more: int) -> None:
    schedule = Schedule(f"every {span}s")
    assert schedule.next(after) % (span * S) == 0
    assert 0 < schedule.next(after) - after <= span * S
    count, last = schedule.turns(after, after + more)
    assert count == (after + more) // (span * S) - after // (span * S)
    assert not count or after < last <= after + more


# -- which are due


class Clock:
    """Tasks of linemon.toml at a clock that the test sets."""

    def __init__(self, tmp_path: Path, text: str, now: str) -> None:
        self.config = configured(tmp_path, text)
        self.at, self.elapsed = ns(now), 0
        self.records: dict[str, Record] = {}
        self.start()

    def start(self) -> None:
        """Again, as after a restart."""
        found = tasks(self.config)
        self.records = {each.name: Record.load(self.records.get(each.name, Record()).save()) for each in found}
        self.turns = Turns(found, self.records, self.at, self.elapsed)

    def go(self, seconds: int, *busy: str, end: bool = True) -> list[Due]:
        self.at, self.elapsed = self.at + seconds * S, self.elapsed + seconds * S
        found = self.turns.due(self.at, self.elapsed, busy)
        for due in found:
            self.records[due.task.name].running = None if end else due.at
        return found


def configured(tmp_path: Path, text: str) -> Config:
    file = tmp_path / "linemon.toml"
    file.write_text(f'[store]\npath = "{tmp_path}/store"\n{text}')
    return load(file)


def said(name: str, when: str = "every 10m", run: str = "linemon:normal", more: str = "") -> str:
    return f'[[task]]\nname = "{name}"\nrun = "{run}"\ninputs = ["*:*"]\nwhen = "{when}"\nzone = "UTC"\n{more}\n'


def test_a_new_task_waits_for_its_time(tmp_path: Path) -> None:
    clock = Clock(tmp_path, said("a", "daily at 02:30"), "2026-11-26T12:00Z")
    assert clock.go(3600) == []
    [due] = clock.go(13 * 3600 + 1800)
    assert (iso(due.at), due.missed) == ("2026-11-27T02:30Z", 0)
    assert clock.go(1) == []
    assert clock.records["a"].missed == 0


def test_what_was_missed_is_one_run(tmp_path: Path) -> None:
    clock = Clock(tmp_path, said("a"), "2026-11-26T12:00Z")
    assert len(clock.go(600)) == 1
    clock.at, clock.elapsed = clock.at + 3 * 3600 * S + 120 * S, 5  # the machine was down for three hours
    clock.start()
    [due] = clock.go(0)
    assert (iso(due.at), due.missed) == ("2026-11-26T15:10Z", 18)
    assert clock.go(1) == []
    assert clock.records["a"].missed == 18


def test_a_restart_misses_nothing_that_was_not_due(tmp_path: Path) -> None:
    clock = Clock(tmp_path, said("a"), "2026-11-26T12:00Z")
    clock.go(600)
    clock.start()
    assert clock.go(1) == []
    assert clock.records["a"].missed == 0


def test_a_run_that_was_killed_is_made_again(tmp_path: Path) -> None:
    """For the same due time, so that what it gives has the same numbers."""
    clock = Clock(tmp_path, said("a"), "2026-11-26T12:00Z")
    [first] = clock.go(600, end=False)
    clock.start()
    [again] = clock.go(5)
    assert again.at == first.at
    assert again.missed == 0


def test_another_schedule_is_planned_anew(tmp_path: Path) -> None:
    clock = Clock(tmp_path, said("a", "daily at 02:30"), "2026-11-26T12:00Z")
    clock.config = configured(tmp_path, said("a", "daily at 13:00"))
    clock.start()
    assert [iso(due.at) for due in clock.go(3600)] == ["2026-11-26T13:00Z"]


def test_what_still_runs_is_skipped(tmp_path: Path) -> None:
    clock = Clock(tmp_path, said("a"), "2026-11-26T12:00Z")
    assert clock.go(600, "a") == []
    assert clock.records["a"].skipped == 1
    assert len(clock.go(600)) == 1


def test_a_clock_that_is_set(tmp_path: Path) -> None:
    """By more than an hour, to either side: the next turn is found anew, and none is run twice or counted as missed."""
    clock = Clock(tmp_path, said("a"), "2026-11-26T12:00Z")
    clock.go(600)
    clock.at += 86400 * S
    assert clock.go(1) == []
    assert len(clock.go(600)) == 1
    clock.at -= 7200 * S
    assert clock.go(1) == []
    assert clock.go(7000) == clock.go(600) == []
    assert [iso(due.at) for due in clock.go(210)] == ["2026-11-27T12:30Z"]
    assert clock.records["a"].missed == 0


def test_a_machine_that_slept_misses_turns(tmp_path: Path) -> None:
    clock = Clock(tmp_path, said("a"), "2026-11-26T12:00Z")
    [due] = clock.go(8 * 3600)
    assert due.missed == 47
    assert iso(due.at) == "2026-11-26T20:00Z"


# -- what a [[task]] may say


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (said("a:b"), "name = 'a:b': expected 1 to 64 letters"),
        (said("a") + said("a"), "'a': there are two of this name"),
        (said("a", run="linemon:changed"), "run = 'linemon:changed': linemon has strange, normal"),
        (said("a", run="mine"), "run = 'mine': expected 'linemon:normal', 'module:function' or"),
        (said("a", "hourly"), "when = 'hourly': expected 'rows', 'every 10m'"),
        (said("a", "every 5s"), "when = 'every 5s': expected 10s or more"),
        (said("a", "rows"), "when = 'rows': normal expects 'a schedule'"),
        (said("a", run="linemon:strange"), "when = 'every 10m': strange expects 'rows'"),
        (said("a").replace('"*:*"', '"web1"'), "inputs = 'web1': expected SOURCE:COLUMN"),
        (said("a").replace('"*:*"', '"!web1:*"'), "inputs: expected patterns such as"),
        (said("a").replace('"UTC"', '"Mars"'), "zone = 'Mars': expected a zone"),
        (said("a", more='after = ["b"]'), "'a' after: there is no task 'b'"),
        (
            said("a", more='after = ["b"]') + said("b", more='after = ["a"]'),
            "after: a cycle, a -> b -> a",
        ),
        (
            said("a", more='after = ["b"]') + said("b", "rows", "linemon:strange"),
            "after 'b': an online task has no turns",
        ),
        (said("a").replace('"*:*"', '"*~a:*"'), "inputs: a cycle, a -> a"),
        (
            said("a").replace('"*:*"', '"*~b:*"') + said("b").replace('"*:*"', '"*~a:*"'),
            "inputs: a cycle, a -> b -> a",
        ),
        (
            "".join(said(f"t{i}").replace('"*:*"', f'"*~t{i + 1}:*"') for i in range(8)) + said("t8"),
            "more than 8 tasks",
        ),
        (said("a", more="options = 3"), r"options = 3: expected a table"),
        ("[tasks]\nbudget = 2\n", r"budget = 2: expected a number above 0, at most 1"),
        ('[tasks]\ndask = "here"\n', r"dask = 'here': expected an address"),
        (
            '[tasks]\ndask = "tcp://10.0.0.1:8786"\n',
            r"sends code and rows over the net .*: use tls://, or set allow_open",
        ),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says.replace("(", r"\(")):
        tasks(configured(tmp_path, text))


def test_a_cluster_that_may_be_anywhere(tmp_path: Path) -> None:
    for text in (
        'dask = "tls://10.0.0.1:8786"',
        'dask = "tcp://10.0.0.1:8786"\nallow_open = true',
        'dask = "tcp://127.0.0.1:1"',
    ):
        configured(tmp_path, f"[tasks]\n{text}\n")


@pytest.mark.parametrize(
    ("inputs", "source", "columns"),
    [
        (["web*:cpu.*"], "web1", ["cpu.a", "cpu.b"]),
        (["web*:cpu.*", "!web1:*.b"], "web1", ["cpu.a"]),
        (["!*:*.b", "*:*"], "web1", ["cpu.a", "mem"]),
        (["*:*"], "web1~normal", []),  # what tasks give is read only where it is named
        (["*:*"], "linemon.collector", []),
        (["*~normal:*"], "web1~normal", ["cpu.a", "cpu.b", "mem"]),
        (["linemon.*:mem"], "linemon.collector", ["mem"]),
        (["a%3Ab:mem"], "a:b", ["mem"]),
        (["a:b:mem"], "a:b", ["mem"]),
    ],
)
def test_inputs(tmp_path: Path, inputs: list[str], source: str, columns: list[str]) -> None:
    text = said("a").replace('["*:*"]', str(inputs).replace("'", '"'))
    [found] = tasks(configured(tmp_path, text))
    assert list(found.columns(source, ("cpu.a", "cpu.b", "mem"))) == columns


def test_tasks_come_behind_those_they_wait_for(tmp_path: Path) -> None:
    config = configured(tmp_path, said("a", more='after = ["c"]') + said("b") + said("c", more='after = ["b"]'))
    assert [each.name for each in tasks(config)] == ["b", "c", "a"]


MINE = """
from linemon.tasks import task
from other import imported
@task
def plain(rows): ...
@task(window="1m")
def over(rows): ...
@task(online=True)
def online(rows, state): ...
made = task(plain)
raise RuntimeError("`linemon check` does not run this")
"""


@pytest.mark.parametrize(
    ("run", "when", "says"),
    [
        ("mine.py:plain", "every 10m", ""),
        ("mine:over", "every 10m", ""),
        ("mine.py:online", "rows", ""),
        ("mine.py:made", "rows", ""),  # cannot be told without running it
        ("mine.py:imported", "every 10m", ""),
        ("mine.py:nothing", "every 10m", "has no function 'nothing'; it has task, imported, plain"),
        ("mine.py:online", "every 10m", "online=True\\) goes with 'rows'"),
        ("mine.py:plain", "rows", "online=True\\) goes with 'rows'"),
        ("yours.py:plain", "every 10m", "yours.py: No such file"),
        ("no.such.module:plain", "every 10m", "there is no module 'no.such.module', neither installed nor in"),
        ("json.tool:main", "every 10m", ""),
        ("broken.py:plain", "every 10m", "broken.py: invalid syntax"),
        ("open.py:plain", "every 10m", "others may write to"),
    ],
)
def test_functions_are_looked_for_and_not_run(tmp_path: Path, run: str, when: str, says: str) -> None:
    for name, text in (("mine.py", MINE), ("broken.py", "def ("), ("open.py", MINE)):
        (tmp_path / name).write_text(text)
    (tmp_path / "open.py").chmod(0o666)
    config = configured(tmp_path, said("a", when, run))
    if says:
        with pytest.raises(ConfigError, match=says):
            check(config, config.store.folder)
    else:
        lines, warnings = check(config, config.store.folder)
        assert lines == [f"a: {run}, {when}, on 0 sources now"]
        reads_rows = run in ("mine.py:plain", "json.tool:main")
        assert bool(warnings) == reads_rows


def test_who_feeds_whom(tmp_path: Path) -> None:
    alarm = '[[alarm]]\nname = "x"\ncolumns = "a"\nvalue = "last() - last(\'~n:a.high\')"\nwarning = "> 0"\n'
    text = said("n") + said("m").replace('"*:*"', '"web*~n:*"') + alarm
    config = configured(tmp_path, text)
    found = tasks(config)
    assert list(feeds(found[1], found)) == ["n"]
    assert set(arrows(config, found)) == {
        ("*:*", "n, every 10m"),
        ("n, every 10m", "m, every 10m"),
        ("n, every 10m", "alarm x"),
    }


def test_the_command(start_collector: Callable[..., Running]) -> None:
    """What it lists and draws where no tasks run; what is asked wrongly."""
    running = start_collector(said("a", more='after = ["b"]') + said("b").replace("*:*", "web*:a"))
    listed = running.run("tasks")
    assert [line.split()[0] for line in listed.stdout.splitlines()] == ["task", "b", "a"]
    assert listed.stderr == "linemon: tasks are not running. `linemon status` says more\n"
    [b, a] = json.loads(running.run("tasks", "--json").stdout)
    shape = "name run when next last took_s rows_in rows_out runs missed skipped failed last_error behind_s abandoned"
    assert list(b) == list(a) == shape.split()
    assert running.run("tasks", "graph").stdout.splitlines() == [
        "graph LR", '  n0["web*:a"]', '  n1["b, every 10m"]', '  n2["*:*"]', '  n3["a, every 10m"]',
        "  n0 --> n1", "  n2 --> n3",
    ]  # fmt: skip
    assert 'n1 [label="b, every 10m"]' in running.run("tasks", "graph", "--dot").stdout
    for arguments, code, says in (
        (("draw",), 2, "there is no 'draw'; there are: list, run, reset, graph"),
        (("run",), 2, "expected: linemon tasks run NAME"),
        (("run", "c"), 2, "there is no task 'c'; there are: b, a"),
        (("run", "a", "--since", "x"), 2, "--since x: expected a span such as 14d"),
        (("run", "a", "--from", "a.csv"), 2, "--from goes with --dry"),
        (("run", "a", "--dry", "--from", "a.csv"), 1, "a.csv"),
        (("run", "a"), 1, "tasks are not running"),
        (("run", "b", "--dry"), 1, "b: no source has a column that fits web*:a"),
    ):
        done = running.run("tasks", *arguments)
        assert (done.returncode, says in done.stderr) == (code, True), done.stderr


# -- what a function may give


TIMES = np.array([1, 2, 3], "datetime64[s]")


def test_a_task_is_a_function() -> None:
    @task
    def plain(rows: Any) -> Any:
        return {"a": rows["a"] * 2}

    @task(window="1m", together=True)
    def over(rows: Any) -> None: ...

    assert plain({"a": 2})["a"] == 4
    assert not kind(plain).online
    assert kind(over).window == Span(60)
    assert kind(over).together
    with pytest.raises(ValueError, match="no window"):
        task(online=True, window="1m")


@pytest.mark.parametrize(
    ("given_", "says"),
    [
        (3, "gives a int"),
        ([1], "gives a list"),
        ({"a": 1.0}, r"'a' has the shape \(\)"),
        ({"a": [1.0, 2.0]}, r"expected \(3,\), a value for each time"),
        ({"a": ["x", "y", "z"]}, "'a' is no array of numbers"),
        ({"": [1.0] * 3}, "a column cannot be called ''"),
        ({"time": [1.0] * 3}, "cannot be called 'time'"),
        ({"a\n": [1.0] * 3}, "cannot be called"),
        ({3: [1.0] * 3}, "cannot be called 3"),
        ({"a": [1.0] * 3, "a:V": [1.0] * 3}, "the column 'a' twice"),
        (([1, 2, 3], {"a": [1.0] * 3}), "its times are none"),
        ((TIMES[::-1], {"a": [1.0] * 3}), "not in ascending order"),
        ((np.array(["NaT"], "datetime64[ns]"), {"a": [1.0]}), "not in ascending order"),
        ((np.zeros(100_001, "datetime64[ns]"), {"a": np.zeros(100_001)}), "100001 rows; 100000"),
    ],
)
def test_what_cannot_be_stored(given_: Any, says: str) -> None:
    with pytest.raises(TaskError, match=says):
        checked(given_, TIMES)


def test_what_is_given_becomes_lines() -> None:
    found = checked({"a b:m / s": np.array([1, np.nan, 3]), "c": [True, False, True]}, TIMES)
    assert found
    assert found.columns == {"a b": "m / s", "c": ""}
    header, rows = text_of(fitted(found, ("z", "c")))
    assert header == b'#columns ["time", ["z", ""], ["c", ""], ["a b", "m / s"]]'
    assert rows.splitlines()[1].endswith(b"Z nan 0.0 nan")
    assert checked(None, TIMES) is None
    assert checked({}, TIMES) is None


@given(st.lists(st.integers(0, 20), max_size=20), st.none() | st.integers(0, 20), st.integers(0, 20))
def test_rows_go_out_once(times: list[int], newest: int | None, now: int) -> None:
    """Of what lies behind, only what is later than all before; all of what lies ahead."""
    ascending = np.array(sorted(times), np.int64)
    rows = Given({"a": ""}, ascending, ascending[:, None].astype(float))
    found, left_out = without_told(rows, newest, now)
    assert found.times.tolist() == [each for each in sorted(times) if each > now or newest is None or each > newest]
    assert left_out + len(found.times) == len(times)
    assert found.values[:, 0].tolist() == found.times.tolist()


def test_states_are_kept() -> None:
    state = {"n": 3, "list": [1, "a"], "x": np.arange(6.0).reshape(2, 3), "scalar": np.float64(1.5), "none": None}
    found, head = unpacked(packed(state, {"cursor": 7}))
    assert head == {"cursor": 7}
    assert found.pop("x").tolist() == [[0, 1, 2], [3, 4, 5]]
    assert found == {"n": 3, "list": [1, "a"], "scalar": 1.5, "none": None}


@pytest.mark.parametrize(
    ("state", "says"),
    [
        ({"a": object()}, "object is no JSON value"),
        ({3: 1}, "a key that is no string"),
        ({"a": np.array([object()])}, "an array of objects"),
        ({"a": np.zeros(200_000)}, "1600.* bytes; 1048576 of a source are kept"),
    ],
)
def test_what_is_no_state(state: Any, says: str) -> None:
    with pytest.raises(NotKept, match=says):
        packed(state, {})


# -- groups


def test_groups_keep_their_numbers() -> None:
    """From run to run, also where they change places by size, lose and gain columns, or are new."""
    rng = np.random.default_rng(1)
    waves = np.cumsum(rng.normal(size=(3, 500)), axis=1)
    minutes = np.arange(500).astype("datetime64[m]").astype("datetime64[ns]")

    def source(members: dict[str, int]) -> Rows:
        values = np.stack([waves[wave] + 0.1 * rng.normal(size=500) for wave in members.values()], 1)
        return Rows("s", tuple(members), ("",) * len(members), minutes, values, 0)

    def found(members: dict[str, int], before: dict[str, Rows] | None = None) -> tuple[dict[str, int], dict[str, Rows]]:
        times, outputs = groups({"s": source(members)}, step="1m", before=before)
        names = tuple(name.removesuffix(":") for name in outputs["s"])
        rows = Rows("s~groups", names, ("",) * len(names), times, np.array(list(outputs["s"].values())).T, 0)
        return {name: int(rows[f"{name}.group"][0]) for name in members}, {"s": rows}

    first, before = found({"a1": 0, "a2": 0, "a3": 0, "b1": 1, "b2": 1})
    assert first == {"a1": 0, "a2": 0, "a3": 0, "b1": 1, "b2": 1}
    second, _ = found({"a1": 0, "b1": 1, "b2": 1, "b3": 1, "c1": 2, "c2": 2}, before)
    assert second == {"a1": 0, "b1": 1, "b2": 1, "b3": 1, "c1": 2, "c2": 2}
    third, _ = found({"c1": 2, "c2": 2, "c3": 2, "b1": 1}, before)
    assert third["b1"] == 1
    assert third["c1"] == third["c2"] == third["c3"] not in (1, None)
