"""A ring read in pieces gives what it gives when it is copied at once."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linemon.store import slices
from linemon.store.reader import Source, Store
from linemon.store.slices import Slices
from linemon.store.window import Buckets
from linemon.store.writer import Ring, StoreWriter
from tests.examples import examples

POINTS = 60


class Filled:
    """A store of one source of two columns, and who writes it."""

    def __init__(self, folder: Path, times: list[int]) -> None:
        self.writer = StoreWriter(folder, POINTS, 10)
        self.ring: Ring = self.writer.bind("s", ("a", "b"), None)
        self.count = 0
        self.append(times)
        self.source: Source = Store(folder)["s"]

    def append(self, times: list[int]) -> None:
        for time in times:
            row = np.array([[0, self.count, np.nan if self.count % 7 == 0 else self.count * 0.25]])
            row.view(np.int64)[0, 0] = time
            self.ring.arena.append_to(self.ring.entry.slot, row.view(np.int64))
            self.count += 1


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces of a few rows."""
    monkeypatch.setattr(slices, "PIECE", 7)
    monkeypatch.setattr(slices, "PIECE_CELLS", 24)


def all_of(found: Slices) -> tuple[list[int], list[list[float]]]:
    times = [time for piece in found.times() for time in piece.tolist()]
    return times, [[value for piece in found.values(i) for value in piece.tolist()] for i in range(2)]


TIMES = st.lists(st.integers(0, 40), max_size=150) | st.integers(0, 150).map(lambda n: list(range(n)))


@settings(deadline=None, max_examples=examples(60))
@given(TIMES, st.none() | st.integers(0, 160), st.booleans())
def test_rows(times: list[int], since: int | None, by_arrival: bool) -> None:
    """In time order or as they came, all or those after a cursor, rings that are in order or not."""
    with TemporaryDirectory() as folder:
        filled = Filled(Path(folder) / "store", times)
        rows = filled.source.since(since or 0)
        order = np.arange(len(rows)) if by_arrival else np.argsort(rows.time, kind="stable")
        found = Slices(filled.source, since, by_arrival=by_arrival)
        got_times, got_values = all_of(found)
        assert got_times == rows.time.view(np.int64)[order].tolist()
        np.testing.assert_array_equal(np.array(got_values).reshape(2, -1), rows.values[order].T)
        assert (found.cursor, found.missed) == (rows.cursor, rows.missed if since is not None else 0)
        filled.writer.close()


@settings(deadline=None, max_examples=examples(60))
@given(TIMES, st.integers(1, 20), st.integers(0, 30), st.integers(1, 50))
def test_windows(times: list[int], points: int, start: int, length: int) -> None:
    """Buckets are the same, however many rows lie in one."""
    with TemporaryDirectory() as folder:
        filled = Filled(Path(folder) / "store", times)
        expected = filled.source.window(np.datetime64(start, "ns"), np.datetime64(start + length, "ns"), points)
        edges = np.append(expected.time.view(np.int64), start + length)
        found = Buckets.empty(1, len(edges) - 1, 2)
        for _ in Slices(filled.source).reduce(edges, found):
            pass
        for name in ("min", "max", "count"):
            np.testing.assert_array_equal(getattr(found, name)[0], getattr(expected, name))
        np.testing.assert_allclose(found.mean[0], expected.mean)
        filled.writer.close()


@pytest.mark.parametrize("times", [list(range(100)), [i ^ 5 for i in range(100)]], ids=["in order", "out of order"])
def test_what_is_overwritten_meanwhile(tmp_path: Path, times: list[int]) -> None:
    """Between two pieces of times: it does not come; between times and values: it is nan. Both are counted."""
    filled = Filled(tmp_path / "store", times)
    found = Slices(filled.source)
    pieces = found.times()
    first = next(pieces).tolist()
    filled.append(list(range(1000, 1020)))
    rest = [time for piece in pieces for time in piece.tolist()]
    assert sorted(first + rest) == first + rest
    assert set(rest) == set(times[60:]) - set(first)
    kept = len(first) + len(rest)
    filled.append(list(range(1020, 1030)))
    values = np.concatenate(list(found.values(0)))
    assert len(values) == kept
    assert np.isnan(values).sum() == sum(time in times[40:70] for time in first + rest)
    assert found.missed == 30
    assert set(values[~np.isnan(values)]) == set(range(70, 100))


def test_a_source_that_moves_meanwhile(tmp_path: Path) -> None:
    """Its rows keep their numbers where it gets a column more."""
    filled = Filled(tmp_path / "store", list(range(50)))
    found = Slices(filled.source)
    times = list(found.times())
    filled.writer.bind("s", ("a", "b", "c"), ("", "", ""))
    assert np.concatenate(times).tolist() == list(range(50))
    assert np.concatenate(list(found.values(0))).tolist() == list(range(50))
    assert found.missed == 0
