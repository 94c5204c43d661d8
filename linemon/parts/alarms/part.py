"""The part `alarms` of `linemon work`: a turn a second over the store, and what people ask of it."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from fnmatch import fnmatchcase
from functools import partial
from typing import Any, Final

from linemon.config import Config
from linemon.errors import LinemonError, StoreError
from linemon.locks import Taken, take
from linemon.logs import Seldom
from linemon.parts._aside import aside
from linemon.parts._marks import set_marks
from linemon.parts._port import Output
from linemon.parts.alarms.feed import Feed
from linemon.parts.alarms.first import First
from linemon.parts.alarms.judged import Group
from linemon.parts.alarms.keeping import LOG, Log, State, state_file
from linemon.parts.alarms.machine import OK, PENDING, Instance, S
from linemon.parts.alarms.nobody import Nobody
from linemon.parts.alarms.outbox import Outbox
from linemon.parts.alarms.rules import Rule, make
from linemon.parts.alarms.telling import Telling, as_json, order
from linemon.sections import Span
from linemon.store.devices import Registered
from linemon.store.folder import own_folder, replace_file
from linemon.store.marks import ALARM, Mark
from linemon.store.reader import Store
from linemon.store.status import ALARMS

log = logging.getLogger(__name__)

TURN_S: Final = 1.0
SHOW_S: Final = 5.0  # from one list of what is to the next, where nothing changes
OUT_S: Final = 10.0  # from one row of counts to the next
MARKS: Final = 5  # at a time
MOST_MARKS: Final = 1000  # that wait
OWN: Final = "linemon.alarms"
SENDING: Final = ("sent", "failed", "dead", "dropped", "waiting")  # counts of the outbox
ORPHAN: Final = "{source} {column}: this alarm was removed or changed in linemon.toml"
Request = dict[str, Any]


class Alarms:
    """The part."""

    name = "alarms"

    def __init__(self, config: Config, rules: list[Rule]) -> None:
        self.settings = config.store, config.alarms, config.alarm, config.notify, config.quiet, config.work, config.tcp
        self._config, self._rules = config, rules
        self._feed: Feed | None = None
        self._telling: Telling | None = None
        self._outbox: Outbox | None = None
        self._behind_s = 0.0
        self._turned = 0  # the clock of the last turn, ns
        self._shown = self._out = float("-inf")
        self._marking: asyncio.Future[None] | None = None
        self._marks_fail = Seldom()

    def state(self) -> dict[str, Any]:
        if not (self._feed and self._telling and self._outbox):
            return {}
        found: dict[str, Any] = {"behind_s": self._behind_s, **self._counts()}
        if self._feed.left_out:
            found["left_out"] = f"{len(self._feed.left_out)} sources, such as {self._feed.left_out[0]}"
        outbox = self._outbox.state()
        found |= {f"outbox.{name}": outbox[name] for name in SENDING if outbox[name]}
        said = {
            name: each.get("error") if each["fails"] else each.get("trouble")
            for name, each in outbox["notifiers"].items()
        }
        failing = {name: error for name, error in said.items() if error}
        return found | ({"notifiers": failing} if failing else {})

    def _counts(self) -> dict[str, float]:
        assert self._feed
        assert self._telling
        states = [each.state for _, each in self._feed]
        pending, firing = states.count(PENDING), sum(each not in (OK, PENDING) for each in states)
        counts: dict[str, float] = {"instances": len(states), "pending": pending, "firing": firing}
        return counts | self._telling.counts | {"missed": self._feed.missed}

    async def run(self) -> None:
        """Judge once a second, until cancelled. StoreError where another process has the state."""
        with ExitStack() as opened:
            file = state_file(self._config)
            own_folder(self._config.store.folder, self._config.store.mode)
            own_folder(file.parent, 0o700 if file.parent != self._config.store.folder else self._config.store.mode)
            try:
                opened.callback(os.close, take(file.with_name(f"{file.name}.lock")))
            except Taken as error:
                raise StoreError(f"{file} is used by {error}") from None
            store = opened.enter_context(Store(self._config.store.folder))
            outbox = self._outbox = Outbox(file.parent, self._config, self)
            opened.callback(outbox.close)
            output = Output(self._config, OWN)
            opened.callback(output.close)
            state, journal = State(file), Log(file.with_name(LOG))
            self._turned = time.time_ns()
            alarms = self._config.alarms
            telling = self._telling = Telling(
                outbox.put, outbox.told, self._config.quiet, alarms.group_wait.ns, time.time_ns(), state.n,
                state.silences, self._groups,
            )  # fmt: skip
            devices = Registered(self._config.devices_folder)
            feed = self._feed = Feed(store, self._rules, telling, alarms.max_instances, devices)
            looks = [Nobody(telling, feed, state).look]
            if state.is_first:
                looks.append(First(self._config, telling, feed).look)
            sending = asyncio.create_task(outbox.run())
            opened.callback(sending.cancel)
            try:
                while True:
                    if sending.done():
                        sending.result()
                    began = time.monotonic()
                    await self._turn(feed, telling, state)
                    for look in looks:
                        look(time.time_ns())
                    self._behind_s = round(max(0.0, time.monotonic() - began - TURN_S), 1)
                    self._write(feed, telling, state, journal)
                    self._send(output)
                    self._mark(telling)
                    await asyncio.sleep(max(0.0, TURN_S - (time.monotonic() - began)))
            finally:
                sending.cancel()
                await asyncio.wait([sending])
                self._write(feed, telling, state, journal, ending=True)
                (self._config.store.folder / ALARMS).unlink(missing_ok=True)

    async def _turn(self, feed: Feed, telling: Telling, state: State) -> None:
        w = time.time_ns()
        for _ in feed.attach(w, state.resume):
            await asyncio.sleep(0)
        self._end_orphans(feed, telling, state, w)
        for _ in feed.turn(w):
            await asyncio.sleep(0)
        self._turned = w

    def _end_orphans(self, feed: Feed, telling: Telling, state: State, w: int) -> None:
        """Instances of the state whose alarm is no more, or another one: told only where they were."""
        there = [str(each.get("name")) for each in self._config.notify]
        for saved in state.orphans(self._rules, w, round(self._config.store.forget_after * S)):
            said = {"name": saved["alarm"], "value": "seen()", "warning": "> 0", "text": ORPHAN}
            said["notify"] = [name for name in saved["notify"] if name in there]
            rule = make(saved["alarm"], said, tuple(there), self._config)
            each = Instance(rule.terms, telling, saved["source"], saved["column"])
            each.alarm = rule
            each.load(saved["state"])
            each.leave(w)
            feed.gone += [each] * (each.told != 0 and bool(rule.notify))

    def _write(self, feed: Feed, telling: Telling, state: State, journal: Log, ending: bool = False) -> None:
        """Bring the files up to date, as far as that is due."""
        w, now, changed = time.time_ns(), time.monotonic(), telling.has_changed
        if telling.fresh:
            journal.write(telling.fresh)
            telling.fresh.clear()
        try:
            if ending or state.is_due(changed):
                state.write(feed, telling, self._turned)  # rows stamped ahead, due since, are still to judge
                telling.has_changed = False
            if not ending and (changed or now - self._shown >= SHOW_S):
                self._shown = now
                found = order(as_json(telling, rule, each, w) for rule, each in feed)
                data = json.dumps(found, separators=(",", ":")).encode()
                os.close(replace_file(self._config.store.folder / ALARMS, data, self._config.store.mode & 0o666))
        except OSError as error:
            log.error("cannot write what alarms are: %s", error)

    def _send(self, output: Output) -> None:
        """A row of our own counts."""
        assert self._outbox
        if time.monotonic() - self._out < OUT_S:
            return
        self._out = time.monotonic()
        counts, outbox = self._counts(), self._outbox.state()
        counts |= {f"outbox.{name}": outbox[name] for name in SENDING}
        failing = self._outbox.failing()
        counts |= {f"notify.{name}.fails": name in failing for name in (*outbox["notifiers"], "heartbeat")}
        output.send(dict.fromkeys(counts, ""), [(time.time_ns(), counts.values())])

    def _mark(self, telling: Telling) -> None:
        """Have the beginnings and ends of incidents marked, a few at a time; where that fails, they are not."""
        if self._marking is not None:
            if not self._marking.done():
                return
            if (error := self._marking.exception()) and self._marks_fail.due():
                log.warning("%s", error)
            self._marking = None
        if telling.marks:
            some, telling.marks[:] = telling.marks[:MARKS], telling.marks[MARKS:][-MOST_MARKS:]
            marks = [Mark.of(at, text[:500], source, ALARM) for at, text, source in some]
            self._marking = aside(partial(set_marks, self._config, marks))

    # -- what people ask, by `work.sock`, Telegram

    def commands(self) -> dict[str, Callable[[Request], Awaitable[str]]]:
        return {"ack": self._ack, "silence": self._silence, "unsilence": self._unsilence, "test": self._test}

    async def _ack(self, request: Request) -> str:
        what = str(request.get("n", request.get("key", "")))
        return self._desk.ack(self._instances(), what, _said(request, "by"), _said(request, "why"), time.time_ns())

    async def _silence(self, request: Request) -> str:
        try:
            span = Span.parse(request.get("for"))
        except ValueError:
            raise LinemonError(f"for = {request.get('for')!r}: expected a span such as '2h'") from None
        pattern, by, why = (_said(request, name) for name in ("pattern", "by", "why"))
        return self._desk.silence(pattern, span.ns, by, why, time.time_ns())

    async def _unsilence(self, request: Request) -> str:
        return self._desk.unsilence(_said(request, "pattern"), time.time_ns())

    async def _test(self, request: Request) -> str:
        name = _said(request, "notifier")
        if not self._outbox:
            raise LinemonError("alarms are not running")
        await self._outbox.test(name)
        return f"{name} has taken it"

    def status(self, name: str) -> str:
        """How a source is; of an empty name: what fires."""
        w, found = time.time_ns(), []
        for rule, each in self._feed or ():
            fits = not name or each.source == name or fnmatchcase(each.source, name)
            if fits and (each.now or (name and each.state == PENDING)):
                found.append(as_json(self._desk, rule, each, w))
        lines = [
            f"{('OK', 'Warning', 'Critical')[each['level']]} {each['n'] or ''}: {each['text']}" for each in order(found)
        ]
        return "\n".join(lines) or (f"{name}: nothing fires" if name else "nothing fires")

    def ack(self, n: int, by: str) -> str:
        return self._desk.ack(self._instances(), str(n), by, "", time.time_ns())

    def silence(self, pattern: str, span: float, by: str) -> str:
        return self._desk.silence(pattern, round(span * S), by, "", time.time_ns())

    def limits(self, source: str, column: str) -> list[tuple[int, float]]:
        """Those that alarms of the column have, with their level, for pictures."""
        found = [rule.limits for rule, each in self._feed or () if (each.source, each.column) == (source, column)]
        pairs = ((level, limits[name]) for limits in found for level, name in ((1, "warning"), (2, "critical")))
        return sorted({(level, limit) for level, limit in pairs if limit is not None})

    @property
    def _desk(self) -> Telling:
        if not self._telling:
            raise LinemonError("alarms are not running")
        return self._telling

    def _instances(self) -> list[Instance]:
        return [each for _, each in self._feed or ()]

    def _groups(self, alarm: str) -> list[Group]:
        return list(self._feed.groups(alarm)) if self._feed else []


def _said(request: Request, name: str) -> str:
    return str(request.get(name, ""))[:500]
