"""Forwards to an archive in a real PostgreSQL."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psycopg
import pytest

import linemon
from linemon.errors import StoreError
from tests import archive_kills
from tests.forked import run
from tests.forwards import SECRET, Conformance, Near, Row, rows_of
from tests.postgres import Server, server
from tests.running import Running, Work, eventually

pytestmark = pytest.mark.slow


class TestPostgresql(Conformance):
    exactly_once = True
    secrets = (SECRET,)

    server: Server

    @pytest.fixture(scope="class", autouse=True)
    @staticmethod
    def far() -> Iterator[None]:
        """A server of these tests' own, as they kill it."""
        with server() as TestPostgresql.server:
            yield

    def open(self) -> None:
        if self.server.process.poll() is not None:
            self.server.start()
        if not hasattr(self, "url"):
            self.url = self.server.database()

    def close(self) -> None:
        self.server.kill()

    def forward(self) -> str:
        return (
            f'[[forward]]\nname = "it"\nto = "{self.url}"\nuser = "tester"\npassword = "{SECRET}"\nkeep = "90y"\n'
            'since = "start"\nevery = 0.05\n'
        )

    def read(self, source: str) -> list[Row]:
        """In the order of their times, which is all that an archive keeps, and of values."""
        try:
            with linemon.open(self.url) as archive:
                rows = archive[source].between()
        except StoreError:
            return []
        found = [
            (at, {c: v for c, v in zip(rows.columns, values, strict=True) if v == v})
            for at, values in zip(rows.time.view("int64").tolist(), rows.values.tolist(), strict=True)
        ]
        return self.expected(found)

    def expected(self, rows: list[Row]) -> list[Row]:
        return sorted(rows, key=lambda row: (row[0], *row[1].values()))


def test_killed_with_its_process_the_collector_and_the_server(tmp_path: Path, postgres: Server) -> None:
    """`kill -9` at random moments; `python -m tests.archive_kills` does it more often."""
    outcome = archive_kills.run(tmp_path / "run", postgres, 3, seed=5)
    assert outcome.is_right, outcome
    assert outcome.rows > 1000


def test_rows_and_buckets_of_one_store(start_collector: Callable[..., Running], postgres: Server) -> None:
    """They have tables of their own, under one name; late ones are parts; a window takes what fits."""
    url = postgres.database()
    tiers = "".join(f'[[history.tier]]\nstep = "{step}"\nkeep = "1d"\n' for step in ("1s", "5s"))
    forward = '[[forward]]\nname = "{0}"\nto = "{1}"\nsince = "start"\nevery = 0.05\ntier = "{2}"\n'
    forwards = [forward.format(*each) for each in (("rows", url, ""), ("ones", url, "1s"), ("fives", url, "5s"))]
    running = start_collector(f"[history]\nevery = 0.05\n{tiers}[alarms]\nenabled = false\n{''.join(forwards)}")
    assert running.run("check").returncode == 0, running.run("check").stderr
    begin = (int(time.time()) - 7200) // 60 * 60
    lines = [f"{begin + i / 4} {i} nan\n" for i in range(2400)]
    running.say("#source s\n#columns time a b\n" + "".join(lines))
    work = Work(running.config).start()
    late = f"SELECT (SELECT sum(v[4]) FROM linemon.{{}} WHERE time = to_timestamp({begin + 30}))"

    def held() -> list[object]:
        """Rows, and how many are in a bucket of each tier."""
        try:
            [[found]] = postgres.query(url.rpartition("/")[2], "SELECT count(*) FROM linemon.rows")
            sums = [postgres.query(url.rpartition("/")[2], late.format(table))[0][0] for table in ("rows_1", "rows_5")]
        except psycopg.errors.UndefinedTable:
            return []
        return [found, *sums]

    try:
        eventually(lambda: held() == [2400, 4, 20], "the rows, and buckets of them")
        running.say(f"#source s\n#columns time a b\n{begin + 30} -1 5\n")
        eventually(lambda: held() == [2401, 5, 21], "late parts")
        with linemon.open(url) as archive:
            s, start = archive["s"], np.datetime64(begin, "s")
            for points, step in ((60, 10_000), (120, 5_000), (600, 1_000), (1200, 500)):
                found = s.window(start, start + 600, points)
                assert set(found.step.astype("timedelta64[ms]").astype(int)) == {step}
                assert found.count.sum(axis=0).tolist() == [2401, 1]
                assert [float(np.nanmin(found.min[:, 0])), float(found.max[-1, 0])] == [-1, 2399]
            assert s.columns == ("a", "b")
        view = 'SELECT max("b.max"), count("b.mean") FROM linemon_5s.s'
        assert postgres.query(url.rpartition("/")[2], view) == [(5.0, 1)]
    finally:
        work.stop()


