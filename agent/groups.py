"""Groups of columns that cost more, or are many: only those that are asked for."""

from __future__ import annotations

import os

from agent.probes import Rates, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Hashable
    from typing import Any

CORES = 256  # at most
TOP = 5  # names that get columns at a time
NAMES = 32  # in all; what a later one takes is part of `other`
SOCKETS = {
    ("sockstat", "sockets:", "used"): "sockets.used",
    ("sockstat", "TCP:", "inuse"): "sockets.tcp_inuse",
    ("sockstat", "TCP:", "orphan"): "sockets.tcp_orphan",
    ("sockstat", "TCP:", "tw"): "sockets.tcp_time_wait",
    ("sockstat", "UDP:", "inuse"): "sockets.udp_inuse",
    ("sockstat6", "TCP6:", "inuse"): "sockets.tcp6_inuse",
    ("sockstat6", "UDP6:", "inuse"): "sockets.udp6_inuse",
}


class Groups:
    """The groups by name; each method gives what it could read as {column name: value}."""

    def __init__(self, ps: Any, system: str = "/") -> None:
        self._ps = ps
        self._proc = os.path.join(system, "proc")
        self._core_before: list[tuple[float, float]] = []
        self._rates = Rates()
        self._names: dict[str, None] = {}

    def cores(self, now: float) -> dict[str, float]:
        """How busy each core was, percent; one that is offline is missing."""
        reading = []
        for times in self._ps.cpu_times(percpu=True)[:CORES]:
            idle = times.idle + getattr(times, "iowait", 0.0)
            guests = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)  # in user and nice already
            reading.append((sum(times) - guests, idle))
        before, self._core_before = self._core_before, reading
        values: dict[str, float] = {}
        if len(before) == len(reading):  # else cores came or went, and which number is whose is not known
            for core, ((total, idle), (total_then, idle_then)) in enumerate(zip(reading, before)):
                if total > total_then:
                    share = 1.0 - (idle - idle_then) / (total - total_then)
                    values[f"cpu.{core}.busy_pct"] = 100.0 * min(max(share, 0.0), 1.0)
        return values

    def top(self, now: float) -> dict[str, float]:
        """CPU in percent of one core and resident bytes of the busiest programs, by name; `other` is all the rest."""
        spent: dict[Hashable, float] = {}
        names: dict[tuple[int, float], str] = {}
        resident: dict[str, float] = {}
        for process in self._ps.process_iter():
            try:
                with process.oneshot():
                    name, times = process.name(), process.cpu_times()
                    key = process.pid, process.create_time()
                    resident[name] = resident.get(name, 0.0) + process.memory_info().rss
            except self._ps.Error:  # ended a moment ago, or not for us
                continue
            names[key], spent[key] = name, times.user + times.system
        shares: dict[str, float] = {}
        for key, rate in self._rates(now, spent).items():
            shares[names[key]] = shares.get(names[key], 0.0) + 100.0 * rate
        for name in sorted(shares, key=shares.__getitem__, reverse=True)[:TOP]:
            if shares[name] > 0 and len(self._names) < NAMES:
                self._names[name] = None
        values = {}
        for name in self._names:
            if name in resident:
                values[f"top.{encode(name)}.cpu_pct"] = shares.pop(name, 0.0)
                values[f"top.{encode(name)}.rss_bytes"] = resident[name]
        if shares or values:
            values["top.other.cpu_pct"] = sum(shares.values())
        return values

    def sockets(self, now: float) -> dict[str, float]:
        """Sockets in use, as /proc/net says: psutil would look at every file of every process."""
        values: dict[str, float] = {}
        for file in ("sockstat", "sockstat6"):
            try:
                with open(os.path.join(self._proc, "net", file)) as lines:
                    for line in lines:
                        kind, *pairs = line.split()
                        for key, count in zip(pairs[::2], pairs[1::2]):
                            column = SOCKETS.get((file, kind, key))
                            if column:
                                values[column] = float(count)
            except FileNotFoundError:
                if file == "sockstat":  # without the other there is only no IPv6
                    raise
        return values
