"""Builds one page: Bokeh runs this for every tab that opens it.

`?source=NAME` picks the source, `?window=5m` how much of it is shown.
"""

from __future__ import annotations

from bokeh.document import Document
from bokeh.io import curdoc
from bokeh.models import CustomJS
from bokeh.server.contexts import BokehSessionContext

from linemon.errors import LinemonError

from .charts import Charts
from .panels import group, unit_of
from .pump import pump
from .session import Session

WINDOWS = {"1m": 60, "5m": 300, "15m": 900, "1h": 3600, "all": 0}
MAX_NUMBERS = 100  # columns without a chart that are shown as numbers


def argument(doc: Document, name: str) -> str:
    """What the page's address says."""
    context = doc.session_context
    request = context.request if isinstance(context, BokehSessionContext) else None
    values = request.arguments.get(name) if request else None
    return values[0].decode(errors="replace") if values else ""


def choose(wanted: str) -> str | None:
    """The source to show: the one asked for, else this machine's own, else the first."""
    names = pump.names()
    if wanted:
        return wanted if wanted in names else None
    own = pump.config.agent.source
    strangers = (name for name in names if not name.startswith("linemon."))  # our own counters are nobody's first look
    return own if own in names else next(strangers, next(iter(names), None))


def build(doc: Document) -> None:
    """Put one page together."""
    wanted = argument(doc, "source")
    window = argument(doc, "window")
    window = window if window in WINDOWS else "5m"
    name = choose(wanted)
    try:
        source = pump.store[name] if name is not None else None
        columns, units = (source.columns, source.units) if source else ((), ())
    except (LinemonError, OSError):
        source, columns, units = None, (), ()
    panels, others = group(columns, units)
    charts = Charts(panels)
    session = Session(
        doc,
        pump,
        source,
        shape=(columns, units),
        drawn=charts.columns,
        window=WINDOWS[window],
        is_stale=lambda: source is None and choose(wanted) is not None,
    )
    for chart in charts.figures:
        doc.add_root(chart)
    models = {
        "pipe": session.pipe,
        "names": session.names,
        "wishes": session.wishes,
        "data": charts.data,
        "time": charts.time,
        "charts": charts.figures,
        "about": {
            "source": name or "",
            "columns": charts.columns,
            "units": [unit_of(*each) for each in zip(columns, units, strict=True)],
            "panels": [{"unit": panel.unit, "columns": panel.columns} for panel in panels],
        },
    }
    session.pipe.js_on_change("data", CustomJS(args=models, code="linemon.receive({{{}}})".format(", ".join(models))))
    # The page shows by itself what becomes of the connection, and starts anew when the server is back: Bokeh's way
    # would put a second document into the first, without its arrays.
    doc.config.reconnect_session = False
    doc.config.notify_connection_status = False
    doc.title = f"{name} · linemon" if name else "linemon"
    doc.template_variables.update(
        source=name,
        wanted=wanted,
        window=window,
        windows=WINDOWS,
        panels=[
            {
                "title": name if columns == ("value",) else panel.title,
                "unit": panel.unit,
                "lines": list(zip(panel.columns, panel.labels, strict=True)),
            }
            for panel in panels
        ],
        numbers=[(number, columns[number]) for number in others[:MAX_NUMBERS]],
        unshown=max(0, len(others) - MAX_NUMBERS),
        lines_to=pump.config.tcp.listen,
        trouble=pump.trouble,
    )


build(curdoc())
