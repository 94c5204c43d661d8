"""linemon and the reference make the same of everything, however it is cut and whoever else is sending."""

from __future__ import annotations

import itertools
import json
import logging
import random
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from linemon.lines.intake import Intake
from linemon.lines.session import Session
from tests import fuzz, reference, reference_words
from tests.examples import examples
from tests.fuzz import NOW, EmptyStore, Event, Input, at_random, by_linemon, difference

VECTORS = Path(__file__).parent / "vectors"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmptyStore]:
    logging.disable()  # each bad line of a new intake would be one
    store = EmptyStore(tmp_path_factory.mktemp("store"))
    yield store
    store.close()
    logging.disable(logging.NOTSET)


# -- lines

BLANKS = st.sampled_from([b" ", b" ", b" ", b"\t", b"  ", b" \t"])
EDGES = st.sampled_from([b"", b"", b"", b" ", b"\t "])
ENDS = st.sampled_from([b"\n", b"\n", b"\n", b"\r\n", b"\r\r\n"])
DIGITS = st.text("0123456789", min_size=1, max_size=20)
NUMBERS = st.one_of(
    st.sampled_from(
        [b"1", b"2.5", b"nan", b"-0", b"-0.0", b"1e400", b"inf", b"1_0", b"nan5", b"0x1", b"5.", b".5", b"."]
    ),
    st.floats(allow_infinity=False).map(lambda value: repr(value).encode()),
    st.integers(-(2**70), 2**70).map(lambda value: b"%d" % value),
    st.builds(
        lambda sign, whole, point, part, exponent: f"{sign}{whole}{point}{part}{exponent}".encode(),
        st.sampled_from(["", "+", "-"]),
        DIGITS | st.just(""),
        st.sampled_from(["", "."]),
        DIGITS | st.just(""),
        st.sampled_from(["", "", "e5", "E-3", "e+400", "e-400", "e", "e1.5"]),
    ),
    st.sampled_from(fuzz.WORDS),
)
TIMES = st.one_of(
    st.sampled_from(fuzz.TIMES),
    st.integers(-2, 2**63).map(lambda value: b"%d" % value),
    st.floats(0, 1e19).map(lambda value: repr(value).encode()),
    st.datetimes().map(lambda moment: moment.isoformat().encode()),
    st.datetimes().map(lambda moment: moment.strftime("%Y%m%dT%H%M%S+0130").encode()),
)
NAMES = st.one_of(
    st.sampled_from([b"m", b"n", b"a", b"b", b"c1", b"value", b"time", b"nan", b"_x", b"n;k=v", b"a:V", b"\xc3\xa9"]),
    st.text(min_size=1, max_size=4).map(lambda name: name.encode()),
    st.sampled_from(fuzz.WORDS),
)


