"""Every rule of the line language, as `vectors/lines.txt` has it, by the reference and through a collector's socket.

Each vector is sent whole, byte by byte, and between good lines.
"""

from __future__ import annotations

import itertools
import re
import socket
import struct
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests import reference
from tests.fuzz import EmptyStore, Event, Input, difference, unshow
from tests.running import DEADLINE_S, Running, eventually

VECTORS = Path(__file__).parent / "vectors"
NOW = 1_600_000_000_987_654_321  # what the reference takes for the time of arrival
PEER = "127.0.0.1"

Row = tuple[str, int | None, str]  # source, nanoseconds (None: on arrival), values as text


@dataclass
class Vector:
    """One connection and what becomes of its lines; `$` and `@` are not replaced yet."""

    rule: str
    settings: dict[str, str]
    data: str = ""
    columns: dict[str, str] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    bad: list[tuple[int, str]] = field(default_factory=list)
    replies: list[str] = field(default_factory=list)
    marks: list[Row] = field(default_factory=list)  # source or -, time, text
    alone: bool = False
    inside: bool = False
    reset: bool = False

    def bytes_of(self, own: str) -> bytes:
        return unescape(self.data.replace("$", own))

    def collector(self) -> reference.Collector:
        return reference.Collector(
            NOW,
            max_line=int(self.settings.get("max_line", 65536)),
            max_sources=int(self.settings.get("max_sources", 10000)),
            token=self.settings.get("token", ""),
        )


def unescape(text: str) -> bytes:
    data = text.encode().decode("latin-1").encode("latin-1").decode("unicode_escape").encode("latin-1")
    return re.sub(rb"\{([^{]+?)\*(\d+)\}", lambda match: match[1] * int(match[2]), data)


def named(text: str, own: str) -> str:
    return unescape(text.replace("$", own).replace("@/", f"{PEER}/")).decode()


def read_vectors() -> list[list[Vector]]:
    """The vectors in groups; each group wants a collector of its own."""
    groups: list[list[Vector]] = []
    settings: dict[str, str] = {}
    for line in (VECTORS / "lines.txt").read_text().splitlines():
        kind, _, rest = line.partition(" ")
        if kind == "@":
            settings = dict(each.split("=", 1) for each in rest.split())
            groups.append([])
        elif kind == "==":
            groups[-1].append(Vector(rest, settings))
        elif kind in (">", ">|"):
            groups[-1][-1].data += rest + ("\\n" if kind == ">" else "")
        elif kind == "=":
            source, columns = rest.split(" | ")
            groups[-1][-1].columns[source] = columns
        elif kind == "+":
            source, at, values = rest.split(" | ")
            groups[-1][-1].rows.append((source, None if at == "now" else int(at), values))
        elif kind == "*":
            source, at, text = rest.split(" | ")
            groups[-1][-1].marks.append((source, None if at == "now" else int(at), text))
        elif kind == "!":
            number, reason = rest.split()
            groups[-1][-1].bad.append((int(number), reason))
        elif kind == "<":
            groups[-1][-1].replies.append(rest)
        elif line in ("alone", "reset", "inside"):
            setattr(groups[-1][-1], line, True)
        else:
            assert line == "" or line.startswith("#"), line
    return groups


GROUPS = read_vectors()
ALL = [vector for group in GROUPS for vector in group]
Outcome = dict[str, tuple[str, list[tuple[int | None, str]]]]  # source: columns with units, rows


def by_reference(collector: reference.Collector) -> Outcome:
    return {
        name: (
            shown_columns(source.columns, source.units),
            [(None if at == NOW else at, " ".join(map(repr, values))) for at, values in source.rows],
        )
        for name, source in collector.sources.items()
    }


def shown_columns(columns: list[str] | tuple[str, ...], units: list[str] | tuple[str, ...]) -> str:
    return repr(list(zip(columns, units, strict=True)))


