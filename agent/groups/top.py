"""What the busiest programs take."""

from __future__ import annotations

import os

from agent.devices import Places, Rates, encode
from agent.probes import all_pids

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from typing import Any

HELP = "processor and memory of the busiest programs, by name"
SLOW = True
TOP = 5  # names that get columns at a time
NAMES = 32  # that have columns at a time; what another one takes is part of `other`


class Probe:
    """top.NAME.cpu_pct, top.NAME.rss_bytes, top.other.cpu_pct."""

    def __init__(self, ps: Any, log: Callable[[str], None], system: str = "/") -> None:
        self._ps = ps
        self._proc = os.path.join(system, "proc")
        self._rates = Rates()
        self._names = Places("busy programs", log, NAMES, 4 * NAMES)

    def __call__(self, now: float) -> dict[str, float]:
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
        for key, rate in self._rates(now, {"": spent}).get("", {}).items():
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
