"""Lines of all connections, parsed and appended in as few calls as there are shapes of rows.

A block of complete lines waits until `flush`; then the blocks of all connections that send rows of one shape are
joined, parsed with one call and appended with one. Only a block that does not parse so is looked at line by line.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from typing import NamedTuple

import numpy as np

from linemon import influx, wire
from linemon.accounts import Accounts
from linemon.arena import ArenaWriter
from linemon.errors import LineError
from linemon.named import NamedLines
from linemon.ring import Cells, Slots
from linemon.sequence import Sequence, Sequences
from linemon.session import Session
from linemon.writer import Ring, StoreWriter

FEW_ROWS = 50  # a connection and round: up to here rows of many connections are appended together
PEEL_LINES = 8  # at the start of a connection: directives and the first row, before the rest can go in bulk

# What rows must share to be parsed and appended together: the arena, the numbers a line without the time, and where
# the time stands. NAMED stands for metrics and points, NO_SHAPE for lines to be looked at one by one.
Shape = tuple[ArenaWriter | None, int, int | None]
NAMED: Shape = (None, 1, None)
NO_SHAPE: Shape = (None, 0, None)


class Row(NamedTuple):
    """A row that was taken by itself, until it is stored: whose line it was, which one, and where it goes."""

    session: Session
    line: bytes
    number: int
    ring: Ring
    time: int
    values: list[float]


class Intake:
    """Takes bytes of sessions, puts their rows into the store, and accounts for every line."""

    def __init__(self, store: StoreWriter) -> None:
        self.store = store
        self.accounts = Accounts()
        self._waiting: dict[Shape, list[tuple[Session, bytes]]] = {}
        self._waits: dict[Session, Shape] = {}
        self._rows: dict[ArenaWriter, list[Row]] = {}  # taken one by one, not stored yet
        self._sequences = Sequences(store.rings)
        self._advanced: set[Sequence] = set()  # numbers that rings do not know yet
        self._named = NamedLines(store, before_move=self._store_rows)

    def take(self, session: Session, data: bytes, now: int) -> None:
        """Bytes as they came from the peer at `now` (ns). ForeignProtocol says that the connection should end."""
        try:
            parts = session.feed(data)
        except LineError as error:
            session.lines += 1
            self._reject(session, error, data.partition(b"\n")[0], now)
            raise
        for part in parts:
            if isinstance(part, LineError):
                self._flush_if_waiting(session, NO_SHAPE, now)
                session.lines += 1
                if not self._is_duplicate(session):
                    self._reject(session, part, b"", now)
                    self._advance(session)
                self._store_rows()
            else:
                self._take_block(session, part, now)

    def end(self, session: Session, now: int) -> None:
        """The peer closed cleanly: a last line without its newline counts."""
        if session in self._waits:
            self.flush(now)  # a #seq may be among what waits
        if last := session.end():
            self._take_block(session, last, now)

    def flush(self, now: int) -> None:
        """Parse and append all that waits; rows without a time of their own get `now` (ns since the epoch)."""
        waiting, self._waiting, self._waits = self._waiting, {}, {}
        for shape, blocks in waiting.items():
            self._named.heed_moves()
            if not (self._named_blocks(blocks, now) if shape == NAMED else self._row_blocks(shape, blocks, now)):
                for session, block in blocks:
                    self._take_lines(session, block, now)

    # -- which way a block goes

    def _take_block(self, session: Session, block: bytes, now: int) -> None:
        shape = self._shape(session, block[:1])
        if self._flush_if_waiting(session, shape, now):
            shape = self._shape(session, block[:1])  # what waited may have held directives
        if shape == NO_SHAPE:
            head, block = self._peel(block)
            self._take_lines(session, head, now)
            shape = self._shape(session, block[:1])
        if shape == NO_SHAPE:
            self._take_lines(session, block, now)
        else:
            self._waiting.setdefault(shape, []).append((session, block))
            self._waits[session] = shape

    @staticmethod
    def _peel(block: bytes) -> tuple[bytes, bytes]:
        """The first lines, and the rest."""
        at = 0
        for _ in range(PEEL_LINES):
            at = block.find(b"\n", at) + 1
            if at == len(block):
                break
        return block[:at], block[at:]

    @staticmethod
    def _shape(session: Session, first: bytes) -> Shape:
        if first and session.authorized and not session.refused:
            if session.ring is not None and first in b"0123456789+-.nN" and session.fits():
                return session.ring.arena, session.width, session.time_at
            if first.isalpha() and session.sequence is None:
                return NAMED
        return NO_SHAPE

    def _flush_if_waiting(self, session: Session, shape: Shape, now: int) -> bool:
        """Keep the order of a connection's lines: what waits goes first, unless it goes the same way."""
        if self._waits.get(session, shape) == shape:
            return False
        self.flush(now)
        return True

    # -- many lines at once

    def _row_blocks(self, shape: Shape, blocks: list[tuple[Session, bytes]], now: int) -> bool:
        """Store blocks of rows of this shape; False, and nothing done, if they hold more than rows and bad lines."""
        arena, width, time_at = shape
        assert arena is not None
        if any(
            session.ring is None or session.ring.arena is not arena or session.ring.is_gone for session, _ in blocks
        ):
            return False  # a source got more columns, or was forgotten, while the blocks waited
        if any(session.sequence is not None for session, _ in blocks) and not self._are_next(blocks):
            return False
        joined = blocks[0][1] if len(blocks) == 1 else b"".join([block for _, block in blocks])
        tokens = width + (time_at is not None)
        for tidy in (False, True):  # superfluous blanks are rare, and to look for them costs as much as to parse
            found = wire.rows(joined, tokens, tidy=tidy)
            if found is None:
                return False
            values, odd, rows = found
            lines = [len(values) + len(odd)]
            if len(blocks) > 1:
                lines = [wire.count_lines(block) for _, block in blocks]
            bad = self._all_bad(blocks, lines, odd) if odd else []
            if bad is not None:
                break
        else:
            return False
        cells = np.empty((len(values), 1 + arena.width))
        cells[:, 1 + width :] = np.nan
        if time_at is None:
            cells[:, 1 : 1 + width] = values
            cells.view(np.int64)[:, 0] = now
        else:
            times = wire.epoch_times(values[:, time_at], now)
            if times is None:
                times = wire.times(rows.split()[time_at::tokens], now)
            if times is None:
                return False
            cells[:, 1 : 1 + time_at] = values[:, :time_at]
            cells[:, 1 + time_at : 1 + width] = values[:, time_at + 1 :]
            cells.view(np.int64)[:, 0] = times
        counts = lines.copy()
        for which, *_ in bad:
            counts[which] -= 1
        if not self._append(arena, [session for session, _ in blocks], counts, lines, cells.view(np.int64)):
            return False
        for (session, _), count in zip(blocks, counts, strict=True):
            session.needs_care = 16 * len(bad) > len(values)
            self.accounts.store(session, count)
        for which, number, line, error in bad:
            self._reject(blocks[which][0], error, line, now, number)
        for (session, _), count in zip(blocks, lines, strict=True):
            session.lines += count
        return True

    @staticmethod
    def _are_next(blocks: list[tuple[Session, bytes]]) -> bool:
        """Whether all numbered blocks begin with the line that their ring awaits, and no sender has two connections."""
        at: dict[Sequence, Session] = {}
        for session, _ in blocks:
            sequence = session.sequence
            if sequence is not None and (
                at.setdefault(sequence, session) is not session
                or session.number != sequence.next
                or sequence.ring is not session.ring
            ):
                return False
        return True

    def _append(
        self, arena: ArenaWriter, sessions: list[Session], counts: list[int], lines: list[int], cells: Cells
    ) -> bool:
        """Append `counts[i]` rows of each session, and acknowledge its `lines[i]` lines if it numbers them.

        False, and nothing done, if there is no room.
        """
        slots = [session.slot for session in sessions]
        acked: list[tuple[int, int] | None] = [None] * len(sessions)  # place and number
        reached: dict[Sequence, tuple[Session, int]] = {}
        for i, session in enumerate(sessions):
            if session.sequence is not None:
                number = reached.get(session.sequence, (session, session.number))[1] + lines[i]
                reached[session.sequence] = session, number
                acked[i] = session.sequence.place, number
        try:
            if len(cells) >= FEW_ROWS * len(sessions):  # long blocks: one by one is quicker than to sort them out
                for slot, count in zip(slots, counts, strict=True):
                    arena.make_room(slot, count if len(slots) == 1 else len(cells))
                at = 0
                for slot, count, ack in zip(slots, counts, acked, strict=True):
                    arena.append_to(slot, cells[at : at + count], ack)
                    at += count
            else:
                acks = [(slot, *ack) for slot, ack in zip(slots, acked, strict=True) if ack] if reached else []
                arena.append(np.repeat(slots, counts), cells, acks)
        except LineError:
            return False
        for sequence, (session, number) in reached.items():
            sequence.next = sequence.settled = session.number = number
        return True

    def _all_bad(
        self, blocks: list[tuple[Session, bytes]], counts: list[int], odd: list[tuple[int, bytes]]
    ) -> list[tuple[int, int, bytes, LineError]] | None:
        """Why each of the odd lines is to be rejected: its block, its number in the connection, itself, the error.

        None if one of them is not to be rejected: a row written in another way, another kind of line, nothing.
        """
        ends = list(accumulate(counts))
        lines: dict[Session, int] = {}  # a session may have several blocks
        before = []
        for (session, _), count in zip(blocks, counts, strict=True):
            before.append(lines.setdefault(session, session.lines))
            lines[session] += count
        bad = []
        for index, raw in odd:
            which = bisect_right(ends, index)
            session = blocks[which][0]
            line = raw.strip(b" \t")
            if not line or line.startswith(b"#"):
                return None
            try:
                wire.text(line)
                tokens = wire.tokens(line)
                if wire.is_metric_name(tokens[0]):
                    return None
                self._row(session, tokens)
                return None
            except LineError as error:
                number = before[which] + 1 + index - (ends[which] - counts[which])
                bad.append((which, number, line, error))
        return bad

    def _named_blocks(self, blocks: list[tuple[Session, bytes]], now: int) -> bool:
        """Store blocks of metrics or of points; False, and nothing done, if there is anything else."""
        if not self._named.store_block(b"".join([block for _, block in blocks]), now):
            return False
        for session, block in blocks:
            count = wire.count_lines(block)
            session.lines += count
            session.needs_care = False
            self.accounts.store(session, count)
        return True

    # -- one line at a time

    def _take_lines(self, session: Session, block: bytes, now: int) -> None:
        session.needs_care = True
        for raw in block.split(b"\n")[:-1]:
            if session.is_over:
                return
            session.lines += 1
            line = raw.removesuffix(b"\r").strip(b" \t")
            try:
                if line.startswith(b"#"):
                    self._store_rows()  # what the directive says holds from the next row on
                    session.said(line)
                    if session.announced is not None:
                        self._begin(session)
                elif line and not self._is_duplicate(session):
                    self._take_line(session, line, now)
                    self._advance(session)
            except LineError as error:
                if line.startswith(b"#"):
                    self.accounts.answer(session, error, session.lines)
                else:
                    self._reject(session, error, line, now)
                    self._advance(session)
        self._store_rows()

    def _begin(self, session: Session) -> None:
        """Start or go on with the sequence that #seq announced."""
        assert session.announced
        assert session.source is not None
        number, sender = session.announced
        session.announced = None
        sequence = self._sequences.find(session.source, sender, number)
        if number > sequence.next:
            self.accounts.lost += number - sequence.next
            sequence.next = sequence.settled = number
            self._advanced.add(sequence)
        session.begin(sequence, number)

    def _is_duplicate(self, session: Session) -> bool:
        """Give a data line its number, and count it if it is a line that is held already."""
        if session.sequence is None:
            return False
        session.number += 1
        if session.number > session.sequence.next:
            return False
        self.accounts.duplicated(session)
        return True

    def _advance(self, session: Session) -> None:
        """The line that had its number last was taken, or rejected."""
        if session.sequence is not None:
            session.sequence.next = session.number
            self._advanced.add(session.sequence)

    def _take_line(self, session: Session, line: bytes, now: int) -> None:
        """Take one row or metric line; LineError if it cannot be taken."""
        if not session.authorized:
            raise LineError("token", "this port asks for a #token first")
        wire.text(line)
        tokens = wire.tokens(line)
        if session.sequence is not None and wire.is_metric_name(tokens[0]):
            raise LineError("sequence", "a connection that numbers its lines sends rows of its source only")
        if wire.is_metric_name(tokens[0]) and influx.IS_INFLUX.match(line):
            point = influx.point(line)
            time = None if point.time is None else wire.time_ns(point.time)
            ring, columns = self._named.point_place(point.source, tuple(point.fields))
            values = [float("nan")] * ring.width
            for column, value in zip(columns, point.fields.values(), strict=True):
                values[column] = value
            self.accounts.strings += point.strings
        elif wire.is_metric_name(tokens[0]):
            if len(tokens) not in (2, 3):
                raise LineError("tokens", f"a metric is NAME VALUE [TIME], not {len(tokens)} tokens")
            values = [wire.number(tokens[1])]
            time = wire.time_ns(tokens[2]) if len(tokens) == 3 else None
            ring = self._named.metric_ring(tokens[0])
        else:
            time, values, ring = self._row(session, tokens)
        values += [float("nan")] * (ring.width - len(values))
        row = Row(session, line, session.lines, ring, now if time is None else time, values)
        self._rows.setdefault(ring.arena, []).append(row)

    def _row(self, session: Session, tokens: list[bytes]) -> tuple[int | None, list[float], Ring]:
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
            self._store_rows()  # a source that gets more columns moves
            session.bind(self.store, len(values))
        assert session.ring is not None
        if session.sequence is not None:
            self._sequences.keep(session.sequence, session.ring)
        return time, values, session.ring

    def _store_rows(self) -> None:
        """Append what was taken one by one, and make known to what number all lines of their senders are held."""
        rows, self._rows = self._rows, {}
        advanced, self._advanced = self._advanced, set()
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
            # No room for one of them: who has room goes on. Rows of one sender go together, or not at all.
            groups: dict[Sequence | Row, list[Row]] = {sequence: [] for sequence in sequences}
            for row in taken:
                groups.setdefault(row.session.sequence or row, []).append(row)
            for key, group in groups.items():
                if self._store_together(arena, group, [key] if isinstance(key, Sequence) else []):
                    continue
                if isinstance(key, Sequence):
                    key.next = key.settled
                    for row in group:
                        row.session.is_over = True
                else:
                    error = LineError("store_full", f"{arena.path.parent} has no room for more rows")
                    self._reject(key.session, error, key.line, key.time, key.number)

    def _store_together(self, arena: ArenaWriter, rows: list[Row], sequences: list[Sequence]) -> bool:
        """Append rows to rings of one arena, and settle the lines of these senders.

        False, and nothing done, if there is no room.
        """
        acks = [(each.ring.entry.slot, each.place, each.next) for each in sequences if each.ring]
        try:
            arena.append(*_block(arena, rows), acks)
        except LineError:
            return False
        for sequence in sequences:
            sequence.settled = sequence.next
        for row in rows:
            self.accounts.store(row.session, 1)
        return True

    def _reject(self, session: Session, error: LineError, line: bytes, now: int, number: int | None = None) -> None:
        """Count a line that was not taken; `number` is its own in the connection, if that is not the last one."""
        if wire.is_metric_name(line[:1]):  # names its source itself
            source = wire.tokens(line)[0].decode(errors="replace")
        else:
            source = session.ring.entry.source if session.ring else session.source or ""
        if ring := self.store.rings.get(source):
            ring.arena.count_rejected(ring.entry.slot)
        self.accounts.reject(session, source, error, line, now, number or session.lines)


def _block(arena: ArenaWriter, rows: list[Row]) -> tuple[Slots, Cells]:
    """The slots of the rows, and the rows as cells."""
    cells = np.empty((len(rows), 1 + arena.width))
    for i, row in enumerate(rows):
        cells[i, 1:] = row.values
    cells.view(np.int64)[:, 0] = [row.time for row in rows]
    return np.array([row.ring.entry.slot for row in rows], np.intp), cells.view(np.int64)
