"""The outbox's file: what was put, and what became of it, a line of JSON each.

It is appended to, and written anew, without what is over, at each start and where it has doubled. An event is on the
disk before `put` returns; what became of it is not waited for. The last line may be torn; what else cannot be read is
put aside.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field, fields
from operator import attrgetter
from pathlib import Path
from typing import Any, Final

from linemon.logs import Seldom
from linemon.parts.alarms.event import ENDS, Event
from linemon.parts.alarms.waiting import HOUR_S, Id, Letter
from linemon.store.folder import replace_file, write_all

log = logging.getLogger(__name__)

VALUES: Final = attrgetter(*(each.name for each in fields(Event)))
LARGE: Final = 1 << 20  # bytes below which it is not worth while
KNOWN_S: Final = 86400.0  # how long it is known what was told of an incident; the part's state has it long before


@dataclass
class Told:
    """What was put last of an incident; `at` as the wall clock says."""

    seq: int
    level: int
    at: float
    names: set[str]


@dataclass
class Letters:
    """What is in the file. Times are seconds since the epoch."""

    path: Path
    waiting: dict[str, dict[Id, Letter]] = field(default_factory=dict)  # by notifier
    told: dict[str, Told] = field(default_factory=dict)  # by incident
    marks: dict[str, int] = field(default_factory=dict)
    went: dict[str, list[float]] = field(default_factory=dict)  # when messages of a notifier went, within an hour
    counts: Counter[str] = field(default_factory=Counter)  # sent, dead, dropped: of letters, ever

    def __post_init__(self) -> None:
        """OSError where the file cannot be had."""
        self._failures = Seldom()
        self._fd = -1
        self._size = self._least = 0  # bytes: now, and when it was last written anew
        with suppress(FileNotFoundError):
            self._load(self.path.read_bytes())
        self._rewrite()

    def put(self, events: Iterable[tuple[Event, Iterable[str]]]) -> list[tuple[str, Letter]]:
        """Events for these notifiers; the letters among them that are new, on the disk now. OSError: none is held."""
        now = time.time()
        lines: list[list[Any]] = []
        new: list[tuple[str, Letter]] = []
        for event, names in events:
            if fresh := self._fresh(event, names):
                lines.append(["put", now, VALUES(event), fresh])
                new += [(name, Letter(event, now)) for name in fresh]
        if lines:
            self._append(lines, is_synced=True)
            for line in lines:
                self._take(*line)
        return new

    def end(self, how: str, name: str, letters: Iterable[Letter]) -> None:
        """These are ``sent``, ``dead`` or ``dropped``. Where the disk is full, that is forgotten with the process."""
        now = time.time()
        self._note([[how, name, now, [each.id for each in letters if each.id in self.waiting.get(name, ())]]])

    def mark(self, name: str, number: int) -> None:
        self._note([["mark", name, number]])

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _fresh(self, event: Event, names: Iterable[str]) -> list[str]:
        """Those for whom it is new: an incident's events come in order."""
        told = self.told.get(event.key)
        if told is None or event.seq > told.seq:
            return list(dict.fromkeys(names))
        return [name for name in names if name not in told.names] if event.seq == told.seq else []

    # -- the lines

    def _load(self, data: bytes) -> None:
        bad = 0
        for line in data.split(b"\n")[:-1]:
            try:
                self._take(*json.loads(line))
            except (ValueError, TypeError, KeyError, IndexError):
                bad += 1
        if bad:
            aside = self.path.with_name(f"{self.path.name}.unreadable")
            log.error("%d lines of %s cannot be read and are left out; it is kept as %s", bad, self.path, aside.name)
            os.close(replace_file(aside, data, 0o600))

    def _take(self, word: str, *said: Any) -> None:
        """What a line says. TypeError, ValueError, KeyError, IndexError if that is nothing."""
        if word == "put":
            at, values, names = said
            event = Event(*[*values[:-1], tuple(values[-1])])  # JSON has but lists
            told = self.told.get(event.key)
            if told is None or event.seq > told.seq:
                told = self.told[event.key] = Told(event.seq, told_level(event), at, set())
            if event.seq == told.seq:
                told.names.update(names)
            for name in names:
                self.waiting.setdefault(name, {})[event.key, event.seq] = Letter(event, float(at))
        elif word in ("sent", "dead", "dropped"):
            name, at, ids = said
            ended = [self.waiting[name].pop((key, seq), None) for key, seq in ids]
            self.counts[word] += sum(each is not None for each in ended)
            if word == "sent":
                went = self.went.setdefault(name, [])
                went[:] = [each for each in went if each > at - HOUR_S] + [float(at)]
        elif word == "told":
            key, seq, level, at, names = said
            self.told[key] = Told(seq, level, at, set(names))
        elif word == "mark":
            name, number = said
            self.marks[name] = int(number)
        elif word == "outbox":
            version, counts, went = said
            if version != 1:
                raise ValueError(version)
            self.counts.update(counts)
            self.went |= went
        else:
            raise ValueError(word)

    def _note(self, lines: list[list[Any]]) -> None:
        for line in lines:
            self._take(*line)
        try:
            self._append(lines)
            if self._size > max(LARGE, 2 * self._least):
                self._rewrite()
        except OSError as error:
            if self._failures.due():
                log.error("cannot write %s: %s", self.path, error.strerror)

    def _append(self, lines: list[list[Any]], is_synced: bool = False) -> None:
        data = _bytes(lines)
        try:
            write_all(self._fd, data)
            if is_synced:
                os.fsync(self._fd)
        except OSError:
            with suppress(OSError):  # a torn line in its midst would cost the next one, too
                os.ftruncate(self._fd, self._size)
                os.lseek(self._fd, self._size, os.SEEK_SET)
            raise
        self._size += len(data)

    def _rewrite(self) -> None:
        now = time.time()
        went = {name: [each for each in times if each > now - HOUR_S] for name, times in self.went.items()}
        lines: list[list[Any]] = [["outbox", 1, self.counts, went]]
        lines += [["mark", name, number] for name, number in self.marks.items()]
        events: dict[Id, tuple[Letter, list[str]]] = {}
        for name, letters in self.waiting.items():
            for id_, letter in letters.items():
                events.setdefault(id_, (letter, []))[1].append(name)
        lines += [["put", letter.at, VALUES(letter.event), names] for letter, names in events.values()]
        waits = {key for key, _ in events}
        self.told = {key: told for key, told in self.told.items() if told.at > now - KNOWN_S or key in waits}
        lines += [["told", key, t.seq, t.level, t.at, sorted(t.names)] for key, t in self.told.items()]
        data = _bytes(lines)
        fd = replace_file(self.path, data, 0o600, is_synced=True)
        folder = os.open(self.path.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)
        self.close()
        self._fd, self._size, self._least = fd, len(data), len(data)


def told_level(event: Event) -> int:
    """The level that is known to people after it: 0 after an end, -1 while it flaps."""
    return 0 if event.kind in ENDS else -1 if event.kind == "flapping" else event.level


def _bytes(lines: Iterable[list[Any]]) -> bytes:
    return b"".join(json.dumps(line, separators=(",", ":")).encode() + b"\n" for line in lines)
