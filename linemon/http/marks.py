"""Marks: moments with a text, of one source or of all."""

from __future__ import annotations

import json
import re
import time
from http import HTTPStatus
from typing import Any

from linemon.access import Grant
from linemon.errors import LineError
from linemon.http import answers
from linemon.http.answers import BadQuestion, dumps
from linemon.http.points import PointError, show, time_ns
from linemon.http.request import JSON, Refused, Request
from linemon.http.site import Family, Query, Route
from linemon.lines import wire
from linemon.store.marks import NOTE, Mark

KIND = re.compile("[A-Za-z]{1,16}")
KEYS = {"text", "time", "source", "kind"}
STATUS_OF = {"mark": HTTPStatus.TOO_MANY_REQUESTS, "store_full": HTTPStatus.INSUFFICIENT_STORAGE}


class MarkRoutes(Family):
    """Those that are kept, and new ones."""

    def get(self, request: Request, query: Query, grant: Grant) -> None:
        now = time.time_ns()
        start, end = (answers.moment(query, name, None, now) if name in query else None for name in ("start", "end"))
        source = answers.text(query, "source") if "source" in query else None
        found = self.house.intake.marking.marks.marks.between(start, end, source)
        self.site.give(request, answers.listed(dumps(mark.fields) for mark in found))

    def post(self, request: Request, query: Query, grant: Grant) -> None:
        for name in query.keys() - {"p"}:
            raise BadQuestion(name, f"a mark is said in the body, not by {name}")
        now = time.time_ns()
        mark = said(self.site.body(request), now)
        if not grant.may_mark(mark.source):
            to = repr(mark.source) if mark.source else "all sources"
            raise Refused(HTTPStatus.FORBIDDEN, f"this token may not write to {to}", "source")
        try:
            self.house.intake.marking.set(request.session, mark, now)
        except LineError as error:
            if error.reason == "mark":
                request.extra["Retry-After"] = "1"
            raise Refused(STATUS_OF[error.reason], str(error)) from None
        request.answer(HTTPStatus.OK, JSON, dumps(mark.fields))

    routes = (Route("/api/marks", {"GET": get, "POST": post}, parameters=("source", "start", "end")),)


def said(body: bytes, now: int) -> Mark:
    """The mark of a body, at `now` (ns) where it says no time. BadQuestion names what is wrong with it."""
    try:
        fields: dict[str, Any] = json.loads(body)
        if not isinstance(fields, dict):
            raise ValueError(f"expected an object, not {show(fields)}")
    except (ValueError, RecursionError) as error:
        raise Refused(HTTPStatus.BAD_REQUEST, f'not JSON of a mark: expected {{"text": string}}; {error}') from None
    for name in fields.keys() - KEYS:
        raise BadQuestion(name[:60], f"a mark has text, time, source and kind, not {name[:60]!r}")
    text, at, source, kind = (fields.get(name) for name in ("text", "time", "source", "kind"))
    kind = NOTE if kind is None else kind
    if not isinstance(text, str):
        raise BadQuestion("text", f"text is a string, not {show(text)}")
    if not isinstance(source, str | None):
        raise BadQuestion("source", f"source is the name of a source, or null for all, not {show(source)}")
    if not isinstance(kind, str) or not KIND.fullmatch(kind):
        raise BadQuestion("kind", f"kind is 1 to 16 letters, such as note, not {show(kind)}")
    try:
        ns = None if at is None else time_ns(at, "time")
    except PointError as error:
        raise BadQuestion("time", str(error)) from None
    try:
        text = wire.mark_text(text)
    except LineError as error:
        raise BadQuestion("text", str(error)) from None
    source = None if source is None else answers.source_name(source, "source")
    return Mark.of(now if ns is None else ns, text, source, kind)
