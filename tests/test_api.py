"""The JSON API and the events; programs/test_description.py holds what the server does to the description of both."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest

from linemon.http.site import families
from linemon.store.ring import PAGE_BYTES
from linemon.when import iso_ns
from tests.budget import cpu_s
from tests.running import DEADLINE_S, Running, Work, eventually
from tests.web import Address, ask, get, post

DESCRIPTION = json.loads((Path(__file__).parent.parent / "linemon" / "http" / "openapi.json").read_text())


# -- the description


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    running = Running(tmp_path_factory.mktemp("described"))
    post(running.address("http"), {"tag": "room1", "value": 20.3, "unit": "C", "ts": 1700000000})
    running.say("#source web1\n#columns cpu:% mem:%\n1 nan\n3 4\n")
    eventually(lambda: "web1" in running.store, "the source")
    work = Work(running.config, "alarms").start()
    eventually((running.store_path / "work.sock").exists, "commands are taken")
    eventually((running.store_path / "alarms.json").exists, "alarms are judged")
    yield running
    work.stop()
    assert running.stop() == 0


def test_each_path_is_described() -> None:
    """What the files of linemon/http bring, by lying there, and what the description says is the same."""
    found = {
        (route.path, method.lower())
        for family in families()
        for route in family.routes
        for method in route.methods
        if "*" not in route.path
    }
    told = {(path, method) for path, methods in DESCRIPTION["paths"].items() for method in methods}
    assert {(path, method) for path, method in told if method != "post" or (path, method) in found} == found
    parameters = {
        route.path: set(route.parameters)
        for family in families()
        for route in family.routes
        if route.parameters is not None
    }
    for path, names in parameters.items():
        told_of = next(iter(DESCRIPTION["paths"][path].values())).get("parameters", [])
        assert {each["name"] for each in told_of if each["in"] == "query"} == names


FAMILY = """
from http import HTTPStatus

from linemon.http.site import Family, Route


class Toy(Family):
    def get(self, request, query, grant):
        request.answer(HTTPStatus.OK, "text/plain", query.get("x", "").encode())

    def write(self, request, query, grant):
        request.answer(HTTPStatus.OK, "text/plain", self.site.body(request) + (b"" if grant.is_limited else b"!"))

    routes = (Route("/api/toy", {"GET": get}, parameters=("x",)), Route("*/toy", {"POST": write}))