def as_written(vector: Vector, own: str) -> Outcome:
    """The sources and rows that the vector lists; columns only where it says them."""
    outcome: Outcome = {}
    for source, at, values in vector.rows:
        outcome.setdefault(named(source, own), ("", []))[1].append((at, values))
    for source, columns in vector.columns.items():
        pairs = [column.partition(":") for column in columns.split()]
        said = shown_columns([named(name, own) for name, _, _ in pairs], [named(unit, own) for *_, unit in pairs])
        outcome[named(source, own)] = said, outcome.get(named(source, own), ("", []))[1]
    return outcome


def without_columns(outcome: Outcome, like: Outcome) -> Outcome:
    return {name: (said if like.get(name, ("",))[0] else "", rows) for name, (said, rows) in outcome.items()}


@pytest.mark.parametrize("vector", ALL, ids=lambda vector: vector.rule)
def test_the_reference_holds_the_vectors(vector: Vector) -> None:
    """The second description of the language says what the vectors say."""
    collector = vector.collector()
    one = collector.whole(PEER, vector.bytes_of("own"), clean_end=not vector.reset)
    written = as_written(vector, "own")
    assert without_columns(by_reference(collector), written) == written
    assert one.bad == vector.bad
    said = [("-" if name is None else name, None if at == NOW else at, text) for name, at, text in collector.marks]
    assert said == [(named(name, "own"), at, named(text, "own")) for name, at, text in vector.marks]
    replies = [f"{reply[0]} {reply[1]} " if isinstance(reply, tuple) else reply for reply in one.replies]
    assert len(replies) == len(vector.replies)
    assert all(reply.startswith(named(start, "own")) for reply, start in zip(replies, vector.replies, strict=True)), (
        replies
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmptyStore]:
    store = EmptyStore(tmp_path_factory.mktemp("store"))
    yield store
    store.close()


@pytest.mark.parametrize("way", ["whole", pytest.param("cut", marks=pytest.mark.slow)])
@pytest.mark.parametrize("vector", ALL, ids=lambda vector: vector.rule)
def test_linemon_holds_the_vectors(store: EmptyStore, vector: Vector, way: str) -> None:
    """So does linemon, without a socket: whole, byte by byte, and in two pieces."""
    data = vector.bytes_of("own")
    limits = vector.collector()
    step = max(1, len(data) // 20)
    for cuts in [()] if way == "whole" else [range(len(data)), *([at] for at in range(0, len(data), step))]:
        for flush in (False, True):
            edges = [0, *cuts, len(data)]
            events = [Event(0, data[start:stop], flush=flush) for start, stop in itertools.pairwise(edges)]
            events[-1].end = "reset" if vector.reset else "clean"
            assert difference(Input(events, limits.max_line, limits.max_sources, limits.token), store) == ""


def fuzzed() -> list[str]:
    lines = (VECTORS / "fuzzed.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("# ")]


@pytest.mark.parametrize("shown", fuzzed())
def test_what_fuzzing_found(store: EmptyStore, shown: str) -> None:
    """Inputs on which linemon and the reference once differed."""
    assert difference(unshow(shown), store) == ""


# -- through the socket


class Conversation:
    """One vector on its way to a collector."""

    def __init__(self, running: Running, vector: Vector, own: str, way: str) -> None:
        self.running, self.vector, self.own = running, vector, own
        self.data = vector.bytes_of(own)
        if way == "between good lines" and not vector.alone:
            good = f"{own}good 1\n{own}good 2\n".encode()
            self.data = good + self.data + (good if self.data.endswith(b"\n") else b"")
        collector = vector.collector()
        self.expected = collector.whole(PEER, self.data, clean_end=not vector.reset)
        self.outcome = by_reference(collector)
        self.marks = collector.marks
        self.cursors = {name: running.store[name].rows if name in running.store else 0 for name in self.outcome}
        self.sock = running.connect()
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        pieces = [self.data[i : i + 1] for i in range(len(self.data))] if way == "byte by byte" else [self.data]
        try:
            for piece in pieces:
                self.sock.sendall(piece)
            if vector.reset:
                eventually(self.is_stored, "the rows before the reset")
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.sock.close()
            else:
                self.sock.shutdown(socket.SHUT_WR)
        except (ConnectionError, OSError):
            assert self.expected.closed, vector.rule  # by the collector, while we were sending

    def is_stored(self) -> bool:
        return all(
            name in self.running.store and self.running.store[name].rows - self.cursors[name] >= len(rows)
            for name, (_, rows) in self.outcome.items()
        )

    def answers(self) -> bytes:
        """What the collector sent until it closed."""
        data = b""
        if self.vector.reset:
            return data
        try:
            while part := self.sock.recv(65536):
                data += part
        except ConnectionResetError:
            assert self.expected.closed, self.vector.rule
        self.sock.close()
        return data

    def check(self, started: int) -> None:
        """Rows, columns and answers are the reference's."""
        replies: list[tuple[str, int] | str] = []
        for line in self.answers().decode().splitlines():
            word, number, *_ = line.split(" ")
            replies.append((word, int(number)) if word == "#error" else line)
        assert replies == self.expected.replies, self.vector.rule
        marks = [mark for mark in self.running.store.marks() if self.own in mark.text]
        for whose, at, text in self.marks:
            [ns] = [int(mark.time.astype("int64")) for mark in marks if (mark.source, mark.text) == (whose, text)]
            assert ns == at or (at == NOW and started <= ns <= time.time_ns()), self.vector.rule
        assert len(marks) == len(self.marks), self.vector.rule
        for name, (columns, rows) in self.outcome.items():
            if not rows and name not in self.running.store:
                continue
            source = self.running.store[name]
            stored = source.since(self.cursors[name])
            assert shown_columns(source.columns, source.units) == columns, self.vector.rule
            values = [" ".join(map(repr, row)) for row in stored.values.tolist()]
            assert values == [text for _, text in rows], (self.vector.rule, name)
            for at, (expected, _) in zip(stored.time.astype("int64").tolist(), rows, strict=True):
                assert at == expected or (expected is None and started <= at <= time.time_ns()), self.vector.rule


@pytest.fixture(scope="module")
def collectors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Running]]:
    """A running collector for each group; where the number of sources counts, one for each way. Stopped at the end."""
    running: dict[str, Running] = {}
    for group, way in itertools.product(range(len(GROUPS)), OWN):
        if (key := key_of(group, way)) not in running:
            running[key] = Running(tmp_path_factory.mktemp("collector"), settings_of(GROUPS[group][0]))
    for each in running.values():
        eventually(lambda each=each: "linemon.collector" in each.store, "its own source, which takes the place of one")  # type: ignore[misc]
    yield running
    for each in running.values():
        assert each.stop() == 0


