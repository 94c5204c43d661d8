"""Listening sockets, and the files that a process may have open."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import resource
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from linemon.logs import Seldom

log = logging.getLogger(__name__)

NO_FILE_LEFT = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
REST_S = 1.0
LONGEST_ADDRESS = 103  # bytes of a path that is a socket's address, everywhere
OPEN_FILES = Path("/proc/self/fd")


class Listener:
    """A listening socket, and the connections that wait at it.

    Where the system has no file left for one more, nobody watches the socket for a second: connections that cannot be
    taken keep it readable, and a loop would turn on it without rest.
    """

    def __init__(
        self,
        sock: socket.socket,
        watch: Callable[[socket.socket], object],
        unwatch: Callable[[socket.socket], object],
    ) -> None:
        """Have a listening socket watched: `accepted` is to be called when it is readable."""
        self._sock = sock
        self._is_unix = sock.family == socket.AF_UNIX
        self.port = 0 if self._is_unix else int(sock.getsockname()[1])  # where the setting says 0, the one we got
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
            yield sock, user_of(sock) if self._is_unix else str(address[0]).removeprefix("::ffff:")

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
            where = self._sock.getsockname() if self._is_unix else f"port {self.port}"
            log.warning("%s takes no connection for now: %s", where, error.strerror)

    def _go_on(self) -> None:
        self._resting = None
        self._watch(self._sock)


def user_of(sock: socket.socket) -> str:
    """Who is at the other end of a Unix socket: `unix:UID`; where the system does not tell, `unix`."""
    if not hasattr(socket, "SO_PEERCRED"):
        return "unix"
    return f"unix:{struct.unpack('3i', sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[1]}"


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
    sock = bound(host, port, socket.SOCK_STREAM)
    sock.listen(1024)
    return sock


def bound(host: str, port: int, kind: socket.SocketKind = socket.SOCK_DGRAM) -> socket.socket:
    """A non-blocking socket at an address; OSError names it."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=kind, flags=socket.AI_PASSIVE)[0]
        sock = socket.socket(family, kind, protocol)
        try:
            if kind == socket.SOCK_STREAM:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)
        except BaseException:
            sock.close()
            raise
    except OSError as error:
        raise OSError(error.errno, f"cannot listen on {host}:{port}: {error.strerror}") from error
    sock.setblocking(False)
    return sock


def listen_unix(path: Path, mode: int) -> socket.socket:
    """A listening, non-blocking socket in the file system; OSError names it.

    One that nobody listens at, as a killed process leaves it, is replaced; anything else that is there is left alone.
    """
    sock = socket.socket(socket.AF_UNIX)
    try:
        if path.is_socket() and _is_left(path):
            path.unlink()
        before = os.umask(0o177)  # until it is told who may write, nobody else may
        try:
            with address_of(path) as address:
                sock.bind(address)
        finally:
            os.umask(before)
        path.chmod(mode)
        sock.listen(1024)
    except OSError as error:
        sock.close()
        raise OSError(error.errno, f"cannot listen on {path}: {error.strerror or error}") from error
    sock.setblocking(False)
    return sock


@contextmanager
def address_of(path: Path) -> Iterator[str]:
    """The address of a socket in the file system. Where its path is too long for one it goes by its open folder."""
    if len(os.fsencode(path)) <= LONGEST_ADDRESS or not OPEN_FILES.exists():
        yield str(path)
        return
    fd = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield str(OPEN_FILES / str(fd) / path.name)
    finally:
        os.close(fd)


def _is_left(path: Path) -> bool:
    """Whether nobody listens at a socket."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.setblocking(False)
        try:
            with address_of(path) as address:
                sock.connect(address)
        except ConnectionRefusedError:
            return True
        except OSError:
            pass
    return False
