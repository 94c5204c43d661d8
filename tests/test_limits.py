"""From where on a value is a warning, or critical: by what is set on the page or in linemon.toml; who is in trouble."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import linemon
from bokeh_app import orders
from bokeh_app.kept import Kept, State, Values
from bokeh_app.limits import Watched, levels_of, of_columns
from bokeh_app.pump import Pump
from linemon.config import PanelConfig, load
from linemon.store.newest import BACK, Picked, entries_of
from linemon.store.writer import StoreWriter

nan = np.nan
numbers = st.floats(allow_nan=False, allow_infinity=False)


def level(value: float, warn: float = nan, crit: float = nan) -> int:
    return int(levels_of(np.array([value]), np.array([warn]), np.array([crit]))[0])


def test_the_level_of_a_value() -> None:
    """From the limit on; low is bad where critical is the lower one; one limit alone says that high is bad."""
    assert [level(value, 80, 95) for value in (79.9, 80, 94.9, 95, 1e300)] == [0, 1, 1, 2, 2]
    assert [level(value, 20, 5) for value in (20.1, 20, 5.1, 5, -1e300)] == [0, 1, 1, 2, 2]
    assert [level(value, warn=80) for value in (79, 80)] == [0, 1]
    assert [level(value, crit=80) for value in (79, 80)] == [0, 2]
    assert level(nan, 80, 95) == level(nan, 20, 5) == level(5.0) == 0


@given(numbers, numbers, numbers)
def test_turned_round_it_is_the_same(value: float, warn: float, crit: float) -> None:
    if warn != crit:
        assert level(value, warn, crit) == level(-value, -warn, -crit)


def test_whose_limits_they_are() -> None:
    """Of the source itself, then of a pattern, then of linemon.toml; a panel's are of the unit on its left."""
    panels = [
        PanelConfig("Climate", "lab*", ("temp.*", "hum.*"), warn=27.0, crit=29.0),
        PanelConfig("All", "", ("*",), crit=1.0),
    ]
    values: Values = {
        ("columns", "*", "temp.b_celsius", "warn"): 5.0,
        ("columns", "lab1", "temp.b_celsius", "crit"): 6.0,
        ("columns", "lab1", "temp.a_celsius", "label"): "not a limit",
        ("columns", "lab1", "gone", "warn"): 1.0,
    }
    state, columns = State(values), ("hum.a_pct", "temp.a_celsius", "temp.b_celsius")
    assert of_columns(state, panels[:1], "lab1", columns, ("", "", "")) == {
        "temp.a_celsius": (27.0, 29.0), "temp.b_celsius": (5.0, 6.0),
    }  # fmt: skip
    assert of_columns(state, panels, "db", columns, ("", "", ""))["temp.b_celsius"] == (5.0, None)
    assert of_columns(State({}), panels, "lab1", columns, ("", "", "")) == {
        "hum.a_pct": (None, 1.0), "temp.a_celsius": (27.0, 29.0), "temp.b_celsius": (27.0, 29.0),
    }  # fmt: skip
    assert of_columns(State({}), [], "lab1", columns, ("", "", "")) == {}


def test_the_newest_values_of_many_sources(tmp_path: Path) -> None:
    """Of each the last that is there among its newest rows, also once the ring has gone round, as one by one."""
    writer, chance, now = StoreWriter(tmp_path, 30, 100), random.Random(5), time.time_ns()
    rows: dict[str, list[list[float]]] = {}
    for i in range(25):
        name, width = f"s{i}", 1 + i % 3
        rows[name] = [
            [nan if chance.random() < 0.5 else float(chance.randrange(1000)) for _ in range(width)]
            for _ in range(chance.choice([0, 1, 5, 29, 31, 100]))
        ]
        ring = writer.bind(name, tuple("abc"[:width]), ("",) * width)
        for row in rows[name]:
            cells = np.array([[0.0, *row, *[nan] * (ring.width - width)]]).view(np.int64)
            cells[:, 0] = now
            ring.arena.append_to(ring.entry.slot, cells)
    writer.bind("none", ("a",), ("",))
    with linemon.open(tmp_path) as store:
        wanted = [(entry, column) for entry in entries_of(store)[1].values() for column in entry.columns]
        chance.shuffle(wanted)
        picked = Picked(store, wanted)
        for (entry, column), value in zip(wanted, picked.values(now), strict=True):
            tail = [row["abc".index(column)] for row in rows.get(entry.source, [])[-min(BACK, 30) :]]
            expected = next((each for each in reversed(tail) if each == each), nan)
            assert value == pytest.approx(expected, nan_ok=True), (entry.source, column)
        assert np.isnan(picked.values(now - 1)).all(), "rows that are stamped ahead say nothing of now"
    writer.close()


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[StoreWriter, Pump]]:
    config = tmp_path / "linemon.toml"
    panel = '[[dashboard.panel]]\nsource = "room*"\ncolumns = ["t"]\nwarn = 10\ncrit = 5\n'
    config.write_text(f'[store]\npath = "{tmp_path / "store"}"\n{panel}')
    monkeypatch.setenv("LINEMON_CONFIG", str(config))
    writer = StoreWriter(tmp_path / "store", 100, 100)
    pump = Pump()
    yield writer, pump
    pump.store.close()
    writer.close()


