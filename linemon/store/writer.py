"""The one writer of a store: gives sources their rings, lets them grow, keeps the catalog."""

from __future__ import annotations

import functools
import logging
import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from linemon.errors import LineError, OtherVersion, StoreError, StoreGone
from linemon.logs import Seldom
from linemon.patterns import is_output
from linemon.store.arena import ArenaWriter
from linemon.store.catalog import CATALOG, OLD_CATALOG, CatalogWriter, Entry
from linemon.store.farewells import FarewellWriter
from linemon.store.folder import draw_id, here, lock, own_folder, replace_file
from linemon.store.marks import MarkWriter
from linemon.store.ring import MINOR, PAGE_BYTES, step_bytes
from linemon.store.silence import Silence
from linemon.store.upgrade import old_sources

log = logging.getLogger(__name__)

GROWN_PARTS = 16  # of a file, one of which it grows by
STEP_S = 0.008  # of work that grows with the number of sources: others wait meanwhile


@dataclass
class Ring:
    """Where the rows of one source go. It changes in place when the source gets more columns."""

    entry: Entry
    arena: ArenaWriter
    is_gone: bool = False  # the source was forgotten: whoever holds this must bind again
    coming: tuple[str, ...] = ()  # columns that `StoreWriter.widen` will add

    def __post_init__(self) -> None:
        keep = self.arena.foretelling.add if is_output(self.entry.source) else self.arena.foretelling.discard
        keep(self.entry.slot)

    @property
    def width(self) -> int:
        return self.arena.width

    @property
    def columns(self) -> tuple[str, ...]:
        """Also those that are still to come."""
        return self.entry.columns + self.coming


