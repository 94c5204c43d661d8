"""The tables of an archive: what they are, their partitions, and a view for each source.

Sources of any shape share the tables. A place in `v` never changes its meaning: a source's new columns are added at its
end, in `sources.columns`. A tier of history has a table of its own, `rows_60` for minutes, in which column i of the
source has the places 4 i + 1 to 4 i + 4: min, max, mean, count.

Rows are partitioned by day, tiers by month. Where the extension TimescaleDB is, the tables are hypertables.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from linemon.archive.link import ArchiveRefuses, Place, number, quoted
from linemon.sections import Span
from linemon.store import buckets
from linemon.store.ring import Cells

if TYPE_CHECKING:
    import psycopg

VERSION: Final = "1"
OURS: Final = {"meta", "sources", "cursors", "rows"}
MOST_COLUMNS: Final = 1599  # of a view, beside the time
AHEAD_NS: Final = 3 * 86400 * 10**9  # partitions are there so long before their rows

TABLES: Final = """
CREATE TABLE {s}.meta (key text PRIMARY KEY, value text NOT NULL);
CREATE TABLE {s}.sources (
    id int4 GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL UNIQUE,
    columns text[] NOT NULL, units text[] NOT NULL
);
CREATE TABLE {s}.cursors (
    reader text, source int4, born int8 NOT NULL, n int8 NOT NULL, PRIMARY KEY (reader, source)
) WITH (fillfactor = 50);
INSERT INTO {s}.meta VALUES ('version', '1')
"""
ROWS: Final = """
CREATE TABLE {table} (source int4 NOT NULL, time timestamptz NOT NULL, v float8[] NOT NULL) {how};
ALTER TABLE {table} ALTER COLUMN v SET STORAGE MAIN;
CREATE INDEX ON {table} (source, time)
"""
HYPERTABLE: Final = (
    "SELECT create_hypertable('{table}', 'time', chunk_time_interval => interval '{each}',"
    " create_default_indexes => false)"
)
COMPRESS: Final = """
ALTER TABLE {table} SET (
    timescaledb.compress, timescaledb.compress_segmentby = 'source', timescaledb.compress_orderby = 'time'
);
SELECT add_compression_policy('{table}', interval '7 days')
"""


class Table:
    """Rows (`step` 0), or the buckets of a tier of `step` seconds, of which is kept what is not older than `keep`."""

    def __init__(self, place: Place, step: int, keep: Span) -> None:
        self.schema, self.step, self.keep = quoted(place.schema), step, keep
        self.name = f"rows_{step}" if step else "rows"
        self.full = f"{self.schema}.{quoted(self.name)}"
        self.views = f"{place.schema}_{Span(step).text if step else 'views'}"
        self._unit = "M" if step else "D"
        self._place = place
        self._is_hypertable = self._has_policy = False
        self._parts: set[str] = set()  # those that there are

    def names_of(self, columns: tuple[str, ...]) -> tuple[str, ...]:
        """What is in the places of `v`, of a source of these columns."""
        return buckets.columns_of(columns, ("",) * len(columns))[0] if self.step else columns

    def columns_of(self, names: tuple[str, ...], units: tuple[str, ...]) -> dict[str, str]:
        """The columns of a source, with their units, of which these are in `v`."""
        if not self.step:
            return dict(zip(names, units, strict=True))
        bases = [name.rpartition(".")[0] for name in names]
        return dict.fromkeys(bases, "") | {base: unit for base, unit in zip(bases, units, strict=True) if unit}

    def begin_key(self, number: int) -> str:
        """Under which `meta` says from when on (ns) there are all rows of a source: earlier ones came late."""
        return f"begin {self.name} {number}"

    # -- at the start

    def make(self, connection: psycopg.Connection[Any]) -> None:
        """Have this table, and those beside it. ArchiveRefuses where there are others of their names."""
        with connection.transaction():
            self._lock(connection)
            self._make_schema(connection, self._place.schema)
            there = self._there(connection, self._place.schema)
            if "meta" in there:
                check_version(connection, self._place)
            elif there & OURS:
                raise ArchiveRefuses(
                    f"{self._place}: the schema {self.schema} has tables that are not linemon's: ?schema= names another"
                )
            else:
                run(connection, TABLES.format(s=self.schema))
            if self.name not in there:
                self._make_rows(connection)
            self._make_schema(connection, self.views)
        asked = "SELECT relkind = 'r' FROM pg_class WHERE oid = %s::regclass"
        self._is_hypertable = connection.execute(asked, (self.full,)).fetchone() == (True,)
        self._has_policy = False
        self._parts = self._attached(connection)

    def _make_schema(self, connection: psycopg.Connection[Any], schema: str) -> None:
        # IF NOT EXISTS would ask for the right to make one even where it is there.
        if not connection.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", (schema,)).fetchone():
            run(connection, f"CREATE SCHEMA {quoted(schema)}")

    def _make_rows(self, connection: psycopg.Connection[Any]) -> None:
        if not connection.execute("SELECT 1 FROM pg_extension WHERE extname = 'timescaledb'").fetchone():
            run(connection, ROWS.format(table=self.full, how="PARTITION BY RANGE (time)"))
            return
        run(connection, ROWS.format(table=self.full, how="WITH (toast_tuple_target = 8160)"))
        each = "30 days" if self.step else "1 day"
        run(connection, HYPERTABLE.format(table=self.full, each=each))
        with suppress(_not_licensed()), connection.transaction():
            run(connection, COMPRESS.format(table=self.full))

    # -- partitions

    def parts(self, times: Cells) -> npt.NDArray[np.datetime64]:
        """The days, or months, of these times (ns)."""
        return np.unique(times.view("datetime64[ns]").astype(f"datetime64[{self._unit}]"))

    def part(self, name: str) -> np.datetime64 | None:
        """Which day or month a partition of this name is for; None if it is none of ours."""
        digits = name.removeprefix(f"{self.name}_p")
        if digits == name or not digits.isdigit() or len(digits) != (6 if self.step else 8):
            return None
        return np.datetime64("-".join(filter(None, (digits[:4], digits[4:6], digits[6:]))))

    def have(self, connection: psycopg.Connection[Any], times: Cells) -> None:
        """Have the partitions of these times (ns)."""
        wanted = {self._part_name(part): part for part in self.parts(times)} if not self._is_hypertable else {}
        if wanted.keys() <= self._parts:
            return
        with connection.transaction():
            self._lock(connection)
            self._parts = self._attached(connection)  # another archiver may have made some
            for name in wanted.keys() - self._parts:
                part, begin = f"{self.schema}.{quoted(name)}", wanted[name]
                # To make it as a partition at once would wait for all that read, and have all wait for us.
                run(
                    connection,
                    f"CREATE TABLE IF NOT EXISTS {part} (LIKE {self.full} INCLUDING ALL)"
                    " WITH (toast_tuple_target = 8160)",
                    f"ALTER TABLE {self.full} ATTACH PARTITION {part}"
                    f" FOR VALUES FROM ('{_at(begin)}') TO ('{_at(begin + 1)}')",
                )
        self._parts |= wanted.keys()

    def drop_old(self, connection: psycopg.Connection[Any], now: int) -> None:
        """Drop what is older than `keep`; `now` in ns. Readers go on meanwhile; one that reads for long has it wait."""
        if self._is_hypertable:
            self._drop_chunks(connection)
            return
        before = np.datetime64(now - self.keep.ns, "ns")
        for name in sorted(self._there(connection, self._place.schema)):
            part = self.part(name)
            if part is None or (part + 1).astype("datetime64[ns]") > before:
                continue
            full, state = f"{self.schema}.{quoted(name)}", self._state(connection, name)
            if state is not None:
                how = "FINALIZE" if state else "CONCURRENTLY"  # it was broken off
                run(connection, f"ALTER TABLE {self.full} DETACH PARTITION {full} {how}")
            run(connection, f"DROP TABLE {full}")
            self._parts.discard(name)

    def _drop_chunks(self, connection: psycopg.Connection[Any]) -> None:
        if self._has_policy:
            return
        keep = f"interval '{round(self.keep)} seconds'"
        try:  # a policy of TimescaleDB's, anew: `keep` may be another
            with connection.transaction():
                run(
                    connection,
                    f"SELECT remove_retention_policy('{self.full}', if_exists => true)",
                    f"SELECT add_retention_policy('{self.full}', {keep})",
                )
            self._has_policy = True
        except _not_licensed():
            run(connection, f"SELECT drop_chunks('{self.full}', older_than => {keep})")

    def _part_name(self, part: np.datetime64) -> str:
        return f"{self.name}_p{str(part).replace('-', '')}"

    def _attached(self, connection: psycopg.Connection[Any]) -> set[str]:
        return {name for (name,) in connection.execute(PARTS, (self.full,))}

    def _state(self, connection: psycopg.Connection[Any], name: str) -> bool | None:
        """Whether a partition's detachment was begun; None where it is no partition any more."""
        asked = f"{PARTS.replace('relname', 'inhdetachpending')} AND relname = %s"
        row = connection.execute(asked.encode(), (self.full, name)).fetchone()
        return None if row is None else bool(row[0])

    def _there(self, connection: psycopg.Connection[Any], schema: str) -> set[str]:
        return {
            name
            for (name,) in connection.execute(
                "SELECT relname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace"
                " WHERE nspname = %s AND relkind IN ('r', 'p')",
                (schema,),
            )
        }

    def _lock(self, connection: psycopg.Connection[Any]) -> None:
        """One at a time changes tables; until the end of the transaction."""
        connection.execute("SELECT pg_advisory_xact_lock(%s, 0)", (number(f"linemon {self._place.schema}"),))

    # -- views

    def has_view(self, connection: psycopg.Connection[Any], source: str, names: tuple[str, ...]) -> bool:
        """Whether the view of a source is there, with as many columns as it should have."""
        asked = "SELECT count(*) FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0"
        view = f"{quoted(self.views)}.{quoted(source)}"
        return connection.execute(asked, (view,)).fetchone() == (1 + min(len(names), MOST_COLUMNS),)

    def view(self, connection: psycopg.Connection[Any], number: int, source: str, names: tuple[str, ...]) -> None:
        """Have the view of a source, as people and Grafana like it: a column under its name, missing values NULL."""
        shown = [f"NULLIF(v[{i}], 'NaN') AS {quoted(name or f'column {i}')}" for i, name in enumerate(names, 1)]
        run(
            connection,
            f"CREATE OR REPLACE VIEW {quoted(self.views)}.{quoted(source)} AS SELECT"
            f" {', '.join(['time', *shown[:MOST_COLUMNS]])} FROM {self.full} WHERE source = {number}",
        )


PARTS: Final = "SELECT relname FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid WHERE inhparent = %s::regclass"


def check_version(connection: psycopg.Connection[Any], place: Place) -> None:
    """ArchiveRefuses where another version of linemon made the tables."""
    asked = f"SELECT value FROM {quoted(place.schema)}.meta WHERE key = 'version'"
    version = connection.execute(asked.encode()).fetchone()
    if version != (VERSION,):
        raise ArchiveRefuses(f"{place}: the tables are of version {version and version[0]}, not {VERSION}")


def run(connection: psycopg.Connection[Any], *statements: str) -> None:
    """Statements without answers; several may stand in one text."""
    for statement in statements:
        connection.execute(statement.encode())


def _at(part: np.datetime64) -> str:
    return f"{part.astype('datetime64[D]')} 00:00:00+00"


def _not_licensed() -> type[Exception]:
    """What TimescaleDB says where its licence does not have something."""
    from psycopg.errors import FeatureNotSupported

    return FeatureNotSupported
