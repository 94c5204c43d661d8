"""A store with its history in this process, on a clock of its own; and what should be in it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from linemon.config import Config, StoreConfig
from linemon.parts.history import History, end
from linemon.sections import HistoryConfig, Span, TierConfig
from linemon.store import buckets
from linemon.store.reader import Store
from linemon.store.rows import Rows
from linemon.store.writer import StoreWriter

SECOND = 10**9
BEGIN = 1_700_000_000 // 21600 * 21600 * SECOND  # at a seam of all tiers
Bucket = tuple[float, float, float, float]  # min, max, mean, count of one column


def tier(step: str, keep: str, *sources: str) -> TierConfig:
    return TierConfig(Span.parse(step), Span.parse(keep), sources or ("*",))


class Clock:
    """What all processes of this test take for the time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = BEGIN
        monkeypatch.setattr(time, "time_ns", lambda: self.now)


class Place:
    """A collector's store and the history part, without their processes."""

    def __init__(self, folder: Path, clock: Clock, *tiers: TierConfig, points: int = 3600, share: float = 1.0) -> None:
        self.folder, self.clock = folder, clock
        history = HistoryConfig(tier=tiers or (tier("1m", "2d"),), share=share)
        self.config = Config(store=StoreConfig(path=str(folder), points=points), history=history)
        self.writer = StoreWriter(folder, points, 100)
        self.store = Store(folder)
        self.sent: dict[str, list[tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]]] = {}
        self.open()

    def open(self) -> None:
        self.opened = ExitStack()
        self.part = History(self.config)
        self.chain = self.part.open(self.opened)

    def close(self) -> None:
        """A clean end."""
        end(self.chain)
        self.opened.close()

    def kill(self) -> None:
        """The part's process is killed, and another one starts."""
        for each in self.chain.tiers:
            for store in (each.main, each.late):
                os.close(store._lock)
        self.open()

    def configure(self, *tiers: TierConfig) -> None:
        """Start the part with other tiers, after a clean end."""
        self.close()
        self.config = replace(self.config, history=replace(self.config.history, tier=tiers))
        self.open()

    def add(self, source: str, seconds: npt.ArrayLike, values: npt.ArrayLike | None = None, *columns: str) -> None:
        """Rows at these seconds after BEGIN; where no values are said, the seconds are the values of one column."""
        times = BEGIN + np.round(np.asarray(seconds, np.float64) * SECOND).astype(np.int64)
        cells = np.asarray(seconds if values is None else values, np.float64).reshape(len(times), -1)
        columns = columns or tuple("abcdefgh"[: cells.shape[1]])
        ring = self.writer.bind(source, columns, ("",) * len(columns))
        block = np.column_stack((times.astype(np.float64), cells))
        block.view(np.int64)[:, 0] = times
        ring.arena.append_to(ring.entry.slot, np.ascontiguousarray(block).view(np.int64))
        self.sent.setdefault(source, []).append((times, cells))

    def turn(self, *, ending: bool = False) -> None:
        for _ in self.chain.steps(ending):
            pass

    def live(self, source: str, start: int, stop: int, every: int = 10) -> None:
        """A row a second, as time goes on, with a turn every so many seconds."""
        for second in range(start, stop, every):
            self.clock.now = BEGIN + (second + every) * SECOND
            self.add(source, np.arange(second, second + every))
            self.turn()

    def settle(self) -> None:
        """Let time pass until all sources are silent in all tiers."""
        for minutes in (2, 20, 70, 400):
            self.clock.now += minutes * 60 * SECOND
            self.turn()

    def held(self, step: str, source: str) -> Rows | None:
        """The bucket rows of a tier, with those that came late."""
        found = None
        for folder in (step, f"{step}.late"):
            store = Store(self.folder / "history" / folder)
            if source in store:
                rows = store[source].since(0)
                if not folder.endswith(".late"):
                    assert (np.diff(rows.time.view(np.int64)) >= 0).all(), "a tier is in time order"
                if found is not None:
                    time, values = np.append(found.time, rows.time), np.vstack((found.values, rows.values))
                    rows = replace(rows, time=time, values=values)
                found = rows
        return found

    def buckets(self, step: str, source: str, column: str = "a") -> dict[int, Bucket]:
        """What a tier holds of a column, by seconds after BEGIN, its parts put together."""
        rows = self.held(step, source)
        if rows is None:
            return {}
        parts = np.column_stack([rows[f"{column}.{part}"] for part in buckets.PARTS])
        return merged((rows.time.view(np.int64) - BEGIN) // SECOND, parts)

    def truth(self, step: str, source: str, column: int = 0) -> dict[int, Bucket]:
        """What it should hold, from the rows that were sent."""
        length = Span.parse(step).ns
        times = np.concatenate([time for time, _ in self.sent[source]])
        values = np.concatenate([cells[:, column] for _, cells in self.sent[source]])
        is_there = np.where(np.isnan(values), 0.0, 1.0)
        return merged((times // length * length - BEGIN) // SECOND, np.column_stack((values, values, values, is_there)))


def merged(starts: npt.NDArray[np.int64], parts: npt.NDArray[np.float64]) -> dict[int, Bucket]:
    """Parts (n, 4) of buckets put together, by their starts; not by the code that is tested."""
    found = {}
    for start in np.unique(starts).tolist():
        low, high, mean, count = parts[starts == start].T
        some = count > 0
        if some.any():
            total = float(count[some].sum())
            mean_ = float((mean[some] * count[some]).sum() / total)
            found[start] = float(low[some].min()), float(high[some].max()), mean_, total
        else:
            found[start] = np.nan, np.nan, np.nan, 0.0
    return found


def assert_same(got: dict[int, Bucket], wanted: dict[int, Bucket]) -> None:
    """Equal, means to 1e-9 of their size."""
    assert got.keys() == wanted.keys(), f"starts differ: {sorted(got.keys() ^ wanted.keys())[:10]}"
    starts = sorted(wanted)
    np.testing.assert_allclose([got[s] for s in starts], [wanted[s] for s in starts], rtol=1e-9, atol=1e-9)


def open_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """For a fixture: makes places, and gives back what they hold."""
    clock = Clock(monkeypatch)
    made: list[Place] = []

    def make(*tiers: TierConfig, points: int = 3600, share: float = 1.0) -> Place:
        made.append(Place(tmp_path / f"store{len(made)}", clock, *tiers, points=points, share=share))
        return made[-1]

    yield make
    for place in made:
        place.opened.close()
        place.writer.close()
