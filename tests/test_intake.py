"""Sessions and intake without a socket: the same outcome however the bytes are cut, every line accounted for."""

from __future__ import annotations

import itertools
import math
import random
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import linemon
from linemon.access import ANY_SOURCE, Tokens
from linemon.errors import LineError
from linemon.lines import bulk
from linemon.lines.accounts import BAD_LINES
from linemon.lines.intake import Intake
from linemon.lines.session import Session
from linemon.lines.turn import LEAST, TURN_S
from linemon.store.reader import Store
from linemon.store.writer import StoreWriter
from tests.examples import examples
from tests.running import forget

NOW = 1_700_000_000 * 10**9


class Bench:
    """An intake on a store of its own."""

    def __init__(
        self,
        folder: Path,
        *,
        max_sources: int = 100,
        token: str = "",
        max_line: int = 100,
        clock: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self.writer = StoreWriter(folder, points=1000, max_sources=max_sources)
        self.intake = Intake(self.writer, clock=clock)
        self.store: Store = linemon.open(folder)
        self.token, self.max_line = token, max_line

    def session(self, peer: str = "10.0.0.7") -> Session:
        return Session(peer, self.max_line, Tokens([(self.token, ANY_SOURCE)] if self.token else ()))

    def say(self, text: str | bytes, session: Session | None = None, cuts: tuple[int, ...] = ()) -> Session:
        """A whole connection, cut at `cuts`, unless it goes on in a `session` of the caller."""
        data = text if isinstance(text, bytes) else text.encode()
        one = session or self.session()
        edges = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
        for start, end in itertools.pairwise(edges):
            self.intake.take(one, data[start:end], NOW)
        if session is None:
            self.intake.end(one, NOW)
        self.intake.flush(NOW)
        return one

    def values(self, source: str) -> list[list[float]]:
        listed: list[list[float]] = self.store[source].since(0).values.tolist()
        return listed

    def check(self) -> None:
        intake = self.intake
        assert intake.accounts.received == intake.accounts.stored + intake.accounts.duplicate + sum(
            intake.accounts.rejected.values()
        )


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_rows_take_the_peer_and_the_width_as_their_source(bench: Bench) -> None:
    """A row needs nothing but numbers."""
    bench.say("1 2 3\n4 nan 6\r\n\n  # a comment\n\t7  8\t9 ")
    assert bench.store.sources() == ("10.0.0.7/3",)
    assert bench.store["10.0.0.7/3"].columns == ("c1", "c2", "c3")
    assert repr(bench.values("10.0.0.7/3")) == "[[1.0, 2.0, 3.0], [4.0, nan, 6.0], [7.0, 8.0, 9.0]]"
    bench.say("1 2\n")
    assert bench.values("10.0.0.7/2") == [[1.0, 2.0]]


def test_directives_in_any_order(bench: Bench) -> None:
    """Name, columns, units and the time's place hold from the next row on."""
    bench.say("#columns a:V time b\n#source web 1\n1 1700000001 2\n3 2023-11-14T22:13:22Z 4\n5 -1 6\n")
    bench.say("#source web 1\n#columns a:V time b\n7 1700000003.5 8\n")
    web = bench.store["web 1"]
    assert (web.columns, web.units) == (("a", "b"), ("V", ""))
    rows = web.since(0)
    assert rows.values.tolist() == [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]]
    assert [int(at) - NOW for at in rows.time.astype("int64")] == [10**9, 2 * 10**9, 0, 3_500_000_000]


def test_a_source_said_after_rows_forgets_the_columns(bench: Bench) -> None:
    """Columns said before the first row are kept, columns of the last source are not."""
    bench.say("#columns a b\n#source x\n1 2\n#source y\n3 4 5\n#columns d\n#source z\n6\n")
    assert bench.store["x"].columns == ("a", "b")
    assert bench.store["y"].columns == ("c1", "c2", "c3")
    assert bench.store["z"].columns == ("d",)


