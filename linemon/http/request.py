"""One HTTP request: what it says, and how it is answered, whole, in pieces, or without an end."""

from __future__ import annotations

import asyncio
import json
import time
import zlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from email.utils import formatdate
from http import HTTPStatus
from typing import Protocol

from linemon.lines.session import Session

PIECE_BYTES = 1 << 16  # of an answer, until its reader must have taken them
TURN_S = 0.005  # how long an answer may be worked on before others have their turn
JSON = "application/json"
BOM = b"\xef\xbb\xbf"


class Gone(Exception):
    """The peer is gone, or was given up."""


class Refused(Exception):
    """A request that is answered with an error and nothing else."""

    def __init__(self, status: HTTPStatus, error: str, field: str | None = None) -> None:
        super().__init__(error)
        self.status, self.field = status, field


class Gunzip:
    """A gzip body, unpacked as it comes: one member, or several after each other."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(31)
        self.rest = b""  # what `feed` had no room for, still packed

    def feed(self, data: bytes, room: int) -> bytes:
        """What the bytes hold, at most `room` (1 or more) of it; `rest` is left then. zlib.error if it is none."""
        found = bytearray()
        while data and len(found) < room:
            if self._member.eof:
                self._member = zlib.decompressobj(31)
            found += self._member.decompress(data, room - len(found))
            data = self._member.unconsumed_tail or self._member.unused_data
        self.rest = data
        return bytes(found)

    @property
    def is_whole(self) -> bool:
        return self._member.eof


class Peer(Protocol):
    """The connection that a request came by."""

    session: Session
    is_lost: bool
    streams: bool  # the answer that is being given has no end

    def send(self, data: bytes) -> None: ...

    async def drained(self) -> None: ...

    def answered(self, request: Request) -> None: ...

    def abort(self) -> None: ...

    def read_on(self) -> None: ...


class Request:
    """One request: what it says, and how to answer it, once."""

    def __init__(self, connection: Peer) -> None:
        self._connection = connection
        self.session = connection.session
        self.method = ""
        self.path = ""
        self.query = ""
        self.headers: dict[str, str] = {}  # names in lower case
        self.url = b""
        self.act: Callable[[], None] | None = None  # answers it
        self.error: Exception | None = None  # why nobody will
        self.limit = 0  # bytes of the body that are taken, unpacked
        self.is_long = False  # the body is taken as it comes, by `pieces`
        self.has_ended = False  # nothing more of the body comes
        self.length = 0  # bytes of the body as it came, also of one that is too long to be kept
        self.kept = 0  # bytes of it, unpacked
        self.parts: deque[bytes] = deque()
        self.came = asyncio.Event()  # something more of a long body, or its end
        self.gunzip: Gunzip | None = None
        self.fault: HTTPStatus | None = None  # why the body is not kept
        self.keeps_alive = False
        self.knows_chunks = True
        self.extra: dict[str, str] = {}  # headers of the answer, whatever it will be

    @property
    def body(self) -> bytes:
        """Unpacked, and without a byte order mark."""
        return b"".join(self.parts).removeprefix(BOM)

    def add(self, data: bytes) -> None:
        """Keep some more of the body; `fault` says so once it is not to be kept."""
        self.length += len(data)
        if self.is_long:
            self.parts.append(data)
            self.came.set()
        elif self.error is None and (found := self._unpacked(data, self.limit + 1)) is not None:
            self.parts.append(found)
        else:
            self.parts.clear()

    def _unpacked(self, data: bytes, most: int) -> bytes | None:
        """What the bytes hold, at most `most` of it; None, and `fault`, if it is broken, or too much by now."""
        if self.fault is None and self.gunzip:
            try:
                data = self.gunzip.feed(data, min(most, self.limit - self.kept + 1))
            except zlib.error:
                self.fault = HTTPStatus.BAD_REQUEST
        if self.fault is None:
            self.kept += len(data)
            if self.kept > self.limit:
                self.fault = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        return data if self.fault is None else None

    def check_end(self) -> None:
        """The body has ended: `fault` says so where that is too early. No byte at all is nothing, also in gzip."""
        if self.length and self.gunzip and self.fault is None and not self.gunzip.is_whole:
            self.fault = HTTPStatus.BAD_REQUEST

    async def pieces(self) -> AsyncIterator[bytes]:
        """A long body as it comes, unpacked, in pieces that are soon worked on; others have their turn between two.

        `fault` says why it was not taken to its end. Gone where it breaks off.
        """
        while True:
            while self.parts:
                piece = self._unpacked(self.parts.popleft(), PIECE_BYTES)
                if piece is None:  # what comes is thrown away, so that the peer sees the answer
                    self.parts.clear()
                    break
                if self.gunzip and self.gunzip.rest:
                    self.parts.appendleft(self.gunzip.rest)
                if piece:
                    yield piece
                await asyncio.sleep(0)
            if self.is_gone:
                raise Gone
            if self.has_ended:
                self.check_end()
                return
            self.came.clear()
            self._connection.read_on()
            await self.came.wait()

    def answer(self, status: HTTPStatus, content_type: str, body: bytes) -> None:
        """The whole answer at once."""
        self._start(status, content_type, len(body), b"" if self.method == "HEAD" else body)
        self._connection.answered(self)

    def refuse(self, refused: Refused) -> None:
        """Answer with an error."""
        if not self.is_gone:
            said = json.dumps({"error": str(refused), "field": refused.field}, ensure_ascii=False)
            self.answer(refused.status, JSON, said.encode(errors="replace"))

    async def give(self, content_type: str, pieces: Iterator[bytes]) -> None:
        """An answer in pieces, made as the reader takes them; a short one is sent at once."""
        ready, turn, is_started = bytearray(), time.monotonic(), False
        for piece in pieces:
            ready += piece
            if len(ready) >= PIECE_BYTES:
                if not is_started:
                    self.start_long(content_type)
                    is_started = True
                if self.method == "HEAD":
                    return None
                await self.write(bytes(ready))
                ready.clear()
            if time.monotonic() - turn > TURN_S:  # also where the reader takes all at once
                await asyncio.sleep(0)
                turn = time.monotonic()
        if not is_started:
            return self.answer(HTTPStatus.OK, content_type, bytes(ready))
        if ready:
            await self.write(bytes(ready))
        self._connection.send(b"0\r\n\r\n" if self.knows_chunks else b"")
        return self._connection.answered(self)

    def start_long(self, content_type: str) -> None:
        """Begin an answer of unknown length, which goes on with `write`; of HEAD it is all."""
        self.keeps_alive = self.keeps_alive and (self.knows_chunks or self.method == "HEAD")
        self._start(HTTPStatus.OK, content_type, None, b"")
        if self.method == "HEAD":
            self._connection.answered(self)

    def start_stream(self, content_type: str) -> None:
        """Begin an answer without an end: it goes on with `write` until the peer closes its side."""
        self._connection.streams = self.method != "HEAD"
        self.start_long(content_type)

    async def write(self, data: bytes) -> None:
        """Send, and wait until the reader has taken most of it. Gone once it is gone or was given up."""
        self._connection.send(b"%x\r\n%b\r\n" % (len(data), data) if self.knows_chunks else data)
        await self._connection.drained()

    @property
    def is_gone(self) -> bool:
        return self._connection.is_lost

    def close(self) -> None:
        """End the connection without (the rest of) an answer."""
        self._connection.abort()

    def _start(self, status: HTTPStatus, content_type: str, length: int | None, body: bytes) -> None:
        head = f"HTTP/1.1 {status.value} {status.phrase}\r\nDate: {date(int(time.time()))}\r\n"
        if content_type:
            head += f"Content-Type: {content_type}\r\nX-Content-Type-Options: nosniff\r\n"
            head += "Cache-Control: no-store, no-transform\r\n"
        if length is not None and status != HTTPStatus.NO_CONTENT:
            head += f"Content-Length: {length}\r\n"
        elif self.knows_chunks and length is None:
            head += "Transfer-Encoding: chunked\r\n"
        if not self.keeps_alive:
            head += "Connection: close\r\n"
        elif not self.knows_chunks:
            head += "Connection: keep-alive\r\n"
        for name, value in self.extra.items():
            head += f"{name}: {value}\r\n"
        self._connection.send(head.encode("latin1", "replace") + b"\r\n" + body)


_date = (0, "")


def date(now: int) -> str:
    """The time as HTTP writes it."""
    global _date
    if _date[0] != now:
        _date = now, formatdate(now, usegmt=True)
    return _date[1]
