"""A collector as a device sees it, and no more: it registers, pushes specs and settings, takes numbered rows once."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

DEADLINE_S = 45.0


class Row(NamedTuple):
    device: str
    spec: str
    values: dict[str, float]


class Centre:
    """Listens on a port of this host; all it has heard can be looked at."""

    def __init__(self) -> None:
        self.specs: dict[str, Any] = {}  # by product
        self.settings: dict[str, Any] = {}
        self.version = 0
        self.knows_devices = True
        self.wrong_token = ""
        self.refuses = ""  # the reason for which a #device is refused
        self.devices: list[str] = []  # PRODUCT SERIAL, as they registered
        self.reports: list[tuple[int, dict[str, Any]]] = []
        self.rows: list[Row] = []
        self.lines: list[str] = []
        self.dialled: list[float] = []
        self._open: list[socket.socket] = []
        self._held: dict[str, int] = {}  # by SENDER
        self._connections: list[tuple[socket.socket, str]] = []
        self._sock = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._sock.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def until(self, condition: Callable[[], Any], what: object = "it") -> Any:
        end = time.monotonic() + DEADLINE_S
        while not (result := condition()):
            assert time.monotonic() < end, f"waited for {what}: {self.devices}, {self.reports}, {self.lines[-20:]}"
            time.sleep(0.01)
        return result

    def wait_rows(self, count: int, which: Callable[[Row], bool] = lambda _: True) -> list[Row]:
        def found() -> list[Row]:
            rows = [row for row in self.rows if which(row)]
            return rows if len(rows) >= count else []

        rows: list[Row] = self.until(found, f"{count} rows")
        return rows

    def set(self, **settings: Any) -> int:
        """Wish for these; the version."""
        self.settings, self.version = settings, self.version + 1
        self.push()
        return self.version

    def push(self) -> None:
        """Say what is wished for to all who are connected."""
        for sock, device in list(self._connections):
            self._say(sock, device)

    def say(self, text: str) -> None:
        """To all who are connected."""
        for sock, _ in list(self._connections):
            sock.sendall(text.encode())

    def cut(self) -> None:
        """End all connections."""
        for sock, _ in self._connections:
            sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._sock.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        self._sock.close()
        for sock in self._open:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    def _say(self, sock: socket.socket, device: str) -> None:
        product = device.partition(" ")[0]
        try:
            if spec := self.specs.get(product):
                sock.sendall(f"#spec {spec['version']} {json.dumps(spec)}\n".encode())
            if self.version:
                sock.sendall(f"#set {self.version} {json.dumps(self.settings)}\n".encode())
        except OSError:
            pass

    def _accept(self) -> None:
        while True:
            try:
                sock = self._sock.accept()[0]
            except OSError:
                return
            self.dialled.append(time.monotonic())
            self._open.append(sock)
            self._threads.append(threading.Thread(target=self._serve, args=(sock,), daemon=True))
            self._threads[-1].start()

    def _serve(self, sock: socket.socket) -> None:
        sender = device = spec = ""
        number, columns = 0, list[str]()
        try:
            for line in sock.makefile(encoding="utf-8"):
                self.lines.append(line.rstrip())
                word, _, rest = line.rstrip().partition(" ")
                if word == "#token" and rest == self.wrong_token:
                    sock.sendall(b"#error 2 token: this #token is not one of mine\n")
                if word == "#device" and self.refuses:
                    sock.sendall(f"#error {len(self.lines)} {self.refuses}\n".encode())
                    sock.close()
                    return
                if word == "#device" and self.knows_devices:
                    device = rest
                    self.devices.append(device)
                    sock.sendall(f"#device {device.replace(' ', '.')}\n".encode())
                    self._connections.append((sock, device))
                    self._say(sock, device)
                elif word == "#is":
                    version, _, said = rest.partition(" ")
                    self.reports.append((int(version), json.loads(said)))
                elif word == "#spec":
                    spec = rest
                elif word == "#columns":
                    columns = [name.partition(":")[0] for name in rest.split()]
                elif word == "#seq":
                    number, sender = int(rest.split()[0]), rest.split()[1]
                    self._held.setdefault(sender, number)
                    sock.sendall(f"#ack {max(self._held[sender], number)}\n".encode())
                elif not word.startswith("#") and word:
                    if number >= self._held[sender]:
                        self.rows.append(Row(device, spec, dict(zip(columns, map(float, line.split()), strict=True))))
                        self._held[sender] = number + 1
                    number += 1
                    sock.sendall(f"#ack {self._held[sender]}\n".encode())
        except OSError:
            pass
        finally:
            self._connections = [each for each in self._connections if each[0] is not sock]
            sock.close()
