"""What writes to InfluxDB and its like: its own clients, and others' requests as their sources make them."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import influxdb_client_3
import pytest
from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.client.write.point import Point
from influxdb_client.client.write_api import SYNCHRONOUS
from influxdb_client.domain.write_precision import WritePrecision
from influxdb_client.rest import ApiException

from tests.running import DEADLINE_S, Running, eventually, program
from tests.web import ask, get, post

Start = Callable[..., Running]
NOW = 1_700_000_000
CLIMATE = "room climate,a=ü=1,wing=west, 2"  # as linemon calls it
NOTE = 'said "hi", \\ bye\nand more'
UDP = '[tcp]\nlisten = "127.0.0.1:0"\n[udp]\nlisten = "127.0.0.1:0"\n'


def url(running: Running) -> str:
    host, port = running.address("http")
    return f"http://{host}:{port}"


def stored(running: Running, source: str, rows: int) -> dict[str, list[float]]:
    """Each column's values, once there are so many rows; nothing was rejected."""
    eventually(lambda: source in running.store and running.store[source].rows >= rows, f"{rows} rows of {source}")
    found = running.store[source].since(0)
    assert not running.status()["rejected"], running.status()["bad_lines"]
    values: dict[str, list[float]] = {column: found[column].tolist() for column in found.columns}
    return values | {"time": (found.time.astype("int64") / 1e9).tolist()}


def expected(count: int) -> dict[str, list[float]]:
    return {
        "temperature": [20 + i / 10 for i in range(count)],
        "count": [float(i) for i in range(count)],
        "open": [float(i % 2 == 0) for i in range(count)],
        "time": [float(NOW + i) for i in range(count)],
    }


def fields(i: int) -> dict[str, Any]:
    return {"temperature": 20 + i / 10, "count": i, "open": i % 2 == 0, "note": NOTE}


# -- the clients


@pytest.mark.parametrize("precision", [None, "s", "ms", "u"])
@pytest.mark.parametrize("packed", [False, True])
def test_influxdb(collector: Running, precision: str | None, packed: bool) -> None:
    """Version 1's: as Home Assistant, Ceph and many scripts have it."""
    influxdb = pytest.importorskip("influxdb", reason="it has no wheel for this Python")
    host, port = collector.address("http")
    client = influxdb.InfluxDBClient(host, port, "root", "root", "lab", gzip=packed)
    assert client.ping() == "1.8.10"
    client.create_database("lab")
    assert {"name": "lab"} in client.get_list_database()
    assert client.write_points([])
    points = [
        {
            "measurement": "room climate",
            "tags": {"wing": "west, 2", "a": "ü=1", "empty": ""},
            "time": datetime.fromtimestamp(NOW + i, UTC),
            "fields": fields(i),
        }
        for i in range(50)
    ]
    assert client.write_points(points, time_precision=precision)
    assert stored(collector, CLIMATE, 50) == expected(50)
    with pytest.raises(influxdb.exceptions.InfluxDBClientError, match=r"partial write: line 1: .* dropped=1"):
        client.write(["m v=x"], params={"db": "lab"}, protocol="line")
    client.close()


def test_influxdb_by_udp(start_collector: Start) -> None:
    """200 points in one datagram."""
    influxdb = pytest.importorskip("influxdb", reason="it has no wheel for this Python")
    running = start_collector(UDP)
    host, port = running.address("udp")
    client = influxdb.InfluxDBClient(host, use_udp=True, udp_port=port)
    client.write_points(
        [{"measurement": "m", "time": NOW + i, "fields": {"v": float(i)}} for i in range(200)], time_precision="s"
    )
    client.close()
    assert stored(running, "m", 200)["v"] == [float(i) for i in range(200)]


