"""What moves together, as tasks like `groups` last said it: a chart of the exemplar of each group, with its members."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

import linemon

from .compare import compare
from .outputs import outputs, task_of, with_parts
from .panels import MAX_PANELS, Panel
from .pump import Pump
from .shown import Columns, Shown, until_other
from .streams import Stream
from .view import View

PARTS = ("group", "exemplar", "r")
MAX_LISTED = 12  # members that are seen at once

Member = tuple[str, str, float]  # source, column, mean |r| to the others


@dataclass(frozen=True)
class Group:
    """Columns that move together: the exemplar first, then by how closely they follow."""

    task: str
    number: int
    members: tuple[Member, ...]

    @property
    def exemplar(self) -> tuple[str, str]:
        return self.members[0][:2]


def show(pump: Pump, view: View) -> Shown:
    found = groups(pump)
    named = {
        pair: pump.named(pair[0], [pair[1]])[0][0] for group in found for pair in (each[:2] for each in group.members)
    }
    words = {"groups": found, "most_listed": MAX_LISTED, "named": named}
    return Shown("What moves together", *of_groups(pump, view, found), until_other(lambda: runs(pump)), words=words)


def groups(pump: Pump) -> list[Group]:
    """Those of the newest run of each task, the largest first; what stands alone is no group."""
    found: dict[tuple[str, int], list[tuple[bool, Member]]] = {}
    newest: dict[str, np.datetime64] = {}
    rows = [(task_of(source.name), of, source.last(1)) for of, source in _sources(pump)]
    for task, _, row in rows:
        if len(row):
            newest[task] = max(newest.get(task, row.time[0]), row.time[0])
    for task, source, row in rows:
        if not len(row) or row.time[0] != newest[task]:
            continue  # of an earlier run, which numbered them otherwise
        for column, places in with_parts(row.columns, *PARTS).items():
            number, is_exemplar, r = row.values[0, places].tolist()
            if number == number:
                found.setdefault((task, int(number)), []).append((not is_exemplar, (source, column, r)))
    several = {key: sorted(members, key=lambda each: (each[0], -each[1][2])) for key, members in found.items()}
    made = [Group(*key, tuple(member for _, member in members)) for key, members in several.items() if len(members) > 1]
    return sorted(made, key=lambda group: (-len(group.members), group.task, group.number))


def of_groups(pump: Pump, view: View, found: list[Group]) -> tuple[list[Stream], list[Panel], Columns]:
    """A stream per source, a chart per group, of its exemplar, and of each of these columns what `compare` says."""
    drawn = {group.exemplar: group for group in found[:MAX_PANELS]}
    streams, panels, columns, _ = compare(pump, replace(view, plot=tuple(drawn), is_beside=True))
    of = [drawn[streams[columns[panel.lines[0].column][0]].name, columns[panel.lines[0].column][1]] for panel in panels]
    called = [label or column for _, column, _, label in columns]
    drawn_as = [
        replace(
            panel,
            title=f"{len(group.members)} columns",
            lines=tuple(
                replace(line, label=" ".join((group.exemplar[0], called[line.column]))) for line in panel.lines
            ),
        )
        for panel, group in zip(panels, of, strict=True)
    ]
    order = sorted(range(len(of)), key=lambda number: found.index(of[number]))
    return streams, [drawn_as[number] for number in order], columns


def runs(pump: Pump) -> tuple[tuple[str, int], ...]:
    """What changes when a task has run anew."""
    return pump.shared("groups", lambda: tuple((source.name, source.rows) for _, source in _sources(pump)), 5.0)


def _sources(pump: Pump) -> list[tuple[str, linemon.Source]]:
    """The outputs that tell of groups, with the names of their sources."""
    found = []
    for of, names in outputs(pump).items():
        for name in names:
            source = pump.source(name)
            if source and any(column.endswith(f".{PARTS[0]}") for column in source.columns):
                found.append((of, source))
    return found
