"""One subscription: takes messages from its origin, hands their lines to the collector, and only then says so there.

So what comes is stored at least once. It has a thread of its own: an origin that is away keeps no other part waiting.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
import time
from typing import Any, Final

from linemon.config import Config
from linemon.errors import LinemonError
from linemon.parts._aside import aside
from linemon.parts._port import Output
from linemon.parts.subscribe.origin import Origin
from linemon.parts.subscribe.port import Port
from linemon.store.folder import own_folder

log = logging.getLogger(__name__)

BACK_OFF_S: Final = (1.0, 60.0)
LOOK_S: Final = 0.25  # that the thread waits for a message before it looks whether it is to end
TELL_S: Final = 1.0
END_S: Final = 8.0


class Subscription:
    """The part."""

    def __init__(self, config: Config, origin: Origin, table: dict[str, Any]) -> None:
        self.name = f"subscribe.{origin.config.title}"
        self.settings = table, config.store, config.work, config.tcp, config.tls
        self._config, self._origin = config, origin
        self._port = Port(config, self.name)
        self._ends = threading.Event()
        self._away = ""  # why it takes nothing

    def state(self) -> dict[str, Any]:
        said = {"from": self._origin.config.shown, **self._counts()}
        return said | ({"away": self._away} if self._away else {})

    def _counts(self) -> dict[str, int]:
        counts = dict(self._origin.counts)
        return counts | {"rejected": counts["rejected"] + self._port.rejected}

    async def run(self) -> None:
        """Take until cancelled; once a second say how it is."""
        own_folder(self._config.state_folder, 0o700)
        output = Output(self._config, f"linemon.{self.name}")
        self._ends.clear()
        work = aside(self._work)
        try:
            while not work.done():
                counts = self._counts()
                output.send(dict.fromkeys(counts, ""), [(time.time_ns(), map(float, counts.values()))])
                await asyncio.wait([work], timeout=TELL_S)
            work.result()
        finally:
            self._ends.set()
            output.close()
            await asyncio.wait([work], timeout=END_S)

    def _work(self) -> None:
        """The thread."""
        failures = 0
        try:
            while not self._ends.is_set():
                try:
                    self._origin.open()
                    while not self._ends.is_set():
                        lines, count = self._origin.take(LOOK_S)
                        if lines:
                            self._port.give(lines)
                        if count:
                            self._origin.done()
                        failures, self._away = 0, ""
                except (LinemonError, OSError) as error:
                    failures += 1
                    self._fails(error)
                    least, most = BACK_OFF_S
                    self._ends.wait(min(most, least * 2 ** min(failures - 1, 10)) * random.uniform(0.75, 1.0))  # noqa: S311
        finally:
            self._origin.close()
            self._port.close()

    def _fails(self, error: LinemonError | OSError) -> None:
        self._origin.close()
        self._port.close()
        why = self._origin.clean(str(error) if isinstance(error, LinemonError) else error.strerror or str(error))
        if not self._away:
            log.warning("%s: %s; what is published meanwhile waits there", self.name, why)
        self._away = why