def climate(i: int) -> Point:
    point: Any = Point("room climate")  # type: ignore[no-untyped-call]
    point.tag("wing", "west, 2").tag("a", "ü=1").time(NOW + i, WritePrecision.S)
    for name, value in fields(i).items():
        point.field(name, value)
    return point  # type: ignore[no-any-return]


@pytest.mark.parametrize("packed", [False, True])
def test_influxdb_client(collector: Running, packed: bool) -> None:
    """Version 2's; what is bad raises and names the line."""
    with InfluxDBClient(url(collector), token="any", org="o", enable_gzip=packed) as client:
        assert client.ping()
        with client.write_api(write_options=SYNCHRONOUS) as write:
            write.write("bucket", record=[climate(i) for i in range(50)])
            assert stored(collector, CLIMATE, 50) == expected(50)
            with pytest.raises(ApiException) as raised:
                write.write("bucket", record="fine v=1\nbad v=x")
            assert json.loads(raised.value.body)["line"] == 2


BATCHES = """
import sys
from influxdb_client.client.influxdb_client import InfluxDBClient

with InfluxDBClient(sys.argv[1], token="any", org="o") as client, client.write_api() as write:
    for i in range(2500):
        write.write("bucket", record=f"m v={i} {i + 1}")
"""


def test_influxdb_client_in_batches(collector: Running) -> None:
    """As it writes by itself: a thousand at a time, the rest at the end; in a program of its own, for its threads."""
    subprocess.run([sys.executable, "-c", BATCHES, url(collector)], check=True, timeout=60)
    assert stored(collector, "m", 2500)["v"] == [float(i) for i in range(2500)]


def test_influxdb_client_with_a_token(start_collector: Start) -> None:
    """Its own, and a user's with a password as for version 1."""
    running = start_collector('[tcp]\nlisten = "127.0.0.1:0"\ntoken = "s3cret"\n')
    for token in ("s3cret", "user:s3cret"):
        with InfluxDBClient(url(running), token=token, org="o") as client:
            client.write_api(write_options=SYNCHRONOUS).write("bucket", record="m v=1")
    assert stored(running, "m", 2)["v"] == [1.0, 1.0]
    with InfluxDBClient(url(running), token="wrong", org="o") as client, pytest.raises(ApiException, match="401"):
        client.write_api(write_options=SYNCHRONOUS).write("bucket", record="m v=1")


def test_influxdb3_python(collector: Running) -> None:
    """Version 3's."""
    client = influxdb_client_3.InfluxDBClient3(host=url(collector), token="any", database="lab")
    for i in range(20):
        point = influxdb_client_3.Point("room climate").tag("wing", "west, 2").tag("a", "ü=1")
        for name, value in fields(i).items():
            point.field(name, value)
        client.write(point.time(NOW + i, influxdb_client_3.WritePrecision.S))
    client.close()
    eventually(lambda: collector.store[CLIMATE].rows == 20, "all")
    assert stored(collector, CLIMATE, 20) == expected(20)


@pytest.mark.parametrize("protocol", ["http", "tcp"])
def test_questdb(collector: Running, protocol: str) -> None:
    """Times as fields are left out, infinities are missing, a string holds a newline."""
    questdb = pytest.importorskip("questdb", reason="it has no wheel for this Python")
    host, port = collector.address(protocol)
    with questdb.Sender.from_conf(f"{protocol}::addr={host}:{port};protocol_version=1;") as sender:
        for i in range(20):
            sender.row(
                "room climate",
                symbols={"wing": "west, 2", "a": "ü=1"},
                columns={**fields(i), "when": questdb.TimestampMicros(NOW * 10**6), "limit": float("inf")},
                at=questdb.TimestampNanos((NOW + i) * 10**9),
            )
    found = stored(collector, CLIMATE, 20)
    assert all(value != value for value in found.pop("limit"))
    assert found == expected(20)


