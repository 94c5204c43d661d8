"""Whom instances tell: what must wait and why, the messages and the log, and what people said to incidents."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any, Final
from urllib.parse import quote
from zoneinfo import ZoneInfo

from linemon.errors import LinemonError
from linemon.parts.alarms.event import Event
from linemon.parts.alarms.judged import Group
from linemon.parts.alarms.machine import KINDS, OK, PENDING, Instance, S
from linemon.parts.alarms.rules import Rule, patterns
from linemon.patterns import fits
from linemon.sections import QuietConfig
from linemon.when import iso_ns

log = logging.getLogger(__name__)

NEEDS_AFTER: Final = 60 * S  # after the other alarm is over
LONGEST_SILENCE: Final = 30 * 86400 * S
MARK_EVERY: Final = 60 * S  # of one instance
MARKED: Final = ("warning", "critical", "ok", "gone")


@dataclass
class Telling:
    """The desk of all instances. `put` takes an event, `others` finds the groups of an alarm."""

    put: Callable[[Event], object]
    told_of: Callable[[str], tuple[int, int] | None]
    quiet: tuple[QuietConfig, ...] = ()
    group_wait: int = 0
    started: int | None = None
    n: int = 0  # of the newest incident
    silences: list[dict[str, Any]] = field(default_factory=list)  # pattern, until, by, why
    others: Callable[[str], Iterable[Group]] = lambda name: ()
    fresh: list[dict[str, Any]] = field(default_factory=list)  # for the log
    marks: list[tuple[int, str, str]] = field(default_factory=list)  # to be set: time, text, source
    has_changed: bool = False  # since it was saved
    counts: dict[str, int] = field(default_factory=lambda: {"told": 0, "unwritten": 0})
    wait: Callable[[Instance, str, int], str | None] = lambda instance, kind, w: None  # what else holds it

    # -- the machine asks and says

    def held(self, instance: Instance, kind: str, level: int, w: int) -> str | None:
        rule: Rule = instance.alarm
        if not rule.notify:
            return "nobody"
        if self.silenced(instance, w):
            return "silence"
        if any(is_quiet(each, w // S, level) and _covers(each, instance) for each in self.quiet):
            return "quiet"
        if rule.config.needs and self._needs(rule, instance, w):
            return "needs"
        return self.wait(instance, kind, w)

    def told(self, instance: Instance, start: int) -> tuple[int, int] | None:
        return self.told_of(key_of(instance, start))

    def changed(self, instance: Instance, kind: str, w: int) -> None:
        self.has_changed = True
        kind = "gone" if kind == "ok" and instance.gone else kind
        self._note(instance, kind, instance.start, w, told=False)

    def number(self) -> int:
        self.n += 1
        return self.n

    def say(self, instance: Instance, kind: str, level: int, start: int, w: int) -> bool:
        rule: Rule = instance.alarm
        event = Event(
            key_of(instance, start), instance.seq, instance.n, kind, level or max(1, instance.told), rule.name,
            instance.source, instance.column, None if math.isnan(instance.value) else instance.value, instance.unit,
            instance.start, None if level else instance.end, w, text_of(rule, instance),
            tuple(each for each in rule.notify if not (rule.name == "notifier fails" and each in instance.took)),
        )  # fmt: skip
        try:
            self.put(event)
        except OSError as error:
            self.counts["unwritten"] += 1
            log.error("a message waits, as it cannot be written: %s", error.strerror)
            return False
        self.counts["told"] += 1
        self.has_changed = True
        self._note(instance, kind, start, w, told=True)
        return True

    def _note(self, instance: Instance, kind: str, start: int, w: int, told: bool) -> None:
        """A line of the log; what is told at once has one line."""
        line = {
            "time": iso_ns(w), "alarm": instance.alarm.name, "source": instance.source, "column": instance.column,
            "event": kind, "since": iso_ns(instance.start),
            "until": iso_ns(instance.end) if kind in ("ok", "gone") and instance.end is not None else None,
            "value": None if math.isnan(instance.value) else instance.value, "told": told,
            "key": key_of(instance, start), "seq": instance.seq if told else None,
        }  # fmt: skip
        same = ("alarm", "source", "column", "event", "since")
        for earlier in self.fresh if told else ():
            if not earlier["told"] and all(earlier[name] == line[name] for name in same):
                earlier |= line
                return
        self.fresh.append(line)
        if not told and kind in MARKED and w - instance.marked >= MARK_EVERY:
            instance.marked = w
            at = instance.end if kind in ("ok", "gone") else instance.start
            self.marks.append((at, f"{kind}: {text_of(instance.alarm, instance)}", instance.source))

    # -- what holds messages

    def silenced(self, instance: Instance, w: int) -> int | None:
        """Until when it is."""
        names = instance.alarm.name, instance.source, f"{instance.alarm.name}@{instance.source}", str(instance.n)
        until = [
            each["until"]
            for each in self.silences
            if each["until"] > w
            and (any(fnmatchcase(name, each["pattern"]) for name in names) or key_of(instance) == each["pattern"])
        ]
        return max(until, default=None)

    def _needs(self, rule: Rule, instance: Instance, w: int) -> bool:
        """Whether the other alarm is, or just was, about to fire for this source; or this one began before it could."""
        if instance.changes and w - instance.changes[-1] < self.group_wait:
            return True
        other, at, source = rule.config.needs.partition("@")
        pattern = source if at else instance.source
        for group in self.others(other):
            if fits((pattern,), group.source.name) or group.source.name == pattern:
                for each in group:
                    if each.state != OK or (each.left is not None and w - each.left < NEEDS_AFTER):
                        return True
        return False

    # -- what people say

    def ack(self, instances: Iterable[Instance], what: str, by: str, why: str, w: int) -> str:
        """Of the incident with this number or key; LinemonError if there is none."""
        for each in instances:
            if each.now and what in (str(each.n), key_of(each)):
                each.acked = {"by": by, "at": iso_ns(w), "why": why}
                self.has_changed = True
                return f"acknowledged {each.n}: {text_of(each.alarm, each)}"
        raise LinemonError(f"no incident {what!r} goes on; `linemon alarms` lists them")

    def silence(self, pattern: str, span: int, by: str, why: str, w: int) -> str:
        """All that fits an alarm's name, a source, ALARM@SOURCE, a number or a key, for `span` ns."""
        if not pattern or not 0 < span <= LONGEST_SILENCE:
            raise LinemonError("expected a pattern, and a span of at most 30d")
        self.silences = [each for each in self.silences if each["until"] > w and each["pattern"] != pattern]
        self.silences.append({"pattern": pattern, "until": w + span, "by": by, "why": why})
        self.has_changed = True
        return f"silenced {pattern} until {iso_ns((w + span) // S * S)}"

    def unsilence(self, pattern: str, w: int) -> str:
        before = [each for each in self.silences if each["until"] > w]
        self.silences = [each for each in before if each["pattern"] != pattern]
        if len(self.silences) == len(before):
            there = ", ".join(each["pattern"] for each in before) or "none"
            raise LinemonError(f"no silence has the pattern {pattern!r}; there are: {there}")
        self.has_changed = True
        return f"{pattern} is no longer silenced"


