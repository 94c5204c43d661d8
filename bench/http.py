"""HTTP beside the original: posts a second with one client, one point a post and a thousand."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SECONDS = 3.0
BATCH = 1000


class Client:
    """One keep-alive connection, anew where the server closes it: as little Python as there can be around a post."""

    def __init__(self, port: int) -> None:
        self._address = "127.0.0.1", port
        self._sock: socket.socket | None = None

    def post(self, body: bytes) -> bytes:
        if self._sock is None:
            self._sock = socket.create_connection(self._address)
        head = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        self._sock.sendall(head % len(body) + body)
        answer = self._sock.recv(65536)
        while b"\r\n\r\n" not in answer:
            answer += self._sock.recv(65536)
        head, _, rest = answer.partition(b"\r\n\r\n")
        assert head.split()[1] == b"200", answer
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        if length:
            while len(rest) < int(length):
                rest += self._sock.recv(65536)
            return rest
        while more := self._sock.recv(65536):
            rest += more
        self._sock.close()
        self._sock = None
        return rest


@contextmanager
def server(command: list[str]) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def client(port: int) -> Client:
    """A client of a server that is up."""
    for _ in range(200):
        try:
            found = Client(port)
            found.post(point(0))
        except (OSError, IndexError):
            time.sleep(0.05)
        else:
            return found
    raise TimeoutError(f"nothing answers on port {port}")


def point(i: int) -> bytes:
    return json.dumps({"tag": f"t{i % 10}", "value": i * 0.5}).encode()


def rate(of: Client, bodies: list[bytes], points: int) -> float:
    """Points a second."""
    start, posts = time.monotonic(), 0
    while time.monotonic() - start < SECONDS:
        of.post(bodies[posts % len(bodies)])
        posts += 1
    return posts * points / (time.monotonic() - start)


def run_http() -> dict[str, float]:
    """Points a second of both, in one run."""
    single = [point(i) for i in range(1000)]
    batch = [b"[" + b",".join(point(i) for i in range(BATCH)) + b"]"]
    port = free_port()
    with server([sys.executable, "-m", "plot_server", "--host", "127.0.0.1", "--port", str(port)]):
        theirs = rate(client(port), single, 1)
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "linemon.toml"
        config.write_text(
            f'[store]\npath = "{folder}/store"\n[tcp]\nlisten = "127.0.0.1:0"\n[[tap]]\nlisten = "127.0.0.1:0"\n'
            f'[http]\nlisten = "127.0.0.1:{port}"\n'
        )
        with server([sys.executable, "-m", "linemon", "collect", "--config", str(config)]):
            ours = rate(client(port), single, 1)
            batched = rate(client(port), batch, BATCH)
    return {"http-plot-server": theirs, "linemon": ours, "linemon, batches": batched}


def show(results: dict[str, float]) -> str:
    theirs = results["http-plot-server"]
    lines = [f"  {name:20} {found:12,.0f} points/s  x{found / theirs:.1f}" for name, found in results.items()]
    return "HTTP, one client, one point a post or 1000:\n" + "\n".join(lines)
