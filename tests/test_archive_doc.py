"""docs/ARCHIVE.md: its first example is pasted and run, and each of its queries as Grafana would."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest

import linemon
from linemon.archive.link import Place
from linemon.archive.writer import ArchiveWriter, Batch
from linemon.errors import StoreError
from linemon.sections import Span
from tests.postgres import Server
from tests.running import Running, Work, eventually

pytestmark = pytest.mark.slow

TEXT = (Path(__file__).parent.parent / "docs" / "ARCHIVE.md").read_text()
PART = re.compile(r"^### ([^\n]+)\n(.*?)(?=^##|\Z)", re.M | re.S)
QUERIES = {title: re.findall(r"```sql\n(.*?)```", text, re.S) for title, text in PART.findall(TEXT)}
HOUR = 3600
BUSY = "cpu.busy_pct"
MINUTES = tuple(f"{BUSY}.{part}" for part in ("min", "max", "mean", "count"))


def as_grafana(query: str, begin: float, end: float) -> str:
    """With its macros spelled out, as its documentation has them."""
    filled = query.replace("$__interval", "'300s'")
    filled = re.sub(r"\$__timeFilter\(([^)]*)\)", rf"\1 BETWEEN to_timestamp({begin}) AND to_timestamp({end})", filled)
    group = r"floor(extract(epoch from \1) / 300) * 300"
    filled = re.sub(r"\$__timeGroupAlias\(([^,]*), '300s'\)", rf'{group} AS "time"', filled)
    filled = re.sub(r"\$__timeGroup\(([^,]*), '300s'\)", group, filled)
    assert "$" not in filled
    return filled


@pytest.fixture(scope="module")
def asked(postgres: Server) -> Iterator[Any]:
    """Asks an archive: two hosts of an hour and one of a week before, with minutes; a meter that began anew."""
    url, now = postgres.database(), int(time.time()) // 300 * 300
    rows, minutes = (ArchiveWriter(Place.parse(url), f"S/{step}", step, Span.parse("90d")) for step in (0, 60))

    def batch(source: str, columns: tuple[str, ...], at: Any, values: Any) -> Batch:
        at = np.asarray(at, np.int64)
        return Batch(source, columns, ("%",) * len(columns), 1, 0, len(at), at * 10**9, np.asarray(values, np.float64))

    hour = now - HOUR + np.arange(HOUR)
    week = hour - 7 * 86400
    busy = np.arange(HOUR) / 36
    for name, share in (("web1", 1.0), ("web2", 0.5)):
        values = np.column_stack([np.tile(busy * share, 2), np.full(2 * HOUR, 2.0)])
        rows.write([batch(name, (BUSY, "load.1m"), np.append(week, hour), values)])
        parts = busy.reshape(60, 60) * share
        values = np.column_stack([parts.min(axis=1), parts.max(axis=1), parts.mean(axis=1), np.full(60, 60)])
        minutes.write([batch(name, MINUTES, hour[::60], values)])
    rows.write([batch("meter", ("energy",), hour[::60][:4], [[5.0], [65.0], [30.0], [90.0]])])
    with psycopg.connect(url) as connection:

        def more(name: str) -> None:
            rows.write([batch(name, ("x",), [now], [[1.0]])])

        def ask(title: str, number: int = 0) -> list[Any]:
            query = as_grafana(QUERIES[title][number], now - HOUR, now - 1)
            return connection.execute(query.encode()).fetchall()

        ask.url, ask.more = url, more  # type: ignore[attr-defined]
        yield ask
    rows.close()
    minutes.close()


def test_each_query_is_run(asked: Any) -> None:
    """None of them has to be thought of here, to be run."""
    assert len(QUERIES) >= 12
    for title, queries in QUERIES.items():
        for number in range(len(queries)):
            assert asked(title, number), title


def test_queries_say_what_is_there(asked: Any) -> None:
    over_time = asked("A column over time")
    assert [value for _, value in over_time] == (np.arange(HOUR) / 36).tolist()
    points = asked("As many points as the chart has room for")
    assert len(points) == 12
    assert points[0][1:] == pytest.approx((0, 299 / 72, 299 / 36))
    months = asked("Months, from minutes")
    assert [(low, mean, high) for _, low, high, mean in months] == [pytest.approx(row[1:]) for row in points]
    many = asked("One column of many sources")
    assert len(many) == 24
    assert {name for _, name, _ in many} == {"web1", "web2"}
    newest = {name: busy for name, _, busy in asked("The newest value of each")}
    assert newest == {"web1": pytest.approx(3599 / 36), "web2": pytest.approx(3599 / 72), "meter": None}
    assert [name for name, _ in asked("The ten highest")] == ["web1", "web2"]
    assert [rate for _, rate in asked("A rate of a counter")] == [None, 1.0, 0.5, 1.0]
    assert sum(p95 is not None for _, p95 in asked("A percentile of each day")) in (1, 2)
    against = asked("Against a week before")
    assert len(against) == 24
    assert sorted(now for _, now, _ in against if now is not None) == sorted(
        old for *_, old in against if old is not None
    )
    [(seconds,)] = asked("How long it was above a limit")
    assert float(seconds) == pytest.approx(1800, abs=2)
    silent = dict(asked("Who is silent"))
    assert silent["meter"] > silent["web1"]
    assert asked("Variables: sources, and columns of one") == [("meter",), ("web1",), ("web2",)]
    assert asked("Variables: sources, and columns of one", 1) == [(BUSY,), ("load.1m",)]


def test_who_may_read(asked: Any) -> None:
    """The rights that are shown are enough, also for sources to come; and for reading alone."""
    url = asked.url
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE ROLE grafana LOGIN")
        rights = re.findall(r"^    ((?:GRANT|ALTER DEFAULT).*;)$", TEXT, re.M)
        assert len(rights) == 3
        for right in rights:
            connection.execute(right.encode())
    asked.more("later")
    with psycopg.connect(url.replace("tester@", "grafana@"), autocommit=True) as connection:
        for view in ("linemon_views.web1", "linemon_views.later", "linemon_1m.web1", "linemon.rows"):
            assert connection.execute(f"SELECT count(*) > 0 FROM {view}".encode()).fetchall() == [(True,)]
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("DELETE FROM linemon.rows")


def test_the_first_example_as_it_stands(start_collector: Callable[..., Running], postgres: Server) -> None:
    """Database, user and section are pasted; rows that come are there."""
    blocks = re.findall(r"(?m)^(?:    .*\n|\n(?=    ))+", TEXT)
    made = next(block for block in blocks if "CREATE USER" in block).split(";")
    postgres.query("postgres", *(statement.strip() for statement in made if statement.strip()))
    settings = next(block for block in blocks if "[[forward]]" in block)
    settings = settings[settings.index("    [[forward]]") :]
    there = settings.replace("@db/", f"@127.0.0.1:{postgres.port}/").replace("//db/", f"//127.0.0.1:{postgres.port}/")
    running = start_collector("\n".join(line[4:] for line in there.replace("${ARCHIVE_PASSWORD}", "hush").splitlines()))
    checked = running.run("check")
    assert checked.returncode == 0, checked.stderr
    assert "hush" not in checked.stdout + checked.stderr
    work = Work(running.config).start()
    try:
        eventually((running.store_path / "forward.127.0.0.1.json").exists, "it has looked: what comes now is new")
        running.say("#source web1\n#columns cpu.busy_pct:%\n12.5\n")
        url = f"postgresql://linemon@127.0.0.1:{postgres.port}/plant"

        def found() -> list[float]:
            with suppress(StoreError), linemon.open(url) as archive:
                return list(archive["web1"].between()["cpu.busy_pct"])
            return []

        assert eventually(found, "the row") == [12.5]
    finally:
        work.stop()
