"""Bounded columnar rings in a mapped file, as every process reads them; `arena.py` is the one writer's side.

An arena is one file that holds the rings of sources of the same width. docs/STORE.md has the format, the promises to
readers, and why they hold; the names here are the ones used there.
"""

from __future__ import annotations

import mmap
import os
import sys
import threading
import zlib
from bisect import bisect_left
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from linemon.errors import OtherVersion, StoreError

MAGIC: Final = int.from_bytes(b"linemon\n", "little")
VERSION: Final = 2
MINOR: Final = 1  # readers of version 2 read every minor one, a writer those up to its own
MARK: Final = 0x0102030405060708  # reads otherwise on a machine of the other byte order
PAGE_BYTES: Final = 4096  # of the format: the header's size, and what a slot is a multiple of
CRC, APPENDS, MINOR_AT = 6, 7, 8  # cells of the header; those before CRC are what it is of
ID, RESERVED, COMMIT, REJECTED, LATEST, DISORDER, CHECK, BORN, ARRIVED, AHEAD, INHERITED = range(11)  # cells of a slot
SENDERS: Final = 8  # places for senders of numbered lines in a slot
USED, ACKED, NAME, ARRIVALS, HEAD_CELLS = 16, 24, 40, 104, 128
NAME_BYTES: Final = 64
CHECKED: Final = 1 << 32
STEP_BYTES: Final = 1 << 20

Cells = npt.NDArray[np.int64]  # of a file: whole numbers, or the bytes of doubles
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Slots = npt.NDArray[np.intp]

_FENCE = threading.Lock()


def fence() -> None:
    """A full memory barrier: Python has none, but taking a lock that was released before is one (docs/STORE.md)."""
    with _FENCE:
        pass
    with _FENCE:
        pass


