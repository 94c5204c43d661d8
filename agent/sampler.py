"""One sample: every group of probes, each failing alone, under columns that only ever grow."""

from __future__ import annotations

import threading
import time

from agent.kernel import Kernel
from agent.probes import Probes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from agent.spikes import Spikes

    Group = Callable[[float], dict[str, float]]  # gives its columns at a monotonic time, in seconds

# The columns every host has, first and in this order, so that they fit whatever devices come and go.
FIXED = (
    "cpu.busy_pct",
    "cpu.user_pct",
    "cpu.system_pct",
    "cpu.iowait_pct",
    "cpu.steal_pct",
    "cpu.freq_hz",
    "cpu.count",
    "load.1m",
    "load.5m",
    "load.15m",
    "mem.total_bytes",
    "mem.available_bytes",
    "mem.used_pct",
    "mem.cached_bytes",
    "mem.buffers_bytes",
    "swap.used_bytes",
    "swap.used_pct",
    "net.rx_bytes_per_s",
    "net.tx_bytes_per_s",
    "disk.read_bytes_per_s",
    "disk.write_bytes_per_s",
    "kernel.ctx_switches_per_s",
    "kernel.interrupts_per_s",
    "proc.total",
    "sys.uptime_s",
    "agent.cpu_pct",
    "agent.rss_bytes",
    "agent.dropped_rows",
)

# A name's end says its unit, and how many decimals are worth sending.
UNITS = (
    ("errors_per_s", "1/s", 4),  # one in a minute is one
    ("drops_per_s", "1/s", 4),
    ("retransmits_per_s", "1/s", 4),
    ("await_s", "s", 6),
    ("offset_s", "s", 6),
    ("_pct", "%", 3),
    ("_bytes_per_s", "B/s", 1),
    ("_per_s", "1/s", 1),
    ("_bytes", "B", 0),
    ("_hz", "Hz", 0),
    ("_celsius", "°C", 1),
    ("_s", "s", 1),
    ("", "", 2),
)

SLOW_EVERY = 10.0  # seconds
PATIENCE = 0.1  # seconds that a row waits for the slow groups; what comes later is in the next row
CLOCK_STEP = 1.0  # seconds by which the wall clock may run ahead of the monotonic one within a sample


