"""Each event as JSON, posted to an address."""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import dataclass
from urllib.parse import urlsplit

from linemon.parts.alarms.message import Message
from linemon.parts.alarms.notifier import Notifier
from linemon.parts.alarms.notifiers import _http

SECRET = ("url", "secret")


@dataclass(frozen=True)
class Settings:
    url: str = ""
    secret: str = ""

    def __post_init__(self) -> None:
        _http.check("url", self.url)


class Notify(Notifier):
    ALONE = True

    def host(self) -> str:
        return urlsplit(self.settings.url).hostname or ""

    def check(self) -> list[str]:
        return _http.warnings(self.settings.url)

    def tell(self, message: Message) -> None:
        """With `secret` also its HMAC-SHA256 (RFC 2104), in hexadecimal."""
        event = message.event
        body = json.dumps(event.as_json()).encode()
        headers = {"Content-Type": "application/json", "Idempotency-Key": f"{event.key}/{event.seq}"}
        if self.settings.secret:
            signature = hmac.new(self.settings.secret.encode(), body, hashlib.sha256).hexdigest()
            headers["X-Linemon-Signature"] = signature
        _http.send(self.settings.url, body, headers, self.timeout)
