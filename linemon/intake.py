"""Lines of all connections, parsed and appended in as few calls as there are shapes of rows.

A block of complete lines waits until `flush`; then the blocks of all connections that send rows of one shape are
joined, parsed with one call and appended with one. Only a block that does not parse so is looked at line by line.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from linemon import influx, wire
from linemon.errors import LineError
from linemon.ring import REJECTED, Arena
from linemon.session import Session
from linemon.wire import Floats, Ints
from linemon.writer import Ring, StoreWriter

log = logging.getLogger(__name__)

BAD_LINES = 100  # the last ones are kept for whoever asks why
LOG_EVERY_NS = 60 * 10**9  # a reason for rejection is logged at most so often
FEW_ROWS = 50  # a connection and round: up to here rows of many connections are appended together
PEEL_LINES = 8  # at the start of a connection: directives and the first row, before the rest can go in bulk
MAX_PLACES = 20_000  # measurements with their tags and fields that are remembered, none longer than PLACE_BYTES
PLACE_BYTES = 2048
METRIC = ("value",)

# What rows must share to be parsed and appended together: the arena, the numbers a line without the time, and where
# the time stands. METRICS stands for all metric lines, NO_SHAPE for lines to be looked at one by one.
Shape = tuple[Arena | None, int, int | None]
METRICS: Shape = (None, 1, None)
NO_SHAPE: Shape = (None, 0, None)


@dataclass(frozen=True)
class BadLine:
    """A line that was not taken: when (ns since the epoch), from whom, where in the connection, and why."""

    time: int
    peer: str
    source: str  # empty where the connection had none yet
    number: int
    reason: str
    error: str
    line: str


class Place(NamedTuple):
    """Where the fields of Influx points go: a ring, and which of its columns each field is."""

    ring: Ring
    columns: tuple[int, ...]


class Intake:
    """Takes bytes of sessions, puts their rows into the store, and accounts for every line.

    received = stored + duplicate + the sum of `rejected` + the sum of `dropped`, in data lines, after every call.
    """

    def __init__(self, store: StoreWriter) -> None:
        self.store = store
        self.received = self.stored = self.duplicate = 0
        self.rejected: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()
        self.strings = 0  # fields of Influx lines that are texts: left out
        self.bad_lines: deque[BadLine] = deque(maxlen=BAD_LINES)
        self._logged: dict[str, tuple[int, int]] = {}  # reason: when last (ns), and how many it had then
        self._waiting: dict[Shape, list[tuple[Session, bytes]]] = {}
        self._waits: dict[Session, Shape] = {}
        self._rows: dict[Arena, list[tuple[Session, int, int, list[float]]]] = {}  # taken one by one, not stored yet
        self._metrics: dict[bytes, int] = {}  # slots of metrics in their one arena, as of so many moves
        self._metric_arena: Arena | None = None
        self._moves = 0
        self._places: dict[tuple[bytes, tuple[bytes, ...]], Place] = {}

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
                self._reject(session, part, b"", now)
            else:
                self._take_block(session, part, now)

    def end(self, session: Session, now: int) -> None:
        """The peer closed cleanly: a last line without its newline counts."""
        if last := session.end():
            self._take_block(session, last, now)

    def flush(self, now: int) -> None:
        """Parse and append all that waits; rows without a time of their own get `now` (ns since the epoch)."""
        waiting, self._waiting, self._waits = self._waiting, {}, {}
        for shape, blocks in waiting.items():
            self._heed_moves()
            if not (self._metric_blocks(blocks, now) if shape == METRICS else self._row_blocks(shape, blocks, now)):
                for session, block in blocks:
                    self._take_lines(session, block, now)

    def _heed_moves(self) -> None:
        """Drop what was remembered of sources that got more columns or were forgotten."""
        if self._moves != self.store.moves:
            self._moves = self.store.moves
            self._metrics.clear()
            self._places = {key: place for key, place in self._places.items() if not place.ring.is_gone}

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
            if first.isalpha():
                return METRICS
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
        if any(session.ring is None or session.ring.arena is not arena or not session.fits() for session, _ in blocks):
            return False  # a source got more columns, or was forgotten, while the blocks waited
        joined = blocks[0][1] if len(blocks) == 1 else b"".join([block for _, block in blocks])
        counts = [wire.count_lines(block) for _, block in blocks]
        lines = counts.copy()
        tokens = width + (time_at is not None)
        bad = None
        for tidy in (False, True):  # superfluous blanks are rare, and to look for them costs as much as to parse
            found = wire.rows(joined, tokens, tidy=tidy)
            if found is None:
                return False
            values, odd, rows = found
            bad = self._all_bad(blocks, counts, odd) if odd else []
            if bad is not None:
                break
        if bad is None:
            return False
        times: Ints = np.full(len(values), now)
        if time_at is not None:
            epoch = wire.epoch_times(values[:, time_at], now)
            if epoch is None:
                epoch = wire.times(rows.split()[time_at::tokens], now)
            if epoch is None:
                return False
            times, values = epoch, np.delete(values, time_at, axis=1)
        cells = np.empty((len(values), 1 + arena.width))
        cells[:, 1 : 1 + width] = values
        cells[:, 1 + width :] = np.nan
        cells.view(np.int64)[:, 0] = times
        for which, *_ in bad:
            counts[which] -= 1
        if len(values) >= FEW_ROWS * len(blocks):  # long blocks: one by one is quicker than to sort them out
            at = 0
            for (session, _), count in zip(blocks, counts, strict=True):
                arena.append_to(session.slot, cells[at : at + count].view(np.int64))
                at += count
        else:
            arena.append(np.repeat([session.slot for session, _ in blocks], counts), cells.view(np.int64))
        for (session, _), count in zip(blocks, counts, strict=True):
            session.needs_care = 16 * len(bad) > len(values)
            self._count_stored(session, count)
        for which, number, line, error in bad:
            self._reject(blocks[which][0], error, line, now, number)
        for (session, _), count in zip(blocks, lines, strict=True):
            session.lines += count
        return True

    def _all_bad(
        self, blocks: list[tuple[Session, bytes]], counts: list[int], odd: list[tuple[int, bytes]]
    ) -> list[tuple[int, int, bytes, LineError]] | None:
        """Why each of the odd lines is to be rejected: its block, its number in the connection, itself, the error.

        None if one of them is not to be rejected: a row written in another way, another kind of line, nothing.
        """
        ends = np.cumsum(counts)
        lines: dict[Session, int] = {}  # a session may have several blocks
        before = []
        for (session, _), count in zip(blocks, counts, strict=True):
            before.append(lines.setdefault(session, session.lines))
            lines[session] += count
        bad = []
        for index, raw in odd:
            which = int(np.searchsorted(ends, index, side="right"))
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
                number = before[which] + 1 + index - (int(ends[which]) - counts[which])
                bad.append((which, number, line, error))
        return bad

    def _metric_blocks(self, blocks: list[tuple[Session, bytes]], now: int) -> bool:
        """Store blocks of metric lines of one length; False, and nothing done, if there is anything else."""
        joined = b"".join([block for _, block in blocks])
        if b"\r" in joined:
            joined = joined.replace(b"\r\n", b"\n")
        tokens = joined.split()
        lines = wire.count_lines(joined)
        per_line = len(tokens) // lines
        if per_line not in (2, 3) or len(tokens) != lines * per_line or not wire.is_regular(joined, per_line):
            return False
        names = tokens[::per_line]
        times: Ints | None = np.full(lines, now)
        if b"=" in tokens[1]:
            if per_line == 3:
                times = wire.times(tokens[2::3], now)
            if times is None or b'"' in joined or b"\\" in joined:
                return False
            return self._influx_points(names, tokens[1::per_line], times) and self._count_blocks(blocks)
        del tokens[::per_line]
        values = wire.numbers(b",".join(tokens))
        if values is None or len(values) != len(tokens):
            return False
        if per_line == 3:
            times = wire.epoch_times(values[1::2], now)
            if times is None:
                times = wire.times(tokens[1::2], now)
        if times is None:
            return False
        try:
            slots = list(map(self._metrics.__getitem__, names))
        except KeyError:
            if not self._meet([name for name in dict.fromkeys(names) if name not in self._metrics]):
                return False
            slots = list(map(self._metrics.__getitem__, names))
        cells = np.empty((lines, 2))
        cells[:, 1] = values[:: per_line - 1]
        cells.view(np.int64)[:, 0] = times
        assert self._metric_arena
        self._metric_arena.append(np.array(slots), cells.view(np.int64))
        return self._count_blocks(blocks)

    def _count_blocks(self, blocks: list[tuple[Session, bytes]]) -> bool:
        for session, block in blocks:
            count = block.count(b"\n")
            session.lines += count
            session.needs_care = False
            self._count_stored(session, count)
        return True

    def _influx_points(self, heads: list[bytes], fields: list[bytes], times: Ints) -> bool:
        """Store Influx lines; False, and nothing done, if those of one measurement differ in their fields."""
        groups = [(np.arange(len(heads)), influx.columns(fields))]
        if groups[0][1] is None:
            by_measurement: dict[bytes, list[int]] = {}
            for i, head in enumerate(heads):
                by_measurement.setdefault(head.partition(b",")[0], []).append(i)
            groups = [(np.array(at), influx.columns([fields[i] for i in at])) for at in by_measurement.values()]
        met: list[tuple[list[bytes], Ints, Floats, dict[bytes, Place]]] = []
        first: list[tuple[int, bytes, tuple[bytes, ...]]] = []
        for at, found in groups:
            if found is None:
                return False
            met_at = {heads[i]: i for i in reversed(at.tolist())}
            first += [(i, head, found[0]) for head, i in met_at.items()]
        try:
            for _, head, keys in sorted(first):  # as the lines come: max_sources may end it
                self._place(head, keys)
        except LineError:
            return False
        for at, found in groups:
            assert found is not None
            keys, table = found
            group = [heads[i] for i in at]
            places = {head: self._place(head, keys) for head in dict.fromkeys(group)}
            met.append((group, times[at], table, places))
        for group, at_times, table, places in met:
            # Rows for the same columns of the same arena go together.
            targets = {(place.ring.arena, place.columns) for place in places.values()}
            for arena, columns in targets:
                mine = np.arange(len(group))
                if len(targets) > 1:
                    here = {head for head, at in places.items() if (at.ring.arena, at.columns) == (arena, columns)}
                    mine = np.array([i for i, head in enumerate(group) if head in here])
                cells = np.full((len(mine), 1 + arena.width), np.nan)
                cells[:, [1 + column for column in columns]] = table[mine]
                cells.view(np.int64)[:, 0] = at_times[mine]
                slots = np.array([places[group[i]].ring.entry.slot for i in mine])
                arena.append(slots, cells.view(np.int64))
        return True

    def _place(self, head: bytes, keys: tuple[bytes, ...]) -> Place:
        """Where points of this measurement and tags with these fields go."""
        place = self._places.get((head, keys))
        if place is None:
            text = head + b" " + b",".join(key + b"=0" for key in keys)
            point = influx.point(text)
            place = self._point_place(point.source, tuple(point.fields))
            if len(text) <= PLACE_BYTES:
                if len(self._places) >= MAX_PLACES:
                    self._places.clear()
                self._places[head, keys] = place
        return place

    def _point_place(self, source: str, fields: tuple[str, ...]) -> Place:
        """The ring of a point's source, with these fields among its columns."""
        ring = self.store.rings.get(source)
        have = ring.entry.columns if ring else ()
        new = tuple(field for field in fields if field not in have)
        if ring is None or new:
            self._store_rows()  # a source that gets more columns moves
            ring = self.store.bind(source, have + new, ("",) * (len(have) + len(new)))
        return Place(ring, tuple(ring.entry.columns.index(field) for field in fields))

    def _meet(self, names: list[bytes]) -> bool:
        """Remember where metrics go that were not met since the last move; False if one of them cannot be stored."""
        try:
            for name in names:
                ring = self._metric_ring(name)
                self._metrics[name], self._metric_arena = ring.entry.slot, ring.arena
        except LineError:
            return False
        return True

    def _metric_ring(self, token: bytes) -> Ring:
        """The ring of a metric, made if it is new. LineError if it cannot have one, or its source has more columns."""
        if not wire.is_metric_name(token):
            raise LineError("name", f"{wire.show(token)} is not a metric name: it starts with a letter or _")
        ring = self.store.bind(wire.source_name(wire.text(token)), METRIC, ("",))
        if ring.width > 1:
            raise LineError("columns", f"source {ring.entry.source!r} has {ring.width} columns, a metric has one")
        return ring

    # -- one line at a time

    def _take_lines(self, session: Session, block: bytes, now: int) -> None:
        session.needs_care = True
        for raw in block.split(b"\n")[:-1]:
            session.lines += 1
            line = raw.removesuffix(b"\r").strip(b" \t")
            try:
                if line.startswith(b"#"):
                    self._store_rows()  # what the directive says holds from the next row on
                    session.said(line)
                elif line:
                    self._take_line(session, line, now)
            except LineError as error:
                if line.startswith(b"#"):
                    self._answer(session, error, session.lines)
                else:
                    self._reject(session, error, line, now)
        self._store_rows()

    def _take_line(self, session: Session, line: bytes, now: int) -> None:
        """Take one row or metric line; LineError if it cannot be taken."""
        if not session.authorized:
            raise LineError("token", "this port asks for a #token first")
        wire.text(line)
        tokens = wire.tokens(line)
        if wire.is_metric_name(tokens[0]) and influx.IS_INFLUX.match(line):
            point = influx.point(line)
            time = None if point.time is None else wire.time_ns(point.time)
            ring, columns = self._point_place(point.source, tuple(point.fields))
            values = [float("nan")] * ring.width
            for column, value in zip(columns, point.fields.values(), strict=True):
                values[column] = value
            self.strings += point.strings
        elif wire.is_metric_name(tokens[0]):
            if len(tokens) not in (2, 3):
                raise LineError("tokens", f"a metric is NAME VALUE [TIME], not {len(tokens)} tokens")
            values = [wire.number(tokens[1])]
            time = wire.time_ns(tokens[2]) if len(tokens) == 3 else None
            ring = self._metric_ring(tokens[0])
        else:
            time, values, ring = self._row(session, tokens)
        padding = [float("nan")] * (ring.width - len(values))
        row = session, ring.entry.slot, now if time is None else time, values + padding
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
        return time, values, session.ring

    def _store_rows(self) -> None:
        """Append what was taken one by one."""
        rows, self._rows = self._rows, {}
        for arena, taken in rows.items():
            sessions, slots, times, values = zip(*taken, strict=True)
            cells = np.empty((len(taken), 1 + arena.width))
            cells[:, 1:] = values
            cells.view(np.int64)[:, 0] = times
            arena.append(np.array(slots), cells.view(np.int64))
            for session in sessions:
                self._count_stored(session, 1)

    # -- accounts

    def _count_stored(self, session: Session, count: int) -> None:
        session.received += count
        session.stored += count
        self.received += count
        self.stored += count

    def _reject(self, session: Session, error: LineError, line: bytes, now: int, number: int | None = None) -> None:
        """Count a line that was not taken; `number` is its own in the connection, if that is not the last one."""
        number = number or session.lines
        session.received += 1
        session.rejected += 1
        self.received += 1
        self.rejected[error.reason] += 1
        first = wire.tokens(line)[:1]
        if first and wire.is_metric_name(first[0]):
            source = first[0].decode(errors="replace")
        else:
            source = session.ring.entry.source if session.ring else session.source or ""
        if ring := self.store.rings.get(source):
            ring.arena.cells[ring.entry.slot, REJECTED] += 1
        shown = line[:200].decode(errors="replace")
        bad = BadLine(now, session.peer, source, number, error.reason, str(error), shown)
        self.bad_lines.append(bad)
        self._log(bad, now)
        self._answer(session, error, number)

    def _log(self, bad: BadLine, now: int) -> None:
        count = self.rejected[bad.reason]
        when, had = self._logged.get(bad.reason, (0, 0))
        if now - when >= LOG_EVERY_NS:
            self._logged[bad.reason] = now, count
            log.warning(
                "rejected %d line(s) for %r, the last from %s, line %d: %s",
                count - had, bad.reason, bad.peer, bad.number, bad.error,
            )  # fmt: skip

    @staticmethod
    def _answer(session: Session, error: LineError, number: int) -> None:
        if session.wants_errors:
            session.reply(f"#error {number} {error}")
