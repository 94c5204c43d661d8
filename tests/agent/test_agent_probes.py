"""Probes and sampler on recorded readings: what goes wrong on real hosts gives nan, never a false number."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agent.devices import encode
from agent.sampler import FIXED

NAN = float("nan")


def test_columns_begin_with_those_of_every_host(host: Any) -> None:
    """Fixed columns first, then devices, all with the unit that their name's end says."""
    host.row()
    columns = host.sampler.columns
    assert tuple(columns)[: len(FIXED)] == FIXED
    assert list(columns)[len(FIXED) :] == [
        "net.eth0.rx_bytes_per_s",
        "net.eth0.tx_bytes_per_s",
        "net.eth0.errors_per_s",
        "net.eth0.drops_per_s",
        "net.eth0.packets_per_s",
        "disk.vda.read_bytes_per_s",
        "disk.vda.write_bytes_per_s",
        "disk.vda.reads_per_s",
        "disk.vda.writes_per_s",
        "disk.vda.busy_pct",
        "disk.vda.await_s",
        "fs./.used_pct",
        "fs./.free_bytes",
        "fs./.inodes_used_pct",
        "temp.coretemp.Package%20id%200_celsius",
    ]
    units = {
        "cpu.busy_pct": "%",
        "cpu.freq_hz": "Hz",
        "load.1m": "",
        "mem.total_bytes": "B",
        "proc.total": "",
    }
    units |= {"net.rx_bytes_per_s": "B/s", "kernel.interrupts_per_s": "1/s", "sys.uptime_s": "s"}
    units |= {
        "disk.vda.await_s": "s",
        "net.eth0.errors_per_s": "1/s",
        "disk.vda.reads_per_s": "1/s",
        "temp.coretemp.Package%20id%200_celsius": "°C",
    }
    assert {name: columns[name] for name in units} == units


def test_values_of_a_quiet_second(host: Any, recorded: Any) -> None:
    """Rates are per second of the monotonic clock, percents of what was spent."""
    make = recorded.make
    host.set(
        cpu_times=make.cpu(100.2, 0.1, 50.1, 801.0, 10.4, 0.1, 0.0, 0.1, 0.1, 0.1),
        net_io_counters={
            "lo": make.net(99, 99),
            "eth0": make.net(1200, 2400, 3, 4, 1, 2, 5, 6),
            "veth12": make.net(50, 50),
        },
        disk_io_counters={"vda": make.disk(12, 24, 8192, 8192, 1100, 20, 70), "vda1": make.disk(99, 99, 99, 99, 99)},
    )
    row = host.row(2.0)
    expected = {
        "cpu.busy_pct": 30.0,
        "cpu.user_pct": 15.0,
        "cpu.system_pct": 10.0,
        "cpu.iowait_pct": 20.0,
        "cpu.steal_pct": 5.0,
        "cpu.freq_hz": 2.6e9,
        "load.15m": 0.12,
        "mem.used_pct": 40.0,
        "mem.cached_bytes": 204800.0,
        "swap.used_pct": 0.0,
        "net.rx_bytes_per_s": 200.0,
        "net.tx_bytes_per_s": 100.0,
        "net.eth0.rx_bytes_per_s": 200.0,
        "net.eth0.packets_per_s": 3.5,
        "net.eth0.errors_per_s": 1.5,
        "net.eth0.drops_per_s": 5.5,
        "disk.read_bytes_per_s": 2048.0,
        "disk.vda.reads_per_s": 1.0,
        "disk.vda.writes_per_s": 2.0,
        "disk.vda.busy_pct": 50.0,
        "disk.vda.await_s": 0.015,
        "fs./.used_pct": 30.0,
        "fs./.free_bytes": 70.0,
        "fs./.inodes_used_pct": 25.0,
        "temp.coretemp.Package%20id%200_celsius": 41.2,
        "proc.total": 3.0,
        "agent.dropped_rows": 7.0,
        "agent.rss_bytes": 12_000_000.0,
    }
    assert {name: row[name] for name in expected} == pytest.approx(expected)
    assert host.log == []


