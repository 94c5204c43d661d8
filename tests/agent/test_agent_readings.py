"""The readings of every second: both ways say the same on this machine's kernel, and files that are kept open go on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import psutil
import pytest

from agent.readings import File, Proc, Readings, readings

REPOSITORY = Path(__file__).parents[2]
IS_LINUX = os.path.exists("/proc/stat")
HEAD = "Inter-| Receive | Transmit\n face |bytes packets errs drop fifo frame compressed multicast|bytes …\n"


def numbers(each: Any) -> dict[str, float]:
    """All that a way says, by name."""
    cpu, (switches, interrupts) = each.cpu(0.0), each.kernel(0.0)
    flat = {**cpu, "switches": switches, "interrupts": interrupts}
    for kind in (each.nets(), each.disks()):
        flat |= {f"{device} {name}": count for device, counts in kind.items() for name, count in counts.items()}
    return flat


@pytest.mark.skipif(not IS_LINUX, reason="there is no /proc here")
def test_both_ways_say_the_same(tmp_path: Path) -> None:
    """What /proc says by its own way lies between what psutil says before and after; iowait may go back."""
    by_psutil = Readings(psutil, "/")
    assert isinstance(readings(psutil, "/"), Proc)
    for _ in range(20):
        before, own, after = numbers(by_psutil), numbers(Proc(psutil, "/")), numbers(by_psutil)
        assert before.keys() == own.keys() == after.keys()
        wrong = {name: (before[name], own[name], after[name]) for name in own if name not in ("idle", "iowait")}
        assert not {name: each for name, each in wrong.items() if not each[0] <= each[1] <= each[2]}
    ours, theirs = Proc(psutil, "/").memory(), by_psutil.memory()
    assert ours[0] == theirs[0]
    assert ours == pytest.approx(theirs, rel=0.2, abs=1 << 26)
    assert Proc(psutil, "/").swap() == pytest.approx(by_psutil.swap(), rel=0.2, abs=1 << 26)
    assert proc(tmp_path, meminfo="MemTotal: 9 kB\nSwapTotal: 5 kB\nSwapFree: 3 kB\n").swap() == (5120, 2048)


def proc(folder: Path, **files: str) -> Proc:
    """The way of /proc on recorded files; `net_dev` is net/dev."""
    (folder / "proc/net").mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / "proc" / name.replace("_", "/")).write_text(text)
    return Proc(None, str(folder))


def test_a_card_with_errors(tmp_path: Path) -> None:
    """A recorded /proc/net/dev: of both directions together; names with colons, and numbers that stick to them."""
    text = (
        f"{HEAD}    lo: 12105356929 7326950    0    0    0     0          0         0 12105356929 7326950 0 0 0 0 0 0\n"
        "  eth0: 3162616070  110750  612   38    9   603          0         4  7217352   72655    5    2 0 1 0 0\n"
        "eth0:1:4 1 0 0 0 0 0 0 8 2 0 0 0 0 0 0\n"
    )
    assert proc(tmp_path, net_dev=text).nets() == {
        "eth0": {
            "rx_bytes_per_s": 3162616070,
            "tx_bytes_per_s": 7217352,
            "packets_per_s": 110750 + 72655,
            "errors_per_s": 617,
            "drops_per_s": 40,
        },
        "eth0:1": {"rx_bytes_per_s": 4, "tx_bytes_per_s": 8, "packets_per_s": 3, "errors_per_s": 0, "drops_per_s": 0},
    }


def test_disks_of_old_and_new_kernels(tmp_path: Path) -> None:
    """14, 18 or 20 words a line; loop devices are not even taken apart."""
    old = "   8       0 sda 10 1 16 30 20 2 32 50 0 400 80\n"
    new = " 259       0 nvme0n1 10 1 16 30 20 2 32 50 0 400 80 1 2 3 4 5 6\n"
    counts = proc(tmp_path, diskstats=f"   7       0 loop0 x\n{old}{new}").disks()
    assert list(counts) == ["sda", "nvme0n1"]
    for each in counts.values():
        assert each == {
            "read_bytes_per_s": 8192,
            "write_bytes_per_s": 16384,
            "reads_per_s": 10,
            "writes_per_s": 20,
            "busy_pct": 40.0,
            "await_s": 0.08,
        }


class OfPsutil:
    """What psutil would say where the kernel's files lack it."""

    def virtual_memory(self) -> Any:
        return psutil.virtual_memory()._replace(total=1000, available=700, cached=1, buffers=2)

    def disk_io_counters(self, **_: Any) -> None:
        return None


def test_what_the_files_lack_is_left_to_psutil(tmp_path: Path) -> None:
    """A kernel without MemAvailable, one that says 0, and a container without /proc/diskstats."""
    meminfo = "MemTotal: 2000 kB\nMemFree: 100 kB\n{}Buffers: 3 kB\nCached: 40 kB\nSReclaimable: 5 kB\n"
    proc(tmp_path, stat="cpu 1 2 3 4\n", meminfo=meminfo.format(""))
    own = Proc(OfPsutil(), str(tmp_path))
    assert own.memory() == (1000, 700, 1, 2)
    assert own.disks() == {}
    (tmp_path / "proc/meminfo").write_text(meminfo.format("MemAvailable: 0 kB\n"))
    assert own.memory() == (1000, 700, 1, 2)
    (tmp_path / "proc/meminfo").write_text(meminfo.format("MemAvailable: 9000 kB\n"))  # as in a container
    assert own.memory() == (2000 * 1024, 100 * 1024, 45 * 1024, 3 * 1024)
    assert own.cpu(1.0).keys() == {"user", "nice", "system", "idle"}


@pytest.mark.skipif(not IS_LINUX, reason="there is no /proc here")
def test_a_file_that_fails_is_opened_anew(tmp_path: Path) -> None:
    """As one of LXCFS does after that was started anew; while it fails, that is an error, and costs no descriptor."""
    child = subprocess.Popen(["sleep", "60"])
    path = tmp_path / "file"
    path.symlink_to(f"/proc/{child.pid}/stat")
    file = File(str(path))
    assert file.read().startswith(f"{child.pid} ")
    child.kill()
    child.wait()
    open_before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with pytest.raises(OSError, match="No such"):
            file.read()
    path.unlink()
    path.write_text("well again\n")
    assert file.read() == "well again\n"
    assert len(os.listdir("/proc/self/fd")) == open_before


MANY = """
    import json, subprocess
    import psutil
    from agent.readings import readings

    own = readings(psutil, "/")
    before = list(own.nets())
    links = [f"link add name port{number} type veth peer name peer{number}" for number in range(200)]
    subprocess.run(["ip", "-batch", "-"], input="\\n".join(links), text=True, check=True)
    for _ in range(3):
        nets = own.nets()
    print(json.dumps([before, sorted(set(nets) - set(before)), nets["port199"]]))
"""


def test_a_file_longer_than_a_page() -> None:
    """400 interfaces that come while /proc/net/dev is open: the kernel hands it out in pieces, and none is missing."""
    apart = ["unshare", "--net", *([] if os.getuid() == 0 else ["--map-root-user"])]
    if subprocess.run([*apart, "ip", "link", "add", "name", "one", "type", "veth"], capture_output=True).returncode:
        pytest.skip("this machine does not let us make a namespace with interfaces")
    done = subprocess.run(
        [*apart, sys.executable, "-c", textwrap.dedent(MANY)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    _, new, counts = json.loads(done.stdout)
    assert new == sorted([f"{end}{number}" for number in range(200) for end in ("port", "peer")])
    assert set(counts.values()) == {0}
