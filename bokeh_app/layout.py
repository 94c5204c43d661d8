"""What a page draws: the panels of linemon.toml where there are some for its source, else those chosen by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from linemon.boards import quoted
from linemon.config import PanelConfig
from linemon.patterns import exactly, fits, is_exclusion

from .panels import (
    LINES_PER_PANEL,
    MAX_LINES,
    MAX_PANELS,
    Column,
    Panel,
    group,
    label_of,
    take_apart,
    taken_apart,
    units_of_axes,
    with_roles,
)

MAX_TILES = 6
FIRST_TILES = (
    "cpu.busy_pct",
    "mem.used_pct",
    "load.1m",
    "net.rx_bytes_per_s",
    "net.tx_bytes_per_s",
    "disk.write_bytes_per_s",
    "disk.read_bytes_per_s",
)


@dataclass(frozen=True)
class Tile:
    """One value that stands large above the charts."""

    column: int
    label: str


def lay_out(
    source: str, columns: Sequence[str], units: Sequence[str], wanted: Sequence[PanelConfig]
) -> tuple[list[Panel], list[int]]:
    """The charts of a source, and the numbers of the columns that are in none.

    Where its panels in linemon.toml name none of its columns it has those of a source without any: `misses` says so.
    """
    mine = [] if misses(source, columns, wanted) else _panels_for(source, wanted)
    if not mine:
        panels, others = group(columns, units)
        if tuple(columns) == ("value",):
            panels = [replace(panels[0], title=source)]
        return panels, others
    known = taken_apart(columns, units)
    panels, room = list[Panel](), MAX_LINES
    for panel in mine[:MAX_PANELS]:
        found = _matching(panel, known)[: min(LINES_PER_PANEL, room)]
        room -= len(found)
        if found:
            lines = with_roles(((column, label_beside(column, found)) for column in found), panel.kind)
            units = units_of_axes([column.unit for column in found], panel.kind)
            panels.append(Panel(panel.title, units[0], lines, panel.limits, units[1], panel.warn, panel.crit))
    shown = {line.column for panel in panels for line in panel.lines}
    return panels, [number for number in range(len(columns)) if number not in shown]


def misses(source: str, columns: Sequence[str], wanted: Sequence[PanelConfig]) -> bool:
    """Whether there are panels for a source with columns, and none of them names one."""
    mine = _panels_for(source, wanted)
    return bool(mine and columns) and not any(fits(panel.columns, name) for panel in mine for name in columns)


def _panels_for(source: str, wanted: Sequence[PanelConfig]) -> list[PanelConfig]:
    return [panel for panel in wanted if not panel.source or fits([panel.source], source)]


def tiles(panels: Sequence[Panel], columns: Sequence[str], units: Sequence[str]) -> list[Tile]:
    """What to show large: what people look at first on a host; of any other source the first column of each chart."""
    drawn = {line.column for panel in panels for line in panel.lines}
    first = [columns.index(name) for name in FIRST_TILES if name in columns and columns.index(name) in drawn]
    if len(first) < 3:
        first = [panel.lines[0].column for panel in panels]
    return [Tile(number, label_of(take_apart(number, columns[number], units[number]))) for number in first[:MAX_TILES]]


def as_toml(source: str, panels: Sequence[Panel], columns: Sequence[str]) -> str:
    """The layout as one would write it into linemon.toml."""
    parts = []
    for panel in panels:
        names = [exactly(columns[line.column]) for line in panel.lines]
        lines = ["[[dashboard.panel]]", f"source = {quoted(exactly(source))}", f"title = {quoted(panel.title)}"]
        lines += [f"columns = [{', '.join(map(quoted, names))}]", f"kind = {quoted(panel.kind)}"]
        if panel.limits:
            lines.append(f"limits = [{', '.join(map(repr, panel.limits))}]")
        limits = {"warn": panel.warn, "crit": panel.crit}
        lines += [f"{name} = {value!r}" for name, value in limits.items() if value is not None]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def _matching(panel: PanelConfig, known: Sequence[Column]) -> list[Column]:
    """The columns of a panel in the order of its patterns, each once."""
    by_name = {column.name: column for column in known}
    return [by_name[name] for name in in_order(panel.columns, list(by_name))]


def in_order(patterns: Sequence[str], names: Sequence[str]) -> list[str]:
    """The names that fit, in the order of the patterns, each once."""
    meant = [name for name in names if fits(patterns, name)]
    found = (name for each in patterns if not is_exclusion(each) for name in meant if fits([each], name))
    return list(dict.fromkeys([*found, *meant]))


def label_beside(column: Column, beside: Sequence[Column]) -> str:
    """A column's label without the words that all columns of its chart share."""
    if len({each.head for each in beside}) > 1:
        return label_of(column)
    label = " ".join(dict.fromkeys((*column.devices, column.measure)))
    return label.replace("_", " ")
