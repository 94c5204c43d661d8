"""A link between senders and a collector that cuts and stalls at random bytes."""

from __future__ import annotations

import random
import socket
import struct
import threading
import time
from collections import Counter
from contextlib import suppress


class Link:
    """A port that passes bytes on to another port of this machine, until they are cut off."""

    def __init__(self, to: int, chance: random.Random) -> None:
        self.is_calm = False  # nothing goes wrong any more
        self.events: Counter[str] = Counter()
        self._to, self._random = to, chance
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)  # ends the wait for the next
        self._server.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._server.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self._to))
            except OSError:
                near.close()
                continue
            self.events["connections"] += 1
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._pass_on, args=(source, sink), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        """One direction: so many bytes, then a stall or a cut, in the middle of whatever it is."""
        left = self._some_bytes()
        with suppress(OSError):
            while data := source.recv(65536):
                while not self.is_calm and len(data) >= left:
                    sink.sendall(data[:left])
                    data = data[left:]
                    left = self._some_bytes()
                    if self._random.random() < 0.6:
                        self.events["stalls"] += 1
                        time.sleep(self._random.expovariate(1.0))
                    else:
                        self.events["cuts"] += 1
                        if self._random.random() < 0.5:  # a reset, which may overtake what was sent
                            sink.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                        raise ConnectionError
                sink.sendall(data)
                left -= len(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _some_bytes(self) -> int:
        return int(10 ** self._random.uniform(0.5, 5.5))
