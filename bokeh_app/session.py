"""One open page: what it asks for, and what is sent to it.

A page gets one packed array per tick and cuts it itself; the server keeps no rows for it. The page answers ticks
after it has drawn them: one that cannot keep up gets nothing while too many are open, and then all it missed at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from bokeh.core.properties import Float, Int, List, String
from bokeh.document import Document
from bokeh.model import DataModel
from bokeh.models import ColumnDataSource

import linemon
from linemon.errors import LinemonError

from .pump import Floats, Pump, epoch_ms

MAX_OPEN = 3  # ticks a page may owe an answer for; it answers every second one, which halves what answers cost
BUCKETS = 600  # across the window, two points each: more than a chart has pixels buys nothing
MAX_FIND = 255
LAST_MS = 9.2e12  # about where int64 nanoseconds end
APPEND, REPLACE, RELOAD = 0.0, 1.0, 2.0


class Wishes(DataModel):
    """What a page asks for: the browser writes, the server reads."""

    # mypy: Bokeh's properties are descriptors without types for what they hold
    ack: int = Int(0)  # type: ignore[assignment]  # the newest tick it has drawn
    window: int = Int(300)  # type: ignore[assignment]  # seconds to follow; 0 = all there is
    view: list[float] = List(Float)  # type: ignore[assignment]  # from, to in epoch ms while paused; empty = live
    refill: int = Int(0)  # type: ignore[assignment]  # counted up when it holds more points than it draws quickly
    find: str = String("")  # type: ignore[assignment]  # the text typed over the list of sources


class Session:
    """The server's side of one page. Nothing but the pump refers to it, and only as long as its document lives."""

    def __init__(
        self,
        doc: Document,
        pump: Pump,
        source: linemon.Source | None,
        *,
        shape: tuple[tuple[str, ...], tuple[str, ...]],
        drawn: Sequence[int],
        window: int,
        is_stale: Callable[[], bool],
    ) -> None:
        self.pipe = ColumnDataSource({"packed": np.empty(0)}, name="pipe")
        self.names = ColumnDataSource({"name": [], "columns": [], "unit": []}, name="names")
        self.wishes = Wishes(name="wishes", window=window)
        self._doc = doc
        self._pump = pump
        self._source = source
        self._shape = shape
        self._drawn = list(drawn)
        self._is_stale = is_stale
        self._is_waiting = False
        self._sent = 0
        self._cursor = 0
        self._bucket_ns = 1
        self._table: dict[str, list[Any]] = {}
        for wish in "window", "view", "refill":
            self.wishes.on_change(wish, lambda attr, old, new: self._send(REPLACE))
        self.wishes.on_change("find", lambda attr, old, new: self._send(APPEND))
        for model in self.pipe, self.names, self.wishes:
            doc.add_root(model)
        doc.on_event("document_ready", lambda event: self._open())  # what is sent before that would be lost
        doc.on_session_destroyed(self._close)

    def schedule(self) -> None:
        """Send what is new as soon as the document's lock is free, unless the page is behind."""
        if not self._is_waiting and self._sent - self.wishes.ack < MAX_OPEN:
            self._is_waiting = True
            self._doc.add_next_tick_callback(self._tick)

    def _open(self) -> None:
        self._send(REPLACE)
        self._pump.pages.add(self)

    def _close(self, context: object) -> None:
        self._pump.pages.discard(self)

    def _tick(self) -> None:
        self._is_waiting = False
        self._send(APPEND)

    def _send(self, kind: float) -> None:
        listing = self._pump.listing(self.wishes.find[:MAX_FIND])
        if listing.table != self._table:
            self._table = listing.table
            self.names.data = dict(listing.table)
        latest, times, values = np.empty(0), np.empty(0), np.empty((0, len(self._drawn)))
        try:
            if self._is_stale():
                kind = RELOAD
            elif self._source is not None:
                if (self._source.columns, self._source.units) == self._shape:
                    latest, times, values = self._read(self._source, kind)
                else:
                    kind = RELOAD
        except (LinemonError, OSError):
            kind = APPEND  # the store is being made anew: the page shows how old its newest row is
        self._sent += 1
        head = kind, self._sent, time.time() * 1e3, len(listing.newest), listing.more, len(latest), len(times)
        packed = np.concatenate([head, listing.newest.ravel(), latest, times, values.T.ravel()])
        self.pipe.data = {"packed": packed}

    def _read(self, source: linemon.Source, kind: float) -> tuple[Floats, Floats, Floats]:
        """The newest value of every column, then the times and values to draw."""
        if kind == REPLACE:
            rows = self._fill(source)
            self._cursor = rows.cursor
        elif self.wishes.view:
            return _latest(source.last(1).values), np.empty(0), np.empty((0, len(self._drawn)))
        else:
            cursor = self._cursor
            rows = self._pump.shared((source.name, cursor), lambda: source.since(cursor))
            self._cursor = rows.cursor
        times, values = thin(rows.time.view(np.int64), rows.values[:, self._drawn], self._bucket_ns)
        return _latest(rows.values), epoch_ms(times), values

    def _fill(self, source: linemon.Source) -> linemon.Rows:
        """All rows of the window, and how long a bucket is in it."""
        newest = source.newest
        if self.wishes.view:
            start, end = np.clip(np.nan_to_num(self.wishes.view[:2]), 0, LAST_MS)
            span = max(end - start, 1.0)
            # half as much again on either side, to pan into
            begin, stop = np.clip([start - span / 2, end + span / 2], 0, LAST_MS).astype("datetime64[ms]")
            rows = source.between(begin, stop)
        elif self.wishes.window > 0 and newest is not None:
            span = self.wishes.window * 1e3
            rows = source.between(newest - np.timedelta64(self.wishes.window, "s"))
        else:
            rows = source.between()
            span = float((rows.time[-1] - rows.time[0]).astype(np.int64)) / 1e6 if len(rows) else 0.0
        self._bucket_ns = max(1, int(span * 1e6 / BUCKETS))
        return rows


def thin(times: npt.NDArray[np.int64], values: Floats, bucket: int) -> tuple[npt.NDArray[np.int64], Floats]:
    """The rows in time order, or least and greatest of each column per bucket where that is fewer.

    Buckets stand at multiples of their length since the epoch, so that a second look finds the same ones; their two
    points lie at their first and last row, so that rows which come later still come after them.
    """
    if (times[1:] < times[:-1]).any():
        order = np.argsort(times, kind="stable")
        times, values = times[order], values[order]
    starts = np.flatnonzero(np.diff(times // bucket, prepend=-1))
    if len(times) <= 2 * len(starts):
        return times, values
    ends = np.append(starts[1:], len(times)) - 1
    points = np.empty((2 * len(starts), values.shape[1]))
    points[0::2] = np.fmin.reduceat(values, starts)
    points[1::2] = np.fmax.reduceat(values, starts)
    return np.stack([times[starts], times[ends]], axis=1).ravel(), points


def _latest(values: Floats) -> Floats:
    """The last value of each column that is not missing, among the newest rows."""
    tail = values[-60:][::-1]
    if not len(tail):
        return np.full(values.shape[1], np.nan)
    latest: Floats = tail[np.argmax(~np.isnan(tail), axis=0), np.arange(tail.shape[1])]
    return latest