def test_iowait_that_goes_back_is_clamped(host: Any, recorded: Any) -> None:
    """The kernel takes some iowait back: 0 %, and the others stay right."""
    host.set(cpu_times=recorded.make.cpu(100.5, 0.0, 50.0, 800.5, 9.0, 0.0, 0.0, 0.0, 0.0, 0.0))
    row = host.row()
    assert (row["cpu.iowait_pct"], row["cpu.busy_pct"], row["cpu.user_pct"]) == (0.0, 50.0, 50.0)


def test_cpu_times_that_go_back_or_stand_still_are_missing(host: Any, recorded: Any) -> None:
    """A processor that was taken out, or a sample within one clock tick."""
    host.set(cpu_times=recorded.make.cpu(60.0, 0.0, 30.0, 500.0, 5.0, 0.0, 0.0, 0.0, 0.0, 0.0))
    assert math.isnan(host.row()["cpu.busy_pct"])
    assert math.isnan(host.row()["cpu.user_pct"])


def test_a_processor_field_that_runs_backwards_costs_itself(host: Any, recorded: Any) -> None:
    """As steal does after a migration: it is nan, said once, and the others are shares of what is left."""
    make = recorded.make.cpu
    user, idle, steal = 100.0, 800.0, 50.0
    host.set(cpu_times=make(user, 0.0, 50.0, idle, 10.0, 0.0, 0.0, steal, 0.0, 0.0))
    host.row()
    for _ in range(5):
        user, idle, steal = user + 0.25, idle + 0.75, steal - 3.0
        host.set(cpu_times=make(user, 0.0, 50.0, idle, 10.0, 0.0, 0.0, steal, 0.0, 0.0))
        row = host.row()
        assert math.isnan(row["cpu.steal_pct"])
        assert (row["cpu.busy_pct"], row["cpu.user_pct"], row["cpu.system_pct"]) == (25.0, 25.0, 0.0)
        assert row["cpu.iowait_pct"] == 0.0
    assert host.log == ["cpu steal: its counter ran backwards; it is missing where it does"]
    host.set(cpu_times=make(user + 0.5, 0.0, 50.0, idle, 10.0, 0.0, 0.0, steal + 0.5, 0.0, 0.0))
    assert host.row()["cpu.steal_pct"] == 50.0


def test_a_devices_counter_that_runs_backwards_costs_itself(host: Any, recorded: Any) -> None:
    """A driver whose sent bytes wrap: what it received goes on; said once. A device that starts anew says nothing."""
    net = recorded.make.net
    for number in range(1, 6):
        host.set(net_io_counters={"eth0": net(900 - number, 2000 + 100 * number)})
        row = host.row()
        assert math.isnan(row["net.eth0.tx_bytes_per_s"])
        assert math.isnan(row["net.tx_bytes_per_s"])
        assert row["net.eth0.rx_bytes_per_s"] == row["net.rx_bytes_per_s"] == 100.0
    assert host.log == ["eth0 tx_bytes_per_s: its counter ran backwards; it is missing where it does"]
    host.set(net_io_counters={"eth0": net(0, 0)}, disk_io_counters={"vda": recorded.make.disk(0, 0, 0, 0, 0)})
    assert math.isnan(host.row()["disk.vda.reads_per_s"])
    assert len(host.log) == 1


def test_counter_reset_is_missing_once(host: Any, recorded: Any) -> None:
    """A counter that starts anew gives nan for that NIC and the total, then rates again; never a spike."""
    net = recorded.make.net
    host.row()
    host.set(net_io_counters={"eth0": net(10, 20)})
    row = host.row()
    assert math.isnan(row["net.eth0.rx_bytes_per_s"])
    assert math.isnan(row["net.rx_bytes_per_s"])
    host.set(net_io_counters={"eth0": net(15, 50)})
    assert host.row()["net.eth0.rx_bytes_per_s"] == 30.0
    assert host.log == []  # that its errors stay 0 is no sign that the others ran backwards alone


