"""What an origin is: the base of those in origins/, and the settings that all have."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from linemon.config import Config
from linemon.errors import ConfigError, LinemonError
from linemon.parts._far import NAME, Denied, host_of, shown
from linemon.parts._secrets import clean
from linemon.parts.subscribe.port import Port
from linemon.sections import Span

BACK_OFF_S: Final = (1.0, 60.0)
DENIED_S: Final = 60.0  # from one question of who is not let in to the next


@dataclass(frozen=True)
class SubscribeConfig:
    """The keys of a [[subscribe]] that all schemes have."""

    name: str = ""
    from_: str = ""
    timeout: Span = Span(10)

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.title):
            raise ConfigError(
                f"[[subscribe]] {self.title!r}: expected a name of 1 to 64 letters, digits, . _ or -; this one needs "
                "`name`"
            )

    @property
    def title(self) -> str:
        """Its name, or else the host of `from`."""
        return self.name or host_of(self.from_)

    @property
    def shown(self) -> str:
        """`from` as anybody may see it."""
        return shown(self.from_)


class House(NamedTuple):
    """What an origin works with."""

    port: Callable[[], Port]  # makes a connection to the collector, for lines
    file: Path  # of its own, for what must outlive it


class Origin:
    """Where one subscription takes from. `run` is in the loop of all parts: it must not block."""

    def __init__(self, config: SubscribeConfig, settings: Any, secrets: tuple[str, ...]) -> None:
        self.config, self.settings, self._secrets = config, settings, secrets

    def what(self) -> str:
        """What is taken, for `linemon check`."""
        raise NotImplementedError

    def check(self, config: Config) -> list[str]:
        """For `linemon check`: what is allowed and perhaps not meant. ConfigError where more is wrong."""
        return []

    async def run(self, house: House) -> None:
        """Take, until cancelled: whatever is away is waited for."""
        raise NotImplementedError

    def counts(self) -> dict[str, float]:
        """What the source `linemon.subscribe.NAME` has: totals, and ``behind_s``."""
        raise NotImplementedError

    def state(self) -> dict[str, Any]:
        """What else is to be shown."""
        return {}

    def clean(self, text: str) -> str:
        return clean(text, self._secrets)


class BackOff:
    """How long to wait after the n-th failure in a row."""

    def __init__(self) -> None:
        self._failures = 0

    def worked(self) -> None:
        self._failures = 0

    def after(self, error: LinemonError) -> float:
        """Seconds."""
        if isinstance(error, Denied):
            return DENIED_S
        least, most = BACK_OFF_S
        self._failures += 1
        return float(min(most, least * 2 ** min(self._failures - 1, 10)) * random.uniform(0.75, 1.0))  # noqa: S311
