"""What this machine reports: psutil's readings as {column name: value}.

Every method named after a group returns what it could read; what it leaves out is missing (nan). A method
may raise: the sampler then counts the whole group as missing. Bytes, seconds, hertz, percent 0 to 100.
"""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False  # typing itself would cost the agent memory
if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable
    from typing import Any

NAN = float("nan")
DEVICES = 16  # of a kind; a host with hundreds of disks must not become hundreds of columns
LONGEST_NAME = 255  # characters; all columns must fit one line
HIDDEN_NICS = ("veth", "br-", "docker0", "Loopback")
HIDDEN_DISKS = ("loop", "ram", "zram")
# psutil leaves these out on Linux, but not everywhere; a statvfs on a dead server never returns.
REMOTE = ("nfs", "cifs", "smb", "afpfs", "webdav", "ceph", "fuse.", "9p", "autofs")


def encode(name: str) -> str:
    """The device name as part of a column name: blanks, colons, percents and controls percent-encoded."""
    return "".join(
        "".join(f"%{byte:02X}" for byte in char.encode("utf-8", "surrogateescape"))
        if char in ":%" or char.isspace() or not char.isprintable()
        else char
        for char in name
    )


class Rates:
    """Counters to change per second, by key; nan where a counter went backwards.

    A key that was not there the time before has no rate yet.
    """

    def __init__(self) -> None:
        self._then = 0.0
        self._before: dict[Hashable, float] = {}

    def __call__(self, now: float, readings: dict[Hashable, float]) -> dict[Any, float]:
        elapsed, before = now - self._then, self._before
        self._then, self._before = now, readings
        if elapsed <= 0:
            return {}
        changes = {key: count - before[key] for key, count in readings.items() if key in before}
        return {key: change / elapsed if change >= 0 else NAN for key, change in changes.items()}


def is_shown(nic: str) -> bool:
    """Whether the interface is no loopback and none of a container."""
    return nic not in ("lo", "lo0") and not nic.startswith(HIDDEN_NICS)