def key_of(group: int, way: str) -> str:
    return f"{group} {way}" if "max_sources" in GROUPS[group][0].settings else f"{group}"


def settings_of(vector: Vector) -> str:
    store = [f"{key} = {int(value) + 1}" for key, value in vector.settings.items() if key == "max_sources"]
    tcp = [f'{key} = "{value}"' if key == "token" else f"{key} = {value}" for key, value in vector.settings.items()]
    tcp = [line for line in tcp if not line.startswith("max_sources")]
    return "\n".join([*store, "[tcp]", 'listen = "127.0.0.1:0"', *tcp, ""])


OWN = {"whole": "w", "byte by byte": "b", "between good lines": "g"}  # the end of what $ is, each way


@pytest.mark.slow
@pytest.mark.parametrize("way", OWN)
@pytest.mark.parametrize("group", range(len(GROUPS)))
def test_a_collector_holds_the_vectors(collectors: dict[str, Running], group: int, way: str) -> None:
    """All vectors at the same time, each on a connection of its own."""
    vectors = [vector for vector in GROUPS[group] if not vector.inside]
    running = collectors[key_of(group, way)]
    before = Counter(running.status()["rejected"])
    started = time.time_ns()
    names = [f"v{number}{OWN[way]}" for number in range(len(vectors))]
    conversations = [Conversation(running, vector, own, way) for vector, own in zip(vectors, names, strict=True)]
    for each in conversations:
        each.check(started)
    expected = Counter(reason for each in conversations for _, reason in each.expected.bad)
    eventually(
        lambda: Counter(running.status()["rejected"]) - before == expected,
        f"{expected} rejected",
        DEADLINE_S,
    )
