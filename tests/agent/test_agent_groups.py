"""Groups of columns that must be asked for, and spikes between two samples, on recorded readings."""

from __future__ import annotations

import contextlib
import math
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agent.devices import GONE
from tests.running import Running, eventually

ROOT = Path(__file__).parents[2]


class Cores:
    """64 cores, of which each is as busy as its number says, in percent."""

    def __init__(self, recorded: Any) -> None:
        self.make, self.seconds, self.count = recorded.make.cpu, 0.0, 64
        recorded.cpu_times = self.cpu_times

    def cpu_times(self, percpu: bool = False) -> Any:
        each = []
        for core in range(self.count):
            busy = self.seconds * core / 100
            each.append(self.make(busy, 0.0, 0.0, self.seconds - busy, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0))
        return each if percpu else self.make(*map(sum, zip(*each, strict=True)))


def test_sixty_four_cores(recorded: Any, tmp_path: Path, make_host: Callable[..., Any]) -> None:
    """All of them in one column; one each where that is asked for; cores that go offline are missing."""
    cores = Cores(recorded)
    plain, host = make_host(), make_host(groups=("cores",))
    plain.sample()
    host.sample()
    cores.seconds += 1.0
    row = host.row()
    assert [row[f"cpu.{core}.busy_pct"] for core in range(64)] == pytest.approx(list(range(64)))
    assert plain.row()["cpu.busy_pct"] == pytest.approx(31.5)
    assert not [name for name in plain.sampler.columns if name.startswith("cpu.1")]
    cores.seconds, cores.count = 2.0, 32
    row = host.row()
    assert all(math.isnan(row[f"cpu.{core}.busy_pct"]) for core in range(64))
    cores.seconds = 3.0
    row = host.row()
    assert row["cpu.31.busy_pct"] == pytest.approx(31.0)
    assert math.isnan(row["cpu.32.busy_pct"])


class Process:
    """One of a recorded host's, which may be gone when it is asked."""

    def __init__(self, pid: int, name: str, seconds: float, rss: int, gone: bool = False) -> None:
        self.pid, self.gone = pid, gone
        self._name, self.seconds, self.rss = name, seconds, rss

    def oneshot(self) -> Any:
        return contextlib.nullcontext()

    def name(self) -> str:
        if self.gone:
            raise ProcessLookupError
        return self._name

    def cpu_times(self) -> Any:
        return SimpleNamespace(user=self.seconds, system=0.0)

    def create_time(self) -> float:
        return 1.0

    def memory_info(self) -> Any:
        return SimpleNamespace(rss=self.rss)


def test_top_processes(recorded: Any, tmp_path: Path, make_host: Callable[..., Any]) -> None:
    """By name, the processes of a name together; the rest as one; one that ends is missing, and no failure."""
    database = [Process(pid, "post gres", 100.0, 1000) for pid in (1, 2)]
    idle = [Process(pid, f"idle{pid}", 1.0, 10) for pid in range(10, 60)]
    gone = Process(99, "gone", 1.0, 1, gone=True)
    recorded.process_iter = lambda: [*database, *idle, gone]
    recorded.Error = ProcessLookupError
    host = make_host(groups=("top",))
    host.sample()
    for process in database:
        process.seconds += 3.0
    idle[0].seconds += 0.5
    for process in idle[1:]:
        process.seconds += 0.001
    row = host.row(10.0)
    assert row["top.post%20gres.cpu_pct"] == 60.0
    assert row["top.post%20gres.rss_bytes"] == 2000.0
    assert row["top.idle10.cpu_pct"] == 5.0
    named = [name for name in row if name.startswith("top.") and name.endswith("cpu_pct")]
    assert len(named) == 6
    assert row["top.other.cpu_pct"] == pytest.approx(0.46, abs=0.01)
    database.clear()
    row = host.row(10.0)
    assert math.isnan(row["top.post%20gres.cpu_pct"])
    assert host.log == []


def test_the_busiest_programs_change(recorded: Any, make_host: Callable[..., Any]) -> None:
    """32 have columns at a time; those that ended more than an hour ago make room for others."""
    running: list[Process] = []
    recorded.process_iter = lambda: running
    recorded.Error = ProcessLookupError
    host = make_host(groups=("top",))
    host.sample()

    def row(seconds: float) -> dict[str, float]:
        for process in running:
            process.seconds += process.pid
        sampled: dict[str, float] = host.row(seconds)
        return sampled

    for generation in range(7):
        running[:] = [Process(pid, f"g{generation}-{pid}", 0.0, 1) for pid in range(1, 6)]
        row(10.0)
        row(10.0)
    columns = [name for name in host.sampler.columns if name.startswith("top.g") and name.endswith("cpu_pct")]
    assert len(columns) == 32
    assert "top.g6-1.cpu_pct" not in columns
    assert row(GONE)["top.g6-1.cpu_pct"] > 0


