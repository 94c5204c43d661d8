"""Hosts -> an edge -> a bus of three servers -> two centres -> PostgreSQL, with kills; then every row is looked for.

    python -m tests.chaos_scale --minutes 10

Each minute the server that leads some partition is killed, and one `linemon work`: of the edge or of a centre. Each
centre takes half of the partitions, both archive into one database. In the end it must have each row of each host
once, with its time and its values.
"""

from __future__ import annotations

import argparse
import random
import socket
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import numpy as np

import linemon
from linemon.errors import StoreError
from tests.bus import PASSWORD, Cluster
from tests.postgres import Server, server
from tests.running import Running, Work, eventually

EVERY_S = 0.5  # from one row of a host to its next
DOWN_S = 5.0  # that a server of the bus is away
DRAIN_S = 180.0
PARTITIONS = 4
COLUMNS = ("number", "eighths", "negative")
QUIET = "[history]\nenabled = false\n[alarms]\nenabled = false\n"


class Hosts(threading.Thread):
    """So many hosts, a connection each. Their row N has the time `began` + N * EVERY_S."""

    def __init__(self, count: int, address: tuple[str, int]) -> None:
        super().__init__(daemon=True)
        self.count, self.rows = count, 0
        self.began = time.time_ns() // 10**9 * 10**9
        self.is_over = threading.Event()
        self._socks = [socket.create_connection(address) for _ in range(count)]
        for i, sock in enumerate(self._socks):
            sock.sendall(f"#source host{i}\n#columns time {' '.join(COLUMNS)}\n".encode())

    def run(self) -> None:
        due = time.monotonic()
        while not self.is_over.wait(max(0.0, due - time.monotonic())):
            n = self.rows
            line = f"{self.began + round(n * EVERY_S * 1e9)} {n} {n / 8} {-n}\n".encode()
            for sock in self._socks:
                sock.sendall(line)
            self.rows, due = n + 1, due + EVERY_S
        for sock in self._socks:
            sock.shutdown(socket.SHUT_WR)
            assert not sock.recv(1)
            sock.close()


class Side:
    """A linemon: its collector, and its `linemon work`."""

    def __init__(self, folder: Path, settings: str) -> None:
        self.collector = Running(folder, f'max_sources = 2000\n{QUIET}{settings}[work]\nstate = "{folder}/state"\n')
        self.work = Work(self.collector.config).start()

    def close(self) -> None:
        self.work.kill()
        self.collector.kill()


class Chain:
    """All of it."""

    def __init__(self, folder: Path, postgres: Server, hosts: int, seed: int) -> None:
        self.random, self.events, self.url = random.Random(seed), Counter[str](), postgres.database()
        self.cluster = Cluster(folder / "cluster")
        bus = f'"{self.cluster.address("CHAIN")}"\npassword = "{PASSWORD}"\n'
        forward = f'[[forward]]\nname = "bus"\nto = {bus}partitions = {PARTITIONS}\nmax_bytes = 100000000\n'
        archive = f'[[forward]]\nname = "archive"\nto = "{self.url}"\nrelay = true\nsince = "start"\n'
        half = PARTITIONS // 2
        takes = f"0-{half - 1}", f"{half}-{PARTITIONS - 1}"
        self.sides = {"edge": Side(folder / "edge", forward + 'since = "start"\nsources = ["host*"]\n')}
        for i, take in enumerate(takes):
            subscribe = f'[[subscribe]]\nname = "bus"\nfrom = {bus}take = "{take}"\n'
            self.sides[f"centre {i + 1}"] = Side(folder / f"centre{i + 1}", subscribe + archive)
        self.hosts = Hosts(hosts, self.sides["edge"].collector.address())
        self.hosts.start()

    def run(self, seconds: float) -> None:
        """Kill until the time is over."""
        end, turn = time.monotonic() + seconds, min(60.0, seconds / 4)
        while time.monotonic() + turn < end:
            self.hosts.is_over.wait(turn - DOWN_S)
            leader = self.cluster.leader(f"CHAIN-{self.random.randrange(PARTITIONS)}")
            self.cluster.kill(leader)
            self.events["server killed"] += 1
            name = self.random.choice(list(self.sides))
            self.sides[name].work.kill()
            self.events[f"work of {name} killed"] += 1
            self.hosts.is_over.wait(DOWN_S)
            self.sides[name].work.start()
            self.cluster.start()
        self.hosts.is_over.wait(max(0.0, end - time.monotonic()))

    def arrived(self) -> dict[str, tuple[list[int], list[list[float]]]]:
        """Times and values in the archive, by host."""
        try:
            with linemon.open(self.url) as archive:
                found = {name: archive[name].between() for name in archive.sources() if name.startswith("host")}
                return {
                    name: (rows.time.astype(np.int64).tolist(), rows.values.tolist()) for name, rows in found.items()
                }
        except StoreError:
            return {}

    def verdict(self) -> list[str]:
        """What is wrong with what arrived."""
        self.hosts.is_over.set()
        self.hosts.join()
        rows, hosts = self.hosts.rows, self.hosts.count
        numbers = np.arange(rows)
        times = (self.hosts.began + (numbers * EVERY_S * 1e9).astype(np.int64)).tolist()
        values = np.column_stack([numbers, numbers / 8, -numbers]).astype(float).tolist()
        self.events["rows sent"] = rows * hosts

        def all_there() -> bool:
            return sum(len(times) for times, _ in self.arrived().values()) >= rows * hosts

        with suppress(AssertionError):  # the comparison says what is missing
            eventually(all_there, "all rows", DRAIN_S)
        arrived = self.arrived()
        self.events["rows in PostgreSQL"] = sum(len(times) for times, _ in arrived.values())
        wrong = []
        for name in (f"host{i}" for i in range(hosts)):
            found = arrived.get(name, ([], []))
            if found != (times, values):
                twice = len(found[0]) - len(set(found[0]))
                wrong.append(f"{name}: {len(set(times) - set(found[0]))} of {rows} rows lost, {twice} twice")
        return wrong

    def close(self) -> None:
        self.hosts.is_over.set()
        for side in self.sides.values():
            side.close()
        self.cluster.kill_all()


def run(folder: Path, postgres: Server, seconds: float, hosts: int, seed: int) -> tuple[list[str], Counter[str]]:
    chain = Chain(folder, postgres, hosts, seed)
    try:
        chain.run(seconds)
        return chain.verdict(), chain.events
    finally:
        chain.close()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos_scale", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--hosts", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, server() as postgres:
        wrong, events = run(Path(folder), postgres, 60 * asked.minutes, asked.hosts, asked.seed)
    print(", ".join(f"{what} {count}" for what, count in events.items()))
    print(*(wrong or ["each row is there once"]), sep="\n")
    return int(bool(wrong))


if __name__ == "__main__":
    raise SystemExit(main())
