"""The spool: every row in order and under one number, whatever is killed, cut or full; bounds by bytes and age."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from linemon_sender import segment
from linemon_sender import spool as spool_module
from linemon_sender.segment import Segment, write_whole
from linemon_sender.spool import RETRY, Spool, SpoolError
from tests.examples import examples

A, B = b"#columns time a", b"#columns time a b"


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def taken(spool: Spool, limit: int = 1 << 20) -> list[bytes]:
    """All rows from the cursor to the end of the run."""
    rows: list[bytes] = []
    while spool.columns() is not None:
        rows += spool.take(limit)[2].splitlines()
    return rows


@pytest.fixture(params=["memory", "folder"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "spool") if request.param == "folder" else ""


def make(folder: str, max_bytes: int = 1 << 20, max_age: float = 1000.0) -> tuple[Spool, Clock, list[str]]:
    clock, log = Clock(), list[str]()
    return Spool("web1", folder, max_bytes, max_age, log.append, clock), clock, log


def test_rows_come_out_as_they_went_in(folder: str) -> None:
    """In order, with their numbers and columns, in bunches of whole lines."""
    spool, _, _ = make(folder)
    for number in range(100):
        spool.append(b"%d" % number, A if number < 60 else B)
    assert spool.columns() == A
    assert spool.take(10) == (1, 5, b"0\n1\n2\n3\n4\n")
    assert spool.take(1) == (6, 1, b"5\n")
    assert spool.take(1 << 20)[1] == 54
    assert spool.columns() == B
    assert spool.take(1 << 20)[:2] == (61, 40)
    assert spool.columns() is None
    assert spool.waiting == 100
    assert spool.acknowledge(91)
    assert spool.rewind() == 91
    assert taken(spool) == [b"%d" % number for number in range(90, 100)]
    assert not spool.acknowledge(102)  # never given out
    assert spool.acknowledge(101)
    assert spool.waiting == 0


def test_the_newest_are_kept(folder: str) -> None:
    """Bounded by bytes: the oldest go, a sixteenth at a time, and are counted; the cursor goes along."""
    spool, _, log = make(folder, max_bytes=65536)
    rows = [b"%0100d" % number for number in range(2000)]
    spool.append(rows[0], A)
    assert spool.take(1)[0] == 1
    for row in rows[1:]:
        spool.append(row, A)
    kept = taken(spool)
    assert kept == rows[-len(kept) :]
    assert 65536 * 0.85 < sum(map(len, kept)) < 65536
    assert spool.dropped == 2000 - len(kept)
    assert spool.waiting == len(kept)
    assert sum("the oldest are dropped" in line for line in log) == 1


def test_old_rows_are_dropped(folder: str) -> None:
    """Bounded by age, too."""
    spool, clock, _ = make(folder, max_age=100.0)
    for number in range(300):
        clock.now += 1.0
        spool.append(b"%d" % number, A)
    kept = taken(spool)
    assert kept[-1] == b"299"
    assert 95 <= len(kept) <= 110
    assert spool.dropped == 300 - len(kept)


def test_acknowledged_rows_take_no_memory() -> None:
    """In memory nothing is left of them."""
    spool, _, _ = make("")
    for number in range(10_000):
        spool.append(b"%d" % number, A)
        assert spool.take(100)[1] == 1
        assert spool.acknowledge(number + 2)
        assert spool._size == 0
        assert not spool._segments
    assert spool.dropped == 0


def test_acknowledged_rows_are_forgotten_while_others_wait() -> None:
    """A sender that always has a row on its way does not grow either."""
    spool, _, _ = make("")
    for number in range(1, 10_000):
        spool.append(b"%d" % number, A)
        assert spool.columns() == A
        assert spool.take(100) == (number, 1, b"%d\n" % number)
        assert spool.acknowledge(max(1, number - 3))
        assert spool.waiting <= 4
        assert spool._size < 40


def test_a_file_is_what_one_could_send_by_hand(tmp_path: Path) -> None:
    """A person can read it: source, number and SENDER, columns, rows."""
    spool, _, _ = make(str(tmp_path / "spool"))
    spool.append(b"1.5 2", A)
    (path,) = (tmp_path / "spool").glob("*.lines")
    sender = spool.run[1]
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert path.read_text() == f"#source web1\n#boot {boot}\n#seq 1 {sender}\n#columns time a\n1.5 2\n"
    assert path.stat().st_mode & 0o077 == 0


def test_acknowledged_files_are_removed(tmp_path: Path) -> None:
    """All but the one that grows; what is there after a restart is offered again under its number."""
    spool, _, _ = make(str(tmp_path), max_bytes=65536)
    for number in range(100):
        spool.append(b"%0100d" % number, A)
    assert len(list(tmp_path.glob("*.lines"))) > 1
    taken(spool)
    spool.acknowledge(101)
    (path,) = tmp_path.glob("*.lines")
    assert spool.waiting == 0
    release(spool)
    spool, _, _ = make(str(tmp_path), max_bytes=65536)
    first = int(path.read_text().split("#seq ")[1].split()[0])
    assert spool.rewind() == first
    assert taken(spool)[-1] == b"%0100d" % 99
    assert spool.acknowledge(101)
    assert spool.waiting == 0


def release(spool: Spool) -> None:
    """What the end of the process does."""
    spool.close()


@pytest.mark.parametrize("cut", range(1, 7))
def test_a_half_written_line_is_cut_off(tmp_path: Path, cut: int) -> None:
    """Its number goes to the next row; the log says it."""
    spool, _, _ = make(str(tmp_path))
    spool.append(b"first", A)
    sender = spool.run[1]
    spool.append(b"second", A)
    release(spool)
    (path,) = tmp_path.glob("*.lines")
    os.truncate(path, path.stat().st_size - cut)
    spool, _, log = make(str(tmp_path))
    assert "half written" in log[0]
    spool.append(b"third", A)
    assert spool.run[1] == sender
    assert spool.columns() == A
    assert spool.take(1) == (1, 1, b"first\n")
    assert spool.columns() == A
    assert spool.take(1) == (2, 1, b"third\n")
    assert spool.dropped == 1


def test_damaged_files_are_moved_aside(tmp_path: Path) -> None:
    """With a word in the log; the others are sent, under another SENDER than what follows."""
    spool, _, _ = make(str(tmp_path))
    spool.append(b"first", A)
    release(spool)
    (tmp_path / "000000000777.lines").write_bytes(b"\0" * 1000)
    (tmp_path / "000000000778.lines").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("not ours")
    spool, _, log = make(str(tmp_path))
    assert "000000000777.lines.damaged" in log[0]
    assert taken(spool) == [b"first"]
    spool.append(b"second", A)
    assert {path.name for path in tmp_path.iterdir()} == {
        "lock", "notes.txt", "000000000001.lines", "000000000777.lines.damaged", "000000000779.lines"
    }  # fmt: skip


def test_after_a_restart_of_the_machine_another_sender_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that were sent may be missing in the file: their numbers must not be given again."""
    spool, _, _ = make(str(tmp_path))
    spool.append(b"first", A)
    before = spool.run
    release(spool)
    monkeypatch.setattr(spool_module, "boot_id", lambda: "another")
    spool, _, _ = make(str(tmp_path))
    spool.append(b"second", A)
    assert spool.run == before
    assert taken(spool) == [b"first"]
    assert spool.acknowledge(2)
    assert spool.run != before
    assert taken(spool) == [b"second"]


