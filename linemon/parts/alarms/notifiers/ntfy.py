"""ntfy: messages on a phone, through ntfy.sh or a server of one's own (https://docs.ntfy.sh/publish)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from linemon.parts.alarms.message import Message, cut
from linemon.parts.alarms.notifier import Notifier
from linemon.parts.alarms.notifiers import _http

SECRET = ("url", "token")
PRIORITIES: Final = (3, 4, 5)  # by level
TAGS: Final = ("white_check_mark", "warning", "rotating_light")
MOST: Final = 3800  # bytes; beyond 4,096 a message becomes an attachment


@dataclass(frozen=True)
class Settings:
    url: str = ""
    token: str = ""

    def __post_init__(self) -> None:
        _http.check("url", self.url)
        if not urlsplit(self.url).path.strip("/"):
            raise ValueError('url: expected the address of a topic such as "https://ntfy.sh/my-alarms"')


class Notify(Notifier):
    def host(self) -> str:
        return urlsplit(self.settings.url).hostname or ""

    def check(self) -> list[str]:
        return _http.warnings(self.settings.url)

    def tell(self, message: Message) -> None:
        """With headers; where they could not hold the title, as JSON."""
        text, level = cut(message.text(MOST), MOST), message.level
        headers = {"Authorization": f"Bearer {self.settings.token}"} if self.settings.token else {}
        if message.title.isascii():
            headers |= {"Title": message.title, "Priority": str(PRIORITIES[level]), "Tags": TAGS[level]}
            headers |= {"Click": message.link} if message.link else {}
            _http.send(self.settings.url, text.encode(), headers, self.timeout)
            return
        server, _, topic = self.settings.url.rstrip("/").rpartition("/")
        said: dict[str, Any] = {"topic": topic, "title": message.title, "message": text}
        said |= {"priority": PRIORITIES[level], "tags": [TAGS[level]]}
        said |= {"click": message.link} if message.link else {}
        headers["Content-Type"] = "application/json"
        _http.send(server, json.dumps(said).encode(), headers, self.timeout)
