"""Telegram: messages from a bot, with a picture, and the commands that people send to it.

The Bot API is described at https://core.telegram.org/bots/api.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import time
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

from linemon.logs import Seldom
from linemon.parts._aside import aside
from linemon.parts.alarms import commands
from linemon.parts.alarms.message import Message, cut, plain
from linemon.parts.alarms.notifier import House, Later, Notifier, Refused, attempted
from linemon.parts.alarms.notifiers import _http
from linemon.parts.alarms.waiting import BACK_OFF_S

log = logging.getLogger(__name__)

SECRET = ("token", "api")
MOST: Final = 8000  # bytes of UTF-16: 4,000 of its characters, 4,096 is its limit
MOST_CAPTION: Final = 2000  # of 1,024
POLL_S: Final = 50
PER_MINUTE: Final = 20  # commands


@dataclass(frozen=True)
class Settings:
    token: str = ""
    chats: tuple[int, ...] = ()
    users: tuple[int, ...] = ()
    api: str = "https://api.telegram.org"
    dark: bool = False

    def __post_init__(self) -> None:
        if not self.token:
            raise ValueError('token: expected a bot\'s token such as "${TELEGRAM_TOKEN}"')
        if not self.chats:
            raise ValueError("chats = []: expected a list of numbers such as [123456]")
        _http.check("api", self.api)


class Notify(Notifier):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._counts: Counter[str] = Counter()
        self._taken: deque[float] = deque()  # when commands of the last minute came
        self._trouble = ""
        self._seldom = Seldom()

    def host(self) -> str:
        return urlsplit(self.settings.api).hostname or ""

    def check(self) -> list[str]:
        return _http.warnings(self.settings.api)

    def state(self) -> dict[str, Any]:
        """`commands` that were obeyed, and updates of `strangers`; `trouble` with hearing them."""
        return {**self._counts, **({"trouble": self._trouble} if self._trouble else {})}

    # -- telling

    def tell(self, message: Message) -> None:
        chats = {str(chat): chat for chat in self.settings.chats}
        to = self.unserved(message, chats)
        picture = message.picture(self.settings.dark)
        text = f"{message.title}\n{message.text(MOST // 4)}"
        self.served(message, {each: attempted(partial(self._say, chats[each], text, picture)) for each in to})

    def _say(self, chat: int, text: str, picture: bytes | None = None) -> None:
        """As plain text: names from anywhere are no markup. Without the picture where it is not taken."""
        if picture:
            fields = {"chat_id": str(chat), "caption": cut(text, MOST_CAPTION, "utf-16-le")}
            try:
                self._call("sendPhoto", *form(fields, "photo", picture))
                return
            except Bad:
                pass
        self._call("sendMessage", *as_json({"chat_id": chat, "text": cut(text, MOST, "utf-16-le")}))

    def _call(self, method: str, body: bytes, kind: str, timeout: float = 0) -> Any:
        """The result of a method of the Bot API."""
        url = f"{self.settings.api.rstrip('/')}/bot{self.settings.token}/{method}"
        try:
            answer = _http.ask(url, body, {"Content-Type": kind}, timeout or self.timeout)
        except _http.Answered as answered:
            raise self._meaning(answered) from None
        try:
            return json.loads(answer)["result"]
        except (ValueError, KeyError, TypeError):
            raise Later(f"{self.host()} answers what is no answer of the Bot API") from None

    def _meaning(self, answered: _http.Answered) -> Later | Refused:
        try:
            said = json.loads(answered.body)
            words, parameters = str(said.get("description", "")), said.get("parameters") or {}
            answered.after = parameters.get("retry_after", answered.after)
            if chat := parameters.get("migrate_to_chat_id"):
                words += f": chats should have {chat} in its place"
        except (ValueError, AttributeError, TypeError):
            words = ""
        meaning = answered.meaning(words)
        return Bad(str(meaning)) if answered.status == 400 else meaning

    # -- commands

    async def listen(self, house: House) -> None:
        """Ask for updates for ever, and do what those who may command say."""
        wait, is_first, missed = BACK_OFF_S[0], True, Counter[int]()
        while True:
            try:
                updates = await aside(partial(self._updates, house.mark(self._mark) + 1, 0 if is_first else POLL_S))
            except (Later, Refused) as error:
                self._troubled(str(error))
                after = error.after if isinstance(error, Later) else None
                await asyncio.sleep(wait if after is None else after)
                wait = min(2 * wait, BACK_OFF_S[1])
                continue
            wait, self._trouble = BACK_OFF_S[0], ""
            if updates:
                house.note(self._mark, max(each["update_id"] for each in updates))  # none is done twice
            if is_first:
                missed.update(chat for chat, _, _ in self._orders(updates))
                is_first = len(updates) == 100  # as many as one answer holds
                for chat, count in missed.items() if not is_first else ():
                    came, it = ("1 command", "it") if count == 1 else (f"{count} commands", "them")
                    await self._answer(chat, f"{came} came while I was away: send {it} again")
            else:
                for chat, text, by in self._orders(updates):
                    await self._obey(house, chat, text, by)

    @property
    def _mark(self) -> str:
        return f"telegram/{self.name}"

    def _updates(self, offset: int, wait: int) -> list[dict[str, Any]]:
        said = {"offset": offset, "timeout": wait, "allowed_updates": ["message"]}
        found = self._call("getUpdates", *as_json(said), timeout=self.timeout + wait)
        return [each for each in found if isinstance(each, dict) and isinstance(each.get("update_id"), int)]

    def _troubled(self, text: str) -> None:
        self._trouble = self.clean(text)
        if self._seldom.due():
            log.error("%s: commands: %s", self.label, self._trouble)

    def _orders(self, updates: Iterable[dict[str, Any]]) -> list[tuple[int, str, str]]:
        """Chat, text and who sent it, of those that may command; others are counted, and hear nothing."""
        found = []
        for each in updates:
            said = each.get("message")
            if not isinstance(said, dict) or not isinstance(text := said.get("text"), str):
                continue
            if "forward_origin" in said or "forward_date" in said:
                continue
            chat, sender = said.get("chat", {}).get("id"), said.get("from", {})
            users = self.settings.users
            if chat not in self.settings.chats or (users and sender.get("id") not in users):
                self._counts["strangers"] += 1
                continue
            found.append(
                (chat, text, f"{plain(str(sender.get('username') or sender.get('id') or chat))} by {self.name}")
            )
        return found

    async def _obey(self, house: House, chat: int, text: str, by: str) -> None:
        now = time.monotonic()
        while self._taken and self._taken[0] < now - 60:
            self._taken.popleft()
        if len(self._taken) >= PER_MINUTE:
            self._counts["ignored"] += 1
            return
        self._taken.append(now)
        self._counts["commands"] += 1
        answer, picture = await commands.obey(house, text, by, self.settings.dark)
        await self._answer(chat, answer, picture)

    async def _answer(self, chat: int, text: str, picture: bytes | None = None) -> None:
        try:
            await aside(partial(self._say, chat, text, picture))
        except (Later, Refused) as error:  # whoever asked asks again
            self._troubled(str(error))


class Bad(Refused):
    """400: it does not take what was sent."""


def as_json(said: dict[str, Any]) -> tuple[bytes, str]:
    return json.dumps(said).encode(), "application/json"


def form(fields: dict[str, str], name: str, png: bytes) -> tuple[bytes, str]:
    """A form with a picture in it (multipart/form-data, RFC 7578)."""
    edge, head = secrets.token_hex(16), "Content-Disposition: form-data; name="
    parts = [f'--{edge}\r\n{head}"{key}"\r\n\r\n{value}\r\n' for key, value in fields.items()]
    parts += [f'--{edge}\r\n{head}"{name}"; filename="chart.png"\r\nContent-Type: image/png\r\n\r\n']
    body = "".join(parts).encode() + png + f"\r\n--{edge}--\r\n".encode()
    return body, f"multipart/form-data; boundary={edge}"
