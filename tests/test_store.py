"""The store's promises: what crashes, damage, other versions and a full disk cost, and that nothing is shown wrong."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import linemon
from linemon.errors import LineError, OtherVersion, StoreError, UnknownSource
from linemon.store import arena as arena_module
from linemon.store import catalog as catalog_module
from linemon.store import farewells as farewells_module
from linemon.store import journal as journal_module
from linemon.store import marks as marks_module
from linemon.store import writer as writer_module
from linemon.store.heads import heads_of
from linemon.store.marks import Mark
from linemon.store.reader import Store
from linemon.store.ring import COMMIT, DISORDER, HEAD_CELLS, PAGE_BYTES, RESERVED, Arena, Cells
from linemon.store.writer import Ring, StoreWriter
from tests.archives import Reads
from tests.examples import examples
from tests.hunt import hunt

FIXTURES = Path(__file__).parent / "fixtures"
SECOND = 10**9


def cells(width: int, first: int, count: int) -> Cells:
    """Rows whose times and values are their numbers."""
    block = np.repeat(np.arange(first, first + count, dtype=float)[:, None], 1 + width, axis=1)
    block.view(np.int64)[:, 0] = np.arange(first, first + count)
    return block.view(np.int64)


def numbers(store: Store, name: str) -> list[float]:
    values: list[float] = store[name].since(0).values[:, 0].tolist()
    return values


def abandon(writer: StoreWriter) -> None:
    """What a SIGKILL leaves: nothing is sealed, the lock is free."""
    os.close(writer._lock)
    writer._catalog.end()


# -- any sequence of what can happen, against a plain list of rows


class StoreMachine(RuleBasedStateMachine):
    """Appends of blocks of any size, new columns, removals, crashes and reopenings in any order."""

    folder: Path

    @initialize(points=st.integers(1, 9))
    def open(self, points: int) -> None:
        shm = Path("/dev/shm")
        self.folder = Path(tempfile.mkdtemp(dir=shm if shm.is_dir() else None))
        self.points = points
        self.writer = StoreWriter(self.folder, points, 10)
        self.store = linemon.open(self.folder)
        self.model: dict[str, list[tuple[int, list[float]]]] = {}
        self.gone: dict[str, int] = {}  # rows of a source that were dropped by a smaller ring
        self.columns: dict[str, int] = {}
        self.acked: dict[str, int] = {}
        self.born: dict[str, int] = {}
        self.dead: set[int] = set()  # lives that are over
        self.value = 0.0

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder, ignore_errors=True)

    def ring(self, name: str, width: int) -> Ring:
        names = tuple(f"c{i}" for i in range(width))
        return self.writer.bind(name, names, ("",) * width)

    def take(self, name: str, width: int, times: list[int]) -> list[list[float]]:
        rows = []
        for at in times:
            self.value += 1
            rows.append([self.value + i / 8 for i in range(width)])
            self.model.setdefault(name, []).append((at, rows[-1]))
        return rows

    @rule(name=st.sampled_from("abc"), width=st.integers(1, 3), times=st.lists(st.integers(0, 30), max_size=20))
    def append_to(self, name: str, width: int, times: list[int]) -> None:
        width = max(width, self.columns.get(name, 0))
        ring = self.ring(name, width)
        self.columns[name] = width
        self.model.setdefault(name, [])
        self.acked[name] = self.acked.get(name, 0) + len(times)
        place = ring.arena.senders(ring.entry.slot).get("s")
        if place is None:
            place = 0
            ring.arena.register(ring.entry.slot, 0, "s", 0)
        rows = self.take(name, width, times)
        block = np.array([[0.0, *row] for row in rows]).reshape(len(rows), 1 + width)
        block.view(np.int64)[:, 0] = times
        ring.arena.append_to(ring.entry.slot, block.view(np.int64), (place, self.acked[name]))

    @rule(blocks=st.lists(st.tuples(st.sampled_from("xyz"), st.integers(0, 30)), max_size=25))
    def append_to_many(self, blocks: list[tuple[str, int]]) -> None:
        if not blocks:
            return
        rings = {name: self.ring(name, 2) for name, _ in blocks}
        for name in rings:
            self.columns[name] = 2
        rows = [self.take(name, 2, [at])[0] for name, at in blocks]
        block = np.array([[0.0, *row] for row in rows])
        block.view(np.int64)[:, 0] = [at for _, at in blocks]
        slots = np.array([rings[name].entry.slot for name, _ in blocks])
        next(iter(rings.values())).arena.append(slots, block.view(np.int64))

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.model)))
        self.writer.let_go(self.writer.rings[name])
        self.dead.add(self.born.pop(name))
        for known in (self.model, self.columns, self.acked, self.gone):
            known.pop(name, None)

    @rule(is_crash=st.booleans(), points=st.integers(1, 9))
    def reopen(self, is_crash: bool, points: int) -> None:
        abandon(self.writer) if is_crash else self.writer.close()
        self.points, before = points, self.points
        if points != before:
            for name, rows in self.model.items():
                self.gone[name] = max(self.gone.get(name, 0), len(rows) - min(points, before))
        self.writer = StoreWriter(self.folder, points, 10)

    @invariant()
    def answers_are_the_lists(self) -> None:
        if not hasattr(self, "model"):
            return
        assert sorted(self.store.sources()) == sorted(self.model)
        for name, rows in self.model.items():
            source = self.store[name]
            held = rows[max(0, len(rows) - self.points, self.gone.get(name, 0)) :]
            got = source.since(0)
            width = self.columns[name]
            expected = [row + [np.nan] * (width - len(row)) for _, row in held]
            assert source.rows == len(rows)
            assert self.born.setdefault(name, got.born) == got.born not in self.dead
            assert (source.arrived is None) == (not rows)
            assert got.missed == len(rows) - len(held)
            assert got.time.view(np.int64).tolist() == [at for at, _ in held]
            assert np.array_equal(got.values, np.array(expected).reshape(-1, width), equal_nan=True)
            last = source.last(3)
            in_time = sorted(zip([at for at, _ in held], expected, strict=True), key=lambda row: row[0])[-3:]
            assert last.time.view(np.int64).tolist() == [at for at, _ in in_time]
            ring = self.writer.rings[name]
            places = ring.arena.senders(ring.entry.slot)
            assert [ring.arena.acked(ring.entry.slot, place) for place in places.values()] == (
                [self.acked[name]] if name in self.acked else []
            )


TestStoreMachine = StoreMachine.TestCase
TestStoreMachine.settings = settings(max_examples=examples(40), stateful_step_count=25, deadline=None)


# -- killed at any line


def steps(writer: StoreWriter) -> list[Callable[[], object]]:
    """What a writer does in its life; each step leaves one state that a reader may see."""
    two = ("a", "b")

    def append(name: str, columns: tuple[str, ...], first: int, count: int, ack: int) -> None:
        ring = writer.bind(name, columns, ("",) * len(columns))
        slot = ring.entry.slot
        if "s" not in ring.arena.senders(slot):
            ring.arena.register(slot, 0, "s", first)
        if count % 2:
            ring.arena.append_to(slot, cells(len(columns), first, count), (0, ack))
        else:
            ring.arena.append(np.full(count, slot), cells(len(columns), first, count), [(slot, 0, ack)])

    def late(count: int) -> None:
        """A row that is earlier than the one before it."""
        ring = writer.rings["web"]
        block = cells(3, 33, count)
        block[-1, 0] = 0
        ring.arena.append(np.full(count, ring.entry.slot), block, [(ring.entry.slot, 0, 33 + count)])

    return [
        lambda: append("web", two, 0, 3, 3),
        lambda: append("web", two, 3, 4, 7),
        lambda: append("room", ("value",), 0, 1, 1),
        lambda: append("web", (*two, "c"), 7, 1, 8),
        lambda: append("web", (*two, "c"), 8, 20, 28),
        lambda: append("web", (*two, "c"), 28, 5, 33),
        lambda: writer.let_go(writer.rings["room"]),
        lambda: late(2),
        lambda: writer.marks.add(Mark.of(1, "seen", "web")),
        lambda: writer.farewells.part(writer, "web", "www"),
        lambda: append("web", two, 0, 1, 1),
        lambda: writer.farewells.part(writer, "web", None),
        writer.close,
    ]


STATES: list[dict[str, tuple[list[float], int]]] = [
    {},
    {"web": ([0, 1, 2], 3)},
    {"web": ([0, 1, 2, 3, 4, 5, 6], 7)},
    {"web": ([0, 1, 2, 3, 4, 5, 6], 7), "room": ([0], 1)},
    {"web": ([0, 1, 2, 3, 4, 5, 6, 7], 8), "room": ([0], 1)},
    {"web": ([float(i) for i in range(20, 28)], 28), "room": ([0], 1)},
    {"web": ([float(i) for i in range(25, 33)], 33), "room": ([0], 1)},
    {"web": ([float(i) for i in range(25, 33)], 33)},
    {"web": ([float(i) for i in range(27, 35)], 35)},
    {"web": ([float(i) for i in range(27, 35)], 35)},
    {"www": ([float(i) for i in range(27, 35)], 35)},
    {"www": ([float(i) for i in range(27, 35)], 35), "web": ([0], 1)},
    {"www": ([float(i) for i in range(27, 35)], 35)},
    {"www": ([float(i) for i in range(27, 35)], 35)},
]


def killed_at_each_line(folder: Path, kept: Path) -> Iterator[tuple[int, str, Path]]:
    """Do all steps in a child; at each line of the writer's code, in each step once, copy what a SIGKILL there leaves.

    The steps done, the line and the copy, where it is another than the one before.
    """
    child = os.fork()
    if not child:
        traced = arena_module, catalog_module, writer_module, journal_module, farewells_module, marks_module
        files = {module.__file__ for module in traced}
        met, before, done = set(), None, 0

        def trace(frame: FrameType, event: str, _: Any) -> Any:
            nonlocal before
            file, line = frame.f_code.co_filename, frame.f_lineno
            if file not in files:
                return None
            if event == "line" and (done, file, line) not in met:
                met.add((done, file, line))
                now = done, {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
                if now != before and now[1]:
                    shutil.copytree(folder, kept / f"{len(met):05} {done} {Path(file).name}:{line}")
                    before = now
            return trace

        try:
            sys.settrace(trace)
            for step in steps(StoreWriter(folder, 8, 10)):
                step()
                done += 1
            sys.settrace(None)
            shutil.copytree(folder, kept / f"{len(met):05} {done} end")
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    for each in sorted(kept.iterdir()):
        _, steps_done, at = each.name.split(" ")
        yield int(steps_done), at, each


@pytest.fixture
def memory() -> Iterator[Path]:
    """A folder in which a sync costs nothing."""
    shm = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(dir=shm if shm.is_dir() else None))
    yield folder
    shutil.rmtree(folder)


@pytest.mark.slow
def test_killed_at_any_line_of_the_writer(memory: Path) -> None:
    """Whatever line a SIGKILL comes at, the store opens with the state before the step or the one after it."""
    (memory / "kept").mkdir()
    for done, at, folder in killed_at_each_line(memory / "store", memory / "kept"):
        writer = StoreWriter(folder, 8, 10)
        store = linemon.open(folder)
        found = {}
        for name in store.sources():
            ring = writer.rings[name]
            held, places = numbers(store, name), ring.arena.senders(ring.entry.slot)
            assert list(places) in (["s"], [])
            if held:
                found[name] = held, ring.arena.acked(ring.entry.slot, places["s"])
        born = {store[name].born for name in store.sources()}
        assert len(born - {0}) == len(store)
        assert all(store[name].arrived is not None for name in found)
        assert all(mark.source in store for mark in store.marks())
        after = min(done + 1, len(STATES) - 1)
        overwritten = {name: held for name, (held, _) in STATES[done].items()}
        for name, (held, acked) in found.items():
            if name in overwritten and held != overwritten[name] and held == overwritten[name][-len(held) :]:
                # The batch that was being written had announced that it would overwrite the oldest rows.
                found[name] = overwritten[name], acked
        states = [STATES[done], STATES[after]]
        if done < len(STATES) - 1 and found not in states:
            whole = {name: each for name, each in STATES[done].items() if name in found}
            assert found == whole, f"killed at {at}, after {done} steps"
            assert all(store[name].rows == STATES[done][name][1] for name in STATES[done])
        writer.close()
        store.close()
    assert done == len(STATES) - 1


@pytest.mark.slow
def test_the_hunt_finds_nothing() -> None:
    """Four readers, a ring that wraps thousands of times a second, a writer that is killed every few hundred ms."""
    found = hunt(8.0)
    assert not found.wrong, found.wrong[0]
    assert found.kills > 5
    assert all(each.rows > 100 for each in found.findings)


@pytest.mark.slow
def test_the_hunt_finds_a_writer_that_publishes_before_it_writes() -> None:
    """A hunt that could not find anything would prove nothing."""
    assert hunt(60.0, is_broken=True).wrong


def test_a_reader_that_sleeps(tmp_path: Path) -> None:
    """What was overwritten meanwhile is counted; what is left is right."""
    writer = StoreWriter(tmp_path, 10, 5)
    ring = writer.bind("x", ("a",), None)
    ring.arena.append_to(ring.entry.slot, cells(1, 0, 4))
    source = linemon.open(tmp_path)["x"]
    cursor = source.since(0).cursor
    ring.arena.append_to(ring.entry.slot, cells(1, 4, 1000))
    rows = source.since(cursor)
    assert (rows.missed, rows.values[:, 0].tolist()) == (990, [float(i) for i in range(994, 1004)])
    assert source.since(rows.cursor).missed == 0


# -- damage and other versions


def _fixture(tmp_path: Path, version: float) -> Path:
    folder = tmp_path / "store"
    shutil.copytree(FIXTURES / f"store-{version}", folder)
    folder.chmod(0o700)  # whatever the umask that it was checked out with
    return folder


@pytest.mark.parametrize("version", [1, 2, 2.1])
def test_stores_of_every_version(tmp_path: Path, version: float) -> None:
    """A store of each version that ever was is taken up with its rows, columns, units and counters."""
    folder = _fixture(tmp_path, version)
    if version == 1:
        with pytest.raises(StoreError, match="older linemon: start the collector"):
            linemon.open(folder).sources()
    writer = StoreWriter(folder, 8, 10)
    store = linemon.open(folder)
    assert sorted(store.sources()) == ["late", "room1.temperature", "web1"]
    room = store["room1.temperature"]
    assert (room.units, room.rows) == (("°C",), 13)
    assert room.since(0).values[:, 0].tolist() == [20 + i / 4 for i in range(6, 14)]
    assert room.since(0).time.view(np.int64).tolist() == [i * SECOND for i in range(6, 14)]
    web1 = store["web1"]
    assert (web1.columns, web1.units, web1.rejected) == (("cpu", "mem"), ("%", "%"), 2)
    assert np.isnan(web1.last(4)["mem"][0])
    assert web1.last(1).values.tolist() == [[6.0, 41.5]]
    assert store["late"].last(9).values[:, 0].tolist() == [3.0, 4.0, 5.0, 6.0]
    assert [path.name for path in folder.glob("*1x8*")] == ["1x8.v2.ring"]
    ring = writer.rings["web1"]
    assert ring.arena.senders(ring.entry.slot) == ({"spool-1": 0} if version >= 2 else {})
    assert (room.born == 1795644530444913250) == (version == 2.1)
    assert (room.born > 0, len({store[name].born for name in store.sources()})) == (True, 3)
    assert (room.arrived is None) == (version < 2.1)
    writer.close()


def test_an_open_reader_of_an_older_store(tmp_path: Path) -> None:
    """Stores of the minor version before are read as they are; what they do not say is unknown."""
    room = linemon.open(_fixture(tmp_path, 2))["room1.temperature"]
    assert (room.rows, room.born, room.arrived, room.ahead, len(room.arrivals)) == (13, 0, None, 0, 0)


def test_a_store_of_a_newer_minor_version(tmp_path: Path) -> None:
    """Readers read it; a collector, which would not keep what it does not know, leaves it alone."""
    folder = _fixture(tmp_path, 2.1)
    _first_line(folder, minor=2)
    before = (folder / "catalog").read_bytes()
    assert linemon.open(folder)["web1"].rows == 6
    with pytest.raises(OtherVersion, match="newer linemon"):
        StoreWriter(folder, 8, 10)
    assert (folder / "catalog").read_bytes() == before


def _first_line(folder: Path, **fields: object) -> dict[str, Any]:
    """Change what the first line of a catalog says; returns what it said."""
    first, rest = (folder / "catalog").read_bytes().split(b"\n", 1)
    said: dict[str, Any] = json.loads(first[9:])
    text = json.dumps(said | fields).encode()
    (folder / "catalog").write_bytes(b"%08x %s\n" % (zlib.crc32(text), text) + rest)
    return said


# -- whose row numbers they are


def test_heads_in_a_file_that_has_grown(tmp_path: Path) -> None:
    """Who has mapped it before sees the heads of sources that came since: alarms, forwards, the page look there."""
    writer = StoreWriter(tmp_path / "store", 100_000, 1000)
    with Store(tmp_path / "store") as store:
        for name in map(str, range(100)):
            writer.bind(name, ("a",), ("",))
            seen = [entry.source for heads in heads_of(store, store.sources()) for entry in heads.entries]
            assert name in seen
    writer.close()


def test_a_cursor_of_an_earlier_life(tmp_path: Path) -> None:
    """Source removed and made again, past where it was: the rows from its first one on, and that it began anew."""
    writer = StoreWriter(tmp_path, 100, 5)
    source = linemon.open(tmp_path)
    ring = writer.bind("x", ("a",), None)
    ring.arena.append_to(ring.entry.slot, cells(1, 0, 10))
    kept = source["x"].since(0)
    assert (kept.restarted, kept.born) == (False, source["x"].born)
    ring = writer.bind("x", ("a", "b"), ("", ""))  # it moves
    ring.arena.append_to(ring.entry.slot, cells(2, 10, 1))
    assert not source["x"].since(kept.cursor, kept.born).restarted
    writer.close()
    writer = StoreWriter(tmp_path, 50, 5)  # it moves again
    assert source["x"].since(kept.cursor, kept.born).values[:, 0].tolist() == [10.0]
    writer.let_go(writer.rings["x"])
    ring = writer.bind("x", ("a",), None)
    ring.arena.append_to(ring.entry.slot, cells(1, 100, 60))
    rows = source["x"].since(kept.cursor, kept.born)
    assert (rows.restarted, rows.missed) == (True, 10)
    assert rows.values[:, 0].tolist() == [float(i) for i in range(110, 160)]
    assert rows.born != kept.born
    again = source["x"].since(rows.cursor, rows.born)
    assert (again.restarted, again.missed, len(again)) == (False, 0, 0)
    assert source["x"].since(kept.cursor).values[:, 0].tolist() == rows.values[:, 0].tolist()  # without: as it was
    writer.close()


@pytest.mark.parametrize(("is_closed", "is_other_boot"), [(False, True), (True, True), (False, False)])
def test_row_numbers_after_a_power_loss(tmp_path: Path, is_closed: bool, is_other_boot: bool) -> None:
    """A store that was open when the machine went down may have lost rows: its sources begin a new life."""
    writer = StoreWriter(tmp_path, 10, 5)
    ring = writer.bind("x", ("a",), None)
    ring.arena.append_to(ring.entry.slot, cells(1, 0, 3))
    before = linemon.open(tmp_path)["x"].since(0)
    writer.close() if is_closed else abandon(writer)
    if is_other_boot:
        _first_line(tmp_path, boot="another")
    writer = StoreWriter(tmp_path, 10, 5)
    after = linemon.open(tmp_path)["x"].since(before.cursor, before.born)
    assert after.restarted == (is_other_boot and not is_closed)
    assert len(after) == (3 if after.restarted else 0)
    abandon(writer)
    writer = StoreWriter(tmp_path, 10, 5)  # once for each time that the machine went down
    assert linemon.open(tmp_path)["x"].born == after.born
    writer.close()


def test_the_id_of_a_store(tmp_path: Path) -> None:
    """Kept as long as the store is on its machine; a copy on another one has an id of its own."""
    ids = []
    for machine in (None, None, "another"):
        if machine:
            _first_line(tmp_path, machine=machine)
        StoreWriter(tmp_path, 10, 5).close()
        ids.append(linemon.open(tmp_path).id)
    assert len(ids[0]) == 12
    assert ids[0] == ids[1] != ids[2]


def test_arrivals_are_kept_with_the_ring(tmp_path: Path) -> None:
    """By the clock here, whatever the stamps say; over new columns and restarts; rows ahead of it are counted."""
    writer = StoreWriter(tmp_path, 10, 5)
    store = linemon.open(tmp_path)
    ring = writer.bind("x", ("a",), None)
    assert store["x"].arrived is None
    began = time.time_ns()
    ring.arena.append_to(ring.entry.slot, cells(1, 0, 3))
    slots = np.full(2, ring.entry.slot)
    ring.arena.append(slots, cells(1, began + 299 * SECOND, 2))
    arrived = store["x"].arrived
    assert arrived is not None
    assert began <= arrived.astype(int) <= time.time_ns()
    assert (store["x"].ahead, writer.ahead) == (0, 0)
    writer.note_arrivals()
    ring = writer.bind("x", ("a", "b"), ("", ""))
    ring.arena.append_to(ring.entry.slot, cells(2, began + 400 * SECOND, 1))
    ring.arena.append(slots, cells(2, began + 400 * SECOND, 2))
    ring.arena.append_to(ring.entry.slot, cells(2, 7, 1))
    writer.note_arrivals()
    writer.note_arrivals()
    before = store["x"].arrivals.tolist()
    assert [count for _, count in before] == [5, 9]
    ring.arena.append_to(ring.entry.slot, cells(2, 0, 0), (0, 5))
    abandon(writer)
    writer = StoreWriter(tmp_path, 20, 5)
    assert store["x"].arrivals.tolist() == before
    assert (store["x"].ahead, writer.ahead) == (3, 0)
    writer.close()


def test_a_newer_store_is_left_alone(tmp_path: Path) -> None:
    """Neither a reader nor a collector touches it; the error says what to do."""
    folder = _fixture(tmp_path, 2)
    writer = StoreWriter(folder, 8, 10)
    writer.close()
    lines = (folder / "catalog").read_bytes().split(b"\n")
    text = b'{"version": 3}'
    lines[0] = b"%08x %s" % (zlib.crc32(text), text)
    (folder / "catalog").write_bytes(b"\n".join(lines))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for opening in (lambda: linemon.open(folder).sources(), lambda: StoreWriter(folder, 8, 10)):
        with pytest.raises(OtherVersion, match=r"has version 3 of the store, this linemon reads version 2"):
            opening()
    after = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert {name: data for name, data in after.items() if name != "lock"} == {
        name: data for name, data in before.items() if name != "lock"
    }


def _flips(data: bytes, places: Iterable[int]) -> list[bytes]:
    return [data[:at] + bytes([data[at] ^ flip]) + data[at + 1 :] for at in places for flip in (1, 255)]


@pytest.mark.slow
def test_every_byte_of_a_files_header_flipped(memory: Path) -> None:
    """It is refused with a sentence and moved aside, or harmless; the other file's sources are there either way."""
    folder = memory / "store"
    whole = (FIXTURES / "store-2" / "2x8.v2.ring").read_bytes()
    for data in _flips(whole, [*range(72), *range(72, PAGE_BYTES, 101)]):  # what stands there, and some of the zeros
        shutil.rmtree(folder, ignore_errors=True)
        _fixture(memory, 2)
        (folder / "2x8.v2.ring").write_bytes(data)
        try:
            Arena(folder / "2x8.v2.ring")
            is_refused = False
        except StoreError:
            is_refused = True
        writer = StoreWriter(folder, 8, 10)
        store = linemon.open(folder)
        assert numbers(store, "late") == [5.0, 3.0, 4.0, 6.0]
        assert ("web1" in store) != is_refused
        assert (folder / "2x8.v2.bad").exists() == is_refused
        if not is_refused:
            assert numbers(store, "web1") == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
        writer.close()


