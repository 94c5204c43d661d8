"""Lines in over connections: what the doors that take them over TCP and Unix sockets have in common.

All connections share one epoll, which is itself one file of the event loop. A round reads every connection that has
something once, then has everything parsed and appended together. After silence the first who speaks is read at once.
While reads are small, rounds come in ticks: a hundred slow senders then cost one wake-up, not a hundred. While they are
large, rounds follow at once. No queue: what is not read yet waits in the kernel, and TCP slows the sender down.

The epoll is edge-triggered: it tells once of what comes, so who was not read to the end is kept in `_again`. A read
that took less than there was room for took all there was (epoll(7)); only an end of the stream may be behind it, of
which the event tells.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import ssl
import time
from select import EPOLLET, EPOLLIN, EPOLLRDHUP, epoll

from linemon.access import NO_TOKENS, Door
from linemon.connection import LineConnection
from linemon.doors import Count, House, Port
from linemon.errors import LineError
from linemon.lines.lanes import LANE_BYTES, Lanes, Read
from linemon.lines.session import Session
from linemon.logs import Seldom
from linemon.net import Listener, allow_files

log = logging.getLogger(__name__)

READ_BYTES = 1 << 16  # stays in the processor's cache until it is parsed
FLUSH_BYTES = 1 << 18  # parsed together at most
SMALL_READ = 4096  # bytes a connection and round: below it there is time to wait for more
TICK_S = 0.036  # from one round of small reads to the next: with what a round takes, a line waits 40 ms
NOT_NOW = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
UNREAD_BYTES = 1 << 20  # of a connection that we end, read and thrown away at most
EVENTS = EPOLLIN | EPOLLRDHUP | EPOLLET
SPARE_FILES = 500  # open files that are not for connections: rings of up to so many widths, taps


class LinePort(Port):
    """A port for connections that send lines."""

    tokens = NO_TOKENS  # what connections that come from now on must show
    tls: ssl.SSLContext | None = None  # and what is shown to them

    def __init__(
        self, house: House, listening: socket.socket, door: Door, max_connections: int, idle_timeout: float
    ) -> None:
        self._max_line = house.config.tcp.max_line
        self._is_open_wide = house.config.tcp.allow_open  # others may read what goes over it
        self._idle_timeout = idle_timeout
        self._intake = house.intake
        self._rows_came = house.rows_came
        self.door = door
        self._lanes = Lanes(house.intake)
        self._lanes.make_room(listening.fileno())
        self._again: dict[LineConnection, None] = {}  # to be read whether epoll tells of them or not: there was more
        self._paced: set[LineConnection] = set()  # not read: what they sent waits, at its pace or for another turn
        files = allow_files(max_connections + SPARE_FILES)
        self._limit = min(max_connections, max(files - SPARE_FILES, files // 2))
        self._epoll = epoll()
        self._connections: dict[int, LineConnection] = {}  # by descriptor
        self._buffer = memoryview(bytearray(READ_BYTES))
        self._refused = 0  # connections beyond the limit
        self._refused_told = Seldom()
        self._loop = asyncio.get_running_loop()
        self._failed: asyncio.Future[None] = self._loop.create_future()
        self._next: asyncio.TimerHandle | None = None  # when there is a round whether epoll tells of something or not
        self._not_before = 0.0  # by the loop's clock: when the next round is, while reads are small
        self._watches = False  # the loop tells when epoll has something
        self.listener = Listener(listening, lambda sock: self._epoll.register(sock, EPOLLIN), self._epoll.unregister)

    def counters(self) -> list[Count]:
        return [
            Count("connections", len(self._connections), "connections"),
            Count("connections_refused", self._refused),
            Count("strangers", self.door.strangers),
        ]

    async def run(self) -> None:
        """Serve until cancelled."""
        self._watch(True)
        sweep_s = min(10.0, self._idle_timeout / 4)
        try:
            while not self._failed.done():
                await asyncio.wait([self._failed], timeout=sweep_s)
                self._close_idle(time.monotonic())
            self._failed.result()
        finally:
            self._watch(False)
            if self._next:
                self._next.cancel()

    def close(self) -> None:
        """Take what has arrived, then close all connections and the port."""
        self._round()
        for connection in list(self._connections.values()):
            self._intake.broke(connection.session, time.time_ns())
            self._close(connection)
        self.listener.close()
        self._epoll.close()

    # -- rounds

    def _watch(self, watches: bool) -> None:
        if watches and not self._watches:
            self._loop.add_reader(self._epoll, self._told)
        elif self._watches and not watches:
            self._loop.remove_reader(self._epoll)
        self._watches = watches

    def _told(self) -> None:
        """Somebody has something: read at once, or with what comes until the next tick."""
        early = self._not_before - self._loop.time()
        if early <= 0:
            self._turn()
        else:
            self._watch(False)
            self._turn_in(early)

    def _turn_in(self, seconds: float | None) -> None:
        if self._next:
            self._next.cancel()
        self._next = None if seconds is None else self._loop.call_later(seconds, self._turn)

    def _turn(self) -> None:
        """Have a round, and see to it that there is another."""
        began = self._loop.time()
        try:
            largest = self._round()
        except Exception as error:  # a bug: the collector ends
            self._failed.set_exception(error)
            self._watch(False)
            return
        is_small = 0 < largest < SMALL_READ
        self._not_before = began + TICK_S if is_small else 0.0
        if self._again:
            self._turn_in(0 if largest else TICK_S)
        elif is_small and not self._watches:  # they speak often: the next tick will find something, too
            self._turn_in(max(0.0, self._not_before - self._loop.time()))
        else:
            self._watch(True)
            self._turn_in(self._wait_s())

    def _round(self) -> int:
        """Read what there is, once per connection, and store it; returns the largest read in bytes."""
        events = self._epoll.poll(0, len(self._connections) + 1)
        now = time.time_ns()
        self._tell(self._lanes.due(now))
        if not events and not self._again and not self._paced:
            return 0
        heard = time.monotonic()
        left, others, largest = self._read_lanes(events, now, heard)
        others = self._again | others
        others.update(dict.fromkeys(each for each in self._paced if each.session.resume <= now))
        if left or others:
            with self._intake.turn:
                largest = max(largest, self._read_others(left, others, now, heard))
        self._rows_came()
        return largest

    def _read_lanes(
        self, events: list[tuple[int, int]], now: int, heard: float
    ) -> tuple[list[Read], dict[LineConnection, None], int]:
        """Read those that are in lanes, and store what they sent.

        Returns what was read and must be taken in another way, who else is to be read, and the largest read.
        """
        lane_of, heard_at, read = self._lanes.of, self._lanes.heard, os.read
        left: list[Read] = []
        others: dict[LineConnection, None] = {}
        reads: dict[int, list[Read]] = {}
        waiting = largest = 0
        for fd, event in events:
            lane = lane_of[fd]
            if lane and event == EPOLLIN:
                try:
                    data = read(fd, LANE_BYTES)
                except OSError:
                    others[self._connections[fd]] = None
                    continue
                heard_at[fd] = heard
                count = len(data)
                largest = max(largest, count)
                if count < LANE_BYTES and data.endswith(b"\n"):
                    reads.setdefault(lane, []).append((fd, data))
                    waiting += count
                    if waiting > FLUSH_BYTES:
                        left += self._store_lanes(reads, now)
                        waiting, reads = 0, {}
                else:
                    left.append((fd, data))
                    if count == LANE_BYTES:
                        self._again[self._connections[fd]] = None
            elif connection := self._connections.get(fd):
                connection.has_ended = event != EPOLLIN
                others[connection] = None
            else:
                self._accept(heard)
        left += self._store_lanes(reads, now)
        return left, others, largest

    def _store_lanes(self, reads: dict[int, list[Read]], now: int) -> list[Read]:
        """Store what was read, and acknowledge it; returns what must be taken in another way."""
        left, answers = self._lanes.take(reads, now) if reads else ([], [])
        self._tell(answers)
        return left

    def _tell(self, answers: list[Read]) -> None:
        for fd, answer in answers:
            try:
                sent = os.write(fd, answer)
            except OSError:
                sent = 0
            if sent < len(answer):
                self._lanes.leave(fd)
                self._connections[fd].session.replies += answer[sent:]
                self._reply(self._connections[fd])

    def _read_others(self, left: list[Read], others: dict[LineConnection, None], now: int, heard: float) -> int:
        """Take what is left of lanes, read these, and store what they sent; returns the largest read in bytes."""
        largest = waiting = 0
        reads: list[tuple[LineConnection, bytes | None]] = [(self._connections[fd], data) for fd, data in left]
        for connection, data in [*reads, *((connection, None) for connection in others)]:
            if not self._is_open(connection):
                continue
            if data is None and self._intake.turn.is_over and connection.session.needs_care:
                self._again[connection] = None
                continue
            self._lanes.leave(connection.fd)
            try:
                count = self._read(connection, data, now, heard)
            except Exception:  # it shall cost nobody else
                self._intake.accounts.fail(connection.session, 0)
                count = 0
            largest = max(largest, count)
            waiting += count
            if waiting > FLUSH_BYTES:
                self._intake.flush(now)
                waiting = 0
        self._intake.flush(now)
        for connection in dict.fromkeys([*(connection for connection, _ in reads), *others]):
            session = connection.session
            if session.replies or session.owed or session.news or session.is_over:
                self._reply(connection)  # only now: lines that ask for answers may have waited for the flush
            if self._is_open(connection):
                self._keep_pace(connection)
                if session.ring and not isinstance(connection.sock, ssl.SSLSocket):
                    self._lanes.enter(connection.fd, session)
        return largest

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
            connection = LineConnection(sock, Session(peer, self._max_line, self.tokens))
            connection.link(self._lanes.heard, self._speak, self._is_open_wide)
            self._lanes.make_room(connection.fd)
            self._lanes.heard[connection.fd] = heard
            self._connections[connection.fd] = connection
            self._epoll.register(connection.fd, EVENTS)

    def _refuse(self) -> None:
        self._refused += 1
        if self._refused_told.due():
            log.warning(
                "%d connection(s) refused so far: %d from networks not in allow, %d beyond max_per_peer, "
                "the others beyond %d in all",
                self._refused, self.door.strangers, self.door.crowded, self._limit,
            )  # fmt: skip

    def _read(self, connection: LineConnection, data: bytes | None, now: int, heard: float) -> int:
        """Read once, or take what was read; returns how many bytes came."""
        if connection.session.held:
            self._lanes.heard[connection.fd] = heard
            self._again.pop(connection, None)
            self._intake.resume(connection.session, now)
            return READ_BYTES  # or less
        try:
            if data is None:
                data = self._receive(connection)
        except NOT_NOW as error:
            if isinstance(error, ssl.SSLWantWriteError):  # of which epoll does not tell
                self._again[connection] = None
            return 0
        except OSError as error:  # reset: an unfinished line does not count
            if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError):
                self._intake.foreign(connection.session, error.reason or "no TLS", now)
            self._intake.broke(connection.session, now)
            self._close(connection)
            return 0
        self._lanes.heard[connection.fd] = heard
        try:
            if data:
                self._intake.take(connection.session, data, now)
                return len(data)
            self._intake.end(connection.session, now)
        except LineError:  # not lines at all
            pass
        self._intake.flush(now)
        self._reply(connection)
        self._close(connection)
        return len(data)

    def _receive(self, connection: LineConnection) -> bytes:
        """What came, up to a bound; empty at the end. Raises as recv does."""
        self._again.pop(connection, None)
        if isinstance(connection.sock, ssl.SSLSocket):
            return self._buffer[: self._decrypt(connection, connection.sock)].tobytes()
        data = connection.sock.recv(READ_BYTES)
        if len(data) == READ_BYTES or (data and connection.has_ended):
            self._again[connection] = None
        return data

    def _keep_pace(self, connection: LineConnection) -> None:
        """Read a connection on, or not while something of its last read waits."""
        if connection.session.held and connection not in self._paced:
            self._paced.add(connection)
            self._again.pop(connection, None)
            self._epoll.unregister(connection.fd)
        elif not connection.session.held and connection in self._paced:
            self._paced.discard(connection)
            self._again[connection] = None
            self._epoll.register(connection.fd, EVENTS)

    def _wait_s(self) -> float | None:
        """Seconds until more of a backlog may be taken, or something is to be acknowledged; None if neither waits."""
        now = time.time_ns()
        waits = [max(0, each.session.resume - now) for each in self._paced]
        if (owed := self._lanes.wait_ns(now)) is not None:
            waits.append(owed)
        return min(waits) / 1e9 if waits else None

    def _decrypt(self, connection: LineConnection, sock: ssl.SSLSocket) -> int:
        """Read as many records as the buffer has room for: a single one is short. Raises as recv_into does."""
        count = got = sock.recv_into(self._buffer)
        try:
            while got and count < READ_BYTES:
                got = sock.recv_into(self._buffer[count:])
                count += got
        except NOT_NOW:
            return count
        except OSError:  # it comes again, after the bytes before it
            pass
        if count:
            self._again[connection] = None
        return count

    def _reply(self, connection: LineConnection) -> None:
        """Send what the peer asked for; what it does not read is bounded."""
        session = connection.session
        while self._is_open(connection) and (answers := session.to_send()):
            try:
                del answers[: connection.sock.send(answers)]
            except NOT_NOW:
                break
            except OSError:
                self._close(connection)
        if session.is_over:
            self._hang_up(connection)

    def _speak(self, connection: LineConnection) -> None:
        if self._is_open(connection):
            self._lanes.leave(connection.fd)  # acknowledgements there must not get between pieces of an answer
            self._reply(connection)

    def _hang_up(self, connection: LineConnection) -> None:
        """End a connection on our part; what the peer has sent is read, or its answers might be thrown away."""
        with contextlib.suppress(OSError):
            for _ in range(UNREAD_BYTES // READ_BYTES):
                if not self._is_open(connection) or not connection.sock.recv_into(self._buffer):
                    break
        self._close(connection)

    def _close_idle(self, now: float) -> None:
        for connection in list(self._connections.values()):
            session = connection.session
            if now - self._lanes.heard[connection.fd] > self._idle_timeout:
                self._intake.broke(session, time.time_ns())
                self._close(connection)
            elif session.replies or session.owed or session.news:
                self._reply(connection)

    def _is_open(self, connection: LineConnection) -> bool:
        return self._connections.get(connection.fd) is connection  # a descriptor may be another's meanwhile

    def _close(self, connection: LineConnection) -> None:
        if not self._is_open(connection):
            return
        del self._connections[connection.fd]
        self._lanes.leave(connection.fd)
        self._again.pop(connection, None)
        self.door.leave(connection.session.peer)
        self._intake.devices.leave(connection.session, time.time_ns())
        if connection in self._paced:
            self._paced.discard(connection)
        else:
            self._epoll.unregister(connection.fd)
        if isinstance(connection.sock, ssl.SSLSocket):
            with contextlib.suppress(OSError, ValueError):
                connection.sock.unwrap()  # says that it was us, and no stranger who cut the line
        connection.sock.close()
