"""The readings of every second, in two ways that say the same: as psutil gives them, or from files that are kept open.

psutil opens and takes apart a file for each question, and /proc/stat twice. Read in place, what is asked every second
costs a third of that. All are counts since the machine started, in seconds, bytes and operations.
"""

from __future__ import annotations

import os

from agent.devices import HIDDEN_DISKS, is_shown

TYPE_CHECKING = False  # typing itself would cost the agent memory
if TYPE_CHECKING:
    from typing import Any

    Counts = dict[str, dict[str, float]]  # by device and by what it becomes as a rate

NAN = float("nan")
ARCSTATS = "spl/kstat/zfs/arcstats"
TICKS = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
FILES = ("stat", "meminfo", "net/dev", "diskstats")
CHUNK = 16384  # bytes; the kernel gives a page or so at a time
SECTOR = 512  # bytes, whatever the disk's are


class File:
    """A file of /proc or /sys that is kept open and read from its start."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = -1

    def read(self) -> str:
        """All of it as it is now. OSError."""
        if self._fd >= 0:
            try:
                return self._all()
            except OSError:  # as after LXCFS was started anew
                os.close(self._fd)
                self._fd = -1
        self._fd = os.open(self._path, os.O_RDONLY)
        return self._all()

    def _all(self) -> str:
        parts, size = [], 0
        while part := os.pread(self._fd, CHUNK, size):  # a short one is not the last
            parts.append(part)
            size += len(part)
        return b"".join(parts).decode("utf-8", "surrogateescape")


class Available:
    """Bytes that programs could still get: what the kernel says, and what the cache of ZFS would give back."""

    def __init__(self, system: str) -> None:
        proc = os.path.join(system, "proc")
        self._arcstats, self._proc, self._meminfo = (os.path.join(proc, name) for name in (ARCSTATS, "", "meminfo"))

    def __call__(self, total: float, free: float) -> float:
        if not os.access(self._arcstats, os.R_OK):
            return free
        if os.stat(self._proc).st_dev != os.stat(self._meminfo).st_dev:  # a container's own view of its memory
            return free
        with open(self._arcstats) as lines:
            arc = {words[0]: words[2] for words in map(str.split, lines) if len(words) == 3}
        more = max(0, int(arc["size"]) - int(arc["c_min"]))
        return free + more if free + more <= total else free


class Readings:
    """As psutil gives them: everywhere but on Linux."""

    def __init__(self, ps: Any, system: str) -> None:
        self._ps = ps
        self._available = Available(system)

    def cpu(self, now: float) -> dict[str, float]:
        """Where the processors' time went: seconds by field of TICKS, as far as there are."""
        return ticks(self._ps.cpu_times())

    def kernel(self, now: float) -> tuple[float, float]:
        """Context switches and interrupts."""
        stats = self._ps.cpu_stats()
        return stats.ctx_switches, stats.interrupts

    def memory(self) -> tuple[float, float, float, float]:
        """Bytes in all, those that programs could still get, those of the page cache, and buffers."""
        memory = self._ps.virtual_memory()
        available = self._available(memory.total, memory.available)
        return memory.total, available, getattr(memory, "cached", NAN), getattr(memory, "buffers", NAN)

    def swap(self) -> tuple[float, float]:
        """Bytes in all, and those that are used."""
        swap = self._ps.swap_memory()
        return swap.total, swap.used

    def mounts(self) -> str:
        """What is mounted, as a text that is another one when that changes; empty where nothing says so."""
        return ""

    def nets(self) -> Counts:
        """Of each interface that may have columns."""
        return {
            nic: {
                "rx_bytes_per_s": count.bytes_recv,
                "tx_bytes_per_s": count.bytes_sent,
                "errors_per_s": count.errin + count.errout,
                "drops_per_s": count.dropin + count.dropout,
                "packets_per_s": count.packets_recv + count.packets_sent,
            }
            for nic, count in self._ps.net_io_counters(pernic=True, nowrap=False).items()
            if is_shown(nic)
        }

    def disks(self) -> Counts:
        """Of each disk that may have columns; `await_s` is the time that all operations took together."""
        counts: Counts = {}
        for disk, count in (self._ps.disk_io_counters(perdisk=True, nowrap=False) or {}).items():
            if disk.startswith(HIDDEN_DISKS):
                continue
            counts[disk] = {
                "read_bytes_per_s": count.read_bytes,
                "write_bytes_per_s": count.write_bytes,
                "reads_per_s": count.read_count,
                "writes_per_s": count.write_count,
            }
            if hasattr(count, "busy_time"):
                counts[disk]["busy_pct"] = count.busy_time / 10  # ms per s to percent
            if hasattr(count, "read_time"):
                counts[disk]["await_s"] = (count.read_time + count.write_time) / 1000
        return counts


