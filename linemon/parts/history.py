"""History: buckets of rows, kept longer than the rows (docs/HISTORY.md).

It reads the store like everybody else and is the one writer of the tiers: ordinary stores, one folder each, in
`[history] path` or in `history` beside the rings. `store/rollup.py` says why each row is in one bucket.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import time
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from linemon.config import Config
from linemon.errors import LineError, StoreError
from linemon.logs import Seldom
from linemon.parts._port import Output
from linemon.patterns import fits
from linemon.sections import Span, TierConfig
from linemon.store import levels
from linemon.store.chain import Chain
from linemon.store.farewells import FAREWELLS, Follower
from linemon.store.folder import own_folder
from linemon.store.levels import LATE, Known
from linemon.store.reader import Store
from linemon.store.tiers import Tier

log = logging.getLogger(__name__)

LOOK_S = 1.0  # from one look whether a ring fills to the next
FORGET_S = 600.0  # from one look at what is older than `keep` to the next
MANY = 4  # times as many sources as the store has: history outlives them
OWN = "linemon.history"  # the source that tells how history is


class History:
    """The part."""

    name = "history"

    def __init__(self, config: Config) -> None:
        self.settings = config.store, config.history, config.work, config.tcp, config.tls
        self._all, self._store, self._config = config, config.store, config.history
        self._folder = config.history.folder(config.store.folder)
        self._ended: list[Known] = []  # tiers of earlier settings: they are read until they are too old
        self._chain: Chain | None = None
        self._output: Output | None = None
        self._done_at = time.time()  # when all was taken that was due
        self._behind_s = 0.0
        self._waits = Seldom()

    def state(self) -> dict[str, Any]:
        unsent = self._output.state() if self._output else {}
        return self._counts() | unsent

    def _counts(self) -> dict[str, float]:
        return {"behind_s": self._behind_s, **(self._chain.counts if self._chain else {})}

    async def run(self) -> None:
        """Look every `every` seconds, and in between where a ring fills, until cancelled."""
        with ExitStack() as opened:
            chain = self._chain = self.open(opened)
            self._output = Output(self._all, OWN)
            opened.callback(self._output.close)
            looked = forgot = float("-inf")
            try:
                while True:
                    now = time.monotonic()
                    if now - looked >= self._config.every or chain.fills():
                        looked = now
                        await self._turn(chain)
                        counts = self._counts()
                        columns = {name: "s" if name.endswith("_s") else "" for name in counts}
                        self._output.send(columns, [(time.time_ns(), counts.values())])
                    if now - forgot >= FORGET_S:
                        forgot = now
                        self._forget(chain)
                    await asyncio.sleep(min(LOOK_S, self._config.every))
            finally:
                end(chain)

    def open(self, opened: ExitStack) -> Chain:
        """Have the tiers, and tell readers where they are. StoreError says why they cannot be had."""
        for folder in (self._store.folder, self._folder):
            own_folder(folder, self._store.mode)
        self._end_others()
        tiers = self._have(self._config.tiers, opened)
        self._tell()
        disk = os.statvfs(self._folder)
        free = disk.f_bavail * disk.f_frsize + sum(tier.used() for tier in tiers)
        return self._chain_of(tiers, int(self._config.share * free))

    def _chain_of(self, tiers: list[Tier], limit: int) -> Chain:
        store = Store(self._store.folder)
        farewells = Follower(store, self._folder / FAREWELLS, self._store.mode & 0o666)
        return Chain(store, tiers, self._config.grace.ns, limit, farewells, self._others)

    def _others(self, tiers: list[Tier], opened: ExitStack) -> list[Tier]:
        """The tiers of our folder that are not among these."""
        said = levels.read(self._store.folder)
        names = [tier.name for tier in tiers]
        if said is None or said.path.resolve() != self._folder.resolve():
            return []
        others = [each for each in said.tiers if each.name not in names and (self._folder / each.name).exists()]
        return self._have(map(settings_of, others), opened)

    def _have(self, tiers: Iterable[TierConfig], opened: ExitStack) -> list[Tier]:
        found, store = [], self._store
        for config in tiers:
            found.append(Tier(config, self._folder, MANY * store.max_sources, store.max_columns, store.mode))
            opened.callback(found[-1].close)
        return found

    def _end_others(self) -> None:
        """Where the tiers were others before: bring those up to date, and have those that stay go on without them."""
        said = levels.read(self._store.folder)
        if said is None or said.path.resolve() != self._folder.resolve():
            return
        now = {tier.step.text: tier for tier in self._config.tiers}
        was = [each for each in said.tiers if not each.ended and (self._folder / each.name).exists()]
        if [(each.name, each.sources) for each in was] != [(name, tier.sources) for name, tier in now.items()]:
            with ExitStack() as opened:
                tiers = self._have(map(settings_of, was), opened)
                end(self._chain_of(tiers, 0))
                for i, tier in enumerate(tiers):
                    for finer in tiers[:i]:
                        stays = now.get(finer.name)
                        for name in list(tier.main.rings):
                            if tier.life(name) == finer.name and not (stays and fits(stays.sources, name)):
                                tier.inherit(finer, name)
        self._ended = [replace(each, ended=True) for each in said.tiers if each.name not in now]
        self._drop_ended()

    def _tell(self) -> None:
        tiers = [Known(t.step.text, t.step.ns, t.keep.ns, t.sources) for t in self._config.tiers] + self._ended
        tiers.sort(key=lambda each: each.step)
        levels.tell(self._store.folder, levels.History(self._folder, tuple(tiers)), self._store.mode & 0o666)

    def _forget(self, chain: Chain) -> None:
        """Remove what is older than `keep`: sources that are no more, tiers that linemon.toml does not name."""
        for tier in chain.tiers:
            tier.forget(chain.store.sources(), time.time_ns())
        if self._drop_ended():
            self._tell()

    def _drop_ended(self) -> bool:
        """Remove tiers that have ended of which all is too old; whether there were any."""
        old = [each for each in self._ended if newest(self._folder / each.name) < time.time_ns() - each.keep]
        for each in old:
            for folder in (self._folder / each.name, self._folder / (each.name + LATE)):
                shutil.rmtree(folder, ignore_errors=True)
            self._ended.remove(each)
        return bool(old)

    async def _turn(self, chain: Chain) -> None:
        """Take all that is due."""
        is_on_disk = bool(self._config.path or self._store.path)
        if any(tier.is_gone() for tier in chain.tiers):
            raise StoreError(f"the tiers in {self._folder} were taken away")
        try:
            for _ in chain.steps():
                await asyncio.sleep(0)
                if is_on_disk and any(tier.must_sync() for tier in chain.tiers):
                    await asyncio.to_thread(self._sync, chain)
            self._done_at = time.time()
        except LineError as error:  # no room: rows wait in their rings
            if self._waits.due():
                log.error("history waits: %s", error)
        self._behind_s = round(time.time() - self._done_at, 1)
        if is_on_disk:
            await asyncio.to_thread(self._sync, chain)  # a slow disk takes its time

    def _sync(self, chain: Chain) -> None:
        try:
            for tier in chain.tiers:
                tier.sync()
        except OSError as error:
            log.error("cannot write out %s: %s", self._folder, error.strerror)


def end(chain: Chain) -> None:
    """Write the buckets that are open: rows in memory may not be there when we come again."""
    try:
        for _ in chain.steps(ending=True):
            pass
    except (LineError, StoreError) as error:
        log.error("open buckets are not written: %s", error)


def settings_of(tier: Known) -> TierConfig:
    """What linemon.toml said of a tier."""
    return TierConfig(Span(tier.step / 1e9), Span(tier.keep / 1e9), tier.sources)


def newest(tier: Path) -> int:
    """The start of the newest bucket of a tier's folder (ns); 0 if there is none."""
    store = Store(tier)
    times = [store[name].newest for name in store.sources()]
    return max((int(each.astype("int64")) for each in times if each is not None), default=0)


def parts(config: Config) -> list[History]:
    """The history of these settings."""
    return [History(config)] if config.history.enabled else []
