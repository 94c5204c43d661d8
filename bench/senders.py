"""Sender processes: they only hand prebuilt bytes to sockets, so that the receiver is what is measured."""

from __future__ import annotations

import multiprocessing
import resource
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from types import TracebackType

SPARE_FILES = 200  # file descriptors besides the connections
GRID_S = 0.001


@dataclass(frozen=True)
class Stream:
    """What one connection sends: `hello` on connecting, not measured, then the parts."""

    hello: bytes
    parts: Sequence[bytes]


def allow_files(count: int) -> bool:
    """Raise the limit of open files, for children too, to `count` connections and some; False: not allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + SPARE_FILES
    if soft >= wanted or soft == resource.RLIM_INFINITY:
        return True
    if hard != resource.RLIM_INFINITY and hard < wanted:
        return False
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return True


class Sender:
    """One process that holds all connections of a case; connected when made, sends when told to."""

    def __init__(self, address: tuple[str, int], streams: list[Stream], period_s: float = 0, answered: bool = False):
        """Each connection sends a part every `period_s`, 0 = as fast as taken; `answered`: each part gets a reply."""
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_run, args=(theirs, address, streams, period_s, answered), daemon=True)
        self._process.start()
        theirs.close()
        self._pipe.recv()

    def go(self) -> None:
        """Start sending."""
        self._pipe.send(None)

    def sent(self, timeout_s: float) -> float | None:
        """CPU seconds the sender took, once all is sent; None if it is not within the time."""
        return float(self._pipe.recv()) if self._pipe.poll(timeout_s) else None

    def __enter__(self) -> Sender:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._process.terminate()  # which closes its connections: only now, that is not measured either
        self._process.join()


def _run(pipe: Connection, address: tuple[str, int], streams: list[Stream], period_s: float, answered: bool) -> None:
    allow_files(len(streams))
    socks = [socket.create_connection(address) for _ in streams]
    for sock, stream in zip(socks, streams, strict=True):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(stream.hello)
    pipe.send(None)
    pipe.recv()
    cpu_s = time.process_time()
    if period_s:
        _send_paced(socks, streams, period_s)
    else:
        _send_bulk(socks, streams, answered)
    pipe.send(time.process_time() - cpu_s)
    pipe.recv()  # keeps the connections open


def _send_bulk(socks: list[socket.socket], streams: list[Stream], answered: bool) -> None:
    for i in range(max(len(stream.parts) for stream in streams)):
        for sock, stream in zip(socks, streams, strict=True):
            if i < len(stream.parts):
                sock.sendall(stream.parts[i])
                if answered and not sock.recv(65536):
                    raise ConnectionError("the receiver closed the connection")


def _send_paced(socks: list[socket.socket], streams: list[Stream], period_s: float) -> None:
    """Connection i of n sends its part k at (k + i/n) periods from the start, on a grid of a millisecond."""
    queue = [(sock, part) for parts in zip(*(s.parts for s in streams), strict=True)
             for sock, part in zip(socks, parts, strict=True)]  # fmt: skip
    per_s = len(socks) / period_s
    start = time.monotonic()
    done = 0
    while done < len(queue):
        now = time.monotonic() - start
        due = min(len(queue), int(now * per_s) + 1)
        for sock, part in queue[done:due]:
            sock.sendall(part)
        done = due
        time.sleep(GRID_S - (time.monotonic() - start) % GRID_S)