def spaced(*tokens: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """Tokens with blanks of any kind between."""
    return st.tuples(st.tuples(*tokens), st.lists(BLANKS, min_size=len(tokens), max_size=len(tokens))).map(
        lambda both: b"".join(token + blank for token, blank in zip(*both, strict=True))
    )


def joined(parts: st.SearchStrategy[bytes], between: bytes, most: int) -> st.SearchStrategy[bytes]:
    return st.lists(parts, min_size=1, max_size=most).map(between.join)


ROWS = st.integers(1, 4).flatmap(lambda width: spaced(*[NUMBERS] * width))
TIMED_ROWS = spaced(NUMBERS, TIMES, NUMBERS) | spaced(TIMES, NUMBERS)
METRICS = spaced(NAMES, NUMBERS) | spaced(NAMES, NUMBERS, TIMES)
ESCAPED = st.sampled_from(
    [b"m", b"f", b"g", b"a\\,b", b"a\\ b", b"a\\=b", b"a\\\\", b"\\", b"a\\b", b"time", b"", b"x\x07"]
)
KEYS = st.sampled_from([b"f", b"g", b"h"]) | ESCAPED
FIELD_VALUES = st.one_of(
    NUMBERS,
    st.integers(-(2**65), 2**65).map(lambda value: b"%di" % value),
    st.integers(-5, 2**65).map(lambda value: b"%du" % value),
    st.sampled_from([b"t", b"T", b"true", b"True", b"TRUE", b"f", b"F", b"false", b"False", b"FALSE", b"tRUE", b"yes"]),
    st.sampled_from(
        [b'""', b'"x y"', b'"a,b=c"', b'"a\\"b"', b'"a\\\\"', b'"', b'"a\\"', b'"a"b', b"x", b"1.5i", b"+1i"]
    ),
)
FIELDS = joined(st.tuples(KEYS, FIELD_VALUES).map(b"=".join), b",", 3)
TAGS = joined(st.tuples(KEYS, ESCAPED).map(b"=".join), b",", 3)
HEADS = NAMES | ESCAPED | st.tuples(st.just(b"m"), TAGS).map(b",".join)
INFLUX = spaced(HEADS, FIELDS) | spaced(HEADS, FIELDS, TIMES)
PAIRS = joined(st.tuples(NAMES | st.just(b"time"), NUMBERS | TIMES).map(b"=".join) | NAMES | NUMBERS, b" ", 4)
PUTS = spaced(st.just(b"put"), NAMES, TIMES, NUMBERS) | spaced(
    st.just(b"put"), NAMES, TIMES, NUMBERS, st.tuples(NAMES, NAMES | st.just(b"")).map(b"=".join)
)
LABELS = joined(st.tuples(NAMES, st.sampled_from([b"x", b"b c", b"", b'\\"', b"\\n", b"a;b", b"}"])).map(
    lambda label: label[0] + b'="' + label[1] + b'"'), b",", 3)  # fmt: skip
BRACED = spaced(LABELS.map(lambda labels: b"m{" + labels + b"}"), NUMBERS)
JSON_LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=3),
    st.sampled_from(["2026-11-22"]),
)
JSON_KEYS = st.sampled_from(["a", "b", "time", "ts", "timestamp", "", "a.b", "é", "\x07"]) | st.text(max_size=3)
JSON_VALUES = st.recursive(
    JSON_LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(JSON_KEYS, inner, max_size=3),
    max_leaves=6,
)
JSON = st.one_of(
    st.dictionaries(JSON_KEYS, JSON_VALUES, max_size=4).map(lambda document: json.dumps(document).encode()),
    st.tuples(KEYS, NUMBERS, KEYS, NUMBERS).map(lambda parts: b'{"%b": %b, "%b": %b}' % parts),
)
DIRECTIVES = st.one_of(
    st.sampled_from(
        [b"#errors on", b"#errors off", b"#stats", b"#stats x", b"#", b"# hello", b"#token s", b"#token x", b"#source"]
    ),
    spaced(st.just(b"#source"), NAMES),
    spaced(st.just(b"#mark"), st.one_of(NUMBERS, TIMES, NAMES), st.one_of(NUMBERS, TIMES, NAMES), NAMES),
    st.lists(NAMES, max_size=4).map(lambda names: b"#columns " + b" ".join(names)),
    st.sampled_from([b"#columns a b", b"#columns a b", b"#columns a", b"#columns time a", b"#columns a b:W c time"]),
    st.sampled_from([b"#source s", b"#source s", b"#source web 1", b"#source \xff", b"#source " + b"n" * 256]),
)
OTHERS = st.one_of(
    st.sampled_from([b"", b"x" * 41, b"1 " * 60, b" " * 101, b"1" + b"0" * 50, b"GET / HTTP/1.1", b"\x16\x03\x01"]),
    st.binary(max_size=8),
)
ANY_LINES = st.one_of(
    ROWS, ROWS, TIMED_ROWS, METRICS, METRICS, INFLUX, INFLUX, DIRECTIVES, DIRECTIVES, OTHERS, PAIRS, PUTS, BRACED, JSON
)
LINES = st.tuples(EDGES, ANY_LINES, EDGES, ENDS).map(b"".join)
# The same kind of line again and again, as it goes the quick way.
PLAIN = st.one_of(
    spaced(NUMBERS, NUMBERS),
    spaced(st.sampled_from([b"m", b"n"]), NUMBERS),
    spaced(st.just(b"m"), NUMBERS, TIMES),
    st.tuples(NUMBERS, NUMBERS).map(lambda numbers: b"a=%b b=%b" % numbers),
    st.tuples(TIMES, NUMBERS).map(lambda parts: b'{"time":%b,"a":%b}' % parts),
)
BLOCKS = st.lists(LINES, max_size=6).map(b"".join) | st.lists(PLAIN, max_size=6).map(
    lambda lines: b"".join(b" ".join(line.split()) + b"\n" for line in lines)
)


