"""The catalog of a store: which source has which columns, and where its ring is. docs/STORE.md has the format."""

from __future__ import annotations

import json
import os
import time
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple

from linemon.errors import StoreError
from linemon.store.folder import check_owner, replace_file, write_all
from linemon.store.journal import Journal, append, as_json, checked, line_of, parsed
from linemon.store.ring import MINOR, VERSION, check_version

CATALOG: Final = "catalog"
OLD_CATALOG: Final = "catalog.jsonl"  # of version 1
LOT: Final = 100  # entries that are written together, in half a millisecond


class Entry(NamedTuple):
    """One source in the catalog: its columns and the ring that holds its rows."""

    source: str
    id: int
    file: str
    slot: int
    columns: tuple[str, ...]
    units: tuple[str, ...]
    born: int  # when its row numbers began at 0 (ns); 0 = by a collector that did not say

    @classmethod
    def parse(cls, fields: dict[str, Any]) -> Entry:
        """From the JSON object; KeyError or TypeError if it is not one."""
        columns, units = (tuple(map(str, fields[name])) for name in ("columns", "units"))
        return cls(
            fields["source"], fields["id"], fields["file"], fields["slot"], columns, units, fields.get("born", 0)
        )

    def line(self) -> bytes:
        """As `line_of` has it, in a fifth of its time: where names are many, most of making a source was this."""
        source, number, file, slot, columns, units, born = self
        return checked(
            f'{{"source": {as_json(source)}, "id": {number}, "file": {as_json(file)}, "slot": {slot}, '
            f'"columns": {_listed(columns)}, "units": {_listed(units)}, "born": {born}}}'
        )

    def farewell(self) -> bytes:
        """The line that says that the source is no more."""
        return line_of({"source": self.source, "removed": self.id})


@lru_cache(maxsize=256)
def _listed(names: tuple[str, ...]) -> str:
    return as_json(names)


class Catalog(Journal):
    """The newest entry of each source, by name, as far as the file has been read."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / CATALOG)
        self.entries: dict[str, Entry] = {}
        self.head: dict[str, Any] = {}  # what the first line says

    def refresh(self) -> None:
        """Read what the writer has added. OtherVersion if another linemon wrote it."""
        try:
            is_new, added = self.read_on()
        except FileNotFoundError:
            if self.path.with_name(OLD_CATALOG).exists():
                raise StoreError(
                    f"{self.path.parent} was written by an older linemon: start the collector, it brings it up to date"
                ) from None
            self.entries = {}
            self.close()
            return
        entries: dict[str, Entry] = {} if is_new else self.entries
        if is_new:
            self.head = {}
        try:
            for fields in added:
                self._take(fields, entries)
        except StoreError:
            self.close()
            raise
        self.entries = entries  # at once: another thread may look a source up meanwhile

    def find(self, name: str) -> Entry | None:
        """The entry of one source, without a look at the others; None if there is none. Errors as `refresh`."""
        if not self.path.exists():
            self.refresh()  # which says why, where that is an error
            return None
        check_owner(self.path.parent)
        data, entries = self.path.read_bytes(), dict[str, Entry]()
        begin = b' {"source": %s, ' % json.dumps(name, ensure_ascii=False).encode()
        at = 0
        while (end := data.find(b"\n", at)) > at >= 0:  # first of all the line that says the version
            if fields := parsed(data[data.rfind(b"\n", 0, at) + 1 : end]):
                self._take(fields, entries)
            at = data.find(begin, end)
        return entries.get(name)

    def _take(self, fields: dict[str, Any], entries: dict[str, Entry]) -> None:
        try:
            if "version" in fields:
                check_version(self.path, fields["version"])
                self.head = fields
            elif "removed" in fields:
                entries.pop(fields["source"], None)
            else:
                entries[fields["source"]] = Entry.parse(fields)
        except (ValueError, KeyError, TypeError):
            self.damaged += 1


class Draft:
    """A file that is to take the catalog's place, written a little at a time."""

    def __init__(self, path: Path, mode: int, names: Iterable[str]) -> None:
        self.path = path
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
        os.fchmod(self.fd, mode)
        self.names = deque(names)  # whose entries are not written yet
        self.later: list[bytes] = []  # what was recorded meanwhile
        self.lines = 0
        self.is_whole = self.is_synced = False

    def add(self, lines: list[bytes]) -> None:
        write_all(self.fd, b"".join(lines))
        self.lines += len(lines)

    def sync(self) -> None:
        """Have the system write it out once it is whole; in another thread, too."""
        if self.is_whole:
            with suppress(FileNotFoundError):  # given up meanwhile
                _sync(self.path)
                self.is_synced = True


