"""What is strange now: the columns of all sources that a task like `strange` has told of within ten minutes."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

import linemon
from linemon.errors import LinemonError

from .outputs import outputs, with_parts
from .packing import epoch_ms
from .pump import Pump

HOLD_MS = 600_000.0  # how long a column is strange after it was told, as `strange_columns` counts
OLD_MS = 300_000.0  # after which the newest scores say nothing of now
COUNT = "strange_columns"
STRANGE = 1.0  # a score, from which on
MAX_SOURCES, MAX_COLUMNS = 10, 4  # listed


class Told:
    """What one output has told: of each column when last (epoch ms), and how strange it was."""

    def __init__(self, source: linemon.Source) -> None:
        places = with_parts(source.columns, "score")
        self.columns, self.places = list(places), [place for (place,) in places.values()]
        self.width = len(source.columns)
        self._count = source.columns.index(COUNT)
        self.cursor, self.newest, self.number = 0, 0.0, 0.0
        self.at, self.score = np.zeros(len(places)), np.zeros(len(places))
        self.take(source.between(np.datetime64(int(time.time() * 1e3 - HOLD_MS), "ms")))

    def take(self, rows: linemon.Rows) -> None:
        """Note new rows."""
        self.cursor = rows.cursor
        for at, values in zip(epoch_ms(rows.time).tolist(), rows.values, strict=True):
            is_told = values[self.places] >= STRANGE  # what is missing is not
            self.at[is_told], self.score[is_told] = at, values[self.places][is_told]
            if at >= self.newest:
                self.newest, self.number = at, float(np.nan_to_num(values[self._count]))

    def said(self, now: float) -> dict[str, Any] | None:
        """How many columns are strange, and which: the strangest first; None while nothing is."""
        still = np.flatnonzero(self.at > now - HOLD_MS)
        count = max(len(still), int(self.number) if self.newest > now - HOLD_MS else 0)
        order = still[np.argsort(-self.score[still], kind="stable")]
        columns = [[self.columns[i], float(self.score[i]), float(self.at[i])] for i in order[:MAX_COLUMNS].tolist()]
        return {"count": count, "columns": columns} if count else None


class Strange:
    """All outputs with scores, read once for all open overviews."""

    def __init__(self) -> None:
        self._told: dict[str, Told | None] = {}  # by their names; None: an output of another kind

    def look(self, pump: Pump) -> dict[str, Any]:
        """The strangest sources first, each with the columns that were told; how many are watched, and until when."""
        now, found, newest = time.time() * 1e3, list[dict[str, Any]](), 0.0
        had, self._told = self._told, {}
        for source, names in outputs(pump).items():
            for name in names:
                try:
                    told = self._told[name] = (
                        read(pump.store[name], had[name]) if name in had else meet(pump.store[name])
                    )
                except (LinemonError, OSError):
                    continue  # gone between two reads
                if told is None:
                    continue
                newest = max(newest, told.newest)
                if said := told.said(now):
                    called = pump.named(source, [column for column, *_ in said["columns"]])
                    said["columns"] = [[*each, label] for each, (label, _) in zip(said["columns"], called, strict=True)]
                    found.append({"source": source, **said})
        found.sort(key=lambda each: (-each["count"], -max((score for _, score, *_ in each["columns"]), default=0.0)))
        return {
            "sources": found[:MAX_SOURCES],
            "more": max(0, len(found) - MAX_SOURCES),
            "watched": sum(told is not None for told in self._told.values()),
            "newest": newest,
            "is_old": newest < now - OLD_MS,
        }


def meet(source: linemon.Source) -> Told | None:
    """What an output has told; None where it is of another kind."""
    return Told(source) if COUNT in source.columns else None


def read(source: linemon.Source, told: Told | None) -> Told | None:
    """The same with what is new."""
    if told is None or told.width != len(source.columns) or source.rows < told.cursor:
        return told and meet(source)
    if source.rows != told.cursor:
        told.take(source.since(told.cursor))
    return told


strange = Strange()
