"""The line language once more: slow and obvious, on whole lines, one character after the other.

This is the language's second description. It shares no code and no regular expression with `linemon`, and it keeps
everything in lists. What `linemon` makes of any bytes, cut in any way, must be what this makes of them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.reference_kinds import (
    JsonReader,
    Named,
    NumberText,
    Point,
    first_token,
    influx,
    is_written_as_point,
    json_line,
    kind_of,
    pairs,
    stays_open,
)
from tests.reference_words import (
    MISSING,
    Rejected,
    column_name,
    has_control,
    is_name,
    is_utf8,
    marked,
    metric_name,
    number,
    recent_time,
    row_number,
    source_name,
    split_once,
    time,
    tokens_of,
    utf8,
    with_clock,
    with_tags,
    without_blanks,
)


class TurnedAway(Rejected):
    """A device that cannot be it: it is told so, and the connection ends."""


class WrongToken(Rejected):
    """A #token that is none, where one is asked for."""


@dataclass
class Source:
    """A source and all its rows: (time in ns, one value per column)."""

    columns: list[str]
    units: list[str]
    rows: list[tuple[int, list[float]]] = field(default_factory=list)

    def add(self, columns: list[str], units: list[str]) -> None:
        """More columns at the end, missing in the rows there are."""
        self.columns += columns
        self.units += units
        for _, values in self.rows:
            values += [MISSING] * len(columns)


@dataclass(frozen=True)
class Body:
    """Lines with an end: of a request, or a datagram."""

    has_points: bool = False  # Influx points are taken and nothing else, and what begins with # is a comment
    unit: int = 0  # their times are whole numbers of so many ns; 0: as everywhere
    is_datagram: bool = False  # rows go nowhere without #source; of a request it is known already who may write


@dataclass(frozen=True)
class Place:
    """What a connection goes back to where it says `#source` of one that it left, after `#acks named`."""

    key: tuple[str, str]
    number: int
    is_waiting: bool
    names: list[str] | None
    units: list[str]
    width: int | None
    time_at: int | None


class Collector:
    """Takes connections, and remembers what became of their lines."""

    def __init__(self, now: int, *, max_line: int = 65536, max_sources: int = 10000, token: str = "") -> None:
        self.now = now
        self.max_line = max_line
        self.max_sources = max_sources
        self.token = token
        self.sources: dict[str, Source] = {}
        self.received = 0
        self.stored = 0
        self.rejected: Counter[str] = Counter()
        self.strings = 0  # Influx's string fields that were left out
        self.duplicate = 0
        self.lost = 0  # lines that numbering senders left out
        self.marks: list[tuple[str | None, int, str]] = []  # (source or None for all, time in ns, text)
        self.kept: dict[tuple[str, str], int] = {}  # the next number of each source and sender that has rows,
        self.awaited: dict[tuple[str, str], int] = {}  # and of those that an open connection is at
        self.open: list[Connection] = []
        self.devices: dict[tuple[str, str], str] = {}  # the source of each product and serial
        self.connected: dict[tuple[str, str], Connection] = {}

    def connect(self, peer: str, body: Body | None = None) -> Connection:
        connection = Connection(self, peer, body)
        self.open.append(connection)
        return connection

    def advance(self, key: tuple[str, str], number: int) -> None:
        """What becomes of the lines below `number` is known."""
        self.awaited[key] = number
        if key in self.kept:
            self.kept[key] = number

    def forget_unused(self) -> None:
        """A number that no ring keeps lasts as long as somebody is at it."""
        used = {key for connection in self.open for key in (connection.key, connection.left)}
        used |= {place.key for connection in self.open for place in connection.places.values()}
        self.awaited = {key: number for key, number in self.awaited.items() if key in used}

    def whole(self, peer: str, data: bytes, clean_end: bool = True) -> Connection:
        """A connection from its first to its last byte."""
        connection = self.connect(peer)
        connection.hear(data)
        connection.end() if clean_end else connection.reset()
        return connection

    def source(self, name: str, columns: list[str], units: list[str]) -> Source:
        """The source of that name, made where there is none yet."""
        if name not in self.sources:
            if len(self.sources) >= self.max_sources:
                raise Rejected("max_sources")
            self.sources[name] = Source(list(columns), list(units))
        return self.sources[name]

    def store(self, source: Source, time: int | None, values: list[float]) -> None:
        missing = [MISSING] * (len(source.columns) - len(values))
        source.rows.append((self.now if time is None else time, values + missing))


