"""HTTP as the tests speak it, and the real `http-plot-server` beside ours."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from urllib.parse import urlencode

from tests.running import DEADLINE_S, eventually, free_port

Address = tuple[str, int]


class Answer(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        """What it says; NaN and Infinity are no JSON."""

        def refuse(constant: str) -> None:
            raise AssertionError(f"{constant} is no JSON")

        return json.loads(self.body, parse_constant=refuse)


def ask(address: Address, method: str, path: str, body: bytes | str | None = None, **headers: str) -> Answer:
    """One request on a connection of its own; `_` in the name of a header stands for `-`."""
    connection = http.client.HTTPConnection(*address, timeout=DEADLINE_S)
    try:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return Answer(answer.status, answer.headers, answer.read())
    finally:
        connection.close()


def get(address: Address, path: str, **query: object) -> Answer:
    return ask(address, "GET", path + "?" * bool(query) + urlencode(query))


def post(address: Address, point: Any, path: str = "/", **headers: str) -> Answer:
    """POST a JSON value; bytes as they are."""
    return ask(address, "POST", path, point if isinstance(point, bytes) else json.dumps(point), **headers)


@contextmanager
def plot_server(*options: str) -> Iterator[Address]:
    """The original, from PyPI, until the block ends."""
    port = free_port()
    command = [sys.executable, "-m", "plot_server", "--host", "127.0.0.1", "--port", str(port), *options]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    def answers() -> bool:
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", port)) == 0

    try:
        eventually(answers, "http-plot-server is up")
        yield "127.0.0.1", port
    finally:
        process.terminate()
        process.wait(DEADLINE_S)