def test_nic_that_vanishes_keeps_its_columns(host: Any, recorded: Any) -> None:
    """Gone: nan, the totals go on; back: one sample later its rate again, in the same columns."""
    net = recorded.make.net
    both = {"eth0": net(0, 0), "wlan0": net(0, 0)}
    host.set(net_io_counters=both)
    host.row()
    host.row()
    columns = list(host.sampler.columns)
    assert columns[-5:-3] == ["net.wlan0.rx_bytes_per_s", "net.wlan0.tx_bytes_per_s"]  # came later: at the end
    host.set(net_io_counters={"eth0": net(5, 5)})
    row = host.row()
    assert math.isnan(row["net.wlan0.rx_bytes_per_s"])
    assert row["net.rx_bytes_per_s"] == 5.0
    host.set(net_io_counters={"eth0": net(5, 5), "wlan0": net(900, 900)})
    row = host.row()
    assert math.isnan(row["net.wlan0.rx_bytes_per_s"])
    assert row["net.rx_bytes_per_s"] == 0.0  # its 900 bytes are not of this second
    host.set(net_io_counters={"eth0": net(5, 5), "wlan0": net(900, 910)})
    assert host.row()["net.wlan0.rx_bytes_per_s"] == 10.0
    assert list(host.sampler.columns) == columns


def test_sixteen_devices_have_columns_and_all_count(host: Any, recorded: Any) -> None:
    """On a host of 40 NICs, 16 have columns, the totals are of all, and the log says it once."""
    net = recorded.make.net
    host.set(net_io_counters={f"eth{n}": net(0, 0) for n in range(40)})
    host.row()
    host.set(net_io_counters={f"eth{n}": net(1, 2) for n in range(40)})
    assert host.row()["net.rx_bytes_per_s"] == 80.0
    assert sum(name.startswith("net.eth") for name in host.sampler.columns) == 5 * 16
    assert len(host.log) == 1


def test_only_disks_that_are_not_counted_twice(host: Any, recorded: Any, tmp_path: Path) -> None:
    """Partitions, volumes on other disks, loops and memory disks have no columns nor part in totals."""
    disk = recorded.make.disk
    (tmp_path / "sys/block/dm-0" / "slaves" / "vda").mkdir(parents=True)
    for name in ("cciss!c0d0", "loop0", "ram0", "zram0"):
        (tmp_path / "sys/block" / name).mkdir()
    names = ("cciss/c0d0", "dm-0", "loop0", "ram0", "vda", "vda1", "zram0")
    host.set(disk_io_counters={name: disk(0, 0, 0, 0, 0) for name in names})
    host.row()
    host.set(disk_io_counters={name: disk(1, 1, 512, 512, 1) for name in names})
    row = host.row()
    assert row["disk.read_bytes_per_s"] == 1024.0
    shown = {name.split(".")[1] for name in host.sampler.columns if name.endswith(".reads_per_s")}
    assert shown == {"vda", "cciss/c0d0"}


def test_file_systems_that_are_local_and_real(host: Any, recorded: Any) -> None:
    """One mount per device; no network file system is even asked; names are safe in a line."""
    part, usage = recorded.make.part, recorded.make.usage
    host.set(
        disk_partitions=[
            part("/dev/vda1", "/", "ext4", ""),
            part("/dev/vda1", "/var/lib/bind", "ext4", ""),
            part("server:/export", "/mnt/dead", "nfs4", ""),
            part("/dev/loop3", "/snap/core/1", "squashfs", ""),
            part("/dev/sdb1", "/media/My Disk: 50%", "vfat", ""),
            part("/dev/sdc1", "/gone", "ext4", ""),
        ]
    )

    def disk_usage(path: str) -> Any:
        if path == "/gone":
            raise FileNotFoundError(path)
        return {"/": usage(100, 30, 70, 0), "/media/My Disk: 50%": usage(10, 5, 5, 0)}[path]

    recorded.disk_usage = disk_usage
    row = host.row(10.0)
    shown = {name: value for name, value in row.items() if name.startswith("fs.")}
    assert shown == {
        "fs./.used_pct": 30.0,
        "fs./.free_bytes": 70.0,
        "fs./.inodes_used_pct": 25.0,
        "fs./media/My%20Disk%3A%2050%25.used_pct": 50.0,
        "fs./media/My%20Disk%3A%2050%25.free_bytes": 5.0,
        "fs./media/My%20Disk%3A%2050%25.inodes_used_pct": 25.0,
    }
    assert host.log == []


