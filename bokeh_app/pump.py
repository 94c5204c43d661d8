"""The one reader of the rings in this server process: once per tick, for all open pages."""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import re
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

import linemon
from linemon.config import load
from linemon.errors import LinemonError

from .panels import unit_of

log = logging.getLogger(__name__)

TICK_SECONDS = 1.0
MAX_LISTED = 200  # sources in the list of a page; the rest is counted, and found by typing

Floats = npt.NDArray[np.float64]
Result = TypeVar("Result")


class Page(Protocol):
    """What the pump asks of an open page."""

    def schedule(self) -> None: ...


@dataclass(frozen=True)
class Listing:
    """The sources that contain a text: `table` changes seldom, `newest` holds (value, epoch ms) of each."""

    table: dict[str, list[Any]]
    newest: Floats
    more: int


class Pump:
    """Opens the store, ticks, and reads for all pages what more than one of them needs."""

    def __init__(self) -> None:
        file = os.environ.get("LINEMON_CONFIG")
        self.config = load(Path(file) if file else None)
        self.store = linemon.open(self.config.store.folder)
        self.pages: set[Page] = set()
        self.trouble = ""
        self._shared: dict[Hashable, Any] = {}
        self._newest: dict[str, tuple[int, float, float]] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Tick from now on, in the loop of the server."""
        if self._task is None:
            self._task = asyncio.get_event_loop().create_task(self._run())

    async def _run(self) -> None:
        due = time.monotonic()
        while True:
            due = max(due + TICK_SECONDS, time.monotonic())  # a late tick moves the grid, ticks never pile up
            await asyncio.sleep(due - time.monotonic())
            try:
                self._tick()
            except Exception:  # one bad tick must not end all that follow
                log.exception("a tick failed")

    def _tick(self) -> None:  # a function, so that none of its names outlives the tick and keeps a closed page
        self._shared.clear()
        for page in list(self.pages):
            page.schedule()

    def shared(self, key: Hashable, make: Callable[[], Result]) -> Result:
        """What `make` gives, made once per tick for all pages that ask for the same."""
        if key not in self._shared:
            self._shared[key] = make()
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

    def listing(self, find: str) -> Listing:
        """The list of sources for what was typed over it."""
        return self.shared(("listing", find), lambda: self._listing(find))

    def _listing(self, find: str) -> Listing:
        found = _matching(self.names(), find.casefold())
        listed = found[:MAX_LISTED]
        table: dict[str, list[Any]] = {"name": list(listed), "columns": [], "unit": []}
        newest = np.full((len(listed), 2), np.nan)
        for i, name in enumerate(listed):
            try:
                source = self.store[name]
                columns, units = source.columns, source.units
                newest[i] = self._newest_of(source)
            except (LinemonError, OSError):
                columns, units = ("",), ("",)  # gone between two reads: an empty line until the next tick
            table["columns"].append(len(columns))
            table["unit"].append(unit_of(columns[0], units[0]))
        return Listing(table, newest, len(found) - len(listed))

    def _newest_of(self, source: linemon.Source) -> tuple[float, float]:
        """First value and epoch ms of the newest row; looked up only when there are new rows."""
        rows = source.rows
        known = self._newest.get(source.name)
        if known is None or known[0] != rows:
            last = source.last(1)
            value, at = (last.values[0, 0], epoch_ms(last.time)[0]) if len(last) else (np.nan, np.nan)
            known = self._newest[source.name] = rows, float(value), float(at)
        return known[1:]


def epoch_ms(time: npt.NDArray[np.datetime64] | npt.NDArray[np.int64]) -> Floats:
    """Times as a browser counts them."""
    return time.view(np.int64) / 1e6


@functools.lru_cache(maxsize=16)  # the names change seldom, and there may be ten thousand
def _matching(names: tuple[str, ...], find: str) -> tuple[str, ...]:
    """The names that contain a text, in the order in which people look for them: `web2` before `web10`."""
    return tuple(sorted((name for name in names if find in name.casefold()), key=_natural))


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name.casefold())]


pump = Pump()