NODE_INFLUX = """
const Influx = require("influx");
(async () => {
  const [host, port] = process.argv.slice(2);
  const influx = new Influx.InfluxDB({host, port: +port, database: "lab", username: "u", password: "p"});
  const [there] = await influx.ping(5000);
  if (!there.online) throw new Error("offline");
  await influx.createDatabase("lab");
  if (!(await influx.getDatabaseNames()).includes("lab")) throw new Error("no such database");
  await influx.writePoints([...Array(20).keys()].map((i) => ({
    measurement: "climate", tags: {wing: "west, 2", a: "ü=1"}, timestamp: new Date((1700000000 + i) * 1000),
    fields: {temperature: 20 + i / 10, count: i, open: i % 2 == 0, note: "two\\nlines"},
  })));
})().catch((error) => { console.error(error); process.exit(1); });
"""
INFLUXDB_CLIENT_JS = """
const {InfluxDB, Point} = require("@influxdata/influxdb-client");
(async () => {
  const [host, port] = process.argv.slice(2);
  const write = new InfluxDB({url: `http://${host}:${port}`, token: "any"})
    .getWriteApi("org", "bucket", "ns", {gzipThreshold: 100, maxRetries: 0});
  for (let i = 0; i < 20; i++) write.writePoint(new Point("climate").tag("wing", "west, 2").tag("a", "ü=1")
    .floatField("temperature", 20 + i / 10).intField("count", i).booleanField("open", i % 2 == 0)
    .stringField("note", "two\\nlines").timestamp(new Date((1700000000 + i) * 1000)));
  await write.close();
})().catch((error) => { console.error(error); process.exit(1); });
"""