class Probes:
    """All groups of one machine, with the earlier readings that their rates need."""

    def __init__(self, ps: Any, log: Callable[[str], None], system: str = "/") -> None:
        self._ps = ps
        self._log = log
        self._system, self._sys_block = system, os.path.join(system, "sys/block")
        self._files: dict[str, bool] = {}
        self._self: Any = None
        self._cpu_before: dict[str, float] = {}
        self._net_rates, self._disk_rates = Rates(), Rates()
        self._kernel_rates, self._agent_rates = Rates(), Rates()
        self._known: dict[str, set[str]] = {"net": set(), "disk": set(), "fs": set(), "temp": set()}
        self._crowded: set[str] = set()
        self._disks_seen: set[str] = set()
        self._disks: set[str] = set()

    # Every sample.

    def cpu(self, now: float) -> dict[str, float]:
        """Where the processors' time went, percent of all cores; guests count as user time."""
        times = self._ps.cpu_times()
        fields = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
        reading = {field: getattr(times, field) for field in fields if hasattr(times, field)}
        before, self._cpu_before = self._cpu_before, reading
        if reading.keys() != before.keys():
            return {}
        spent = {field: value - before[field] for field, value in reading.items()}
        for field in ("idle", "iowait"):  # the kernel only estimates these and takes some back
            if field in spent:
                spent[field] = max(0.0, spent[field])
        total = sum(spent.values())
        if total <= 0 or min(spent.values()) < 0:  # no tick yet, or a processor was taken out
            return {}
        percent = {field: 100.0 * value / total for field, value in spent.items()}
        return {
            "cpu.busy_pct": 100.0 - percent["idle"] - percent.get("iowait", 0.0),
            "cpu.user_pct": percent["user"] + percent.get("nice", 0.0),
            "cpu.system_pct": percent["system"] + percent.get("irq", 0.0) + percent.get("softirq", 0.0),
            "cpu.iowait_pct": percent.get("iowait", NAN),
            "cpu.steal_pct": percent.get("steal", NAN),
        }

    def load(self, now: float) -> dict[str, float]:
        """The run queue's averages over 1, 5 and 15 minutes."""
        one, five, fifteen = self._ps.getloadavg()
        if os.name == "nt" and not (one or five or fifteen):  # psutil only starts to count when first asked
            return {}
        return {"load.1m": one, "load.5m": five, "load.15m": fifteen}

    def memory(self, now: float) -> dict[str, float]:
        """Main memory in bytes; used is all that is not available, whatever psutil's version calls used."""
        memory = self._ps.virtual_memory()
        return {
            "mem.total_bytes": memory.total,
            "mem.available_bytes": memory.available,
            "mem.used_pct": 100.0 * (memory.total - memory.available) / memory.total,
            "mem.cached_bytes": getattr(memory, "cached", NAN),
            "mem.buffers_bytes": getattr(memory, "buffers", NAN),
        }

    def swap(self, now: float) -> dict[str, float]:
        """Swap space in bytes; without any, 0 % of it is used."""
        swap = self._ps.swap_memory()
        return {
            "swap.used_bytes": swap.used,
            "swap.used_pct": 100.0 * swap.used / swap.total if swap.total else 0.0,
        }

    def net(self, now: float) -> dict[str, float]:
        """Bytes per second of each network interface and of all that are not hidden."""
        readings: dict[Hashable, float] = {}
        counters = self._ps.net_io_counters(pernic=True, nowrap=False)
        for nic, count in sorted(counters.items()):
            if is_shown(nic):
                readings[nic, "rx_bytes_per_s"] = count.bytes_recv
                readings[nic, "tx_bytes_per_s"] = count.bytes_sent
        return self._by_device("net", self._net_rates(now, readings), ("rx_bytes_per_s", "tx_bytes_per_s"))

    def disk(self, now: float) -> dict[str, float]:
        """Bytes and operations per second of each whole disk, and bytes of all of them."""
        readings: dict[Hashable, float] = {}
        counters = self._ps.disk_io_counters(perdisk=True, nowrap=False) or {}
        if counters.keys() != self._disks_seen:
            self._disks_seen = set(counters)
            self._disks = {disk for disk in counters if self._is_whole(disk)}
        for disk in sorted(self._disks):
            count = counters[disk]
            readings[disk, "read_bytes_per_s"] = count.read_bytes
            readings[disk, "write_bytes_per_s"] = count.write_bytes
            readings[disk, "reads_per_s"] = count.read_count
            readings[disk, "writes_per_s"] = count.write_count
            if hasattr(count, "busy_time"):
                readings[disk, "busy_pct"] = count.busy_time / 10  # ms per s to percent
        rates = self._disk_rates(now, readings)
        for disk, metric in rates:
            if metric == "busy_pct":  # the kernel's ticks overshoot a little
                rates[disk, metric] = min(rates[disk, metric], 100.0)
        return self._by_device("disk", rates, ("read_bytes_per_s", "write_bytes_per_s"))

    def kernel(self, now: float) -> dict[str, float]:
        """Context switches and interrupts per second."""
        stats = self._ps.cpu_stats()
        return self._kernel_rates(
            now,
            {
                "kernel.ctx_switches_per_s": stats.ctx_switches,
                "kernel.interrupts_per_s": stats.interrupts,
            },
        )

    def uptime(self, now: float) -> dict[str, float]:
        """Seconds since the machine started, time asleep included."""
        if hasattr(time, "CLOCK_BOOTTIME"):  # not bent when the wall clock is set
            return {"sys.uptime_s": time.clock_gettime(time.CLOCK_BOOTTIME)}
        return {"sys.uptime_s": time.time() - self._ps.boot_time()}

    def agent(self, now: float) -> dict[str, float]:
        """What the agent itself costs: percent of one core."""
        return self._agent_rates(now, {"agent.cpu_pct": 100.0 * time.process_time()})

    # The slow ones, asked rarely: some take long, some would keep a disk from sleeping.

    def resident(self, now: float) -> dict[str, float]:
        """The agent's own resident memory in bytes."""
        self._self = self._self or self._ps.Process()  # costs three times what it is asked for
        return {"agent.rss_bytes": self._self.memory_info().rss}

    def frequency(self, now: float) -> dict[str, float]:
        """The processors' mean clock in hertz; many virtual machines have none, which is not 0."""
        frequency = self._ps.cpu_freq()
        return {"cpu.freq_hz": frequency.current * 1e6} if frequency and frequency.current else {}

    def processes(self, now: float) -> dict[str, float]:
        """The number of processes."""
        return {"proc.total": len(self._ps.pids())}

    def filesystems(self, now: float) -> dict[str, float]:
        """Local file systems: percent used as df counts it, bytes free to users; one mount per device."""
        mounts: dict[str, str] = {}
        parts = self._ps.disk_partitions(all=False)
        if not any(part.mountpoint == "/" for part in parts):  # a container's root has no device
            parts += [part for part in self._ps.disk_partitions(all=True) if part.mountpoint == "/"][-1:]
        for part in parts:
            if part.fstype.startswith(REMOTE) or part.device.startswith("/dev/loop"):
                continue
            if self._is_file(part.mountpoint):  # /etc/hosts and the like, put into a container
                continue
            shown = mounts.get(part.device, part.mountpoint)
            mounts[part.device] = min(shown, part.mountpoint, key=lambda path: (len(path), path))
        values: dict[str, float] = {}
        for mount in self._admitted("fs", sorted(mounts.values())):
            try:
                usage = self._ps.disk_usage(mount)
            except OSError:  # unmounted a moment ago, or not for us
                continue
            if usage.used + usage.free:
                values[f"fs.{encode(mount)}.used_pct"] = 100.0 * usage.used / (usage.used + usage.free)
                values[f"fs.{encode(mount)}.free_bytes"] = usage.free
        return values

    def temperatures(self, now: float) -> dict[str, float]:
        """Every temperature sensor in degrees Celsius, named by its chip and, where it has one, label."""
        read = getattr(self._ps, "sensors_temperatures", dict)
        readings: dict[str, float] = {}
        for chip, sensors in sorted(read().items()):
            for sensor in sensors:
                name = base = f"{chip}.{sensor.label}" if sensor.label else chip
                number = 1
                while name in readings:  # two disks of one kind
                    number += 1
                    name = f"{base}.{number}"
                readings[name] = NAN if sensor.current is None else sensor.current
        return {f"temp.{encode(name)}_celsius": readings[name] for name in self._admitted("temp", readings)}

    # Devices.

    def _is_file(self, path: str) -> bool:
        """Whether a single file is mounted there; asked once for each path."""
        if path not in self._files:
            self._files[path] = os.path.isfile(os.path.join(self._system, path.lstrip("/")))
        return self._files[path]

    def _is_whole(self, disk: str) -> bool:
        """Whether the counters of this disk are not counted in another disk's again.

        Partitions are part of their disk; LVM, RAID and encrypted volumes sit on others (their slaves).
        """
        if disk.startswith(HIDDEN_DISKS):
            return False
        if not os.path.isdir(self._sys_block):  # not Linux: psutil lists whole disks only
            return True
        folder = os.path.join(self._sys_block, disk.replace("/", "!"))
        slaves = os.path.join(folder, "slaves")
        return os.path.isdir(folder) and not (os.path.isdir(slaves) and os.listdir(slaves))

    def _by_device(self, kind: str, rates: dict[tuple[str, str], float], totals: tuple[str, ...]) -> dict[str, float]:
        """Columns of the totals over all devices, and of each device that is admitted."""
        values = {}
        for total in totals:
            each = [rate for (_, metric), rate in rates.items() if metric == total]
            values[f"{kind}.{total}"] = sum(each) if each else NAN
        shown = set(self._admitted(kind, (device for device, _ in rates)))
        for (device, metric), rate in rates.items():
            if device in shown:
                values[f"{kind}.{encode(device)}.{metric}"] = rate
        return values

    def _admitted(self, kind: str, devices: Iterable[str]) -> list[str]:
        """The devices that have columns: the first DEVICES of a kind that were ever seen."""
        known = self._known[kind]
        admitted = []
        for device in devices:
            if len(device) > LONGEST_NAME:
                continue
            if device in known or len(known) < DEVICES:
                known.add(device)
                admitted.append(device)
            elif kind not in self._crowded:
                self._crowded.add(kind)
                self._log(f"more than {DEVICES} {kind} devices: {device} and later ones get no columns")
        return admitted
