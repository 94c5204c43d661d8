"""Connections to one address, made in a thread that lives only while there is none.

A look-up of a name can block for seconds and cannot be told not to.
"""

from __future__ import annotations

import os
import socket
import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from linemon_sender.tls import Tls

CONNECT_TIMEOUT = 10.0  # seconds, for each of the address's addresses
SHORTEST_PAUSE, LONGEST_PAUSE = 0.5, 30.0  # seconds before the next attempt, at most
ATTEMPT_EVERY = 1.0  # seconds from one attempt to the next, at least
REFUSED_PAUSE, LONGEST_REFUSED = 10.0, 300.0  # seconds before the next, at least, of who is refused
DEAD_AFTER = 30.0  # seconds without a sign of life from the other end

# Where the platform has them: a peer that vanished without a word is noticed within DEAD_AFTER.
KEEP_ALIVE = (
    ("TCP_USER_TIMEOUT", int(DEAD_AFTER * 1000)),  # with bytes on their way
    ("TCP_KEEPIDLE", int(DEAD_AFTER / 2)),  # without
    ("TCP_KEEPALIVE", int(DEAD_AFTER / 2)),  # the same on macOS
    ("TCP_KEEPINTVL", 5),
    ("TCP_KEEPCNT", 3),
)


class Dialler:
    """Tries until there is a connection, at most once a second and ever more seldom."""

    def __init__(
        self,
        address: tuple[str, int],
        tls: Tls | None,
        ready: Callable[[], None],
        failed: Callable[[str], None],
    ) -> None:
        """`ready` and `failed`, which gets the reason, are called in the thread."""
        self._tls = tls
        self._address, self._ready, self._failed = address, ready, failed
        self._pause = SHORTEST_PAUSE
        self._rest = ATTEMPT_EVERY
        self._attempted = float("-inf")
        self._closed = False
        self.connection: socket.socket | None = None
        """What was made and nobody has taken yet."""

    def dial(self) -> None:
        """Begin; to be called only where the last connection is gone."""
        threading.Thread(target=self._run, daemon=True).start()

    def take(self) -> socket.socket | None:
        """The connection, if it is made."""
        sock, self.connection = self.connection, None
        return sock

    def worked(self) -> None:
        """The connection was of use: after it the next one need not be waited for long."""
        self._pause, self._rest = SHORTEST_PAUSE, ATTEMPT_EVERY

    def refused(self) -> None:
        """The other end wants none of it: it is asked ever more seldom."""
        self._rest = min(max(2 * self._rest, REFUSED_PAUSE), LONGEST_REFUSED)

    def close(self) -> None:
        """Make no more."""
        self._closed = True
        if sock := self.take():
            sock.close()

    def _run(self) -> None:
        while not self._closed:
            if self._attempted > 0:
                chance = int.from_bytes(os.urandom(4), "big") / 2**32  # so that a fleet spreads out
                next_at = self._attempted + self._rest
                time.sleep(max(0.0, next_at - time.monotonic(), chance * self._pause))
                self._pause = min(2 * self._pause, LONGEST_PAUSE)
            self._attempted = time.monotonic()
            try:
                self.connection = connect(self._address, self._tls)
            except (OSError, UnicodeError) as error:  # the latter from names that cannot be looked up
                self._failed(str(getattr(error, "strerror", None) or error))
            else:
                self._ready()
                return


def connect(address: tuple[str, int], tls: Tls | None) -> socket.socket:
    """A connection that never blocks; raises OSError."""
    host = address[0].encode("ascii" if address[0].isascii() else "idna")  # as str always loads that codec
    sock = socket.create_connection((host, address[1]), CONNECT_TIMEOUT)  # type: ignore[arg-type]
    try:
        if sock.getsockname() == sock.getpeername():  # nobody listens, and the kernel joined us to ourselves
            raise ConnectionRefusedError("Connection refused")
        if tls:
            sock = tls.wrap(sock)
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in KEEP_ALIVE:
            if hasattr(socket, option):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    except OSError:
        sock.close()
        raise
    return sock
