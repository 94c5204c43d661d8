"""Sources on their way: what a forward reads of a store, and how far the far side is, by row numbers."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

from linemon.errors import UnknownSource
from linemon.parts._far import FORWARDED
from linemon.patterns import fits
from linemon.store.catalog import Entry
from linemon.store.heads import heads_of
from linemon.store.reader import Store
from linemon.store.ring import ARRIVED, COMMIT
from linemon.store.rows import Rows

SHARE: Final = 10  # a batch has rows of so many sources, where they wait: none of them holds up the others
MOST_NOTES: Final = 64


@dataclass
class Counts:
    """Rows of one forward since it began to run."""

    sent: int = 0
    refused: int = 0  # by the far side
    missed: int = 0  # overwritten before they could be read


class Saved(NamedTuple):
    """What a forward remembers of a source: whose numbers these are, the first row it had to send, the next one."""

    born: int
    first: int
    done: int
    turn: int = 0


@dataclass(eq=False)
class Flow:
    """One life of a source on its way. All rows below `done` are held there, or count as refused or missed."""

    source: str  # here
    name: str  # there
    columns: tuple[str, ...]  # that are sent
    units: tuple[str, ...]
    born: int
    first: int  # the lowest row number it ever had to send
    done: int
    head: int  # the number after the newest row, as last looked at
    senders: tuple[str, ...]  # who numbers its rows here
    run: str  # names this life among those of all stores, for a far side that numbers rows
    counts: Counts
    turn: int = 0  # another number each time that the far side held rows of this run that are not from here
    next: int = 0  # to be read
    is_begun: bool = False  # the target has said where it goes on
    again: float = 0.0  # by the monotonic clock: it waits until then, as the far side does not let it in
    why: str = ""
    _notes: deque[tuple[int, float]] = field(default_factory=deque)  # heads that are not held there, and since when
    _missed_to: int = 0

    def begin(self, number: int | None = None) -> None:
        """It goes on at this row, or where it was."""
        self.done = self.next = self.done if number is None else number
        self.is_begun, self.again, self.why = True, 0.0, ""

    def stop(self) -> None:
        """What is not held there must be sent again."""
        self.is_begun, self.next = False, self.done

    def deny(self, why: str, seconds: float) -> None:
        """The far side lets this source not in: it waits; the others go on."""
        self.stop()
        self.again, self.why = time.monotonic() + seconds, why

    def held(self, number: int) -> None:
        """The far side holds all rows below."""
        if number > self.done:
            self.counts.sent += number - self.done
            self.done = number
        while self._notes and self._notes[0][0] <= self.done:
            self._notes.popleft()

    def refuse(self, count: int) -> None:
        """So many rows, which `held` has passed or will pass, the far side did not take."""
        self.counts.refused += count
        self.counts.sent -= count

    def skip(self, number: int) -> None:
        """Rows below are overwritten: those that nobody has counted yet are missed."""
        lost = max(0, number - max(self.next, self._missed_to))
        self._missed_to = max(number, self._missed_to)
        self.counts.missed += lost
        self.counts.sent -= lost
        if self.next == self.done:
            self.held(number)
        self.next = number

    def look(self, head: int, arrived: float) -> None:
        """There are rows below `head`, the newest of which came then (s)."""
        self.head = head
        if head > (self._notes[-1][0] if self._notes else self.done):
            if len(self._notes) >= MOST_NOTES:  # of a long outage every other moment is enough, but the first
                self._notes = deque([*self._notes][::2])
            self._notes.append((head, arrived))

    @property
    def waits_since(self) -> float | None:
        """When the oldest row that is not held there came (s), as far as that was seen; None where there is none."""
        return self._notes[0][1] if self._notes else None


class Block(NamedTuple):
    """Rows of one flow, the ones numbered from `first` on, with the columns that are to be sent."""

    flow: Flow
    first: int
    rows: Rows

    @property
    def end(self) -> int:
        return self.first + len(self.rows)

    def halves(self) -> tuple[Block, Block]:
        middle = len(self.rows) // 2
        return self.part(0, middle), self.part(middle, len(self.rows))

    def part(self, start: int, stop: int) -> Block:
        rows = replace(self.rows, time=self.rows.time[start:stop], values=self.rows.values[start:stop])
        return Block(self.flow, self.first + start, rows)


class Feed:
    """The sources of one store that a forward sends."""

    def __init__(
        self,
        store: Store,
        sources: tuple[str, ...],
        columns: tuple[str, ...],
        name_of: Callable[[str], str],
        relay: bool,
        begins: Callable[[str, int, int], Saved],
        run: Callable[[int], str],
    ) -> None:
        """`begins` says from a source, its birth and the number of its rows where to begin; `run` names a life."""
        self._store, self._sources, self._columns = store, sources, columns
        self._name_of, self._relay, self._begins, self._run = name_of, relay, begins, run
        self.counts = Counts()
        self.flows: dict[str, Flow] = {}
        self.relayed: set[str] = set()  # sources that another forward writes here
        self._fits: dict[str, bool] = {}
        self._chosen: dict[tuple[str, ...], tuple[str, ...]] = {}

    def look(self) -> None:
        """See what is new."""
        names = self._store.sources()
        if len(self._fits) > 2 * len(names) + 100:
            self._fits.clear()
        wanted = [name for name in names if self._wants(name)]
        for gone in self.flows.keys() - wanted:
            del self.flows[gone]
        for heads in heads_of(self._store, wanted):
            rows, arrived = (heads.cells[:, COMMIT] >> 1).tolist(), (heads.cells[:, ARRIVED] / 1e9).tolist()
            for entry, head, at in zip(heads.entries, rows, arrived, strict=True):
                flow = self.flows.get(entry.source)
                if flow is None or flow.born != entry.born:
                    flow = self._meet(entry, head)
                if flow is not None and head != flow.head:
                    flow.look(head, at)

    def take(self, most: int) -> Iterator[Block]:
        """What waits, in turns: a share of `most` rows of one source, then of the next."""
        waiting = deque(flow for flow in self.flows.values() if flow.next < flow.head and flow.is_begun)
        while waiting:
            flow = waiting.popleft()
            if flow.is_begun and (block := self._read(flow, max(1, most // SHARE))):
                yield block
                if flow.next < flow.head:
                    waiting.append(flow)

    def oldest(self, flow: Flow) -> int:
        """The lowest row number that can still be sent."""
        try:
            _, arena, slot = self._store._ring(flow.source)
        except UnknownSource:
            return flow.done
        return max(flow.first, arena.held(slot)[0])

    def _wants(self, name: str) -> bool:
        found = self._fits.get(name)
        if found is None:
            found = self._fits[name] = fits(self._sources, name)
        return found

    def _meet(self, entry: Entry, head: int) -> Flow | None:
        """Take up a source, or a new life of it, once it has rows; not one that comes from another forward."""
        name, born = entry.source, entry.born
        self.flows.pop(name, None)
        if not head:
            return None
        _, arena, slot = self._store._ring(name)
        senders = tuple(arena.senders(slot))
        if not self._relay and any(sender.startswith(FORWARDED) for sender in senders):
            self.relayed.add(name)
            return None
        columns = self._columns_of(entry.columns)
        units = tuple(entry.units[entry.columns.index(column)] for column in columns)
        _, first, done, turn = self._begins(name, born, head)
        there, run = self._name_of(name), self._run(born)
        flow = Flow(name, there, columns, units, born, first, done, done, senders, run, self.counts, turn)
        for at, count in arena.arrivals(slot).tolist():
            flow.look(count, at / 1e9)
        self.flows[name] = flow
        return flow

    def _read(self, flow: Flow, most: int) -> Block | None:
        """The next rows; None where there are none to be sent."""
        try:
            rows = self._store[flow.source].since(flow.next, flow.born, most)
        except UnknownSource:
            return None
        if rows.restarted:
            return None  # `look` finds its new life
        first = rows.cursor - len(rows)
        if first > flow.next:
            flow.skip(first)
        flow.next = rows.cursor
        columns = self._columns_of(rows.columns)
        if not columns:
            flow.held(rows.cursor)
            return None
        if not len(rows):
            return None
        rows = rows if columns == rows.columns else rows.select(columns)
        flow.columns, flow.units = rows.columns, rows.units
        return Block(flow, first, rows)

    def _columns_of(self, columns: tuple[str, ...]) -> tuple[str, ...]:
        found = self._chosen.get(columns)
        if found is None:
            found = self._chosen[columns] = tuple(column for column in columns if fits(self._columns, column))
        return found


def held(blocks: list[Block]) -> None:
    """The far side holds all of them."""
    for block in blocks:
        block.flow.held(block.end)
