"""The tiers of history as their one writer has them: which ring each source has there, and what feeds it."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from linemon.errors import LineError
from linemon.patterns import fits
from linemon.sections import TierConfig
from linemon.store import buckets
from linemon.store.arena import ArenaWriter
from linemon.store.catalog import Entry
from linemon.store.folder import replace_file
from linemon.store.levels import LATE
from linemon.store.ring import COMMIT, DISORDER, ID, INHERITED, RESERVED, SENDERS, Arena, Cells, slot_bytes
from linemon.store.rollup import (
    LATE_LIMIT,
    LATE_LOOKED,
    LATE_TAKEN,
    LOOKED,
    REFUSED,
    TAKEN,
    WANTED,
    Feed,
    newest_starts,
)
from linemon.store.writer import Ring, StoreWriter

log = logging.getLogger(__name__)

PER_COLUMN = len(buckets.PARTS)
UNSURE = 8  # such a part of a ring, the oldest, may be overwritten before it is written out again
NOTED = ".noted"  # in place of .ring: how the rings of that file stood when it was last written out


@dataclass(frozen=True)
class Ringed:
    """A source whose rows, or bucket rows, are to go into a tier."""

    entry: Entry
    arena: Arena
    life: str  # what its row numbers belong to: "rows:BORN", or a finer tier's name
    of_tier: bool

    @property
    def columns(self) -> tuple[str, ...]:
        """Of the source itself."""
        return buckets.sources_columns(self.entry.columns) if self.of_tier else self.entry.columns

    @property
    def units(self) -> tuple[str, ...]:
        return self.entry.units[::PER_COLUMN] if self.of_tier else self.entry.units


class Tier:
    """Buckets of one length, and in a store beside it parts of buckets for rows that came late."""

    def __init__(self, config: TierConfig, folder: Path, max_sources: int, max_columns: int, mode: int) -> None:
        """StoreError says why its folders cannot be had."""
        self.config, self.name = config, config.step.text
        self.step, self.keep = config.step.ns, config.keep.ns
        settings = config.points, max_sources, PER_COLUMN * max_columns, mode
        self.main = StoreWriter(folder / self.name, *settings)
        try:
            self.late = StoreWriter(folder / (self.name + LATE), *settings)
        except BaseException:
            self.main.close()
            raise
        self._noted: dict[Path, Cells] = {}
        for store, in_order in ((self.main, True), (self.late, False)):
            for name in store.unsure:
                set_back(store.rings[name], in_order=in_order)

    def close(self) -> None:
        self.main.close()
        self.late.close()

    def sync(self) -> None:
        """Have the system write out what has changed, then note that it has; it may take long."""
        for store in (self.main, self.late):
            stand = {arena.path: noted_of(arena) for arena in arenas_of(store)}
            store.sync()
            for path, noted in stand.items():
                if not np.array_equal(noted, self._noted.get(path, noted[:0])):
                    os.close(replace_file(path.with_suffix(NOTED), noted.tobytes(), 0o600, is_synced=True))
                    self._noted[path] = noted

    def must_sync(self) -> bool:
        """Whether so much has come since that `set_back` would not do."""
        for arena in (arena for store in (self.main, self.late) for arena in arenas_of(store)):
            grown = noted_of(arena)[:, 1]
            if (noted := self._noted.get(arena.path)) is not None:
                grown[: len(noted)] -= noted[:, 1]
            if (grown > arena.points // UNSURE // 2).any():
                return True
        return False

    @property
    def state(self) -> object:
        """Another one after each change of rings."""
        return self.main.moves, self.late.moves, len(self.main.rings), len(self.late.rings)

    def is_gone(self) -> bool:
        """Whether somebody took its folders away."""
        return self.main.is_gone() or self.late.is_gone()

    def life(self, source: str) -> str:
        """What the numbers in its ring are of; empty where it has none."""
        ring = self.main.rings.get(source)
        return _names(ring).get(TAKEN, "") if ring else ""

    def inherit(self, finer: Tier, source: str) -> None:
        """Go on with what feeds the finer tier, which is to end; all that it holds of the source was taken."""
        ring, other = self.main.rings[source], finer.main.rings[source]
        for place, name in _names(other).items():
            ring.arena.register(ring.entry.slot, place, name, other.arena.acked(other.entry.slot, place))

    def takes(self, source: str) -> bool:
        return fits(self.config.sources, source)

    def promised(self) -> int:
        """The bytes that its rings take when all are full."""
        return sum(ring.arena.slot_bytes for store in (self.main, self.late) for ring in store.rings.values())

    def used(self) -> int:
        """The bytes that its files take now."""
        paths = [path for store in (self.main, self.late) for path in store.folder.glob("*.ring")]
        return sum(os.stat(path).st_blocks * 512 for path in paths)

    def ring(self, source: Ringed, room_for: Callable[[int], None]) -> Ring:
        """The ring of the source, with all its columns, and the numbers of its life.

        Columns are matched by name: those that are not there yet are added at the end, so that a place never changes
        its meaning. LineError where there is no room; `room_for` raises it where so many bytes are too many.
        """
        have = self.main.rings.get(source.entry.source)
        known: dict[str, str] = {}
        if have:
            known = dict(zip(buckets.sources_columns(have.entry.columns), have.entry.units[::PER_COLUMN], strict=True))
        else:
            room_for(slot_bytes(PER_COLUMN * len(source.columns), self.config.points))
        known |= {name: unit or known.get(name, "") for name, unit in zip(source.columns, source.units, strict=True)}
        moves = self.main.moves
        ring = self.main.bind(source.entry.source, *buckets.columns_of(tuple(known), tuple(known.values())))
        if self.main.moves != moves:  # all of it is new on the disk, and must not wait for that
            self.sync()
        most = source.arena.head(source.entry.slot) if source.of_tier else None
        _register(ring, {TAKEN: source.life, LOOKED: f"{source.life}:looked"}, most, begin_at(ring, source))
        return ring

    def late_ring(self, main: Ring, life: str, room_for: Callable[[int], None]) -> Ring:
        """The ring for what comes late, with the columns of the other one. LineError as for that."""
        if main.entry.source not in self.late.rings:
            room_for(main.arena.slot_bytes)
        ring = self.late.bind(main.entry.source, main.entry.columns, main.entry.units)
        _register(ring, {LATE_LOOKED: f"{life}:looked", LATE_LIMIT: f"{life}:limit", LATE_TAKEN: "late"})
        return ring

    def part(self, source: str, to: str | None) -> None:
        """Give what it holds of a source another name (None: remove it)."""
        for store in (self.late, self.main):
            ring = store.rings.get(source)
            if ring and to in store.rings:
                log.warning("the history of %r in %s stays: there is one of %r", source, self.name, to)
            elif ring:
                store.let_go(ring, to)
                store._catalog.sync()

    def forget(self, there: Collection[str], now: int) -> None:
        """Remove sources that are no more, or not meant any more, and of which all buckets are older than `keep`."""
        for store in (self.late, self.main):
            for name, ring in list(store.rings.items()):
                newest = newest_starts(ring.arena, np.array([ring.entry.slot]))
                if not (name in there and self.takes(name)) and newest[0] < now - self.keep:
                    store.let_go(ring)


def arenas_of(store: StoreWriter) -> set[ArenaWriter]:
    return {ring.arena for ring in store.rings.values()}


def noted_of(arena: ArenaWriter) -> Cells:
    """How each slot of a file stands: (n, 2 + 8) its id, its count, the numbers that are acknowledged."""
    numbers = arena._acked[np.arange(arena.slots), arena.cells[:, COMMIT] & 1]
    return np.column_stack((arena.cells[:, ID], arena.cells[:, COMMIT] >> 1, numbers))


def set_back(ring: Ring, *, in_order: bool) -> None:
    """Have a ring as it was when it was last written out.

    When power is lost, some pages of what came later are on the disk and others are not: the count, the numbers, rows,
    halves of rows. Newer rows may lie where the oldest ones were; in a ring that is `in_order` they are told by that.
    """
    arena, slot = ring.arena, ring.entry.slot
    head, oldest, numbers = 0, 0, np.zeros(SENDERS, np.int64)
    with suppress(OSError):  # it never was
        noted = np.frombuffer(arena.path.with_suffix(NOTED).read_bytes(), np.int64).reshape(-1, 2 + SENDERS)
        if slot < len(noted) and noted[slot, 0] == ring.entry.id:
            head, numbers = int(noted[slot, 1]), noted[slot, 2:]
    first = max(0, head - arena.points)
    if head >= arena.points and not in_order:
        oldest = first + arena.points // UNSURE
    elif head:
        times = arena.rows[slot, np.arange(first, head) % arena.points, 0]
        newer = np.flatnonzero(times > times[-1])
        oldest = first + int(newer[-1]) + 2 if len(newer) else 0  # the one after them may be half of a newer one
    cells = arena.cells[slot]
    cells[COMMIT] = 2 * head
    arena._acked[slot] = numbers
    cells[RESERVED] = max(head, min(oldest, head) + arena.points if oldest else 0)
    cells[DISORDER] = min(int(cells[DISORDER]), head)


def begin_at(ring: Ring, source: Ringed) -> dict[int, int]:
    """Where another life of a source begins, by place: rows that it inherits from the one before may be taken."""
    if source.of_tier or not _names(ring).get(TAKEN, "").startswith("rows:"):
        return {}
    inherited = int(source.arena.cells[source.entry.slot, INHERITED])
    return {place: min(inherited, ring.arena.acked(ring.entry.slot, place)) for place in (TAKEN, LOOKED)}


def _register(ring: Ring, names: dict[int, str], most: int | None = None, begin: dict[int, int] | None = None) -> None:
    """Have the ring keep numbers under these names, by place; one of another name begins at 0, or where `begin` says.

    None is above `most`: what they are of may have gone back, where power was lost.
    """
    have, slot = _names(ring), ring.entry.slot
    for place, name in names.items():
        if have.get(place) != name:
            ring.arena.register(slot, place, name, (begin or {}).get(place, 0))
        elif most is not None and ring.arena.acked(slot, place) > most:
            ring.arena.register(slot, place, name, most)


def _names(ring: Ring) -> dict[int, str]:
    """What a ring keeps numbers of, by place."""
    return {place: name for name, place in ring.arena.senders(ring.entry.slot).items()}


@dataclass
class Refusals:
    """Sources for which there is no room: in a tier, and for late parts in one."""

    rings: dict[str, LineError]
    late: dict[str, LineError]


def feeds(
    tier: Tier, sources: Iterable[Ringed], want_late: Collection[str], room_for: Callable[[int], None], no: Refusals
) -> list[tuple[Feed, list[str]]]:
    """What goes into a tier, sources of one shape together, and their names. `want_late`: these need a late ring."""
    shapes: dict[tuple[object, ...], list[tuple[Ringed, Ring, Ring | None, int]]] = {}
    for source in sources:
        name = source.entry.source
        try:
            ring = tier.ring(source, room_for)
        except LineError as error:
            no.rings[name] = error
            continue
        late, late_slot = None, WANTED
        if name in want_late or name in tier.late.rings:
            try:
                late = tier.late_ring(ring, source.life, room_for)
                late_slot = late.entry.slot
            except LineError as error:
                no.late[name] = error
                late_slot = REFUSED
        at = {column: i for i, column in enumerate(buckets.sources_columns(ring.entry.columns))}
        shape = source.arena, ring.arena, source.of_tier, tuple(at[column] for column in source.columns)
        shapes.setdefault(shape, []).append((source, ring, late, late_slot))
    return [
        (
            Feed(
                arena=members[0][0].arena,
                slots=np.array([source.entry.slot for source, *_ in members]),
                ids=np.array([source.entry.id for source, *_ in members]),
                tier=members[0][1].arena,
                tier_slots=np.array([ring.entry.slot for _, ring, *_ in members]),
                places=np.array(places),
                of_tier=members[0][0].of_tier,
                late=next((late.arena for _, _, late, _ in members if late), None),
                late_slots=np.array([slot for *_, slot in members]),
            ),
            [source.entry.source for source, *_ in members],
        )
        for (*_, places), members in shapes.items()
    ]


def late_feeds(tier: Tier, finer: Tier, room_for: Callable[[int], None], no: Refusals) -> list[Feed]:
    """What goes from the late parts of a tier into those of the next one."""
    shapes: dict[tuple[object, ...], list[tuple[Ring, Ring]]] = {}
    for name, ring in finer.late.rings.items():
        main = tier.main.rings.get(name)
        if main is None:
            continue  # nothing of it has come so far
        try:
            late = tier.late_ring(main, finer.name, room_for)
        except LineError as error:
            no.late[name] = error
            continue
        _register(late, {LATE_TAKEN: "late"}, ring.arena.head(ring.entry.slot))
        at = {column: i for i, column in enumerate(buckets.sources_columns(late.entry.columns))}
        places = tuple(at[column] for column in buckets.sources_columns(ring.entry.columns))
        shapes.setdefault((ring.arena, late.arena, places), []).append((ring, late))
    return [
        Feed(
            arena=members[0][0].arena,
            slots=np.array([ring.entry.slot for ring, _ in members]),
            ids=np.array([ring.entry.id for ring, _ in members]),
            tier=members[0][1].arena,
            tier_slots=np.array([late.entry.slot for _, late in members]),
            places=np.array(places),
            of_tier=True,
            late=None,
            late_slots=np.full(len(members), WANTED),
        )
        for (*_, places), members in shapes.items()
    ]
