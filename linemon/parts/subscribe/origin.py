"""What an origin is: the base of those in origins/, and the settings that all have."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from linemon.errors import ConfigError
from linemon.parts._secrets import bare, clean

NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")


@dataclass(frozen=True)
class SubscribeConfig:
    """The keys of a [[subscribe]] that all schemes have."""

    name: str = ""
    from_: str = ""

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.title):
            raise ConfigError(
                f"[[subscribe]] {self.title!r}: expected a name of 1 to 64 letters, digits, . _ or -; it needs `name`"
            )

    @property
    def title(self) -> str:
        """Its name, or else the host of `from`."""
        try:
            return self.name or urlsplit(self.from_).hostname or ""
        except ValueError:
            return ""

    @property
    def shown(self) -> str:
        """`from` as anybody may see it: without user, password and query."""
        return bare(self.from_)


class Origin:
    """Where messages come from. Its methods are called in a thread of the subscription's own, and may block.

    They raise LinemonError or OSError; `close` is called then, and `open` again a little later.
    """

    def __init__(self, config: SubscribeConfig, settings: Any, secrets: tuple[str, ...], state: Path) -> None:
        """`state`: a file of its own, for what must outlive the process."""
        self.config, self.settings, self._secrets, self._file = config, settings, secrets, state
        self.counts: Counter[str] = Counter(dict.fromkeys(("messages", "unmapped", "unreadable", "rejected"), 0))

    def check(self) -> list[str]:
        """For `linemon check`: what is allowed and perhaps not meant."""
        return []

    def open(self) -> None:
        """Be connected; what waits there comes from now on."""
        raise NotImplementedError

    def take(self, seconds: float) -> tuple[str, int]:
        """The lines of the messages that have come, and how many messages these are; it waits so long for one."""
        raise NotImplementedError

    def done(self) -> None:
        """What was taken is held by the collector: it need not come again."""
        raise NotImplementedError

    def close(self) -> None:
        """Let go of the connection. What was taken and is not done comes again."""

    def clean(self, text: str) -> str:
        return clean(text, self._secrets)
