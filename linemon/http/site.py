"""The HTTP port: who may ask it, and which file answers.

A family of routes is one file of this folder that holds a subclass of `Family`; it is found because it lies here. The
site looks at Host, Origin and token, finds the route, and gives it the request; errors are answered as JSON.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import ssl
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from http import HTTPStatus
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, ClassVar
from urllib.parse import parse_qsl

import linemon.http
from linemon.access import Grant, Sites, Tokens, is_from_there
from linemon.config import Address, Config
from linemon.doors import Count, House, Port, guards, reach
from linemon.errors import LineError, StoreError, UnknownSource
from linemon.http.answers import BadQuestion
from linemon.http.request import JSON, Gone, Refused, Request
from linemon.http.server import HttpServer
from linemon.logs import Seldom

log = logging.getLogger(__name__)

TEXT = "text/plain"
MAX_PARAMETERS = 200
BODY_FAULTS = {
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: ("length", "the body is longer than {limit} bytes"),
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: ("syntax", "Content-Encoding {coding!r} is not taken: expected gzip, or none"),
    HTTPStatus.BAD_REQUEST: ("syntax", "the body is not the gzip that Content-Encoding says, or is cut"),
    HTTPStatus.LENGTH_REQUIRED: ("syntax", "a POST needs Content-Length, or chunks"),
}

Query = dict[str, str]
# A method of the family; it may raise Refused, BadQuestion, UnknownSource.
Handler = Callable[[Any, Request, Query, Grant], None]


@dataclass(frozen=True)
class Route:
    """What is done at a path, by method (``GET`` stands for HEAD too).

    ``*/write`` is every path that ends so, unless it is a route itself; ``*`` every other one that is not below /api.
    ``{name}`` is one piece of a path between two slashes, percent-encoded.
    """

    path: str
    methods: dict[str, Handler]
    needs_token: bool = True  # where reading, or writing, asks for one
    parameters: tuple[str, ...] | None = None  # those there are; None: others do no harm
    is_long: bool = False  # bodies up to max_write_body, which the family takes as they come, by `Request.pieces`
    is_write: bool = False  # a GET asks for what writing asks for


class Family:
    """The routes of one file, and what they share."""

    routes: ClassVar[tuple[Route, ...]] = ()

    def __init__(self, site: Site) -> None:
        self.site = site
        self.house = site.house

    def rows_came(self) -> None:
        """Called whenever rows may have been stored."""

    def close(self) -> None:
        """Called before the port closes."""


def families() -> list[type[Family]]:
    """The families of all files here."""
    modules = [import_module(f"linemon.http.{each.name}") for each in iter_modules(linemon.http.__path__)]
    return [
        found
        for module in modules
        for found in vars(module).values()
        if isinstance(found, type)
        and issubclass(found, Family)
        and found.__module__ == module.__name__
        and found.routes
    ]


def start(house: House) -> Port:
    site = Site(house)
    log.info("HTTP on %s", site.address)
    return site


def check(config: Config) -> list[str]:
    return [f"HTTP:      {config.http.listen}, writing {guards(config, config.http)}, {reach(config.http.listen)}"]


class Site(Port):
    """The HTTP port."""

    def __init__(self, house: House) -> None:
        """Listen; OSError where the port cannot be had."""
        self.house = house
        self.config = house.config.http
        self._sites = Sites(self.config.allow_origins)
        self._has_name = lru_cache(maxsize=256)(self._sites.has_name)
        self._told_of_hosts = Seldom()
        self._tasks: set[asyncio.Task[None]] = set()
        self._families = [family(self) for family in families()]
        routes = [(route, family) for family in self._families for route in family.routes]
        self._exact = {route.path: (route, family) for route, family in routes if not {*route.path} & {*"*{"}}
        self._named = [(route.path.split("{name}"), route, family) for route, family in routes if "{" in route.path]
        endings = [(route.path.removeprefix("*"), route, family) for route, family in routes if "*" in route.path]
        self._endings = sorted(endings, key=lambda each: -len(each[0]))

        self.server = HttpServer(self.config, None, self._begin, self._handle)
        self.renew(house.tokens, house.tls)

    @property
    def address(self) -> str:
        return str(Address(self.config.listen.host, self.server.port))

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
        self.server.tls = tls if self.config.tls else None

    def update(self) -> None:
        for family in self._families:
            family.rows_came()

    def close(self) -> None:
        """Store what was taken, close the port and all connections."""
        for family in self._families:
            family.close()
        self.server.close()
        for task in self._tasks:
            task.cancel()

    # -- for the families

    def spawn(self, request: Request, work: Coroutine[Any, Any, None]) -> None:
        """Let it go on beside the others."""

        async def guarded() -> None:
            try:
                await work
            except Refused as refused:
                request.refuse(refused)
            except BadQuestion as error:
                request.refuse(Refused(HTTPStatus.BAD_REQUEST, str(error), error.field))
            except (Gone, StoreError, OSError):  # the reader is gone, or what it read
                request.close()
            except Exception:
                log.exception("a bug, met by %s %s", request.method, request.path[:100])
                request.close()

        task = asyncio.get_running_loop().create_task(guarded())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: work.close())  # where it was cancelled before its first step

    def give(self, request: Request, pieces: Iterator[bytes], content_type: str = JSON) -> None:
        """Answer in pieces, made as the reader takes them."""
        self.spawn(request, request.give(content_type, pieces))

    def body(self, request: Request) -> bytes:
        """The body of a POST, unpacked; Refused, and counted as one rejected line, where it cannot be taken."""
        self.check_body(request)
        return request.body

    def check_body(self, request: Request, said: str = "") -> None:
        """Refused, and counted as one rejected line, where a body was not taken to its end; `said` what of it was."""
        fault = request.fault
        if fault is None and not request.headers.keys() & {"content-length", "transfer-encoding"}:
            fault = HTTPStatus.LENGTH_REQUIRED
        if fault is None:
            return
        reason, text = BODY_FAULTS[fault]
        setting = "max_body" if request.limit == self.config.max_body else "max_write_body"
        coding = request.headers.get("content-encoding", "")[:60]
        text = text.format(limit=f"{setting} = {request.limit}", coding=coding) + said
        self.reject(request, LineError(reason, text))
        raise Refused(fault, text)

    def reject(self, request: Request, error: LineError, raw: bytes = b"") -> None:
        """Count a request that holds nothing to be looked at, as one line: broken, too long, without a token."""
        session = request.session
        session.lines += 1
        self.house.intake.accounts.reject(session, error, raw, time.time_ns(), source="")

    # -- one request

    def _begin(self, request: Request) -> None:
        """The head of a request is there: who asks, and what for."""
        request.limit = self.config.max_body
        try:
            self._check_names(request)
            routes = self._routes(request.path)
            request.act = (
                partial(self._options, request, routes) if request.method == "OPTIONS" else self._found(request, routes)
            )
        except Exception as error:
            request.error = error

    def _handle(self, request: Request) -> None:
        try:
            if request.error:
                raise request.error
            if request.act:
                request.act()
        except Refused as refused:
            request.refuse(refused)
        except BadQuestion as error:
            request.refuse(Refused(HTTPStatus.BAD_REQUEST, str(error), error.field))
        except UnknownSource:  # its text names others, which is not for everybody
            field = "source" if is_api(request.path) else "tag"
            request.refuse(Refused(HTTPStatus.NOT_FOUND, f"there is no such {field}", field))
        except Exception:
            log.exception("a bug, met by %s %s", request.method, request.path[:100])
            request.refuse(Refused(HTTPStatus.INTERNAL_SERVER_ERROR, "a bug in linemon; its log says more"))

    def _check_names(self, request: Request) -> None:
        """Keep web pages of other sites out, which a browser on this machine would let in."""
        origin, host = request.headers.get("origin"), request.headers.get("host", "")
        if host and self.config.listen.is_loopback and not self._has_name(host) and self._grant(request) is None:
            self._tell_of_host(host)
            raise Refused(HTTPStatus.FORBIDDEN, f"no such host here: {host[:100]!r}; [http] allow_origins may name it")
        if origin is None or is_from_there(origin, host):
            return
        if self._sites.lists(origin):
            request.extra["Access-Control-Allow-Origin"] = origin
            request.extra["Vary"] = "Origin"
        elif request.method in ("POST", "PUT", "DELETE"):
            raise Refused(HTTPStatus.FORBIDDEN, "a page of another site may not post; [http] allow_origins may name it")

    def _tell_of_host(self, host: str) -> None:
        if self._told_of_hosts.due():
            log.warning("refused a request for the host %r, which is not in [http] allow_origins", host[:100])

    def _routes(self, path: str) -> list[tuple[Route, Family]]:
        """What may be meant by a path, the closest first."""
        exact = self._exact.get(path)
        named = [
            (route, family)
            for (start, end), route, family in self._named
            if path.startswith(start) and path.endswith(end) and "/" not in path[len(start) : len(path) - len(end)]
        ]
        return ([exact] if exact else named) + [
            (route, family)
            for ending, route, family in self._endings
            if path.endswith(ending) and (ending or not is_api(path))
        ]

    def _options(self, request: Request, routes: list[tuple[Route, Family]]) -> None:
        request.extra["Allow"] = allowed(routes)
        if "Access-Control-Allow-Origin" in request.extra:
            request.extra["Access-Control-Allow-Methods"] = request.extra["Allow"]
            request.extra["Access-Control-Allow-Headers"] = "Authorization, Content-Type, Last-Event-ID"
        request.answer(HTTPStatus.NO_CONTENT, "", b"")

    def _found(self, request: Request, routes: list[tuple[Route, Family]]) -> Callable[[], None]:
        """What answers a request."""
        method = "GET" if request.method == "HEAD" else request.method
        found = next(((route, family) for route, family in routes if method in route.methods), None)
        if found is None:
            if not any(route.path != "*" or method != "GET" for route, _ in routes):
                raise Refused(HTTPStatus.NOT_FOUND, f"nothing is at {request.path[:100]!r}")
            request.extra["Allow"] = allowed(routes)
            raise Refused(HTTPStatus.METHOD_NOT_ALLOWED, f"{request.method[:20]!r} does nothing here")
        (route, family), grant = found, self._tokens.open
        is_write = method != "GET" or route.is_write
        if route.needs_token and self._tokens and (is_write or not self.config.reads_are_open):
            grant = self._granted(request)
        query = query_of(request.query)
        if route.parameters is not None:
            for name in query.keys() - {*route.parameters, "p"}:
                known = ", ".join(route.parameters) or "none"
                raise BadQuestion(name[:60], f"{name[:60]!r} is no parameter here; there are: {known}")
        if route.is_long:
            request.limit, request.is_long = self.config.max_write_body, True
        return partial(route.methods[method], family, request, query, grant)

    def pass_on(self, request: Request, family: Family, query: Query, grant: Grant) -> None:
        """Let the next family answer a POST, which holds nothing for this one. Refused where there is none."""
        for route, other in self._routes(request.path):
            if other is not family and "POST" in route.methods:
                return route.methods["POST"](other, request, query, grant)
        raise Refused(HTTPStatus.NOT_FOUND, f"nothing takes this at {request.path[:100]!r}")

    def _granted(self, request: Request) -> Grant:
        """What the request's token opens; Refused without one."""
        grant = self._grant(request)
        if grant is None:
            if request.method == "POST" and not secrets_of(request):
                self.reject(request, LineError("token", "a POST without a token"))
            request.extra["WWW-Authenticate"] = "Bearer"
            raise Refused(HTTPStatus.UNAUTHORIZED, "Authorization: Bearer TOKEN is missing, or the token is wrong")
        return grant

    def _grant(self, request: Request) -> Grant | None:
        """What the request's token opens; None without one, and a wrong one is counted as a rejected line."""
        secrets = secrets_of(request) if self._tokens else []
        for secret in secrets:
            if (grant := self._tokens.find(secret)) is not None:
                return grant
        if secrets:
            self.reject(request, LineError("token", "a request with a wrong token"))
        return None


