"""Real senders, as their users have them: what arrives is what was sent."""

from __future__ import annotations

import json
import math
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import graphitesend
import graphyte
import pytest
from influx_line_protocol import Metric
from influxdb_client.client.write.point import Point
from influxdb_client.domain.write_precision import WritePrecision

from tests.running import DEADLINE_S, Running, eventually, program

NOW = 1_700_000_000


def arrived(running: Running, source: str, rows: int = 1) -> list[list[float]]:
    """All values of a source, once there are so many rows."""
    eventually(lambda: source in running.store and running.store[source].rows >= rows, f"{rows} rows of {source}")
    values: list[list[float]] = running.store[source].since(0).values.tolist()
    return values


def times(running: Running, source: str) -> list[float]:
    return [ns / 1e9 for ns in running.store[source].since(0).time.astype("int64").tolist()]


def nothing_rejected(running: Running) -> bool:
    eventually(lambda: running.status()["received"] > 0, "the counters")
    return not running.status()["rejected"]


# -- netcat and shells

LINES = b"room1.temperature 20.3 1700000000\nroom1.temperature 20.4 1700000001\n"
NETCATS = {
    "openbsd": ["nc.openbsd", "-N"],
    "openbsd -q": ["nc.openbsd", "-q1"],
    "openbsd -C": ["nc.openbsd", "-C", "-q1"],
    "ncat": ["ncat", "--send-only"],
    "ncat -C": ["ncat", "-C", "--send-only"],
}


@pytest.mark.parametrize("command", NETCATS.values(), ids=NETCATS.keys())
def test_netcat(collector: Running, command: list[str]) -> None:
    """OpenBSD's and nmap's, ending lines with LF or CR LF; the last one without its end too."""
    host, port = collector.address()
    netcat = [program(command[0]), *command[1:], host, str(port)]
    subprocess.run(netcat, input=LINES + b"room1.temperature 20.5", check=True, timeout=DEADLINE_S)
    assert arrived(collector, "room1.temperature", 3) == [[20.3], [20.4], [20.5]]
    assert nothing_rejected(collector)


def test_bash(collector: Running) -> None:
    """No program but the shell."""
    host, port = collector.address()
    script = f"exec 3>/dev/tcp/{host}/{port}; echo 'room1.temperature 20.3' >&3; printf '#source r\\n1 2 3\\n' >&3"
    subprocess.run(["bash", "-c", script], check=True, timeout=DEADLINE_S)
    assert arrived(collector, "room1.temperature") == [[20.3]]
    assert arrived(collector, "r") == [[1.0, 2.0, 3.0]]


def test_curl(collector: Running) -> None:
    """A shell's way to HTTP."""
    host, port = collector.address("http")
    body = '{"tag": "room1.temperature", "value": 20.3, "unit": "C"}'
    done = subprocess.run(
        [program("curl"), "-sf", "-d", body, f"http://{host}:{port}/"], capture_output=True, check=True
    )
    assert done.stdout == b"path: /received value: 20.3"
    assert arrived(collector, "room1.temperature") == [[20.3]]


# -- Graphite


def test_graphyte(collector: Running) -> None:
    """Metrics with tags and times, over one connection."""
    host, port = collector.address()
    sender = graphyte.Sender(host, port=port, prefix="lab")
    for i in range(100):
        sender.send("room1.temperature", 20 + i / 10, NOW + i)
    sender.send("room1.humidity", 55, NOW, tags={"floor": "2", "wing": "west"})
    sender.stop()
    assert arrived(collector, "lab.room1.temperature", 100) == [[20 + i / 10] for i in range(100)]
    assert times(collector, "lab.room1.temperature") == [NOW + i for i in range(100)]
    assert arrived(collector, "lab.room1.humidity;floor=2;wing=west") == [[55.0]]
    assert nothing_rejected(collector)


def test_graphitesend(collector: Running) -> None:
    """Single metrics, a dictionary, a list with times."""
    host, port = collector.address()
    client = graphitesend.init(
        graphite_server=host, graphite_port=port, prefix="lab", system_name="h1", lowercase_metric_names=True
    )
    client.send("Temperature", 20.3, NOW)
    client.send_dict({"a": 1, "b": 2.5}, NOW)
    client.send_list([("c", 3, NOW + 1), ("c", 4, NOW + 2)])
    client.disconnect()
    assert arrived(collector, "lab.h1.temperature") == [[20.3]]
    assert arrived(collector, "lab.h1.a") == [[1.0]]
    assert arrived(collector, "lab.h1.b") == [[2.5]]
    assert arrived(collector, "lab.h1.c", 2) == [[3.0], [4.0]]
    assert times(collector, "lab.h1.c") == [NOW + 1, NOW + 2]
    assert nothing_rejected(collector)


