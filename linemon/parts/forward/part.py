"""One forward: reads what is new of some sources, and has its target send it, in a thread of its own.

So a far side that is away, or slow, keeps no other part waiting. What its failures mean is decided here, for all
schemes.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import threading
import time
from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from linemon.config import Config
from linemon.errors import LinemonError
from linemon.parts._aside import aside
from linemon.parts._far import FORWARDED
from linemon.parts._port import Output
from linemon.parts.forward.cursors import Cursors
from linemon.parts.forward.flow import Block, Feed, Flow, held
from linemon.parts.forward.target import DENIED_S, Denied, Later, Refused, Target, TooLong
from linemon.store import levels
from linemon.store.folder import own_folder
from linemon.store.levels import LATE
from linemon.store.reader import Store

log = logging.getLogger(__name__)

BACK_OFF_S: Final = (1.0, 60.0)
MOST_AFTER_S: Final = 300.0  # that a far side may ask for
TELL_S: Final = 1.0
END_S: Final = 8.0  # for the thread, which may wait for a far side


class Forward:
    """The part."""

    def __init__(self, config: Config, target: Target, table: dict[str, Any]) -> None:
        self.name = f"forward.{target.config.title}"
        self.settings = table, config.store, config.history, config.work, config.tcp, config.tls
        self._config, self._target, self._to = config, target, target.config
        self._feeds: dict[str, Feed] = {}  # by the suffix of its store: rows, or a tier's buckets and late ones
        self._own = ""  # which store that is
        self._ends = threading.Event()
        self._size = 0  # rows of a batch, once the far side has found one too long
        self._failures = 0  # one after the other
        self._state: dict[str, Any] = {}  # why it does not send

    def state(self) -> dict[str, Any]:
        shown = {"to": self._to.shown, **self._counts(), **self._state, **self._target.state()}
        denied = [flow for flow in self._flows() if flow.why]
        if denied:
            shown["waits"] = f"{len(denied)} sources, {denied[0].source!r} as {denied[0].why}"
        if relayed := [name for feed in self._feeds.values() for name in feed.relayed]:
            shown["not sent back"] = f"{len(relayed)} sources that a forward writes here"
        return shown

    def _counts(self) -> dict[str, float]:
        waits = [flow.waits_since for flow in self._flows() if flow.again < math.inf]  # what goes never is not late
        since = min((each for each in waits if each is not None), default=None)
        counts = [feed.counts for feed in self._feeds.values()]
        return {
            "behind_s": 0.0 if since is None else round(max(0.0, time.time() - since), 1),
            "sent": sum(each.sent for each in counts),
            "refused": sum(each.refused for each in counts),
            "missed": sum(each.missed for each in counts),
        }

    def _flows(self) -> list[Flow]:
        return [flow for feed in list(self._feeds.values()) for flow in list(feed.flows.values())]

    async def run(self) -> None:
        """Send until cancelled; once a second say how it is."""
        own_folder(self._config.state_folder, 0o700)
        output = Output(self._config, f"linemon.{self.name}")
        self._ends.clear()
        work = aside(self._work)
        try:
            while not work.done():
                counts = self._counts()
                units = {name: "s" if name.endswith("_s") else "" for name in counts}
                output.send(units, [(time.time_ns(), counts.values())])
                await asyncio.wait([work], timeout=TELL_S)
            work.result()
        finally:
            self._ends.set()
            output.close()
            await asyncio.wait([work], timeout=END_S)

    def _work(self) -> None:
        """The thread."""
        self._own = ""  # begin anew, however it ended before
        file = self._config.state_folder / f"{self.name}.json"
        cursors = Cursors(file, self._target.address, self._to.since)
        with Store(self._config.store.folder) as store:
            try:
                while not self._ends.is_set():
                    began = time.monotonic()
                    self._open(store, cursors)
                    wait = self._turn() or max(0.0, self._to.every - (time.monotonic() - began))
                    cursors.save(self._saved())
                    self._ends.wait(wait)
            finally:
                self._target.close()
                cursors.save(self._saved(), is_end=True)

    def _saved(self) -> dict[str, Flow]:
        return {source + key: flow for key, feed in self._feeds.items() for source, flow in feed.flows.items()}

    def _open(self, store: Store, cursors: Cursors) -> None:
        """Have the feeds of this store, once there is something to be read."""
        own = store.id
        if own == self._own:
            return
        self._own = own
        self._target.close()
        self._feeds.clear()
        folders = {"": store.path}
        if self._to.tier:
            told = levels.read(store.path)
            if told is None or self._to.tier not in {tier.name for tier in told.tiers}:
                self._own = ""
                raise LinemonError(f"there is no history of {self._to.tier} yet")
            folders = {f"\0{late}": told.path / (self._to.tier + late) for late in ("", LATE)}
        for key, folder in folders.items():

            def begins(source: str, born: int, head: int, key: str = key) -> Any:
                return cursors.begins(source + key, born, head)

            def run(born: int, key: str = key) -> str:
                return f"{FORWARDED}{own}:{np.base_repr(born, 36).lower()}{':late' if LATE in key else ''}"

            to = self._to
            of = store if folder == store.path else Store(folder)
            self._feeds[key] = Feed(of, to.sources, to.columns, to.far_name, to.relay, begins, run)

    def _turn(self) -> float:
        """Send all that there is; how long (s) to wait where the far side does not take it."""
        try:
            for feed in self._feeds.values():
                feed.look()
                now = time.monotonic()
                if new := [flow for flow in feed.flows.values() if not flow.is_begun and flow.again <= now]:
                    self._target.begin(new, {flow: feed.oldest(flow) for flow in new})
                for batch in self._batches(feed):
                    self._give(batch)
                    if self._ends.is_set():
                        return 0.0
            self._target.settle()
        except (LinemonError, OSError) as error:
            return self._fails(error)
        self._failures, self._state = 0, {}
        return 0.0

    def _batches(self, feed: Feed) -> Iterator[list[Block]]:
        """What waits, at most so many rows at a time."""
        batch: list[Block] = []
        for block in feed.take(self._to.batch):
            batch.append(block)
            while (size := self._size or self._to.batch) <= sum(len(each.rows) for each in batch):
                first, batch = cut(batch, size)
                yield first
        if batch:
            yield batch

    def _give(self, blocks: list[Block]) -> None:
        """Send a batch; of one that is refused, or too long, its halves."""
        count = sum(len(each.rows) for each in blocks)
        try:
            self._target.send(blocks)
        except Refused as error:
            refused = 1 if count == 1 else error.count
            if refused is not None:
                held(blocks)
                self._target.refuse(blocks[0].flow, refused, str(error))
                return
            if isinstance(error, TooLong):
                self._size = count // 2
            for half in cut(blocks, count // 2):
                self._give(half)
        else:
            if self._size:
                self._size = min(self._size + self._size // 8 + 1, self._to.batch)

    def _fails(self, error: LinemonError | OSError) -> float:
        """What is not held there is sent again, after a while; how long (s)."""
        self._target.close()
        for flow in self._flows():
            flow.stop()
        why = self._target.clean(str(error) if isinstance(error, LinemonError) else error.strerror or str(error))
        word = "denied" if isinstance(error, Denied) else "away"
        if word not in self._state:
            log.warning("%s: %s: %s; rows wait in their rings", self.name, word, why)
        self._state = {word: why}
        if isinstance(error, Denied):
            return DENIED_S
        self._failures += 1
        after = error.after if isinstance(error, Later) else None
        if after is not None:
            return min(after, MOST_AFTER_S)
        least, most = BACK_OFF_S
        return float(min(most, least * 2 ** min(self._failures - 1, 10)) * random.uniform(0.75, 1.0))  # noqa: S311


def cut(blocks: list[Block], count: int) -> tuple[list[Block], list[Block]]:
    """The first so many rows, and the others."""
    first: list[Block] = []
    for i, block in enumerate(blocks):
        if count < len(block.rows):
            rest = [block.part(count, len(block.rows)), *blocks[i + 1 :]]
            return ([*first, block.part(0, count)] if count else first), rest
        first.append(block)
        count -= len(block.rows)
    return first, []
