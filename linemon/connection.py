"""One connection that sends lines: its socket, and what a device's session needs of it."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Callable
from ipaddress import ip_address

from linemon.lines.session import Session


class LineConnection:
    """One peer: its socket, the number of that, and what it said."""

    __slots__ = ("_heard", "_is_open_wide", "_speak", "fd", "has_ended", "session", "sock")

    def __init__(self, sock: socket.socket, session: Session) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.session = session
        self.has_ended = False  # the end of the stream is behind what was not read yet

    def link(self, heard: list[float], speak: Callable[[LineConnection], None], is_open_wide: bool) -> None:
        """Let the session reach its peer: `heard`, by descriptor, when each was; `speak` sends what there is to say."""
        self._heard, self._speak, self._is_open_wide = heard, speak, is_open_wide
        self.session.link = self

    @property
    def is_private(self) -> bool:
        """Nobody else reads what is said, or nobody minds."""
        if self._is_open_wide or isinstance(self.sock, ssl.SSLSocket) or self.session.peer.startswith("unix"):
            return True
        return ip_address(self.session.peer.partition("%")[0]).is_loopback

    def silent_s(self) -> float:
        return time.monotonic() - self._heard[self.fd]

    def wake(self) -> None:
        """Soon: it may be one that is being read."""
        asyncio.get_running_loop().call_soon(self._speak, self)
