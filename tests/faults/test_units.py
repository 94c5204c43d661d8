"""The printed systemd units, started by a real systemd that has a root, processes and a network of its own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from linemon.store.reader import Store
from tests.running import archive, eventually

ROOT = Path(__file__).parents[2]
SYSTEMD = Path("/lib/systemd/systemd")
SETTINGS = """\
[store]
path = "/run/linemon/store"
readable_by = "everyone"
[work]
state = "/var/lib/linemon"
[tcp]
token = "${LINEMON_TOKEN}"
[agent]
name = "by-up"
interval = 0.2
spool = "/var/lib/linemon/spool"
"""


class Machine:
    """A systemd as process 1 of a namespace, with the units of linemon."""

    def __init__(self, folder: Path, cgroup: Path) -> None:
        self.log = folder / "log"
        script = ["sh", str(Path(__file__).with_name("systemd.sh")), str(ROOT), str(folder), str(cgroup)]
        apart = ["unshare", "--mount", "--pid", "--fork", "--net", "--uts", "--ipc", "--kill-child"]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen([*apart, *script], stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        try:
            self.first = eventually(self._first, "systemd").pid
        except BaseException:
            self.process.kill()
            raise

    def _first(self) -> psutil.Process | None:
        assert self.process.poll() is None, self.log.read_text()
        children = psutil.Process(self.process.pid).children()
        return children[0] if children and children[0].name() == "systemd" else None

    def run(self, *command: str) -> str:
        """What a command inside says."""
        inside = ["nsenter", "--target", str(self.first), "--all", *command]
        done = subprocess.run(inside, capture_output=True, text=True, timeout=30)
        return done.stdout + done.stderr

    def show(self, unit: str, *properties: str) -> list[str]:
        return sorted(self.run("systemctl", "show", unit, "-p", ",".join(properties)).split())


def settings_of_the_kernel() -> dict[str, str]:
    """Those that there are but once, whatever the namespace."""
    files = [path for part in ("fs", "kernel", "vm") for path in Path("/proc/sys", part).glob("*") if path.is_file()]
    counters = {"dentry-state", "perf_event_max_sample_rate", "file-nr", "inode-nr", "inode-state", "ns_last_pid"}
    return {str(path): path.read_text() for path in files if path.name not in counters and os.access(path, os.R_OK)}


@pytest.fixture
def before() -> dict[str, str]:
    """The kernel's settings; a test asks for them before it asks for the machine."""
    return settings_of_the_kernel()


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    mounted = [each.mountpoint for each in psutil.disk_partitions(all=True) if each.fstype == "cgroup2"]
    may = subprocess.run(["unshare", "--mount", "--pid", "--fork", "--net", "--cgroup", "true"], capture_output=True)
    if may.returncode != 0 or not SYSTEMD.exists() or not mounted or not os.access(mounted[0], os.W_OK):
        pytest.skip("a systemd of one's own needs root, systemd, namespaces, and control groups of version 2")
    cgroup = Path(mounted[0]) / f"linemon-test-{os.getpid()}"
    archive(tmp_path)
    (tmp_path / "linemon.toml").write_text(SETTINGS)
    (tmp_path / "linemon.env").write_text("LINEMON_TOKEN=s3cret\nPYTHONPATH=/opt/linemon\n")
    cgroup.mkdir()
    running = None
    try:
        running = Machine(tmp_path, cgroup)
        yield running
    finally:
        if running:
            running.process.kill()
            running.process.wait()
        eventually(lambda: "populated 0" in (cgroup / "cgroup.events").read_text(), "the end of its processes")
        for path in sorted(cgroup.rglob("*"), reverse=True):
            if path.is_dir():
                path.rmdir()
        cgroup.rmdir()


