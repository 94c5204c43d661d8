"""Sources and rows, for scripts and pages."""

from __future__ import annotations

import time

from linemon.access import Grant
from linemon.http import answers
from linemon.http.request import JSON, Request
from linemon.http.site import Family, Query, Route

CSV = "text/csv; charset=utf-8"


class Reads(Family):
    """What the store holds."""

    def sources(self, request: Request, query: Query, grant: Grant) -> None:
        self.site.give(request, answers.sources(self.house.store, time.time_ns()))

    def rows(self, request: Request, query: Query, grant: Grant) -> None:
        answer = answers.rows_asked(self.house.store, query, time.time_ns())
        if answer.is_csv:
            request.extra["X-Linemon-Cursor"] = str(answer.cursor)
        self.site.give(request, answer.pieces, CSV if answer.is_csv else JSON)

    routes = (
        Route("/api/sources", {"GET": sources}, parameters=()),
        Route(
            "/api/rows", {"GET": rows}, parameters=("source", "since", "start", "end", "points", "columns", "format")
        ),
    )
