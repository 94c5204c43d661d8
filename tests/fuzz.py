"""Compares the fast intake with the slow reference on bytes that nobody would send.

    python tests/fuzz.py --runs 1000000 [--seconds 600] [--seed 1] [--random]
    python tests/fuzz.py --replay '\\x05\\x03\\x001 2\\n'

It is guided by coverage where atheris is there (`pip install atheris` next to linemon's own dependencies), else, or
with --random, it mutates at random and needs nothing extra. On a difference it prints the shortest input that still
shows it, with what the two made of it, and exits with 1.

An input is three bytes of settings (max_line, max_sources, token and door) and what some connections send, one after
the other or in turns; through a door for bodies each is a request, through UDP each piece a datagram. Bytes that UTF-8
has no use for cut it:

    \\xf8 cut   \\xf9 cut, and flush   \\xfa next connection   \\xfb the connection ends, and begins anew
    \\xfc the connection is reset, and begins anew   \\xfd next connection, without a flush between the two

After the last one the order in which lines of different connections are taken is not defined: then only the accounts
are compared, else everything is.
"""

from __future__ import annotations

import argparse
import atexit
import gc
import importlib
import logging
import os
import random
import re
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from linemon.access import ANY_SOURCE, Tokens
from linemon.errors import REASONS
from linemon.lines import wire
from linemon.lines.body import MAX_FAULTS
from linemon.lines.lanes import Lanes
from linemon.lines.session import MAX_REPLIES, ForeignProtocol, Session
from linemon.store.catalog import Entry
from linemon.store.marks import Marks
from linemon.store.writer import StoreWriter
from tests import fuzz_doors, reference

NOW = 1_600_000_000_987_654_321
POINTS = 100
PEERS = ("10.0.0.7", "10.0.0.8", "10.0.0.7")  # two connections come from one machine
MAX_LINES = (65536, 40, 8, 100, 16, 300, 64, 2)
MAX_SOURCES = (100, 1, 2, 3)
TOKENS = ("", "", "", "s")
DOORS = ("tcp", *fuzz_doors.BODIES, "lanes")
CUT, CUT_FLUSH, NEXT, END, RESET, NEXT_AT_ONCE = b"\xf8", b"\xf9", b"\xfa", b"\xfb", b"\xfc", b"\xfd"
NOT_COUNTED = re.compile(rb"#seq|#device|[^\n]#(source|columns|token)[ \t]")  # lines that may be no received lines
MARKS = b"\xf8\xf9\xfa\xfb\xfc\xfd"
PIECES = re.compile(rb"([^%b]*)([%b]?)" % (MARKS, MARKS))


class Alive:
    """Whoever is connected was heard just now."""

    is_private = True

    def silent_s(self) -> float:
        return 0.0

    def wake(self) -> None:
        """What it has to say is looked at in the end."""


ALIVE = Alive()


class EmptyStore(StoreWriter):
    """A store that forgets everything in no time, and keeps no catalog; and UDP's port in front of it."""

    def __init__(self, folder: Path | None = None) -> None:
        if folder is None:
            memory = Path("/dev/shm")
            folder = Path(tempfile.mkdtemp(prefix="fuzz-", dir=memory if memory.is_dir() else None))
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
        super().__init__(folder, POINTS, 100)
        self._catalog.record = self._keep  # type: ignore[method-assign]
        self.marks.add = lambda mark: self.marks.marks.add(mark)  # type: ignore[method-assign]
        self.datagrams = fuzz_doors.Datagrams()

    def forget(self, max_sources: int) -> None:
        self.max_sources = max_sources
        for ring in self.rings.values():
            self._free[ring.entry.file].append(ring.entry.slot)
        self.rings.clear()
        self._catalog.entries.clear()
        self._catalog.lines = 0
        self.moves = 0
        self.marks.marks = Marks()

    def set_marks(self) -> list[tuple[str | None, int, str]]:
        return [(mark.source, int(mark.time.astype(np.int64)), mark.text) for mark in self.marks.marks]

    def _keep(self, entry: Entry) -> None:
        self._catalog.entries[entry.source] = entry


