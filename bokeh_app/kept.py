"""What people change on the page: which sources are hidden or pinned, limits and names of columns. One small file on
the server keeps it for all who look (`[dashboard] state`).

What stands there is a value for each key, such as ``("sources", "web1", "hidden")``, or ``("columns", "web*", "cpu",
"warn")`` where the second is a pattern. A change says what it found: where somebody else has changed the same meanwhile
it is refused, and nobody's is lost. The last changes can be taken back.
"""

from __future__ import annotations

import json
import logging
import math
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from linemon import locks
from linemon.errors import LinemonError
from linemon.patterns import exactly, fits, is_pattern
from linemon.store.farewells import Farewell
from linemon.store.folder import replace_file
from linemon.when import iso_ns

log = logging.getLogger(__name__)

VERSION: Final = 1
MOST: Final = 10_000  # values
MOST_AT_ONCE: Final = 1000  # of them in a change
MOST_UNDO: Final = 100  # changes that can be taken back
MAX_TEXT: Final = 200  # characters
FLAGS: Final = ("hidden", "pinned")  # of a source: true, or not there
NUMBERS: Final = ("warn", "crit")  # of a column of the sources that fit a pattern,
TEXTS: Final = ("unit", "label")  # these, too
DEPTH: Final = {"sources": 3, "columns": 4}  # how many parts a key has

Key = tuple[str, ...]
Value = bool | float | str | None  # None: nothing stands there
Values = dict[Key, Value]


class Refused(LinemonError):
    """A change that cannot be, or that others were quicker than; the text is for who wanted it."""


@dataclass(frozen=True)
class Change:
    """One change: its number, when (ns), and what stood there before and after it."""

    number: int
    at: int
    was: Values
    now: Values


@dataclass(frozen=True)
class State:
    """All that is kept. It is never changed in place."""

    values: Values
    undo: tuple[Change, ...] = ()  # the last changes, the newest at the end
    number: int = 0  # of the last change
    followed: tuple[str, int] = ("", 0)  # up to which farewell of which store

    def changed(self, now: Mapping[Key, Value], was: Mapping[Key, Value], at: int) -> State:
        """With these values; Refused where one is none, or where not what `was` says stands there."""
        if len(now) > MOST_AT_ONCE:
            raise Refused(f"no more than {MOST_AT_ONCE} things are changed at once")
        for key, value in now.items():
            check(key, value)
            if self.values.get(key) != was.get(key):
                raise Refused(f"somebody else has changed {' '.join(key)} meanwhile")
        values = self.values | dict(now)
        values = {key: value for key, value in values.items() if value is not None}
        if len(values) > MOST:
            raise Refused(f"no more than {MOST} things are kept")
        change = Change(self.number + 1, at, {key: self.values.get(key) for key in now}, dict(now))
        followed = self.followed if self.values else ("", at)  # names that were given up before are nothing to it
        return State(values, (*self.undo, change)[-MOST_UNDO:], change.number, followed)

    def undone(self, number: int, at: int) -> State:
        """Without the change of this number, which is a change, too. Refused where another one came over it."""
        change = next((each for each in self.undo if each.number == number), None)
        if change is None:
            raise Refused("that is too long ago to be taken back")
        return self.changed(change.was, change.now, at)

    def following(self, store: str, farewells: Iterable[Farewell]) -> State:
        """With the names that sources have now; what was of one that is forgotten is no more."""
        values, since = self.values, self.followed[1] if self.followed[0] in ("", store) else 0
        for farewell in (each for each in farewells if each.at > since):
            own = ("sources", farewell.source), ("columns", exactly(farewell.source))
            moved = {key: values[key] for key in values if key[:2] in own}
            values = {key: value for key, value in values.items() if key not in moved}
            if farewell.to is not None:
                names = {"sources": farewell.to, "columns": exactly(farewell.to)}
                values |= {(key[0], names[key[0]], *key[2:]): value for key, value in moved.items()}
            since = farewell.at
        return State(values, self.undo, self.number + (values != self.values), (store, since))

    def has(self, name: str, flag: str) -> bool:
        """Whether a source is so."""
        return ("sources", name, flag) in self.values

    def source(self, name: str) -> dict[str, Value]:
        """What is kept of a source: `hidden`, `pinned`, where they are true."""
        return {flag: True for flag in FLAGS if self.has(name, flag)}

    def columns(self, source: str) -> dict[str, dict[str, Value]]:
        """What is kept of its columns, by name; what is said of the source itself comes before what of a pattern is."""
        found: dict[str, dict[str, Value]] = {}
        own = source, exactly(source)
        fitting = [each for each in self._wild if each not in own and fits([each], source)]
        for pattern in (*fitting, *own):
            for column, said in self._columns.get(pattern, {}).items():
                found.setdefault(column, {}).update(said)
        return found

    @property
    def has_columns(self) -> bool:
        """Whether anything is kept of any."""
        return bool(self._columns)

    def of_column(self, pattern: str, column: str) -> dict[str, Value]:
        """What is kept of a column under just this pattern."""
        return self._columns.get(pattern, {}).get(column, {})

    def named(self, source: str, columns: Sequence[str], units: Sequence[str]) -> tuple[list[str], list[str]]:
        """Of columns what they are called, empty where nobody has said, and their units as set, else these."""
        said = self.columns(source)
        labels = [str(said.get(column, {}).get("label", "")) for column in columns]
        return labels, [
            str(said.get(column, {}).get("unit", unit)) for column, unit in zip(columns, units, strict=True)
        ]

    @cached_property
    def _columns(self) -> dict[str, dict[str, dict[str, Value]]]:
        """By pattern, then by column."""
        found: dict[str, dict[str, dict[str, Value]]] = {}
        for key, value in self.values.items():
            if key[0] == "columns":
                found.setdefault(key[1], {}).setdefault(key[2], {})[key[3]] = value
        return found

    @cached_property
    def _wild(self) -> list[str]:
        return sorted(pattern for pattern in self._columns if is_pattern(pattern))


