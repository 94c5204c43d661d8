"""The files of alarms: their state, which outlives the process; what is published beside the rings; the log.

The state holds the instances that are not at rest, and up to which row of each source was judged when it was written:
rows after that are judged again after a kill, which comes to the same. What was told meanwhile, the outbox knows.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from linemon.config import Config
from linemon.homes import expanded
from linemon.parts.alarms.feed import Feed
from linemon.parts.alarms.judged import Group, Judged
from linemon.parts.alarms.machine import Instance
from linemon.parts.alarms.rules import Rule
from linemon.parts.alarms.telling import Telling
from linemon.store.folder import replace_file, write_all

log = logging.getLogger(__name__)

STATE: Final = "alarms.state"
LOG: Final = "alarms.log"
VERSION: Final = 1
LOG_BYTES: Final = 2 << 20  # then the older half of the log goes
EVERY_S: Final = 600.0  # from one write of the state to the next where nothing changes
Saved = dict[str, Any]


def state_file(config: Config) -> Path:
    """In memory with the rings as long as nobody is told: nothing is written to a disk unless it was asked for."""
    if config.alarms.state:
        return expanded("[alarms] state", config.alarms.state)
    return (config.state_folder if config.notify else config.store.folder) / STATE


class State:
    """The state file, as it was at the start, and as it is written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._written = float("-inf")
        self.is_first = True  # nothing was ever told
        self.n = 0
        self.silences: list[Saved] = []
        self.store = ""  # of which the cursors are
        self._at = 0
        self._cursors: dict[str, list[int]] = {}
        self._values: dict[str, str] = {}  # of each rule
        self.left: dict[tuple[str, str, str | None], Saved] = {}  # instances that nothing has taken up yet
        self._load()

    def _load(self) -> None:
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return
        self.is_first = False
        try:
            said = json.loads(data)
            if said["version"] != VERSION:
                raise ValueError(f"version {said['version']}")
            self.n, self.silences, self.store, self._at = said["n"], said["silences"], said["store"], said["at"]
            self._cursors, self._values = said["sources"], said["values"]
            self.left = {(each["alarm"], each["source"], each["column"]): each for each in said["instances"]}
        except (ValueError, KeyError, TypeError) as error:
            aside = self._path.with_name(f"{self._path.name}.unreadable")
            self._path.rename(aside)
            log.error("%s cannot be read (%s); it is %s now, and alarms begin anew", self._path, error, aside.name)
            self.__dict__.update(n=0, silences=[], store="", _at=0, _cursors={}, _values={}, left={})

    def resume(self, judged: Judged, born: int, head: int) -> tuple[int, int, list[Group]]:
        """Put in the instances of a source; up to which row it was judged, when, by which groups not. 0: not at all."""
        for group in judged.groups:
            for i, column in enumerate(group.names):
                saved = self.left.get((group.rule.name, judged.name, column))
                if saved is None or saved["value"] != group.rule.config.value:
                    continue
                del self.left[group.rule.name, judged.name, column]
                instance = group.instance(i)
                instance.load(saved["state"])
                if saved["limits"] != group.rule.terms_text:  # judged by the new ones from the next row on
                    instance.since1 = instance.since2 = None
                if not group.rule.notify:
                    instance.told = 0
        cursor = self._cursors.get(judged.name)
        if not cursor or cursor[0] != born or cursor[1] > head:
            return 0, 0, []
        new = [each for each in judged.groups if self._values.get(each.rule.name) != each.rule.config.value]
        return cursor[1], self._at, new

    def orphans(self, rules: Iterable[Rule], w: int, forget_after: int) -> list[Saved]:
        """Those left that nothing will take up: their alarm is no more, or another one, or they are too old."""
        values = {rule.name: rule for rule in rules}
        found = []
        for key, saved in list(self.left.items()):
            rule = values.get(key[0])
            if rule and rule.config.value == saved["value"] and rule.covers(key[1]) and w - self._at < forget_after:
                continue
            found.append(self.left.pop(key))
        return found

    def is_due(self, changed: bool) -> bool:
        age = time.monotonic() - self._written
        return age >= EVERY_S or (changed and age >= 1.0)

    def write(self, feed: Feed, telling: Telling, w: int) -> None:
        """Replace the file, as it was after the turn at w. OSError where it cannot be written."""
        instances = [kept(each, rule) for rule, each in feed if not each.rests or each.seq]
        said = {
            "version": VERSION,
            "at": w,
            "store": feed.store.id,
            "n": telling.n,
            "silences": [each for each in telling.silences if each["until"] > w],
            "values": {rule.name: rule.config.value for rule in feed.rules},
            "sources": {name: [each.judged.born, each.cursor] for name, each in feed.readings.items()},
            "instances": [*instances, *self.left.values(), *(kept(each, each.alarm) for each in feed.gone)],
        }
        data = json.dumps(said, separators=(",", ":")).encode()
        os.close(replace_file(self._path, data, 0o600, is_synced=True))
        self._written = time.monotonic()


def kept(each: Instance, rule: Rule) -> Saved:
    named = {"alarm": rule.name, "source": each.source, "column": each.column, "value": rule.config.value}
    return named | {"limits": rule.terms_text, "notify": rule.notify, "state": each.save()}


class Log:
    """Every change and message, a line of JSON each; the newest are kept."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, lines: list[Saved]) -> None:
        data = "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines).encode("utf-8", "replace")
        try:
            fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                write_all(fd, data)
                size = os.fstat(fd).st_size
            finally:
                os.close(fd)
            if size > LOG_BYTES:
                old = self._path.read_bytes()
                os.close(replace_file(self._path, old[old.index(b"\n", size // 2) + 1 :], 0o600))
        except OSError as error:
            log.error("cannot write %s: %s", self._path, error.strerror)


def read_log(path: Path) -> list[Saved]:
    """The lines of a log; empty where there is none."""
    found: deque[Saved] = deque()
    with suppress(FileNotFoundError):
        for line in path.read_text(errors="replace").splitlines():
            with suppress(ValueError):
                found.append(json.loads(line))
    return list(found)
