"""What Prometheus scrapes: linemon's own counters, and the newest values of the sources that are asked for."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from linemon.access import Grant
from linemon.errors import StoreError
from linemon.http.request import Request
from linemon.http.site import Family, Query, Route, Site, pairs_of
from linemon.patterns import fits

TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
TOTALS: Final = {
    "received": "Data lines and points that came.",
    "stored": "Of these, those that are rows now.",
    "duplicate": "Of these, numbered lines that were held already.",
    "rejected": "Of these, those that were not taken, by reason.",
    "dropped": "Of these, those that were lost here, by reason.",
    "lost": "Lines that numbering senders threw away before they sent them.",
    "ahead": "Rows whose time is later than the clock.",
}
ESCAPES: Final = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


class Metrics(Family):
    """The counters and values, in Prometheus's text format."""

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self._started = time.monotonic()

    def metrics(self, request: Request, query: Query, grant: Grant) -> None:
        patterns = [said for name, said in pairs_of(request.query) if name == "sources"]
        self.site.spawn(request, request.give(TYPE, self._pieces(patterns)))

    def _pieces(self, patterns: list[str]) -> Iterator[bytes]:
        yield self._counters().encode()
        if patterns:
            yield from self._values(patterns)

    def _counters(self) -> str:
        status = self.house.status()
        said = ""
        for name, meaning in TOTALS.items():
            said += f"# HELP linemon_{name}_total {meaning}\n# TYPE linemon_{name}_total counter\n"
            counts = status[name]
            if isinstance(counts, dict):
                said += "".join(sample(f"linemon_{name}_total", count, reason=key) for key, count in counts.items())
            else:
                said += sample(f"linemon_{name}_total", counts)
        gauges = {
            "sources": ("Sources in the store.", len(self.house.store)),
            "connections": ("Connections that send lines.", status["connections"]),
            "uptime_seconds": ("Since the collector started.", round(time.monotonic() - self._started, 3)),
        }
        for name, (meaning, value) in gauges.items():
            said += f"# HELP linemon_{name} {meaning}\n# TYPE linemon_{name} gauge\n" + sample(f"linemon_{name}", value)
        return said

    def _values(self, patterns: list[str]) -> Iterator[bytes]:
        """The newest row of each source, a line a column, and how many lines were too many."""
        room, left_out = self.site.config.max_metrics, 0
        yield b"# HELP linemon_value The newest value of a source's column.\n# TYPE linemon_value gauge\n"
        for name in sorted(name for name in self.house.store if name in patterns or fits(patterns, name)):
            with suppress(StoreError):  # forgotten meanwhile, or cannot be read
                source = self.house.store[name]
                left_out += max(0, len(source.columns) - room)
                rows = source.last(1) if room else None
                if rows is not None and len(rows):
                    at = int(rows.time.astype("int64")[-1]) // 10**6
                    pairs = list(zip(source.columns, rows.values[-1].tolist(), strict=False))[:room]
                    yield "".join(
                        sample("linemon_value", value, f" {at}", source=name, column=column) for column, value in pairs
                    ).encode(errors="replace")
                room = max(0, room - len(source.columns))
        yield b"# HELP linemon_metrics_left_out Values beyond max_metrics.\n# TYPE linemon_metrics_left_out gauge\n"
        yield sample("linemon_metrics_left_out", left_out).encode()

    routes = (Route("/metrics", {"GET": metrics}, parameters=("sources",)),)


def sample(name: str, value: float, time: str = "", **labels: str) -> str:
    """One line; a value that is missing is NaN."""
    said = ",".join(f'{key}="{label.translate(ESCAPES)}"' for key, label in labels.items())
    shown = "NaN" if math.isnan(value) else repr(value)
    return f"{name}{{{said}}} {shown}{time}\n" if said else f"{name} {shown}{time}\n"
