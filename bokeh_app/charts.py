"""The figures of a page: few models, whatever is drawn, built once and filled by the browser only.

A browser's work grows with figures and renderers. So all lines of a chart are one glyph, all bands another, all dots a
third; and all sparklines of a page are one figure that lies over them.

No figure is in the document of a page's session: a page comes with them as JSON (`templates/figures.js`), which is the
same for all pages, as one chart is the pattern of all.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from bokeh.document import Document
from bokeh.model import Model
from bokeh.models import (
    AllLabels,
    BoxZoomTool,
    ColumnDataSource,
    CrosshairTool,
    CustomJSTicker,
    CustomJSTickFormatter,
    LinearAxis,
    Plot,
    Range1d,
    RangeTool,
    WheelZoomTool,
)
from bokeh.models.annotations import BoxAnnotation, Span
from bokeh.models.glyph import Glyph
from bokeh.models.glyphs import MultiLine, Patches, Rect, Scatter, Text
from bokeh.plotting import figure
from bokeh.themes import Theme

ACCENT = "#2f81d6"


@cache
def chart_figures(*, has_shape: bool = False) -> str:
    """A chart, the picture of all there is with its brush, and the tiles' sparklines, on one time axis.

    `has_shape`: and a figure whose x axis, too, has values.
    """
    time = _range("time")
    crosshair = Span(name="crosshair", dimension="height", line_color="#8a94a3", line_width=1, line_dash="dotted")
    figures = [_chart_on(time, crosshair), _brush(time), _sparklines("sparks")]
    if has_shape:
        figures.append(_shape())
    return _as_json(figures, shared=(time, crosshair))


@cache
def overview_figures() -> str:
    """The map of the hosts, and the sparklines of the rows."""
    cells = _bare("map")
    rect = Rect(x="xs", y="ys", width="size", height="size", fill_color="color", line_width=0)
    _draw(cells, "cells", rect, width="size")
    return _as_json([cells, _sparklines("sparks")])


def _as_json(figures: Sequence[Plot], shared: Sequence[Model] = ()) -> str:
    """What a page takes: the document, and the ids of the models that all charts share. To stand in HTML as it is."""
    doc = Document(theme=Theme(filename=str(Path(__file__).with_name("theme.yaml"))))
    with doc.models.freeze():  # else all are gone through for each that is added
        for plot in figures:
            doc.add_root(plot)
    said = doc.to_json(deferred=False)
    kept = {name: said[name] for name in ("version", "title", "roots")}  # not the definitions of the session's models
    return json.dumps({"doc": kept, "shared": [model.id for model in shared]}).replace("<", "\\u003c")


def _chart_on(time: Range1d, crosshair: Span) -> Plot:
    """The pattern of a chart: the browser says its UNIT and KIND."""
    chart = _chart("chart0", time, height=150)
    zoom = WheelZoomTool(dimensions="width", modifiers="ctrl")  # with the key: the wheel alone still scrolls
    overlay = BoxAnnotation(
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
    _in_unit(chart.yaxis)
    chart.extra_y_ranges = {"right": _range("right of chart0")}
    right = LinearAxis(y_range_name="right", major_label_policy=AllLabels())  # the browser drops it, with one unit
    _in_unit(right, "RIGHT")
    chart.add_layout(right, "right")
    _draw(chart, "areas", Patches(xs="xs", ys="ys", fill_color="color", fill_alpha="alpha", line_width=0))
    line = MultiLine(xs="xs", ys="ys", line_color="color", line_dash="dash", line_width="width", line_join="round")
    _draw(chart, "lines", line, width="width")
    _draw(chart, "dots", Scatter(x="xs", y="ys", fill_color="color", size=4.5, line_width=0))
    text = Text(x="xs", y="ys", text="text", text_color="color", text_align="align", x_offset="offset", y_offset="drop")
    text.text_font_size, text.text_baseline = "11px", "top"
    text.background_fill_color, text.background_fill_alpha = "back", 0.85  # no line goes through what is to be read
    _draw(chart, "texts", text, text="text", align="align", offset="offset", drop="drop", back="back")
    return chart


def _in_unit(axis: Any, unit: str = "UNIT") -> None:
    """An axis of values: the browser says its UNIT and KIND. With `log` a place is the power of ten of a value."""
    args = {"unit": unit, "kind": "KIND", "log": False}
    axis.ticker = CustomJSTicker(args=args, major_code="return linemon.ticks(cb_data.start, cb_data.end, unit, log)")
    axis.formatter = CustomJSTickFormatter(
        args=args,
        code="""const value = log ? 10 ** tick : kind == 'mirrored' ? Math.abs(tick) : tick
            return linemon.format(value, unit, 4, log ? 0 : ticks[1] - ticks[0])""",
    )


def _shape() -> Plot:
    """One column over another, or how often values come."""
    shape = _chart("shape", _range(), height=320)
    _in_unit(shape.xaxis, "")
    _in_unit(shape.yaxis, "")
    _draw(shape, "areas", Patches(xs="xs", ys="ys", fill_color="color", fill_alpha="alpha", line_width=0))
    _draw(shape, "lines", MultiLine(xs="xs", ys="ys", line_color="color", line_width=1.5, line_dash="dash"))
    _draw(shape, "dots", Scatter(x="xs", y="ys", fill_color="color", size=4.5, line_width=0))
    return shape


def _sparklines(name: str) -> Plot:
    """A figure in pixels, to lie over elements of the page: what it draws is where they are."""
    sparks = _bare(name)
    _draw(sparks, "areas", Patches(xs="xs", ys="ys", fill_color="color", fill_alpha=0.14, line_width=0))
    lines = MultiLine(xs="xs", ys="ys", line_color="color", line_width=1.2, line_join="round")
    _draw(sparks, "lines", lines)
    return sparks


def _brush(time: Range1d) -> Plot:
    brush = _chart("brush", _range("whole"), height=56)
    brush.left, brush.center = [], []
    _draw(brush, "areas", Patches(xs="xs", ys="ys", fill_color=ACCENT, fill_alpha=0.35, line_width=0))
    _draw(brush, "lines", MultiLine(xs="xs", ys="ys", line_color=ACCENT, line_width=1))
    tool = RangeTool(x_range=time, start_gesture="pan")
    tool.overlay.fill_color, tool.overlay.fill_alpha = ACCENT, 0.14
    tool.overlay.line_color, tool.overlay.line_alpha = ACCENT, 0.9
    brush.add_tools(tool)
    return brush


def _chart(name: str, time: Range1d, height: int) -> figure:
    """With a time axis, a value axis and lines across."""
    chart = figure(x_range=time, y_range=_range(), height=height, tools="", toolbar_location=None, title=None)
    _settle(chart, name)
    chart.min_border_left = 68
    chart.axis.major_label_policy = AllLabels()
    chart.xaxis.ticker = CustomJSTicker(major_code="return linemon.timeTicks(cb_data.start, cb_data.end)")
    chart.xaxis.formatter = CustomJSTickFormatter(code="return linemon.clock(tick, ticks)")
    chart.center = list(chart.ygrid)
    return chart


def _bare(name: str) -> Plot:
    """In pixels, without anything."""
    plot = Plot(x_range=_range(), y_range=_range(), height=40, toolbar_location=None, title=None)
    plot.min_border_left = plot.min_border_right = plot.min_border_top = plot.min_border_bottom = 0
    _settle(plot, name)
    return plot


def _settle(plot: Plot, name: str) -> None:
    plot.name, plot.sizing_mode, plot.lod_threshold = name, "stretch_both", None


def _range(name: str | None = None) -> Range1d:
    """One that the browser sets."""
    return Range1d(start=0, end=1, name=name)


def _draw(plot: Plot, name: str, glyph: Glyph, **more: str) -> None:
    """A glyph on a source of its own; `NAME of FIGURE` is how the browser finds the source."""
    fields = dict.fromkeys(("xs", "ys", "color", "dash", "alpha", *more.values()), ())
    source = ColumnDataSource({field: [] for field in fields}, name=f"{name} of {plot.name}")
    plot.add_glyph(source, glyph, nonselection_glyph=None, muted_glyph=None)