class StoreWriter:
    """Opens a store for writing, as the only process that does; what it held before is still there.

    `points` rows are kept per source, at most `max_sources` sources of at most `max_columns` columns. `mode` has the
    permissions of the folder, and without execution of its files. StoreError says why the store cannot be had.
    """

    def __init__(self, folder: Path, points: int, max_sources: int, max_columns: int = 1000, mode: int = 0o700) -> None:
        self.folder = folder
        self.points = points
        self.max_sources = max_sources
        self.max_columns = max_columns
        self._file_mode = mode & 0o666
        own_folder(folder, mode)
        self._lock = lock(folder, self._file_mode)
        self._catalog = CatalogWriter(folder, self._file_mode)
        self._is_damaged = False  # the catalog, as it was found
        self._arenas: dict[str, ArenaWriter] = {}
        self._free: dict[str, list[int]] = {}
        self._last_id = 0  # and what the last source was born as
        self._ahead = 0  # rows ahead of their time, of rings whose file is gone
        self.rings: dict[str, Ring] = {}
        self._widening: dict[str, Ring] = {}  # those that have columns coming
        self.unsure: set[str] = set()  # sources that were open when the machine went down: pages of theirs may be old
        self.moves = 0  # how often a source got another ring, or lost its own
        self._units_told = Seldom()
        self._silence = Silence(self.rings)
        try:
            self.marks = MarkWriter(folder, self._file_mode)
            self.farewells = FarewellWriter(folder, self._file_mode)
            self._open()
            self.id = str(self._catalog.head["store"])  # twelve characters that name this store and no other
        except BaseException:
            os.close(self._lock)
            raise

    def close(self) -> None:
        """Let another collector have the store; the rows stay."""
        for ring in self.rings.values():
            ring.arena.seal(ring.entry.slot)
        with suppress(FileNotFoundError, NotADirectoryError):  # it was taken away
            self.sync()
        self.rings.clear()
        self._arenas.clear()
        self._catalog.end()
        os.close(self._lock)

    def sync(self) -> None:
        """Have the system write out what has changed. It may take seconds, and may be called in a thread of its own."""
        self._catalog.sync()
        for arena in list(self._arenas.values()):
            arena.sync()

    @property
    def ahead(self) -> int:
        """How many rows of this run were stamped more than five minutes later than they came."""
        return self._ahead + sum(arena.ahead for arena in self._arenas.values())

    def note_arrivals(self) -> None:
        """Have each ring note when rows came; to be called once a second."""
        for arena in self._arenas.values():
            arena.note_arrivals()

    def check_place(self) -> None:
        """StoreGone if the folder, or its catalog, is no longer the one that was opened: rows would go nowhere."""
        if self.is_gone():
            raise StoreGone(f"{self.folder} was removed or replaced under the collector, which must start anew")

    def is_gone(self) -> bool:
        return self._catalog.is_gone()

    def replace_file(self, name: str, data: bytes) -> None:
        """Put a file in place of the one of this name, in one step."""
        os.close(replace_file(self.folder / name, data, self._file_mode))

    def bind(self, name: str, columns: tuple[str, ...], units: tuple[str, ...] | None) -> Ring:
        """The ring for rows of these columns, made or widened as needed; `units` is None for unnamed columns.

        Named columns stand wherever the source has them, and those that it lacks at its end; of unnamed ones there must
        be as many as the source has. LineError: `columns`, `max_sources` or `store_full`.
        """
        try:
            return self._bind(name, columns, units)
        except OSError as error:  # no space, no file descriptor
            raise LineError("store_full", f"cannot make a ring in {self.folder}: {error.strerror}") from error

    def _bind(self, name: str, columns: tuple[str, ...], units: tuple[str, ...] | None) -> Ring:
        ring = self.rings.get(name)
        if ring is not None and ring.coming:
            self.widen()
        if ring is None:
            self._check_count(name, len(columns))
            return self._new(name, columns, units or ("",) * len(columns))
        have = ring.entry
        if units is None:
            if len(columns) != len(have.columns):
                raise LineError(
                    "columns", f"source {name!r} has {len(have.columns)} columns, the row has {len(columns)}"
                )
            return ring
        said = dict(zip(columns, units, strict=True))
        new_units = tuple([said.pop(column, "") or unit for column, unit in zip(have.columns, have.units, strict=True)])
        new_units += tuple(said.values())
        if said:
            self._check_count(name, len(have.columns) + len(said))
            self._move(ring, have.columns + tuple(said), new_units)
        elif new_units != have.units:
            entry = have._replace(units=new_units)
            self._catalog.record(entry)
            ring.entry = entry
            self._log_units(name, have.units, new_units)
        return ring

    def _check_count(self, name: str, columns: int) -> None:
        if columns > self.max_columns:
            raise LineError("columns", f"source {name!r} would have more than max_columns = {self.max_columns}")

    def announce(self, ring: Ring, columns: tuple[str, ...]) -> None:
        """Have the source get these columns by the next `widen`. LineError `columns` where they are too many.

        A move copies all rows of a source: so columns that come one by one are collected, and it moves once.
        """
        self._check_count(ring.entry.source, len(ring.columns) + len(columns))
        ring.coming += columns
        self._widening[ring.entry.source] = ring

    def has_many_to_widen(self) -> bool:
        """Whether `widen` would take several milliseconds."""
        return len(self._widening) >= 16

    def widen(self) -> bool:
        """Move the sources that have columns coming; False if one of them has no room, and stays as it is."""
        rings, self._widening = self._widening, {}
        have_room = True
        for ring in rings.values():
            columns, ring.coming = ring.columns, ()
            if ring.is_gone or columns == ring.entry.columns:
                continue
            try:
                self._move(ring, columns, ring.entry.units + ("",) * (len(columns) - len(ring.entry.units)))
            except (LineError, OSError):  # who has rows for it says so
                have_room = False
        return have_room

    def _log_units(self, name: str, before: tuple[str, ...], now: tuple[str, ...]) -> None:
        """Tell of changed units; at a bounded rate, as senders that do not agree may change them with each row."""
        if count := self._units_told.due():
            more = f" ({count} changes since the last such line)" if count > 1 else ""
            were, are = (" ".join(unit or "-" for unit in units) for units in (before, now))
            log.warning("source %r: units changed from %s to %s%s", name, were, are, more)

    def tidy(self) -> None:
        """Have the catalog made anew where it has grown long, a little at a time; to be called once a second."""
        self._catalog.tidy(time.monotonic() + STEP_S)

    def forget_silent(self, now_s: float, after_s: float) -> bool:
        """Remove, for about `STEP_S`, sources that got no row for `after_s`; False where the next call must go on."""
        for ring in self._silence.find(now_s, after_s, time.monotonic() + STEP_S):
            try:
                self.let_go(ring)
                log.info("source %r is forgotten: no row for %g s", ring.entry.source, after_s)
            except OSError as error:
                log.error("source %r cannot be forgotten: %s", ring.entry.source, error.strerror)
        return self._silence.is_over

    def let_go(self, ring: Ring, to: str | None = None) -> None:
        """Give a source another name (None: remove it); who holds the ring must bind again. OSError: nothing done."""
        entry = ring.entry
        if to is None:
            self._catalog.remove(entry)
        else:
            self.rings[to] = Ring(self._catalog.rename(entry, to), ring.arena)
        del self.rings[entry.source]
        self._silence.drop(entry.source)
        ring.is_gone = True
        self.moves += 1
        if to is None:
            self._release(entry, ring.arena)

    def _new(self, name: str, columns: tuple[str, ...], units: tuple[str, ...]) -> Ring:
        count = len(self.rings)
        if count >= self.max_sources:
            raise LineError("max_sources", f"source {name!r} would be one more than max_sources = {self.max_sources}")
        if count + 1 == int(0.85 * self.max_sources):
            log.warning("%d of max_sources = %d sources in use", count + 1, self.max_sources)
        ring = self.rings[name] = self._publish(self._place(name, columns, units))
        if farewell := self.farewells.names.get(name):
            log.warning("source %r is back: it was %s", name, farewell)
        return ring

    def _move(self, ring: Ring, columns: tuple[str, ...], units: tuple[str, ...]) -> None:
        """Give the source a ring for these columns, with all its rows; the old ring's place is free again."""
        old, arena = ring.entry, ring.arena
        new = self._place(old.source, columns, units, old.born)
        self._publish(new, lambda slot: new.arena.adopt_ring(slot, arena, old.slot))
        ring.entry, ring.arena = new.entry, new.arena
        self.moves += 1
        self._release(old, arena)

    def _release(self, entry: Entry, arena: ArenaWriter) -> None:
        """Give a ring's place back, after the catalog has said so: readers who miss the id look there."""
        arena.release(entry.slot)
        free = self._free[entry.file]
        free.append(entry.slot)
        if len(free) == arena.slots:
            arena.path.unlink()
            self._ahead += arena.ahead
            del self._arenas[entry.file], self._free[entry.file]

    def _place(self, name: str, columns: tuple[str, ...], units: tuple[str, ...], born: int = 0) -> Ring:
        """A ring that no reader knows of yet; its slot is not taken. `born` is 0 for a source that is new."""
        file = f"{len(columns)}x{self.points}.v2.ring"
        arena = self._arenas.get(file)
        if arena is None:
            self._room_for(PAGE_BYTES)
            arena = self._arenas[file] = ArenaWriter.create(
                self.folder / file, len(columns), self.points, self._file_mode
            )
            self._free[file] = []
        free = self._free[file]
        if not free:
            had = arena.slots
            self._grow(arena)
            free.extend(reversed(range(had, arena.slots)))
        number = self._next_id()
        return Ring(Entry(name, number, file, free.pop(), columns, units, born or number), arena)

    def _grow(self, arena: ArenaWriter) -> None:
        """Lengthen a file by a part of what it has, as all of it is mapped anew; by one step where there is no room."""
        step = step_bytes(arena.slot_bytes)
        steps = 1 + arena.slots * arena.slot_bytes // step // GROWN_PARTS
        try:
            self._room_for(steps * step)
        except LineError:
            self._room_for((steps := 1) * step)
        arena.grow(steps)

    def _next_id(self) -> int:
        """An id that never was one, also not of an earlier run that this one never saw."""
        self._last_id = max(self._last_id + 1, time.time_ns())
        return self._last_id

    def _publish(self, ring: Ring, fill: Callable[[int], None] = lambda slot: None) -> Ring:
        """Take the ring's slot, have it filled, and tell readers of it. If any of this fails, there is no such ring."""
        try:
            ring.arena.take(ring.entry.slot, ring.entry.id, ring.entry.born)
        except LineError:  # no room: the slot is not to be touched
            self._free[ring.entry.file].append(ring.entry.slot)
            raise
        try:
            fill(ring.entry.slot)
            self._catalog.record(ring.entry)
        except BaseException:
            self._release(ring.entry, ring.arena)
            raise
        return ring

    def _room_for(self, growth: int) -> None:
        """Refuse to grow beyond what the folder's file system could hold with every ring full.

        The files are sparse: without this a full file system would show as a SIGBUS on the row that meets it.
        """
        promised = sum(arena.unused_bytes() for arena in self._arenas.values())
        disk = os.statvfs(self.folder)
        if promised + growth > disk.f_bavail * disk.f_frsize:
            raise LineError("store_full", f"{self.folder} has no room for another {growth} bytes of rings")

    # -- opening what is there

    def _open(self) -> None:
        catalog = self._catalog
        is_there = catalog.path.exists()
        if is_there:
            catalog.refresh()
            if catalog.head.get("minor", 0) > MINOR:
                raise OtherVersion(
                    f"{catalog.path} was written by a newer linemon: install that one, or set [store] path to another "
                    "folder"
                )
        self._is_damaged = not is_there and not (self.folder / OLD_CATALOG).exists()
        if is_there and (catalog.damaged or catalog.is_cut or not catalog.head):
            self._is_damaged = True
            what = f"has {catalog.damaged} damaged lines" if catalog.damaged else "is empty, or cut"
            log.error("%s %s: kept as %s.bad", catalog.path, what, CATALOG)
            shutil.copyfile(catalog.path, catalog.path.with_suffix(".bad"))
        self.farewells.end_last(catalog, self.marks)
        self._last_id = max((max(entry.id, entry.born) for entry in catalog.entries.values()), default=0)
        said, now = catalog.head, here()
        is_ours = "store" in said and said.get("machine") == now["machine"]
        catalog.head = {"store": said["store"] if is_ours else draw_id(), **now, "boot": said.get("boot", "")}
        catalog.rewrite()
        try:
            for entry in list(catalog.entries.values()):
                self._take_up(entry, was_rebooted=catalog.head["boot"] != now["boot"])
            self._upgrade()
        except LineError as error:
            raise StoreError(
                f"the rows of {self.folder} cannot be moved to rings of [store] points: {error}"
            ) from error
        self._collect_free()
        catalog.head["boot"] = now["boot"]  # now that no source is left that was open when the machine went down
        catalog.rewrite()  # without what was lost or moved

    def _take_up(self, entry: Entry, was_rebooted: bool) -> None:
        """Go on with a ring of an earlier run; one of another length is moved to one of ours.

        After a power loss rows may be missing at its end: their numbers are not to be given to others under the same
        `born`.
        """
        path = self.folder / entry.file
        try:
            arena = self._arenas.get(entry.file) or ArenaWriter(path)
            damage = arena.damage(entry.slot, entry.id)
        except OtherVersion:
            raise
        except (StoreError, OSError) as error:
            damage = str(error)
            if path.exists():
                path.rename(path.with_suffix(".bad"))
        else:
            path.chmod(self._file_mode)
            self._arenas[entry.file] = arena
            self._free.setdefault(entry.file, [])
        if damage:
            log.error("source %r is lost: %s", entry.source, damage)
            del self._catalog.entries[entry.source]
            return
        is_unsure = was_rebooted and not arena.is_sealed(entry.slot)
        if is_unsure:
            self.unsure.add(entry.source)
        if not entry.born or is_unsure:
            entry = self._catalog.entries[entry.source] = entry._replace(born=self._next_id())
        arena.take_up(entry.slot, entry.born)
        ring = self.rings[entry.source] = Ring(entry, arena)
        if arena.points != self.points:
            self._move(ring, entry.columns, entry.units)

    def _upgrade(self) -> None:
        """Take over the sources of a store of version 1."""
        if not (self.folder / OLD_CATALOG).exists():
            return
        for old in old_sources(self.folder):
            if isinstance(old, str):
                log.error("source %r of version 1 is lost: its ring cannot be read", old)
            elif old.name not in self.rings:
                ring = self._place(old.name, old.columns, old.units)
                adopt = functools.partial(ring.arena.adopt, head=old.head, block=old.block, rejected=old.rejected)
                self.rings[old.name] = self._publish(ring, adopt)
        (self.folder / OLD_CATALOG).unlink()

    def _collect_free(self) -> None:
        """Find the slots that nobody owns, and remove files of which nothing is used."""
        used: dict[str, set[int]] = {file: set() for file in self._arenas}
        for ring in self.rings.values():
            used[ring.entry.file].add(ring.entry.slot)
        for file, arena in list(self._arenas.items()):
            self._free[file] = sorted(set(range(arena.slots)) - used[file], reverse=True)
        for path in self.folder.glob("*.ring"):
            if not used.get(path.name):
                self._arenas.pop(path.name, None)
                if self._is_damaged:  # it may hold what the catalog told of
                    kept = path.rename(path.with_suffix(".bad"))
                    log.error("%s belongs to no source that is left in the catalog: kept as %s", path, kept.name)
                else:
                    path.unlink()
