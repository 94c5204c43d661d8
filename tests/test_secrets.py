"""What nobody may see is nowhere: in no log, status, answer, export or file, whatever a far side does or says."""

from __future__ import annotations

import json
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from linemon.store.status import read_parts
from tests.running import Running, command, eventually
from tests.web import ask

SAYS_S = 20.0  # that a peer is listened to


Hear = Callable[[], bytes]
Answer = Callable[[socket.socket, Hear], None]


class Echo:
    """A far side that repeats whatever it was told, in the words of its protocol in which it refuses."""

    def __init__(self, answer: Answer) -> None:
        self.mode = "closes"
        self.heard = 0  # connections that were answered
        self.told = b""
        self._answer = answer
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                sock = self._server.accept()[0]
                sock.settimeout(SAYS_S)
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with sock, suppress(OSError):

            def hear() -> bytes:
                self.told += (said := sock.recv(65536))
                return said

            if self.mode == "repeats":
                self._answer(sock, hear)
            elif self.mode == "garbage":
                sock.sendall(b"\x00\xff\r\n{" + hear() + b"\r\n\r\n")
            self.heard += 1


def of_http(sock: socket.socket, hear: Hear) -> None:
    said = hear()
    of_http.turn += 1  # type: ignore[attr-defined]
    status = ("401 No", "403 No", "500 No", "400 No")[of_http.turn % 4]  # type: ignore[attr-defined]
    sock.sendall(b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status.encode(), len(said), said))


of_http.turn = 0  # type: ignore[attr-defined]


def of_lines(sock: socket.socket, hear: Hear) -> None:
    sock.sendall(b"#error 1 token: I do not know " + hear().replace(b"\n", b" ") + b"\n")
    hear()


def of_mqtt(sock: socket.socket, hear: Hear) -> None:
    hear()
    sock.sendall(b"\x20\x02\x00\x05")


def of_nats(sock: socket.socket, hear: Hear) -> None:
    sock.sendall(b'INFO {"server_id": "x", "version": "2.11.0", "max_payload": 1000000, "auth_required": true}\r\n')
    said = hear().replace(b"\r\n", b" ").replace(b"'", b"")
    sock.sendall(b"-ERR 'Authorization Violation of " + said + b"'\r\n")
    hear()


def of_postgresql(sock: socket.socket, hear: Hear) -> None:
    said = hear()
    if said[4:8] == struct.pack("!i", 80877103):  # SSLRequest
        sock.sendall(b"N")
        said = hear()
    sock.sendall(b"R" + struct.pack("!ii", 8, 3))  # the password in clear, please
    said += hear()
    text = b"SFATAL\0C28P01\0Mno such user: " + said.replace(b"\0", b" ") + b"\0\0"
    sock.sendall(b"E" + struct.pack("!i", len(text) + 4) + text)


ANSWERS: dict[str, Answer] = {
    "influx": of_http, "influx2": of_http, "victoria": of_http, "linemon": of_lines, "mqtt": of_mqtt, "nats": of_nats,
    "postgresql": of_postgresql,
}  # fmt: skip
KEYS = {
    "influx": ("influx://ann:s3cret-url-influx@HOST/base?db=s3cret-db", 'token = "s3cret-token-influx"'),
    "influx2": ("influx2://HOST/base?org=s3cret-org&bucket=b", 'token = "s3cret-token-influx2"'),
    "victoria": ("victoria://HOST/", 'user = "ann"\npassword = "s3cret-victoria"'),
    "linemon": ("linemon://HOST", 'token = "s3cret-linemon"'),
    "mqtt": ("mqtt://ann:s3cret%20mqtt@HOST/plant/{source}/{column}", ""),
    "nats": ("nats://ann:s3cret%2Fnats@HOST/BUS", ""),
    "postgresql": ("postgresql://ann:s3cret-pg@HOST/base", ""),
}
ORIGINS = {
    "mqtt": ("mqtt://HOST", 'user = "ann"\npassword = "s3cret-sub-mqtt"\npreset = ["tasmota"]'),
    "nats": ("nats://HOST/BUS", 'token = "s3cret-sub-nats"'),
}
COMMANDS = (
    "status", "status --json", "check", "sources", "sources --errors", "alarms --all", "alarms log", "tasks", "devices",
)  # fmt: skip
NOTIFY = """
[[notify]]
name = "hook"
kind = "webhook"
url = "http://HOST/s3cret-hook?key=s3cret-key"
secret = "s3cret-signs"
[[notify]]
name = "phone"
kind = "telegram"
token = "12345:s3cret-telegram-0123456789012345678"
chats = [1]
api = "http://HOST"
[[alarm]]
name = "high"
columns = "v"
value = "last()"
warning = "> 1"
"""