class CatalogWriter(Catalog):
    """The catalog for the store's one writer: what is recorded is in the file, or it is not recorded."""

    def __init__(self, folder: Path, mode: int) -> None:
        super().__init__(folder)
        self._mode = mode
        self._fd = -1
        self._draft: Draft | None = None

    def record(self, entry: Entry) -> None:
        """Add a source, or what has changed of it."""
        before = self.entries.get(entry.source)
        self.entries[entry.source] = entry
        try:
            self._write(entry.line())
        except OSError:
            if before:
                self.entries[entry.source] = before
            else:
                del self.entries[entry.source]
            raise

    def remove(self, entry: Entry) -> None:
        """Take a source out; first of all here, as its farewell may bring about a file made anew."""
        del self.entries[entry.source]
        try:
            self._write(entry.farewell())
        except OSError:
            self.entries[entry.source] = entry
            raise

    def rename(self, entry: Entry, name: str) -> Entry:
        """Give a source another name, in one piece: a kill within it leaves both, never none."""
        renamed = entry._replace(source=name)
        del self.entries[entry.source]
        self.entries[name] = renamed
        try:
            self._write(renamed.line() + entry.farewell())
        except OSError:
            del self.entries[name]
            self.entries[entry.source] = entry
            raise
        return renamed

    def _write(self, line: bytes) -> None:
        """Add a line, or some, whole or not at all."""
        append(self._fd, line)
        self.lines += line.count(b"\n")
        if self._draft and self._draft.is_whole:  # there it is, too, when it is written out
            try:
                self._draft.add([line])
            except OSError:
                self._give_up()
        elif self._draft:
            self._draft.later.append(line)
        if self.lines > 2 * self._most_lines:  # `tidy` is not called, or falls behind
            with suppress(OSError):  # it is right as it is, only long
                self.rewrite()

    @property
    def _most_lines(self) -> int:
        return 1000 + 2 * len(self.entries)

    def tidy(self, until: float) -> None:
        """Go on, up to this moment (monotonic s), to make the file anew where it holds too much that counts no more."""
        if self._draft is None and self.lines <= self._most_lines:
            return
        try:
            if self._draft is None:
                self._draft = Draft(self.path.with_name(f"{CATALOG}.new"), self._mode, self.entries)
                self._draft.add([_first_line(self.head)])
            draft = self._draft
            while draft.names:
                names = [draft.names.popleft() for _ in range(min(LOT, len(draft.names)))]
                draft.add([self.entries[name].line() for name in names if name in self.entries])
                if time.monotonic() >= until:
                    return
            if not draft.is_whole:
                draft.add(draft.later)
                draft.is_whole = True
            if draft.is_synced:
                draft.path.rename(self.path)
                self._draft = None
                self.end()
                self._fd, self.lines = draft.fd, draft.lines
        except OSError:  # the file is right as it is, only long
            self._give_up()

    def _give_up(self) -> None:
        if self._draft:
            os.close(self._draft.fd)
            self._draft.path.unlink(missing_ok=True)
            self._draft = None

    def rewrite(self) -> None:
        """Replace the file by one that holds only what counts; readers notice the new one."""
        self._give_up()
        data = b"".join([_first_line(self.head), *(entry.line() for entry in self.entries.values())])
        fd = replace_file(self.path, data, self._mode, is_synced=True)
        self.end()
        self._fd, self.lines = fd, 1 + len(self.entries)

    def is_gone(self) -> bool:
        """Whether the file was removed or replaced by somebody else."""
        try:
            return not os.path.samestat(os.stat(self.path), os.fstat(self._fd))
        except (FileNotFoundError, NotADirectoryError):
            return True

    def sync(self) -> None:
        """Have the system write it out; in another thread, too."""
        _sync(self.path)  # our own descriptor may be replaced meanwhile
        if draft := self._draft:
            draft.sync()

    def end(self) -> None:
        """Write no more."""
        self._give_up()
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _first_line(store: dict[str, Any]) -> bytes:
    """`store` says which store it is."""
    return line_of({"version": VERSION, "minor": MINOR, **store})
