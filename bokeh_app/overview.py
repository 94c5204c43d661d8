"""The overview: a row per source with its newest values and how they came to be; hundreds of them stay fast.

One `Watch` per server reads what is new of every source, once for all open pages, and only while there is one. A page
is sent the rows it lists and the cells of its map.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from bokeh.document import Document

import linemon
from linemon.errors import LinemonError
from linemon.store.describe import natural
from linemon.store.liveness import RECENT
from linemon.store.ring import Floats

from . import health
from .alarms import levels, of_these
from .kept import State
from .limits import Levels
from .outputs import listed
from .packing import as_pairs, epoch_ms
from .page import APPEND, Page
from .panels import label_of, take_apart
from .pump import Pump, matching, pump
from .rhythm import Patience
from .strange import strange
from .streams import found

MAX_ROWS = 200  # listed; the rest is counted, drawn in the map, and found by typing
MAX_CELLS = 2000  # of the map
MEASURES = 3  # values per row
SPARKS = 60  # points of a sparkline,
SPARK_S = 5.0  # each of so many seconds, or of as many as are usual between two rows
TICK_S = 1.0
SLOW_S = 5.0  # how often rows change places and sparklines are sent
NO_TROUBLE = {"": 0}
FEW = 10  # rows that do not say yet what is usual
READ_PER_TICK = 2000  # sources; of more, each is looked at every few ticks
HOST = ("cpu.busy_pct", "mem.used_pct", "net.rx_bytes_per_s")  # a source with the first is a host


@dataclass
class Seen:
    """What is known of one source."""

    is_host: bool
    columns: tuple[str, ...]
    picked: list[int]  # columns that are shown, and
    places: list[int]  # where in the row
    labels: list[str]
    units: list[str]
    step_s: float  # of a sparkline's points
    cursor: int = 0
    arrived: float = np.nan  # when its newest row came, epoch ms
    newest: float = np.nan  # the latest of its stamps, epoch ms
    patience: Patience = field(default_factory=Patience)
    values: Floats = field(default_factory=lambda: np.full(MEASURES, np.nan))
    ids: npt.NDArray[np.int64] = field(default_factory=lambda: np.full(SPARKS, -1))
    sparks: Floats = field(default_factory=lambda: np.full((MEASURES, SPARKS), np.nan))

    def take(self, source: linemon.Source, rows: linemon.Rows, latest: int) -> None:
        """Note new rows of a source; the values of those with stamps after `latest` (ns) are left out."""
        self.cursor = rows.cursor
        if (arrived := source.arrived) is not None:
            self.arrived = float(epoch_ms(arrived.reshape(1))[0])
            self.patience.look(source)
        is_now = rows.time.view(np.int64) <= latest
        if not is_now.any():
            return
        times = epoch_ms(rows.time[is_now])
        picked = rows.values[is_now][:, self.picked]
        self.newest = float(np.fmax(self.newest, times.max()))
        there = ~np.isnan(picked)
        last = len(times) - 1 - np.argmax(there[::-1], axis=0)
        new = picked[last, np.arange(len(self.picked))]
        self.values[self.places] = np.where(np.isnan(new), self.values[self.places], new)
        ids = (times / 1e3 / self.step_s).astype(np.int64)
        self.ids[ids % SPARKS] = ids
        self.sparks[np.array(self.places)[:, None], ids % SPARKS] = picked.T

    def sparkline(self, now: float) -> Floats:
        """(MEASURES, SPARKS) values up to `now` in seconds, oldest first, nan where was no row."""
        last = int(now / self.step_s)
        at = np.arange(last - SPARKS + 1, last + 1)
        return np.where(self.ids[at % SPARKS] == at, self.sparks[:, at % SPARKS], np.nan)


class Watch:
    """The newest of every source."""

    def __init__(self, pump: Pump) -> None:
        self.pump = pump
        self.seen: dict[str, Seen] = {}
        self.changes = 0  # sources that came or went
        self._turn = 0

    def look(self) -> None:
        """Read what is new."""
        names = listed(self.pump.names())
        for name in self.seen.keys() - set(names):
            del self.seen[name]
            self.changes += 1
        if len(names) > READ_PER_TICK and len(self.seen) == len(names):
            start, self._turn = self._turn, (self._turn + READ_PER_TICK) % len(names)
            names = (names + names)[start : start + READ_PER_TICK]
        for name in names:
            try:
                self._read(self.pump.store[name])
            except (LinemonError, OSError):
                self.seen.pop(name, None)  # gone between two reads

    def having(self, find: str) -> list[str]:
        """The sources of which a column is named by a text, in order."""
        names = dict.fromkeys(name for name, column in found(self.pump, find) if column)
        return [name for name in names if name in self.seen]

    def _read(self, source: linemon.Source) -> None:
        seen = self.seen.get(source.name)
        is_new = seen is None or seen.columns != source.columns
        if seen is None or is_new or (seen.cursor < FEW and source.rows != seen.cursor):  # what is usual is seen later
            recent = source.last(RECENT)
            seen = self.seen[source.name] = meet(source.columns, source.units, step_for(recent))
            self.changes += is_new
            rows = source.between(np.datetime64(int((time.time() - SPARKS * seen.step_s) * 1e3), "ms"))
            seen.take(source, rows if len(rows) > RECENT else recent, self.pump.latest())
        elif source.rows != seen.cursor:
            seen.take(source, source.since(seen.cursor), self.pump.latest())


def step_for(rows: linemon.Rows) -> float:
    """The seconds of a sparkline's point: of a slow source what is usual between two rows."""
    steps = np.diff(epoch_ms(rows.time))
    steps = steps[steps > 0]
    return max(SPARK_S, float(np.median(steps)) / 1e3) if len(steps) else SPARK_S


