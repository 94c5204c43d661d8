"""Names to rings: what readers open, and the catalog that the writer keeps for them.

A store is a folder: ring files (`linemon.ring`), `catalog.jsonl` with one JSON object a line, the newest of a source
counts, and `status.json`, the collector's counters. Readers only read; a source that grows, moves or appears is found
through the catalog.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from linemon.errors import StoreError, UnknownSource
from linemon.ring import DISORDER, HEAD, ID, REJECTED, Arena, Cells

if TYPE_CHECKING:
    import pandas as pd

Times = npt.NDArray[np.datetime64]
Floats = npt.NDArray[np.float64]
TimeLike = str | datetime | np.datetime64

CATALOG = "catalog.jsonl"
STATUS = "status.json"
ATTEMPTS = 100  # a source moves seldom, and the catalog says at once where to


def default_folder() -> Path:
    """The store when none is configured: in memory where the system has such a place, one per user."""
    memory = Path("/dev/shm")  # noqa: S108  a folder of our own in it, checked by `own_folder`
    return (memory if memory.is_dir() else Path(tempfile.gettempdir())) / f"linemon-{os.getuid()}"


def as_ns(time: TimeLike) -> int:
    """A moment as int64 nanoseconds since the epoch; without a zone it is UTC. ValueError if it is not a time."""
    if isinstance(time, str):
        time = datetime.fromisoformat(time)
    if isinstance(time, datetime):
        time = np.datetime64(time.astimezone(UTC).replace(tzinfo=None) if time.tzinfo else time)
    return int(time.astype("datetime64[ns]").astype(np.int64))


@dataclass(frozen=True)
class Entry:
    """One source in the catalog: its columns and the ring that holds its rows."""

    source: str
    id: int
    file: str
    slot: int
    columns: tuple[str, ...]
    units: tuple[str, ...]

    def line(self) -> bytes:
        return json.dumps(self.__dict__, ensure_ascii=False).encode() + b"\n"

    def farewell(self) -> bytes:
        """The line that says that the source is no more."""
        return json.dumps({"source": self.source, "removed": self.id}, ensure_ascii=False).encode() + b"\n"


class Catalog:
    """The newest entry of each source, by name, as far as the file has been read."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / CATALOG
        self.entries: dict[str, Entry] = {}
        self.lines = 0
        self._inode, self._offset = -1, 0

    def refresh(self) -> None:
        """Read what the writer has added; a line without its newline is not there yet."""
        try:
            stat = os.stat(self.path)
        except FileNotFoundError:
            self.entries, self._inode = {}, -1
            return
        if stat.st_ino == self._inode and stat.st_size == self._offset:
            return
        if stat.st_ino != self._inode or stat.st_size < self._offset:
            self.entries, self.lines, self._offset = {}, 0, 0
            self._inode = stat.st_ino
        with open(self.path, "rb") as file:
            file.seek(self._offset)
            *lines, _unfinished = file.read().split(b"\n")
        for line in lines:
            try:
                fields = json.loads(line)
                if "removed" in fields:
                    self.entries.pop(fields["source"], None)
                    self._offset += len(line) + 1
                    continue
                fields["columns"], fields["units"] = tuple(fields["columns"]), tuple(fields["units"])
                entry = Entry(**fields)
            except (ValueError, KeyError, TypeError) as error:
                raise StoreError(f"{self.path} is damaged: {error}; stop the collector and move it aside") from error
            self.entries[entry.source] = entry
            self._offset += len(line) + 1
        self.lines += len(lines)


@dataclass(frozen=True)
class Rows:
    """Rows of one source: `time` datetime64[ns] UTC (n,), `values` float64 (n, k), missing = nan.

    `cursor` is for `Source.since`; `missed` counts rows that were overwritten before they could be read.
    """

    source: str
    columns: tuple[str, ...]
    units: tuple[str, ...]
    time: Times
    values: Floats
    cursor: int
    missed: int = 0

    def __len__(self) -> int:
        return len(self.time)

    def to_dict(self) -> dict[str, Any]:
        """The time and each column as an array under its name."""
        return {"time": self.time} | {name: self.values[:, i] for i, name in enumerate(self.columns)}

    def to_pandas(self) -> pd.DataFrame:
        """A DataFrame with a UTC time index; needs pandas."""
        import pandas as pd  # an optional extra: only who asks for a frame needs it

        index = pd.DatetimeIndex(self.time, name="time").tz_localize("UTC")
        return pd.DataFrame(self.values, index=index, columns=list(self.columns))