class Connection:
    """One connection, or body: what it said that holds for its next lines, and what became of the last ones."""

    def __init__(self, collector: Collector, peer: str, body: Body | None = None) -> None:
        self.collector = collector
        self.peer = peer
        self.body = body
        self.has_points = body is not None and body.has_points
        self.token = collector.token if body is None or body.is_datagram else ""
        self.faults: list[tuple[int, str]] = []  # of a body: (line, reason) of what was wrong, for the answer
        self.unfinished = b""
        self.is_new = True  # nothing came yet but what may be a byte order mark
        self.wrong_tokens = 0
        self.is_too_long = False  # the unfinished line, which is counted already
        self.closed = False  # by the collector
        self.lines = 0
        self.received = 0
        self.stored = 0
        self.rejected = 0
        self.duplicate = 0
        self.left: tuple[str, str] | None = None  # as `key`, before the last #seq
        self.key: tuple[str, str] | None = None  # the source and the sender whose lines are numbered,
        self.number = 0  # the next one with this,
        self.acked: int | None = None  # and at the end of the connection the first one that was not acknowledged
        self.bad: list[tuple[int, str]] = []  # (line, reason) of each rejected line
        self.notes: list[tuple[int, str]] = []  # the same of comments that look like directives
        self.replies: list[tuple[str, int] | str] = []  # ("#error", line), or all of a #stats answer

        self.is_named = False  # `#acks named`: it may leave a source and come back
        self.places: dict[str, Place] = {}
        self.is_waiting = False  # a line was held back: the others are not received until the next #seq

        self.authorized = self.token == ""
        self.wants_errors = False
        self.source_name: str | None = None
        self.names: list[str] | None = None  # what #columns said, without the time
        self.units: list[str] = []
        self.width: int | None = None
        self.time_at: int | None = None
        self.rows_came = False  # since #source and #columns were said
        self.in_rows = False  # #columns was said, or a row was stored, since #source was said after rows
        self.opened = False  # the first line is over
        self.held: list[bytes] = []  # lines that may be one point, in whose string they end
        self.marked = 0  # how many marks it asked for: all in one second here
        self.said_anew = True  # no row was stored since
        self.refused: list[tuple[str, str]] = []  # (directive, reason): rows are rejected because of the first
        self.device: tuple[str, str] | None = None  # product and serial as which it registered,
        self.claim: tuple[str, str] | None = None  # or would, if its #seq is that of who is connected as this

    # -- lines

    def hear(self, data: bytes) -> None:
        """Bytes that came; all of them or some of them, that makes no difference."""
        self.unfinished += data
        if self.is_new:
            if len(self.unfinished) < 3 and b"\xef\xbb\xbf".startswith(self.unfinished):
                return
            self.is_new = False
            self.unfinished = self.unfinished.removeprefix(b"\xef\xbb\xbf")
        if not self.opened and opens_otherwise(self.unfinished[: self.collector.max_line].split(b"\n")[0]):
            self.lines = 1
            self.reject("protocol")
            self.close()
        while b"\n" in self.unfinished and not self.closed:
            line, self.unfinished = self.unfinished.split(b"\n", 1)
            self.opened = True
            if not self.is_too_long:
                self.line(line)
            self.is_too_long = False
        unfinished = self.unfinished[:-1] if self.unfinished[-1:] == b"\r" else self.unfinished
        if len(unfinished) > self.collector.max_line and not self.is_too_long and not self.closed:
            self.line(self.unfinished)  # rejected as soon as that is known
            self.is_too_long = self.opened = True

    def reset(self) -> None:
        """The connection broke: an unfinished line does not count."""
        self.close()

    def end(self) -> None:
        """The peer closed: a last line without its newline counts, but where lines are numbered."""
        if self.unfinished != b"" and not self.is_too_long and not self.closed and self.key is None:
            self.line(self.unfinished)
        self.close()

    def close(self) -> None:
        if self.closed:
            return
        while self.held:
            self.release()
        self.unfinished = b""
        self.closed = True
        if self.key is not None:
            self.acked = self.collector.awaited[self.key]
        if self in self.collector.open:
            self.collector.open.remove(self)
        if self.device is not None and self.collector.connected.get(self.device) is self:
            del self.collector.connected[self.device]
        self.collector.forget_unused()

    def line(self, line: bytes) -> None:
        """One line without its newline; it may be the next of a point whose string goes over several."""
        if self.closed:
            return
        if not self.held:
            if self.opens_string(line):
                self.held = [line]
            else:
                self.lone_line(line)
            return
        joined = b"\n".join([*self.held, line])
        is_short = len(joined[:-1] if joined[-1:] == b"\r" else joined) <= self.collector.max_line
        if is_short and (self.has_points or not is_known_directive(line)):
            if self.opens_string(joined):
                self.held.append(line)
                if len(self.held) > 100:
                    self.release()
                return
            if is_utf8(joined) and is_written_as_point(stripped(joined)):
                newlines, self.held = len(self.held), []
                self.lone_line(joined)
                self.lines += newlines
                return
        self.release()
        self.line(line)

    def opens_string(self, line: bytes) -> bool:
        """Whether a point begins here that is not over where a quote stays open."""
        if self.key is not None or not self.authorized or not is_utf8(line) or len(line) > self.collector.max_line:
            return False
        text = stripped(line)
        return text != "" and kind_of(text, self.in_rows) == "influx" and stays_open(text)

    def release(self) -> None:
        """They are no point: the first one counts by itself, the others are looked at anew."""
        first, *others = self.held
        self.held = []
        self.lone_line(first)
        for other in others:
            self.line(other)

    def lone_line(self, line: bytes) -> None:
        self.lines += 1
        if line[-1:] == b"\r":
            line = line[:-1]
        if len(line) > self.collector.max_line:
            if not self.is_waiting and not self.is_held():
                self.reject("length")
            return
        line = without_blanks(line)
        if line == b"":
            return
        if line[:1] == b"#":
            if self.has_points:
                return
            try:
                self.directive(line)
            except WrongToken:
                self.wrong_token()
            except TurnedAway:
                self.turn_away()
            except Rejected as why:
                self.answer_error(why.reason)
            return
        if self.is_waiting or self.is_held():
            return
        try:
            self.data_line(line)
        except TurnedAway as why:
            if self.key is None:
                self.wants_errors = False
                self.reject(why.reason)
            self.turn_away()
        except Rejected as why:
            self.refuse(line, why.reason)
        else:
            self.received += 1
            self.stored += 1
            self.collector.received += 1
            self.collector.stored += 1

    def refuse(self, line: bytes, reason: str) -> None:
        """A data line that cannot be taken."""
        if self.key is not None and reason in ("store_full", "max_sources", "token", "device"):
            self.collector.advance(self.key, self.number - 1)  # it comes again, when there is room or right for it
            self.answer_error(reason)
            if self.is_named:
                self.is_waiting = True
            else:
                self.close()
            return
        words = [word for word in (b"#source", b"#columns", b"#token") if holds(line, word)]
        if self.lines > 1 or not words:
            self.reject(reason)
        elif min(words, key=line.find) == b"#token":
            self.wrong_token()
        else:
            self.refused.append((min(words, key=line.find).decode(), "name"))
            self.answer_error("name")

    def turn_away(self) -> None:
        self.replies.append(("#error", self.lines))
        self.close()

    def wrong_token(self) -> None:
        self.reject("token")
        self.wrong_tokens += 1
        if self.wrong_tokens == 10:
            self.close()

    def is_held(self) -> bool:
        """Take the line's number, where lines have numbers; whether that line came before."""
        if self.key is None:
            return False
        self.number += 1
        if self.number > self.collector.awaited[self.key]:
            self.collector.advance(self.key, self.number)
            return False
        self.received += 1
        self.duplicate += 1
        self.collector.received += 1
        self.collector.duplicate += 1
        return True

    def reject(self, reason: str) -> None:
        self.received += 1
        self.rejected += 1
        self.collector.received += 1
        self.collector.rejected[reason] += 1
        self.bad.append((self.lines, reason))
        self.answer_error(reason)

    def answer_error(self, reason: str) -> None:
        if self.body is not None:
            if reason != "comment" and not (self.has_points and reason == "fields"):
                self.faults.append((self.lines, reason))
        elif self.wants_errors:
            self.replies.append(("#error", self.lines))

    # -- data

    def data_line(self, line: bytes) -> None:
        if not self.authorized:
            raise Rejected("token")
        text = utf8(line)
        kind = kind_of(text, self.in_rows)
        if self.key is not None and kind in ("metric", "put", "influx"):
            raise Rejected("sequence")
        if self.has_points and kind != "influx":
            raise Rejected("syntax")
        if kind == "json":
            self.named(json_line, text)
        elif kind == "pairs":
            self.named(pairs, text)
        elif kind == "influx":
            self.influx(influx(text, self.body.unit if self.body else 0))
        elif kind == "put":
            self.put(tokens_of(text))
        elif kind == "metric":
            name = first_token(text)
            self.metric(name, with_clock(tokens_of(text[len(name) :]), 1))
        else:
            self.row(tokens_of(text))

    def metric(self, name: str, tokens: list[str]) -> None:
        """``NAME VALUE [TIME]``"""
        if len(tokens) not in (1, 2):
            raise Rejected("tokens")
        value = number(tokens[0])
        at = recent_time(tokens[1]) if len(tokens) == 2 else None
        self.store_value(metric_name(name), at, value)

    def put(self, tokens: list[str]) -> None:
        """``put NAME TIME VALUE [KEY=VALUE]…``"""
        _, name, *rest = with_clock(tokens, 2)
        if len(rest) < 2:
            raise Rejected("tokens")
        at = recent_time(rest[0])
        value = number(rest[1])
        if not is_name(name, in_rows=False) or ";" in name or "{" in name:
            raise Rejected("name")
        tags = []
        for token in rest[2:]:
            key, equals, tag = token.partition("=")
            if equals == "" or key == "":
                raise Rejected("syntax")
            if ";" in token or "=" in tag:
                raise Rejected("name")
            tags.append((key, tag))
        self.store_value(with_tags(name, tags), at, value)

    def store_value(self, name: str, at: int | None, value: float) -> None:
        source = self.collector.source(name, ["value"], [""])
        if source.columns != ["value"]:
            raise Rejected("columns")
        self.collector.store(source, at, [value])

    def named(self, read: Callable[[str], Named], text: str) -> None:
        """A row of the connection's source whose columns have their names with them."""
        self.heed_refused()
        row = read(text)
        name = self.own_source("named")
        self.influx(Point(name, row.values, row.strings, row.time))
        if self.key is not None:
            self.collector.kept[self.key] = self.collector.awaited[self.key]

    def influx(self, point: Point) -> None:
        """A column for each field, wherever it stands in the source."""
        source = self.collector.source(point.source, list(point.values), [""] * len(point.values))
        new = [key for key in point.values if key not in source.columns]
        source.add(new, [""] * len(new))
        self.collector.store(source, point.time, [point.values.get(column, MISSING) for column in source.columns])
        self.collector.strings += point.strings

    def row(self, tokens: list[str]) -> None:
        """Numbers, and the time where #columns said that it stands."""
        self.heed_refused()
        self.rows_came = True
        if self.time_at is not None:
            tokens = with_clock(tokens, self.time_at)
        if self.width is not None and len(tokens) != self.width + (self.time_at is not None):
            raise Rejected("tokens")
        at = None
        if self.time_at is not None:
            at = time(tokens.pop(self.time_at))
        values = [row_number(token) for token in tokens]
        source = self.fitting(self.own_source(str(len(values))), len(values))
        self.width = len(values)
        self.in_rows = True
        self.said_anew = False
        if self.key is not None:
            self.collector.kept[self.key] = self.collector.awaited[self.key]
        if self.names is not None:
            said = dict(zip(self.names, values, strict=True))
            values = [said.get(column, MISSING) for column in source.columns]
        self.collector.store(source, at, values)

    def heed_refused(self) -> None:
        for which, reason in self.refused:
            raise TurnedAway(reason) if which == "#device" and self.claim else Rejected(reason)

    def own_source(self, default: str) -> str:
        """Where rows go that do not name their source."""
        if self.source_name is not None:
            return self.source_name
        if self.body is not None and self.body.is_datagram:
            raise Rejected("name")
        return f"{self.peer}/{default}"

    def fitting(self, name: str, width: int) -> Source:
        """The source for a row, which gets the columns it lacks."""
        if self.names is None:
            columns = [f"c{i + 1}" for i in range(width)]
            source = self.collector.source(name, columns, [""] * width)
            if len(source.columns) != width:
                raise Rejected("columns")
            return source
        source = self.collector.source(name, self.names, self.units)
        said = dict(zip(self.names, self.units, strict=True))
        source.units = [said.get(name) or unit for name, unit in zip(source.columns, source.units, strict=True)]
        new = [name for name in self.names if name not in source.columns]
        source.add(new, [said[name] for name in new])
        return source

    # -- directives

    def directive(self, line: bytes) -> None:
        word, rest = line, b""
        for i in range(len(line)):
            if line[i : i + 1] in (b" ", b"\t"):
                word, rest = line[:i], without_blanks(line[i:])
                break
        if self.body is not None and word in NEED_A_CONNECTION:
            self.refused.append(("for good", "sequence"))
            raise Rejected("sequence")
        if word == b"#source":
            self.carefully("#source", rest)
        elif word == b"#columns":
            self.carefully("#columns", rest)
        elif word == b"#seq":
            self.carefully("#seq", rest)
        elif word == b"#token":
            if rest == self.token.encode():
                self.authorized = True
            elif self.token != "":
                raise WrongToken("token")
        elif word == b"#mark":
            self.say_mark(rest)
        elif word == b"#device":
            self.refused = [(which, reason) for which, reason in self.refused if which != "#device"]
            try:
                product, serial = words_of_device(rest)
            except Rejected as why:
                self.refused.append(("#device", why.reason))
                raise
            self.say_device(product, serial)
        elif word in (b"#is", b"#spec"):
            if self.device is None:
                raise Rejected("device")
            report(rest) if word == b"#is" else word_of_device(rest)
        elif word == b"#errors" and rest in (b"on", b"off"):
            self.wants_errors = rest == b"on"
        elif word == b"#acks" and rest == b"named":
            self.is_named = True
            self.replies.append("#acks")  # and the name of the store
        elif line == b"#stats":
            self.replies.append(
                f"#stats received={self.received} stored={self.stored} rejected={self.rejected} "
                f"duplicate={self.duplicate} dropped=0"
            )
        elif word not in DIRECTIVES and looks_like_directive(line):
            self.notes.append((self.lines, "comment"))
            self.answer_error("comment")

    def carefully(self, word: str, rest: bytes) -> None:
        """Do what is said; if that cannot be, rows wait until it is said rightly."""
        self.refused = [(which, reason) for which, reason in self.refused if which != word]
        if word == "#source":
            self.refused = [(which, reason) for which, reason in self.refused if which != "#seq"]
        self.said_anew = self.said_anew or word != "#seq"
        try:
            {"#source": self.say_source, "#columns": self.say_columns, "#seq": self.say_seq}[word](rest)
        except Rejected as why:
            self.refused.append((word, why.reason))
            raise

    def say_source(self, rest: bytes) -> None:
        if self.is_named and self.source_name is not None and self.key is not None:
            self.places[self.source_name] = Place(
                self.key, self.number, self.is_waiting, self.names, self.units, self.width, self.time_at
            )
            self.rows_came = True  # what was said of columns is of that source
        if self.rows_came:
            self.forget_columns()
            self.in_rows = False
        self.rows_came = self.is_waiting = False
        self.source_name = self.key = None
        self.collector.forget_unused()
        self.source_name = source_name(utf8(rest))
        if place := self.places.get(self.source_name):
            self.key, self.number, self.is_waiting = place.key, place.number, place.is_waiting
            if self.names is None:
                self.names, self.units, self.width, self.time_at = place.names, place.units, place.width, place.time_at
                self.rows_came = self.in_rows = True

    def say_seq(self, rest: bytes) -> None:
        self.left, self.key = self.key, None
        self.collector.forget_unused()
        if not self.authorized:
            raise Rejected("token")
        if self.source_name is None:
            raise Rejected("sequence")
        parts = [part for part in rest.replace(b"\t", b" ").split(b" ") if part]
        if len(parts) not in (1, 2) or len(parts[0]) > 18 or not all(48 <= byte <= 57 for byte in parts[0]):
            raise Rejected("sequence")
        number, sender = parts[0], utf8(parts[1]) if len(parts) == 2 else ""
        sender = "" if sender == "-" else sender
        if len(sender.encode()) > 64 or not sender.isprintable():
            raise Rejected("sequence")
        if self.claim is not None:
            self.prove_claim(sender)
        key = self.source_name, sender
        awaited = self.collector.awaited.get(key, self.collector.kept.get(key, int(number)))
        self.collector.lost += max(0, int(number) - awaited)
        self.key, self.number, self.is_waiting = key, int(number), False
        self.collector.awaited[key] = awaited
        self.collector.advance(key, max(awaited, int(number)))

    def say_device(self, product: str, serial: str) -> None:
        """The same product and serial are the same source for ever."""
        key = product, serial
        if self.device is not None or self.claim is not None or not self.authorized:
            raise TurnedAway("device")
        if key not in self.collector.devices:
            wanted = f"{product}.{serial}" if self.source_name is None else self.source_name
            taken = self.collector.devices.values()
            free = [name for name in (wanted, f"{wanted}.{serial[:4]}", f"{wanted}.{serial}") if name not in taken]
            if not free:
                raise TurnedAway("device")
            self.collector.devices[key] = source_name(free[0])
        name = self.collector.devices[key]
        if name != self.source_name:
            self.refused = [(which, reason) for which, reason in self.refused if which not in ("#source", "#seq")]
            self.said_anew = True
            self.say_source(name.encode())
        there = self.collector.connected.get(key)
        if there is None:
            self.register(key)
        elif there.peer != self.peer:
            raise TurnedAway("device")
        else:
            self.claim = key
            self.refused.append(("#device", "device"))

    def prove_claim(self, sender: str) -> None:
        """Who goes on with the numbers of the connection that is there takes its place."""
        assert self.claim is not None
        there, key = self.collector.connected.get(self.claim), self.claim
        self.claim = None
        if there is not None:
            if sender == "" or there.key is None or there.key[1] != sender:
                raise TurnedAway("device")
            there.turn_away()
        self.refused = [(which, reason) for which, reason in self.refused if which != "#device"]
        self.register(key)

    def register(self, key: tuple[str, str]) -> None:
        self.device = key
        self.collector.connected[key] = self
        self.replies.append(f"#device {self.collector.devices[key]}")

    def say_mark(self, rest: bytes) -> None:
        """``[TIME] TEXT``; the time is one where the first word, or a date and a clock, can be nothing else."""
        for which, reason in self.refused:
            if which == "#source":
                raise Rejected(reason)
        if not self.authorized:
            raise Rejected("token")
        at, text = marked(utf8(rest))
        if not 1 <= len(text) <= 500 or has_control(text):
            raise Rejected("mark")
        self.marked += 1
        if self.marked > 10:
            raise Rejected("mark")
        mark = (self.source_name, self.collector.now if at is None else at, text)
        if mark not in self.collector.marks:
            self.collector.marks.append(mark)

    def say_columns(self, rest: bytes) -> None:
        self.forget_columns()
        self.rows_came = False
        self.in_rows = True
        names: list[str] = []
        units: list[str] = []
        for name, unit in said_columns(utf8(rest)):
            if has_control(unit) or column_name(name) in names:
                raise Rejected("name")
            names.append(name)
            units.append(unit)
        if names in ([], ["time"]):
            raise Rejected("name")
        if "time" in names:
            self.time_at = names.index("time")
            del names[self.time_at], units[self.time_at]
        self.names, self.units, self.width = names, units, len(names)

    def forget_columns(self) -> None:
        self.names, self.units, self.width, self.time_at = None, [], None, None


