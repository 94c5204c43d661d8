"""Devices as recorded trees of /sys describe them: totals count each byte once, places go round, names stay."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agent.devices import DEVICES, EVER, GONE, Places


class Nics:
    """/sys/class/net of a recorded host, and counters that all grow by the same."""

    def __init__(self, host: Any, recorded: Any, folder: Path) -> None:
        self.host, self.make, self.folder = host, recorded.make.net, folder / "sys/class/net"
        self.bytes: dict[str, int] = {}

    def add(self, name: str, hardware: bool = False, master: str = "", lower: str = "", kind: int = 1) -> None:
        nic = self.folder / name
        nic.mkdir(parents=True)
        (nic / "type").write_text(f"{kind}\n")
        if hardware:
            (nic / "device").mkdir()
        if master:
            (nic / "master").symlink_to(f"../{master}")
        for each in lower.split():
            (nic / f"lower_{each}").symlink_to(f"../{each}")
        self.bytes[name] = 0

    def row(self, **moved: int) -> dict[str, float]:
        """What a second brings in which these interfaces, others none, received so many bytes."""
        self.host.set(net_io_counters={name: self.make(0, total) for name, total in self.bytes.items()})
        self.host.row()
        for name, count in moved.items():
            self.bytes[name.replace("_", ".")] += count
        self.host.set(net_io_counters={name: self.make(0, total) for name, total in self.bytes.items()})
        row: dict[str, float] = self.host.row()
        return row


@pytest.fixture
def nics(host: Any, recorded: Any, tmp_path: Path) -> Nics:
    return Nics(host, recorded, tmp_path)


def test_a_bond_with_a_vlan_and_a_bridge(nics: Nics) -> None:
    """100 MB/s on two wires are 100 MB/s, however many interfaces lie upon them."""
    nics.add("eth0", hardware=True, master="bond0")
    nics.add("eth1", hardware=True, master="bond0")
    nics.add("bond0", lower="eth0 eth1")
    nics.add("bond0.10", lower="bond0", master="vmbr0")
    nics.add("vmbr0", lower="bond0.10")
    nics.add("tap100i0", master="vmbr0")
    row = nics.row(eth0=60, eth1=40, bond0=100, bond0_10=100, vmbr0=100, tap100i0=100)
    assert row["net.rx_bytes_per_s"] == 100.0
    assert row["net.vmbr0.rx_bytes_per_s"] == 100.0


def test_hardware_that_lies_on_hardware(nics: Nics) -> None:
    """A virtual function of Hyper-V is counted in its master, a switch's port in what it hangs on."""
    nics.add("eth0", hardware=True, lower="enP1s1")
    nics.add("enP1s1", hardware=True, master="eth0")
    nics.add("eth2", hardware=True)
    nics.add("lan1", hardware=True, lower="eth2")
    assert nics.row(eth0=100, enP1s1=90, eth2=10, lan1=10)["net.rx_bytes_per_s"] == 110.0


def test_a_container_with_a_tunnel(nics: Nics) -> None:
    """Nothing is hardware there: what a tunnel brings came through the interface that is no tunnel."""
    nics.add("eth0")
    nics.add("wg0", kind=65534)
    assert nics.row(eth0=150, wg0=100)["net.rx_bytes_per_s"] == 150.0


def test_the_spikes_are_those_of_the_total(nics: Nics, recorded: Any, make_host: Callable[..., Any]) -> None:
    """Readings between two samples count the same interfaces as the total."""
    nics.add("eth0", hardware=True, master="br0")
    nics.add("br0", lower="eth0")
    nics.host = make_host(subsamples=True)
    nics.host.sample()
    row = nics.row(eth0=100, br0=100)
    assert row["net.rx_max_bytes_per_s"] == row["net.rx_bytes_per_s"] == 100.0


def test_a_volume_of_zfs_is_on_disks(host: Any, recorded: Any, tmp_path: Path) -> None:
    """It has columns, but its bytes are those of the disks; a hidden path to a disk has none."""
    block = tmp_path / "sys/block"
    for disk in ("vda", "nvme0n1", "nvme0c0n1"):
        (block / disk / "device").mkdir(parents=True)
    (block / "zd0").mkdir()
    (block / "nvme0c0n1/hidden").write_text("1\n")
    names = ("vda", "zd0", "nvme0n1", "nvme0c0n1")
    host.set(disk_io_counters={name: recorded.make.disk(0, 0, 0, 0, 0) for name in names})
    host.row()
    host.set(disk_io_counters={name: recorded.make.disk(1, 1, 512, 512, 1) for name in names})
    row = host.row()
    assert row["disk.read_bytes_per_s"] == 1024.0
    assert row["disk.zd0.read_bytes_per_s"] == 512.0
    assert "disk.nvme0c0n1.read_bytes_per_s" not in row


