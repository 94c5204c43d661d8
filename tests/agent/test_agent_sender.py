"""The connection to the collector: numbered rows, kept until acknowledged, and nobody waits."""

from __future__ import annotations

import selectors
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from linemon_sender import dialler
from linemon_sender import sender as module
from linemon_sender.columns import columns_line
from linemon_sender.sender import SpoolSender
from linemon_sender.spool import Spool

COLUMNS = {"a_pct": "%", "b": ""}
BIG = b" ".join([b"1234567890"] * 5000)


class Sent:
    """A sender with a spool in memory, two fixed columns, its log, and the connection it made."""

    def __init__(self, server: Any, selector: selectors.BaseSelector, until: Callable[..., Any], lazy: bool) -> None:
        self.log: list[str] = []
        self.columns = columns_line(COLUMNS)
        self.spool = Spool("web1", "", 1 << 24, 3600.0, self.log.append)
        self.sender = SpoolSender(("127.0.0.1", server.port), "", self.spool, selector, self.log.append, 2, lazy)
        self.rows, self.until, self.server, self.selector = 0, until, server, selector

    def send(self, row: str = "") -> None:
        self.rows += 1
        self.spool.append(row.encode() or b"%d 1 2" % self.rows, self.columns)
        self.sender.turn()

    def accept(self) -> None:
        self.connection = self.server.accept()
        self.connection.sock.settimeout(0.02)

    def line(self) -> str:
        """The next line, with the sender at work meanwhile."""

        def read() -> str | None:
            self.turn()
            try:
                line: str = self.connection.line()
            except TimeoutError:
                return None
            return line

        found: str = self.until(read, "a line")
        return found

    def turned_until(self, condition: Callable[[], Any]) -> None:
        """With the sender at work."""

        def holds() -> Any:
            self.sender.turn()
            return condition()

        self.until(holds)

    def turn(self) -> None:
        for key, mask in self.selector.select(0):
            key.data(mask)


@pytest.fixture
def server(serve: Callable[..., Any]) -> Any:
    return serve()


@pytest.fixture(params=[False, True], ids=["eager", "lazy"])
def sent(
    server: Any, selector: selectors.BaseSelector, until: Callable[..., Any], request: pytest.FixtureRequest
) -> Iterator[Sent]:
    """It has sent one row, which is acknowledged."""
    made = Sent(server, selector, until, request.param)
    made.send()
    made.accept()
    head = [made.line() for _ in range(5)]
    assert head[:2] == ["#errors on", "#source web1"]
    assert head[2].startswith("#seq 1 ")
    assert head[3:] == ["#columns time a_pct:% b", "1 1 2"]
    yield made
    made.sender.close(0.0)


def test_rows_are_numbered_from_one_and_kept_until_acknowledged(sent: Sent) -> None:
    """What is not acknowledged is sent again, under the same number and SENDER, over the next connection."""
    sent.turned_until(lambda: sent.spool.waiting == 0)
    sent.connection.acknowledges = False
    sent.send()
    sent.send()
    assert [sent.line(), sent.line()] == ["2 1 2", "3 1 2"]
    assert sent.spool.waiting == 2
    sent.connection.sock.close()
    sent.turned_until(lambda: "lost" in sent.log[-1])
    sent.send()
    sent.accept()
    assert [sent.line() for _ in range(4)][2].startswith("#seq 2 ")
    assert [sent.line() for _ in range(3)] == ["2 1 2", "3 1 2", "4 1 2"]
    sent.turned_until(lambda: sent.spool.waiting == 0)


def test_what_the_collector_holds_is_not_sent_again(sent: Sent) -> None:
    """Told a number above its own, the sender goes on from there, and says so."""
    sent.connection.acknowledges = False
    for _ in range(3):
        sent.send()
    sent.connection.sock.close()
    sent.turned_until(lambda: "lost" in sent.log[-1])
    sent.accept()
    sent.connection.acknowledges = False
    head = [sent.line() for _ in range(3)]
    assert head[2].startswith("#seq ")
    sent.connection.sock.sendall(b"#ack 4\n")
    sender = head[2].split()[2]
    assert [sent.line() for _ in range(3)] == ["#columns time a_pct:% b", f"#seq 4 {sender}", "4 1 2"]


def test_a_lazy_sender_is_not_woken_by_acknowledgements(
    server: Any, selector: selectors.BaseSelector, until: Callable[..., Any]
) -> None:
    """In the steady state the selector has nothing to say between two rows."""
    sent = Sent(server, selector, until, True)
    sent.send()
    sent.accept()
    for _ in range(5):
        sent.line()
    for _ in range(3):
        sent.send()
        sent.line()
    assert selector.select(0.2) == []
    sent.sender.close()
    assert sent.spool.waiting == 0


