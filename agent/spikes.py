"""What happens between two rows: loaded only where `--subsamples` asks for it."""

from __future__ import annotations

from agent.devices import Nets, Rates
from agent.probes import Available, Ticks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Hashable
    from typing import Any


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
