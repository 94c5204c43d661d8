"""What one connection has said so far: its source, its columns, the line that is still arriving. No I/O."""

from __future__ import annotations

import re
from typing import Final

from linemon.access import NO_TOKENS, Tokens
from linemon.errors import LineError, show
from linemon.lines import wire
from linemon.lines.body import NOT_HERE, Body
from linemon.lines.contact import Contact, Link, Refusal
from linemon.lines.sequence import Place, Sequence
from linemon.store.ring import NAME_BYTES
from linemon.store.writer import Ring, StoreWriter

HTTP: Final = re.compile(rb"[A-Z]{3,10} \S+ HTTP/\d")
DIRECTIVE: Final = re.compile(rb"(#[^ \t]*)[ \t]*(.*)", re.DOTALL)
BOM: Final = b"\xef\xbb\xbf"
MAX_REPLIES: Final = 1 << 16  # bytes
MAX_PLACES: Final = 10_000  # sources of a connection whose acknowledgements say whose they are
MAX_WRONG_TOKENS: Final = 10
SEQ: Final = re.compile(rb"(\d{1,18})(?:[ \t]+([^ \t]+))?")
TLS_HELLO: Final = b"\x16\x03"  # handshake record, any version (RFC 8446, 5.1)

OF_DEVICES: Final = (b"#device", b"#is", b"#spec")
KNOWN: Final = (b"#source", b"#columns", b"#token", b"#seq", b"#acks", b"#mark", b"#errors", b"#stats", *OF_DEVICES)
LOOKS_LIKE: Final = re.compile(rb"#[ \t]*(source|columns|token|seq|acks|mark|errors|stats|device)[: \t]", re.IGNORECASE)


def is_directive(line: bytes) -> bool:
    """Whether a line, with blanks at its ends or not, speaks to the collector and is no comment."""
    match = DIRECTIVE.match(line.removesuffix(b"\r").lstrip(b" \t"))
    return match is not None and match[1] in KNOWN


class ForeignProtocol(LineError):
    """The peer speaks HTTP or TLS: one rejected line, and the connection ends."""

    def __init__(self, name: str) -> None:
        super().__init__("protocol", f"this port takes lines, the peer speaks {name}")


class WrongToken(LineError):
    """A `#token` that is none where one is asked for: it counts as a line of its own."""

    def __init__(self) -> None:
        super().__init__("token", "this #token is not one of mine")