def test_metric_lines(bench: Bench) -> None:
    """The Graphite plaintext protocol: one source a name."""
    bench.say("room1.temperature 20.3\nroom1.temperature 20.4 1700000001\nname;k=v 1 -1\n température 5 \n")
    assert bench.values("room1.temperature") == [[20.3], [20.4]]
    assert bench.store["room1.temperature"].columns == ("value",)
    assert bench.store.sources() == ("room1.temperature", "name;k=v", "température")


@pytest.mark.parametrize("has_reader", [True, False])
def test_points_of_many_kinds_in_one_block(bench: Bench, monkeypatch: pytest.MonkeyPatch, has_reader: bool) -> None:
    """Sources of several widths, fields in any order and number, new columns: each row in its place, in their order."""
    if not has_reader:
        monkeypatch.setattr(bulk, "reader", None)
    for _ in range(2):  # the second time all are known
        bench.say(
            "m,h=1 a=1,b=2i\nn f=T,g=-0.5,h=3\nm,h=2 a=3\nm,h=1 b=4,a=5\nm,h=1 a=6\nn g=7 1700000001\nm,h=2 a=8\n"
        )
    first = [[1.0, 2.0], [5.0, 4.0], [6.0, math.nan]]
    assert repr(bench.values("m,h=1")) == repr(first * 2)
    assert bench.values("m,h=2") == [[3.0], [8.0]] * 2
    assert repr(bench.values("n")) == repr([[1.0, -0.5, 3.0], [math.nan, 7.0, math.nan]] * 2)
    assert bench.store["n"].since(0).time.astype("int64").tolist() == [NOW, NOW + 10**9] * 2
    bench.check()


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("1 2", "tokens"),
        ("1 2 3 4", "tokens"),
        ("1 x 3", "number"),
        ("1 1_000 3", "number"),
        ("1_0 1 2", "number"),
        ("1 1e999 3", "number"),
        ("a", "tokens"),
        ("a 1 2 3", "tokens"),
        ("a b", "number"),
        ("a 1 tomorrow", "time"),
        ("a 1 nan", "time"),
        ("a 1 -5", "time"),
        ("n" * 256 + " 1", "length"),
        ("x" * 101, "length"),
        ("1 2 3" + " " * 96, "length"),
        (b"1 2 \xff", "text"),
        (b"caf\xe9 1", "text"),
        ("a\x07b 1", "name"),
        ("two 1", "columns"),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_bad_line_costs_itself(bench: Bench, line: str | bytes, reason: str, end: str) -> None:
    """Whole, byte by byte, alone and between good lines: the good ones are stored, the reason is counted."""
    bench.say("#source two\n1 2\n")
    bad = (line if isinstance(line, bytes) else line.encode()) + end.encode()
    good = b"#source g\n1 2 3\n4 5 6\n"
    stored = 1
    alone = bad + good if reason != "tokens" else good + bad  # a row of its own width would be right as the first
    for text in (good + bad + b"7 8 9\nm 1\n", good + b"m 1\n" + bad + b"m 2\n7 8 9\n", alone):
        for cuts in ((), tuple(range(len(text)))):
            before = bench.intake.accounts.rejected[reason]
            stored += 2 + text.count(b"7 8 9") + text.count(b"m 1") + text.count(b"m 2")
            session = bench.say(text, cuts=cuts)
            assert bench.intake.accounts.rejected[reason] == before + 1, (text, cuts)
            assert (session.received, session.rejected) == (session.stored + 1, 1)
            assert bench.intake.accounts.stored == stored
    assert set(bench.intake.accounts.rejected) == {reason}
    assert bench.intake.accounts.bad_lines[-1].reason == reason
    bench.check()


def test_the_longest_line_allowed(bench: Bench) -> None:
    """`max_line` bytes without the line's end, however it comes."""
    for end in ("\n", "\r\n"):
        for cuts in ((), (100,), (101,), tuple(range(102))):
            bench.say("m 1" + " " * 97 + end, cuts=cuts)
    assert bench.values("m") == [[1.0]] * 8


