"""What there is to know of the collector itself: its counters, what this port takes, and where the page is."""

from __future__ import annotations

import time
from http import HTTPStatus
from importlib.resources import files
from urllib.parse import urlsplit

from linemon.access import Grant
from linemon.config import Address
from linemon.http.answers import dumps
from linemon.http.request import JSON, Request
from linemon.http.site import TEXT, Family, Query, Route, Site
from linemon.store.status import read_forwards
from linemon.when import iso_ns


class About(Family):
    """The counters, the description, the way to the page."""

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self._started = time.monotonic()

    def health(self, request: Request, query: Query, grant: Grant) -> None:
        status = self.house.status()
        bad = status["bad_lines"]
        names = ("rejected", "dropped", "held_back", "connections", "http_connections")
        said = {
            **{name: status.get(name, 0) for name in ("received", "stored", "duplicate", "lost", "ahead")},
            **{name: status[name] for name in names},
            "sources": len(self.house.store),
            "uptime_s": round(time.monotonic() - self._started, 3),
            "forwards": read_forwards(self.house.config.store.folder),
            "last_bad": {**bad[-1], "time": iso_ns(bad[-1]["time"])} if bad else None,
        }
        request.answer(HTTPStatus.OK, JSON, dumps(said))

    def description(self, request: Request, query: Query, grant: Grant) -> None:
        request.answer(HTTPStatus.OK, JSON, files("linemon.http").joinpath("openapi.json").read_bytes())

    def to_the_page(self, request: Request, query: Query, grant: Grant) -> None:
        dashboard = self.house.config.dashboard
        try:
            host = urlsplit("//" + request.headers.get("host", "")).hostname
        except ValueError:
            host = None
        address = Address(host or dashboard.listen.from_here.host, dashboard.listen.port)
        request.extra["Location"] = f"http://{address}{dashboard.path}"
        request.answer(HTTPStatus.FOUND, TEXT, b"the dashboard\n")

    routes = (
        Route("/", {"GET": to_the_page}, needs_token=False),
        Route("/api/health", {"GET": health}, parameters=()),
        Route("/api/openapi.json", {"GET": description}, parameters=()),
    )
