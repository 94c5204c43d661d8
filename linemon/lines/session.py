"""What one connection has said so far: its source, its columns, the line that is still arriving. No I/O."""

from __future__ import annotations

import re
from typing import Final

from linemon.access import EVERYTHING, NO_TOKENS, Tokens
from linemon.errors import LineError
from linemon.lines import wire
from linemon.lines.sequence import Sequence
from linemon.store.ring import NAME_BYTES
from linemon.store.writer import Ring, StoreWriter

HTTP: Final = re.compile(rb"[A-Z]{3,10} \S+ HTTP/\d")
DIRECTIVE: Final = re.compile(rb"(#[^ \t]*)[ \t]*(.*)", re.DOTALL)
MAX_REPLIES: Final = 1 << 16  # bytes
SEQ: Final = re.compile(rb"(\d{1,18})(?:[ \t]+([^ \t]+))?")
TLS_HELLO: Final = b"\x16\x03"  # handshake record, any version (RFC 8446, 5.1)


class ForeignProtocol(LineError):
    """The peer speaks HTTP or TLS: one rejected line, and the connection ends."""

    def __init__(self, name: str) -> None:
        super().__init__("protocol", f"this port takes lines, the peer speaks {name}")


class Session:
    """The state of one connection; `peer` is its address without the port.

    `feed` cuts bytes into complete lines, the same ones however the bytes arrive. `said` carries out a directive.
    The counters obey received = stored + rejected + duplicate + dropped, in data lines.
    """

    def __init__(self, peer: str, max_line: int, tokens: Tokens = NO_TOKENS) -> None:
        self.peer = peer
        self.max_line = max_line
        self._tokens = tokens
        self.grant = None if tokens else EVERYTHING  # what it may write to
        self.lines = 0  # of any kind: what #error counts
        self.wants_errors = False
        self.needs_care = False  # its last lines had to be looked at one by one
        self.replies = bytearray()  # to be sent to the peer, see `to_send`
        self.received = self.stored = self.rejected = self.duplicate = self.dropped = 0

        self.source: str | None = None
        self.columns: tuple[str, ...] | None = None
        self.units: tuple[str, ...] = ()
        self.width = 0  # numbers a row, without the time; 0 while nothing has said it
        self.time_at: int | None = None  # where the time stands in a row
        self.refused: dict[bytes, LineError] = {}  # the last #source, #columns, #seq, if they were wrong
        self.columns_used = False  # a row came since they were said
        self.ring: Ring | None = None  # where rows go, once a row has shown it
        self.announced: tuple[int, str] | None = None  # what #seq said: the number of the next line, and the sender
        self.sequence: Sequence | None = None  # of which this connection sends lines,
        self.number = 0  # the next one with this number
        self._said_acked = -1
        self.is_over = False  # a numbered line has no room: what is not acknowledged comes again on another connection

        self._tail = bytearray()  # the start of a line that is still arriving
        self._skipping = False  # inside an over-long line, until its newline
        self._opened = False  # the first line is over
        self._is_clear = False  # it is, and nothing is left of the last read

    # -- bytes to lines

    def feed(self, data: bytes) -> list[bytes | LineError]:
        """Blocks of complete lines, each ending with a newline; a LineError stands for an over-long line.

        ForeignProtocol where the first line shows that the peer speaks HTTP or TLS.
        """
        if self._is_clear and data.endswith(b"\n") and len(data) <= self.max_line:
            return [data]  # most reads of most senders
        self._is_clear = False
        start = 0
        if self._skipping:
            start = data.find(b"\n") + 1
            if not start:
                return []
            self._skipping = False
        cut = data.rfind(b"\n", start) + 1
        if not cut:
            self._tail += data[start:]
            parts: list[bytes | LineError] = []
        else:
            block = bytes(self._tail) + data[start:cut] if self._tail else data[start:cut]
            self._tail = bytearray(data[cut:])
            self._recognize(block)
            parts = self._without_long_lines(block)
        self._recognize(self._tail)
        # One more byte may be the \r that does not count.
        if len(self._tail) > self.max_line + self._tail.endswith(b"\r"):
            self._tail.clear()
            self._skipping = self._opened = True
            parts.append(self._too_long())
        self._is_clear = self._opened and not self._skipping and not self._tail
        return parts

    def end(self) -> bytes:
        """The last line, if the stream ended cleanly without its newline; it counts like the others.

        Not on a connection that numbers its lines: there the sender says itself which one was not finished.
        """
        last, self._tail = bytes(self._tail), bytearray()
        return last + b"\n" if last and self.sequence is None else b""

    def _recognize(self, first: bytes | bytearray) -> None:
        if not self._opened:
            self._opened = b"\n" in first
            if first.startswith(TLS_HELLO):
                raise ForeignProtocol("TLS")
            if HTTP.match(first, 0, self.max_line):
                raise ForeignProtocol("HTTP")

    def _without_long_lines(self, block: bytes) -> list[bytes | LineError]:
        parts: list[bytes | LineError] = []
        good = at = 0  # block[good:at] holds lines that are short enough
        while len(block) - at > self.max_line:
            window = at + self.max_line + 2  # the longest line there may be, with its \r\n
            newline = block.rfind(b"\n", at, window)
            if newline == window - 1 and block[newline - 1] != 13 and block.rfind(b"\n", at, newline) < 0:
                newline = -1
            if newline >= 0:
                at = newline + 1
                continue
            if at > good:
                parts.append(block[good:at])
            parts.append(self._too_long())
            good = at = block.index(b"\n", at) + 1
        if len(block) > good:
            parts.append(block[good:])
        return parts

    def _too_long(self) -> LineError:
        return LineError("length", f"the line is longer than max_line = {self.max_line} bytes")

    def reply(self, line: str) -> None:
        """Answer the peer; one that does not read its answers does not get more of them."""
        if len(self.replies) < MAX_REPLIES:
            self.replies += line.encode() + b"\n"

    def to_send(self) -> bytearray:
        """Answers for the peer; who sends them deletes what was sent.

        The newest acknowledgement is enough: it is added when all before it has gone, so that a peer that does not
        read its answers costs nothing.
        """
        if self.sequence is not None and not self.replies and self.sequence.settled != self._said_acked:
            self._said_acked = self.sequence.settled
            self.reply(f"#ack {self._said_acked}")
        return self.replies

    # -- where rows go

    def check(self, source: str) -> None:
        """LineError if this connection's token, or the lack of one, does not open the source."""
        if self.grant is None:
            raise LineError("token", "this port asks for a #token first")
        if not self.grant.covers(source):
            raise LineError("token", f"this token may not write to {source!r}")

    @property
    def tokens(self) -> int:
        """How many tokens a row has; 0 while nothing has said it."""
        return self.width + (self.time_at is not None) if self.width else 0

    @property
    def slot(self) -> int:
        assert self.ring is not None
        return self.ring.entry.slot

    def fits(self) -> bool:
        """Whether rows may go to the ring as it is now: unnamed ones need its very width."""
        if self.ring is None or self.ring.is_gone:
            return False
        return self.columns is not None or self.ring.width == self.width

    def bind(self, store: StoreWriter, width: int) -> None:
        """Find the ring for rows of `width` numbers; LineError if they do not fit the source."""
        name = self.source if self.source is not None else f"{self.peer}/{width}"
        self.check(name)
        if self.columns is None:
            self.ring = store.bind(name, tuple(f"c{i + 1}" for i in range(width)), None)
        else:
            self.ring = store.bind(name, self.columns, self.units)
        self.width = width

    # -- directives

    def said(self, line: bytes) -> None:
        """Carry out a line that starts with `#`; an unknown one is a comment. LineError if it is refused."""
        match = DIRECTIVE.match(line)
        assert match
        word, rest = match.groups()
        if said := {b"#source": self._set_source, b"#columns": self._set_columns, b"#seq": self._announce}.get(word):
            self.refused.pop(word, None)
            try:
                said(rest)
            except LineError as error:
                self.refused[word] = error
                raise
        elif word == b"#token":
            if grant := self._tokens.find(rest):
                self.grant, self.ring = grant, None
            if self.grant is None:
                raise LineError("token", "the #token is wrong")
        elif word == b"#errors" and rest in (b"on", b"off"):
            self.wants_errors = rest == b"on"
        elif line == b"#stats":
            self.reply(
                f"#stats received={self.received} stored={self.stored} rejected={self.rejected} "
                f"duplicate={self.duplicate} dropped={self.dropped}"
            )

    def _set_source(self, name: bytes) -> None:
        if self.columns_used or self.columns is None:
            self.columns, self.units, self.time_at, self.width = None, (), None, 0
        self.source, self.columns_used, self.ring, self.sequence = None, False, None, None
        self.refused.pop(b"#seq", None)
        self.source = wire.source_name(wire.text(name))

    def _set_columns(self, rest: bytes) -> None:
        self.columns, self.units, self.time_at, self.width, self.columns_used = None, (), None, 0, False
        self.ring = None
        names, units = wire.columns([wire.text(token) for token in wire.tokens(rest)])
        if "time" in names:
            at = self.time_at = names.index("time")
            names, units = names[:at] + names[at + 1 :], units[:at] + units[at + 1 :]
        self.columns, self.units, self.width = names, units, len(names)

    def _announce(self, rest: bytes) -> None:
        self.sequence = self.announced = None
        if self.source is None and self.grant is not None:
            raise LineError("sequence", "#seq numbers the lines of a source: say #source first")
        self.check(self.source or "")
        match = SEQ.fullmatch(rest)
        sender = wire.text(match[2] or b"") if match else ""
        if not match or len(sender.encode()) > NAME_BYTES or not (sender.isprintable()):
            raise LineError(
                "sequence",
                f"{wire.show(rest)}: expected #seq N SENDER, a number and up to {NAME_BYTES} bytes without blanks",
            )
        self.announced = int(match[1]), sender

    def begin(self, sequence: Sequence, number: int) -> None:
        """Lines from now on are those of `sequence` from `number` on; the peer is told which one is awaited."""
        self.sequence, self.number, self._said_acked = sequence, number, -1
