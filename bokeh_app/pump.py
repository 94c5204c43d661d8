"""The one reader of the rings in this server process, for all open pages: it looks as soon as something has come."""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import re
import time
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any, Protocol, TypeVar

import linemon
from linemon.config import load
from linemon.errors import LinemonError

log = logging.getLogger(__name__)

TICK_S = 0.05  # how often it is looked whether something has come
AFTER_S = 0.5  # after something came, pages that were sent something a moment ago are asked again for so long
IDLE_S = 1.0  # how often pages are asked where nothing comes
Result = TypeVar("Result")


class Page(Protocol):
    """What the pump asks of an open page."""

    def schedule(self, now: float) -> None: ...


class Pump:
    """Opens the store, ticks, and reads for all pages what more than one of them needs."""

    def __init__(self) -> None:
        file = os.environ.get("LINEMON_CONFIG")
        self.config = load(Path(file) if file else None)
        self.store = linemon.open(self.config.store.folder)
        self.pages: set[Page] = set()
        self.trouble = ""
        self.busy = 0.0  # seconds of the last tick
        self._shared: dict[Hashable, Any] = {}
        self._kept: dict[Hashable, tuple[float, Any]] = {}
        self._asked = self._came = 0.0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Tick from now on, in the loop of the server."""
        if self._task is None:
            self._task = asyncio.get_event_loop().create_task(self._run())

    async def _run(self) -> None:
        due = time.monotonic()
        while True:
            due = max(due + TICK_S, time.monotonic())  # a late tick moves the grid, ticks never pile up
            await asyncio.sleep(due - time.monotonic())
            try:
                self._tick()
            except Exception:  # one bad tick must not end all that follow
                log.exception("a tick failed")

    def _tick(self) -> None:  # a function, so that none of its names outlives the tick and keeps a closed page
        now = time.monotonic()
        if self.store.wait(0):
            self._came = now
        if not self.pages or (now - self._came > AFTER_S and now - self._asked < IDLE_S):
            return
        self._asked = now
        self._shared.clear()
        self._kept = {key: kept for key, kept in self._kept.items() if kept[0] > now}
        for page in list(self.pages):
            page.schedule(now)
        self.busy = time.monotonic() - now

    def shared(self, key: Hashable, make: Callable[[], Result], seconds: float = 0.0) -> Result:
        """What `make` gives, made once per tick, or per so many seconds, for all pages that ask for the same."""
        if key in self._kept:
            kept: Result = self._kept[key][1]
            return kept
        if key not in self._shared:
            self._shared[key] = make()
            if seconds:
                self._kept[key] = time.monotonic() + seconds, self._shared[key]
        result: Result = self._shared[key]
        return result

    def names(self) -> tuple[str, ...]:
        """All sources; none while the store cannot be read, and then `trouble` says why."""
        return self.shared("names", self._names)

    def _names(self) -> tuple[str, ...]:
        try:
            names = self.store.sources()
        except (LinemonError, OSError) as error:
            if self.trouble != str(error):
                log.error("%s", error)
            self.trouble = str(error)
            return ()
        self.trouble = ""
        return names

    def source(self, name: str) -> linemon.Source | None:
        """A source by its name, None while there is none."""
        if name not in self.names():
            return None
        try:
            return self.store[name]
        except (LinemonError, OSError):
            return None  # gone between two reads


@functools.lru_cache(maxsize=16)  # the names change seldom, and there may be ten thousand
def matching(names: tuple[str, ...], find: str) -> tuple[str, ...]:
    """The names that contain a text, in the order in which people look for them: `web2` before `web10`."""
    find = find.casefold()
    return tuple(sorted((name for name in names if find in name.casefold()), key=natural))


def natural(name: str) -> list[tuple[int, str]]:
    """The key by which names are sorted."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name.casefold())]


pump = Pump()
