"""Columns of any sources laid over each other, or side by side."""

from __future__ import annotations

from collections.abc import Iterable

from .panels import MAX_LINES, MAX_PANELS, Line, Panel, unit_of
from .pump import Pump
from .shown import Columns, Shown, never, until_other
from .streams import Stream
from .view import View

Pair = tuple[str, str]
TITLES = {"": "Compare", "xy": "XY", "histogram": "Histogram"}  # by the shape of the view


def show(pump: Pump, view: View) -> Shown:
    streams, panels, columns, missing = compare(pump, view)
    choices = [[stream.name, column] for stream in streams for column in stream.shape[0]] if view.shape else []
    is_stale = until_other(pump.names) if missing else never
    named = {(streams[stream].name, column): label or column for stream, column, _, label in columns}
    words = {"missing": missing, "named": named}
    return Shown(TITLES[view.shape], streams, panels, columns, is_stale, about={"choices": choices}, words=words)


def compare(pump: Pump, view: View) -> tuple[list[Stream], list[Panel], Columns, list[str]]:
    """A stream per source, the charts, the columns they draw, and what there is not (yet)."""
    streams, columns, missing = streams_of(pump, view.plot)
    panels = _panels(streams, columns[:MAX_LINES], view.is_beside)
    return streams, panels, columns, [":".join(pair) for pair in missing]


def streams_of(pump: Pump, pairs: Iterable[Pair]) -> tuple[list[Stream], Columns, list[Pair]]:
    """Of (source, column): a stream per source, the columns, and those that are not there."""
    wanted: dict[str, list[str]] = {}
    for owner, column in pairs:
        wanted.setdefault(owner, []).append(column)
    streams: list[Stream] = []
    columns: Columns = []
    missing: list[Pair] = []
    for name, asked in wanted.items():
        source = pump.source(name)
        known, units = (source.columns, source.units) if source else ((), ())
        there = [column for column in asked if column in known]
        missing += [(name, column) for column in asked if column not in known]
        if there:
            said = pump.kept().named(name, there, [unit_of(column, units[known.index(column)]) for column in there])
            columns += [(len(streams), column, unit, label) for column, label, unit in zip(there, *said, strict=True)]
            streams.append(Stream(pump, name, [known.index(column) for column in there], ()))
    return streams, columns, missing


def _panels(streams: list[Stream], columns: Columns, is_beside: bool) -> list[Panel]:
    """A chart per unit, or per column where they stand side by side."""
    groups: dict[object, list[int]] = {}
    for number, (_, _, unit, _) in enumerate(columns):
        groups.setdefault(number if is_beside else unit, []).append(number)
    panels = []
    for numbers in list(groups.values())[:MAX_PANELS]:
        names = dict.fromkeys(columns[number][3] or columns[number][1] for number in numbers)
        title = ", ".join(names) if len(names) < 3 else f"{len(numbers)} columns"
        lines = []
        for number in numbers:
            stream, name, _, label = columns[number]
            owner = streams[stream].name
            lines.append(Line(number, owner_label(owner, label or name, len(names))))
        if is_beside:
            title = f"{streams[columns[numbers[0]][0]].name} {title}".removesuffix(" value")
        panels.append(Panel(title, columns[numbers[0]][2], tuple(lines)))
    return panels


def owner_label(source: str, column: str, names: int) -> str:
    """How a line is called among those of several sources, whose columns have so many names."""
    return source if names == 1 or column == "value" else f"{source} {column}"
