"""One measure of all sources that have it: the top ones as lines and a band of the rest, or a small chart for each."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from bokeh.io import curdoc
from bokeh.server.contexts import BokehSessionContext

from linemon.boards import WINDOWS
from linemon.errors import LinemonError
from linemon.store.across import Column, having, means, spread
from linemon.store.ring import Floats, Ints

from .compare import compare
from .packing import Points, bucket_for, pack_points
from .page import as_text
from .panels import Line, Panel, label_of, take_apart
from .pump import Pump
from .shown import Columns, Shown, never, until_other
from .streams import LAST_NS, ChartPage, Stream
from .view import View

log = logging.getLogger(__name__)

TOP, SMALL = 10, 16  # lines over each other; charts beside each other
POINTS = 200  # of the band
RANKED = 10  # parts of what is in sight: the older ones may be known by the history alone
AGAIN_S = 5.0  # how often the band is made longer
FILLED = 0.8  # of all buckets in which some source has values, those of all sources that must have some
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)  # of the rest: least, middle half, median, greatest


@dataclass(frozen=True)
class Ranked:
    """The columns that are drawn, the highest first, and all others."""

    top: list[Column]
    rest: list[Column]


_prepared: WeakKeyDictionary[Any, Ranked] = WeakKeyDictionary()  # by the contexts of sessions that are to come


async def prepare(context: BokehSessionContext, pump: Pump, view: View) -> None:
    """Rank for a page that is to be built next, beside the loop: no other page stands still meanwhile."""
    _prepared[context] = await asyncio.to_thread(rank, pump, view)


def show(pump: Pump, view: View) -> Shown:
    context = curdoc().session_context
    ranked = _prepared.pop(context) if context in _prepared else rank(pump, view)
    streams, panels, columns = charts_of(pump, view, ranked.top)
    rest = [] if view.is_small else ranked.rest
    return Shown(
        title_of(pump, view.measure),
        streams,
        panels,
        columns,
        never if panels else until_other(pump.names),
        about={"is_alike": view.is_small, "rest": len(rest)},
        words={"total": len(ranked.top) + len(ranked.rest)},
        page=partial(MeasurePage, Rest(pump, rest)),
    )


def rank(pump: Pump, view: View) -> Ranked:
    """By their means over what the view shows."""
    words = view.find.casefold().split()
    columns = [each for each in having(pump.store, view.measure) if all(word in each[0].casefold() for word in words)]
    begin, end = span_of(view, time.time_ns())
    bucket = bucket_for(end - begin, RANKED)
    parts = means(pump.store, columns, edges_of(begin, end + bucket, bucket))
    counts = np.count_nonzero(parts == parts, axis=1)
    values = np.where(counts, np.nansum(parts, axis=1) / np.maximum(counts, 1), -np.inf)
    order = np.argsort(-values, kind="stable").tolist()
    top = SMALL if view.is_small else TOP
    return Ranked([columns[i] for i in order[:top]], [columns[i] for i in order[top:]])


def span_of(view: View, now: int) -> tuple[int, int]:
    """From and to in ns of what an address shows, up to now."""
    if view.sight:
        begin, end = (int(min(max(ms, 0), LAST_NS / 1e6) * 1e6) for ms in view.sight)
        return begin, max(end, begin + 1)
    return now - (WINDOWS[view.window] or WINDOWS["1y"]) * 10**9, now


def charts_of(pump: Pump, view: View, top: Sequence[Column]) -> tuple[list[Stream], list[Panel], Columns]:
    """A stream per source, the chart or charts, and of each column what `compare` says."""
    streams, panels, columns, _ = compare(pump, replace(view, plot=tuple(top), is_beside=view.is_small))
    title = title_of(pump, view.measure)

    def name_of(number: int) -> str:
        stream, column, *_ = columns[number]
        name = streams[stream].name
        return name if column == view.measure else name.removesuffix(f".{view.measure}")

    def named(panel: Panel) -> Panel:
        lines = tuple(Line(line.column, name_of(line.column)) for line in panel.lines)
        return replace(panel, title=lines[0].label if view.is_small else title, lines=lines)

    return streams, [named(panel) for panel in panels], columns


def title_of(pump: Pump, measure: str) -> str:
    """What it is called of all sources."""
    return str(pump.kept().of_column("*", measure).get("label") or label_of(take_apart(0, measure, "")))


class Rest:
    """The band of those that are not among the top: made in a thread, as there may be ten thousand."""

    def __init__(self, pump: Pump, columns: list[Column]) -> None:
        self._pump, self._columns = pump, columns
        self._times: Ints = np.empty(0, np.int64)
        self._found: Floats = np.empty((0, len(SHARES)))
        self._bucket = 0
        self._made_for: object = None
        self._due = 0.0
        self._task: asyncio.Task[None] | None = None
        self.said = ""

    def look(self, window: int, sight: Sequence[float]) -> None:
        """Have it made, where it is not what belongs to this view, or too old. To be called in the loop."""
        now = time.monotonic()
        view = window, tuple(sight)
        if not self._columns or self._task or (view == self._made_for and (sight or now < self._due)):
            return
        if view != self._made_for:
            self._times, self._bucket = np.empty(0, np.int64), 0
        self._made_for, self._due = view, now + AGAIN_S
        begin, end = span_of(View("measure", window=_named(window), sight=tuple(sight)), time.time_ns())
        if sight:
            half = (end - begin) // 2  # to pan into
            begin, end = max(0, begin - half), min(end + half, time.time_ns())
        self._task = asyncio.get_running_loop().create_task(self._make(begin, end))

    async def _make(self, begin: int, end: int) -> None:
        try:
            self.said = await asyncio.to_thread(self._made, begin, end)
        except (LinemonError, OSError) as error:  # the store is being made anew
            log.warning("no band: %s", error)
        finally:
            self._task = None

    def _made(self, begin: int, end: int) -> str:
        """The points of the band; of a live view only those that are new are read."""
        bucket, times, found = self._bucket, self._times, self._found
        if not bucket:
            bucket, values = self._read(begin, end)
            start, times, found = begin // bucket, times[:0], found[:0]
        else:
            kept = (times >= begin) & (times < (end // bucket - 2) * bucket)  # what came late belongs to the last ones
            times, found = times[kept], found[kept]
            start = int(times[-1]) // bucket + 1 if len(times) else begin // bucket
            values = means(self._pump.store, self._columns, edges_of(start * bucket, end, bucket))
        new = spread(values, SHARES)
        some = np.flatnonzero(~np.isnan(new[:, 0]))
        self._bucket = bucket
        self._times = np.concatenate([times, (start + some) * bucket])
        self._found = np.concatenate([found, new[some]])
        count = np.ones(self._found.shape, np.int64)
        points = Points(self._times + bucket // 2, self._found, self._found, self._found, count, bucket)
        return as_text([pack_points(points)])

    def _read(self, begin: int, end: int) -> tuple[int, Floats]:
        """The length of buckets (ns) that most of the sources have values in, as some may be slow; and these."""
        bucket = bucket_for(end - begin, POINTS)
        while True:
            values = means(self._pump.store, self._columns, edges_of(begin, end, bucket))
            there = ~np.isnan(values)
            has_any = there.any(axis=0), there.any(axis=1)
            if not there.any() or there[has_any[1]][:, has_any[0]].mean() > FILLED or bucket * 4 > end - begin:
                return bucket, values
            bucket *= 2


class MeasurePage(ChartPage):
    """The server's side of an open page of a measure."""

    def __init__(self, rest: Rest, *arguments: Any, **more: Any) -> None:
        self.rest = rest
        super().__init__(*arguments, **more)

    def is_due(self, now: float) -> bool:
        self.rest.look(self.wishes.window, self.wishes.sight)
        return super().is_due(now) or self.rest.said != self.answers.rest

    def message(self, kind: float) -> tuple[float, list[Any]]:
        self.answers.rest = self.rest.said
        return super().message(kind)


def edges_of(begin: int, end: int, bucket: int) -> Ints:
    """Of the buckets from that of `begin` on that are over at `end`, at least one: who has not sent yet is in none."""
    first = begin // bucket
    return np.arange(first, max(end // bucket, first + 1) + 1) * bucket


def _named(window: int) -> str:
    return next((name for name, seconds in WINDOWS.items() if seconds == window), "5m")
