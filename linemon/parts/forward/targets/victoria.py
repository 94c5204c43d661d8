"""To VictoriaMetrics, by its `/write`: at least once; only with its `-dedup.minScrapeInterval` equal rows are one.

It answers before rows are on its disk, so what is younger than ten seconds is sent again after a break; and 204 where
it leaves rows out, too, so its own counters are looked at once a minute.
"""

from __future__ import annotations

import logging
import re
import time
from collections import deque
from typing import Any, Final

from linemon.parts.forward.flow import Block, held
from linemon.parts.forward.targets._http import SECRET, HttpTarget, Settings
from linemon.parts.forward.targets._points import points

__all__ = ["SECRET", "TLS", "Settings", "To"]
TLS = True
LOOK_S: Final = 60.0
AGAIN_S: Final = 10.0
LEFT_OUT: Final = re.compile(r"^vm_rows_(invalid|ignored)_total(?:\{[^}]*\})? ([0-9.e+]+)$", re.M)

log = logging.getLogger(__name__)


class To(HttpTarget):
    PORT = 8428

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._young: deque[tuple[list[Block], float]] = deque()  # what was taken, and when
        self._looked = float("-inf")
        self._left_out: dict[str, float] = {}

    def target(self) -> str:
        return f"{self._path}/write?precision=ns{'&' + self._query if self._query else ''}"

    def lines(self, blocks: list[Block]) -> str:
        return points(blocks).replace('"', "_")  # a name with one would begin a string there

    def taken(self, blocks: list[Block]) -> None:
        self._young.append((blocks, time.monotonic()))

    def close(self) -> None:
        super().close()
        self._young.clear()

    def settle(self) -> None:
        while self._young and self._young[0][1] <= time.monotonic() - AGAIN_S:
            held(self._young.popleft()[0])
        if time.monotonic() - self._looked < LOOK_S:
            return
        self._looked = time.monotonic()
        status, _, said = self.ask("GET", f"{self._path}/metrics")
        counts = {"invalid": 0.0, "ignored": 0.0}
        for what, count in LEFT_OUT.findall(said if status == 200 else ""):
            counts[what] += float(count)
        for what, count in counts.items():
            if count > self._left_out.get(what, count):
                log.warning("forward %s: VictoriaMetrics left out %d rows as %s", self.config.title, count, what)
        self._left_out = counts

    def state(self) -> dict[str, Any]:
        return super().state() | {f"{what} there": int(count) for what, count in self._left_out.items() if count}
