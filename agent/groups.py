"""Columns that cost more, are many, or lie between two samples: loaded only where they are asked for."""

from __future__ import annotations

import os

from agent.probes import Rates, encode, is_shown

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


class Spikes:
    """Minimum, mean and maximum of a few columns, of readings within an interval.

    A rate or a share belongs to the span from one reading to the next, a level to the moment.
    """

    def __init__(self, ps: Any) -> None:
        self._ps = ps
        self._rates = Rates()
        self._cpu_before: tuple[float, float] | None = None
        self._readings: dict[str, list[float]] = {}

    def reading(self, now: float) -> dict[str, float]:
        """Take one reading; the summary gives it out."""
        times = self._ps.cpu_times()
        busy = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
        idle = times.idle + getattr(times, "iowait", 0.0)
        values: dict[str, float] = {}
        if self._cpu_before is not None:
            spent, idled = busy - self._cpu_before[0], idle - self._cpu_before[1]
            if spent > 0:
                values["cpu.busy_{}_pct"] = min(max(100.0 * (1.0 - idled / spent), 0.0), 100.0)
        self._cpu_before = busy, idle
        memory = self._ps.virtual_memory()
        values["mem.used_{}_pct"] = 100.0 * (memory.total - memory.available) / memory.total
        counters: dict[Hashable, float] = {}
        for nic, count in self._ps.net_io_counters(pernic=True, nowrap=False).items():
            if is_shown(nic):
                counters[nic, "net.rx_{}_bytes_per_s"] = count.bytes_recv
                counters[nic, "net.tx_{}_bytes_per_s"] = count.bytes_sent
        totals: dict[str, float] = {}
        for (_, name), rate in self._rates(now, counters).items():
            totals[name] = totals.get(name, 0.0) + rate
        values.update(totals)
        for name, value in values.items():
            if value == value:  # a counter that was reset belongs to no span
                self._readings.setdefault(name, []).append(value)
        return {}

    def summary(self, now: float) -> dict[str, float]:
        """The columns of all readings since the last summary, this moment's included."""
        self.reading(now)
        readings, self._readings = self._readings, {}
        values: dict[str, float] = {}
        for name, of in readings.items():
            values[name.format("min")] = min(of)
            values[name.format("mean")] = sum(of) / len(of)
            values[name.format("max")] = max(of)
        return values
