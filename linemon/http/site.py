"""HTTP in and out: `http-plot-server`'s API for its clients, and a JSON API for scripts and pages.

A `POST` on any path not below ``/api`` holds points (`linemon.http.points`). Those that arrive together are appended
together, then answered. What is asked for is answered from the rings (`linemon.http.answers`).
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
import ssl
import time
from collections.abc import Callable, Coroutine, Iterator
from functools import lru_cache
from http import HTTPStatus
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from linemon.access import EVERYTHING, Grant, Tokens
from linemon.config import Address, Config
from linemon.doors import Count, House, Port, guards, reach
from linemon.errors import LineError, StoreError, UnknownSource
from linemon.http import answers, stream
from linemon.http.answers import BadQuestion, dumps
from linemon.http.points import Body, PointError, Points, parse
from linemon.http.server import Gone, HttpServer, Request

log = logging.getLogger(__name__)

TEXT, JSON = "text/plain", "application/json"
PLOT_PATHS = ("/", "/state", "/available_plots", "/plot_id", "/current_data")
API_PATHS = ("/api/sources", "/api/rows", "/api/health", "/api/stream", "/api/openapi.json")
READ = "GET, HEAD, OPTIONS"
MAX_PARAMETERS = 200
FULL = ("max_sources", "store_full")  # reasons that are not the sender's fault
STATUS_OF = dict.fromkeys(FULL, HTTPStatus.INSUFFICIENT_STORAGE) | {"token": HTTPStatus.FORBIDDEN}


class Refused(Exception):
    """A request that is answered with an error and nothing else."""

    def __init__(self, status: HTTPStatus, error: str, field: str | None = None) -> None:
        super().__init__(error)
        self.status, self.field = status, field


def start(house: House) -> Port:
    site = Site(house)
    log.info("HTTP on %s", site.address)
    return site


def check(config: Config) -> list[str]:
    return [f"HTTP:      {config.http.listen}, writing {guards(config, config.http)}, {reach(config.http.listen)}"]


class Site(Port):
    """The HTTP port."""

    def __init__(self, house: House) -> None:
        self._config = house.config.http
        self._store = house.store
        self._rings = house.intake.store
        self._status = house.status  # the collector's counters
        self._dashboard = house.config.dashboard.listen
        self._points = Points(house.intake)
        self._stored: list[Callable[[], None]] = []  # what to do after the next flush
        self._tasks: set[asyncio.Task[None]] = set()
        self._started = time.monotonic()
        self._known = (0, 0)  # sources, moves: they change with every new tag
        self._began_ms = self._new_tag_ms = now_ms()
        self._posted: dict[str, int] = {}  # sources, and when they last got a point by HTTP (ms)
        self._looked: dict[str, tuple[int, int]] = {}  # what _plot_id found: rows of a source, since when (ms)
        self.server = HttpServer(self._config, None, self._handle)
        self.renew(house.tokens, house.tls)

    @property
    def address(self) -> str:
        return str(Address(self._config.listen.host, self.server.port))

    def addresses(self) -> dict[str, str | list[str]]:
        return {"http": self.address}

    def counters(self) -> list[Count]:
        return [
            Count("http_connections", self.server.connections),
            Count("http_connections_refused", self.server.refused),
            Count("http_malformed", self.server.malformed),
            Count("strangers", self.server.door.strangers),
        ]

    def renew(self, tokens: Tokens, tls: ssl.SSLContext | None) -> None:
        """What requests must show from now on, and what is shown to connections."""
        self._tokens = tokens
        self._guards_host = self._config.listen.is_loopback and not tokens
        self.server.tls = tls if self._config.tls else None

    def update(self) -> None:
        """Look whether there are new tags; called whenever rows may have been stored."""
        known = len(self._rings.rings), self._rings.moves
        if known != self._known:
            self._known, self._new_tag_ms = known, now_ms()
            for seen in (self._posted, self._looked):
                if len(seen) > 2 * len(self._rings.rings):  # sources that are no more
                    seen.clear()

    def close(self) -> None:
        """Store what was taken, close the port and all connections."""
        self._flush()
        self.server.close()
        for task in self._tasks:
            task.cancel()

    # -- one request

    def _handle(self, request: Request) -> None:
        try:
            self._check_origin(request)
            if request.method == "POST" and not is_api(request.path):
                self._post(request)
            elif request.method == "OPTIONS":
                self._options(request)
            else:
                self._get(request)
        except Refused as refused:
            refuse(request, refused)
        except Exception:
            log.exception("a bug, met by %s %s", request.method, request.path[:100])
            refuse(request, Refused(HTTPStatus.INTERNAL_SERVER_ERROR, "a bug in linemon; its log says more"))

    def _check_origin(self, request: Request) -> None:
        """Keep web pages of other sites out, which a browser on this machine would let in."""
        origin, host = request.headers.get("origin"), request.headers.get("host", "")
        listed = self._config.allow_origins
        if self._guards_host and host and not is_ours(host, listed):
            raise Refused(HTTPStatus.FORBIDDEN, f"no such host here: {host[:100]!r}; [http] allow_origins may name it")
        if origin is None or urlsplit_host(origin) == host:
            return
        if origin in listed or "*" in listed:
            request.extra["Access-Control-Allow-Origin"] = origin
            request.extra["Vary"] = "Origin"
        elif request.method == "POST":
            raise Refused(HTTPStatus.FORBIDDEN, "a page of another site may not post; [http] allow_origins may name it")

    def _grant(self, request: Request) -> Grant:
        """What the request's token opens; Refused without one where one is asked for."""
        if not self._tokens:
            return EVERYTHING
        scheme, _, secret = request.headers.get("authorization", "").partition(" ")
        grant = self._tokens.find(secret.strip().encode("latin1", "replace")) if scheme.lower() == "bearer" else None
        if grant is None:
            request.extra["WWW-Authenticate"] = "Bearer"
            raise Refused(HTTPStatus.UNAUTHORIZED, "Authorization: Bearer TOKEN is missing, or the token is wrong")
        return grant

    def _options(self, request: Request) -> None:
        request.extra["Allow"] = READ if is_api(request.path) else READ + ", POST"
        if "Access-Control-Allow-Origin" in request.extra:
            request.extra["Access-Control-Allow-Methods"] = request.extra["Allow"]
            request.extra["Access-Control-Allow-Headers"] = "Authorization, Content-Type, Last-Event-ID"
        request.answer(HTTPStatus.NO_CONTENT, "", b"")

    def _spawn(self, request: Request, work: Coroutine[Any, Any, None]) -> None:
        """Let it go on beside the others."""

        async def guarded() -> None:
            try:
                await work
            except Refused as refused:
                refuse(request, refused)
            except (Gone, StoreError, OSError):  # the reader is gone, or what it read
                request.close()
            except Exception:
                log.exception("a bug, met by %s %s", request.method, request.path[:100])
                request.close()

        task = asyncio.get_running_loop().create_task(guarded())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- points in

    def _post(self, request: Request) -> None:
        now = time.time_ns()
        try:
            grant = self._grant(request)
        except Refused:
            self._points.refuse(request.session, LineError("token", "a POST without a right token"), now)
            raise
        if request.is_too_long:
            self._points.refuse(request.session, LineError("length", "a body longer than max_body"), now)
            raise Refused(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body is longer than max_body = {self._config.max_body} bytes"
            )
        if not request.headers.keys() & {"content-length", "transfer-encoding"}:
            self._points.refuse(request.session, LineError("syntax", "a POST without Content-Length"), now)
            raise Refused(HTTPStatus.LENGTH_REQUIRED, "a POST needs Content-Length, or chunks")
        try:
            body = parse(request.body, is_lines="ndjson" in request.headers.get("content-type", ""))
        except PointError as error:
            self._points.refuse(request.session, error, now, error.raw)
            raise Refused(HTTPStatus.BAD_REQUEST, str(error)) from None
        self._points.take(request.session, grant, body, now)
        if body.is_done:
            self._store_then(lambda: answer_post(request, body))
        else:
            self._spawn(request, self._post_long(request, grant, body, now))

    async def _post_long(self, request: Request, grant: Grant, body: Body, now: int) -> None:
        while not body.is_done:
            await asyncio.sleep(0)
            self._points.take(request.session, grant, body, now)
        self._store_then(lambda: answer_post(request, body))

    def _store_then(self, answer: Callable[[], None]) -> None:
        """Append what was taken, together with what else is taken in this turn of the loop; then answer."""
        if not self._stored:
            asyncio.get_running_loop().call_soon(self._flush)
        self._stored.append(answer)

    def _flush(self) -> None:
        stored, self._stored = self._stored, []
        self._posted.update(dict.fromkeys(self._points.flush(time.time_ns()), now_ms()))
        self.update()
        for answer in stored:
            answer()

    # -- answers out

    def _get(self, request: Request) -> None:
        path, method = request.path, request.method
        is_known = path in PLOT_PATHS + API_PATHS
        if method not in ("GET", "HEAD") and (is_known or method != "POST"):
            request.extra["Allow"] = READ if is_api(path) else READ + ", POST"
            raise Refused(HTTPStatus.METHOD_NOT_ALLOWED, f"{method[:20]!r} does nothing here")
        if not is_known:
            raise Refused(HTTPStatus.NOT_FOUND, f"nothing is at {path[:100]!r}")
        if path == "/":
            return self._to_dashboard(request)
        if not self._config.reads_are_open:
            self._grant(request)
        try:
            self._answer(request, path, query_of(request.query))
        except BadQuestion as error:
            raise Refused(HTTPStatus.BAD_REQUEST, str(error), error.field) from None
        except UnknownSource:  # its text names others, which is not for everybody
            field = "source" if is_api(path) else "tag"
            raise Refused(HTTPStatus.NOT_FOUND, f"there is no such {field}", field) from None

    def _answer(self, request: Request, path: str, query: dict[str, str]) -> None:
        now = time.time_ns()
        if path == "/state":
            self.update()
            request.answer(HTTPStatus.OK, TEXT, str(self._new_tag_ms).encode())
        elif path == "/plot_id":
            request.answer(HTTPStatus.OK, TEXT, str(self._plot_id(answers.text(query, "tag"))).encode())
        elif path == "/current_data":
            self._give(request, answers.current_data(self._store, query))
        elif path == "/available_plots":
            self._give(request, answers.tags(self._store))
        elif path == "/api/sources":
            self._give(request, answers.sources(self._store, now))
        elif path == "/api/rows":
            self._give(request, answers.rows_asked(self._store, query, now))
        elif path == "/api/health":
            request.answer(HTTPStatus.OK, JSON, dumps(self._health()))
        elif path == "/api/stream":
            said = request.headers.get("last-event-id", "")
            cursors = stream.start(self._store, parse_names(request.query), said)
            self._spawn(request, stream.follow(self._store, cursors, request))
        else:
            request.answer(HTTPStatus.OK, JSON, files("linemon.http").joinpath("openapi.json").read_bytes())

    def _give(self, request: Request, pieces: Iterator[bytes]) -> None:
        self._spawn(request, request.give(JSON, pieces))

    def _to_dashboard(self, request: Request) -> None:
        host = url_host("//" + request.headers.get("host", ""))
        port = self._dashboard.port
        request.extra["Location"] = f"http://{Address(host or self._dashboard.from_here.host, port)}/"
        request.answer(HTTPStatus.FOUND, TEXT, b"the dashboard\n")

    def _plot_id(self, tag: str) -> int:
        """When the tag last got a value, ms since the epoch.

        Rows do not keep when they came. It is known for posts; else it is the newest row's time if that lies between
        our last look and now, else now. What came before we started counts as of then.
        """
        source, _ = answers.tag_column(self._store, tag)
        rows, now = source.rows, now_ms()
        had, at = self._looked.get(source.name, (-1, self._began_ms))
        if rows == had:
            return at
        newest = (source.last(1).time.astype("int64") // 10**6).tolist()
        if (posted := self._posted.get(source.name, 0)) > at:
            at = posted
        elif newest and at < newest[0] <= now:
            at = newest[0]
        elif had >= 0:
            at = now
        self._looked[source.name] = rows, at
        return at

    def _health(self) -> dict[str, Any]:
        status = self._status()
        bad = status["bad_lines"]
        names = ("rejected", "dropped", "held_back", "connections", "http_connections")
        return {
            **{name: status.get(name, 0) for name in ("received", "stored", "duplicate", "lost", "ahead")},
            **{name: status[name] for name in names},
            "sources": len(self._store),
            "uptime_s": round(time.monotonic() - self._started, 3),
            "last_bad": {**bad[-1], "time": answers.iso_ns(bad[-1]["time"])} if bad else None,
        }


def answer_post(request: Request, body: Body) -> None:
    """What became of the points."""
    at, error = body.first_error or (0, None)
    if body.is_batch:
        first = {"index": at, "error": str(error), "field": error.field} if error else None
        said = {"accepted": body.accepted, "rejected": body.rejected, "first_error": first}
        request.answer(HTTPStatus.OK, JSON, dumps(said))
    elif error:
        refuse(request, Refused(STATUS_OF.get(error.reason, HTTPStatus.BAD_REQUEST), str(error), error.field))
    else:  # as http-plot-server says it
        request.answer(HTTPStatus.OK, TEXT, f"path: {request.path}received value: {body.value}".encode())


def refuse(request: Request, refused: Refused) -> None:
    if not request.is_gone:
        request.answer(refused.status, JSON, dumps({"error": str(refused), "field": refused.field}))


@lru_cache(maxsize=256)
def is_ours(host: str, origins: tuple[str, ...]) -> bool:
    """Whether a page of this Host can only come from here: DNS of strangers may say 127.0.0.1 too."""
    name = url_host("//" + host)
    try:
        ipaddress.ip_address(name)
    except ValueError:
        ours = ("localhost", os.uname().nodename.lower(), *map(url_host, origins))
        return name in ours or name.endswith(".localhost")
    return True


def is_api(path: str) -> bool:
    return path == "/api" or path.startswith("/api/")


def now_ms() -> int:
    return time.time_ns() // 10**6


def url_host(url: str) -> str:
    """The host of a URL, empty if it has none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def urlsplit_host(origin: str) -> str:
    return origin.partition("://")[2]


def query_of(query: str) -> dict[str, str]:
    return dict(reversed(pairs_of(query)))  # the first of a name counts


def parse_names(query: str) -> list[str]:
    return [value for name, value in pairs_of(query) if name == "source"]


def pairs_of(query: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(query, keep_blank_values=True, max_num_fields=MAX_PARAMETERS)
    except ValueError:
        raise Refused(HTTPStatus.BAD_REQUEST, f"more than {MAX_PARAMETERS} parameters") from None
