"""Origins whose library blocks: messages are taken in a thread of their own, their lines handed to the collector, and
only then are they done with over there. So what comes is stored at least once.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
from collections import Counter
from typing import Any, Final

from linemon.config import Config
from linemon.errors import LinemonError
from linemon.parts._aside import aside
from linemon.parts.subscribe.origin import Origin
from linemon.parts.subscribe.port import Port

log = logging.getLogger(__name__)

BACK_OFF_S: Final = (1.0, 60.0)
LOOK_S: Final = 0.25  # that the thread waits for a message before it looks whether it is to end
END_S: Final = 8.0


class Blocking(Origin):
    """Its methods `open`, `take`, `done` and `close` are called in the thread, and may block.

    They raise LinemonError or OSError; `close` is called then, and `open` again a little later.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.counts: Counter[str] = Counter(dict.fromkeys(("messages", "unmapped", "unreadable", "rejected"), 0))
        self._port: Port | None = None
        self._ends = threading.Event()
        self._away = ""  # why it takes nothing

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

    def totals(self) -> dict[str, float]:
        counts = dict[str, float](self.counts)
        return counts | {"rejected": counts["rejected"] + (self._port.rejected if self._port else 0)}

    def state(self) -> dict[str, Any]:
        return {"away": self._away} if self._away else {}

    async def run(self, config: Config) -> None:
        self._port = self._port or Port(config, f"subscribe.{self.config.title}")
        self._ends.clear()
        work = aside(self._work)
        try:
            await asyncio.wait([work])
            work.result()
        finally:
            self._ends.set()
            await asyncio.wait([work], timeout=END_S)

    def _work(self) -> None:
        """The thread."""
        assert self._port
        port, failures = self._port, 0
        try:
            while not self._ends.is_set():
                try:
                    self.open()
                    while not self._ends.is_set():
                        lines, count = self.take(LOOK_S)
                        if lines:
                            port.give(lines)
                        if count:
                            self.done()
                        failures, self._away = 0, ""
                except (LinemonError, OSError) as error:
                    failures += 1
                    self._fails(error)
                    least, most = BACK_OFF_S
                    self._ends.wait(min(most, least * 2 ** min(failures - 1, 10)) * random.uniform(0.75, 1.0))  # noqa: S311
        finally:
            self.close()
            port.close()

    def _fails(self, error: LinemonError | OSError) -> None:
        assert self._port
        self.close()
        self._port.close()
        why = self.clean(str(error) if isinstance(error, LinemonError) else error.strerror or str(error))
        if not self._away:
            log.warning("subscribe.%s: %s; what is published meanwhile waits there", self.config.title, why)
        self._away = why
