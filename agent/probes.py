"""What this machine reports, as {column name: value}.

Every method named after a group returns what it could read; what it leaves out is missing (nan). A method
may raise: the sampler then counts the whole group as missing. Bytes, seconds, hertz, percent 0 to 100.
"""

from __future__ import annotations

import os
import time

from agent.devices import BACKWARDS, Disks, Nets, Places, Rates, encode
from agent.readings import readings
from agent.sensors import temperatures

TYPE_CHECKING = False  # typing itself would cost the agent memory
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

NAN = float("nan")
# psutil leaves these out on Linux, but not everywhere; a statvfs on a dead server never returns.
REMOTE = ("nfs", "cifs", "smb", "afpfs", "webdav", "ceph", "fuse.", "9p", "autofs")
IMAGES = ("squashfs", "erofs", "cramfs", "iso9660")  # always full


class Ticks:
    """Where processors' time went between two readings: percent by field, with `busy`.

    A field that runs backwards is nan, which is logged once for each; the others are shares of what is left.
    """

    def __init__(self, log: Callable[[str], None] | None = None) -> None:
        self._log = log
        self._told: set[str] = set()
        self._before: dict[str, float] = {}

    def __call__(self, reading: dict[str, float]) -> dict[str, float]:
        """`reading`: seconds by field."""
        before, self._before = self._before, reading
        if reading.keys() != before.keys():
            return {}
        spent = {field: value - before[field] for field, value in reading.items()}
        backwards: list[str] = []
        if min(spent.values()) < 0:
            if spent["idle"] < -1:  # a processor was taken out
                return {}
            for field in ("idle", "iowait"):  # the kernel only estimates these and takes some back
                if field in spent:
                    spent[field] = max(0.0, spent[field])
            backwards = [field for field, value in spent.items() if value < 0]
            spent.update(dict.fromkeys(backwards, 0.0))
        total = sum(spent.values())
        if len(backwards) > 1 or total <= 0:  # as if one was taken out, or no tick yet
            return {}
        percent = {field: 100.0 * value / total for field, value in spent.items()}
        for field in backwards:
            percent[field] = NAN
            if self._log and field not in self._told:
                self._told.add(field)
                self._log(f"cpu {field}: its counter {BACKWARDS}")
        percent["busy"] = 100.0 - percent["idle"] - percent.get("iowait", 0.0)
        return percent


