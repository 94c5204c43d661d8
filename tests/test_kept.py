"""What people change on the page: in one file, for all; nobody's change is lost, and each can be taken back."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bokeh_app.kept import MOST, MOST_AT_ONCE, MOST_UNDO, Kept, Refused, State, Values, data, parse
from linemon.config import Config, DashboardConfig, StoreConfig
from linemon.patterns import exactly
from linemon.sections import WorkConfig
from linemon.store.farewells import Farewell
from tests.examples import examples

HIDDEN = ("sources", "web1", "hidden")
PINNED = ("sources", "web1", "pinned")
WARN = ("columns", "web*", "cpu", "warn")

names = st.text(min_size=1, max_size=5)
flags = st.tuples(st.just("sources"), names, st.sampled_from(["hidden", "pinned"]))
numbers = st.tuples(st.just("columns"), names, names, st.sampled_from(["warn", "crit"]))
texts = st.tuples(st.just("columns"), names, names, st.sampled_from(["unit", "label"]))
changes = st.one_of(
    st.dictionaries(flags, st.sampled_from([True, None]), max_size=3),
    st.dictionaries(numbers, st.floats(allow_nan=False, allow_infinity=False) | st.none(), max_size=3),
    st.dictionaries(texts, st.sampled_from(["%", "CPU", None]), max_size=3),
)


@given(st.lists(changes, max_size=20))
def test_what_is_written_is_what_is_read(said: list[dict[Any, Any]]) -> None:
    """After any changes; and it is what a dictionary would be."""
    state, model = State({}), dict[Any, Any]()
    for number, change in enumerate(said, 1):
        state = state.changed(change, state.values, number)
        model = {key: value for key, value in {**model, **change}.items() if value is not None}
        assert (state.values, state.number) == (model, number)
        assert parse(data(state)) == state


@given(st.lists(changes, min_size=1, max_size=10))
def test_all_is_taken_back_in_reverse(said: list[dict[Any, Any]]) -> None:
    state = State({})
    for change in said:
        state = state.changed(change, state.values, 5)
    for number in range(len(said), 0, -1):
        state = state.undone(number, 6)
    assert not state.values
    for number in range(len(said) + 1, 2 * len(said) + 1)[::-1]:  # and that, too
        state = state.undone(number, 7)
    again = State({})
    for change in said:
        again = again.changed(change, again.values, 5)
    assert state.values == again.values


def test_who_is_slower_is_told(tmp_path: Path) -> None:
    """Two at once: other things go beside each other, of the same thing the second one is refused, also by undo."""
    one, two = Kept(tmp_path / "state.json"), Kept(tmp_path / "state.json")
    first = one.change({HIDDEN: True}, {})
    two.change({PINNED: True}, {})
    with pytest.raises(Refused, match="somebody else has changed sources web1 hidden meanwhile"):
        two.change({HIDDEN: True, WARN: 5}, {})
    one.refresh()
    assert one.state.values == {HIDDEN: True, PINNED: True}
    two.change({HIDDEN: None}, {HIDDEN: True})
    with pytest.raises(Refused, match="somebody else"):
        one.undo(first)
    assert Kept(tmp_path / "x").state.values == {}
    two.undo(two.state.number)
    one.undo(first)
    assert one.state.values == {PINNED: True}


def test_what_pages_ask_of_it() -> None:
    """What is said of a source itself comes before what of a pattern is."""
    values: Values = {
        HIDDEN: True,
        WARN: 80.0,
        ("columns", "web*", "cpu", "unit"): "%",
        ("columns", "web1", "cpu", "warn"): 90.0,
        ("columns", "*", "cpu", "warn"): 70.0,
        ("columns", "w[x]", "mem", "label"): "Memory",
    }
    state = State({}).changed(values, {}, 1)
    assert (state.source("web1"), state.source("web2")) == ({"hidden": True}, {})
    assert state.columns("web1") == {"cpu": {"warn": 90.0, "unit": "%"}}
    assert state.columns("web2")["cpu"]["warn"] == 80.0
    assert state.columns("db") == {"cpu": {"warn": 70.0}}
    assert state.columns("w[x]")["mem"] == {"label": "Memory"}


@pytest.mark.parametrize(
    ("key", "value", "what"),
    [
        (("sources", "web1", "warn"), True, "nothing is kept under"),
        (("sources", "web1"), True, "nothing is kept under"),
        (("sources", "web1", "x", "hidden"), True, "nothing is kept under"),
        (("boards", "web1", "hidden"), True, "nothing is kept under"),
        (HIDDEN, False, "hidden is true, or nothing"),
        (HIDDEN, 1, "hidden is true, or nothing"),
        (WARN, True, "warn is a number"),
        (WARN, "5", "warn is a number"),
        (WARN, float("nan"), "warn is a number"),
        (WARN, float("inf"), "warn is a number"),
        (("columns", "*", "cpu", "unit"), "", "unit is 1 to 200 characters"),
        (("columns", "*", "cpu", "unit"), "x" * 201, "unit is 1 to 200 characters"),
        (("columns", "*", "cpu", "label"), "a\nb", "label is 1 to 200 characters"),
        (("columns", "*", "cpu", "label"), 5, "label is 1 to 200 characters"),
    ],
)
def test_what_cannot_be_kept_is_told(key: Any, value: Any, what: str) -> None:
    state = State({}).changed({PINNED: True}, {}, 1)
    with pytest.raises(Refused, match=what):
        state.changed({key: value}, {}, 2)


def test_it_is_bounded() -> None:
    state = State({})
    for lot in range(0, MOST, MOST_AT_ONCE):
        state = state.changed({("sources", str(i), "hidden"): True for i in range(lot, lot + MOST_AT_ONCE)}, {}, 1)
    with pytest.raises(Refused, match=f"no more than {MOST}"):
        state.changed({HIDDEN: True}, {}, 1)
    with pytest.raises(Refused, match=f"no more than {MOST_AT_ONCE}"):
        state.changed({("sources", f"x{i}", "hidden"): True for i in range(MOST_AT_ONCE + 1)}, {}, 1)
    state = State({})
    for number in range(MOST_UNDO + 1):
        state = state.changed({WARN: float(number)}, state.values, 1)
    assert len(state.undo) == MOST_UNDO
    with pytest.raises(Refused, match="too long ago"):
        state.undone(1, 1)


def test_it_goes_with_the_names_of_sources(tmp_path: Path) -> None:
    """Also where a name goes round; once only; what was of a source that is forgotten is no more."""
    kept = Kept(tmp_path / "state.json")
    kept.change({("sources", "a", "hidden"): True, ("sources", "b", "pinned"): True, WARN: 5.0}, {})
    before = [Farewell(at, "a", None, 1) for at in (1, 2)]  # than anything was kept
    at = kept.state.undo[0].at
    later = [Farewell(at + 1, "a", "x", 1), Farewell(at + 2, "b", "a", 2), Farewell(at + 3, "x", "b", 1)]
    farewells = before + later
    kept.follow("store", farewells)
    assert kept.state.values == {("sources", "b", "hidden"): True, ("sources", "a", "pinned"): True, WARN: 5.0}
    kept.follow("store", farewells)
    assert kept.state.source("b") == {"hidden": True}
    kept.follow("store", [*farewells, Farewell(at + 4, "b", None, 1)])
    assert kept.state.values == {("sources", "a", "pinned"): True, WARN: 5.0}
    kept.follow("other", [Farewell(2, "a", "c", 1)])
    assert kept.state.source("c") == {"pinned": True}


def test_limits_go_with_the_name_of_a_source(tmp_path: Path) -> None:
    """Those that are of just this one, whatever is in its name."""
    kept = Kept(tmp_path / "state.json")
    kept.change({("columns", exactly("[a]*"), "cpu", "crit"): 9.0, ("columns", "[a]*", "cpu", "warn"): 5.0}, {})
    kept.follow("store", [Farewell(kept.state.undo[0].at + 1, "[a]*", "b?", 1)])
    assert kept.state.columns("b?") == {"cpu": {"crit": 9.0}}
    assert kept.state.columns("axx") == {"cpu": {"warn": 5.0}}


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"version": 2}', '{"version": 1, "sources": 5}', "\xff"], ids=repr
)
def test_a_file_that_is_none_is_left_alone(tmp_path: Path, text: str) -> None:
    """What was read before goes on to hold; nothing is changed until it is mended."""
    path = tmp_path / "state.json"
    kept = Kept(path)
    kept.change({HIDDEN: True}, {})
    good = path.read_bytes()
    path.write_bytes(text.encode("latin1"))
    kept.refresh()
    assert kept.state.source("web1") == {"hidden": True}
    with pytest.raises(Refused, match="cannot be read, so nothing is changed"):
        kept.change({PINNED: True}, {})
    assert path.read_bytes() == text.encode("latin1")
    path.write_bytes(good.replace(b'"hidden": true', b'"pinned": true'))  # by hand
    kept.refresh()
    assert (kept.fault, kept.state.source("web1")) == (None, {"pinned": True})


def test_without_a_file_it_stays_the_same_from_look_to_look(tmp_path: Path) -> None:
    """What is made of it is made anew where it is another object, as the limits of all sources are."""
    kept = Kept(tmp_path / "kept.json")
    state = kept.state
    kept.refresh()
    assert kept.state is state
    kept.change({HIDDEN: True}, {})
    kept.path.unlink()
    kept.refresh()
    assert kept.state.values == {}
    state = kept.state
    kept.refresh()
    assert kept.state is state


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Refused, match="cannot write"):
        Kept(tmp_path / "file" / "state.json").change({HIDDEN: True}, {})


def test_where_it_is(tmp_path: Path) -> None:
    store, work = StoreConfig(path=str(tmp_path / "store")), WorkConfig(state=str(tmp_path / "state"))
    assert Config(store=store).dashboard_state == tmp_path / "store" / "dashboard.json"
    assert Config(store=store, work=work).dashboard_state == tmp_path / "state" / "dashboard.json"
    dashboard = DashboardConfig(state=str(tmp_path / "x.json"))
    assert Config(store=store, work=work, dashboard=dashboard).dashboard_state == tmp_path / "x.json"


WRITER = """
import sys
from pathlib import Path
from bokeh_app.kept import Kept, Refused

