"""Bounded columnar rings in a mapped file: one writer process, any number of reader processes.

An arena is one file that holds the rings of sources of the same width. Everything in it is an 8-byte cell of the
machine's byte order:

    file   = header slot*
    header = magic version mark width points zero*            4096 bytes; mark tells the byte order
    slot   = id reserved head rejected latest disorder zero zero row[points]
    row    = time value[width]                                 int64 ns since the epoch, then doubles

Row number n (they only grow) lies at row[n % points]. The writer announces the rows it is about to overwrite
(``reserved``), writes them, then publishes ``head``. A reader copies what lies below ``head``, looks at ``reserved``
again, and drops what may have been overwritten while it copied: row n is whole as long as n >= reserved - points.

A row keeps its time beside its values, so that one row touches one page, whatever its width. The file is sparse: a
ring takes memory only for the rows it has seen.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from linemon.errors import StoreError

MAGIC: Final = int.from_bytes(b"linemon\n", "little")
VERSION: Final = 1
MARK: Final = 0x0102030405060708  # reads otherwise on a machine of the other byte order
HEADER_BYTES: Final = 4096
ID, RESERVED, HEAD, REJECTED, LATEST, DISORDER = range(6)
SLOT_CELLS: Final = 8  # of the slot's own, before its rows
STEP_BYTES: Final = 1 << 20  # a file grows by about this much

Cells = npt.NDArray[np.int64]


class Arena:
    """One mapped file of slots; each slot is the ring of one source, `width` values a row, `points` rows."""

    def __init__(self, path: Path, *, writable: bool = False) -> None:
        """Map an existing file; StoreError says what is wrong with it."""
        self.path = path
        self._writable = writable
        self._fd = os.open(path, os.O_RDWR if writable else os.O_RDONLY)
        try:
            header = np.frombuffer(os.pread(self._fd, HEADER_BYTES, 0), np.int64)
            if len(header) != HEADER_BYTES // 8 or header[0] != MAGIC:
                raise StoreError(f"{path} is not a linemon ring file")
            if header[2] != MARK:
                raise StoreError(f"{path} was written on a machine of another byte order")
            if header[1] != VERSION:
                raise StoreError(f"{path} has version {header[1]}, this linemon reads version {VERSION}")
            self.width, self.points = int(header[3]), int(header[4])
            if self.width < 1 or self.points < 1:
                raise StoreError(f"{path} is damaged: {self.width} columns, {self.points} rows a ring")
            self.remap()
        except BaseException:
            os.close(self._fd)
            raise

    @classmethod
    def create(cls, path: Path, width: int, points: int) -> Arena:
        """Make a new file without slots; it appears under its name only when it is whole."""
        header = np.zeros(HEADER_BYTES // 8, np.int64)
        header[:5] = MAGIC, VERSION, MARK, width, points
        draft = path.with_suffix(".new")
        fd = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.write(fd, header.tobytes())
        finally:
            os.close(fd)
        draft.rename(path)
        return cls(path, writable=True)

    def __del__(self) -> None:
        if hasattr(self, "slots"):
            os.close(self._fd)

    @property
    def slot_bytes(self) -> int:
        return 8 * (SLOT_CELLS + self.points * (1 + self.width))

    def is_gone(self) -> bool:
        """Whether the file was removed or replaced since it was opened."""
        return os.fstat(self._fd).st_nlink == 0

    def remap(self) -> None:
        """Map the file as long as it is now; nothing is copied."""
        self.slots = max(0, os.fstat(self._fd).st_size - HEADER_BYTES) // self.slot_bytes
        size = HEADER_BYTES + self.slots * self.slot_bytes
        access = mmap.ACCESS_WRITE if self._writable else mmap.ACCESS_READ
        pages = mmap.mmap(self._fd, size, access=access)
        if self._writable and hasattr(mmap, "MADV_RANDOM"):
            pages.madvise(mmap.MADV_RANDOM)  # on a disk the kernel would read ahead into rings that have no rows yet
        mapped = np.frombuffer(pages, np.int64, offset=HEADER_BYTES)
        slots = mapped.reshape(self.slots, -1) if self.slots else mapped.reshape(0, self.slot_bytes // 8)
        self.cells: Cells = slots[:, :SLOT_CELLS]
        self.rows: Cells = slots[:, SLOT_CELLS:].reshape(self.slots, self.points, 1 + self.width)

    @property
    def step_bytes(self) -> int:
        """How much longer `grow` makes the file."""
        return max(1, STEP_BYTES // self.slot_bytes) * self.slot_bytes

    def grow(self) -> None:
        """Lengthen the file by some empty slots, about a megabyte."""
        os.ftruncate(self._fd, HEADER_BYTES + self.slots * self.slot_bytes + self.step_bytes)
        self.remap()

    def unused_bytes(self) -> int:
        """How much more memory the file would take if every row of every ring were used."""
        stat = os.fstat(self._fd)
        return max(0, stat.st_size - stat.st_blocks * 512)

    # -- the writer

    def append(self, slots: npt.NDArray[np.intp], block: Cells) -> None:
        """Append row i of `block`, (n, 1 + width) cells, to the ring of `slots[i]`, in that order."""
        if not len(slots):
            return
        order = np.argsort(slots, kind="stable")
        sorted_slots = slots[order]
        starts = np.flatnonzero(np.diff(sorted_slots, prepend=-1))
        owners = sorted_slots[starts]
        counts = np.diff(starts, append=len(slots))
        rank = np.arange(len(slots)) - np.repeat(starts, counts)
        heads = self.cells[owners, HEAD]
        numbers = np.repeat(heads, counts) + rank
        block = block[order]
        self._note_order(owners, starts, counts, numbers, block[:, 0])
        self.cells[owners, RESERVED] = np.maximum(self.cells[owners, RESERVED], heads + counts)
        newest = rank >= np.repeat(counts, counts) - self.points
        if not newest.all():  # more rows than the ring holds: the first of them would be overwritten at once
            sorted_slots, numbers, block = sorted_slots[newest], numbers[newest], block[newest]
        self.rows[sorted_slots, numbers % self.points] = block
        self.cells[owners, HEAD] = heads + counts

    def append_to(self, slot: int, block: Cells) -> None:
        """Append `block`, (n, 1 + width) cells, to the ring of one slot; the quick way for long blocks."""
        cells, ring, count = self.cells[slot], self.rows[slot], len(block)
        if not count:
            return
        head, times = int(cells[HEAD]), block[:, 0]
        if times[0] >= cells[LATEST] and (times[1:] >= times[:-1]).all():
            cells[LATEST] = times[-1]
        else:
            one = np.array([slot]), np.array([0]), np.array([count])
            self._note_order(*one, np.arange(head, head + count), times)
        cells[RESERVED] = max(int(cells[RESERVED]), head + count)
        newest = block[-self.points :]
        at = (head + count - len(newest)) % self.points
        before_wrap = min(len(newest), self.points - at)
        ring[at : at + before_wrap] = newest[:before_wrap]
        ring[: len(newest) - before_wrap] = newest[before_wrap:]
        cells[HEAD] = head + count

    def _note_order(
        self,
        owners: npt.NDArray[np.intp],
        starts: npt.NDArray[np.intp],
        counts: npt.NDArray[np.intp],
        numbers: npt.NDArray[np.int64],
        times: npt.NDArray[np.int64],
    ) -> None:
        """Note the newest row that is earlier than one before it, so that readers sort only when they must."""
        latest = self.cells[owners, LATEST]
        before = np.empty_like(times)
        before[1:] = times[:-1]
        before[starts] = latest
        late = times < before
        if late.any():
            # One row back in time makes all that follow suspect until time has caught up: judge each ring by
            # its running maximum.
            for i in np.flatnonzero(np.logical_or.reduceat(late, starts)):
                of_ring = slice(starts[i], starts[i] + counts[i])
                highest = np.maximum(np.maximum.accumulate(times[of_ring]), latest[i])
                is_late = times[of_ring] < highest
                self.cells[owners[i], DISORDER] = numbers[of_ring][is_late][-1]
        self.cells[owners, LATEST] = np.maximum(latest, np.maximum.reduceat(times, starts))

    def adopt(self, slot: int, other: Arena, other_slot: int) -> None:
        """Take over the rows of another ring, narrower or of other length; new columns are missing in old rows."""
        first, block = other.read(other_slot, 0)
        head = first + len(block)
        first = max(first, head - self.points)
        wide = np.full((head - first, 1 + self.width), np.nan).view(np.int64)
        wide[:, : 1 + other.width] = block[len(block) - len(wide) :]
        self.rows[slot, np.arange(first, head) % self.points] = wide
        self.cells[slot] = other.cells[other_slot]
        # What lies below `first` never was in this ring.
        self.cells[slot, RESERVED] = first + self.points if first else head
        self.cells[slot, HEAD] = head

    # -- readers

    def read(self, slot: int, start: int, stop: int | None = None) -> tuple[int, Cells]:
        """Copy rows `start` up to `stop` (None: all there are) that are still held.

        Returns the number of the first row and the rows, (n, 1 + width) cells, whole and in order of arrival.
        """
        head = int(self.cells[slot, HEAD])
        last = head if stop is None else min(stop, head)
        first = min(last, max(start, self._oldest(slot), 0))
        count = last - first
        block = np.empty((count, 1 + self.width), np.int64)
        at = first % self.points
        before_wrap = min(count, self.points - at)
        block[:before_wrap] = self.rows[slot, at : at + before_wrap]
        block[before_wrap:] = self.rows[slot, : count - before_wrap]
        torn = min(max(0, self._oldest(slot) - first), count)
        return first + torn, block[torn:]

    def times(self, slot: int) -> tuple[int, npt.NDArray[np.int64]]:
        """Copy only the times of all rows held: the number of the first row, and (n,) ns since the epoch."""
        head = int(self.cells[slot, HEAD])
        first = min(head, max(self._oldest(slot), 0))
        times = np.roll(self.rows[slot, :, 0], -(first % self.points))[: head - first]
        torn = min(max(0, self._oldest(slot) - first), len(times))
        return first + torn, times[torn:]

    def _oldest(self, slot: int) -> int:
        """The number of the oldest row that is not being overwritten."""
        return int(self.cells[slot, RESERVED]) - self.points
