"""What a target is: the base of those in targets/, what their failures mean, and the settings that all have."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from typing import Any, Final

from linemon.errors import ConfigError, LinemonError
from linemon.logs import Seldom
from linemon.parts._far import NAME, host_of
from linemon.parts._secrets import bare, clean
from linemon.parts.forward.flow import Block, Flow
from linemon.sections import Span

log = logging.getLogger(__name__)

SINCE: Final = ("now", "start")
DENIED_S: Final = 60.0  # from one question of who is not let in to the next


@dataclass(frozen=True)
class ForwardConfig:
    """The keys of a [[forward]] that all schemes have. `rename` empty: as its tier asks for."""

    name: str = ""
    to: str = ""
    sources: tuple[str, ...] = ("*",)
    columns: tuple[str, ...] = ()
    tier: str = ""
    rename: str = ""
    every: Span = Span(1)
    batch: int = 1000
    since: str = "now"
    relay: bool = False
    timeout: Span = Span(10)

    def __post_init__(self) -> None:
        where = f"[[forward]] {self.title!r}"
        if not NAME.fullmatch(self.title):
            raise ConfigError(f"{where}: expected a name of 1 to 64 letters, digits, . _ or -; this one needs `name`")
        if self.since not in SINCE:
            raise ConfigError(f"{where} since = {self.since!r}: expected one of: {', '.join(SINCE)}")
        try:
            made = self.far_name("a"), self.far_name("b")
        except (KeyError, IndexError, ValueError):
            made = "", ""
        if not made[0] or (made[0] == made[1] and not self.is_of_one):
            raise ConfigError(
                f"{where} rename = {self.rename!r}: expected a name with {{source}} in it, and {{tier}} if wanted; "
                "without {source} only where `sources` is one exact name"
            )

    @property
    def is_of_one(self) -> bool:
        """Whether it sends one source."""
        return len(self.sources) == 1 and not re.search(r"[*?\[!]", self.sources[0])

    @property
    def title(self) -> str:
        """Its name, or else the host of `to`."""
        return self.name or host_of(self.to)

    def far_name(self, source: str) -> str:
        """What a source is called there."""
        return (self.rename or ("{source}/{tier}" if self.tier else "{source}")).format(source=source, tier=self.tier)

    @property
    def shown(self) -> str:
        """`to` as anybody may see it: without user, password and query."""
        return bare(self.to)


class Later(LinemonError):
    """It cannot be sent now, and is sent again. `after`: seconds that the far side asks for."""

    def __init__(self, text: str, after: float | None = None) -> None:
        super().__init__(text)
        self.after = after


class Denied(LinemonError):
    """The far side does not let us in: nothing is lost, and it is asked once a minute."""


class Refused(LinemonError):
    """The far side will never take all of these rows. `count`: so many it did not take, of which the others are held;
    None: it took none, and they are sent again in halves, so that only the bad ones are refused.
    """

    def __init__(self, text: str, count: int | None = None) -> None:
        super().__init__(text)
        self.count = count


class TooLong(Refused):
    """The far side takes no batch of this length."""


class Target:
    """One far side. Its methods are called in a thread of the forward's own, and may block for `timeout`.

    They raise `Later`, `Denied`, `Refused`, `TooLong` or OSError; after each of these but `Refused` and `TooLong`,
    `close` is called, and `begin` again for all flows.
    """

    def __init__(self, config: ForwardConfig, settings: Any, secrets: tuple[str, ...]) -> None:
        self.config, self.settings, self._secrets = config, settings, secrets
        self._refusal = ""
        self._refusals = Seldom()

    def check(self) -> list[str]:
        """For `linemon check`: what is allowed and perhaps not meant. ConfigError where more is wrong."""
        return []

    @property
    def address(self) -> str:
        """Whose cursors these are, as anybody may see it: another address begins anew."""
        return self.config.shown

    def place(self, source: str) -> str:
        """Where rows of a source come to lie there: two forwards must not share it."""
        return self.config.far_name(source)

    def begin(self, flows: list[Flow], oldest: dict[Flow, int]) -> None:
        """Say of each flow where it goes on: `Flow.begin`, or `Flow.deny`. `oldest`: the first row that can be sent.

        Here for a far side that keeps no cursor.
        """
        for flow in flows:
            flow.begin()

    def send(self, blocks: list[Block]) -> None:
        """Send them, in order. `Flow.held` once the far side has them: now, in a later `send`, or in `settle`."""
        raise NotImplementedError

    def settle(self) -> None:
        """All that there was to send is sent: wait until it is held, where that is soon."""

    def close(self) -> None:
        """Let go of the connection. What is not held is sent again."""

    def state(self) -> dict[str, Any]:
        """What else is to be shown of it."""
        return {"last refused": self._refusal} if self._refusal else {}

    def refuse(self, flow: Flow, count: int, why: str) -> None:
        """So many rows of this flow, which `Flow.held` passes, were not taken: count it, and tell once a minute."""
        flow.refuse(count)
        self._refusal = self.clean(why)
        if times := self._refusals.due():
            more = f" ({times} times since the last such line)" if times > 1 else ""
            log.warning("forward %s: rows are refused: %s%s", self.config.title, self._refusal, more)

    def clean(self, text: str) -> str:
        return clean(text, self._secrets)