def check(key: Key, value: Value) -> None:
    """Refused where a value cannot stand there."""
    name = key[-1]
    if len(key) != DEPTH.get(key[0]) or name not in (FLAGS if key[0] == "sources" else NUMBERS + TEXTS):
        raise Refused(f"nothing is kept under {' '.join(key)[:MAX_TEXT]}")
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if value is None or (value is True if name in FLAGS else is_number if name in NUMBERS else is_text(value)):
        return
    what = "true, or nothing" if name in FLAGS else "a number" if name in NUMBERS else f"1 to {MAX_TEXT} characters"
    raise Refused(f"{name} is {what}, not {str(value)[:MAX_TEXT]!r}")


def is_text(value: Value) -> bool:
    return isinstance(value, str) and value.isprintable() and 0 < len(value) <= MAX_TEXT


# -- its file


def parse(data: bytes) -> State:
    """What stands in a file. ValueError says what is wrong with it."""
    said = json.loads(data)
    try:
        if said["version"] != VERSION:
            raise ValueError(f"it has version {said['version']}, not {VERSION}")
        values = dict(_flat(said["sources"], ("sources",)) + _flat(said["columns"], ("columns",)))
        for key, value in values.items():
            check(key, value)
        undo = [Change(each["number"], each["at"], _pairs(each["was"]), _pairs(each["now"])) for each in said["undo"]]
        return State(values, tuple(undo), said["number"], (said["followed"][0], said["followed"][1]))
    except (KeyError, TypeError, AttributeError, IndexError, Refused) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from None


def data(state: State) -> bytes:
    """As the file has it: JSON that a person can read."""
    tables: dict[str, Any] = {"sources": {}, "columns": {}}
    for key, value in state.values.items():
        table = tables
        for part in key[:-1]:
            table = table.setdefault(part, {})
        table[key[-1]] = value
    undo = [
        {
            "number": each.number,
            "at": each.at,
            "time": iso_ns(each.at),
            "was": list(each.was.items()),
            "now": list(each.now.items()),
        }
        for each in state.undo
    ]
    said = {"version": VERSION, "number": state.number, **tables, "undo": undo, "followed": state.followed}
    return json.dumps(said, ensure_ascii=False, indent=1).encode() + b"\n"


def _flat(table: dict[str, Any], key: Key) -> list[tuple[Key, Value]]:
    if len(key) == DEPTH[key[0]]:
        return [(key, table)]  # type: ignore[list-item]
    return [pair for name, inner in table.items() for pair in _flat(inner, (*key, name))]


def _pairs(pairs: list[tuple[list[str], Value]]) -> Values:
    return {tuple(key): value for key, value in pairs}


class Kept:
    """The file, as every page of a server sees it; page servers may share it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.state = State({})
        self.fault: str | None = None  # why it cannot be read: nothing is changed then
        self._seen: object = None

    def refresh(self) -> None:
        """Read it, where it is another one; `state` is another one then, too."""
        try:
            stat = self.path.stat()
            if (seen := (stat.st_ino, stat.st_mtime_ns, stat.st_size)) == self._seen:
                return
            self._seen = seen
            self.state, self.fault = parse(self.path.read_bytes()), None
        except FileNotFoundError:
            self.fault = None
            if self._seen is not None:  # else `state` would be another one at each look, and all that is made of it
                self.state, self._seen = State({}), None
        except (OSError, ValueError) as error:
            self.fault = f"{self.path} cannot be read, so nothing is changed: {error}"
            log.error("%s; mend it, or remove it", self.fault)

    def change(self, now: Mapping[Key, Value], was: Mapping[Key, Value]) -> int:
        """Have these values stand there in place of what `was` says; the number of the change. Refused says why not."""
        return self._replace(lambda state: state.changed(now, was, time.time_ns()))

    def undo(self, number: int) -> int:
        """Take the change of this number back; the number of doing that. Refused says why not."""
        return self._replace(lambda state: state.undone(number, time.time_ns()))

    def follow(self, store: str, farewells: Sequence[Farewell]) -> None:
        """Give what is kept the names that sources of this store have now."""
        if farewells and self.state.followed != (store, farewells[-1].at) and self.state.values:
            with suppress(Refused):  # the next look tries again
                self._replace(lambda state: state.following(store, farewells))

    def _replace(self, work: Any) -> int:
        """One at a time, whichever process: by a lock beside the file."""
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = locks.take(self.path.with_name(f"{self.path.name}.lock"))
            try:
                self.refresh()
                if self.fault:
                    raise Refused(self.fault)
                state = work(self.state)
                os.close(replace_file(self.path, data(state), 0o600, is_synced=True))
                self.refresh()
                return int(state.number)
            finally:
                os.close(lock)
        except locks.Taken:
            raise Refused("somebody else is just changing it: try again") from None
        except OSError as error:
            raise Refused(f"cannot write {self.path}: {error.strerror}") from error
