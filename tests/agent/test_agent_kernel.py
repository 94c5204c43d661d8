"""What Linux alone says: recorded files, this machine's kernel, and hosts that have none of it."""

from __future__ import annotations

import ctypes
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from agent.kernel import CLOCK_EVERY, Kernel, of_clock

SNMP = (
    "Ip: Forwarding DefaultTTL\nIp: 1 64\n"
    "Tcp: RtoAlgorithm RtoMin ActiveOpens InSegs OutSegs RetransSegs InErrs\nTcp: 1 200 384795 7409325 7349690 {} 0\n"
)
PRESSURE = (
    "some avg10={} avg60=5.02 avg300=8.18 total=7051986437\nfull avg10=0.25 avg60=0.00 avg300=0.00 total=30700538\n"
)


@pytest.fixture
def record(tmp_path: Path) -> Callable[..., None]:
    """Write files below the folder of proc and sys; "/" stands as "__"."""

    def write(**files: str) -> None:
        for name, text in files.items():
            path = tmp_path / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    return write


def test_segments_that_are_sent_again(host: Any, record: Callable[..., None]) -> None:
    """Its column is there at once; then the rate over ten seconds, nan where the counter starts anew."""
    record(proc__net__snmp=SNMP.format(29247))
    rows = [host.row(10.0)["net.tcp.retransmits_per_s"]]
    for count in (29248, 29248, 3, 28):
        record(proc__net__snmp=SNMP.format(count))
        rows.append(host.row(10.0)["net.tcp.retransmits_per_s"])
    assert math.isnan(rows[0])
    assert rows[1:3] == [0.1, 0.0]
    assert math.isnan(rows[3])
    assert rows[4] == 2.5
    assert host.log == []


def test_kills_for_want_of_memory_and_open_files(host: Any, record: Callable[..., None]) -> None:
    """As the kernel counts them; one before 4.13 does not count what it kills."""
    record(proc__vmstat="nr_free_pages 5695615\npgfault 12\n")
    record(**{"proc__sys__fs__file-nr": "851\t3\t9223372036854775807\n"})
    row = host.row(10.0)
    assert "mem.oom_kills" not in row
    assert row["proc.files_open"] == 848.0
    record(proc__vmstat="nr_free_pages 5695615\noom_kill 3\npgfault 12\n")
    assert host.row(10.0)["mem.oom_kills"] == 3.0
    assert host.log == []


def test_pressure(host: Any, record: Callable[..., None]) -> None:
    """The share of ten seconds, by resource; an old kernel has no line for all tasks of the processor."""
    for resource in ("memory", "io"):
        record(**{f"proc__pressure__{resource}": PRESSURE.format("10.60")})
    record(proc__pressure__cpu=PRESSURE.format("14.25").splitlines()[0] + "\n")
    row = host.row(10.0)
    assert {name: value for name, value in row.items() if name.startswith("psi.")} == {
        "psi.cpu.some_pct": 14.25,
        "psi.memory.some_pct": 10.6,
        "psi.memory.full_pct": 0.25,
        "psi.io.some_pct": 10.6,
        "psi.io.full_pct": 0.25,
    }
    assert host.log == []


def test_limits_of_a_container(host: Any, record: Callable[..., None]) -> None:
    """Half a gigabyte and one and a half processors; what is unlimited has no column, or is nan once it had one."""
    record(**{"sys__fs__cgroup__memory.max": "max\n", "sys__fs__cgroup__cpu.max": "max 100000\n"})
    assert not {"mem.limit_bytes", "cpu.limit_cores"} & host.row(10.0).keys()
    record(**{"sys__fs__cgroup__memory.max": "536870912\n", "sys__fs__cgroup__cpu.max": "150000 100000\n"})
    row = host.row(10.0)
    assert (row["mem.limit_bytes"], row["cpu.limit_cores"]) == (536870912.0, 1.5)
    record(**{"sys__fs__cgroup__memory.max": "max\n"})
    assert math.isnan(host.row(10.0)["mem.limit_bytes"])
    assert host.log == []


def test_a_host_that_has_none_of_it(host: Any, tmp_path: Path) -> None:
    """No Linux, or one where it cannot be read, as where pressure is switched off: no columns, nothing in the log."""
    (tmp_path / "proc/pressure/cpu").mkdir(parents=True)  # opens, and fails when it is read
    host.row(10.0)
    row = host.row(10.0)
    names = ("psi.", "clock.", "net.tcp.", "mem.oom", "mem.limit", "cpu.limit", "proc.files")
    assert not [name for name in row if name.startswith(names)]
    assert row["cpu.count"] == 2.0
    assert host.log == []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux has these files")
def test_this_machines_kernel() -> None:
    """What it says to who reads its files whole; its open files are at least those of this process."""
    kernel = Kernel(print)
    told, vmstat = kernel.events(0.0), Path("/proc/vmstat").read_text().split()
    assert ("mem.oom_kills" in told) == ("oom_kill" in vmstat)
    if "oom_kill" in vmstat:
        assert told["mem.oom_kills"] <= int(Path("/proc/vmstat").read_text().split()[vmstat.index("oom_kill") + 1])
    assert told["proc.files_open"] >= psutil.Process().num_fds()
    assert kernel.events(1.0)["net.tcp.retransmits_per_s"] >= 0
    pressure = kernel.pressure(0.0)
    assert all(0 <= value <= 100 for value in pressure.values())
    try:
        assert (len(Path("/proc/pressure/io").read_text()) > 0) == ("psi.io.some_pct" in pressure)
    except OSError:  # there is none, or it is switched off
        assert not pressure


class Timex(ctypes.Structure):
    """The kernel's struct, as <sys/timex.h> has it, as far as it is read."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_char * 160),
    )


@pytest.mark.parametrize(
    ("offset", "status", "offset_s", "synced"),
    [(-1500, 0x0001, -0.0015, 1.0), (-1500, 0x2001, -1.5e-6, 1.0), (0, 0x0040, 0.0, 0.0), (7, 0x2041, 7e-9, 0.0)],
)
def test_what_the_kernel_says_of_its_clock(offset: int, status: int, offset_s: float, synced: float) -> None:
    """Micro- or nanoseconds, with a sign; a bit says that nothing sets it."""
    told = of_clock(f"{offset} {status}")
    assert told == {"clock.offset_s": pytest.approx(offset_s), "clock.synced": synced}
    assert of_clock("") == {}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux has adjtimex")
def test_this_machines_clock() -> None:
    """As the kernel says to who asks it in another way; asking sets nothing."""
    timex = Timex()
    if ctypes.CDLL(None).adjtimex(ctypes.byref(timex)) < 0:
        pytest.skip("this machine does not let us ask for its clock's state")
    kernel, children = Kernel(print), psutil.Process().children()
    told = kernel.clock(0.0)
    assert kernel.clock(CLOCK_EVERY - 1) is told  # not asked again
    assert told["clock.synced"] == (0.0 if timex.status & 0x40 else 1.0)
    assert told["clock.offset_s"] == pytest.approx(timex.offset * (1e-9 if timex.status & 0x2000 else 1e-6), abs=0.01)
    assert psutil.Process().children() == children  # the one that asked has been waited for
