"""The page with charts: what it is sent of each source it draws."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from bokeh.document import Document

import linemon
from linemon.errors import LinemonError

from . import health
from .packing import Floats, Points, bucket_for, epoch_ms, latest, pack_points, room_for, thin
from .pump import Pump, matching
from .session import APPEND, MAX_PIXELS, RELOAD, REPLACE, Session

LOOK_S = 1.0  # how often it is asked whether the columns are still the same
WHOLE_S = 30.0  # how long the picture of all there is stays good
WHOLE_POINTS = 400
MAX_FOUND = 40
LAST_MS = 9.2e12  # about where int64 nanoseconds end


class Stream:
    """What one page is sent of one source: its `drawn` columns as points, of those and of `shown` the newest value."""

    def __init__(self, pump: Pump, name: str, drawn: Sequence[int], shown: Sequence[int]) -> None:
        self.name = name
        self.source = pump.source(name)
        self.shape = self._shape()
        self.drawn, self.shown = list(drawn), [*drawn, *shown]
        self.cursor = -1
        self._pump = pump
        self._bucket = 0

    def has_news(self) -> bool:
        """Whether there are rows that were not sent."""
        try:
            return self.source is not None and self.source.rows != self.cursor
        except (LinemonError, OSError):
            return False  # the store is being made anew: the page shows how old its newest row is

    def is_stale(self) -> bool:
        """Whether the page must be built anew: its source is there now, or has other columns."""
        source = self.source or self._pump.source(self.name)
        if self.source is None or source is None:
            return source is not None
        shape = self._shape()
        return shape != self.shape and shape != ((), ())

    def _shape(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        try:
            return (self.source.columns, self.source.units) if self.source else ((), ())
        except (LinemonError, OSError):
            return (), ()

    def fill(self, window: int, view: Sequence[float], room: int) -> list[Any]:
        """All points of the window, or of the view with half as much again on either side, to pan into."""
        if self.source is None:
            return self._parts(None, np.empty((0, 0)), np.nan)
        start, end, span = self._range(self.source, window, view)
        source, key = self.source, (self.name, start, end)
        rows = self._pump.shared(("between", *key), lambda: source.between(*_times(start, end)))
        span = span or (int(rows.time[-1] - rows.time[0]) if len(rows) else 0)
        self._bucket = bucket_for(span, len(rows) // (2 if view else 1), room)
        self.cursor = rows.cursor

        def make() -> Points:
            return thin(rows.time.view(np.int64), rows.values[:, self.drawn], self._bucket)

        points = self._pump.shared(("thin", *key, tuple(self.drawn), self._bucket), make)
        newest = source.last(1)
        return self._parts(points, (newest if view else rows).values, _last_ms(newest))

    def append(self, is_live: bool, room: int) -> list[Any] | None:
        """The points that came since; None where the page must be filled anew, as after a long time in the dark."""
        source = self.source
        if source is None:
            return self._parts(None, np.empty((0, 0)), np.nan)
        cursor = self.cursor
        rows = self._pump.shared(("since", self.name, cursor), lambda: source.since(cursor))
        self.cursor = rows.cursor
        if not is_live:
            return self._parts(None, rows.values, _last_ms(rows))
        if rows.missed or (not self._bucket and len(rows) > 2 * room):
            return None
        points = thin(rows.time.view(np.int64), rows.values[:, self.drawn], self._bucket)
        return self._parts(points, rows.values, _last_ms(rows))

    def whole(self) -> list[Any]:
        """One column over all there is, coarsely: [points, times, least, greatest]."""
        source = self.source
        if source is None or not self.drawn:
            return [[0.0]]

        def make() -> list[Any]:
            rows = source.between()
            span = int(rows.time[-1] - rows.time[0]) if len(rows) else 0
            times, values = rows.time.view(np.int64), rows.values[:, self.drawn[:1]]
            points = thin(times, values, bucket_for(span, len(rows), WHOLE_POINTS))
            return [[len(points.times)], epoch_ms(points.times), points.low, points.high]

        return self._pump.shared(("whole", self.name, self.drawn[0]), make, WHOLE_S)

    def _parts(self, points: Points | None, values: Floats, newest: float) -> list[Any]:
        shown = latest(values[:, self.shown]) if values.size else np.full(len(self.shown), np.nan)
        empty = np.empty((0, len(self.drawn)))
        none = Points(np.empty(0, np.int64), empty, empty, empty, np.empty(0, np.int64), self._bucket)
        return [[newest], shown, pack_points(points or none)]

    @staticmethod
    def _range(source: linemon.Source, window: int, view: Sequence[float]) -> tuple[float, float, int]:
        """From and to in epoch ms, nan = open, and the length in ns of what is in sight, 0 = unknown."""
        if len(view) == 2:
            start, end = np.clip(np.nan_to_num(view), 0, LAST_MS)
            span = max(end - start, 1.0)
            begin, stop = np.clip([start - span / 2, end + span / 2], 0, LAST_MS)
            return float(begin), float(stop), int(span * 1e6)
        newest = source.newest
        if window > 0 and newest is not None:
            return float(newest.astype(np.int64) / 1e6 - window * 1e3), np.nan, window * 10**9
        return np.nan, np.nan, 0


class ChartSession(Session):
    """A page of charts: of one source, or of columns of several."""

    def __init__(
        self, doc: Document, pump: Pump, streams: Sequence[Stream], *, has_health: bool, is_stale: Callable[[], bool]
    ) -> None:
        super().__init__(doc, pump)
        self._streams = streams
        self._has_health = has_health
        self._is_stale = is_stale
        self._looked = 0.0

    def is_due(self, now: float) -> bool:
        if now - self._looked >= LOOK_S:
            self._looked = now
            if self._has_health or self._must_reload():
                return True
        return any(stream.has_news() for stream in self._streams)

    def message(self, kind: float) -> tuple[float, list[Any]]:
        if self._must_reload():
            return RELOAD, []
        if self._has_health:
            self.answers.health = json.dumps(health.facts(self._pump, with_lines=True))
        try:
            parts = self._append() if kind == APPEND else None
            if parts is None:
                kind, parts = REPLACE, self._fill()
        except (LinemonError, OSError):
            return APPEND, [[0.0]]  # the store is being made anew: the page shows how old its newest row is
        return kind, [[len(self._streams)], *parts]

    def search(self, text: str) -> None:
        """Sources, and columns of them where the text says so: `web1:cpu` or `cpu.busy`."""
        self.answers.found = json.dumps(self._pump.shared(("search", text), lambda: found(self._pump, text)))

    def _must_reload(self) -> bool:
        return self._is_stale() or any(stream.is_stale() for stream in self._streams)

    def _append(self) -> list[Any] | None:
        parts: list[Any] = []
        for stream in self._streams:
            more = stream.append(not self.wishes.view, self._room)
            if more is None:
                return None
            parts += more
        return parts

    def _fill(self) -> list[Any]:
        parts: list[Any] = []
        for stream in self._streams:
            parts += stream.fill(self.wishes.window, self.wishes.view, self._room)
        return parts + self._streams[0].whole() if self._streams else parts

    @property
    def _room(self) -> int:
        columns = sum(len(stream.drawn) for stream in self._streams)
        return room_for(columns, min(max(self.wishes.pixels, 50), MAX_PIXELS))


def found(pump: Pump, text: str) -> list[tuple[str, str]]:
    """Sources (with an empty column) and columns whose names contain a text, the sources first."""
    names = pump.names()
    listed = [(name, "") for name in matching(names, text)[:MAX_FOUND]]
    before, colon, after = text.rpartition(":")
    for name in matching(names, before if colon else ""):
        if len(listed) >= MAX_FOUND:
            break
        source = pump.source(name)
        wanted = after.casefold() if colon else text.casefold()
        columns = source.columns if source and (colon or wanted) else ()
        listed += [(name, column) for column in columns if wanted in column.casefold()]
    return listed[:MAX_FOUND]


def _times(start: float, end: float) -> tuple[np.datetime64 | None, np.datetime64 | None]:
    return tuple(None if np.isnan(each) else np.datetime64(round(each), "ms") for each in (start, end))  # type: ignore[return-value]


def _last_ms(rows: linemon.Rows) -> float:
    return float(epoch_ms(rows.time).max()) if len(rows) else np.nan
