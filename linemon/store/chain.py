"""All tiers of a store, the finest first, brought up to date in steps of a few milliseconds."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

from linemon.errors import LineError, UnknownSource
from linemon.logs import Seldom
from linemon.store.farewells import Farewell, Follower
from linemon.store.reader import Store
from linemon.store.rollup import Feed, Step, advance, advance_late, waiting
from linemon.store.tiers import Refusals, Ringed, Tier, feeds, late_feeds

log = logging.getLogger(__name__)


class Chain:
    """The tiers, and what feeds them. `limit` bytes may be taken by all rings when they are full.

    `others` opens the tiers of the same folder that have ended: they follow `farewells`, too.
    """

    def __init__(
        self,
        store: Store,
        tiers: list[Tier],
        grace: int,
        limit: int,
        farewells: Follower,
        others: Callable[[list[Tier], ExitStack], list[Tier]],
    ) -> None:
        self.store, self.tiers = store, tiers
        self._farewells, self._others = farewells, others
        self._grace, self._limit = grace, limit
        self.counts = Counter(buckets=0, late=0, late_dropped=0, missed=0, refused=0)
        self._feeds: list[list[tuple[Feed, list[str]]]] = []  # of each tier, with the names of the sources
        self._late_feeds: list[list[Feed]] = []
        self._want_late: list[set[str]] = [set() for _ in tiers]
        self._seen: object = None  # what the feeds were made from
        self._refusals = Seldom()

    def steps(self, ending: bool = False) -> Iterator[None]:
        """Take all that is due; LineError where there is no room for it. `ending`: also of buckets that are open."""
        state, lives = self._look()
        if waiting := self._farewells.waiting(lives):
            yield from self._follow(waiting)
        self._group(state, lives)
        for i, tier in enumerate(self.tiers):
            keep = max(each.keep for each in self.tiers[i:])  # what is late goes on to those that keep it longer
            k = 0
            while k < len(self._feeds[i]):
                feed, names = self._feeds[i][k]
                grace = 0 if feed.of_tier else self._grace
                step = self._count(advance(feed, tier.step, grace, keep, time.time_ns(), ending))
                if step.want_late:
                    self._want_late[i] |= {names[at] for at in step.want_late}
                    self._group(state, lives, anew=True)
                    k = 0
                elif not step.more:
                    k += 1
                yield
            for late in self._late_feeds[i]:
                while self._count(advance_late(late, tier.step, keep, time.time_ns(), ending)).more:
                    yield

    def fills(self) -> bool:
        """Whether a quarter of some ring is new: its rows must not wait."""
        state, lives = self._look()
        if self._farewells.waiting(lives):
            return True
        self._group(state, lives)
        of_rows = [feed for feeds in self._feeds for feed, _ in feeds if not feed.of_tier]
        return any(bool((waiting(feed) >= max(1, feed.arena.points // 4)).any()) for feed in of_rows)

    def _count(self, step: Step) -> Step:
        self.counts.update(buckets=step.buckets, late=step.late, late_dropped=step.dropped, missed=step.missed)
        return step

    def _look(self) -> tuple[object, dict[str, int]]:
        """The sources there are, and when each was born; looked at before farewells, which are written first."""
        self.store.sources()
        entries = self.store._catalog.entries
        return self.store._catalog.state, {name: entry.born for name, entry in entries.items()}

    def _follow(self, waiting: list[Farewell]) -> Iterator[None]:
        """Forget and rename what the tiers hold, as it was done to the sources."""
        with ExitStack() as opened:
            tiers = self.tiers + self._others(self.tiers, opened)
            for farewell in waiting:
                for tier in tiers:
                    tier.part(farewell.source, farewell.to)
                self._farewells.done(farewell)
                yield

    def _group(self, state: object, lives: dict[str, int], anew: bool = False) -> None:
        """Find out what feeds what, where sources have come, gone or moved."""
        if not anew and (state, [tier.state for tier in self.tiers]) == self._seen:
            return
        room = self._limit - sum(tier.promised() for tier in self.tiers)

        def room_for(size: int) -> None:
            nonlocal room
            if size > room:
                raise LineError("store_full", "it would take more than [history] share of the space")
            room -= size

        refusals = Refusals({}, {})
        self._feeds, self._late_feeds = [], []
        for i, tier in enumerate(self.tiers):
            sources = self._sources_of(tier, self.tiers[:i], lives)
            self._feeds.append(feeds(tier, sources, self._want_late[i], room_for, refusals))
            self._late_feeds.append(late_feeds(tier, self.tiers[i - 1], room_for, refusals) if i else [])
        self.counts["refused"] = len(refusals.rings)
        for what, no in (("history", refusals.rings), ("late rows in the history", refusals.late)):
            if no and self._refusals.due():
                name, error = next(iter(no.items()))
                more = f" and {len(no) - 1} more sources" if len(no) > 1 else ""
                log.warning("no %s of %r%s: %s", what, name, more, error)
        self._seen = state, [tier.state for tier in self.tiers]

    def _sources_of(self, tier: Tier, finer: list[Tier], lives: dict[str, int]) -> Iterator[Ringed]:
        """What goes into a tier: of each source the next finer tier that has it, else its rows, and then for good."""
        for name in dict.fromkeys([*lives, *(name for other in finer for name in other.main.rings)]):
            if not tier.takes(name):
                continue
            fed_by = [other for other in finer if other.takes(name) and name in other.main.rings]
            if fed_by and not tier.life(name).startswith("rows:"):
                ring = fed_by[-1].main.rings[name]
                yield Ringed(ring.entry, ring.arena, fed_by[-1].name, True)
            elif name in lives:
                with suppress(UnknownSource):  # forgotten meanwhile
                    entry, arena, _ = self.store._ring(name)
                    if entry.born == lives[name]:
                        yield Ringed(entry, arena, f"rows:{entry.born}", False)
