"""Topics and payloads as lines. No I/O.

A number becomes a metric line, an object a JSON line; InfluxDB's lines and linemon's own pass as they are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any, Final

from linemon.sections import PLACE, MapConfig

NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
METRIC: Final = re.compile(r"[A-Za-z_]([\w./-]*\w)?", re.ASCII)  # surely the name of a metric
WORDS: Final = ("na", "null", "none", "nan", "inf", "infinity", "put")
UNFIT: Final = re.compile(r"[\s\x00-\x1f\x7f:]")  # in a source's name as it is made here
MOST_NAMES: Final = 100_000
TIMES: Final = ("time", "ts", "timestamp")  # what a JSON line takes for its time
ALLOWED: Final = ("#source", "#columns", "#mark")  # what lines of others may say


class Unreadable(Exception):
    """A payload that is none of what it should be."""


class Map:
    """How topics of one shape become lines."""

    def __init__(self, config: MapConfig, unless: str = "") -> None:
        """`unless`: an expression that finds topics that are not meant."""
        self.config = config
        shape, levels = [], []
        for level in config.topic.split("/"):
            place = PLACE.fullmatch(level)
            shape.append(f"(?P<{place[1]}>{'.+' if place[2] else '[^/]*'})" if place else re.escape(level))
            levels.append(level if not place else "#" if place[2] else "+")
        self.filter = "/".join(levels)  # what is subscribed for it
        self._topic, self._unless = re.compile("/".join(shape)), re.compile(unless or r"(?!)")
        self._texts = {text.lower(): float(value) for text, value in config.texts.items()}
        self._names: dict[str, str | None] = {}

    def source(self, topic: str) -> str | None:
        """The source of a topic, empty where its lines say theirs; None where it does not fit."""
        if topic not in self._names:
            if len(self._names) >= MOST_NAMES:
                self._names.clear()
            self._names[topic] = self._source(topic)
        return self._names[topic]

    def _source(self, topic: str) -> str | None:
        found = self._topic.fullmatch(topic)
        if not found or self._unless.search(topic):
            return None
        named = {name: value.replace("/", ".") for name, value in found.groupdict().items()}
        return UNFIT.sub("_", PLACE.sub(lambda place: named[place[1]], self.config.source))

    def lines(self, source: str, payload: str) -> list[str]:
        """The lines of a payload, `#source` among them where they need one. `Unreadable`."""
        kind, text = self.config.payload, payload.strip()
        if kind == "influx":
            return [line for line in text.splitlines() if line and not line.startswith("#")]
        if kind == "lines":
            said = [line for line in text.splitlines() if not line.startswith("#") or line.split()[0] in ALLOWED]
            return [f"#source {source}", *said] if source else said
        if kind in ("auto", "number") and NUMBER.fullmatch(text):
            return number_lines(source, text) if not self._skips(source, "") else []
        if kind in ("auto", "json") and text.startswith("{"):
            try:
                found = json.loads(text)
            except (ValueError, RecursionError):
                raise Unreadable from None
            return self._json_lines(source, found)
        value = self._texts.get(text.lower()) if kind == "auto" else None
        if value is None:
            raise Unreadable
        return number_lines(source, repr(value)) if not self._skips(source, "") else []

    def _json_lines(self, source: str, found: dict[str, Any]) -> list[str]:
        at: Any = found
        for key in filter(None, self.config.time.split(".")):
            at = at.get(key) if isinstance(at, dict) else None
        kept = self._kept(source, "", found)
        for name in TIMES:
            kept.pop(name, None)
        if not kept:
            return []
        if self.config.time and at is not None:
            kept = {"time": at, **kept}
        return [f"#source {source}", json.dumps(kept, ensure_ascii=False)]

    def _kept(self, source: str, path: str, found: Any) -> Any:
        """What is to be stored of an object: numbers, and texts that stand for one."""
        kept = {}
        for key, value in (
            found.items() if isinstance(found, dict) else ((str(i), each) for i, each in enumerate(found))
        ):
            name = f"{path}{key}"
            if isinstance(value, (dict, list)):
                if inner := self._kept(source, f"{name}.", value):
                    kept[key] = inner
            elif not self._skips(source, f".{name}"):
                number = self._texts.get(value.lower()) if isinstance(value, str) else value
                if number is not None:
                    kept[key] = number
        return kept

    def _skips(self, source: str, column: str) -> bool:
        return bool(self.config.skip) and any(fnmatchcase(source + column, each) for each in self.config.skip)


def number_lines(source: str, number: str) -> list[str]:
    """A metric, or a row with the one column `value` where the name is none of a metric."""
    if METRIC.fullmatch(source) and source.lower() not in WORDS:
        return [f"{source} {number}"]
    return [f"#source {source}", f'{{"value": {float(number)!r}}}']


def filters(maps: Iterable[Map]) -> list[str]:
    """What to subscribe: without those that others cover, for which a broker would send a message twice."""
    every = list(dict.fromkeys(each.filter for each in maps))
    return [each for each in every if not any(other != each and covers(other, each) for other in every)]


def covers(wide: str, narrow: str) -> bool:
    """Whether each topic of one filter is one of the other."""
    ours, theirs = wide.split("/"), narrow.split("/")
    if theirs[0].startswith("$") and ours[0] in ("+", "#"):  # MQTT 3.1.1, 4.7.2
        return False
    for i, level in enumerate(ours):
        if level == "#":
            return True
        if i >= len(theirs) or theirs[i] == "#" or (level != "+" and level != theirs[i]):
            return False
    return len(ours) == len(theirs)
