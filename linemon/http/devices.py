"""Devices: the list, and settings that are wished of one."""

from __future__ import annotations

import json
import time
from http import HTTPStatus
from urllib.parse import unquote

from linemon.access import Grant
from linemon.errors import LineError
from linemon.http import answers
from linemon.http.answers import BadQuestion, dumps
from linemon.http.request import JSON, Refused, Request
from linemon.http.site import Family, Query, Route
from linemon.lines.devices import MAX_SETTINGS
from linemon.lines.managing import described, set_settings
from linemon.store.describe import natural


class DeviceRoutes(Family):
    """Who registered, and what they are to do."""

    def get(self, request: Request, query: Query, grant: Grant) -> None:
        devices = self.house.intake.devices
        known = sorted(devices.book, key=lambda each: natural(each.name))
        self.site.give(request, answers.listed(dumps(described(devices, device)) for device in known))

    def put(self, request: Request, query: Query, grant: Grant) -> None:
        if not grant.is_admin:
            raise Refused(HTTPStatus.FORBIDDEN, "this needs a [[token]] with admin = true")
        body, devices = self.site.body(request), self.house.intake.devices
        device = devices.book.named(unquote(request.path.split("/")[3]))
        if device is None:
            raise Refused(HTTPStatus.NOT_FOUND, "there is no such device", "name")
        try:
            changes = json.loads(body)
            if not isinstance(changes, dict) or len(body) > MAX_SETTINGS:
                raise ValueError(f"expected an object of at most {MAX_SETTINGS} bytes")
            json.dumps(changes, ensure_ascii=False, allow_nan=False).encode()
        except (ValueError, RecursionError) as error:
            raise Refused(HTTPStatus.BAD_REQUEST, f'not settings such as {{"interval": 0.5}}: {error}') from None
        try:
            done = set_settings(devices, device, changes, time.time_ns())
        except LineError as error:
            if error.reason == "store_full":
                raise Refused(HTTPStatus.INSUFFICIENT_STORAGE, str(error)) from None
            raise BadQuestion(next(iter(changes), "settings")[:60], str(error)) from None
        request.answer(HTTPStatus.OK, JSON, dumps(done))

    routes = (
        Route("/api/devices", {"GET": get}, parameters=()),
        Route("/api/devices/{name}/settings", {"PUT": put}, parameters=()),
    )
