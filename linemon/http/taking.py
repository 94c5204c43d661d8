"""Lines in the body of a request, taken as its bytes come: it is a connection of its own, and is never kept whole."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from http import HTTPStatus

from linemon.access import Grant
from linemon.errors import LineError
from linemon.http.request import PIECE_BYTES, Gone, Refused, Request
from linemon.http.site import Site
from linemon.lines.body import Body
from linemon.lines.session import Session


async def take(site: Site, request: Request, pieces: AsyncIterator[bytes], grant: Grant, body: Body) -> Session:
    """Take the lines of a body; the session says what became of them, its `body` what was wrong.

    Refused where the body was not taken to its end, or none could be looked at. Gone where it breaks off; whole lines
    before that are stored.
    """
    intake = site.house.intake
    session = Session(request.session.peer, site.house.config.tcp.max_line, body=body)
    session.grant = grant
    try:
        async for piece in pieces:
            at = 0
            while (at < len(piece) or session.held) and not session.is_over:
                if at:
                    await asyncio.sleep(0)
                now = time.time_ns()
                with intake.turn:
                    if session.held:
                        intake.resume(session, now)
                    else:
                        try:
                            intake.take(session, piece[at : at + PIECE_BYTES], now)
                        except LineError:  # not lines at all: counted, and told in the answer
                            session.shut()
                        at += PIECE_BYTES
                    intake.flush(now)
                site.house.rows_came()
    except Gone:
        intake.broke(session, time.time_ns())
        raise
    now = time.time_ns()
    if request.fault is None and not session.is_over:
        intake.end(session, now)
    intake.broke(session, now)
    intake.flush(now)
    site.house.rows_came()
    site.check_body(request, f"; {session.stored} line(s) before that are stored" if session.received else "")
    if session.dropped:
        raise Refused(HTTPStatus.INTERNAL_SERVER_ERROR, "a bug in linemon, or a failing disk; its log says more")
    return session


def is_full(request: Request, session: Session) -> bool:
    """Whether nothing was stored for want of room; the peer is told to come again then."""
    assert session.body
    if session.stored or not session.body.rejected["store_full"]:
        return False
    request.extra["Retry-After"] = "10"
    return True
