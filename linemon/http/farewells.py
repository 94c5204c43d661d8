"""Sources that are renamed or forgotten, by those whose token is an admin's."""

from __future__ import annotations

import json
import time
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

from linemon.access import Grant
from linemon.errors import LineError
from linemon.http.answers import BadQuestion, dumps, source_name
from linemon.http.points import show
from linemon.http.request import JSON, Refused, Request
from linemon.http.site import Family, Query, Route, Site
from linemon.lines.parting import Parting, Taken


class FarewellRoutes(Family):
    """What changes the list of sources."""

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self._parting = Parting(self.house.intake, self.house.store, self.house.rows_came, time.time_ns)

    def forget(self, request: Request, query: Query, grant: Grant) -> None:
        self._part(request, grant, None)

    def rename(self, request: Request, query: Query, grant: Grant) -> None:
        self._part(request, grant, said(self.site.body(request)))

    def _part(self, request: Request, grant: Grant, to: str | None) -> None:
        name = unquote(request.path.split("/")[3])
        if not grant.is_admin or not all(grant.covers(each) for each in (name, to) if each is not None):
            raise Refused(HTTPStatus.FORBIDDEN, "this needs a [[token]] for this source with admin = true")
        try:
            self._parting.part(name, to)
        except Taken as error:
            raise Refused(HTTPStatus.CONFLICT, str(error), "to") from None
        except LineError as error:
            raise Refused(HTTPStatus.INSUFFICIENT_STORAGE, str(error)) from None
        request.answer(HTTPStatus.OK, JSON, dumps({"source": name, "to": to}))

    routes = (
        Route("/api/sources/{name}", {"DELETE": forget}, parameters=()),
        Route("/api/sources/{name}/rename", {"POST": rename}, parameters=()),
    )


def said(body: bytes) -> str:
    """The new name in a body. BadQuestion names what is wrong with it."""
    try:
        fields: dict[str, Any] = json.loads(body)
        if not isinstance(fields, dict):
            raise ValueError(f"expected an object, not {show(fields)}")
    except (ValueError, RecursionError) as error:
        raise Refused(HTTPStatus.BAD_REQUEST, f'not JSON such as {{"to": "room1"}}: {error}') from None
    for key in fields.keys() - {"to"}:
        raise BadQuestion(key[:60], f"there is no {key[:60]!r}; there is: to")
    if not isinstance(to := fields.get("to"), str):
        raise BadQuestion("to", f"to is the name of a source, not {show(to)}")
    return source_name(to, "to")
