"""An HTTP/1.1 server as linemon needs it: bounded in connections, requests, and answers that wait for their readers.

httptools reads the requests. This file knows no path: `begin` gets each request once its head is there, and `handle`
once its body is, or at once where `begin` has said that the body is taken as it comes.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, cast
from urllib.parse import urlsplit

import httptools

from linemon.access import Door
from linemon.config import HttpConfig
from linemon.http.request import PIECE_BYTES, Gone, Gunzip, Refused, Request
from linemon.lines.session import Session
from linemon.net import Listener, listen

log = logging.getLogger(__name__)

DRAIN = 16  # times max_body: so much that is too much is still read, so that its sender sees the answer
READ_BYTES = 1 << 16
MAX_WAITING = 32  # answers that wait for their readers; beyond, the one that waits longest is given up
HANDSHAKE_S = 10.0
PARTS = 4  # of a long body, as they came, that wait until they are taken; then no more is read
MAX_HEAD = 1 << 14  # bytes of a request before its body
NOT_HTTP = "this is not HTTP; what is not ASCII in an address must be percent-encoded"


class HttpConnection(asyncio.BufferedProtocol):
    """One peer: requests are read as they come, and answered in their order."""

    def __init__(self, server: HttpServer, session: Session) -> None:
        self.session = session
        self.is_lost = False
        self.streams = False  # the answer that is being given has no end
        self.since = time.monotonic()  # when the request began that comes, or when the last was answered
        self.stalled: float | None = None  # since when the peer does not take its answer
        self._server = server
        self._parser = httptools.HttpRequestParser(self)
        self._request: Request | None = None  # that comes
        self._head = 0  # bytes of it
        self._ready: deque[Request] = deque()  # to be answered; the first one is being
        self._drained: asyncio.Future[None] | None = None
        self._is_over = False  # no more requests are read

    # -- the socket, called by asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=PIECE_BYTES)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._server.buffer

    def buffer_updated(self, nbytes: int) -> None:
        if self._is_over:
            return
        try:
            self._parser.feed_data(self._server.buffer[:nbytes])
        except httptools.HttpParserUpgrade:  # to what we do not speak: it was answered, and that is all
            self._is_over = True
        except httptools.HttpParserError:
            self._server.malformed += 1
            self._refuse(HTTPStatus.BAD_REQUEST, NOT_HTTP)
        waits = self._request is not None and self._request.is_long and len(self._request.parts) > PARTS
        if (len(self._ready) > 1 or waits) and not self._is_over:
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        self._is_over = True
        if self._request and self._request.is_long:  # a body that breaks off
            return False
        return bool(self._ready) and not self.streams and self._transport.get_extra_info("sslcontext") is None

    def pause_writing(self) -> None:
        self.stalled = time.monotonic()
        self._drained = asyncio.get_running_loop().create_future()
        self._server.stalls(self)

    def resume_writing(self) -> None:
        self.stalled = None
        if self._drained and not self._drained.done():
            self._drained.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True
        self.resume_writing()
        if self._request:
            self._request.came.set()
        self._server.forget(self)

    # -- what comes, called by the parser

    def on_message_begin(self) -> None:
        self._request, self._head, self.since = Request(self), 0, time.monotonic()

    def on_url(self, url: bytes) -> None:
        assert self._request
        self._request.url += url
        self._count_head(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        assert self._request
        self._request.headers[name.decode("latin1").lower()] = value.decode("latin1")
        self._count_head(name + value)

    def _count_head(self, part: bytes) -> None:
        self._head += len(part) + 4
        if self._head > MAX_HEAD:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"more than {MAX_HEAD} bytes before the body")

    def on_headers_complete(self) -> None:
        request, parser = self._request, self._parser
        assert request
        request.method = parser.get_method().decode("latin1")
        request.keeps_alive = parser.should_keep_alive()
        is_new = parser.get_http_version() == "1.1"
        request.knows_chunks = is_new and request.method != "HEAD"
        try:
            url = urlsplit(request.url.decode("latin1"))
        except ValueError:  # such as brackets that are no IPv6 address
            return self._refuse(HTTPStatus.BAD_REQUEST, NOT_HTTP)
        request.path, request.query = url.path, url.query
        self._server.begin(request)
        said = request.headers.get("content-length", "0")
        length = int(said) if said.isdecimal() and len(said) < 19 else 1 << 63
        coding = request.headers.get("content-encoding", "identity").strip().lower()
        if length > request.limit:
            request.fault = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        elif coding in ("gzip", "x-gzip"):
            request.gunzip = Gunzip()
        elif coding not in ("identity", ""):
            request.fault = HTTPStatus.UNSUPPORTED_MEDIA_TYPE
        expects = is_new and request.headers.get("expect", "").lower() == "100-continue"
        is_refused = request.fault or request.error
        request.is_long = request.is_long and not is_refused
        if length > self._most(request) or (expects and is_refused):
            return self._give_up(request)
        if expects:
            self.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        if request.is_long:
            self._take(request)
        return None

    def _most(self, request: Request) -> int:
        """Bytes of a body that are read, so that its sender sees the answer, also where they are thrown away."""
        return request.limit + (DRAIN - 1) * self._server.max_body

    def on_body(self, body: bytes) -> None:
        request = self._request
        if request is None or self._is_over:
            return
        request.add(body)
        if request.length > self._most(request):
            self._give_up(request)

    def on_message_complete(self) -> None:
        request = self._request
        if request is None or self._is_over:
            return
        self._request, request.has_ended = None, True
        if request.is_long:
            request.came.set()
        else:
            request.check_end()
            self._take(request)

    # -- requests and answers

    def _take(self, request: Request) -> None:
        self._ready.append(request)
        if len(self._ready) == 1:
            self._server.handle(request)

    def _give_up(self, request: Request) -> None:
        """Answer before the whole body has come; the connection ends with that."""
        self._request, request.has_ended, request.keeps_alive = None, True, False
        if request.is_long:
            request.fault = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
            request.came.set()
        else:
            self._take(request)
        self._is_over = True

    def _refuse(self, status: HTTPStatus, error: str) -> None:
        """What comes cannot be told to be a request."""
        if not self._is_over:
            self._is_over = True
            if self._request and self._request.is_long:
                self.abort()
            elif not self._ready:
                request = Request(self)
                self._ready.append(request)
                request.refuse(Refused(status, error))

    def answered(self, request: Request) -> None:
        """The answer is sent as far as we are concerned: on to the next request."""
        assert self._ready[0] is request
        self._ready.popleft()
        self.since = time.monotonic()
        if not request.keeps_alive or request is self._request or (self._is_over and not self._ready):
            self._is_over = True
            self._ready.clear()
            self._transport.close()
        elif self._ready:
            asyncio.get_running_loop().call_soon(self._server.handle, self._ready[0])
            if len(self._ready) == 1:
                self._transport.resume_reading()

    def send(self, data: bytes) -> None:
        if not self.is_lost:
            self._transport.write(data)

    async def drained(self) -> None:
        """Wait until the peer has taken most of what was sent. Gone if it will not."""
        if self.stalled is not None and self._drained:
            await self._drained
        if self.is_lost or self._transport.is_closing():
            raise Gone

    def abort(self) -> None:
        self._transport.abort()

    def read_on(self) -> None:
        """What came of a long body was taken."""
        if len(self._ready) == 1 and not self._is_over:
            self._transport.resume_reading()

    @property
    def is_waiting(self) -> bool:
        """For a request, or for the rest of it."""
        return not self._ready or self._ready[0] is self._request


class HttpServer:
    """A port, and its connections."""

    def __init__(
        self,
        config: HttpConfig,
        tls: ssl.SSLContext | None,
        begin: Callable[[Request], None],
        handle: Callable[[Request], None],
    ) -> None:
        """Listen; OSError where the port cannot be had. `begin` sets a request's `limit`, and perhaps `is_long`."""
        self.begin, self.handle = begin, handle
        self.tls = tls  # for connections that come from now on
        self.door = Door(config.allow, config.max_per_peer)
        self.max_body = config.max_body
        self.refused = 0  # connections beyond the limit
        self.malformed = 0  # what came and was not HTTP
        self.buffer = memoryview(bytearray(READ_BYTES))  # of all connections: the parser keeps nothing of it
        self._idle_s = config.idle_timeout
        self._limit = min(config.max_connections, max(8, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4))
        self._connections: set[HttpConnection] = set()
        self._loop = asyncio.get_running_loop()
        self._listener = Listener(
            listen(config.listen.host, config.listen.port),
            lambda sock: self._loop.add_reader(sock, self._accept),
            self._loop.remove_reader,
        )
        self.port = self._listener.port
        self._sweeping = self._loop.call_later(self._sweep_s, self._sweep)
        self._starting: set[asyncio.Task[Any]] = set()

    @property
    def connections(self) -> int:
        return len(self._connections)

    @property
    def _sweep_s(self) -> float:
        return min(10.0, self._idle_s / 4)

    def close(self) -> None:
        """Close the port and all connections."""
        self._listener.close()
        self._sweeping.cancel()
        for connection in list(self._connections):
            connection.abort()

    def stalls(self, connection: HttpConnection) -> None:
        """An answer waits for its reader; there is a bound to how many do."""
        waiting = [each for each in self._connections if each.stalled is not None]
        if len(waiting) > MAX_WAITING:
            min(waiting, key=lambda each: each.stalled or 0.0).abort()

    def forget(self, connection: HttpConnection) -> None:
        if connection in self._connections:
            self._connections.discard(connection)
            self.door.leave(connection.session.peer)

    def _sweep(self) -> None:
        """Close the connections where nothing has moved for too long."""
        self._sweeping = self._loop.call_later(self._sweep_s, self._sweep)
        before = time.monotonic() - self._idle_s
        for connection in list(self._connections):
            since = connection.since if connection.is_waiting else connection.stalled
            if since is not None and since < before:
                connection.abort()

    def _accept(self) -> None:
        for sock, peer in self._listener.accepted():
            if len(self._connections) >= self._limit or not self.door.enter(peer):
                self.refused += 1
                sock.close()
                continue
            connection = HttpConnection(self, Session(peer, self.max_body))
            self._connections.add(connection)
            task = self._loop.create_task(self._start(connection, sock))
            self._starting.add(task)
            task.add_done_callback(self._starting.discard)

    async def _start(self, connection: HttpConnection, sock: socket.socket) -> None:
        try:
            timeout = HANDSHAKE_S if self.tls else None
            await self._loop.connect_accepted_socket(
                lambda: connection, sock, ssl=self.tls, ssl_handshake_timeout=timeout
            )
        except OSError as error:  # gone, or no TLS
            self.malformed += isinstance(error, ssl.SSLError)
            self.forget(connection)
            sock.close()
