"""The Bokeh models of a page: few, whatever is drawn, and filled by the browser only.

A browser's work grows with figures and renderers. So all lines of a chart are one glyph, all bands another, all dots a
third; and all sparklines of a page are one figure that lies over them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bokeh.models import (
    AllIndices,
    AllLabels,
    Axis,
    BoxZoomTool,
    CDSView,
    ColumnDataSource,
    CrosshairTool,
    CustomJSTicker,
    CustomJSTickFormatter,
    LinearAxis,
    LinearScale,
    Plot,
    Range1d,
    RangeTool,
    Selection,
    UnionRenderers,
    WheelZoomTool,
)
from bokeh.models.annotations import BoxAnnotation, Span
from bokeh.models.annotations.geometry import AreaVisuals, BoxInteractionHandles
from bokeh.models.glyph import Glyph
from bokeh.models.glyphs import MultiLine, Patches, Rect, Scatter, Text
from bokeh.plotting import figure

from .panels import Panel

ACCENT = "#2f81d6"


class Common:
    """What all figures of a page share: each message of Bokeh's costs the server time for each model of its page."""

    def __init__(self) -> None:
        self.scale = LinearScale()
        self.labels = AllLabels()
        self.union, self.all, self.nothing = UnionRenderers(), AllIndices(), Selection()
        self.handles = BoxInteractionHandles(all=AreaVisuals())
        self.clock = CustomJSTickFormatter(code="return linemon.clock(tick, ticks)")
        self.times = CustomJSTicker(major_code="return linemon.timeTicks(cb_data.start, cb_data.end)")


def chart_figures(panels: Sequence[Panel]) -> list[Plot]:
    """A chart per panel on one time axis, the picture of all there is with its brush, the tiles' sparklines."""
    time = _range("time")
    crosshair = Span(
        name="crosshair", syncable=False, dimension="height", line_color="#8a94a3", line_width=1, line_dash="dotted"
    )
    common = Common()
    figures: list[Plot] = []
    for number, panel in enumerate(panels):
        chart = _chart(f"chart{number}", time, common, height=150)
        zoom = WheelZoomTool(dimensions="width", modifiers="ctrl")  # with the key: the wheel alone still scrolls
        overlay = BoxAnnotation(
            syncable=False,
            visible=False,
            handles=common.handles,
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
        _value_axis(chart.yaxis[0], panel.unit, is_mirrored=panel.kind == "mirrored")
        if panel.right:  # what is in its unit is drawn as far up as it stands on this axis
            chart.extra_y_ranges = {"right": _range(f"right of chart{number}")}
            right = LinearAxis(y_range_name="right", major_label_policy=common.labels)
            _value_axis(right, panel.right)
            chart.add_layout(right, "right")
        _draw(chart, common, "areas", Patches(xs="xs", ys="ys", fill_color="color", fill_alpha="alpha", line_width=0))
        line = MultiLine(xs="xs", ys="ys", line_color="color", line_dash="dash", line_width=1.5, line_join="round")
        _draw(chart, common, "lines", line)
        _draw(chart, common, "dots", Scatter(x="xs", y="ys", fill_color="color", size=4.5, line_width=0))
        text = Text(x="xs", y="ys", text="text", text_color="color", text_align="align", x_offset="offset", y_offset=3)
        text.text_font_size, text.text_baseline = "11px", "top"
        _draw(chart, common, "texts", text, text="text", align="align", offset="offset")
        figures.append(chart)
    if figures:
        figures += [_brush(time, common), sparklines("sparks", common)]
    return figures


def overview_figures() -> list[Plot]:
    """The map of the hosts, and the sparklines of the rows."""
    common = Common()
    cells = _bare("map", common)
    rect = Rect(x="xs", y="ys", width="size", height="size", fill_color="color", line_width=0)
    _draw(cells, common, "cells", rect, width="size")
    return [cells, sparklines("sparks", common)]


def sparklines(name: str, common: Common) -> Plot:
    """A figure in pixels, to lie over elements of the page: what it draws is where they are."""
    sparks = _bare(name, common)
    _draw(sparks, common, "areas", Patches(xs="xs", ys="ys", fill_color="color", fill_alpha=0.14, line_width=0))
    lines = MultiLine(xs="xs", ys="ys", line_color="color", line_width=1.2, line_join="round")
    _draw(sparks, common, "lines", lines)
    return sparks


def _brush(time: Range1d, common: Common) -> Plot:
    brush = _chart("brush", _range("whole"), common, height=56)
    brush.left, brush.center = [], []
    _draw(brush, common, "areas", Patches(xs="xs", ys="ys", fill_color=ACCENT, fill_alpha=0.35, line_width=0))
    _draw(brush, common, "lines", MultiLine(xs="xs", ys="ys", line_color=ACCENT, line_width=1))
    tool = RangeTool(x_range=time, start_gesture="pan")
    tool.overlay.fill_color, tool.overlay.fill_alpha = ACCENT, 0.14
    tool.overlay.line_color, tool.overlay.line_alpha = ACCENT, 0.9
    tool.overlay.syncable = False
    tool.overlay.handles = common.handles
    brush.add_tools(tool)
    return brush


def _chart(name: str, time: Range1d, common: Common, height: int) -> figure:
    """With a time axis, a value axis and lines across."""
    chart = figure(x_range=time, y_range=_range(), height=height, tools="", toolbar_location=None, title=None)
    _settle(chart, name, common)
    chart.min_border_left = 68
    chart.axis.major_label_policy = common.labels
    chart.xaxis.ticker, chart.xaxis.formatter = common.times, common.clock
    chart.center = list(chart.ygrid)
    return chart


def _value_axis(axis: Axis, unit: str, *, is_mirrored: bool = False) -> None:
    """Where `log` is set, which the browser does, a place on the axis is the power of ten of the value."""
    args: dict[str, Any] = {"unit": unit, "log": False}
    axis.ticker = CustomJSTicker(args=args, major_code="return linemon.ticks(cb_data.start, cb_data.end, unit, log)")
    tick = "Math.abs(tick)" if is_mirrored else "tick"
    code = f"return linemon.format(log ? 10 ** tick : {tick}, unit, 4, log ? 0 : ticks[1] - ticks[0])"
    axis.formatter = CustomJSTickFormatter(args=args, code=code)


def _bare(name: str, common: Common) -> Plot:
    """In pixels, without anything."""
    plot = Plot(x_range=_range(), y_range=_range(), height=40, toolbar_location=None, title=None)
    plot.min_border_left = plot.min_border_right = plot.min_border_top = plot.min_border_bottom = 0
    _settle(plot, name, common)
    return plot


def _settle(plot: Plot, name: str, common: Common) -> None:
    plot.name, plot.sizing_mode, plot.lod_threshold = name, "stretch_both", None
    plot.x_scale = plot.y_scale = common.scale


def _range(name: str | None = None) -> Range1d:
    """One that the browser sets."""
    return Range1d(start=0, end=1, syncable=False, name=name)


def _draw(plot: Plot, common: Common, name: str, glyph: Glyph, **more: str) -> None:
    """A glyph on a source of its own; `NAME of FIGURE` is how the browser finds the source."""
    fields = dict.fromkeys(("xs", "ys", "color", "dash", "alpha", *more.values()), ())
    source = ColumnDataSource(
        {field: [] for field in fields},
        name=f"{name} of {plot.name}",
        selection_policy=common.union,
        selected=common.nothing,
        syncable=False,
    )
    view = CDSView(filter=common.all)
    plot.add_glyph(source, glyph, view=view, nonselection_glyph=None, muted_glyph=None)