@pytest.fixture(scope="module")
def node_modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the two clients for Node."""
    npm = shutil.which("npm")
    if not npm:
        pytest.skip("there is no npm here")
    folder = tmp_path_factory.mktemp("node")
    clients = ["influx@5.12.0", "@influxdata/influxdb-client@1.35.0"]
    install = [npm, "install", "--silent", "--no-audit", "--no-fund", *clients]
    subprocess.run(install, cwd=folder, check=True, timeout=100)
    return folder


@pytest.mark.parametrize("script", [NODE_INFLUX, INFLUXDB_CLIENT_JS], ids=["influx", "@influxdata/influxdb-client"])
def test_node(collector: Running, node_modules: Path, script: str) -> None:
    """Node-RED's client of version 1 (it escapes no blank of a measurement), and version 2's: gzip in chunks."""
    (node_modules / "write.js").write_text(script)
    host, port = collector.address("http")
    done = subprocess.run(
        ["node", "write.js", host, str(port)], cwd=node_modules, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert stored(collector, "climate,a=ü=1,wing=west, 2", 20) == expected(20)


# -- requests as other programs' sources make them


def test_telegraf(collector: Running) -> None:
    """Version 1: the database by a form, then writes without a precision, gzip, any status but 204 is an error. Version
    2: 413 halves the batch, other 4xx drop it, 503 waits.
    """
    at = collector.address("http")
    agent = {"User-Agent": "Telegraf/1.30.0", "Content-Type": "application/x-www-form-urlencoded"}
    made = ask(at, "POST", "/query", "q=CREATE+DATABASE+%22telegraf%22", **agent)
    assert made.status == 200
    assert "error" not in made.json["results"][0]
    lines = f"cpu,cpu=cpu0,host=h usage_idle=98.5,usage_user=1.5 {NOW}000000000\n" * 3
    text = {"Content-Type": "text/plain; charset=utf-8"}
    assert ask(at, "POST", "/write?consistency=any&db=telegraf&rp=", lines, **text).status == 204
    v2 = ask(at, "POST", "/api/v2/write?bucket=b&org=o&precision=ns", lines, **text, Authorization="Token any")
    assert v2.status == 204
    assert stored(collector, "cpu,cpu=cpu0,host=h", 6)["usage_idle"] == [98.5] * 6


def test_home_assistant(collector: Running) -> None:
    """What it writes first is nothing, which must work; a measurement is a unit, or starts with a digit."""
    at = collector.address("http")
    assert get(at, "/ping").status == 204
    assert post(at, b"\n", "/write?db=home_assistant&precision=ns").status == 204
    assert post(at, b"", "/api/v2/write?org=o&bucket=b&precision=ns", Authorization="Token t").status == 204
    point = f'°C,domain=sensor,entity_id=kitchen device_class_str="temperature",value=20.5 {NOW}000000000'
    for path in ("/write?db=home_assistant", "/api/v2/write?org=o&bucket=b&precision=ns"):
        assert post(at, point.encode(), path).status == 204
    assert post(at, f"%,entity_id=a value=1 {NOW}000000000\n3d,entity_id=b value=2".encode(), "/write").status == 204
    assert stored(collector, "°C,domain=sensor,entity_id=kitchen", 2)["value"] == [20.5, 20.5]
    assert {"%,entity_id=a", "3d,entity_id=b"} <= set(collector.store)


def test_proxmox(start_collector: Start) -> None:
    """Below a prefix of its own; a batch of nearly 25,000,000 bytes; by UDP in datagrams of 1,500 bytes."""
    running = start_collector(UDP)
    at = running.address("http")
    assert get(at, "/behind/health").status == 200
    line = f"cpustat,object=nodes,host=pve1 cpus=8,avg1=0.25,wait=0.0012 {NOW}000000000\n"
    count = 24_900_000 // len(line)
    body = (line * count).encode()
    assert post(at, body, "/behind/api/v2/write?org=proxmox&bucket=proxmox", Authorization="Token any").status == 204
    eventually(lambda: running.status()["stored"] == count, "a long batch")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for _ in range(10):
            sock.sendto((line * 20).encode(), running.address("udp"))
    eventually(lambda: running.status()["stored"] == count + 200, "datagrams")
    assert not running.status()["rejected"]


def test_tasmota(start_collector: Start) -> None:
    """`/ping?verbose=true` must be 200; user and password in the address; its lines have no time."""
    running = start_collector('[tcp]\nlisten = "127.0.0.1:0"\ntoken = "s3cret"\n')
    at = running.address("http")
    assert get(at, "/ping", verbose="true", u="tasmota", p="s3cret").status == 200
    line = b"am2301,device=tasmota_1,sensor=am2301 temperature=21.4,humidity=48.1\n"
    assert post(at, line, "/write?db=tasmota&u=tasmota&p=s3cret").status == 204
    assert get(at, "/health").status == 200
    assert post(at, line, "/api/v2/write?org=o&bucket=b", Authorization="Token s3cret").status == 204
    found = stored(running, "am2301,device=tasmota_1,sensor=am2301", 2)
    assert found["temperature"] == [21.4, 21.4]
    assert abs(found["time"][0] - time.time()) < 60


def test_icinga(collector: Running) -> None:
    """HTTP/1.0, and any status but 204 is logged as critical."""
    line = b"hostalive,hostname=gw\\ 1,metric=rta value=0.0005 %d\n" % NOW
    head = b"POST /write?db=icinga2&precision=s HTTP/1.0\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
    with socket.create_connection(collector.address("http"), timeout=DEADLINE_S) as sock:
        sock.sendall(head % len(line) + line)
        answer = http.client.HTTPResponse(sock)
        answer.begin()
        assert answer.status == 204
    assert stored(collector, "hostalive,hostname=gw 1,metric=rta", 1)["time"] == [NOW]


def test_netdata(collector: Running) -> None:
    """OpenTSDB's telnet lines and Graphite's, with labels as tags; a host's name may begin with a digit."""
    collector.say(
        f"put netdata.system.cpu.user {NOW} 66.5000000 host=5f3a9c1e2b7d _os=debian\n"
        f"netdata.5f3a9c1e2b7d.system.cpu.user;_os=debian 66.5000000 {NOW}\n"
        f"5f3a9c1e2b7d.system.load 0.5 {NOW}\n"
    )
    for source, value in (
        ("netdata.system.cpu.user;_os=debian;host=5f3a9c1e2b7d", 66.5),
        ("netdata.5f3a9c1e2b7d.system.cpu.user;_os=debian", 66.5),
        ("5f3a9c1e2b7d.system.load", 0.5),
    ):
        assert stored(collector, source, 1) == {"value": [value], "time": [NOW]}