@st.composite
def inputs(draw: st.DrawFn) -> Input:
    """Connections, some of them at the same time, cut anywhere; flushed before another one goes on."""
    events: list[Event] = []
    for connection in draw(st.lists(st.integers(0, 2), min_size=1, max_size=4)):
        data = draw(BLOCKS)
        if draw(st.integers(0, 3)) == 0:
            at = draw(st.integers(0, len(data)))
            data = data[:at] + draw(st.binary(max_size=3)) + data[at + draw(st.integers(0, 3)) :]
        cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=6)))
        for start, stop in zip([0, *cuts], [*cuts, len(data)], strict=True):
            events.append(Event(connection, data[start:stop], flush=draw(st.booleans())))
        events[-1].flush = True
        events[-1].end = draw(st.sampled_from(["", "", "clean", "reset"]))
    return Input(
        events,
        draw(st.sampled_from([65536, 100, 40, 12])),
        draw(st.sampled_from([100, 100, 1, 2])),
        draw(st.sampled_from(["", "", "", "s"])),
    )


@pytest.mark.slow
@settings(max_examples=examples(250), deadline=None, suppress_health_check=list(HealthCheck))
@given(given=inputs())
def test_linemon_and_the_reference_agree(store: EmptyStore, given: Input) -> None:
    """Rows, columns, units, counts, reasons and answers, to the bit."""
    assert difference(given, store) == ""


@settings(max_examples=examples(200), deadline=None, suppress_health_check=list(HealthCheck))
@given(BLOCKS, st.lists(st.integers(0, 200), max_size=8), st.booleans(), st.sampled_from([65536, 40]))
def test_cuts_change_nothing(store: EmptyStore, data: bytes, cuts: list[int], flush: bool, max_line: int) -> None:
    """A connection in one piece, in some pieces and byte by byte."""
    edges = sorted({0, *(cut for cut in cuts if cut < len(data)), len(data)})
    pieces = [data[start:stop] for start, stop in itertools.pairwise(edges)]
    whole, cut, bytewise = (
        by_linemon(Input([Event(0, piece, flush=flush) for piece in each], max_line), store)
        for each in ([data], pieces, [data[i : i + 1] for i in range(len(data))])
    )
    assert whole == cut == bytewise


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_bytes_that_nobody_would_send(seed: int) -> None:
    """A little of what `tests/fuzz.py` does for as long as one likes."""
    fuzzer = fuzz.Fuzzer(runs=1500, seconds=1e9, keep_going=False)
    at_random(fuzzer, seed)
    fuzzer.store.close()
    assert fuzzer.tried == 1500


def test_pairs_and_json_take_numbers_where_lines_have_them(store: EmptyStore) -> None:
    """They are rows of the connection's source: acknowledged, and known again when they come twice."""
    data = b'#source s\n#seq 5 x\na=1\n{"a": 2, "b": 3}\n{\n#seq 6 x\na=2\n{"b": 4}\n{"c": 5}\nm 1\nput m -1 1\n'
    one = reference.Collector(NOW).whole("10.0.0.7", data)
    assert (one.stored, one.duplicate, one.acked) == (3, 2, 11)
    assert one.bad == [(5, "syntax"), (10, "sequence"), (11, "sequence")]
    for flush in (False, True):
        for cuts in (range(0), range(1, len(data))):
            edges = [0, *cuts, len(data)]
            events = [Event(0, data[a:b], flush=flush) for a, b in itertools.pairwise(edges)]
            assert difference(Input(events), store) == ""


def test_where_lines_are_numbered_a_quote_joins_none(store: EmptyStore) -> None:
    """Each line has its number, also one that would be within a string."""
    data = b'#source s\n#seq 1 x\nm s="abc\n1\n'
    one = reference.Collector(NOW).whole("10.0.0.7", data)
    assert (one.bad, one.stored, one.acked) == ([(3, "sequence")], 1, 3)
    assert difference(Input([Event(0, data, flush=True)]), store) == ""


# -- connections at the same time: here the order of lines is defined within each only


def sender(rng: random.Random, number: int) -> bytes:
    """Lines of one of several connections to the same sources; no two values are the same."""
    values = iter(range((number + 1) * 100_000, (number + 2) * 100_000))
    lines = [b"#source shared\n#columns a b\n"]
    for _ in range(rng.randrange(30)):
        match rng.randrange(6):
            case 0 | 1:
                lines += [b"%d %d\n" % (next(values), next(values))] * rng.choice((1, 1, 2))
            case 2:
                lines.append(b"m%d %d\n" % (rng.randrange(3), next(values)))
            case 3:
                fields = rng.sample([b"f", b"g", b"h"], rng.randint(1, 3))
                lines.append(b"i " + b",".join(b"%b=%d" % (field, next(values)) for field in fields) + b"\n")
            case 4:
                lines.append(rng.choice((b"1 x\n", b"1 2 3\n", b"m0 y\n", b"\n", b"# c\n", b"\xff\n", b"  7  \n")))
            case 5:
                lines.append(b"#columns a b\n" if rng.random() < 0.5 else b"#columns a b c\n%d 0 1\n" % next(values))
                lines.append(b"#columns a b\n")
    return b"".join(lines)


