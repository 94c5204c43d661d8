"""To an MQTT broker: a message for each value, or one of JSON for each row; at least once (QoS 1)."""

from __future__ import annotations

import json
import os
import re
import ssl
import threading
import time
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from linemon.parts.forward.flow import Block, Flow, held
from linemon.parts.forward.target import Denied, Later, Target
from linemon.ports import Address
from linemon.sections import Span

TLS = True
SECRET = ("password",)
PORTS: Final = {"mqtt": 1883, "mqtts": 8883}
PAYLOADS: Final = ("number", "json")
IN_TOPIC: Final = re.compile(r"[+#\x00-\x1f\x7f]")  # it means something else there
REFUSALS: Final = (4, 5, 134, 135)  # codes of CONNACK: the password, or the right


@dataclass(frozen=True)
class Settings:
    user: str = ""
    password: str = ""
    ca: str = ""
    payload: str = "number"
    retain: bool = False
    newest: Span | None = None

    def __post_init__(self) -> None:
        if self.payload not in PAYLOADS:
            raise ValueError(f"payload = {self.payload!r}: expected one of: {', '.join(PAYLOADS)}")


class To(Target):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        parts = urlsplit(self.config.to)
        self._topic = unquote(parts.path.strip("/"))
        wanted = ("{source}", "{column}") if self.settings.payload == "number" else ("{source}",)
        lacks = [
            each for each in wanted if each not in self._topic and not (self.config.is_of_one and each == wanted[0])
        ]
        if not parts.hostname or lacks or IN_TOPIC.search(self._topic):
            raise ValueError(
                f"to = {self.config.shown!r}: expected an address such as 'mqtt://host/plant/{'/'.join(wanted)}'"
            )
        self._address = Address(parts.hostname, parts.port or PORTS[parts.scheme])
        self._is_tls = parts.scheme == "mqtts"
        self._user = self.settings.user or unquote(parts.username or "")
        self._password = self.settings.password or unquote(parts.password or "")
        self._client: Any = None
        self._changed = threading.Condition()
        self._flying: set[int] = set()
        self._code: int | None = None  # the broker's answer
        self._newest: dict[Flow, Block] = {}  # with `newest`: the row that waits,
        self._told: dict[Flow, float] = {}  # and when one went

    def check(self) -> list[str]:
        import paho.mqtt.client  # noqa: F401

        if self._password and not (self._is_tls or self._address.is_loopback):
            return [f"it sends its password to {self._address.host} without tls: others may read it"]
        return []

    def send(self, blocks: list[Block]) -> None:
        if self._client is None:
            self._connect()
        if self.settings.newest is None:
            self._publish([each for block in blocks for each in self._messages(block)])
        else:
            self._newest |= {block.flow: block.part(len(block.rows) - 1, len(block.rows)) for block in blocks}
        held(blocks)

    def settle(self) -> None:
        now, newest = time.monotonic(), self.settings.newest or 0.0
        due = [flow for flow in self._newest if now - self._told.get(flow, float("-inf")) >= newest]
        if due and self._client is not None:
            self._publish([each for flow in due for each in self._messages(self._newest[flow])])
            self._told |= dict.fromkeys(due, now)
            for flow in due:
                del self._newest[flow]

    def _publish(self, messages: list[tuple[str, str]]) -> None:
        """Send them, and wait until the broker has them."""
        with self._changed:
            self._flying.clear()
        numbers = [self._client.publish(topic, text, 1, self.settings.retain).mid for topic, text in messages]
        with self._changed:
            waits = set(numbers) - self._flying
            end = time.monotonic() + self.config.timeout
            while waits - self._flying:
                if not self._client.is_connected() or not self._changed.wait(max(0.0, end - time.monotonic())):
                    raise Later(f"{self._address.host} has not acknowledged all messages")

    def _messages(self, block: Block) -> list[tuple[str, str]]:
        """Topics and payloads."""
        rows, source, found = block.rows, IN_TOPIC.sub("_", block.flow.name), []
        for at, values in zip(rows.time.view("int64").tolist(), rows.values.tolist(), strict=True):
            named = {column: value for column, value in zip(rows.columns, values, strict=True) if value == value}
            if self.settings.payload == "json":
                topic = self._topic.replace("{source}", source)
                found.append((topic, json.dumps({"time": at, **named}, ensure_ascii=False)))
                continue
            for column, value in named.items():
                topic = self._topic.replace("{column}", IN_TOPIC.sub("_", column)).replace("{source}", source)
                found.append((topic, repr(value)))
        return found

    def _connect(self) -> None:
        from paho.mqtt import client as paho

        name = f"linemon-{os.uname().nodename}-{self.config.title}"
        version = getattr(paho, "CallbackAPIVersion", None)  # since 2.0 it must be said
        client: Any = paho.Client(version.VERSION2, name) if version else paho.Client(name)
        if self._user:
            client.username_pw_set(self._user, self._password)
        if self._is_tls:
            client.tls_set_context(ssl.create_default_context(cafile=self.settings.ca or None))
        client.max_queued_messages_set(0)
        client.max_inflight_messages_set(1000)

        def connected(client: Any, userdata: Any, flags: Any, code: Any, *_: Any) -> None:
            with self._changed:
                self._code = int(getattr(code, "value", code))
                self._changed.notify_all()

        def published(client: Any, userdata: Any, number: int, *_: Any) -> None:
            with self._changed:
                self._flying.add(number)
                self._changed.notify_all()

        def lost(*_: Any) -> None:
            with self._changed:
                self._changed.notify_all()

        client.on_connect, client.on_publish, client.on_disconnect = connected, published, lost
        self._code = None
        client.connect_timeout = float(self.config.timeout)
        client.connect(self._address.host, self._address.port)
        client.loop_start()
        self._client = client
        with self._changed:
            if not self._changed.wait_for(lambda: self._code is not None, float(self.config.timeout)):
                raise Later(f"{self._address.host} does not answer in time")
        if self._code in REFUSALS:
            raise Denied(f"{self._address.host} does not let us in: {self._code}")
        if self._code:
            raise Later(f"{self._address.host} does not let us in: {self._code}")

    def close(self) -> None:
        if self._client is not None:
            self._client.disconnect()
            self._client.loop_stop()
            self._client = None
