"""What linemon costs before it does anything: the imports, the short commands, the supervisor that waits for months.

Times are CPU time (user and system) of a process from its start to its end. Memory is what is resident: at its most for
what ends, after it has settled for what stays. Medians.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from bench.receivers import free_port
from bench.store import Figure

RUNS = 5
SETTLE_S = 3.0
ENDS = {
    "bare Python": "pass",
    "import linemon": "import linemon",
    "linemon --version": "sys.argv[1:] = ['--version']; runpy.run_module('linemon', run_name='__main__')",
    "linemon check": "sys.argv[1:] = ['check']; runpy.run_module('linemon', run_name='__main__')",
}
# The kernel's figure for a child that has ended starts from what its parent had, so each says its own.
PEAK = "import atexit, runpy, sys; peak = lambda: open('/proc/self/status').read().split('VmHWM:')[1].split()[0]; "
PEAK += "atexit.register(lambda: print(peak(), file=sys.stderr)); "


def once(code: str, folder: str) -> tuple[float, float]:
    """CPU milliseconds and MiB at most of a Python that ends by itself."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", PEAK + code], cwd=folder, capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return 1000 * spent, int(done.stderr.split()[-1]) / 1024


def resident(folder: str) -> list[Figure]:
    """MiB of `linemon up`'s own process and of each that it started."""
    config = Path(folder, "linemon.toml")
    tcp, tap, page = (free_port() for _ in range(3))
    config.write_text(
        f'[store]\npath = "{folder}/store"\n[tcp]\nlisten = "127.0.0.1:{tcp}"\n[http]\nlisten = "127.0.0.1:0"\n'
        f'[[tap]]\nlisten = "127.0.0.1:{tap}"\n[dashboard]\nlisten = "127.0.0.1:{page}"\n'
        f'[agent]\nto = "127.0.0.1:{tcp}"\n'
    )
    command = [sys.executable, "-m", "linemon", "up", "--config", str(config)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        try:
            for line in process.stderr:
                if "the page is at" in line:
                    break
            time.sleep(SETTLE_S)
            found = [Figure("linemon up, the supervisor", rss(psutil.Process(process.pid)), "MiB")]
            for child in psutil.Process(process.pid).children():
                name = next(
                    part for part in ("collect", "agent", "dashboard", "work") if part in " ".join(child.cmdline())
                )
                found.append(Figure(f"  {name}", rss(child), "MiB"))
        finally:
            process.terminate()
    return found


def rss(process: psutil.Process) -> float:
    return float(process.memory_info().rss) / 2**20


def figures() -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="linemon-bench-") as folder:
        found = []
        for name, code in ENDS.items():
            runs = [once(code, folder) for _ in range(RUNS)]
            found.append(Figure(f"{name}, CPU", statistics.median(run[0] for run in runs), "ms"))
            found.append(Figure(f"{name}, at most", statistics.median(run[1] for run in runs), "MiB"))
        return found + resident(folder)


def show(found: list[Figure]) -> str:
    return "\n".join(f"{each.title:55} {each.measured:8.2f} {each.unit}" for each in found)


if __name__ == "__main__":
    print(show(figures()))
