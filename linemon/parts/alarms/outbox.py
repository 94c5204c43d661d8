"""Messages on their way to people: each reaches its notifiers at least once, in the order of its incident.

What waits is in a file, `outbox` in the part's folder (letters.py). Who is killed between sending and noting it sends
it twice, with the same key and number. A notifier is told in a thread, so one that hangs delays nothing but itself.
Wherever one is shown it is `kind name host`.
"""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from linemon.config import Config
from linemon.errors import AskedWrongly
from linemon.logs import Seldom
from linemon.parts._aside import aside
from linemon.parts._secrets import clean, secrets_of
from linemon.parts.alarms.event import Event, iso
from linemon.parts.alarms.letters import Letters
from linemon.parts.alarms.message import Message
from linemon.parts.alarms.notifier import Answers, Later, Notifier, Refused
from linemon.parts.alarms.notifiers import build
from linemon.parts.alarms.picture import Pictures
from linemon.parts.alarms.waiting import Letter, Waiting

log = logging.getLogger(__name__)

MOST: Final = 10_000  # letters that wait; then the oldest of the notifier with most of them are dropped
FAILING_S: Final = 600.0  # what fails so long is something that people must hear of
MIND_S: Final = 10.0  # from one look at what is too old to the next
HEARTBEAT_S: Final = 60.0
LISTEN_AGAIN_S: Final = 60.0
END_S: Final = 3.0  # for what is being sent when the part ends


class Health:
    """How a notifier, or the heartbeat, does."""

    def __init__(self, label: str, clean: Callable[[str], str]) -> None:
        self.label, self._clean = label, clean
        self.failed = 0
        self._error, self._at = "", 0.0
        self._since: float | None = None  # it fails, by the monotonic clock
        self._refused = False
        self._seldom = Seldom()

    def succeeds(self) -> None:
        self._since, self._refused = None, False

    def fails(self, text: str, refused: bool = False) -> None:
        self.failed += 1
        self._error, self._at, self._refused = self._clean(text), time.time(), refused
        if self._since is None:
            self._since = time.monotonic()
        if count := self._seldom.due():
            more = f" ({count} times since the last such line)" if count > 1 else ""
            log.error("%s: %s%s", self.label, self._error, more)

    @property
    def is_failing(self) -> bool:
        """Whether people must hear of it: it refused the last message, or fails for long."""
        return self._refused or (self._since is not None and time.monotonic() - self._since > FAILING_S)

    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = {"notifier": self.label, "failed": self.failed, "fails": self._since is not None}
        return found | ({"error": self._error, "error_at": iso(round(self._at * 1e9))} if self._error else {})


class Desk:
    """One notifier: what waits for it, and how it does."""

    def __init__(self, notifier: Notifier, waiting: Waiting) -> None:
        self.notifier, self.waiting = notifier, waiting
        self.health = Health(notifier.label, notifier.clean)
        self.wake = asyncio.Event()

    def state(self) -> dict[str, Any]:
        return self.health.state() | {"waiting": len(self.waiting), **self.notifier.state()}


