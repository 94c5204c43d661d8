"""Forwards to Graphite's carbon, to Mosquitto, and into Parquet files."""

from __future__ import annotations

import json
import socket
import subprocess
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow.parquet as pq
import pytest

from linemon.parts.forward.targets.graphite import metric
from tests.forwards import START, Conformance, Row
from tests.running import eventually, free_port
from tests.sinks import Broker
from tests.test_forward_http import DEBIAN, Process, by_time, program

SHARED = Path(DEBIAN).parent / "lib/python3/dist-packages"
HELD_S = 7_000_000  # that carbon keeps


def whisper() -> Any:
    """The module that reads carbon's files."""
    spec = spec_from_file_location("whisper", SHARED / "whisper.py")
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
class TestGraphite(Process):
    """Debian's carbon, with a file for each metric; it keeps a value a second."""

    def arguments(self) -> list[str]:
        data = self.folder / "carbon"
        data.mkdir(exist_ok=True)
        (data / "storage-schemas.conf").write_text(f"[all]\npattern = .*\nretentions = 1s:{HELD_S}\n")
        (data / "carbon.conf").write_text(
            f"[cache]\nLINE_RECEIVER_INTERFACE = 127.0.0.1\nLINE_RECEIVER_PORT = {self.port}\n"
            f"PICKLE_RECEIVER_INTERFACE = 127.0.0.1\nPICKLE_RECEIVER_PORT = {self.more[0]}\n"
            f"CACHE_QUERY_INTERFACE = 127.0.0.1\nCACHE_QUERY_PORT = {self.more[1]}\nENABLE_TAGS = False\n"
            f"STORAGE_DIR = {data}\nCONF_DIR = {data}\nLOG_DIR = {data}\nPID_DIR = {data}\n"
            f"LOCAL_DATA_DIR = {data}/whisper\n"
            "MAX_CREATES_PER_MINUTE = inf\nMAX_UPDATES_PER_SECOND = inf\nWHISPER_SPARSE_CREATE = True\n"
        )
        cache = [program("carbon-cache"), f"--config={data}/carbon.conf", "--nodaemon", "start"]
        return ["/usr/bin/env", f"PYTHONPATH={SHARED}", f"GRAPHITE_ROOT={data}", "/usr/bin/python3", *cache]

    def open(self) -> None:
        self.more = getattr(self, "more", None) or (free_port(), free_port())
        (self.folder / "carbon" / "carbon-cache-a.pid").unlink(missing_ok=True)
        super().open()

    def is_up(self) -> bool:
        socket.create_connection(("127.0.0.1", self.port), 1).close()
        return True

    def forward(self) -> str:
        return f'[[forward]]\nname = "it"\nto = "graphite://127.0.0.1:{self.port}"\nsince = "start"\nevery = 0.05\n'

    def read(self, source: str) -> list[Row]:
        rows: list[Row] = []
        head = metric(source, "", False)
        for path in (self.folder / "carbon" / "whisper").rglob("*.wsp"):
            name = ".".join(path.relative_to(self.folder / "carbon" / "whisper").with_suffix("").parts)
            if name.startswith(head) and path.stat().st_size:
                (start, _, step), values = whisper().fetch(str(path), START // 10**9 - 2, START // 10**9 + 5000)
                found = [(start + i * step, value) for i, value in enumerate(values) if value is not None]
                rows += [(at * 10**9, {name.removeprefix(head): value}) for at, value in found]
        return by_time(rows)

    def expected(self, rows: list[Row]) -> list[Row]:
        new = [(at, values) for at, values in rows if at > START - HELD_S * 10**9 / 2]
        return by_time([(at, {metric("", c, False)[1:]: v for c, v in values.items()}) for at, values in new])


@pytest.mark.slow
class TestParquet(Conformance):
    exactly_once = True

    def open(self) -> None:
        self.files = self.folder / "files"
        if self.files.is_file():
            self.files.unlink()

    def close(self) -> None:
        if not self.files.exists():
            self.files.write_text("in the way")

    def forward(self) -> str:
        to = self.folder / "files"
        return f'[[forward]]\nname = "it"\nto = "parquet:{to}"\nsince = "start"\nevery = 0.05\nwrite = 0.05\n'

    def read(self, source: str) -> list[Row]:
        rows: list[Row] = []
        for path in sorted((self.files / quote(source, safe=" ,=@+/")).glob("*.parquet")):
            table = pq.ParquetFile(path).read()
            columns = [table[name].to_pylist() for name in table.column_names[1:]]
            for i, at in enumerate(table["time"].cast("int64").to_pylist()):
                named = {c: column[i] for c, column in zip(table.column_names[1:], columns, strict=True)}
                rows.append((at, {c: v for c, v in named.items() if v is not None}))
        return rows

    def expected(self, rows: list[Row]) -> list[Row]:
        return sorted(rows, key=lambda row: row[0] // (86400 * 10**9))  # a file a day


@pytest.mark.slow
class TestMqtt(Conformance):
    """Mosquitto, with passwords, and its own client that keeps a session and writes down what comes."""

    secrets = ("hush-hush",)
    broker: Broker | None = None

    def open(self) -> None:
        if self.broker is None:
            passwords = self.folder / "passwords"
            subprocess.run(["mosquitto_passwd", "-b", "-c", str(passwords), "me", "hush-hush"], check=True)
            passwords.chmod(0o644)
            more = f"user root\npassword_file {passwords}\nmax_queued_messages 0\nautosave_interval 1\n"
            more += f"persistence true\npersistence_location {self.folder}/\nautosave_on_changes true"
            self.broker = Broker(self.folder, more)
            self.messages: list[tuple[str, str]] = []
            self.listen()
        else:
            self.broker.start()

    def listen(self) -> None:
        from paho.mqtt import client as paho

        version = getattr(paho, "CallbackAPIVersion", None)
        arguments = {"client_id": "watcher", "clean_session": False}
        client: Any = paho.Client(version.VERSION2, **arguments) if version else paho.Client(**arguments)
        client.username_pw_set("me", "hush-hush")
        client.reconnect_delay_set(1, 1)
        client.on_connect = lambda client, *_: client.subscribe("plant/#", 1)
        client.on_message = lambda client, userdata, m: self.messages.append((m.topic, m.payload.decode()))
        assert self.broker
        client.connect("127.0.0.1", self.broker.port)
        client.loop_start()
        eventually(client.is_connected, "the watcher")
        self.watcher = client

    def close(self) -> None:
        assert self.broker
        self.broker.stop()

    @pytest.fixture(autouse=True)
    def watcher_ends(self, sides: None) -> Any:
        yield
        self.watcher.disconnect()
        self.watcher.loop_stop()
        self.watcher.on_message = self.watcher = None

    def forward(self) -> str:
        assert self.broker
        to = f"mqtt://me:hush-hush@127.0.0.1:{self.broker.port}/plant/{{source}}"
        return f'[[forward]]\nname = "it"\nto = "{to}"\npayload = "json"\nsince = "start"\nevery = 0.05\n'

    def read(self, source: str) -> list[Row]:
        found = [json.loads(text) for topic, text in list(self.messages) if topic == f"plant/{source}"]
        return [(each.pop("time"), each) for each in found]