def test_a_renamed_source_keeps_its_rows(tmp_path: Path) -> None:
    """Rows of the old name are sent under it."""
    spool, _, _ = make(str(tmp_path))
    spool.append(b"first", A)
    release(spool)
    spool = Spool("web2", str(tmp_path), 1 << 20, 1000.0, lambda _: None)
    spool.append(b"second", A)
    assert spool.run[0] == "web1"
    taken(spool)
    spool.acknowledge(2)
    assert spool.run[0] == "web2"


def test_two_processes_in_one_folder(tmp_path: Path) -> None:
    """The second is told."""
    make(str(tmp_path))
    with pytest.raises(SpoolError, match="used by another process"):
        make(str(tmp_path))


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    """Says which and why."""
    (tmp_path / "file").write_text("")
    with pytest.raises(SpoolError, match=r"cannot use the spool folder .*file/spool: Not a directory"):
        make(str(tmp_path / "file" / "spool"))


def test_a_file_that_somebody_removed(tmp_path: Path) -> None:
    """Its rows are counted as dropped; the others go on."""
    spool, _, log = make(str(tmp_path))
    spool.append(b"first", A)
    spool.append(b"second", B)
    next(iter(sorted(tmp_path.glob("*.lines")))).unlink()
    assert taken(spool) == [b"second"]
    assert spool.dropped == 1
    assert "cannot be read" in log[0]