@pytest.mark.parametrize("is_sealed", [True, False], ids=["closed", "killed"])
@pytest.mark.slow
def test_every_byte_of_a_rings_head_flipped(memory: Path, is_sealed: bool) -> None:
    """After a clean end the source is refused; after a kill it is refused or shows some of its rows, and no others."""
    folder = memory / "store"
    shutil.copytree(FIXTURES / "store-2", folder)
    folder.chmod(0o700)  # whatever the umask that it was checked out with
    writer = StoreWriter(folder, 8, 10)
    writer.close() if is_sealed else abandon(writer)
    ring_file = folder / "2x8.v2.ring"
    whole = ring_file.read_bytes()
    kept = memory / "kept"
    shutil.copytree(folder, kept)
    rows = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    for data in _flips(whole, range(PAGE_BYTES, PAGE_BYTES + 8 * HEAD_CELLS, 1 if is_sealed else 3)):
        shutil.rmtree(folder)
        shutil.copytree(kept, folder)
        ring_file.write_bytes(data)
        writer = StoreWriter(folder, 8, 10)
        store = linemon.open(folder)
        assert numbers(store, "late") == [5.0, 3.0, 4.0, 6.0]
        if "web1" in store:
            assert not is_sealed
            shown = numbers(store, "web1")
            assert shown in [rows[i:j] for i in range(7) for j in range(i, 7)], shown
        abandon(writer)