@pytest.fixture
def far() -> Iterator[dict[str, Echo]]:
    made = {name: Echo(answer) for name, answer in ANSWERS.items()}
    yield made
    for each in made.values():
        each.close()


def settings(far: dict[str, Echo]) -> str:
    said = '[tcp]\nlisten = "127.0.0.1:0"\ntoken = "s3cret-port"\n[history]\nenabled = false\n'
    for kind, key, of in (("forward", "to", KEYS), ("subscribe", "from", ORIGINS)):
        for scheme, (address, more) in of.items():
            there = address.replace("HOST", f"127.0.0.1:{far[scheme].port}")
            begins = 'since = "start"\n' if kind == "forward" else ""
            said += f'[[{kind}]]\nname = "{scheme}"\n{key} = "{there}"\n{begins}{more}\n'
    return said + NOTIFY.replace("HOST", f"127.0.0.1:{far['influx'].port}")


@pytest.mark.slow
def test_no_secret_is_anywhere_whatever_fails(far: dict[str, Echo], tmp_path: Path) -> None:
    """Far sides hang up, answer what no protocol has, and repeat what they were told as they refuse it."""
    running = Running(tmp_path / "near", settings(far))
    log = tmp_path / "work.log"
    wanted = {f"forward.{each}" for each in KEYS} | {f"subscribe.{each}" for each in ORIGINS}

    def complain() -> bool:
        said = {each["part"] for each in read_parts(running.store_path) if each.keys() & {"denied", "away"}}
        return wanted <= said

    shown: dict[str, str] = {}
    with open(log, "wb") as file:
        work = subprocess.Popen(command("work", "--config", str(running.config)), stdout=file, stderr=file)
    try:
        for mode in ("closes", "garbage", "repeats"):
            for each in far.values():
                each.mode, each.heard = mode, 0
            running.say(f"#token s3cret-port\n#source s\n#columns time v\n{time.time():.3f} 5\n#stats\n")
            eventually(lambda: all(each.heard for each in far.values()), f"all were asked, {mode}", 60)
            eventually(complain, f"all say what is wrong, {mode}", 60)
            if mode == "repeats":  # they were told
                eventually(
                    lambda: all(b"s3cret" in each.told or b"Basic" in each.told for each in far.values()), "all", 60
                )
            for words in COMMANDS:
                done = running.run(*words.split())
                shown[f"{mode}: {words}"] = done.stdout + done.stderr
                assert "a bug" not in done.stderr, words
            shown[f"{mode}: export"] = running.run("export", "*", "--format", "jsonl").stdout
            for what in ("health", "marks", "alarms?all=1", "sources"):
                answer = ask(running.address("http"), "GET", f"/api/{what}", Authorization="Bearer s3cret-port")
                shown[f"{mode}: /api/{what}"] = answer.text
    finally:
        work.terminate()
        work.wait(30)
        running.stop()
    assert "s3cret" in running.config.read_text()
    for path in [log, *(tmp_path / "near").rglob("*")]:
        if path.is_file() and path != running.config:
            shown[path.name] = path.read_bytes().decode(errors="replace")
    assert len(shown) > 40
    found = {name: text[max(0, text.index("s3cret") - 100) :][:200] for name, text in shown.items() if "s3cret" in text}
    assert found == {}, json.dumps(found, indent=1)
