"""A segment of a spool: numbered rows, in memory or in a file. `spool.py` says what the file looks like."""

from __future__ import annotations

import os
import time
from contextlib import suppress


class Segment:
    """Numbered rows of one source, one device if it is one, one SENDER and one set of columns."""

    def __init__(self, source: str, sender: str, first: int, columns: bytes, now: float, device: str = "") -> None:
        self.source, self.sender, self.device = source, sender, device
        self.first, self.count = first, 0
        self.lost_from: int | None = None
        """The number from which on the rows cannot be read any more; they are lost, and counted as such already."""
        self.columns = columns  # the #columns line, without its newline; before it the #spec line, if there is one
        self.born = self.newest = now  # monotonic
        self.size = self.start = 0  # bytes, and where the rows begin
        self.data = bytearray()  # the rows, where there is no file
        self.path = ""
        self.file = -1  # open while rows are added

    def create(self, path: str, boot: str) -> None:
        """Keep the rows in a new file of that name. OSError."""
        head = f"#source {self.source}\n" if self.source else ""
        head += f"#device {self.device}\n" if self.device else ""
        head += f"#boot {boot}\n#seq {self.first} {self.sender}\n"
        text = head.encode() + self.columns + b"\n"
        self.path = path
        self.file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        write_whole(self.file, text, 0)
        self.size = self.start = len(text)

    @property
    def end(self) -> int:
        """The number after the last row."""
        return self.first + self.count

    @property
    def readable_end(self) -> int:
        """The number after the last row that is not known to be lost."""
        return self.end if self.lost_from is None else self.lost_from

    def read(self, offset: int, size: int) -> bytes:
        """At most `size` bytes of rows. OSError."""
        if not self.path:
            return bytes(self.data[offset : offset + size])
        if self.file >= 0:
            return os.pread(self.file, size, offset)
        file = os.open(self.path, os.O_RDONLY)
        try:
            return os.pread(file, size, offset)
        finally:
            os.close(file)

    def offset(self, number: int) -> int:
        """Where the row of that number begins. OSError."""
        rows, at = self.read(self.start, self.size) if self.path else self.data, 0
        for _ in range(number - self.first):
            at = rows.index(b"\n", at) + 1
        return self.start + at

    def add(self, line: bytes, now: float) -> None:
        """Add one row with its newline, all of it or, with OSError, nothing."""
        if self.path:
            write_whole(self.file, line, self.size)
        else:
            self.data += line
        self.count += 1
        self.size += len(line)
        self.newest = now

    def trim(self, number: int) -> int:
        """Forget the rows below that number, which are in memory; how many bytes these were."""
        size = self.offset(number)
        del self.data[:size]
        self.count -= number - self.first
        self.first = number
        self.size -= size
        return size

    def seal(self) -> None:
        """No more rows will be added."""
        if self.file >= 0:
            os.close(self.file)
            self.file = -1

    def remove(self) -> None:
        """Forget the rows and the file."""
        self.seal()
        self.data = bytearray()
        if self.path:
            with suppress(OSError):
                os.unlink(self.path)


def load(path: str, now: float) -> tuple[Segment, str, bool]:
    """A segment from its file, the boot it was written in, and whether its last line was half written and is cut off.

    OSError; ValueError where it is no segment's file.
    """
    with open(path, "r+b") as file:
        content = file.read()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            file.truncate(whole)
        age = max(0.0, time.time() - os.fstat(file.fileno()).st_mtime)
    said: dict[str, str] = {}
    start, columns = 0, b""
    while content.startswith(b"#", start) and start < whole:
        columns = content[start : content.index(b"\n", start)]
        word, _, rest = columns.decode().partition(" ")
        said[word] = rest
        start += len(columns) + 1
    if (
        not columns.startswith(b"#columns ")
        or not {"#boot", "#seq"} <= said.keys()
        or not {"#source", "#device"} & said.keys()
    ):
        raise ValueError("its first lines are not #source, #boot, #seq, #columns")
    if "#spec" in said:
        columns = f"#spec {said['#spec']}\n".encode() + columns
    number, _, sender = said["#seq"].partition(" ")
    segment = Segment(said.get("#source", ""), sender, int(number), columns, now - age, said.get("#device", ""))
    segment.path, segment.size, segment.start = path, whole, start
    segment.count = content.count(b"\n", start, whole)
    return segment, said["#boot"], whole < len(content)


def write_whole(file: int, text: bytes, at: int) -> None:
    """Write all of the text at that place, the file's end, or nothing of it and raise OSError."""
    try:
        written = 0
        while written < len(text):
            written += os.pwrite(file, text[written:], at + written)
    except OSError:
        with suppress(OSError):
            os.ftruncate(file, at)
        raise
