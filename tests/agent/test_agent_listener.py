"""The agent's own port: rows as LabPlot and nc read them, and no reader in another's way."""

from __future__ import annotations

import selectors
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from agent.listener import CLIENTS, WAITING, Listener
from linemon_sender.tutorial import TUTORIAL


class Served:
    """A listener on a free port, its log, and a way to send rows that count up."""

    def __init__(self, selector: selectors.BaseSelector, columns: tuple[str, ...]) -> None:
        self.log: list[str] = []
        self.listener = Listener(("127.0.0.1", 0), columns, selector, self.log.append)
        self.port = int(self.log.pop().rpartition(":")[2])
        self.rows = 0

    def publish(self) -> None:
        self.rows += 1
        self.listener.publish({"n": self.rows})


@pytest.fixture
def served(selector: selectors.BaseSelector) -> Iterator[Served]:
    made = Served(selector, ("n",))
    yield made
    made.listener.close()


def test_numbers_as_python_writes_doubles(selector: selectors.BaseSelector, dial: Any, turn: Any) -> None:
    """The tutorial's six, MHz among them: 0.0 and never 0, 1e-05, nan for missing, one blank, no header."""
    served = Served(selector, TUTORIAL)
    client = dial(served.port)
    turn()
    values = {"cpu.busy_pct": 0, "cpu.freq_hz": 2.6e9, "mem.used_pct": 12.345, "load.1m": 1e-05, "load.5m": 3}
    served.listener.publish(values)
    assert client.line() == "0.0 2600.0 12.345 1e-05 3.0 nan"
    served.listener.close()


def test_newest_row_at_once(served: Served, dial: Any, turn: Any) -> None:
    """On accept the newest row comes without waiting for the next; before any row, the first that comes."""
    early = dial(served.port)
    turn()
    served.publish()
    served.publish()
    late = dial(served.port)
    turn()
    assert late.line() == "2.0"
    served.publish()
    assert late.line() == "3.0"
    assert [early.line() for _ in range(3)] == ["1.0", "2.0", "3.0"]


def test_slow_reader_loses_the_oldest_and_holds_nobody_up(served: Served, dial: Any, turn: Any) -> None:
    """It gets whole rows in order, the newest ones, and the count of the others; the fast one gets all."""
    slow, fast = dial(served.port, receive_buffer=4096), dial(served.port)
    turn()
    client = served.listener._clients[0]
    while client.lost < 1000:
        served.publish()
        assert fast.row() == [float(served.rows)]
    assert len(client.waiting) == WAITING
    lost = client.lost
    served.publish()
    lost += 1
    slow.sock.settimeout(0.02)
    got = last = 0
    while last < served.rows:
        try:
            number = int(slow.row()[0])
        except TimeoutError:
            turn()
            continue
        assert number > last
        last, got = number, got + 1
    assert got + lost == served.rows
    assert got < 1000
    slow.sock.close()
    served.publish()
    turn()
    served.publish()
    assert [line.split(" ", 1)[1] for line in served.log] == [f"read too slowly and lost {lost} rows"]


def test_resets_and_talk_are_normal(served: Served, dial: Any, turn: Any) -> None:
    """What a client says is forgotten, a reset says goodbye; neither is worth a line in the log."""
    talker, resetter = dial(served.port), dial(served.port)
    talker.sock.sendall(b"GET / HTTP/1.1\r\n\r\n" * 10)
    turn()
    served.publish()
    resetter.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    resetter.sock.close()
    turn()
    served.publish()
    assert [talker.line(), talker.line()] == ["1.0", "2.0"]
    assert len(served.listener._clients) == 1
    assert served.log == []


def test_half_closed_reader_still_gets_rows(served: Served, dial: Any, turn: Any) -> None:
    """`ncat HOST PORT < /dev/null` ends its own side first."""
    client = dial(served.port)
    client.sock.shutdown(socket.SHUT_WR)
    turn()
    served.publish()
    served.publish()
    assert [client.line(), client.line()] == ["1.0", "2.0"]


def test_clients_are_bounded(served: Served, dial: Any, turn: Any) -> None:
    """One more than there may be is hung up on, unless a client has ended its side: then that one goes."""
    clients = [dial(served.port) for _ in range(CLIENTS)]
    turn()
    surplus = dial(served.port)
    turn()
    assert surplus.sock.recv(1) == b""
    clients[5].sock.shutdown(socket.SHUT_WR)
    turn()
    welcome = dial(served.port)
    turn()
    served.publish()
    assert welcome.line() == "1.0"
    assert clients[5].sock.recv(1) == b""
    assert clients[0].line() == "1.0"


@pytest.mark.slow
def test_a_fleet_that_dials_again_at_every_tick(served: Served, dial: Callable[..., Any], turn: Any) -> None:
    """LabPlot 2.9 does: many connections one after another leave nothing behind."""
    for _ in range(150):
        served.publish()
        client = dial(served.port)
        turn()
        assert client.line() == f"{float(served.rows)}"
        client.sock.close()
    for _ in range(3):
        served.publish()
        turn()
    assert len(served.listener._clients) == 0
    assert served.log == []
