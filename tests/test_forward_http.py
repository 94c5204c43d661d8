"""Forwards by HTTP, to the servers themselves; and what each of their answers means."""

from __future__ import annotations

import json
import shutil
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.forwards import Conformance, Row
from tests.running import eventually
from tests.sinks import free_port

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
