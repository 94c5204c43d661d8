"""The same machine over what was: what rules would have told. It sends nothing, and keeps no state."""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from linemon.config import Config
from linemon.errors import UnknownSource
from linemon.parts.alarms.feed import StorePast
from linemon.parts.alarms.judged import Group, Judged
from linemon.parts.alarms.machine import S
from linemon.parts.alarms.rules import Rule
from linemon.parts.alarms.telling import Telling
from linemon.parts.alarms.windows import Floats
from linemon.store.devices import Registered
from linemon.store.reader import Store
from linemon.store.rows import as_ns
from linemon.when import iso_ns

GAP: Final = 10 * S  # in a longer one the clock ticks, too
PART: Final = 1440  # buckets at a time
DAY: Final = 86400 * S


@dataclass
class Result:
    """Events as the log has them; a line for each alarm on each column; what to know of them."""

    events: list[dict[str, Any]]
    lines: list[list[str]]
    notes: list[str]
    span_s: float


def trial(store: Store, config: Config, rules: list[Rule], since: int | None) -> Result:
    """All rows and buckets from `since` (ns) on, in time order: w is the time of a row, and nothing is late."""
    telling = Telling(lambda event: None, lambda key: None, config.quiet, config.alarms.group_wait.ns)
    rules = [replace(rule, notify=rule.notify or ("nobody",)) for rule in rules]
    judged: list[Judged] = []
    notes: list[str] = []
    streams, devices = [], Registered(config.devices_folder).look()
    for name in store.sources():
        source = store[name]
        each = Judged(
            name, source.columns, source.units, rules, telling, source.born, StorePast(store, name),
            is_device=name in devices,
        )  # fmt: skip
        if each.size:
            streams.append(_rows(store, name, since, len(judged), notes))
            judged.append(each)

    def groups(alarm: str) -> Iterator[Group]:
        return (group for each in judged for group in each.groups if group.rule.name == alarm)

    telling.others = lambda alarm: list(groups(alarm))
    clocks, begin, w = [0] * len(judged), 0, 0
    for w, at, values in heapq.merge(*streams, key=lambda row: row[0]):
        if telling.started is None:
            telling.started = begin = w
        each = judged[at]
        _tick(each, clocks[at], w)
        if values.ndim == 1:
            each.rows(np.array([w]), values[None], w)
        else:
            each.bucket(w, values)
        each.tick(w)
        clocks[at] = w
    for each, clock in zip(judged, clocks, strict=True):
        _tick(each, clock, w + S)
    return Result(telling.fresh, _lines(telling.fresh, w, w - begin), notes, (w - begin) / S)


def _tick(judged: Judged, begin: int, end: int) -> None:
    """A tick a second between rows, where one could change something."""
    if not begin:
        return
    is_watched = bool(judged.by_clock) and end - begin > GAP
    quiet = judged.rests_until()
    if quiet >= end and not is_watched:
        return
    for w in range(begin + S, end, S):
        if w >= quiet:
            judged.tick(w)
            quiet = judged.rests_until()
        elif is_watched:
            judged.tick_clocks(w)


def _rows(store: Store, name: str, since: int | None, at: int, notes: list[str]) -> Iterator[tuple[int, int, Floats]]:
    """Time, `at` and values (k,) of each row; before the oldest, min, max, mean (3, k) of buckets, at their ends."""
    from linemon.store.levels import buckets_of

    try:
        source = store[name]
        levels = source.kept
        rows = source.between(None if since is None else np.datetime64(since, "ns"))
    except UnknownSource:  # forgotten meanwhile
        return
    first = as_ns(rows.time[0]) if len(rows) else levels[0].end if levels else 0
    if tier := next((level for level in levels if level.step and level.begin + level.step <= first), None):
        begin = max(tier.begin, since or 0)
        if begin + tier.step < first:
            notes.append(f"{name}: buckets of {tier.name} from {iso_ns(begin)} on, rows from {iso_ns(first)} on")
            for part in buckets_of(source, begin, first, tier.step):
                for time, values in zip(part.time.view(np.int64).tolist(), part.values, strict=True):
                    if time + tier.step <= first:
                        yield time + tier.step, at, np.stack([values[0::4], values[1::4], values[2::4]])
    yield from zip(rows.time.view(np.int64).tolist(), [at] * len(rows), rows.values, strict=True)


def _lines(events: list[dict[str, Any]], end: int, span: int) -> list[list[str]]:
    """Incidents, their minutes, and messages a day, of each alarm on each column."""
    incidents, messages, minutes = Counter[Any](), Counter[Any](), defaultdict[Any, float](float)
    open_: dict[Any, int] = {}
    for event in events:
        who = event["alarm"], event["source"], event["column"] or "-"
        messages[who] += event["told"]
        if event["event"] in ("warning", "critical") and who not in open_:
            open_[who] = as_ns(event["since"])
            incidents[who] += 1
        elif event["event"] in ("ok", "gone") and event["until"] and who in open_:
            minutes[who] += (as_ns(event["until"]) - open_.pop(who)) / (60 * S)
    for who, begin in open_.items():
        minutes[who] += (end - begin) / (60 * S)
    days = max(span, S) / DAY
    return [
        [*who, str(incidents[who]), f"{minutes[who]:.0f}", f"{messages[who] / days:.1f}"] for who in sorted(incidents)
    ]
