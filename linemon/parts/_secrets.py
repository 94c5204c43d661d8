"""What must not be shown of secrets, and texts without it: of libraries and far sides, too, which may repeat them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from urllib.parse import quote, quote_plus, unquote

SHORTEST: Final = 4  # characters of a secret: what is shorter stands in many words
MOST_SHOWN: Final = 300  # characters of an error


def secrets_of(texts: Iterable[str]) -> tuple[str, ...]:
    """What must not be shown of secrets; of addresses among them also what is beside the host. The longest first."""
    found: set[str] = set()
    for text in texts:
        login, _, path, query = split(text)
        user, _, password = login.partition(":")
        found |= {text, path, path.strip("/"), query, user, password}
    found |= {said for each in found for said in (unquote(each), quote(each), quote(each, safe=""), quote_plus(each))}
    return tuple(sorted((each for each in found if len(each) >= SHORTEST), key=len, reverse=True))


def hidden(address: str) -> list[str]:
    """What nobody may see of an address: user, password, and the values of its query."""
    login, _, _, query = split(address)
    user, _, password = login.partition(":")
    return [each for each in (user, password, *(pair.partition("=")[2] for pair in query.split("&"))) if each]


def split(address: str) -> tuple[str, str, str, str]:
    """User and password, host or hosts, path, and query of an address; empty where it has none, or is none.

    Not `urlsplit`: from Python 3.14 on it takes no list of hosts with one in brackets in it.
    """
    rest, _, query = address.partition("://")[2].partition("#")[0].partition("?")
    authority, slash, path = rest.partition("/")
    login, _, hosts = authority.rpartition("@")
    return login, hosts, slash + path, query


def bare(address: str) -> str:
    """An address without them."""
    scheme, _, rest = address.partition(":")
    authority, slash, path = rest.removeprefix("//").partition("/")
    if not rest.startswith("//"):  # a folder
        return f"{scheme}:{rest}"
    return f"{scheme}://{authority.rpartition('@')[2].partition('?')[0]}{slash}{path.partition('?')[0]}"


def clean(text: str, secrets: Iterable[str]) -> str:
    """The text in one line, without the secrets."""
    for secret in secrets:
        text = text.replace(secret, "...")
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:MOST_SHOWN]
