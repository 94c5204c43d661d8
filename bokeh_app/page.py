"""One open page, whatever it shows: when it is sent something, and how its answers bound what is sent.

A page gets one packed array per message and cuts it itself; the server keeps no rows for it. The page answers messages
after it has drawn them: one that cannot keep up gets nothing while too many are open, and then all it missed at once.

The array travels as base64 in a text: as bytes it would take two frames more, each a call of the kernel.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from base64 import b64encode
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import numpy.typing as npt
from bokeh.core.properties import Bool, Float, Int, List, String
from bokeh.document import Document
from bokeh.model import DataModel
from bokeh.models import CustomJS
from bokeh.server.contexts import BokehSessionContext

from .orders import carry_out
from .packing import pack
from .pump import Pump
from .rhythm import AGAIN_S, LEAST_S, LONGEST_S

log = logging.getLogger(__name__)

MAX_OPEN = 12  # messages a page may owe an answer for; it answers every eighth one: answers cost as much as messages
LIST_S = 1.0
QUIET_S = 5.0  # the longest a page is sent nothing,
DEVICE_S = 1.0  # and one that shows a device: somebody waits for what becomes of a setting
MAX_PIXELS = 4000
MAX_FIND = 255
MAX_ASK = 10_000  # characters
MAX_DOING = 4  # things at once
APPEND, REPLACE, RELOAD = 0.0, 1.0, 2.0


class Wishes(DataModel):
    """What a page asks for: the browser writes, the server reads."""

    # mypy: Bokeh's properties are descriptors without types for what they hold
    ack: int = Int(0)  # type: ignore[assignment]  # the newest message it has drawn
    window: int = Int(300)  # type: ignore[assignment]  # seconds to follow; 0 = all there is
    sight: list[float] = List(Float)  # type: ignore[assignment]  # from, to in epoch ms while paused; empty = live
    pixels: int = Int(0)  # type: ignore[assignment]  # how wide its widest chart is; 0 = it does not know yet
    refill: int = Int(0)  # type: ignore[assignment]  # counted up when what it holds is not what it should be
    save: list[float] = List(Float)  # type: ignore[assignment]  # from, to in epoch ms of what is to be saved, and a number
    find: str = String("")  # type: ignore[assignment]  # the text typed into the search
    ask: str = String("")  # type: ignore[assignment]  # what is to be done, as JSON with a number: see `orders.py`
    has_hidden: bool = Bool(default=False)  # type: ignore[assignment]  # the overview: also what is hidden
    has_all: bool = Bool(default=False)  # type: ignore[assignment]  # the list of alarms: also what is OK
    sort: str = String("name")  # type: ignore[assignment]  # the order of the overview
    place: list[int] = List(Int)  # type: ignore[assignment]  # of its rows the first in sight, and how many
    by: str = String("")  # type: ignore[assignment]  # "prefix" or "grid": how it is laid out
    open: list[str] = List(String)  # type: ignore[assignment]  # the groups of it that are unfolded


class Answers(DataModel):
    """What the server says: the numbers, and what changes seldom as JSON."""

    packed: str = String("")  # type: ignore[assignment]  # a message: float64 as base64
    saved: str = String("")  # type: ignore[assignment]  # the rows that are to be saved: float64 as base64
    names: str = String("")  # type: ignore[assignment]  # what the rows of the overview are that are in sight
    cells: str = String("")  # type: ignore[assignment]  # the names of the hosts in its map
    found: str = String("")  # type: ignore[assignment]  # for the text typed into the search
    alarms: str = String("")  # type: ignore[assignment]  # what fires
    strange: str = String("")  # type: ignore[assignment]  # what is strange now
    behind: str = String("")  # type: ignore[assignment]  # what lies behind the lines: see `behind.py`
    rest: str = String("")  # type: ignore[assignment]  # of one measure of many sources: see `measure.py`
    devices: str = String("")  # type: ignore[assignment]  # those that registered, or the one that is shown
    marks: str = String("")  # type: ignore[assignment]  # those that lie in sight, or near
    older: str = String("")  # type: ignore[assignment]  # why the archive does not say what was before
    told: str = String("")  # type: ignore[assignment]  # what became of what was to be done
    health: str = String("")  # type: ignore[assignment]  # the collector's counters


class Page:
    """The server's side of one page. Nothing but the pump refers to it, and only as long as its document lives."""

    def __init__(self, doc: Document, pump: Pump) -> None:
        self.wishes, self.answers = Wishes(name="wishes"), Answers(name="answers")
        self._doc = doc
        self._pump = pump
        self._sending: asyncio.Task[None] | None = None
        self._doing: set[asyncio.Task[None]] = set()
        self._sent, self._sent_at = 0, 0.0
        self.device: Callable[[], str] = str  # says what `answers.devices` is, where the page is a device's own
        for model in self.wishes, self.answers:
            doc.add_root(model)
        for wish in "window", "sight", "refill", "sort", "has_hidden":
            self.wishes.on_change(wish, lambda attr, old, new: self._refill())
        self.wishes.on_change("find", lambda attr, old, new: self.search(new[:MAX_FIND]))
        self.wishes.on_change("ask", lambda attr, old, new: self._do(new))
        self.wishes.on_change("pixels", lambda attr, old, new: self._open())
        doc.js_on_event("document_ready", CustomJS(code="linemon.start()"))
        doc.on_session_destroyed(self._close)

    def is_due(self, now: float) -> bool:
        """Whether there is something to send. `now` is monotonic, in seconds."""
        raise NotImplementedError

    def due(self) -> float:
        """When to ask that again, monotonic, in seconds."""
        raise NotImplementedError

    def message(self, kind: float) -> tuple[float, list[Any]]:
        """What to send: the kind that it came to, and the arrays."""
        raise NotImplementedError

    def search(self, text: str) -> None:
        """Answer what was typed into the search."""
        raise NotImplementedError

    def schedule(self, now: float) -> float:
        """Send what is new once the document's lock is free, unless the page is behind; returns when to ask again."""
        if self._sent - self.wishes.ack >= MAX_OPEN:
            return now + LONGEST_S
        if self._sending or now < self._sent_at + LEAST_S - AGAIN_S:
            return max(now, self._sent_at) + LEAST_S
        if self.is_due(now) or now - self._sent_at > (DEVICE_S if self.answers.devices else QUIET_S):
            self._sending = asyncio.get_running_loop().create_task(self._send_locked(APPEND))
        return self.due()

    def send(self, kind: float) -> None:
        """Send now."""
        kind, arrays = self.message(kind)
        if said := self.device():
            self.answers.devices = said
        self._sent += 1
        self._sent_at = time.monotonic()
        self.answers.packed = as_text([[kind, self._sent, time.time() * 1e3], *arrays])

    def _open(self) -> None:  # the page has its document and knows its size: what was sent before would be lost
        self.send(REPLACE)
        self._pump.open(self)

    def _refill(self) -> None:
        if self in self._pump.pages:  # not before it is open
            self.send(REPLACE)

    def renew(self) -> None:
        """Fill it anew, once its document is free."""
        if self in self._pump.pages:
            self._start(self._send_locked(REPLACE))

    def _close(self, context: object) -> None:
        self._pump.pages.discard(self)

    def _do(self, asked: str) -> None:
        if len(self._doing) < MAX_DOING and len(asked) <= MAX_ASK:
            self._start(self._carry_out(asked))

    def _start(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._doing.add(task)
        task.add_done_callback(self._doing.discard)

    async def _carry_out(self, asked: str) -> None:
        try:
            said = json.loads(asked)
            answer = await carry_out(self._pump.config, said)
            told = json.dumps({"number": said.get("number"), **answer})
            await self._locked(lambda: self.answers.update(told=told))
        except Exception:  # it would be kept until the task is freed
            log.exception("what a page asked for failed")

    async def _send_locked(self, kind: float) -> None:
        try:
            await self._locked(lambda: self.send(kind))
        except Exception:  # as above
            log.exception("a message failed")
        finally:
            self._sending = None

    async def _locked(self, work: Callable[[], object]) -> None:
        """Work with the document, once it is free."""

        async def do(doc: Document) -> None:
            work()

        context = self._doc.session_context
        if isinstance(context, BokehSessionContext):
            await context.with_locked_document(do)


def as_text(arrays: Sequence[npt.ArrayLike]) -> str:
    """Arrays as a page takes them."""
    return b64encode(pack(arrays).tobytes()).decode()


class ListPage(Page):
    """A list that is made anew once a second, and for whatever is typed into the search."""

    def __init__(self, doc: Document, pump: Pump) -> None:
        super().__init__(doc, pump)
        self._due = 0.0

    def is_due(self, now: float) -> bool:
        if now < self._due:
            return False
        self._due = now + LIST_S
        return True

    def due(self) -> float:
        return self._due

    def search(self, text: str) -> None:
        self._refill()
