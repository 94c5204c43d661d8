"""InfluxDB's write API by HTTP, byte by byte; its real clients are in programs."""

from __future__ import annotations

import base64
import gzip
import json
import resource
import select
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.running import DEADLINE_S, Running, eventually
from tests.web import Address, Answer, ask, get, post

Start = Callable[..., Running]
NS = 1_700_000_000_000_000_000
TOKENS = '[tcp]\nlisten = "127.0.0.1:0"\ntoken = "s3cret"\n[[token]]\nsecret = "rooms"\nsources = ["room*"]\n'


def times(running: Running, source: str) -> list[int]:
    """Of all rows, ns; the store is read anew until the source is there."""
    eventually(lambda: source in running.store, source)
    listed: list[int] = running.store[source].since(0).time.astype("int64").tolist()
    return listed


def counted(running: Running, **expected: Any) -> bool:
    eventually(lambda: all(running.status()[name] == value for name, value in expected.items()), str(expected))
    status = running.status()
    return bool(
        status["received"] == status["stored"] + sum(status["rejected"].values()) + sum(status["dropped"].values())
    )


@pytest.mark.parametrize(
    "path",
    ["/write?db=d", "/api/v2/write?org=o&bucket=b&precision=ns", "/api/v3/write_lp?db=d", "/behind/a/proxy/write"],
)
def test_points_are_stored(collector: Running, path: str) -> None:
    """By the paths of each version, below any prefix; 204 and nothing else."""
    at = collector.address("http")
    answer = post(at, b"\xef\xbb\xbfcpu,host=h a=1i,b=t %d\n\n# comment\n#source x\ncpu,host=h a=2i,b=f" % NS, path)
    assert (answer.status, answer.body, answer.headers["Content-Length"]) == (204, b"", None)
    assert times(collector, "cpu,host=h")[0] == NS
    assert collector.store["cpu,host=h"].since(0).values.tolist() == [[1.0, 1.0], [2.0, 0.0]]
    for nothing in (b"", b"\n", b"# comment\n \n\r\n"):
        assert post(at, nothing, path).status == 204
    assert counted(collector, stored=2, received=2)


def test_what_is_bad_is_told(collector: Running) -> None:
    """The good lines are stored; which line was the first bad one, why, and how many there were."""
    at = collector.address("http")
    body = b'a v=1\n# x\nroom1.temperature 20.3\n12 13\n{"t": 1}\nt=5\nb v=x\nc s="only text"\nb v=2\n'
    answer = post(at, body, "/api/v2/write")
    assert answer.status == 400
    said = answer.json
    assert said["line"] == 3
    assert said["message"].startswith("line 3: 'room1.temperature 20.3' is no point")
    assert said["error"] == f"partial write: {said['message']} dropped=5"
    assert said["code"] == "invalid"
    assert answer.headers["X-Influxdb-Error"].startswith("partial write: line 3: ")
    assert counted(collector, stored=2, rejected={"syntax": 4, "number": 1, "fields": 1})
    assert post(at, b'c s="only text"\n', "/write").status == 204
    assert set(collector.store) - {"linemon.collector"} == {"a", "b"}


@pytest.mark.parametrize("precision", ["s", "u", "µ", "us", "ms", "n", "ns", "m", "h", "second", "", "auto"])
def test_precision(collector: Running, precision: str) -> None:
    """Said, it is exact, whatever the magnitude; not said, the magnitude tells. No time is the time of arrival."""
    unit = {
        "s": 10**9,
        "second": 10**9,
        "u": 1000,
        "µ": 1000,
        "us": 1000,
        "ms": 10**6,
        "m": 60 * 10**9,
        "h": 3600 * 10**9,
    }
    at = collector.address("http")
    path = f"/write?precision={precision.replace('µ', '%C2%B5')}"
    before = time.time_ns()
    assert post(at, b"bulk v=1 7\nbulk v=1 8\n", path).status == 204
    assert post(at, b'careful v=1,s="x" 7\n', path).status == 204
    assert post(at, b"now v=1\n", path).status == 204
    ns = unit.get(precision, 10**9 if precision in ("", "auto") else 1)
    assert times(collector, "bulk") == [7 * ns, 8 * ns]
    assert times(collector, "careful") == [7 * ns]
    assert before <= times(collector, "now")[0] <= time.time_ns()
    if precision not in ("", "auto"):
        for bad in (b"-1", b"-5", b"1.5", b"2026-11-22T10:15:00Z", b"9" * 5000):
            assert "is not a time" in post(at, b"m v=1 " + bad, path).json["error"]
    assert post(at, b"m v=1", "/write?precision=years").json["field"] == "precision"


