"""The Bokeh models of a page: one small figure per panel, on one data source that only the browser fills."""

from __future__ import annotations

from collections.abc import Sequence

from bokeh.models import (
    CDSView,
    ColumnDataSource,
    CrosshairTool,
    CustomJSTicker,
    CustomJSTickFormatter,
    Line,
    LinearScale,
    Range1d,
    Scatter,
    WheelZoomTool,
)
from bokeh.models.annotations import Span
from bokeh.plotting import figure

from .panels import Panel

MARKED_LINES = 8  # a source with more lines draws no markers: each costs as much as a line


class Charts:
    """The figures, and what they share. The page's script moves the ranges: they never travel to the server."""

    def __init__(self, panels: Sequence[Panel]) -> None:
        self.columns = [number for panel in panels for number in panel.columns]
        self.data = ColumnDataSource({"t": [], **{f"c{number}": [] for number in self.columns}}, name="data")
        self.time = Range1d(start=0, end=1, syncable=False)
        self.figures: list[figure] = []
        crosshair = Span(dimension="height", line_color="#8a94a3", line_width=1, line_dash="dotted")
        clock = CustomJSTickFormatter(code="return linemon.clock(tick, ticks)")
        times = CustomJSTicker(major_code="return linemon.timeTicks(cb_data.start, cb_data.end)")
        scale, view = LinearScale(), CDSView()
        for number, panel in enumerate(panels):
            chart = figure(
                name=f"chart{number}",
                sizing_mode="stretch_both",
                height=150,
                min_border_left=68,
                x_range=self.time,
                y_range=Range1d(start=0, end=1, syncable=False),
                tools="xpan",
                toolbar_location=None,
                lod_threshold=None,
                title=None,
                x_scale=scale,
                y_scale=scale,
            )
            # With the key, so that the wheel alone still scrolls the page.
            zoom = WheelZoomTool(dimensions="width", modifiers="ctrl")
            chart.add_tools(zoom, CrosshairTool(overlay=crosshair, dimensions="height"))
            chart.toolbar.active_scroll = zoom
            chart.xaxis.ticker, chart.xaxis.formatter = times, clock
            unit = {"unit": panel.unit}
            chart.yaxis.ticker = CustomJSTicker(
                args=unit, major_code="return linemon.ticks(cb_data.start, cb_data.end, unit)"
            )
            chart.yaxis.formatter = CustomJSTickFormatter(args=unit, code="return linemon.format(tick, unit)")
            chart.xgrid.visible = False
            for line, column in enumerate(panel.columns):
                name = f"c{column}"
                look = "solid" if line < 8 else "dashed"  # there are eight colours
                chart.add_glyph(
                    self.data,
                    Line(x="t", y=name, line_width=1.5, line_join="round", line_dash=look),
                    name=name,
                    view=view,
                    nonselection_glyph=None,
                    muted_glyph=None,
                )
                if len(self.columns) <= MARKED_LINES:  # a row with a gap on either side is a dot
                    chart.add_glyph(
                        self.data,
                        Scatter(x="t", y=name, size=5, line_width=0),
                        name=name,
                        view=view,
                        nonselection_glyph=None,
                        muted_glyph=None,
                    )
            self.figures.append(chart)
