"""Who may connect, and who may write what: networks, connections a peer, tokens and the sources they open. No I/O."""

from __future__ import annotations

import hmac
import ipaddress
from collections import Counter
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from hashlib import sha256

ANY_SOURCE = ("*",)
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Grant:
    """What a token opens: sources whose name fits one of the patterns (``*``, ``?``, ``[abc]`` as in a shell)."""

    def __init__(self, sources: tuple[str, ...] = ANY_SOURCE) -> None:
        self.is_limited = "*" not in sources
        self._sources = sources

    def covers(self, source: str) -> bool:
        return not self.is_limited or any(fnmatchcase(source, pattern) for pattern in self._sources)


EVERYTHING = Grant()


class Tokens:
    """The tokens that a port asks for; false where it asks for none."""

    def __init__(self, tokens: Iterable[tuple[str, tuple[str, ...]]] = ()) -> None:
        self._grants = [(sha256(secret.encode()).digest(), Grant(sources)) for secret, sources in tokens]

    def __bool__(self) -> bool:
        return bool(self._grants)

    def find(self, secret: bytes) -> Grant | None:
        """What this secret opens, None if it is no token. The time it takes tells nothing about the tokens."""
        given, found = sha256(secret).digest(), None
        for digest, grant in self._grants:
            if hmac.compare_digest(digest, given):
                found = grant
        return found


NO_TOKENS = Tokens()


def is_from(peer: str, networks: Sequence[Network]) -> bool:
    """Whether an address lies in one of the networks; where none is named every one does."""
    if not networks:
        return True
    address = ipaddress.ip_address(peer.partition("%")[0])
    return any(address in network for network in networks)


class Door:
    """Lets peers of some networks in (none named: all), each with so many connections at a time.

    Peers of this machine's loopback, where tunnels and proxies end, may have as many as the port holds.
    """

    def __init__(self, networks: Sequence[Network], max_per_peer: int) -> None:
        self._networks = networks
        self._max_per_peer = max_per_peer
        self._inside: Counter[str] = Counter()
        self.strangers = 0  # connections from elsewhere
        self.crowded = 0  # connections beyond what their peer may have

    def enter(self, peer: str) -> bool:
        """Whether this peer may connect; who enters must `leave`."""
        if not is_from(peer, self._networks):
            self.strangers += 1
            return False
        if self._inside[peer] >= self._max_per_peer and not ipaddress.ip_address(peer.partition("%")[0]).is_loopback:
            self.crowded += 1
            return False
        self._inside[peer] += 1
        return True

    def leave(self, peer: str) -> None:
        self._inside[peer] -= 1
        if not self._inside[peer]:
            del self._inside[peer]