def row(writer: StoreWriter, name: str, **values: float) -> None:
    ring = writer.bind(name, tuple(values), ("",) * len(values))
    cells = np.array([[0.0, *values.values(), *[nan] * (ring.width - len(values))]]).view(np.int64)
    cells[:, 0] = time.time_ns()
    ring.arena.append_to(ring.entry.slot, cells)


def test_who_is_in_trouble(watched: tuple[StoreWriter, Pump]) -> None:
    """By the newest values of all sources, with what was set a moment ago, of sources that came a moment ago."""
    writer, pump = watched
    watch = Watched(pump)
    assert watch.levels() == {}
    row(writer, "room1", t=7.0, x=1.0)
    row(writer, "web1", cpu=95.0)
    assert watch.levels() == {"room1": {"t": 1}}
    kept = Kept(pump.config.dashboard_state)
    kept.change({("columns", "*", "cpu", "warn"): 90.0}, {})
    assert watch.levels() == {"room1": {"t": 1}, "web1": {"cpu": 1}}
    assert watch.of_source("web1") == {"cpu": (90.0, None)}
    row(writer, "web1", cpu=5.0)
    row(writer, "room1", t=4.0, x=1.0)
    row(writer, "web2", cpu=99.0, more=1.0)
    assert watch.levels() == {"room1": {"t": 2}, "web2": {"cpu": 1}}
    kept.undo(1)
    assert watch.levels() == {"room1": {"t": 2}}


def test_limits_unit_and_label_are_kept(watched: tuple[StoreWriter, Pump], tmp_path: Path) -> None:
    """Of one source or of all, and taken back; who is slower is told, with what is there now."""
    config = load(tmp_path / "linemon.toml")

    def ask(**said: Any) -> dict[str, Any]:
        return asyncio.run(orders.carry_out(config, {"do": "column", "source": "a*", "column": "t", **said}))

    assert ask() == {"kept": {"own": {}, "all": {}}}
    said = ask(of="own", now={"warn": 5, "unit": "°C"}, was={"warn": None, "unit": None})
    assert said == {"change": 1, "kept": {"own": {"warn": 5, "unit": "°C"}, "all": {}}}
    assert ask(of="all", now={"label": "T"}, was={"label": None})["kept"]["all"] == {"label": "T"}
    said = ask(of="own", now={"warn": 6}, was={"warn": None})
    assert (said["error"], said["kept"]["own"]["warn"]) == (
        "somebody else has changed columns a[*] t warn meanwhile",
        5,
    )
    assert "a number" in ask(of="own", now={"warn": "x"}, was={"warn": 5})["error"]
    assert ask(of="none", now={"warn": 5}, was={})["error"]
    kept = Kept(config.dashboard_state)
    kept.refresh()
    assert kept.state.named("a*", ["t", "u"], ["K", "K"]) == (["T", ""], ["°C", "K"])
    assert kept.state.named("ab", ["t"], ["K"]) == (["T"], ["K"]), "of just this source"
    assert asyncio.run(orders.carry_out(config, {"do": "undo", "change": 1})) == {"change": 3}
    assert ask()["kept"]["own"] == {}
