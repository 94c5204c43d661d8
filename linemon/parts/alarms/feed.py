"""The store as alarms read it: new rows of each source to its `Judged`, once a second; windows of what is older."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from linemon.errors import UnknownSource
from linemon.parts.alarms.judged import Group, Judged
from linemon.parts.alarms.machine import Desk, Instance, S
from linemon.parts.alarms.rules import Rule
from linemon.parts.alarms.windows import Cells, Floats, Rows, Told
from linemon.patterns import OUTPUT
from linemon.store.catalog import Entry
from linemon.store.devices import Registered
from linemon.store.liveness import OWN, collector_silent_since
from linemon.store.merge import RingNow
from linemon.store.reader import Source, Store
from linemon.store.ring import ARRIVED, COMMIT, ID, Arena
from linemon.store.rows import as_ns

MOST: Final = 500  # rows of a source at a time: a tenth of a second of judging at most
LOOK_S: Final = 60.0  # since when there is history is looked up so often
HEARS_AFTER: Final = 60 * S  # silence proves nothing until the collector has run so long
# Puts the instances of a source in from a state. Up to which row of this life, of so many, was judged, and when; and
# the groups whose rule was not there then.
Resume = Callable[[Judged, int, int], tuple[int, int, list[Group]]]


class StorePast:
    """Rows and history of one source, for long windows."""

    def __init__(self, store: Store, name: str) -> None:
        self._store, self._name = store, name
        self._looked, self._tiers = float("-inf"), (0, 0)  # begin and step of the tier that reaches back farthest
        self._told: dict[str, tuple[object, Told]] = {}  # of each task, as it was when it had so many rows

    def rows(self, begin: int, end: int, places: Cells) -> tuple[Rows, int] | None:
        ring = RingNow(*self._store._ring(self._name))
        held = ring.begin()
        tier, step = self._history()
        if held > begin and tier and tier + step <= held:
            return None
        oldest, head = ring.arena.held(ring.slot)
        if ring.arena.is_in_order(ring.slot, head):
            first = ring.arena.first_not_before(ring.slot, begin + 1, oldest, head)
            numbers = np.arange(first, head)
            times, is_held = ring.arena.gather(ring.slot, numbers, 0)
            count = int(np.searchsorted(times, end, "right"))
            values = np.full((len(places), count + 1), np.nan)
            for row, place in enumerate(places.tolist()):
                if place >= 0:
                    values[row, :count] = ring.arena.gather(ring.slot, numbers[:count], 1 + place)[0].view(np.float64)
            lost = count - int(np.count_nonzero(is_held[:count]))  # overwritten meanwhile
            return (times[lost:count], values[:, lost:]), held
        block = ring.between(begin + 1, end + 1)
        values = np.full((len(places), len(block) + 1), np.nan)
        for row, place in enumerate(places.tolist()):
            if place >= 0:
                values[row, :-1] = block[:, 1 + place].view(np.float64)
        return (block[:, 0], values), held

    def buckets(self, begin: int, end: int, places: Cells, points: int) -> tuple[Cells, Floats, int]:
        source = self._store[self._name]
        found = source.window(np.datetime64(begin, "ns"), np.datetime64(end, "ns"), points)
        some = np.flatnonzero(found.count.any(axis=1))
        parts = np.full((4, len(places), len(some)), np.nan)
        parts[3] = 0
        for i, part in enumerate((found.min, found.max, found.mean, found.count)):
            for row, place in enumerate(places.tolist()):
                if 0 <= place < part.shape[1]:
                    parts[i, row] = part[some, place]
        oldest = source.oldest
        return found.time[some].view(np.int64), parts, end if oldest is None else as_ns(oldest)

    def told(self, task: str) -> Told | None:
        name = f"{self._name}{OUTPUT}{task}"
        if name not in self._store:
            return None
        entry, arena, slot = self._store._ring(name)
        state = entry, arena.head(slot)
        if task not in self._told or self._told[task][0] != state:
            rows = self._store[name].between()
            self._told[task] = state, Told.of(rows.columns, rows.time.view(np.int64), rows.values)
        return self._told[task][1]

    def _history(self) -> tuple[int, int]:
        if time.monotonic() - self._looked > LOOK_S:
            self._looked = time.monotonic()
            levels = [level for level in self._store[self._name].kept if level.step]
            self._tiers = min(((level.begin, level.step) for level in levels), default=(0, 0))
        return self._tiers


@dataclass
class Reading:
    """A source that is read: where its ring is, and up to which row."""

    entry: Entry
    arena: Arena
    slot: int
    cursor: int
    judged: Judged

    def has_new(self) -> bool:
        cells = self.arena.cells
        return int(cells[self.slot, COMMIT]) >> 1 != self.cursor or int(cells[self.slot, ID]) != self.entry.id


class Feed:
    """All sources that an alarm covers."""

    def __init__(
        self, store: Store, rules: list[Rule], desk: Desk, most: int, devices: Registered | None = None
    ) -> None:
        """`most`: instances; sources beyond are not judged, and counted."""
        self.store, self.rules, self._desk, self._most = store, rules, desk, most
        self.readings: dict[str, Reading] = {}
        self.left_out: list[str] = []  # sources for which there were too many instances
        self.missed = 0  # rows that were overwritten before they were read
        self._registered, self._devices = devices, frozenset[str]()
        self.gone: list[Instance] = []  # of which the end is still to be told
        self.extra: list[Instance] = []  # that are judged elsewhere
        self._seen: tuple[str, object] | None = None
        self._entries: dict[str, Entry] = {}
        self._count = 0
        self._heard: tuple[object, int] = None, 0  # the collector's run, and since when
        self._looked = float("-inf")

    def __iter__(self) -> Iterator[tuple[Rule, Instance]]:
        for reading in list(self.readings.values()):
            yield from reading.judged
        yield from ((each.alarm, each) for each in self.extra)

    def groups(self, alarm: str) -> Iterator[Group]:
        for reading in self.readings.values():
            yield from (group for group in reading.judged.groups if group.rule.name == alarm)

    # -- which sources

    def attach(self, w: int, resume: Resume) -> Iterator[None]:
        """Take up sources that are new or have other columns, and let go of those that are no more, in steps."""
        names = self.store.sources()
        devices = self._registered.look() if self._registered else frozenset()
        for name in devices ^ self._devices:
            self._entries.pop(name, None)
        state = self.store.id, self.store._catalog.state
        if state == self._seen and devices is self._devices:
            return
        self._devices = devices
        is_same_store, self._seen = self._seen is None or self._seen[0] == state[0], state
        for name in [each for each in self.readings if each not in names]:
            judged = self.readings.pop(name).judged
            self._entries.pop(name, None)
            self._count -= judged.size
            if is_same_store:  # else it is another one, which may get the source yet
                self._leave(judged, set(), w)
        for name in names:
            try:
                entry, arena, slot = self.store._ring(name)
            except UnknownSource:  # forgotten meanwhile
                continue
            if self._entries.get(name) == entry:
                continue
            self._entries[name], known = entry, self.readings.get(name)
            shape = entry.columns, entry.units, name in devices
            if known and (known.judged.columns, known.judged.units, known.judged.is_device) == shape:
                known.entry, known.arena, known.slot = entry, arena, slot
            else:
                self._take_up(name, entry, arena, slot, w, resume)
                yield

    def _leave(self, judged: Judged, kept: set[str], w: int) -> None:
        """The instances of a source are no more, but of these rules."""
        for rule, instance in judged:
            if rule.name not in kept:
                instance.leave(w)
                self.gone += [instance] * (instance.told != 0)

    def _take_up(self, name: str, entry: Entry, arena: Arena, slot: int, w: int, resume: Resume) -> None:
        if before := self.readings.pop(name, None):
            self._count -= before.judged.size
        begin = RingNow(entry, arena, slot).begin() if arena.head(slot) else None
        past = StorePast(self.store, name)
        is_device = name in self._devices
        judged = Judged(name, entry.columns, entry.units, self.rules, self._desk, entry.born, past, begin, is_device)
        if before:
            self._leave(before.judged, {group.rule.name for group in judged.groups}, w)
        if not judged.size:
            return
        if self._count + judged.size > self._most:
            self.left_out.append(name)
            return
        self._count += judged.size
        source = Source(self.store, name)
        new: list[Group] = []
        judged.expect(source.arrivals[:, 0].tolist())
        if before:
            cursor, at = before.cursor, w
            _carry(before.judged, judged)
        else:
            cursor, at, new = resume(judged, entry.born, arena.head(slot))
        if cursor:
            _, block = arena.read(slot, 0, cursor)
            judged.load(block[:, 0], block[:, 1:].view(np.float64), at)
            judged.arrived = int(arena.cells[slot, ARRIVED]) or at
            judged.judge(new, block[block[:, 0] <= at], w)
            _recall(judged, block[block[:, 0] <= at])
        self.readings[name] = Reading(entry, arena, slot, cursor, judged)

    # -- rows and ticks

    def turn(self, w: int) -> Iterator[None]:
        """Judge what is new, and tick; in steps of at most a tenth of a second."""
        for reading in list(self.readings.values()):
            while reading.has_new() and self._read(reading, w):
                yield
        hears = self.hears(w)
        for i, reading in enumerate(self.readings.values()):
            reading.judged.tick(w, hears or reading.judged.name == OWN)
            if i % 50 == 49:
                yield
        for instance in list(self.gone):
            instance.tick(w)
            if instance.told == 0:
                self.gone.remove(instance)

    def _read(self, reading: Reading, w: int) -> bool:
        """False where the source must be taken up anew first."""
        judged = reading.judged
        try:
            rows = Source(self.store, judged.name).since(reading.cursor, judged.born, MOST)
        except UnknownSource:  # forgotten meanwhile
            return False
        if rows.columns != judged.columns:
            self._seen = None
            return False
        judged.born, reading.cursor = rows.born, rows.cursor
        self.missed += rows.missed
        if len(rows):
            judged.rows(rows.time.view(np.int64), rows.values, w)
            arrived = int(reading.arena.cells[reading.slot, ARRIVED])
            judged.arrived = min(w, arrived) if arrived else w
            judged.came(int(rows.time[-1].view(np.int64)), judged.arrived)
        return True

    def hears(self, w: int) -> bool:
        """Whether the silence of a source means anything: the collector is there, and not only just."""
        if collector_silent_since(self.store, w) is not None:
            self._looked = float("-inf")
            return False
        if time.monotonic() - self._looked > 5:
            self._looked = time.monotonic()
            status = self.store.status()
            started = as_ns(str(status["started"])) if "started" in status else 0
            self._heard = status.get("pid"), started
        return w - self._heard[1] >= HEARS_AFTER


def _carry(before: Judged, judged: Judged) -> None:
    """The instances of a source that has more columns now."""
    for group in judged.groups:
        for old in before.groups:
            if old.rule is group.rule:
                for each in old:
                    if each.column in group.names:
                        group.instance(group.names.index(each.column)).load(each.save())


def _recall(judged: Judged, block: Cells) -> None:
    """What instances at rest, which are not saved, know of the rows that were judged before: when the last was."""
    values = block[:, 1:].view(np.float64)
    for group in judged.groups:
        for i, place in enumerate(group.own.tolist() or [-1]):
            has_value = np.flatnonzero(values[:, place] == values[:, place]) if place >= 0 else np.arange(len(block))
            if len(has_value) and (each := group.instance(i)).last_t is None:
                at = has_value[np.argmax(block[has_value, 0])]
                each.last_t = each.last_known = int(block[at, 0])
                each.last_arrival = judged.arrived