def secrets_of(request: Request) -> list[bytes]:
    """What the request may mean as its token, as Bearer, or as InfluxDB's clients say it; none if it says none."""
    scheme, _, said = request.headers.get("authorization", "").partition(" ")
    scheme, secret = scheme.lower(), said.strip().encode("latin1", "replace")
    if scheme == "bearer":
        return [secret]
    if scheme == "token":  # or user:password
        return [secret, secret.partition(b":")[2]] if b":" in secret else [secret]
    if scheme == "basic":
        try:
            return [base64.b64decode(secret, validate=True).partition(b":")[2]]
        except ValueError:
            return [b""]
    if scheme:  # it says something, which is none of ours
        return [b""]
    password = query_of(request.query).get("p")
    return [password.encode(errors="replace")] if password else []


def allowed(routes: list[tuple[Route, Family]]) -> str:
    """The methods there are, as a header says it."""
    methods = {method for route, _ in routes for method in route.methods}
    return ", ".join(sorted({*methods, "OPTIONS"} | ({"HEAD"} if "GET" in methods else set())))


def is_api(path: str) -> bool:
    return path == "/api" or path.startswith("/api/")


def query_of(query: str) -> Query:
    return dict(reversed(pairs_of(query))) if query else {}  # the first of a name counts


def pairs_of(query: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(query, keep_blank_values=True, max_num_fields=MAX_PARAMETERS)
    except ValueError:
        raise Refused(HTTPStatus.BAD_REQUEST, f"more than {MAX_PARAMETERS} parameters") from None
