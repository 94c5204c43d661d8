"""What the part tells: an event, one message of an incident, as notifiers, the log and the state have it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from math import isfinite
from typing import Any

LEVELS = ("ok", "warning", "critical")
ENDS = ("ok", "gone")  # kinds after which nothing of the incident is told


@dataclass(frozen=True, slots=True)
class Event:
    """One of an incident's events. Times are int64 nanoseconds since the epoch."""

    key: str  # of the incident: `alarm/source/column/start_ms`, each percent-encoded
    seq: int  # of the event within it; the first is 1
    n: int  # the incident's number, as a person types it
    kind: str  # warning, critical, still, ok, flapping, gone
    level: int  # 1 or 2; of one that ends, the highest that was told
    alarm: str
    source: str
    column: str | None
    value: float | None
    unit: str
    since: int
    until: int | None  # when it ended
    at: int  # when it is told
    text: str  # a line for people
    notify: tuple[str, ...]  # names of the notifiers

    def as_json(self) -> dict[str, Any]:
        """As machines are told: webhook, command, MQTT."""
        return {
            "key": self.key,
            "seq": self.seq,
            "n": self.n,
            "state": self.kind,
            "level": self.level,
            "alarm": self.alarm,
            "source": self.source,
            "column": self.column,
            "value": self.value if self.value is not None and isfinite(self.value) else None,  # JSON has no infinity
            "unit": self.unit,
            "since": iso(self.since),
            "until": None if self.until is None else iso(self.until),
            "at": iso(self.at),
            "text": self.text,
        }


def iso(time_ns: int) -> str:
    """ISO 8601 with ``Z``, to the millisecond."""
    return datetime.fromtimestamp(time_ns / 1e9, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
