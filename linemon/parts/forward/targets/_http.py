"""HTTP for far sides: one connection that stays, bodies in gzip, and what answers mean."""

from __future__ import annotations

import base64
import gzip
import http.client
import re
import ssl
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from linemon.parts._retry import retry_after
from linemon.parts.forward.flow import Block, held
from linemon.parts.forward.target import Denied, Later, Refused, Target, TooLong
from linemon.ports import Address

TEMPORARY: Final = (408, 425, 429)  # and 500 and above
UNFIT: Final = re.compile(r"partial write|beyond retention|field type conflict")  # InfluxDB says so with 500, too
DROPPED: Final = re.compile(r"dropped=(\d+)")
MOST: Final = 1 << 16  # bytes of an answer


@dataclass(frozen=True)
class Settings:
    user: str = ""
    password: str = ""
    token: str = ""
    ca: str = ""


SECRET = ("password", "token")


class HttpTarget(Target):
    """The base of those that take lines by HTTP. `PORT`: where no other is said."""

    PORT = 0

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        parts = urlsplit(self.config.to)
        if not parts.hostname or parts.port == 0:
            raise ValueError(f"to = {self.config.shown!r}: expected an address such as '{parts.scheme}://host'")
        self._address = Address(parts.hostname, parts.port or self.PORT)
        self._is_tls = parts.scheme.endswith("s")
        self._path, self._query = parts.path.rstrip("/"), parts.query
        settings = self.settings
        user, password = (
            settings.user or unquote(parts.username or ""),
            settings.password or unquote(parts.password or ""),
        )
        self._headers = {
            "User-Agent": "linemon",
            "Content-Encoding": "gzip",
            "Content-Type": "text/plain; charset=utf-8",
        }
        if settings.token:
            self._headers["Authorization"] = self.authorization(settings.token)
        elif user:
            basic = base64.b64encode(f"{user}:{password}".encode()).decode()
            self._headers["Authorization"] = f"Basic {basic}"
            self._secrets = (basic, *self._secrets)
        self._connection: http.client.HTTPConnection | None = None

    def authorization(self, token: str) -> str:
        return f"Bearer {token}"

    def check(self) -> list[str]:
        if "Authorization" in self._headers and not (self._is_tls or self._address.is_loopback):
            return [f"it sends a password or token to {self._address.host} without tls: others may read it"]
        return []

    def lines(self, blocks: list[Block]) -> str:
        """What these rows are there."""
        raise NotImplementedError

    def target(self) -> str:
        """Path and query of a POST."""
        raise NotImplementedError

    def send(self, blocks: list[Block]) -> None:
        if text := self.lines(blocks):
            status, headers, said = self.ask("POST", self.target(), gzip.compress(text.encode(), 1))
            judge(f"{self._address.host} answers {status} {said}".strip(), status, headers.get("Retry-After", ""))
        self.taken(blocks)

    def taken(self, blocks: list[Block]) -> None:
        """It has answered that it took them."""
        held(blocks)

    def ask(self, method: str, target: str, body: bytes | None = None) -> tuple[int, http.client.HTTPMessage, str]:
        """The status, the headers and the beginning of what is answered. OSError, or `Later` where nothing is."""
        while True:
            is_fresh = self._connection is None
            connection = self._connection = self._connection or self._made()
            try:
                connection.request(method, target, body, self._headers)
                answer = connection.getresponse()
                said = answer.read(MOST)
                if answer.read(1) or answer.will_close:
                    self._drop()
                return answer.status, answer.headers, said.decode(errors="replace")
            except (OSError, http.client.HTTPException) as error:
                self._drop()
                host = self._address.host
                if isinstance(error, ssl.SSLCertVerificationError):
                    raise Denied(f"{host} has a certificate that is not trusted: {error.verify_message}") from None
                if isinstance(error, TimeoutError):
                    raise Later(f"{host} does not answer in time") from None
                if is_fresh:  # else it was closed while nothing was to be sent
                    why = getattr(error, "strerror", None) or str(error) or type(error).__name__
                    raise Later(f"{host} does not answer: {why}") from None

    def _made(self) -> http.client.HTTPConnection:
        host, port, timeout = self._address.host, self._address.port, float(self.config.timeout)
        if self._is_tls:
            context = ssl.create_default_context(cafile=self.settings.ca or None)
            return http.client.HTTPSConnection(host, port, timeout=timeout, context=context)
        return http.client.HTTPConnection(host, port, timeout=timeout)

    def close(self) -> None:
        self._drop()

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def judge(said: str, status: int, after: str) -> None:
    """Raise what an answer means, where it is not that all was taken."""
    if 200 <= status < 300:
        return
    if status == 413:
        raise TooLong(said)
    if status in (400, 422) or (status == 500 and UNFIT.search(said)):
        dropped = DROPPED.search(said)
        raise Refused(said, int(dropped[1]) if dropped and "partial write" in said else None)
    if status in TEMPORARY or status >= 500:
        raise Later(said, retry_after(after))
    raise Denied(said)
