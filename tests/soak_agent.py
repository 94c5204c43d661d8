"""An agent through all that its spool is for: collector away, disk full, read-only, folder removed, kill -9.

    python -m tests.soak_agent --minutes 10

In the end its rows have no gap but those that each fault may leave, none came twice, and new ones come.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import numpy as np

from tests.chaos import SETTINGS, Disk
from tests.running import Running, eventually, free_port

INTERVAL_S = 0.05
GAP_S = 1.5  # between two rows on a machine that has other things to do
START_S = 10.0  # until an agent that was started samples


class Soak:
    """A collector, an agent, its disk, and what goes wrong with them."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.random = random.Random(seed)
        self.folder, self.events = folder, Counter[str]()
        self.may_lack: list[tuple[float, float]] = []  # spans of time whose rows may be missing
        self.port = free_port()
        self.disk = Disk(folder / "disk")
        self.spool = self.disk.folder / "spool"
        self.collector = Running(folder / "collector", SETTINGS.format(port=self.port))
        self.log = open(folder / "agent.log", "ab")  # noqa: SIM115
        self.start_agent()

    def start_agent(self) -> None:
        options = ["--to", f"127.0.0.1:{self.port}", "--name", "agent", "--interval", str(INTERVAL_S)]
        command = [sys.executable, "-m", "agent", *options, "--spool", str(self.spool)]
        self.agent = subprocess.Popen(command, stderr=self.log)

    def run(self, seconds: float) -> None:
        """Every fault once, then again in another order until the time is over."""
        eventually(lambda: "agent" in self.collector.store, "the agent's first row", 30)
        end = time.monotonic() + seconds
        faults = [self.away, self.full, self.read_only, self.removed, self.killed]
        while True:
            for fault in faults:
                fault()
                self.events[fault.__name__] += 1
                self.settle()
            if time.monotonic() > end:
                return
            self.random.shuffle(faults)

    def settle(self) -> None:
        """Wait until rows of now come again: an agent that a fault has silenced is a fault of its own."""
        began = np.datetime64(time.time_ns(), "ns")
        eventually(lambda: (self.collector.store["agent"].newest or began) > began, "rows after a fault", 60)

    def away(self) -> None:
        self.collector.stop()
        time.sleep(self.random.uniform(0.5, 3))
        self.collector = Running(self.folder / "collector")

    def full(self) -> None:
        self.collector.stop()
        self.disk.fill(self.random.choice([0, 1000]), self.agent.pid)
        time.sleep(self.random.uniform(0.5, 3))
        self.disk.empty(self.agent.pid)
        self.collector = Running(self.folder / "collector")

    def read_only(self) -> None:
        self.collector.stop()
        self.set_read_only(True)
        try:
            time.sleep(self.random.uniform(0.5, 3))
        finally:
            self.set_read_only(False)
        self.collector = Running(self.folder / "collector")

    def set_read_only(self, is_so: bool) -> None:
        """For what is opened from now on: a file that is open for writing keeps a whole file system from it."""
        at = str(self.disk.folder)
        if not self.disk.is_mounted:
            self.spool.chmod(0o500 if is_so else 0o700)
        elif is_so:
            subprocess.run(["mount", "--bind", at, at], check=True)
            subprocess.run(["mount", "-o", "remount,bind,ro", at], check=True)
        else:
            subprocess.run(["umount", "-l", at], check=True)

    def removed(self) -> None:
        began = time.time()
        self.collector.stop()
        time.sleep(self.random.uniform(0.5, 2))
        with suppress(OSError):
            shutil.rmtree(self.spool)
        time.sleep(self.random.uniform(0.5, 1))
        self.collector = Running(self.folder / "collector")
        self.settle()
        self.may_lack.append((began - GAP_S, time.time()))

    def killed(self) -> None:
        began = time.time()
        self.agent.kill()
        self.agent.wait()
        self.start_agent()
        self.may_lack.append((began - GAP_S, began + START_S))

    def verdict(self) -> list[str]:
        """What is wrong with what arrived."""
        self.agent.send_signal(signal.SIGTERM)
        code = self.agent.wait(15)
        wrong = [f"the agent ended with {code}"] if code else []
        times = np.sort(self.collector.store["agent"].since(0).time.astype(np.int64)) / 1e9
        self.events["rows stored"] = len(times)
        if twice := len(times) - len(np.unique(times)):
            wrong.append(f"{twice} rows came twice")
        for i in np.flatnonzero(np.diff(times) > GAP_S):
            start, end = float(times[i]), float(times[i + 1])
            if not any(first <= start and end <= last for first, last in self.may_lack):
                wrong.append(f"rows of {end - start:.1f} s are missing, {time.time() - end:.0f} s before the end")
        return wrong

    def close(self) -> None:
        self.agent.kill()
        self.agent.wait()
        self.log.close()
        self.collector.stop()
        self.disk.close()


def soak(seconds: float, seed: int, folder: Path) -> tuple[list[str], dict[str, int]]:
    """Run it; what was wrong, and the counts."""
    running = Soak(folder, seed)
    try:
        running.run(seconds)
        return running.verdict(), dict(running.events)
    finally:
        running.close()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak_agent", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    asked = parser.parse_args()
    print(f"faults for {asked.minutes:g} minutes, seed {asked.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="linemon-soak-") as folder:
        wrong, events = soak(60 * asked.minutes, asked.seed, Path(folder))
    for event, count in events.items():
        print(f"{event:28} {count:>12,}")
    print("\n".join(wrong) or "every row arrived once")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