def test_collectd(collector: Running, tmp_path: Path) -> None:
    """write_graphite sends this machine's load, beside a CSV of the same values that we compare with."""
    host, port = collector.address()
    config = tmp_path / "collectd.conf"
    config.write_text(f"""
Hostname "h1"
FQDNLookup false
Interval 0.5
BaseDir "{tmp_path}"
PIDFile "{tmp_path}/pid"
TypesDB "/usr/share/collectd/types.db"
LoadPlugin load
LoadPlugin memory
LoadPlugin csv
LoadPlugin write_graphite
<Plugin csv>
  DataDir "{tmp_path}/csv"
</Plugin>
<Plugin write_graphite>
  <Node "linemon">
    Host "{host}"
    Port "{port}"
    Protocol "tcp"
    Prefix "collectd."
    LogSendErrors true
  </Node>
</Plugin>
""")
    log = (tmp_path / "collectd.log").open("wb")
    collectd = subprocess.Popen([program("collectd", "collectd-core"), "-f", "-C", str(config)], stdout=log, stderr=log)
    try:
        eventually(
            lambda: (
                "collectd.h1.load.load.shortterm" in collector.store
                and collector.store["collectd.h1.load.load.shortterm"].rows >= 4
            ),
            "rows of collectd",
            60,
        )
    finally:
        collectd.terminate()
        collectd.wait(DEADLINE_S)
    eventually(lambda: collector.status()["connections"] == 0, "all taken")
    [file] = (tmp_path / "csv" / "h1" / "load").glob("load-*")
    written = [[float(cell) for cell in line.split(",")] for line in file.read_text().splitlines()[1:]]
    stored = collector.store["collectd.h1.load.load.shortterm"].since(0)
    assert len(stored) >= 4
    for value, (_, expected, *_) in zip(stored.values[:, 0].tolist(), written, strict=False):
        assert math.isclose(value, expected, abs_tol=1e-5)
    assert abs(stored.time.astype("int64")[-1] / 1e9 - time.time()) < 60
    assert any(name.startswith("collectd.h1.memory.") for name in collector.store)
    assert nothing_rejected(collector)


# -- InfluxDB


def influx_client(i: int) -> str:
    point: Any = Point("room climate")  # type: ignore[no-untyped-call]
    point.tag("wing", "west, 2").tag("a", "ü=1").field("temperature", 20 + i / 10).field("count", i)
    point.field("open", i % 2 == 0).field("note", 'said "hi", \\ bye').time(NOW + i, WritePrecision.S)
    return str(point.to_line_protocol(WritePrecision.NS))


def influx_line_protocol(i: int) -> str:
    metric = Metric("room climate")
    metric.with_timestamp((NOW + i) * 10**9)
    for name, tag in (("wing", "west, 2"), ("a", "ü=1")):
        metric.add_tag(name, tag)
    fields: dict[str, Any] = {"temperature": 20 + i / 10, "count": i, "open": i % 2 == 0, "note": "said hi"}
    for name, value in fields.items():
        metric.add_value(name, value)
    return str(metric)


@pytest.mark.parametrize("serialize", [influx_client, influx_line_protocol])
def test_influx(collector: Running, serialize: Any) -> None:
    """Blanks, commas, quotes and letters of any script, as the serialiser escapes them."""
    assert collector.say("".join(serialize(i) + "\n" for i in range(50)) + "#stats\n").startswith(
        "#stats received=50 stored=50"
    )
    source = "room climate,a=ü=1,wing=west, 2"
    values = arrived(collector, source, 50)
    columns = collector.store[source].columns
    assert set(columns) == {"temperature", "count", "open"}
    expected: dict[str, Callable[[int], float]] = {
        "temperature": lambda i: 20 + i / 10,
        "count": float,
        "open": lambda i: float(i % 2 == 0),
    }
    assert values == [[expected[column](i) for column in columns] for i in range(50)]
    assert times(collector, source) == [NOW + i for i in range(50)]
    eventually(lambda: collector.status()["string_fields_left_out"] == 50, "the texts are counted")


def test_everything_at_once(collector: Running) -> None:
    """The same number from a line, a point and a post is one source's."""
    host, port = collector.address("http")
    collector.say("t 1 1700000000\n")
    arrived(collector, "t")
    sender = graphyte.Sender(*collector.address()[:1], port=collector.address()[1])
    sender.send("t", 2, NOW + 1)
    sender.stop()
    arrived(collector, "t", 2)
    body = json.dumps({"tag": "t", "value": 3, "ts": NOW + 2})
    subprocess.run([program("curl"), "-sf", "-d", body, f"http://{host}:{port}/"], capture_output=True, check=True)
    assert arrived(collector, "t", 3) == [[1.0], [2.0], [3.0]]
