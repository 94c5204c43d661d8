"""To another linemon: numbered lines over one connection for all sources, exactly once, in order.

The numbers are those of the rows in the ring, the SENDER names the source's life, and what the far side acknowledges
is the cursor. It is asked where to go on by the lowest number that could be sent, so that one that is new, or was set
back, is filled again from what the ring holds.
"""

from __future__ import annotations

import math
import socket
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from linemon.parts._far import FORWARDED
from linemon.parts._port import ISO_BEFORE, header_of, time_of
from linemon.parts.forward.flow import Block, Flow
from linemon.parts.forward.target import DENIED_S, Denied, Later, Target
from linemon.ports import Address
from linemon_sender.dialler import connect
from linemon_sender.tls import Tls

TLS = True
SECRET = ("token",)
WINDOW: Final = 1 << 22  # bytes on their way
AT_ONCE: Final = 1 << 16  # bytes that are handed to the system
ALIVE_S: Final = 60.0  # a collector hangs up on who is silent
WAITS: Final = ("token", "max_sources", "store_full", "sequence")  # reasons that may pass


@dataclass(frozen=True)
class Settings:
    token: str = ""
    ca: str = ""
    cert: str = ""


class Said(NamedTuple):
    """Lines on their way, the last of which has this number: rows up to `end`, or a question."""

    line: int
    flow: Flow
    end: int  # 0: it is a question
    lines: int
    size: int


