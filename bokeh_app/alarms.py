"""What fires, as the part `alarms` publishes it: for the page of alarms, the strip, the title, and charts."""

from __future__ import annotations

import functools
import json
import math
import os
import time
from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from bokeh.document import Document

from linemon.store.status import ALARMS, ALARMS_OLD_S, read_alarms

from .limits import Levels, Watched
from .page import ListPage
from .pump import Pump

LOOK_S = 1.0
MAX_ROWS = 500  # of the list
MAX_TEXTS = 3  # in the strip
FIRING = ("firing", "clearing")
LISTED = (
    "n", "alarm", "source", "column", "state", "level", "since", "value", "unit", "stale", "acked", "silenced_until",
    "held", "text",
)  # fmt: skip

Alarm = dict[str, Any]


def known(pump: Pump) -> tuple[list[Alarm], bool | None]:
    """All instances, those that fire first, and whether the part runs; None where it has never said anything."""

    def read() -> tuple[list[Alarm], bool | None]:
        try:
            stat = os.stat(pump.store.path / ALARMS)
            return _parsed(pump.store.path, stat.st_ino, stat.st_size), time.time() - stat.st_mtime <= ALARMS_OLD_S
        except FileNotFoundError:
            return [], None
        except (OSError, ValueError):
            return [], False

    return pump.shared("alarms", read, LOOK_S)


@functools.lru_cache(maxsize=1)  # a new file is another inode: thousands of instances are not parsed every second
def _parsed(store: Path, inode: int, size: int) -> list[Alarm]:
    return read_alarms(store)[0]


def summary(pump: Pump) -> dict[str, Any]:
    """For every page: how many fire, of which level, what the first are; how many sources are in trouble, how much."""
    return pump.shared("alarms that fire", lambda: _summary(pump), LOOK_S)


def _summary(pump: Pump) -> dict[str, Any]:
    found, runs = known(pump)
    firing = [each for each in found if each["state"] in FIRING]
    counts = Counter(each["level"] for each in firing)
    texts = [each["text"] + " (clearing)" * (each["state"] == "clearing") for each in firing[:MAX_TEXTS]]
    worst = [max(of.values()) for of in levels(pump).values()]
    trouble = {"trouble": len(worst), "worst": max(worst, default=0)}
    return {"runs": runs, "critical": counts[2], "warning": counts[1], "texts": texts, **trouble}


def levels(pump: Pump) -> Levels:
    """What is in trouble: where an alarm fires, and what is beyond limits that were set. Of no column: ""."""
    return pump.shared("what is in trouble", lambda: _levels(pump), LOOK_S)


def _levels(pump: Pump) -> Levels:
    found, (alarms, runs) = watched(pump).levels(), known(pump)
    for each in alarms if runs else ():
        if each["state"] in FIRING:
            of, column = found.setdefault(each["source"], {}), each["column"] or ""
            of[column] = max(each["level"], of.get(column, 0))
    return found


def watched(pump: Pump) -> Watched:
    """The limits that people set, as one reader for all pages."""
    return pump.shared("watched", lambda: Watched(pump), math.inf)


def of_these(pump: Pump, names: Iterable[str]) -> dict[str, Any]:
    """The summary, and what of these sources is in trouble, with what its columns are called."""
    found = levels(pump)
    mine = {name: found[name] for name in names if name in found}
    called = {
        name: {column: label for column, (label, _) in zip(of, pump.named(name, list(of)), strict=True)}
        for name, of in mine.items()
    }
    return summary(pump) | {"levels": mine, "called": called}


def of_sources(pump: Pump, names: Iterable[str]) -> dict[str, Any]:
    """The same, and their limits and incidents, for charts."""
    wanted = set(names)
    mine = [each for each in known(pump)[0] if each["source"] in wanted]
    drawn = [
        {
            **{name: each[name] for name in ("source", "column", "level", "text")},
            "since": milliseconds(each["since"]) if each["state"] in FIRING else None,
            "limits": each.get("limits") or {},
        }
        for each in mine
    ]
    limits = {name: watched(pump).of_source(name) for name in wanted}
    return of_these(pump, wanted) | {"drawn": drawn, "limits": limits}


def listed(pump: Pump, find: str, has_all: bool) -> dict[str, Any]:
    """The same, and the list of those that fire or are about to, or of all; only such that hold all words of a text."""
    words, found = find.casefold().split(), known(pump)[0]
    rows = [
        each
        for each in found
        if (has_all or each["state"] != "ok")
        and all(word in f"{each['alarm']} {each['source']} {each['column'] or ''}".casefold() for word in words)
    ]
    shown = [{name: each.get(name) for name in LISTED} for each in rows[:MAX_ROWS]]
    for each in shown:
        if each["column"] is not None:
            [(each["called"], each["unit"])] = pump.named(str(each["source"]), [str(each["column"])])
        each["since"], each["silenced_until"] = milliseconds(each["since"]), milliseconds(each["silenced_until"])
    return summary(pump) | {"rows": shown, "more": len(rows) - len(shown), "watched": len(found)}


def milliseconds(iso: str | None) -> float | None:
    """An ISO time as epoch ms."""
    return None if iso is None else datetime.fromisoformat(f"{iso[:19]}+00:00").timestamp() * 1e3


class AlarmsPage(ListPage):
    """The server's side of an open list of alarms."""

    def __init__(self, doc: Document, pump: Pump) -> None:
        super().__init__(doc, pump)
        self.wishes.on_change("has_all", lambda attr, old, new: self._refill())

    def message(self, kind: float) -> tuple[float, list[Any]]:
        self.answers.alarms = json.dumps(listed(self._pump, self.wishes.find, self.wishes.has_all))
        return kind, []
