"""What is known of many sources at once is what each of them says by itself."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from linemon.store.liveness import Life
from linemon.store.newest import Newest
from linemon.store.reader import Store
from linemon.store.writer import StoreWriter
from tests.examples import examples

POINTS, S = 20, 10**9
LATEST = 1000 * S
VALUES = st.floats(0, 9) | st.just(float("nan"))
ROW = st.tuples(st.sampled_from(["a", "b", "wide"]), st.integers(900, 999) | st.just(2000), VALUES, VALUES)


def fill(writer: StoreWriter, rows: list[tuple[str, int, float, float]]) -> None:
    for name, time_s, *values in rows:
        columns = ("x", "y", *(f"z{i}" for i in range(9 * (name == "wide"))))
        ring = writer.bind(name, columns, None)
        row = np.array([[0.0, *values, *[1.0] * (len(columns) - 2)]])
        row.view(np.int64)[0, 0] = time_s * S
        ring.arena.append_to(ring.entry.slot, row.view(np.int64))
        ring.arena.note_arrivals()


@settings(deadline=None, max_examples=examples(80))
@given(st.lists(st.lists(ROW, max_size=30), min_size=1, max_size=4))
def test_what_each_source_says(looks: list[list[tuple[str, int, float, float]]]) -> None:
    """Rows in any order, more of them than a ring holds, some far ahead, with missing values; look by look."""
    with TemporaryDirectory() as folder:
        writer, store = StoreWriter(Path(folder) / "store", POINTS, 10), Store(Path(folder) / "store")
        newest = Newest(store, lambda entry: (1, 0), 2)
        wanted: dict[str, list[float]] = {}
        for rows in looks:
            fill(writer, rows)
            for name in {row[0] for row in rows}:
                held = [row for row in rows if row[0] == name][-POINTS:]
                for x, y in (row[2:] for row in held if row[1] * S <= LATEST):
                    was = wanted.get(name, [np.nan, np.nan])
                    wanted[name] = [old if np.isnan(new) else new for old, new in zip(was, (y, x), strict=True)]
            newest.look(store.sources(), LATEST)
            assert newest.names == store.sources()
            for name, place in newest.place.items():
                np.testing.assert_array_equal(newest.values[place], wanted.get(name, [np.nan, np.nan]))
                assert newest.arrived[place] == store[name].arrivals[-1, 0]
                assert newest.patience_s[place] == Life.of(store[name], LATEST).silent_after_s
        places = np.arange(len(newest.names))
        expect_traces(store, newest, places)
        writer.close()


def expect_traces(store: Store, newest: Newest, places: np.ndarray) -> None:
    """The last value of each ten seconds, in order of time."""
    found = newest.traces(places, np.full(len(places), 10 * S), 8, 995 * S)
    for place, name in enumerate(newest.names):
        rows = store[name].between()
        times, last = rows.time.astype(np.int64) // S // 10, np.full((2, 8), np.nan)
        for at, values in zip(times, rows.values, strict=True):
            if 92 <= at <= 99:
                last[:, at - 92] = values[[1, 0]]
        np.testing.assert_array_equal(found[place], last)


def test_sources_that_come_go_and_widen(tmp_path: Path) -> None:
    writer, store = StoreWriter(tmp_path / "store", POINTS, 10), Store(tmp_path / "store")
    newest = Newest(store, lambda entry: (0,), 1)
    newest.look((), LATEST)
    fill(writer, [("a", 900, 1.0, 0.0), ("b", 900, 2.0, 0.0)])
    newest.look(store.sources(), LATEST)
    version = newest.version
    writer.let_go(writer.rings["a"])
    writer.bind("b", ("x", "y", "more"), ("", "", ""))
    fill(writer, [("wide", 900, 3.0, 0.0)])
    newest.look(store.sources(), LATEST)
    assert newest.version > version
    assert dict(zip(newest.names, newest.values[:, 0].tolist(), strict=True)) == {"b": 2.0, "wide": 3.0}
    places = np.array([newest.place[name] for name in ("wide", "b")])
    assert newest.values_of(places, np.array([10, 0]), LATEST).tolist() == [1.0, 2.0]
    writer.close()
