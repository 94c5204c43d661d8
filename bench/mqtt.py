"""How fast messages of an MQTT broker are stored: 50,000 that waited there at QoS 1, of a thousand topics."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.cases import ROWS
from bench.receivers import Linemon
from bench.store import Figure
from linemon.store.reader import Store

MESSAGES, TOPICS = 50_000, 1000
WINDOW = 1000  # messages that the broker has not acknowledged to us


def packet(kind: int, body: bytes) -> bytes:
    """A packet of MQTT 3.1.1; its length as in 2.2.3."""
    length, said = len(body), bytearray()
    while True:
        length, byte = divmod(length, 128)
        said.append(byte | (128 if length else 0))
        if not length:
            return bytes([kind]) + bytes(said) + body


def text(said: str) -> bytes:
    return len(said.encode()).to_bytes(2, "big") + said.encode()


def publish(port: int) -> None:
    """All of them, and wait until the broker has them."""
    with socket.create_connection(("127.0.0.1", port), 60) as sock:
        sock.sendall(packet(0x10, text("MQTT") + b"\4\2\0\0" + text("bench")))
        acknowledged = -4  # CONNACK is as long as a PUBACK
        for start in range(0, MESSAGES, WINDOW):
            numbers = range(start, min(start + WINDOW, MESSAGES))
            said = [
                packet(0x32, text(f"n/s{i % TOPICS}") + (1 + i % 65000).to_bytes(2, "big") + str(i / 10).encode())
                for i in numbers
            ]
            sock.sendall(b"".join(said))
            while acknowledged < 4 * (numbers[-1] + 1):
                acknowledged += len(sock.recv(1 << 16))


def until(store: Store, rows: int) -> None:
    end = time.monotonic() + 120
    while sum(store[name].rows for name in store.sources() if name.startswith("s")) < rows:
        if time.monotonic() > end:
            raise TimeoutError(f"fewer than {rows:,} rows")
        time.sleep(0.01)


def figures() -> list[Figure]:
    """Nothing where there is no Mosquitto."""
    mosquitto = shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin")
    if not mosquitto:
        return []
    with tempfile.TemporaryDirectory() as name, socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        folder, port = Path(name), sock.getsockname()[1]
        sock.close()
        config = folder / "mosquitto.conf"
        config.write_text(
            f"listener {port} 127.0.0.1\nallow_anonymous true\nmax_inflight_messages 0\nmax_queued_messages 0\n"
        )
        broker = subprocess.Popen([mosquitto, "-c", str(config)], stderr=subprocess.DEVNULL)
        receiver = Linemon(ROWS)
        settings = receiver.folder / "linemon.toml"
        settings.write_text(
            settings.read_text() + f'[[subscribe]]\nfrom = "mqtt://127.0.0.1:{port}"\n'
            '[[subscribe.map]]\ntopic = "n/{x}"\nsource = "{x}"\n'
        )
        command = [sys.executable, "-m", "linemon", "work", "subscribe", "--config", str(settings)]
        far = Store(receiver.folder / "store")
        try:
            work = subprocess.Popen(command, stderr=subprocess.DEVNULL)
            while not (receiver.folder / "store" / "subscribe.127.0.0.1.json").exists():
                time.sleep(0.05)
            work.terminate()
            work.wait()
            publish(port)
            work = subprocess.Popen(command, stderr=subprocess.DEVNULL)
            until(far, 1)
            began = time.monotonic()
            until(far, MESSAGES)
            took = time.monotonic() - began
        finally:
            for process in (work, broker):
                process.terminate()
                process.wait()
            receiver.stop()
    return [Figure("messages a second from an MQTT broker, QoS 1", MESSAGES / took, "/s")]
