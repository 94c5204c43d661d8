"""History: buckets of rows, kept longer than the rows (docs/HISTORY.md)."""

from __future__ import annotations

import asyncio
from typing import Any

from linemon.config import Config


class History:
    name = "history"

    def __init__(self, config: Config) -> None:
        self.settings = config.store, config.history

    async def run(self) -> None:
        while True:
            await asyncio.sleep(1)

    def state(self) -> dict[str, Any]:
        return {}


def parts(config: Config) -> list[History]:
    return [History(config)] if config.history.enabled else []
