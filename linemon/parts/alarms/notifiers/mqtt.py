"""MQTT: the present state of each alarm, as a retained message of its own topic. mqttwarn and others read them."""

from __future__ import annotations

import json
import os
import socket
import ssl
import threading
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from linemon.parts._aside import aside
from linemon.parts.alarms.event import Event
from linemon.parts.alarms.message import Message
from linemon.parts.alarms.notifier import House, Later, Notifier, Refused
from linemon.parts.alarms.notifiers import _http
from linemon.ports import Address

SECRET = ("password",)
PORTS: Final = {"mqtt": 1883, "mqtts": 8883}


@dataclass(frozen=True)
class Settings:
    broker: str = "127.0.0.1:1883"
    prefix: str = "linemon"
    user: str = ""
    password: str = ""
    tls: bool = False
    ca: str = ""

    def __post_init__(self) -> None:
        try:
            self.address  # noqa: B018  it raises
        except ValueError:
            raise ValueError('broker: expected an address such as "host:1883" or "mqtts://host"') from None
        if not self.prefix or set("+#\0") & set(self.prefix):
            raise ValueError(f"prefix = {self.prefix!r}: expected the beginning of a topic, without + and #")

    @property
    def address(self) -> Address:
        scheme, _, rest = self.broker.rpartition("://")
        rest = rest.rstrip("/")
        if "@" in rest or scheme not in ("", *PORTS):
            raise ValueError
        has_port = ":" in rest.rpartition("]")[2]
        return Address.parse(rest if has_port else f"{rest}:{PORTS.get(scheme, 1883)}")

    @property
    def is_tls(self) -> bool:
        return self.tls or self.broker.startswith("mqtts:")


class Notify(Notifier):
    """It stays connected, so that the broker says ``offline`` in `PREFIX/state` when we are gone."""

    ALONE = True

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._client: Any = None
        self._changed = threading.Condition()
        self._acknowledged: set[int] = set()
        self._refusal = ""  # why the broker let us not in

    def host(self) -> str:
        return str(self.settings.address.host)

    def check(self) -> list[str]:
        import paho.mqtt.client  # noqa: F401

        address = self.settings.address
        if self.settings.password and not (self.settings.is_tls or address.is_loopback):
            return [f"it sends its password to {address.host} without tls: others may read it"]
        return []

    async def listen(self, house: House) -> None:
        """Be connected, and so said to be there, before there is anything to tell."""
        await aside(self._connected)

    def tell(self, message: Message) -> None:
        """Publish, and wait until the broker has it."""
        client = self._connected()
        with self._changed:
            self._acknowledged.clear()
            if not self._changed.wait_for(client.is_connected, self.timeout / 2):
                raise self._why()
        text = json.dumps(message.event.as_json())
        number = client.publish(self._topic(message.event), text, qos=1, retain=True).mid
        with self._changed:
            if not self._changed.wait_for(lambda: number in self._acknowledged, self.timeout / 2):
                raise Later(f"{self.host()} has not acknowledged it")

    def _why(self) -> Later | Refused:
        """Why it is not connected; of what is below MQTT the library does not say it."""
        address = self.settings.address
        try:
            with socket.create_connection((address.host, address.port), self.timeout / 2) as sock:
                if self.settings.is_tls:
                    self._context().wrap_socket(sock, server_hostname=address.host).close()
        except OSError as error:
            return _http.unreachable(self.host(), error)
        return Later(f"{self.host()} {self._refusal or 'does not let us in'}")

    def _context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.settings.ca or None)

    def close(self) -> None:
        if self._client is not None:
            self._client.publish(f"{self.settings.prefix}/state", "offline", qos=1, retain=True)
            self._client.disconnect()
            self._client = None

    def _topic(self, event: Event) -> str:
        """``linemon/alarm/NAME/SOURCE/COLUMN``, each escaped as in the key."""
        column = "-" if event.column is None else escaped(event.column)
        return f"{self.settings.prefix}/alarm/{escaped(event.alarm)}/{escaped(event.source)}/{column}"

    def _connected(self) -> Any:
        """The client; it connects, and again where the connection ends, in a thread of its own."""
        with self._changed:
            if self._client is None:
                self._client = self._made()
                self._client.loop_start()
            return self._client

    def _made(self) -> Any:
        from paho.mqtt import client as paho

        settings, state = self.settings, f"{self.settings.prefix}/state"
        name = f"linemon-{os.uname().nodename}-{os.getpid()}-{self.name}".replace(" ", "-")
        version = getattr(paho, "CallbackAPIVersion", None)  # since 2.0 it must be said
        client: Any = paho.Client(version.VERSION2, name) if version else paho.Client(name)
        if settings.user:
            client.username_pw_set(settings.user, settings.password)
        if settings.is_tls:
            client.tls_set_context(self._context())
        client.will_set(state, "offline", qos=1, retain=True)

        def connected(client: Any, userdata: Any, flags: Any, code: Any, *_: Any) -> None:
            if code == 0:
                client.publish(state, "online", qos=1, retain=True)  # not under our lock: paho holds its own in calls
            with self._changed:
                self._refusal = "" if code == 0 else f"refuses us: {code if version else paho.connack_string(code)}"
                self._changed.notify_all()

        def published(client: Any, userdata: Any, number: int, *_: Any) -> None:
            with self._changed:
                self._acknowledged.add(number)
                self._changed.notify_all()

        client.on_connect, client.on_publish = connected, published
        client.connect_async(settings.address.host, settings.address.port)
        return client


def escaped(name: str) -> str:
    return "%2D" if name == "-" else quote(name, safe="", errors="replace")
