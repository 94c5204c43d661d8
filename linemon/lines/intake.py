"""Lines of all connections, parsed and appended in as few calls as there are shapes of rows.

A block of complete lines waits until `flush`; then the blocks of all connections that send rows of one shape are
joined, parsed with one call and appended with one. Only a block that does not parse so is looked at line by line, in
`linemon.lines.careful`.
"""

from __future__ import annotations

from bisect import bisect_right
from contextlib import suppress
from itertools import accumulate

import numpy as np

from linemon import when
from linemon.errors import LineError
from linemon.lines import fields, names, wire
from linemon.lines.accounts import Accounts
from linemon.lines.careful import CarefulLines
from linemon.lines.devices import Devices
from linemon.lines.named import source_named
from linemon.lines.pace import OLD_NS, Pace
from linemon.lines.sequence import Sequence, are_next
from linemon.lines.session import Session
from linemon.lines.shapes import FIELDS, NAMED, NO_SHAPE, POINTS, Shape, shape_of
from linemon.lines.turn import Clock, Turn, TurnOver
from linemon.store.arena import ArenaWriter
from linemon.store.ring import Cells
from linemon.store.writer import StoreWriter

FEW_ROWS = 50  # a connection and round: up to here rows of many connections are appended together
PEEL_LINES = 8  # at the start of a connection: directives and the first row, before the rest can go in bulk


