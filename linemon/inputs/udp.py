"""Lines in over UDP: a datagram holds whole lines, the last may lack its newline, and nothing is answered.

Lines name their source themselves: metrics, points, put. Others need a line `#source` before them in the datagram.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
import ssl
import struct
import time

from linemon.access import Tokens, is_from
from linemon.config import Address, Config
from linemon.doors import Count, House, Port, guards, reach
from linemon.errors import LineError
from linemon.lines.body import Body
from linemon.lines.session import Session
from linemon.logs import Seldom
from linemon.net import bound

log = logging.getLogger(__name__)

DATAGRAM_BYTES = 65_507  # the longest that there can be
ROUND = 100  # datagrams read before others have their turn
SO_RXQ_OVFL = 40  # Linux: each datagram says how many were dropped before it
SO_MEMINFO = 55  # Linux: and the socket, how many were in all; the ninth of its numbers
CHECK_S = 1.0  # how often it is asked: the last drops are followed by no datagram


def start(house: House) -> Port:
    if not house.config.udp.listen:
        return Port()
    port = UdpPort(house, house.config.udp.listen)
    house.serve(port.run())
    log.info("lines by UDP on %s", port.address)
    return port


def check(config: Config) -> list[str]:
    if not config.udp.listen:
        return []
    return [f"UDP:       {config.udp.listen}, {guards(config, config.udp)}, {reach(config.udp.listen)}"]


class UdpPort(Port):
    """The port for datagrams."""

    def __init__(self, house: House, address: Address) -> None:
        self._config = house.config.udp
        self._max_line = house.config.tcp.max_line
        self._intake = house.intake
        self._rows_came = house.rows_came
        self._tokens = house.tokens
        self._host = address.host
        self._sock = bound(address.host, address.port)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._config.buffer)
        with contextlib.suppress(OSError):
            self._sock.setsockopt(socket.SOL_SOCKET, SO_RXQ_OVFL, 1)
        self._port = int(self._sock.getsockname()[1])
        self._datagrams = 0
        self._strangers = 0
        self._missed = 0  # datagrams that the kernel dropped
        self._told = Seldom()

    @property
    def address(self) -> str:
        return str(Address(self._host, self._port))

    def addresses(self) -> dict[str, str | list[str]]:
        return {"udp": self.address}

    def counters(self) -> list[Count]:
        return [Count("datagrams", self._datagrams), Count("strangers", self._strangers)]

    def renew(self, tokens: Tokens, tls: ssl.SSLContext | None) -> None:
        self._tokens = tokens

    async def run(self) -> None:
        """Serve until cancelled."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._sock, self._read)
        try:
            while True:
                self._ask_for_drops()
                await asyncio.sleep(CHECK_S)
        finally:
            loop.remove_reader(self._sock)

    def close(self) -> None:
        """Take what has arrived, then close."""
        while self._read():
            pass
        self._ask_for_drops()
        self._sock.close()

    def _read(self) -> int:
        """Read what there is, up to a bound, and store it; returns how many datagrams."""
        now = time.time_ns()
        count = 0
        for _ in range(ROUND):
            try:
                data, said, _, address = self._sock.recvmsg(DATAGRAM_BYTES, socket.CMSG_SPACE(4))
            except BlockingIOError:
                break
            except OSError as error:  # what was answered to a datagram of ours, and we send none
                if error.errno == errno.EBADF:
                    raise
                continue
            count += 1
            for level, kind, value in said:
                if level == socket.SOL_SOCKET and kind == SO_RXQ_OVFL:
                    self._miss(struct.unpack("I", value)[0])
            self._take(data, str(address[0]).removeprefix("::ffff:"), now)
        if count:
            self._datagrams += count
            self._intake.flush(now)
            self._rows_came()
        return count

    def _take(self, data: bytes, peer: str, now: int) -> None:
        if not is_from(peer, self._config.allow):
            self._strangers += 1
            return
        session = Session(peer, self._max_line, self._tokens, Body(names_source=True))
        try:
            self._intake.take(session, data, now)
            self._intake.end(session, now)
        except LineError:  # not lines at all: counted
            pass
        except Exception:  # it shall cost nobody else
            self._intake.accounts.fail(session, 0)

    def _ask_for_drops(self) -> None:
        with contextlib.suppress(OSError):
            told = self._sock.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 36)
            if len(told) == 36:
                self._miss(struct.unpack("9I", told)[8])

    def _miss(self, dropped: int) -> None:
        """The kernel has dropped so many since the start, modulo 2**32: each counts as a line that was dropped."""
        more = (dropped - self._missed) % 2**32
        if not 0 < more < 2**31:  # told before, in another way
            return
        self._missed = dropped
        accounts = self._intake.accounts
        accounts.received += more
        accounts.dropped["udp"] += more
        if count := self._told.due(more):
            log.warning(
                "the kernel dropped %d datagram(s), which came faster than they are read: see [udp] buffer", count
            )