def key_of(instance: Instance, start: int | None = None) -> str:
    """Of an incident: `alarm/source/column/start_ms`, each percent-encoded; no column is ``-``."""
    column = "-" if instance.column is None else "%2D" if instance.column == "-" else quote(instance.column, safe="")
    at = instance.start if start is None else start
    return f"{quote(instance.alarm.name, safe='')}/{quote(instance.source, safe='')}/{column}/{(at or 0) // 10**6}"


def text_of(rule: Rule, instance: Instance) -> str:
    """The alarm's text, with what it names."""
    column, start = instance.column or "", instance.start
    text = rule.config.text or ("{source} {column}: {value:.4g} {unit}" if column else "{source}: {value:.4g} {unit}")
    if math.isnan(instance.value):
        text = text.replace("{value", "{nothing").replace(":.4g", "")
    fields = {
        "alarm": rule.name, "source": instance.source, "column": column, "value": instance.value + 0.0,
        "nothing": Nothing(), "unit": instance.unit, "level": KINDS[instance.now],
        "since": "" if start is None else iso_ns(start // S * S),
    }  # fmt: skip
    found = text.format("", *instance.took, *[""] * 9, **fields)
    return " ".join(found.split())


class Nothing:
    """A value that is not known, in whatever format."""

    def __format__(self, spec: str) -> str:
        return "no value"


def as_json(telling: Telling, rule: Rule, each: Instance, w: int) -> dict[str, Any]:
    """An instance as `linemon alarms --json` has it."""
    start = each.start if each.now or each.told else each.since1 if each.state == PENDING else None
    silenced = telling.silenced(each, w) if telling.silences else None
    return {
        "n": each.n if each.now or each.told else None,
        "key": key_of(each) if each.now or each.told else None,
        "alarm": rule.name,
        "source": each.source,
        "column": each.column,
        "state": each.state,
        "level": each.now,
        "since": None if start is None else iso_ns(start),
        "value": each.value + 0.0 if math.isfinite(each.value) else None,  # never -0
        "unit": each.unit,
        "stale": each.stale,
        "told": max(0, each.told),
        "acked": each.acked,
        "silenced_until": None if silenced is None else iso_ns(silenced),
        "held": None if each.held == "nobody" else each.held,
        "text": text_of(rule, each),
        "limits": rule.limits,
    }


def order(found: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Firing and clearing first, the worst and the newest before the others; then pending."""
    newest_first = sorted(found, key=lambda each: each["since"] or "", reverse=True)
    rank = {OK: 2, PENDING: 1}
    return sorted(newest_first, key=lambda each: (rank.get(each["state"], 0), -each["level"]))


@lru_cache(maxsize=64)
def is_quiet(quiet: QuietConfig, at_s: int, level: int) -> bool:
    """Whether messages of this level wait then, by the wall clock: an hour that comes twice is quiet twice."""
    if quiet.below == "critical" and level >= 2:
        return False
    now = datetime.fromtimestamp(at_s, ZoneInfo(quiet.zone) if quiet.zone else None)
    clock, day = f"{now:%H:%M}", now.weekday()
    if quiet.from_ < quiet.to:
        return quiet.from_ <= clock < quiet.to and day in quiet.weekdays
    began_today = clock >= quiet.from_ and day in quiet.weekdays
    return began_today or (clock < quiet.to and (day - 1) % 7 in quiet.weekdays)


def _covers(quiet: QuietConfig, instance: Instance) -> bool:
    return fits(patterns(quiet.source), instance.source) and fits(patterns(quiet.alarm), instance.alarm.name)
