"""The archive in a real PostgreSQL: what is written, each row once, and what people find there."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

import linemon
from linemon.archive import binary
from linemon.archive.link import ArchiveAway, ArchiveRefuses, Place, quoted
from linemon.archive.writer import ArchiveWriter, Batch, CursorMoved, NameTaken
from linemon.errors import StoreError
from linemon.sections import Span
from tests.postgres import Server
from tests.running import eventually

pytestmark = pytest.mark.slow

SECOND, DAY = 10**9, 86400 * 10**9
COLUMNS = ("a", "b")


class Base:
    """A database, and who writes to it."""

    def __init__(self, server: Server) -> None:
        self.server, self.url = server, server.database()
        self.name = self.url.rpartition("/")[2]
        self.opened: list[ArchiveWriter | linemon.Archive] = []

    def writer(
        self, reader: str = "STORE/it", keep: str = "90d", step: int = 0, query: str = "", **more: Any
    ) -> ArchiveWriter:
        made = ArchiveWriter(Place.parse(self.url + query), reader, step, Span.parse(keep), **more)
        self.opened.append(made)
        return made

    def read(self) -> linemon.Archive:
        archive = linemon.open(self.url)
        assert isinstance(archive, linemon.Archive)
        self.opened.append(archive)
        return archive

    def query(self, *statements: str) -> list[tuple[Any, ...]]:
        return self.server.query(self.name, *statements)


@pytest.fixture
def base(postgres: Server) -> Iterator[Base]:
    made = Base(postgres)
    yield made
    for each in made.opened:
        each.close()


def rows(
    count: int, begin: int = 0, source: str = "s", columns: tuple[str, ...] = COLUMNS, at: int = 0, born: int = 1
) -> Batch:
    """Numbered rows, a second each, the last of which is of now, or of `at` (ns); their values tell their numbers."""
    times = (at or time.time_ns()) // 1000 * 1000 - (count - 1 - np.arange(count)) * SECOND
    values = begin + np.arange(count)[:, None] + np.arange(len(columns)) / 8
    units = ("V",) + ("",) * (len(columns) - 1)
    return Batch(source, columns, units, born, begin, begin + count, times, values)


# -- rows as they travel


@given(
    st.integers(0, 2**31 - 1),
    st.lists(st.integers(-(2**62), 2**62), max_size=20),
    st.lists(st.tuples(st.integers(1, 5), st.integers(0, 2**32)), min_size=1, max_size=5),
)
def test_rows_of_any_width_travel_there_and_back(source: int, times: list[int], widths: list[tuple[int, int]]) -> None:
    """Runs of rows of several widths, to the bit; times to the µs."""
    sent, data = [], b""
    for width, seed in widths:
        bits = np.random.default_rng(seed).integers(-(2**63), 2**63, (len(times), width), dtype=np.int64)
        sent.append(bits)
        data += bytes(binary.encode(source, np.array(times, np.int64), bits.view(np.float64)))
    found = [(at, values) for at, values in binary.decode(data + binary.TRAILER)]
    got = [value.view(np.int64).tolist() for _, values in found for value in values]
    assert got == [row.tolist() for bits in sent for row in bits]
    whole = [at // 1000 * 1000 for at in times]
    assert [int(at) for each, _ in found for at in each] == whole * len(widths)


def test_rows_are_those_that_the_server_makes(base: Base) -> None:
    """Byte by byte, of values that it was told as text."""
    rng = np.random.default_rng(1)
    values = rng.integers(-(2**63), 2**63, (200, 3), dtype=np.int64).view(np.float64)
    values[:3] = [[0.1, -0.0, 5e-324], [1.7976931348623157e308, np.nan, 2.0**53 + 2], [-1e-7, 1.0, -2.0]]
    values[~np.isfinite(values)] = np.nan
    values[np.isnan(values)] = np.nan  # of one kind
    times = np.sort(rng.integers(0, 2**62, 200))
    moments = (times // 1000).astype("datetime64[us]")
    told = ", ".join(
        f"(5, '{at}+00', '{{{','.join(map(repr, row))}}}')" for at, row in zip(moments, values.tolist(), strict=True)
    )
    base.query(
        "CREATE TABLE t (n serial, source int4, time timestamptz, v float8[])",
        f"INSERT INTO t (source, time, v) VALUES {told}",
    )
    asked = "COPY (SELECT source, time, v FROM t ORDER BY n) TO STDOUT (FORMAT BINARY)"
    with psycopg.connect(base.url) as connection, connection.cursor().copy(asked) as copy:
        made = b"".join(copy)
    assert binary.HEADER + bytes(binary.encode(5, times, values)) + binary.TRAILER == made


@given(st.binary(max_size=200))
def test_what_is_no_row_is_refused(data: bytes) -> None:
    """In a sentence, and it ends."""
    for broken in (data, bytes(binary.encode(1, np.zeros(2, np.int64), np.zeros((2, 2))))[:-1] + data):
        with suppress(StoreError):
            assert sum(len(times) for times, _ in binary.decode(broken)) <= 2


# -- what is written


def test_what_people_find(base: Base) -> None:
    """A view with each column under its name, missing values NULL; new columns at its end; names of any kind."""
    long = "ä" * 40
    names = ("s", 'q"uo te', "100%", "rows", long, "a/b;c=d")
    writer = base.writer()
    batches = [rows(3, source=name, columns=("cpu", "per%cent", 'q"', long, "")) for name in names]
    batches[0].values[1, 0] = np.nan
    assert writer.write(batches) == [0] * len(names)
    found = base.query('SELECT cpu, "per%cent", "q""", "column 5" FROM linemon_views.s ORDER BY time')
    assert found == [(0.0, 0.125, 0.25, 0.5), (None, 1.125, 1.25, 1.5), (2.0, 2.125, 2.25, 2.5)]
    for name in names:
        found = base.query(f"SELECT count(*), sum({quoted(long)}) FROM linemon_views.{quoted(name)}")
        assert found == [(3, 0.375 * 3 + 3)]
    assert len(quoted(long).encode()) <= 65
    writer.write([rows(2, 3, columns=("new", "cpu"))])
    assert base.query("SELECT * FROM linemon_views.s ORDER BY time")[-1][1:] == (4.125, None, None, None, None, 4.0)
    source = base.read()["s"]
    assert source.columns == ("cpu", "per%cent", 'q"', long, "", "new")
    assert source.units == ("V", "", "", "", "", "V")


