"""The archive's SQL in TimescaleDB, in its WebAssembly build: one session, which has no COPY."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest

from linemon import Archive
from linemon.archive.link import Place, connect
from linemon.archive.tables import Table
from linemon.archive.writer import ArchiveWriter
from linemon.sections import Span
from tests.running import DEADLINE_S
from tests.test_archive import rows

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
DAY = 86400 * 10**9


@contextmanager
def timescale(folder: Path, *licence: str) -> Iterator[Place]:
    node = shutil.which("node")
    if not node or not (ROOT / ".venv/node/node_modules").exists():
        pytest.skip("this system has no node, or no TimescaleDB for it: tests/tools.sh gets that by npm")
    command = [node, str(ROOT / "tests/timescale.mjs"), str(ROOT / ".venv/node"), str(folder), *licence]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        port = process.stdout.readline().strip()
        yield Place.parse(f"postgresql://postgres:postgres@127.0.0.1:{port}/postgres")
        process.stdin.close()
        process.wait(DEADLINE_S)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with timescale(tmp_path_factory.mktemp("timescale") / "data") as there:
        yield there


@pytest.fixture
def session(place: Place) -> Iterator[psycopg.Connection[Any]]:
    connection = connect(place)
    yield connection
    connection.close()


def chunks(session: psycopg.Connection[Any], table: str) -> list[bool]:
    """Of those of a table whether each is compressed, in the order of their times."""
    asked = "SELECT is_compressed FROM timescaledb_information.chunks WHERE hypertable_name = %s ORDER BY range_start"
    return [is_compressed for (is_compressed,) in session.execute(asked, (table,))]


def policies(session: psycopg.Connection[Any], table: str) -> dict[str, Any]:
    asked = "SELECT proc_name, config FROM timescaledb_information.jobs WHERE hypertable_name = %s"
    return dict(session.execute(asked, (table,)).fetchall())


def test_tables_are_hypertables(place: Place, session: psycopg.Connection[Any]) -> None:
    """With compression by source, and a retention that follows `keep`."""
    table, minutes = Table(place, 0, Span.parse("30d")), Table(place, 60, Span.parse("10y"))
    for each in (table, minutes, table):
        each.make(session)
        each.have(session, np.array([time.time_ns()]))
    found = session.execute("SELECT hypertable_name FROM timescaledb_information.hypertables").fetchall()
    assert sorted(found) == [("rows",), ("rows_60",)]
    assert policies(session, "rows")["policy_compression"]["compress_after"] == "7 days"
    table.drop_old(session, time.time_ns())
    assert policies(session, "rows")["policy_retention"]["drop_after"] == "720:00:00"
    shorter = Table(place, 0, Span.parse("2d"))
    shorter.make(session)
    shorter.drop_old(session, time.time_ns())
    assert policies(session, "rows")["policy_retention"]["drop_after"] == "48:00:00"
    settings = "SELECT segmentby, orderby FROM timescaledb_information.hypertable_compression_settings"
    assert ("source", '"time"') in {(by, order.removesuffix(" DESC")) for by, order in session.execute(settings)}


def test_rows_and_what_people_find(place: Place, session: psycopg.Connection[Any]) -> None:
    """Sources, cursors, views; rows of many days, compressed or not; what is older than `keep` goes."""
    writer, table = ArchiveWriter(place, "S/it", 0, Span.parse("30d")), Table(place, 0, Span.parse("5d"))
    assert writer.meet(rows(0)) is None
    [(number,)] = session.execute("SELECT id FROM linemon.sources").fetchall()
    table.make(session)
    now = time.time_ns()
    for day in range(10):
        values = "{" + f"{day}, NaN" + "}"
        moment = str(np.datetime64(now - day * DAY, "ns").astype("datetime64[us]"))
        session.execute("INSERT INTO linemon.rows VALUES (%s, %s::timestamptz, %s)", (number, moment, values))
    table.view(session, number, "s", ("a", "b"))
    assert session.execute("SELECT sum(a), count(b) FROM linemon_views.s").fetchall() == [(45.0, 0)]
    days = len(chunks(session, "rows"))
    assert days in (10, 11)
    session.execute(
        "SELECT compress_chunk(c, true) FROM show_chunks('linemon.rows', older_than => interval '7 days') c"
    )
    assert any(chunks(session, "rows"))
    assert session.execute("SELECT sum(a), count(b) FROM linemon_views.s").fetchall() == [(45.0, 0)]
    with Archive(f"{place.url}") as archive:
        source = archive["s"]
        assert source.columns == ("a", "b")
        assert source.newest
        assert source.oldest
        assert (source.newest - source.oldest) == np.timedelta64(9, "D")
    table.drop_old(session, now)
    jobs = "SELECT job_id FROM timescaledb_information.jobs WHERE proc_name = 'policy_retention'"
    [(job,)] = session.execute(jobs + " AND hypertable_name = 'rows'").fetchall()
    session.execute(f"CALL run_job({job})".encode())
    assert len(chunks(session, "rows")) in (6, 7)


def test_without_its_licence(tmp_path: Path) -> None:
    """Of Apache's edition: no policies, no compression; old chunks are dropped by us."""
    with timescale(tmp_path / "data", "apache") as place, connect(place) as session:
        table = Table(place, 0, Span.parse("5d"))
        table.make(session)
        for day in range(10):
            session.execute("INSERT INTO linemon.rows VALUES (1, now() - %s * interval '1 day', '{1}')", (day,))
        assert len(chunks(session, "rows")) in (10, 11)
        table.drop_old(session, time.time_ns())
        assert len(chunks(session, "rows")) in (6, 7)
        assert not policies(session, "rows")
