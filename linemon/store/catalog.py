"""The catalog of a store: which source has which columns, and where its ring is. docs/STORE.md has the format."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from linemon.errors import StoreError
from linemon.store.folder import replace_file
from linemon.store.journal import Journal, append, line_of
from linemon.store.ring import MINOR, VERSION, check_version

CATALOG: Final = "catalog"
OLD_CATALOG: Final = "catalog.jsonl"  # of version 1


@dataclass(frozen=True)
class Entry:
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
        return line_of(self.__dict__)

    def farewell(self) -> bytes:
        """The line that says that the source is no more."""
        return line_of({"source": self.source, "removed": self.id})


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


class CatalogWriter(Catalog):
    """The catalog for the store's one writer: what is recorded is in the file, or it is not recorded."""

    def __init__(self, folder: Path, mode: int) -> None:
        super().__init__(folder)
        self._mode = mode
        self._fd = -1

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

    def _write(self, line: bytes) -> None:
        """Add a line, whole or not at all."""
        append(self._fd, line)
        self.lines += 1
        if self.lines > 1000 + 2 * len(self.entries):
            with suppress(OSError):  # it is right as it is, only long
                self.rewrite()

    def rewrite(self) -> None:
        """Replace the file by one that holds only what counts; readers notice the new one."""
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
        fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)  # ours may be replaced meanwhile
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def end(self) -> None:
        """Write no more."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1


def _first_line(store: dict[str, Any]) -> bytes:
    """`store` says which store it is."""
    return line_of({"version": VERSION, "minor": MINOR, **store})