def test_errors_are_answered_where_asked(bench: Bench) -> None:
    """`#error LINE REASON` counts every line of the connection from 1; nobody else hears anything."""
    session = bench.say("1 2\n\n#errors on\n3 x\n#columns a a\n4 5\n#errors off\n6\n#stats\n")
    assert session.replies.decode().splitlines() == [
        "#error 4 number: 'x' is not a number",
        "#error 5 name: column 'a' is named twice",
        "#error 6 name: rows wait for a right directive: column 'a' is named twice",
        "#stats received=4 stored=1 rejected=3 duplicate=0 dropped=0",
    ]
    assert bench.say("1 x\n").replies == b""


def test_rows_wait_for_a_right_directive(tmp_path: Path) -> None:
    """After a refused one rows are rejected until it is said again, rightly; the other kind does not help."""
    bench = Bench(tmp_path, max_line=2000)
    bench.say("#source " + "n" * 1025 + "\n1\n#columns a\n2\n#source ok\n3\n#columns a:b:c d d\n4\n#columns a\n5\n")
    assert bench.values("ok") == [[3.0], [5.0]]
    assert bench.store["ok"].columns == ("a",)
    assert bench.intake.accounts.rejected == {"name": 3}


def test_token(tmp_path: Path) -> None:
    """Where a token is asked for, lines before it are rejected and directives hold."""
    bench = Bench(tmp_path, token="secret")
    session = bench.say("#source x\n1\nm 1\n#token wrong\n2\n#token secret\n3\nm 2\n#token wrong\n4\n")
    assert bench.values("x") == [[3.0], [4.0]]
    assert bench.values("m") == [[2.0]]
    assert (session.rejected, session.stored) == (5, 3)
    assert bench.intake.accounts.rejected == {"token": 5}
    assert {bad.line for bad in bench.intake.accounts.bad_lines} == {"1", "m 1", "2", "#token"}  # not what was tried


def test_max_sources(tmp_path: Path) -> None:
    """Lines for one source too many are rejected; known sources go on, in the same block too."""
    bench = Bench(tmp_path, max_sources=2)
    bench.say("".join(f"m{i} {i}\n" for i in range(10)) + "m0 7\nm1 8\n")
    assert bench.store.sources() == ("m0", "m1")
    assert bench.values("m0") == [[0.0], [7.0]]
    assert bench.intake.accounts.rejected == {"max_sources": 8}
    bench.check()


