"""The agent's own port: its newest row to whoever connects, then every row, as LabPlot and nc read them.

Blank-separated numbers in a fixed order, each as Python writes a double, `nan` for missing, no header, one
write per row. It only sends: what a client says is read and forgotten.
"""

from __future__ import annotations

import selectors
import socket
from collections import deque

from linemon_sender.tutorial import SCALED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

NAN = float("nan")
CLIENTS = 64  # LabPlot opens four, and its older versions dial again at every tick
SEND_BUFFER = 16384  # bytes; what the system buffers by itself could be a day of rows
WAITING = 60  # rows kept for a client that does not read; then it loses the oldest


class Client:
    """One reader: the rows that wait for it and how many it lost."""

    def __init__(self, sock: socket.socket, name: str) -> None:
        self.sock, self.name = sock, name
        self.waiting: deque[bytes] = deque()
        self.begun = b""  # the rest of a row that was sent in part; must go out before any other
        self.lost = 0
        self.talks = True  # may still send us something
        self.heard = False  # has said something since the last row; more is not read before the next one
        self.mask = 0  # what the selector watches


class Listener:
    """Serves rows to any number of clients up to CLIENTS; none can hold up the others or the sampling."""

    def __init__(
        self,
        address: tuple[str, int],
        columns: tuple[str, ...],
        selector: selectors.BaseSelector,
        log: Callable[[str], None],
    ) -> None:
        """Raises OSError where the address cannot be had."""
        self._selector, self._log = selector, log
        self._columns = [SCALED.get(column, (column, 1.0)) for column in columns]
        self._newest = b""
        self._clients: list[Client] = []
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._sock = socket.create_server(address, family=family, backlog=128)
        self._sock.setblocking(False)
        selector.register(self._sock, selectors.EVENT_READ, self._accept)
        host, port = self._sock.getsockname()[:2]
        log(f"listens on {f'[{host}]' if ':' in host else host}:{port}")

    def publish(self, values: dict[str, float]) -> None:
        """Send one row to all clients; returns at once."""
        absent = [column for column, _ in self._columns if column not in values]
        if absent and not self._newest:
            self._log(f"has no {', '.join(absent)} now; nan stands in for what is missing")
        row = " ".join([repr(float(values.get(column, NAN)) * factor) for column, factor in self._columns])
        self._newest = f"{row}\n".encode()
        for client in list(self._clients):
            client.heard = False
            self._offer(client)

    def close(self) -> None:
        """Close the port and all clients."""
        for client in list(self._clients):
            self._drop(client)
        self._selector.unregister(self._sock)
        self._sock.close()

    def _accept(self, _mask: int) -> None:
        try:
            sock, peer = self._sock.accept()
        except OSError:  # gone before we looked
            return
        sock.setblocking(False)
        if len(self._clients) >= CLIENTS:
            silent = [client for client in self._clients if not client.talks]
            if not silent:
                sock.close()
                return
            self._drop(silent[0])  # most likely gone: it has hung up at least its own side
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        client = Client(sock, f"{peer[0]}:{peer[1]}")
        self._clients.append(client)
        if self._newest:
            self._offer(client)
        else:
            self._watch(client)

    def _offer(self, client: Client) -> None:
        """Put the newest row into the client's queue, and send what it takes."""
        if len(client.waiting) == WAITING:
            client.waiting.popleft()
            client.lost += 1
        client.waiting.append(self._newest)
        self._send(client)

    def _send(self, client: Client) -> None:
        try:
            while client.begun or client.waiting:
                client.begun = client.begun or client.waiting.popleft()
                client.begun = client.begun[client.sock.send(client.begun) :]
        except BlockingIOError:
            pass
        except OSError:  # resets are how LabPlot says goodbye
            self._drop(client)
            return
        self._watch(client)

    def _watch(self, client: Client) -> None:
        mask = selectors.EVENT_READ if client.talks and not client.heard else 0
        if client.begun or client.waiting:
            mask |= selectors.EVENT_WRITE
        if mask == client.mask:
            return
        if client.mask:
            self._selector.unregister(client.sock)
        if mask:
            self._selector.register(client.sock, mask, lambda ready: self._ready(client, ready))
        client.mask = mask

    def _ready(self, client: Client, ready: int) -> None:
        if ready & selectors.EVENT_READ:
            try:
                said = client.sock.recv(65536)
            except BlockingIOError:
                said = b"?"
            except OSError:
                self._drop(client)
                return
            client.heard = True
            client.talks = bool(said)  # at its end of file it may still read: `ncat HOST PORT < /dev/null`
        self._send(client)

    def _drop(self, client: Client) -> None:
        if client.mask:
            self._selector.unregister(client.sock)
        client.sock.close()
        self._clients.remove(client)
        if client.lost:
            self._log(f"{client.name} read too slowly and lost {client.lost} rows")
