"""Lines of all kinds in the body of a request: `POST /api/lines`."""

from __future__ import annotations

from http import HTTPStatus

from linemon.access import Grant
from linemon.http.answers import dumps
from linemon.http.request import JSON, Request
from linemon.http.site import Family, Query, Route
from linemon.http.taking import is_full, take
from linemon.lines.body import Body


class Lines(Family):
    """The lines of a body, as those of a connection that ends with it."""

    def lines(self, request: Request, query: Query, grant: Grant) -> None:
        self.site.spawn(request, self._lines(request, grant))

    async def _lines(self, request: Request, grant: Grant) -> None:
        body = Body()
        session = await take(self.site, request, request.pieces(), grant, body)
        if not body.faults:
            request.answer(HTTPStatus.NO_CONTENT, "", b"")
            return
        errors = [{"line": number, "reason": each.reason, "error": str(each)} for number, each in body.faults]
        first = f"line {errors[0]['line']}: {errors[0]['error']}"
        said = {"error": first, "stored": session.stored, "rejected": session.rejected, "errors": errors}
        status = HTTPStatus.SERVICE_UNAVAILABLE if is_full(request, session) else HTTPStatus.BAD_REQUEST
        request.answer(status, JSON, dumps(said))

    routes = (Route("/api/lines", {"POST": lines}, parameters=(), is_long=True),)
