"""Sources and rows, for scripts and pages."""

from __future__ import annotations

import time

from linemon.access import Grant
from linemon.http import answers
from linemon.http.request import Request
from linemon.http.site import Family, Query, Route


class Reads(Family):
    """What the store holds."""

    def sources(self, request: Request, query: Query, grant: Grant) -> None:
        self.site.give(request, answers.sources(self.house.store, time.time_ns()))

    def rows(self, request: Request, query: Query, grant: Grant) -> None:
        self.site.give(request, answers.rows_asked(self.house.store, query, time.time_ns()))

    routes = (
        Route("/api/sources", {"GET": sources}, parameters=()),
        Route("/api/rows", {"GET": rows}, parameters=("source", "since", "start", "end", "points")),
    )
