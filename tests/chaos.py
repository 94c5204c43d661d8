"""Kills collector, sender and agent, cuts and stalls the link, fills the disk, and counts what arrived.

    python -m tests.chaos --minutes 30

A driver process hands the numbers 1, 2, 3 … to a `linemon.Sender` with a spool in a folder, and an agent sends its own
rows. Both reach the collector through a link of ours. In the end the collector must hold every number once and in
order, and every row of the agent that it has acknowledged.
"""

from __future__ import annotations

import argparse
import mmap
import random
import resource
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

from tests.link import Link
from tests.running import Running, eventually, free_port

SPOOL_DISK_BYTES = 4 << 20
STARTING = -1
DRAIN_S = 60.0  # for what still waits when the faults are over
SETTINGS = 'points = 3000000\n[tcp]\nlisten = "127.0.0.1:{port}"\n[[tap]]\nlisten = "127.0.0.1:0"\nsource = "x"\n'


class Disk:
    """A small disk that can be full: a tmpfs, or where this user cannot mount one, a limit on the driver's files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.is_full = False
        folder.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={SPOOL_DISK_BYTES}", "tmpfs", str(folder)]
        self.is_mounted = not subprocess.run(mount, capture_output=True).returncode

    def fill(self, but: int, process: int) -> None:
        """Leave `but` bytes free, about."""
        self.is_full = True
        if not self.is_mounted:
            resource.prlimit(process, resource.RLIMIT_FSIZE, (but, resource.RLIM_INFINITY))
            return
        free = shutil.disk_usage(self.folder).free
        with suppress(OSError), open(self.folder / "ballast", "wb", buffering=0) as file:
            file.write(b"\0" * max(0, free - but))

    def empty(self, process: int) -> None:
        self.is_full = False
        if not self.is_mounted:
            resource.prlimit(process, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        (self.folder / "ballast").unlink(missing_ok=True)

    def close(self) -> None:
        if self.is_mounted:
            subprocess.run(["umount", "-l", str(self.folder)], check=True)


class Driver:
    """The process that hands numbers to its sender, and how far it is, in memory that outlives it."""

    def __init__(self, folder: Path, spool: Path, port: int) -> None:
        self.state = folder / "state"
        self.state.write_bytes(b"\0" * 16)
        self._command = [sys.executable, "-m", "tests.chaos_driver", f"127.0.0.1:{port}", str(spool), str(self.state)]
        self._log = open(folder / "driver.log", "ab")  # noqa: SIM115
        self.start()

    def start(self) -> None:
        """Start it, and wait until SIGTERM would let it send what waits: before that it would just end."""
        self._set_in_memory(STARTING)
        self.process = subprocess.Popen(self._command, stderr=self._log)
        eventually(lambda: self.in_memory != STARTING, "the driver's start", DRAIN_S)

    def _set_in_memory(self, rows: int) -> None:
        with self.state.open("r+b") as file:
            file.seek(8)
            file.write(np.int64(rows).tobytes())

    @property
    def handed(self) -> int:
        """The last number that the sender has taken."""
        return self._state()[0]

    @property
    def in_memory(self) -> int:
        """Rows that wait in memory, as a full disk did not take them: a kill would lose these."""
        return self._state()[1]

    def _state(self) -> tuple[int, int]:
        with self.state.open("rb") as file, mmap.mmap(file.fileno(), 16, access=mmap.ACCESS_READ) as memory:
            handed, in_memory = np.frombuffer(memory[:16], dtype=np.int64)
        return int(handed), int(in_memory)

    def finish(self) -> int:
        """Hand over no more, wait until all is acknowledged; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(DRAIN_S + 30)
        self._log.close()
        return code


