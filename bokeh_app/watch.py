"""What the overview knows of all sources, once for all open pages of a server, and only while there is one."""

from __future__ import annotations

import functools
import math
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from linemon.errors import LinemonError
from linemon.store.catalog import Entry
from linemon.store.describe import natural
from linemon.store.liveness import RECENT
from linemon.store.newest import Newest
from linemon.store.ring import Floats, Ints

from .finding import found, matching
from .outputs import listed
from .packing import epoch_ms
from .panels import label_of, take_apart, unit_of
from .pump import Pump

MEASURES = 3  # values per row
SPARKS = 60  # points of a sparkline,
SPARK_S = 5.0  # each of so many seconds, or of about as many as are usual between two rows
FEW = 10  # rows that do not say yet what is usual
HOST = ("cpu.busy_pct", "mem.used_pct", "net.rx_bytes_per_s")  # a source with the first is a host
SEPARATOR = re.compile(r"[./,;{]")
DIGITS = re.compile(r"\d*$")
GRID_COLUMNS = 12  # measures of the grid, those that most rows have
HOSTS, OTHERS, OWN = range(3)  # kinds of sources, in this order

Bools = npt.NDArray[np.bool_]


class Row(NamedTuple):
    """What stands in the row of all sources with the same columns: of a host the same in each, of others the first."""

    is_host: bool
    picked: tuple[int, ...]  # numbers of columns, -1 = it has none
    names: tuple[str, ...]  # of the columns
    labels: tuple[str, ...]
    units: tuple[str, ...]


@functools.lru_cache(maxsize=1000)  # many sources have the same columns
def row_of(columns: tuple[str, ...], units: tuple[str, ...]) -> Row:
    is_host = HOST[0] in columns
    names = HOST if is_host else columns[:MEASURES]
    picked = tuple(columns.index(name) if name in columns else -1 for name in names)
    taken = [None if at < 0 else take_apart(at, columns[at], units[at]) for at in picked]
    labels = tuple("" if each is None or each.name == "value" else label_of(each) for each in taken)
    return Row(is_host, picked, names, labels, tuple(each.unit if each else "" for each in taken))


class Groups(NamedTuple):
    """Sources by what their names begin with: the group of each, -1 = it stands alone, and the beginnings."""

    of: Ints
    prefixes: list[str]


@dataclass(frozen=True)
class Grid:
    """Rooms x measures: sources `room1.temperature` are cells, and so are the columns of sources with several.

    `rows` are names; `places` and `columns`, (rows, measures), say where the newest value of each is, -1 = nowhere.
    """

    rows: list[str]
    measures: list[str]
    units: list[str]
    places: Ints
    columns: Ints


