"""Lines in over connections: what the doors that take them over TCP and Unix sockets have in common.

All connections share one receive buffer and one selector of their own, which is itself one file of the event loop. A
round reads every connection that has something once, then has everything parsed and appended together. While reads
are small, rounds come in ticks: a hundred slow senders then cost one wake-up, not a hundred. While they are large,
rounds follow at once. No queue: what is not read yet waits in the kernel, and TCP slows the sender down.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import selectors
import socket
import ssl
import time

from linemon.access import NO_TOKENS, Door
from linemon.doors import Count, House, Port
from linemon.errors import LineError
from linemon.lines.session import Session
from linemon.logs import Seldom
from linemon.net import Listener, allow_files

log = logging.getLogger(__name__)

READ_BYTES = 1 << 16  # stays in the processor's cache until it is parsed
FLUSH_BYTES = 1 << 18  # parsed together at most
CARE_BYTES = 1 << 13  # read at once from a peer whose lines must be taken one by one, so that the others do not wait
SMALL_READ = 4096  # bytes a connection and round: below it there is time to wait for more
TICK_S = 0.04
NOT_NOW = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
UNREAD_BYTES = 1 << 20  # of a connection that we end, read and thrown away at most
SPARE_FILES = 500  # open files that are not for connections: rings of up to so many widths, taps


class LineConnection:
    """One peer: its socket, what it said, and when it last said something (monotonic seconds)."""

    __slots__ = ("heard", "session", "sock")

    def __init__(self, sock: socket.socket, session: Session, heard: float) -> None:
        self.sock = sock
        self.session = session
        self.heard = heard


class LinePort(Port):
    """A port for connections that send lines."""

    tokens = NO_TOKENS  # what connections that come from now on must show
    tls: ssl.SSLContext | None = None  # and what is shown to them

    def __init__(
        self, house: House, listening: socket.socket, door: Door, max_connections: int, idle_timeout: float
    ) -> None:
        self._max_line = house.config.tcp.max_line
        self._idle_timeout = idle_timeout
        self._intake = house.intake
        self._rows_came = house.rows_came
        self.door = door
        self._unread: set[LineConnection] = set()  # TLS holds more for them than one read took
        self._paced: set[LineConnection] = set()  # not read: a backlog that is taken at its pace
        files = allow_files(max_connections + SPARE_FILES)
        self._limit = min(max_connections, max(files - SPARE_FILES, files // 2))
        self._selector = selectors.DefaultSelector()
        self._connections: set[LineConnection] = set()
        self._buffer = memoryview(bytearray(READ_BYTES))
        self._refused = 0  # connections beyond the limit
        self._refused_told = Seldom()
        self.listener = Listener(
            listening,
            lambda sock: self._selector.register(sock, selectors.EVENT_READ),
            self._selector.unregister,
        )

    def counters(self) -> list[Count]:
        return [
            Count("connections", len(self._connections), "connections"),
            Count("connections_refused", self._refused),
            Count("strangers", self.door.strangers),
        ]

    async def run(self) -> None:
        """Serve until cancelled."""
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        swept = time.monotonic()
        idle_check_s = min(10.0, self._idle_timeout / 4)
        while True:
            heard_of, largest = self._round()
            if time.monotonic() - swept > idle_check_s:
                swept = time.monotonic()
                self._close_idle(swept)
            if heard_of:
                await asyncio.sleep(TICK_S if 0 < largest < SMALL_READ else 0)
                continue
            ready.clear()  # nobody has anything: the next who does is read at once
            loop.add_reader(self._selector, ready.set)
            try:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(
                        min(idle_check_s, self._paced_s())
                    ):  # wait_for of Python 3.11 may swallow a cancellation
                        await ready.wait()
            finally:
                loop.remove_reader(self._selector)

    def close(self) -> None:
        """Take what has arrived, then close all connections and the port."""
        self._round()
        for connection in list(self._connections):
            self._close(connection)
        self.listener.close()
        self._selector.close()

    def _round(self) -> tuple[int, int]:
        """Read what there is, once per connection, and store it.

        Returns how many sockets had something, and the largest read in bytes.
        """
        largest = waiting = 0
        now = time.time_ns()
        heard = time.monotonic()
        ready: dict[LineConnection | None, None] = dict.fromkeys(key.data for key, _ in self._selector.select(0))
        if self._unread or self._paced:
            ready.update(dict.fromkeys(self._unread - self._paced))
            ready.update(dict.fromkeys(each for each in self._paced if each.session.resume <= now))
        for connection in ready:
            if connection is None:
                self._accept(heard)
                continue
            try:
                count = self._read(connection, now, heard)
            except Exception:  # it shall cost nobody else
                self._intake.accounts.fail(connection.session, 0)
                count = 0
            largest = max(largest, count)
            waiting += count
            if waiting > FLUSH_BYTES:
                self._intake.flush(now)
                waiting = 0
        self._intake.flush(now)
        self._rows_came()
        for connection in ready:  # only now: lines that ask for answers may have waited for the flush
            if connection is not None:
                session = connection.session
                if session.replies or session.owed or session.is_over:
                    self._reply(connection)
        return len(ready), largest

    def _accept(self, heard: float) -> None:
        for sock, peer in self.listener.accepted():
            if len(self._connections) >= self._limit or not self.door.enter(peer):
                sock.close()
                self._refuse()
                continue
            if self.tls:
                try:
                    sock = self.tls.wrap_socket(
                        sock, server_side=True, do_handshake_on_connect=False, suppress_ragged_eofs=False
                    )
                except OSError:  # gone before we came
                    sock.close()
                    self.door.leave(peer)
                    continue
            connection = LineConnection(sock, Session(peer, self._max_line, self.tokens), heard)
            self._connections.add(connection)
            self._selector.register(sock, selectors.EVENT_READ, connection)

    def _refuse(self) -> None:
        self._refused += 1
        if self._refused_told.due():
            log.warning(
                "%d connection(s) refused so far: %d from networks not in allow, %d beyond max_per_peer, "
                "the others beyond %d in all",
                self._refused, self.door.strangers, self.door.crowded, self._limit,
            )  # fmt: skip

    def _read(self, connection: LineConnection, now: int, heard: float) -> int:
        """Read once; returns how many bytes came."""
        if connection.session.held:
            connection.heard = heard
            self._intake.resume(connection.session, now)
            self._keep_pace(connection)
            return 0
        limit = CARE_BYTES if connection.session.needs_care else READ_BYTES
        try:
            if isinstance(connection.sock, ssl.SSLSocket):
                count = self._decrypt(connection, connection.sock, limit)
            else:
                count = connection.sock.recv_into(self._buffer, limit)
        except NOT_NOW:
            return 0
        except OSError as error:  # reset: an unfinished line does not count
            if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError):
                self._intake.foreign(connection.session, error.reason or "no TLS", now)
            self._intake.broke(connection.session, now)
            self._close(connection)
            return 0
        connection.heard = heard
        try:
            if count:
                self._intake.take(connection.session, self._buffer[:count].tobytes(), now)
                if connection.session.held:
                    self._keep_pace(connection)
                return count
            self._intake.end(connection.session, now)
        except LineError:  # not lines at all
            pass
        self._intake.flush(now)
        self._reply(connection)
        self._close(connection)
        return count

    def _keep_pace(self, connection: LineConnection) -> None:
        """Read a connection on, or not while something of its last read waits."""
        if connection.session.held and connection not in self._paced:
            self._paced.add(connection)
            self._selector.unregister(connection.sock)
        elif not connection.session.held and connection in self._paced:
            self._paced.discard(connection)
            self._selector.register(connection.sock, selectors.EVENT_READ, connection)

    def _paced_s(self) -> float:
        """Seconds until more of a backlog may be taken; infinite if none waits."""
        resume = min((each.session.resume for each in self._paced), default=None)
        return float("inf") if resume is None else max(0.0, (resume - time.time_ns()) / 1e9)

    def _decrypt(self, connection: LineConnection, sock: ssl.SSLSocket, limit: int) -> int:
        """Read as many records as there are, up to `limit` bytes: a single one is short. Raises as recv_into does."""
        self._unread.discard(connection)
        count = got = sock.recv_into(self._buffer, limit)
        try:
            while got and count < limit:
                got = sock.recv_into(self._buffer[count:limit])
                count += got
        except NOT_NOW:
            return count
        except OSError:  # it comes again, after the bytes before it
            pass
        if count:
            self._unread.add(connection)
        return count

    def _reply(self, connection: LineConnection) -> None:
        """Send what the peer asked for; what it does not read is bounded."""
        session = connection.session
        while connection in self._connections and (answers := session.to_send()):
            try:
                del answers[: connection.sock.send(answers)]
            except NOT_NOW:
                break
            except OSError:
                self._close(connection)
        if session.is_over:
            self._hang_up(connection)

    def _hang_up(self, connection: LineConnection) -> None:
        """End a connection on our part; what the peer has sent is read, or its answers might be thrown away."""
        with contextlib.suppress(OSError):
            for _ in range(UNREAD_BYTES // READ_BYTES):
                if connection not in self._connections or not connection.sock.recv_into(self._buffer):
                    break
        self._close(connection)

    def _close_idle(self, now: float) -> None:
        for connection in list(self._connections):
            if now - connection.heard > self._idle_timeout:
                self._intake.broke(connection.session, time.time_ns())
                self._close(connection)
            else:
                self._reply(connection)

    def _close(self, connection: LineConnection) -> None:
        if connection in self._connections:
            self._connections.discard(connection)
            self._unread.discard(connection)
            self.door.leave(connection.session.peer)
            if connection in self._paced:
                self._paced.discard(connection)
            else:
                self._selector.unregister(connection.sock)
            if isinstance(connection.sock, ssl.SSLSocket):
                with contextlib.suppress(OSError, ValueError):
                    connection.sock.unwrap()  # says that it was us, and no stranger who cut the line
            connection.sock.close()
