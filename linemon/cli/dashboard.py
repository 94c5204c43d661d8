"""`linemon dashboard`: the Bokeh app of `bokeh_app/` at `/`, with the settings of linemon.toml."""

from __future__ import annotations

import os
import signal
import sys
from hashlib import scrypt
from importlib.util import find_spec
from pathlib import Path

from bokeh.application import Application
from bokeh.application.handlers import DirectoryHandler
from bokeh.server.auth_provider import NullAuth
from bokeh.server.server import Server

from linemon.cli._login import Login
from linemon.config import Address, Config


def main(config: Config) -> int:
    """Serve the page until SIGINT or SIGTERM; OSError where the port cannot be had."""
    if config.file:
        os.environ["LINEMON_CONFIG"] = str(config.file.resolve())  # where the app looks for the store
    spec = find_spec("bokeh_app")
    assert spec
    assert spec.origin
    dashboard, listen = config.dashboard, config.dashboard.listen
    secret = None
    if dashboard.password:  # signs the cookies: made of the password, so that they outlive a restart and end with it
        secret = scrypt(dashboard.password.encode(), salt=b"linemon cookies", n=1 << 14, r=8, p=1).hex()
    origins = dashboard.allow_origins or tuple(f"{name}:{listen.port}" for name in ("localhost", "127.0.0.1"))
    try:
        server = Server(
            {"/": Application(DirectoryHandler(filename=str(Path(spec.origin).parent)))},
            address=listen.host,
            port=listen.port,
            allow_websocket_origin=list(origins),
            prefix=dashboard.prefix,
            auth_provider=Login(dashboard.password) if dashboard.password else NullAuth(),
            cookie_secret=secret,
            use_xheaders=listen.is_loopback,  # there a proxy may say for whom it asks, and whether in TLS
        )
    except OSError as error:
        raise OSError(error.errno, f"cannot listen on {listen}: {error.strerror}") from error
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: server.io_loop.add_callback_from_signal(server.io_loop.stop))
    server.start()
    shown = Address(listen.host, server.port or 0).from_here
    print(f"linemon: the page is at http://{shown}{server.prefix}/", file=sys.stderr, flush=True)
    server.io_loop.start()
    server.stop()
    return 0
