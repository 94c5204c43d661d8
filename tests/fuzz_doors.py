"""The doors that take lines which have an end, in this process: what the fuzzer gives its inputs to but connections.

UDP's port takes datagrams as it does when they come, and `http/taking.py` bodies as they come from many requests at
the same time; between the socket and these is only what tests/doors.py tests.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import AsyncIterator, Generator, Sequence
from types import SimpleNamespace
from typing import Any

from linemon.access import EVERYTHING, Tokens
from linemon.config import Address, Config
from linemon.doors import House
from linemon.http import taking
from linemon.http.request import Gone
from linemon.inputs.udp import UdpPort
from linemon.lines.body import Body
from linemon.lines.intake import Intake
from linemon.lines.session import Session
from tests import reference

# How the reference has what each door makes of a body.
BODIES = {
    "udp": reference.Body(is_datagram=True),
    "lines": reference.Body(),
    "points": reference.Body(has_points=True),
    "points in ms": reference.Body(has_points=True, unit=10**6),
    "points in hours": reference.Body(has_points=True, unit=3600 * 10**9),
}


class Watched(Intake):
    """An intake that remembers who spoke."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.seen: dict[Session, None] = {}

    def take(self, session: Session, data: bytes, now: int) -> None:
        self.seen[session] = None
        super().take(session, data, now)


class Requests:
    """Bodies of requests that are on their way at the same time."""

    def __init__(self, intake: Intake, door: str, max_line: int, now: int) -> None:
        tcp = SimpleNamespace(max_line=max_line)
        house = SimpleNamespace(intake=intake, config=SimpleNamespace(tcp=tcp), rows_came=lambda: None)
        self._site: Any = SimpleNamespace(house=house, check_body=lambda request, said: None)
        self._door = BODIES[door]
        self._open: dict[int, tuple[deque[bytes | None], Generator[None, None, Any]]] = {}
        vars(taking)["time"] = SimpleNamespace(time_ns=lambda: now, thread_time=time.thread_time)

    def hear(self, number: int, peer: str, data: bytes, end: str) -> None:
        """Some more of a body; `end` says that it is over, or has broken off."""
        if number not in self._open:
            request: Any = SimpleNamespace(session=SimpleNamespace(peer=peer), fault=None)
            pieces: deque[bytes | None] = deque()
            body = Body(has_points=self._door.has_points, unit=self._door.unit)
            taken = taking.take(self._site, request, self._pieces(pieces), EVERYTHING, body)
            self._open[number] = pieces, taken.__await__()
        pieces, running = self._open[number]
        if data:
            pieces.append(data)
        if end:
            pieces.append(b"" if end == "clean" else None)
        try:
            running.send(None)
            while pieces:
                running.send(None)
        except (StopIteration, Gone):
            del self._open[number]

    @staticmethod
    async def _pieces(pieces: deque[bytes | None]) -> AsyncIterator[bytes]:
        """Each as it comes; an empty one is the end, None the end of the connection."""
        while True:
            while not pieces:
                await Pause()
            piece = pieces.popleft()
            if piece is None:
                raise Gone
            if piece == b"":
                return
            yield piece


class Pause:
    """Until `send` is called again."""

    def __await__(self) -> Generator[None, None, None]:
        yield


class Datagrams:
    """UDP's port, with an intake of one's own each time."""

    def __init__(self) -> None:
        refuse: Any = None
        self._port = UdpPort(House(Config(), refuse, refuse, Tokens(), None, dict, lambda: None, refuse),
                             Address("127.0.0.1", 0))  # fmt: skip
        self._port.close()  # what it is given comes from here

    def begin(self, intake: Intake, max_line: int, tokens: Tokens) -> None:
        self._port._intake, self._port._max_line = intake, max_line
        self._port.renew(tokens, None)

    def hear(self, peer: str, data: bytes, now: int) -> None:
        """One datagram; the intake is to be flushed after some."""
        self._port._take(data, peer, now)


def faults(sessions: Sequence[Session]) -> list[list[tuple[int, str]]]:
    """What each body's sender would be told: line and reason."""
    return [[(at, error.reason) for at, error in one.body.faults] if one.body else [] for one in sessions]