"""


@pytest.mark.slow
def test_a_file_in_its_folder_is_a_family_of_routes(tmp_path: Path) -> None:
    """It is served with all guards before it, below any path where it says so, and before what takes all the others."""
    root = Path(__file__).parent.parent
    for package in ("linemon", "linemon_sender", "agent"):
        shutil.copytree(root / package, tmp_path / "tree" / package, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "tree/linemon/http/toy.py").write_text(FAMILY)
    settings = '[tcp]\nlisten = "127.0.0.1:0"\ntoken = "s3cret"\n'
    running = Running(tmp_path / "one", settings, environment={"PYTHONPATH": str(tmp_path / "tree")})
    try:
        at = running.address("http")
        assert get(at, "/api/toy", x=5).text == "5"
        assert get(at, "/api/toy", y=5).json["field"] == "y"
        assert ask(at, "GET", "/api/toy", Host="evil.example").status == 403
        assert post(at, b"b", "/any/toy").status == 401
        assert post(at, b"b", "/any/toy", Authorization="Bearer s3cret").text == "b!"
        assert post(at, b"b", "/any/toys", Authorization="Bearer s3cret").status == 400  # http-plot-server's
        assert get(at, "/any/toy").status == 405
    finally:
        assert running.stop() == 0


def test_the_description_is_served(collector: Running) -> None:
    assert get(collector.address("http"), "/api/openapi.json").json == DESCRIPTION


# -- rows


def fill(running: Running) -> None:
    """Ten rows of two columns, a second apart, one value missing."""
    rows = "".join(f"{1_700_000_000 + i}.000250 {i} {'nan' if i == 3 else i * 0.5}\n" for i in range(10))
    running.say("#source web1\n#columns time cpu:% mem\n" + rows)
    eventually(lambda: "web1" in running.store and running.store["web1"].rows == 10, "the rows")


def cursor(running: Running, source: str, rows: int) -> str:
    return f"{rows}.{running.store[source].born}"


def test_rows(collector: Running) -> None:
    """All, by column, with null for missing; then only what is new."""
    fill(collector)
    at = collector.address("http")
    all_rows = get(at, "/api/rows", source="web1").json
    assert all_rows == {
        "source": "web1",
        "columns": ["cpu", "mem"],
        "units": ["%", ""],
        "time": [1_700_000_000_000.25 + 1000 * i for i in range(10)],
        "values": [[float(i) for i in range(10)], [None if i == 3 else i * 0.5 for i in range(10)]],
        "cursor": cursor(collector, "web1", 10),
        "missed": 0,
    }
    collector.say("#source web1\n#columns time cpu mem\n1700000010 10 5\n")
    eventually(lambda: collector.store["web1"].rows == 11, "one more row")
    new = get(at, "/api/rows", source="web1", since=10).json
    assert (new["time"], new["values"], new["cursor"]) == (
        [1_700_000_010_000],
        [[10.0], [5.0]],
        cursor(collector, "web1", 11),
    )
    for since in (11, new["cursor"]):
        assert get(at, "/api/rows", source="web1", since=since).json["time"] == []
    began_anew = get(at, "/api/rows", source="web1", since="11.1").json  # the cursor of another life
    assert (began_anew["restarted"], len(began_anew["time"]), began_anew["missed"]) == (True, 11, 0)


def test_rows_that_were_overwritten(start_collector: Callable[..., Running]) -> None:
    """`missed` says how many came and went since the cursor."""
    running = start_collector("points = 5\n")
    running.say("".join(f"m {i}\n" for i in range(20)))
    eventually(lambda: "m" in running.store and running.store["m"].rows == 20, "the rows")
    answer = get(running.address("http"), "/api/rows", source="m", since=3).json
    assert (answer["values"], answer["missed"]) == ([[15.0, 16.0, 17.0, 18.0, 19.0]], 12)
    assert answer["cursor"] == cursor(running, "m", 20)


def test_a_window(collector: Running) -> None:
    """The same buckets as `window` gives in Python; times as ISO 8601 or ms."""
    fill(collector)
    at = collector.address("http")
    expected = collector.store["web1"].window("2023-11-14T22:13:20", "2023-11-14T22:13:32", points=4)
    spans: list[tuple[object, object]] = [
        (1_700_000_000_000, 1_700_000_012_000), ("2023-11-14T22:13:20Z", "2023-11-15T00:13:32+02:00"),
        (1_700_000_000, "1700000012.0"), (1_700_000_000_000_000, 1_700_000_012_000_000_000),
    ]  # fmt: skip
    for start, end in spans:
        answer = get(at, "/api/rows", source="web1", start=start, end=end, points=4).json
        assert answer["time"] == [1_700_000_000_000 + 3000 * i for i in range(4)]
        for name in ("min", "max", "mean", "count"):
            columns = np.array([[np.nan if cell is None else cell for cell in column] for column in answer[name]])
            np.testing.assert_array_equal(columns.T, getattr(expected, name))
        assert "values" not in answer
        assert answer["cursor"] == cursor(collector, "web1", 10)


@pytest.mark.parametrize(
    ("query", "status", "field"),
    [
        ({}, 400, "source"),
        ({"source": "none"}, 404, "source"),
        ({"source": "web1", "since": "x"}, 400, "since"),
        ({"source": "web1", "start": "yesterday"}, 400, "start"),
        ({"source": "web1", "start": "-5"}, 400, "start"),
        ({"source": "web1", "start": "-1"}, 400, "start"),
        ({"source": "web1", "limit": 5}, 400, "limit"),
        ({"source": "web1", "columns": "cpu,disk"}, 400, "columns"),
        ({"source": "web1", "columns": ""}, 400, "columns"),
        ({"source": "web1", "format": "xml"}, 400, "format"),
        ({"source": "web1", "since": "10m", "points": 5}, 400, "since"),
        ({"source": "web1", "sinse": 5}, 400, "sinse"),
        ({"source": "web1", "end": 5}, 400, "start"),
        ({"source": "web1", "points": 5}, 400, "start"),
        ({"source": "web1", "start": 5, "end": 5}, 400, "end"),
        ({"source": "web1", "start": 5, "points": 0}, 400, "points"),
        ({"source": "web1", "start": 5, "points": 10**9}, 400, "points"),
    ],
    ids=str,
)
def test_wrong_questions(described: Running, query: dict[str, object], status: int, field: str) -> None:
    answer = get(described.address("http"), "/api/rows", **query)
    assert (answer.status, answer.json["field"]) == (status, field)


def test_one_source_that_cannot_be_read(collector: Running) -> None:
    """The others are listed all the same, by the command and by HTTP; its own line says what is wrong."""
    collector.say("good 1\n#source bad\n1 2\n#stats\n")
    eventually(lambda: "bad" in collector.store, "both sources")
    (file,) = collector.store_path.glob("2x*.ring")
    with open(file, "r+b") as ring:  # another owner's id where the catalog says that its ring is
        ring.seek(PAGE_BYTES)
        ring.write((1).to_bytes(8, "little"))
    ran = collector.run("sources", "--json")
    assert ran.returncode == 0, ran.stderr
    for listed in (json.loads(ran.stdout), get(collector.address("http"), "/api/sources").json):
        found = {each["source"]: each for each in listed}
        assert found["good"]["rows"] == 1
        assert (found["bad"]["rows"], "damaged" in found["bad"]["error"]) == (None, True)
    assert "is damaged" in collector.run("sources").stdout


def test_sources_and_health(collector: Running) -> None:
    """The same as the command says; the counters of all lines."""
    fill(collector)
    collector.say("x y\n")
    eventually(lambda: "linemon.collector" in collector.store, "its own source, which comes after a second")
    at = collector.address("http")
    stable = ("source", "columns", "units", "rejected")
    command_says = json.loads(collector.run("sources", "--json").stdout)  # sorted
    http_says = get(at, "/api/sources").json
    told, said = ([[each[k] for k in stable] for each in answer] for answer in (http_says, command_says))
    assert sorted(told) == sorted(said)
    health = get(at, "/api/health").json
    assert (health["received"], health["stored"], health["duplicate"], health["lost"]) == (11, 10, 0, 0)
    assert (health["rejected"], health["dropped"]) == ({"number": 1}, {})
    assert health["last_bad"]["error"] == "'y' is not a number"
    assert 0 < health["uptime_s"] < 60
    assert health["sources"] == len(collector.store)


def test_a_long_answer(start_collector: Callable[..., Running]) -> None:
    """More than is sent at once comes in chunks, whole, also to HTTP/1.0."""
    running = start_collector("points = 50000\n")
    running.say("".join(f"m {i}.5\n" for i in range(50_000)))
    eventually(lambda: "m" in running.store and running.store["m"].rows == 50_000, "the rows")
    at = running.address("http")
    answer = get(at, "/api/rows", source="m")
    assert answer.headers["Transfer-Encoding"] == "chunked"
    assert answer.json["values"] == [[i + 0.5 for i in range(50_000)]]
    assert len(get(at, "/current_data", tag="m").json["value"]) == 50_000
    with socket.create_connection(at, timeout=DEADLINE_S) as sock:
        sock.sendall(b"GET /api/rows?source=m HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        head, _, body = sock.makefile("rb").read().partition(b"\r\n\r\n")
    assert b"Connection: close" in head  # it knows no chunks, and nobody knows the length yet
    assert json.loads(body)["cursor"].startswith("50000.")


@pytest.mark.slow
def test_rows_that_are_overwritten_while_they_are_read(start_collector: Callable[..., Running]) -> None:
    """An answer is taken from the ring as it is read, not copied before: what goes meanwhile is null, and counted."""
    running = start_collector("points = 200000\n")
    line = "".join(f"{i}.123456789 {i}.5\n" for i in range(100_000))
    running.say("#source m\n" + line * 2)
    eventually(lambda: "m" in running.store and running.store["m"].rows == 200_000, "the rows")
    with socket.create_connection(running.address("http"), timeout=DEADLINE_S) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        sock.sendall(b"GET /api/rows?source=m HTTP/1.0\r\n\r\n")
        file = sock.makefile("rb")
        begin = file.read(1000)
        before = rss_mb(running)
        running.say("#source m\n" + line)
        eventually(lambda: running.store["m"].rows == 300_000, "more rows")
        answer = json.loads((begin + file.read()).partition(b"\r\n\r\n")[2])
    rows = len(answer["time"])
    assert [len(column) for column in answer["values"]] == [rows, rows]
    gone = sum(value is None for value in answer["values"][1])
    assert gone > 0
    assert answer["missed"] == gone + 200_000 - rows
    assert set(answer["values"][1]) - {None} <= {i + 0.5 for i in range(100_000)}
    assert rss_mb(running) - before < 16


# -- as a person asks


def fill_lately(running: Running) -> int:
    """Rows of ten, five and one minute ago, and the last of these again out of order; the time now, s."""
    now = int(time.time())
    rows = "".join(f"{now - 60 * minutes} {minutes} {-minutes}\n" for minutes in (10, 5, 1))
    running.say(f"#source late\n#columns time a:V b\n{rows}")
    eventually(lambda: "late" in running.store and running.store["late"].rows == 3, "the rows")
    return now


@pytest.mark.parametrize("is_in_order", [True, False])
def test_rows_since_a_time(collector: Running, is_in_order: bool) -> None:
    """A span back from now or an ISO time, also of rows out of time order; a number is a cursor."""
    now = fill_lately(collector)
    at = collector.address("http")
    if not is_in_order:
        collector.say(f"#source late\n#columns time a b\n{now - 420} 7 -7\n")
        eventually(lambda: collector.store["late"].rows == 4, "one more row")
    middle = [] if is_in_order else [7.0]
    for since in ("8m", "-8m", "7m30s", iso_ns((now - 450) * 10**9)):
        answer = get(at, "/api/rows", source="late", since=since).json
        assert answer["values"][0] == [*middle, 5.0, 1.0], since
    assert get(at, "/api/rows", source="late", since=answer["cursor"]).json["time"] == []
    assert len(get(at, "/api/rows", source="late", since=1).json["time"]) == 2 + len(middle)
    assert get(at, "/api/rows", source="late", since="1s").json["time"] == []


def test_a_window_back_from_now(collector: Running) -> None:
    fill_lately(collector)
    at = collector.address("http")
    for start in ("-6m", "6m"):
        answer = get(at, "/api/rows", source="late", start=start, points=1).json
        assert (answer["count"], answer["max"]) == ([[2], [2]], [[5.0], [-1.0]])


def test_columns_of_rows_and_windows(collector: Running) -> None:
    """Only these, in this order."""
    fill_lately(collector)
    at = collector.address("http")
    answer = get(at, "/api/rows", source="late", columns="b,a").json
    assert (answer["columns"], answer["units"]) == (["b", "a"], ["", "V"])
    assert answer["values"] == [[-10.0, -5.0, -1.0], [10.0, 5.0, 1.0]]
    answer = get(at, "/api/rows", source="late", columns="b", start="1h", points=1).json
    assert (answer["columns"], answer["min"]) == (["b"], [[-10.0]])


def test_rows_as_csv(collector: Running) -> None:
    """What `linemon export` writes, to the byte, and the cursor in a header; a window as `--every` has it."""
    fill(collector)
    at = collector.address("http")
    answer = get(at, "/api/rows", source="web1", format="csv")
    assert answer.body.decode() == collector.run("export", "web1").stdout
    assert answer.headers["Content-Type"].startswith("text/csv")
    assert answer.headers["X-Linemon-Cursor"] == cursor(collector, "web1", 10)
    more = get(at, "/api/rows", source="web1", format="csv", since=8, columns="cpu").body.decode()
    assert more == "time,cpu\n2023-11-14T22:13:28.00025Z,8.0\n2023-11-14T22:13:29.00025Z,9.0\n"
    window = get(at, "/api/rows", source="web1", format="csv", start="1699999980", end="1700000580", points=10)
    assert window.body.decode() == collector.run("export", "web1", "--every", "1m").stdout
    head = ask(at, "HEAD", "/api/rows?source=web1&format=csv")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["X-Linemon-Cursor"] == answer.headers["X-Linemon-Cursor"]


# -- events


@contextmanager
def events(at: Address, query: str, **headers: str) -> Iterator[Iterator[tuple[str, Any]]]:
    """The id and the data of each event, as they come."""

    def read(file: BinaryIO) -> Iterator[tuple[str, Any]]:
        fields: dict[str, str] = {}
        for line in file:  # a chunk's length is no field
            name, colon, value = line.decode().rstrip("\r\n").partition(": ")
            if colon:
                fields[name] = value
            if line == b"\n" and "data" in fields:
                assert fields["event"] == "rows"
                yield fields["id"], json.loads(fields["data"])
                fields = {}

    with socket.create_connection(at, timeout=DEADLINE_S) as sock:
        said = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        sock.sendall(f"GET /api/stream?{query} HTTP/1.1\r\nHost: localhost\r\n{said}\r\n".encode())
        file = sock.makefile("rb")
        assert b" 200 " in file.readline()
        while file.readline() != b"\r\n":
            pass
        yield read(file)
        sock.shutdown(socket.SHUT_RDWR)  # the file keeps the socket open beyond its block


def test_events(collector: Running) -> None:
    """Rows of several sources as they come; a reader that comes again goes on where it was."""
    collector.say("a 1\nb 2\n")
    eventually(lambda: "b" in collector.store, "the sources")
    at = collector.address("http")
    with events(at, "source=a&source=b") as coming:
        collector.say("b 3\n")
        last_id, data = next(coming)
        at_a, at_b = cursor(collector, "a", 1), cursor(collector, "b", 2)
        assert (last_id, data["source"], data["values"], data["cursor"]) == (f"{at_a},{at_b}", "b", [[3.0]], at_b)
        collector.say("a 4\n")
        last_id, data = next(coming)
        assert (last_id, data["source"], data["values"]) == (f"{cursor(collector, 'a', 2)},{at_b}", "a", [[4.0]])
    collector.say("a 5\na 6\nb 7\n")
    eventually(lambda: collector.store["b"].rows == 3, "the rows")
    with events(at, "source=a&source=b", Last_Event_ID=last_id) as coming:
        assert [next(coming)[1]["values"] for _ in range(2)] == [[[5.0, 6.0]], [[7.0]]]
    eventually(lambda: get(at, "/api/health").json["http_connections"] == 1, "the readers are gone")


@pytest.mark.slow
def test_a_slow_reader_of_events(start_collector: Callable[..., Running]) -> None:
    """It costs no memory and delays nobody; what it did not take in time is counted as missed."""
    running = start_collector("points = 1000\n")
    at = running.address("http")
    running.say("m 0\n")
    eventually(lambda: "m" in running.store, "the source")
    with events(at, "source=m") as coming:
        rows, block = 1, "".join(f"m {i}.123456789\n" for i in range(20_000))
        before = rss_mb(running)
        while rows < 1_500_000:
            running.say(block)
            rows += 20_000
        eventually(lambda: running.store["m"].rows == rows, "all rows stored")
        assert rss_mb(running) - before < 8
        got = missed = 0
        while got + missed < rows - 1:
            _, data = next(coming)
            got += len(data["time"])
            missed += data["missed"]
    assert got + missed == rows - 1
    assert missed > 0


def test_wrong_streams(described: Running) -> None:
    at = described.address("http")
    assert get(at, "/api/stream").json["field"] == "source"
    assert get(at, "/api/stream", source="web1", since=1).json["field"] == "since"
    assert ask(at, "GET", "/api/stream?" + "&".join(f"source=web{i}" for i in range(101))).status == 400


def test_events_of_a_source_that_comes_later(collector: Running) -> None:
    """An EventSource never asks again after an error: it waits, and gets the first row."""
    with events(collector.address("http"), "source=late&source=never") as coming:
        collector.say("late 1\nlate 2\n")
        last_id, data = next(coming)
        assert (last_id, data["source"]) == (cursor(collector, "late", 2) + ",0.0", "late")
        assert data["values"] == [[1.0, 2.0]]


def test_the_same_source_twice_is_one(collector: Running) -> None:
    """Else the id that a reader comes again with would not say how far it is."""
    collector.say("a 1\nb 1\n")
    eventually(lambda: "b" in collector.store, "the sources")
    at = collector.address("http")
    with events(at, "source=a&source=b&source=a") as coming:
        collector.say("a 2\n")
        last_id, data = next(coming)
        assert (last_id, data["values"]) == (f"{cursor(collector, 'a', 2)},{cursor(collector, 'b', 1)}", [[2.0]])
    collector.say("a 3\nb 2\n")
    eventually(lambda: collector.store["b"].rows == 2, "the rows")
    with events(at, "source=a&source=b&source=a", Last_Event_ID=last_id) as coming:
        assert [next(coming)[1]["values"] for _ in range(2)] == [[[3.0]], [[2.0]]]


def test_events_pass_proxies(collector: Running) -> None:
    """nginx keeps an answer back, and others pack it, unless it says that they must not."""
    headers = ask(collector.address("http"), "HEAD", "/api/stream?source=x").headers
    assert headers["X-Accel-Buffering"] == "no"
    assert headers["Cache-Control"] == "no-store, no-transform"
    assert headers["Content-Type"] == "text/event-stream"


@pytest.mark.slow
def test_many_idle_streams_delay_nobody(start_collector: Callable[..., Running]) -> None:
    """A hundred streams of a hundred sources cost next to nothing while no row comes for them."""
    running = start_collector()
    running.say("".join(f"s{i} 1\n" for i in range(100)))
    eventually(lambda: len(running.store) >= 100, "the sources")
    query = "&".join(f"source=s{i}" for i in range(100))
    with ExitStack() as stack:
        streams = [stack.enter_context(events(running.address("http"), query)) for _ in range(100)]
        before, began = cpu_s(running.process.pid), time.monotonic()
        eventually(lambda: time.monotonic() - began > 2, "two seconds")
        assert cpu_s(running.process.pid) - before < 0.3
        running.say("s7 2\n")
        for coming in streams:
            assert next(coming)[1]["values"] == [[2.0]]


# -- what it costs


def rss_mb(running: Running) -> float:
    status = Path(f"/proc/{running.process.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024


@pytest.mark.slow
def test_memory_with_an_agent(start_collector: Callable[..., Running]) -> None:
    """A collector with its HTTP port open and one agent stays within 55 MB."""
    collector = start_collector(fresh=True)
    host, port = collector.address()
    agent = subprocess.Popen(
        [sys.executable, "-m", "agent", "--to", f"{host}:{port}", "--name", "h", "--interval", "0.2"]
    )
    try:
        eventually(lambda: "h" in collector.store and collector.store["h"].rows > 10, "rows of the agent")
        get(collector.address("http"), "/api/sources")
        post(collector.address("http"), {"tag": "t", "value": 1})
        assert rss_mb(collector) <= 55
    finally:
        agent.terminate()
        agent.wait(DEADLINE_S)


@pytest.mark.slow
def test_the_collector_does_not_import_bokeh() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "from linemon.doors import doors; doors()"],
        capture_output=True,
        text=True,
        check=True,
    )
    imported = {line.rpartition("|")[2].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert "httptools" in imported
    assert not imported & {"bokeh", "tornado", "pandas"}