def test_an_archive_that_was_set_back(tmp_path: Path, postgres: Server) -> None:
    """As from a backup: what the ring still holds comes again. One that lost its newest rows sends its next ones."""
    url = postgres.database()
    near = Near(
        tmp_path / "near", f'[[forward]]\nname = "it"\nto = "{url}"\nsince = "start"\nevery = 0.05\nkeep = "90y"\n'
    )

    def values() -> list[float]:
        try:
            with linemon.open(url) as archive:
                return sorted(archive["s"].between()["a"])
        except StoreError:
            return []

    def ask(*statements: str) -> None:
        near.kill()
        postgres.query(url.rpartition("/")[2], *statements)
        near.start()

    try:
        near.start()
        near.add("s", rows_of(20))
        eventually(lambda: values() == [*range(20)] or None, "the rows")
        ask("DELETE FROM linemon.rows WHERE v[1] >= 12", "UPDATE linemon.cursors SET n = 12")
        eventually(lambda: values() == [*range(20)] or None, "those that were gone")
        ask("DROP SCHEMA linemon CASCADE")
        eventually(lambda: values() == [*range(20)] or None, "all of them")
        ask("UPDATE linemon.cursors SET n = 1000")
        near.add("s", rows_of(5, 20))
        eventually(lambda: set(range(25)) <= {*values()} or None, "the next ones")
    finally:
        near.close()


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ('to = "postgresql://h/d?schema=A"', "schema="),
        ('to = "postgresql://me:hush-hush@h/d"\nkeep = "0"', "keep = '0': expected a span such as '90d'"),
        ('to = "postgresql://h/d"\nkeep = "300y"', "of 200y at most"),
        ('to = "postgresql://h/d"\ntier = "7s"', "expected one that \\[history\\] has"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, keys: str, said: str) -> None:
    """By `linemon check`, with the forward's name; a password is not."""
    config = tmp_path / "linemon.toml"
    config.write_text(f'[store]\npath = "{tmp_path}/store"\n[[forward]]\nname = "it"\n{keys}\n')
    checked = run(["check", "--config", str(config)])
    assert checked.returncode == 2
    assert re.search(said, checked.stderr), checked.stderr
    assert "'it'" in checked.stderr
    assert "hush" not in checked.stderr


def test_what_is_perhaps_not_meant(tmp_path: Path) -> None:
    """A server elsewhere that does not prove who it is. Rows and buckets of one store may go to one database."""
    forward = '[[forward]]\nname = "{}"\nto = "postgresql://db/plant{}"\ntier = "{}"\n'
    forwards = forward.format("rows", "", ""), forward.format("minutes", "?sslmode=verify-full", "1m")
    config = tmp_path / "linemon.toml"
    config.write_text(f'[store]\npath = "{tmp_path}/store"\n{"".join(forwards)}')
    checked = run(["check", "--config", str(config)])
    assert checked.returncode == 0, checked.stderr
    assert checked.stderr.count("sslmode=verify-full") == 1
    assert "rows: rows of * to postgresql://db/plant as {source}" in checked.stdout
    assert "minutes: buckets of 1m of * to postgresql://db/plant as {source}" in checked.stdout
