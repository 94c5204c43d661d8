"""To Graphite's plaintext port: ``source.column value seconds``.

It answers nothing, so it is at least once: a row counts as held ten seconds after the peer's system has acknowledged
its bytes, and what is younger is sent again after a break.
"""

from __future__ import annotations

import fcntl
import logging
import re
import socket
import struct
import termios
import time
from collections import deque
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from linemon.parts.forward.flow import Block, held
from linemon.parts.forward.target import Later, Target
from linemon.ports import Address
from linemon_sender.dialler import connect

TLS = False
SECRET = ()
AGAIN_S: Final = 10.0
OTHER: Final = re.compile(r"[^A-Za-z0-9_.-]")
OTHER_IN_TAGS: Final = re.compile(r"[^A-Za-z0-9_.;=-]")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    pass


class To(Target):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        parts = urlsplit(self.config.to)
        if not parts.hostname or parts.path.strip("/"):
            raise ValueError(f"to = {self.config.shown!r}: expected an address such as 'graphite://host:2003'")
        self._address = Address(parts.hostname, parts.port or 2003)
        self._sock: socket.socket | None = None
        self._sent: deque[tuple[list[Block], float]] = deque()  # what is not held yet, and since when it is there
        self._names: dict[str, tuple[str, str]] = {}  # what a source and a column are called there
        self._known: dict[tuple[str, str, bool], str] = {}
        self._collisions = 0

    def send(self, blocks: list[Block]) -> None:
        if self._sock is None:
            self._sock = connect((self._address.host, self._address.port), None)
        text = "".join([self._lines(block) for block in blocks])
        self._sock.settimeout(float(self.config.timeout))
        self._sock.sendall(text.encode())
        self._sent.append((blocks, 0.0))
        self.settle()

    def _lines(self, block: Block) -> str:
        columns = block.rows.columns
        names = [self._name(block.flow.name, column, len(columns) == 1) for column in columns]
        seconds = (block.rows.time.view("int64") // 10**9).tolist()
        return "".join(
            f"{name} {value!r} {second}\n"
            for second, values in zip(seconds, block.rows.values.tolist(), strict=True)
            for name, value in zip(names, values, strict=True)
            if value == value
        )

    def _name(self, source: str, column: str, is_lone: bool) -> str:
        name = self._known.get((source, column, is_lone))
        if name is None:
            name = self._known[source, column, is_lone] = metric(source, column, is_lone)
            other = self._names.setdefault(name, (source, column))
            if other != (source, column):
                self._collisions += 1
                if self._collisions == 1:
                    log.warning(
                        "forward %s: %r and %r are one there: %s", self.config.title, other, (source, column), name
                    )
        return name

    def settle(self) -> None:
        if self._sock is None:
            return
        self._sock.settimeout(0.0)
        try:
            if not self._sock.recv(4096):
                raise Later(f"{self._address} has closed the connection")
        except BlockingIOError:
            pass
        now = time.monotonic()
        (waits,) = struct.unpack("i", fcntl.ioctl(self._sock, termios.TIOCOUTQ, b"    "))
        if waits == 0:
            self._sent = deque((blocks, since or now) for blocks, since in self._sent)
        while self._sent and 0 < self._sent[0][1] <= now - AGAIN_S:
            held(self._sent.popleft()[0])

    def close(self) -> None:
        self._sent.clear()
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    def state(self) -> dict[str, Any]:
        return super().state() | ({"collisions": self._collisions} if self._collisions else {})


def metric(source: str, column: str, is_lone: bool) -> str:
    """A name of Graphite's: tags behind ``;`` stay there, a lone column `value` goes by its source's name."""
    name, semicolon, tags = source.partition(";")
    if semicolon and not all(key and value for key, _, value in (tag.partition("=") for tag in tags.split(";"))):
        name, semicolon, tags = source, "", ""
    name = name if column == "value" and is_lone else f"{name}.{column}"
    return OTHER.sub("_", name) + semicolon + OTHER_IN_TAGS.sub("_", tags)
