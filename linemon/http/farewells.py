"""Sources that are renamed or forgotten."""

from __future__ import annotations

import json
import time
from http import HTTPStatus
from typing import Any

from linemon.access import Grant
from linemon.errors import LineError, UnknownSource
from linemon.http.answers import BadQuestion, dumps, source_name
from linemon.http.points import show
from linemon.http.request import JSON, Refused, Request
from linemon.http.site import Family, Query, Route


class FarewellRoutes(Family):
    """For those whose token is an admin's, wherever tokens are set."""

    def forget(self, request: Request, query: Query, grant: Grant) -> None:
        [name] = said(self.site.body(request), "source")
        self._part(request, grant, name, None)

    def rename(self, request: Request, query: Query, grant: Grant) -> None:
        name, to = said(self.site.body(request), "source", "to")
        self._may(grant, to)
        if self.house.store.knows(to):
            raise Refused(HTTPStatus.CONFLICT, f"there is a source {to[:100]!r}, or history of one", "to")
        self._part(request, grant, name, to)

    def _part(self, request: Request, grant: Grant, name: str, to: str | None) -> None:
        self._may(grant, name)
        if not self.house.store.knows(name):
            raise UnknownSource
        self.house.intake.flush(time.time_ns())  # rows that came before go with it
        self.house.rows_came()
        store = self.house.intake.store
        try:
            store.farewells.part(store, name, to)
        except LineError as error:
            raise Refused(HTTPStatus.INSUFFICIENT_STORAGE, str(error)) from None
        request.answer(HTTPStatus.OK, JSON, dumps({"source": name, "to": to}))

    @staticmethod
    def _may(grant: Grant, source: str) -> None:
        if not grant.may_part(source):
            raise Refused(HTTPStatus.FORBIDDEN, "this needs a [[token]] for this source with admin = true", "source")

    routes = (
        Route("/api/sources/forget", {"POST": forget}, parameters=()),
        Route("/api/sources/rename", {"POST": rename}, parameters=()),
    )


def said(body: bytes, *keys: str) -> list[str]:
    """The names of sources in a body. BadQuestion names what is wrong with it."""
    try:
        fields: dict[str, Any] = json.loads(body)
        if not isinstance(fields, dict):
            raise ValueError(f"expected an object, not {show(fields)}")
    except (ValueError, RecursionError) as error:
        raise Refused(HTTPStatus.BAD_REQUEST, f"not JSON: {error}") from None
    for key in fields.keys() - set(keys):
        raise BadQuestion(key[:60], f"there is no {key[:60]!r}; there are: {', '.join(keys)}")
    for key in keys:
        if not isinstance(fields.get(key), str):
            raise BadQuestion(key, f"{key} is the name of a source, not {show(fields.get(key))}")
    return [source_name(fields[key], key) for key in keys]
