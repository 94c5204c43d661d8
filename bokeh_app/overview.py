"""The overview: a row per source with its newest values and how they came to be; ten thousand of them stay fast.

`watch.py` knows the newest of every source, once for all open pages. A page is sent what is in sight: its rows, and the
cells of its map. A row is a source, or the heading of a group of them, or a row of the grid.
"""

from __future__ import annotations

import json
import time
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
from bokeh.document import Document

from linemon.store.ring import Floats, Ints

from . import health
from .alarms import levels, of_these
from .finding import found
from .kept import State
from .packing import as_pairs
from .page import APPEND, LIST_S, ListPage
from .pump import Pump
from .strange import strange
from .watch import HOSTS, MEASURES, SPARKS, Groups, Watch

MAX_SIGHT = 400  # rows that are sent at once
MAX_CELLS = 2000  # of the map
SLOW_S = 5.0  # how often rows change places and sparklines are sent
SETTLED_S = 0.3  # after which a page that is scrolled is sent sparklines
SILENT, UNKNOWN, MOST = 255, 254, 100  # of a cell of the map, beside whole percents
SOURCE, GROUP, GRID = range(3)  # what a row is


class OverviewPage(ListPage):
    """The server's side of an open overview."""

    _watch: Watch  # as of the last message

    def __init__(self, doc: Document, pump: Pump) -> None:
        super().__init__(doc, pump)
        self._slow_due = 0.0
        self._version, self._kept = 0, State({})
        none = np.zeros(0, np.int64)
        self._rows: Ints = none.reshape(0, 2)  # what each is, and the number of its source, group, or row of the grid
        self._members: dict[int, Ints] = {}  # of the groups
        self._cells = none
        self._said: dict[str, Any] = {}
        self.wishes.on_change("place", lambda attr, old, new: self._scroll())
        for wish in "by", "open":
            self.wishes.on_change(wish, lambda attr, old, new: self._refill())

    def search(self, text: str) -> None:
        """Filter the rows; the search's list shows columns, for what is in no row."""
        self.answers.found = json.dumps(found(self._pump, text))
        self._slow_due = 0.0
        self.send(APPEND)

    def _scroll(self) -> None:
        """Other rows are in sight: their sparklines come when it rests."""
        if self in self._pump.pages:
            self._slow_due = self._due = time.monotonic() + SETTLED_S
            self.send(APPEND)

    def message(self, kind: float) -> tuple[float, list[Any]]:
        """[rows, numbers of each, cells, sparklines?]; of each row arrival, stamp, patience, then values; the cells, a
        byte each; the sparklines. Of a group silent sources, the highest level in it, and nan.
        """
        watch = self._watch = watch_of(self._pump)
        now, kept = time.monotonic(), self._pump.kept()
        is_slow = kind != APPEND or now >= self._slow_due
        if is_slow or watch.version != self._version or kept is not self._kept:
            self._version, self._kept = watch.version, kept
            self._list()
        if is_slow:
            self._slow_due = now + SLOW_S
        self.answers.health = json.dumps(health.facts(self._pump))
        self.answers.strange = self._pump.shared("strange", lambda: json.dumps(strange.look(self._pump)), LIST_S)
        first, sight = self._sight()
        in_grid = watch.grid().places[sight[sight[:, 0] == GRID, 1]].ravel() if self.wishes.by == "grid" else []
        sources = [*sight[sight[:, 0] == SOURCE, 1], *self._cells, *in_grid]
        names = {watch.newest.names[place] for place in sources if place >= 0}
        self.answers.alarms = json.dumps(of_these(self._pump, names))
        self.answers.names = json.dumps(
            self._said | {"first": first, "rows": [self._about(*row) for row in sight.tolist()]}
        )
        numbers = self._numbers(sight)
        sparks: Floats = np.empty(0)
        if is_slow and len(sight):
            shown = np.full((len(sight), MEASURES, SPARKS), np.nan)
            some = np.flatnonzero(sight[:, 0] == SOURCE)
            shown[some] = watch.sparklines(sight[some, 1])
            sparks = as_pairs(shown.ravel())
        cells = self._map()
        return kind, [[len(sight), numbers.shape[1], len(self._cells), bool(len(sparks))], numbers, cells, sparks]

    def _sight(self) -> tuple[int, Ints]:
        """The number of the first row in sight, and those that are."""
        wanted = [*self.wishes.place, 0, 0]
        first, count = (
            int(min(max(each, 0), most)) for each, most in zip(wanted, (len(self._rows), MAX_SIGHT), strict=False)
        )
        return first, self._rows[first : first + count]

    def _list(self) -> None:
        """Put all rows in order."""
        watch, wishes, kept = self._watch, self.wishes, self._kept
        is_shown = watch.finding(wishes.find) if wishes.find else np.ones(len(watch.newest.names), bool)
        is_hidden = watch.flagged("hidden") & is_shown
        if not wishes.has_hidden:
            is_shown &= ~is_hidden
        order = np.lexsort((watch.rank, self._key(), ~watch.flagged("pinned"), -self._trouble(), watch.kind))
        order = order[is_shown[order]]
        is_cell = is_shown & watch.is_host
        by_name = np.argsort(watch.rank)
        self._cells = by_name[is_cell[by_name]][:MAX_CELLS]
        measures: list[list[str]] = []
        if wishes.by == "grid":
            hosts = order[watch.kind[order] == HOSTS]
            grid, tail = watch.grid(), self._grid_rows(is_shown)
            said = [kept.of_column("*", measure) for measure in grid.measures]
            measures = [
                [measure, str(each.get("unit", unit)), str(each.get("label", measure.replace("_", " ")))]
                for measure, unit, each in zip(grid.measures, grid.units, said, strict=True)
            ]
            self._rows, count = np.concatenate([rows_of(SOURCE, hosts), rows_of(GRID, tail)]), len(hosts)
        elif wishes.by == "prefix":
            self._rows, count = self._grouped(order, watch.groups())
        else:
            self._rows, count = rows_of(SOURCE, order), int((watch.kind[order] == HOSTS).sum())
        self._said = {
            "all": len(watch.newest.names),
            "is_empty": all(name.startswith("linemon.") for name in watch.newest.names),  # nobody has sent anything
            "shown": len(order),
            "hidden": int(is_hidden.sum()),
            "hosts": count,
            "count": len(self._rows),
            "by": wishes.by,
            "measures": measures,
        }
        names = [watch.newest.names[place] for place in self._cells.tolist()]
        self.answers.cells = json.dumps(names)

    def _key(self) -> Floats:
        """What the page asks to be sorted by, of each source; the least first."""
        newest, sort = self._watch.newest, self.wishes.sort
        if sort == "age":
            return newest.arrived.astype(np.float64)
        by = {"first": 0, "second": 1, "third": 2}.get(sort)
        if by is None:
            return np.zeros(len(newest.names))
        return np.where(self._watch.is_host, np.nan_to_num(-newest.values[:, by], nan=np.inf), 0.0)

    def _trouble(self) -> Ints:
        """The level of each source: 0, 1 a warning, 2 critical."""
        place, found = self._watch.newest.place, np.zeros(len(self._watch.newest.names), np.int64)
        for name, of in levels(self._pump).items():
            if name in place:
                found[place[name]] = max(of.values())
        return found

    def _grouped(self, order: Ints, groups: Groups) -> tuple[Ints, int]:
        """A heading for each group, where its first source would stand by name, and below it those of an open one."""
        watch = self._watch
        of, kind = groups.of[order], watch.kind[order]
        lowest = np.full(len(groups.prefixes), np.iinfo(np.int64).max)
        np.minimum.at(lowest, of[of >= 0], watch.rank[order[of >= 0]])
        at = np.where(of >= 0, lowest[of] if len(lowest) else 0, watch.rank[order])
        order = order[np.lexsort((np.arange(len(order)), at, kind))]
        of, kind = groups.of[order], watch.kind[order]
        opened = {groups.prefixes.index(prefix) for prefix in self.wishes.open if prefix in groups.prefixes}
        is_first = (of >= 0) & ((np.diff(of, prepend=-2) != 0) | (np.diff(kind, prepend=-1) != 0))
        starts = np.flatnonzero(is_first | (of < 0))
        self._members = {}
        rows, hosts = list[Ints](), 0
        for start, stop in zip(starts.tolist(), [*starts[1:].tolist(), len(order)], strict=True):
            number, members = int(of[start]), order[start:stop]
            if number >= 0:
                key = int(number * 3 + kind[start])  # hosts and others of one beginning are two groups
                self._members[key] = members
                rows.append(np.array([[GROUP, key]]))
            if number < 0 or number in opened:
                rows.append(rows_of(SOURCE, members))
            hosts += sum(map(len, rows[-2:] if number in opened else rows[-1:])) if kind[start] == HOSTS else 0
        return (np.concatenate(rows) if rows else rows_of(SOURCE, order)), hosts

    def _grid_rows(self, is_shown: Any) -> Ints:
        """The rows of the grid of which a source is shown."""
        places = self._watch.grid().places
        return np.flatnonzero(((places >= 0) & is_shown[places]).any(axis=1)) if places.size else np.zeros(0, np.int64)

    def _about(self, what: int, number: int) -> dict[str, Any]:
        """What a row is, for the browser."""
        watch = self._watch
        if what == GROUP:
            prefix = watch.groups().prefixes[number // 3]
            return {"group": prefix, "of": len(self._members[number]), "open": prefix in self.wishes.open}
        if what == GRID:
            grid = watch.grid()
            names, columns = watch.newest.names, watch.newest.entries
            cells = [
                [names[place], columns[place].columns[at]] if place >= 0 else None
                for place, at in zip(grid.places[number].tolist(), grid.columns[number].tolist(), strict=True)
            ]
            return {"row": grid.rows[number], "cells": cells}
        name, row = watch.newest.names[number], watch.rows[number]
        called, units = self._kept.named(name, row.names, row.units)
        return {
            "name": name,
            "is_host": row.is_host,
            "kept": self._kept.source(name),
            "width": len(watch.newest.entries[number].columns),
            "columns": row.names,
            "labels": [said or label for said, label in zip(called, row.labels, strict=True)],
            "units": units,
        }

    def _numbers(self, sight: Ints) -> Floats:
        watch, newest = self._watch, self._watch.newest
        measures = len(self._said["measures"])
        numbers = np.full((len(sight), 3 + max(MEASURES, measures)), np.nan)
        of = [sight[:, 0] == each for each in (SOURCE, GROUP, GRID)]
        places = sight[of[SOURCE], 1]
        arrived, stamped = newest.arrived[places], newest.stamped[places]
        numbers[of[SOURCE], 0] = np.where(arrived > 0, arrived / 1e6, np.nan)
        numbers[of[SOURCE], 1] = np.where(stamped >= 0, stamped / 1e6, np.nan)
        numbers[of[SOURCE], 2] = newest.patience_s[places] * 1e3
        numbers[of[SOURCE], 3 : 3 + MEASURES] = newest.values[places]
        if of[GROUP].any():
            silent, trouble = watch.silent(), self._trouble()
            for row in np.flatnonzero(of[GROUP]).tolist():
                members = self._members[int(sight[row, 1])]
                numbers[row, :2] = silent[members].sum(), trouble[members].max()
        if of[GRID].any():
            grid, rows = watch.grid(), sight[of[GRID], 1]
            places, columns = grid.places[rows].ravel(), grid.columns[rows].ravel()
            some = np.flatnonzero(places >= 0)
            values = np.full(len(places), np.nan)
            values[some] = newest.values_of(places[some], columns[some], self._pump.latest())
            numbers[of[GRID], 3 : 3 + measures] = values.reshape(len(rows), measures)
            arrived = np.where(grid.places[rows] >= 0, newest.arrived[grid.places[rows]], 0).max(axis=1)
            numbers[of[GRID], 0] = np.where(arrived > 0, arrived / 1e6, np.nan)
        return numbers

    def _map(self) -> Floats:
        """A byte for each host: how busy it is in percent, or `UNKNOWN`, or `SILENT`; as float64."""
        values = self._watch.newest.values[self._cells, 0]
        cells = np.where(np.isnan(values), UNKNOWN, np.clip(np.nan_to_num(values), 0, MOST)).round()
        cells[self._watch.silent()[self._cells]] = SILENT
        return np.append(cells, np.zeros(-len(cells) % 8)).astype(np.uint8).view(np.float64)


def rows_of(what: int, numbers: Ints) -> Ints:
    """Rows of one kind, (n, 2)."""
    return np.column_stack([np.full(len(numbers), what), numbers]).astype(np.int64)


_watches: WeakValueDictionary[Pump, Watch] = WeakValueDictionary()


def watch_of(pump: Pump) -> Watch:
    """That of all open pages, up to date: it goes with the last of them, and with it the files that it has mapped."""

    def look() -> Watch:
        watch = _watches.get(pump) or _watches.setdefault(pump, Watch(pump))
        watch.look()
        return watch

    return pump.shared("watch", look, seconds=LIST_S / 2)
