"""Forwards by HTTP, to the servers themselves; and what each of their answers means."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import subprocess
import threading
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from linemon.config import load
from linemon.lines import influx
from linemon.parts.forward import part, parts
from linemon.parts.forward.targets._points import series
from tests.forwards import Conformance, Near, Row, rows_in, rows_of
from tests.running import Running, eventually, free_port
from tests.sinks import Answer, HttpSink, Request

DEBIAN = str(Path(__file__).parent.parent / ".venv/debian/usr/bin")


def program(name: str) -> str:
    """One that tests/tools.sh has unpacked, where this system has it."""
    found = shutil.which(name) or shutil.which(name, path=DEBIAN)
    if not found:
        pytest.skip(f"this system has no package of {name}")
    return found


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return str(answer.read().decode())


def by_time(rows: list[Row]) -> list[Row]:
    """Rows of one time are one, with the last of each column; those without a value are none."""
    found: dict[int, dict[str, float]] = {}
    for at, values in rows:
        if values:
            found[at] = found.get(at, {}) | values
    return sorted(found.items())


class Process(Conformance):
    """A far side that is a process of its own."""

    keeps_order = False
    process: subprocess.Popen[bytes] | None = None
    port = 0

    def arguments(self) -> list[str]:
        raise NotImplementedError

    def is_up(self) -> bool:
        raise NotImplementedError

    def open(self) -> None:
        self.port = self.port or free_port()
        with open(self.folder / "far.log", "ab") as log:
            self.process = subprocess.Popen(self.arguments(), stdout=log, stderr=log, cwd=self.folder)
        eventually(self._looks_up, "the far side")

    def _looks_up(self) -> bool:
        try:
            return self.is_up()
        except (OSError, ValueError):
            return False

    def close(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None

    def expected(self, rows: list[Row]) -> list[Row]:
        return by_time(rows)


@pytest.mark.slow
class TestInflux(Process):
    """InfluxDB 1.6 of Debian, with users."""

    secrets = ("hush-hush",)

    def arguments(self) -> list[str]:
        config, data = self.folder / "influx.conf", self.folder / "influx"
        config.write_text(
            f'reporting-disabled = true\nbind-address = "127.0.0.1:{self.rpc}"\n[meta]\ndir = "{data}/meta"\n'
            f'[data]\ndir = "{data}/data"\nwal-dir = "{data}/wal"\nindex-version = "inmem"\n'
            f'[http]\nbind-address = "127.0.0.1:{self.port}"\nauth-enabled = true\nlog-enabled = false\n[monitor]\n'
            "store-enabled = false\n"
        )
        return [program("influxd"), "-config", str(config)]

    def open(self) -> None:
        is_new = not self.port
        self.rpc = getattr(self, "rpc", 0) or free_port()
        super().open()
        if is_new:
            self.query("CREATE USER me WITH PASSWORD 'hush-hush' WITH ALL PRIVILEGES")
            self.query("CREATE DATABASE plant")

    def is_up(self) -> bool:
        return get(f"http://127.0.0.1:{self.port}/ping") == ""

    def query(self, said: str) -> Any:
        asked = urllib.parse.urlencode({"q": said, "db": "plant", "epoch": "ns", "u": "me", "p": "hush-hush"})
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/query?{asked}", b"", timeout=10) as answer:
            return json.loads(answer.read(), parse_int=lambda text: float(text) if text == "-0" else int(text))

    def forward(self) -> str:
        return (
            f'[[forward]]\nname = "it"\nto = "influx://me:hush-hush@127.0.0.1:{self.port}/plant"\nsince = "start"\n'
            "every = 0.05\n"
        )

    def read(self, source: str) -> list[Row]:
        name = source.replace("\\", "\\\\").replace('"', '\\"')
        [found] = self.query(f'SELECT * FROM "{name}"')["results"]
        if "series" not in found:
            return []
        [series] = found["series"]
        columns = series["columns"][1:]
        return [
            (at, {c: float(v) for c, v in zip(columns, values, strict=True) if v is not None})
            for at, *values in series["values"]
        ]


@pytest.mark.slow
class TestVictoria(Process):
    """VictoriaMetrics of Debian; it keeps milliseconds, about 15 digits of the greatest value, and no quotes."""

    ugly = (-0.0, 123456.75, -1e-7)

    def arguments(self) -> list[str]:
        data = self.folder / "victoria"
        return [
            program("victoria-metrics"),
            f"-storageDataPath={data}",
            f"-httpListenAddr=127.0.0.1:{self.port}",
            "-retentionPeriod=100y",
            "-dedup.minScrapeInterval=1ms",
            "-search.latencyOffset=0s",
        ]

    def is_up(self) -> bool:
        return get(f"http://127.0.0.1:{self.port}/health") == "OK"

    def forward(self) -> str:
        return f'[[forward]]\nname = "it"\nto = "victoria://127.0.0.1:{self.port}"\nsince = "start"\nevery = 0.05\n'

    def read(self, source: str) -> list[Row]:
        """A metric is a measurement, `_` and a field."""
        get(f"http://127.0.0.1:{self.port}/internal/force_flush")
        every = urllib.parse.quote('{__name__=~".+"}')
        rows: list[Row] = []
        for line in get(f"http://127.0.0.1:{self.port}/api/v1/export?start=0&match[]={every}").splitlines():
            found = json.loads(line)
            name = found["metric"]["__name__"]
            if name.startswith(head := source.replace('"', "_") + "_"):
                samples = zip(found["timestamps"], found["values"], strict=True)
                rows += [(at * 10**6, {name.removeprefix(head): float(value)}) for at, value in samples]
        return self.expected(rows)

    def expected(self, rows: list[Row]) -> list[Row]:
        def kept(value: float) -> float:
            return float(f"{value:.12g}") if abs(value) > 1e-300 else 0.0

        return by_time(
            [(at, {column.replace('"', "_"): kept(value) for column, value in values.items()}) for at, values in rows]
        )


# -- what answers mean, said by a server that answers as it is told


class Server:
    """Takes lines as InfluxDB does; `answers` come first, each once."""

    def __init__(self) -> None:
        self.sink = HttpSink()
        self.rejects: Callable[[str], str] = lambda line: ""
        self.longest = 10**6  # lines
        self.sink.answer = self.answer

    def answer(self, request: Request) -> Answer:
        lines = gzip.decompress(request.body).decode().splitlines()
        if len(lines) > self.longest:
            return 413, {}, b"too large"
        for why in filter(None, map(self.rejects, lines)):
            return 400, {}, why.encode()
        return 204, {}, b""

    @property
    def values(self) -> list[int]:
        texts = [gzip.decompress(each.body).decode() for each in self.sink.taken]
        return [int(float(found)) for found in re.findall(r"a=([\d.]+)", "".join(texts))]


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.sink.close()


class Here:
    """The forward in a thread of this process, so that it waits no minutes."""

    def __init__(self, near: Near) -> None:
        self.near = near
        [self.part] = parts(load(near.config))
        self._thread = threading.Thread(target=self.part._work)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self.part._ends.set()
        if self._thread.is_alive():
            self._thread.join()

    def until(self, **wanted: object) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            state = self.part.state()
            return state if all(state.get(name) == value for name, value in wanted.items()) else None

        try:
            return eventually(look, f"{wanted}")
        except AssertionError:
            raise AssertionError(f"not {wanted}, but {self.part.state()}") from None


@pytest.fixture
def forward(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Here]:
    monkeypatch.setattr(part, "BACK_OFF_S", (0.02, 0.1))
    monkeypatch.setattr(part, "DENIED_S", 0.3)
    near = Near(
        tmp_path / "near",
        f'[[forward]]\nname = "it"\nto = "influx://127.0.0.1:{server.sink.port}/db?u=me&p=hush-hush"\nsince = "start"\n'
        'every = 0.02\ntimeout = 0.5\npassword = "hush/hush+hush"\nuser = "me"\nbatch = 100\n',
    )
    here = Here(near)
    yield here
    here.stop()
    near.close()


@pytest.mark.parametrize(
    "answer",
    [
        (408, {}, b""),
        (429, {"Retry-After": "0"}, b"slowly hush/hush+hush"),
        (500, {}, b"me hush%2Fhush%2Bhush"),
        (503, {"Retry-After": "Thu, 01 Jan 1970 00:00:00 GMT"}, b"p=hush-hush"),
    ],
    ids=lambda answer: str(answer[0]),
)
def test_what_passes_is_sent_again(
    forward: Here, server: Server, answer: Answer, caplog: pytest.LogCaptureFixture
) -> None:
    """The same batch, so nothing is lost, and the order stays; what it says is shown without what is secret."""
    server.sink.answers += [answer] * 3
    forward.near.add("s", rows_of(250))
    forward.start()
    forward.until(sent=250, refused=0, missed=0)
    assert server.values == [*range(250)]
    assert f"answers {answer[0]}" in caplog.text
    for secret in ("hush/hush+hush", "hush%2Fhush%2Bhush", "hush-hush"):
        assert secret not in caplog.text


@pytest.mark.parametrize("status", [301, 401, 403, 404, 405, 415])
def test_who_is_not_let_in_waits(forward: Here, server: Server, status: int) -> None:
    """The cursor stays, status says so, and it is asked again: seldom."""
    server.sink.answer = lambda request: (status, {"Location": "/elsewhere"}, b"for me: hush/hush+hush")
    forward.near.add("s", rows_of(10))
    forward.start()
    said = eventually(lambda: forward.part.state().get("denied"), "that it is denied")
    assert said == f"127.0.0.1 answers {status} for me: ..."
    eventually(lambda: len(server.sink.seen) == 3, "more attempts")
    assert forward.part.state()["sent"] == 0
    server.sink.answer = server.answer
    forward.until(sent=10, refused=0, denied=None)
    assert server.values == [*range(10)]


def test_a_bad_row_among_good_ones(forward: Here, server: Server) -> None:
    """A batch that is refused is sent in halves, so that it costs the bad rows alone."""
    server.rejects = lambda line: "unable to parse hush/hush+hush" if "a=13.0" in line or "a=77.0" in line else ""
    forward.near.add("s", rows_of(150))
    forward.start()
    state = forward.until(sent=148, refused=2, missed=0, behind_s=0.0)
    assert state["last refused"] == "127.0.0.1 answers 400 unable to parse ..."
    assert server.values == [i for i in range(150) if i not in (13, 77)]


@pytest.mark.parametrize(
    ("answer", "refused"),
    [
        ((400, {}, b'{"error":"partial write: points beyond retention policy dropped=7"}'), 7),
        ((500, {}, b'{"error":"partial write: field type conflict: a is type float dropped=1"}'), 1),
        ((422, {}, b'{"error":"partial write: field type conflict dropped=100"}'), 100),
    ],
    ids=["beyond retention", "a conflict as 500", "all of it"],
)
def test_what_is_taken_in_part_goes_on(forward: Here, server: Server, answer: Answer, refused: int) -> None:
    """The far side has the others of that batch already."""
    server.sink.answers.append(answer)
    forward.near.add("s", rows_of(250))
    forward.start()
    forward.until(sent=250 - refused, refused=refused, behind_s=0.0)
    assert len(server.values) == 150


def test_a_batch_that_is_too_long_is_halved(forward: Here, server: Server) -> None:
    """And the next ones are shorter, until they are taken again."""
    server.longest = 30
    forward.near.add("s", rows_of(250))
    forward.start()
    forward.until(sent=250, refused=0)
    assert server.values == [*range(250)]
    assert len(server.sink.seen) < 40
    server.longest = 0  # a single row is too long, too
    forward.near.add("s", rows_of(3, 250))
    forward.until(sent=250, refused=3)


def test_one_that_never_answers(forward: Here, server: Server) -> None:
    server.sink.hangs.set()
    forward.near.add("s", rows_of(10))
    forward.start()
    eventually(lambda: forward.part.state().get("away") == "127.0.0.1 does not answer in time", "that it is away")
    server.sink.free()
    forward.until(sent=10)
    assert set(server.values) == {*range(10)}


def test_points_come_back_as_they_were() -> None:
    """A name of Influx's is measurement and tags again; another one is a measurement as a whole."""
    for name in ("sys,host=h7", "a b,t=x y", "plain", "odd,name", "com=ma"):
        assert influx.point(f"{series(name)} value=1 5".encode()).source == name
    assert series("sys;host=h7") == "sys,host=h7"


@pytest.mark.parametrize("scheme", ["influx", "influx2"])
def test_points_go_through_two_linemons(tmp_path: Path, scheme: str) -> None:
    """Another linemon's HTTP port speaks both of InfluxDB's write APIs: points arrive as they came, tags and all."""
    far = Running(tmp_path / "far", '[tcp]\nlisten = "127.0.0.1:0"\ntoken = "hush-hush"\n')
    host, port = far.address("http")
    where = {"influx": f"{host}:{port}/db", "influx2": f"{host}:{port}/bucket?org=lab"}[scheme]
    near = Near(
        tmp_path / "near",
        f'[[forward]]\nname = "it"\nto = "{scheme}://{where}"\ntoken = "hush-hush"\nsince = "start"\nevery = 0.05\n',
    )
    try:
        rows = rows_of(5, columns=("idle", "in,use"))
        near.add("cpu,cpu=cpu 0,host=h7", rows)
        near.start()
        near.until(sent=5, refused=0)
        assert rows_in(far.store, "cpu,cpu=cpu 0,host=h7") == rows
    finally:
        near.close()
        assert far.stop() == 0