@pytest.mark.parametrize(
    ("name", "encoded"),
    [
        ("/", "/"),
        ("/höme", "/höme"),
        ("a\tb", "a%09b"),
        ("a\x85b", "a%C2%85b"),
        ("\udcff", "%FF"),
        ("%", "%25"),
    ],
)
def test_encode(name: str, encoded: str) -> None:
    """Readable text stays; blanks, colons, percents, controls and bytes that are no UTF-8 do not."""
    assert encode(name) == encoded


@pytest.mark.parametrize("frequency", [None, 0.0], ids=["none", "zero"])
def test_unknown_frequency_is_missing(host: Any, recorded: Any, frequency: float | None) -> None:
    """Virtual machines have no frequency, or 0: both are nan, and no failure."""
    host.set(cpu_freq=None if frequency is None else [SimpleNamespace(current=frequency)])
    if frequency is None:
        recorded.cpu_freq = lambda percpu: []
    assert math.isnan(host.row(10.0)["cpu.freq_hz"])
    assert host.log == []


def test_same_sensors_get_numbers(host: Any, recorded: Any) -> None:
    """Two disks of one kind have two columns; a sensor without a label has its chip's name."""
    sensor = recorded.make.sensor
    drives = [sensor("Composite", 30.0, 0, 0), sensor("Composite", 40.0, 0, 0)]
    host.set(sensors_temperatures={"nvme": drives, "acpitz": [sensor("", None, 0, 0)]})
    row = host.row(10.0)
    assert row["temp.nvme.Composite_celsius"] == 30.0
    assert row["temp.nvme.Composite.2_celsius"] == 40.0
    assert math.isnan(row["temp.acpitz_celsius"])


FAST = ["cpu_times", "getloadavg", "virtual_memory"]
FAST += ["net_io_counters", "disk_io_counters", "cpu_stats"]
SLOW = ["swap_memory", "memory_info", "cpu_count", "cpu_freq", "pids", "disk_partitions", "sensors_temperatures"]


@pytest.mark.parametrize("reading", FAST + SLOW)
def test_each_group_fails_alone(host: Any, recorded: Any, reading: str) -> None:
    """One that raises is missing, the others are not; one log line when it begins, one when it ends."""

    def row() -> dict[str, float]:
        if times := recorded.readings["cpu_times"]:
            host.set(cpu_times=recorded.make.cpu(*(seconds + 1 for seconds in times)))
        sampled: dict[str, float] = host.row(10.0)
        return sampled

    before = row()
    works, recorded.readings[reading] = recorded.readings[reading], None
    during = row()
    missing = {name for name in before if math.isnan(during[name]) and not math.isnan(before[name])}
    assert len({name.split(".")[0] for name in missing}) == 1
    assert len(host.log) == 1
    assert ("ValueError" if recorded.is_in_proc(reading) else f"no {reading} today") in host.log[0]
    row()
    assert len(host.log) == 1
    recorded.readings[reading] = works
    row()
    after = row()
    assert not [name for name in before if math.isnan(after[name]) and not math.isnan(before[name])]
    assert len(host.log) == 2
    assert "again" in host.log[1]


def test_slow_groups_are_asked_every_ten_seconds(host: Any, recorded: Any) -> None:
    """In between their last values are repeated."""
    recorded.asked.clear()
    rows = [host.row() for _ in range(20)]
    assert {name: recorded.asked.count(name) for name in SLOW} == dict.fromkeys(SLOW, 2)
    assert {row["fs./.used_pct"] for row in rows} == {30.0}


def test_a_line_is_skipped_after_suspend(host: Any, recorded: Any) -> None:
    """Neither sleep nor a clock that is set makes a false rate: no row, then rows of one second again."""
    net = recorded.make.net
    host.row()
    recorded.asleep += 3600.0
    host.set(net_io_counters={"eth0": net(10**9, 10**9)})
    assert host.sample() is None
    host.set(net_io_counters={"eth0": net(10**9 + 5, 10**9 + 6)})
    assert host.row()["net.rx_bytes_per_s"] == 6.0
    recorded.asleep -= 7200.0
    assert host.sample() is None
    recorded.asleep += 0.5  # a clock that is being nudged
    host.row()


