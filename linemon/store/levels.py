"""The tiers of history, for whoever reads: where they are, and windows of rows and tiers as one (`merge.py`)."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from linemon.errors import UnknownSource
from linemon.store import buckets
from linemon.store.catalog import Entry
from linemon.store.folder import replace_file
from linemon.store.merge import RingNow, RingsView, TierNow
from linemon.store.reader import Source, Store
from linemon.store.rollup import NO_LIMIT
from linemon.store.rows import Level, Rows, TimeLike, Window

HISTORY = "history.json"  # beside the rings: where the tiers are
LATE = ".late"  # after a tier's name: the folder of what came late
ATTEMPTS = 5  # a tier is written once in ten seconds or so
PART = 5_000  # buckets at a time
MANY = 100_000  # rows of a ring: rather buckets, where they fit, than so many


@dataclass(frozen=True)
class Known:
    """A tier as readers are told of it: its folder's name, step and keep in ns, whose it is, whether it still grows."""

    name: str
    step: int
    keep: int
    sources: tuple[str, ...] = ("*",)
    ended: bool = False


@dataclass(frozen=True)
class History:
    """Where the tiers of a store are, the finest first."""

    path: Path
    tiers: tuple[Known, ...]


def read(store: Path) -> History | None:
    """What the history part has told; None where there is none."""
    try:
        said = json.loads((store / HISTORY).read_bytes())
        tiers = tuple(Known(**{**each, "sources": tuple(each["sources"])}) for each in said["tiers"])
        return History(store / said["path"], tiers)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def tell(store: Path, history: History, mode: int) -> None:
    """Replace what is told, in one step."""
    path = str(history.path.absolute())
    said = {"path": os.path.relpath(path, store.absolute()) if history.path.is_relative_to(store) else path}
    data = json.dumps({**said, "tiers": [asdict(each) for each in history.tiers]}).encode()
    os.close(replace_file(store / HISTORY, data, mode))


class Levels:
    """The tiers of a store, for readers; found anew where the history part tells of others."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stat: object = None
        self._known: tuple[Known, ...] = ()
        self._stores: dict[str, Store] = {}

    def refresh(self) -> bool:
        """Whether there are any tiers."""
        try:
            stat = os.stat(self._folder / HISTORY)
        except OSError:
            return False
        if (state := (stat.st_ino, stat.st_mtime_ns)) != self._stat:
            told = read(self._folder)
            self._stat, self._known = state, told.tiers if told else ()
            paths = [each.name + late for each in self._known for late in ("", LATE)]
            self._stores = {name: Store(told.path / name) for name in paths} if told else {}
        return bool(self._known)

    def sources(self) -> tuple[str, ...]:
        """The names of all sources of which there is history."""
        return tuple(dict.fromkeys(name for each in self._known for name in self._stores[each.name].sources()))

    def stores(self) -> list[Store]:
        """The tiers as stores of bucket rows (`buckets.py`), the finest first; without what came late."""
        return [self._stores[known.name] for known in self._known]

    def __contains__(self, source: str) -> bool:
        return any(source in self._stores[known.name] for known in self._known)

    def kept(self, source: str) -> list[Level]:
        """What the tiers keep of a source, the finest first."""
        return [Level(t.name, t.step, t.begin(), t.end, t.arena.slot_bytes) for t in self._tiers(source) if t.head]

    def gone(self, store: Store, source: str) -> Source:
        """A source of which only the history is left. UnknownSource if that is gone, too."""
        tiers = self._tiers(source)
        if not tiers:
            raise UnknownSource(f"no source {source!r} in {store.path}, and no history of it")
        return Gone(store, source, tiers[0].entry)

    def window(self, store: Store, source: str, begin: int, end: int, points: int, every: int = 0) -> Window | None:
        """[begin, end) over rows and tiers; None where the rows alone have all of it, or there are no tiers.

        `every`: in buckets of this length, from the finest level that divides it, not in at most so many `points`.
        """
        for _ in range(ATTEMPTS):
            rows = RingNow(*store._ring(source)) if source in store else None
            held = rows.begin() if rows else NO_LIMIT
            if rows and rows.head < MANY and held <= begin:
                return None
            tiers = self._tiers(source)
            oldest = min((tier.begin() for tier in tiers), default=NO_LIMIT)
            if oldest == NO_LIMIT or (rows and rows.head < MANY and held <= oldest):
                return None
            found = RingsView(rows, tiers, every).window(begin, end, points)
            if not any(ring.has_changed() for tier in tiers for ring in (tier, tier.late) if ring):
                break
        return found

    def _tiers(self, source: str) -> list[TierNow]:
        """Those that have the source, the finest first."""
        found = []
        for known in self._known:
            main, late = self._stores[known.name], self._stores[known.name + LATE]
            with suppress(UnknownSource):  # it is not there, or gone meanwhile
                found.append(
                    TierNow(known.name, known.step, main._ring(source), late._ring(source) if source in late else None)
                )
        return found


class Gone(Source):
    """A source that is no more: it has no rows, but a history."""

    def __init__(self, store: Store, name: str, entry: Entry) -> None:
        """`entry` is of its finest tier."""
        super().__init__(store, name)
        self._of_tier = entry

    @property
    def columns(self) -> tuple[str, ...]:
        return buckets.sources_columns(self._of_tier.columns)

    @property
    def units(self) -> tuple[str, ...]:
        return self._of_tier.units[:: len(buckets.PARTS)]

    @property
    def kept(self) -> list[Level]:
        levels = self._store._levels()
        return levels.kept(self.name) if levels else []

    @property
    def rows(self) -> int:
        return 0

    @property
    def points(self) -> int:
        return 0

    @property
    def born(self) -> int:
        return 0

    @property
    def arrived(self) -> None:
        return None

    def last(self, n: int) -> Rows:
        return self._none()

    def since(self, cursor: int, born: int | None = None, most: int | None = None) -> Rows:
        return self._none()

    def between(self, start: TimeLike | None = None, end: TimeLike | None = None) -> Rows:
        return self._none()

    def _none(self) -> Rows:
        times = np.empty(0, "datetime64[ns]")
        return Rows(self.name, self.columns, self.units, times, np.empty((0, len(self.columns))), 0)


def buckets_of(source: Source, begin: int, end: int, every: int) -> Iterator[Rows]:
    """Bucket rows of `every` ns of what is held of [begin, end), which is cut to whole ones; empty ones are left out.

    They are longer where only a coarser tier is left. Some thousand at a time.
    """
    names, units = buckets.columns_of(source.columns, source.units)
    begin, end = begin // every * every, -(-end // every) * every
    levels, store = source._store._levels(), source._store
    for start in range(begin, max(end, begin + 1), PART * every):
        stop = min(end, start + PART * every)
        if stop <= start:
            continue
        found = levels.window(store, source.name, start, stop, PART, every) if levels else None
        if found is None:
            found = source.window(np.datetime64(start, "ns"), np.datetime64(stop, "ns"), (stop - start) // every)
        has_some = np.flatnonzero(found.count.any(axis=1))
        values = np.empty((len(has_some), len(names)))
        for i, part in enumerate((found.min, found.max, found.mean, found.count)):
            values[:, i::4] = part[has_some]
        yield Rows(source.name, names, units, found.time[has_some], values, found.cursor)
