"""Lines taken one by one: directives, rows in unusual forms, the first rows of a connection, and bad lines.

Every rule of the line language has its say here; `linemon.lines.intake` takes the many lines that need none of them.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Final, NamedTuple

import numpy as np

from linemon.errors import LineError
from linemon.lines import influx, wire
from linemon.lines.accounts import Accounts
from linemon.lines.named import NamedLines
from linemon.lines.sequence import Sequence, Sequences
from linemon.lines.session import MAX_WRONG_TOKENS, Session, WrongToken
from linemon.store.arena import ArenaWriter
from linemon.store.ring import Cells, Slots
from linemon.store.writer import Ring, StoreWriter

HELD_BACK: Final = ("store_full", "max_sources", "token")  # reasons that may pass: a numbered line waits for that
GARBLED: Final = re.compile(rb"(#(?:source|columns|token))[ \t]")


class Row(NamedTuple):
    """A row that was taken by itself, until it is stored: whose line it was, which one, and where it goes."""

    session: Session
    line: bytes
    number: int
    ring: Ring
    time: int
    values: list[float]


class CarefulLines:
    """Takes lines of sessions one by one, and stores their rows together."""

    def __init__(self, store: StoreWriter, accounts: Accounts) -> None:
        self._store = store
        self._accounts = accounts
        self._rows: list[Row] = []  # taken, not stored yet
        self._sequences = Sequences(store.rings)
        self._advanced: set[Sequence] = set()  # numbers that rings do not know yet
        self.named = NamedLines(store)

    def take(self, session: Session, block: bytes, now: int) -> None:
        """Take all lines of a block; `now` in ns since the epoch."""
        session.needs_care = True
        for raw in block.split(b"\n")[:-1]:
            if session.is_over:
                break
            session.lines += 1
            line = raw.removesuffix(b"\r").strip(b" \t")
            try:
                if line.startswith(b"#"):
                    self.store_rows()  # what the directive says holds from the next row on
                    session.said(line)
                    if session.announced is not None:
                        self._begin(session)
                elif line and not session.is_waiting and not self._is_duplicate(session):
                    self._take_line(session, line, now)
                    self._advance(session)
            except LineError as error:
                self._refuse(session, error, line, now)
        self.store_rows()

    def _refuse(self, session: Session, error: LineError, line: bytes, now: int) -> None:
        """What becomes of a line that is not taken."""
        garbled = GARBLED.search(line) if session.lines == 1 and not line.startswith(b"#") else None
        if isinstance(error, WrongToken) or (garbled and garbled[1] == b"#token"):
            session.wrong_tokens += 1
            if session.wrong_tokens == MAX_WRONG_TOKENS:
                session.shut()
            self._accounts.reject(session, WrongToken(), b"#token", now, source="")  # without what was tried
        elif garbled:  # by what a terminal or an editor puts in front: it must not become rows of another source
            why = LineError("name", f"{garbled[1].decode()} must be at the start of its line, not in {wire.show(line)}")
            session.refused[garbled[1]] = why
            self._accounts.answer(session, why, session.lines)
        elif line.startswith(b"#"):
            self._accounts.answer(session, error, session.lines)
        elif session.sequence is not None and error.reason in HELD_BACK:
            self._accounts.hold_back(session, error, session.lines)
        else:
            self._accounts.reject(session, error, line, now)
            self._advance(session)

    def too_long(self, session: Session, error: LineError, now: int) -> None:
        """A line was too long to be kept."""
        if session.is_over:
            return
        session.lines += 1
        if not session.is_waiting and not self._is_duplicate(session):
            self._accounts.reject(session, error, b"", now)
            self._advance(session)
        self.store_rows()

    def _begin(self, session: Session) -> None:
        """Start or go on with the sequence that #seq announced."""
        assert session.announced
        assert session.source is not None
        number, sender = session.announced
        session.announced = None
        sequence = self._sequences.find(session.source, sender, number)
        if number > sequence.next:
            self._accounts.lost += number - sequence.next
            sequence.next = sequence.settled = number
            self._advanced.add(sequence)
        session.begin(sequence, number)

    def _is_duplicate(self, session: Session) -> bool:
        """Give a data line its number, and count it if it is a line that is held already."""
        if session.sequence is None:
            return False
        session.number += 1
        session.owed[session.sequence] = None
        if session.number > session.sequence.next:
            return False
        self._accounts.duplicated(session)
        return True

    def _advance(self, session: Session) -> None:
        """The line that had its number last was taken, or rejected."""
        if session.sequence is not None:
            session.sequence.next = session.number
            self._advanced.add(session.sequence)

    def _take_line(self, session: Session, line: bytes, now: int) -> None:
        """Take one row or metric line; LineError if it cannot be taken."""
        if session.grant is None:
            session.check("")
        wire.text(line)
        tokens = wire.tokens(line)
        if session.sequence is not None and wire.is_metric_name(tokens[0]):
            raise LineError("sequence", "a connection that numbers its lines sends rows of its source only")
        if wire.is_metric_name(tokens[0]) and influx.IS_INFLUX.match(line):
            point = influx.point(line)
            session.check(point.source)
            time = None if point.time is None else wire.time_ns(point.time)
            ring, columns = self.named.point_place(point.source, tuple(point.fields))
            values = [float("nan")] * (max(columns) + 1)  # no more: columns that others bring may find no room
            for column, value in zip(columns, point.fields.values(), strict=True):
                values[column] = value
            self._accounts.strings += point.strings
        elif wire.is_metric_name(tokens[0]):
            if len(tokens) not in (2, 3):
                raise LineError("tokens", f"a metric is NAME VALUE [TIME], not {len(tokens)} tokens")
            session.check(wire.text(tokens[0]))
            values = [wire.number(tokens[1])]
            time = wire.time_ns(tokens[2]) if len(tokens) == 3 else None
            ring = self.named.metric_ring(tokens[0])
        else:
            time, values, ring = self.row(session, tokens)
        self._rows.append(Row(session, line, session.lines, ring, now if time is None else time, values))

    def row(self, session: Session, tokens: list[bytes]) -> tuple[int | None, list[float], Ring]:
        """The time (ns, None for now), the values and the ring of a row. LineError if it cannot be taken."""
        for refused in session.refused.values():
            raise LineError(refused.reason, f"rows wait for a right directive: {refused}")
        session.columns_used = True
        time = None
        time_at = session.time_at
        expected = session.tokens
        if expected and len(tokens) != expected:
            raise LineError("tokens", f"expected {expected} tokens, the line has {len(tokens)}")
        if time_at is not None:
            time = wire.time_ns(tokens.pop(time_at))
        values = [wire.number(token) for token in tokens]
        if not session.fits():
            self.store_rows()  # a source that gets more columns moves
            session.bind(self._store, len(values))
        assert session.ring is not None
        if session.sequence is not None:
            self._sequences.keep(session.sequence, session.ring)
        return time, values, session.ring

    def store_rows(self) -> None:
        """Append what was taken one by one, and make known to what number all lines of their senders are held."""
        taken_rows, self._rows = self._rows, []
        advanced, self._advanced = self._advanced, set()
        self._store.widen()
        rows: dict[ArenaWriter, list[Row]] = {}
        for row in taken_rows:
            rows.setdefault(row.ring.arena, []).append(row)
        acks: dict[ArenaWriter, list[Sequence]] = {arena: [] for arena in rows}
        for sequence in advanced:
            if sequence.ring is None or sequence.ring.is_gone:
                sequence.settled = sequence.next
            else:
                acks.setdefault(sequence.ring.arena, []).append(sequence)
        for arena, sequences in acks.items():
            taken = rows.get(arena, [])
            if self._store_together(arena, taken, sequences):
                continue
            error = LineError("store_full", f"{arena.path.parent} has no room for more rows")
            # No room for one of them: who has room goes on. Rows of one sender go together, or not at all.
            for sequence in sequences:
                mine = [row for row in taken if row.session.sequence is sequence]
                if not self._store_together(arena, mine, [sequence]):
                    sequence.next = sequence.settled
                    for row in mine[:1]:
                        self._accounts.hold_back(row.session, error, row.number)
            for row in taken:
                if row.session.sequence is None and not self._store_together(arena, [row], []):
                    self._accounts.reject(row.session, error, row.line, row.time, row.number)

    def give_up(self, session: Session) -> None:
        """Leave nothing behind of a line that was met by an error: what was taken before it is stored, if it can be."""
        with suppress(Exception):
            self.store_rows()
        self._rows.clear()
        if session.sequence is not None:
            session.sequence.next = session.sequence.settled

    def _store_together(self, arena: ArenaWriter, rows: list[Row], sequences: list[Sequence]) -> bool:
        """Append rows to rings of one arena, and settle the lines of these senders.

        False, and nothing done, if there is no room, also for columns that they bring.
        """
        if any(len(row.values) > arena.width for row in rows):
            return False
        acks = [(each.ring.entry.slot, each.place, each.next) for each in sequences if each.ring]
        try:
            arena.append(*_block(arena, rows), acks)
        except LineError:
            return False
        for sequence in sequences:
            sequence.settled = sequence.next
        for row in rows:
            self._accounts.store(row.session, 1)
        return True


def _block(arena: ArenaWriter, rows: list[Row]) -> tuple[Slots, Cells]:
    """The slots of the rows, and the rows as cells."""
    cells = np.full((len(rows), 1 + arena.width), np.nan)
    for i, row in enumerate(rows):
        cells[i, 1 : 1 + len(row.values)] = row.values
    cells.view(np.int64)[:, 0] = [row.time for row in rows]
    return np.array([row.ring.entry.slot for row in rows], np.intp), cells.view(np.int64)