def test_more_columns_than_a_view_may_have(base: Base) -> None:
    """All of them are kept, and read; a view has the first 1,599."""
    columns = tuple(f"c{i}" for i in range(2500))
    writer = base.writer()
    writer.write([rows(3, columns=columns)])
    assert base.query("SELECT count(*) FROM information_schema.columns WHERE table_name = 's'") == [(1600,)]
    assert base.read()["s"].between()["c2499"].tolist() == [0 + 2499 / 8, 1 + 2499 / 8, 2 + 2499 / 8]
    other = base.writer("STORE/other")
    assert other.meet(rows(0, columns=columns)) is None
    assert not other._unshown  # it is there already


def test_a_life_with_other_columns(base: Base) -> None:
    """They have places of their own: nothing that was is read under another name."""
    writer = base.writer()
    writer.write([rows(2, columns=("a", "b"), at=1_000 * SECOND + time.time_ns() - DAY)])
    assert writer.meet(rows(0, 0, columns=("b", "c"), born=2)) == (1, 2)
    writer.write([rows(2, columns=("b", "c"), born=2)])
    assert writer.meet(rows(0)) == (2, 2)
    found = base.read()["s"].between()
    assert found.columns == ("a", "b", "c")
    nan = np.nan
    wanted = [[0, 0.125, nan], [1, 1.125, nan], [nan, 0, 0.125], [nan, 1, 1.125]]
    assert np.array_equal(found.values, wanted, equal_nan=True)