class Session:
    """The state of one connection; `peer` is its address without the port.

    `feed` cuts bytes into complete lines, the same ones however the bytes arrive. `said` carries out a directive.
    The counters obey received = stored + rejected + duplicate + dropped, in data lines.
    """

    __slots__ = (  # quicker: they are more attributes than Python keeps for all instances together
        "_is_clear", "_is_new", "_opened", "_skipping", "_tail", "_tokens", "announced", "asked", "body", "columns",
        "columns_used", "contact", "dropped", "duplicate", "foreign", "grant", "held", "in_rows", "is_named", "is_over",
        "is_waiting", "left", "lines", "link", "marked", "max_line", "needs_care", "news", "number", "open_point",
        "order", "owed", "peer", "places", "received", "refused", "rejected", "replies", "resume", "ring", "sequence",
        "source", "stored", "time_at", "units", "wants_errors", "width", "wrong_tokens",
    )  # fmt: skip

    def __init__(self, peer: str, max_line: int, tokens: Tokens = NO_TOKENS, body: Body | None = None) -> None:
        self.peer = peer
        self.body = body  # of a request or a datagram, where the lines are that
        self.max_line = max_line
        self._tokens = tokens
        self.grant = None if tokens else tokens.open  # what it may write to
        self.lines = 0  # of any kind: what #error counts
        self.wants_errors = False
        self.needs_care = True  # its last lines took long, one by one or for new sources; the first ones may
        self.replies = bytearray()  # to be sent to the peer, see `to_send`
        self.received = self.stored = self.rejected = self.duplicate = self.dropped = 0

        self.source: str | None = None
        self.columns: tuple[str, ...] | None = None
        self.units: tuple[str, ...] = ()
        self.width = 0  # numbers a row, without the time; 0 while nothing has said it
        self.time_at: int | None = None  # where the time stands in a row
        self.order: tuple[int, ...] = ()  # where the source has the columns; empty: they are its first ones
        self.refused: dict[bytes, LineError] = {}  # the last #source, #columns, #seq, if they were wrong
        self.columns_used = False  # a row came since they were said
        self.ring: Ring | None = None  # where rows go, once a row has shown it
        self.announced: tuple[int, str] | None = None  # what #seq said: the number of the next line, and the sender
        self.sequence: Sequence | None = None  # of which this connection sends lines,
        self.left: Sequence | None = None
        self.marked: tuple[int | None, str] | None = None  # what #mark said: when (ns, None for now), and the text
        self.asked: tuple[bytes, bytes] | None = None  # that others answer: the directive and the rest
        self.contact: Contact | None = None  # as which it is registered
        self.foreign: tuple[str, ...] = ()  # sources of other devices that it wrote to
        self.link: Link | None = None  # where there is one that goes on
        self.news: dict[str, str] = {}  # for the device, the newest of each kind
        self.number = 0  # the next one with this number
        self.owed: dict[Sequence, None] = {}  # whose numbers the peer is to be told, in this order
        self.is_named = False  # they are told with their sender and source, and the connection remembers its
        self.places: dict[str, Place] = {}  # sources that it left
        self.is_waiting = False  # for a #seq: a line of this source was held back, the others are not received
        self.wrong_tokens = 0
        self.in_rows = False  # #columns was said or a row stored: a line that starts with a digit is no metric
        self.open_point = b""  # lines that may be one point, in whose string they end
        self.is_over = False  # nothing more is taken; numbered lines come again on another connection

        self.held: list[bytes | LineError] = []  # read, and not taken yet: at a backlog's pace, or in another turn
        self.resume = 0  # when (ns) to take more of it

        self._is_new = True  # no byte has come but the start of a byte order mark
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
        if self._is_new:
            self._tail += data
            if len(self._tail) < len(BOM) and BOM.startswith(self._tail):
                return []
            data, self._is_new = bytes(self._tail).removeprefix(BOM), False
            self._tail.clear()
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
            block = b"".join((self._tail, memoryview(data)[start:cut]))  # copied once
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

    def hold(self, part: bytes | LineError) -> None:
        """Have it wait for another turn, behind what waits already."""
        if not self.held:
            self.resume, self.needs_care = 0, True
        self.held.append(part)

    def _recognize(self, first: bytes | bytearray) -> None:
        if not self._opened:
            self._opened = b"\n" in first
            if first.startswith(TLS_HELLO):
                raise ForeignProtocol("TLS")
            if request := HTTP.match(first, 0, self.max_line):
                what = "Influx's write API" if b"/write" in request[0] else "that"
                raise ForeignProtocol(f"HTTP: {what} is at the [http] port, 8080")

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
        while self.news and not self.replies:
            self.replies += self.news.pop(next(iter(self.news))).encode() + b"\n"
        while self.owed and len(self.replies) < (MAX_REPLIES if self.is_named else 1):
            sequence = next(iter(self.owed))
            del self.owed[sequence]
            if self.is_named:
                self.reply(f"#ack {sequence.settled} {sequence.sender or '-'} {sequence.source}")
            elif sequence is self.sequence:
                self.reply(f"#ack {sequence.settled}")
        return self.replies

    # -- where rows go

    def check(self, source: str | None) -> None:
        """LineError if this connection's token, or the lack of one, does not open the source; None stands for all."""
        if self.grant is None:
            raise LineError("token", "this port asks for a #token first")
        if self.grant.wants_device(source) and not (self.contact and self.contact.device.name == source):
            raise LineError("device", f"{source!r} takes rows of its registered device only: [devices] required")
        if not self.grant.covers(source):
            raise LineError("token", f"this token may not write to {repr(source) if source else 'all sources'}")

    @property
    def is_plain(self) -> bool:
        """Whether rows of its source are all that there is to it now: nothing is left, awaited, wrong or to be told."""
        return self._is_clear and not (
            self.needs_care
            or self.refused
            or self.open_point
            or self.held
            or self.replies
            or self.owed
            or self.news
            or self.is_named
            or self.is_over
            or self.order
        )

    @property
    def tokens(self) -> int:
        """How many tokens a row has; 0 while nothing has said it."""
        return self.width + (self.time_at is not None) if self.width else 0

    @property
    def slot(self) -> int:
        assert self.ring is not None
        return self.ring.entry.slot

    @property
    def named_source(self) -> str:
        """Where rows go that name their columns themselves."""
        return self._source_or("named")

    def _source_or(self, default: object) -> str:
        """The source that was said, or else one that is called by the peer."""
        if self.source is None and self.body and self.body.names_source:
            raise LineError("name", "rows of a datagram need a line #source before them, in the same datagram")
        return self.source if self.source is not None else f"{self.peer}/{default}"

    def fits(self) -> bool:
        """Whether rows may go to the ring as it is now: unnamed ones need its very width."""
        if self.ring is None or self.ring.is_gone:
            return False
        return self.columns is not None or (self.ring.width == self.width and not self.ring.coming)

    def bind(self, store: StoreWriter, width: int) -> None:
        """Find the ring for rows of `width` numbers; LineError if they do not fit the source."""
        name = self._source_or(width)
        self.check(name)
        if self.columns is None:
            self.ring, self.order = store.bind(name, tuple(f"c{i + 1}" for i in range(width)), None), ()
        else:
            self.ring = store.bind(name, self.columns, self.units)
            have = self.ring.entry.columns
            self.order = () if have[:width] == self.columns else tuple(map(have.index, self.columns))
        self.width = width

    # -- directives

    def said(self, line: bytes) -> str:
        """Carry out a line that starts with `#`; an unknown one is a comment. LineError if it is refused.

        The directive that a comment looks like, or nothing.
        """
        match = DIRECTIVE.match(line)
        assert match
        word, rest = match.groups()
        if self.body and word in NOT_HERE:
            error = self.refused[b"for good"] = LineError("sequence", f"{show(word)} needs a connection of [tcp]")
            raise error
        if said := {b"#source": self._set_source, b"#columns": self._set_columns, b"#seq": self._announce}.get(word):
            self.refused.pop(word, None)
            try:
                said(rest)
            except LineError as error:
                self.refused[word] = error
                raise
        elif word == b"#mark":
            self._mark(rest)
        elif word in OF_DEVICES:
            self.asked = word, rest
        elif word == b"#token":
            if grant := self._tokens.find(rest):
                self.grant, self.ring = grant, None
            elif self._tokens:
                raise WrongToken
        elif word == b"#errors" and rest in (b"on", b"off"):
            self.wants_errors = rest == b"on"
        elif word == b"#acks" and rest == b"named":
            self.is_named, self.asked = True, (word, rest)
        elif line == b"#stats":
            self.reply(
                f"#stats received={self.received} stored={self.stored} rejected={self.rejected} "
                f"duplicate={self.duplicate} dropped={self.dropped}"
            )
        elif word not in KNOWN and (like := LOOKS_LIKE.match(line)):
            return f"#{like[1].decode().lower()}"
        return ""

    def _set_source(self, name: bytes) -> None:
        if self.is_named:
            self._leave()
        else:
            self.owed.clear()
        if self.columns_used or self.columns is None:
            self.columns, self.units, self.time_at, self.width = None, (), None, 0
        if self.columns_used:
            self.in_rows = False
        self.source, self.columns_used, self.ring, self.sequence, self.is_waiting = None, False, None, None, False
        self.refused.pop(b"#seq", None)
        self.source = wire.source_name(wire.text(name))
        if place := self.places.get(self.source):
            self.sequence, self.number, self.is_waiting = place.sequence, place.number, place.is_waiting
            if self.columns is None:
                self.columns, self.units, self.time_at, self.width, self.ring, self.order = place[:6]
                self.columns_used = self.in_rows = True

    def go_to(self, source: str) -> None:
        """As `#source`, where it is not there."""
        if source != self.source:
            self._set_source(source.encode())
            self.refused.pop(b"#source", None)

    def _leave(self) -> None:
        """Remember the source that the connection was at, where it may come back."""
        if self.source is not None and self.sequence is not None:
            self.places[self.source] = Place(
                self.columns, self.units, self.time_at, self.width, self.ring, self.order,
                self.sequence, self.number, self.is_waiting,
            )  # fmt: skip
            self.columns_used = True  # they are of that source, had it rows or not

    def _set_columns(self, rest: bytes) -> None:
        self.columns, self.units, self.time_at, self.width, self.columns_used = None, (), None, 0, False
        self.ring, self.in_rows = None, True
        names, units = wire.said_columns(wire.text(rest))
        if "time" in names:
            at = self.time_at = names.index("time")
            names, units = names[:at] + names[at + 1 :], units[:at] + units[at + 1 :]
        self.columns, self.units, self.width = names, units, len(names)

    def _mark(self, rest: bytes) -> None:
        if wrong := self.refused.get(b"#source"):
            raise LineError(wrong.reason, f"marks wait for a right #source: {wrong}")
        if self.grant is None or not self.grant.may_mark(self.source):
            self.check(self.source)
        self.marked = wire.said_mark(rest)

    def _announce(self, rest: bytes) -> None:
        if self.sequence is not None:
            self.owed.pop(self.sequence, None)
        # Of one that no ring keeps yet this is all that is known: it must be there where it is announced anew.
        self.left, self.sequence, self.announced = self.sequence, None, None
        if self.source is None and self.grant is not None:
            raise LineError("sequence", "#seq numbers the lines of a source: say #source first")
        self.check(self.source or "")
        match = SEQ.fullmatch(rest)
        sender = wire.text(match[2] or b"") if match else ""
        if not match or len(sender.encode()) > NAME_BYTES or not (sender.isprintable()):
            raise LineError(
                "sequence",
                f"{show(rest)}: expected #seq N SENDER, a number and up to {NAME_BYTES} bytes without blanks",
            )
        if self.is_named and len(self.places) >= MAX_PLACES and self.source not in self.places:
            raise LineError("sequence", f"a connection numbers the lines of at most {MAX_PLACES} sources")
        self.announced = int(match[1]), "" if sender == "-" else sender

    def wait(self) -> None:
        """Receive no line of this source until its next #seq."""
        self.is_waiting, self.ring = True, None  # without a ring nothing is taken in bulk

    def shut(self) -> None:
        """Receive nothing more."""
        self.is_over, self.ring, self.grant = True, None, None  # as above

    def turn_away(self, why: Refusal, number: int) -> None:
        """The same, and say so."""
        self.owed.clear()
        self.reply(f"#error {number} {why.reason}: {why}")
        self.shut()

    def begin(self, sequence: Sequence, number: int) -> None:
        """Lines from now on are those of `sequence` from `number` on; the peer is told which one is awaited."""
        self.sequence, self.number, self.is_waiting = sequence, number, False
        self.owed[sequence] = None