def test_hardware_has_columns_before_containers(nics: Nics) -> None:
    """30 interfaces of containers, which come first by name, leave room for both that are hardware."""
    for number in range(30):
        nics.add(f"cali{number:02}")
    nics.add("ens5", hardware=True)
    row = nics.row(ens5=7)
    assert row["net.ens5.rx_bytes_per_s"] == row["net.rx_bytes_per_s"] == 7.0
    nics.add("eth0", hardware=True)  # plugged in when all places are taken
    assert nics.row(eth0=5)["net.eth0.rx_bytes_per_s"] == 5.0
    shown = {
        name.split(".")[1] for name in nics.host.sampler.columns if name.startswith("net.") and name.count(".") == 2
    }
    assert len([name for name in shown if name.startswith("cali")]) == 15
    assert len(nics.host.log) == 1


def test_a_place_is_given_back_after_an_hour() -> None:
    """Not before; the columns of all that ever were stay bounded, and one that had some may come back."""
    log: list[str] = []
    places = Places("things", log.append)
    crowd = [f"wg{number:02}" for number in range(DEVICES)]
    assert places.admit(0.0, crowd) == crowd
    assert places.admit(GONE - 1.0, ["late"]) == []
    assert places.admit(GONE, [*crowd[1:], "late"]) == crowd[1:]
    assert places.admit(GONE + 1.0, [*crowd[1:], "late"]) == [*crowd[1:], "late"]
    now, ever = GONE + 1.0, {*crowd, "late"}
    for round_ in range(100):
        now += 2 * GONE
        ever.update(places.admit(now, [f"{name}.{round_}" for name in crowd]))
    assert len(ever) == EVER
    assert places.admit(now + 2 * GONE, ["wg00", "another"]) == ["wg00"]
    assert places.admit(now + 2 * GONE, ["wg00", "eth1"], {"eth1"}) == ["eth1", "wg00"]
    assert len(log) == 1


class Hwmon:
    """/sys/class/hwmon, with the devices that its chips belong to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "sys"

    def add(self, number: int, chip: str, device: str, **files: str) -> None:
        hwmon = self.folder / "class/hwmon" / f"hwmon{number}"
        hwmon.mkdir(parents=True)
        at = self.folder / "devices" / device
        at.mkdir(parents=True, exist_ok=True)
        (hwmon / "device").symlink_to(at)
        for name, text in {"name": chip, **files}.items():
            (hwmon / name).write_text(f"{text}\n")

    def remove(self, number: int) -> None:
        hwmon = self.folder / "class/hwmon" / f"hwmon{number}"
        for file in hwmon.iterdir():
            file.unlink()
        hwmon.rmdir()


def test_temperatures_are_named_by_device(host: Any, tmp_path: Path) -> None:
    """A disk that is unplugged hands its curve to no other; two processors' cores are told apart."""
    hwmon = Hwmon(tmp_path)
    hwmon.add(0, "nvme", "nvme0", temp1_input="30000", temp1_label="Composite", temp2_input="31000")
    hwmon.add(1, "nvme", "nvme1", temp1_input="55000", temp1_label="Composite")
    hwmon.add(2, "coretemp", "coretemp.0", temp2_input="40500", temp2_label="Core 0")
    hwmon.add(3, "coretemp", "coretemp.1", temp2_input="42000", temp2_label="Core 0")
    hwmon.add(4, "k10temp", "0000:00:18.3", temp1_input="-5000", temp1_label="Tctl")
    hwmon.add(5, "drivetemp", "0:0:0:0", temp1_input="33000")
    (tmp_path / "sys/devices/0:0:0:0/block/sda").mkdir(parents=True)
    hwmon.add(6, "acpitz", "thermal_zone0", temp1_input="20000", temp2_input="21000")
    hwmon.add(7, "asleep", "0000:01:00.0", temp1_input="")
    row = host.row(10.0)
    shown = {name: value for name, value in row.items() if name.startswith("temp.") and not math.isnan(value)}
    assert shown == {
        "temp.nvme0.Composite_celsius": 30.0,
        "temp.nvme0.2_celsius": 31.0,
        "temp.nvme1.Composite_celsius": 55.0,
        "temp.coretemp.Core%200_celsius": 40.5,
        "temp.coretemp.1.Core%200_celsius": 42.0,
        "temp.k10temp.0000-00-18.3.Tctl_celsius": -5.0,
        "temp.drivetemp.sda_celsius": 33.0,
        "temp.acpitz_celsius": 20.0,
        "temp.acpitz.2_celsius": 21.0,
    }
    hwmon.remove(0)
    row = host.row(10.0)
    assert math.isnan(row["temp.nvme0.Composite_celsius"])
    assert row["temp.nvme1.Composite_celsius"] == 55.0


