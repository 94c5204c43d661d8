"""The Bokeh models of a page: few, whatever is drawn, and filled by the browser only.

A browser's work grows with figures and renderers. So all lines of a chart are one glyph, all bands another, all dots a
third; and all sparklines of a page are one figure that lies over them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bokeh.models import (
    BoxZoomTool,
    ColumnDataSource,
    CrosshairTool,
    CustomJSTicker,
    CustomJSTickFormatter,
    LinearScale,
    Range1d,
    RangeTool,
    WheelZoomTool,
)
from bokeh.models.annotations import BoxAnnotation, Span
from bokeh.models.glyph import Glyph
from bokeh.models.glyphs import MultiLine, Patches, Rect, Scatter
from bokeh.plotting import figure

from .panels import Panel

ACCENT = "#2f81d6"


def chart_page(panels: Sequence[Panel]) -> list[figure]:
    """A chart per panel on one time axis, the picture of all there is with its brush, the tiles' sparklines."""
    time = Range1d(start=0, end=1, syncable=False, name="time")
    crosshair = Span(dimension="height", line_color="#8a94a3", line_width=1, line_dash="dotted")
    scale, clock, times = LinearScale(), _clock(), _time_ticks()
    figures = []
    for number, panel in enumerate(panels):
        chart = _figure(f"chart{number}", time, scale, height=150, min_border_left=68)
        zoom = WheelZoomTool(dimensions="width", modifiers="ctrl")  # with the key: the wheel alone still scrolls
        overlay = BoxAnnotation(
            syncable=False,
            visible=False,
            level="overlay",
            left=float("nan"),
            right=float("nan"),
            top=float("nan"),
            bottom=float("nan"),
            fill_color=ACCENT,
            fill_alpha=0.18,
            line_color=ACCENT,
            line_width=1,
        )
        box = BoxZoomTool(dimensions="width", overlay=overlay)
        chart.add_tools(box, zoom, CrosshairTool(overlay=crosshair, dimensions="height"))
        chart.toolbar.active_drag, chart.toolbar.active_scroll = box, zoom
        chart.xaxis.ticker, chart.xaxis.formatter = times, clock
        unit = {"unit": panel.unit}
        chart.yaxis.ticker = CustomJSTicker(
            args=unit, major_code="return linemon.ticks(cb_data.start, cb_data.end, unit)"
        )
        mirrored = "Math.abs(tick)" if panel.kind == "mirrored" else "tick"
        chart.yaxis.formatter = CustomJSTickFormatter(args=unit, code=f"return linemon.format({mirrored}, unit)")
        chart.xgrid.visible = False
        _draw(chart, "areas", Patches(xs="xs", ys="ys", fill_color="color", fill_alpha="alpha", line_width=0))
        line = MultiLine(xs="xs", ys="ys", line_color="color", line_dash="dash", line_width=1.5, line_join="round")
        _draw(chart, "lines", line)
        _draw(chart, "dots", Scatter(x="xs", y="ys", fill_color="color", size=4.5, line_width=0))
        figures.append(chart)
    if figures:
        figures += [_brush(time, scale, clock, times), sparklines("sparks")]
    return figures


def sparklines(name: str) -> figure:
    """A figure in pixels, to lie over elements of the page: what it draws is where they are."""
    sparks = _figure(name, Range1d(start=0, end=1, syncable=False), LinearScale(), height=40, min_border=0)
    _bare(sparks)
    _draw(sparks, "areas", Patches(xs="xs", ys="ys", fill_color="color", fill_alpha=0.14, line_width=0))
    _draw(sparks, "lines", MultiLine(xs="xs", ys="ys", line_color="color", line_width=1.2, line_join="round"))
    return sparks


def host_map() -> figure:
    """A cell per source, in pixels."""
    cells = _figure("map", Range1d(start=0, end=1, syncable=False), LinearScale(), height=40, min_border=0)
    _bare(cells)
    rect = Rect(x="xs", y="ys", width="size", height="size", fill_color="color", line_width=0)
    _draw(cells, "cells", rect, width="size")
    return cells


def _brush(time: Range1d, scale: LinearScale, clock: CustomJSTickFormatter, ticks: CustomJSTicker) -> figure:
    whole = Range1d(start=0, end=1, syncable=False, name="whole")
    brush = _figure("brush", whole, scale, height=56, min_border_left=68)
    brush.xaxis.ticker, brush.xaxis.formatter = ticks, clock
    brush.yaxis.visible = False
    brush.grid.visible = False
    _draw(brush, "areas", Patches(xs="xs", ys="ys", fill_color=ACCENT, fill_alpha=0.35, line_width=0))
    _draw(brush, "lines", MultiLine(xs="xs", ys="ys", line_color=ACCENT, line_width=1))
    tool = RangeTool(x_range=time, start_gesture="pan")
    tool.overlay.fill_color, tool.overlay.fill_alpha = ACCENT, 0.14
    tool.overlay.line_color, tool.overlay.line_alpha = ACCENT, 0.9
    tool.overlay.syncable = False
    brush.add_tools(tool)
    return brush


def _figure(name: str, time: Range1d, scale: LinearScale, **settings: Any) -> figure:
    return figure(
        name=name,
        sizing_mode="stretch_both",
        x_range=time,
        y_range=Range1d(start=0, end=1, syncable=False),
        x_scale=scale,
        y_scale=scale,
        tools="",
        toolbar_location=None,
        lod_threshold=None,
        title=None,
        **settings,
    )


def _bare(plot: figure) -> None:
    plot.axis.visible = False
    plot.grid.visible = False
    plot.min_border_left = plot.min_border_right = plot.min_border_top = plot.min_border_bottom = 0


def _draw(plot: figure, name: str, glyph: Glyph, **more: str) -> None:
    """A glyph on a source of its own; `NAME of FIGURE` is how the browser finds the source."""
    fields = dict.fromkeys(("xs", "ys", "color", "dash", "alpha", *more.values()), ())
    source = ColumnDataSource({field: [] for field in fields}, name=f"{name} of {plot.name}", syncable=False)
    plot.add_glyph(source, glyph, nonselection_glyph=None, muted_glyph=None)


def _clock() -> CustomJSTickFormatter:
    return CustomJSTickFormatter(code="return linemon.clock(tick, ticks)")


def _time_ticks() -> CustomJSTicker:
    return CustomJSTicker(major_code="return linemon.timeTicks(cb_data.start, cb_data.end)")