OFTEN_MISSPELT = (b"#source", b"#columns", b"#token", b"#seq", b"#acks", b"#mark", b"#errors", b"#stats", b"#device")
DIRECTIVES = (*OFTEN_MISSPELT, b"#is", b"#spec")
NEED_A_CONNECTION = (b"#seq", b"#acks", b"#device", b"#is", b"#spec")  # one that goes on


def is_known_directive(line: bytes) -> bool:
    words = without_blanks(line).replace(b"\t", b" ").split(b" ")
    return words[0].removesuffix(b"\r") in DIRECTIVES


def looks_like_directive(line: bytes) -> bool:
    """A directive in other letters, or with a blank or a colon too many."""
    text = without_blanks(line[1:]).lower()
    return any(text[: len(word) - 1] == word[1:] and text[len(word) - 1 : len(word)] in (b":", b" ", b"\t")
               for word in OFTEN_MISSPELT)  # fmt: skip


def word_of_device(word: bytes) -> str:
    text = utf8(word)
    if not 1 <= len(word) <= 64 or " " in text or not text.isprintable():
        raise Rejected("device")
    return text


def words_of_device(rest: bytes) -> list[str]:
    words = [word for word in rest.replace(b"\t", b" ").split(b" ") if word]
    if len(words) != 2:
        raise Rejected("device")
    return [word_of_device(word) for word in words]


