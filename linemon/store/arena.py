"""An arena as its one writer has it: slots are taken and given back, rows appended, in the order of docs/STORE.md."""

from __future__ import annotations

import errno
import mmap
import os
import time
import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import numpy as np

from linemon.errors import LineError
from linemon.store.ring import (
    ACKED,
    AHEAD,
    APPENDS,
    ARRIVED,
    BORN,
    CHECK,
    COMMIT,
    CRC,
    DISORDER,
    HEAD_CELLS,
    ID,
    INHERITED,
    LATEST,
    MAGIC,
    MARK,
    MINOR,
    MINOR_AT,
    NAME,
    NAME_BYTES,
    PAGE_BYTES,
    REJECTED,
    RESERVED,
    USED,
    VERSION,
    Arena,
    Cells,
    Ints,
    Slots,
    check_of,
    fence,
    slot_bytes,
    step_bytes,
)

ROOM_PARTS: Final = 64  # of a ring, one of which at least is allocated at a time
FEW: Final = 4  # rows that are appended one by one
AHEAD_NS: Final = 300 * 10**9  # rows stamped later than this after their arrival are counted
NOBODYS: Final = -1

Acks = Sequence[tuple[int, int, int]] | Ints  # slots, places, and the numbers below which all lines are held


class ArenaWriter(Arena):
    """The file of rings of one width, for the only process that writes it."""

    _flags, _access = os.O_RDWR, mmap.ACCESS_WRITE

    def __init__(self, path: Path) -> None:
        """Map an existing file; StoreError says what is wrong with it."""
        self._room = np.zeros(0, np.int64)  # rows of each slot for which there is room in the file system
        self._noted = np.zeros(0, np.int64)  # the arrival of each slot's newest row that was looked at; or NOBODYS
        self.ahead = 0  # rows that were stamped so, in this run,
        self.foretelling: set[int] = set()  # but for those of slots for which that is no fault
        super().__init__(path)
        self.header[MINOR_AT] = MINOR
        self._tell()  # of what an earlier writer published before it was killed

    @classmethod
    def create(cls, path: Path, width: int, points: int, mode: int = 0o600) -> ArenaWriter:
        """Make a new file without slots; it appears under its name only when it is whole."""
        header = np.zeros(PAGE_BYTES // 8, np.int64)
        header[:CRC] = MAGIC, VERSION, MARK, width, points, slot_bytes(width, points)
        header[CRC] = zlib.crc32(header[:CRC].tobytes())
        header[MINOR_AT] = MINOR
        draft = path.with_suffix(".new")
        fd = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
        try:
            os.fchmod(fd, mode)  # whatever the umask
            os.write(fd, header.tobytes())
        finally:
            os.close(fd)
        draft.rename(path)
        return cls(path)

    def remap(self) -> None:
        """Map the file as long as it is now; nothing is copied."""
        super().remap()
        for advice in ("MADV_RANDOM", "MADV_NOHUGEPAGE"):  # a ring takes memory for the rows that it has, no more
            with suppress(AttributeError, OSError):
                self._pages.madvise(getattr(mmap, advice))
        # Rows from any cell on: to put one there as a whole is three times as quick as by its slot and place.
        row, count = np.dtype((np.void, 8 * (1 + self.width))), self.slots * self.slot_bytes // 8
        self._from_cell = np.ndarray((max(0, count - self.width),), row, self._pages, PAGE_BYTES, (8,))
        more = self.slots - len(self._room)
        self._room = np.append(self._room, np.zeros(more, np.int64))
        self._noted = np.append(self._noted, np.full(more, NOBODYS))

    def grow(self, steps: int) -> None:
        """Lengthen the file by some empty slots, so many times `step_bytes`."""
        os.ftruncate(self._fd, PAGE_BYTES + self.slots * self.slot_bytes + steps * step_bytes(self.slot_bytes))
        self.remap()

    def unused_bytes(self) -> int:
        """How much more memory the file would take if every row of every ring were used."""
        stat = os.fstat(self._fd)
        return max(0, stat.st_size - stat.st_blocks * 512)

    def sync(self) -> None:
        """Have the system write out what has changed; it may take long."""
        os.fsync(self._fd)

    # -- slots

    def take(self, slot: int, source_id: int, born: int) -> None:
        """Make the slot an empty ring of this source. LineError if the file system has no room for it."""
        self._room[slot] = self._noted[slot] = 0
        self._allocate(slot, 0, PAGE_BYTES)
        self._room[slot] = (PAGE_BYTES - 8 * HEAD_CELLS) // (8 * (1 + self.width))  # rows behind the head, in its page
        cells = self.cells[slot]
        cells[ID] = 0
        fence()
        cells.fill(0)
        cells[BORN] = born
        fence()
        cells[ID] = source_id

    def release(self, slot: int) -> None:
        """Make the slot nobody's, and give its memory back to the system."""
        self.cells[slot, ID] = 0
        fence()
        self._room[slot], self._noted[slot] = 0, NOBODYS
        with suppress(AttributeError, OSError):  # not every file system can
            self._pages.madvise(mmap.MADV_REMOVE, PAGE_BYTES + slot * self.slot_bytes, self.slot_bytes)

    def damage(self, slot: int, source_id: int) -> str:
        """What is wrong with the slot as the ring of this source; empty if nothing is."""
        if slot >= self.slots:
            return "the file ends before its ring"
        cells = self.cells[slot]
        if cells[ID] != source_id:
            return "its ring is not where it should be"
        head = self.head(slot)
        if cells[CHECK] not in (0, check_of(cells)):
            return "the head of its ring has changed since it was closed"
        if not 0 <= head <= cells[RESERVED] or not 0 <= cells[DISORDER] <= cells[RESERVED] or cells[REJECTED] < 0:
            return f"its ring says {head} rows, {cells[RESERVED]} reserved, disorder at {cells[DISORDER]}"
        return ""

    def is_sealed(self, slot: int) -> bool:
        """Whether an earlier writer left the slot by a clean end."""
        return bool(self.cells[slot, CHECK])

    def take_up(self, slot: int, born: int) -> None:
        """Go on with a slot of an earlier writer."""
        cells, head = self.cells[slot], self.head(slot)
        cells[CHECK] = 0
        if cells[BORN] not in (0, born):
            cells[INHERITED] = head
        cells[BORN] = born
        self._noted[slot] = cells[ARRIVED]
        # What a batch that was never published has left; `disorder` first, so that it is never above `reserved`.
        cells[DISORDER] = min(int(cells[DISORDER]), head)
        cells[RESERVED] = min(int(cells[RESERVED]), head + self.points)  # no row is held either way

    def seal(self, slot: int) -> None:
        """Leave the slot to a later writer, who can tell whether its head part has changed since."""
        self.cells[slot, CHECK] = check_of(self.cells[slot])

    def count_rejected(self, slot: int) -> None:
        """One more line of this source was rejected."""
        self.cells[slot, REJECTED] += 1

    def make_room(self, slot: int, count: int) -> None:
        """Have room for so many more rows. LineError if the file system has none."""
        self._make_room_below(slot, min(self.points, self.head(slot) + count))

    def _make_room_below(self, slot: int, head: int) -> None:
        had = int(self._room[slot])
        if head <= had:
            return
        row_bytes = 8 * (1 + self.width)
        wanted = min(self.points, max(head, had + self.points // ROOM_PARTS))
        start, stop = (8 * HEAD_CELLS + rows * row_bytes for rows in (had, wanted))
        stop = -(-stop // PAGE_BYTES) * PAGE_BYTES
        self._allocate(slot, start, stop)
        self._room[slot] = (stop - 8 * HEAD_CELLS) // row_bytes

    def make_rooms(self, slots: Slots) -> None:
        """Have room for one more row for each time that a slot stands in `slots`. LineError as for `make_room`."""
        owners, counts = np.unique(slots, return_counts=True)
        self._make_rooms(owners, self.cells[owners, COMMIT] >> 1, counts)

    def _make_rooms(self, owners: Slots, heads: Cells, counts: Slots) -> None:
        wanted = np.minimum(heads + counts, self.points)
        for short in np.flatnonzero(wanted > self._room[owners]):
            self._make_room_below(int(owners[short]), int(wanted[short]))

    def _allocate(self, slot: int, start: int, stop: int) -> None:
        """Have room in the file system for these bytes of the slot.

        Without this a full file system would end the process with a SIGBUS at the row that meets it.
        """
        first = PAGE_BYTES + slot * self.slot_bytes + start
        try:
            try:
                os.posix_fallocate(self._fd, first, stop - start)
            except OSError as error:
                if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
                    raise
                for at in range(first, first + stop - start, PAGE_BYTES):  # as glibc does, and musl does not
                    os.pwrite(self._fd, os.pread(self._fd, 1, at), at)
        except OSError as error:
            raise LineError("store_full", f"no room for more rows in {self.path}: {error.strerror}") from error

    # -- rows

    def append(self, slots: Slots, block: Cells, acks: Acks = ()) -> None:
        """Append row i of `block`, (n, 1 + width) cells, to the ring of `slots[i]`, in that order.

        Of `acks`, (n, 3), the last one of a place counts. They become visible with the rows. LineError, and nothing
        done, if the file system has no room.
        """
        if len(slots) <= FEW and self._append_few(slots.tolist(), block, acks):
            return
        sorted_slots = slots
        if (slots[1:] < slots[:-1]).any():
            if self.slots <= 1 << 16:
                order = np.argsort(slots.astype(np.uint16), kind="stable")  # by digits
            else:  # a stable sort of longer numbers takes ten times as long as one of all bits
                order = np.sort(slots << 32 | np.arange(len(slots))) & 0xFFFFFFFF
            sorted_slots, block = slots[order], block.take(order, axis=0)
        is_first = np.ones(len(slots), np.bool_)
        is_first[1:] = sorted_slots[1:] != sorted_slots[:-1]
        starts = np.flatnonzero(is_first)
        owners = sorted_slots[starts]
        counts = np.diff(starts, append=len(slots))
        commits = self.cells[owners, COMMIT]
        heads = commits >> 1
        self._make_rooms(owners, heads, counts)
        now = time.time_ns()
        self.cells[:, ARRIVED][owners] = now  # in one column, which is twice as quick as `cells[owners, ARRIVED]`
        self.cells[:, RESERVED][owners] = np.maximum(self.cells[owners, RESERVED], heads + counts)
        self._note_order(owners, starts, counts, heads, block[:, 0])
        is_ahead = block[:, 0] > now + AHEAD_NS
        if is_ahead.any():
            is_ahead &= ~np.isin(sorted_slots, list(self.foretelling))
            np.add.at(self.cells[:, AHEAD], sorted_slots[is_ahead], 1)
            self.ahead += int(np.count_nonzero(is_ahead))
        fence()
        places = np.arange(len(slots)) + np.repeat(heads % self.points - starts, counts)
        if counts.max(initial=0) > self.points:  # more than a ring holds: the first would be overwritten at once
            newest = np.arange(len(slots)) >= np.repeat(starts + counts - self.points, counts)
            sorted_slots, places, block = sorted_slots[newest], places[newest] % self.points, block[newest]
        np.subtract(places, self.points, out=places, where=places >= self.points)  # % takes five times as long
        cells = sorted_slots * (self.slot_bytes // 8) + HEAD_CELLS + places * (1 + self.width)
        self._from_cell[cells] = np.ascontiguousarray(block).view(self._from_cell.dtype)[:, 0]
        commits += counts << 1
        is_acked = np.zeros(self.slots, np.bool_)
        is_acked[self._stage(acks)] = True
        commits ^= is_acked[owners]
        is_acked[owners] = False
        alone = np.flatnonzero(is_acked)  # rings that get no rows
        fence()
        self.cells[:, COMMIT][owners] = commits
        if len(alone):
            self.cells[alone, COMMIT] ^= 1
        self._tell()

    def _append_few(self, slots: list[int], block: Cells, acks: Acks) -> bool:
        """A row each of a few rings, for a fraction of what many cost; False, and nothing done, if it is more."""
        if len(set(slots)) < len(slots) or len(acks) > len(slots):
            return False
        acked = {int(slot): (int(place), int(number)) for slot, place, number in acks}
        if len(acked) < len(acks) or not acked.keys() <= set(slots):
            return False
        for slot in slots:
            self.make_room(slot, 1)
        for i, slot in enumerate(slots):
            self.append_to(slot, block[i : i + 1], acked.get(slot))
        return True

    def _stage(self, acks: Acks) -> Ints:
        """Put acknowledged numbers into the halves that do not count yet; returns their slots."""
        if not len(acks):
            return np.empty(0, np.int64)
        slots, places, numbers = np.array(acks).T
        half = self.cells[slots, COMMIT] & 1
        self._acked[slots, 1 - half] = self._acked[slots, half]
        self._acked[slots, 1 - half, places] = numbers
        return np.asarray(slots)

    def append_to(self, slot: int, block: Cells, ack: tuple[int, int] | None = None) -> None:
        """Append `block`, (n, 1 + width) cells, to the ring of one slot; the quick way for long blocks.

        `ack` is a place and the number that becomes visible there with the rows. LineError as for `append`.
        """
        self.make_room(slot, len(block))
        now, cells = time.time_ns(), self.cells[slot]
        if len(block):
            cells[ARRIVED] = now
        self._put(slot, block, ack)
        if cells[LATEST] > now + AHEAD_NS and slot not in self.foretelling:  # one of all its rows is ahead
            ahead = int(np.count_nonzero(block[:, 0] > now + AHEAD_NS))
            cells[AHEAD] += ahead
            self.ahead += ahead

    def _put(self, slot: int, block: Cells, ack: tuple[int, int] | None = None) -> None:
        cells, ring, count = self.cells[slot], self.rows[slot], len(block)
        head, half = divmod(int(cells[COMMIT]), 2)
        if count:
            cells[RESERVED] = max(int(cells[RESERVED]), head + count)
            self._note_order_of(slot, head, block[:, 0])
            fence()
            newest = block[-self.points :]
            at = (head + count - len(newest)) % self.points
            before_wrap = min(len(newest), self.points - at)
            ring[at : at + before_wrap] = newest[:before_wrap]
            ring[: len(newest) - before_wrap] = newest[before_wrap:]
        if ack:
            self._acked[slot, 1 - half] = self._acked[slot, half]
            self._acked[slot, 1 - half, ack[0]] = ack[1]
            half = 1 - half
        fence()
        cells[COMMIT] = 2 * (head + count) + half
        self._tell()

    def _tell(self) -> None:
        """Have readers that wait look at the rings of this file."""
        fence()
        self.header[APPENDS] += 1

    def _note_order_of(self, slot: int, head: int, times: Cells) -> None:
        cells = self.cells[slot]
        if times[0] >= cells[LATEST] and (times[1:] >= times[:-1]).all():
            cells[LATEST] = times[-1]
        else:
            one = np.array([slot]), np.array([0]), np.array([len(times)]), np.array([head])
            self._note_order(*one, times)

    def _note_order(self, owners: Slots, starts: Slots, counts: Slots, heads: Cells, times: Cells) -> None:
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
                self.cells[owners[i], DISORDER] = heads[i] + np.flatnonzero(is_late)[-1]
        self.cells[:, LATEST][owners] = np.maximum(latest, np.maximum.reduceat(times, starts))

    def adopt(self, slot: int, head: int, block: Cells, rejected: int) -> None:
        """Fill an empty ring with the rows below number `head` of another one, of as many columns or fewer.

        New columns are missing in old rows. LineError if the file system has no room.
        """
        block = block[max(0, len(block) - self.points) :]
        wide = np.full((len(block), 1 + self.width), np.nan).view(np.int64)
        wide[:, : block.shape[1]] = block
        cells, first = self.cells[slot], head - len(block)
        cells[COMMIT] = 2 * first
        cells[RESERVED] = first + self.points if first else 0  # what lies below `first` never was in this ring
        cells[REJECTED] = rejected
        self.make_room(slot, len(wide))
        self._put(slot, wide)

    def adopt_ring(self, slot: int, other: ArenaWriter, other_slot: int) -> None:
        """Fill an empty ring with all that another one of as many columns or fewer holds. LineError as for `adopt`."""
        first, block = other.read(other_slot, 0)
        self.adopt(slot, first + len(block), block, int(other.cells[other_slot, REJECTED]))
        self._acked[slot, :] = other._acked[other_slot, int(other.cells[other_slot, COMMIT]) & 1]
        for part in (slice(ARRIVED, ACKED), slice(NAME, HEAD_CELLS)):
            self.cells[slot, part] = other.cells[other_slot, part]
        self._noted[slot] = other._noted[other_slot]

    def note_arrivals(self) -> None:
        """Note when rows came last, and how many there were then, of each ring that got some since the last call.

        Called once a second, it leaves in each ring how often its rows come, which no sender's stamps can tell.
        """
        taken = np.flatnonzero(self._noted != NOBODYS)  # no page of an unused slot is touched: it would come into being
        arrived = self.cells[taken, ARRIVED]
        some = arrived != self._noted[taken]
        slots, arrived = taken[some], arrived[some]
        self._noted[slots] = arrived
        places = self._arrivals[slots, :, 0].argmin(axis=1)  # the oldest goes
        self._arrivals[slots, places] = np.column_stack([arrived, self.cells[slots, COMMIT] >> 1])

    # -- senders of numbered lines

    def register(self, slot: int, place: int, name: str, number: int) -> None:
        """Give the place to a sender whose next line is `number`."""
        self.cells[slot, USED + place] = 0
        fence()
        self._name(slot, place)[:] = np.frombuffer(name.encode().ljust(NAME_BYTES, b"\0"), np.int64)
        self._acked[slot, :, place] = number
        fence()
        self.register_again(slot, place)

    def register_again(self, slot: int, place: int) -> None:
        """The sender that has this place is the last one that announced itself."""
        used = self.cells[slot, USED:ACKED]
        used[place] = used.max() + 1
