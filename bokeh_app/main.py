"""Builds one page: Bokeh runs this for every tab that opens it. `view.py` says which there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from bokeh.document import Document
from bokeh.io import curdoc
from bokeh.server.contexts import BokehSessionContext

from linemon import boards
from linemon.store.liveness import OWN

from .alarms import AlarmsPage
from .behind import Behind
from .boards import Board, is_stale, look
from .charts import chart_figures, overview_figures
from .compare import compare
from .devices import DevicesPage, Own
from .groups import MAX_LISTED, Group, groups, of_groups, runs
from .layout import as_toml, lay_out, misses, tiles
from .measure import MeasurePage, Ranked, Rest, charts_of, rank
from .overview import OverviewPage
from .panels import Panel, label_of, take_apart, unit_of
from .pump import pump
from .runs import of_runs, spans
from .sending import sending
from .streams import ChartPage, Stream
from .view import SHIFTS, WINDOWS, View, parse

EXAMPLE = "room1.temperature"  # a source that there could be
MAX_NUMBERS = 100  # columns without a chart that are shown as numbers
TITLES = {
    "health": "Health of the collector",
    "compare": "Compare",
    "groups": "What moves together",
    "xy": "XY",
    "histogram": "Histogram",
}


def build(doc: Document) -> None:
    """Put one page together."""
    context = doc.session_context
    request = context.request if isinstance(context, BokehSessionContext) else None
    view = parse(request.arguments if request else {})
    # The page shows by itself what becomes of the connection, and starts anew when the server is back: Bokeh's way
    # would put a second document into the first, without its arrays.
    doc.config.reconnect_session = False
    doc.config.notify_connection_status = False
    dashboard = pump.config.dashboard
    may_set = dashboard.listen.is_loopback or bool(dashboard.password)
    doc.template_variables.update(view=view, windows=WINDOWS, may_set=may_set)
    host = urlsplit(f"//{request.headers.get('Host', '')}").hostname or "" if request else ""
    doc.template_variables["boards"] = boards.names(pump.config.boards_folder)
    if view.kind == "overview":
        OverviewPage(doc, pump)
        doc.title = "linemon"
        doc.template_variables.update(about={"kind": "overview"}, figures=overview_figures())
        doc.template_variables.update(sending(pump, host, EXAMPLE))
    elif view.kind == "alarms":
        AlarmsPage(doc, pump)
        doc.title = "Alarms · linemon"
        doc.template_variables.update(about={"kind": "alarms"})
    elif view.kind == "devices":
        DevicesPage(doc, pump)
        doc.title = "Devices · linemon"
        doc.template_variables.update(about={"kind": "devices"})
    else:
        build_charts(doc, view, host)
    doc.template_variables["trouble"] = pump.trouble


def build_charts(doc: Document, view: View, host: str) -> None:
    """The page of a source, of a comparison, or of the collector."""
    name = OWN if view.kind == "health" else view.source
    missing: list[str] = []
    found: list[Group] = []
    laid: dict[str, Any] = {}
    board = Board("")
    numbers, unshown, toml, misfits = list[int](), 0, "", False
    ranked = Ranked([], [])
    if view.kind == "groups":
        found = groups(pump)
        streams, panels, columns = of_groups(pump, view, found)
    elif view.kind == "runs":
        streams, panels, columns, missing, laid = of_runs(pump, view)
    elif view.kind == "compare":
        streams, panels, columns, missing = compare(pump, view)
    elif view.kind == "measure":
        ranked = rank(pump, view)
        streams, panels, columns = charts_of(pump, view, ranked.top)
    elif view.kind == "board":
        board = look(pump, view)
        streams, panels, columns = board.streams, board.panels, board.columns
    else:
        stream = Stream(pump, name, (), ())
        shape = stream.shape
        labels, units = pump.kept().named(name, *shape)
        panels, others = lay_out(name, shape[0], units, pump.config.dashboard.panel)
        drawn = [line.column for panel in panels for line in panel.lines]
        stream = Stream(pump, name, list(dict.fromkeys(drawn)), others[:MAX_NUMBERS])
        streams, numbers = [stream], list(range(len(stream.drawn), len(stream.shown)))
        panels = [renumbered(panel, stream.drawn, labels) for panel in panels]
        columns = [
            (0, shape[0][number], unit_of(shape[0][number], units[number]), labels[number]) for number in stream.shown
        ]
        unshown = max(0, len(shape[0]) - len(columns))
        misfits = misses(name, shape[0], pump.config.dashboard.panel)
        toml = as_toml(name, panels, [column for _, column, *_ in columns])
    source = streams[0].source if len(streams) == 1 and not laid else None

    def made_of() -> tuple[object, ...]:
        if view.kind == "runs":
            return spans(pump, view), missing and pump.names()
        is_waiting = missing or (view.kind == "measure" and not panels)
        return runs(pump) if view.kind == "groups" else pump.names() if is_waiting else ()

    known = made_of()

    def called() -> list[object]:
        return [pump.kept().named(stream.name, *stream.shape) for stream in streams]

    named = called()
    stacked = {line.column for panel in panels for line in panel.lines if line.role == "stack"}
    page = (MeasurePage if view.kind == "measure" else ChartPage)(
        doc,
        pump,
        streams,
        Behind(pump, [] if laid else streams, view.shift.ns if view.shift else 0, stacked),
        has_health=view.kind == "health",
        is_stale=lambda: (is_stale(pump, board) if board.name else made_of() != known) or called() != named,
    )
    if view.kind == "source":
        page.device = Own(pump, name)
        doc.template_variables.update(sending(pump, host, name, *shape) if columns else {})
    if isinstance(page, MeasurePage):
        page.rest = Rest(pump, [] if view.is_small else ranked.rest)
    title = board.heading or TITLES.get(view.shape or view.kind, name)
    if view.kind == "measure":
        title = label_of(take_apart(0, view.measure, ""))
    if view.kind == "runs":
        title = f"Runs of {', '.join(dict.fromkeys(owner for owner, _ in view.plot))}"
    doc.title = f"{title} · linemon"
    about: dict[str, Any] = {
        "kind": view.kind,
        "source": name,
        "flags": pump.kept().source(name),
        "title": title,
        "full": source.points if source and source.rows >= source.points else 0,  # rows that its ring keeps, and holds
        "kept": [[level.name, (level.end - level.begin) / 1e9] for level in source.kept[1:]] if source else [],
        "sources": [stream.name for stream in streams],
        "drawn": [len(stream.drawn) for stream in streams],
        "shown": [len(stream.shown) for stream in streams],
        "columns": [
            {"source": source, "name": column, "unit": unit, "label": label} for source, column, unit, label in columns
        ],
        "panels": [
            {
                "title": panel.title,
                "unit": panel.unit,
                "right": panel.right,
                "kind": panel.kind,
                "limits": panel.limits,
                "lines": [{"column": line.column, "label": line.label, "role": line.role} for line in panel.lines],
            }
            for panel in panels
        ],
        "tiles": [],
        "is_alike": view.is_small,
        "rest": 0 if view.is_small else len(ranked.rest),
        "board": board.about if board.name else None,
        "shift": view.shift.text if view.shift else "",
        **laid,
        "shape": view.shape,
        "choices": [[each.name, column] for each in streams for column in each.shape[0]] if view.shape else [],
    }
    if view.kind not in ("compare", "groups", "measure", "board", "runs") and len(columns) > 1:
        _, plain, known_units, called_so = zip(*columns, strict=True)
        about["tiles"] = [
            {"column": tile.column, "label": called_so[tile.column] or tile.label}
            for tile in tiles(panels, plain, known_units)
        ]
    doc.template_variables.update(
        about=about,
        figures=chart_figures(has_shape=bool(view.shape)) if panels else None,
        heading=board.name or title,
        is_known=bool(panels),
        farewell=pump.farewell(name),
        missing=missing,
        board=board,
        misfits=misfits,
        shifts=SHIFTS,
        groups=found,
        total=len(ranked.top) + len(ranked.rest),
        most_listed=MAX_LISTED,
        numbers=[(number, columns[number][3] or columns[number][1]) for number in numbers],
        unshown=unshown,
        toml=toml,
    )


def renumbered(panel: Panel, drawn: list[int], labels: Sequence[str]) -> Panel:
    """The panel with its columns as numbers of what the page is sent, and as people call them."""
    lines = (
        replace(line, column=drawn.index(line.column), label=labels[line.column] or line.label) for line in panel.lines
    )
    return replace(panel, lines=tuple(lines))


build(curdoc())
