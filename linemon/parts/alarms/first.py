"""The first start: what was wrong before is one message each; where that were too many, one for all."""

from __future__ import annotations

from typing import Final

from linemon.config import Config
from linemon.parts.alarms.feed import Feed
from linemon.parts.alarms.machine import Instance, S
from linemon.parts.alarms.rules import make
from linemon.parts.alarms.telling import Telling
from linemon.store.liveness import OWN

NAME: Final = "already wrong"
WAIT: Final = 15 * S  # until what the rings hold is judged: longer than instances catch up
SINGLY: Final = 20
TEXT: Final = "{value:.0f} alarms fire since before linemon watched: `linemon alarms` lists them"


class First:
    """Holds messages of what began before the start for a while, and has one in the place of many."""

    def __init__(self, config: Config, telling: Telling, feed: Feed) -> None:
        self._config, self._feed, self._telling, self._after = config, feed, telling, telling.wait
        self._started = telling.started or 0
        telling.wait = self._wait

    def _wait(self, instance: Instance, kind: str, w: int) -> str | None:
        return "late" if instance.start < self._started else self._after(instance, kind, w)

    def look(self, w: int) -> None:
        """After each turn."""
        if not self._started or w < self._started + WAIT:
            return
        self._started, self._telling.wait = 0, self._after
        waiting = [(rule, each) for rule, each in self._feed if each.held == "late" and each.now]
        if len(waiting) <= SINGLY:
            return
        names = {name for rule, _ in waiting for name in rule.notify}
        there = tuple(str(each.get("name")) for each in self._config.notify if each.get("name") in names)
        said = {"name": NAME, "value": "seen()", "warning": "> 0", "once": True, "text": TEXT, "notify": list(there)}
        one = Instance((rule := make(NAME, said, there, self._config)).terms, self._telling, OWN)
        one.alarm, one.value = rule, len(waiting)
        one.begin(max(each.now for _, each in waiting), min(each.start for _, each in waiting), w)
        one.tick(w)
        if one.told:  # else it is held back, as each of them would be: they are told then
            for _, each in waiting:
                each.told, each.told_start, each.told_at = each.now, each.start, w
