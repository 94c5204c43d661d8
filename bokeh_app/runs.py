"""Runs of a source laid over each other: what came around each of its marks with a text, t = 0 at the mark.

A run reaches from the mark before to the mark after. It is drawn later, by as much as its mark lies before the newest
one, so a page of runs is in the time of its newest run, which may still go on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from linemon.store.marks import Mark
from linemon.store.ring import Floats

from .compare import Pair, streams_of
from .packing import MS, Points, bucket_for, pack_exactly, pack_points
from .panels import MAX_LINES, MAX_PANELS, Line, Panel
from .pump import Pump
from .shown import Columns, Shown, until_other
from .streams import LAST_NS, Stream, between, ns_of
from .view import View

LEAD = 20  # a part so long of the view lies before the marks
KEEP_S = 60.0  # which runs there are is kept, for as long as there are no other marks


@dataclass(frozen=True)
class Span:
    """From when to when (ns) a run is, with its mark."""

    source: str
    mark: Mark
    since: int
    until: int  # LAST_NS: it goes on

    @property
    def at(self) -> int:
        return ns_of(self.mark.time)


class Run(Stream):
    """One run as a page is sent it; its mark is drawn at `zero` (ns), and all there is takes `length` (ns)."""

    def __init__(self, pump: Pump, span: Span, drawn: Sequence[int], zero: int, length: int) -> None:
        super().__init__(pump, span.source, drawn, ())
        self.span = span
        self._zero, self._length, self._shift = zero, length, zero - span.at
        self._is_over = span.until < LAST_NS
        if self._is_over:
            self.rhythm.due = np.inf

    def look(self, now: float) -> bool:
        return not self._is_over and super().look(now)

    def append(self, is_live: bool, room: int) -> list[Any] | None:
        return self._parts(None, np.empty((0, 0)), np.nan) if self._is_over else super().append(is_live, room)

    def held(self, window: int, sight: Sequence[float]) -> tuple[int, int]:
        """Nothing where it is drawn at other times than its own: there marks are those of the newest run."""
        return (LAST_NS, 0) if self._shift else super().held(window, sight)

    def save(self, sight: Sequence[float], most: int) -> Floats:
        """The rows as stored, at the times at which they are drawn."""
        begin, end = self._own(int(sight[0] * MS), int(sight[1] * MS))
        if self.source is None or end <= begin:
            return pack_exactly(Points.none(len(self.drawn)))
        points, _ = between(self.source, begin, end, self.drawn, bucket_for(end - begin, max(2, most // 3)), most)
        return pack_exactly(points.later(self._shift))

    def whole(self, is_live: bool) -> Floats:
        """Nothing: of runs there is no picture of all there is."""
        return pack_points(Points.none(1))

    def _own(self, begin: int, end: int) -> tuple[int, int]:
        """What of the page's [begin, end) ns is its own, in its own time."""
        begin = min(max(begin - self._shift, self.span.since), self.span.until)
        return begin, max(begin, min(end - self._shift, self.span.until))

    def _range(self, window: int, sight: Sequence[float], newest: int) -> tuple[int, int | None, int]:
        if len(sight) == 2:
            begin, end, length = super()._range(window, sight, newest)
        else:
            length = window * 10**9 or self._length
            begin, end = self._zero - length // LEAD, self._zero + length
        return *self._own(begin, end or begin), length

    def _parts(self, points: Points | None, values: Floats, newest: float) -> list[Any]:
        if points is not None:
            points = points.between(self.span.since, self.span.until).later(self._shift)
        return super()._parts(points, values, min(newest, self.span.until / MS) + self._shift / MS)


def spans(pump: Pump, view: View) -> tuple[Span, ...]:
    """The runs that a view asks for, of each of its sources the newest first: from marks of it, or of all."""
    marks = pump.marks()  # the same list for as long as there are no others
    kept: list[Any] = pump.shared(("runs", view.plot, view.mark, view.last), lambda: [None, ()], KEEP_S)
    if kept[0] is not marks:
        kept[:] = marks, chosen(marks, view)
    found: tuple[Span, ...] = kept[1]
    return found


def chosen(marks: Sequence[Mark], view: View) -> tuple[Span, ...]:
    """The same of all marks in time order."""
    text, found = view.mark.casefold(), list[Span]()
    most = min(view.last, MAX_LINES // max(1, len(view.plot)))
    for name in dict.fromkeys(name for name, _ in view.plot):
        mine: dict[int, Mark] = {}
        for mark in reversed(marks):
            if mark.source in (None, name) and mark.text.casefold().startswith(text):
                mine[ns_of(mark.time)] = mark
                if len(mine) > most:
                    break
        ends = [LAST_NS, *mine, 0]
        runs = [Span(name, mark, ends[i + 2], ends[i]) for i, mark in enumerate(mine.values())]
        found += runs[:most]
    return tuple(found)


def show(pump: Pump, view: View) -> Shown:
    """A stream per run, and a chart per column.

    The browser gets to know `zero` (epoch ms, and `zero_ns`), `length` (ms), and of each run time (epoch ms) and text
    of its mark.
    """
    wanted = [(span, source) for span in spans(pump, view) if (source := pump.source(span.source))]
    zero = max((span.at for span, _ in wanted), default=0)
    over = [span.until - span.at for span, _ in wanted if span.until < LAST_NS]
    length = max([*(over or [min(ns_of(source.newest), pump.latest()) - span.at for span, source in wanted]), 1])
    streams: list[Stream] = []
    columns: Columns = []
    charts: dict[Pair, tuple[str, str, list[Line]]] = {}
    laid: list[Span] = []
    for span, _ in wanted:
        found, its, _ = streams_of(pump, [pair for pair in view.plot if pair[0] == span.source])
        for _, name, unit, label in its:
            _, _, lines = charts.setdefault((span.source, name), (label or name, unit, []))
            lines.append(Line(len(columns), str(span.mark.time)))
            columns.append((len(streams), name, unit, label))
        streams += [Run(pump, span, stream.drawn, zero, length) for stream in found]
        laid += [span for _ in found]
    is_one = len({name for name, _ in charts}) == 1
    panels = [
        Panel(title if is_one else f"{name} {title}", unit, tuple(lines))
        for (name, _), (title, unit, lines) in charts.items()
    ]
    missing = [":".join(pair) for pair in view.plot if pair not in charts]
    runs = [[span.at / MS, span.mark.text] for span in laid]
    said = {"zero": zero / MS, "zero_ns": str(zero), "length": length / MS, "runs": runs}
    return Shown(
        f"Runs of {', '.join(dict.fromkeys(name for name, _ in view.plot))}",
        streams,
        panels[:MAX_PANELS],
        columns,
        until_other(lambda: (spans(pump, view), missing and pump.names())),
        is_shifted=True,
        about=said,
        words={"missing": missing},
    )
