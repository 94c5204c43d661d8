"""One subscription: has its origin take, and says how it is."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

from linemon.config import Config
from linemon.parts._port import Output
from linemon.parts.subscribe.origin import Origin
from linemon.store.folder import own_folder

TELL_S: Final = 1.0


class Subscription:
    """The part."""

    def __init__(self, config: Config, origin: Origin, table: dict[str, Any]) -> None:
        self.name = f"subscribe.{origin.config.title}"
        self.settings = table, config.store, config.work, config.tcp, config.tls
        self._config, self._origin = config, origin

    def state(self) -> dict[str, Any]:
        return {"from": self._origin.config.shown, **self._origin.totals(), **self._origin.state()}

    async def run(self) -> None:
        """Take until cancelled; once a second say how it is."""
        own_folder(self._config.state_folder, 0o700)
        output = Output(self._config, f"linemon.{self.name}")
        task = asyncio.create_task(self._origin.run(self._config))
        try:
            while not task.done():
                counts = self._origin.totals()
                units = {name: "s" if name.endswith("_s") else "" for name in counts}
                output.send(units, [(time.time_ns(), counts.values())])
                await asyncio.wait([task], timeout=TELL_S)
            await task
        finally:
            task.cancel()
            await asyncio.wait([task])
            output.close()
