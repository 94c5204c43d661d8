"""Addresses, and the sections of linemon.toml for the ports that are closed unless they are set; the others are in
config.py.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from linemon.access import Network
from linemon.errors import ConfigError
from linemon.homes import expanded

MODES = {"owner": 0o700, "group": 0o750, "everyone": 0o755}  # of the store's folder, by who may read
WRITE_MODES = {"owner": 0o600, "group": 0o660, "everyone": 0o666}  # of a socket, by who may write
UNIX_BYTES = 107  # of a socket's path: what the system takes

Networks = tuple[Network, ...]


@dataclass(frozen=True)
class Address:
    """Where to listen or connect to: ``host:port``, an IPv6 host in brackets."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """ValueError if the text is not ``host:port``."""
        host, colon, port = text.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if not (colon and host and port.isascii() and port.isdecimal() and int(port) < 65536):
            raise ValueError(text)
        return cls(host, int(port))

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def from_here(self) -> Address:
        """Where this machine reaches a port that listens there."""
        return Address({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host), self.port)  # noqa: S104

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class UdpConfig:
    listen: Address | None = None
    buffer: int = 4194304
    allow: Networks = ()
    allow_open: bool = False

    @property
    def tls(self) -> bool:
        return False


@dataclass(frozen=True)
class UnixConfig:
    path: str = ""
    writable_by: str = "owner"
    max_connections: int = 1000
    idle_timeout: float = 300.0

    def __post_init__(self) -> None:
        if self.writable_by not in WRITE_MODES:
            words = ", ".join(WRITE_MODES)
            raise ConfigError(f"[unix] writable_by = {self.writable_by!r}: expected one of: {words}")
        if len(bytes(self.file)) > UNIX_BYTES:
            raise ConfigError(f"[unix] path = {self.path!r}: a socket's path has at most {UNIX_BYTES} bytes")

    @property
    def file(self) -> Path:
        return expanded("[unix] path", self.path)

    @property
    def mode(self) -> int:
        """What the socket lets whom do."""
        return WRITE_MODES[self.writable_by]