class To(Target):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        parts = urlsplit(self.config.to)
        if not parts.hostname or parts.path.strip("/") or parts.query or parts.username:
            raise ValueError(f"to = {self.config.shown!r}: expected an address such as 'linemon://host:4000'")
        self._address = Address(parts.hostname, parts.port or 4000)
        is_tls = parts.scheme == "linemons"
        self._tls = Tls(parts.hostname, self.settings.ca, self.settings.cert) if is_tls else None
        self._sock: socket.socket | None = None

    def check(self) -> list[str]:
        if self.settings.token and not (self._tls or self._address.is_loopback):
            return [f"it sends its token to {self._address.host} without tls: others may read it"]
        return []

    # -- where each source goes on

    def begin(self, flows: list[Flow], oldest: dict[Flow, int]) -> None:
        if unsent := [flow for flow in flows if flow.first == flow.done > 0]:
            self._recall(unsent, oldest)
        if self._sock is None:
            self._open()
        for flow in flows:
            if any(sender.startswith(f"{FORWARDED}{self._far}:") for sender in flow.senders):
                flow.deny("its rows come from there", math.inf)
            else:
                self._ask(flow, oldest[flow], flow.columns, flow.units)
        self._wait(lambda: not self._asked)

    def _recall(self, flows: list[Flow], oldest: dict[Flow, int]) -> None:
        """Where a forward begins with what comes from now on, as far as it knows: perhaps only its file was lost.

        On a connection that ends then: to one that knows none of these rows the number is no promise.
        """
        other, begins = To(self.config, self.settings, self._secrets), {flow: flow.done for flow in flows}
        try:
            other._open()
            for flow in flows:
                other._ask(flow, 0, (), ())  # nothing is said of columns
            other._wait(lambda: not other._asked)
        finally:
            other.close()
            for flow, done in begins.items():
                knows = flow.is_begun and flow.done > 0
                flow.first = flow.done = oldest[flow] = flow.done if knows else done
                flow.stop()

    def _open(self) -> None:
        try:
            self._sock = connect((self._address.host, self._address.port), self._tls)
        except UnicodeError as error:
            raise Later(f"{self._address.host}: {error}") from None
        self._far, self._heard, self._unsent = "", b"", ""
        self._lines, self._size, self._wrote = 0, 0, time.monotonic()
        self._asked: dict[Flow, int] = {}  # it is not answered yet where they go on: the number that was offered
        self._known: dict[tuple[str, str], Flow] = {}
        self._columns: dict[Flow, tuple[str, ...]] = {}  # as they were declared
        self._numbers: dict[Flow, int] = {}  # of the next row, as it takes it there
        self._said: deque[Said] = deque()  # on its way
        token = f"#token {self.settings.token}\n" if self.settings.token else ""
        self._write(f"{token}#errors on\n#acks named\n", 2 + bool(token))
        self._wait(lambda: bool(self._far))

    def _ask(self, flow: Flow, number: int, columns: tuple[str, ...], units: tuple[str, ...]) -> None:
        """Where to go on, with rows of these columns."""
        sender = sender_of(flow)
        self._known[sender, flow.name], self._asked[flow], self._columns[flow] = flow, number, columns
        header = header_of(dict(zip(columns, units, strict=True))).decode() + "\n" if columns else ""
        count = 2 + bool(header)
        self._write(f"#source {flow.name}\n{header}#seq {number} {sender}\n", count)
        self._said.append(Said(self._lines, flow, 0, count, 0))

    def _answered(self, flow: Flow, number: int) -> None:
        offered = self._asked.pop(flow)
        if number > flow.head:  # of another store, of which this is a copy; or this one lost its newest rows
            flow.turn = number
            self._ask(flow, offered, self._columns[flow], flow.units)
            return
        self._numbers[flow] = number
        if number > offered:
            self._write(f"#source {flow.name}\n#seq {number} {sender_of(flow)}\n", 2)
        elif number > flow.done:
            flow.stop()
            flow.skip(number)
        flow.begin(number)

    def _declare(self, block: Block) -> None:
        """Its rows have other columns than those before."""
        self._wait(lambda: not self._said)
        flow, read = block.flow, block.flow.next
        self._ask(flow, block.first, block.rows.columns, block.rows.units)
        self._wait(lambda: not self._asked)
        if flow.is_begun:
            flow.next = read  # more of it was read already

    # -- rows

    def send(self, blocks: list[Block]) -> None:
        for block in blocks:
            flow = block.flow
            if flow.is_begun and block.rows.columns != self._columns[flow]:
                self._declare(block)
            if not flow.is_begun:
                continue  # it is denied since it was read: its rows come again
            rows = row_lines(block)
            is_next = block.first == self._numbers[flow]  # else some were overwritten meanwhile
            gap = "" if is_next else f"#seq {block.first} {sender_of(flow)}\n"
            self._numbers[flow], count = block.end, 1 + bool(gap) + len(block.rows)
            self._write(f"#source {flow.name}\n{gap}{rows}", count)
            self._said.append(Said(self._lines, flow, block.end, count, len(rows)))
            self._size += len(rows)
            if self._size > WINDOW:
                self._wait(lambda: self._size <= WINDOW // 2)

    def settle(self) -> None:
        if self._sock is None:
            return
        if time.monotonic() - self._wrote > ALIVE_S:
            self._write("\n", 1)
        self._wait(lambda: not self._said)
        self._hear(0.0)

    def close(self) -> None:
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    # -- the connection

    def _write(self, lines: str, count: int) -> None:
        self._unsent += lines
        self._lines += count
        if len(self._unsent) > AT_ONCE:
            self._flush()

    def _flush(self) -> None:
        if self._unsent:
            assert self._sock
            self._sock.settimeout(float(self.config.timeout))
            self._sock.sendall(self._unsent.encode())
            self._unsent, self._wrote = "", time.monotonic()

    def _wait(self, is_done: Callable[[], bool]) -> None:
        """Until the far side has said so. `Later` where it says nothing any more."""
        self._flush()
        while not is_done():
            if not self._hear(float(self.config.timeout)):
                what = "acknowledge rows" if self._far else "answer #acks named; is it linemon's collector?"
                raise Later(f"{self._address} does not {what}")
            self._flush()

    def _hear(self, seconds: float) -> bool:
        """Take what it says, and wait for it so long; False if it says nothing."""
        assert self._sock
        self._sock.settimeout(seconds)
        try:
            data = self._sock.recv(1 << 16)
        except (BlockingIOError, TimeoutError):
            return False
        if not data:
            raise Later(f"{self._address} has closed the connection")
        *lines, self._heard = (self._heard + data).split(b"\n")
        for line in lines:
            word, _, rest = line.decode(errors="replace").partition(" ")
            if word == "#ack":
                number, sender, name = rest.split(" ", 2)
                self._acknowledged(self._known.get((sender, name)), int(number))
            elif word == "#acks":
                self._far = rest
            elif word == "#error":
                number, _, why = rest.partition(" ")
                self._complained(int(number), why)
        while self._said and self._is_over(self._said[0]):
            self._size -= self._said.popleft().size
        return True

    def _is_over(self, said: Said) -> bool:
        if not said.end:
            return said.flow not in self._asked
        return said.flow.done >= said.end or not said.flow.is_begun

    def _acknowledged(self, flow: Flow | None, number: int) -> None:
        if flow in self._asked:
            self._answered(flow, number)
        elif flow is not None and flow.is_begun:
            flow.held(min(number, flow.next))

    def _complained(self, line: int, why: str) -> None:
        """It does not take a line."""
        said = next((each for each in self._said if line <= each.line), None)
        if said is None or line <= said.line - said.lines:
            raise Denied(f"{self._address} says: {why}")
        reason, flow = why.partition(":")[0], said.flow
        if said.end and reason not in WAITS:
            self.refuse(flow, 1, f"{flow.source}: {why}")
        elif flow.is_begun or flow in self._asked:
            self._asked.pop(flow, None)
            flow.deny(self.clean(why), DENIED_S)


def sender_of(flow: Flow) -> str:
    return f"{flow.run}:{flow.turn}" if flow.turn else flow.run


def row_lines(block: Block) -> str:
    """Rows as text, with all that a double has."""
    cells: list[Any] = []
    for time_said, values in zip(times(block), block.rows.values.tolist(), strict=True):
        cells.append(time_said)
        cells += values
    return (f"%s{' %r' * len(block.rows.columns)}\n" * len(block.rows)) % tuple(cells)


def times(block: Block) -> list[int] | list[str]:
    """ns, or as text where these could be read as microseconds."""
    stamps = block.rows.time.view("int64")
    return stamps.tolist() if stamps.min() >= ISO_BEFORE else [time_of(each) for each in stamps.tolist()]