class Intake:
    """Takes bytes of sessions, puts their rows into the store, and accounts for every line."""

    def __init__(self, store: StoreWriter, devices: Devices | None = None, clock: Clock = lambda: 0.0) -> None:
        """`clock`: seconds, for turns."""
        self.store = store
        self.devices = devices or Devices()
        self.accounts = Accounts(store.rings)
        self._waiting: dict[Shape, list[tuple[Session, bytes]]] = {}
        self._waits: dict[Session, Shape] = {}
        self.turn = Turn(clock)
        self._careful = CarefulLines(store, self.accounts, self.devices, self.turn)
        self._named = self._careful.named
        self.marking = self._careful.marking

    def take(self, session: Session, data: bytes, now: int) -> None:
        """Bytes as they came from the peer at `now` (ns). ForeignProtocol says that the connection should end.

        `session.held` is not empty, then or after a `flush`, where that is more of a backlog than may be taken now, or
        more than one turn's: nothing more is to be read then, and `resume` to be called from `session.resume` on.
        """
        try:
            parts = session.feed(data)
        except LineError as error:
            session.lines += 1
            self.accounts.reject(session, error, data.partition(b"\n")[0], now)
            raise
        self._take_parts(session, parts, now)

    def resume(self, session: Session, now: int) -> None:
        """Take more of what `session.held` has."""
        parts, session.held = session.held, []
        self._take_parts(session, parts, now)

    def _take_parts(self, session: Session, parts: list[bytes | LineError], now: int) -> None:
        for part in parts:
            if session.held:
                session.hold(part)
            elif isinstance(part, LineError):
                self._flush_if_waiting(session, NO_SHAPE, now)
                self._careful.too_long(session, part, now)
            elif session.sequence is None and not (b"#" in part and b"#seq" in part):  # one byte is found much sooner
                self._take_block(session, part, now)
            elif rest := self._take_numbered(session, part, now):
                session.held.append(rest)

    def end(self, session: Session, now: int) -> None:
        """The peer closed cleanly: a last line without its newline counts."""
        self.turn.end()
        if session in self._waits:
            self.flush(now)  # a #seq may be among what waits
        if last := session.end():
            self._take_block(session, last, now)
        self.broke(session, now)

    def broke(self, session: Session, now: int) -> None:
        """Nothing more comes: whole lines that waited for their turn, or the end of a point, count in any case."""
        self.turn.end()
        if session in self._waits:
            self.flush(now)
        if session.held and session.sequence is None:  # else they come again
            self.resume(session, now)
            self.flush(now)
        if session.open_point:
            self._take_carefully(session, b"", now, is_end=True)

    def foreign(self, session: Session, protocol: str, now: int) -> None:
        """The peer does not speak as it must for its bytes to be lines: one rejected line."""
        session.lines += 1
        self.accounts.reject(session, LineError("protocol", f"this port takes lines in TLS: {protocol}"), b"", now)

    def flush(self, now: int) -> None:
        """Parse and append all that waits; rows without a time of their own get `now` (ns since the epoch)."""
        waiting, self._waiting, self._waits = self._waiting, {}, {}
        for shape, blocks in waiting.items():
            self._named.heed_moves()
            self._store(shape, blocks, now)

    def _store(self, shape: Shape, blocks: list[tuple[Session, bytes]], now: int) -> None:
        is_stored: bool | None  # None: met by an error
        if shape == FIELDS:
            return self._store_fields(blocks, now)
        try:
            if shape == NAMED or shape[1] == POINTS:
                is_stored = self._named_blocks(blocks, now)
            else:
                is_stored = self._row_blocks(shape, blocks, now)
        except Exception as error:  # TurnOver, or a bug, a disk that fails: it shall cost only whose lines meet it
            if len(blocks) == 1:
                [(session, block)] = blocks
                if isinstance(error, TurnOver):
                    return session.hold(block)
                return self._fail(session, block, session.received)
            is_stored = None
        for session, block in [] if is_stored else blocks:
            left_s = self.turn.left_s
            if session.sequence is not None:
                self.turn.end()  # whole: what is held of it, for its pace, comes behind
            if session.held and session.sequence is None:
                session.hold(block)
            elif is_stored is None:
                self._store(shape, [(session, block)], now)
            else:
                self._take_carefully(session, block, now)
            self.turn.left_s = min(left_s, self.turn.left_s)
        return None

    def _store_fields(self, blocks: list[tuple[Session, bytes]], now: int) -> None:
        """Store pairs and JSON, each connection's in its own source."""
        joined: dict[Session, bytes] = {}
        for session, block in blocks:
            joined[session] = joined.get(session, b"") + block
        before = {session: session.received for session in joined}
        for session, block in joined.items():
            try:
                if not self._field_block(session, block, now):
                    self._careful.gather(session, block, now)
            except Exception:  # as above
                self._fail(session, block, before[session])
        try:
            self._careful.store_rows()
        except Exception:
            for session, block in joined.items():
                self._fail(session, block, before[session])

    def _take_carefully(self, session: Session, block: bytes, now: int, *, is_end: bool = False) -> None:
        before = session.received
        try:
            self._careful.take(session, block, now, is_end=is_end)
        except Exception:  # as above
            self._fail(session, block, before)

    def _fail(self, session: Session, block: bytes, before: int) -> None:
        """End the connection of a block; `before`: what it had received before that."""
        self._careful.give_up(session)
        lost = 0
        if session.sequence is None:  # else they come again
            lines = [line.strip(b" \t\r") for line in block.split(b"\n")]
            lost = sum(line != b"" and not line.startswith(b"#") for line in lines) - (session.received - before)
        self.accounts.fail(session, lost)

    # -- which way a block goes

    def _take_block(self, session: Session, block: bytes, now: int) -> None:
        shape = shape_of(session, block)
        if self._flush_if_waiting(session, shape, now):
            shape = shape_of(session, block)  # what waited may have held directives
        if session.held:
            return session.hold(block)
        if shape == NO_SHAPE:
            head, block = self._peel(block)
            self._take_carefully(session, head, now)
            if not block:
                return None
            if session.held:
                return session.hold(block)
            shape = shape_of(session, block)
        if shape == NO_SHAPE:
            self._take_carefully(session, block, now)
        else:
            self._waiting.setdefault(shape, []).append((session, block))
            self._waits[session] = shape
        return None

    def _take_numbered(self, session: Session, block: bytes, now: int) -> bytes:
        """Take what the pace of a backlog allows; returns the rest."""
        at = 0
        while at < len(block) and not session.is_over and not session.held:
            if at and self.turn.is_over and session not in self._waits:
                session.resume = 0
                break
            if block.startswith(b"#", at):  # what it says may change whose rows come then
                cut = block.find(b"\n", at) + 1
                if session.is_named and self._goes_back(session, block[at : cut - 1], now):
                    at = cut
                    continue
            else:
                cut = block.find(b"\n#", at) + 1 or len(block)
                pace = self._pace(session, block, at, now)
                if pace is not None:
                    lines = wire.count_lines(block[at:cut])
                    room = pace.room(self.store.rings.get(session.source or ""), self.store.points, now)
                    if room < lines:
                        newlines = np.flatnonzero(np.frombuffer(block, np.uint8, cut - at, at) == 10)
                        cut, lines = (at + int(newlines[room - 1]) + 1, room) if room else (at, 0)
                    pace.take(lines, now)
                    if cut == at:
                        session.resume = pace.next()
                        break
            self._take_block(session, block[at:cut], now)
            at = cut
        return block[at:]

    def _goes_back(self, session: Session, line: bytes, now: int) -> bool:
        """Take a line if it is `#source` of one that the connection was at: many rows have one before them."""
        word, _, name = line.partition(b" ")
        if word != b"#source" or session.refused or name.decode(errors="replace") not in session.places:
            return False
        self._flush_if_waiting(session, NO_SHAPE, now)
        if session.held:
            return False
        session.lines += 1
        session.said(line)
        return True

    @staticmethod
    def _pace(session: Session, block: bytes, start: int, now: int) -> Pace | None:
        """What keeps the first rows from `start` on back, if they are a backlog by the time of the very first."""
        at = session.time_at
        if session.sequence is None or at is None:
            return None
        tokens = block[start : block.find(b"\n", start)].split(None, at + 1)
        try:
            time = when.time_ns(tokens[at]) if at < len(tokens) else None
        except LineError:
            return None
        return session.sequence.pace if time is not None and time < now - OLD_NS else None

    @staticmethod
    def _peel(block: bytes) -> tuple[bytes, bytes]:
        """The first lines, and the rest."""
        at = 0
        for _ in range(PEEL_LINES):
            at = block.find(b"\n", at) + 1
            if at == len(block):
                break
        return block[:at], block[at:]

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
        are_numbered = False
        for session, _ in blocks:
            if session.ring is None or session.ring.arena is not arena or session.ring.is_gone:
                return False  # a source got more columns, or was forgotten, while the blocks waited
            are_numbered = are_numbered or session.sequence is not None
        if are_numbered and not are_next([session for session, _ in blocks]):
            return False
        found = wire.rows([block for _, block in blocks], width, time_at, 1 + arena.width, now)
        if found is None:
            return False
        cells, lines, odd = found
        bad = self._all_bad(blocks, lines, odd) if odd else []
        if bad is None:
            return False
        counts = lines.copy()
        for which, *_ in bad:
            counts[which] -= 1
        if not self._append(arena, [session for session, _ in blocks], counts, lines, cells):
            return False
        for (session, _), count in zip(blocks, counts, strict=True):
            session.needs_care = wire.FEW * len(bad) > len(cells)
            self.accounts.store(session, count)
        for which, number, line, error in bad:
            ring = blocks[which][0].ring
            assert ring
            self.accounts.reject(blocks[which][0], error, line, now, number, ring.entry.source)
        for (session, _), count in zip(blocks, lines, strict=True):
            session.lines += count
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
            session.owed[sequence] = None
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
            line = raw.removesuffix(b"\r").strip(b" \t")
            if not line or line.startswith(b"#"):
                return None
            try:
                wire.text(line)
                if names.kind(line, session.in_rows) is not names.Kind.ROW:
                    return None
                self._careful.row(session, wire.tokens(line))
                return None
            except LineError as error:
                number = before[which] + 1 + index - (ends[which] - counts[which])
                bad.append((which, number, line, error))
        return bad

    def _field_block(self, session: Session, block: bytes, now: int) -> bool:
        """Store a block of pairs or JSON that differ in their numbers only; False, and nothing done, if they do not."""
        if shape_of(session, block) != FIELDS or (found := fields.alike(block, now)) is None:
            return False
        try:
            session.check(session.named_source)
            ring, columns = self._named.point_place(session.named_source, found.names)
            if not self.store.widen():
                return False
            cells = np.full((len(found.times), 1 + ring.width), np.nan)
            cells[:, [1 + column for column in columns]] = found.values
            cells.view(np.int64)[:, 0] = found.times
            ring.arena.append_to(ring.entry.slot, cells.view(np.int64))
        except LineError:
            return False
        self.devices.heed(session, ring.entry.source)
        self.accounts.strings += found.strings
        session.lines += len(found.times)
        session.needs_care = False
        self.accounts.store(session, len(found.times))
        return True

    def _named_blocks(self, blocks: list[tuple[Session, bytes]], now: int) -> bool:
        """Store blocks of metrics or of points; False, and nothing done, if there is anything else."""

        def in_rows() -> bool:
            return any(session.in_rows for session, _ in blocks)

        joined, body = b"".join([block for _, block in blocks]), blocks[0][0].body
        if body and body.has_points:
            is_stored = self._named.store_points(joined, now, body)
        else:
            is_stored = self._named.store_block(joined, now, in_rows)
        if not is_stored:
            return False
        for session, block in blocks:
            if not session.lines and not body and self.devices.book.count:
                self._heed_first(session, block)
            count = wire.count_lines(block)
            session.lines += count
            session.needs_care = False
            self.accounts.store(session, count)
        return True

    def _heed_first(self, session: Session, block: bytes) -> None:
        """Count a connection whose first lines name a device's source: to look at all of them would cost others."""
        for line in block.split(b"\n", PEEL_LINES)[:PEEL_LINES]:
            with suppress(LineError):
                self.devices.heed(session, source_named(line.removesuffix(b"\r").strip(b" \t"), session.in_rows))
