"""Rows that wait until the collector says that it holds them: in memory, or in a folder of text files.

A spool is a queue of segments; only the last one grows. A segment's rows have one source, one set of columns and one
SENDER, and are numbered without gaps. Its file is what one could send by hand, with `nc collector 4000`:

    #source web1
    #boot 5d0c2d4e-0c5b-4b0e-9d3f-6f0f3a1e2b4c
    #seq 4711 8f3a5c0d9e12b467
    #columns time cpu.busy_pct:% mem.used_pct:%
    1764065000.123456 12.5 40.1

A row's number is that of `#seq` plus its place in the file, so nothing else has to be written when a row is added or
acknowledged: after `kill -9` the file alone says where to go on. Rows that the collector holds already may be offered
again; it says how far it is. What must never happen is that two rows get the same number of one SENDER. So where rows
may be gone that were sent, a new SENDER is drawn: for rows that a full disk does not take and that wait in memory
instead, and after the machine was started anew, when the last writes may not have reached the disk (`#boot`).
"""

from __future__ import annotations

import errno
import os
import time
from contextlib import suppress

from linemon_sender.segment import Segment, load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

try:
    import fcntl
except ImportError:  # not on Windows; there nothing keeps two agents out of one folder
    fcntl = None  # type: ignore[assignment]

SEGMENTS = 16  # that a full spool is cut into; the oldest is dropped whole
SMALLEST = 65536  # bytes of a spool
MAX_BYTES, MAX_AGE = 16 << 20, 86400.0  # defaults
RETRY = 10.0  # seconds until a disk that took no more is tried again
FOR_NOW = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)  # reasons not to read a file that say nothing about it
LONGEST_LINE = 65536 + 1  # bytes
SUFFIX = ".lines"
NO_RUN = ("", "", "")


class SpoolError(Exception):
    """The folder cannot be used; its text says why."""


