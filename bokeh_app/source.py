"""The page of a source, or of the collector's own: its columns as charts, and the others as numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from linemon.store.liveness import OWN

from .devices import Own
from .layout import as_toml, lay_out, misses, tiles
from .panels import Panel, unit_of
from .pump import Pump
from .shown import Columns, Shown
from .streams import Stream
from .view import View

MAX_NUMBERS = 100  # columns without a chart that are shown as numbers


def show(pump: Pump, view: View) -> Shown:
    name = OWN if view.kind == "health" else view.source
    stream = Stream(pump, name, (), ())
    names, said_units = stream.shape
    labels, units = pump.kept().named(name, names, said_units)
    panels, others = lay_out(name, names, units, pump.config.dashboard.panel)
    drawn = [line.column for panel in panels for line in panel.lines]
    stream = Stream(pump, name, list(dict.fromkeys(drawn)), others[:MAX_NUMBERS])
    panels = [renumbered(panel, stream.drawn, labels) for panel in panels]
    columns: Columns = [
        (0, names[number], unit_of(names[number], units[number]), labels[number]) for number in stream.shown
    ]
    return Shown(
        "Health of the collector" if view.kind == "health" else name,
        [stream],
        panels,
        columns,
        about={"tiles": _tiles(panels, columns)},
        words={
            "misfits": misses(name, names, pump.config.dashboard.panel),
            "numbers": [
                (number, label or column)
                for number, (_, column, _, label) in enumerate(columns)
                if number >= len(stream.drawn)
            ],
            "unshown": max(0, len(names) - len(columns)),
            "toml": as_toml(name, panels, [column for _, column, *_ in columns]),
        },
        device=Own(pump, name) if view.kind == "source" else str,
    )


def renumbered(panel: Panel, drawn: list[int], labels: Sequence[str]) -> Panel:
    """The panel with its columns as numbers of what the page is sent, and as people call them."""
    lines = (
        replace(line, column=drawn.index(line.column), label=labels[line.column] or line.label) for line in panel.lines
    )
    return replace(panel, lines=tuple(lines))


def _tiles(panels: list[Panel], columns: Columns) -> list[dict[str, object]]:
    if len(columns) < 2:
        return []
    _, names, units, labels = zip(*columns, strict=True)
    return [{"column": tile.column, "label": labels[tile.column] or tile.label} for tile in tiles(panels, names, units)]
