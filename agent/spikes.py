"""What happens between two rows: loaded only where `--subsamples` asks for it."""

from __future__ import annotations

from agent.devices import Nets, Rates
from agent.probes import Ticks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.readings import Readings


class Spikes:
    """Minimum, mean and maximum of a few columns, of readings within an interval.

    A rate or a share belongs to the span from one reading to the next, a level to the moment.
    """

    def __init__(self, readings: Readings, nets: Nets) -> None:
        self._of, self._nets = readings, nets
        self._rates, self._ticks = Rates(), Ticks()
        self._taken: dict[str, list[float]] = {}

    def reading(self, now: float) -> dict[str, float]:
        """Take one reading; the summary gives it out."""
        values: dict[str, float] = {}
        if percent := self._ticks(self._of.cpu(now)):
            values["cpu.busy_{}_pct"] = percent["busy"]
        total, available, *_ = self._of.memory()
        values["mem.used_{}_pct"] = 100.0 * (total - available) / total
        nets = self._of.nets()
        counters = {
            nic: {
                "net.rx_{}_bytes_per_s": nets[nic]["rx_bytes_per_s"],
                "net.tx_{}_bytes_per_s": nets[nic]["tx_bytes_per_s"],
            }
            for nic in self._nets.shown(now, nets)
            if nic in self._nets.outside
        }
        for rates in self._rates(now, counters).values():
            for name, rate in rates.items():
                values[name] = values.get(name, 0.0) + rate
        for name, value in values.items():
            if value == value:  # a counter that was reset belongs to no span
                self._taken.setdefault(name, []).append(value)
        return {}

    def summary(self, now: float) -> dict[str, float]:
        """The columns of all readings since the last summary, this moment's included."""
        self.reading(now)
        readings, self._taken = self._taken, {}
        values: dict[str, float] = {}
        for name, of in readings.items():
            values[name.format("min")] = min(of)
            values[name.format("mean")] = sum(of) / len(of)
            values[name.format("max")] = max(of)
        return values