@pytest.mark.parametrize("hello", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\n\x03"])
def test_other_protocols_end_the_connection(bench: Bench, hello: bytes) -> None:
    """HTTP and TLS are one received and rejected line; a metric that is called GET is none of them."""
    for cuts in ((), tuple(range(len(hello)))):
        with pytest.raises(LineError, match="this port takes lines"):
            bench.say(hello, cuts=cuts)
    assert (bench.intake.accounts.received, bench.intake.accounts.rejected) == (2, {"protocol": 2})
    bench.say("GET 5\n")
    assert bench.values("GET") == [[5.0]]


def test_influxs_client_at_the_wrong_port(bench: Bench) -> None:
    """The reason names the right one."""
    with pytest.raises(LineError, match="8080"):
        bench.say(b"POST /api/v2/write?bucket=b HTTP/1.1\r\n")


def test_a_source_that_grows_while_blocks_wait(bench: Bench) -> None:
    """Two connections, one source: rows that were read before the other one added a column are not lost."""
    narrow, wide = bench.session(), bench.session()
    bench.say("#source x\n#columns a\n1\n", narrow)
    bench.intake.take(narrow, b"2\n3\n", NOW)
    bench.intake.take(wide, b"#source x\n#columns a b\n4 5\n", NOW)
    bench.intake.flush(NOW)
    bench.say("6\n", narrow)
    assert repr(sorted(bench.values("x"))) == "[[1.0, nan], [2.0, nan], [3.0, nan], [4.0, 5.0], [6.0, nan]]"
    unnamed = bench.session("p")
    bench.say("#source y\n1\n", unnamed)
    bench.say("#source y\n#columns c1 more\n1 2\n")
    bench.say("3\n", unnamed)
    assert bench.intake.accounts.rejected == {"columns": 1}
    bench.say("m 1\n")
    bench.say("#source m\n#columns value more\n1 2\n")
    bench.say("m 3\n")
    assert bench.intake.accounts.rejected == {"columns": 2}
    bench.check()


def test_a_forgotten_source_starts_anew(bench: Bench) -> None:
    """What is remembered of a source ends with it, for metrics, points and rows alike."""
    session = bench.session()
    for lines in (b"m 1\n", b"sys,a=b f=1\n", b"#source s\n", b"1\n"):
        bench.say(lines, session)
    forget(bench.writer, 0, 10)
    forget(bench.writer, 100, 10)
    assert bench.store.sources() == ()
    bench.say(" other 5\n")  # takes the free place
    for lines in (b" m 2\n", b"m 3\n", b"sys,a=b f=2\n", b"3\n", b"4\n"):
        bench.say(lines, session)
    assert bench.values("other") == [[5.0]]
    assert bench.values("m") == [[2.0], [3.0]]
    assert bench.values("sys,a=b") == [[2.0]]
    assert bench.values("s") == [[3.0], [4.0]]


LINES = st.lists(
    st.sampled_from(
        [
            b"1 2\n", b"3 4\r\n", b"5.5 nan\n", b"+6 7\n", b"8\n", b"9 x\n", b"\n", b"  10   11 \n", b"m 1\n",
            b"m 2 1700000000\n", b"m x\n", b"n 3 -1\n", b"#source s\n", b"#columns a b\n", b"#columns time a\n",
            b"#stats\n", b"# hello\n", b"x" * 120 + b"\n", b"1 " + b"2" * 110 + b"\n", b"\xff\xfe\n", b"7 8",
        ]
    ),
    max_size=30,
)  # fmt: skip


@settings(max_examples=examples(300), deadline=None)
@given(LINES, st.lists(st.integers(0, 400), max_size=40), st.booleans())
@pytest.mark.slow
def test_cuts_change_nothing(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], cuts: list[int], flush: bool
) -> None:
    """However TCP cuts the bytes, the same rows are stored, the same lines rejected, the same answers given."""
    whole, cut = (Bench(tmp_path_factory.mktemp("cuts")) for _ in range(2))
    text = b"#errors on\n" + b"".join(lines)
    one = whole.say(text)
    two = cut.say(text, cuts=tuple(cuts))
    assert one.replies == two.replies
    assert whole.intake.accounts.rejected == cut.intake.accounts.rejected
    assert whole.store.sources() == cut.store.sources()
    for source in whole.store.sources():
        assert repr(whole.values(source)) == repr(cut.values(source))
    for bench in (whole, cut):
        bench.check()
        bench.writer.close()


OWN_NAMES = [  # N stands for a number, P for who sends it
    b"mN.P 1\nmN.P 2\n", b"put oN 1700000000 3 by=P\n", b"iN,by=P f=1,gN=2\n", b"i,by=P fN=1\n", b"#source sN.P\n1 2\n",
    b"#source sN.P\na=1 bN=2\n", b'{"c": N}\n', b"x y z\n", b"1 2\n3 4\n", b"#source kN.P\n#columns aN b\n1 2\n3 4\n",
    b"p,by=P f=\"a\nb\",g=N\n", b"1 2\n" + b"9" * 120 + b"\n", b"#stats\n",
]  # fmt: skip
NUMBERED = [b"#source nN.P\n#seq 0 me\n1 2\n3 4\n", b"5 6\nx y\n", b"#source n0.P\n7 8\n", b"1 2\n" * 9]