class Outbox:
    """All notifiers. ConfigError where one is configured wrongly, OSError where the file cannot be had."""

    def __init__(self, folder: Path, config: Config, answers: Answers | None = None) -> None:
        self.answers, self._config = answers, config.alarms
        alarms = config.alarms
        self._desks = {
            name: Desk(each, Waiting(each.ALONE, alarms.group_wait, alarms.max_per_hour))
            for name, each in build(config).items()
        }
        hidden = secrets_of([alarms.heartbeat])
        self._heartbeat_health = Health("heartbeat", lambda text: clean(text, hidden))
        self._pictures = Pictures(config.store.folder, answers.limits if answers else lambda source, column: [])
        self._letters = Letters(folder / "outbox")
        self._look_back()

    def put(self, *events: Event) -> int:
        """Take events, on the disk when it returns; how many letters they make, but for those that it holds.

        OSError where they cannot be written: then none is held.
        """
        new = self._letters.put([(event, self._takers(event)) for event in events])
        now = time.monotonic()
        for name, letter in new:
            self._desks[name].waiting.add(Letter(letter.event, now))
            self._desks[name].wake.set()
        self._drop_beyond(MOST)
        return len(new)

    def told(self, key: str) -> tuple[int, int] | None:
        """Number and level of what was put last of an incident; None where that is not known, or a day ago."""
        told = self._letters.told.get(key)
        return (told.seq, told.level) if told else None

    async def run(self) -> None:
        """Send what waits, and listen, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for desk in self._desks.values():
                tasks.create_task(self._deliver(desk))
                tasks.create_task(self._listen(desk))
            if self._config.heartbeat:
                tasks.create_task(self._heartbeat())
            while True:
                self._mind()
                await asyncio.sleep(MIND_S)

    async def test(self, name: str) -> None:
        """Tell one notifier something at once. `Later` and `Refused` have its words; AskedWrongly if there is none."""
        if not (desk := self._desks.get(name)):
            raise AskedWrongly(f"no notifier {name!r}; linemon.toml names: {', '.join(self._desks) or 'none'}")
        now = time.time_ns()
        event = Event(
            f"test/linemon/-/{now // 10**6}", 1, 0, "warning", 1, "test", "linemon", None, None, "", now, None, now,
            "This is a test: no alarm fires", (name,),
        )  # fmt: skip
        over = replace(event, seq=2, kind="ok", until=now)  # or a machine would take it for an incident that goes on
        try:
            for each in (event, over) if desk.notifier.ALONE else (event,):
                await aside(partial(desk.notifier.tell, self._message([each])))
        except Exception as error:
            raise Refused(desk.notifier.clean(_explained(error, desk.notifier))) from None
        desk.health.succeeds()

    def close(self) -> None:
        self._letters.close()
        for desk in self._desks.values():
            desk.notifier.close()

    def state(self) -> dict[str, Any]:
        """Of letters: sent, dead and dropped ever, waiting now; tries that failed; each notifier."""
        counts = {name: self._letters.counts[name] for name in ("sent", "dead", "dropped")}
        health = [desk.health for desk in self._desks.values()]
        found = counts | {
            "failed": sum(each.failed for each in health),
            "waiting": sum(len(desk.waiting) for desk in self._desks.values()),
            "notifiers": {name: desk.state() for name, desk in self._desks.items()},
        }
        return found | ({"heartbeat": self._heartbeat_health.state()} if self._config.heartbeat else {})

    def failing(self) -> list[str]:
        """The names of those of which people must hear by another one: it refused, or fails for ten minutes."""
        found = [name for name, desk in self._desks.items() if desk.health.is_failing]
        return found + ["heartbeat"] * self._heartbeat_health.is_failing

    # -- what a notifier that listens may use

    def picture(self, source: str, column: str, span: float, dark: bool) -> bytes:
        return self._pictures.last(source, column, span, dark)

    def names(self) -> dict[str, tuple[str, ...]]:
        return self._pictures.names()

    def mark(self, name: str) -> int:
        return self._letters.marks.get(name, 0)

    def note(self, name: str, number: int) -> None:
        self._letters.mark(name, number)

    # -- within

    def _takers(self, event: Event) -> list[str]:
        """Those of its notifiers that are there, and want events of that level."""
        desks = {name: self._desks[name] for name in event.notify if name in self._desks}
        return [name for name, desk in desks.items() if event.level >= desk.notifier.level]

    def _look_back(self) -> None:
        """What waited when the process before ended; for notifiers that are no more, it is dead."""
        wall, now = time.time(), time.monotonic()
        for name, letters in list(self._letters.waiting.items()):
            if desk := self._desks.get(name):
                for each in letters.values():
                    desk.waiting.add(Letter(each.event, now - max(0.0, wall - each.at)))
            elif letters:
                log.error("%d messages are dead: linemon.toml has no notifier %r any more", len(letters), name)
                self._letters.end("dead", name, list(letters.values()))
        for name, times in self._letters.went.items():
            for at in times if name in self._desks else ():
                self._desks[name].waiting.went(now - max(0.0, wall - at))

    def _message(self, events: list[Event]) -> Message:
        return Message(events, self._config.page, self._pictures.of)

    async def _deliver(self, desk: Desk) -> None:
        while True:
            now = time.monotonic()
            letters, again = desk.waiting.due(now)
            if letters:
                await self._send(desk, letters)
                continue
            desk.wake.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(min(again - now, 3600.0)):
                    await desk.wake.wait()

    async def _send(self, desk: Desk, letters: list[Letter]) -> None:
        """One try. The next one begins when this one's thread has ended, however long that takes."""
        attempt = aside(partial(desk.notifier.tell, self._message([each.event for each in letters])))
        try:
            done, _ = await asyncio.wait([attempt], timeout=desk.notifier.timeout + END_S)
            if not done:
                desk.health.fails(f"it has not answered for {desk.notifier.timeout:g} s")
                await asyncio.wait([attempt])
        except asyncio.CancelledError:
            await asyncio.wait([attempt], timeout=END_S)
            if attempt.done():
                self._settle(desk, letters, attempt)
            attempt.cancel()
            raise
        self._settle(desk, letters, attempt)

    def _settle(self, desk: Desk, letters: list[Letter], attempt: asyncio.Future[None]) -> None:
        """Note what became of a try."""
        now, error = time.monotonic(), attempt.exception()
        if error is None:
            desk.health.succeeds()
            desk.waiting.sent(letters, now)
            self._letters.end("sent", desk.notifier.name, letters)
        elif isinstance(error, Refused):
            desk.health.fails(_explained(error, desk.notifier), refused=True)
            desk.waiting.remove(letters)
            self._letters.end("dead", desk.notifier.name, letters)
        else:
            after, whole = (error.after, error.whole) if isinstance(error, Later) else (None, False)
            desk.health.fails(_explained(error, desk.notifier))
            desk.waiting.failed(letters, now, after, whole)

    async def _listen(self, desk: Desk) -> None:
        while True:
            try:
                return await desk.notifier.listen(self)
            except Exception as error:  # of a library, or ours: telling goes on
                desk.health.fails(f"listening: {_explained(error, desk.notifier)}")
            await asyncio.sleep(LISTEN_AGAIN_S)

    async def _heartbeat(self) -> None:
        """Who watches the watcher hears of us each minute."""
        from linemon.parts.alarms.notifiers._http import send

        while True:
            try:
                await aside(partial(send, self._config.heartbeat, None, {}, HEARTBEAT_S / 2))
                self._heartbeat_health.succeeds()
            except (Later, Refused) as error:
                self._heartbeat_health.fails(str(error))
            await asyncio.sleep(HEARTBEAT_S)

    def _mind(self) -> None:
        """What has waited for a day is dead."""
        for name, desk in self._desks.items():
            if letters := desk.waiting.too_old(time.monotonic()):
                desk.health.fails(f"{len(letters)} messages could not be delivered for a day, and are dead")
                desk.waiting.remove(letters)
                self._letters.end("dead", name, letters)

    def _drop_beyond(self, most: int) -> None:
        while sum(len(desk.waiting) for desk in self._desks.values()) > most:
            name, desk = max(self._desks.items(), key=lambda each: len(each[1].waiting))
            oldest = [desk.waiting.oldest]
            desk.waiting.remove(oldest)
            self._letters.end("dropped", name, oldest)
            desk.health.fails(f"more than {most} messages wait: the oldest are dropped")


def _explained(error: BaseException, notifier: Notifier) -> str:
    """What failed, in one line. No traceback: it would show addresses."""
    if isinstance(error, Later | Refused):
        return str(error)
    if isinstance(error, ImportError) and error.name:
        return notifier.lacks(error)
    where = traceback.extract_tb(error.__traceback__)[-1:]
    return f"a bug: {type(error).__name__}: {error}" + "".join(f" ({each.filename}:{each.lineno})" for each in where)
