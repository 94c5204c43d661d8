"""Doors register by lying in their folder."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import linemon
from linemon.access import NO_TOKENS
from linemon.config import Address, Config, StoreConfig, TcpConfig
from linemon.doors import House, said
from linemon.inputs.tcp import TcpPort
from linemon.lines.intake import Intake
from linemon.store.reader import Store
from linemon.store.writer import StoreWriter
from tests.doors import Conformance, ConnectionConformance, Start
from tests.running import DEADLINE_S, Running, eventually

ROOT = Path(linemon.__file__).parent.parent

TOY = """
import asyncio
import socket

from linemon.doors import Count, Port
from linemon.lines.session import Session


def start(house):
    return Toy(house)


def check(config):
    return ["toy:       any port"]


class Toy(Port):
    def __init__(self, house):
        self._house, self._heard = house, 0
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.bind(("127.0.0.1", 0))
        self._port = self._sock.getsockname()[1]
        asyncio.get_running_loop().add_reader(self._sock, self._hear)

    def addresses(self):
        return {"toy": f"127.0.0.1:{self._port}"}

    def counters(self):
        return [Count("toys", self._heard, "toys"), Count("strangers", 100)]

    def close(self):
        self._sock.close()

    def _hear(self):
        self._heard += 1
        session = Session("toy", 1000)
        self._house.intake.take(session, self._sock.recv(1000), 10**18)
        self._house.intake.flush(10**18)
"""


@pytest.mark.slow
def test_a_file_in_its_folder_is_a_door(tmp_path: Path) -> None:
    """It is served, counted in status.json and in linemon.collector, and `linemon check` tells of it."""
    for package in ("linemon", "linemon_sender", "agent"):
        shutil.copytree(ROOT / package, tmp_path / "tree" / package, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "tree/linemon/inputs/toy.py").write_text(TOY)
    path = {"PYTHONPATH": str(tmp_path / "tree")}
    running = Running(tmp_path / "one", environment=path)
    try:
        host, port = running.address("toy")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"thing 5\n", (host, port))
        eventually(lambda: "thing" in running.store, "the toy's line")
        eventually(lambda: running.status()["toys"] == 1, "the toy's counter")
        assert running.status()["strangers"] == 100  # doors' equal names are added
        assert running.status()["received"] == 1
        eventually(lambda: "linemon.collector" in running.store, "our source")
        own = running.store["linemon.collector"]
        eventually(lambda: own.last(1)["toys"][0] == 1.0, "the toy's column")
        command = [sys.executable, "-m", "linemon", "check", "--config", str(running.config)]
        checked = subprocess.run(command, env=os.environ | path, cwd=tmp_path, capture_output=True, text=True)
        assert "toy:       any port\n" in checked.stdout
    finally:
        assert running.stop() == 0


def test_check_tells_of_small_rings() -> None:
    """A backlog is taken at no less than a hundred rows a second, which overruns them."""
    for points, says in ((399, True), (400, False)):
        config = Config(store=StoreConfig(points=points))
        assert any("may miss rows of a backlog" in line for line in said(config)) == says


@pytest.mark.parametrize("turns", range(8))
def test_a_door_ends_although_somebody_comes_just_then(tmp_path: Path, turns: int) -> None:
    """A cancellation that meets a connection is not swallowed, in whichever turn of the loop it comes."""

    async def scenario() -> None:
        writer = StoreWriter(tmp_path / "store", 10, 10)
        config = Config(tcp=TcpConfig(listen=Address("127.0.0.1", 0)))
        store = Store(tmp_path / "store")
        port = TcpPort(House(config, Intake(writer), store, NO_TOKENS, None, dict, lambda: None, lambda work: None))
        serving = asyncio.create_task(port.run())
        await asyncio.sleep(0.05)
        with socket.create_connection(("127.0.0.1", int(port.address.rpartition(":")[2]))):
            for _ in range(turns):
                await asyncio.sleep(0)
            serving.cancel()
            await asyncio.wait([serving], timeout=5)
            assert serving.cancelled()
        port.close()
        writer.close()

    asyncio.run(scenario())


class TestTcp(ConnectionConformance):
    """The line port."""

    section, checked, refused = "tcp", "lines in:", "connections_refused"
    bounds, max_length = "tcp", "max_line = 200"

    def reading(self, source: str, value: str) -> bytes:
        return f"{source} {value}\n".encode()

    def say(self, running: Running, readings: list[bytes], token: str = "") -> None:
        running.say((f"#token {token}\n".encode() if token else b"") + b"".join(readings))

    def foreign(self, running: Running, data: bytes) -> None:
        with contextlib.suppress(OSError):
            running.say(data)

    def hold(self, running: Running, stack: contextlib.ExitStack) -> None:
        stack.enter_context(running.connect())


class TestHttp(ConnectionConformance):
    """Points by POST."""

    section, checked, refused = "http", "HTTP:", "http_connections_refused"
    bounds, max_length = "http", "max_body = 200"
    path = "/"

    def reading(self, source: str, value: str) -> bytes:
        return json.dumps({"tag": source, "value": value}).encode()

    def say(self, running: Running, readings: list[bytes], token: str = "") -> None:
        connection = http.client.HTTPConnection(*running.address("http"), timeout=DEADLINE_S)
        try:
            for reading in readings:
                connection.request("POST", self.path, reading, {"Authorization": f"Bearer {token}"} if token else {})
                connection.getresponse().read()
        except http.client.HTTPException as error:
            raise ConnectionError(str(error)) from error
        finally:
            connection.close()

    def foreign(self, running: Running, data: bytes) -> None:
        with contextlib.suppress(OSError), running.connect("http") as sock:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            sock.recv(1000)

    def hold(self, running: Running, stack: contextlib.ExitStack) -> None:
        stack.enter_context(running.connect("http"))


class TestInfluxWrite(TestHttp):
    """Points of Influx's write API."""

    max_length, path = "max_write_body = 200", "/write"

    def reading(self, source: str, value: str) -> bytes:
        return f"{source} value={value}\n".encode()


