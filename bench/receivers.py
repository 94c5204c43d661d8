"""Receiver processes: linemon, the loop everybody writes, and the programs people use, where installed.

Each is started in a temporary folder in memory, says what CPU time it has taken, and tells whether all has arrived.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pickle
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from abc import ABC, abstractmethod
from collections import defaultdict, deque
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import psutil

from bench.cases import FIELDS, INFLUX, METRICS, OURS, ROWS, Traffic
from bench.senders import Stream
from linemon.errors import UnknownSource
from linemon.lines import bulk
from linemon.store.reader import Store

START_S = 20.0
ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}  # this linemon, not an installed one


class Failed(Exception):
    """What was sent is not what was stored, and how."""


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def http(port: int, path: str, body: bytes | None = None) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", body, timeout=10) as answer:
        return str(answer.read().decode())


class Receiver(ABC):
    """One process that takes lines of one kind."""

    name: ClassVar[str]
    program: ClassVar[str]
    kinds: ClassVar[tuple[str, ...]]
    checked: ClassVar[str]  # how we know that all was taken
    share: ClassVar[float] = 0.1  # of the lines that linemon gets
    answered: ClassVar[bool] = False  # each part sent is answered
    environment: ClassVar[dict[str, str]] = {}

    def __init__(self, kind: str) -> None:
        self.kind = kind
        memory = Path("/dev/shm")
        self.folder = Path(tempfile.mkdtemp(prefix="linemon-bench-", dir=memory if memory.is_dir() else None))
        self.port = free_port()
        self.extra_port = free_port()
        self._log = open(self.folder / "log", "w+b")  # noqa: SIM115
        self._process: psutil.Popen | None = None
        try:
            self._process = psutil.Popen(
                self.command(),
                stdout=self._log,
                stderr=self._log,
                stdin=subprocess.DEVNULL,
                cwd=self.folder,
                env=ENVIRONMENT | self.environment,
            )
            end = time.monotonic() + START_S
            while not self._up():
                if time.monotonic() > end or self._process.poll() is not None:
                    raise Failed(f"{self.name} did not start: " + (self.folder / "log").read_text()[-500:].strip())
                time.sleep(0.05)
        except BaseException:
            self.stop()
            raise

    @classmethod
    def installed(cls) -> bool:
        return shutil.which(cls.program) is not None

    @abstractmethod
    def command(self) -> list[str]:
        """Write the settings into the folder; returns how to start the program."""

    @abstractmethod
    def has_all(self, traffic: Traffic) -> bool:
        """Whether all lines have arrived; Failed if they never will."""

    def verify(self, traffic: Traffic) -> None:  # noqa: B027 (carbon-cache has no more to compare)
        """Failed if what is stored is not what was sent."""

    def streams(self, traffic: Traffic) -> list[Stream]:
        return traffic.streams

    def cpu_s(self) -> float:
        assert self._process
        times = self._process.cpu_times()
        return float(times.user + times.system)

    def idle_cpu_s(self) -> float:
        """The CPU time, once it stands still."""
        while True:
            before = self.cpu_s()
            time.sleep(0.3)
            if (cpu_s := self.cpu_s()) - before <= 0.02:
                return cpu_s

    def stop(self) -> None:
        if self._process and self._process.poll() is None:
            self._process.terminate()
            with contextlib.suppress(psutil.TimeoutExpired):
                self._process.wait(10)
            if self._process.poll() is None:
                self._process.kill()
                self._process.wait()
        self._log.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _up(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True


class Linemon(Receiver):
    name, program, kinds, share = "linemon", sys.executable, (ROWS, METRICS, INFLUX, OURS), 1.0
    checked = "rows ever appended to each source, rejected lines, and the newest rows of each source, all equal"

    def command(self) -> list[str]:
        self._store = Store(self.folder / "store")
        (self.folder / "linemon.toml").write_text(
            f'[store]\npath = "{self._store.path}"\nmax_sources = 200000\n[tcp]\nlisten = "127.0.0.1:{self.port}"\n'
            '[http]\nlisten = "127.0.0.1:0"\n[[tap]]\nlisten = "127.0.0.1:0"\n'
        )
        return [sys.executable, "-m", "linemon", "collect", "--config", str(self.folder / "linemon.toml")]

    def has_all(self, traffic: Traffic) -> bool:
        with contextlib.suppress(UnknownSource):
            if all(self._store[name].rows >= rows for name, rows in traffic.rows.items()):
                return True
        status = self._store.status()  # written once a second
        if status.get("received", 0) < traffic.lines + traffic.hello_lines:
            return False
        if status["stored"] >= sum(traffic.rows.values()):
            return True
        rejected = ", ".join(f"{count:,} {reason}" for reason, count in status["rejected"].items())
        raise Failed(f"not stored: rejected {rejected}, such as: {(status['bad_lines'] or [{}])[-1].get('error')}")

    def verify(self, traffic: Traffic) -> None:
        rejected = 0
        for name, rows in traffic.rows.items():
            source = self._store[name]
            rejected += source.rejected
            sent = np.array(traffic.newest[name])[-source.points :]
            if source.rows != rows:
                raise Failed(f"{name}: {source.rows} rows stored, {rows} sent")
            if not np.array_equal(source.last(len(sent)).values, sent):
                raise Failed(f"{name}: the newest values are not those sent")
        if rejected != traffic.rejected:
            raise Failed(f"{rejected} lines rejected, {traffic.rejected} bad ones sent")


class LinemonInPython(Linemon):
    """As it is where there is no C compiler."""

    name, share, environment = "in Python", 0.25, {"LINEMON_READER": "python"}
    checked = "as linemon, without its C reader"

    @classmethod
    def installed(cls) -> bool:
        return bulk.reader is not None  # else it is what is measured anyhow


class PlainLoop(Receiver):
    name, program, kinds = "plain loop", sys.executable, (ROWS, METRICS, INFLUX)
    checked = "its own counters of lines taken and refused"

    def command(self) -> list[str]:
        call = f"plain_loop({self.kind!r}, {self.port}, {self.extra_port})"
        return [sys.executable, "-c", f"from bench.receivers import plain_loop; {call}"]

    def streams(self, traffic: Traffic) -> list[Stream]:
        """Without directives, which a plain loop does not know."""
        hellos = [b"".join(line for line in s.hello.splitlines(True) if line[:1] != b"#") for s in traffic.streams]
        return [Stream(hello, s.parts) for hello, s in zip(hellos, traffic.streams, strict=True)]

    def has_all(self, traffic: Traffic) -> bool:
        with socket.create_connection(("127.0.0.1", self.extra_port)) as sock:
            self._taken, self._refused = map(int, sock.makefile("rb").read().split())
        return self._taken + self._refused >= traffic.lines + traffic.hello_lines

    def verify(self, traffic: Traffic) -> None:
        if (self._taken, self._refused) != (sum(traffic.rows.values()), traffic.rejected):
            raise Failed(f"{self._taken} lines taken, {self._refused} refused")


def plain_loop(kind: str, port: int, count_port: int) -> None:
    """What everybody writes: readline, split, float, deque. The second port answers with its two counters."""
    newest: defaultdict[Any, deque[Any]] = defaultdict(lambda: deque(maxlen=3600))
    taken = refused = 0

    def row(peer: Any, line: bytes) -> None:
        values = [float(token) for token in line.split()]
        if len(values) != len(newest[peer][-1][1] if newest[peer] else values):
            raise ValueError
        newest[peer].append((time.time(), values))

    def metric(_: Any, line: bytes) -> None:
        name, value, stamp = line.split()
        newest[name].append((float(stamp), float(value)))

    def influx(_: Any, line: bytes) -> None:
        series, pairs, stamp = line.decode().split(" ")
        values = {key: float(value) for key, value in (pair.split("=") for pair in pairs.split(","))}
        newest[series].append((int(stamp), values))

    take = {ROWS: row, METRICS: metric, INFLUX: influx}[kind]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal taken, refused
        peer = writer.get_extra_info("peername")
        while line := await reader.readline():
            try:
                take(peer, line)
                taken += 1
            except ValueError:
                refused += 1
        writer.close()

    async def count(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"%d %d" % (taken, refused))
        writer.close()

    async def main() -> None:
        await asyncio.start_server(count, "127.0.0.1", count_port)
        async with await asyncio.start_server(serve, "127.0.0.1", port, backlog=1024) as server:
            await server.serve_forever()

    asyncio.run(main())


class CarbonCache(Receiver):
    name, program, kinds = "carbon-cache", "carbon-cache", (METRICS,)
    checked = "the last time of the last name of each connection, in its cache or on disk; it has no count to ask for"

    def command(self) -> list[str]:
        (self.folder / "storage-schemas.conf").write_text("[all]\npattern = .*\nretentions = 1s:1h\n")
        at = self.folder
        (at / "carbon.conf").write_text(
            f"[cache]\nSTORAGE_DIR = {at}\nLOCAL_DATA_DIR = {at}/whisper\nCONF_DIR = {at}\nLOG_DIR = {at}\n"
            f"PID_DIR = {at}\nUSER =\nMAX_CACHE_SIZE = inf\nMAX_UPDATES_PER_SECOND = 500\n"
            "MAX_CREATES_PER_MINUTE = inf\n"
            f"LINE_RECEIVER_INTERFACE = 127.0.0.1\nLINE_RECEIVER_PORT = {self.port}\nPICKLE_RECEIVER_PORT = 0\n"
            f"CACHE_QUERY_INTERFACE = 127.0.0.1\nCACHE_QUERY_PORT = {self.extra_port}\nUSE_FLOW_CONTROL = True\n"
            "WHISPER_AUTOFLUSH = False\nLOG_UPDATES = False\nENABLE_LOGROTATION = False\nCARBON_METRIC_INTERVAL = 0\n"
        )
        return ["carbon-cache", f"--config={at}/carbon.conf", "--nodaemon", f"--pidfile={at}/pid", "start"]

    def has_all(self, traffic: Traffic) -> bool:
        for stream in traffic.streams:
            name, _, stamp = stream.parts[-1].split(b"\n")[-2].decode().split()
            if self._in_cache(name) < int(stamp) and self._on_disk(name) < int(stamp):
                return False
        return True

    def _in_cache(self, name: str) -> int:
        query = pickle.dumps({"type": "cache-query", "metric": name}, 2)
        with socket.create_connection(("127.0.0.1", self.extra_port)) as sock:
            sock.sendall(struct.pack("!L", len(query)) + query)
            answer = sock.makefile("rb")
            (size,) = struct.unpack("!L", answer.read(4))
            return max((int(stamp) for stamp, _ in pickle.loads(answer.read(size))["datapoints"]), default=0)

    def _on_disk(self, name: str) -> int:
        """The latest time in a whisper file of one archive: a header of 28 bytes, then (uint32, double) points."""
        try:
            points = (self.folder / "whisper" / (name.replace(".", "/") + ".wsp")).read_bytes()[28:]
        except OSError:
            return 0
        return max((stamp for stamp, _ in struct.iter_unpack("!Ld", points[: len(points) // 12 * 12])), default=0)


class VictoriaMetrics(Receiver):
    name, program, kinds = "VictoriaMetrics", "victoria-metrics", (METRICS, INFLUX)
    checked = "its counter of values taken, and after a flush the newest value of one series"

    def command(self) -> list[str]:
        listen = {METRICS: "-graphiteListenAddr", INFLUX: "-influxListenAddr"}[self.kind]
        return ["victoria-metrics", f"-storageDataPath={self.folder}/data", f"{listen}=127.0.0.1:{self.port}",
                f"-httpListenAddr=127.0.0.1:{self.extra_port}", "-retentionPeriod=1"]  # fmt: skip

    def has_all(self, traffic: Traffic) -> bool:
        counter = f'vm_rows_inserted_total{{type="{"graphite" if self.kind == METRICS else "influx"}"}} '
        line = next(each for each in http(self.extra_port, "/metrics").splitlines() if each.startswith(counter))
        return int(line.removeprefix(counter)) >= traffic.lines * (1 if self.kind == METRICS else len(FIELDS))

    def verify(self, traffic: Traffic) -> None:
        name, newest = next(reversed(traffic.newest.items()))
        if self.kind == INFLUX:
            measurement, _, host = name.partition(",host=")
            name = f'{measurement}_{FIELDS[0]}{{host="{host}"}}'
        for _ in range(50):  # the counter comes before the value can be asked for
            http(self.extra_port, "/internal/force_flush")
            export = http(self.extra_port, "/api/v1/export?" + urllib.parse.urlencode({"match[]": name}))
            if export and json.loads(export)["values"][-1] == newest[-1][0]:
                return
            time.sleep(0.1)
        raise Failed(f"the newest value of {name} is not the one sent")


class InfluxDb(Receiver):
    name, program, kinds = "InfluxDB", "influxd", (METRICS, INFLUX)
    checked = "its counter of points taken, and the number of points of one series, read back"

    @property
    def answered(self) -> bool:  # type: ignore[override]
        return self.kind == INFLUX

    def command(self) -> list[str]:
        at, self._http = self.folder, free_port() if self.kind == METRICS else self.port
        graphite = self.port if self.kind == METRICS else self.extra_port
        (at / "influxdb.conf").write_text(
            f'reporting-enabled = false\nbind-address = "127.0.0.1:{free_port()}"\n[meta]\ndir = "{at}/meta"\n'
            f'[data]\ndir = "{at}/data"\nwal-dir = "{at}/wal"\n[monitor]\nstore-enabled = false\n'
            f'[http]\nbind-address = "127.0.0.1:{self._http}"\nlog-enabled = false\n[ifql]\nenabled = false\n'
            f'[[graphite]]\nenabled = true\nbind-address = "127.0.0.1:{graphite}"\ndatabase = "bench"\n'
        )
        return ["influxd", "-config", str(at / "influxdb.conf")]

    def _up(self) -> bool:
        if not super()._up():
            return False
        self._query("CREATE DATABASE bench", b"")
        return True

    def streams(self, traffic: Traffic) -> list[Stream]:
        """Influx lines go by HTTP, a part a request."""
        if self.kind == METRICS:
            return traffic.streams
        head = "POST /write?db=bench HTTP/1.1\r\nHost: bench\r\nContent-Length: %d\r\n\r\n"
        return [Stream(s.hello, [(head % len(part)).encode() + part for part in s.parts]) for s in traffic.streams]

    def has_all(self, traffic: Traffic) -> bool:
        counters = json.loads(http(self._http, "/debug/vars"))
        values = next(v["values"] for v in counters.values() if isinstance(v, dict) and v.get("name") == "write")
        return int(values["pointReq"]) >= traffic.lines

    def verify(self, traffic: Traffic) -> None:
        name, rows = next(reversed(traffic.rows.items()))
        measurement, _, host = name.partition(",host=")
        where = f" WHERE host='{host}'" if host else ""
        answer = self._query(f'SELECT count(*) FROM bench."autogen"."{measurement}"{where}')
        if answer["results"][0]["series"][0]["values"][0][1] != rows:
            raise Failed(f"{name}: {answer} instead of {rows} points")

    def _query(self, query: str, body: bytes | None = None) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(http(self._http, "/query?" + urllib.parse.urlencode({"q": query}), body))
        return answer
