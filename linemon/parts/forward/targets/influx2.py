"""To InfluxDB 2 and 3: at least once; equal times overwrite."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, quote, unquote

from linemon.parts.forward.flow import Block
from linemon.parts.forward.targets._http import SECRET, HttpTarget, Settings
from linemon.parts.forward.targets._points import points

__all__ = ["SECRET", "TLS", "Settings", "To"]
TLS = True


class To(HttpTarget):
    PORT = 8086

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._path, _, bucket = self._path.rpartition("/")
        org = parse_qs(self._query).get("org", [""])[0]
        if not (bucket and org):
            raise ValueError(
                f"to = {self.config.shown!r}: expected bucket and organisation, 'influx2://host:8086/BUCKET?org=ORG'"
            )
        self._where = f"org={quote(org, safe='')}&bucket={quote(unquote(bucket), safe='')}"

    def authorization(self, token: str) -> str:
        return f"Token {token}"

    def target(self) -> str:
        return f"{self._path}/api/v2/write?{self._where}&precision=ns"

    def lines(self, blocks: list[Block]) -> str:
        return points(blocks)
