"""What Bokeh calls when the server has loaded the app."""

from __future__ import annotations

import logging

from bokeh.application.application import ServerContext


def on_server_loaded(server_context: ServerContext) -> None:
    """Keep the log short."""
    # When a tab is closed Bokeh calls whatever still refers to it a leak, and prints it whole: half a megabyte where it
    # meets a copy of sys.modules that inspect.signature has left for the garbage collector. A test of ours looks for
    # real leaks.
    logging.getLogger("bokeh.document.modules").setLevel(logging.CRITICAL)
