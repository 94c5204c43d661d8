"""Charts for messages, as PNG: of an incident, or of what was asked for. What is drawn, from which rows; pen.py draws.

They are made in the thread of whoever tells, one at a time. Pillow, of 33 MB, is imported with the first.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from linemon.errors import LinemonError
from linemon.logs import Seldom
from linemon.parts.alarms.event import ENDS, Event
from linemon.parts.alarms.message import plain
from linemon.store.reader import Store

log = logging.getLogger(__name__)

Floats = npt.NDArray[np.float64]
Limits = Callable[[str, str], list[tuple[int, float]]]  # level and limit of what alarms there are of a source's column

POINTS: Final = 560
SPAN_NS: Final = 6 * 3600 * 10**9  # before an incident's event
LEAST_NS: Final = 120 * 10**9
GAP: Final = 4.0  # usual distances of points: what is longer is a gap in the line


@dataclass(frozen=True)
class Chart:
    """What is drawn. `time` in ns (n,), `low`, `high`, `mean` (n,) without nan; times in ns."""

    source: str
    column: str
    unit: str
    begin: int
    end: int
    time: npt.NDArray[np.int64]
    low: Floats
    high: Floats
    mean: Floats
    limits: tuple[tuple[int, float], ...] = ()  # level and limit
    incident: tuple[int, int, int] | None = None  # level, begin and end

    def runs(self) -> list[slice]:
        """The points between gaps."""
        steps = np.diff(self.time)
        gaps = np.flatnonzero(steps > GAP * np.median(steps)) + 1 if len(steps) else np.empty(0, np.int64)
        edges = [0, *gaps.tolist(), len(self.time)]
        return [slice(a, b) for a, b in pairwise(edges)]


class Pictures:
    """Draws from the store in this folder."""

    def __init__(self, folder: Path, limits: Limits) -> None:
        self._folder, self._limits = folder, limits
        self._store: Store | None = None
        self._one = threading.Lock()
        self._failures = Seldom()

    def of(self, event: Event, dark: bool) -> bytes | None:
        """The incident; None where there is nothing to draw, or it cannot be drawn: the message goes all the same."""
        if event.column is None:
            return None
        until = event.until if event.kind in ENDS and event.until else event.at
        begin = min(event.at - SPAN_NS, event.since - (until - event.since) // 2)
        try:
            return self._draw(event.source, event.column, begin, event.at, dark, (event.level, event.since, until))
        except LinemonError:
            return None
        except Exception as error:  # of Pillow, or ours
            if self._failures.due():
                log.exception("no picture of %s: %s", event.key, error)
            return None

    def last(self, source: str, column: str, span: float, dark: bool) -> bytes:
        """The last `span` seconds. LinemonError where there is nothing to draw."""
        now = time.time_ns()
        return self._draw(source, column, now - round(span * 1e9), now, dark, None)

    def names(self) -> dict[str, tuple[str, ...]]:
        """The sources, and their columns."""
        store = self._opened()
        return {name: store[name].columns for name in store.sources()}

    def _opened(self) -> Store:
        if self._store is None:
            self._store = Store(self._folder)
        return self._store

    def _draw(
        self, source: str, column: str, begin: int, end: int, dark: bool, incident: tuple[int, int, int] | None
    ) -> bytes:
        with self._one:
            chart = self._read(source, column, begin, end, incident)
            from linemon.parts.alarms.pen import png

            return png(chart, dark)

    def _read(self, source: str, column: str, begin: int, end: int, incident: tuple[int, int, int] | None) -> Chart:
        if column not in (read := self._opened()[source]).columns:
            raise LinemonError(f"{source!r} has no column {column!r}")
        i = read.columns.index(column)
        for _ in range(2):  # again where all of it lies at the end, in buckets as long as for what is not there
            window = read.window(np.datetime64(begin, "ns"), np.datetime64(end, "ns"), POINTS)
            has = np.flatnonzero(window.count[:, i])
            if not len(has):
                raise LinemonError(f"no rows of {plain(source)} {plain(column)} in that time")
            starts, steps = window.time.astype(np.int64)[has], window.step.astype(np.int64)[has]
            begin = max(begin, min(int(starts[0]), end - LEAST_NS, *([incident[1]] if incident else [])))
        low, high, mean = (each[has, i] for each in (window.min, window.max, window.mean))
        times = starts + steps // 2
        rows = read.between(np.datetime64(int(starts[-1]), "ns"), np.datetime64(end, "ns"))
        if len(ends := np.flatnonzero(np.isfinite(rows.values[:, i]))):  # the line ends at the newest value
            newest = rows.values[ends[-1], i]
            times = np.append(times, max(int(times[-1]), int(rows.time[ends[-1]].astype(np.int64))))
            low, high, mean = (np.append(each, newest) for each in (low, high, mean))
        limits = tuple(self._limits(source, column))
        return Chart(source, column, window.units[i], begin, end, times, low, high, mean, limits, incident)
