"""HTTP itself: connections, lengths, chunks, strangers; what is wrong costs its sender alone."""

from __future__ import annotations

import base64
import gzip
import http.client
import json
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.budget import cpu_s
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


def test_bodies_in_gzip(collector: Running) -> None:
    """Unpacked within max_body, in one member or several; what is broken, too long or in another coding says so."""
    at = collector.address("http")
    packed = gzip.compress(POINT)

    def status(body: bytes, coding: str = "gzip") -> int:
        return post(at, body, Content_Encoding=coding).status

    assert status(packed) == 200
    assert status(packed, "x-gzip") == 200
    assert status(POINT, "identity") == 200
    assert status(b"".join(gzip.compress(POINT[i : i + 5]) for i in range(0, len(POINT), 5))) == 200
    chunked = request(
        b"%x\r\n%b\r\n0\r\n\r\n" % (len(packed), packed), b"Transfer-Encoding: chunked", b"content-ENCODING: GZip"
    )
    assert statuses(talk(at, chunked)) == [200]
    assert [status(bad) for bad in (packed[:-1], packed[:9], b"", POINT, packed[:20] + b"x" + packed[20:])] == [400] * 5
    assert status(gzip.compress(b" " * 1_048_576 + POINT)) == 413
    other = post(at, packed, Content_Encoding="br")
    assert other.status == 415
    assert "Content-Encoding 'br'" in other.json["error"]
    eventually(lambda: collector.status()["rejected"] == {"syntax": 6, "length": 1}, "all counted")


def test_a_byte_order_mark(collector: Running) -> None:
    """It is dropped at the start of a body, also in front of lines; BOMs elsewhere are what they are."""
    at = collector.address("http")
    assert post(at, b"\xef\xbb\xbf" + POINT).status == 200
    lines = post(at, b"\xef\xbb\xbf" + POINT + b"\n" + POINT, Content_Type="application/x-ndjson")
    assert lines.json["accepted"] == 2
    assert post(at, gzip.compress(b"\xef\xbb\xbf" + POINT), Content_Encoding="gzip").status == 200
    assert post(at, b"\xef\xbb\xbf" * 2 + POINT).status == 400


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
    assert statuses(talk(at, waits.replace(b"HTTP/1.1", b"HTTP/1.0"))) == [200]  # it knows no 100
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
    at, log = collector.address("http"), collector.folder / "log"
    eventually(lambda: "lines are read" in log.read_text(), "the last line of the start")
    before = log.read_text()
    for _ in range(5):
        answer = talk(at, data)
        assert statuses(answer) == [status]
        assert set(json.loads(answer.partition(b"\r\n\r\n")[2])) == {"error", "field"}
    assert post(at, POINT).status == 200
    assert log.read_text() == before


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


@pytest.mark.slow
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


@pytest.mark.slow
def test_no_files_left(start_collector: Callable[..., Running]) -> None:
    """Without a file for one more connection the port waits a second, says so once, and goes on; it does not spin."""
    running = start_collector("sync = 1000.0\n", open_files=64)
    at, files = running.address("http"), Path(f"/proc/{running.process.pid}/fd")
    had = min(len(list(files.iterdir())) for _ in range(100))  # one more is open for a moment each second
    ports = ["tcp"] * 32 + ["http"] * 12 + ["tap"] * (64 - had - 44)
    others = [running.connect(port) for port in ports]
    eventually(lambda: len(list(files.iterdir())) == 64, "all are taken")
    usual = uses(running)
    waits = socket.create_connection(at, timeout=DEADLINE_S)
    waits.sendall(request(b"", start=b"GET /state"))
    log = running.folder / "log"
    eventually(lambda: f"port {at[1]} takes no connection" in log.read_text(), "it says so")
    assert uses(running) < usual + 0.2
    for other in others:
        other.close()
    assert waits.recv(12) == b"HTTP/1.1 200"
    waits.close()
    assert log.read_text().count(f"port {at[1]} takes no connection") == 1