class Watch:
    """The newest of every source, in the order of `newest.names`."""

    def __init__(self, pump: Pump) -> None:
        self.pump = pump
        self.newest = Newest(pump.store, lambda entry: row_of(entry.columns, entry.units).picked, MEASURES)
        self._steps: dict[str, tuple[int, int]] = {}  # of sparklines (ns), and how many rows said so
        self._version = 0
        self._sort()

    @property
    def version(self) -> int:
        """Another one when sources have come, gone, or changed their columns."""
        return self.newest.version

    def look(self) -> None:
        """Read what is new."""
        try:
            self.newest.look(listed(self.pump.names()), self.pump.latest())
        except (LinemonError, OSError):
            return  # the store is being made anew
        if self._version != self.version:
            self._sort()

    def _sort(self) -> None:
        self._version, names = self.version, self.newest.names
        self.rows = [row_of(entry.columns, entry.units) for entry in self.newest.entries]
        self.is_host = np.array([row.is_host for row in self.rows], bool)
        is_own = np.array([name.startswith("linemon.") for name in names], bool)
        self.kind = np.where(is_own, OWN, np.where(self.is_host, HOSTS, OTHERS))
        self.rank = np.zeros(len(names), np.int64)
        self.rank[sorted(range(len(names)), key=lambda place: natural(names[place]))] = np.arange(len(names))
        self._groups: Groups | None = None
        self._grid: Grid | None = None

    def finding(self, find: str) -> Bools:
        """Which have all words of a text in their names; else, of which a column is named by it."""
        names, place = self.newest.names, self.newest.place
        wanted = matching(names, find) or [name for name, column, _ in found(self.pump, find) if column]
        is_found = np.zeros(len(names), bool)
        is_found[[place[name] for name in wanted if name in place]] = True
        return is_found

    def flagged(self, flag: str) -> Bools:
        """Which people have pinned, or hidden."""
        is_so, place = np.zeros(len(self.newest.names), bool), self.newest.place
        keys = (key for key in self.pump.kept().values if key[0] == "sources" and key[2] == flag)
        is_so[[place[name] for _, name, _ in keys if name in place]] = True
        return is_so

    def silent(self) -> Bools:
        """Which are silent now."""
        ages = time.time_ns() - self.newest.arrived
        with np.errstate(invalid="ignore"):
            silent: Bools = (self.newest.arrived > 0) & (ages > self.newest.patience_s * 1e9)
        return silent

    def sparklines(self, places: Ints) -> Floats:
        """(m, MEASURES, SPARKS) values of the last minutes, or of as many rows of slow sources; oldest first."""
        steps = np.array([self._step(int(place)) for place in places], np.int64)
        return self.newest.traces(places, steps, SPARKS, time.time_ns())

    def _step(self, place: int) -> int:
        name = self.newest.names[place]
        step, rows = self._steps.get(name, (0, 0))
        if rows >= FEW:
            return step
        try:
            source = self.pump.store[name]
            steps = np.diff(epoch_ms(source.last(RECENT).time)) / 1e3
            rows = source.rows
        except (LinemonError, OSError):
            return int(SPARK_S * 1e9)  # gone between two reads
        usual = float(np.median(steps[steps > 0])) if (steps > 0).any() else 0.0
        step = int(SPARK_S * 1e9) << round(math.log2(max(usual, SPARK_S) / SPARK_S))
        self._steps[name] = step, rows
        return step

    def groups(self) -> Groups:
        """Sources whose names begin alike: `room1.`, or `web` of web1 and web2. One alone is no group."""
        if self._groups is None:
            self._groups = grouped(self.newest.names)
        return self._groups

    def grid(self) -> Grid:
        if self._grid is None:
            self._grid = laid_out(self.newest.entries, self.kind)
        return self._grid


def grouped(names: Sequence[str]) -> Groups:
    """By what stands before the first separator; those that are alone in that by what stands before their digits."""
    heads = [name[: at.end()] if (at := SEPARATOR.search(name)) else "" for name in names]
    counts = _counted(heads)
    stems = [DIGITS.sub("", (head or name).rstrip("./,;{")) for head, name in zip(heads, names, strict=True)]
    heads = [
        head if head and counts[head] > 1 else stem if stem != name else ""
        for head, stem, name in zip(heads, stems, names, strict=True)
    ]
    counts = _counted(heads)
    prefixes = sorted((head for head, count in counts.items() if head and count > 1), key=natural)
    number = {head: at for at, head in enumerate(prefixes)}
    return Groups(np.array([number.get(head, -1) for head in heads], np.int64), prefixes)


def _counted(texts: Sequence[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for text in texts:
        counts[text] = counts.get(text, 0) + 1
    return counts


def laid_out(entries: Sequence[Entry], kinds: Ints) -> Grid:
    """The grid of all that are no hosts; only measures that two rows at least have, and rows that have one of these."""
    cells: dict[str, dict[str, tuple[int, int]]] = {}
    rows_of: dict[str, int] = {}
    for place in np.flatnonzero(kinds == OTHERS).tolist():
        entry = entries[place]
        room, dot, measure = entry.source.rpartition(".")
        if entry.columns == ("value",):
            named = [(room, measure, 0)] if dot else []
        else:
            named = [(entry.source, column, at) for at, column in enumerate(entry.columns)]
        for row, name, at in named:
            of_row = cells.setdefault(row, {})
            rows_of[name] = rows_of.get(name, 0) + (name not in of_row)
            of_row.setdefault(name, (place, at))
    several = [name for name, count in rows_of.items() if count > 1]
    measures = sorted(several, key=lambda name: -rows_of[name])[:GRID_COLUMNS]
    rows = sorted((row for row, of_row in cells.items() if any(name in of_row for name in measures)), key=natural)
    nowhere = -1, -1
    where = np.array([[cells[row].get(name, nowhere) for name in measures] for row in rows], np.int64)
    where = where.reshape(len(rows), len(measures), 2)
    units = []
    for number, measure in enumerate(measures):
        cells_of = where[where[:, number, 0] >= 0, number].tolist()
        said = (entries[place].units[at] for place, at in cells_of)
        units.append(unit_of(measure, next(filter(None, said), "")))
    return Grid(rows, measures, units, where[:, :, 0], where[:, :, 1])
