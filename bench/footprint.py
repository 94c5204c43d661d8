"""What an agent costs its host, beside others that are installed: CPU, memory, wake-ups, start.

Each runs alone for so many seconds after it has settled. CPU is what the scheduler counted for all its threads, in
percent of one core; start-up is what it took until then, less what it takes in so much time anyway. The agent runs as
it is installed with pip: compiled, in a Python of its own without the rest of linemon.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
import venv
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bench.receivers import Linemon, free_port

ROOT = Path(__file__).parent.parent
SETTLE_S = 12.0  # the slow groups have been asked twice by then
COLLECTD = """\
Interval 1
BaseDir "{folder}"
PIDFile "{folder}/pid"
TypesDB "/usr/share/collectd/types.db"
LoadPlugin cpu
LoadPlugin csv
LoadPlugin df
LoadPlugin disk
LoadPlugin interface
LoadPlugin load
LoadPlugin memory
LoadPlugin processes
LoadPlugin swap
LoadPlugin uptime
<Plugin csv>
  DataDir "{folder}/csv"
</Plugin>
"""


@dataclass(frozen=True)
class Budget:
    """Of the agent alone; CPU in percent of a core, start in ms, memory in MiB, growth in KiB."""

    cpu: float = 0.10
    rss: float = 13.5
    wakeups: float = 1.3
    start: float = 50.0
    growth: float = 64.0


@dataclass(frozen=True)
class Cost:
    cpu: float
    rss: float
    wakeups: float
    start: float
    growth: float


def state(pid: int) -> tuple[float, int, int]:
    """CPU seconds and voluntary switches of all threads, resident KiB."""
    cpu_ns = switches = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):
            cpu_ns += int((task / "schedstat").read_text().split()[0])
            switches += int((task / "status").read_text().split("\nvoluntary_ctxt_switches:")[1].split()[0])
    return cpu_ns / 1e9, switches, int(Path(f"/proc/{pid}/status").read_text().split("VmRSS:")[1].split()[0])


def cost(command: list[str], seconds: float, each_second: Callable[[], None], cwd: Path) -> Cost:
    """Run the command so long, doing once a second what it lives from."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=cwd) as process:
        try:
            begun, ends, states = time.monotonic(), (SETTLE_S, SETTLE_S + seconds), []
            for end in ends:
                while (left := begun + end - time.monotonic()) > 0:
                    time.sleep(min(1.0, left))
                    if process.poll() is not None:
                        raise OSError(f"{command[0]} ended with {process.returncode}")
                    each_second()
                states.append(state(process.pid))
        finally:
            process.terminate()
    (cpu, switches, rss), (cpu_then, switches_then, rss_then) = states
    share = (cpu_then - cpu) / seconds
    start = 1000 * max(0.0, cpu - share * SETTLE_S)
    return Cost(100 * share, rss_then / 1024, (switches_then - switches) / seconds, start, rss_then - rss)


def python(folder: Path) -> str:
    """A Python with psutil and the agent, and nothing else."""
    home = folder / "venv"
    venv.create(home, with_pip=False, symlinks=True)
    site = next((home / "lib").glob("python*")) / "site-packages"
    import psutil

    shutil.copytree(Path(psutil.__file__).parent, site / "psutil")
    for package in ("agent", "linemon_sender"):
        shutil.copytree(ROOT / package, site / package, ignore=shutil.ignore_patterns("__pycache__"))
    program = str(home / "bin" / "python")
    subprocess.run([program, "-m", "compileall", "-q", str(site)], check=True)
    return program


def nothing() -> None:
    pass


def run(seconds: float, interval: float, with_others: bool = True) -> dict[str, Cost]:
    """Measure, printing a line each."""
    costs: dict[str, Cost] = {}
    print(f"\n{'agent':34} {'CPU %':>7} {'RSS MiB':>8} {'wake-ups/s':>11} {'start ms':>9} {'growth KiB':>11}")

    def measured(name: str, command: list[str], each_second: Callable[[], None], cwd: Path) -> None:
        try:
            costs[name] = one = cost(command, seconds, each_second, cwd)
        except (OSError, ValueError) as error:
            print(f"{name:34} {error}")
            return
        print(
            f"{name:34} {one.cpu:7.3f} {one.rss:8.1f} {one.wakeups:11.2f} {one.start:9.0f} {one.growth:11.0f}",
            flush=True,
        )

    with tempfile.TemporaryDirectory(prefix="linemon-bench-") as name:
        folder = Path(name)
        program = python(folder)
        receiver = Linemon("rows")
        agent = [program, "-m", "agent", "--to", f"127.0.0.1:{receiver.port}", "--interval", str(interval)]
        try:
            measured("bare Python, asleep", [program, "-c", "import time; time.sleep(1e6)"], nothing, folder)
            measured("linemon agent", agent, nothing, folder)
            if with_others:
                measured(
                    "linemon agent, spool in a folder", [*agent, "--spool", str(folder / "spool")], nothing, folder
                )
                measured("linemon agent, 10 subsamples", [*agent, "--subsamples", "10"], nothing, folder)
                measured("linemon agent, all groups", [*agent, "--groups", "cores,top,sockets"], nothing, folder)
        finally:
            receiver.stop()
        if with_others:
            others(folder, measured)
    return costs


def others(folder: Path, measured: Callable[[str, list[str], Callable[[], None], Path], None]) -> None:
    """The agents that people use, asked for the same things once a second."""
    if program := shutil.which("collectd"):
        (folder / "collectd.conf").write_text(COLLECTD.format(folder=folder))
        measured("collectd", [program, "-f", "-C", str(folder / "collectd.conf")], nothing, folder)
    if program := shutil.which("prometheus-node-exporter"):
        port = free_port()

        def scrape() -> None:
            with suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5).read()

        measured("node_exporter, scraped", [program, f"--web.listen-address=127.0.0.1:{port}"], scrape, folder)
    if program := shutil.which("glances"):
        columns = "cpu.user,mem.used,load.min1"
        measured("Glances", [program, "--time", "1", "--stdout", columns], nothing, folder)
    if not all(map(shutil.which, ("collectd", "prometheus-node-exporter", "glances"))):
        print("(collectd, prometheus-node-exporter and glances are measured where they are installed)")


def verdict(costs: dict[str, Cost]) -> str:
    """Which budgets the agent keeps."""
    if "linemon agent" not in costs:
        return "the agent was not measured"
    ours, budget = costs["linemon agent"], Budget()
    return ", ".join(
        f"{name} {getattr(ours, name):.3g} of {getattr(budget, name):g} "
        + ("ok" if getattr(ours, name) <= getattr(budget, name) else "OVER")
        for name in ("cpu", "rss", "wakeups", "start", "growth")
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.footprint", description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement")
    parser.add_argument("--interval", type=float, default=1.0, help="of the agent's rows, seconds")
    parser.add_argument("--alone", action="store_true", help="the agent only")
    asked = parser.parse_args()
    print(verdict(run(asked.seconds, asked.interval, not asked.alone)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