def uses(running: Running, seconds: float = 2.0) -> float:
    """How much of a processor the collector uses."""
    before, began = cpu_s(running.process.pid), time.monotonic()
    eventually(lambda: time.monotonic() - began > seconds, "some time")
    return (cpu_s(running.process.pid) - before) / (time.monotonic() - began)


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
        assert ask(at, "HEAD", path, Authorization="Bearer s3cret").status == 200
    assert get(at, "/").status == 302


def test_ways_to_say_a_token(start_collector: Callable[..., Running]) -> None:
    """As Bearer, or as InfluxDB's clients of all versions do; a header counts before a parameter."""
    at = start_collector('[tcp]\nlisten = "127.0.0.1:0"\ntoken = "s3cret"\n').address("http")

    def status(said: str = "", path: str = "/") -> int:
        return post(at, {"tag": "t", "value": 1}, path, **({"Authorization": said} if said else {})).status

    basic = base64.b64encode(b"anybody:s3cret").decode()
    for good in ("Bearer s3cret", "Token s3cret", "token anybody:s3cret", f"Basic {basic}"):
        assert status(good) == 200, good
    assert status(path="/write?p=s3cret") == 200
    for bad in ("Bearer anybody:s3cret", "s3cret", "Digest s3cret", "Basic " + basic[:-4]):
        assert status(bad) == 401, bad
    assert status("Bearer wrong", "/?p=s3cret") == 401
    assert status(path="/?p=") == 401


@pytest.mark.slow
def test_a_wrong_token_is_counted_and_its_host_is_logged(start_collector: Callable[..., Running]) -> None:
    """Whatever it asks for: whoever guesses is seen."""
    running = start_collector('[tcp]\nlisten = "127.0.0.1:0"\ntoken = "s3cret"\n[http]\nlisten = "0.0.0.0:0"\n', "wide")
    at = "127.0.0.1", running.address("http")[1]
    for path in ("/api/sources", "/api/health", "/state"):
        assert ask(at, "GET", path, Authorization="Bearer guess").status == 401
        assert get(at, path).status == 401  # says none: guesses nothing
    assert post(at, {"tag": "t", "value": 1}).status == 401
    eventually(lambda: running.status()["rejected"] == {"token": 4}, "counted")
    assert "for 'token', the last from 127.0.0.1" in (running.folder / "log").read_text()
    guards_host = start_collector('[tcp]\nlisten = "127.0.0.1:0"\ntoken = "s3cret"\n', "narrow")
    at = guards_host.address("http")
    assert ask(at, "GET", "/state", Host="evil.example", Authorization="Bearer guess").status == 403
    eventually(lambda: guards_host.status()["rejected"] == {"token": 1}, "counted")


def test_pages_of_other_sites(start_collector: Callable[..., Running], collector: Running) -> None:
    """A browser on this machine lets any page post to 127.0.0.1, under any name: we do not, unless it is listed."""
    at = collector.address("http")
    here = f"{at[0]}:{at[1]}"
    point = {"tag": "t", "value": 1}
    assert post(at, point, Origin="https://evil.example").status == 403
    assert post(at, point, Origin="null").status == 403
    assert post(at, point, Origin=f"http://{here}").status == 200
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


@pytest.mark.parametrize("token", ["", 'token = "s3cret"\n'], ids=["no token", "token"])
def test_names_of_other_hosts(start_collector: Callable[..., Running], token: str) -> None:
    """DNS of strangers may call us by any name: what does not show the right token is refused, and told why."""
    running = start_collector(
        f'[tcp]\nlisten = "127.0.0.1:0"\n{token}[http]\nlisten = "127.0.0.1:0"\nallow_origins = ["lab.example:8443"]\n'
    )
    at = running.address("http")
    for path in ("/api/sources", "/", "/state", "/nothing", "/api/openapi.json"):
        refused = ask(at, "GET", path, Host=f"evil.example:{at[1]}")
        assert refused.status == 403
        assert "allow_origins" in refused.json["error"]
    assert post(at, {"tag": "t", "value": 1}, Host="evil.example").status == 403
    for name in (
        "localhost:9000",
        "127.0.0.1",
        "[::1]:1",
        "192.0.2.7",
        "box.localhost",
        os.uname().nodename,
        "lab.example",
    ):
        assert ask(at, "GET", "/state", Host=name).status == 200, name
    shown = ask(at, "GET", "/state", Host="evil.example", Authorization="Bearer s3cret").status
    assert shown == (200 if token else 403)
    assert (running.folder / "log").read_text().count("evil.example") == 1


