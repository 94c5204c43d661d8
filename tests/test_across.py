"""One measure of many sources in the same buckets is what each source's own window says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bokeh_app.measure import Rest
from bokeh_app.pump import Pump
from linemon.store.across import having, means, spread
from linemon.store.reader import Store
from linemon.store.writer import StoreWriter
from tests.examples import examples
from tests.histories import BEGIN, SECOND, Place, open_places, tier
from tests.test_newest import POINTS, ROW, S, fill

MakePlace = Callable[..., Place]


@settings(deadline=None, max_examples=examples(60))
@given(st.lists(ROW, max_size=60), st.integers(1, 9))
def test_means_are_those_of_each_window(rows: list[tuple[str, int, float, float]], count: int) -> None:
    """Of rows in any order, more of them than a ring holds, and with missing values."""
    with TemporaryDirectory() as folder:
        writer, store = StoreWriter(Path(folder) / "store", POINTS, 10), Store(Path(folder) / "store")
        fill(writer, rows)
        columns = [*having(store, "y"), ("a", "no such column"), ("gone", "x")]
        edges = np.arange(count + 1) * (100 * S // count) + 900 * S
        found = means(store, columns, edges)
        for (name, column), mine in zip(columns, found, strict=True):
            if (name, column) not in columns[:-2]:
                assert np.isnan(mine).all()
                continue
            for at, value in enumerate(mine.tolist()):
                start, end = (np.datetime64(int(edge), "ns") for edge in edges[at : at + 2])
                wanted = store[name].window(start, end, 1).mean[0, store[name].columns.index(column)]
                assert value == pytest.approx(wanted, nan_ok=True)
        writer.close()


def test_a_measure_is_a_column_or_the_end_of_a_name(tmp_path: Path) -> None:
    writer, store = StoreWriter(tmp_path / "store", POINTS, 10), Store(tmp_path / "store")
    for name, columns in {
        "room1.temperature": ("value",),
        "web1": ("temperature", "load"),
        "temperature": ("value",),
        "room1.temperature.max": ("value",),
        "room2.temperature": ("a", "b"),
    }.items():
        writer.bind(name, columns, None)
    assert having(store, "temperature") == [("room1.temperature", "value"), ("web1", "temperature")]
    writer.close()


def test_quantiles_of_what_there_is() -> None:
    values = np.array([[1.0, np.nan, np.nan], [3.0, 5.0, np.nan], [2.0, np.nan, np.nan]])
    assert spread(values, (0.0, 0.5, 1.0))[:2].tolist() == [[1.0, 2.0, 3.0], [5.0, 5.0, 5.0]]
    assert np.isnan(spread(values, (0.5,))[2, 0])


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    yield from open_places(tmp_path, monkeypatch)


def test_what_a_ring_lost_is_of_the_history(make: MakePlace) -> None:
    place = make(tier("1m", "2d"), tier("15m", "30d"), points=600)
    place.live("host", 0, 7200, every=100)
    place.add("young", [7190], [3.0])
    found = means(place.store, [("host", "a"), ("young", "a")], BEGIN + np.arange(0, 7201, 300) * SECOND)
    assert found[0] == pytest.approx(np.arange(0, 7200, 300) + 149.5)
    assert np.isnan(found[1, :-1]).all()
    assert found[1, -1] == 3.0


def test_the_band_says_nothing_of_who_happened_to_send(tmp_path: Path) -> None:
    """Sources that send each ten seconds, one after the other: whatever was read before, it is as it was."""
    writer, store = StoreWriter(tmp_path / "store", 100, 50), Store(tmp_path / "store")
    rings = [writer.bind(f"s{i}", ("x",), None) for i in range(30)]
    rest = Rest(cast("Pump", SimpleNamespace(store=store)), [(f"s{i}", "x") for i in range(30)])
    sent = 0
    for end in (300, 305, 311, 600):  # of the live view only what is new is read
        for tenth in range(10 * sent, 10 * end, 3):
            ring = rings[tenth // 3 % 30]
            row = np.array([[0.0, float(tenth // 3 % 30)]])
            row.view(np.int64)[0, 0] = BEGIN + tenth * SECOND // 10
            ring.arena.append_to(ring.entry.slot, row.view(np.int64))
        sent = end
        rest._made(BEGIN + (end - 300) * SECOND, BEGIN + end * SECOND)
        assert set(map(tuple, rest._found.tolist())) == {(0.0, 7.0, 14.0, 22.0, 29.0)}
        assert BEGIN + (end - 320) * SECOND <= rest._times[0] <= rest._times[-1] <= BEGIN + end * SECOND
        assert rest._times[-1] >= BEGIN + (end - 30) * SECOND
        assert (np.diff(rest._times) == rest._bucket).all()
    writer.close()
