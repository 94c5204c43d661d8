"""Rings against a plain list of rows, with readers in the same and in other processes."""

from __future__ import annotations

import multiprocessing
import multiprocessing.resource_tracker
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import linemon
from linemon.errors import LineError, StoreError, UnknownSource
from linemon.store.arena import ArenaWriter
from linemon.store.reader import Store
from linemon.store.ring import Cells
from linemon.store.writer import Ring, StoreWriter
from tests.archives import Reads
from tests.examples import examples
from tests.running import eventually, forget

SECOND, US = 10**9, 1000


def cells(times: list[int], *columns: list[float]) -> Cells:
    block = np.empty((len(times), 1 + len(columns)))
    block[:, 1:] = np.array(columns).T
    block.view(np.int64)[:, 0] = times
    return block.view(np.int64)


def append(ring: Ring, times: list[int], *columns: list[float]) -> None:
    ring.arena.append_to(ring.entry.slot, cells(times, *columns))


@pytest.fixture
def writer(tmp_path: Path) -> StoreWriter:
    return StoreWriter(tmp_path / "store", points=100, max_sources=20)


@pytest.fixture
def store(writer: StoreWriter) -> Store:
    return linemon.open(writer.folder)


blocks = st.lists(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 50), st.floats(allow_nan=False)), max_size=25), max_size=8
)


@settings(max_examples=examples(200), deadline=None)
@given(blocks, st.integers(1, 12))
@pytest.mark.slow
def test_any_appends_give_what_a_list_gives(
    tmp_path_factory: pytest.TempPathFactory, sent: list[list[tuple[int, int, float]]], points: int
) -> None:
    """Blocks of any size to three sources in any order, larger than the ring too: the newest rows, in order."""
    writer = StoreWriter(tmp_path_factory.mktemp("ring"), points, 10)
    store = linemon.open(writer.folder)
    rings = [writer.bind(name, ("a", "b"), None) for name in "xyz"]
    arena = rings[0].arena
    model: list[list[tuple[int, float]]] = [[], [], []]
    cursors = [0, 0, 0]
    for block in sent:
        if not block:
            continue
        slots = np.array([rings[which].entry.slot for which, _, _ in block])
        values = [value for _, _, value in block]
        arena.append(slots, cells([at for _, at, _ in block], values, values))
        for which, at, value in block:
            model[which].append((at, value))
        for which, name in enumerate("xyz"):
            came = store[name].since(cursors[which])
            held = model[which][-points:]
            fresh = model[which][cursors[which] :][-points:]
            assert came.time.view(np.int64).tolist() == [at for at, _ in fresh]
            assert came.values[:, 1].tolist() == [value for _, value in fresh]
            assert came.missed == len(model[which]) - cursors[which] - len(fresh)
            cursors[which] = came.cursor
            in_time = sorted(held, key=lambda row: row[0])
            for n in (1, 3, points):
                last = store[name].last(n)
                assert list(zip(last.time.view(np.int64).tolist(), last.values[:, 0], strict=True)) == in_time[-n:]
            assert store[name].oldest == (np.datetime64(in_time[0][0], "ns") if in_time else None)
            between = store[name].between(np.datetime64(10, "ns"), np.datetime64(40, "ns"))
            assert between.values[:, 0].tolist() == [value for at, value in in_time if 10 <= at < 40]
    writer.close()