@pytest.mark.parametrize("length", [0, 100, PAGE_BYTES - 1, PAGE_BYTES, PAGE_BYTES + 100])
def test_a_truncated_file(tmp_path: Path, length: int) -> None:
    """It costs its own sources, with a sentence, and is kept aside unless nothing was left of it."""
    folder = _fixture(tmp_path, 2)
    os.truncate(folder / "2x8.v2.ring", length)
    writer = StoreWriter(folder, 8, 10)
    store = linemon.open(folder)
    assert sorted(store.sources()) == ["late", "room1.temperature"]
    writer.bind("web1", ("cpu", "mem"), None)
    assert store["web1"].rows == 0
    writer.close()


def test_a_damaged_catalog_line_costs_its_source(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The others are there; the catalog as it was is kept, and so are files that nobody claims now."""
    folder = _fixture(tmp_path, 2)
    data = (folder / "catalog").read_bytes()
    for at in range(0, len(data), 7):
        shutil.rmtree(folder)
        shutil.copytree(FIXTURES / "store-2", folder)
        folder.chmod(0o700)  # whatever the umask that it was checked out with
        (folder / "catalog").write_bytes(data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :])
        writer = StoreWriter(folder, 8, 10)
        store = linemon.open(folder)
        lines = data[:at].count(b"\n")
        expected = {1: "room1.temperature", 2: "web1", 3: "late"}
        lost = {expected.get(lines, "")} | ({expected.get(lines + 1, "")} if data[at : at + 1] == b"\n" else set())
        assert set(store.sources()) == set(expected.values()) - lost
        assert (folder / "catalog.bad").exists()
        writer.close()
    assert "damaged lines: kept as" in caplog.text


@pytest.mark.parametrize("what", ["empty", "cut", "zeros", "gone", "cut at the end"])
def test_a_catalog_that_a_power_cut_left(tmp_path: Path, what: str, caplog: pytest.LogCaptureFixture) -> None:
    """No row is thrown away: the ring files that nobody claims are kept aside, and the log names them."""
    folder = _fixture(tmp_path, 2)
    catalog = folder / "catalog"
    whole = catalog.read_bytes()
    left = {"empty": b"", "cut": whole[:9], "zeros": bytes(len(whole)), "cut at the end": whole[:60]}
    catalog.write_bytes(left[what]) if what in left else catalog.unlink()
    rings = {path.name: path.read_bytes() for path in folder.glob("*.ring")}
    writer = StoreWriter(folder, 8, 10)
    assert linemon.open(folder).sources() == ()
    for name, data in rings.items():
        assert (folder / name.replace(".ring", ".bad")).read_bytes()[72:] == data[72:]
        assert f"{name} belongs to no source" in caplog.text
    assert what == "gone" or (folder / "catalog.bad").read_bytes() == left[what]
    writer.close()


def test_a_file_that_shrinks_under_a_reader_is_a_sentence(tmp_path: Path) -> None:
    """A reader that attaches to a damaged store says what is damaged."""
    folder = _fixture(tmp_path, 2)
    (folder / "2x8.v2.ring").write_bytes(b"linemon\n" + bytes(5000))
    store = linemon.open(folder)
    with pytest.raises(StoreError, match="damaged"):
        store["web1"].last(1)
    assert store["late"].rows == 4


# -- who may read, space, names


def test_a_folder_that_others_may_write_to(tmp_path: Path) -> None:
    """It is refused, with what to do; bits that others have beyond what is set are taken back."""
    folder = tmp_path / "store"
    folder.mkdir()
    for mode in (0o770, 0o707):
        folder.chmod(mode)
        with pytest.raises(StoreError, match=r"others may write to .*chmod go-w"):
            StoreWriter(folder, 8, 10)
    folder.chmod(0o755)
    StoreWriter(folder, 8, 10).close()
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make what another user would have made")
def test_a_place_that_another_user_took(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder, or a link, that stands under the default store's name is used by no collector and no reader."""
    default, own = tmp_path / "linemon-0", tmp_path / "own"
    StoreWriter(own, 8, 10).close()
    monkeypatch.setattr("linemon.store.folder.default_folder", lambda: default)

    def are_refused() -> None:
        for opening in (lambda: StoreWriter(default, 8, 10), lambda: linemon.open(default).sources()):
            with pytest.raises(StoreError, match="another user"):
                opening()

    default.symlink_to(own)
    os.lchown(default, 1234, 1234)
    are_refused()
    default.unlink()
    shutil.copytree(own, default)
    os.chown(default, 1234, 1234)
    are_refused()


@pytest.mark.slow
def test_how_many_sources_fit() -> None:
    """What is said beforehand is what is so: a source more finds no room."""
    found = in_a_small_disk(
        "8m",
        """
        import json
        from linemon.errors import LineError
        from linemon.store.folder import sources_that_fit
        from linemon.store.writer import StoreWriter
        said = sources_that_fit(disk / "store", 600, 2)
        writer, made = StoreWriter(disk / "store", 600, 10_000), 0
        try:
            while True:
                writer.bind(f"s{made}", ("a", "b"), None)
                made += 1
        except LineError as error:
            print(json.dumps({"said": said, "made": made, "reason": error.reason}))
        """,
    )
    assert found["reason"] == "store_full"
    assert found["said"] == found["made"] > 100


def test_room_on_a_file_system_that_cannot_allocate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the C library does not do it by itself, pages are had by writing them; what stands in them stays."""

    def cannot(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "not supported")

    monkeypatch.setattr("linemon.store.arena.os.posix_fallocate", cannot)
    for _ in range(2):
        writer = StoreWriter(tmp_path, 3000, 5)
        ring = writer.bind("x", ("a",), None)
        head = ring.arena.head(ring.entry.slot)
        for first in range(head, head + 2000, 100):
            ring.arena.append_to(ring.entry.slot, cells(1, first, 100))
        writer.close()
    assert numbers(linemon.open(tmp_path), "x") == [float(i) for i in range(1000, 4000)]
    assert (tmp_path / "1x3000.v2.ring").stat().st_blocks * 512 >= 3000 * 16


def test_a_disk_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any error of the file system is one of the line, which the collector counts, and no end of the collector."""
    writer = StoreWriter(tmp_path, 3000, 5)
    ring = writer.bind("x", ("a",), None)

    def fails(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("linemon.store.arena.os.posix_fallocate", fails)
    with pytest.raises(LineError, match="Input/output error"):
        ring.arena.append_to(ring.entry.slot, cells(1, 0, 3000))
    monkeypatch.undo()
    ring.arena.append_to(ring.entry.slot, cells(1, 0, 3000))
    writer.close()


@pytest.mark.slow
def test_one_store_in_many_threads(tmp_path: Path) -> None:
    """Sources that come while four threads look are found by all of them; none is taken for damaged."""
    writer = StoreWriter(tmp_path, 10, 3000)
    store, wrong = linemon.open(tmp_path), []
    over = threading.Event()

    def look() -> None:
        try:
            while not over.is_set():
                for name in store.sources()[-20:]:
                    assert name in store
                    store[name].since(0)
        except BaseException as error:  # whatever it is, it is wrong
            wrong.append(repr(error))

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for i in range(1500):
        writer.bind(f"s{i}", ("a", "b", "c")[: 1 + i % 3], None)
        if i % 7 == 0:
            writer.bind(f"w{i % 3}", tuple(f"c{n}" for n in range(1 + i // 14)), ("",) * (1 + i // 14))  # they move
    over.set()
    for thread in threads:
        thread.join()
    assert not wrong, wrong[0]
    assert len(store) == 1503
    assert store._catalog.damaged == 0
    writer.close()


def test_a_store_that_is_closed(tmp_path: Path) -> None:
    """It has no file open any more, what was read stays, and used again it opens them again."""
    writer = StoreWriter(tmp_path, 10, 5)
    ring = writer.bind("x", ("a",), None)
    ring.arena.append_to(ring.entry.slot, cells(1, 0, 3))

    def opened() -> int:
        return sum(os.path.realpath(path).startswith(str(tmp_path)) for path in Path("/proc/self/fd").iterdir())

    before = opened()
    with linemon.open(tmp_path) as store:
        rows = store["x"].last(3)
        assert opened() > before
    assert opened() == before
    assert rows.values[:, 0].tolist() == [0.0, 1.0, 2.0]
    assert store["x"].rows == 3
    store.close()
    writer.close()


@pytest.mark.parametrize(("mode", "folder_mode", "file_mode"), [(0o700, 0o700, 0o600), (0o750, 0o750, 0o640)])
def test_files_are_readable_by_those_who_may(tmp_path: Path, mode: int, folder_mode: int, file_mode: int) -> None:
    """By the owner only, unless set otherwise; whatever the umask, and also the files of an earlier run."""
    folder = tmp_path / "store"
    for setting, width in ((0o700, 1), (mode, 2)):
        umask = os.umask(0o077)
        try:
            writer = StoreWriter(folder, 8, 10, mode=setting)
            writer.bind(f"x{width}", ("a", "b")[:width], None)
            writer.replace_file("status.json", b"{}")
            writer.close()
        finally:
            os.umask(umask)
    assert folder.stat().st_mode & 0o777 == folder_mode
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir() if path.name != "lock"} == {file_mode}


def test_a_source_that_dies_gives_its_memory_back(memory: Path) -> None:
    """Its pages, and a file in which nobody is left."""
    writer = StoreWriter(memory, 3600, 100)
    rings = [writer.bind(f"s{i}", ("value",), None) for i in range(20)]
    for ring in rings:
        ring.arena.append_to(ring.entry.slot, cells(1, 0, 3600))
    file = memory / "1x3600.v2.ring"
    full = file.stat().st_blocks
    for ring in rings[:19]:
        writer.let_go(ring)
    assert file.stat().st_blocks < full / 10
    assert numbers(linemon.open(memory), "s19") == [float(i) for i in range(3600)]
    writer.let_go(rings[19])
    assert not file.exists()


MOUNT = {
    "tmpfs": 'mount -t tmpfs -o size=SIZE tmpfs "$0"',
    "ext4": 'truncate -s SIZE "$0.img" && mkfs.ext4 -qF -m 0 "$0.img" && mount -o loop "$0.img" "$0" && rm "$0.img"',
}


def in_a_small_disk(size: str, script: str, kind: str = "tmpfs") -> dict[str, Any]:
    """Run Python with a file system of that size at `disk`; what it prints as JSON."""
    user = [] if os.getuid() == 0 else ["--map-root-user"]
    disk = tempfile.mkdtemp()
    mount = f'{MOUNT[kind].replace("SIZE", size)} && exec "$@"'
    command = ["unshare", "--mount", *user, "sh", "-c", mount, disk]
    if subprocess.run([*command, "true"], capture_output=True).returncode:
        pytest.skip("this machine does not let us mount a small file system")
    script = f"from pathlib import Path\ndisk = Path({disk!r})\n" + textwrap.dedent(script)
    ran = subprocess.run([*command, sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


@pytest.mark.slow
def test_a_disk_that_fills_up(tmp_path: Path) -> None:
    """Rows that need new pages are rejected and counted; rings that have theirs go on; with room again, all do."""
    found = in_a_small_disk(
        "3m",
        """
        import json, socket, sys
        from tests.running import Running
        running = Running(disk, 'points = 600\\n')
        try:
            # One ring that has all its pages, one that is new.
            running.say("".join(f"full {i}\\n" for i in range(700)) + "#stats\\n")
            running.say("new 1\\n#stats\\n")
            left = disk / "left"
            with open(left, "wb", buffering=0) as file:
                try:
                    while True:
                        file.write(bytes(4096))
                except OSError:
                    pass
            lines = "".join(f"new {i}\\nfull {i}\\n" for i in range(500))
            answer = running.say(lines + "#errors on\\nnew 5\\nlater 1\\n#stats\\n")
            full, new = running.store["full"].rows, running.store["new"].rows
            left.unlink()
            again = running.say("new 7\\n#stats\\n")
            print(json.dumps({"full": full, "new": new, "answer": answer, "again": again,
                              "newest": running.store["new"].last(1).values[0, 0],
                              "log": (disk / "log").read_text()}))
        finally:
            running.stop()
        """,
    )
    assert found["full"] == 1200
    assert 1 <= found["new"] < 501
    stats = dict(part.split("=") for part in found["answer"].splitlines()[-1].split()[1:])
    assert int(stats["received"]) == int(stats["stored"]) + int(stats["rejected"])
    assert int(stats["rejected"]) == 1002 - 500 - (found["new"] - 1)
    assert "no room for more rows" in found["answer"]
    assert found["newest"] == 7.0
    assert found["log"].count("store_full") <= 2


def test_names_and_texts(tmp_path: Path) -> None:
    """What a person at a notebook sees: names completed, texts short, the nearest name for an unknown one."""
    writer = StoreWriter(tmp_path, 10, 50)
    for i in range(30):
        ring = writer.bind(f"web{i}", ("cpu", "mem"), None)
    ring.arena.append_to(ring.entry.slot, cells(2, 0, 3))
    store = linemon.open(tmp_path)
    assert store._ipython_key_completions_() == [f"web{i}" for i in range(30)]
    assert repr(store).startswith(f"<linemon store at {tmp_path}: 30 sources: web0, web1, ")
    assert repr(store["web29"]) == "<source 'web29': 3 rows of cpu, mem>"
    rows = store["web29"].last(2)
    assert repr(rows).startswith("<2 rows of 'web29' from 1970-01-01T00:00:00.000000001 to 1970")
    assert rows["mem"].tolist() == [1.0, 2.0]
    with pytest.raises(KeyError, match="'web29' has no column 'cpux'; did you mean 'cpu'"):
        rows["cpux"]
    with pytest.raises(
        UnknownSource, match=r"no source 'wbe7' .*did you mean 'web7'.* there are: web0, .* and 10 more"
    ):
        store["wbe7"]
    window = store["web29"].window("1970-01-01", "1970-01-02", 24)
    assert repr(window) == "<24 buckets from 1970-01-01T00:00:00.000000000 to 1970-01-01T23:00:00.000000000: cpu, mem>"


@pytest.fixture(scope="module")
def polars() -> None:
    """What polars keeps for the process, once it is used, is there before the test."""
    import polars as pl

    pl.DataFrame({"time": np.array([0], "datetime64[ns]")}).with_columns(pl.col("time").dt.replace_time_zone("UTC"))


@pytest.mark.usefixtures("polars")
def test_frames_of_polars(tmp_path: Path) -> None:
    """The time is a UTC column; missing values stay nan."""
    writer = StoreWriter(tmp_path, 10, 5)
    ring = writer.bind("x", ("a", "b"), None)
    ring.arena.append_to(ring.entry.slot, cells(2, 1, 2))
    frame = linemon.open(tmp_path)["x"].last(2).to_polars()
    assert frame.columns == ["time", "a", "b"]
    assert str(frame.schema["time"]) == "Datetime(time_unit='ns', time_zone='UTC')"
    assert frame["b"].to_list() == [1.0, 2.0]


def test_wait(tmp_path: Path) -> None:
    """It returns when rows or sources came, once for each change, and without any after the timeout."""
    store = linemon.open(tmp_path)
    store.wait(0)
    assert not store.wait(0.05)
    writer = StoreWriter(tmp_path, 10, 5)
    ring = writer.bind("x", ("a",), None)
    assert store.wait(5)
    assert not store.wait(0)
    child = os.fork()
    if not child:
        time.sleep(0.1)
        ring.arena.append_to(ring.entry.slot, cells(1, 0, 1))
        os._exit(0)
    assert store.wait(10)
    assert store["x"].rows == 1
    os.waitpid(child, 0)
    began = time.process_time()
    assert not store.wait(1.0)
    assert time.process_time() - began < 0.2


def test_windows_of_many_sources(tmp_path: Path, reads: Reads) -> None:
    """The same as one by one: rings of one file and of others, out of order, empty, and one that is overwritten."""
    writer = StoreWriter(tmp_path, 50, 50)
    rng = np.random.default_rng(3)
    for i in range(12):
        ring = writer.bind(f"s{i}", ("a", "b")[: 1 + i % 2], None)
        count = i * 11
        block = rng.random((count, ring.width + 1))
        block.view(np.int64)[:, 0] = np.sort(rng.integers(0, 1000, count)) if i % 3 else rng.integers(0, 1000, count)
        block[rng.random(block.shape) < 0.2] = np.nan
        block.view(np.int64)[:, 0] = np.clip(block.view(np.int64)[:, 0], 0, 1000) * 1000
        if count:
            ring.arena.append_to(ring.entry.slot, block.view(np.int64))
    store = reads(tmp_path)
    start, end = np.datetime64(100, "us"), np.datetime64(900, "us")
    many = store.window(store.sources(), start, end, 13)
    for name in store.sources():
        one, rows = store[name].window(start, end, 13), store[name].between(start, end)
        for got in (one, many[name]):
            assert np.nansum(got.count) == np.count_nonzero(~np.isnan(rows.values))
            for part in ("min", "max", "mean", "count"):
                assert np.array_equal(getattr(got, part), getattr(many[name], part), equal_nan=True)
            if len(rows):
                assert np.array_equal(np.nanmin(got.min, axis=0), np.nanmin(rows.values, axis=0))


def test_a_ring_that_is_not_what_it_says(tmp_path: Path) -> None:
    """A killed writer's head above what it had reserved cannot be: the source is lost, with a sentence."""
    writer = StoreWriter(tmp_path, 10, 5)
    ring = writer.bind("x", ("a",), None)
    ring.arena.append_to(ring.entry.slot, cells(1, 0, 5))
    ring.arena.cells[ring.entry.slot, COMMIT] = 2 * 100
    assert ring.arena.cells[ring.entry.slot, RESERVED] == 5
    abandon(writer)
    assert linemon.open(tmp_path)["x"].name == "x"
    again = StoreWriter(tmp_path, 10, 5)
    assert linemon.open(tmp_path).sources() == ()
    again.close()


def test_killed_twice_in_the_middle_of_long_batches(tmp_path: Path) -> None:
    """What an unfinished batch has left in the head part does not make a later collector take it for damaged."""
    writer = StoreWriter(tmp_path, 8, 5)
    ring = writer.bind("x", ("a",), None)
    ring.arena.append_to(ring.entry.slot, cells(1, 0, 5))
    ring.arena.cells[ring.entry.slot, RESERVED] = 5 + 40  # forty rows were announced, all late, and never published
    ring.arena.cells[ring.entry.slot, DISORDER] = 5 + 39
    for _ in range(3):
        abandon(writer)
        writer = StoreWriter(tmp_path, 8, 5)
    assert linemon.open(tmp_path)["x"].rows == 5
    ring = writer.rings["x"]
    ring.arena.append_to(ring.entry.slot, cells(1, 5, 3))
    assert numbers(linemon.open(tmp_path), "x") == [5.0, 6.0, 7.0]
    writer.close()
