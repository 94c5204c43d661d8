"""What must not be shown of secrets, and texts without it: of libraries and far sides, too, which may repeat them."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Final
from urllib.parse import quote, quote_plus, unquote, urlsplit

SHORTEST: Final = 4  # characters of a secret: what is shorter stands in many words
MOST_SHOWN: Final = 300  # characters of an error


def secrets_of(texts: Iterable[str]) -> tuple[str, ...]:
    """What must not be shown of secrets; of addresses among them also what is beside the host. The longest first."""
    found: set[str] = set()
    for text in texts:
        found.add(text)
        with suppress(ValueError):  # no address
            parts = urlsplit(text)
            found |= {parts.path, parts.path.strip("/"), parts.query, parts.password or "", parts.username or ""}
    found |= {said for each in found for said in (unquote(each), quote(each), quote(each, safe=""), quote_plus(each))}
    return tuple(sorted((each for each in found if len(each) >= SHORTEST), key=len, reverse=True))


def hidden(address: str) -> list[str]:
    """What nobody may see of an address: user, password, and the values of its query."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return [address]
    values = [pair.partition("=")[2] for pair in parts.query.split("&")]
    return [each for each in (parts.username, parts.password, *values) if each]


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