def test_lost_rows_at_the_end_of_a_run_hold_nobody_up(tmp_path: Path) -> None:
    """Its folder is removed: what cannot be read is lost and counted once, later rows go out at once."""
    folder = tmp_path / "spool"
    spool, _, _ = make(str(folder), max_bytes=65536)
    for number in range(200):
        spool.append(b"%0100d" % number, A)
    shutil.rmtree(folder)
    later = [b"%d 1" % number for number in range(200)]
    for row in later:  # of other columns, so that the last file is closed; they wait in memory
        spool.append(row, B)
    first = spool.run
    assert taken(spool) == []
    assert (spool.dropped, spool.waiting) == (200, 200)
    assert (spool.run, spool.next) == (first, 201)  # the collector must still be told
    assert spool.acknowledge(201)
    assert spool.run != first
    assert taken(spool) == later
    assert (spool.dropped, spool.waiting) == (200, 200)


def test_a_file_that_cannot_be_opened_now_is_not_lost(tmp_path: Path) -> None:
    """A program that is out of file descriptors says nothing about the file."""
    spool, _, log = make(str(tmp_path))
    spool.append(b"first", A)
    spool.append(b"second 2", B)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
        assert spool.columns() == A
        assert spool.take(100) == (1, 0, b"")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (spool.next, spool.dropped, log) == (1, 0, [])
    assert taken(spool) == [b"first", b"second 2"]


def test_files_that_cannot_be_read_stop_no_start(tmp_path: Path) -> None:
    """A folder or a dead link in a file's place is moved aside; rows before it are sent, under another SENDER."""
    spool, _, _ = make(str(tmp_path))
    spool.append(b"first", A)
    before = spool.run
    release(spool)
    (tmp_path / "000000000002.lines").mkdir()
    (tmp_path / "000000000003.lines").symlink_to("/no/such/file")
    spool, _, log = make(str(tmp_path))
    assert [line for line in log if "damaged" in line] == log[:2]
    spool.append(b"second", A)
    assert taken(spool) == [b"first"]
    assert spool.acknowledge(2)
    assert spool.run[1] != before[1]  # its numbers may have been used by what is damaged
    assert taken(spool) == [b"second"]


