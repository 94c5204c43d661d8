"""Lines taken one by one: directives, rows in unusual forms, the first rows of a connection, and bad lines.

Every rule of the line language has its say here; `linemon.lines.intake` takes the many lines that need none of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from typing import Final, NamedTuple

import numpy as np

from linemon import when
from linemon.errors import LineError, show
from linemon.lines import fields, influx, names, wire
from linemon.lines.accounts import Accounts
from linemon.lines.contact import Refusal
from linemon.lines.devices import Devices
from linemon.lines.hints import hint
from linemon.lines.marking import Marking
from linemon.lines.named import NamedLines
from linemon.lines.names import Kind
from linemon.lines.sequence import Sequence, Sequences
from linemon.lines.session import MAX_WRONG_TOKENS, Session, WrongToken, is_directive
from linemon.lines.turn import LEAST, Turn
from linemon.store.arena import ArenaWriter
from linemon.store.marks import Mark
from linemon.store.ring import Cells, Slots
from linemon.store.writer import Ring, StoreWriter

DIGITS: Final = b"0123456789"
HELD_BACK: Final = ("store_full", "max_sources", "token", "device")  # reasons that may pass: numbered lines wait
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

    def __init__(self, store: StoreWriter, accounts: Accounts, devices: Devices, turn: Turn) -> None:
        self._store = store
        self._turn = turn
        self._devices = devices
        self._accounts = accounts
        self._rows: list[Row] = []  # taken, not stored yet
        self._sequences = Sequences(store.rings)
        self._advanced: set[Sequence] = set()  # numbers that rings do not know yet
        self.named = NamedLines(store, turn)
        self.marking = Marking(store.marks)

    def take(self, session: Session, block: bytes, now: int, *, is_end: bool = False) -> None:
        """Take all lines of a block, and store their rows; `now` in ns since the epoch."""
        self.gather(session, block, now, is_end=is_end)
        self.store_rows()

    def gather(self, session: Session, block: bytes, now: int, *, is_end: bool = False) -> None:
        """Take all lines of a block; `store_rows` stores their rows, together with those of others.

        A point whose string stays open at the end of the block waits in the session for more, but at the end. When the
        turn is over, the rest is held.
        """
        session.needs_care = True
        turn = self._turn
        until = turn.clock() + turn.left_s
        raws = (session.open_point + block).split(b"\n")[:-1]
        session.open_point, at = b"", 0
        while at < len(raws) and not session.is_over:
            if at >= LEAST and turn.clock() >= until:
                session.hold(b"\n".join([*raws[at:], b""]))
                break
            session.lines += 1
            count, line = 1, raws[at].removesuffix(b"\r").strip(b" \t")
            error = self._try_line(session, line, now)
            if error and error.reason == "syntax" and b'"' in line:
                span = self._span(session, line, raws, at)
                if span is None and not is_end:
                    session.lines -= 1
                    session.open_point = b"\n".join([*raws[at:], b""])
                    break
                if span and span > 1:
                    count, line = span, b"\n".join(raws[at : at + span]).removesuffix(b"\r").strip(b" \t")
                    error = self._try_line(session, line, now)
            if error:
                self._refuse(session, error, line, now)
            session.lines += count - 1
            at += count
            if self._store.has_many_to_widen():
                self.store_rows()
        turn.left_s = until - turn.clock()

    def _try_line(self, session: Session, line: bytes, now: int) -> LineError | None:
        """Take one line of any kind; what is wrong if it cannot be taken."""
        try:
            if line.startswith(b"#") and session.body and session.body.has_points:
                return None
            if line.startswith(b"#"):
                self.store_rows()  # what the directive says holds from the next row on
                if meant := session.said(line):
                    said = f"a comment; did you mean {meant} at the start of the line, with a blank behind it?"
                    self._accounts.note(session, said, line, now)
                if session.asked is not None:
                    (word, rest), session.asked = session.asked, None
                    if word == b"#acks":
                        session.reply(f"#acks {self._store.id}")  # by it a sender knows its own rows, come back
                    else:
                        self._devices.said(session, word, rest, now)
                if session.announced is not None:
                    self._devices.claims(session, session.announced[1], now)
                    self._begin(session)
                if session.marked is not None:
                    (time, text), session.marked = session.marked, None
                    by = session.peer if session.body else session
                    self.marking.set(by, Mark.of(now if time is None else time, text, session.source), now)
            elif line and not session.is_waiting and not self._is_duplicate(session):
                self._take_line(session, line, now)
                self._advance(session)
        except LineError as error:
            return error
        return None

    @staticmethod
    def _span(session: Session, line: bytes, raws: list[bytes], at: int) -> int | None:
        """How many lines are one point, by the newlines in its strings; None where the next ones will tell."""
        if session.sequence is not None or not influx.OPENS.fullmatch(line) or line.startswith(b"#"):
            return 1
        if names.kind(line, session.in_rows) is not Kind.INFLUX:
            return 1
        ends = is_never if session.body and session.body.has_points else is_directive
        return influx.span(raws, at, session.max_line, ends)

    def _refuse(self, session: Session, error: LineError, line: bytes, now: int) -> None:
        """What becomes of a line that is not taken."""
        if isinstance(error, Refusal):
            if not line.startswith(b"#") and session.sequence is None:
                session.wants_errors = False  # it is told in any case
                self._accounts.reject(session, error, line, now)
            return session.turn_away(error, session.lines)
        garbled = GARBLED.search(line) if session.lines == 1 and not line.startswith(b"#") else None
        if isinstance(error, WrongToken) or (garbled and garbled[1] == b"#token"):
            session.wrong_tokens += 1
            if session.wrong_tokens == MAX_WRONG_TOKENS:
                session.shut()
            self._accounts.reject(session, WrongToken(), b"#token", now, source="")  # without what was tried
        elif garbled:  # by what a terminal or an editor puts in front: it must not become rows of another source
            why = LineError("name", f"{garbled[1].decode()} must be at the start of its line, not in {show(line)}")
            session.refused[garbled[1]] = why
            self._accounts.answer(session, why, session.lines)
        elif line.startswith(b"#"):
            self._accounts.answer(session, error, session.lines)
        elif session.sequence is not None and error.reason in HELD_BACK:
            self._accounts.hold_back(session, error, session.lines)
        else:
            self._accounts.reject(session, error, line, now)
            self._advance(session)
        return None

    def too_long(self, session: Session, error: LineError, now: int) -> None:
        """A line was too long to be kept."""
        if session.is_over:
            return None
        if session.open_point:
            self.take(session, b"", now, is_end=True)
        if session.held:
            return session.hold(error)
        session.lines += 1
        if not session.is_waiting and not self._is_duplicate(session):
            self._accounts.reject(session, error, b"", now)
            self._advance(session)
        return self.store_rows()

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
        kind = names.kind(line, session.in_rows)
        if session.sequence is not None and kind in (Kind.METRIC, Kind.PUT, Kind.INFLUX):
            raise LineError("sequence", "a connection that numbers its lines sends rows of its source only")
        if session.body and session.body.has_points and kind is not Kind.INFLUX:
            raise LineError("syntax", f"{show(line)} is no point: MEASUREMENT[,TAG=VALUE…] FIELD=VALUE[,…] [TIME]")
        if kind is Kind.INFLUX:
            point = influx.point(line)
            session.check(point.source)
            time_ns = session.body.time_ns if session.body else when.time_ns
            time = None if point.time is None else time_ns(point.time)
            ring, values = self._by_column(point.source, point.fields)
            self._accounts.strings += point.strings
        elif kind in (Kind.METRIC, Kind.PUT):
            source, value, time = (names.metric if kind is Kind.METRIC else names.put)(line)
            session.check(source)
            ring, values = self.named.metric_ring(source), [value]
        elif kind is Kind.ROW:
            time, values, ring = self.row(session, wire.tokens(line))
        else:
            self._heed_refused(session)
            found = (fields.pairs if kind is Kind.PAIRS else fields.json_line)(line)
            time = found.time
            session.check(session.named_source)
            ring, values = self._by_column(session.named_source, found.values)
            self._accounts.strings += found.strings
            if session.sequence is not None:
                self._sequences.keep(session.sequence, ring)
        if kind is not Kind.ROW:  # of rows it was heeded when their ring was found
            self._devices.heed(session, ring.entry.source)
        self._rows.append(Row(session, line, session.lines, ring, now if time is None else time, values))

    def _by_column(self, source: str, named: dict[str, float]) -> tuple[Ring, list[float]]:
        """The ring of a source with these columns, and the values in the order of its columns."""
        ring, columns = self.named.point_place(source, tuple(named))
        return ring, _placed(columns, named.values())

    @staticmethod
    def _heed_refused(session: Session) -> None:
        """LineError while a directive that was refused has not been said rightly."""
        for refused in session.refused.values():
            if isinstance(refused, Refusal):
                raise refused
            raise LineError(refused.reason, f"rows wait for a right directive: {refused}")

    def row(self, session: Session, tokens: list[bytes]) -> tuple[int | None, list[float], Ring]:
        """The time (ns, None for now), the values and the ring of a row. LineError if it cannot be taken."""
        self._heed_refused(session)
        session.columns_used = True
        time = None
        time_at = session.time_at
        if time_at is not None:
            tokens = when.with_clock(tokens, time_at)
        expected = session.tokens
        if expected and len(tokens) != expected:
            said = f"expected {expected} token{'s' if expected > 1 else ''}, the line has {len(tokens)}"
            raise LineError("tokens", said + row_hint(session, tokens))
        if time_at is not None:
            time = when.time_ns(tokens.pop(time_at))
        values = [wire.number(token) if token[-1] in DIGITS else wire.row_number(token) for token in tokens]
        if not session.fits():
            self.store_rows()  # a source that gets more columns moves
            session.bind(self._store, len(values))
            assert session.ring is not None
            self._devices.heed(session, session.ring.entry.source)
        assert session.ring is not None
        if session.order:
            values = _placed(session.order, values)
        if session.sequence is not None:
            self._sequences.keep(session.sequence, session.ring)
        session.in_rows = True
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


def is_never(line: bytes) -> bool:
    """In place of `is_directive` where there are none."""
    return False


def row_hint(session: Session, tokens: list[bytes]) -> str:
    """What to write in place of a row that has too many or too few tokens, where one can tell what was meant."""
    if session.columns and len(session.columns) == 1 and "," in session.columns[0]:
        return f": #columns has one name, {session.columns[0]!r}; blanks stand between names"
    for token in tokens:
        if not when.NUMBER.fullmatch(token) and (session.time_at is None or not when.is_time_form(token)):
            return hint(token)
    return ""


def _placed(columns: tuple[int, ...], values: Iterable[float]) -> list[float]:
    """The values where these columns stand, nan between them."""
    cells = [float("nan")] * (max(columns) + 1)  # no more: columns that others bring may find no room
    for column, value in zip(columns, values, strict=True):
        cells[column] = value
    return cells


def _block(arena: ArenaWriter, rows: list[Row]) -> tuple[Slots, Cells]:
    """The slots of the rows, and the rows as cells."""
    cells = np.full((len(rows), 1 + arena.width), np.nan)
    for i, row in enumerate(rows):
        cells[i, 1 : 1 + len(row.values)] = row.values
    cells.view(np.int64)[:, 0] = [row.time for row in rows]
    return np.array([row.ring.entry.slot for row in rows], np.intp), cells.view(np.int64)
