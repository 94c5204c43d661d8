"""What must not be shown of secrets, and texts without it: of libraries and far sides, too, which may repeat them."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Final
from urllib.parse import quote, quote_plus, urlsplit

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
    found |= {said for each in found for said in (quote(each), quote(each, safe=""), quote_plus(each))}
    return tuple(sorted((each for each in found if len(each) >= SHORTEST), key=len, reverse=True))


def clean(text: str, secrets: Iterable[str]) -> str:
    """The text in one line, without the secrets."""
    for secret in secrets:
        text = text.replace(secret, "...")
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:MOST_SHOWN]
