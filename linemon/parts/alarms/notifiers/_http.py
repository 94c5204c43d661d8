"""HTTP for notifiers: one request, and what its failure means."""

from __future__ import annotations

import ssl
from contextlib import suppress
from functools import cache
from http.client import HTTPException
from typing import Any, Final
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, Request, build_opener

from linemon.parts._retry import retry_after
from linemon.parts.alarms.notifier import Later, Refused
from linemon.ports import Address

TEMPORARY: Final = (408, 425, 429)  # and 500 and above
WAIT: Final = (429, 503)  # it wants to be left alone
MOST: Final = 1 << 20  # bytes of an answer


class _NoRedirect(HTTPRedirectHandler):
    """A POST that is sent elsewhere would become a GET, and what it told be lost."""

    def redirect_request(self, *_: Any) -> None:
        return None


@cache
def _opener() -> OpenerDirector:
    return build_opener(_NoRedirect)


class Answered(Exception):
    """Another status than 2xx."""

    def __init__(self, host: str, error: HTTPError) -> None:
        self.host, self.status, self.body = host, error.code, error.read(MOST)
        self.after = retry_after(error.headers.get("Retry-After", ""))

    def meaning(self, words: str = "") -> Later | Refused:
        """What it means where nothing else is known of the peer."""
        text = f"{self.host} answers {self.status} {words or self.body[:200].decode(errors='replace')}".strip()
        if self.status in TEMPORARY or self.status >= 500:
            return Later(text, self.after, whole=self.status in WAIT)
        return Refused(text)


def ask(url: str, body: bytes | None, headers: dict[str, str], timeout: float) -> bytes:
    """POST a body, or GET; what is answered. `Answered`, or `Later` and `Refused` where nothing was."""
    host = urlsplit(url).hostname or ""
    request = Request(url, body, {"User-Agent": "linemon", **headers})  # noqa: S310  `check` has looked at the scheme
    try:
        with _opener().open(request, timeout=timeout) as response:
            return bytes(response.read(MOST))
    except HTTPError as error:
        with error:
            raise Answered(host, error) from None
    except URLError as error:
        raise unreachable(host, error.reason) from None
    except (OSError, HTTPException) as error:
        raise unreachable(host, error) from None


def send(url: str, body: bytes | None, headers: dict[str, str], timeout: float) -> bytes:
    """The same; `Later` or `Refused` for each failure."""
    try:
        return ask(url, body, headers, timeout)
    except Answered as answered:
        raise answered.meaning() from None


def unreachable(host: str, error: object) -> Later | Refused:
    """Why a peer cannot be spoken to, without its address."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return Refused(f"{host} has a certificate that is not trusted: {error.verify_message}")
    if isinstance(error, TimeoutError):
        return Later(f"{host} does not answer in time")
    words = error.strerror if isinstance(error, OSError) else ""
    return Later(f"{host} cannot be reached: {words or type(error).__name__}")


def check(key: str, url: str) -> None:
    """ValueError, which does not show it, if it is no address of the web."""
    with suppress(ValueError):
        parts = urlsplit(url)
        if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:
            return
    raise ValueError(f'{key}: expected an address such as "https://example.org/hook"')


def warnings(url: str) -> list[str]:
    """Where what is sent can be read on the way."""
    parts = urlsplit(url)
    if parts.scheme == "https" or Address(parts.hostname or "", 0).is_loopback:
        return []
    return [f"it sends to {parts.hostname} without https: others may read it"]