def report(rest: bytes) -> None:
    """``VERSION JSON``, an object."""
    digits = 0
    while rest[digits : digits + 1].isdigit():
        digits += 1
    text = rest[digits:].lstrip(b" \t")
    if not 1 <= digits <= 15 or len(text) == len(rest) - digits or not 1 <= len(text) <= 16384:
        raise Rejected("device")
    try:
        said = json.loads(utf8(text))
        json.dumps(said, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        raise Rejected("device") from None
    refused = said.get("refused", {}) if isinstance(said, dict) else None
    if not isinstance(refused, dict) or not all(isinstance(why, str) for why in refused.values()):
        raise Rejected("device")


def said_columns(rest: str) -> list[tuple[str, str]]:
    """Names and units: ``NAME:UNIT``, or a JSON list of names and of lists of both."""
    if rest[:1] != "[":
        return [split_once(token, ":") for token in tokens_of(rest)]
    try:
        items = JsonReader(rest).whole()
    except Rejected:
        raise Rejected("name") from None
    found: list[tuple[str, str]] = []
    assert isinstance(items, list)
    for item in items:
        both = item if isinstance(item, list) else [item, ""]
        if len(both) != 2 or any(not isinstance(each, str) or isinstance(each, NumberText) for each in both):
            raise Rejected("name")
        found.append((str(both[0]), str(both[1])))
    return found


def stripped(line: bytes) -> str:
    return without_blanks(line[:-1] if line[-1:] == b"\r" else line).decode()


def holds(line: bytes, word: bytes) -> bool:
    return word + b" " in line or word + b"\t" in line


def opens_otherwise(line: bytes) -> bool:
    """Whether a connection that starts so speaks HTTP or TLS: a request line, or a handshake record."""
    if line[:2] == b"\x16\x03":
        return True
    parts = line.split(b" ")
    if len(parts) < 3:
        return False
    method, target, version = parts[:3]
    is_method = 3 <= len(method) <= 10 and all(65 <= byte <= 90 for byte in method)
    is_target = target != b"" and not any(byte in b"\t\r\v\f" for byte in target)
    return is_method and is_target and version[:5] == b"HTTP/" and version[5:6].isdigit()
