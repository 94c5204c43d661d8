"""The line language's numbers and times: bulk and one by one say the same, and what the vectors say."""

from __future__ import annotations

import math
import random
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from linemon import when
from linemon.errors import LineError
from linemon.lines import bulk, names, wire
from tests.examples import examples

VECTORS = Path(__file__).parent / "vectors"
NOW = 1_700_000_000_123_456_789


def vectors(name: str) -> list[tuple[str, str]]:
    lines = (VECTORS / name).read_text().splitlines()
    return [tuple(line.split(None, 1)) for line in lines if not line.startswith("#")]  # type: ignore[misc]


@pytest.fixture(params=["C", "Python"] if bulk.reader else ["Python"], autouse=True)
def reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Every test, by the C reader where it was built, and without it."""
    if request.param == "Python":
        monkeypatch.setattr(bulk, "reader", None)
    return str(request.param)


def rows(block: bytes, width: int) -> tuple[list[list[float]], dict[int, bytes]] | None:
    """The rows and the odd lines of a block without times; None where it was refused."""
    found = wire.rows([block], width, None, 1 + width, NOW)
    if found is None:
        return None
    cells, lines, odd = found
    assert lines == [len(cells) + len(odd)] == [block.count(b"\n")]
    assert (cells[:, 0] == NOW).all()
    return cells[:, 1:].view(np.float64).tolist(), dict(odd)


def bits(value: float) -> bytes:
    return b"nan" if math.isnan(value) else struct.pack("d", value)


@pytest.mark.parametrize(("token", "expected"), vectors("numbers.txt"))
def test_number(token: str, expected: str) -> None:
    """A token is the double that the vectors say, alone and in the middle of a block."""
    if expected.startswith("!"):
        with pytest.raises(LineError) as caught:
            wire.number(token.encode())
        assert caught.value.reason == expected[1:]
        good = "1 1 1\n" * 9
        found = None if token.encode() in wire.NO_VALUE else rows(f"{good}1 {token} 2\n{good}".encode(), 3)
        assert found is None or found == ([[1.0] * 3] * 18, {9: f"1 {token} 2".encode()})
    else:
        assert repr(wire.number(token.encode())) == expected
        found = rows(f"1 {token} 2\n".encode(), 3)
        assert found is None or [repr(value) for value in found[0][0]] == ["1.0", expected, "2.0"]


@pytest.mark.parametrize(("token", "expected"), vectors("times.txt"))
def test_time(token: str, expected: str) -> None:
    """A token is the time that the vectors say, however it is read."""
    if expected.startswith("!"):
        with pytest.raises(LineError) as caught:
            when.time_ns(token.encode())
        assert caught.value.reason == expected[1:]
        assert wire.times([b"5", token.encode()], NOW) is None
        return
    want = NOW if expected == "now" else int(expected)
    assert when.time_ns(token.encode()) == (None if expected == "now" else want)
    times = wire.times([b"5", token.encode()], NOW)
    assert times is None or times.tolist() == [5_000_000_000, want]
    doubles = bulk.numbers(token.encode())
    if doubles is not None:
        epoch = wire.epoch_times(doubles, NOW)
        assert epoch is None or epoch.tolist() == [want]


numbers_as_sent = st.one_of(
    st.floats(allow_infinity=False).map(repr),
    st.integers(-(2**70), 2**70).map(str),
    st.from_regex(r"[+-]?(\d{1,4}(\.\d{0,4})?|\.\d{1,4})([eE][+-]?\d{1,3})?", fullmatch=True),
    st.sampled_from(
        [
            "nan",
            "NaN",
            "-7.4109846876186982e-323",
            "1 2",
            "",
            "x",
            "[1]",
            "1,2",
            "\t",
            "\r",
            "\x0b",
            "é",
            "NA",
            "-",
            "None",
            "n/a",
            "null",
            "+nan",
            "-Infinity",
            "nano",
            "1e",
            "-0",
            "-0.0",
            "1" * 500,
        ]
    ),
)


@pytest.mark.slow
@given(
    st.lists(st.lists(numbers_as_sent, min_size=1, max_size=4), min_size=1, max_size=6), st.sampled_from(["\n", "\r\n"])
)
@example([["-7.4109846876186982e-323", "nan"]], "\n")
@example([["1", "2"], ["3"], ["4", "5", "6"]], "\n")
def test_rows_in_bulk_are_what_each_token_says(lines: list[list[str]], end: str) -> None:
    """A block is either refused by the bulk reader or read exactly as token by token."""
    width = len(lines[0])
    block = "".join(" ".join(line) + end for line in lines).encode()
    found = rows(block, width)
    if found is None:
        return
    values, odd = found
    one_by_one = []
    for at, line in enumerate(block.split(b"\n")[:-1]):
        if at in odd:
            assert odd[at] == line
        else:
            one_by_one.append([wire.row_number(token) for token in wire.tokens(line.removesuffix(b"\r"))])
    assert [len(row) for row in one_by_one] == [width] * len(values)
    assert [bits(value) for row in values for value in row] == [bits(value) for row in one_by_one for value in row]


@given(st.lists(st.lists(st.floats(allow_infinity=False, width=64), min_size=6, max_size=6), min_size=1))
def test_plain_rows_take_the_quick_way(table: list[list[float]]) -> None:
    """Doubles as Python prints them are read in bulk, to the bit."""
    block = "".join(" ".join(map(repr, row)) + "\n" for row in table).encode()
    found = rows(block, 6)
    assert found is not None
    assert not found[1]
    assert [bits(value) for row in found[0] for value in row] == [bits(value) for row in table for value in row]


def number_as_programs_print_it(chance: random.Random) -> str:
    kind = chance.randrange(7)
    if kind == 0:  # all of a double
        return repr(struct.unpack("<d", chance.randbytes(8))[0])
    if kind == 1:
        return f"{chance.uniform(-1e4, 1e4):.{chance.randrange(18)}f}"
    if kind == 2:
        return f"{chance.uniform(-1, 1) * 10.0 ** chance.randrange(-30, 30):.{chance.randrange(18)}e}"
    if kind == 3:
        return str(chance.getrandbits(chance.randrange(1, 70)) * chance.choice((1, -1)))
    if kind == 4:  # half way between two doubles
        return str((2 * (1 << 52 | chance.getrandbits(52)) + 1) << chance.randrange(11))
    if kind == 5:
        digits = str(chance.getrandbits(chance.randrange(1, 80)))
        at = chance.randrange(len(digits) + 1)
        return chance.choice(("", "-", "+")) + digits[:at] + "." + digits[at:]
    return chance.choice(("0", "-0", "-0.0", "0e5", ".5", "5.", "00", "007", "-.5e1", "1E+3", "1e-0")) + "0" * kind


def test_numbers_by_the_thousand() -> None:
    """To the bit what `number` makes of each, and that is what `float` does, but for the sign of a whole zero."""
    chance = random.Random(5)
    tokens = [number_as_programs_print_it(chance).encode() for _ in range(examples(20_000))]
    finite = [token for token in tokens if abs(float(token)) < math.inf]  # the others are rejected
    found = rows(b"\n".join(finite) + b"\n", 1)
    assert found
    assert not found[1]
    for token, [value] in zip(finite, found[0], strict=True):
        expected = 0.0 if bulk.WHOLE_ZERO.fullmatch(token) else float(token)
        assert bits(value) == bits(wire.number(token)) == bits(expected), token


@given(
    st.one_of(
        st.integers(-2, 2**64).map(str),
        st.floats(0, 1e19).map(repr),
        st.decimals(0, 10**11, places=6).map(str),
    )
)
def test_times_in_bulk_are_what_each_token_says(token: str) -> None:
    """Both bulk readers of times agree with the careful one wherever they answer."""
    try:
        want = when.time_ns(token.encode())
    except LineError:
        want = -1
    expected = NOW if want is None else want
    times = wire.times([token.encode()], NOW)
    assert times is None or times.tolist() == [expected]
    doubles = bulk.numbers(token.encode())
    if doubles is not None:
        epoch = wire.epoch_times(doubles, NOW)
        assert epoch is None or epoch.tolist() == [expected]


def test_metric_names() -> None:
    """A letter of any script or an underscore first, or a digit and one of these later, and no word for a number."""
    for good in ("a", "_x", "room1.temperature", "température", "温度", "name;k=v", "Ω", "nano", "inf.x"):
        assert names.is_name(good.encode(), in_rows=True), good
    for digit in ("5web.cpu", "10_0_0_1.load", "1.e5x", "5.5._"):
        assert names.is_name(digit.encode(), in_rows=False), digit
        assert not names.is_name(digit.encode(), in_rows=True), digit
    for bad in ("", "1a", ".a", "-a", "nan", "NaN", "inf", "Infinity", "²", "«a", "#a", "NA", "n/a", "None", "-",
                "1.e5", "1.e", "x:", "x=", "x:;a=b", 'x={a="b"}', "2026-11-22T10:15:00.5Z"):  # fmt: skip
        assert not names.is_name(bad.encode(), in_rows=False), bad
    assert not names.is_name(b"\xff\xfe", in_rows=False)


def test_columns_of_a_directive() -> None:
    """Names and units come apart at the first colon; what cannot be a column is named in the error."""
    assert wire.columns(["time", "a:V", "b", "c:m:s"]) == (("time", "a", "b", "c"), ("", "V", "", "m:s"))
    for bad, named in (([], "no column"), (["a", "a:V"], "'a'"), ([":V"], "':V'"), (["time"], "only the time")):
        with pytest.raises(LineError, match=named) as caught:
            wire.columns(bad)
        assert caught.value.reason == "name"