def test_bodies_together_keep_their_units(collector: Running) -> None:
    """Requests that come at once, each in its precision."""
    host, port = collector.address("http")
    with socket.create_connection((host, port), timeout=DEADLINE_S) as sock:
        for unit in ("s", "ms", "h"):
            body = b"%b v=1 10\n" % unit.encode() * 2
            sock.sendall(b"POST /write?precision=%b HTTP/1.1\r\nHost: localhost\r\n" % unit.encode())
            sock.sendall(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        sock.shutdown(socket.SHUT_WR)
        assert sock.makefile("rb").read().count(b"204 No Content") == 3
    assert [times(collector, unit) for unit in ("s", "ms", "h")] == [[10 * 10**9] * 2, [10**7] * 2, [36 * 10**12] * 2]


def test_strings_hold_newlines(collector: Running) -> None:
    """Also lines that look like directives; an open one at the end costs its line."""
    at = collector.address("http")
    assert post(at, b'a s="x\n#source y\n1 2 3",v=1\nb v=2\n', "/write").status == 204
    answer = post(at, b'c v=1\nd s="x\ne v=3\n', "/write")
    assert answer.json["line"] == 2
    assert counted(collector, stored=4, rejected={"syntax": 1})


def test_a_point_of_http_plot_servers(collector: Running) -> None:
    """Its clients post to any path: JSON at `write` and `query` is theirs; below /api nothing is."""
    at = collector.address("http")
    for body in (b'{"tag": "t", "value": 1}', b'\xef\xbb\xbf\r\n[{"tag": "t", "value": 2}]'):
        assert post(at, body, "/write").status == 200
    assert post(at, b'{"tag": "t", "value": 3}', "/query", Content_Type="application/json").status == 200
    assert post(at, b'{"tag": "t", "value": 4}', "/ping").status == 200
    assert post(at, b'{"tag": "t", "value": 5}', "/health").status == 200
    assert post(at, gzip.compress(b'{"tag": "t", "value": 6}'), "/write", Content_Encoding="gzip").status == 200
    assert post(at, b'{"tag": "t", "value": 7}', "/api/v2/write").status == 400
    assert post(at, b"[" + b" " * 1_048_576 + b"]", "/write").status == 413  # as long as others may be
    assert counted(collector, stored=6)
    assert get(at, "/write").status == 405
    assert get(at, "/write").headers["Allow"] == "OPTIONS, POST"


# -- who may


def authorization(kind: str, secret: str) -> dict[str, str]:
    if kind == "Basic":
        secret = base64.b64encode(f"root:{secret}".encode()).decode()
    return {"Authorization": f"{kind} {secret}"}


def test_tokens(start_collector: Start) -> None:
    """In all forms that clients know; one for some sources writes to these."""
    at = start_collector(TOKENS).address("http")
    for headers in (
        *(authorization(kind, "s3cret") for kind in ("Bearer", "Token", "Basic")),
        authorization("Token", "u:s3cret"),
    ):
        assert post(at, b"a v=1", "/write", **headers).status == 204
        assert post(at, b"a v=1", "/write", Authorization=headers["Authorization"] + "x").status == 401
    assert post(at, b"a v=1", "/write?u=root&p=s3cret").status == 204
    for headers, path in (({}, "/write"), ({}, "/write?p=root"), (authorization("Basic", "root"), "/api/v2/write")):
        refused = post(at, b"a v=1", path, **headers)
        assert (refused.status, refused.headers["WWW-Authenticate"]) == (401, "Bearer")
    partial = post(at, b"room1 v=1\nhall v=2\n", "/write", **authorization("Token", "rooms"))
    assert "'hall'" in partial.json["message"]
    assert partial.json["line"] == 2
    for path in ("/ping", "/health"):
        assert get(at, path).status in (200, 204)
    assert get(at, "/query", q="SHOW DATABASES").status == 401  # it asks where writing does
    assert get(at, "/query", q="SHOW DATABASES", p="s3cret").status == 200


def test_without_tokens_what_clients_say_does_no_harm(collector: Running) -> None:
    for kind in ("Bearer", "Token", "Basic"):
        assert post(collector.address("http"), b"a v=1", "/write?u=x&p=y", **authorization(kind, "root")).status == 204


# -- bounds


def talk(at: Address, data: bytes) -> bytes:
    with socket.create_connection(at, timeout=DEADLINE_S) as sock:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        return sock.makefile("rb").read()


def chunked(path: bytes, *chunks: bytes, headers: bytes = b"") -> bytes:
    head = b"POST %b HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n%b\r\n" % (path, headers)
    return head + b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in (*chunks, b""))


