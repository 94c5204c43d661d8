"""How the overview puts sources together by their names."""

from __future__ import annotations

import numpy as np

from bokeh_app.watch import HOSTS, OTHERS, grouped, laid_out
from linemon.store.catalog import Entry


def groups_of(*names: str) -> dict[str, str]:
    """The group of each name that has one."""
    found = grouped(names)
    return {name: found.prefixes[at] for name, at in zip(names, found.of.tolist(), strict=True) if at >= 0}


def test_sources_are_grouped_by_how_their_names_begin() -> None:
    assert groups_of("room1.t", "room1.h", "room2.t", "attic") == {"room1.t": "room1.", "room1.h": "room1."}
    assert groups_of("room1.t", "room2.t") == {"room1.t": "room", "room2.t": "room"}
    assert groups_of("web1", "web20", "web", "db1") == {"web1": "web", "web20": "web"}
    assert groups_of("sys,host=a", "sys,host=b", "10", "20", "") == {"sys,host=a": "sys,", "sys,host=b": "sys,"}
    assert groups_of("web1.example.org", "web2.example.org") == {
        "web1.example.org": "web",
        "web2.example.org": "web",
    }


def entry(source: str, *columns: str, units: tuple[str, ...] = ()) -> Entry:
    columns = columns or ("value",)
    return Entry(source, 1, "", 0, columns, units or ("",) * len(columns), 0)


def test_rooms_and_measures_are_a_grid() -> None:
    """Whether a measure is the end of a source's name, or a column."""
    entries = [
        entry("room2.temperature", units=("C",)),
        entry("room1.temperature"),
        entry("room10.humidity_pct"),
        entry("cellar", "temperature", "humidity_pct", "level"),
        entry("host1", "temperature"),
        entry("alone"),
        entry("room1.level2"),
    ]
    grid = laid_out(entries, np.array([HOSTS if each.source == "host1" else OTHERS for each in entries]))
    assert grid.rows == ["cellar", "room1", "room2", "room10"]
    assert grid.measures == ["temperature", "humidity_pct"]
    assert grid.units == ["°C", "%"]
    assert grid.places.tolist() == [[3, 3], [1, -1], [0, -1], [-1, 2]]
    assert grid.columns.tolist() == [[0, 1], [0, -1], [0, -1], [-1, 0]]


def test_nothing_in_common_is_no_grid() -> None:
    grid = laid_out([entry("a.b"), entry("c")], np.array([OTHERS, OTHERS]))
    assert (grid.rows, grid.measures, grid.places.shape) == ([], [], (0, 0))
