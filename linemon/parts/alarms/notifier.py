"""What a notifier is: the base of those in notifiers/, what their failures mean, and what may be shown of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from linemon.errors import ConfigError, LinemonError
from linemon.parts._secrets import clean
from linemon.parts.alarms.message import Message
from linemon.sections import Span

NAME: Final = re.compile(r"[A-Za-z0-9 ._-]{1,64}")
LEVELS: Final = ("warning", "critical")
MOST_SERVED: Final = 1000


@dataclass(frozen=True)
class NotifyConfig:
    """The keys of a [[notify]] that all kinds have."""

    name: str = ""
    kind: str = ""
    level: str = "warning"
    timeout: Span = Span(30)

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise ConfigError(f"[[notify]] name = {self.name!r}: expected 1 to 64 letters, digits, blanks, . _ or -")
        if self.level not in LEVELS:
            raise ConfigError(f"[[notify]] {self.name!r} level = {self.level!r}: expected one of: {', '.join(LEVELS)}")


class Later(LinemonError):
    """It could not be told now. `after`: seconds that the peer asks for; `whole`: nor could anything else be."""

    def __init__(self, text: str, after: float | None = None, whole: bool = True) -> None:
        super().__init__(text)
        self.after, self.whole = after, whole


class Refused(LinemonError):
    """It will never be taken as it is."""


class Answers(Protocol):
    """What the part answers to commands that people send, in the loop. LinemonError says why it cannot."""

    def status(self, name: str) -> str:
        """How this source is; of an empty name: what fires."""

    def ack(self, n: int, by: str) -> str:
        """Acknowledge the incident of this number; what was done."""

    def silence(self, pattern: str, span: float, by: str) -> str:
        """Silence for `span` seconds; what was done."""

    def limits(self, source: str, column: str) -> list[tuple[int, float]]:
        """Levels and limits of the alarms of a column, for pictures."""


class House(Protocol):
    """What a notifier that listens may use."""

    answers: Answers | None

    def picture(self, source: str, column: str, span: float, dark: bool) -> bytes:
        """The last `span` seconds as PNG. It blocks. LinemonError where there is nothing to draw."""

    def names(self) -> dict[str, tuple[str, ...]]:
        """The sources, and their columns."""

    def mark(self, name: str) -> int:
        """What was noted under that name, 0 where nothing was."""

    def note(self, name: str, number: int) -> None:
        """Note a number that outlives the process."""


class Notifier:
    """One [[notify]]."""

    ALONE = False  # each event by itself and at once, for machines

    def __init__(self, config: NotifyConfig, settings: Any, secrets: tuple[str, ...]) -> None:
        self.name, self.level, self.timeout = config.name, 1 + LEVELS.index(config.level), float(config.timeout)
        self.settings = settings
        self._secrets = secrets
        self.kind = config.kind
        self.label = f"{config.kind} {config.name} {self.host()}".rstrip()  # all that is ever shown of it
        self._served: dict[str, set[str]] = {}  # by message: who of several has taken it

    def host(self) -> str:
        """Whom it speaks to, as may be shown."""
        return ""

    def check(self) -> list[str]:
        """For `linemon check`: what is allowed and perhaps not meant. ConfigError where more is wrong."""
        return []

    def tell(self, message: Message) -> None:
        """Tell it, in a thread. `Later` and `Refused` say what became of it; after other errors it is tried again."""
        raise NotImplementedError

    async def listen(self, house: House) -> None:
        """What else it does while it can be told, in the loop."""

    def state(self) -> dict[str, Any]:
        """What else is to be shown of it."""
        return {}

    def close(self) -> None:
        """Let go of what it holds."""

    def unserved(self, message: Message, targets: Iterable[str]) -> list[str]:
        """Those of several targets that have not taken this message."""
        return [each for each in targets if each not in self._served.get(message.id, ())]

    def served(self, message: Message, results: Mapping[str, Later | Refused | None]) -> None:
        """Note who has taken it, and raise the gravest of what failed: only who did not is told again."""
        if len(self._served) > MOST_SERVED:
            self._served.clear()
        done = {target for target, error in results.items() if not isinstance(error, Later)}
        self._served.setdefault(message.id, set()).update(done)
        errors = [error for error in results.values() if error]
        later = [error for error in errors if isinstance(error, Later)]
        if not later:
            del self._served[message.id]
        for error in later or errors:
            raise error

    def clean(self, text: str) -> str:
        return clean(text, self._secrets)

    def lacks(self, error: ImportError) -> str:
        """Which library is not there, and what to do."""
        return f"it needs {error.name}, which is not installed: pip install 'linemon[{self.kind}]'"


def attempted(send: Callable[[], object]) -> Later | Refused | None:
    """How one of several went."""
    try:
        send()
    except (Later, Refused) as error:
        return error
    return None
