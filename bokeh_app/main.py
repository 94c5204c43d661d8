"""Builds one page: Bokeh runs this for every tab that opens it. `view.py` says which there are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from bokeh.document import Document
from bokeh.io import curdoc
from bokeh.server.contexts import BokehSessionContext

from linemon import Source
from linemon.boards import WINDOWS, names
from linemon.store.liveness import OWN

from . import boards, compare, groups, measure, runs, source
from .alarms import AlarmsPage
from .behind import Behind
from .charts import chart_figures, overview_figures
from .devices import DevicesPage
from .overview import OverviewPage
from .pump import Pump, pump
from .sending import sending
from .shown import Shown, until_called_else
from .view import SHIFTS, View, parse

EXAMPLE = "room1.temperature"  # a source that there could be
KINDS: dict[str, Callable[[Pump, View], Shown]] = {
    "source": source.show,
    "health": source.show,
    "compare": compare.show,
    "groups": groups.show,
    "measure": measure.show,
    "board": boards.show,
    "runs": runs.show,
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
    doc.template_variables["boards"] = names(pump.config.boards_folder)
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
    """A page with charts: of a source, of some columns, of the collector."""
    shown = KINDS[view.kind](pump, view)
    streams, panels = shown.streams, shown.panels
    if shown.window and not view.is_own_window:
        view = replace(view, window=shown.window)
        doc.template_variables["view"] = view
    is_called_else = until_called_else(pump, streams)
    stacked = {line.column for panel in panels for line in panel.lines if line.role == "stack"}
    page = shown.page(
        doc,
        pump,
        streams,
        Behind(pump, [] if shown.is_shifted else streams, view.shift.ns if view.shift else 0, stacked),
        has_health=view.kind == "health",
        is_stale=lambda: shown.is_stale() or is_called_else(),
    )
    page.device = shown.device
    if view.kind == "source" and shown.columns:
        doc.template_variables.update(sending(pump, host, view.source, *streams[0].shape))
    doc.title = f"{shown.title} · linemon"
    about = about_charts(view, shown)
    doc.template_variables.update(
        about=about,
        figures=chart_figures(has_shape=bool(view.shape)) if panels else None,
        heading=shown.heading or shown.title,
        is_known=bool(panels),
        farewell=pump.farewell(view.source),
        shifts=SHIFTS,
        **shown.words,
    )


def about_charts(view: View, shown: Shown) -> dict[str, Any]:
    """What the browser gets to know of a page with charts."""
    streams = shown.streams
    sources = [] if shown.is_shifted else [stream.source for stream in streams if stream.source]
    most = max((source.points for source in sources), default=0)
    about: dict[str, Any] = {
        "kind": view.kind,
        "source": OWN if view.kind == "health" else view.source,
        "flags": pump.kept().source(view.source),
        "title": shown.title,
        # of rings that are full, the rows that they keep
        "full": most if all(source.rows >= source.points for source in sources) else 0,
        "kept": held(sources),
        "sources": [stream.name for stream in streams],
        "drawn": [len(stream.drawn) for stream in streams],
        "shown": [len(stream.shown) for stream in streams],
        "columns": [
            {"source": source, "name": column, "unit": unit, "label": label}
            for source, column, unit, label in shown.columns
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
            for panel in shown.panels
        ],
        "tiles": [],
        "shift": view.shift.text if view.shift else "",
        "shape": view.shape,
    }
    return about | shown.about


def held(sources: Sequence[Source]) -> list[list[Any]]:
    """Of rows, then of each level of the history: its name, how long it is (s), at most, and bytes."""
    found: dict[str, list[Any]] = {}
    for level in (level for each in sources for level in each.kept):
        _, seconds, size = found.get(level.name, (level.name, 0.0, 0))
        found[level.name] = [level.name, max(seconds, (level.end - level.begin) / 1e9), size + level.bytes]
    return list(found.values())


build(curdoc())
