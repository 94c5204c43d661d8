"""From an MQTT broker (3.1.1), by the session that it keeps for us: at least once with QoS 1."""

from __future__ import annotations

import json
import logging
import os
import queue
import ssl
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, NamedTuple
from urllib.parse import unquote, urlsplit

from linemon.config import Config
from linemon.errors import LinemonError
from linemon.parts.subscribe.blocking import Blocking
from linemon.parts.subscribe.mapping import Map, Unreadable, filters
from linemon.parts.subscribe.presets import PRESETS
from linemon.ports import Address
from linemon.sections import MapConfig
from linemon.store.folder import replace_file

log = logging.getLogger(__name__)

TLS = True
SECRET = ("password",)
PORTS: Final = {"mqtt": 1883, "mqtts": 8883}
MOST: Final = 2000  # messages that are taken together: their errors have room in the collector's answers
WAITING: Final = 50_000  # messages that wait here; then the broker must
OPEN_S: Final = 10.0
LONGEST: Final = 65536 - 2048  # bytes of a payload: with its name it is a line
QUICK_S: Final = 5.0  # a connection that was taken over so soon, three times in a row, has a rival


@dataclass(frozen=True)
class Settings:
    user: str = ""
    password: str = ""
    ca: str = ""
    cert: str = ""
    client_id: str = ""
    preset: tuple[str, ...] = ()
    map: tuple[MapConfig, ...] = ()

    def __post_init__(self) -> None:
        if wrong := [each for each in self.preset if each not in PRESETS]:
            raise ValueError(f"preset = {wrong[0]!r}: expected some of: {', '.join(PRESETS)}")
        if not (self.preset or self.map):
            raise ValueError("expected a preset or a [[subscribe.map]]: it says what is taken")


class Message(NamedTuple):
    """One that has come, as it is; `retained`: the broker had kept it."""

    topic: bytes
    payload: bytes
    number: int  # 0: it is not to be acknowledged
    retained: bool