class Arena:
    """One mapped file of slots; each slot is the ring of one source, `width` values a row, `points` rows."""

    _flags, _access = os.O_RDONLY, mmap.ACCESS_READ

    def __init__(self, path: Path) -> None:
        """Map an existing file; StoreError says what is wrong with it."""
        self.path = path
        self._fd = os.open(path, self._flags | os.O_CLOEXEC)
        try:
            self.width, self.points = _read_header(path, os.pread(self._fd, PAGE_BYTES, 0))
            self.slot_bytes = slot_bytes(self.width, self.points)
            if (os.fstat(self._fd).st_size - PAGE_BYTES) % self.slot_bytes:
                raise StoreError(f"{path} is damaged: it ends in the middle of a ring")
            self.remap()
        except BaseException:
            os.close(self._fd)
            raise

    def __del__(self) -> None:
        if hasattr(self, "slots"):
            os.close(self._fd)

    def is_gone(self) -> bool:
        """Whether the file was removed or replaced since it was opened."""
        return os.fstat(self._fd).st_nlink == 0

    def remap(self) -> None:
        """Map the file as long as it is now; nothing is copied."""
        count = (os.fstat(self._fd).st_size - PAGE_BYTES) // self.slot_bytes
        self._pages = mmap.mmap(self._fd, PAGE_BYTES + count * self.slot_bytes, access=self._access)
        self.header: Cells = np.frombuffer(self._pages, np.int64, PAGE_BYTES // 8)
        slots = np.frombuffer(self._pages, np.int64, offset=PAGE_BYTES).reshape(count, self.slot_bytes // 8)
        self.cells: Cells = slots[:, :HEAD_CELLS]
        self._acked = self.cells[:, ACKED:NAME].reshape(count, 2, SENDERS)
        self._arrivals = self.cells[:, ARRIVALS:].reshape(count, (HEAD_CELLS - ARRIVALS) // 2, 2)
        end = HEAD_CELLS + self.points * (1 + self.width)
        self.rows: Cells = slots[:, HEAD_CELLS:end].reshape(count, self.points, 1 + self.width)
        self.slots = count  # last: another thread may look meanwhile

    def head(self, slot: int) -> int:
        """The number of the next row: how many were ever appended."""
        return int(self.cells[slot, COMMIT]) >> 1

    def senders(self, slot: int) -> dict[str, int]:
        """The senders that this ring knows, the one that came first at the front, and their places."""
        used = self.cells[slot, USED:ACKED]
        places = sorted(np.flatnonzero(used).tolist(), key=lambda place: int(used[place]))
        return {self._name(slot, place).tobytes().rstrip(b"\0").decode(errors="replace"): place for place in places}

    def acked(self, slot: int, place: int) -> int:
        """Below this number all lines of the sender are held."""
        return int(self._acked[slot, int(self.cells[slot, COMMIT]) & 1, place])

    def _name(self, slot: int, place: int) -> Cells:
        return self.cells[slot, NAME + place * 8 : NAME + place * 8 + 8]

    def arrivals(self, slot: int) -> Cells:
        """When rows came (ns) and how many there were then, (n, 2): the last ones that were noted, in order."""
        while True:
            noted: Cells = self._arrivals[slot].copy()
            fence()
            if np.array_equal(noted, self._arrivals[slot]):  # a time and its count are two stores
                return noted[np.argsort(noted[:, 0])][np.count_nonzero(noted[:, 0] == 0) :]

    def held(self, slot: int) -> tuple[int, int]:
        """The numbers of the oldest row that is held, and of the one after the newest."""
        head = self.head(slot)
        fence()
        return min(head, max(0, int(self.cells[slot, RESERVED]) - self.points)), head

    def oldest(self, slot: int) -> int:
        """After a copy: rows with lower numbers may have been overwritten meanwhile."""
        fence()
        return int(self.cells[slot, RESERVED]) - self.points

    def is_in_order(self, slot: int, head: int) -> bool:
        """Whether the times of the rows below `head` that are held never go back."""
        disorder = int(self.cells[slot, DISORDER])
        return disorder == 0 or disorder <= head - self.points

    def read(self, slot: int, start: int, stop: int | None = None) -> tuple[int, Cells]:
        """Copy rows `start` up to `stop` (None: all there are) that are still held.

        Returns the number of the first row and the rows, (n, 1 + width) cells, whole and in order of arrival.
        """
        oldest, head = self.held(slot)
        last = head if stop is None else min(stop, head)
        first = min(last, max(start, oldest))
        count = last - first
        block = np.empty((count, 1 + self.width), np.int64)
        at = first % self.points
        before_wrap = min(count, self.points - at)
        block[:before_wrap] = self.rows[slot, at : at + before_wrap]
        block[before_wrap:] = self.rows[slot, : count - before_wrap]
        torn = min(max(0, self.oldest(slot) - first), count)
        return first + torn, block[torn:]

    def numbers_by_time(self, slot: int, start: int, stop: int) -> Cells:
        """The numbers of the rows `start` up to `stop` that are held, in time order; only their times are looked at."""
        numbers = np.arange(min(stop, max(start, self.held(slot)[0])), stop)
        times = self.rows[slot, numbers % self.points, 0]
        is_held = numbers >= self.oldest(slot)
        return numbers[is_held][np.argsort(times[is_held], kind="stable")]

    def gather(
        self, slot: int, numbers: Cells, cells: int | slice = slice(None)
    ) -> tuple[Cells, npt.NDArray[np.bool_]]:
        """Copy rows by their numbers, or one cell of each, and say which of them still were held after that."""
        block = self.rows[slot, numbers % self.points, cells]
        head = self.head(slot)
        return block, (numbers >= self.oldest(slot)) & (numbers < head)

    def first_not_before(self, slot: int, time: int, first: int, head: int) -> int:
        """The number of the first of the rows `first` to `head` with this time or a later one; they are in order.

        Rows that are overwritten meanwhile show other times in their places: later ones lead below them, earlier ones
        no higher than to the oldest row that is left. So what is found is right if it is still held; if it is not, what
        is held is searched again.
        """
        times = self.rows[slot, :, 0]
        while True:
            found = first + bisect_left(range(first, head), time, key=lambda number: int(times[number % self.points]))
            oldest = min(head, self.oldest(slot))
            if found >= oldest or first >= oldest:
                return found
            first = oldest


def check_of(cells: Cells) -> int:
    """The CRC of a head part, without the cell that keeps it; never 0."""
    return CHECKED + zlib.crc32(cells[CHECK + 1 :].tobytes(), zlib.crc32(cells[:CHECK].tobytes()))


def slot_bytes(width: int, points: int) -> int:
    """How long a slot is."""
    return -(-8 * (HEAD_CELLS + points * (1 + width)) // PAGE_BYTES) * PAGE_BYTES


def step_bytes(slot: int) -> int:
    """How much longer a file of slots of this length becomes when it grows: about a megabyte."""
    return max(1, STEP_BYTES // slot) * slot


def check_version(path: Path, version: int) -> None:
    """OtherVersion if it is not ours."""
    if version != VERSION:
        raise OtherVersion(
            f"{path} has version {version} of the store, this linemon reads version {VERSION}: "
            "install the linemon that wrote it, or set [store] path to another folder"
        )


def _read_header(path: Path, page: bytes) -> tuple[int, int]:
    """Width and points; StoreError if the file is not one of ours."""
    if sys.maxsize < 1 << 32:
        raise StoreError("the store needs a 64-bit Python: rows could be seen half written")
    header = np.frombuffer(page[: len(page) // 8 * 8], np.int64)
    if len(page) < PAGE_BYTES or header[0] != MAGIC:
        raise StoreError(f"{path} is not a linemon ring file")
    if header[2] != MARK:
        raise StoreError(f"{path} is damaged, or was written on a machine of another byte order")
    width, points = int(header[3]), int(header[4])
    if header[CRC] != zlib.crc32(header[:CRC].tobytes()):
        raise StoreError(f"{path} is damaged: its header is not what was written")
    check_version(path, int(header[1]))
    return width, points
