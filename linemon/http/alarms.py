"""Alarms: what fires, as the part `alarms` last wrote it; what people say to it is handed on to the part."""

from __future__ import annotations

import asyncio
import json
from http import HTTPStatus
from typing import Any

from linemon.access import Grant
from linemon.errors import LinemonError
from linemon.http.answers import BadQuestion, dumps
from linemon.http.request import JSON, Refused, Request
from linemon.http.site import Family, Query, Route
from linemon.store.asking import NotRunning, ask
from linemon.store.status import ALARMS_OLD_S, read_alarms

STATES = ("pending", "firing", "clearing", "ok")
KEYS = {"ack": ({"n", "key"}, {"why"}), "silence": ({"pattern", "for"}, {"why"})}  # needed (of ack: one), allowed


class AlarmRoutes(Family):
    """The list, and what changes it."""

    def get(self, request: Request, query: Query, grant: Grant) -> None:
        found, age = read_alarms(self.house.config.store.folder)
        if age > ALARMS_OLD_S:
            raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, "alarms are not running")
        state = query.get("state")
        if state is not None and state not in STATES:
            raise BadQuestion("state", f"state is one of {', '.join(STATES)}, not {state[:60]!r}")
        if query.get("all", "0") not in ("0", "1"):
            raise BadQuestion("all", f"all is 0 or 1, not {query['all'][:60]!r}")
        for name in ("alarm", "source", "state"):
            if name in query:
                found = [each for each in found if each[name] == query[name]]
        if state is None and query.get("all") != "1":
            found = [each for each in found if each["state"] != "ok"]
        request.answer(HTTPStatus.OK, JSON, dumps(found))

    def ack(self, request: Request, query: Query, grant: Grant) -> None:
        self._hand_on("ack", request, grant)

    def silence(self, request: Request, query: Query, grant: Grant) -> None:
        self._hand_on("silence", request, grant)

    def _hand_on(self, do: str, request: Request, grant: Grant) -> None:
        if not grant.is_admin:
            raise Refused(HTTPStatus.FORBIDDEN, "this needs a [[token]] with admin = true")
        fields = said(do, self.site.body(request))
        self.site.spawn(request, self._ask(request, {"by": "http", **fields, "do": do}))

    async def _ask(self, request: Request, command: dict[str, Any]) -> None:
        try:
            done = await asyncio.to_thread(ask, self.house.config.store.folder, command)
        except NotRunning:
            raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, "alarms are not running") from None
        except LinemonError as error:
            raise Refused(HTTPStatus.BAD_REQUEST, str(error)) from None
        request.answer(HTTPStatus.OK, JSON, dumps({"said": done}))

    routes = (
        Route("/api/alarms", {"GET": get}, parameters=("alarm", "source", "state", "all")),
        Route("/api/alarms/ack", {"POST": ack}, parameters=()),
        Route("/api/alarms/silence", {"POST": silence}, parameters=()),
    )


def said(do: str, body: bytes) -> dict[str, Any]:
    """The fields of a body. BadQuestion names what is wrong with one."""
    needed, more = KEYS[do]
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refused(HTTPStatus.BAD_REQUEST, f"not JSON: {error}") from None
    if not isinstance(fields, dict):
        raise Refused(HTTPStatus.BAD_REQUEST, "not a JSON object")
    for name in fields.keys() - needed - more:
        raise BadQuestion(name[:60], f"there is no {name[:60]!r}; there are: {', '.join(sorted(needed | more))}")
    for name, value in fields.items():
        if isinstance(value, bool) or not isinstance(value, (str, int, float) if name in ("n", "for") else str):
            raise BadQuestion(name, f"{name} is a string, not {json.dumps(value)[:60]}")
    missing = needed - fields.keys()
    if do == "ack" and len(missing) != 1:
        raise BadQuestion("n", "expected n, the number of an incident, or its key")
    if do == "silence" and missing:
        raise BadQuestion(min(missing), "expected a pattern, and for how long: for")
    return fields