def test_new_columns_come_before_their_first_row(sent: Sent) -> None:
    """Rows keep the columns they were made with, also those that waited."""
    sent.columns = columns_line({**COLUMNS, "net.wlan0.rx_bytes_per_s": "B/s"})
    sent.send("2 1 2 3")
    assert sent.line() == "#columns time a_pct:% b net.wlan0.rx_bytes_per_s:B/s"
    assert sent.line() == "2 1 2 3"


def test_a_collector_that_does_not_read(sent: Sent) -> None:
    """Sampling goes on while rows wait; once it reads, all arrive, in order."""
    rows = 200
    for number in range(rows):
        sent.send(f"{number} {BIG.decode()}")
    assert sent.spool.waiting >= rows - 10
    received: list[int] = []
    while len(received) < rows:
        line = sent.line()
        received += [int(line.split()[0])] if not line.startswith("#") else []
    assert received == list(range(rows))
    assert sent.spool.dropped == 0


def test_no_more_than_a_window_is_on_its_way(sent: Sent) -> None:
    """A backlog does not flood: what follows waits for acknowledgements."""
    sent.turned_until(lambda: sent.spool.waiting == 0)
    sent.connection.acknowledges = False
    for _ in range(20_000):
        sent.spool.append(b"1 2 3", sent.columns)
    got = 0

    def pause() -> bool:
        nonlocal got
        sent.turn()
        sent.sender.turn()
        try:
            got += len(sent.connection.sock.recv(65536))
        except TimeoutError:
            return True
        return False

    sent.until(pause)
    assert module.WINDOW - 10 <= got <= module.WINDOW + 10


def test_lost_and_found(sent: Sent) -> None:
    """Hung up on, it says so once, connects again, and tells how many rows waited."""
    sent.turned_until(lambda: sent.spool.waiting == 0)
    sent.connection.sock.close()
    sent.turned_until(lambda: "lost" in sent.log[-1])
    for _ in range(3):
        sent.send()
    sent.accept()
    sent.until(lambda: "waited" in (sent.line(), sent.log[-1])[1])
    where = f"127.0.0.1:{sent.server.port}"
    assert sent.log == [
        f"sends to {where} as web1",
        f"lost {where}: closed by the collector; rows wait in the spool until it is back",
        f"sends to {where} as web1, 3 rows waited",
    ]


