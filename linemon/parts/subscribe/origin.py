"""What an origin is: the base of those in origins/, and the settings that all have."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from linemon.config import Config
from linemon.errors import ConfigError
from linemon.parts._far import NAME, host_of
from linemon.parts._secrets import bare, clean


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
        return self.name or host_of(self.from_)

    @property
    def shown(self) -> str:
        """`from` as anybody may see it: without user, password and query."""
        return bare(self.from_)


class Origin:
    """Where one subscription takes from."""

    def __init__(self, config: SubscribeConfig, settings: Any, secrets: tuple[str, ...], state: Path) -> None:
        """`state`: a file of its own, for what must outlive the process."""
        self.config, self.settings, self._secrets, self._file = config, settings, secrets, state

    def check(self, config: Config) -> list[str]:
        """For `linemon check`: what is allowed and perhaps not meant."""
        return []

    async def run(self, config: Config) -> None:
        """Take until cancelled, in the loop of all parts: it must not block. Whatever is away is waited for."""
        raise NotImplementedError

    def totals(self) -> dict[str, float]:
        """What the source `linemon.subscribe.NAME` has."""
        raise NotImplementedError

    def state(self) -> dict[str, Any]:
        """What else is to be shown."""
        return {}

    def clean(self, text: str) -> str:
        return clean(text, self._secrets)