@dataclass(frozen=True)
class Window:
    """Buckets of equal length: `time` their starts (n,), and `min`, `max`, `mean`, `count`, each (n, k).

    Missing values are left out; a bucket without any has count 0 and nan.
    """

    columns: tuple[str, ...]
    units: tuple[str, ...]
    time: Times
    min: Floats
    max: Floats
    mean: Floats
    count: npt.NDArray[np.int64]


class Source:
    """One named stream of rows, read from the ring that the collector writes."""

    def __init__(self, store: Store, name: str) -> None:
        self._store = store
        self.name = name

    @property
    def columns(self) -> tuple[str, ...]:
        return self._store._entry(self.name).columns

    @property
    def units(self) -> tuple[str, ...]:
        """One text per column, empty where none was given."""
        return self._store._entry(self.name).units

    @property
    def points(self) -> int:
        """How many rows the ring holds at most."""
        return self._store._ring(self.name)[1].points

    @property
    def rows(self) -> int:
        """How many rows were ever appended."""
        return self._cell(HEAD)

    @property
    def rejected(self) -> int:
        """How many lines of this source were rejected."""
        return self._cell(REJECTED)

    @property
    def newest(self) -> np.datetime64 | None:
        """The latest time the ring holds; None while it holds none."""
        time = self.last(1).time
        return time[0] if len(time) else None

    def last(self, n: int) -> Rows:
        """The newest `n` rows, in time order."""
        for entry, arena, slot in self._attempts():
            head = int(arena.cells[slot, HEAD])
            first, block = arena.read(slot, head - max(n, 0) if self._in_order(arena, slot) else 0)
            if self._whole(entry, arena, slot):
                return _rows(entry, _in_time_order(block)[max(0, len(block) - max(n, 0)) :], first + len(block))
        raise AssertionError  # the attempts end with an error of their own

    def since(self, cursor: int) -> Rows:
        """The rows appended after `cursor` was handed out (0: all that are held), in order of arrival."""
        for entry, arena, slot in self._attempts():
            if cursor > int(arena.cells[slot, HEAD]):
                cursor = 0  # a cursor of an earlier source of this name
            first, block = arena.read(slot, cursor)
            if self._whole(entry, arena, slot):
                return _rows(entry, block, first + len(block), missed=first - cursor)
        raise AssertionError  # the attempts end with an error of their own

    def between(self, start: TimeLike | None = None, end: TimeLike | None = None) -> Rows:
        """The rows of [start, end) in time order; None leaves a side open."""
        for entry, arena, slot in self._attempts():
            block, cursor = self._range(arena, slot, start, end)
            if self._whole(entry, arena, slot):
                return _rows(entry, block, cursor)
        raise AssertionError  # the attempts end with an error of their own

    def window(self, start: TimeLike, end: TimeLike, points: int = 1200) -> Window:
        """[start, end) cut into `points` buckets of equal length (fewer only where they would be below 1 ns)."""
        begin, stop = as_ns(start), as_ns(end)
        if points < 1 or stop <= begin:
            raise ValueError(f"a window needs points >= 1 and start < end, not {points} points, {start} to {end}")
        rows = self.between(np.datetime64(begin, "ns"), np.datetime64(stop, "ns"))
        length = -(-(stop - begin) // points)
        edges = begin + length * np.arange(-(-(stop - begin) // length))
        starts = np.searchsorted(rows.time.view(np.int64), edges)
        filled = np.flatnonzero(np.diff(starts, append=len(rows)))
        shape = len(edges), len(rows.columns)
        low, high, mean = (np.full(shape, np.nan) for _ in range(3))
        count = np.zeros(shape, np.int64)
        if len(filled):
            at, there = starts[filled], ~np.isnan(rows.values)
            low[filled] = np.fmin.reduceat(rows.values, at, axis=0)
            high[filled] = np.fmax.reduceat(rows.values, at, axis=0)
            count[filled] = np.add.reduceat(there, at, axis=0, dtype=np.int64)
            total = np.add.reduceat(np.where(there, rows.values, 0.0), at, axis=0)
            mean[filled] = np.divide(total, count[filled], out=np.full_like(total, np.nan), where=count[filled] > 0)
        return Window(rows.columns, rows.units, edges.view("datetime64[ns]"), low, high, mean, count)

    def __repr__(self) -> str:
        return f"<source {self.name!r}: {len(self.columns)} columns, {self.rows} rows>"

    def _cell(self, cell: int) -> int:
        _, arena, slot = self._store._ring(self.name)
        return int(arena.cells[slot, cell])

    def _attempts(self) -> Iterator[tuple[Entry, Arena, int]]:
        """The ring of this source, and again when the source moved while it was read."""
        for _ in range(ATTEMPTS):
            yield self._store._ring(self.name)
        raise StoreError(f"{self.name!r} moved {ATTEMPTS} times while it was read")

    @staticmethod
    def _whole(entry: Entry, arena: Arena, slot: int) -> bool:
        return int(arena.cells[slot, ID]) == entry.id

    @staticmethod
    def _in_order(arena: Arena, slot: int) -> bool:
        """Whether the rows held came in time order."""
        head, disorder = int(arena.cells[slot, HEAD]), int(arena.cells[slot, DISORDER])
        return disorder == 0 or disorder <= head - arena.points

    def _range(self, arena: Arena, slot: int, start: TimeLike | None, end: TimeLike | None) -> tuple[Cells, int]:
        """The cells of [start, end) in time order, and the cursor after them."""
        begin = None if start is None else as_ns(start)
        stop = None if end is None else as_ns(end)
        if self._in_order(arena, slot):  # the times tell which rows to copy
            first, times = arena.times(slot)
            head = first + len(times)
            from_row = first if begin is None else first + int(np.searchsorted(times, begin))
            to_row = head if stop is None else first + int(np.searchsorted(times, stop))
            return arena.read(slot, from_row, to_row)[1], head
        first, block = arena.read(slot, 0)
        head = first + len(block)
        block = _in_time_order(block)
        from_row = 0 if begin is None else int(np.searchsorted(block[:, 0], begin))
        to_row = len(block) if stop is None else int(np.searchsorted(block[:, 0], stop))
        return block[from_row:to_row], head


def _in_time_order(block: Cells) -> Cells:
    times = block[:, 0]
    if (times[1:] >= times[:-1]).all():
        return block
    return block[np.argsort(times, kind="stable")]


def _rows(entry: Entry, block: Cells, cursor: int, missed: int = 0) -> Rows:
    width = len(entry.columns)
    time = block[:, 0].view("datetime64[ns]")
    return Rows(
        entry.source,
        entry.columns,
        entry.units,
        time,
        block[:, 1 : 1 + width].view(np.float64),
        cursor,
        missed,
    )


class Store:
    """All rings of one folder, read-only. It may be opened before the collector has written anything."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._catalog = Catalog(self.path)
        self._arenas: dict[str, Arena] = {}

    def sources(self) -> tuple[str, ...]:
        """The names of all sources, in the order in which they came."""
        self._catalog.refresh()
        return tuple(self._catalog.entries)

    def __getitem__(self, name: str) -> Source:
        self._entry(name)
        return Source(self, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.sources())

    def __contains__(self, name: object) -> bool:
        return name in self.sources()

    def __len__(self) -> int:
        return len(self.sources())

    def __repr__(self) -> str:
        return f"<linemon store at {self.path}: {len(self)} sources>"

    def status(self) -> dict[str, Any]:
        """The collector's counters as it last wrote them; empty before its first."""
        try:
            status: dict[str, Any] = json.loads((self.path / STATUS).read_bytes())
        except FileNotFoundError:
            return {}
        return status

    def _entry(self, name: str) -> Entry:
        self._catalog.refresh()
        entry = self._catalog.entries.get(name)
        if entry is None:
            known = ", ".join(sorted(self._catalog.entries)[:20]) or "none yet"
            raise UnknownSource(f"no source {name!r} in {self.path}; there are: {known}")
        return entry

    def _ring(self, name: str) -> tuple[Entry, Arena, int]:
        """Where the rows of `name` are now."""
        for _ in range(ATTEMPTS):
            entry = self._entry(name)
            arena = self._arenas.get(entry.file)
            if arena is None:
                try:
                    arena = self._arenas[entry.file] = Arena(self.path / entry.file)
                except FileNotFoundError:
                    continue  # the source moved between the two reads
            if entry.slot >= arena.slots:
                arena.remap()
            if entry.slot >= arena.slots:
                raise StoreError(f"{arena.path} is damaged: it ends before the ring of {name!r}")
            if int(arena.cells[entry.slot, ID]) == entry.id:
                return entry, arena, entry.slot
            # The source moved on: the catalog says where to, unless the whole file was replaced.
            if arena.is_gone():
                del self._arenas[entry.file]
        raise StoreError(f"{self.path} is damaged: its catalog and its ring files disagree about {name!r}")