@settings(max_examples=examples(100), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.integers(0, 1000), st.one_of(st.floats(-1e6, 1e6), st.just(float("nan")))), max_size=40),
    st.integers(0, 900),
    st.integers(1, 300),
    st.integers(1, 40),
)
def test_window_is_what_a_loop_says(
    tmp_path_factory: pytest.TempPathFactory,
    reads: Reads,
    rows: list[tuple[int, float]],
    start: int,
    length: int,
    points: int,
) -> None:
    """Buckets of equal length with min, max, mean and count of what is not missing; empty ones are there too."""
    writer = StoreWriter(tmp_path_factory.mktemp("window"), 50, 10)
    ring = writer.bind("x", ("a",), None)
    if rows:
        append(ring, [at * US for at, _ in rows], [value for _, value in rows])
    store = reads(writer.folder)
    window = store["x"].window(np.datetime64(start, "us"), np.datetime64(start + length, "us"), points)
    assert 1 <= len(window.time) <= points
    assert window.cursor == (len(rows) if isinstance(store, Store) else 0)
    starts, begin, end = window.time.view(np.int64).tolist(), start * US, (start + length) * US
    step = -(-(end - begin) // points)
    assert starts == list(range(begin, end, step))
    for i, first in enumerate(starts):
        last = min(first + step, end)
        held = [value for at, value in rows if first <= at * US < last and value == value]
        assert window.count[i, 0] == len(held)
        if held:
            assert window.min[i, 0] == min(held)
            assert window.max[i, 0] == max(held)
            assert window.mean[i, 0] == pytest.approx(sum(held) / len(held), abs=1e-6)
        else:
            assert np.isnan([window.min[i, 0], window.max[i, 0], window.mean[i, 0]]).all()
    writer.close()


def test_spans_of_rows(writer: StoreWriter, reads: Reads) -> None:
    """Rows out of order, missing values, numbers at the ends of what a double holds: exactly, in time order."""
    values = [0.1, -0.0, 5e-324, 1.7976931348623157e308, 2.0**53 + 2, float("nan"), -1.5]
    times = [5, 1, 7, 3, 3, 9, 1_700_000_000_000_000]
    ring = writer.bind("x", ("a", "b"), ("V", ""))
    append(ring, [at * US for at in times], values, list(range(7)))
    writer.bind("none", ("a",), None)
    store = reads(writer.folder)
    assert tuple(store) == ("x", "none")
    x = store["x"]
    assert (x.columns, x.units) == (("a", "b"), ("V", ""))
    assert (x.oldest, x.newest) == (np.datetime64(1, "us"), np.datetime64(1_700_000_000_000_000, "us"))
    order = np.argsort(times, kind="stable")
    for start, end in ((0, 10**18), (3, 7), (9, 10**18), (0, 1)):
        some = [i for i in order if start <= times[i] < end]
        rows = x.between(
            np.datetime64(start, "us") if start else None, np.datetime64(end, "us") if end < 10**18 else None
        )
        assert rows.time.view(np.int64).tolist() == [times[i] * US for i in some]
        same = sorted(rows.values[:, 0].view(np.int64).tolist())  # the order of equal times is the ring's alone
        assert same == sorted(np.array(values)[some].view(np.int64).tolist())
    for n in (1, 2, 99):
        assert x.last(n).time.view(np.int64).tolist() == [at * US for at in sorted(times)[-n:]]
    assert len(x.last(0)) == 0
    none = store["none"]
    assert (none.oldest, none.newest, len(none.between()), len(none.last(3))) == (None, None, 0, 0)
    assert none.window("2024-01-01", "2024-01-02", 3).count.tolist() == [[0]] * 3
    with pytest.raises(UnknownSource, match=r"no source 'y' in .*there are: none, x"):
        store["y"]


def test_columns_added_at_the_end_keep_the_rows(writer: StoreWriter, store: Store) -> None:
    """A source that grows keeps its rows, its count and its cursors; an open reader sees the new columns."""
    ring = writer.bind("web1", ("a", "b"), ("V", ""))
    append(ring, [1, 2, 3], [1.0, 2.0, 3.0], [4.0, 5.0, 6.0])
    web1 = store["web1"]
    cursor = web1.since(0).cursor
    assert writer.bind("web1", ("a", "b", "c"), ("", "A", "%")) is ring
    append(ring, [4], [7.0], [8.0], [9.0])
    assert web1.columns == ("a", "b", "c")
    assert web1.units == ("V", "A", "%")
    assert web1.rows == 4
    assert web1.since(cursor).values.tolist() == [[7.0, 8.0, 9.0]]
    assert np.array_equal(web1.last(2).values, [[3.0, 6.0, np.nan], [7.0, 8.0, 9.0]], equal_nan=True)


def test_named_columns_stay_where_they_are_and_unnamed_rows_that_do_not_fit_are_refused(writer: StoreWriter) -> None:
    """A source keeps its columns in their order, and gets others at its end; the error says how many there are."""
    writer.bind("web1", ("a", "b"), ("", "V"))
    assert writer.bind("web1", ("a",), ("",)).width == 2
    assert writer.bind("web1", ("c1", "c2"), None).width == 2
    entry = writer.bind("web1", ("b", "a"), ("", "m")).entry
    assert (entry.columns, entry.units) == (("a", "b"), ("m", "V"))
    writer.bind("web2", ("x",), ("",))
    entry = writer.bind("web2", ("y", "x", "z"), ("Y", "X", "")).entry
    assert (entry.columns, entry.units) == (("x", "y", "z"), ("X", "Y", ""))
    with pytest.raises(LineError, match=r"2 columns, the row has 3"):
        writer.bind("web1", ("c1", "c2", "c3"), None)


def test_a_source_that_grows_leaves_no_files_behind(writer: StoreWriter, store: Store) -> None:
    """Column by column up to max_columns, one file at a time; a reader follows."""
    writer.max_columns = 50
    names = tuple(f"c{i}" for i in range(51))
    for width in range(1, 51):
        append(writer.bind("x", names[:width], ("",) * width), [width], *[[float(width)]] * width)
        assert store["x"].last(1).values.tolist() == [[float(width)] * width]
    with pytest.raises(LineError, match="max_columns = 50"):
        writer.bind("x", names, ("",) * 51)
    assert [path.name for path in writer.folder.glob("*.ring")] == ["50x100.v2.ring"]


def test_a_forgotten_source_is_nobody_elses(writer: StoreWriter, store: Store) -> None:
    """Its place goes to another source; readers and writers that remember it do not find that one's rows."""
    ring = writer.bind("old", ("value",), None)
    append(ring, [1], [1.0])
    reader = store["old"]
    forget(writer, 0.0, 10.0)
    append(writer.bind("busy", ("value",), None), [1], [2.0])
    forget(writer, 9.0, 10.0)
    append(writer.bind("busy", ("value",), None), [2], [3.0])
    forget(writer, 15.0, 10.0)
    assert ring.is_gone
    assert store.sources() == ("busy",)
    append(writer.bind("new", ("value",), None), [3], [4.0])
    with pytest.raises(UnknownSource):
        reader.last(1)
    assert store["new"].since(0).values.tolist() == [[4.0]]


def test_many_sources_forgotten_at_once(tmp_path: Path) -> None:
    """A farewell that makes the catalog anew does not bring back the source that it is for."""
    writer = StoreWriter(tmp_path, 10, 1000)
    for i in range(600):
        writer.bind(f"m{i}", ("value",), None)
    store = linemon.open(tmp_path)
    forget(writer, 0.0, 4.0)
    append(writer.bind("busy", ("value",), None), [1], [1.0])
    while not writer.forget_silent(4.0, 4.0):  # it takes no longer than others may wait
        assert "busy" in store
    assert store.sources() == ("busy",)
    assert linemon.open(tmp_path).sources() == ("busy",)
    writer.close()


def test_max_sources(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One source more than allowed is refused, with a warning before it comes so far; known ones go on."""
    writer = StoreWriter(tmp_path, 10, max_sources=20)
    for i in range(20):
        writer.bind(f"s{i}", ("value",), None)
    assert [record.getMessage() for record in caplog.records] == ["17 of max_sources = 20 sources in use"]
    with pytest.raises(LineError) as caught:
        writer.bind("s20", ("value",), None)
    assert caught.value.reason == "max_sources"
    assert writer.bind("s7", ("value",), None).entry.source == "s7"


def test_a_store_is_taken_up_again(tmp_path: Path) -> None:
    """A new writer goes on where the last one ended, also after half a catalog line; other lengths keep the newest."""
    first = StoreWriter(tmp_path, points=10, max_sources=5)
    append(first.bind("x", ("a",), None), list(range(8)), [float(i) for i in range(8)])
    store = linemon.open(tmp_path)
    x, cursor = store["x"], store["x"].since(0).cursor
    first.close()
    with open(tmp_path / "catalog", "ab") as file:
        file.write(b'{"source": "half')
    for points, held in ((10, 8), (4, 4), (6, 4)):
        again = StoreWriter(tmp_path, points, max_sources=5)
        assert x.points == points
        assert x.rows == 8
        assert x.since(0).values[:, 0].tolist() == [float(i) for i in range(8 - held, 8)]
        again.close()
    last = StoreWriter(tmp_path, points=6, max_sources=5)
    append(last.rings["x"], [8, 9, 10], [8.0, 9.0, 10.0])
    assert x.since(cursor).values[:, 0].tolist() == [8.0, 9.0, 10.0]
    assert x.last(99).values[:, 0].tolist() == [5.0, 6.0, 7.0, 8.0, 9.0, 10.0]
    assert [path.name for path in tmp_path.glob("*.ring")] == ["1x6.v2.ring"]


def test_one_writer_only(writer: StoreWriter) -> None:
    """A second collector is told who has the store; when the first is gone, its lock is too."""
    with pytest.raises(StoreError, match="another collector"):
        StoreWriter(writer.folder, 100, 20)
    writer.close()
    StoreWriter(writer.folder, 100, 20).close()


def test_a_damaged_file_costs_its_own_sources(tmp_path: Path) -> None:
    """What is not a ring file is moved aside; the other sources are there."""
    writer = StoreWriter(tmp_path, 10, 5)
    append(writer.bind("x", ("a",), None), [1], [1.0])
    append(writer.bind("y", ("a", "b"), None), [1], [2.0], [3.0])
    writer.close()
    (tmp_path / "1x10.v2.ring").write_bytes(b"nonsense" * 1000)
    again = StoreWriter(tmp_path, 10, 5)
    store = linemon.open(tmp_path)
    assert store.sources() == ("y",)
    assert store["y"].last(1).values.tolist() == [[2.0, 3.0]]
    assert (tmp_path / "1x10.v2.bad").exists()
    append(again.bind("x", ("a",), None), [2], [4.0])
    assert store["x"].rows == 1


def test_reader_before_the_writer(tmp_path: Path) -> None:
    """A store may be opened before there is one."""
    store = linemon.open(tmp_path / "later")
    assert store.sources() == ()
    with pytest.raises(UnknownSource, match="none yet"):
        store["web1"]
    writer = StoreWriter(tmp_path / "later", 10, 5)
    writer.bind("web1", ("a",), None)
    assert store.sources() == ("web1",)
    with pytest.raises(KeyError, match=r"no source 'web2' .* there are: web1"):
        store["web2"]
    assert store["web1"].newest is None
    assert store["web1"].oldest is None
    assert len(store["web1"].last(5)) == 0


def test_frames_and_dicts(writer: StoreWriter, reads: Reads) -> None:
    """Rows become a DataFrame with a UTC index, or plain arrays by name."""
    append(writer.bind("x", ("a", "b"), None), [SECOND, 2 * SECOND], [1.0, 2.0], [3.0, float("nan")])
    rows = reads(writer.folder)["x"].last(2)
    frame = rows.to_pandas()
    assert list(frame.columns) == ["a", "b"]
    assert str(frame.index.tz) == "UTC"
    assert [stamp.isoformat() for stamp in frame.index] == ["1970-01-01T00:00:01+00:00", "1970-01-01T00:00:02+00:00"]
    assert list(rows.to_dict()) == ["time", "a", "b"]
    assert rows.to_dict()["a"].tolist() == [1.0, 2.0]


def test_the_store_belongs_to_its_user(writer: StoreWriter) -> None:
    """Nobody else may read the folder or its files."""
    writer.bind("x", ("a",), None)
    assert writer.folder.stat().st_mode & 0o777 == 0o700
    assert {path.name: oct(path.stat().st_mode & 0o777) for path in writer.folder.iterdir()} == {
        "lock": "0o600",
        "catalog": "0o600",
        "1x100.v2.ring": "0o600",
    }


def _read_until(path: Path, rows: int, report: multiprocessing.Queue[tuple[int, int, str]]) -> None:
    """A reader process: every row carries its number in all its cells, so a torn one shows."""
    source, cursor, seen, missed = linemon.open(path)["x"], 0, 0, 0
    while cursor < rows:
        got = source.since(cursor)
        numbers: npt.NDArray[np.int64] = got.time.view(np.int64)
        expected = np.arange(cursor + got.missed, got.cursor)
        if not (np.array_equal(numbers, expected) and (got.values == expected[:, None]).all()):
            report.put((seen, missed, f"torn or out of order after row {cursor}"))
            return
        cursor, seen, missed = got.cursor, seen + len(got), missed + got.missed
    report.put((seen, missed, ""))


@pytest.fixture(scope="module", autouse=True)
def resource_tracker() -> None:
    """It outlives the test that first needs it, and each process has one of its own."""
    multiprocessing.resource_tracker.ensure_running()


@pytest.mark.slow
def test_two_readers_while_writing(tmp_path: Path) -> None:
    """Two processes read a ring that wraps thousands of times: every row whole, in order, or counted as missed."""
    writer = StoreWriter(tmp_path, points=50, max_sources=5)
    ring = writer.bind("x", tuple("abcdefgh"), None)
    total = 400_000
    context = multiprocessing.get_context("spawn")
    report: multiprocessing.Queue[tuple[int, int, str]] = context.Queue()
    readers = [context.Process(target=_read_until, args=(tmp_path, total, report)) for _ in range(2)]
    for reader in readers:
        reader.start()
    rng = np.random.default_rng(1)
    done = 0
    deadline = time.monotonic() + 60
    while done < total and time.monotonic() < deadline:
        count = min(int(rng.integers(1, 80)), total - done)
        numbers = [float(i) for i in range(done, done + count)]
        append(ring, list(range(done, done + count)), *[numbers] * 8)
        done += count
    found = [report.get(timeout=60) for _ in readers]
    report.close()
    for reader in readers:
        reader.join(10)
        reader.close()
    assert [text for _, _, text in found] == ["", ""]
    assert [seen + missed for seen, missed, _ in found] == [total, total]
    assert all(seen > 0 for seen, _, _ in found)


def _write_quickly(path: Path) -> None:
    """A thousand rows each two milliseconds, whose times are their numbers, until killed."""
    writer = StoreWriter(path, points=3600, max_sources=5)
    ring, numbers = writer.bind("x", ("a",), None), np.arange(1000)
    while True:
        ring.arena.append_to(ring.entry.slot, cells(numbers.tolist(), numbers.astype(float).tolist()))
        numbers += 1000
        time.sleep(0.002)


@pytest.mark.slow
def test_spans_of_a_ring_that_is_quickly_overwritten(tmp_path: Path) -> None:
    """Windows and `between` show every row that was held throughout, and none from before the start."""
    process = multiprocessing.get_context("fork").Process(target=_write_quickly, args=(tmp_path,))
    process.start()
    try:
        store = linemon.open(tmp_path)
        eventually(lambda: "x" in store and store["x"].rows > 4000, "a full ring")
        source, seen = store["x"], 0
        _, arena, slot = store._ring("x")
        while seen < 2000:
            start = source.rows - 2100
            span = np.datetime64(start, "ns"), np.datetime64(start + 100, "ns")
            if seen % 3:
                count = source.window(*span, 10).count.sum()
            elif seen % 2:
                count = len(source.between(*span))
            else:
                times = source.between(span[0]).time.view(np.int64)
                count = np.count_nonzero(times < start + 100)
                assert not len(times) or times[0] >= start
            assert count == 100 or arena.oldest(slot) > start, f"{count} rows from {start} on"
            seen += 1
    finally:
        process.kill()
        process.join()


def test_changed_units_are_told_at_a_bounded_rate(
    writer: StoreWriter, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The first change at once, those of the next minute with the first after it, and counted."""
    for unit in ("V", "mV", "V", "mV"):
        writer.bind("a", ("x",), (unit,))
    assert caplog.messages == ["source 'a': units changed from V to mV"]
    later = time.monotonic() + 61
    monkeypatch.setattr("linemon.logs.time.monotonic", lambda: later)
    writer.bind("a", ("x",), ("V",))
    assert caplog.messages[1:] == ["source 'a': units changed from mV to V (3 changes since the last such line)"]


def test_rows_of_more_rings_than_two_bytes_count(tmp_path: Path) -> None:
    """Rows of rings far apart in one file, in any order: each ring has its own, in the order in which they came."""
    arena = ArenaWriter.create(tmp_path / "1x20.ring", 1, 20)
    arena.grow(300)
    assert arena.slots > 1 << 16
    slots = [0, 7, 65_535, 65_536, 65_543, arena.slots - 1]
    for number, slot in enumerate(slots, 1):
        arena.take(slot, number, number)
    drawn = np.random.default_rng(3).choice(slots, 60)
    arena.append(drawn, cells(list(range(60)), list(range(60))))
    for slot in slots:
        _, rows = arena.read(slot, 0)
        assert rows[:, 0].tolist() == np.flatnonzero(drawn == slot)[-20:].tolist()
    assert not any(arena.head(slot) for slot in range(8, 65_535))


@pytest.mark.slow
def test_a_file_grows_by_a_part_of_what_it_has(tmp_path: Path) -> None:
    """Of many sources a file that has some is not mapped anew for every few of them."""
    writer = StoreWriter(tmp_path / "store", points=60, max_sources=20_000)
    mapped, sizes = ArenaWriter.remap, list[int]()

    def remap(arena: ArenaWriter) -> None:
        mapped(arena)
        sizes.append(arena.slots)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ArenaWriter, "remap", remap)
        rings = [writer.bind(f"s{i}", ("a",), None) for i in range(5000)]
    assert len({(ring.entry.file, ring.entry.slot) for ring in rings}) == 5000
    assert sizes[-1] >= 5000
    assert len(sizes) < 40
    writer.close()