class From(Blocking):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        parts = urlsplit(self.config.from_)
        if not parts.hostname or parts.path.strip("/") or parts.query:
            raise ValueError(f"from = {self.config.shown!r}: expected an address such as 'mqtt://broker:1883'")
        self._address = Address(parts.hostname, parts.port or PORTS[parts.scheme])
        self._is_tls = parts.scheme == "mqtts"
        self._user = self.settings.user or unquote(parts.username or "")
        self._password = self.settings.password or unquote(parts.password or "")
        self._maps = [Map(each) for each in self.settings.map]
        self._maps += [each for name in self.settings.preset for each in PRESETS[name]]
        self._client: Any = None
        self._come: queue.Queue[Message] = queue.Queue(WAITING)
        self._taken: list[Message] = []
        self._changed = threading.Condition()
        self._code: int | None = None  # what the broker answered
        self._lost = ""  # why there is no connection any more
        self._opened, self._takeovers = 0.0, 0

    def check(self, config: Config) -> list[str]:
        import paho.mqtt.client  # noqa: F401

        if self._password and not (self._is_tls or self._address.is_loopback):
            return [f"it sends its password to {self._address.host} without tls: others may read it"]
        return []

    # -- messages

    def take(self, seconds: float) -> tuple[str, int]:
        if self._lost and self._come.empty():
            raise LinemonError(self._lost)
        self._taken, lines = [], list[str]()
        with suppress(queue.Empty):
            self._taken.append(self._come.get(timeout=seconds))
            while len(self._taken) < MOST:
                self._taken.append(self._come.get_nowait())
        for message in self._taken:
            self.counts["messages"] += 1
            lines += self._lines(message)
        return "".join([f"{line}\n" for line in lines]), len(self._taken)

    def _lines(self, message: Message) -> list[str]:
        """The lines of one; none where nothing is to be stored, which is counted."""
        try:
            topic, payload = message.topic.decode(), message.payload.decode()
        except UnicodeDecodeError:
            self.counts["rejected"] += 1
            return []
        for each in self._maps:
            source = each.source(topic)
            if source is None:
                continue
            if not payload.strip() or (message.retained and not each.config.retained):
                return []
            if len(message.payload) > LONGEST and each.config.payload not in ("influx", "lines"):
                self.counts["rejected"] += 1
                return []
            try:
                return each.lines(source, payload)
            except Unreadable:
                self.counts["unreadable"] += 1
                return []
        self.counts["unmapped"] += 1
        return []

    def done(self) -> None:
        for message in self._taken:
            if message.number and self._client is not None:
                self._client.acknowledge(message.number)

    # -- the connection

    def open(self) -> None:
        client = made(self.settings.client_id or f"linemon-{os.uname().nodename}-{self.config.title}")
        if self._user:
            client.username_pw_set(self._user, self._password)
        if self._is_tls:
            context = ssl.create_default_context(cafile=self.settings.ca or None)
            if self.settings.cert:
                context.load_cert_chain(self.settings.cert, password="")
            client.tls_set_context(context)
        state = f"linemon/{os.uname().nodename}/status"
        client.will_set(state, "offline", qos=1, retain=True)

        def connected(client: Any, userdata: Any, flags: Any, code: Any, *_: Any) -> None:
            with self._changed:
                self._code = int(getattr(code, "value", code))
                self._changed.notify_all()

        def lost(*_: Any) -> None:
            self._lost = f"{self._address.host} has ended the connection"

        def came(client: Any, userdata: Any, message: Any) -> None:
            number = message.mid if message.qos else 0
            self._come.put(Message(message._topic, message.payload, number, bool(message.retain)))

        client.on_connect, client.on_disconnect, client.on_message = connected, lost, came
        self._code, self._lost, self._come = None, "", queue.Queue(WAITING)
        client.connect(self._address.host, self._address.port)
        self._client, self._opened = client, time.monotonic()
        client.loop_start()
        with self._changed:
            if not self._changed.wait_for(lambda: self._code is not None, OPEN_S):
                raise LinemonError(f"{self._address.host} does not answer in time")
        if self._code:
            raise LinemonError(f"{self._address.host} does not let us in: {self._code}")
        client.publish(state, "online", qos=1, retain=True)
        self._subscribe(client)

    def _subscribe(self, client: Any) -> None:
        """To all that maps need, and no longer to what those of before needed: the broker remembers it."""
        wanted, had = filters(self._maps), list[str]()
        with suppress(OSError, ValueError, TypeError):
            had = [str(each) for each in json.loads(self._file.read_bytes())]
        if ended := [each for each in had if each not in wanted]:
            client.unsubscribe(ended)
        client.subscribe([(each, 1) for each in wanted])
        os.close(replace_file(self._file, json.dumps(wanted).encode(), 0o600))

    def close(self) -> None:
        client, self._client = self._client, None
        if client is None:
            return
        self._takeovers = self._takeovers + 1 if self._lost and time.monotonic() - self._opened < QUICK_S else 0
        if self._takeovers == 3:
            log.warning(
                "subscribe.%s: is there another client called %s?", self.config.title, client._client_id.decode()
            )
        client.on_message = client.on_disconnect = None
        while not self._come.empty():  # whoever waits for room must not
            with suppress(queue.Empty):
                self._come.get_nowait()
        client.publish(f"linemon/{os.uname().nodename}/status", "offline", qos=1, retain=True)
        client.disconnect()
        client.loop_stop()


def made(name: str) -> Any:
    """A client whose messages are acknowledged when that is said; the library does it as soon as they come."""
    from paho.mqtt import client as paho

    class Client(paho.Client):  # type: ignore[misc]
        def _send_puback(self, number: int) -> Any:
            return paho.MQTT_ERR_SUCCESS

        def acknowledge(self, number: int) -> None:
            super()._send_puback(number)

    version = getattr(paho, "CallbackAPIVersion", None)  # since 2.0 it must be said
    if version:
        return Client(version.VERSION2, name, clean_session=False)
    return Client(name, clean_session=False)