kept, done = Kept(Path(sys.argv[1])), 0
while done < int(sys.argv[3]):
    kept.refresh()
    key = ("columns", "*", "shared", "warn")
    mine = ("sources", f"{sys.argv[2]}{done}", "hidden")
    now = {key: (kept.state.values.get(key) or 0) + 1, mine: True}
    try:
        kept.change(now, {name: kept.state.values.get(name) for name in now})
        done += 1
        print(done, flush=True)
    except Refused:
        pass
"""


def start(path: Path, name: str, count: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), name, str(count)], stdout=subprocess.PIPE, text=True
    )


@pytest.mark.slow
def test_many_at_once_lose_nothing(tmp_path: Path) -> None:
    """Three page servers that change the same number and something of their own."""
    path = tmp_path / "state.json"
    writers = [start(path, name, 50) for name in "abc"]
    for writer in writers:
        writer.communicate(timeout=100)
        assert writer.returncode == 0
    kept = Kept(path)
    kept.refresh()
    assert kept.state.values[("columns", "*", "shared", "warn")] == kept.state.number == 150
    assert len(kept.state.values) == 151


@pytest.mark.slow
def test_killed_at_any_moment_it_is_whole(tmp_path: Path) -> None:
    """Ten kills: all that was said to be done is there, and at most one change more."""
    path, chance = tmp_path / "state.json", random.Random(3)
    for kill in range(10):
        kept = Kept(path)
        kept.refresh()
        before = kept.state.number
        writer = start(path, f"k{kill}-", 100_000)
        assert writer.stdout
        wanted, done = chance.randint(1, 40), 0
        while done < wanted:
            done = int(writer.stdout.readline())
        os.kill(writer.pid, signal.SIGKILL)
        rest, _ = writer.communicate()
        done += len(rest.splitlines())
        kept.refresh()
        assert kept.fault is None
        assert kept.state.number - before in (done, done + 1)
    assert json.loads(path.read_bytes())["columns"]["*"]["shared"]["warn"] == kept.state.number


@settings(max_examples=examples(50))
@given(st.binary(max_size=60) | st.text(max_size=30).map(lambda text: text.encode("utf-8", "replace")))
def test_no_bytes_break_it(raw: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  any of them
        parse(raw)
