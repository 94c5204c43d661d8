"""Lines that name their source themselves: metrics and points, many at once.

A metric is ``NAME VALUE [TIME]``, a point a line of InfluxDB's. The C reader reads a block of them line by line, and
looks up where each goes in what was met before. Without it a block of either is split once, and values and times are
parsed in bulk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from linemon.errors import LineError
from linemon.lines import bulk, influx, names, wire
from linemon.lines.body import Body
from linemon.lines.names import Head
from linemon.lines.turn import Turn, TurnOver
from linemon.store.arena import ArenaWriter
from linemon.store.ring import Cells, Floats, Ints, Slots
from linemon.store.writer import Ring, StoreWriter

MAX_PLACES = 20_000  # measurements with their tags and fields that are remembered, none longer than PLACE_BYTES
PLACE_BYTES = 2048
METRIC = ("value",)
Append = tuple[ArenaWriter, Slots, Cells]  # whose rings, which of them, and a row for each
InRows = Callable[[], bool]


class Place(NamedTuple):
    """Where the fields of Influx points go: a ring, and which of its columns each field is."""

    ring: Ring
    columns: tuple[int, ...]


def source_named(line: bytes, in_rows: bool) -> str:
    """The source that a metric, a `put` line or a point names. LineError if it is none of them, or a bad one."""
    kind = names.kind(line, in_rows)
    if kind is names.Kind.INFLUX:
        return influx.point(line).source
    return (names.put if kind is names.Kind.PUT else names.metric)(line).source


@lru_cache(maxsize=256)
def _fields(keys: tuple[bytes, ...]) -> tuple[str, ...]:
    """The columns that fields of points are. LineError if one is none."""
    text = b"m " + b",".join(key + b"=0" for key in keys)
    wire.text(text)  # also what is left out
    point = influx.point(text)
    if len(point.fields) < len(keys) or names.kind(text, in_rows=False) is not names.Kind.INFLUX:
        raise LineError("fields", "a field that is no column, or another kind of line")
    return tuple(point.fields)


class NamedLines:
    """Where metrics and points go, and how many of them go there at once."""

    def __init__(self, store: StoreWriter, turn: Turn) -> None:
        self._store = store
        self._turn = turn
        self._metrics: dict[Head, int] = {}  # slots of metrics in their one arena
        self._digit_heads: set[Head] = set()  # those of them that are rows on other connections
        self._metric_arena: ArenaWriter | None = None
        self._places: dict[tuple[bytes, tuple[bytes, ...]], Place] = {}
        self._known: dict[bytes, int] = {}  # keys of the C reader: the slot << 32, and which of
        self._targets: dict[tuple[ArenaWriter, tuple[int, ...]], int] = {}  # the arenas and columns lines go to
        self._moves = 0  # of the store, when these were true

    def heed_moves(self) -> None:
        """Forget what was true of sources before they got more columns or were removed, and too many spellings."""
        most = MAX_PLACES + 2 * self._store.max_sources
        if self._moves != self._store.moves or max(len(self._metrics), len(self._known)) > most:
            self._forget()

    def _forget(self) -> None:
        self._moves = self._store.moves
        self._known.clear()
        self._targets.clear()
        self._metrics.clear()
        self._digit_heads.clear()
        self._places = {key: place for key, place in self._places.items() if not place.ring.is_gone}

    def store_block(self, block: bytes, now: int, in_rows: InRows) -> bool:
        """Store lines of one kind and length; False, and nothing done, if they are not that. TurnOver if that takes
        too long: nothing is stored, but some of their new sources are there then.

        `in_rows`: whether some come from a connection on which what starts with a digit is a row.
        """
        if bulk.reader and not (self._digit_heads and in_rows()):
            is_stored = self._store_read(block, now, in_rows)
            if is_stored is not None:
                return is_stored
        if b"\r" in block:
            block = block.replace(b"\r\n", b"\n")
        tokens = block.split()
        lines = wire.count_lines(block)
        per_line = len(tokens) // lines
        if per_line < 2 or len(tokens) != lines * per_line or not wire.is_regular(block, per_line):
            tidy = block if b'"' in block or b"\r" in block else wire.tidied(block)
            if tidy != block:
                return self.store_block(tidy, now, in_rows)
            return self._store_braced(block, lines, now, in_rows)
        if tokens[0] == b"put" and per_line > 3:
            if tokens[::per_line].count(b"put") < lines:
                return False
            spelled = list(zip(tokens[1::per_line], *(tokens[at::per_line] for at in range(4, per_line)), strict=True))
            return self._store_metrics(spelled, tokens[3::per_line], tokens[2::per_line], now, in_rows)
        if per_line > 3:
            return self._store_braced(block, lines, now, in_rows)
        if b"=" not in tokens[1]:
            heads = tokens[::per_line]
            return self._store_metrics(
                heads, tokens[1::per_line], tokens[2::3] if per_line == 3 else None, now, in_rows
            )
        times = wire.times(tokens[2::3], now) if per_line == 3 else np.full(lines, now)
        if times is None or b'"' in block or b"\\" in block:
            return False
        return self._store_points(tokens[::per_line], tokens[1::per_line], times)

    def store_points(self, block: bytes, now: int, body: Body) -> bool:
        """Store the Influx points of a body; False, and nothing done, if there is anything else, or something odd.

        TurnOver as for `store_block`.
        """
        if bulk.reader:
            return bool(self._store_read(block, now, lambda: False, body.unit))
        if b"\r" in block or b"\t" in block or b"  " in block:
            block = wire.tidied(block)
        tokens = block.split()
        lines = wire.count_lines(block)
        per_line = len(tokens) // lines
        if per_line not in (2, 3) or not wire.is_regular(block, per_line) or b'"' in block or b"\\" in block:
            return False
        times = body.times(tokens[2::3], now) if per_line == 3 else np.full(lines, now)
        return times is not None and self._store_points(tokens[::per_line], tokens[1::per_line], times)

    def _store_read(self, block: bytes, now: int, in_rows: InRows, unit: int | None = None) -> bool | None:
        """Store what the C reader makes of a block; None, and nothing done, if it is not sure of a line, False if one
        cannot be stored.

        `unit` is that of the times of a body, in which there are points only.
        """
        assert bulk.reader
        space = np.empty((4, len(block) // 4 + 1), np.int64)
        while True:
            found = bulk.reader.named(block, self._known, unit is not None, unit or 0, now, space)
            if found is None:
                return None
            lines, values, unknown = found
            if not unknown:
                break
            if not self._learn(list(dict.fromkeys(unknown)), in_rows):
                return False
        slots, targets, times = space[:3, :lines]
        return self._append(list(self._spread(slots, targets, times, space[3, :values])))

    def _learn(self, keys: list[bytes], in_rows: InRows) -> bool:
        """Find out where lines of these keys go, as the C reader has them; False if one of them cannot be stored."""
        places: dict[bytes, Place] = {}
        why: LineError | TurnOver | None = None
        have_room = True
        try:
            for key in self._turn.each(keys):
                head, is_point, fields = key.partition(b"\n")
                if is_point:
                    places[key] = self._find(head, tuple(fields.split(b",")))
                else:
                    places[key] = Place(self.metric_ring(names.source_of(key, key[:1].isdigit() and in_rows())), (0,))
                if self._store.has_many_to_widen():
                    have_room &= self._store.widen()
        except (LineError, TurnOver) as error:
            why = error
        if not self._store.widen() or not have_room:
            return False
        if self._moves != self._store.moves:
            self._forget()
        for key, (ring, columns) in places.items():
            target = self._targets.setdefault((ring.arena, columns), len(self._targets))
            self._known[key] = ring.entry.slot << 32 | target
            if key[:1].isdigit() and b"\n" not in key:
                self._digit_heads.add(key)
        if isinstance(why, TurnOver):
            raise why
        return why is None

    def _spread(self, slots: Slots, targets: Ints, times: Ints, values: Cells) -> Iterator[Append]:
        """What to append for lines that the C reader read; `values`, as bits, are those of one line after the other."""
        if (targets == targets[0]).all():
            arena, columns = list(self._targets)[targets[0]]
            are_all = columns == tuple(range(arena.width))
            cells = np.empty((len(slots), 1 + arena.width), np.int64)
            if not are_all:
                cells.view(np.float64)[:] = np.nan
            cells[:, 0] = times
            cells[:, slice(1, None) if are_all else 1 + np.array(columns)] = values.reshape(len(slots), -1)
            yield arena, slots, cells
            return
        seen = set(np.unique(targets).tolist())
        places = [(target, *place) for place, target in self._targets.items() if target in seen]
        widths = np.array([len(columns) for _, columns in self._targets])[targets]
        starts = np.cumsum(widths) - widths
        for arena in {arena for _, arena, _ in places}:
            here = [(target, columns) for target, of, columns in places if of is arena]
            mine = np.flatnonzero(np.isin(targets, [target for target, _ in here]))
            cells = np.full((len(mine), 1 + arena.width), np.nan).view(np.int64)
            cells[:, 0] = times[mine]
            for target, columns in here:
                rows = np.flatnonzero(targets[mine] == target)
                which = starts[mine[rows], None] + np.arange(len(columns))
                cells[rows[:, None], 1 + np.array(columns)] = values[which]
            yield arena, slots[mine], cells

    def _append(self, appends: list[Append]) -> bool:
        """Append to several arenas; False, and nothing done, if there is no room."""
        try:
            if len(appends) > 1:  # all or none: one of them finds out by itself
                for arena in {arena for arena, _, _ in appends}:
                    arena.make_rooms(np.concatenate([slots for each, slots, _ in appends if each is arena]))
            for arena, slots, cells in appends:
                arena.append(slots, cells)
        except LineError:
            return False
        return True

    def _store_braced(self, block: bytes, lines: int, now: int, in_rows: InRows) -> bool:
        """Store metrics of which some have blanks in Prometheus's braces."""
        found = names.LINES.findall(block) if b"{" in block else []
        if len(found) != lines:
            return False
        heads, values, times = zip(*found, strict=True)
        if any(times) and not all(times):
            return False
        return self._store_metrics(heads, values, times if times[0] else None, now, in_rows)

    def _store_metrics(
        self, heads: Sequence[Head], said: Sequence[bytes], stamps: Sequence[bytes] | None, now: int, in_rows: InRows
    ) -> bool:
        """Store metrics by how they are spelled; False, and nothing done, if one of them cannot be stored."""
        values = bulk.numbers(b",".join([*said, *stamps] if stamps else said))
        if values is None or len(values) != len(said) * (2 if stamps else 1):
            return False
        times: Ints | None = None
        if stamps:
            times = wire.epoch_times(values[len(said) :], now)
            if times is None:
                times = wire.times(stamps, now)
            if times is None or (times < names.YEAR_2000).any():
                return False
        if self._digit_heads and in_rows() and not self._digit_heads.isdisjoint(heads):
            return False
        try:
            slots = list(map(self._metrics.__getitem__, heads))
        except KeyError:
            if not self._meet([head for head in dict.fromkeys(heads) if head not in self._metrics], in_rows):
                return False
            slots = list(map(self._metrics.__getitem__, heads))
        cells = np.empty((len(said), 2))
        cells[:, 1] = values[: len(said)]
        cells.view(np.int64)[:, 0] = now if times is None else times
        assert self._metric_arena
        try:
            self._metric_arena.append(np.array(slots), cells.view(np.int64))
        except LineError:  # no room
            return False
        return True

    def _store_points(self, heads: list[bytes], fields: list[bytes], times: Ints) -> bool:
        """Store Influx lines; False, and nothing done, if those of one measurement differ in their fields."""
        groups = [(list(range(len(heads))), heads, influx.columns(fields))]
        if groups[0][2] is None:
            by_measurement: dict[bytes, list[int]] = {}
            for i, head in enumerate(heads):
                by_measurement.setdefault(head.partition(b",")[0], []).append(i)
            groups = [
                (at, [heads[i] for i in at], influx.columns([fields[i] for i in at])) for at in by_measurement.values()
            ]
        met: list[tuple[list[bytes], Ints, Floats, dict[bytes, Place]]] = []
        first: list[tuple[int, bytes, tuple[bytes, ...]]] = []
        for at, group, found in groups:
            if found is None:
                return False
            met_at = dict(zip(reversed(group), reversed(at), strict=True))
            first += [(i, head, found[0]) for head, i in met_at.items()]
        why: LineError | TurnOver | None = None
        have_room = True
        try:
            for _, head, keys in self._turn.each(sorted(first)):  # as the lines come: max_sources may end it
                self._place(head, keys)
                if self._store.has_many_to_widen():
                    have_room &= self._store.widen()
        except (LineError, TurnOver) as error:
            why = error
        if not self._store.widen() or not have_room:
            self._places.clear()  # some name columns for which there was no room
            return False
        if isinstance(why, TurnOver):
            raise why
        if why:
            return False
        for at, group, found in groups:
            assert found is not None
            keys, table = found
            places = {head: self._place(head, keys) for head in dict.fromkeys(group)}
            met.append((group, times[at] if len(groups) > 1 else times, table, places))
        appends = [append for group in met for append in self._appends(*group)]
        return self._append(appends)

    @staticmethod
    def _appends(group: list[bytes], times: Ints, table: Floats, places: dict[bytes, Place]) -> Iterator[Append]:
        """What to append for points with the same fields: rows for the same columns of the same arena go together."""
        targets = {(place.ring.arena, place.columns) for place in places.values()}
        for arena, columns in targets:
            here = [
                (head, ring.entry.slot) for head, (ring, at) in places.items() if (ring.arena, at) == (arena, columns)
            ]
            slots, heads = dict(here), group
            mine: slice | list[int] = slice(None)
            if len(targets) > 1:
                mine = [i for i, head in enumerate(group) if head in slots]
                heads = [group[i] for i in mine]
            cells = np.full((len(heads), 1 + arena.width), np.nan)
            cells[:, [1 + column for column in columns]] = table[mine]
            cells.view(np.int64)[:, 0] = times[mine]
            yield arena, np.array(list(map(slots.__getitem__, heads))), cells.view(np.int64)

    def _place(self, head: bytes, keys: tuple[bytes, ...]) -> Place:
        """Where points of this measurement and tags with these fields go."""
        place = self._places.get((head, keys))
        if place is None:
            place = self._find(head, keys)
            if len(head) + sum(map(len, keys)) <= PLACE_BYTES:
                if len(self._places) >= MAX_PLACES:
                    self._places.clear()
                self._places[head, keys] = place
        return place

    def _find(self, head: bytes, keys: tuple[bytes, ...]) -> Place:
        """The same, of those that were not met before. LineError if such a point is to be looked at by itself."""
        fields, source = _fields(keys), influx.source_of(head)
        if names.kind(head + b" f=0", in_rows=False) is not names.Kind.INFLUX:
            raise LineError("syntax", "another kind of line")
        return self.point_place(source, fields)

    def point_place(self, source: str, fields: tuple[str, ...]) -> Place:
        """The ring of a point's source, with these fields among its columns, or among those that `widen` will add."""
        ring = self._store.rings.get(source)
        if ring is None:
            ring = self._store.bind(source, fields, ("",) * len(fields))
        elif new := tuple(field for field in fields if field not in ring.columns):
            self._store.announce(ring, new)
        return Place(ring, tuple(map(ring.columns.index, fields)))

    def _meet(self, heads: Iterable[Head], in_rows: InRows) -> bool:
        """Remember where metrics go that were not met since the last move; False if one of them cannot be stored."""
        try:
            for head in self._turn.each(heads):
                is_digit = isinstance(head, bytes) and head[:1].isdigit()
                ring = self.metric_ring(names.source_of(head, is_digit and in_rows()))
                self._metrics[head], self._metric_arena = ring.entry.slot, ring.arena
                if is_digit:
                    self._digit_heads.add(head)
        except LineError:
            return False
        return True

    def metric_ring(self, source: str) -> Ring:
        """The ring of a metric, made if it is new. LineError if it cannot have one, or its source has more columns."""
        ring = self._store.rings.get(source)
        if ring is None:
            return self._store.bind(source, METRIC, ("",))
        if ring.columns != METRIC:
            have = ", ".join(map(repr, ring.columns[:3])) + (" …" if len(ring.columns) > 3 else "")
            raise LineError("columns", f"a metric has one column, 'value'; source {source!r} has {have}")
        return ring