@st.composite
def _said(draw: st.DrawFn) -> list[tuple[bytes, list[int]]]:
    """What some connections send, and where it is cut."""
    said = []
    for who in range(draw(st.integers(1, 3))):
        kinds, head = (OWN_NAMES, b"#errors on\n") if draw(st.booleans()) else (NUMBERED, b"#acks named\n")
        lines = draw(st.lists(st.tuples(st.sampled_from(kinds), st.integers(0, 30), st.integers(1, 12)), max_size=12))
        text = b"".join(
            line.replace(b"N", b"%d" % (number + i)).replace(b"P", b"%d" % who)
            for line, number, count in lines
            for i in range(count)
        )
        said.append((head + text, draw(st.lists(st.integers(0, len(head + text)), max_size=3))))
    return said


@settings(max_examples=examples(100), deadline=None)
@given(_said(), st.integers(1, 40))
@pytest.mark.slow
def test_turns_change_nothing(
    tmp_path_factory: pytest.TempPathFactory, said: list[tuple[bytes, list[int]]], hurry: int
) -> None:
    """Lines that wait for another turn, whatever its length, become what they do at once; and each turn has an end."""
    ticks = itertools.count()
    clocks: list[Callable[[], float]] = [lambda: 0.0, lambda: next(ticks) * TURN_S / hurry]
    found = []
    for clock in clocks:
        bench = Bench(tmp_path_factory.mktemp("turns"), max_sources=10_000, clock=clock)
        intake, waiting = bench.intake, []
        for who, (text, cuts) in enumerate(said):
            edges = [0, *sorted(cuts), len(text)]
            waiting.append(
                (bench.session(f"10.0.0.{who}"), [text[start:end] for start, end in itertools.pairwise(edges)])
            )
        sessions = [session for session, _ in waiting]
        while any(session.held or parts for session, parts in waiting):
            with intake.turn:
                for session, parts in waiting:
                    before = next(ticks)
                    if session.held:
                        intake.resume(session, NOW)
                    elif parts:
                        intake.take(session, parts.pop(0), NOW)
                    assert next(ticks) - before < 20 * (hurry + 2 * LEAST)  # a line asks for the time once
                intake.flush(NOW)
        for session in sessions:
            intake.end(session, NOW)
        intake.flush(NOW)
        bench.check()
        rows = {name: repr(bench.values(name)) for name in sorted(bench.store.sources())}
        bad = sorted((bad.number, bad.source, bad.error, bad.line) for bad in intake.accounts.bad_lines)
        replies = [bytes(each.replies).replace(bench.writer.id.encode(), b"ID") for each in sessions]
        ends = [(each.lines, each.number, each.received, each.source) for each in sessions]
        found.append((rows, bad if len(bad) < BAD_LINES else [], ends, replies, intake.accounts.rejected))
        bench.writer.close()
    assert found[0] == found[1]


def test_many_names_of_all_lengths_in_any_order(tmp_path: Path) -> None:
    """More keys in a block than a reader remembers, alike but for an end: each value is in its ring, in order."""
    bench, draw = Bench(tmp_path, max_sources=3000), random.Random(7)
    names = [f"{'n' * (i % 23)}{i}" for i in range(10, 1500)] + ["a", "ab", "abcdefg", "abcdefgh", "abcdefghi"]
    metrics, points = ([(name, i) for name in names if name[0].isalpha() for i in range(4)] for _ in range(2))
    draw.shuffle(metrics)
    draw.shuffle(points)
    session = bench.session()
    for _ in range(2):  # the first time they are new
        bench.say("".join(f"{name} {value}\n" for name, value in metrics), session)
        bench.say("".join(f"m,at={name} a={value},b{value % 2}={-value}\n" for name, value in points), session)
    said, both = (defaultdict(list) for _ in range(2))
    for each, value in metrics * 2:
        said[each].append([float(value)])
    for each, value in points * 2:
        both[each].append(value)
    for name in names:
        if name[0].isalpha():
            assert bench.values(name) == said[name]
            found = bench.store[f"m,at={name}"]
            rows = [dict(zip(found.columns, row, strict=True)) for row in found.since(0).values.tolist()]
            told = [{key: value for key, value in row.items() if value == value} for row in rows]
            assert told == [{"a": value, f"b{value % 2}": -value} for value in both[name]]
    bench.check()