class Delivery(RuleBasedStateMachine):
    """A spool in a folder and a collector as DESIGN 1.3 says, with everything going wrong in any order."""

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.clock = Clock()
        self.value = 0
        self.given: list[int] = []  # but for those that were lost with the memory they waited in
        self.held: list[int] = []  # by the collector
        self.known: dict[tuple[str, str, str], int] = {}  # its acknowledged numbers
        self.disk_full = self.files_went = False
        self.original = segment.write_whole
        segment.write_whole = self.write  # the disk
        self.open()

    def write(self, file: int, text: bytes, at: int) -> None:
        if self.disk_full:
            os.pwrite(file, text[: len(text) // 2], at)
            os.ftruncate(file, at)
            raise OSError(errno.ENOSPC, "No space left on device")
        write_whole(file, text, at)

    def open(self) -> None:
        self.spool = Spool("web1", self.folder.name, 1 << 24, 1e6, lambda _: None, self.clock)
        self.connect()

    def connect(self) -> None:
        """`#seq N SENDER`, and the collector's answer."""
        self.run = self.spool.run
        if self.run[1]:
            number = self.spool.rewind()
            assert self.spool.acknowledge(self.known.setdefault(self.run, number))

    @rule(count=st.integers(1, 40), columns=st.sampled_from([A, B]))
    def append(self, count: int, columns: bytes) -> None:
        for _ in range(count):
            self.value += 1
            self.given.append(self.value)
            self.spool.append(b"%d" % self.value, columns)

    @rule(limit=st.integers(1, 60), arrives=st.integers(0, 60), is_acknowledged=st.booleans())
    def send(self, limit: int, arrives: int, is_acknowledged: bool) -> None:
        """Some rows; a part of them arrives before the link is cut, or all; the answer gets through or not."""
        if self.run != self.spool.run:
            self.connect()
        if self.spool.columns() is None:
            if self.run[1] and self.spool.next > self.known[self.run]:  # `#seq` with a higher number
                self.known[self.run] = self.spool.next
                assert self.spool.acknowledge(self.spool.next)
            return
        number, _, lines = self.spool.take(limit)
        rows = lines.splitlines()
        for at, row in enumerate(rows[:arrives], number):
            if at >= self.known[self.run]:
                assert at == self.known[self.run] or self.files_went, "a gap that nobody dropped"
                self.held.append(int(row))
                self.known[self.run] = at + 1
        if is_acknowledged:
            assert self.spool.acknowledge(self.known[self.run])
        if arrives < len(rows):
            self.connect()

    @rule(torn=st.binary(max_size=8).filter(lambda text: b"\n" not in text))
    def kill(self, torn: bytes) -> None:
        """`kill -9`, perhaps in the middle of a line; rows that a full disk did not take are gone."""
        in_memory = b"".join([segment.data for segment in self.spool._segments if not segment.path])
        lost = set(map(int, in_memory.split())) - set(self.held)
        self.given = [value for value in self.given if value not in lost]
        release(self.spool)
        files = sorted(Path(self.folder.name).glob("*.lines"))
        if files and torn:
            with files[-1].open("ab") as file:
                file.write(torn)
        self.open()
        assert self.spool.dropped == bool(files and torn) or self.files_went

    @rule(data=st.data())
    def lose_files(self, data: st.DataObject) -> None:
        """Somebody removes files that no row is added to any more."""
        active = self.spool._active
        for path in sorted(Path(self.folder.name).glob("*.lines")):
            if (active is None or path.name != os.path.basename(active.path)) and data.draw(st.booleans()):
                rows = [int(line) for line in path.read_bytes().splitlines() if not line.startswith(b"#")]
                self.given = [value for value in self.given if value not in rows or value in self.held]
                path.unlink()
                self.files_went = True

    @rule()
    def fill_the_disk(self) -> None:
        self.disk_full = True

    @rule(seconds=st.floats(0.0, 2 * RETRY))
    def empty_the_disk(self, seconds: float) -> None:
        self.disk_full = False
        self.clock.now += seconds

    @invariant()
    def in_order_and_once(self) -> None:
        if hasattr(self, "held"):
            assert all(a < b for a, b in zip(self.held, self.held[1:], strict=False))

    def teardown(self) -> None:
        if not hasattr(self, "spool"):
            return
        try:
            while self.spool.waiting:
                self.connect()
                while self.spool.columns() is not None:
                    self.send(1000, 1000, True)
                self.send(1000, 1000, True)
            assert self.held == self.given
        finally:
            release(self.spool)
            segment.write_whole = self.original
            self.folder.cleanup()


Delivery.TestCase.settings = settings(max_examples=examples(150), stateful_step_count=40, deadline=None)
TestDelivery = Delivery.TestCase


def test_offsets() -> None:
    """Where a row begins, for each of a segment."""
    made = Segment("s", "x", 5, A, 0.0)
    for row in (b"a\n", b"bcd\n", b"\n", b"e\n"):
        made.add(row, 0.0)
    assert [made.offset(number) for number in range(5, 10)] == [0, 2, 6, 7, 9]