def test_cores_keep_their_numbers(recorded: Any, tmp_path: Path, make_host: Callable[..., Any]) -> None:
    """With core 1 offline the third of four is still number 2."""
    online = tmp_path / "sys/devices/system/cpu/online"
    online.parent.mkdir(parents=True)
    busy = [0.0, 0.1, 0.2, 0.3]

    def cpu_times(percpu: bool = False) -> Any:
        each = []
        for core in [0, *([] if online.read_text().startswith("0,") else [1]), 2, 3]:
            spent = recorded.seconds * busy[core]
            each.append(recorded.make.cpu(spent, 0, 0, recorded.seconds - spent, 0, 0, 0, 0, 0, 0))
        return each if percpu else each[0]

    recorded.cpu_times = cpu_times
    online.write_text("0-3\n")
    host = make_host(groups=("cores",))
    host.sample()
    assert [host.row()[f"cpu.{core}.busy_pct"] for core in range(4)] == pytest.approx([0, 10, 20, 30])
    online.write_text("0,2-3\n")
    row = host.row()
    assert math.isnan(row["cpu.1.busy_pct"])
    assert [row[f"cpu.{core}.busy_pct"] for core in (0, 2, 3)] == pytest.approx([0, 20, 30])


def test_offline_cores_have_no_clock(host: Any) -> None:
    """They show 0, which is no part of the mean."""
    host.set(cpu_freq=[SimpleNamespace(current=mhz) for mhz in (3000.0, 3000.0, 0.0, 0.0)])
    assert host.row(10.0)["cpu.freq_hz"] == 3e9


def test_a_root_on_a_loop_device(host: Any, recorded: Any) -> None:
    """As of an LXC container on a folder: it has columns. Images, which are always full, have none."""
    part = recorded.make.part
    root = part("/dev/loop0", "/", "ext4", "rw,relatime")
    host.set(
        disk_partitions=[
            root,
            part("/dev/loop1", "/snap/core/1", "squashfs", "ro,nodev"),
            part("/dev/loop2", "/media/cd", "udf", "ro"),
            part("/dev/sr0", "/cdrom", "iso9660", "ro"),
        ]
    )
    row = host.row(10.0)
    assert {name.split(".")[1] for name in row if name.startswith("fs.")} == {"/"}
    assert row["fs./.used_pct"] == 30.0
    recorded.disk_partitions = lambda all: [
        part("/dev/loop0", "/", "squashfs", "ro"),
        *([part("overlay", "/", "overlay", "rw")] if all else []),
    ]
    assert host.row(10.0)["fs./.used_pct"] == 30.0  # a live system: its image lies below
    assert host.log == []


ARC = "13 1 0x01 123 33456 22740000000 987654321\nname type data\nhits 4 100\nc_min 4 {}\nsize 4 {}\n"


def test_the_cache_of_zfs_is_available(recorded: Any, tmp_path: Path, make_host: Callable[..., Any]) -> None:
    """What the ARC would give back is not used; one that is larger than what is used is another machine's."""
    (tmp_path / "proc/spl/kstat/zfs").mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text("")
    arc = tmp_path / "proc/spl/kstat/zfs/arcstats"
    recorded.readings["virtual_memory"] = SimpleNamespace(
        total=16000 * 1024, available=1500 * 1024, cached=0, buffers=0
    )
    host = make_host(subsamples=True)
    host.sample()
    for size, used in ((12000, 3000), (400, 14500), (15500, 14500)):
        arc.write_text(ARC.format(500 * 1024, size * 1024))
        row = host.row()
        assert row["mem.available_bytes"] == (16000 - used) * 1024
        assert row["mem.used_pct"] == pytest.approx(100 * used / 16000, abs=0.001)
        assert row["mem.used_max_pct"] == pytest.approx(row["mem.used_pct"])
    assert host.log == []


def test_processes_of_others_that_are_hidden(host: Any, tmp_path: Path, recorded: Any, make_host: Any) -> None:
    """With hidepid only those of one's own user are there: that is no number of processes, and no rest of `top`."""
    (tmp_path / "proc/self").mkdir(parents=True)
    host.set(pids=[4711])
    recorded.process_iter = list
    recorded.Error = ProcessLookupError
    host = make_host(groups=("top",))
    host.sample()
    assert math.isnan(host.row(10.0)["proc.total"])
    assert [line.partition(":")[0] for line in host.log] == ["cannot read processes", "cannot read top"]
    host.set(pids=[1, 4711])
    assert host.row(10.0)["proc.total"] == 2.0