class Probes:
    """All groups of one machine, with the earlier readings that their rates need."""

    def __init__(self, ps: Any, log: Callable[[str], None], system: str = "/") -> None:
        self._ps = ps
        self._log = log
        self._system, self._proc = system, os.path.join(system, "proc")
        self._files: dict[str, bool] = {}
        self._mounted, self._mounts = "", list[str]()  # what was mounted last, and where of it there are columns
        self._self: Any = None
        self._ticks = Ticks(log)
        self.readings = readings(ps, system)
        self.nets, self._disks = Nets(system), Disks(system)
        self._net_rates, self._disk_rates = Rates(log), Rates(log)
        self._kernel_rates, self._agent_rates = Rates(log), Rates()
        self._places = {
            "net": Places("network interfaces", log),
            "disk": Places("disks", log),
            "fs": Places("file systems", log),
            "temp": Places("temperatures", log),
        }

    # Every sample.

    def cpu(self, now: float) -> dict[str, float]:
        """Where the processors' time went, percent of all cores; guests count as user time."""
        percent = self._ticks(self.readings.cpu(now))
        if not percent:
            return {}
        return {
            "cpu.busy_pct": percent["busy"],
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
        total, available, cached, buffers = self.readings.memory()
        return {
            "mem.total_bytes": total,
            "mem.available_bytes": available,
            "mem.used_pct": 100.0 * (total - available) / total,
            "mem.cached_bytes": cached,
            "mem.buffers_bytes": buffers,
        }

    def swap(self, now: float) -> dict[str, float]:
        """Swap space in bytes; without any, 0 % of it is used."""
        total, used = self.readings.swap()
        return {"swap.used_bytes": used, "swap.used_pct": 100.0 * used / total if total else 0.0}

    def net(self, now: float) -> dict[str, float]:
        """Bytes per second of each network interface, and of what enters and leaves the machine."""
        counts = self.readings.nets()
        shown = self.nets.shown(now, counts)
        rates = self._net_rates(now, {nic: counts[nic] for nic in shown})
        return self._by_device(now, "net", rates, ("rx_bytes_per_s", "tx_bytes_per_s"), self.nets)

    def disk(self, now: float) -> dict[str, float]:
        """Bytes and operations per second of each whole disk, and bytes of all of them."""
        counts = self.readings.disks()
        whole = self._disks.whole(counts)
        rates = self._disk_rates(now, {disk: counts[disk] for disk in whole})
        for each in rates.values():
            if "busy_pct" in each:  # the kernel's ticks overshoot a little
                each["busy_pct"] = min(each["busy_pct"], 100.0)
            if "await_s" in each:  # of all operations together, to that of one
                done = each["reads_per_s"] + each["writes_per_s"]
                each["await_s"] = each["await_s"] / done if done > 0 else NAN
        return self._by_device(now, "disk", rates, ("read_bytes_per_s", "write_bytes_per_s"), self._disks)

    def kernel(self, now: float) -> dict[str, float]:
        """Context switches and interrupts per second."""
        switches, interrupts = self.readings.kernel(now)
        counts = {"kernel.ctx_switches_per_s": switches, "kernel.interrupts_per_s": interrupts}
        return self._kernel_rates(now, {"": counts}).get("", {})

    def uptime(self, now: float) -> dict[str, float]:
        """Seconds since the machine started, time asleep included."""
        if hasattr(time, "CLOCK_BOOTTIME"):  # not bent when the wall clock is set
            return {"sys.uptime_s": time.clock_gettime(time.CLOCK_BOOTTIME)}
        return {"sys.uptime_s": time.time() - self._ps.boot_time()}

    def agent(self, now: float) -> dict[str, float]:
        """What the agent itself costs: percent of one core."""
        return self._agent_rates(now, {"": {"agent.cpu_pct": 100.0 * time.process_time()}}).get("", {})

    # The slow ones, asked rarely: some take long, some would keep a disk from sleeping.

    def resident(self, now: float) -> dict[str, float]:
        """The agent's own resident memory in bytes."""
        self._self = self._self or self._ps.Process()  # costs three times what it is asked for
        return {"agent.rss_bytes": self._self.memory_info().rss}

    def processors(self, now: float) -> dict[str, float]:
        """How many processors are online, each thread of a core counted."""
        return {"cpu.count": self._ps.cpu_count() or NAN}

    def frequency(self, now: float) -> dict[str, float]:
        """The processors' mean clock in hertz; many virtual machines have none, which is not 0."""
        clocks = [each.current for each in self._ps.cpu_freq(percpu=True) or [] if each.current]  # 0: it is offline
        return {"cpu.freq_hz": 1e6 * sum(clocks) / len(clocks)} if clocks else {}

    def processes(self, now: float) -> dict[str, float]:
        """The number of processes. PermissionError where others' are hidden."""
        return {"proc.total": len(all_pids(self._ps, self._proc))}

    def filesystems(self, now: float) -> dict[str, float]:
        """Local file systems: percent used as df counts it, bytes free to users; one mount per device."""
        mounted = self.readings.mounts()
        if not mounted or mounted != self._mounted:
            self._mounted, self._mounts = mounted, self._local_mounts()
        values: dict[str, float] = {}
        for mount in self._places["fs"].admit(now, self._mounts):
            try:
                usage = self._ps.disk_usage(mount)
            except OSError:  # unmounted a moment ago, or not for us
                continue
            if usage.used + usage.free:
                values[f"fs.{encode(mount)}.used_pct"] = 100.0 * usage.used / (usage.used + usage.free)
                values[f"fs.{encode(mount)}.free_bytes"] = usage.free
            values.update(self._inodes(mount))
        return values

    def _local_mounts(self) -> list[str]:
        """Where local file systems are mounted, each device once."""
        mounts: dict[str, str] = {}
        parts = [part for part in self._ps.disk_partitions(all=False) if self._is_shown(part)]
        if not any(
            part.mountpoint == "/" for part in parts
        ):  # a container's has no device, a live system's is an image
            parts += [part for part in self._ps.disk_partitions(all=True) if part.mountpoint == "/"][-1:]
        for part in parts:
            shown = mounts.get(part.device, part.mountpoint)
            mounts[part.device] = min(shown, part.mountpoint, key=lambda path: (len(path), path))
        return sorted(mounts.values())

    def temperatures(self, now: float) -> dict[str, float]:
        """Every temperature sensor in degrees Celsius."""
        readings = temperatures(self._ps, self._system)
        return {
            f"temp.{encode(name)}_celsius": readings[name] for name in self._places["temp"].admit(now, list(readings))
        }

    # Devices.

    def _is_file(self, path: str) -> bool:
        """Whether a single file is mounted there; asked once for each path."""
        if path not in self._files:
            self._files[path] = os.path.isfile(os.path.join(self._system, path.lstrip("/")))
        return self._files[path]

    def _is_shown(self, part: Any) -> bool:
        """Whether the file system is local, no image such as a snap's, and no single file mounted into a container."""
        is_image = part.device.startswith("/dev/loop") and "ro" in part.opts.split(",")
        if part.fstype.startswith(REMOTE) or part.fstype in IMAGES or is_image:
            return False
        return not self._is_file(part.mountpoint)

    def _inodes(self, mount: str) -> dict[str, float]:
        """Percent of the inodes in use; nothing where a file system makes them as it needs them, as btrfs does."""
        if not hasattr(os, "statvfs"):  # Windows
            return {}
        try:
            stat = os.statvfs(os.path.join(self._system, mount.lstrip("/")))
        except OSError:
            return {}
        if not stat.f_files:
            return {}
        return {f"fs.{encode(mount)}.inodes_used_pct": 100.0 * (stat.f_files - stat.f_ffree) / stat.f_files}

    def _by_device(
        self, now: float, kind: str, rates: dict[str, dict[str, float]], totals: tuple[str, ...], devices: Nets | Disks
    ) -> dict[str, float]:
        """Columns of the totals over the devices outside, and of each device that is admitted."""
        values = {}
        outside = [each for device, each in rates.items() if device in devices.outside]
        for total in totals:
            values[f"{kind}.{total}"] = sum([each[total] for each in outside]) if outside else NAN
        for device in self._places[kind].admit(now, list(rates), devices.hardware):
            name = f"{kind}.{encode(device)}."
            for metric, rate in rates[device].items():
                values[name + metric] = rate
        return values


def all_pids(ps: Any, proc: str) -> list[int]:
    """The numbers of all processes. PermissionError where /proc shows only one's own (hidepid)."""
    pids: list[int] = ps.pids()
    if 1 not in pids and os.path.isdir(os.path.join(proc, "self")):
        raise PermissionError("/proc shows only processes of this user (hidepid)")
    return pids