class TestLines(TestInfluxWrite):
    """Lines of all kinds by POST."""

    path = "/api/lines"

    def reading(self, source: str, value: str) -> bytes:
        return f"{source} {value}\n".encode()


class TestUdp(Conformance):
    """Datagrams."""

    section, checked = "udp", "UDP:"
    bounds, max_length = "tcp", "max_line = 200"

    def reading(self, source: str, value: str) -> bytes:
        return f"{source} {value}\n".encode()

    def say(self, running: Running, readings: list[bytes], token: str = "") -> None:
        for reading in readings:
            self.foreign(running, (f"#token {token}\n".encode() if token else b"") + reading)

    def foreign(self, running: Running, data: bytes) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(data, running.address("udp"))


class TestUnix(TestTcp):
    """A socket in the file system."""

    section, checked = "unix", "Unix:"

    @pytest.fixture(autouse=True)
    def a_place_for_it(self, tmp_path: Path) -> None:
        self.path = str(tmp_path / "lines")
        self.listen = f'path = "{self.path}"'

    def connect(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(DEADLINE_S)
        sock.connect(self.path)
        return sock

    def say(self, running: Running, readings: list[bytes], token: str = "") -> None:
        with self.connect() as sock:
            sock.sendall(b"".join(readings))
            sock.shutdown(socket.SHUT_WR)
            sock.recv(1)

    def foreign(self, running: Running, data: bytes) -> None:
        with contextlib.suppress(OSError):
            self.say(running, [data])

    def hold(self, running: Running, stack: contextlib.ExitStack) -> None:
        stack.enter_context(self.connect())

    def test_a_token_is_asked_for(self, conserved: Start) -> None:
        """Not here: who may open the socket may write."""
        running = conserved(token=True)
        self.say(running, [self.reading("a", "1")])
        eventually(lambda: "a" in running.store, "the one without")