class Chaos:
    """All of it, for so many seconds."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.random = random.Random(seed)
        self.folder, self.events = folder, Counter[str]()
        self.port = free_port()
        (folder / "collector").mkdir()
        self.disk = Disk(folder / "disk")
        self.collector = Running(folder / "collector", SETTINGS.format(port=self.port))
        self.link = Link(self.port, self.random)
        self.driver = Driver(folder, self.disk.folder / "spool", self.link.port)
        self.agent_log = open(folder / "agent.log", "ab")  # noqa: SIM115
        self.start_agent()

    def start_agent(self) -> None:
        options = ["--to", f"127.0.0.1:{self.link.port}", "--name", "agent", "--interval", "0.05"]
        command = [sys.executable, "-m", "agent", *options, "--spool", str(self.folder / "agent-spool")]
        self.agent = subprocess.Popen(command, stderr=self.agent_log)

    def run(self, seconds: float) -> None:
        """Something goes wrong every second or so, until the time is over."""
        end = time.monotonic() + seconds
        actions = [self.kill_collector, self.kill_driver, self.kill_agent, self.change_disk]
        turn = list(actions)
        while time.monotonic() < end:
            time.sleep(self.random.uniform(0.1, 2.0))
            if not turn:  # each as often as the others, in another order each time
                turn = self.random.sample(actions, len(actions))
            turn.pop()()
        self.link.is_calm = True
        self.disk.empty(self.driver.process.pid)

    def kill_collector(self) -> None:
        self.collector.process.kill()
        self.collector.stop()
        time.sleep(self.random.choice([0.0, 0.0, 1.0, 3.0]))
        self.collector = Running(self.folder / "collector")
        self.events["collector killed"] += 1

    def kill_driver(self) -> None:
        # What a full disk did not take is lost with the process, as the documents say.
        self.disk.empty(self.driver.process.pid)
        eventually(lambda: not self.driver.in_memory, "the disk to take rows again", DRAIN_S)
        self.driver.process.kill()
        self.driver.process.wait()
        self.driver.start()
        self.events["sender killed"] += 1

    def kill_agent(self) -> None:
        self.agent.kill()
        self.agent.wait()
        self.start_agent()
        self.events["agent killed"] += 1

    def change_disk(self) -> None:
        if self.disk.is_full:
            self.disk.empty(self.driver.process.pid)
        else:
            self.disk.fill(self.random.choice([0, 10, 1000, 100_000]), self.driver.process.pid)
            self.events["disk filled"] += 1

    def verdict(self) -> list[str]:
        """What is wrong with what arrived."""
        wrong = []
        if code := self.driver.finish():
            wrong.append(f"the driver ended with {code}: {(self.folder / 'driver.log').read_text()[-2000:]}")
        values = self.collector.store["chaos"].since(0).values[:, 0].astype(np.int64)
        self.events["numbers handed over"] = self.driver.handed
        self.events["numbers stored"] = len(values)
        expected = np.arange(1, self.driver.handed + 1)
        if missing := len(set(expected.tolist()) - set(values.tolist())):
            wrong.append(f"{missing} numbers are missing")
        if twice := len(values) - len(set(values.tolist())):
            wrong.append(f"{twice} numbers came twice")
        if not wrong and values.tolist() != expected.tolist():
            wrong.append("the numbers are not in order")
        return wrong + self.agent_verdict()

    def agent_verdict(self) -> list[str]:
        """Every number of the agent's SENDER is a row, no row came twice."""
        self.agent.terminate()
        self.agent.wait(15)
        self.agent_log.close()
        times = self.collector.store["agent"].since(0).time
        heads = [path.read_text().split("#seq ")[1].split()[:2] for path in self.folder.glob("agent-spool/*.lines")]
        senders = {sender for _, sender in heads}
        rows = 0
        for sender in senders:
            rows += int(self.collector.say(f"#source agent\n#seq 1 {sender}\n").split()[1]) - 1
        self.events["agent's rows stored"] = len(times)
        wrong = []
        if len(senders) != 1:
            wrong.append(f"the agent used {len(senders)} SENDERs")
        if rows != len(times):
            wrong.append(f"{rows} rows of the agent are acknowledged, {len(times)} are stored")
        if len(np.unique(times)) != len(times):
            wrong.append("rows of the agent came twice")
        return wrong

    def close(self) -> None:
        for process in (self.agent, self.driver.process):
            process.kill()
            process.wait()
        self.link.close()
        self.collector.stop()
        self.disk.close()


def chaos(seconds: float, seed: int, folder: Path) -> tuple[list[str], dict[str, int]]:
    """Run it; what was wrong, and the counts."""
    running = Chaos(folder, seed)
    try:
        running.run(seconds)
        eventually(lambda: not running.driver.in_memory, "the disk to take rows again", DRAIN_S)
        wrong = running.verdict()
        return wrong, {**running.events, **running.link.events}
    finally:
        running.close()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of what goes wrong when (the time)")
    asked = parser.parse_args()
    print(f"chaos for {asked.minutes:g} minutes, seed {asked.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="linemon-chaos-") as folder:
        wrong, events = chaos(60 * asked.minutes, asked.seed, Path(folder))
    for event, count in events.items():
        print(f"{event:28} {count:>12,}")
    print("\n".join(wrong) or "every number arrived once, and in order")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
