"""Apprise: a library that speaks to more than a hundred services (https://github.com/caronc/apprise)."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from linemon.errors import ConfigError
from linemon.parts.alarms.message import Message
from linemon.parts.alarms.notifier import Later, Notifier, Refused, attempted

SECRET = ("urls",)
KINDS: Final = ("success", "warning", "failure")  # by level
MOST: Final = 10_000  # characters; it cuts, or splits, as the service asks


@dataclass(frozen=True)
class Settings:
    urls: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.urls:
            raise ValueError('urls: expected a list of addresses such as ["ntfy://my-alarms"]')


class Notify(Notifier):
    """Each address for itself, so that it is known which have taken it."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._urls = {f"urls[{i}]": url for i, url in enumerate(self.settings.urls)}  # what is shown of them

    def check(self) -> list[str]:
        for name, url in self._urls.items():
            if made(url) is None:
                raise ConfigError(f"[[notify]] {self.name!r} {name}: Apprise takes no such address")
        return []

    def tell(self, message: Message) -> None:
        names = self.unserved(message, self._urls)
        self.served(message, {name: attempted(partial(self._tell, message, name)) for name in names})

    def _tell(self, message: Message, name: str) -> None:
        if (service := made(self._urls[name])) is None:
            raise Refused(f"{name}: Apprise takes no such address")
        if not service.notify(message.text(MOST), message.title, KINDS[message.level]):
            raise Later(f"{name} was not taken", whole=False)


def made(url: str) -> Any:
    """Apprise's object for this address alone; None if it takes none such."""
    from apprise import Apprise

    for name in ("apprise", "urllib3"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)  # they log addresses
    service = Apprise()
    return service if service.add(url) else None
