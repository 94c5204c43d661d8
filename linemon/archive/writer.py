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
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from linemon.archive import binary
from linemon.archive.link import ArchiveAway, ArchiveRefuses, Place, connect, number, psycopg_error, translated
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
SHOW_S, SHOW_AGAIN_S = 1.0, 60.0  # for views at a time; until one is tried again that could not be made


class CursorMoved(StoreError):
    """Another process has brought rows of this reader: ask again where to go on."""


class NameTaken(ArchiveRefuses):
    """Another store's process brings a source of this name."""


@dataclass(frozen=True)
class Batch:
    """Rows of one source: those with the numbers from `begin` to before `end`, of the life `born`.

    `time` int64 ns (n,), `values` float64 (n, k) with nan for what is missing. Of a tier, `columns` are those of its
    buckets (`store/buckets.py`). `late`: of a tier's rows that came late, which have numbers of their own.
    """

    source: str
    columns: tuple[str, ...]
    units: tuple[str, ...]
    born: int
    begin: int
    end: int
    time: Cells
    values: Floats
    late: bool = False


@dataclass
class _Known:
    """A source as the archive has it; `names` are the columns by their places in the table."""

    number: int
    columns: tuple[str, ...]
    names: tuple[str, ...]
    born: int
    n: int
    is_new: bool  # it had no cursor
    must_begin: bool  # it is to be noted from when on there are all rows


