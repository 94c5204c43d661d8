"""How soon a lone line is in the store: from its `send` until a reader that maps the store sees it."""

from __future__ import annotations

import socket
import time
from contextlib import suppress

import numpy as np

from bench.cases import OURS, paced
from bench.receivers import Linemon
from bench.senders import Sender, allow_files
from bench.store import Figure
from linemon.errors import UnknownSource

LINES = 60
PAUSE_S = 0.1
BUSY, BUSY_HZ = 1000, 10
LOOK_S = 0.0002
TIMEOUT_S = 5.0


def latencies_ms(running: Linemon, source: str = "lone") -> list[float]:
    """Of each of `LINES` lines, one every `PAUSE_S`; `source` is a new one."""
    with socket.create_connection(("127.0.0.1", running.port)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(f"#source {source}\n".encode())
        found = []
        for number in range(LINES + 1):
            began = time.monotonic()
            sock.sendall(b"%d\n" % number)
            while time.monotonic() - began < TIMEOUT_S:
                with suppress(UnknownSource):
                    if running._store[source].rows > number:
                        break
                time.sleep(LOOK_S)
            found.append(1000 * (time.monotonic() - began))
            time.sleep(PAUSE_S)
    return found[1:]  # the first one makes the source


def figures() -> list[Figure]:
    """Alone, and among a thousand connections that send ten lines a second each."""
    found = []
    for is_busy in (False, True):
        running = Linemon(OURS)
        try:
            if is_busy and allow_files(BUSY):
                seconds = LINES * PAUSE_S + 5
                traffic = paced(round(seconds * BUSY_HZ) * BUSY, BUSY)
                with Sender(("127.0.0.1", running.port), traffic.streams, 1 / BUSY_HZ) as sender:
                    sender.go()
                    time.sleep(1.0)
                    took = latencies_ms(running)
            else:
                took = latencies_ms(running)
        finally:
            running.stop()
        among = f"a lone line{f' among {BUSY:,} at {BUSY_HZ} Hz' * is_busy}"
        found.append(Figure(f"{among}: median", float(np.median(took)), "ms"))
        found.append(Figure(f"{among}: 99 of 100", float(np.quantile(took, 0.99)), "ms", 40))
    return found
