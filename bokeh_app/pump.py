"""The one reader of the rings in this server process, for all open pages: it looks when one of them expects rows."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import linemon
from linemon.config import load
from linemon.errors import LinemonError
from linemon.store.arena import AHEAD_NS
from linemon.store.farewells import Farewell, of_store
from linemon.store.marks import Mark

from .kept import Kept, State
from .older import Older
from .panels import unit_of

if TYPE_CHECKING:
    from .page import Page

log = logging.getLogger(__name__)

MARKS_S = 1.0  # how often marks are looked at
KEPT_S = 0.5  # and what people change
REST_S = 0.01  # the least between two looks
Result = TypeVar("Result")


class Pump:
    """Opens the store, looks when a page expects something, and reads for all what more than one of them needs."""

    def __init__(self) -> None:
        file = os.environ.get("LINEMON_CONFIG")
        self.config = load(Path(file) if file else None)
        self.store = linemon.open(self.config.store.folder)
        self.pages: set[Page] = set()
        self.older = Older(self.config.dashboard.archive)
        self.trouble = ""
        self._marks: list[Mark] = []
        self._changed = Kept(self.config.dashboard_state)
        self.busy = 0.0  # seconds of the last tick
        self._shared: dict[Hashable, Any] = {}
        self._kept: dict[Hashable, tuple[float, Any]] = {}
        self._next: asyncio.Handle | None = None

    def open(self, page: Page) -> None:
        """Ask this page, too, from now on, as long as it is in `pages`. To be called in the loop of the server."""
        self.pages.add(page)
        if self._next is None:
            self._next = asyncio.get_running_loop().call_soon(self._run)

    def _run(self) -> None:
        if not self.pages:
            self._next = None
            self._shared.clear()
            self._kept.clear()
            return
        try:
            seconds = self._tick()
        except Exception:  # one bad tick must not end all that follow
            log.exception("a tick failed")
            seconds = 1.0
        self._next = asyncio.get_running_loop().call_later(max(REST_S, seconds), self._run)

    def _tick(self) -> float:  # a function, so that none of its names outlives the tick and keeps a closed page
        """Ask all pages; returns in how many seconds one of them wants to be asked again."""
        now = time.monotonic()
        self._shared.clear()
        self._kept = {key: kept for key, kept in self._kept.items() if kept[0] > now}
        due = min([page.schedule(now) for page in self.pages])
        self.busy = time.monotonic() - now
        return due - time.monotonic()

    def shared(self, key: Hashable, make: Callable[[], Result], seconds: float = 0.0) -> Result:
        """What `make` gives, made once per tick, or per so many seconds, for all pages that ask for the same."""
        if self._next is None:  # nobody would make anew what a page has made that never opened
            return make()
        if key in self._kept:
            kept: Result = self._kept[key][1]
            return kept
        if key not in self._shared:
            self._shared[key] = make()
            if seconds:
                self._kept[key] = time.monotonic() + seconds, self._shared[key]
        result: Result = self._shared[key]
        return result

    def latest(self) -> int:
        """The last time (ns) that belongs to now: a row of later than that has a wrong stamp."""
        return self.shared("latest", lambda: time.time_ns() + AHEAD_NS)

    def marks(self) -> list[Mark]:
        """All marks in time order: the same list for as long as there are no others."""
        return self.shared("marks", self._look_for_marks, MARKS_S)

    def _look_for_marks(self) -> list[Mark]:
        found = self.store.marks()
        if found != self._marks:
            self._marks = found
        return self._marks

    def kept(self) -> State:
        """What people change on the page: the same for as long as nobody does."""
        return self.shared("kept", self._look_for_kept, KEPT_S)

    def _look_for_kept(self) -> State:
        self._changed.refresh()
        with suppress(LinemonError, OSError):  # the store is being made anew
            self._changed.follow(self.store.id, of_store(self.store).kept)
        return self._changed.state

    def named(self, name: str, columns: Sequence[str]) -> list[tuple[str, str]]:
        """What these columns of a source are called on the page, and their units: as people set them, or their own."""
        try:
            source = self.store[name]
            units = dict(zip(source.columns, source.units, strict=True))
        except (LinemonError, OSError):
            units = {}
        labels, units_shown = self.kept().named(name, columns, [units.get(column, "") for column in columns])
        return [
            (label or column, unit_of(column, unit))
            for column, label, unit in zip(columns, labels, units_shown, strict=True)
        ]

    def farewell(self, name: str) -> Farewell | None:
        """How a source lost its name, where it did."""
        try:
            return of_store(self.store).names.get(name)
        except OSError:
            return None

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
        if name not in self.shared("known", lambda: frozenset(self.names())):
            return None
        try:
            return self.store[name]
        except (LinemonError, OSError):
            return None  # gone between two reads

    def columns(self, name: str) -> tuple[str, ...]:
        """The columns of a source, none while there is no such source."""
        try:
            return self.store[name].columns
        except (LinemonError, OSError):
            return ()


pump = Pump()