def meet(columns: tuple[str, ...], units: tuple[str, ...], step_s: float = SPARK_S) -> Seen:
    """Which of a source's columns stand in its row: of a host the same in each, of others the first ones."""
    is_host = HOST[0] in columns
    wanted = HOST if is_host else columns[:MEASURES]
    places = [place for place, name in enumerate(wanted) if name in columns]
    picked = [columns.index(wanted[place]) for place in places]
    labels, shown_units = [""] * len(wanted), [""] * len(wanted)
    for place, number in zip(places, picked, strict=True):
        column = take_apart(number, columns[number], units[number])
        labels[place] = "" if column.name == "value" else label_of(column)
        shown_units[place] = column.unit
    return Seen(is_host, columns, picked, places, labels, shown_units, step_s)


class OverviewPage(Page):
    """The server's side of an open overview."""

    def __init__(self, doc: Document, pump: Pump) -> None:
        super().__init__(doc, pump)
        self._due = self._slow_due = 0.0
        self._changes, self._kept = 0, State({})
        self._levels: Levels = {}
        self._listed: list[str] = []
        self._cells: list[str] = []

    def is_due(self, now: float) -> bool:
        if now < self._due:
            return False
        self._due = now + TICK_S
        return True

    def due(self) -> float:
        return self._due

    def search(self, text: str) -> None:
        """Filter the rows; the search's list shows columns, for what is in no row."""
        self.answers.found = json.dumps(found(self._pump, text))
        self._slow_due = 0.0
        self.send(APPEND)

    def message(self, kind: float) -> tuple[float, list[Any]]:
        """[rows, cells, sparklines?]; of each row arrival, stamp, patience and values; the cells; the sparklines."""
        watch = self._pump.shared("watch", _look, seconds=TICK_S / 2)
        now = time.monotonic()
        kept = self._pump.kept()
        is_slow = kind != APPEND or now >= self._slow_due or watch.changes != self._changes or kept is not self._kept
        if is_slow:
            self._slow_due, self._changes, self._kept = now + SLOW_S, watch.changes, kept
            self._list(watch)
        self.answers.health = json.dumps(health.facts(self._pump))
        self.answers.alarms = json.dumps(of_these(self._pump, {*self._listed, *self._cells}))
        self.answers.strange = self._pump.shared("strange", lambda: json.dumps(strange.look(self._pump)), TICK_S)
        rows = [watch.seen[name] for name in self._listed if name in watch.seen]
        if len(rows) < len(self._listed):  # some are gone: the list is made anew next time
            self._slow_due = 0.0
            rows = [watch.seen.get(name) or meet((), ()) for name in self._listed]
        numbers = [[seen.arrived, seen.newest, seen.patience.ms, *seen.values] for seen in rows]
        hosts = [watch.seen[name] for name in self._cells if name in watch.seen]
        cells = [[seen.values[0], seen.arrived, seen.patience.ms] for seen in hosts]
        sparks: Floats = np.empty(0)
        if is_slow and rows:
            now_s = time.time()
            sparks = as_pairs(np.concatenate([seen.sparkline(now_s).ravel() for seen in rows]))
        return kind, [[len(rows), len(cells), bool(len(sparks))], numbers, cells, sparks]

    def _list(self, watch: Watch) -> None:
        self._levels = levels(self._pump)
        names = matching(tuple(watch.seen), self.wishes.find) or watch.having(self.wishes.find)
        all_names = names
        if not self.wishes.has_hidden:
            names = [name for name in names if not self._kept.has(name, "hidden")]
        hidden = sum(self._kept.has(name, "hidden") for name in all_names)
        self._cells = [name for name in names if watch.seen[name].is_host][:MAX_CELLS]
        ordered = sorted(names, key=lambda name: self._key(name, watch.seen[name]))
        self._listed = ordered[:MAX_ROWS]
        rows = [watch.seen[name] for name in self._listed]
        self.answers.names = json.dumps(
            {
                "rows": [
                    {
                        "name": name,
                        "is_host": seen.is_host,
                        "kept": self._kept.source(name),
                        "width": len(seen.columns),
                        **self._shown(name, seen),
                    }
                    for name, seen in zip(self._listed, rows, strict=True)
                ],
                "cells": self._cells,
                "more": len(names) - len(self._listed),
                "hidden": hidden,
                "all": len(watch.seen),
            }
        )

    def _shown(self, name: str, seen: Seen) -> dict[str, list[str]]:
        """Of the values in its row the columns, and what they are called."""
        columns, labels, units = [""] * len(seen.labels), seen.labels.copy(), seen.units.copy()
        picked = [seen.columns[number] for number in seen.picked]
        said = self._kept.named(name, picked, [units[place] for place in seen.places])
        for place, column, label, unit in zip(seen.places, picked, *said, strict=True):
            columns[place], labels[place], units[place] = column, label or labels[place], unit
        return {"columns": columns, "labels": labels, "units": units}

    def _key(self, name: str, seen: Seen) -> tuple[object, ...]:
        """Hosts first, our own counters last; within, what is in trouble, then pinned ones, then as the page asks."""
        trouble = max(self._levels.get(name, NO_TROUBLE).values())
        place = (
            2 if name.startswith("linemon.") else 0 if seen.is_host else 1,
            -trouble,
            not self._kept.has(name, "pinned"),
        )
        by_value = {"first": 0, "second": 1, "third": 2}.get(self.wishes.sort)
        if by_value is not None and seen.is_host:
            value = seen.values[by_value]
            return place, -value if value == value else np.inf, natural(name)
        if self.wishes.sort == "age":
            return place, seen.arrived if seen.arrived == seen.arrived else -np.inf, natural(name)
        return place, natural(name)


watch = Watch(pump)


def _look() -> Watch:
    watch.look()
    return watch
