"""Rows as they come, as server-sent events: one event per source and turn, its id holds all cursors.

The ring is the queue: a reader that is slow gets what the ring still holds, and `missed` says what it does not. One
look a turn serves all streams: at a number of each file of rings, then, where it moved, at the sources they follow.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import numpy as np

from linemon.access import Grant
from linemon.errors import StoreError
from linemon.http.answers import BadQuestion, Cursor, rows, source_of
from linemon.http.request import Request
from linemon.http.site import Family, Query, Route, Site, pairs_of
from linemon.store.arena import ArenaWriter
from linemon.store.reader import Store
from linemon.store.ring import APPENDS, COMMIT, Cells, Slots

TURN_S = 0.1
MAX_SOURCES = 100
MAX_ROWS, MAX_CELLS = 1000, 20_000  # an event
ALIVE_S = 15.0  # without an event, a comment shows that we are still here
EVENTS = "text/event-stream"


@dataclass(eq=False)
class Follower:
    """Who reads a stream: how far it is in each source, and which of them have moved since."""

    cursors: dict[str, Cursor]
    moved: set[str] = field(default_factory=set)
    wake: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass
class Watch:
    """The sources of one file of rings that somebody follows."""

    arena: ArenaWriter
    names: list[str]
    slots: Slots
    appends: int = -1


class Stream(Family):
    """`/api/stream`."""

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self._rings = site.house.intake.store
        self._followers: dict[str, set[Follower]] = {}  # of each source that is followed
        self._heads: dict[str, int] = {}  # what its ring said when last looked at,
        self._lives: dict[str, int] = {}  # and which life of the source that was
        self._known: tuple[int, int] | None = None  # of the rings, when the watches were made; None: make them
        self._watches: list[Watch] = []
        self._looking: asyncio.TimerHandle | None = None

    def stream(self, request: Request, query: Query, grant: Grant) -> None:
        names = [value for name, value in pairs_of(request.query) if name == "source"]
        cursors = begin(self.house.store, names, request.headers.get("last-event-id", ""))
        request.extra["X-Accel-Buffering"] = "no"  # nginx keeps answers back else
        if request.method == "HEAD":
            request.start_stream(EVENTS)
        else:
            self.site.spawn(request, self._follow(Follower(cursors, set(cursors)), request))

    async def _follow(self, follower: Follower, request: Request) -> None:
        """Send what comes until the reader goes."""
        request.start_stream(EVENTS)
        self._join(follower)
        try:
            while not request.is_gone:
                for name in [name for name in follower.cursors if name in follower.moved]:
                    follower.moved.discard(name)
                    while (event := next_event(self.house.store, follower.cursors, name)) is not None:
                        await request.write(event)
                        await asyncio.sleep(0)  # others have their turn, however fast it is read
                if follower.moved:
                    continue
                follower.wake.clear()
                try:
                    async with asyncio.timeout(ALIVE_S):
                        await follower.wake.wait()
                except TimeoutError:
                    await request.write(b":\n\n")
        finally:
            self._leave(follower)

    def _join(self, follower: Follower) -> None:
        for name in follower.cursors:
            self._followers.setdefault(name, set()).add(follower)
        self._known = None
        if self._looking is None:
            self._look()

    def _leave(self, follower: Follower) -> None:
        for name in follower.cursors:
            self._followers[name].discard(follower)
            if not self._followers[name]:
                del self._followers[name]
                self._heads.pop(name, None)
                self._lives.pop(name, None)
        self._known = None

    def close(self) -> None:
        if self._looking:
            self._looking.cancel()

    def _look(self) -> None:
        """Wake those who follow sources that have moved; and again in a turn, as long as there is somebody."""
        self._looking = None
        if not self._followers:
            return
        self._looking = asyncio.get_running_loop().call_later(TURN_S, self._look)
        known = len(self._rings.rings), self._rings.moves
        if known != self._known:
            self._known, self._watches = known, self._watch()
        for watch in self._watches:
            appends = int(watch.arena.header[APPENDS])
            if appends == watch.appends:
                continue
            watch.appends = appends
            heads: Cells = watch.arena.cells[watch.slots, COMMIT]
            had = np.array([self._heads.get(name, -1) for name in watch.names])
            for at in np.flatnonzero(heads != had).tolist():
                name = watch.names[at]
                self._heads[name] = int(heads[at])
                for follower in self._followers[name]:
                    follower.moved.add(name)
                    follower.wake.set()

    def _watch(self) -> list[Watch]:
        found: dict[ArenaWriter, list[tuple[str, int]]] = {}
        for name in self._followers:
            if ring := self._rings.rings.get(name):
                if self._lives.get(name) != ring.entry.born:  # another one, which may have as many rows
                    self._lives[name] = ring.entry.born
                    self._heads.pop(name, None)
                found.setdefault(ring.arena, []).append((name, ring.entry.slot))
        return [
            Watch(arena, [name for name, _ in members], np.array([slot for _, slot in members]))
            for arena, members in found.items()
        ]

    routes = (Route("/api/stream", {"GET": stream}, parameters=("source",)),)


def begin(store: Store, named: list[str], last_id: str) -> dict[str, Cursor]:
    """Where to begin with each source: after the cursors of `last_id`, or with what comes from now on.

    A source that is not there yet is waited for, and comes from its first row on.
    """
    names = list(dict.fromkeys(filter(None, named)))
    if not 1 <= len(names) <= MAX_SOURCES:
        raise BadQuestion("source", f"1 to {MAX_SOURCES} parameters called source are expected, not {len(names)}")
    said = [cursor for each in last_id.split(",") if (cursor := Cursor.parse(each))]
    if len(said) == len(names):
        return dict(zip(names, said, strict=True))
    return {name: Cursor(store[name].rows, store[name].born) if name in store else Cursor(0) for name in names}


def next_event(store: Store, cursors: dict[str, Cursor], name: str) -> bytes | None:
    """The next rows of a source as an event, None if there are none."""
    try:
        source = source_of(store, name)
        row, born = cursors[name]
        found = source.since(row, born or None, max(1, min(MAX_ROWS, MAX_CELLS // len(source.columns))))
    except (StoreError, OSError):  # not there (yet, or any more), or being made anew
        return None
    if not len(found):
        return None
    cursors[name] = Cursor(found.cursor, found.born)
    return b"id: %b\nevent: rows\ndata: %b\n\n" % (",".join(map(str, cursors.values())).encode(), rows(found))