def test_a_platform_that_has_little(recorded: Any, tmp_path: Path, make_host: Any) -> None:
    """Without iowait, buffers, busy times, sensors, /proc or /sys the rest is there."""
    times = SimpleNamespace(user=5.0, system=5.0, idle=90.0)
    memory = SimpleNamespace(total=10, available=5)
    disk = SimpleNamespace(read_count=1, write_count=1, read_bytes=1, write_bytes=1)
    recorded.readings.update(cpu_times=times, virtual_memory=memory, disk_io_counters={"PhysicalDrive0": disk})
    del recorded.readings["sensors_temperatures"]
    recorded.proc = None
    host = make_host(tmp_path / "absent")
    host.sample()
    times.idle = 91.0
    row = host.row()
    assert row["cpu.busy_pct"] == 0.0
    assert math.isnan(row["cpu.iowait_pct"])
    assert math.isnan(row["mem.buffers_bytes"])
    assert row["disk.PhysicalDrive0.reads_per_s"] == 0.0
    assert host.log == []


def test_file_systems_that_come_and_go(host: Any, recorded: Any, tmp_path: Path) -> None:
    """They are looked for when what is mounted has changed; where nothing says so, each time."""
    part, usage = recorded.make.part, recorded.make.usage
    root, data = part("/dev/vda1", "/", "ext4", ""), part("/dev/vdb1", "/data", "ext4", "")
    mounts, asked, there = tmp_path / "proc/self/mounts", list[bool](), [root]
    mounts.parent.mkdir(parents=True)

    def disk_partitions(all: bool) -> list[Any]:
        asked.append(all)
        return there

    recorded.disk_partitions = disk_partitions
    recorded.usage["/data"] = usage(100, 50, 50, 0)
    for said in ("/", "/", "/, /data", "/"):
        mounts.write_text(said)
        there[:] = [root, data] if "data" in said else [root]
        row = host.row(10.0)
        assert row["fs./.used_pct"] == 30.0
        assert math.isnan(row.get("fs./data.used_pct", math.nan)) == ("data" not in said)
    assert len(asked) == (3 if (tmp_path / "proc/stat").exists() else 4)


def test_a_container(host: Any, recorded: Any, tmp_path: Path) -> None:
    """Its root has no device, single files are mounted into it, and there are neither sensors nor disks."""
    part, usage = recorded.make.part, recorded.make.usage
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/hosts").write_text("")
    (tmp_path / "data").mkdir()
    files = part("/dev/vda1", "/etc/hosts", "ext4", "bind")
    data = part("/dev/vdb1", "/data", "ext4", "bind")
    root = part("overlay", "/", "overlay", "rw")
    proc = part("proc", "/proc", "proc", "rw")
    recorded.disk_partitions = lambda all: [proc, root, files, data] if all else [files, data]
    recorded.usage["/data"] = usage(100, 50, 50, 0)
    host.set(sensors_temperatures={})
    recorded.disk_io_counters = lambda **_: None  # what psutil gives without a disk
    row = host.row(10.0)
    shown = {name: value for name, value in row.items() if name.startswith("fs.") and name.endswith(".used_pct")}
    assert shown == {"fs./.used_pct": 30.0, "fs./data.used_pct": 50.0}
    assert math.isnan(row["disk.read_bytes_per_s"])
    assert host.log == []


def test_two_hundred_veths(host: Any, recorded: Any) -> None:
    """The network cards of containers have no columns, and what they pass on is not counted twice."""
    net = recorded.make.net
    nics = {f"veth{number:x}": net(10, 10) for number in range(200)}
    bridges = {name: net(10, 10) for name in ("br-4fe2", "docker0", "lo")}
    host.set(net_io_counters={**nics, **bridges, "eth0": net(1000, 2000)})
    host.row()
    moved = {name: net(10**6, 10**6) for name in {**nics, **bridges}}
    host.set(net_io_counters={**moved, "eth0": net(1010, 2020)})
    row = host.row()
    assert (row["net.rx_bytes_per_s"], row["net.tx_bytes_per_s"]) == (20.0, 10.0)
    assert {name.split(".")[1] for name in row if name.startswith("net.") and name.count(".") == 2} == {"eth0"}
    assert host.log == []
