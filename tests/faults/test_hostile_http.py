"""Hostile peers at the HTTP port, and hostile names: each asserts a bound, a counter, and that neighbours go on."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.test_hostile import MB, Neighbour, rejected, rss_kb
from tests.running import DEADLINE_S, Running, command, eventually
from tests.web import get, post


@pytest.fixture
def running(start_collector: Callable[..., Running]) -> Running:
    return start_collector("max_sources = 1000\n")


def test_slow_senders_by_the_hundred(running: Running) -> None:
    """Three hundred at each port that say a byte at a time: others are answered at once, and memory stays."""
    neighbour = Neighbour(running)
    before = rss_kb(running)
    said = b"POST / HTTP/1.1\r\nContent-Length: 500\r\n\r\n"
    web = [socket.create_connection(running.address("http"), timeout=DEADLINE_S) for _ in range(300)]
    lines = [running.connect() for _ in range(300)]
    for byte in said:
        for sock in web:
            sock.sendall(bytes([byte]))
        for sock in lines:
            sock.sendall(b"1")
        neighbour.send()
        assert post(running.address("http"), {"tag": "t", "value": 1}).status == 200
    eventually(lambda: running.status()["http_connections"] == 300, "all there")
    assert rss_kb(running) - before < 16 * MB
    for sock in web + lines:
        sock.close()
    neighbour.check()
    eventually(lambda: running.status()["connections"] + running.status()["http_connections"] == 0, "all gone")
    # Three hundred lines of ones that ended cleanly, each a row of one number.
    eventually(lambda: running.status()["stored"] == 300 + 2 * neighbour.sent, "every line counted")


def test_readers_that_do_not_read(running: Running) -> None:
    """Answers that wait for their readers are bounded: the memory too, and nobody else waits."""
    running.say("".join(f"m {i}.123456\n" for i in range(3600)))
    eventually(lambda: "m" in running.store and running.store["m"].rows == 3600, "the rows")
    before = rss_kb(running)
    socks = []
    for _ in range(200):
        sock = socket.create_connection(running.address("http"), timeout=DEADLINE_S)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with contextlib.suppress(OSError):
            sock.sendall(b"GET /api/rows?source=m HTTP/1.1\r\nHost: localhost\r\n\r\n" * 20)
        socks.append(sock)
    assert len(get(running.address("http"), "/api/rows", source="m").json["time"]) == 3600
    assert rss_kb(running) - before < 32 * MB
    for sock in socks:
        sock.close()
    eventually(lambda: running.status()["http_connections"] == 0, "all gone")


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 1_000_000,
        b'{"a":' * 200_000,
        b"[" + b"0," * 500_000 + b"0]",
        b"[" + b"[]," * 300_000 + b"[]]",
        b'{"tag": "' + b"x" * 1_000_000 + b'", "value": 1}',
        b'{"tag": "t", "value": ' + b"9" * 1_000_000 + b"}",
        b'{"tag": "t", "value": "' + b"9" * 1_000_000 + b'"}',
        b'{"tag": "t", "value": 1, "ts": 1' + b"0" * 4000 + b"}",
        b"\n" * 1_000_000,
    ],
    ids=lambda body: repr(body[:12]),
)
def test_bodies_made_to_hurt(running: Running, body: bytes) -> None:
    """Deep, long, many: refused point by point or as one, never 500; lines of others are taken meanwhile."""
    neighbour = Neighbour(running)
    neighbour.send()
    answers = [post(running.address("http"), body) for _ in range(3)]
    neighbour.send()
    assert {answer.status for answer in answers} <= {200, 400}
    assert all(len(answer.body) < 1000 for answer in answers)
    neighbour.check()
    health = get(running.address("http"), "/api/health").json
    assert health["received"] == health["stored"] + sum(health["rejected"].values())
    assert sum(health["rejected"].values()) >= 3
    assert rss_kb(running) < 200 * MB
    assert (
        len((running.folder / "status.json").read_text() if (running.folder / "status.json").exists() else "") < 1 << 20
    )


NAMES = ["../../etc/passwd", "/etc/passwd", "..", ".", "a/b", "<script>alert(1)</script>", "'; DROP TABLE x; --", "{}",
         "%s%n", "${HOME}", "a\tb", "a\x7fb", "\x1b[2J", "a\x00b", "\u202eevil", " ", "ü" * 127]  # fmt: skip
CONTROL = {name for name in NAMES if any(ord(char) < 32 or ord(char) == 127 for char in name)}


def test_names(running: Running) -> None:
    """What is a name is a name and nothing else: no path, no markup, no format; control characters are refused."""
    at = running.address("http")
    outside = {path.name for path in running.folder.iterdir()}
    for name in NAMES:
        expected = 400 if name in CONTROL else 200
        assert post(at, {"tag": name, "value": 1}).status == expected, name
    good = [name for name in NAMES if name not in CONTROL]
    for name in good:
        assert get(at, "/current_data", tag=name).json["tag"] == name
        assert get(at, "/api/rows", source=name).json["source"] == name
    assert {path.name for path in running.folder.iterdir()} == outside
    assert set(good) <= set(running.store)
    for sends in (running.run("sources"), running.run("sources", "--errors")):
        assert sends.returncode == 0
        assert not any(ord(char) < 32 and char != "\n" for char in sends.stdout)
    assert get(at, "/api/sources").headers["X-Content-Type-Options"] == "nosniff"
    assert "<script>" in json.dumps(get(at, "/api/sources").json)  # as JSON, which no browser takes for a page
    eventually(lambda: rejected(running) == {"name": len(CONTROL)}, "counted")


@pytest.mark.parametrize(
    "damage", [b"\x00" * 100, b"[tcp\n", b"\xff\xfe", b"[store]\npoints = 1e400\n", b"[http]\nlisten = 5\n"]
)
def test_a_damaged_config(tmp_path: Path, damage: bytes) -> None:
    """One line that names the file, exit 2, and no port was opened."""
    file = tmp_path / "linemon.toml"
    file.write_bytes(damage)
    for name in ("check", "collect"):
        done = subprocess.run(command(name, "--config", str(file)), capture_output=True, text=True, timeout=DEADLINE_S)
        assert done.returncode == 2
        assert done.stderr.startswith(f"linemon: {file}")
        assert len(done.stderr.splitlines()) == 1