def test_only_what_is_kept(base: Base) -> None:
    """Rows that are too old, or far ahead, are told of; late ones have a partition; old partitions go."""
    writer, now = base.writer(keep="10d"), time.time_ns()
    times = now - np.array([400, 11, 9, 0, -2, -4]) * DAY
    batch = Batch("s", ("a",), ("",), 1, 0, 6, times, np.arange(6.0)[:, None])
    assert writer.write([batch]) == [3]
    assert sorted(base.read()["s"].between().values[:, 0]) == [2, 3, 4]
    parts = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'linemon.rows'::regclass"
    assert base.query(parts) == [(5,)]
    writer.close()
    writer = base.writer(keep="2d")
    writer.write([rows(1, 6)])
    writer.tend()
    assert base.query(parts) == [(4,)]
    assert sorted(base.read()["s"].between().values[:, 0]) == [3, 4, 6]


def test_a_detachment_that_was_broken_off(base: Base) -> None:
    """By one who reads: it is done with the next look, and rows go on meanwhile."""
    writer = base.writer(keep="1000d")
    writer.write([rows(1, at=time.time_ns() - 30 * DAY), rows(1, source="t")])
    writer.close()
    writer = base.writer(keep="10d", patience_s=0.3)
    writer.write([rows(1, 1)])
    with psycopg.connect(base.url) as reader:
        reader.execute("SELECT count(*) FROM linemon.rows")
        writer.tend()
    assert base.query("SELECT count(*) FROM pg_inherits WHERE inhdetachpending") == [(1,)]
    writer.write([rows(1, 2)])
    writer._drop_at = 0.0
    writer.tend()
    assert base.query("SELECT count(*) FROM pg_class WHERE relname LIKE 'rows_p%' AND relkind = 'r'") == [(4,)]


def test_who_reads_for_long_stops_nobody(base: Base) -> None:
    """Nor a view that cannot be made, as somebody has one of other columns: rows are there without it."""
    writer = base.writer()
    writer.write([rows(1)])
    base.query("DROP VIEW linemon_views.s", "CREATE VIEW linemon_views.s AS SELECT 1 AS other")
    with psycopg.connect(base.url) as reader:
        reader.execute("SELECT * FROM linemon.rows, linemon_views.s")
        began = time.monotonic()
        writer.write([rows(1, 1, columns=("a", "b", "c")), rows(1, source="old", at=time.time_ns() - 30 * DAY)])
        assert time.monotonic() - began < 10
    assert len(base.read()["s"].between()) == 2
    assert len(base.read()["old"].between()) == 1


# -- each row once


def test_two_archivers_at_once(base: Base) -> None:
    """The second is kept away by the lock; where that is lost, as with a host that vanished, by the cursors."""
    one, two = base.writer(), base.writer()
    one.write([rows(3)])
    with pytest.raises(ArchiveAway, match="another process archives as STORE/it"):
        two.write([rows(3)])
    assert one._connection
    one._connection.execute("SELECT pg_advisory_unlock_all()")
    assert two.meet(rows(0)) == (1, 3)
    two.write([rows(2, 3)])
    with pytest.raises(CursorMoved):
        one.write([rows(4, 3), rows(1, source="other")])
    with pytest.raises(ArchiveAway):  # it has noticed
        one.write([rows(4, 5)])
    two.close()

    def where() -> object:
        with suppress(ArchiveAway):  # until the server sees that the session has ended
            return one.meet(rows(0))
        return None

    assert eventually(where, "its turn") == (1, 5)
    one.write([rows(4, 5)])
    assert sorted(base.read()["s"].between().values[:, 0]) == [*range(9)]
    with pytest.raises(StoreError):
        one.write([rows(4, 8)])


def test_two_stores_in_one_database(base: Base) -> None:
    """A source belongs to whoever brings it, while that one is there; others stand beside it."""
    one, two = base.writer("ONE/it"), base.writer("TWO/it")
    one.write([rows(3)])
    two.write([rows(3, source="mine")])
    with pytest.raises(NameTaken, match="another linemon archives 's', too"):
        two.meet(rows(0, 7))
    one.close()

    def is_free() -> bool:
        with suppress(NameTaken):  # the server takes a moment to see that a session has ended
            return two.meet(rows(0, 7)) is None
        return False

    eventually(is_free, "the name")
    assert two.meet(rows(0)) == (1, 7)
    shared = base.writer("ONE/it", shared=True)
    assert shared.meet(rows(0)) == (1, 3)


