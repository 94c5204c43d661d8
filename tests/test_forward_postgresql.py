"""Forwards to an archive in a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import linemon
from linemon.errors import StoreError
from tests import archive_kills
from tests.forwards import SECRET, Conformance, Row
from tests.postgres import Server, server

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
