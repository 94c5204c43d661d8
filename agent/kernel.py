"""What Linux alone says, asked every ten seconds. A host, a kernel or a container that has it not has no column."""

from __future__ import annotations

import os

from agent.devices import Rates
from agent.readings import File

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

NAN = float("nan")
UNSYNCHRONISED, IN_NANOSECONDS = 0x40, 0x2000  # bits of adjtimex's status
CLOCK_EVERY = 60.0  # seconds from one question about the clock to the next


class Kernel:
    """The groups of columns that only Linux has."""

    def __init__(self, log: Callable[[str], None], system: str = "/") -> None:
        """`system`: the folder that holds proc and sys."""
        self._system = system
        self._files: dict[str, File] = {}
        self._rates = Rates(log)
        self._clock: dict[str, float] = {}
        self._clock_due = float("-inf")

    def pressure(self, now: float) -> dict[str, float]:
        """The share of the last ten seconds in which some, or all, tasks waited for a resource; percent."""
        values = {}
        for resource in ("cpu", "memory", "io"):
            for line in self._text(f"proc/pressure/{resource}").splitlines():
                who, average = line.split()[:2]  # some avg10=0.12
                values[f"psi.{resource}.{who}_pct"] = float(average[len("avg10=") :])
        return values

    def events(self, now: float) -> dict[str, float]:
        """TCP segments sent again per second; processes that the kernel killed for want of memory; open files."""
        values: dict[str, float] = {}
        tcp = [line.split() for line in self._text("proc/net/snmp").splitlines() if line.startswith("Tcp:")]
        if len(tcp) == 2:  # names, and their numbers
            sent_again: dict[str, float] = {"net.tcp.retransmits_per_s": int(tcp[1][tcp[0].index("RetransSegs")])}
            values = {**dict.fromkeys(sent_again, NAN), **self._rates(now, {"": sent_again}).get("", {})}
        _, name, kills = self._text("proc/vmstat").partition("\noom_kill ")
        if name:
            values["mem.oom_kills"] = int(kills.split(None, 1)[0])
        files = self._text("proc/sys/fs/file-nr").split()  # allocated, of these unused, most
        if files:
            values["proc.files_open"] = int(files[0]) - int(files[1])
        return values

    def limits(self, now: float) -> dict[str, float]:
        """What a container may take, as its control group (version 2) says; the host's group has no limits."""
        values = {}
        memory = self._text("sys/fs/cgroup/memory.max").strip()
        if memory.isdigit():  # else max
            values["mem.limit_bytes"] = float(memory)
        cpu = self._text("sys/fs/cgroup/cpu.max").split()  # microseconds, or max, of so many
        if cpu and cpu[0].isdigit():
            values["cpu.limit_cores"] = int(cpu[0]) / int(cpu[1])
        return values

    def clock(self, now: float) -> dict[str, float]:
        """How far the kernel knows the clock to be wrong, in seconds, and whether something sets it."""
        if now >= self._clock_due:
            is_linux = os.path.exists(os.path.join(self._system, "proc/self/status"))
            self._clock = of_clock(ask_the_clock()) if is_linux else {}
            self._clock_due = now + (CLOCK_EVERY if self._clock else float("inf"))  # who may not ask never may
        return self._clock

    def _text(self, path: str) -> str:
        """What the file says; empty where there is none, or none that can be read: pressure may be switched off."""
        if path not in self._files:
            self._files[path] = File(os.path.join(self._system, path))
        try:
            return self._files[path].read()
        except OSError:
            return ""


def of_clock(told: str) -> dict[str, float]:
    """Columns of what the kernel told: its offset and its status."""
    if not told:
        return {}
    offset, status = map(int, told.split())
    return {
        "clock.offset_s": offset * (1e-9 if status & IN_NANOSECONDS else 1e-6),
        "clock.synced": 0.0 if status & UNSYNCHRONISED else 1.0,
    }


def ask_the_clock() -> str:
    """Offset and status of adjtimex(2), which sets nothing here; nothing where we may not ask. OSError.

    A child asks: ctypes would cost the agent half a megabyte for good, and a service whose system calls are filtered
    may be killed for the question.
    """
    reading, writing = os.pipe()
    try:
        child = os.fork()
    except OSError:
        os.close(reading)
        os.close(writing)
        raise
    if not child:
        try:
            os.write(writing, _adjtimex())
        finally:
            os._exit(0)
    os.close(writing)
    told = os.read(reading, 64)
    os.close(reading)
    os.waitpid(child, 0)
    return told.decode()


def _adjtimex() -> bytes:
    import ctypes

    class Timex(ctypes.Structure):
        """The kernel's struct timex, as <sys/timex.h> has it."""

        _fields_ = (
            ("modes", ctypes.c_uint),  # 0: set nothing
            ("offset", ctypes.c_long),
            ("others", ctypes.c_long * 3),  # freq, maxerror, esterror
            ("status", ctypes.c_int),
            ("rest", ctypes.c_char * 192),  # more than it has anywhere
        )

    timex = Timex()
    allowed = ctypes.CDLL(None).adjtimex(ctypes.byref(timex)) >= 0
    return b"%d %d" % (timex.offset, timex.status) if allowed else b""
