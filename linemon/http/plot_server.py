"""`http-plot-server`'s API for its clients: points in by a POST on any path, and what they ask for.

Points that arrive together are appended together, then answered.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from http import HTTPStatus
from itertools import count

from linemon.access import Grant
from linemon.http import answers
from linemon.http.answers import dumps
from linemon.http.points import Body, PointError, PointIntake, parse
from linemon.http.request import JSON, Refused, Request
from linemon.http.site import TEXT, Family, Query, Route, Site

FLUSH_TURNS = 10  # of a long body: what waits to be stored is bounded
FULL = ("max_sources", "store_full")  # reasons that are not the sender's fault
STATUS_OF = dict.fromkeys(FULL, HTTPStatus.INSUFFICIENT_STORAGE) | {"token": HTTPStatus.FORBIDDEN}


class PlotServer(Family):
    """The points, and its clocks: it says when a tag was new, and when it last got a value."""

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self._points = PointIntake(site.house.intake)
        self._rings = site.house.intake.store
        self._stored: list[Callable[[], None]] = []  # what to do after the next flush
        self._known = (0, 0)  # sources, moves: they change with every new tag
        self._began_ms = self._new_tag_ms = now_ms()
        self._posted: dict[str, int] = {}  # sources, and when they last got a point by HTTP (ms)
        self._looked: dict[str, tuple[int, int]] = {}  # what plot_id found: rows of a source, since when (ms)

    def rows_came(self) -> None:
        """Look whether there are new tags."""
        known = len(self._rings.rings), self._rings.moves
        if known != self._known:
            self._known, self._new_tag_ms = known, now_ms()
            len(self.house.store)  # reads what is new in the catalog: all at once would take its time
            for seen in (self._posted, self._looked):
                if len(seen) > 2 * len(self._rings.rings):  # sources that are no more
                    seen.clear()

    def close(self) -> None:
        """Store what was taken."""
        self._flush()

    # -- points in

    def post(self, request: Request, query: Query, grant: Grant) -> None:
        now = time.time_ns()
        data = self.site.body(request)
        try:
            body = parse(data, is_lines="ndjson" in request.headers.get("content-type", ""))
        except PointError as error:
            self.site.reject(request, error, error.raw)
            raise Refused(HTTPStatus.BAD_REQUEST, str(error)) from None
        self._points.take(request.session, grant, body, now)
        if body.is_done:
            self._store_then(lambda: answer_post(request, body))
        else:
            self.site.spawn(request, self._post_long(request, grant, body, now))

    async def _post_long(self, request: Request, grant: Grant, body: Body, now: int) -> None:
        for turn in count(1):
            if body.is_done:
                break
            if turn % FLUSH_TURNS == 0:
                self._flush()
            await asyncio.sleep(0)
            self._points.take(request.session, grant, body, now)
        self._store_then(lambda: answer_post(request, body))

    def _store_then(self, answer: Callable[[], None]) -> None:
        """Append what was taken, together with what else is taken in this turn of the loop; then answer."""
        if not self._stored:
            asyncio.get_running_loop().call_soon(self._flush)
        self._stored.append(answer)

    def _flush(self) -> None:
        stored, self._stored = self._stored, []
        self._posted.update(dict.fromkeys(self._points.flush(time.time_ns()), now_ms()))
        self.site.update()
        for answer in stored:
            answer()

    # -- answers out

    def state(self, request: Request, query: Query, grant: Grant) -> None:
        self.site.update()
        request.answer(HTTPStatus.OK, TEXT, str(self._new_tag_ms).encode())

    def available_plots(self, request: Request, query: Query, grant: Grant) -> None:
        self.site.give(request, answers.tags(self.house.store))

    def current_data(self, request: Request, query: Query, grant: Grant) -> None:
        self.site.give(request, answers.current_data(self.house.store, query, time.time_ns()))

    def plot_id(self, request: Request, query: Query, grant: Grant) -> None:
        """When the tag last got a value, ms since the epoch.

        Rows do not keep when they came. It is known for posts; else it is the newest row's time if that lies between
        our last look and now, else now. What came before we started counts as of then.
        """
        source, _ = answers.tag_column(self.house.store, answers.text(query, "tag"))
        rows, now = source.rows, now_ms()
        had, at = self._looked.get(source.name, (-1, self._began_ms))
        if rows != had:
            newest = (source.since(max(0, rows - 1), most=1).time.astype("int64") // 10**6).tolist()
            if (posted := self._posted.get(source.name, 0)) > at:
                at = posted
            elif newest and at < newest[0] <= now:
                at = newest[0]
            elif had >= 0:
                at = now
            self._looked[source.name] = rows, at
        request.answer(HTTPStatus.OK, TEXT, str(at).encode())

    routes = (
        Route("/state", {"GET": state}),
        Route("/available_plots", {"GET": available_plots}),
        Route("/current_data", {"GET": current_data}),
        Route("/plot_id", {"GET": plot_id}),
        Route("*", {"POST": post}),
    )


def answer_post(request: Request, body: Body) -> None:
    """What became of the points."""
    at, error = body.first_error or (0, None)
    if body.is_batch:
        first = {"index": at, "error": str(error), "field": error.field} if error else None
        said = {"accepted": body.accepted, "rejected": body.rejected, "first_error": first}
        request.answer(HTTPStatus.OK, JSON, dumps(said))
    elif error:
        request.refuse(Refused(STATUS_OF.get(error.reason, HTTPStatus.BAD_REQUEST), str(error), error.field))
    else:  # as http-plot-server says it
        request.answer(HTTPStatus.OK, TEXT, f"path: {request.path}received value: {body.value}".encode())


def now_ms() -> int:
    return time.time_ns() // 10**6
