"""`linemon dashboard`: the Bokeh app of `bokeh_app/` at `/`, with the settings of linemon.toml."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from pathlib import Path

from linemon.config import Address, Config

HELP = "the page alone"
EXAMPLE = "linemon dashboard"
APP = Path(__file__).parents[2] / "bokeh_app"  # ours: a folder of a user's may have another module of that name


def options(parser: argparse.ArgumentParser) -> None:
    """It has none of its own."""


def run(config: Config, options: argparse.Namespace) -> int:
    """Serve the page until SIGINT or SIGTERM; OSError where the port cannot be had."""
    is_homeless = os.path.expanduser("~") == "~"
    if is_homeless:  # Bokeh's import looks there for settings, and is an error where there is no home directory
        os.environ["HOME"] = "/"
    from linemon.cli._page import serve

    if is_homeless:
        del os.environ["HOME"]
    if not options.debug:
        logging.getLogger("bokeh").setLevel(logging.WARNING)
        for name in ("tornado.access", "tornado.general"):  # what strangers send must not fill the log
            logging.getLogger(name).setLevel(logging.ERROR)
    if config.file:
        os.environ["LINEMON_CONFIG"] = str(config.file.resolve())  # where the app looks for the store
    sys.path.insert(0, str(APP.parent))
    dashboard, listen = config.dashboard, config.dashboard.listen
    try:
        server = serve(dashboard, APP)
    except OSError as error:
        raise OSError(error.errno, f"cannot listen on {listen}: {error.strerror}") from error
    for number in (signal.SIGINT, signal.SIGTERM):
        server.io_loop.asyncio_loop.add_signal_handler(number, server.io_loop.stop)  # type: ignore[attr-defined]
    server.start()
    shown = Address(listen.host, server.port or 0).from_here
    print(f"linemon: the page is at http://{shown}{dashboard.path}", file=sys.stderr, flush=True)
    server.io_loop.start()
    server.stop()
    return 0
