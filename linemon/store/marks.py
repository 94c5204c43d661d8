"""Marks: moments with a text, of one source or of all. docs/STORE.md has the format of their file."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from linemon import when
from linemon.errors import LineError
from linemon.store.journal import Journal, JournalWriter

MARKS: Final = "marks"
MOST: Final = 10_000  # that are kept, in the order in which they came: times are the senders'
MOST_ALARMS: Final = MOST // 2  # of these, by alarms and settings: a fleet has many at once
MAX_LINES: Final = 2 * MOST  # of the file, until it is made anew
NOTE: Final = "note"
ALARM: Final = "alarm"
SETTING: Final = "setting"


class Mark(NamedTuple):
    """A moment (datetime64[ns]) with a text; `source` is None where it is one of all. `kind`: note, alarm, …"""

    time: np.datetime64
    text: str
    source: str | None = None
    kind: str = NOTE

    @classmethod
    def of(cls, ns: int, text: str, source: str | None = None, kind: str = NOTE) -> Mark:
        return cls(np.datetime64(ns, "ns"), text, source, kind)

    @classmethod
    def parse(cls, fields: dict[str, Any]) -> Mark:
        """From `fields`; KeyError, TypeError or ValueError if it is none."""
        time = np.datetime64(fields["time"].removesuffix("Z"), "ns")
        return cls(time, fields["text"], fields["source"], fields["kind"])

    @property
    def fields(self) -> dict[str, Any]:
        """As JSON has it."""
        [time] = when.iso(np.array([self.time]))
        return {"time": time, "text": self.text, "source": self.source, "kind": self.kind}


class Marks:
    """The newest marks. The same time, text and source are one mark."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[object, ...], Mark] = OrderedDict()  # as they came
        self._alarms: OrderedDict[tuple[object, ...], None] = (
            OrderedDict()
        )  # those of them that are of alarms and settings

    def __contains__(self, mark: Mark) -> bool:
        return mark[:3] in self._kept

    def __iter__(self) -> Iterator[Mark]:
        return iter(self._kept.values())

    def add(self, mark: Mark) -> None:
        """Keep one that is not there yet, in place of the first to come where they are too many."""
        key = mark[:3]
        if key in self._kept:
            return
        self._kept[key] = mark
        if mark.kind in (ALARM, SETTING):
            self._alarms[key] = None
        if len(self._alarms) > MOST_ALARMS:
            oldest, _ = self._alarms.popitem(last=False)
            del self._kept[oldest]
        elif len(self._kept) > MOST:
            oldest, _ = self._kept.popitem(last=False)
            self._alarms.pop(oldest, None)

    def part(self, source: str, to: str | None) -> None:
        """The marks of a source become those of another one; None: they are no more."""
        kept, self._kept, self._alarms = self._kept, OrderedDict(), OrderedDict()
        for mark in kept.values():
            if mark.source != source:
                self.add(mark)
            elif to is not None:
                self.add(mark._replace(source=to))

    def between(self, start: int | None, end: int | None, source: str | None) -> list[Mark]:
        """Those of [start, end) ns, in time order; with a source: its own, and those of all."""
        found = [mark for mark in self if source is None or mark.source in (None, source)]
        if start is not None:
            begin = np.datetime64(start, "ns")
            found = [mark for mark in found if mark.time >= begin]
        if end is not None:
            stop = np.datetime64(end, "ns")
            found = [mark for mark in found if mark.time < stop]
        return sorted(found, key=lambda mark: mark.time)


class MarkFile(Journal):
    """The marks of a store, as far as their file has been read."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / MARKS)
        self.marks = Marks()

    def refresh(self) -> None:
        """Read what has come; a line that is damaged is no mark."""
        try:
            is_new, added = self.read_on()
        except FileNotFoundError:
            self.marks = Marks()
            self.close()
            return
        if is_new:
            self.marks = Marks()
        for fields in added:
            try:
                if "was" in fields:
                    self.marks.part(fields["was"], fields["source"])
                else:
                    self.marks.add(Mark.parse(fields))
            except (KeyError, TypeError, ValueError, AttributeError):
                self.damaged += 1


class MarkWriter(JournalWriter, MarkFile):
    """The same for the one process that sets marks."""

    MOST_LINES = MAX_LINES

    def add(self, mark: Mark) -> None:
        """Set a mark. LineError `store_full` where there is no room for it."""
        if mark in self.marks:
            return
        try:
            self._write(mark.fields)
        except OSError as error:
            raise LineError("store_full", f"cannot write {self.path}: {error.strerror}") from error
        self.marks.add(mark)

    def part(self, source: str, to: str | None) -> None:
        """As `Marks.part`, in the file too. OSError, and nothing done, where there is no room for it."""
        if any(mark.source == source for mark in self.marks):
            self._write({"was": source, "source": to})
            self.marks.part(source, to)

    @property
    def kept(self) -> list[Mark]:
        return list(self.marks)

    def keep(self, marks: list[Mark]) -> None:
        """Have these, and no others. OSError where they cannot be written."""
        if marks != self.kept:
            self.marks = Marks()
            for mark in marks:
                self.marks.add(mark)
            self._rewrite()

    def _counting(self) -> Iterator[dict[str, Any]]:
        return (mark.fields for mark in self.marks)
