"""InfluxDB's write API, of its versions 1, 2 and 3, and what its clients ask before they write.

Whatever writes to InfluxDB writes to linemon with nothing but the address changed, also below any prefix.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from http import HTTPStatus

from linemon import __version__
from linemon.access import Grant
from linemon.http.answers import BadQuestion, dumps
from linemon.http.request import BOM, JSON, Request
from linemon.http.site import Family, Query, Route, Site, query_of
from linemon.http.taking import is_full, take
from linemon.lines.body import Body
from linemon.lines.session import Session

VERSION = "1.8.10"  # of InfluxDB: clients choose by it what they ask for
UNITS = {
    **dict.fromkeys(("", "auto"), 0),
    **dict.fromkeys(("n", "ns", "nanosecond", "nanoseconds"), 1),
    **dict.fromkeys(("u", "µ", "us", "microsecond", "microseconds"), 10**3),
    **dict.fromkeys(("ms", "millisecond", "milliseconds"), 10**6),
    **dict.fromkeys(("s", "second", "seconds"), 10**9),
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
CREATE = re.compile(r"\s*CREATE\s+(?:DATABASE\s+(?:\"([^\"]+)\"|([^\s\";]+)))?", re.IGNORECASE)
SHOW = re.compile(r"\s*SHOW\s+DATABASES\s*;?\s*", re.IGNORECASE)
MAX_NAMES = 100  # of databases that are remembered
NAME_BYTES = 64
BLANKS = b" \t\r\n"


class InfluxWrite(Family):
    """Points in, and the answers that make clients write them."""

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self._names: dict[str, None] = {}  # of databases: some clients do not write to one that is not in the list

    # -- points in

    def write(self, request: Request, query: Query, grant: Grant) -> None:
        self.site.spawn(request, self._write(request, query, grant, takes_json=False))

    def write_v1(self, request: Request, query: Query, grant: Grant) -> None:
        self.site.spawn(request, self._write(request, query, grant, takes_json=True))

    async def _write(self, request: Request, query: Query, grant: Grant, *, takes_json: bool) -> None:
        request.extra["X-Influxdb-Version"] = VERSION
        start, pieces = b"", request.pieces()
        if takes_json:  # or it is a point of http-plot-server's, whose clients may post to any path
            async for piece in pieces:
                start += piece
                if said := start.removeprefix(BOM).lstrip(BLANKS):
                    if said.startswith((b"{", b"[")):
                        return await self._pass_on(request, start, pieces, query, grant)
                    break
        said_unit = query.get("precision", "")
        if said_unit not in UNITS:
            raise BadQuestion(
                "precision", f"precision is one of {', '.join(filter(None, UNITS))}, not {said_unit[:60]!r}"
            )
        body = Body(has_points=True, unit=UNITS[said_unit])
        session = await take(self.site, request, after(start, pieces), grant, body)
        if session.stored:
            self._know(query.get("db") or query.get("bucket") or "")
        self._answer(request, session, body)
        return None

    async def _pass_on(
        self, request: Request, start: bytes, pieces: AsyncIterator[bytes], query: Query, grant: Grant
    ) -> None:
        request.limit = self.site.config.max_body
        whole = [start] + [piece async for piece in pieces]
        request.parts.extend(whole)
        self.site.pass_on(request, self, query, grant)

    @staticmethod
    def _answer(request: Request, session: Session, body: Body) -> None:
        if not body.faults:
            request.answer(HTTPStatus.NO_CONTENT, "", b"")
            return
        number, error = body.faults[0]
        status = HTTPStatus.SERVICE_UNAVAILABLE if is_full(request, session) else HTTPStatus.BAD_REQUEST
        message = f"line {number}: {error}"
        dropped = body.rejected.total() - body.rejected["fields"]
        text = f"partial write: {message} dropped={dropped}"
        request.extra["X-Influxdb-Error"] = "".join(each if each.isprintable() else "?" for each in text)
        request.answer(status, JSON, dumps({"error": text, "code": "invalid", "message": message, "line": number}))

    # -- what clients ask before

    def ping(self, request: Request, query: Query, grant: Grant) -> None:
        request.extra["X-Influxdb-Version"] = VERSION
        if query.get("verbose", "0") in ("0", "false"):
            request.answer(HTTPStatus.NO_CONTENT, "", b"")
        else:
            request.answer(HTTPStatus.OK, JSON, dumps({"version": f"linemon {__version__}"}))

    def health(self, request: Request, query: Query, grant: Grant) -> None:
        request.extra["X-Influxdb-Version"] = VERSION
        said = {"name": "influxdb", "message": "ready for queries and writes", "status": "pass", "checks": []}
        request.answer(HTTPStatus.OK, JSON, dumps({**said, "version": f"linemon {__version__}"}))

    def query(self, request: Request, query: Query, grant: Grant) -> None:
        request.extra["X-Influxdb-Version"] = VERSION
        if request.method == "POST":
            if request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
                query = query_of(self.site.body(request).decode(errors="replace")) | query
            if "q" not in query:
                return self.site.pass_on(request, self, query, grant)
            self.site.body(request)
        asked = query.get("q", "")
        result: dict[str, object] = {"statement_id": 0}
        if created := CREATE.match(asked):
            self._know(created[1] or created[2] or "")
        elif SHOW.fullmatch(asked):
            names = list(dict.fromkeys(["linemon", *filter(None, [query.get("db", "")[:NAME_BYTES]]), *self._names]))
            result["series"] = [{"name": "databases", "columns": ["name"], "values": [[name] for name in names]}]
        else:
            request.answer(
                HTTPStatus.BAD_REQUEST, JSON, dumps({"error": "linemon takes writes only; read with /api/rows"})
            )
            return None
        return request.answer(HTTPStatus.OK, JSON, dumps({"results": [result]}))

    def _know(self, name: str) -> None:
        if name and len(self._names) < MAX_NAMES and len(name.encode(errors="replace")) <= NAME_BYTES:
            self._names[name] = None

    routes = (
        Route("*/write", {"POST": write_v1}, is_long=True),
        Route("*/api/v2/write", {"POST": write}, is_long=True),
        Route("*/api/v3/write_lp", {"POST": write}, is_long=True),
        Route("*/ping", {"GET": ping}, needs_token=False),
        Route("*/health", {"GET": health}, needs_token=False),
        Route("*/query", {"GET": query, "POST": query}, is_write=True),
    )


async def after(start: bytes, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    if start:
        yield start
    async for piece in pieces:
        yield piece
