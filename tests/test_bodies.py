"""Lines with an end, of bodies and datagrams: the same outcome however they are cut, and as by a connection."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linemon.access import EVERYTHING, Grant
from linemon.errors import LineError
from linemon.lines.body import MAX_FAULTS, NOT_HERE, Body
from linemon.lines.session import Session
from tests.examples import examples
from tests.test_intake import NOW, Bench

LINES = (
    b'a v=1', b'a v=2 1', b'a v=2,w=3i 1700000000', b'a w=3i,v=t -1', b'b,t=x v=1.5 9223372036854775807',
    b'  a  v=4\t7 ', b'a s="x",v=5', b'a s="only"', b'a s="open', b'more",v=6', b'"', b'a v=x', b'a v=1 x',
    b'a v=1 1.5', b'=1 v=2', b'5 v=1', b'a\\ b v=1', "°C v=20.5".encode(), b'\xff v=1', b'm 20.3 1700000000',
    b'm 20.3 5', b'put m 1700000000 5 h=1', b'1 2 3', b'1 2', b't=5 h=6', b'{"t": 7}', b'{', b'', b'   ',
    b'# comment', b'#source s', b'#columns x:V y', b'#columns', b'#errors on', b'#stats', b'#token x', b"x" * 101,
    b"x" * 99 + b" 1", b'1 2\r', b'a v=7\r',
)  # fmt: skip
NUMBERING = [directive + b" 1" for directive in NOT_HERE]
BODIES: dict[str, Callable[[], Body | None]] = {
    "points": lambda: Body(has_points=True),
    "points in ms": lambda: Body(has_points=True, unit=10**6),
    "lines": Body,
    "datagram": lambda: Body(names_source=True),
    "connection": lambda: None,
}
texts = st.lists(st.sampled_from(LINES), max_size=25).map(b"\n".join)


class Outcome(NamedTuple):
    """What became of lines."""

    rows: dict[str, Any]
    rejected: dict[str, int]
    faults: list[tuple[int, str]]
    stored: int


def taken(text: bytes, body: Body | None, cuts: tuple[int, ...] = (), grant: Grant = EVERYTHING) -> Outcome:
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder) / "store")
        session = Session("peer", bench.max_line, body=body)
        session.grant = grant
        try:
            bench.say(text, session, cuts)
            bench.intake.end(session, NOW)
            bench.intake.flush(NOW)
        except LineError:  # another protocol
            pass
        bench.check()
        assert session.received == session.stored + session.rejected
        rows = {
            name: (source.columns, source.units, source.since(0).time.tolist(), repr(source.since(0).values.tolist()))
            for name, source in ((name, bench.store[name]) for name in bench.store)
        }
        faults = [(number, error.reason) for number, error in body.faults] if body else []
        outcome = Outcome(rows, dict(bench.intake.accounts.rejected), faults, session.stored)
        bench.store.close()
        bench.writer.close()
        return outcome


@pytest.mark.parametrize("kind", BODIES)
@settings(max_examples=examples(40), deadline=None)
@given(text=texts, cuts=st.lists(st.integers(0, 400), max_size=4).map(tuple))
def test_cuts_and_care_change_nothing(kind: str, text: bytes, cuts: tuple[int, ...]) -> None:
    """In one piece, in several, or looked at one by one, as where a token opens some sources."""
    whole = taken(text, BODIES[kind]())
    assert taken(text, BODIES[kind](), cuts) == whole
    assert taken(text, BODIES[kind](), grant=Grant(("?*",))) == whole
    assert len(whole.faults) <= MAX_FAULTS
    assert whole.faults == sorted(whole.faults)


@settings(max_examples=examples(60), deadline=None)
@given(text=texts)
def test_a_body_is_a_connection(text: bytes) -> None:
    """The same rows, and the same lines rejected; each of them is told, and nothing else but directives."""
    body = Body()
    by_body, by_connection = taken(text, body), taken(text, None)
    assert (by_body.rows, by_body.rejected) == (by_connection.rows, by_connection.rejected)
    assert not Counter(by_body.rejected) - body.rejected


@settings(max_examples=examples(60), deadline=None)
@given(text=texts, directives=st.lists(st.sampled_from(NUMBERING), min_size=1, max_size=2))
def test_behind_a_number_no_row_is_stored(text: bytes, directives: list[bytes]) -> None:
    """Whatever directives come then."""
    for names_source in (False, True):
        behind = taken(b"\n".join([*directives, text]), Body(names_source=names_source))
        assert not set(behind.rows) & {"s", "peer/2", "peer/3", "peer/named"}
        assert behind.faults[0] == (1, "sequence")


@settings(max_examples=examples(60), deadline=None)
@given(lines=st.lists(st.sampled_from([line for line in LINES if line.strip()[:1] != b"#" and b'"' not in line])))
@pytest.mark.slow
def test_points_of_a_body_are_those_of_a_connection(lines: list[bytes]) -> None:
    """What is a point is stored as a connection would have it; everything else is rejected."""
    points = [line for line in lines if taken(line, Body(has_points=True)).stored]
    assert taken(b"\n".join(lines), Body(has_points=True)).rows == taken(b"\n".join(points), None).rows
