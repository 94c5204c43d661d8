"""Rows into an archive, each exactly once.

How far a reader of a store has come with each source stands in `cursors`, and moves in the transaction that brings the
rows. It moves by comparing: where it is not where we believe it to be, another process was there, and nothing is
written. So it holds also where the lock, which is to keep the others away, is lost with a connection that nobody
noticed. A connection on which anything fails is closed; the next `write` reads the cursors again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from linemon.archive import binary
from linemon.archive.link import ArchiveRefuses, Place, connect, number, psycopg_error, translated
from linemon.archive.tables import AHEAD_NS, Table
from linemon.errors import StoreError
from linemon.logs import Seldom
from linemon.sections import Span
from linemon.store.ring import Cells, Floats

if TYPE_CHECKING:
    import psycopg

log = logging.getLogger(__name__)

DROP_S: Final = 600.0  # from one look at what is older than `keep` to the next
WAIT_MS: Final = 2000  # for a lock: who reads for long must not have all others wait behind us
DROP_WAIT_MS: Final = 10_000
SHOW_AGAIN_S: Final = 60.0


class CursorMoved(StoreError):
    """Another process has brought rows of this reader: read the cursors again."""


@dataclass(frozen=True)
class Batch:
    """Rows of one source: those with the numbers from `begin` to before `end`, of the life `born`.

    `time` int64 ns (n,), `values` float64 (n, k) with nan for what is missing. In a tier's, `columns` are those of the
    source, and `values` (n, 4 k) has min, max, mean and count of each.
    """

    source: str
    columns: tuple[str, ...]
    units: tuple[str, ...]
    born: int
    begin: int
    end: int
    time: Cells
    values: Floats


@dataclass
class _Known:
    """A source as the archive has it."""

    number: int
    columns: tuple[str, ...]
    born: int
    n: int
    show_at: float = 0.0  # when to have its view next, by the monotonic clock


class ArchiveWriter:
    """The one writer of what a reader of a store brings: rows (`step` 0), or buckets of a tier of so many seconds.

    `reader` is ``STORE/NAME``. A source that another store brings, too, is refused while that one is there, unless
    `shared`. All methods may block; one thread at a time.
    """

    def __init__(self, place: Place, reader: str, step: int, keep: Span, *, shared: bool = False) -> None:
        self._place, self._reader, self._shared = place, reader, shared
        self._table = Table(place, step, keep)
        self._schema = self._table.schema
        self._connection: psycopg.Connection[Any] | None = None
        self._known: dict[str, _Known] = {}
        self._drop_at = 0.0
        self._views_fail = Seldom()
        self.outside = 0  # rows older than `keep`, or too far ahead of now: these are not archived

    def close(self) -> None:
        """End the session, and with it the lock."""
        if self._connection:
            self._connection.close()
        self._connection, self._known = None, {}

    def cursors(self, sources: Sequence[str]) -> dict[str, tuple[int, int]]:
        """Of those sources of which there are rows: the life (`born`), and the number of the next row to bring."""
        with self._session() as connection:
            found = connection.execute(
                f"SELECT name, born, n FROM {self._schema}.cursors JOIN {self._schema}.sources ON id = source"
                " WHERE reader = %s AND name = ANY(%s)",
                (self._reader, list(sources)),
            )
            return {name: (born, n) for name, born, n in found}

    def write(self, batches: Sequence[Batch]) -> int:
        """Bring these rows, no source twice; returns how many there are now in the archive.

        CursorMoved where they do not begin where the reader's cursor stands, and nothing is written; ArchiveAway,
        ArchiveRefuses, StoreError.
        """
        with self._session() as connection:
            now = time.time_ns()
            known = [self._know(connection, batch) for batch in batches]
            within = [self._within(batch, now) for batch in batches]
            wanted = [now + AHEAD_NS * np.arange(4) // 3, *(times for times, _ in within)]
            self._table.have(connection, np.concatenate(wanted))
            with connection.transaction(), connection.cursor() as cursor:
                self._move(cursor, batches, known)
                with cursor.copy(f"COPY {self._table.full} FROM STDIN (FORMAT BINARY)".encode()) as copy:
                    copy.write(binary.HEADER)
                    for batch, source, (times, values) in zip(batches, known, within, strict=True):
                        placed = self._placed(batch, source, values)
                        copy.write(binary.encode(source.number, times, placed))
                    copy.write(binary.TRAILER)
            for batch, source in zip(batches, known, strict=True):
                source.born, source.n = batch.born, batch.end
            self._show(connection, batches, known)
            stored = sum(len(times) for times, _ in within)
            self.outside += sum(len(batch.time) for batch in batches) - stored
            if time.monotonic() >= self._drop_at:
                self._drop_at = time.monotonic() + DROP_S
                self._drop(connection, now)
            return stored

    # -- the session

    @contextmanager
    def _session(self) -> Iterator[psycopg.Connection[Any]]:
        """The session, made where there is none, and closed where anything fails."""
        try:
            with translated(self._place):
                if self._connection is None:
                    self._connection = connect(self._place, lock_timeout=WAIT_MS)
                    keys = number(self._place.schema), number(self._reader)
                    got = self._connection.execute("SELECT pg_try_advisory_lock(%s, %s)", keys).fetchone()
                    if got != (True,):
                        raise ArchiveRefuses(f"{self._place}: another process archives as {self._reader}")
                    self._table.make(self._connection)
                yield self._connection
        except BaseException:
            self.close()
            raise

    # -- sources

    def _know(self, connection: psycopg.Connection[Any], batch: Batch) -> _Known:
        """The source as the archive has it, with all columns of this batch."""
        known = self._known.get(batch.source)
        if known is None or not set(batch.columns) <= set(known.columns):
            with connection.transaction():
                known = self._known[batch.source] = self._register(connection, batch)
        is_on = known.born == batch.born
        if is_on and batch.begin < known.n:
            raise CursorMoved(f"{self._place}: {batch.source!r} is at row {known.n}, not at {batch.begin}")
        return known

    def _register(self, connection: psycopg.Connection[Any], batch: Batch) -> _Known:
        s, name = self._schema, batch.source
        made = f"INSERT INTO {s}.sources (name, columns, units) VALUES (%s, '{{}}', '{{}}') ON CONFLICT DO NOTHING"
        connection.execute(made, (name,))
        asked = f"SELECT id, columns, units FROM {s}.sources WHERE name = %s FOR UPDATE"
        row = connection.execute(asked, (name,)).fetchone()
        assert row is not None
        id_, columns, units = row
        if not self._shared:
            self._check_others(connection, id_, name)
        told = dict(zip(columns, units, strict=True))
        for column, unit in zip(batch.columns, batch.units, strict=True):
            told[column] = unit or told.get(column, "")
        if [*told] != columns or [*told.values()] != units:
            connection.execute(
                f"UPDATE {s}.sources SET columns = %s, units = %s WHERE id = %s", ([*told], [*told.values()], id_)
            )
        mine = self._reader, id_
        connection.execute(
            f"INSERT INTO {s}.cursors VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING", (*mine, batch.born, batch.begin)
        )
        at = connection.execute(f"SELECT born, n FROM {s}.cursors WHERE reader = %s AND source = %s", mine).fetchone()
        assert at is not None
        return _Known(id_, tuple(told), *at)

    def _check_others(self, connection: psycopg.Connection[Any], id_: int, name: str) -> None:
        """ArchiveRefuses where another store's process is there that brings this source."""
        ours = self._reader.partition("/")[0]
        for (reader,) in connection.execute(f"SELECT reader FROM {self._schema}.cursors WHERE source = %s", (id_,)):
            keys = [each % 2**32 for each in (number(self._place.schema), number(reader))]
            if reader.partition("/")[0] != ours and connection.execute(HELD, keys).fetchone():
                raise ArchiveRefuses(
                    f"{self._place}: another linemon archives {name!r}, too: rename one of them, or set shared = true"
                )

    # -- rows

    def _within(self, batch: Batch, now: int) -> tuple[Cells, Floats]:
        """Times and values of those rows that are archived."""
        is_in = (batch.time >= now - self._table.keep.ns) & (batch.time <= now + AHEAD_NS)
        return (batch.time, batch.values) if is_in.all() else (batch.time[is_in], batch.values[is_in])

    def _placed(self, batch: Batch, source: _Known, values: Floats) -> Floats:
        """The values in the places that the archive has for their columns."""
        if batch.columns == source.columns[: len(batch.columns)]:
            return values
        each = 4 if self._table.step else 1
        places = np.array([source.columns.index(column) for column in batch.columns])
        at = (places[:, None] * each + np.arange(each)).ravel()
        placed = np.full((len(values), each * len(source.columns)), np.nan)
        placed[:, at] = values
        return placed

    def _move(self, cursor: psycopg.Cursor[Any], batches: Sequence[Batch], known: Sequence[_Known]) -> None:
        """Move the cursors of these sources; CursorMoved where one is not where we believe it to be."""
        moves = [(k.number, k.born, k.n, batch.born, batch.end) for batch, k in zip(batches, known, strict=True)]
        cursor.execute(
            f"UPDATE {self._schema}.cursors c SET born = d.born, n = d.n"
            " FROM unnest(%s::int4[], %s::int8[], %s::int8[], %s::int8[], %s::int8[])"
            " AS d(source, old_born, old_n, born, n)"
            " WHERE c.reader = %s AND c.source = d.source AND c.born = d.old_born AND c.n = d.old_n",
            (*map(list, zip(*moves, strict=True)), self._reader),
        )
        if cursor.rowcount != len(batches):
            raise CursorMoved(f"{self._place}: another process archives as {self._reader}, too")

    # -- what is done beside

    def _show(self, connection: psycopg.Connection[Any], batches: Sequence[Batch], known: Sequence[_Known]) -> None:
        """Have views of sources that are new, or have new columns. One that cannot be made stops nothing."""
        now = time.monotonic()
        for batch, source in zip(batches, known, strict=True):
            if source.show_at > now:
                continue
            try:
                self._table.view(connection, source.number, batch.source, source.columns)
                source.show_at = inf
            except psycopg_error() as error:
                source.show_at = now + SHOW_AGAIN_S
                if self._views_fail.due():
                    log.warning("%s: no view of %r: %s", self._place, batch.source, self._place.cleaned(str(error)))
                break  # it may have waited; the others are tried with the next rows

    def _drop(self, connection: psycopg.Connection[Any], now: int) -> None:
        try:
            connection.execute(f"SET statement_timeout = {DROP_WAIT_MS}".encode())
            self._table.drop_old(connection, now)
        except psycopg_error() as error:
            log.warning("%s: old rows are not dropped: %s", self._place, self._place.cleaned(str(error)))
        connection.execute("RESET statement_timeout")


HELD: Final = (
    "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND classid = %s AND objid = %s AND objsubid = 2"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)
