"""Listening sockets, and the files that a process may have open."""

from __future__ import annotations

import asyncio
import errno
import logging
import resource
import socket
from collections.abc import Callable, Iterator

from linemon.logs import Seldom

log = logging.getLogger(__name__)

NO_FILE_LEFT = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
REST_S = 1.0


class Listener:
    """A listening socket, and the connections that wait at it.

    Where the system has no file left for one more, nobody watches the socket for a second: connections that cannot be
    taken keep it readable, and a loop would turn on it without rest.
    """

    def __init__(
        self,
        host: str,
        port: int,
        watch: Callable[[socket.socket], object],
        unwatch: Callable[[socket.socket], object],
    ) -> None:
        """Listen, and have it watched: `accepted` is to be called when it is readable. OSError names the address."""
        self._sock = listen(host, port)
        self.port = int(self._sock.getsockname()[1])  # where the setting says 0, the one we got
        self._watch, self._unwatch = watch, unwatch
        self._resting: asyncio.TimerHandle | None = None
        self._told = Seldom()
        watch(self._sock)

    def accepted(self) -> Iterator[tuple[socket.socket, str]]:
        """The connections that wait, which do not block, each with the address of its peer."""
        while True:
            try:
                sock, address = self._sock.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in NO_FILE_LEFT:
                    self._rest(error)
                return  # else it was gone before we came
            sock.setblocking(False)
            yield sock, str(address[0]).removeprefix("::ffff:")

    def close(self) -> None:
        if self._resting:
            self._resting.cancel()
        else:
            self._unwatch(self._sock)
        self._sock.close()

    def _rest(self, error: OSError) -> None:
        self._unwatch(self._sock)
        self._resting = asyncio.get_running_loop().call_later(REST_S, self._go_on)
        if self._told.due():
            log.warning("port %d takes no connection for now: %s", self.port, error.strerror)

    def _go_on(self) -> None:
        self._resting = None
        self._watch(self._sock)


def allow_files(count: int) -> int:
    """Let this process have so many open files, as far as the system allows; returns how many it allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < count:
        log.warning("this system allows %d open files: not as many connections as max_connections", allowed)
    return allowed


def listen(host: str, port: int) -> socket.socket:
    """A listening, non-blocking socket; OSError names the address."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)
            sock.listen(1024)
        except BaseException:
            sock.close()
            raise
    except OSError as error:
        raise OSError(error.errno, f"cannot listen on {host}:{port}: {error.strerror}") from error
    sock.setblocking(False)
    return sock