def test_many_begin_at_once(base: Base) -> None:
    """Tables, partitions and sources are made once."""
    failed: list[BaseException] = []

    def work(number: int) -> None:
        try:
            writer = base.writer(f"STORE{number}/it", shared=True)
            for i in range(5):
                writer.write(
                    [rows(2, 2 * i, source=f"s{number}"), rows(2, 2 * i, source="all", columns=(f"c{number}", "a"))]
                )
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    archive = base.read()
    assert len(archive) == 7
    assert set(archive["all"].columns) == {"a", *(f"c{i}" for i in range(6))}
    assert len(archive["all"].between()) == 60
    for i in range(6):
        assert np.nansum(archive["all"].between()[f"c{i}"]) == sum(range(10))


# -- what is wrong


def test_what_does_not_let_us_in(base: Base) -> None:
    """In a sentence that says what to do, without what is secret."""
    base.query("CREATE ROLE weak LOGIN PASSWORD 'hush'")
    weak = base.url.replace("tester@", "weak:hush@")
    with pytest.raises(ArchiveRefuses, match="GRANT CREATE ON DATABASE"):
        ArchiveWriter(Place.parse(weak), "S/it", 0, Span(1e6)).write([rows(1)])
    base.query("CREATE SCHEMA taken", "CREATE TABLE taken.rows (x int)")
    with pytest.raises(ArchiveRefuses, match="tables that are not linemon's"):
        base.writer(query="?schema=taken").write([rows(1)])
    latin = f"{base.name}_latin"
    base.server.query(
        "postgres", f"CREATE DATABASE {latin} ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
    )
    with pytest.raises(ArchiveRefuses, match="is LATIN1: expected UTF8"):
        linemon.open(base.server.url(latin)).sources()
    base.server.query("postgres", f"DROP DATABASE {latin}")
    with pytest.raises(StoreError, match="no archive yet"):
        linemon.open(base.url).sources()
    with pytest.raises(ArchiveRefuses, match="does not exist"):
        linemon.open(base.server.url("nowhere")).sources()
    base.writer().write([rows(1)])
    base.query("UPDATE linemon.meta SET value = '2' WHERE key = 'version'")
    with pytest.raises(ArchiveRefuses, match="of version 2, not 1"):
        base.read().sources()
    for wrong in ("postgresql://h/d?schema=Big", "postgresql://h/d?schema=a-b"):
        with pytest.raises(ValueError, match="schema="):
            linemon.open(wrong)
    with pytest.raises(ArchiveAway) as away:
        linemon.open("postgresql://me:hush%2Fhush@127.0.0.1:1/d").sources()
    assert "127.0.0.1:1/d" in str(away.value)
    assert "hush" not in str(away.value)


def test_only_a_live_store_knows_what_came(base: Base) -> None:
    """An archive says so."""
    base.writer().write([rows(1)])
    archive = base.read()
    asked: list[Callable[[], Any]] = [lambda: archive["s"].since(0), lambda: archive["s"].rows, lambda: archive.wait(1)]
    for ask in asked:
        with pytest.raises(NotImplementedError, match="an archive"):
            ask()


def test_a_server_that_is_started_anew(postgres: Server) -> None:
    """Who reads does not notice, if it is back by the next question; who writes asks again where to go on."""
    base = Base(postgres)
    try:
        writer, archive = base.writer(), base.read()
        writer.write([rows(3)])
        assert archive.sources() == ("s",)
        postgres.kill()
        with pytest.raises(ArchiveAway):
            writer.write([rows(3, 3)])
        with pytest.raises(ArchiveAway):
            archive.sources()
        postgres.start()
        assert archive.sources() == ("s",)
        postgres.kill()
        postgres.start()
        assert len(archive["s"].between()) == 3
        assert writer.meet(rows(0)) == (1, 3)
    finally:
        for each in base.opened:
            each.close()
