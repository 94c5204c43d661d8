"""Hostile and broken peers at the line port: each costs a counted line or two, no memory, and no neighbour's data."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import struct
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.running import DEADLINE_S, Running, eventually

MB = 1024


class Neighbour:
    """A well-behaved sender whose rows must all arrive, whatever others do."""

    def __init__(self, running: Running) -> None:
        self._running = running
        self._sock = running.connect()
        self._sock.sendall(b"#source neighbour\n")
        self.sent = 0

    def send(self) -> None:
        self._sock.sendall(f"{self.sent} {self.sent}\n".encode())
        self.sent += 1

    def check(self) -> None:
        """All rows are there, and they are what was sent."""
        eventually(lambda: "neighbour" in self._running.store, "the neighbour's source")
        source = self._running.store["neighbour"]
        eventually(lambda: source.rows == self.sent, "the neighbour's rows")
        assert source.since(0).values.tolist() == [[float(i), float(i)] for i in range(self.sent)]
        self._sock.close()


@pytest.fixture
def running(start_collector: Callable[..., Running]) -> Running:
    return start_collector("max_sources = 1000\n")


def rss_kb(running: Running) -> int:
    status = Path(f"/proc/{running.process.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])


def rejected(running: Running) -> dict[str, int]:
    counts: dict[str, int] = running.status()["rejected"]
    return counts


def test_a_hundred_megabytes_without_a_newline(running: Running) -> None:
    """One rejected line, a bounded tail."""
    neighbour = Neighbour(running)
    with running.connect() as sock:
        sock.sendall(b"1" * (4 << 20) + b"\n")  # what the memory's allocator keeps for such reads
        eventually(lambda: rejected(running) == {"length": 1}, "a line counted")
        before = rss_kb(running)
        for _ in range(100):
            sock.sendall(b"1" * (1 << 20))
            neighbour.send()
        eventually(lambda: rejected(running) == {"length": 2}, "one line counted")
        assert rss_kb(running) - before < 4 * MB
    neighbour.check()
    assert rejected(running) == {"length": 2}


def test_more_names_than_sources(running: Running) -> None:
    """Twenty thousand new names: the first thousand have their rings, each line of the others is counted."""
    neighbour = Neighbour(running)
    neighbour.send()
    eventually(lambda: "neighbour" in running.store, "the neighbour's source")
    eventually(lambda: "linemon.collector" in running.store, "the collector's own source")
    before = rss_kb(running)
    answer = running.say("".join(f"name{i} {i}\n" for i in range(20_000)) + "#stats\n")
    neighbour.send()
    assert answer == "#stats received=20000 stored=998 rejected=19002 duplicate=0 dropped=0\n"
    eventually(lambda: rejected(running) == {"max_sources": 19_002}, "all counted")
    assert len(running.store) == 1000
    assert rss_kb(running) - before < 16 * MB
    neighbour.check()
    assert (running.folder / "log").read_text().count("rejected") == 1


@pytest.mark.parametrize(
    "hello",
    [
        b"GET / HTTP/1.1\r\nHost: localhost:4000\r\n\r\n",
        b"OPTIONS * HTTP/1.0\r\n\r\n",
        bytes.fromhex("16030100c5010000c10303") + bytes(range(186)),
    ],
    ids=["http", "options", "tls"],
)
def test_other_protocols(running: Running, hello: bytes) -> None:
    """An HTTP request or a TLS hello is one rejected line, and the end of its connection."""
    neighbour = Neighbour(running)
    for _ in range(20):
        neighbour.send()
        with running.connect() as sock:
            sock.sendall(hello)
            with contextlib.suppress(ConnectionResetError):  # it may be closed with bytes of ours unread
                assert sock.recv(100) == b""
    eventually(lambda: rejected(running) == {"protocol": 20}, "one line each")
    neighbour.check()
    assert (running.folder / "log").read_text().count("rejected") == 1


def test_connections_that_say_nothing_or_vanish(running: Running) -> None:
    """A port scan: hundreds of connections opened, reset or half closed cost no line and no log."""
    neighbour = Neighbour(running)
    for i in range(300):
        sock = running.connect()
        if i % 3 == 0:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif i % 3 == 1:
            sock.shutdown(socket.SHUT_WR)
        sock.close()
        if i % 10 == 0:
            neighbour.send()
    neighbour.check()
    eventually(lambda: running.status()["connections"] == 0, "no connection left")
    eventually(lambda: running.status()["received"] == neighbour.sent, "nothing else counted")
    assert len((running.folder / "log").read_text().splitlines()) == 4  # the reader, and the three ports


def test_few_file_descriptors(start_collector: Callable[..., Running]) -> None:
    """Where the system allows fewer files than max_connections, connections are refused before rings and taps are."""
    running = start_collector(open_files=80)
    socks = [running.connect() for _ in range(80)]
    eventually(lambda: running.status()["connections_refused"] == 40, "those beyond half of them refused")
    socks[0].sendall(b"m 1\n#source wide\n1 2 3\n")
    eventually(lambda: {"m", "wide"} <= set(running.store), "new sources all the same")
    for sock in socks:
        sock.close()
    eventually(lambda: running.status()["connections"] == 0, "room again")
    assert running.say("m 1\n#stats\n").startswith("#stats received=1 stored=1")


def test_a_flood_of_rubbish_delays_nobody_for_long(running: Running) -> None:
    """While one peer sends nothing but bad lines as fast as it can, another's rows keep coming, and all is counted."""
    neighbour = Neighbour(running)
    flood = running.connect()
    flood.setblocking(False)
    sent, rubbish = 0, b"x y z\n" * 20_000
    while neighbour.sent < 50:
        try:
            while True:
                sent += flood.send(rubbish[sent % 6 :])
        except BlockingIOError:
            neighbour.send()
        eventually(lambda: "neighbour" in running.store, "the source")
        eventually(lambda: running.store["neighbour"].rows == neighbour.sent, "the row")
    flood.setblocking(True)
    flood.settimeout(DEADLINE_S)
    flood.close()
    neighbour.check()
    lines = sent // 6 + (sent % 6 > 0)
    eventually(lambda: sum(rejected(running).values()) == lines, "every line counted", 60)


@pytest.mark.parametrize("port", ["tcp", "http", "tap"])
def test_no_file_is_left_for_a_connection(start_collector: Callable[..., Running], port: str) -> None:
    """The listener rests, and says so once; what is connected goes on; later connections are taken again."""
    running = start_collector('[[tap]]\nlisten = "127.0.0.1:0"\nsource = "neighbour"\n')
    neighbour = Neighbour(running)
    neighbour.send()
    eventually(lambda: "neighbour" in running.store, "the neighbour's source")
    pid = running.process.pid
    used = len(os.listdir(f"/proc/{pid}/fd"))
    process = psutil.Process(pid)
    _, most = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (used + 3, most))
    waiting = [running.connect(port) for _ in range(12)]
    eventually(lambda: "takes no connection for now" in (running.folder / "log").read_text(), "said")
    before, began = process.cpu_times(), time.monotonic()
    neighbour.send()
    eventually(lambda: time.monotonic() - began > 3, "three seconds")
    after = process.cpu_times()
    assert after.user + after.system - before.user - before.system < 0.6
    assert (running.folder / "log").read_text().count("takes no connection for now") == 1
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (most, most))
    for sock in waiting:
        sock.close()
    with running.connect(port) as sock:
        sock.sendall(b"m 1\n#stats\n" if port == "tcp" else b"GET /state HTTP/1.0\r\n\r\n")
        assert sock.recv(10)
    neighbour.check()