@dataclass
class Event:
    """What happens to one connection: bytes come, or it ends."""

    connection: int
    data: bytes = b""
    end: str = ""  # "clean" or "reset"
    flush: bool = False  # after it


@dataclass
class Input:
    """Settings, and what connections send."""

    events: list[Event]
    max_line: int = 65536
    max_sources: int = 100
    token: str = ""
    door: str = "tcp"  # a key of `fuzz_doors.BODIES`, or a connection
    in_order: bool = True  # lines of different connections are taken in the order of the events

    def to_the_end(self) -> list[Event]:
        """The events, and after these the ends of all connections; a datagram has its own, a lane is read by lines."""
        if self.door == "udp":
            return [Event(each.connection, each.data, "clean", each.flush) for each in self.events]
        events = self.events
        if self.door == "lanes":
            events = []
            for each in self.events:
                *lines, last = each.data.splitlines(keepends=True) or [b""]
                events += [Event(each.connection, line, flush=True) for line in lines]
                events.append(Event(each.connection, last, each.end, flush=True))
        return [*events, *(Event(i, end="clean", flush=True) for i in range(len(PEERS)))]


def decode(data: bytes) -> Input:
    """The input that some bytes stand for; any bytes do."""
    setting = data[:3] + bytes(3 - len(data[:3]))
    door = DOORS[setting[2] // len(TOKENS) % len(DOORS)]
    events: list[Event] = []
    connection = 0
    in_order = True
    for piece, mark in PIECES.findall(data, 3):
        if not piece and not mark:
            break
        event = Event(connection, piece, flush=mark not in (CUT, NEXT_AT_ONCE))
        events.append(event)
        if mark in (END, RESET):
            event.end = "clean" if mark == END else "reset"
        elif mark in (NEXT, NEXT_AT_ONCE):
            connection = (connection + 1) % len(PEERS)
        in_order = in_order and mark != NEXT_AT_ONCE and (event.flush or door != "udp")
    if events:
        events[-1].flush = True  # what waits comes before the ends of the other connections
    return Input(
        events,
        MAX_LINES[setting[0] % len(MAX_LINES)],
        MAX_SOURCES[setting[1] % len(MAX_SOURCES)],
        TOKENS[setting[2] % len(TOKENS)],
        door,
        in_order or door not in ("tcp", "udp"),
    )


Outcome = dict[str, Any]


def by_reference(given: Input) -> Outcome:
    """What the reference makes of it."""
    collector = reference.Collector(NOW, max_line=given.max_line, max_sources=given.max_sources, token=given.token)
    body = fuzz_doors.BODIES.get(given.door)
    live: dict[int, reference.Connection] = {}
    every: list[reference.Connection] = []
    closed: set[int] = set()  # by linemon: what the peer still sends is lost
    for event in given.to_the_end():
        if event.connection in closed:
            closed -= {event.connection} if event.end else set()
            continue
        if event.connection not in live:
            if not event.data:
                continue
            live[event.connection] = collector.connect(PEERS[event.connection], body)
            every.append(live[event.connection])
        connection = live[event.connection]
        connection.hear(event.data)
        if event.end:
            connection.end() if event.end == "clean" else connection.reset()
        for number in [number for number, each in live.items() if each.closed and each is not connection]:
            del live[number]  # another has taken its place
            closed.add(number)
        if event.end or connection.closed:
            del live[event.connection]
        if connection.closed and not event.end:
            closed.add(event.connection)
    return {
        "accounts": [(one.lines, one.received) for one in every],
        "connections": [(one.lines, one.received, one.stored, one.rejected, one.duplicate) for one in every],
        "collector": (
            collector.received,
            collector.stored,
            collector.duplicate,
            collector.lost,
            sorted(collector.rejected.items()),
        ),
        "acked": [one.acked for one in every],
        "bad lines": sorted((one.peer, number, why) for one in every for number, why in one.bad + one.notes),
        "replies": [one.replies for one in every],
        "faults": [sorted(one.faults, key=lambda fault: fault[0])[:MAX_FAULTS] for one in every],
        "sources": {
            name: (source.columns, source.units, len(source.rows), _bits(source.rows[-POINTS:]))
            for name, source in collector.sources.items()
        },
        "strings": collector.strings,
        "marks": sorted(collector.marks, key=str),
    }


def _bits(rows: list[tuple[int, list[float]]]) -> tuple[list[int], list[list[int]]]:
    values = np.array([values for _, values in rows], np.float64)
    values[np.isnan(values)] = np.nan
    return [at for at, _ in rows], values.view(np.int64).tolist()


def by_linemon(given: Input, store: EmptyStore) -> Outcome:
    """What linemon makes of it; AssertionError where it breaks a promise on the way."""
    store.forget(given.max_sources)
    intake = fuzz_doors.Watched(store)
    intake.accounts.bad_lines = deque()  # all of them
    acked: dict[Session, int] = {}
    tokens = Tokens([(given.token, ANY_SOURCE)] if given.token else ())
    if given.door in ("tcp", "lanes"):
        _connections(given, intake, tokens, acked)
    elif given.door == "udp":
        store.datagrams.begin(intake, given.max_line, tokens)
        for event in given.events:
            if event.data:
                store.datagrams.hear(PEERS[event.connection], event.data, NOW)
            if event.flush:
                intake.flush(NOW)
                _check(intake)
    else:
        requests = fuzz_doors.Requests(intake, given.door, given.max_line, NOW)
        for event in given.to_the_end():
            requests.hear(event.connection, PEERS[event.connection], event.data, event.end)
            _check(intake)
    intake.flush(NOW)
    _check(intake)
    every = list(intake.seen)
    return {
        "accounts": [(one.lines, one.received) for one in every],
        "connections": [(one.lines, one.received, one.stored, one.rejected, one.duplicate) for one in every],
        "collector": (
            intake.accounts.received,
            intake.accounts.stored,
            intake.accounts.duplicate,
            intake.accounts.lost,
            sorted(intake.accounts.rejected.items()),
        ),
        "acked": [acked.get(one) for one in every],
        "bad lines": sorted((bad.peer, bad.number, bad.reason) for bad in intake.accounts.bad_lines),
        "replies": [_replies(bytes(one.replies)) for one in every],
        "faults": fuzz_doors.faults(every),
        "sources": _sources(store),
        "strings": intake.accounts.strings,
        "marks": sorted(store.set_marks(), key=str),
    }


def _check(intake: fuzz_doors.Watched) -> None:
    """Every line is in one account, and in those of its connection; nothing was dropped, and no error met."""
    accounts = intake.accounts
    assert accounts.received == accounts.stored + accounts.rejected.total() + accounts.duplicate
    assert not accounts.dropped
    assert not accounts.failed
    sums = [0, 0, 0, 0]
    for one in intake.seen:
        assert one.received == one.stored + one.rejected + one.duplicate
        for i, count in enumerate((one.received, one.stored, one.rejected, one.duplicate)):
            sums[i] += count
    assert sums == [accounts.received, accounts.stored, accounts.rejected.total(), accounts.duplicate]
    assert set(accounts.rejected) <= set(REASONS), f"unknown reasons in {accounts.rejected}"


def _sources(store: EmptyStore) -> Outcome:
    """Columns, units, the number of rows and the newest of them of each source."""
    sources = {}
    for name, ring in store.rings.items():
        rows = ring.arena.head(ring.entry.slot)
        _, block = ring.arena.read(ring.entry.slot, 0)
        values = block[:, 1:].view(np.float64)
        values[np.isnan(values)] = np.nan
        bits = block[:, 0].tolist(), block[:, 1:].tolist()
        sources[name] = (list(ring.entry.columns), list(ring.entry.units), rows, bits)
    return sources


def _connections(given: Input, intake: fuzz_doors.Watched, tokens: Tokens, acked: dict[Session, int]) -> None:
    """Give the intake what connections send; `acked` is where each that numbered its lines got to."""
    live: dict[int, Session] = {}
    closed: set[int] = set()
    lanes = Lanes(intake) if given.door == "lanes" else None
    if lanes:
        lanes.make_room(len(PEERS))
    for event in given.to_the_end():
        if event.connection in closed:
            closed -= {event.connection} if event.end else set()
            continue
        if event.connection not in live:
            if not event.data:
                continue
            live[event.connection] = Session(PEERS[event.connection], given.max_line, tokens)
            live[event.connection].link = ALIVE
        session = live[event.connection]
        if lanes and (lane := lanes.of[event.connection]) and event.data.endswith(b"\n"):
            left, _ = lanes.take({lane: [(event.connection, event.data)]}, NOW)
            if not left and not event.end:
                continue
            event = Event(event.connection, event.data if left else b"", event.end, event.flush)
        if lanes:
            lanes.leave(event.connection)
        try:
            if event.data:
                intake.take(session, event.data, NOW)
            if event.end == "clean":
                intake.end(session, NOW)
            if event.end == "reset":
                intake.broke(session, NOW)
        except ForeignProtocol:
            del live[event.connection]
            if not event.end:
                closed.add(event.connection)
        else:
            assert len(session._tail) <= given.max_line + 1, "the start of a line grows without bound"
            if event.end:
                del live[event.connection]
        if event.flush or session.sequence:  # who may have no room is told before more comes
            intake.flush(NOW)
            if not lanes:  # which tell sessions what came when they leave
                _check(intake)
            elif event.connection in live and session.ring:
                lanes.enter(event.connection, session)
        if session.is_over and not event.end and event.connection in live:
            del live[event.connection]
            closed.add(event.connection)
        for number, other in list(live.items()):
            if other.is_over and number != event.connection:  # another has taken its place
                del live[number]
                closed.add(number)
                _leave(other, acked)
        if event.end or event.connection in closed:
            intake.devices.leave(session, NOW)
            _leave(session, acked)


def _leave(session: Session, acked: dict[Session, int]) -> None:
    """As when the connection is gone."""
    session.left = None
    if session.sequence:
        acked[session] = session.sequence.next
        session.sequence = None
        session.owed.clear()
    session.places.clear()


def _replies(data: bytes) -> list[tuple[str, int] | str]:
    """Answers as the reference has them: what an error says in words is for a person."""
    assert data == b"" or data.endswith(b"\n")
    replies: list[tuple[str, int] | str] = []
    for line in data.decode().split("\n")[:-1]:
        word, number, *_ = line.split(" ", 2)
        replies.append((word, int(number)) if word == "#error" else word if word == "#acks" else line)
    if len(data) >= MAX_REPLIES:
        replies.append("cut")
    return replies


def difference(data: bytes | Input, store: EmptyStore) -> str:
    """How linemon and the reference differ on an input; empty if they agree."""
    given = decode(data) if isinstance(data, bytes) else data
    try:
        fast = by_linemon(given, store)
    except Exception as error:
        return f"{type(error).__name__}: {error}\n{traceback.format_exc()}"
    slow = by_reference(given)
    if given.in_order:
        for i, replies in enumerate(fast["replies"]):
            if replies and replies[-1] == "cut":
                replies[-1:] = slow["replies"][i][len(replies) - 1 :]
    else:
        # Who comes first gets the last of max_sources. Numbered lines that get none are held back, not received, and
        # a first line that then is bad may count as the directive in it. Who is a device ends who was it before.
        keys = [] if any(NOT_COUNTED.search(event.data) for event in given.events) else ["accounts"]
        fast, slow = ({key: outcome[key] for key in keys} for outcome in (fast, slow))
    return "".join(
        f"{key}:\n   linemon   {value}\n   reference {slow[key]}\n" for key, value in fast.items() if value != slow[key]
    )


def shorter(data: bytes, fails: Callable[[bytes], bool]) -> bytes:
    """An input that still fails when nothing more can be cut out of it."""
    size = len(data) // 2
    while size:
        at = 0
        while at < len(data):
            without = data[:at] + data[at + size :]
            if fails(without):
                data = without
            else:
                at += size
        size //= 2
    return data


def show(data: bytes) -> str:
    """The input as it is written in a vector, or after --replay."""
    return repr(data)[2:-1].replace("\\'", "'") if b'"' not in data else repr(data)[2:-1]


def unshow(text: str) -> bytes:
    """The input that was written so; {x*9} is xxxxxxxxx."""
    data = text.encode("latin-1").decode("unicode_escape").encode("latin-1")
    return re.sub(rb"\{(.)\*(\d+)\}", lambda match: match[1] * int(match[2]), data)


# -- inputs

WORDS = [
    b"1", b"2.5", b"-0", b"-0.0", b"+3", b".5", b"5.", b"1e5", b"1E-400", b"1e400", b"nan", b"NaN", b"nan5", b"inf",
    b"-inf", b"1_0", b"0x1", b"01", b"18446744073709551616", b"9223372036854775808", b"0.1", b"123456789012345678",
    b"-7.4109846876186982e-323", b"1.7976931348623157e308", b"1.7976931348623159e308", b"4.9e-324", b"2.4e-324",
    b"-1", b"-1.0", b"-2", b"1700000000", b"1700000000.25", b"1700000000123", b"1700000000123456",
    b"1700000000123456789", b"1700000000123456789.5", b"9223372036", b"9223372037", b"9223372036854775807", b"1e10",
    b"99999999999", b"100000000000", b"99999999999999", b"1.7e9", b"1649859909.1234565", b"9007199254740993",
    b"2026-11-22T10:15:00Z", b"2026-11-22", b"20261122T101500Z", b"2026-11-22T10:15:00.123456789+01:30",
    b"2026-11-22T24:00Z", b"1969-12-31T23:59:59Z", b"2262-04-11T23:47:16.854775807Z", b"2262-04-11T23:47:16.854775808Z",
    b"a", b"b", b"_x", b"value", b"c1", b"c2", b"time", b"a:V", b"time:s", b"m;k=v", b"\xc3\xa9t\xc3\xa9",
    b"\xe2\x82\xac", b"\xef\xbc\x91", b"\xff", b"\x07", b"\x00", b"\x7f", b"\xc2\x85", b"n" * 256,
    b"x" * 41, b"x" * 101,
    b"#source ", b"#source s", b"#source t", b"#columns ", b"#columns a b", b"#columns a b time", b"#columns a:V",
    b"#columns value", b"#columns c1 c2", b"#token s", b"#token x", b"#errors on", b"#errors off", b"#stats", b"#",
    b"#mark ", b"#mark x", b"#mark 2026-11-22 10:15 x", b"#mark 1700000000 ", b"#mark -1 x", b"#Mark x",
    b"#device p 1", b"#device p 2", b"#device p 1\n#seq 1 x\n", b"#device ", b"#Device ", b"#is 0 {}", b"#is 1 ",
    b'{"interval": 1, "refused": {"a": "b"}}', b"#spec 3", b"#spec ", b"#source p.1", b"#source p.2\n#device p 1\n",
    b"# x",    b"\xef\xbb\xbf", b"\xef\xbb\xbf#source s\n", b"\xff#source s\n", b"x #token s\n", b"#seq 3 -",
    b"#seq 1 x", b"#seq 0", b"#seq 2 y", b"#seq 3 x", b"#seq 1", b"#seq x", b"#seq ",
    b"#source s\n#seq 1 x\n", b"#source s\n#seq 2 x\n", b"#acks named", b"#acks named\n#source s\n#seq 1 x\n",
    b"#source t\n#seq 2 x\n", b"GET / HTTP/1.1", b"\x16\x03\x01",
    b"m,host=h f=1", b"m,b=2,a=1 f=1,g=2i", b"m f=1", b"m g=t", b'm s="x y"', b'm s="a\\"b,c=d",f=1u', b"m\\ n f=1",
    b"m,a\\=b=c\\,d f\\ g=1", b"f=1", b"g=-5i", b"h=9223372036854775808i", b"u=18446744073709551615u", b"t=True",
    b"e=1e5", b',k=v', b'="', b'"', b"\\", b"\\\\", b"\\,", b"\\ ", b"\\=", b"=", b",", b"i", b"u", b"TRUE", b"false",
    b";", b":",
    b"2", b"3 4", b"1 2", b"1 2 3", b"m 1", b"m 1 1700000000", b"n 2", b"m2 3",
    b"NA", b"n/a", b"null", b"-", b"+nan", b"Infinity", b"2026-11-22", b"10:15:00", b"10:15:60.5Z",
    b"2026-11-22 10:15", b"2026-11-22t10:15:60z", b"45", b"946684800", b"put", b"put m 1700000000 5 k=v",
    b"put m -1 2", b"k=v", b"k=", b"=v", b"a=1", b"a=1 b=2", b"time=1700000000", b"time=-1", b"time=2026-11-22 10:15",
    b"time=x", b"a=nan", b"ts=5", b'{"a": 1}', b'{"a":1,"b":{"c":2}}', b'{"time":1700000000,"a":1}',
    b'{"time":"2026-11-22 10:15","a":-0}', b"{", b"}", b'{"a":[1,true,null,"x"],"ts":null}', b'{"a":NaN}',
    b'{"a":1e400}', b'{"a":"', b'"a":', b"\\u00e9", b"\\ud800", b"[", b"]", b"true",
    b'{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":', b"m;b=2;a=1", b"m;k=", b'm{b="2",a="1"}', b'm{a="b c",}', b"m{}",
    b'm{a="x\\n"}', b'{a="', b'"}', b"5web.cpu", b"1.e5", b"1.e", b"5.x;k=v 1", b"x:", b"x= 5", b"m,t= f=1",
    b"m when=5t,f=1", b"m time=5,f=1", b'm s="a\nb",f=1', b'm s="a', b'b",f=1', b'",t="',
    b'#columns ["a", ["b", "V"]]', b"#columns [", b"\xc2\xb0C f=1",
]  # fmt: skip
BETWEEN = [
    b" ",
    b" ",
    b" ",
    b" ",
    b"\t",
    b"  ",
    b"\n",
    b"\n",
    b"\n",
    b"\n",
    b"\r\n",
    b"\r\n",
    b"\n\n",
    b" \n ",
    b"",
    b",",
]
SPECIAL = b' \t\n\r#,="\\0123456789+-.eEnaiut:;TZ_\x00\x7f\xff\xf8\xf8\xf9\xfa\xfb\xfc\xfd'


LINES = [  # $ is a number, @ a time, % a name, ! something new
    b"$", b"$ $", b"$ $ $", b"@ $", b"$ @ $", b"% $", b"% $ @", b"% %=$", b"% %=$ @", b"%,%=% %=$,%=$ @",
    b"%,%=%,%=! %=$", b"% %=$i,%=$u", b"% %=t,%=$", b'% %="!",%=$', b"#source %", b"#columns % %",
    b"#acks named\n#source %\n#seq 1 %", b"#source %\n#seq 1 %\n$", b"#seq 1 %",
    b"#columns time %", b"#columns % % time", b"#columns %:!", b"#columns % % %", b"!",
    b"%=$", b"%=$ %=$", b"%=$ %=$", b"time=@ %=$", b"%=$ time=@", b'{"%": $}', b'{"%": $, "%": $}',
    b'{"%":$,"%":{"%":$}}', b'{"time": @, "%": $}', b'{"%":[$,$],"%":"!"}', b'{"ts":"@","%":$}', b"put % @ $",
    b"put % @ $ %=%", b"put % @ $ %=% %=%", b"%;%=% $", b"%;%=%;%=% $ @", b'%{%="%"} $', b'%{%="% %",%="%"} $ @',
    b"$.% $", b"2026-11-22 10:15:0@ $", b'% %="!\n!",%=$',
]  # fmt: skip
NUMBERS = [b"0", b"-0", b"1", b"2.5", b"nan", b"-1", b"1e3", b".5", b"17", b"1_0", b"nan5", b"-7.4109846876186982e-323"]
TIMES = [b"-1", b"1700000000", b"1700000000.5", b"1700000000123", b"1700000000123456789", b"9007199254740993", b"-2",
         b"2023-11-14T22:13:20Z", b"nan", b"0", b"-0.0", b"9223372036854775807", b"1e400"]  # fmt: skip
NAMES = [b"m", b"n", b"a", b"b", b"c1", b"c2", b"value", b"s", b"nan", b"\xc3\xa9", b"time", b"a\\,b"]


BLOCKS = (1, 1, 1, 1, 2, 6)  # most inputs are short: whatever was found is found in five lines, and they are quick


def block(rng: random.Random) -> bytes:
    """Lines of one form, as a sender would send them, or nearly so."""
    form = rng.choice(LINES)
    names = rng.choices(NAMES, k=2) if rng.random() < 0.7 else NAMES
    numbers = NUMBERS[: rng.choice((3, 6, 9, 12))]
    times = TIMES[: rng.choice((2, 5, 13))]
    lines = bytearray()
    for _ in range(rng.choice((1, 1, 2, 3, 5))):
        for char in form:
            match char:
                case 36:
                    lines += rng.choice(numbers)
                case 64:
                    lines += rng.choice(times)
                case 37:
                    lines += rng.choice(names)
                case 33:
                    lines += rng.choice(WORDS)
                case _:
                    lines.append(char)
        lines += b"\n" if rng.random() < 0.95 else rng.choice(BETWEEN)
    return bytes(lines)


def invent(rng: random.Random) -> bytes:
    """An input that knows something of the language."""
    data = bytearray(
        [
            rng.choice((0, 0, 0, 1, 2, 3, 4, 5, 6, 7)),
            rng.choice((0, 0, 0, 1, 2, 3)),
            rng.choice((0, 0, 0, 3)) + len(TOKENS) * max(0, rng.randrange(-len(DOORS), len(DOORS))),
        ]
    )
    if rng.random() < 0.5:
        for _ in range(rng.randint(1, rng.choice(BLOCKS))):
            data += block(rng)
            if rng.random() < 0.3:
                data.append(rng.choice(MARKS))
        return bytes(data)
    few = rng.choices(WORDS, k=rng.randint(1, 6))
    for _ in range(rng.randint(1, 4 * rng.choice(BLOCKS))):
        data += rng.choice(few if rng.random() < 0.6 else WORDS)
        data += rng.choice(BETWEEN)
        if rng.random() < 0.05:
            data.append(rng.choice(MARKS))
    return bytes(data)


def mutate(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """An input a little different from another."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 5))):
        at = rng.randint(0, len(changed))
        match rng.randrange(9):
            case 0:
                changed[at : at + rng.choice((1, 1, 2, 4, 8))] = b""
            case 1:
                changed[at:at] = bytes([rng.choice(SPECIAL)])
            case 2:
                changed[at : at + 1] = bytes([rng.choice(SPECIAL) if rng.random() < 0.8 else rng.randrange(256)])
            case 3:
                changed[at:at] = rng.choice(WORDS)
            case 4:
                changed[at:at] = rng.choice(BETWEEN)
            case 5:
                end = rng.randint(at, min(len(changed), at + 30))
                changed[at:at] = changed[at:end]
            case 6:
                start = rng.randint(0, len(other))
                changed[at:at] = other[start : start + rng.randint(1, 40)]
            case 7:
                changed[at:at] = bytes([rng.choice(MARKS)])
            case 8:
                at = changed.find(b"\n", at) + 1
                changed[at:at] = block(rng)
    return bytes(changed[: 100 * rng.choice(BLOCKS)])


# -- runs


class Found(Exception):
    """linemon and the reference differ."""


class Fuzzer:
    """Tries inputs, counts them, and says what it found."""

    def __init__(self, runs: int, seconds: float, keep_going: bool) -> None:
        self.store = EmptyStore()
        self.runs, self.keep_going = runs, keep_going
        self.ends = time.monotonic() + seconds
        self.started = time.monotonic()
        self.tried = self.lines = 0
        self.found: Counter[str] = Counter()

    def try_one(self, data: bytes) -> None:
        self.tried += 1
        self.lines += data.count(b"\n")
        if self.tried % 20000 == 0:
            print(self.summary(), file=sys.stderr, flush=True)
        if text := difference(data, self.store):
            self._report(data, text)

    def _report(self, data: bytes, text: str) -> None:
        kind = text.partition(":")[0]
        self.found[kind] += 1
        if self.keep_going and self.found[kind] > 20:
            return
        data = shorter(data, lambda one: difference(one, self.store).partition(":")[0] == kind)
        print(f"DIFFERENT\n{show(data)}\n{decode(data)}\n{difference(data, self.store)}", flush=True)
        if not self.keep_going:
            raise Found

    def is_over(self) -> bool:
        return self.tried >= self.runs or time.monotonic() >= self.ends

    def summary(self) -> str:
        took = time.monotonic() - self.started
        return f"{self.tried} inputs, {self.lines} lines, {took:.0f} s, {sum(self.found.values())} different"


def at_random(fuzzer: Fuzzer, seed: int) -> None:
    """Mutate without looking at what the code does."""
    rng = random.Random(seed)
    pool = [invent(rng) for _ in range(500)]
    while not fuzzer.is_over():
        if rng.random() < 0.3:
            data = pool[rng.randrange(len(pool))] = invent(rng)
        else:
            data = mutate(rng.choice(pool), rng.choice(pool), rng)
            if rng.random() < 0.1:
                pool[rng.randrange(len(pool))] = data
        fuzzer.try_one(data)


def guided(fuzzer: Fuzzer, seed: int, atheris: Any) -> None:
    """Let atheris look for inputs that reach new code; ends the process."""
    folder = tempfile.mkdtemp(prefix="fuzz-corpus-")
    rng = random.Random(seed)
    for i in range(2000):
        (Path(folder) / f"seed{i}").write_bytes(invent(rng))

    def once(data: bytes) -> None:
        if fuzzer.is_over():
            print(fuzzer.summary(), flush=True)
            shutil.rmtree(fuzzer.store.folder, ignore_errors=True)
            shutil.rmtree(folder, ignore_errors=True)
            os._exit(1 if fuzzer.found else 0)
        try:
            fuzzer.try_one(bytes(data))
        except Found:
            os._exit(1)

    dictionary = Path(folder + ".dict")
    words = ("".join(rf"\x{byte:02x}" for byte in word) for word in WORDS if len(word) < 60)
    dictionary.write_text("".join(f'"{word}"\n' for word in words))
    atheris.Setup(
        [sys.argv[0], folder, f"-dict={dictionary}", "-max_len=600", f"-seed={seed}", "-timeout=60", "-verbosity=0"],
        once,
    )
    atheris.Fuzz()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000_000)
    parser.add_argument("--seconds", type=float, default=1e9)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--random", action="store_true", help="without atheris")
    parser.add_argument("--keep-going", action="store_true", help="print up to 20 differences of a kind")
    parser.add_argument("--replay", metavar="INPUT", help="one input, as it was printed")
    asked = parser.parse_args()
    logging.disable()
    gc.freeze()  # what is there stays
    fuzzer = Fuzzer(asked.runs, asked.seconds, asked.keep_going)
    if asked.replay is not None:
        data = unshow(asked.replay)
        text = difference(data, fuzzer.store)
        print(f"{decode(data)}\n{text or 'the same'}")
        return bool(text)
    if not asked.random:
        try:
            atheris = importlib.import_module("atheris")
        except ImportError:
            print("without atheris (pip install atheris): at random", file=sys.stderr)
        else:
            for module in (
                wire,
                *(
                    sys.modules[f"linemon.{name}"]
                    for name in ("lines.session", "lines.intake", "lines.influx", "lines.fields", "store.writer")
                ),
            ):
                _instrument(atheris, module)
            guided(fuzzer, asked.seed, atheris)
    try:
        at_random(fuzzer, asked.seed)
    except Found:
        return 1
    print(fuzzer.summary())
    return bool(fuzzer.found)


def _instrument(atheris: Any, module: Any) -> None:
    """Have the functions of a module, and the methods of its classes, report what they reach."""
    for owner in [module, *(thing for thing in vars(module).values() if isinstance(thing, type))]:
        if getattr(owner, "__module__", module.__name__) != module.__name__:
            continue
        for thing in list(vars(owner).values()):
            if callable(thing) and hasattr(thing, "__code__") and thing.__module__ == module.__name__:
                atheris.instrument_func(thing)


if __name__ == "__main__":
    sys.exit(main())