class ArchiveWriter:
    """The one writer of what a reader of a store brings: rows (`step` 0), or buckets of a tier of so many seconds.

    `reader` is ``STORE/NAME``. A source that another store brings, too, is refused while that one is there, unless
    `shared`. All methods may block; one thread at a time. Where one raises, the session has ended. ArchiveAway,
    ArchiveRefuses, StoreError.
    """

    def __init__(
        self, place: Place, reader: str, step: int, keep: Span, *, shared: bool = False, patience_s: float = 60
    ) -> None:
        """`patience_s`: how long the server may take for anything."""
        self._place, self._reader, self._shared = place, reader, shared
        self._settings = {"lock_timeout": WAIT_MS, "statement_timeout": round(patience_s * 1000)}
        self._table = Table(place, step, keep)
        self._schema = self._table.schema
        self._connection: psycopg.Connection[Any] | None = None
        self._known: dict[tuple[str, bool], _Known] = {}
        self._unshown: dict[str, tuple[float, _Known]] = {}  # whose view is not as it should be, and when to try
        self._drop_at = 0.0
        self._views_fail = Seldom()

    def close(self) -> None:
        """End the session, and with it the lock."""
        if self._connection:
            self._connection.close()
        self._connection, self._known, self._unshown = None, {}, {}

    def meet(self, empty: Batch) -> tuple[int, int] | None:
        """The life of a source, and the number of its next row, as they stand in the archive; None where it had none,
        and begins as this batch does. NameTaken.
        """
        with self._session() as connection:
            self._known.pop((empty.source, empty.late), None)
            known = self._know(connection, empty)
            return None if known.is_new else (known.born, known.n)

    def write(self, batches: Sequence[Batch]) -> list[int]:
        """Bring these rows; of a source several in order. Of each, how many were older than `keep`, or more than three
        days ahead of now: these are not archived.

        CursorMoved where the reader's cursors are not where they were: then nothing is written.
        """
        if not batches:
            return []
        with self._session() as connection:
            now = time.time_ns()
            known = [self._know(connection, batch) for batch in batches]
            within = [self._within(batch, now) for batch in batches]
            ahead = now + AHEAD_NS * np.arange(4) // 3
            self._table.have(connection, np.concatenate([ahead, *(times for times, _ in within)]))
            with connection.transaction(), connection.cursor() as cursor:
                moved = self._move(cursor, batches, known)
                with cursor.copy(f"COPY {self._table.full} FROM STDIN (FORMAT BINARY)".encode()) as copy:
                    copy.write(binary.HEADER)
                    for batch, source, (times, values) in zip(batches, known, within, strict=True):
                        copy.write(binary.encode(source.number, times, self._placed(batch, source, values)))
                    copy.write(binary.TRAILER)
            for source, born, n in moved:
                source.born, source.n, source.must_begin = born, n, False
            self._show(connection)
            return [len(batch.time) - len(times) for batch, (times, _) in zip(batches, within, strict=True)]

    def tend(self) -> None:
        """Drop what is older than `keep`, now and then, and make views; to be called every second or so."""
        if self._connection is None:
            return
        with self._session() as connection:
            self._show(connection)
            if time.monotonic() < self._drop_at:
                return
            self._drop_at = time.monotonic() + DROP_S
            try:
                self._table.drop_old(connection, time.time_ns())
            except psycopg_error() as error:
                log.warning("%s: old rows are not dropped yet: %s", self._place, self._place.cleaned(str(error)))

    @contextmanager
    def _session(self) -> Iterator[psycopg.Connection[Any]]:
        """The session, made where there is none, and closed where anything fails."""
        try:
            with translated(self._place):
                if self._connection is None:
                    self._connection = connect(self._place, **self._settings)
                    keys = number(self._place.schema), number(self._reader)
                    got = self._connection.execute("SELECT pg_try_advisory_lock(%s, %s)", keys).fetchone()
                    if got != (True,):
                        raise ArchiveAway(f"{self._place}: another process archives as {self._reader}")
                    self._table.make(self._connection)
                yield self._connection
        except NameTaken:  # others may be brought
            raise
        except BaseException:
            self.close()
            raise

    # -- sources

    def _reader_of(self, late: bool) -> str:
        return f"{self._reader}:late" if late else self._reader

    def _know(self, connection: psycopg.Connection[Any], batch: Batch) -> _Known:
        """The source as the archive has it, with all columns of this batch."""
        known = self._known.get((batch.source, batch.late))
        if known is None or not (batch.columns == known.names or set(batch.columns) <= set(known.names)):
            with connection.transaction():
                known = self._known[batch.source, batch.late] = self._register(connection, batch)
        return known

    def _register(self, connection: psycopg.Connection[Any], batch: Batch) -> _Known:
        s, name, reader = self._schema, batch.source, self._reader_of(batch.late)

        def ask(question: str, *values: object) -> Any:
            cursor = connection.execute(question.encode(), values)
            return cursor.fetchone() if cursor.description else cursor.rowcount

        added = "INSERT INTO {}.{} VALUES ({}) ON CONFLICT DO NOTHING"
        ask(added.format(s, "sources (name, columns, units)", "%s, '{}', '{}'"), name)
        id_, columns, units = ask(f"SELECT id, columns, units FROM {s}.sources WHERE name = %s FOR UPDATE", name)
        if not self._shared:
            self._check_others(connection, id_, name)
        told = dict(zip(columns, units, strict=True))
        for column, unit in self._table.columns_of(batch.columns, batch.units).items():
            told[column] = unit or told.get(column, "")
        if [*told] != columns or [*told.values()] != units:
            ask(f"UPDATE {s}.sources SET columns = %s, units = %s WHERE id = %s", [*told], [*told.values()], id_)
        is_new = ask(added.format(s, "cursors", "%s, %s, %s, %s"), reader, id_, batch.born, batch.begin) == 1
        born, n = ask(f"SELECT born, n FROM {s}.cursors WHERE reader = %s AND source = %s", reader, id_)
        has_begun = batch.late or ask(f"SELECT 1 FROM {s}.meta WHERE key = %s", self._table.begin_key(id_))
        known = _Known(id_, tuple(told), self._table.names_of(tuple(told)), born, n, is_new, not has_begun)
        if not self._table.has_view(connection, name, known.names):
            self._unshown[name] = 0.0, known
        return known

    def _check_others(self, connection: psycopg.Connection[Any], id_: int, name: str) -> None:
        """NameTaken where another store's process is there that brings this source."""
        store = self._reader.partition("/")[0] + "/"
        readers = f"SELECT reader FROM {self._schema}.cursors WHERE source = %s AND NOT starts_with(reader, %s)"
        others = [reader for (reader,) in connection.execute(readers.encode(), (id_, store))]
        keys = [number(reader.removesuffix(":late")) % 2**32 for reader in others]
        if keys and connection.execute(HELD, (number(self._place.schema) % 2**32, keys)).fetchone():
            raise NameTaken(f"another linemon archives {name!r}, too: rename one of them, or set shared = true")

    # -- rows

    def _within(self, batch: Batch, now: int) -> tuple[Cells, Floats]:
        """Times and values of those rows that are archived."""
        is_in = (batch.time >= now - self._table.keep.ns) & (batch.time <= now + AHEAD_NS)
        return (batch.time, batch.values) if is_in.all() else (batch.time[is_in], batch.values[is_in])

    def _placed(self, batch: Batch, source: _Known, values: Floats) -> Floats:
        """The values in the places that the archive has for their columns."""
        if batch.columns == source.names[: len(batch.columns)]:
            return values
        places = {name: place for place, name in enumerate(source.names)}
        placed = np.full((len(values), len(source.names)), np.nan)
        placed[:, [places[column] for column in batch.columns]] = values
        return placed

    def _move(
        self, cursor: psycopg.Cursor[Any], batches: Sequence[Batch], known: Sequence[_Known]
    ) -> list[tuple[_Known, int, int]]:
        """Move the cursors of these sources; CursorMoved where one is not where we believe it to be."""
        moves: dict[tuple[str, int], tuple[_Known, int, int]] = {}
        for batch, source in zip(batches, known, strict=True):
            key = self._reader_of(batch.late), source.number
            _, born, n = moves.get(key, (source, source.born, source.n))
            if born == batch.born and batch.begin < n:
                raise CursorMoved(f"{self._place}: {batch.source!r} is at row {n}, not at {batch.begin}")
            if source.must_begin and key not in moves and len(batch.time):
                begin = int(batch.time.min()) + (batch.begin > 0) * max(1000, self._table.step * 10**9)
                cursor.execute(
                    f"INSERT INTO {self._schema}.meta VALUES (%s, %s) ON CONFLICT DO NOTHING",
                    (self._table.begin_key(source.number), str(begin)),
                )
            moves[key] = source, batch.born, batch.end
        rows = [(*key, source.born, source.n, born, n) for key, (source, born, n) in moves.items()]
        cursor.execute(
            f"UPDATE {self._schema}.cursors c SET born = d.born, n = d.n"
            " FROM unnest(%s::text[], %s::int4[], %s::int8[], %s::int8[], %s::int8[], %s::int8[])"
            " AS d(reader, source, old_born, old_n, born, n)"
            " WHERE c.reader = d.reader AND c.source = d.source AND c.born = d.old_born AND c.n = d.old_n",
            [*map(list, zip(*rows, strict=True))],
        )
        if cursor.rowcount != len(rows):
            raise CursorMoved(f"{self._place}: another process archives as {self._reader}, too")
        return [*moves.values()]

    def _show(self, connection: psycopg.Connection[Any]) -> None:
        """Have views of sources that are new, or have new columns, as far as there is time; a failure stops nothing."""
        began = time.monotonic()
        for name, (due, source) in list(self._unshown.items()):
            if time.monotonic() - began > SHOW_S:
                break
            if due > began:
                continue
            try:
                self._table.view(connection, source.number, name, source.names)
                del self._unshown[name]
            except psycopg_error() as error:
                self._unshown[name] = began + SHOW_AGAIN_S, source
                if self._views_fail.due():
                    log.warning("%s: no view of %r: %s", self._place, name, self._place.cleaned(str(error)))


HELD: Final = (
    "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND classid = %s AND objid = ANY(%s) AND objsubid = 2"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)
