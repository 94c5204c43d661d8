"""How busy each core is."""

from __future__ import annotations

import os

from agent.devices import first_line
from agent.probes import Ticks
from agent.readings import ticks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

HELP = "how busy each core is"
SLOW = False
CORES = 256  # at most


class Probe:
    """cpu.N.busy_pct."""

    def __init__(self, ps: Any, log: Callable[[str], None], system: str = "/") -> None:
        self._ps = ps
        self._online = os.path.join(system, "sys/devices/system/cpu/online")
        self._cores: dict[int, Ticks] = {}
        self._cores_known = False

    def __call__(self, now: float) -> dict[str, float]:
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
            if number < CORES and (percent := self._cores[number](ticks(time))):
                values[f"cpu.{number}.busy_pct"] = percent["busy"]
        return values


def _numbers(ranges: str) -> list[int]:
    """Those of `0-3,6`."""
    numbers: list[int] = []
    for each in ranges.split(",") if ranges else []:
        first, _, last = each.partition("-")
        numbers += range(int(first), int(last or first) + 1)
    return numbers
