"""The page with charts: what it is sent of each source it draws."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from bokeh.document import Document

import linemon
from linemon.errors import LinemonError
from linemon.store.liveness import RECENT
from linemon.store.marks import Mark
from linemon.store.ring import Floats

from . import health
from .alarms import of_sources
from .finding import found
from .outputs import task_of
from .packing import (
    MS,
    Points,
    bucket_for,
    epoch_ms,
    from_window,
    joined,
    latest,
    pack_exactly,
    pack_points,
    room_for,
    thin,
)
from .page import APPEND, MAX_PIXELS, RELOAD, REPLACE, Page, as_text
from .pump import Pump
from .rhythm import Patience, Rhythm

if TYPE_CHECKING:
    from .behind import Behind

log = logging.getLogger(__name__)

LOOK_S = 1.0  # how often it is asked whether the columns are still the same
WHOLE_S = 30.0  # how long the picture of all there is stays good for a page that is moved about in
WHOLE_POINTS = 400
MAX_MARKS = 500  # the newest of those in sight
MAX_SAVED = 1_000_000  # values in a file that is saved; of more rows it has buckets
LAST_NS, MOST_NS = 9_200_000_000 * 10**9, 2**63 - 1  # about, and just where time ends


class Stream:
    """What one page is sent of one source: its `drawn` columns as points, of those and of `shown` the newest value."""

    def __init__(self, pump: Pump, name: str, drawn: Sequence[int], shown: Sequence[int]) -> None:
        self.name = name
        self.source = pump.source(name)
        self.shape = self._shape()
        self.drawn, self.shown = list(drawn), [*drawn, *shown]
        self.cursor = -1
        self.rhythm, self.patience = Rhythm(), Patience()
        self.ahead, self.furthest = 0, np.nan  # rows with stamps too far ahead of now, and the last of these, epoch ms
        self._pump = pump
        self._bucket = 0
        self.renew: Callable[[], None] = lambda: None  # has the page filled anew

    def look(self, now: float) -> bool:
        """Whether there are rows that were not sent. `now` is monotonic, in seconds."""
        try:
            rows = self.source.rows - self.cursor if self.source else 0
            newest = ns_of(self.source.newest) / 1e9 if self.source and rows > 0 else 0.0
        except (LinemonError, OSError):
            rows = newest = 0  # the store is being made anew: the page shows how old its newest row is
        if rows or now >= self.rhythm.due:
            self.rhythm.note(now, rows, newest)
        return rows != 0

    def is_stale(self) -> bool:
        """Whether the page must be built anew: its source is there now, or has other columns."""
        source = self.source or self._pump.source(self.name)
        if self.source is None or source is None:
            return source is not None
        shape = self._shape()
        return shape != self.shape and (shape != ((), ()) or self._pump.farewell(self.name) is not None)

    def _shape(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        try:
            return (self.source.columns, self.source.units) if self.source else ((), ())
        except (LinemonError, OSError):
            return (), ()

    def fill(self, window: int, sight: Sequence[float], room: int) -> list[Any]:
        """All points of the window, or of what is in sight with half as much again on either side, to pan into."""
        source = self.source
        if source is None:
            return self._parts(None, np.empty((0, 0)), np.nan)
        self.patience.look(source)
        latest = self._latest()
        recent = self._pump.shared(("recent", self.name), lambda: recently(source, latest))
        self._count_ahead(source, latest)
        if not len(recent):
            self.cursor = recent.cursor
            return self._parts(None, recent.values, np.nan)
        begin, end, span = self._range(window, sight, ns_of(recent.time[-1]))
        end = latest if end is None else end
        key = "fill", self.name, begin, end, tuple(self.drawn), room
        bucket, most = bucket_for(span, room), room * (4 if sight else 2)
        points, self.cursor = self._pump.shared(key, lambda: between(source, begin, end, self.drawn, bucket, most))
        self._bucket = points.bucket
        points = self._pump.older.before(points, self, self.drawn, begin, end, bucket)
        return self._parts(points, recent.values, float(epoch_ms(recent.time)[-1]))

    def held(self, window: int, sight: Sequence[float]) -> tuple[int, int]:
        """From and to in ns of what the page holds of it, or will: rows that are to come, too."""
        if self.source is None:
            return LAST_NS, 0
        begin, end, _ = self._range(window, sight, min(ns_of(self.source.newest), self._latest()))
        return begin, LAST_NS if end is None else end

    def save(self, sight: Sequence[float], most: int) -> Floats:
        """The `drawn` columns of [from, to] in epoch ms as stored: rows, or buckets of too many."""
        begin, end = (_clipped(each) for each in sight)
        if self.source is None or end <= begin:
            return pack_exactly(Points.none(len(self.drawn)))
        points, _ = between(self.source, begin, end, self.drawn, bucket_for(end - begin, max(2, most // 3)), most)
        return pack_exactly(points)

    def append(self, is_live: bool, room: int) -> list[Any] | None:
        """The points that came since; None where the page must be filled anew, as after a long time in the dark."""
        source = self.source
        if source is None:
            return self._parts(None, np.empty((0, 0)), np.nan)
        cursor = self.cursor
        rows = self._pump.shared(("since", self.name, cursor), lambda: source.since(cursor))
        self.cursor = rows.cursor
        times, values = rows.time.view(np.int64), rows.values
        if (is_ahead := times > self._latest()).any():
            self.ahead += int(is_ahead.sum())
            self.furthest = float(np.fmax(self.furthest, epoch_ms(times).max()))
            times, values = times[~is_ahead], values[~is_ahead]
        newest = float(epoch_ms(times).max()) if len(times) else np.nan
        if len(rows):
            self.patience.look(source)
        if not is_live:
            return self._parts(None, values, newest)
        if rows.missed or (not self._bucket and len(rows) > 2 * room):
            return None
        return self._parts(thin(times, values[:, self.drawn], self._bucket), values, newest)

    def whole(self, is_live: bool) -> Floats:
        """One column over all there is, coarsely, as points; while live the page goes on with it by itself."""
        source, latest = self.source, self._latest()
        begin = self._pump.older.oldest(self) if self.drawn else None
        if source is None or begin is None or begin > latest:
            return pack_points(Points.none(1))

        def make() -> Floats:
            bucket = bucket_for(max(min(ns_of(source.newest), latest) - begin, 1), WHOLE_POINTS)
            points, _ = between(source, begin, latest, self.drawn[:1], bucket, 2 * WHOLE_POINTS)
            return pack_points(self._pump.older.before(points, self, self.drawn[:1], begin, latest, bucket))

        key = "whole", self.name, self.drawn[0], is_live, self._pump.older.version
        return self._pump.shared(key, make, 0 if is_live else WHOLE_S)

    def _parts(self, points: Points | None, values: Floats, newest: float) -> list[Any]:
        shown = latest(values[:, self.shown]) if values.size else np.full(len(self.shown), np.nan)
        arrived = self.source.arrived if self.source else None
        came = np.nan if arrived is None else ns_of(arrived) / MS
        return [
            [came, newest, self.patience.ms, self.ahead, self.furthest],
            shown,
            pack_points(points or Points.none(len(self.drawn), self._bucket)),
        ]

    def _latest(self) -> int:
        """The last time (ns) that belongs to now; what a task says may lie ahead."""
        return LAST_NS if task_of(self.name) else self._pump.latest()

    def _count_ahead(self, source: linemon.Source, latest: int) -> None:
        self.ahead, self.furthest = 0, np.nan
        if ns_of(source.newest) > latest:
            times = self._pump.shared(("ahead", self.name), lambda: source.between(_time(latest + 1)).time)
            if len(times):
                self.ahead, self.furthest = len(times), float(epoch_ms(times)[-1])

    def _range(self, window: int, sight: Sequence[float], newest: int) -> tuple[int, int | None, int]:
        """From and to in ns, None = open, and the length in ns of what is in sight."""
        if len(sight) == 2:
            start, end = (_clipped(each) for each in sight)
            span = max(end - start, 1)
            return max(0, start - span // 2), min(end + span // 2, LAST_NS), span
        if window > 0:
            return newest - window * 10**9, None, window * 10**9
        oldest = self._pump.older.oldest(self)
        begin = newest if oldest is None else oldest
        return begin, None, max(newest - begin, 1)


def recently(source: linemon.Source, latest: int) -> linemon.Rows:
    """The newest rows that are not later than `latest` (ns), in time order."""
    rows = source.last(RECENT)
    if not len(rows) or ns_of(rows.time[-1]) <= latest:
        return rows
    rows = source.between(None, _time(latest + 1))
    return replace(rows, time=rows.time[-RECENT:], values=rows.values[-RECENT:])


def between(
    source: linemon.Source, begin: int, end: int | None, columns: list[int], bucket: int, most: int
) -> tuple[Points, int]:
    """Of [begin, end) in ns the rows, or buckets of them where there are more than `most`; and the cursor after them.

    Of what only the history has there are buckets, longer ones where it has none so short. Many rows are reduced where
    they lie: a copy of all would take more memory than a gateway has.
    """
    first = begin // bucket * bucket
    newest = ns_of(source.newest) + bucket
    last = newest if end is None else min(end, max(newest, begin + 1))  # nothing is later
    count = max(1, -(-(min(last, LAST_NS) - first) // bucket))
    bucket = min(bucket, (MOST_NS - first) // count)  # where time ends
    stop = first + count * bucket
    with np.errstate(over="ignore"):  # a mean of what no float64 can sum is beyond any axis
        window = source.window(_time(first), _time(stop), count)
    has_older = source.older(_time(first), _time(stop), 1) is not None
    if window.count.max(axis=1).sum() <= most and not has_older:
        rows = source.between(_time(begin), None if end is None else _time(end))
        if len(rows) <= most:  # also where many of them have no value in most columns
            return thin(rows.time.view(np.int64), rows.values[:, columns], 0), rows.cursor
    bucket = max(bucket, int(window.step[-2:].max().astype(np.int64)))  # as those that follow are to be
    points = [from_window(window, columns, bucket)]
    if has_older:  # where a view is shorter than a bucket, lines come in from the one before, and go on to the next

        def beside(start: int, end: int, step: int) -> Points:
            window = source.window(_time(start), _time(end), 1)
            return replace(from_window(window, columns, bucket), longer=((end, step),))

        step = _step_at(source, first)
        if step > bucket and first >= step:
            points.insert(0, beside((first - 1) // step * step, first, step))
        step = 0 if end is None else _step_at(source, end)
        if step > bucket:
            start = -(-stop // step) * step
            points.append(beside(start, start + step, step))
    return joined(points), window.cursor


def _step_at(source: linemon.Source, at: int) -> int:
    """How long (ns) the shortest buckets are that are held of a time (ns); 0 where there are rows, or nothing.

    A level begins where a bucket of the next one ends.
    """
    levels = source.kept
    ends = [following.step for following in levels[1:]] + [1]
    return next((level.step for level, end in zip(levels, ends, strict=True) if -(-level.begin // end) * end <= at), 0)


class ChartPage(Page):
    """A page of charts: of one source, or of columns of several."""

    def __init__(
        self,
        doc: Document,
        pump: Pump,
        streams: Sequence[Stream],
        behind: Behind,
        *,
        has_health: bool,
        is_stale: Callable[[], bool],
    ) -> None:
        super().__init__(doc, pump)
        self._streams, self._behind = streams, behind
        self._is_behind_due = False
        self._has_health = has_health
        self._is_stale = is_stale
        self._looked = 0.0
        for stream in streams:
            stream.renew = self.renew
        self._marks: list[Mark] | None = None  # of which the page was sent what is near
        self.wishes.on_change("save", lambda attr, old, new: self.save(new[:2]))

    def is_due(self, now: float) -> bool:
        if now - self._looked >= LOOK_S:
            self._looked = now
            self._is_behind_due = self._behind.is_due()
            if self._has_health or self._is_behind_due or self._must_reload():
                return True
        have_come = [stream.look(now) for stream in self._streams]  # at all of them: what has come is sent together
        return any(have_come)

    def due(self) -> float:
        return min((stream.rhythm.due for stream in self._streams), default=self._looked + LOOK_S)

    def message(self, kind: float) -> tuple[float, list[Any]]:
        if self._must_reload():
            return RELOAD, []
        if self._has_health:
            self.answers.health = json.dumps(health.facts(self._pump, with_lines=True))
        self.answers.older = self._pump.older.said
        try:
            parts = self._append() if kind == APPEND else None
            if parts is None:
                kind, parts = REPLACE, self._fill()
            self._send_marks(kind == REPLACE)
            if kind == REPLACE or self._is_behind_due:
                self._is_behind_due = False
                self.answers.behind = self._behind.text(self.wishes.window, self.wishes.sight, self._pixels)
            names = tuple(stream.name for stream in self._streams)
            said = self._pump.shared(("alarms", names), lambda: json.dumps(of_sources(self._pump, names)), LOOK_S)
            self.answers.alarms = said
        except (LinemonError, OSError):
            return APPEND, [[0.0]]  # the store is being made anew: the page shows how old its newest row is
        return kind, [[len(self._streams)], *parts]

    def search(self, text: str) -> None:
        """Sources, and columns of them where the text says so: `web1:cpu` or `cpu.busy`."""
        self.answers.found = json.dumps(found(self._pump, text))

    def save(self, sight: Sequence[float]) -> None:
        """Answer with the rows of what is in sight, exactly."""
        most = MAX_SAVED // max(1, sum(len(stream.drawn) for stream in self._streams))
        try:
            self.answers.saved = as_text([stream.save(sight, most) for stream in self._streams])
        except (LinemonError, OSError) as error:
            log.warning("nothing could be saved: %s", error)

    def _send_marks(self, is_new: bool) -> None:
        """Those of these sources, and of all, that lie in what the page holds: where that, or they, are others."""
        marks = self._pump.marks()
        if not is_new and marks is self._marks:
            return
        self._marks = marks
        ranges = [stream.held(self.wishes.window, self.wishes.sight) for stream in self._streams]
        if not ranges:
            return
        begin, end = _time(min(begin for begin, _ in ranges)), _time(max(end for _, end in ranges))
        names = {None, *(stream.name for stream in self._streams)}
        near = [mark for mark in marks if begin <= mark.time <= end and mark.source in names]
        shown = near[-MAX_MARKS:]
        times = epoch_ms(np.array([mark.time for mark in shown], "datetime64[ns]")).tolist()
        said = [[at, mark.text, mark.source, mark.kind] for at, mark in zip(times, shown, strict=True)]
        self.answers.marks = json.dumps({"marks": said, "left_out": len(near) - len(shown)})

    def _must_reload(self) -> bool:
        return self._is_stale() or any(stream.is_stale() for stream in self._streams)

    def _append(self) -> list[Any] | None:
        parts: list[Any] = []
        for stream in self._streams:
            more = stream.append(not self.wishes.sight, self._room)
            if more is None:
                return None
            parts += more
        return parts

    def _fill(self) -> list[Any]:
        parts: list[Any] = []
        for stream in self._streams:
            parts += stream.fill(self.wishes.window, self.wishes.sight, self._room)
        if self._streams:
            oldest = [at for stream in self._streams if (at := self._pump.older.oldest(stream)) is not None]
            parts += [self._streams[0].whole(not self.wishes.sight), [min(oldest, default=np.nan) / MS]]
        return parts

    @property
    def _room(self) -> int:
        return room_for(sum(len(stream.drawn) for stream in self._streams), self._pixels)

    @property
    def _pixels(self) -> int:
        return min(max(self.wishes.pixels, 50), MAX_PIXELS)


def _clipped(ms: float) -> int:
    """A time in epoch ms as ns, within what there may be."""
    return int(min(max(np.nan_to_num(ms), 0), LAST_NS / MS) * MS)


def _time(ns: int) -> np.datetime64:
    return np.datetime64(ns, "ns")


def ns_of(time: np.datetime64 | None) -> int:
    return 0 if time is None else int(time.astype(np.int64))
