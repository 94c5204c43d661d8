"""Files of lines, JSON with a checksum, that one process adds to and others follow: a catalog, marks."""

from __future__ import annotations

import json
import logging
import os
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, Final

from linemon.store.folder import check_owner, replace_file, write_all

log = logging.getLogger(__name__)

as_json: Final = json.JSONEncoder(ensure_ascii=False).encode


class Journal:
    """Such a file, as far as it has been read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines = 0
        self.damaged = 0  # lines
        self.is_cut = False  # it ends in the middle of a line
        self._file: BinaryIO | None = None  # open, so that no other file gets its inode
        self._inode = self._offset = -1

    @property
    def state(self) -> tuple[int, int]:
        """Another one after each change."""
        return self._inode, self._offset

    def refresh(self) -> None:
        """Take in what has come."""
        raise NotImplementedError

    def read_on(self) -> tuple[bool, list[dict[str, Any]]]:
        """What was added since the last call, and whether that is of another file, which took the place of the last.

        A line without its newline is not there yet. FileNotFoundError where there is no file.
        """
        stat = os.stat(self.path)
        if (stat.st_ino, stat.st_size) == self.state:
            return False, []
        is_new = stat.st_ino != self._inode or self._file is None
        if is_new:
            self.close()
            check_owner(self.path.parent)
            self._file = open(self.path, "rb")  # noqa: SIM115  it stays open
            self._inode, self._offset = os.fstat(self._file.fileno()).st_ino, 0
            self.lines = self.damaged = 0
        assert self._file
        self._file.seek(self._offset)
        *lines, unfinished = self._file.read().split(b"\n")
        self._offset += sum(len(line) + 1 for line in lines)
        self.lines += len(lines)
        self.is_cut = bool(unfinished)
        found = [parsed(line) for line in lines]
        whole = [fields for fields in found if fields is not None]
        self.damaged += len(found) - len(whole)
        return is_new, whole

    def close(self) -> None:
        """Let go of the file; it is read anew then."""
        if self._file is not None:
            self._file.close()
        self._file, self._inode, self._offset = None, -1, -1


class JournalWriter(Journal):
    """The same for its one writer; beside the class that says what lines mean, and before it in the list of bases."""

    MOST_LINES: ClassVar[int]  # of the file, until it is made anew

    def __init__(self, path: Path, mode: int) -> None:
        """OSError where the file cannot be read, or made anew without what a kill or a power cut left in it."""
        super().__init__(path)
        self._mode = mode
        self.refresh()
        self.close()
        if self.damaged or self.is_cut:
            log.error("%s: %d damaged lines, and what has no end, are dropped", self.path, self.damaged)
            self._rewrite()

    def _counting(self) -> Iterable[dict[str, Any]]:
        """What still counts, as its lines have it."""
        raise NotImplementedError

    def _write(self, fields: dict[str, Any]) -> None:
        if self.lines >= self.MOST_LINES:
            self._rewrite()
        add_line(self.path, fields, self._mode)
        self.lines += 1

    def _rewrite(self) -> None:
        """Replace the file by one that holds only what counts."""
        data = b"".join(map(line_of, self._counting()))
        os.close(replace_file(self.path, data, self._mode, is_synced=True))
        self.lines = data.count(b"\n")


def parsed(line: bytes) -> dict[str, Any] | None:
    """The object of a line without its newline; None if it is damaged."""
    crc, _, text = line.partition(b" ")
    try:
        fields = json.loads(text) if int(crc, 16) == zlib.crc32(text) else None
    except ValueError:
        return None
    return fields if isinstance(fields, dict) else None


def line_of(fields: dict[str, Any]) -> bytes:
    return checked(as_json(fields))


def checked(text: str) -> bytes:
    """A line of what is JSON already."""
    data = text.encode()
    return b"%08x %s\n" % (zlib.crc32(data), data)


def add_line(path: Path, fields: dict[str, Any], mode: int) -> None:
    """Add a line to the file at this path, made where there is none. OSError, and nothing added, where it cannot be."""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, mode)
    try:
        append(fd, line_of(fields))
    finally:
        os.close(fd)


def append(fd: int, line: bytes) -> None:
    """Add a line at the end, whole or not at all."""
    size = -1
    try:
        if (written := os.write(fd, line)) < len(line):
            size = os.fstat(fd).st_size - written
            write_all(fd, line[written:])
    except OSError:
        if size < 0:  # nothing was written
            raise
        os.ftruncate(fd, size)
        os.lseek(fd, size, os.SEEK_SET)
        raise
