"""Who may connect, and who may write what: networks, names of this machine, pages of other sites, connections a peer,
tokens and the sources they open. No I/O.
"""

from __future__ import annotations

import hmac
import ipaddress
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from urllib.parse import urlsplit

from linemon.patterns import fits, is_exclusion

ANY_SOURCE = ("*",)
OF_PARTS = ("linemon.*", "*~*")  # what parts write: about themselves, and outputs SOURCE~NAME
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Grant:
    """What a token opens: sources whose name fits the patterns; ``*`` alone is all of them."""

    def __init__(
        self,
        sources: tuple[str, ...] = ANY_SOURCE,
        is_admin: bool = False,
        enrols: bool = False,
        required: tuple[str, ...] = (),
        device: tuple[str, str] | None = None,
    ) -> None:
        """`is_admin`: it also lets one change what others see, such as acknowledge an alarm.

        `enrols`: a device that registers with it gets a token of its own; `device`: it is the own one of this product
        and serial. `required`: patterns of sources that only their registered devices write.
        """
        self.is_admin, self.enrols, self.device = is_admin, enrols, device
        self._opens_all = "*" in sources and not any(map(is_exclusion, sources))
        self.is_limited = not self._opens_all or bool(required)
        self._sources, self._required = sources, required

    def covers(self, source: str | None) -> bool:
        """Whether it lets one write to a source; None stands for all of them."""
        return self._opens_all or (source is not None and fits(self._sources, source))

    def wants_device(self, source: str | None) -> bool:
        """Whether only its registered device may write to a source."""
        return bool(self._required) and source is not None and fits(self._required, source)

    def may_mark(self, source: str | None) -> bool:
        """Whether it lets one set a mark of a source, or of all: parts mark what they read."""
        return self._sources == OF_PARTS or self.covers(source)


EVERYTHING = Grant(is_admin=True)


class Tokens:
    """The tokens that a port asks for; false where it asks for none.

    `key`: the secret of the parts of `linemon work`, good wherever tokens are asked for. `admins`: those of `tokens`
    that are an admin's. `enrolling`: those by which devices get one of their own. `required`: as of a grant.
    """

    def __init__(
        self,
        tokens: Iterable[tuple[str, tuple[str, ...]]] = (),
        key: str = "",
        admins: Iterable[str] = (),
        enrolling: Iterable[str] = (),
        required: tuple[str, ...] = (),
    ) -> None:
        admins, enrolling = set(admins), set(enrolling)
        self._grants = [
            (sha256(secret.encode()).digest(), Grant(sources, secret in admins, secret in enrolling, required))
            for secret, sources in tokens
        ]
        if self._grants and key:
            self._grants.append((sha256(key.encode()).digest(), Grant(OF_PARTS)))
        self.open = Grant(is_admin=True, required=required) if required else EVERYTHING
        """What may be written where no token is asked for."""
        self.of_devices: Callable[[bytes], Grant | None] = lambda secret: None
        """Finds what a device's own token opens."""

    def __bool__(self) -> bool:
        return bool(self._grants)

    def find(self, secret: bytes) -> Grant | None:
        """What this secret opens, None if it is no token. The time it takes tells nothing about the tokens."""
        given, found = sha256(secret).digest(), None
        for digest, grant in self._grants:
            if hmac.compare_digest(digest, given):
                found = grant
        return found or (self.of_devices(secret) if self._grants else None)


NO_TOKENS = Tokens()


def is_from(peer: str, networks: Sequence[Network]) -> bool:
    """Whether an address lies in one of the networks; where none is named every one does."""
    if not networks:
        return True
    address = ipaddress.ip_address(peer.partition("%")[0])
    return any(address in network for network in networks)


@dataclass(frozen=True)
class Origin:
    """A site as `allow_origins` names it: ``lab.example``, ``lab.example:8443`` or ``https://lab.example:8443``.

    Without a scheme it stands for both, without scheme and port for any port; ``*`` is every site.
    """

    scheme: str
    host: str
    port: int | None

    @classmethod
    def parse(cls, text: str) -> Origin:
        """ValueError if the text is not a site."""
        if text == "*":
            return cls("", "*", None)
        match = re.fullmatch(r"(?:(https?)://)?(\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(?::([0-9]{1,5}))?", text.lower())
        if match is None or int(match[3] or 1) not in range(1, 65536):
            raise ValueError(text)
        scheme, host, port = match[1] or "", match[2].strip("[]"), int(match[3]) if match[3] else None
        return cls(scheme, host, port or DEFAULT_PORTS.get(scheme))

    def covers(self, scheme: str, host: str, port: int | None) -> bool:
        """Whether a page that says so of itself is of this site."""
        return self.host == "*" or (
            host == self.host and self.scheme in ("", scheme) and self.port in (None, port or DEFAULT_PORTS.get(scheme))
        )


DEFAULT_PORTS = {"http": 80, "https": 443}


class Sites:
    """By which names a port may be asked for, and which other sites' pages may ask.

    A browser lets every page ask this machine's ports, and every name of somebody else's DNS may stand for 127.0.0.1.
    """

    def __init__(self, origins: tuple[Origin, ...]) -> None:
        self._origins = origins
        self._names = {"localhost", os.uname().nodename.lower(), *(origin.host for origin in origins)}

    def has_name(self, host: str) -> bool:
        """Whether a request with this Host can only come from a page of ours: an address, or a name of this machine."""
        name = _split("//" + host)[1]
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name in self._names or name.endswith(".localhost") or "*" in self._names
        return True

    def lists(self, origin: str) -> bool:
        """Whether pages of this Origin are of a site that is listed."""
        said = _split(origin)
        return any(each.covers(*said) for each in self._origins)


def is_from_there(origin: str, host: str) -> bool:
    """Whether a page of this Origin came from the port that it asks by the Host `host`."""
    return origin.partition("://")[2].lower() == host.lower()


def _split(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port of a URL; empty, and None, where it has none."""
    try:
        parts = urlsplit(url)
        return parts.scheme, parts.hostname or "", parts.port
    except ValueError:
        return "", "", None


class Door:
    """Lets peers of some networks in (none named: all), each with so many connections at a time.

    Connections, not what is asked over them: a request or a line is bounded in itself, and all take turns. Peers of
    this machine's loopback, where tunnels and proxies end, may have as many as the port holds.
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
