"""An archive for whoever reads: the same questions as to a store, and the same answers.

What only a live store knows it does not have: what came since a cursor, and waiting for it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

import numpy as np

from linemon.archive import binary
from linemon.archive.link import ArchiveAway, Place, connect, quoted, translated
from linemon.archive.tables import check_version
from linemon.errors import StoreError, UnknownSource
from linemon.store import buckets, window
from linemon.store.catalog import Entry
from linemon.store.merge import Piece, Sums, View
from linemon.store.ring import Cells
from linemon.store.rollup import NO_LIMIT
from linemon.store.rows import Rows, TimeLike, Window, as_ns, known, span_of

if TYPE_CHECKING:
    import psycopg

BLOCK_BYTES: Final = 1 << 23  # of rows that are reduced together
SECOND: Final = 10**9


class Archive:
    """All sources of an archive. It connects when it is first asked, and again after the connection broke.

    Several threads may read from one; one waits for the other. ArchiveAway where it cannot be reached.
    """

    def __init__(self, url: str, *, patience_s: float = 0) -> None:
        """ValueError where it is no address. `patience_s`: for an answer of the server; 0: as it is set there."""
        self.place = Place.parse(url)
        self._schema = quoted(self.place.schema)
        self._settings = {"statement_timeout": round(patience_s * 1000)} if patience_s else {}
        self._connection: psycopg.Connection[Any] | None = None
        self._lock = threading.RLock()

    def close(self) -> None:
        """End the session; used after that, it begins another."""
        with self._lock:
            if self._connection:
                self._connection.close()
            self._connection = None

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def sources(self) -> tuple[str, ...]:
        """The names of all sources, in the order in which they came."""
        return tuple(name for (name,) in self._ask(f"SELECT name FROM {self._schema}.sources ORDER BY id"))

    def __getitem__(self, name: str) -> ArchivedSource:
        self._entry(name)
        return ArchivedSource(self, name)

    def __contains__(self, name: object) -> bool:
        return bool(self._ask(f"SELECT 1 FROM {self._schema}.sources WHERE name = %s", name))

    def __iter__(self) -> Iterator[str]:
        return iter(self.sources())

    def __len__(self) -> int:
        return len(self.sources())

    def _ipython_key_completions_(self) -> list[str]:
        return list(self.sources())

    def __repr__(self) -> str:
        return f"<linemon archive at {self.place}>"

    def window(self, sources: Iterable[str], start: TimeLike, end: TimeLike, points: int = 1200) -> dict[str, Window]:
        """[start, end) of each source in at most `points` buckets."""
        return {name: self[name].window(start, end, points) for name in sources}

    def wait(self, timeout: float | None = None) -> NoReturn:
        raise NotImplementedError("an archive does not say when rows come: ask the store that they come to")

    # -- questions to the server

    @contextmanager
    def _session(self) -> Iterator[psycopg.Connection[Any]]:
        with self._lock:
            try:
                if self._connection is None:
                    self._connection = connect(self.place, **self._settings)
                    self._check(self._connection)
                with translated(self.place):
                    yield self._connection
            except BaseException:
                self.close()
                raise

    def _check(self, connection: psycopg.Connection[Any]) -> None:
        with translated(self.place):
            meta = connection.execute("SELECT to_regclass(%s)::text", (f"{self._schema}.meta",)).fetchone()
            if meta == (None,):
                raise StoreError(f"{self.place}: there is no archive yet: a [[forward]] to it makes one")
            check_version(connection, self.place)

    def _ask(self, question: str, *values: object) -> list[tuple[Any, ...]]:
        for attempt in (1, 2):
            try:
                with self._session() as connection:
                    return connection.execute(question.encode(), values or None).fetchall()
            except ArchiveAway:  # it may have been started anew since we last asked
                if attempt == 2:
                    raise
        raise AssertionError

    def _blocks(self, question: str, width: int) -> Iterator[Cells]:
        """The rows that a SELECT gives, as cells (n, 1 + width), in blocks."""
        asked = f"COPY ({question}) TO STDOUT (FORMAT BINARY)".encode()
        with self._session() as connection, connection.cursor() as cursor, cursor.copy(asked) as copy:
            parts, size, skip = [], 0, len(binary.HEADER)
            for part in copy:
                parts.append(part)
                size += len(part)
                if size > BLOCK_BYTES:
                    yield from _cells(b"".join(parts)[skip:], width)
                    parts, size, skip = [], 0, 0
            yield from _cells(b"".join(parts)[skip:], width)

    def _entry(self, name: str) -> Entry:
        found = self._ask(f"SELECT id, columns, units FROM {self._schema}.sources WHERE name = %s", name)
        if not found:
            raise UnknownSource(f"no source {name!r} in {self.place}{known(name, self.sources())}")
        [(id_, columns, units)] = found
        return Entry(name, id_, "", 0, tuple(columns), tuple(units), 0)

    def _tables(self) -> dict[int, str]:
        """Those that there are, by their steps in seconds, 0 for rows: the finest first."""
        found = self._ask(
            "SELECT relname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace"
            " WHERE nspname = %s AND relkind IN ('r', 'p') AND NOT relispartition AND relname ~ '^rows(_[0-9]+)?$'",
            self.place.schema,
        )
        return dict(sorted((int(name[5:] or 0), f"{self._schema}.{name}") for (name,) in found))

    def _held(self, entry: Entry) -> list[_Held]:
        """What each table has of this source; without those that have nothing."""
        tables = self._tables()
        us = "(extract(epoch FROM time) * 1000000)::int8"
        edge = f"(SELECT {us} FROM %s WHERE source = {entry.id} ORDER BY time%s LIMIT 1)"
        asked = ", ".join(edge % (table, order) for table in tables.values() for order in ("", " DESC"))
        [ends] = self._ask(f"SELECT {asked}")
        begins = dict(self._ask(f"SELECT key, value FROM {self._schema}.meta WHERE key LIKE %s", f"begin % {entry.id}"))
        found = []
        for (step, table), first, last in zip(tables.items(), ends[::2], ends[1::2], strict=True):
            if first is not None:
                key = f"begin {table.partition('.')[2]} {entry.id}"
                found.append(_Held(step, table, max(1000 * first, int(begins.get(key, 0))), 1000 * first, 1000 * last))
        return found


class _Held(NamedTuple):
    """What a table has of a source. Times in ns: from `begin` on all rows, from `first` on some, to `last`."""

    step: int  # s
    table: str
    begin: int
    first: int
    last: int


class ArchivedSource:
    """One named stream of rows, as far as they were archived."""

    def __init__(self, archive: Archive, name: str) -> None:
        self._archive, self.name = archive, name

    @property
    def columns(self) -> tuple[str, ...]:
        return self._archive._entry(self.name).columns

    @property
    def units(self) -> tuple[str, ...]:
        """One text per column, empty where none was given."""
        return self._archive._entry(self.name).units

    @property
    def oldest(self) -> np.datetime64 | None:
        """The earliest time that is held, of rows or of buckets; None where there is none."""
        held = self._archive._held(self._archive._entry(self.name))
        return np.datetime64(min(each.first for each in held), "ns") if held else None

    @property
    def newest(self) -> np.datetime64 | None:
        """The latest time of a row; None where there is none."""
        held = self._archive._held(self._archive._entry(self.name))
        return next((np.datetime64(each.last, "ns") for each in held if not each.step), None)

    def last(self, n: int) -> Rows:
        """The newest `n` rows by their times, in time order."""
        return self._rows(
            lambda table, id_: f"SELECT * FROM ({_select(table, id_)} DESC LIMIT {max(0, n)}) t ORDER BY time"
        )

    def between(self, start: TimeLike | None = None, end: TimeLike | None = None) -> Rows:
        """The rows of [start, end) in time order; None leaves a side open. Times are whole µs."""
        begin, stop = (None if side is None else as_ns(side) for side in (start, end))
        return self._rows(lambda table, number: _select(table, number, begin, stop))

    def window(self, start: TimeLike, end: TimeLike, points: int = 1200) -> Window:
        """[start, end) in at most `points` buckets, of rows and tiers; equal ones where rows are held for all."""
        begin, stop = (each // 1000 * 1000 for each in span_of(start, end, points))
        view = _TablesView(self._archive, self._archive._entry(self.name))
        return view.window_of(begin, max(stop, begin + 1000), points)

    def since(self, cursor: int, born: int | None = None, most: int | None = None) -> NoReturn:
        raise NotImplementedError(
            "an archive does not keep the order in which rows came: ask for times, with between()"
        )

    @property
    def rows(self) -> NoReturn:
        raise NotImplementedError("an archive does not count rows: ask the store that they come to")

    def __repr__(self) -> str:
        return f"<archived source {self.name!r} at {self._archive.place}>"

    def _rows(self, question: Callable[[str, int], str]) -> Rows:
        entry = self._archive._entry(self.name)
        table = self._archive._tables().get(0)
        asked = [question(table, entry.id)] if table else []  # there may be tiers alone
        blocks = [block for each in asked for block in self._archive._blocks(each, len(entry.columns))]
        return Rows.of(entry, np.vstack([np.empty((0, 1 + len(entry.columns)), np.int64), *blocks]), 0)


class _TablesView(View):
    """The tables of an archive that have a source, as levels."""

    def __init__(self, archive: Archive, entry: Entry) -> None:
        self._archive, self._entry, self._held = archive, entry, archive._held(entry)
        if not self._held or self._held[0].step:
            self._held.insert(0, _Held(0, "", NO_LIMIT, NO_LIMIT, NO_LIMIT))
        levels: list[tuple[int, int, int]] = []
        for step, _, begin, _, last in self._held:
            # A tier's newest bucket may be open yet: where something finer has this time, that is asked for it.
            is_finer = any(from_ <= last <= to for _, from_, to in levels)
            levels.append((step * SECOND, begin, last if is_finer or not step else last + step * SECOND))
        levels[0] = (0, levels[0][1], NO_LIMIT)
        super().__init__(entry.columns, entry.units, levels, [each.first for each in self._held])

    def window_of(self, begin: int, end: int, points: int) -> Window:
        """As `window`, but in equal buckets where rows alone are to be read."""
        tiers = [step for step in self._steps if step]
        if tiers and (self._begins[0] > begin or min(tiers) <= -(-(end - begin) // points)):
            return self.window(begin, end, points)
        sums = Sums(window.equal_edges(begin, end, points), self.columns)
        if self._held[0].table:
            self.fill(sums, Piece(0, begin, end))
        return sums.found(self.units, 0)

    def fill(self, sums: Sums, piece: Piece) -> None:
        level = piece.level or 0
        each = len(buckets.PARTS) if level else 1
        asked = _select(self._held[level].table, self._entry.id, piece.begin, piece.end)
        for block in self._archive._blocks(asked, each * len(self.columns)):
            sums.add(block, self.columns, of_tier=level > 0)


def _select(table: str, number: int, begin: int | None = None, end: int | None = None) -> str:
    """The rows of a source in time order; of [begin, end) in ns."""
    sides = [(">=", begin), ("<", end)]
    times = [f" AND time {side} '{np.datetime64(at // 1000, 'us')}+00'" for side, at in sides if at is not None]
    return f"SELECT source, time, v FROM {table} WHERE source = {number}{''.join(times)} ORDER BY time"


def _cells(data: bytes, width: int) -> Iterator[Cells]:
    """Rows as cells (n, 1 + width): those from before columns were added have nan there."""
    for times, values in binary.decode(data):
        block = np.full((len(times), 1 + width), np.nan)
        shared = min(width, values.shape[1])
        block[:, 1 : 1 + shared] = values[:, :shared]
        cells = block.view(np.int64)
        cells[:, 0] = times
        yield cells
