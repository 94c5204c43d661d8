"""The cases: what is sent, and what must be stored afterwards."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from bench.senders import Stream

PART_BYTES = 1 << 16  # about what one send hands over
BEATS = 16  # different values per metric or Influx series before they repeat
FIELDS = ("cpu", "mem", "load1", "load5", "rx", "tx")
ROWS, METRICS, INFLUX = "rows", "metrics", "influx"  # kinds of line
OURS = "ours"  # kinds that are measured with linemon alone


@dataclass
class Traffic:
    """The streams of all connections, and what a store must hold after them: per source its newest rows."""

    streams: list[Stream] = field(default_factory=list)
    lines: int = 0  # measured ones, bad ones too
    hello_lines: int = 0
    rows: dict[str, int] = field(default_factory=dict)  # stored per source, hello lines too
    newest: dict[str, list[list[float]]] = field(default_factory=dict)
    rejected: int = 0


@dataclass(frozen=True)
class Case:
    """`lines` is how many linemon gets; the others get a share, as they take far longer."""

    name: str
    title: str
    kind: str
    lines: int
    make: Callable[[int], Traffic]
    connections: int = 1
    period_s: float = 0  # 0: as fast as it is taken
    budget: float | None = None  # CPU s per million lines; % of a core where paced; a ratio where `against` is set
    floor: float | None = None  # the same in hand-written C, on the machine where the budgets were made
    against: str = ""  # the case this one is a ratio to
    python_budget: float | None = None  # of linemon without its C reader, CPU s per million lines

    @property
    def unit(self) -> str:
        return "% of a core" if self.period_s else "CPU s/M lines"


def _values(count: int, width: int, seed: int) -> list[list[float]]:
    """Numbers as machines send them, one digit below the point: a row of six takes about 30 bytes."""
    values: list[list[float]] = (np.random.default_rng(seed).integers(1, 1000, (count, width)) / 10).tolist()
    return values


def _row(values: Sequence[float]) -> str:
    return " ".join(map(repr, values)) + "\n"


def _pairs(values: Sequence[float]) -> str:
    return " ".join(map("{}={!r}".format, FIELDS, values)) + "\n"


def _json(values: Sequence[float]) -> str:
    return "{" + ", ".join(map('"{}": {!r}'.format, FIELDS, values)) + "}\n"


def rows(
    lines: int,
    width: int,
    connections: int,
    bad: str = "",
    said: str = "",
    line: Callable[[Sequence[float]], str] = _row,
) -> Traffic:
    """Rows without times; each connection has a source of its own.

    `bad`: every 1,000th line is this. `said`: what each connection says after its source. `line`: how a row is written.
    """
    traffic = Traffic()
    per_part = PART_BYTES // (5 * width) // 1000 * 1000 if bad else PART_BYTES // (5 * width)
    parts = max(1, lines // connections // per_part)
    for i in range(connections):
        values = _values(per_part, width, seed=i)
        text = [line(row) for row in values]
        if bad:
            for at in range(500, per_part, 1000):
                text[at] = bad
            values = [row for at, row in enumerate(values) if at % 1000 != 500]
        traffic.streams.append(Stream(f"#source bench{i}\n{said}".encode(), ["".join(text).encode()] * parts))
        traffic.lines += per_part * parts
        traffic.rows[f"bench{i}"] = len(values) * parts
        traffic.newest[f"bench{i}"] = values
        traffic.rejected += (per_part - len(values)) * parts
    return traffic


def paced(lines: int, connections: int, *, numbered: bool = False) -> Traffic:
    """Rows of six, one a period from each connection; the first row belongs to connecting.

    `numbered`: and acknowledged; what few acknowledgements there are wait in the sender's sockets.
    """
    traffic = Traffic(lines=lines, hello_lines=connections)
    for i in range(connections):
        values = _values(lines // connections + 1, 6, seed=i)
        text = [_row(row).encode() for row in values]
        head = f"#source bench{i}\n" + f"#seq 0 bench{i}\n" * numbered
        traffic.streams.append(Stream(head.encode() + text[0], text[1:]))
        traffic.rows[f"bench{i}"] = len(values)
        traffic.newest[f"bench{i}"] = values
    return traffic


def metrics(lines: int, series: int, connections: int, *, are_known: bool = False) -> Traffic:
    """Graphite lines: each connection has its share of the names and sends all of them once a second of their time."""
    return _timed(
        lines, series, connections, 1, 10**9,
        lambda c, n: f"bench.host{c}.metric{n}",
        lambda source, values: f"{source} {values[0]!r} @TIME@\n", are_known,
    )  # fmt: skip


def puts(lines: int, series: int, connections: int) -> Traffic:
    """The same as OpenTSDB says it, with a tag."""
    return _timed(
        lines, series, connections, 1, 10**9,
        lambda c, n: f"bench.metric{n};host=h{c}",
        lambda source, values: f"put {source.partition(';')[0]} @TIME@ {values[0]!r} {source.partition(';')[2]}\n",
    )  # fmt: skip


def influx(lines: int, series: int, connections: int) -> Traffic:
    """Influx lines of six fields: each connection has its share of the hosts, as above, times in nanoseconds."""
    return _timed(
        lines, series, connections, len(FIELDS), 1,
        lambda c, n: f"sys,host=h{c}-{n}",
        lambda source, values: f"{source} {','.join(map('{}={!r}'.format, FIELDS, values))} @TIME@\n",
    )  # fmt: skip


def _timed(
    lines: int, series: int, connections: int, width: int, unit_ns: int,
    source: Callable[[int, int], str], line: Callable[[str, list[float]], str], are_known: bool = False,
) -> Traffic:  # fmt: skip
    """`are_known`: the first second belongs to connecting, so that no source is new when it is measured."""
    traffic = Traffic()
    own = series // connections
    seconds = max(1, lines // (own * connections))
    start = int(time.time()) - seconds
    joined = max(1, PART_BYTES // (own * 32))  # seconds a part
    for c in range(connections):
        sources = [source(c, n) for n in range(own)]
        values = [_values(own, width, seed=c * BEATS + beat) for beat in range(BEATS)]
        beats = ["".join(map(line, sources, beat)).encode() for beat in values]
        sent = [beats[s % BEATS].replace(b"@TIME@", b"%d" % ((start + s) * 10**9 // unit_ns)) for s in range(seconds)]
        known = sent.pop(0) if are_known else b""
        parts = [b"".join(sent[s : s + joined]) for s in range(0, len(sent), joined)]
        traffic.streams.append(Stream(known, parts))
        traffic.lines += own * len(sent)
        traffic.hello_lines += own * are_known
        newest = range(max(0, seconds - BEATS), seconds)
        for n, name in enumerate(sources):
            traffic.rows[name] = seconds
            traffic.newest[name] = [values[s % BEATS][n] for s in newest]
    return traffic


def _rows_case(width: int, connections: int, budget: float, python: float, floor: float | None = None) -> Case:
    make = partial(rows, width=width, connections=connections)
    title = f"rows of {width}, {connections} connection{'s' * (connections > 1)}"
    return Case(
        f"rows{width}-{connections}", title, ROWS, 24_000_000 // width, make, connections,
        budget=budget, python_budget=python, floor=floor,
    )  # fmt: skip


def _bad_case(name: str, title: str, bad: str) -> Case:
    make = partial(rows, width=6, connections=8, bad=bad)
    return Case(name, title, ROWS, 4_000_000, make, 8, budget=1.4, against="rows6-8")


def _named_case(name: str, title: str, line: Callable[[Sequence[float]], str]) -> Case:
    make = partial(rows, width=6, connections=8, line=line)
    return Case(name, title, OURS, 2_000_000, make, 8, budget=0.6, python_budget=3)


def _paced_case(
    connections: int, per_s: int, budget: float, floor: float | None = None, *, numbered: bool = False
) -> Case:
    return Case(
        f"paced-{connections}" + "-numbered" * numbered,
        f"{connections:,} connections at {per_s} Hz" + ", numbered" * numbered,
        OURS if numbered else ROWS, 10 * per_s * connections,
        partial(paced, connections=connections, numbered=numbered), connections, 1 / per_s, budget, floor,
    )  # fmt: skip


NUMBERED = Case(
    "numbered", "rows of 6, 8 connections, numbered", ROWS, 4_000_000,
    partial(rows, width=6, connections=8, said="#seq 0 bench\n"), 8, budget=1.15, against="rows6-8",
)  # fmt: skip

CASES = [
    _rows_case(6, 1, 0.1, 0.9, 0.055),
    _rows_case(6, 8, 0.1, 0.9, 0.055),
    _rows_case(6, 64, 0.1, 0.9),
    NUMBERED,
    _rows_case(60, 1, 0.75, 6),
    _rows_case(60, 8, 0.75, 6),
    _rows_case(60, 64, 0.75, 6),
    Case("metrics", "metric lines, 1,000 names, 8 connections", METRICS, 2_000_000,
         partial(metrics, series=1000, connections=8), 8, budget=0.2, floor=0.045, python_budget=0.8),
    Case("metrics-many", "metric lines, 100,000 names, 8 connections", OURS, 2_000_000,
         partial(metrics, series=100_000, connections=8, are_known=True), 8, budget=2, against="metrics"),
    _named_case("pairs", "pairs of 6, 8 connections", _pairs),
    _named_case("json", "JSON lines of 6, 8 connections", _json),
    Case("put", "put lines with a tag, 1,000 names", OURS, 2_000_000,
         partial(puts, series=1000, connections=8), 8, budget=0.8),
    Case("influx", "Influx lines, 6 fields, 8 connections", INFLUX, 500_000,
         partial(influx, series=80, connections=8), 8, budget=0.45, python_budget=1.8),
    _paced_case(1000, 10, 7.5, 6.5),
    _paced_case(1000, 10, 9, numbered=True),
    _paced_case(5000, 1, 5),
    _paced_case(10, 1, 1.5),
    _bad_case("bad-tokens", "rows of 6, one in 1,000 is short", "1.0 2.0 3.0 4.0 5.0\n"),
    _bad_case("bad-number", "rows of 6, one in 1,000 is no number", "1.0 2.0 3.0 oops 5.0 6.0\n"),
]  # fmt: skip