Told = list[tuple[tuple[str, float], ...]]  # rows as names and values, without what is missing


def told(columns: list[str], rows: list[list[float]]) -> Told:
    return [
        tuple(sorted((name, value) for name, value in zip(columns, row, strict=True) if value == value)) for row in rows
    ]


def of_sender(number: int, rows: Told) -> Told:
    return [row for row in rows if any(value // 100_000 == number + 1 for _, value in row)]


@pytest.mark.parametrize("seed", range(60))
def test_connections_at_the_same_time(store: EmptyStore, seed: int) -> None:
    """No row is lost or doubled, and those of one connection keep their order, whenever who is flushed."""
    rng = random.Random(seed)
    sent = [sender(rng, number) for number in range(3)]
    store.forget(100)
    intake = Intake(store)
    sessions = [Session(f"10.0.0.{i}", 100) for i in range(3)]
    at = [0, 0, 0]
    while any(at[i] < len(sent[i]) for i in range(3)):
        i = rng.randrange(3)
        size = rng.choice((1, 3, 10, 40, 200))
        intake.take(sessions[i], sent[i][at[i] : at[i] + size], NOW)
        at[i] += size
        if rng.random() < 0.2:
            intake.flush(NOW)
    intake.flush(NOW)
    alone = [reference.Collector(NOW, max_line=100) for _ in sent]
    for i, (collector, data) in enumerate(zip(alone, sent, strict=True)):
        one = collector.whole(f"10.0.0.{i}", data)
        assert (one.lines, one.received, one.stored) == (sessions[i].lines, sessions[i].received, sessions[i].stored)
    assert intake.accounts.rejected == sum((collector.rejected for collector in alone), Counter())
    assert set(store.rings) == {name for collector in alone for name in collector.sources}
    for name, ring in store.rings.items():
        _, block = ring.arena.read(ring.entry.slot, 0)
        stored = told(list(ring.entry.columns), block[:, 1:].view(np.float64).tolist())
        together = [
            told(source.columns, [values for _, values in source.rows])
            for source in (collector.sources.get(name, reference.Source([], [])) for collector in alone)
        ]
        assert Counter(stored) == sum(map(Counter, together), Counter())
        for number, rows in enumerate(together):
            assert of_sender(number, stored) == rows


# -- the reference itself


def lines_of(name: str) -> list[list[str]]:
    text = (VECTORS / name).read_text()
    return [line.split() for line in text.splitlines() if line and not line.startswith("#")]


@pytest.mark.parametrize(("token", "expected"), lines_of("numbers.txt"))
def test_numbers(token: str, expected: str) -> None:
    """The vectors of the numbers hold for the reference too."""
    if expected.startswith("!"):
        with pytest.raises(reference_words.Rejected, match=expected[1:]):
            reference_words.number(token)
    else:
        assert repr(reference_words.number(token)) == expected


@pytest.mark.parametrize(("token", "expected"), lines_of("times.txt"))
def test_times(token: str, expected: str) -> None:
    """The vectors of the times hold for the reference too."""
    if expected.startswith("!"):
        with pytest.raises(reference_words.Rejected, match=expected[1:]):
            reference_words.time(token)
    else:
        assert reference_words.time(token) == (None if expected == "now" else int(expected))


@settings(max_examples=examples(300))
@given(st.integers(0, 4 * 10**18), st.integers(0, 3), st.integers(0, 9))
def test_a_time_is_right_to_the_microsecond(ns: int, unit: int, decimals: int) -> None:
    """However it is written, until the year 2096; and to the nanosecond where it is a whole number."""
    per_unit = (10**9, 10**6, 10**3, 1)[unit]
    whole, rest = divmod(ns, per_unit)
    if reference_words.unit_of(Fraction(whole)) != per_unit or reference_words.unit_of(float(f"{whole}.5")) != per_unit:
        return
    fraction = f"{rest:0{len(str(per_unit)) - 1}d}"[:decimals] if per_unit > 1 else ""
    exact = whole * per_unit + int(Fraction(int(fraction or 0), 10 ** len(fraction)) * per_unit)
    said = reference_words.time(f"{whole}.{fraction}" if fraction else f"{whole}")
    assert said is not None
    if fraction.strip("0"):
        assert abs(said - exact) <= 1000
    else:
        assert said == exact
