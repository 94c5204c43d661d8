"""The collector hears nobody: when many sources fall silent at once, it is one thing that happened, and one message."""

from __future__ import annotations

from typing import Final

from linemon.parts.alarms.feed import Feed
from linemon.parts.alarms.keeping import State
from linemon.parts.alarms.machine import Instance, S
from linemon.parts.alarms.telling import Telling
from linemon.store.liveness import OWN

NAME: Final = "collector hears nobody"
SILENT: Final = "silent agent"  # the alarm whose instances are counted
WAIT: Final = 30 * S  # so long their messages wait, to see whether others follow
AFTER: Final = 60 * S  # from its end until those that are silent still are told singly
LEAST: Final = 3


class Nobody:
    """Holds the messages of `SILENT`, and has one of its own in their place."""

    def __init__(self, telling: Telling, feed: Feed, state: State) -> None:
        self._feed, self._ended = feed, 0
        self._one: Instance | None = None
        for rule in feed.rules:
            if rule.name == SILENT:
                self._one = Instance(rule.terms, telling, OWN)
                self._one.alarm = rule.named(NAME, OWN, "the collector hears {value:.0f} agents no more")
                self._one.load(state.left.pop((NAME, OWN, None), {"state": {}})["state"])
                feed.extra.append(self._one)
        telling.wait = self._wait

    def _wait(self, instance: Instance, kind: str, w: int) -> str | None:
        if instance.alarm.name != SILENT or kind not in ("warning", "critical"):
            return None
        is_new = instance.changes and w - instance.changes[-1] < WAIT
        return "needs" if is_new or self._is_on or w - self._ended < AFTER else None

    @property
    def _is_on(self) -> bool:
        return self._one is not None and self._one.now > 0

    def look(self, w: int) -> None:
        """After each turn: begin where `LEAST`, and half of those judged, fell silent within `WAIT`; end at half."""
        if self._one is None:
            return
        every = [each for group in self._feed.groups(SILENT) for each in group]
        silent = [each for each in every if each.now]
        if not self._is_on:
            new = [each for each in silent if not each.told and each.changes and w - each.changes[-1] <= WAIT]
            if len(new) >= LEAST and 2 * len(new) >= len(every):
                self._one.value = len(new)
                self._one.begin(2, min(each.start for each in new), w)
        elif 2 * len(silent) <= len(every):
            self._one.finish(w)
            self._ended = w
        self._one.tick(w)
