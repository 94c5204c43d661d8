"""Lines to the collector's port, of many sources, and whether it has them. It blocks."""

from __future__ import annotations

import logging
import socket
from typing import Final

from linemon.config import Config
from linemon.errors import LinemonError
from linemon.logs import Seldom
from linemon.parts._port import find, tls_of

log = logging.getLogger(__name__)

ANSWER_S: Final = 30.0
WAIT: Final = ("store_full", "token")  # reasons that pass: the lines are to come again


class Port:
    """A connection that is made when it is needed."""

    def __init__(self, config: Config, name: str) -> None:
        self._config, self._name = config, name
        self._sock: socket.socket | None = None
        self._heard = b""
        self._rejected = 0  # of this connection, as it counts them
        self.rejected = 0
        self._rejects = Seldom()

    def give(self, lines: str) -> None:
        """Have them stored, or rejected and counted. LinemonError, OSError: they may or may not be; give them again."""
        if self._sock is None:
            self._open()
        assert self._sock
        self._sock.sendall(f"{lines}#stats\n".encode())
        errors = []
        while True:
            data = self._sock.recv(1 << 16)
            if not data:
                raise LinemonError("the collector has closed the connection")
            *answers, self._heard = (self._heard + data).split(b"\n")
            for answer in answers:
                word, _, rest = answer.decode(errors="replace").partition(" ")
                if word == "#error":
                    errors.append(rest.partition(" ")[2])
                elif word == "#stats":
                    return self._settle(errors, dict(each.split("=") for each in rest.split()))

    def _settle(self, errors: list[str], stats: dict[str, str]) -> None:
        for why in errors:
            if why.partition(":")[0] in WAIT:
                raise LinemonError(f"the collector takes no lines: {why}")
        count = int(stats["rejected"]) + int(stats["dropped"])
        if errors and self._rejects.due():
            log.warning("%s: the collector rejects lines: %s", self._name, errors[-1])
        self.rejected += count - self._rejected
        self._rejected = count

    def _open(self) -> None:
        address, token = find(self._config)
        token = self._config.work.token or self._config.tcp.token or token
        sock = socket.create_connection((address.host, address.port), ANSWER_S)
        tls = tls_of(self._config, address)
        self._sock = sock = tls.wrap(sock) if tls else sock
        sock.settimeout(ANSWER_S)
        self._heard, self._rejected = b"", 0
        sock.sendall(((f"#token {token}\n" if token else "") + "#errors on\n").encode())

    def close(self) -> None:
        if self._sock is not None:
            self._sock.close()
            self._sock = None
