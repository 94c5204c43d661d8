"""To InfluxDB 1, QuestDB and others with its `/write`: at least once; equal times overwrite."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, unquote

from linemon.parts.forward.flow import Block
from linemon.parts.forward.targets._http import SECRET, HttpTarget, Settings
from linemon.parts.forward.targets._points import points

__all__ = ["SECRET", "TLS", "Settings", "To"]
TLS = True


class To(HttpTarget):
    PORT = 8086

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._path, _, database = self._path.rpartition("/")
        if not database:
            raise ValueError(f"to = {self.config.shown!r}: expected the database too, such as 'influx://host:8086/DB'")
        self._database = quote(unquote(database), safe="")

    def target(self) -> str:
        return f"{self._path}/write?db={self._database}&precision=ns{'&' + self._query if self._query else ''}"

    def lines(self, blocks: list[Block]) -> str:
        return points(blocks)