def test_units_start_and_rows_come(machine: Machine) -> None:
    """As users of their own, in a system that they cannot write, with rows, spools and a page; and they end well."""
    store = Store(Path("/proc", str(machine.first), "root", "run", "linemon", "store"))
    for name in ("by-up", "100% of it"):
        eventually(lambda name=name: name in store and store[name].rows > 2, f"rows {name}", 60)  # type: ignore[misc]
    for name in ("by-up", "100% of it"):
        assert store[name].last(1)["clock.synced"][0] in (0.0, 1.0)  # it may ask for that
    for unit in ("linemon", "linemon-agent"):
        assert machine.run("systemd-analyze", "verify", f"/etc/systemd/system/{unit}.service") == ""
        assert machine.show(unit, "ActiveState", "NRestarts", "User") == [
            "ActiveState=active", "NRestarts=0", f"User={unit}",
        ]  # fmt: skip
        (number,) = machine.show(unit, "MainPID")
        status = machine.run("cat", f"/proc/{number.partition('=')[2]}/status")
        told = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert "0" not in told["Uid"].split()
        assert (told["NoNewPrivs"], told["CapEff"].strip("0"), told["Seccomp"]) == ("1", "", "2")
    spools = machine.run("find", "/var/lib/private", "-name", "*.lines")
    assert "/linemon/spool/" in spools
    assert "/linemon-agent/" in spools
    assert machine.run("find", "/var/lib/private/linemon", "-name", "history.lock") != ""
    ask = ["curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_code}", "http://127.0.0.1:5006/"]
    eventually(lambda: machine.run(*ask) == "200", "the page")
    machine.run("systemctl", "stop", "linemon", "linemon-agent")
    for unit in ("linemon", "linemon-agent"):
        assert machine.show(unit, "ActiveState", "Result") == ["ActiveState=inactive", "Result=success"]


def test_an_older_unit_that_kills_for_a_question_about_the_clock(machine: Machine) -> None:
    """It lacks that column then, and lives: a child has tried. So it does where the kernel only says no."""
    store = Store(Path("/proc", str(machine.first), "root", "run", "linemon", "store"))
    unit = "/etc/systemd/system/linemon-agent.service"
    for name, line in (("killed", "SystemCallFilter=@system-service"), ("refused", "ProtectClock=yes")):
        edits = ["-e", f"s/--name [^-]*/--name {name} /", "-e", f"s/^SystemCallFilter=.*/{line}/"]
        machine.run("sed", "-i", *edits, unit)
        machine.run("systemctl", "daemon-reload")
        machine.run("systemctl", "restart", "linemon-agent")
        eventually(lambda name=name: name in store and store[name].rows > 2, f"rows of {name}", 60)  # type: ignore[misc]
        rows = store[name].last(1)
        assert "clock.synced" not in rows.columns
        assert rows["mem.total_bytes"][0] > 0
        assert machine.show("linemon-agent", "ActiveState", "NRestarts") == ["ActiveState=active", "NRestarts=0"]
    assert "cannot read clock" not in machine.run("journalctl", "-u", "linemon-agent")


def test_the_machine_outside_is_as_before(before: dict[str, str], machine: Machine) -> None:
    """Nothing is started but our units and the journal; who tries to set what the kernel has but once is refused."""
    eventually(
        lambda: machine.show("multi-user.target", "ActiveState") == ["ActiveState=active"], "the end of the boot", 60
    )
    listed = machine.run(
        "systemctl", "list-units", "--type=service", "--state=active,activating", "--plain", "--no-legend"
    )
    services = {line.split()[0] for line in listed.splitlines()}
    assert services <= {"linemon.service", "linemon-agent.service", "systemd-journald.service"}
    other = int(before["/proc/sys/fs/lease-break-time"]) + 1
    machine.run("sh", "-c", f"echo 'fs.lease-break-time = {other}' > /etc/sysctl.d/99-test.conf")
    machine.run("/lib/systemd/systemd-sysctl")
    for path in ("/proc/sys/fs/lease-break-time", "/proc/sysrq-trigger", "/sys/power", "/sys/module"):
        assert machine.run("sh", "-c", f"test ! -e {path} || test ! -w {path} && echo refused") == "refused\n", path
    assert settings_of_the_kernel() == before
