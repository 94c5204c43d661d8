"""The connection to the collector: whole lines or none, every lost row counted, nobody waits."""

from __future__ import annotations

import selectors
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from agent.sender import Sender

COLUMNS = {"a_pct": "%", "b": ""}


class Sent:
    """A sender with two fixed columns, its log, and the connection it made."""

    def __init__(self, server: Any, selector: selectors.BaseSelector, until: Callable[..., Any]) -> None:
        self.log: list[str] = []
        self.columns = dict(COLUMNS)
        address = ("127.0.0.1", server.port)
        self.sender = Sender(address, "web1", "", self.columns, 2, selector, self.log.append)
        self.rows = 0
        self.until = until
        self.connection = server.accept()
        self.connected()

    def send(self, **values: float) -> None:
        self.rows += 1
        self.sender.send(float(self.rows), values)

    def connected(self) -> None:
        """Wait until rows get through; those before are dropped."""

        def gets_through() -> bool:
            before = self.sender.dropped
            self.send(b=0.0)
            return self.sender.dropped == before

        self.until(gets_through)


@pytest.fixture
def server(serve: Callable[..., Any]) -> Any:
    return serve()


@pytest.fixture
def sent(server: Any, selector: selectors.BaseSelector, until: Callable[..., Any]) -> Iterator[Sent]:
    made = Sent(server, selector, until)
    yield made
    made.sender.close()


def test_header_and_formats(sent: Sent) -> None:
    """Who sends, with units; numbers short but exact to the byte, missing ones as nan."""
    sent.send(a_pct=12.345, b=25276502016.0)
    sent.send(b=0.1)
    lines = [sent.connection.line() for _ in range(6)]
    assert lines[:3] == ["#errors on", "#source web1", "#columns time a_pct:% b"]
    assert lines[3].endswith(" nan 0")
    assert lines[4] == f"{sent.rows - 1}.000000 12.345 25276502016"
    assert lines[5] == f"{sent.rows}.000000 nan 0.1"


def test_new_column_is_added_at_the_end(sent: Sent) -> None:
    """A device that comes is declared before its first row."""
    sent.columns["net.wlan0.rx_bytes_per_s"] = "B/s"
    sent.send(b=1.0)
    assert sent.connection.columns() == ["a_pct:%", "b"]
    sent.connection.row()
    assert sent.connection.columns() == ["a_pct:%", "b", "net.wlan0.rx_bytes_per_s:B/s"]
    assert len(sent.connection.row()) == 4


def test_a_collector_that_does_not_read(sent: Sent) -> None:
    """Rows are dropped whole and counted; once it reads, it gets whole lines only, and all that were not."""
    sent.columns.update((f"x{n}", "") for n in range(2000))
    values = {f"x{n}": float(n) for n in range(2000)}
    while not sent.sender.dropped or "takes no more" not in sent.log[-1]:
        sent.send(**values)
    before = sent.sender.dropped
    sent.send(**values)
    assert sent.sender.dropped == before + 1
    received = width = 0
    sent.connection.sock.settimeout(0.05)
    while received < sent.rows - sent.sender.dropped:
        try:
            line = sent.connection.line()
        except TimeoutError:
            sent.send(**values)
            continue
        if line.startswith("#"):
            width = len(line.split()) - 2 if line.startswith("#columns") else width
        else:
            received += 1
            assert len(line.split()) == width + 1
    assert "rows were dropped" in sent.log[-1]
    assert received + sent.sender.dropped == sent.rows


def test_no_half_row_at_the_end(sent: Sent) -> None:
    """Ended in the middle of a row, the connection is reset: half a number is not taken for a whole one."""
    sent.columns.update((f"x{n}", "") for n in range(2000))
    values = {f"x{n}": float(n) for n in range(2000)}
    while "takes no more" not in sent.log[-1]:
        sent.send(**values)
    sent.sender.close()

    def read_to_the_end() -> None:
        while True:
            sent.connection.line()

    with pytest.raises(ConnectionResetError):
        read_to_the_end()


def test_lost_and_found(sent: Sent, server: Any, turn: Callable[[], None]) -> None:
    """Hung up on, it says so once, connects again, repeats its header, and tells how many rows are lost."""
    sent.connection.row()  # left unread, it would make a reset of the close
    sent.connection.sock.close()

    def is_lost() -> bool:
        turn()
        return sent.log[-1].startswith("lost")

    sent.until(is_lost)
    before = sent.sender.dropped
    for _ in range(3):
        sent.send(b=1.0)
    sent.connection = server.accept()
    sent.connected()
    missed = sent.sender.dropped - before
    assert missed >= 3
    assert sent.connection.columns() == ["a_pct:%", "b"]
    where = f"127.0.0.1:{server.port}"
    assert sent.log == [
        sent.log[0],
        f"lost {where}: closed by the collector; rows are dropped until it is back",
        f"sends to {where} as web1, {missed} rows were dropped",
    ]


def test_complaints_reach_the_log_at_a_bounded_rate(sent: Sent, turn: Callable[[], None]) -> None:
    """The first at once, a thousand more not; control characters never; other answers are ignored."""
    sent.connection.sock.sendall(b"#ack 5\nhello\n#error 7 to")
    turn()
    sent.connection.sock.sendall(b"ken\x1b[2J\n" + b"#error 8 token\n" * 1000 + b"x" * 100_000)
    turn()
    assert sent.log[1:] == [f"{sent.log[0].split()[2]} rejects line 7: token?[2J"]
    sent.send(b=1.0)
    assert sent.sender.dropped == sent.rows - 2


@pytest.mark.parametrize("line", [3, 4], ids=["columns", "first row"])
def test_refused_columns_fall_back_to_those_of_every_host(
    serve: Callable[..., Any],
    selector: selectors.BaseSelector,
    until: Callable[..., Any],
    turn: Callable[[], None],
    line: int,
) -> None:
    """A collector that holds other devices' columns still gets the fixed ones, and is not asked again."""
    server = serve()
    COLUMNS["net.tun0.rx_bytes_per_s"] = "B/s"
    try:
        sent = Sent(server, selector, until)
    finally:
        del COLUMNS["net.tun0.rx_bytes_per_s"]
    assert len(sent.connection.columns()) == 3
    sent.connection.sock.sendall(f"#error {line} columns differ from the source's\n".encode())

    def has_answered() -> bool:
        turn()
        return len(sent.log) == 2

    until(has_answered)
    assert "gets the first 2 columns" in sent.log[1]
    sent.columns["net.tun1.rx_bytes_per_s"] = "B/s"
    sent.send(b=1.0)
    assert len(sent.connection.row()) == 4
    assert sent.connection.columns() == ["a_pct:%", "b"]
    assert len(sent.connection.row()) == 3
    sent.sender.close()