def test_a_peer_that_does_not_answer_seq(
    server: Any, selector: selectors.BaseSelector, until: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows are not given to who does not acknowledge them; the log says what is wrong."""
    monkeypatch.setattr(module, "ANSWER_TIMEOUT", 0.1)
    sent = Sent(server, selector, until, False)
    sent.send()
    sent.accept()
    sent.connection.acknowledges = False
    sent.turned_until(lambda: "does not answer #seq" in "".join(sent.log))
    assert sent.spool.waiting == 1
    sent.sender.close(0.0)
    assert sent.log[-1] == f"ends; 1 rows were not acknowledged by 127.0.0.1:{server.port}"


def test_a_link_that_stalls_is_given_up(sent: Sent, monkeypatch: pytest.MonkeyPatch, until: Callable[..., Any]) -> None:
    """Half open: nothing comes back, and nothing says why. The rows go over another connection."""
    monkeypatch.setattr(module, "DEAD_AFTER", 0.1)
    sent.connection.acknowledges = False
    sent.send()
    sent.turned_until(lambda: "no acknowledgement for 0.1 s" in sent.log[-1])
    sent.accept()
    while sent.line() != "2 1 2":
        pass


def test_an_idle_connection_keeps_itself_alive(sent: Sent, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty line, which means nothing, now and then."""
    sent.turned_until(lambda: sent.spool.waiting == 0)
    monkeypatch.setattr(module, "ALIVE_EVERY", 0.05)

    def empty_line() -> bool:
        try:
            return sent.connection.line() == ""  # type: ignore[no-any-return]
        except TimeoutError:
            return False

    sent.turned_until(empty_line)


def test_a_spool_whose_sender_another_one_used(sent: Sent) -> None:
    """Numbers it never gave out: these rows cannot be told from others; they are dropped, later ones are not."""
    sent.connection.acknowledges = False
    sent.send()
    sent.line()
    sent.connection.sock.sendall(b"#ack 1000\n")
    sent.turned_until(lambda: "is the spool a copy?" in sent.log[-1])
    assert sent.spool.dropped >= 1
    sent.send()
    sent.accept()
    assert [sent.line() for _ in range(5)][2].startswith("#seq 1 ")


def test_complaints_reach_the_log_at_a_bounded_rate(sent: Sent) -> None:
    """The first at once, a thousand more not; control characters never; other answers are ignored."""
    sent.connection.sock.sendall(b"#set x\nhello\n#error 7 to")
    sent.connection.sock.sendall(b"ken\x1b[2J\n" + b"#error 8 token\n" * 1000 + b"x" * 100_000)
    sent.turned_until(lambda: len(sent.log) == 2)
    assert sent.log[1].endswith("rejects line 7: token?[2J")
    sent.send()
    assert sent.line() == "2 1 2"


def test_a_collector_that_hangs_up_for_want_of_room(sent: Sent, monkeypatch: pytest.MonkeyPatch) -> None:
    """It greets, refuses the row and hangs up, again and again: said once, and once that it takes rows again."""
    monkeypatch.setattr(dialler, "ATTEMPT_EVERY", 0.05)
    monkeypatch.setattr(dialler, "LONGEST_PAUSE", 0.05)
    sent.turned_until(lambda: sent.spool.waiting == 0)
    sent.connection.acknowledges = False
    sent.send()
    assert sent.line() == "2 1 2"
    sent.connection.sock.sendall(b"#error 6 store_full: no room for more rows\n")
    sent.connection.sock.close()
    for _ in range(3):
        sent.turned_until(lambda: sent.sender._sock is None)
        sent.accept()
        assert [sent.line() for _ in range(3)][2].startswith("#seq 2 ")
        sent.connection.acknowledges = False
        assert [sent.line() for _ in range(2)][1] == "2 1 2"
        sent.connection.sock.sendall(b"#error 5 store_full: no room for more rows\n")
        sent.connection.sock.close()
    sent.turned_until(lambda: sent.sender._sock is None)
    sent.accept()
    while sent.line() != "2 1 2":
        pass
    sent.turned_until(lambda: sent.spool.waiting == 0)
    where = f"127.0.0.1:{sent.server.port}"
    full = "takes no rows: store_full: no room for more rows; rows wait in the spool until it is back"
    assert sent.log == [f"sends to {where} as web1", f"{where} {full}", f"sends to {where} as web1, 1 rows waited"]
    assert sent.sender.rejected == 0


def test_a_collector_that_hangs_up_without_a_word(sent: Sent, monkeypatch: pytest.MonkeyPatch) -> None:
    """As earlier ones did that had no room: it greets, and takes no row. That it does so again is not said."""
    monkeypatch.setattr(dialler, "ATTEMPT_EVERY", 0.05)
    monkeypatch.setattr(dialler, "LONGEST_PAUSE", 0.05)
    sent.turned_until(lambda: sent.spool.waiting == 0)
    sent.connection.acknowledges = False
    sent.send()
    for _ in range(5):
        while sent.line() != "2 1 2":
            sent.connection.acknowledges = sent.connection.number == 0
        sent.connection.sock.close()
        sent.turned_until(lambda: sent.sender._sock is None)
        sent.accept()
    while sent.line() != "2 1 2":
        pass
    sent.turned_until(lambda: sent.spool.waiting == 0)
    assert [line.partition(" 127")[0] for line in sent.log] == ["sends to", "lost", "sends to", "lost", "sends to"]


def test_a_wrong_token_is_named(server: Any, selector: Any, until: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the collector says against the greeting is the reason that no rows go, not a guess."""
    monkeypatch.setattr(module, "ANSWER_TIMEOUT", 0.1)
    sent = Sent(server, selector, until, False)
    sent.send()
    sent.accept()
    sent.connection.sock.sendall(b"#error 1 this is no token of ours\n")
    sent.turned_until(lambda: "lost" in "".join(sent.log))
    assert "it says: this is no token of ours; rows wait" in sent.log[-1]
    sent.sender.close(0.0)


@pytest.mark.parametrize("line", [4, 5], ids=["columns", "first row"])
def test_refused_columns_fall_back_to_those_of_every_host(
    server: Any, selector: selectors.BaseSelector, until: Callable[..., Any], line: int
) -> None:
    """A collector that holds other devices' columns still gets the fixed ones, at the price of one row."""
    sent = Sent(server, selector, until, False)
    sent.columns = columns_line({**COLUMNS, "net.tun0.rx_bytes_per_s": "B/s"})
    for number in range(4):
        sent.send(f"{number} 1 2 3")
    sent.accept()
    sent.connection.acknowledges = False
    assert [sent.line() for _ in range(3)][2].startswith("#seq 1")
    sent.connection.sock.sendall(b"#ack 1\n")
    assert sent.line() == "#columns time a_pct:% b net.tun0.rx_bytes_per_s:B/s"
    assert sent.line() == "0 1 2 3"
    sent.connection.sock.sendall(f"#error {line} columns differ from the source's\n#ack 2\n".encode())
    sent.connection.acknowledges = True
    assert [sent.line() for _ in range(2)] == ["#columns time a_pct:% b", "1 1 2"]
    sent.columns = columns_line({**COLUMNS, "net.tun1.rx_bytes_per_s": "B/s"})
    sent.send("5 1 2 3")
    assert [sent.line() for _ in range(3)] == ["2 1 2", "3 1 2", "5 1 2"]
    assert "gets the first 2 columns" in sent.log[1]
    sent.sender.close()
