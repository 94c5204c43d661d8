"""HTTP itself: connections, lengths, chunks, strangers; what is wrong costs its sender alone."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Callable

import pytest

from tests.running import DEADLINE_S, Running, eventually
from tests.web import Address, ask, get, post

POINT = b'{"tag": "t", "value": 1}'


def talk(at: Address, *parts: bytes, pause_s: float = 0.0) -> bytes:
    """Send parts, close our side, and return all that comes."""
    with socket.create_connection(at, timeout=DEADLINE_S) as sock:
        for part in parts:
            sock.sendall(part)
            time.sleep(pause_s)
        sock.shutdown(socket.SHUT_WR)
        return sock.makefile("rb").read()


def request(body: bytes = POINT, *headers: bytes, version: bytes = b"1.1", start: bytes = b"POST /") -> bytes:
    length = [] if any(b"encoding" in each.lower() for each in headers) else [b"Content-Length: %d" % len(body)]
    return b"\r\n".join([start + b" HTTP/" + version, b"Host: localhost", *length, *headers, b"", body])


def statuses(answer: bytes) -> list[int]:
    return [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]]


def test_keep_alive(collector: Running) -> None:
    """Many requests on one connection, by HTTP/1.1 and by HTTP/1.0 that asks for it."""
    connection = http.client.HTTPConnection(*collector.address("http"), timeout=DEADLINE_S)
    connection.connect()
    port = connection.sock.getsockname()[1]
    for i in range(20):
        connection.request("POST", "/", json.dumps({"tag": "t", "value": i}))
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (200, b"path: /received value: %d.0" % i)
        assert connection.sock.getsockname()[1] == port
    connection.close()
    at = collector.address("http")
    old = request(POINT, b"Connection: keep-alive", version=b"1.0") + request(version=b"1.0")
    assert statuses(talk(at, old)) == [200, 200]
    assert statuses(talk(at, request(version=b"1.0") + request(version=b"1.0"))) == [200]
    assert statuses(talk(at, request(POINT, b"Connection: close") + request())) == [200]


def test_requests_one_after_the_other_without_waiting(collector: Running) -> None:
    """Pipelined requests are answered in their order, whatever their answers cost."""
    at = collector.address("http")
    posts = [json.dumps({"tag": "t", "value": i}).encode() for i in range(200)]
    answer = talk(at, b"".join(request(body) + request(b"", start=b"GET /available_plots") for body in posts))
    assert statuses(answer) == [200] * 400
    told = [int(float(part.split(b"HTTP")[0])) for part in answer.split(b"received value: ")[1:]]
    assert told == list(range(200))


@pytest.mark.parametrize("cut", [1, 7, 40])
def test_cuts_change_nothing(collector: Running, cut: int) -> None:
    """However TCP cuts a request, it is the same one."""
    data = request() + request(
        b"8\r\n" + POINT[:8] + b"\r\n10\r\n" + POINT[8:] + b"\r\n0\r\n\r\n", b"Transfer-Encoding: chunked"
    )
    parts = [data[i : i + cut] for i in range(0, len(data), cut)]
    assert statuses(talk(collector.address("http"), *parts, pause_s=0.001)) == [200, 200]


def test_chunks(collector: Running) -> None:
    """A body in chunks needs no length; one that grows too long is refused all the same."""
    at = collector.address("http")

    def chunks(count: int, size: int) -> bytes:
        return b"".join(b"%x\r\n%b\r\n" % (size, b" " * size) for _ in range(count))

    end = b"%x\r\n%b\r\n0\r\n\r\n" % (len(POINT), POINT)
    assert statuses(talk(at, request(chunks(100, 50) + end, b"Transfer-Encoding: chunked"))) == [200]
    assert statuses(talk(at, request(chunks(300, 4096) + end, b"Transfer-Encoding: chunked"))) == [413]
    assert statuses(talk(at, request(b"zz\r\n", b"Transfer-Encoding: chunked"))) == [400]


def test_lengths(collector: Running) -> None:
    """411 without a length; 413 when it is too long, said so that the sender hears it, and no memory is spent on it."""
    at = collector.address("http")
    assert statuses(talk(at, b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\n")) == [411]
    long = post(at, b" " * 3_000_000 + POINT)
    assert (long.status, set(long.json)) == (413, {"error", "field"})
    assert statuses(talk(at, b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n")) == [413]
    assert statuses(talk(at, request(b"", b"Expect: 100-continue").replace(b": 0\r", b": 9999999\r"))) == [413]
    waits = request(POINT, b"Expect: 100-continue")
    assert statuses(talk(at, waits[: -len(POINT)], POINT, pause_s=0.05)) == [100, 200]
    eventually(lambda: collector.status()["rejected"] == {"length": 3, "syntax": 1}, "all counted")
    assert post(at, POINT).status == 200


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"hello\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\n\r\n", 400),
        (b"GET /\x00 HTTP/1.1\r\n\r\n", 400),
        (b"GET http://[/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n12345", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 5000 + b"\r\n", 431),
        (bytes.fromhex("16030100c5010000c10303") + bytes(186), 400),
    ],
    ids=lambda value: repr(value)[:40],
)  # fmt: skip
def test_what_is_not_http(collector: Running, data: bytes, status: int) -> None:
    """One short answer, and the end of the connection; the log stays quiet."""
    at = collector.address("http")
    for _ in range(5):
        assert statuses(talk(at, data)) == [status]
    assert post(at, POINT).status == 200
    assert len((collector.folder / "log").read_text().splitlines()) == 3


def test_a_peer_that_stops_in_the_middle(start_collector: Callable[..., Running]) -> None:
    """Half a head, half a body, nothing at all, an answer that is not read: after idle_timeout they are closed."""
    running = start_collector('points = 200000\n[http]\nlisten = "127.0.0.1:0"\nidle_timeout = 0.5\n')
    at = running.address("http")
    running.say("".join(f"m {i}.123\n" for i in range(200_000)))
    eventually(lambda: "m" in running.store and running.store["m"].rows == 200_000, "the rows")
    socks = [socket.create_connection(at, timeout=DEADLINE_S) for _ in range(4)]
    for sock, said in zip(
        socks, (b"", b"GET / HT", request()[:-3], request(b"", start=b"GET /api/rows?source=m")), strict=True
    ):
        sock.sendall(said)
    for sock in socks[:3]:
        with sock:
            assert sock.recv(1) == b""
    eventually(lambda: get(at, "/api/health").json["http_connections"] == 1, "the slow reader is closed too")
    socks[3].close()


def test_more_connections_than_allowed(start_collector: Callable[..., Running]) -> None:
    """One more is closed at once and counted; the others go on."""
    running = start_collector('[http]\nlisten = "127.0.0.1:0"\nmax_connections = 5\n')
    at = running.address("http")
    socks = [socket.create_connection(at, timeout=DEADLINE_S) for _ in range(5)]
    for sock in socks:
        sock.sendall(request(POINT))
        assert sock.recv(12) == b"HTTP/1.1 200"
    with socket.create_connection(at, timeout=DEADLINE_S) as sock:
        assert sock.recv(1) == b""
    eventually(lambda: running.status()["http_connections_refused"] == 1, "counted")
    for sock in socks:
        sock.close()
    eventually(lambda: running.status()["http_connections"] == 0, "room again")
    assert post(at, POINT).status == 200


def test_tokens(start_collector: Callable[..., Running]) -> None:
    """Where a token is set, writing needs it; reading on this machine does not."""
    at = start_collector('[tcp]\nlisten = "127.0.0.1:0"\ntoken = "s3cret"\n').address("http")
    for said in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "s3cret"}, {"Authorization": "Basic s3cret"}):
        answer = post(at, {"tag": "t", "value": 1}, **said)
        assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert set(answer.json) == {"error", "field"}
    assert post(at, {"tag": "t", "value": 1}, Authorization="Bearer s3cret").status == 200
    assert post(at, {"tag": "t", "value": 1}, Authorization="bearer  s3cret").status == 200
    health = get(at, "/api/health").json
    assert (health["received"], health["stored"], health["rejected"]) == (6, 2, {"token": 4})


def test_reading_from_elsewhere_needs_the_token(start_collector: Callable[..., Running]) -> None:
    """Beyond this machine what is read is as precious as what is written."""
    settings = '[tcp]\nlisten = "127.0.0.1:0"\ntoken = "s3cret"\n[http]\nlisten = "0.0.0.0:0"\n'
    port = start_collector(settings).address("http")[1]
    at = "127.0.0.1", port
    for path in ("/api/sources", "/api/health", "/available_plots", "/state", "/api/stream?source=x"):
        assert get(at, path).status == 401
        assert ask(at, "GET", path, Authorization="Bearer s3cret").status in (200, 404)
    assert get(at, "/").status == 302


def test_pages_of_other_sites(start_collector: Callable[..., Running], collector: Running) -> None:
    """A browser on this machine lets any page post to 127.0.0.1, under any name: we do not, unless it is listed."""
    at = collector.address("http")
    here = f"{at[0]}:{at[1]}"
    point = {"tag": "t", "value": 1}
    assert post(at, point, Origin="https://evil.example").status == 403
    assert post(at, point, Origin="null").status == 403
    assert post(at, point, Origin=f"http://{here}").status == 200
    assert ask(at, "GET", "/api/sources", Host="evil.example").status == 403
    assert ask(at, "GET", "/api/sources", Host="localhost:1").status == 200
    assert "Access-Control-Allow-Origin" not in ask(at, "GET", "/api/sources", Origin="https://evil.example").headers
    listed = start_collector('[http]\nlisten = "127.0.0.1:0"\nallow_origins = ["https://lab.example"]\n', "listed")
    at = listed.address("http")
    answer = post(at, point, Origin="https://lab.example")
    assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (200, "https://lab.example")
    preflight = ask(at, "OPTIONS", "/", Origin="https://lab.example", Access_Control_Request_Method="POST")
    assert preflight.status == 204
    assert "Authorization" in preflight.headers["Access-Control-Allow-Headers"]
    assert post(at, point, Origin="https://lab.example.evil.example").status == 403
    assert ask(at, "GET", "/api/sources", Host="lab.example").status == 200


def test_head_and_options(collector: Running) -> None:
    at = collector.address("http")
    head = ask(at, "HEAD", "/api/sources")
    assert (head.status, head.body) == (200, b"")
    assert int(head.headers["Content-Length"]) > 0
    assert ask(at, "OPTIONS", "/anything").headers["Allow"] == "GET, HEAD, OPTIONS, POST"
    assert statuses(talk(at, request(b"", b"Connection: Upgrade", b"Upgrade: h2c", start=b"GET /state"))) == [200]