@pytest.mark.parametrize(
    ("listed", "good", "bad"),
    [
        (
            "lab.example",
            ["http://lab.example", "https://lab.example:8443"],
            ["https://lab.example.evil.example", "null"],
        ),
        ("lab.example:8443", ["https://lab.example:8443"], ["https://lab.example", "https://lab.example:84"]),
        ("LAB.example:443", ["https://lab.example"], ["http://lab.example"]),
        ("https://lab.example", ["https://lab.example"], ["http://lab.example", "https://lab.example:8443"]),
        ("https://lab.example:8443", ["https://lab.example:8443"], ["http://lab.example:8443"]),
        ("[fd00::1]:8080", ["http://[fd00::1]:8080"], ["http://[fd00::2]:8080"]),
        ("*", ["https://any.example:1"], []),
    ],
)
def test_forms_of_a_site_that_is_listed(
    start_collector: Callable[..., Running], listed: str, good: list[str], bad: list[str]
) -> None:
    """A name stands for any port and both schemes; with a port, or a scheme, only for these."""
    at = start_collector(f'[http]\nlisten = "127.0.0.1:0"\nallow_origins = ["{listed}"]\n').address("http")
    for origin in good:
        answer = post(at, {"tag": "t", "value": 1}, Origin=origin)
        assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (200, origin)
    for origin in bad:
        assert post(at, {"tag": "t", "value": 1}, Origin=origin).status == 403, origin


def test_head_is_get_without_a_body(collector: Running) -> None:
    """On every path there is, also of a stream, which ends with its head; the connection lives on."""
    collector.say("".join(f"m {i}.5\n" for i in range(3600)))
    eventually(lambda: "m" in collector.store and collector.store["m"].rows == 3600, "the rows")
    eventually(lambda: collector.store["linemon.collector"].rows, "its own source, with which the state changes")
    at = collector.address("http")
    paths = ["/", "/state", "/available_plots", "/plot_id?tag=m", "/current_data?tag=m", "/api/sources",
             "/api/rows?source=m", "/api/health", "/api/openapi.json", "/api/stream?source=m",
             "/api/rows", "/nothing", "/api/rows?source=none"]  # fmt: skip
    heads = b"".join(request(b"", start=f"HEAD {path}".encode()) for path in paths)
    answers = talk(at, heads + request(b"", start=b"GET /state")).split(b"HTTP/1.1 ")[1:]
    assert len(answers) == len(paths) + 1
    for path, answer in zip(paths, answers, strict=False):
        head, _, body = answer.partition(b"\r\n\r\n")
        assert body == b"", path
        if "stream" not in path:
            assert int(head[:3]) == get(at, path).status
    assert answers[-1].endswith(get(at, "/state").body)


def test_options(collector: Running) -> None:
    at = collector.address("http")
    assert ask(at, "OPTIONS", "/state").headers["Allow"] == "GET, HEAD, OPTIONS, POST"
    assert ask(at, "OPTIONS", "/anything").headers["Allow"] == "OPTIONS, POST"
    assert ask(at, "OPTIONS", "/api/rows").headers["Allow"] == "GET, HEAD, OPTIONS"
    assert statuses(talk(at, request(b"", b"Connection: Upgrade", b"Upgrade: h2c", start=b"GET /state"))) == [200]
