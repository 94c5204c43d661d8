"""What tasks cost beside: how soon a lone line is stored while all analyses that come with linemon run over 50 hosts.

The hosts send 40 columns a second each, and have sent minutes of two and a half days before. `strange` runs on all
of them as they come, the others are due every ten seconds, which is always.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time

import numpy as np
import psutil

from bench.cases import OURS
from bench.lone import latencies_ms
from bench.receivers import Linemon
from bench.store import Figure

HOSTS, COLUMNS = 50, 40
ROUNDS = 4  # of lone lines
SETTLE_S = 15.0  # until all of them run
MINUTES = 3500
TASK = '[[task]]\nname = "{0}"\nrun = "linemon:{0}"\ninputs = ["host*:*"]\nwhen = "{1}"\nover = "3d"\n'
OFFLINE = {"normal": "", "forecast": 'options = { horizon = "6h" }\n', "spectrum": "", "groups": ""}


class Hosts(threading.Thread):
    """Each sends a row a second."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.is_over = threading.Event()
        names = " ".join(f"c{i}:%" for i in range(COLUMNS))
        self._socks = [socket.create_connection(("127.0.0.1", port)) for _ in range(HOSTS)]
        before = past()
        for i, sock in enumerate(self._socks):
            sock.sendall(f"#source host{i}\n#columns time {names}\n{before}#columns {names}\n".encode())

    def run(self) -> None:
        random = np.random.default_rng(1)
        while not self.is_over.wait(1.0):
            for sock in self._socks:
                sock.sendall((" ".join(map(repr, random.normal(size=COLUMNS).tolist())) + "\n").encode())
        for sock in self._socks:
            sock.close()


def past() -> str:
    """Rows, a minute each: a wave of a day, and noise."""
    random, minutes = np.random.default_rng(1), np.arange(-MINUTES, 0)
    wave = np.sin(2 * np.pi * minutes / 1440)[:, None] * np.linspace(0, 5, COLUMNS)
    rows = np.round(wave + random.normal(size=(MINUTES, COLUMNS)), 2).tolist()
    now = int(time.time())
    return "".join(
        f"{now + 60 * i} {' '.join(map(repr, row))}\n" for i, row in zip(minutes.tolist(), rows, strict=True)
    )


def figures() -> list[Figure]:
    """Without tasks and with them."""
    found = []
    running = Linemon(OURS)
    config = running.folder / "linemon.toml"
    hosts = Hosts(running.port)
    try:
        hosts.start()
        time.sleep(SETTLE_S)
        found += said("", [each for i in range(ROUNDS) for each in latencies_ms(running, f"alone{i}")])
        tasks = TASK.format("strange", "rows") + "".join(
            TASK.format(name, "every 10s") + more for name, more in OFFLINE.items()
        )
        config.write_text(f'{config.read_text()}[work]\nstate = "{running.folder}/state"\n{tasks}')
        work = subprocess.Popen([sys.executable, "-m", "linemon", "work", "tasks", "--config", str(config)])
        try:
            time.sleep(SETTLE_S)
            found += said(
                " beside tasks", [each for i in range(ROUNDS) for each in latencies_ms(running, f"beside{i}")]
            )
            found += costs(psutil.Process(work.pid))
        finally:
            work.terminate()
            work.wait()
    finally:
        hosts.is_over.set()
        hosts.join()
        running.stop()
    return found


def said(beside: str, took: list[float]) -> list[Figure]:
    among = f"a lone line among {HOSTS} hosts{beside}"
    parts = (("median", 0.5), ("99 of 100", 0.99))
    return [Figure(f"{among}: {name}", float(np.quantile(took, part)), "ms") for name, part in parts]


def costs(work: psutil.Process) -> list[Figure]:
    """Of `linemon work` and of its process for online tasks."""
    online = work.children()[0]
    before = online.cpu_times()
    time.sleep(10.0)
    after = online.cpu_times()
    used = (after.user + after.system - before.user - before.system) / 10.0
    found = [Figure(f"strange on {HOSTS} hosts of {COLUMNS} columns", 100 * used, "% of a core", 5)]
    for name, each in (("linemon work with tasks", work), ("its process for online tasks", online)):
        found.append(Figure(f"{name}: memory", each.memory_info().rss / 1e6, "MB"))
    return found