def test_sockets(recorded: Any, tmp_path: Path, make_host: Callable[..., Any]) -> None:
    """As the kernel counts them; a kernel without IPv6 has fewer."""
    net = tmp_path / "proc/net"
    net.mkdir(parents=True, exist_ok=True)
    (net / "sockstat").write_text(
        "sockets: used 142\nTCP: inuse 7 orphan 1 tw 3 alloc 9 mem 1\nUDP: inuse 4 mem 0\nRAW: inuse 0\n"
    )
    host = make_host(groups=("sockets",))
    host.sample()
    row = host.row()
    assert {name: value for name, value in row.items() if name.startswith("sockets.")} == {
        "sockets.used": 142.0,
        "sockets.tcp_inuse": 7.0,
        "sockets.tcp_orphan": 1.0,
        "sockets.tcp_time_wait": 3.0,
        "sockets.udp_inuse": 4.0,
    }
    (net / "sockstat6").write_text("TCP6: inuse 2\nUDP6: inuse 1\n")
    assert host.row(10.0)["sockets.tcp6_inuse"] == 2.0
    assert host.log == []


def test_spikes_between_samples(recorded: Any, tmp_path: Path, make_host: Callable[..., Any]) -> None:
    """A tenth of a second at full load is in the maximum, of which the mean shows a tenth."""
    host = make_host(subsamples=True)
    make = recorded.make
    host.sample()
    user, idle, received = 100.0, 800.0, 2000
    for step in range(1, 11):
        is_spike = step == 4
        user, idle = user + (0.1 if is_spike else 0.0), idle + (0.0 if is_spike else 0.1)
        received += 1000 if is_spike else 0
        host.set(
            cpu_times=make.cpu(user, 0.0, 50.0, idle, 10.0, 0.0, 0.0, 0.0, 0.0, 0.0),
            net_io_counters={"eth0": make.net(1000, received), "lo": make.net(step * 10**6, step * 10**6)},
            virtual_memory=SimpleNamespace(
                total=1024000, available=102400 if is_spike else 614400, cached=0, buffers=0
            ),
        )
        if step < 10:
            host.subsample(0.1)
    row = host.row(0.1)
    expected = {
        "cpu.busy_min_pct": 0.0,
        "cpu.busy_mean_pct": 10.0,
        "cpu.busy_max_pct": 100.0,
        "cpu.busy_pct": 10.0,
        "mem.used_min_pct": 40.0,
        "mem.used_mean_pct": 45.0,
        "mem.used_max_pct": 90.0,
        "net.rx_min_bytes_per_s": 0.0,
        "net.rx_mean_bytes_per_s": 1000.0,
        "net.rx_max_bytes_per_s": 10000.0,
        "net.rx_bytes_per_s": 1000.0,
        "net.tx_max_bytes_per_s": 0.0,
    }
    assert {name: row[name] for name in expected} == pytest.approx(expected, abs=0.2)
    assert host.sampler.columns["net.rx_max_bytes_per_s"] == "B/s"


@pytest.mark.slow
def test_adding_a_group_is_adding_one_file(tmp_path: Path, collector: Running) -> None:
    """Nothing else is edited: it is listed, can be asked for, and its columns come; one that fails costs itself."""
    for name in ("agent", "linemon_sender"):
        shutil.copytree(ROOT / name, tmp_path / "tree" / name)
    toy = "HELP = 'toys'\nSLOW = {}\n\n\nclass Probe:\n    def __init__(self, ps, log, system='/'):\n        pass\n\n"
    toy += "    def __call__(self, now):\n        return {{'{}_pct': 42.0 / {}}}\n"
    for name, slow, divisor in (("toy.fast", False, 1), ("toy.slow", True, 1), ("broken", True, 0)):
        file = tmp_path / "tree" / "agent" / "groups" / f"{name.replace('.', '_')}.py"
        file.write_text(toy.format(slow, name, divisor))
    agent = [sys.executable, "-m", "agent"]
    helped = subprocess.run([*agent, "--help"], cwd=tmp_path / "tree", capture_output=True, text=True, check=True)
    assert "broken, cores, sockets, top, toy_fast, toy_slow" in helped.stdout
    host, port = collector.address()
    options = ["--to", f"{host}:{port}", "--name", "toys", "--interval", "0.1", "--groups", "toy_fast,toy_slow,broken"]
    process = subprocess.Popen([*agent, *options], cwd=tmp_path / "tree", stderr=subprocess.PIPE, text=True)
    try:
        eventually(lambda: "toys" in collector.store and collector.store["toys"].rows > 3, "rows")
        rows = collector.store["toys"].last(1)
        assert (rows["toy.fast_pct"][0], rows["toy.slow_pct"][0]) == (42.0, 42.0)
        assert rows.units[rows.columns.index("toy.fast_pct")] == "%"
    finally:
        process.terminate()
        assert "cannot read broken: ZeroDivisionError" in process.communicate(timeout=20)[1]