class Spool:
    """The queue: rows are added at its end, taken from a cursor to be sent, and forgotten once acknowledged.

    All times are of the monotonic clock. Not thread-safe.
    """

    def __init__(
        self,
        source: str,
        folder: str,
        max_bytes: int,
        max_age: float,
        log: Callable[[str], None],
        monotonic: Callable[[], float] = time.monotonic,
        device: str = "",
    ) -> None:
        """Rows of `source`, in files in `folder`, or in memory where it is empty. SpoolError.

        The newest are kept: at most `max_bytes`, and none older than `max_age` seconds. `device`: `PRODUCT SERIAL`, of
        a device; the source may be empty then.
        """
        self.source, self.device = source, device
        self.dropped = 0
        """Rows lost: they waited too long, were too many or cannot be read; some may have been on their way."""
        self.folder, self._max_bytes, self._max_age = folder, max(max_bytes, SMALLEST), max_age
        self._log, self._monotonic = log, monotonic
        self._segments: list[Segment] = []
        self._active: Segment | None = None
        self._size = 0  # of all segments
        self._acked = 0  # number of the first row that is not acknowledged, in the first segment's run
        self._at = 0  # the cursor: which segment,
        self._next = 0  # which row
        self._offset = 0  # and where in the segment that is
        self._runs = {False: ("", 1), True: ("", 1)}  # in memory and on disk: SENDER, its next number
        self._boot = boot_id()
        self._retry_at = float("-inf")
        self._index = 0  # of the last file
        self._lock = -1  # the open file that says that the folder is ours
        if folder:
            try:
                self._open()
            except OSError as error:
                raise SpoolError(f"cannot use the spool folder {folder}: {error.strerror}") from error

    def identify(self, device: str) -> None:
        """Rows that follow are of this device, `PRODUCT SERIAL`; those before have to wait until they are taken."""
        if device != self.device:
            self.device = device
            self._runs = {False: ("", 1), True: ("", 1)}
            self.finish()

    def finish(self) -> None:
        """Rows that follow go into another segment; those before leave no file once they are acknowledged."""
        if self._active is not None:
            self._active.seal()
            self._active = None
        self._sweep()

    # -- adding

    def append(self, row: bytes, columns: bytes) -> None:
        """Add a row, without its newline, that belongs to this `#columns` line."""
        now = self._monotonic()
        line = row + b"\n"
        segment = self._active
        if (
            segment is None
            or (segment.columns is not columns and segment.columns != columns)
            or segment.size + len(line) > self._max_bytes // SEGMENTS
            or now - segment.born > self._max_age / SEGMENTS
            or (self.folder and not segment.path and now >= self._retry_at)
        ):
            segment = self._begin(columns, now)
        try:
            segment.add(line, now)
        except OSError as error:
            self._disk_failed(error, now)
            segment = self._begin(columns, now)
            segment.add(line, now)
        self._size += len(line)
        self._runs[bool(segment.path)] = segment.sender, segment.end
        self._expire(now)

    def _begin(self, columns: bytes, now: float) -> Segment:
        """A new last segment, on disk if there is a folder that takes it."""
        segment = None
        if self.folder and now >= self._retry_at:
            segment = self._new(columns, now, on_disk=True)
            self._index += 1
            try:
                segment.create(os.path.join(self.folder, f"{self._index:012d}{SUFFIX}"), self._boot)
            except OSError as error:
                segment.remove()
                self._disk_failed(error, now)
                segment = None
            else:
                if self._retry_at > 0:
                    self._log(f"the spool folder {self.folder} takes rows again")
                    self._retry_at = float("-inf")
        segment = segment or self._new(columns, now, on_disk=False)
        if self._active is not None:
            self._active.seal()
        self._active = segment
        self._segments.append(segment)
        self._size += segment.size
        if len(self._segments) == 1:
            self._restart(segment.first)
        self._sweep()
        return segment

    def _new(self, columns: bytes, now: float, on_disk: bool) -> Segment:
        sender, number = self._runs[on_disk]
        return Segment(self.source, sender or os.urandom(8).hex(), number, columns, now, self.device)

    def _disk_failed(self, error: OSError, now: float) -> None:
        if self._retry_at < 0:
            self._log(f"the spool folder {self.folder} takes no more: {error.strerror}; new rows wait in memory")
        self._retry_at = now + RETRY

    def _expire(self, now: float) -> None:
        """Drop the oldest segments while there is too much, or they are too old."""
        dropped = 0
        while len(self._segments) > 1 and (
            self._size > self._max_bytes or self._segments[0].newest < now - self._max_age
        ):
            dropped += self._pop()
        if dropped and not self.dropped:
            self._log("the spool is full or its rows too old; the oldest are dropped from now on, and counted")
        self.dropped += dropped

    # -- taking, to send

    @property
    def waiting(self) -> int:
        """Rows that are not acknowledged and not lost."""
        return sum([self._left(segment) for segment in self._segments])

    def _left(self, segment: Segment) -> int:
        """Of this segment's rows, those."""
        begin = max(segment.first, self._acked) if segment is self._segments[0] else segment.first
        return max(0, segment.readable_end - begin)

    @property
    def run(self) -> tuple[str, str, str]:
        """Source, SENDER and device of the first row, NO_RUN if there is none.

        Rows of another run have to wait until this one is acknowledged.
        """
        first = self._segments[0] if self._segments else None
        return (first.source, first.sender, first.device) if first else NO_RUN

    def rewind(self) -> int:
        """Take again from the first row that is not acknowledged; its number."""
        self._at, self._next = 0, self._acked
        self._offset = -1  # found when it is needed
        return self._acked

    def columns(self) -> bytes | None:
        """The `#columns` line of the next row; None if this run has no more rows.

        Rows that are lost are passed over; `next` says how far.
        """
        while self._at < len(self._segments):
            segment = self._segments[self._at]
            if self._next < segment.readable_end:
                return segment.columns
            self._next = segment.end
            following = self._segments[self._at + 1 : self._at + 2]
            if not following or following[0].sender != segment.sender:
                return None
            self._at += 1
            self._next, self._offset = following[0].first, following[0].start
        return None

    @property
    def next(self) -> int:
        """The number of the row that `take` would give, or after the run's last."""
        return self._next

    def take(self, limit: int) -> tuple[int, int, bytes]:
        """The first's number, the count, and the lines of the next rows: at least one, else at most `limit` bytes.

        Only to be asked where `columns` has an answer. Nothing, if the segment's rows cannot be read: where `next` has
        moved they are lost, else this may pass.
        """
        segment, number = self._segments[self._at], self._next
        try:
            if self._offset < 0:
                self._offset = segment.offset(number)
            block = segment.read(self._offset, max(limit, LONGEST_LINE))
            cut = block.rfind(b"\n", 0, limit) + 1 or block.index(b"\n") + 1
        except (OSError, ValueError) as error:
            if getattr(error, "errno", None) not in FOR_NOW:
                self._lose(segment, error.strerror if isinstance(error, OSError) else "the file is shorter than it was")
            return number, 0, b""
        count = block.count(b"\n", 0, cut)
        self._next += count
        self._offset += cut
        return number, count, block[:cut]

    def _lose(self, segment: Segment, reason: str | None) -> None:
        """The rows from the cursor on cannot be read: they are gone, and hold nobody up.

        The segment stays in the queue until the collector was told that their numbers will not come.
        """
        lost = segment.readable_end - self._next
        self._log(f"{lost} rows of {segment.path} are lost, as they cannot be read: {reason}")
        self.dropped += lost
        segment.lost_from, self._next = self._next, segment.end
        if segment is self._active:  # whatever is wrong with it, the next row may find a better one
            segment.seal()
            self._active = None

    # -- forgetting

    def acknowledge(self, number: int) -> bool:
        """The collector holds all rows of the first segment's run below `number`.

        False if it holds rows that this spool has never given out: another one has used its SENDER.
        """
        sender = self._segments[0].sender if self._segments else ""
        end = max((each.end for each in self._segments if each.sender == sender), default=number)
        if number > end:
            return False
        self._acked = max(self._acked, number)
        self._sweep()
        if self._at == 0 and self._next < self._acked and self._segments:
            self.rewind()
        return True

    def disown(self) -> None:
        """Drop the rows of the first segment's run, and number later ones under another SENDER."""
        sender = self._segments[0].sender
        while self._segments and self._segments[0].sender == sender:
            self.dropped += self._pop()
        self._runs = {disk: run if run[0] != sender else ("", 1) for disk, run in self._runs.items()}

    def _sweep(self) -> None:
        """Remove the segments that are acknowledged, but for a file that still grows."""
        while self._segments and self._segments[0].end <= self._acked:
            if self._segments[0] is self._active and (self._active.path or not self._active.count):
                break
            acked = self._acked
            sender = self._segments[0].sender
            self._pop()
            if self._segments and self._segments[0].sender == sender:
                self._acked = max(acked, self._acked)
        first = self._segments[0] if self._segments else None
        if first and not first.path and first.first < self._acked:
            trimmed = first.trim(self._acked)
            self._size -= trimmed
            if self._at == 0 and self._next >= self._acked:
                self._offset -= trimmed if self._offset >= 0 else 0

    def _pop(self) -> int:
        """Remove the first segment; the number of its rows that were not acknowledged."""
        waiting = self._left(self._segments[0])
        segment = self._segments.pop(0)
        self._size -= segment.size
        segment.remove()
        if segment is self._active:
            self._active = None
        following = self._segments[0].first if self._segments else segment.end
        if self._at:
            self._at, self._acked = self._at - 1, following
        else:
            self._restart(following)
        return waiting

    def _restart(self, number: int) -> None:
        self._acked = number
        self.rewind()

    def close(self) -> None:
        """Close the files and leave the folder to others; the rows in memory are gone."""
        for segment in self._segments:
            segment.seal()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    # -- finding what an earlier process left

    def _open(self) -> None:
        if not hasattr(os, "pwrite"):
            raise SpoolError("a spool in a folder needs a POSIX system")
        os.makedirs(self.folder, mode=0o700, exist_ok=True)
        self._lock = os.open(os.path.join(self.folder, "lock"), os.O_RDWR | os.O_CREAT, 0o600)
        if fcntl:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise SpoolError(f"the spool folder {self.folder} is used by another process") from None
        for name in sorted(os.listdir(self.folder)):
            index, suffix = os.path.splitext(name)
            if suffix != SUFFIX or not index.isdigit():
                continue
            self._index = int(index)
            path = os.path.join(self.folder, name)
            try:
                if not os.path.getsize(path):  # killed between making it and writing into it
                    os.unlink(path)
                    continue
                segment, boot, is_cut = load(path, self._monotonic())
            except (OSError, ValueError) as error:
                reason = error.strerror if isinstance(error, OSError) else error
                self._log(f"{path} cannot be read as a segment of a spool ({reason}); it becomes {name}.damaged")
                self._runs[True] = ("", 1)  # its numbers may be those after the file before it
                with suppress(OSError):
                    os.rename(path, path + ".damaged")
                continue
            if is_cut:
                self._log(f"the last line of {path} was half written; it is cut off")
                self.dropped += 1
            if segment.source == self.source and not segment.device:
                segment.device = self.device  # from before this was a device
            if segment.count:
                self._segments.append(segment)
                self._size += segment.size
            else:
                segment.remove()
            same = boot == self._boot and (segment.source, segment.device) == (self.source, self.device)
            self._runs[True] = (segment.sender, segment.end) if same else ("", 1)
        if self._segments:
            self._restart(self._segments[0].first)
            self._expire(self._monotonic())
            self._log(f"{self.waiting} rows are in the spool folder {self.folder}; those not yet sent will be")


def boot_id() -> str:
    """What tells one run of the machine from the next; empty where the system does not say."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read().strip()
    except OSError:
        return ""
