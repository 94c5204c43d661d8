"""What Bokeh calls when the server has loaded the app."""

from __future__ import annotations

from bokeh.application.application import ServerContext

from .pump import pump


def on_server_loaded(server_context: ServerContext) -> None:
    """Start the one pump that all pages share."""
    pump.start()
