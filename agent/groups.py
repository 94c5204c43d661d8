"""Columns that cost more, are many, or lie between two samples: loaded only where they are asked for."""

from __future__ import annotations

import os

from agent.devices import Nets, Places, Rates, encode, first_line
from agent.probes import Available, Ticks, all_pids

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from typing import Any

CORES = 256  # at most
TOP = 5  # names that get columns at a time
NAMES = 32  # that have columns at a time; what another one takes is part of `other`
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

    def __init__(self, ps: Any, log: Callable[[str], None], system: str = "/") -> None:
        self._ps = ps
        self._proc = os.path.join(system, "proc")
        self._online = os.path.join(system, "sys/devices/system/cpu/online")
        self._cores: dict[int, Ticks] = {}
        self._cores_known = False
        self._rates = Rates()
        self._names = Places("busy programs", log, NAMES, 4 * NAMES)

    def cores(self, now: float) -> dict[str, float]:
        """How busy each core was, percent, by its number; one that is offline is missing."""
        times = self._ps.cpu_times(percpu=True)
        numbers = _numbers(first_line(self._online))
        known = len(numbers) == len(times)
        if not known:
            numbers = list(range(len(times)))
        if known != self._cores_known or (not known and len(self._cores) != len(times)):
            self._cores = {}  # cores came or went, and which number is whose is not known
        self._cores_known = known
        self._cores = {number: self._cores.get(number) or Ticks() for number in numbers}
        values: dict[str, float] = {}
        for number, time in zip(numbers, times):
            if number < CORES and (percent := self._cores[number](time)):
                values[f"cpu.{number}.busy_pct"] = percent["busy"]
        return values

    def top(self, now: float) -> dict[str, float]:
        """CPU in percent of one core and resident bytes of the busiest programs, by name; `other` is all the rest."""
        all_pids(self._ps, self._proc)  # without others' processes the rest would be no rest
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
        busiest = sorted(shares, key=shares.__getitem__, reverse=True)[:TOP]
        self._names.admit(now, [name for name in busiest if shares[name] > 0])
        values = {}
        for name in self._names.held():
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


def _numbers(ranges: str) -> list[int]:
    """Those of `0-3,6`."""
    numbers: list[int] = []
    for each in ranges.split(",") if ranges else []:
        first, _, last = each.partition("-")
        numbers += range(int(first), int(last or first) + 1)
    return numbers


class Spikes:
    """Minimum, mean and maximum of a few columns, of readings within an interval.

    A rate or a share belongs to the span from one reading to the next, a level to the moment.
    """

    def __init__(self, ps: Any, nets: Nets, system: str = "/") -> None:
        self._ps, self._nets, self._available = ps, nets, Available(system)
        self._rates, self._ticks = Rates(), Ticks()
        self._readings: dict[str, list[float]] = {}

    def reading(self, now: float) -> dict[str, float]:
        """Take one reading; the summary gives it out."""
        values: dict[str, float] = {}
        if percent := self._ticks(self._ps.cpu_times()):
            values["cpu.busy_{}_pct"] = percent["busy"]
        memory = self._ps.virtual_memory()
        values["mem.used_{}_pct"] = 100.0 * (memory.total - self._available(memory)) / memory.total
        counters: dict[Hashable, float] = {}
        nets = self._ps.net_io_counters(pernic=True, nowrap=False)
        for nic in self._nets.shown(now, nets):
            count = nets[nic]
            if nic in self._nets.outside:
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