def test_open_hab_and_k6(collector: Running) -> None:
    """openHAB stays offline without X-Influxdb-Version; k6 asks for its database, and has addresses as fields."""
    at = collector.address("http")
    assert get(at, "/ping").headers["X-Influxdb-Version"]
    assert post(at, b"", "/query?q=CREATE%20DATABASE%20k6").status == 200
    line = 'http_req_duration,method=GET url="https://x.test/?a=1",value=12.5 ' + f"{NOW}000000000\n"
    assert post(at, line.encode(), "/write?db=k6").status == 204
    assert stored(collector, "http_req_duration,method=GET", 1)["value"] == [12.5]


# -- programs


def test_collectd_by_udp(start_collector: Start, tmp_path: Path) -> None:
    """write_influxdb_udp: points with ms, gauges and counters."""
    running = start_collector(UDP)
    host, port = running.address("udp")
    (tmp_path / "collectd.conf").write_text(f"""
Hostname "h1"
FQDNLookup false
Interval 0.5
BaseDir "{tmp_path}"
PIDFile "{tmp_path}/pid"
TypesDB "/usr/share/collectd/types.db"
LoadPlugin load
LoadPlugin memory
LoadPlugin write_influxdb_udp
<Plugin write_influxdb_udp>
  Server "{host}" "{port}"
</Plugin>
""")
    command = [program("collectd", "collectd-core"), "-f", "-C", str(tmp_path / "collectd.conf")]
    with (tmp_path / "collectd.log").open("wb") as log:
        collectd = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            eventually(lambda: running.status()["stored"] >= 20, "points of collectd", 60)
        finally:
            collectd.terminate()
            collectd.wait(DEADLINE_S)
    status = running.status()
    assert not status["rejected"], status["bad_lines"]
    load = running.store["load,host=h1,type=load"]
    assert {"shortterm", "midterm", "longterm"} <= set(load.columns)
    assert abs(load.since(0).time.astype("int64")[-1] / 1e9 - time.time()) < 60


GLANCES = {
    "influxdb": ("http", "host={host}\nport={port}\nprotocol=http\nuser=root\npassword=root\ndb=glances\n"),
    "influxdb2": ("http", "host={host}\nport={port}\nprotocol=http\norg=o\nbucket=glances\ntoken=any\n"),
    "opentsdb": ("tcp", "host={host}\nport={port}\n"),
}


@pytest.mark.parametrize("export", GLANCES)
def test_glances(collector: Running, tmp_path: Path, export: str) -> None:
    """Its exporters; that of version 1 stops if its database is not in the list."""
    port_name, settings = GLANCES[export]
    host, port = collector.address(port_name)
    (tmp_path / "glances.conf").write_text(f"[{export}]\n" + settings.format(host=host, port=port))
    command = [sys.executable, "-m", "glances", "-C", str(tmp_path / "glances.conf"), "--export", export, "--quiet"]
    with (tmp_path / "glances.log").open("wb") as log:
        environment = os.environ | {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
        glances = subprocess.Popen([*command, "--time", "1"], stdout=log, stderr=log, env=environment)
        try:
            eventually(lambda: collector.status()["stored"] > 50, "what it exports", 60)
        finally:
            glances.terminate()
            glances.wait(DEADLINE_S)
    status = collector.status()
    assert not status["rejected"], status["bad_lines"]
    assert any("load" in name for name in collector.store)
