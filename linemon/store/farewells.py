"""Farewells: names that somebody took from their sources, by forgetting or renaming them. docs/STORE.md has the format
of their file.

The collector writes the line before the catalog follows, so a kill in between is made good by the next start; and
whoever keeps files of its own by the names of sources, as history does, can follow them however late it comes.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from linemon.errors import LineError
from linemon.store.catalog import Catalog
from linemon.store.folder import replace_file
from linemon.store.journal import Journal, JournalWriter
from linemon.store.marks import MarkWriter
from linemon.when import iso_ns

if TYPE_CHECKING:
    from linemon.store.reader import Store
    from linemon.store.writer import StoreWriter

log = logging.getLogger(__name__)

FAREWELLS: Final = "farewells"
MOST: Final = 10_000  # that are kept, the newest


class Farewell(NamedTuple):
    """A source gave up its name; `to` is the one that it got, None where it was forgotten."""

    at: int  # ns; later than the one before
    source: str
    to: str | None
    born: int  # of the source; 0 where there was nothing left of it but history

    @classmethod
    def parse(cls, fields: dict[str, Any]) -> Farewell:
        """From `fields`; KeyError, TypeError or ValueError if it is none."""
        at = int(np.datetime64(fields["time"].removesuffix("Z"), "ns").astype(np.int64))
        return cls(at, fields["source"], fields["to"], fields["born"])

    @property
    def fields(self) -> dict[str, Any]:
        """As JSON has it."""
        return {"time": iso_ns(self.at), "source": self.source, "to": self.to, "born": self.born}

    def __str__(self) -> str:
        what = "forgotten" if self.to is None else f"renamed to {self.to!r}"
        return f"{what} at {iso_ns(self.at // 10**9 * 10**9)}"


class FarewellFile(Journal):
    """The farewells of a store, as far as their file has been read."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / FAREWELLS)
        self.kept: deque[Farewell] = deque()
        self.names: dict[str, Farewell] = {}  # that were given up, and did not go to another source since

    def refresh(self) -> None:
        """Read what has come; a line that is damaged is none."""
        try:
            is_new, added = self.read_on()
        except FileNotFoundError:
            is_new, added = True, []
            self.close()
        if is_new:
            self.kept, self.names = deque(), {}
        for fields in added:
            try:
                self._take(Farewell.parse(fields))
            except (KeyError, TypeError, ValueError, AttributeError):
                self.damaged += 1

    def _take(self, farewell: Farewell) -> None:
        if farewell.to is not None:
            self.names.pop(farewell.to, None)
        self.names[farewell.source] = farewell
        self.kept.append(farewell)
        if len(self.kept) > MOST:
            oldest = self.kept.popleft()
            if self.names.get(oldest.source) is oldest:
                del self.names[oldest.source]


def of_store(store: Store) -> FarewellFile:
    """The farewells of a store that is open, as they are now. A source of a name in `names` is one that came back."""
    with store._lock:
        store._farewells.refresh()
        return store._farewells


class Follower(FarewellFile):
    """The same for who has files of its own by the names of sources; how far it has followed is kept in `path`."""

    def __init__(self, store: Store, path: Path, mode: int) -> None:
        super().__init__(store.path)
        self._store, self._followed, self._mode = store, path, mode
        self._at: tuple[str, int] | None = None  # up to which farewell of which store

    def waiting(self, lives: Mapping[str, int]) -> list[Farewell]:
        """Those that are to be followed, as far as the catalog has, which showed sources born so; the oldest first."""
        self.refresh()
        if not self.kept or (self._at and self.kept[-1].at <= self._at[1]):
            return []
        store, at = self._at = self._at or self._read()
        found = [each for each in self.kept if store != self._store.id or each.at > at]
        if found and lives.get(found[-1].source) == found[-1].born:
            found.pop()
        return found

    def done(self, farewell: Farewell) -> None:
        """This one is followed. OSError where that cannot be noted."""
        self._at = self._store.id, farewell.at
        data = json.dumps({"store": self._at[0], "at": farewell.at}).encode()
        os.close(replace_file(self._followed, data, self._mode))

    def _read(self) -> tuple[str, int]:
        try:
            said = json.loads(self._followed.read_bytes())
            return str(said["store"]), int(said["at"])
        except (OSError, ValueError, KeyError, TypeError):
            return "", 0


class FarewellWriter(JournalWriter, FarewellFile):
    """The same for the one process that writes them."""

    MOST_LINES = 2 * MOST

    def part(self, store: StoreWriter, name: str, to: str | None) -> None:
        """Rename a source with its rows and marks, or forget it with them (None); there may be only history of it.

        `to` must be the name of no source. LineError `store_full`, and nothing done, where there is no room to say so.
        """
        store.widen()
        ring = store.rings.get(name)
        try:
            self._add(name, to, ring.entry.born if ring else 0)
            marks = store.marks.kept
            try:
                store.marks.part(name, to)
                if ring:
                    store.let_go(ring, to)
            except OSError:
                self._take_back()
                store.marks.keep(marks)
                raise
        except OSError as error:
            raise LineError("store_full", f"cannot write in {self.path.parent}: {error.strerror}") from error
        log.info("source %r is %s", name, self.kept[-1])

    def end_last(self, catalog: Catalog, marks: MarkWriter) -> None:
        """Do what a kill may have left undone of the last one, before the catalog is made anew. OSError."""
        if not self.kept:
            return
        last, entry = self.kept[-1], catalog.entries.get(self.kept[-1].source)
        if entry and entry.born == last.born:
            marks.part(last.source, last.to)
            del catalog.entries[last.source]
            if last.to is not None:
                catalog.entries[last.to] = entry._replace(source=last.to)

    def _add(self, source: str, to: str | None, born: int) -> None:
        last = self.kept[-1].at if self.kept else 0
        farewell = Farewell(max(time.time_ns(), last + 1), source, to, born)
        self._write(farewell.fields)
        self._take(farewell)

    def _take_back(self) -> None:
        """The last one is not to be."""
        kept, self.kept, self.names = list(self.kept)[:-1], deque(), {}
        for each in kept:
            self._take(each)
        self._rewrite()

    def _counting(self) -> Iterator[dict[str, Any]]:
        return (each.fields for each in self.kept)
