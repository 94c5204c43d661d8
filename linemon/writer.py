"""The one writer of a store: gives sources their rings, lets them grow, appends."""

from __future__ import annotations

import fcntl
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from linemon.errors import LineError, StoreError
from linemon.ring import HEAD, HEADER_BYTES, ID, Arena
from linemon.store import Catalog, Entry

log = logging.getLogger(__name__)


@dataclass
class Ring:
    """Where the rows of one source go. It changes in place when the source gets more columns."""

    entry: Entry
    arena: Arena
    is_gone: bool = False  # the source was forgotten: whoever holds this must bind again

    @property
    def width(self) -> int:
        return self.arena.width


class StoreWriter:
    """Opens a store for writing, as the only process that does; what it held before is still there.

    `points` rows are kept per source, at most `max_sources` sources of at most `max_columns` columns.
    """

    def __init__(self, folder: Path, points: int, max_sources: int, max_columns: int = 1000) -> None:
        self.folder = folder
        self.points = points
        self.max_sources = max_sources
        self.max_columns = max_columns
        own_folder(folder)
        self._lock = lock(folder)
        self._catalog = Catalog(folder)
        self._catalog.refresh()
        self._file = self._rewrite_catalog()  # without the half line that a crash may have left
        self._arenas: dict[str, Arena] = {}
        self._free: dict[str, list[int]] = {}
        self._last_id = max((entry.id for entry in self._catalog.entries.values()), default=0)
        self.rings: dict[str, Ring] = {}
        self.moves = 0  # how often a source got another ring, or lost its own
        self._seen: dict[str, tuple[int, float]] = {}  # rows of each source, and since when it has had so many
        for entry in list(self._catalog.entries.values()):
            self._take_up(entry)
        self._collect_free()
        self._file.close()
        self._file = self._rewrite_catalog()  # without what was lost or moved

    def close(self) -> None:
        """Let another collector have the store; the rows stay."""
        self.rings.clear()
        self._arenas.clear()
        self._file.close()
        os.close(self._lock)

    def bind(self, name: str, columns: tuple[str, ...], units: tuple[str, ...] | None) -> Ring:
        """The ring for rows of these columns, made or widened as needed; `units` is None for unnamed columns.

        Named columns fit where they are the source's first columns in order, or all of them and more; unnamed ones
        where there are as many as the source has. LineError: `columns`, `max_sources` or `store_full`.
        """
        try:
            return self._bind(name, columns, units)
        except OSError as error:  # no space, no file descriptor
            raise LineError("store_full", f"cannot make a ring in {self.folder}: {error.strerror}") from error

    def _bind(self, name: str, columns: tuple[str, ...], units: tuple[str, ...] | None) -> Ring:
        if len(columns) > self.max_columns:
            raise LineError("columns", f"source {name!r} would have more than max_columns = {self.max_columns}")
        ring = self.rings.get(name)
        if ring is None:
            return self._new(name, columns, units or ("",) * len(columns))
        have = ring.entry
        if units is None:
            if len(columns) != len(have.columns):
                raise LineError(
                    "columns", f"source {name!r} has {len(have.columns)} columns, the row has {len(columns)}"
                )
            return ring
        shared = min(len(columns), len(have.columns))
        if columns[:shared] != have.columns[:shared]:
            at = next(i for i in range(shared) if columns[i] != have.columns[i])
            raise LineError(
                "columns", f"source {name!r} has {have.columns[at]!r} as column {at + 1}, not {columns[at]!r}"
            )
        said = tuple(new or old for new, old in zip(units, have.units, strict=False))
        new_units = said + have.units[shared:] + units[shared:]
        if len(columns) > shared:
            self._move(ring, have.columns + columns[shared:], new_units)
        elif new_units != have.units:
            log.warning("source %r: units changed from %s to %s", name, have.units, new_units)
            ring.entry = Entry(name, have.id, have.file, have.slot, have.columns, new_units)
            self._record(ring.entry)
        return ring

    def forget_silent(self, now_s: float, after_s: float) -> None:
        """Remove the sources that got no row for `after_s` seconds, as seen by the calls of this method."""
        seen, self._seen = self._seen, {}
        for name, ring in list(self.rings.items()):
            head = int(ring.arena.cells[ring.entry.slot, HEAD])
            had, since_s = seen.get(name, (head, now_s))
            self._seen[name] = (head, since_s if head == had else now_s)
            if head == had and now_s - since_s >= after_s:
                log.info("source %r is forgotten: no row for %g s", name, after_s)
                self._forget(self.rings.pop(name))

    def _forget(self, ring: Ring) -> None:
        entry, ring.is_gone = ring.entry, True
        self.moves += 1
        del self._catalog.entries[entry.source]
        self._write(entry.farewell())
        self._release(entry, ring.arena)

    def _new(self, name: str, columns: tuple[str, ...], units: tuple[str, ...]) -> Ring:
        count = len(self.rings)
        if count >= self.max_sources:
            raise LineError("max_sources", f"source {name!r} would be one more than max_sources = {self.max_sources}")
        if count + 1 == int(0.85 * self.max_sources):
            log.warning("%d of max_sources = %d sources in use", count + 1, self.max_sources)
        ring = self.rings[name] = self._place(name, columns, units)
        self._publish(ring)
        return ring

    def _move(self, ring: Ring, columns: tuple[str, ...], units: tuple[str, ...]) -> None:
        """Give the source a ring for these columns, with all its rows; the old ring's place is free again."""
        old, old_arena = ring.entry, ring.arena
        new = self._place(old.source, columns, units)
        new.arena.adopt(new.entry.slot, old_arena, old.slot)
        self._publish(new)
        ring.entry, ring.arena = new.entry, new.arena
        self.moves += 1
        self._release(old, old_arena)

    def _release(self, entry: Entry, arena: Arena) -> None:
        """Give a ring's place back, after the catalog has said so: readers who miss the id look there."""
        arena.cells[entry.slot, ID] = 0
        free = self._free[entry.file]
        free.append(entry.slot)
        if len(free) == arena.slots:
            arena.path.unlink()
            del self._arenas[entry.file], self._free[entry.file]

    def _place(self, name: str, columns: tuple[str, ...], units: tuple[str, ...]) -> Ring:
        """An empty ring that no reader knows of yet."""
        file = f"{len(columns)}x{self.points}.ring"
        arena = self._arenas.get(file)
        if arena is None:
            self._room_for(HEADER_BYTES)
            arena = self._arenas[file] = Arena.create(self.folder / file, len(columns), self.points)
            self._free[file] = []
        free = self._free[file]
        if not free:
            self._room_for(arena.step_bytes)
            had = arena.slots
            arena.grow()
            free.extend(reversed(range(had, arena.slots)))
        slot = free.pop()
        arena.cells[slot] = 0
        self._last_id += 1
        return Ring(Entry(name, self._last_id, file, slot, columns, units), arena)

    def _publish(self, ring: Ring) -> None:
        ring.arena.cells[ring.entry.slot, ID] = ring.entry.id
        self._record(ring.entry)

    def _record(self, entry: Entry) -> None:
        self._catalog.entries[entry.source] = entry
        self._write(entry.line())

    def _write(self, line: bytes) -> None:
        self._catalog.lines += 1
        self._file.write(line)
        self._file.flush()
        if self._catalog.lines > 1000 + 2 * len(self._catalog.entries):
            self._file.close()
            self._file = self._rewrite_catalog()

    def _room_for(self, growth: int) -> None:
        """Refuse to grow beyond what the folder's file system could hold with every ring full.

        The files are sparse: without this a full file system would show as a SIGBUS on the row that meets it.
        """
        promised = sum(arena.unused_bytes() for arena in self._arenas.values())
        disk = os.statvfs(self.folder)
        if promised + growth > disk.f_bavail * disk.f_frsize:
            raise LineError("store_full", f"{self.folder} has no room for another {growth} bytes of rings")

    # -- opening what is there

    def _rewrite_catalog(self) -> BinaryIO:
        """Replace the catalog by one that holds only what counts; readers notice the new file."""
        draft = self._catalog.path.with_suffix(".new")
        file = open(draft, "wb", opener=_owner_only)  # noqa: SIM115  it stays open
        file.writelines(entry.line() for entry in self._catalog.entries.values())
        file.flush()
        draft.rename(self._catalog.path)
        self._catalog.lines = len(self._catalog.entries)
        return file

    def _take_up(self, entry: Entry) -> None:
        """Go on with a ring of an earlier run; one of another length is moved to one of ours."""
        path = self.folder / entry.file
        try:
            arena = self._arenas.get(entry.file) or Arena(path, writable=True)
            if entry.slot >= arena.slots or int(arena.cells[entry.slot, ID]) != entry.id:
                raise StoreError(f"{path} does not hold the ring of {entry.source!r}")
        except (StoreError, OSError) as error:
            log.error("source %r is lost: %s", entry.source, error)
            if path.exists() and entry.file not in self._arenas:
                path.rename(path.with_suffix(".bad"))
            del self._catalog.entries[entry.source]
            return
        self._arenas[entry.file] = arena
        self._free.setdefault(entry.file, [])
        ring = self.rings[entry.source] = Ring(entry, arena)
        if arena.points != self.points:
            self._move(ring, entry.columns, entry.units)

    def _collect_free(self) -> None:
        """Find the slots that nobody owns, and remove files of which nothing is used."""
        used: dict[str, set[int]] = {file: set() for file in self._arenas}
        for ring in self.rings.values():
            used[ring.entry.file].add(ring.entry.slot)
        for file, arena in list(self._arenas.items()):
            self._free[file] = sorted(set(range(arena.slots)) - used[file], reverse=True)
            arena.cells[self._free[file], ID] = 0
        for path in self.folder.glob("*.ring"):
            if not used.get(path.name):
                self._arenas.pop(path.name, None)
                path.unlink()


def own_folder(folder: Path) -> None:
    """Make sure that the folder exists and that nobody else could have put things into it."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        owner = folder.stat().st_uid
    except OSError as error:
        raise StoreError(f"cannot use {folder} as the store: {error.strerror}") from error
    if owner != os.getuid():
        raise StoreError(f"{folder} belongs to another user: set [store] path to a folder of yours")


def lock(folder: Path) -> int:
    """Be the only writer: a lock that the system gives back when the process ends, however it ends."""
    fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = os.read(fd, 32).decode(errors="replace").strip()
        os.close(fd)
        raise StoreError(
            f"another collector (process {pid}) writes to {folder}: stop it, or set [store] path to another folder"
        ) from None
    os.ftruncate(fd, 0)
    os.write(fd, f"{os.getpid()}\n".encode())
    return fd


def _owner_only(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