class Sampler:
    """Asks all probes; remembers the columns and which groups fail."""

    def __init__(
        self,
        ps: Any,
        log: Callable[[str], None],
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        groups: tuple[str, ...] = (),
        subsamples: bool = False,
        system: str = "/",
    ) -> None:
        """`groups`: those of agent/groups/ that are wanted; `subsamples`: readings within the interval will come.

        `system`: the folder that holds proc and sys.
        """
        probes, kernel = Probes(ps, log, system), Kernel(log, system)
        fast = [
            probes.cpu,
            probes.load,
            probes.memory,
            probes.net,
            probes.disk,
            probes.kernel,
            probes.uptime,
            probes.agent,
        ]
        slow = [
            probes.swap,
            probes.resident,
            probes.processors,
            probes.frequency,
            probes.processes,
            kernel.pressure,
            kernel.events,
            kernel.limits,
            kernel.clock,
            probes.filesystems,
            probes.temperatures,
        ]
        self._fast: dict[str, Group] = {each.__name__: each for each in fast}
        self._slow: dict[str, Group] = {each.__name__: each for each in slow}
        self._probes, self._args = probes, (ps, log, system)
        self._groups: tuple[str, ...] = ()
        self._spikes: Spikes | None = None
        self._slow_values: dict[str, dict[str, float]] = {}
        self._slow_row: dict[str, float] = {}  # these together, rounded,
        self._slow_changed = False  # unless they changed since
        self._slow_due = float("-inf")
        self._slow_round = 0
        self._asked: set[str] = set()  # slow groups that have not answered
        self._failing: set[str] = set()
        self._log = log
        self._monotonic, self._wall = monotonic, wall
        self._lag: float | None = None  # wall clock minus monotonic clock, as of the last sample
        self._digits: dict[str, int] = {}
        self.columns: dict[str, str] = {}
        """Units by column name, in the order they are sent; FIXED first, new devices at the end."""
        for name in FIXED:
            self._add(name)
        self.read(groups, subsamples)

    def read(self, groups: tuple[str, ...], subsamples: bool) -> None:
        """Read these groups from now on, and within the interval or not; columns that are there stay."""
        for name in set(self._groups) - set(groups):
            self._fast.pop(name, None)
            self._slow.pop(name, None)
            self._slow_values.pop(name, None)
            self._slow_changed = True
        for name in groups:
            if name not in self._groups:  # what nobody asks for is not even loaded
                from agent.groups import group

                module = group(name)
                (self._slow if module.SLOW else self._fast)[name] = module.Probe(*self._args)
        self._groups = groups
        if not subsamples:
            self._spikes = None
        elif self._spikes is None:
            from agent.spikes import Spikes

            self._spikes = Spikes(self._probes.readings, self._probes.nets)

    def sample(self, dropped_rows: int) -> tuple[float, dict[str, float]] | None:
        """The epoch time in seconds and the values by column; what is missing is left out.

        None the first time, when there is nothing yet to take differences from, and after the machine slept
        or its clock was set, when the differences mix two spans.
        """
        now, at = self._monotonic(), self._wall()
        lag, self._lag = self._lag, at - now
        values: dict[str, float] = {"agent.dropped_rows": dropped_rows}
        for name, group in self._fast.items():
            values.update(self._ask(name, group, now))
        if self._spikes:
            values.update(self._ask("summary", self._spikes.summary, now))
        if now >= self._slow_due:
            self._slow_due = now + SLOW_EVERY - 0.5  # the grid's points are never exactly 10 s apart
            self._begin_slow(now)
        if lag is None or abs(self._lag - lag) > CLOCK_STEP:
            return None
        row = self._rounded(values)
        if self._slow_changed:
            self._slow_changed = False  # first: what the thread finds meanwhile comes with the next row
            self._slow_row = {}
            for slow in list(self._slow_values.values()):
                self._slow_row.update(self._rounded(slow))
        row.update(self._slow_row)
        return at, row

    def _rounded(self, values: dict[str, float]) -> dict[str, float]:
        """The values as they are worth sending; what is new gets its column."""
        digits = self._digits
        if not values.keys() <= digits.keys():
            for name in values:
                if name not in digits:
                    self._add(name)
        return {name: round(float(value), digits[name]) for name, value in values.items()}

    def subsample(self) -> None:
        """A cheap reading between two samples, which become its minimum, mean and maximum."""
        if self._spikes:
            self._ask("reading", self._spikes.reading, self._monotonic())

    def _begin_slow(self, now: float) -> None:
        """Ask the slow groups, in a thread that lives as long as that takes.

        A file system or a bus that is dead may never answer. Its group is missing then, the others are asked anew.
        """
        for name in list(self._asked):
            self._slow_values[name] = {}
            self._slow_changed = True
            self._fails(name, f"no answer for {SLOW_EVERY:g} s")
        self._slow_round += 1
        groups = {name: group for name, group in self._slow.items() if name not in self._asked}
        thread = threading.Thread(target=self._ask_slow, args=(groups, now, self._slow_round), daemon=True)
        thread.start()
        thread.join(PATIENCE)

    def _ask_slow(self, groups: dict[str, Group], now: float, number: int) -> None:
        for name, group in groups.items():
            if number != self._slow_round:  # one before took so long that the others are with another thread
                return
            self._asked.add(name)
            values = self._ask(name, group, now)
            if name in self._slow:  # it may have been given up meanwhile
                self._slow_values[name] = values
            self._slow_changed = True
            self._asked.discard(name)

    def _add(self, name: str) -> None:
        _, self.columns[name], self._digits[name] = next(rule for rule in UNITS if name.endswith(rule[0]))

    def _ask(self, name: str, group: Group, now: float) -> dict[str, float]:
        """The group's values, none if it fails; one line in the log per change of state."""
        try:
            values = group(now)
        except Exception as error:  # whatever a driver or a platform comes up with, the others go on
            self._fails(name, f"{type(error).__name__}: {error}")
            return {}
        if name in self._failing:
            self._failing.remove(name)
            self._log(f"can read {name} again")
        return values

    def _fails(self, name: str, reason: str) -> None:
        if name not in self._failing:
            self._failing.add(name)
            self._log(f"cannot read {name}: {reason}")