def test_bodies_in_gzip_and_chunks(collector: Running) -> None:
    """Both at once, in several members; what is broken is told, and what came whole before is stored."""
    at = collector.address("http")
    lines = b"".join(b"m v=%d\n" % i for i in range(20_000))
    packed = gzip.compress(lines[:70_000]) + gzip.compress(lines[70_000:])
    chunks = [packed[i : i + 999] for i in range(0, len(packed), 999)]
    assert b" 204 " in talk(at, chunked(b"/write", *chunks, headers=b"Content-Encoding: gzip\r\n"))
    assert counted(collector, stored=20_000)
    cut = post(at, packed[:-9], "/write", Content_Encoding="gzip")
    assert cut.status == 400
    assert "before that are stored" in cut.json["error"]
    assert post(at, b"m v=1", "/write", Content_Encoding="gzip").status == 400
    assert post(at, b"m v=1", "/write", Content_Encoding="br").status == 415
    assert b" 411 " in talk(at, b"POST /write HTTP/1.1\r\nHost: localhost\r\n\r\n")


def test_a_body_that_is_too_long(start_collector: Start) -> None:
    """By its length: nothing of it is stored. Found out on the way: what was before is, and the answer says so."""
    running = start_collector('[http]\nlisten = "127.0.0.1:0"\nmax_write_body = 100000\n')
    at = running.address("http")
    lines = b"".join(b"m v=%05d\n" % i for i in range(15_000))
    said = post(at, lines, "/write")
    assert said.status == 413
    assert said.json["error"] == "the body is longer than max_write_body = 100000 bytes"
    assert counted(running, stored=0, rejected={"length": 1})
    packed = post(at, gzip.compress(lines), "/write", Content_Encoding="gzip")
    assert packed.status == 413
    stored = int(packed.json["error"].split("; ")[1].split()[0])
    assert 0 < stored < 10_000
    assert b" 413 " in talk(at, chunked(b"/write", *[lines[i : i + 9000] for i in range(0, len(lines), 9000)]))
    assert post(at, b"m v=1", "/write").status == 204
    assert counted(running)


@pytest.mark.slow
def test_lines_are_taken_as_they_come(collector: Running) -> None:
    """They are stored before the body is whole; one that breaks off leaves its whole lines."""
    with socket.create_connection(collector.address("http"), timeout=DEADLINE_S) as sock:
        sock.sendall(b"POST /write HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nm v=1\nm v=2\nm v=")
        eventually(lambda: collector.status()["stored"] == 2, "lines of half a body")
    assert counted(collector, stored=2, received=2)
    eventually(lambda: collector.status()["http_connections"] == 0, "the connection is over")


def test_a_body_that_stalls(start_collector: Start) -> None:
    """The connection is given up after idle_timeout, its whole lines are stored."""
    running = start_collector('[http]\nlisten = "127.0.0.1:0"\nidle_timeout = 1\n')
    with socket.create_connection(running.address("http"), timeout=DEADLINE_S) as sock:
        sock.sendall(b"POST /write HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nm v=1\nm v=")
        with suppress(ConnectionError):
            assert sock.recv(100) == b""
    assert counted(running, stored=1, received=1)


@pytest.mark.slow
def test_a_long_body_holds_up_nobody(collector: Running) -> None:
    """Of lines that must be looked at one by one; others are answered before it is."""
    at = collector.address("http")
    packed = gzip.compress(b'm s="x",v=1\n' * 40_000)
    request = b"POST /write HTTP/1.1\r\nHost: localhost\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
    with socket.create_connection(at, timeout=60) as sock:
        sock.sendall(request % len(packed) + packed)
        answered = 0
        while not select.select([sock], [], [], 0)[0]:
            assert get(at, "/ping").status == 204
            answered += 1
        assert sock.recv(1000).startswith(b"HTTP/1.1 204")
    assert answered > 2