class Proc(Readings):
    """From files of /proc that are kept open. A file that is not there, or lacks something, is left to psutil."""

    def __init__(self, ps: Any, system: str) -> None:
        super().__init__(ps, system)
        paths = {name: os.path.join(system, "proc", name) for name in FILES}
        self._files = {name: File(path) for name, path in paths.items() if os.access(path, os.R_OK)}
        self._swap = File(paths["meminfo"])  # its own: others ask for it, in a thread of theirs
        self._mounts = File(os.path.join(system, "proc/self/mounts"))
        self._per_second = float(os.sysconf("SC_CLK_TCK"))
        self._stat, self._stat_at = "", NAN  # /proc/stat is long, and two groups ask for it

    def cpu(self, now: float) -> dict[str, float]:
        text = self._read_stat(now)
        if not text:
            return super().cpu(now)
        fields = text[: text.index("\n")].split()[1:]
        return {field: int(count) / self._per_second for field, count in zip(TICKS, fields)}

    def kernel(self, now: float) -> tuple[float, float]:
        text = self._read_stat(now)
        if not text:
            return super().kernel(now)
        return _number(text, "\nctxt "), _number(text, "\nintr ")

    def memory(self) -> tuple[float, float, float, float]:
        text = self._read("meminfo")
        available = 1024 * _number(text, "\nMemAvailable:") if "\nMemAvailable:" in text else 0
        if not available:  # psutil estimates it
            return super().memory()
        total = 1024 * _number(text, "MemTotal:")
        if available > total:  # distorted by a container
            available = 1024 * _number(text, "\nMemFree:")
        cached = 1024 * (_number(text, "\nCached:") + _number(text, "\nSReclaimable:"))
        return total, self._available(total, available), cached, 1024 * _number(text, "\nBuffers:")

    def swap(self) -> tuple[float, float]:
        text = self._swap.read() if "meminfo" in self._files else ""
        if "\nSwapFree:" not in text:
            return super().swap()
        total = 1024 * _number(text, "\nSwapTotal:")
        return total, total - 1024 * _number(text, "\nSwapFree:")

    def mounts(self) -> str:
        try:
            return self._mounts.read()
        except OSError:
            return super().mounts()

    def nets(self) -> Counts:
        text = self._read("net/dev")
        if not text:
            return super().nets()
        counts: Counts = {}
        for line in text.split("\n")[2:-1]:
            name, _, numbers = line.rpartition(":")
            nic = name.strip()
            if is_shown(nic):
                rx, packets, errors, drops, _, _, _, _, tx, sent, failed, lost, *_ = numbers.split()
                counts[nic] = {
                    "rx_bytes_per_s": int(rx),
                    "tx_bytes_per_s": int(tx),
                    "errors_per_s": int(errors) + int(failed),
                    "drops_per_s": int(drops) + int(lost),
                    "packets_per_s": int(packets) + int(sent),
                }
        return counts

    def disks(self) -> Counts:
        text = self._read("diskstats")
        if not text:
            return super().disks()
        counts: Counts = {}
        for line in text.split("\n")[:-1]:
            _, _, disk, numbers = line.split(None, 3)
            if disk.startswith(HIDDEN_DISKS):
                continue
            reads, _, read, reading, writes, _, written, writing, _, busy, *_ = numbers.split()
            counts[disk] = {
                "read_bytes_per_s": SECTOR * int(read),
                "write_bytes_per_s": SECTOR * int(written),
                "reads_per_s": int(reads),
                "writes_per_s": int(writes),
                "busy_pct": int(busy) / 10,  # ms per s to percent
                "await_s": (int(reading) + int(writing)) / 1000,
            }
        return counts

    def _read(self, name: str) -> str:
        """What the file says; empty where there is none."""
        return self._files[name].read() if name in self._files else ""

    def _read_stat(self, now: float) -> str:
        if now != self._stat_at:
            self._stat, self._stat_at = self._read("stat"), now
        return self._stat


def readings(ps: Any, system: str) -> Readings:
    """The way that this machine has."""
    return Proc(ps, system) if os.path.exists(os.path.join(system, "proc/stat")) else Readings(ps, system)


def ticks(times: Any) -> dict[str, float]:
    """Processor times of psutil: seconds by field of TICKS, as far as there are."""
    return {field: getattr(times, field) for field in TICKS if hasattr(times, field)}


def _number(text: str, name: str) -> int:
    """The number that follows the name, which must be there."""
    at = text.index(name) + len(name)
    return int(text[at : at + 24].split(None, 1)[0])
