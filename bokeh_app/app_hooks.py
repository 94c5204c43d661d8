"""What Bokeh calls when the server has loaded the app."""

from __future__ import annotations

import logging

from bokeh.application.application import ServerContext
from bokeh.server.contexts import BokehSessionContext


def on_server_loaded(server_context: ServerContext) -> None:
    """Keep the log short."""
    # When a tab is closed Bokeh calls whatever still refers to it a leak, and prints it whole: half a megabyte where it
    # meets a copy of sys.modules that inspect.signature has left for the garbage collector. A test of ours looks for
    # real leaks.
    logging.getLogger("bokeh.document.modules").setLevel(logging.CRITICAL)


async def on_session_created(session_context: BokehSessionContext) -> None:
    """What takes long of a page, beside the loop, before `main.py` builds it; `cli/_page.py` waits for this."""
    from . import measure  # only now, as `main.py` does: the server is there before the store is read
    from .pump import pump
    from .view import parse

    request = session_context.request
    view = parse(request.arguments if request else {})
    if view.kind == "measure":
        await measure.prepare(session_context, pump, view)
