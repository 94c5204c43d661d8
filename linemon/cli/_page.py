"""The page's server: Bokeh's, and what stands before it."""

from __future__ import annotations

from hashlib import scrypt
from http import HTTPStatus
from pathlib import Path
from typing import Any

from bokeh.application import Application
from bokeh.application.application import SessionContext
from bokeh.application.handlers import DirectoryHandler
from bokeh.server.auth_provider import NullAuth
from bokeh.server.server import Server
from bokeh.server.views.auth_request_handler import AuthRequestHandler
from tornado.httputil import HTTPServerRequest
from tornado.routing import Matcher, Rule
from tornado.web import RequestHandler, authenticated

from linemon.access import Sites, is_from_there
from linemon.cli._login import Login
from linemon.config import DashboardConfig


class Strangers(Matcher):
    """Requests that may come from another site's page: by a name that is not of this machine, or with its Origin.

    tornado takes a websocket whose Origin is its Host, whatever that is; DNS can make any name stand for 127.0.0.1.
    """

    def __init__(self, dashboard: DashboardConfig) -> None:
        self._sites = Sites(dashboard.allow_origins)
        self._guards_host = dashboard.listen.is_loopback

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        host, origin = request.headers.get("Host", ""), request.headers.get("Origin")
        if self._guards_host and host and not self._sites.has_name(host):
            return {}
        is_ours = origin is None or is_from_there(origin, host) or self._sites.lists(origin)
        return None if is_ours else {}


class Refusal(RequestHandler):
    """What they are told."""

    def prepare(self) -> None:
        self.set_status(HTTPStatus.FORBIDDEN)
        self.set_header("Content-Type", "text/plain")
        self.finish("no such host here, or the page of another site; [dashboard] allow_origins may name it\n")


class Heads(Matcher):
    """HEAD of what Bokeh answers to GET alone."""

    def __init__(self, page: str) -> None:
        self._types = {page: "text/html", f"{page}metadata": "application/json"}

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        kind = self._types.get(request.path) if request.method == "HEAD" else None
        return {"target_kwargs": {"kind": kind}} if kind else None


class Head(AuthRequestHandler):
    """The same as GET without a body, and without a session for who only asks whether we are here."""

    def initialize(self, kind: str) -> None:
        self.kind = kind

    @authenticated
    def head(self) -> None:
        self.set_header("Content-Type", self.kind)


class Prepared(Application):
    """Waits for `on_session_created` of app_hooks.py to end, where it is a coroutine: Bokeh does not run it."""

    async def on_session_created(self, session_context: SessionContext) -> None:
        for handler in self.handlers:
            # mypy: said to be None, it is what the hook gave
            preparing: Any = await handler.on_session_created(session_context)  # type: ignore[func-returns-value]
            if preparing is not None:
                await preparing


def serve(dashboard: DashboardConfig, app: Path) -> Server:
    """A server of the app that lies in the folder `app`. OSError where the port cannot be had."""
    secret = None
    if dashboard.password:  # signs the cookies: made of the password, so that they outlive a restart and end with it
        secret = scrypt(dashboard.password.encode(), salt=b"linemon cookies", n=1 << 14, r=8, p=1).hex()
    server = Server(
        {"/": Prepared(DirectoryHandler(filename=str(app)))},
        address=dashboard.listen.host,
        port=dashboard.listen.port,
        prefix=dashboard.prefix,
        auth_provider=Login(dashboard) if dashboard.password else NullAuth(),
        cookie_secret=secret,
        use_xheaders=dashboard.listen.is_loopback,  # there a proxy may say for whom it asks, and whether in TLS
    )
    application = server._tornado
    application._websocket_origins = {
        "*"
    }  # its own list knows no scheme and no port left open: we look at each request
    before = [(Strangers(dashboard), Refusal), (Heads(dashboard.path), Head)]
    rules = application.default_router.rules
    rules[:0] = [application.default_router.process_rule(Rule(*each)) for each in before]
    return server