@pytest.mark.slow
def test_beyond_max_sources(tmp_path: Path) -> None:
    """Lines are dropped for good: 400, or a client would hold up all that it has behind them."""
    (tmp_path / "linemon.toml").write_text(
        f'[store]\npath = "{tmp_path}/store"\nmax_sources = 2\n[tcp]\nlisten = "127.0.0.1:0"\n'
        '[http]\nlisten = "127.0.0.1:0"\n[[tap]]\nlisten = "127.0.0.1:0"\nsource = "web1"\n'
    )
    running = Running(tmp_path)
    try:
        eventually(lambda: "linemon.collector" in running.store, "our own source")
        answer = post(running.address("http"), b"a v=1\nb v=2\n", "/write")
        assert (answer.status, answer.json["line"]) == (400, 2)
        assert post(running.address("http"), b"b v=2\n", "/write").status == 400
        assert counted(running, stored=1, rejected={"max_sources": 2})
    finally:
        assert running.stop() == 0


def test_no_room(collector: Running) -> None:
    """Nothing of the body was stored: 503, and when to come again. Some of it was: 400, as for other bad lines."""
    at = collector.address("http")
    assert post(at, b"room v=1\n", "/write").status == 204
    pid = collector.process.pid
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (65536, resource.RLIM_INFINITY))  # as on a disk that is full
    for path, body in (("/write", b"new v=1,w=2\n"), ("/api/lines", b"new v=1,w=2\n")):
        answer = post(at, body, path)
        assert (answer.status, answer.headers["Retry-After"]) == (503, "10")
    partial = post(at, b"new v=1,w=2\nroom v=2\n", "/write")
    assert (partial.status, partial.json["line"]) == (400, 1)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert post(at, b"new v=1,w=2\n", "/write").status == 204
    assert counted(collector, stored=3, rejected={"store_full": 3})


# -- what clients ask before they write


def test_ping_and_health(collector: Running) -> None:
    at = collector.address("http")
    for method in ("GET", "HEAD"):
        for path in ("/ping", "/prefix/ping", "/ping?verbose=false", "/ping?verbose=0"):
            answer = ask(at, method, path)
            assert (answer.status, answer.headers["X-Influxdb-Version"]) == (204, "1.8.10")
        assert ask(at, method, "/ping?verbose=true").status == 200
    assert get(at, "/ping", verbose="true").json["version"].startswith("linemon ")
    health = get(at, "/prefix/health").json
    assert (health["name"], health["status"], health["checks"]) == ("influxdb", "pass", [])
    assert "received" in get(at, "/api/health").json  # linemon's own comes first


def databases(answer: Answer) -> list[str]:
    assert answer.status == 200
    [result] = answer.json["results"]
    [series] = result["series"]
    assert (result["statement_id"], series["name"], series["columns"]) == (0, "databases", ["name"])
    return [name for [name] in series["values"]]


def test_queries(collector: Running) -> None:
    """Databases are said to be made, and to be there; nothing else is answered."""
    at = collector.address("http")
    assert databases(get(at, "/query", q="show databases;", db="mine")) == ["linemon", "mine"]
    made = post(at, b"q=CREATE+DATABASE+%22two+words%22", "/query", Content_Type="application/x-www-form-urlencoded")
    assert made.json == {"results": [{"statement_id": 0}]}
    assert post(at, b"", "/query?q=CREATE%20RETENTION%20POLICY%20x").status == 200
    post(at, b"a v=1", "/write?db=third")
    post(at, b"a v=x", "/write?db=never")
    assert databases(get(at, "/query", q="SHOW DATABASES")) == ["linemon", "two words", "third"]
    for i in range(200):
        get(at, "/query", q=f"CREATE DATABASE d{i}")
    get(at, "/query", q="CREATE DATABASE " + "x" * 65)
    assert len(databases(get(at, "/query", q="SHOW DATABASES"))) == 101
    for q in ("SELECT * FROM cpu", "DROP DATABASE d1", ""):
        refused = get(at, "/query", q=q)
        assert (refused.status, json.loads(refused.body)["error"]) == (
            400,
            "linemon takes writes only; read with /api/rows",
        )
