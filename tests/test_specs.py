"""Specs: what they may say, and the rows that come of records. Pure: no socket, no clock."""

from __future__ import annotations

import contextlib
import copy
import json
import math
import struct
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linemon_sender.records import Cutter, crc16, crc_error, text_of, who
from linemon_sender.registers import Register, together
from linemon_sender.specs import Spec, SpecError
from tests.meters import P1_SERIAL, iec, p1

SHIPPED = Path(__file__).parent.parent / "linemon" / "specs"
GOOD: dict[str, Any] = {
    "version": "3",
    "read": {"kind": "text", "begin": "^/", "end": "^!", "crc": "dsmr", "every": "10s"},
    "column": [{"name": "p", "unit": "W", "pattern": r"1\.7\.0\((\d+\.\d+)\*kW\)", "scale": 1000}],
}


def shipped(name: str) -> Spec:
    """As it reaches a device: by JSON."""
    return Spec(json.loads(json.dumps(tomllib.loads((SHIPPED / name).read_text()))))


def records(spec: Spec, *reads: bytes, is_end: bool = False) -> tuple[list[str], list[str]]:
    """The records of these readings, and why others are none."""
    bad: list[str] = []
    cutter = Cutter(spec.begin, spec.end, bad.append)
    found: list[str] = []
    for read, is_last in [*((read, False) for read in reads), (b"", is_end)]:
        cutter.add(read)
        for record in cutter.records(0.0, is_last):
            if spec.crc == "dsmr" and (reason := crc_error(record)):
                bad.append(reason)
            else:
                found.append(text_of(record))
    return found, bad


@pytest.mark.parametrize("path", sorted(SHIPPED.iterdir()), ids=lambda path: path.name)
def test_what_is_shipped_is_right(path: Path) -> None:
    """Each file, and each is short enough for a line to a device."""
    assert Spec(tomllib.loads(path.read_text())).columns
    assert len(json.dumps(tomllib.loads(path.read_text()))) < 60_000


WRONG = [
    ((), "text", "expected a table"),
    (("versio",), "3", "'versio' is not a setting here; expected column, read, version"),
    (("version",), 3, "version = 3: expected a string"),
    (("version",), "3 a", "version = '3 a': expected a string without blanks"),
    (("version",), "x" * 65, "at most 64 bytes"),
    (("version",), None, "version is not there"),
    (("read",), None, "[read] is not there"),
    (("read", "kind"), "csv", "[read] kind = 'csv': expected text, json, modbus"),
    (("read", "kind"), "json", "[read] 'begin' is not a setting here; expected every, kind"),
    (("read", "begin"), "(", "[read] begin = '(': missing ), unterminated subpattern"),
    (("read", "end"), 5, "[read] end = 5: expected a string"),
    (("read", "crc"), "md5", "[read] crc = 'md5': expected none, dsmr"),
    (("read", "every"), "soon", "[read] every = 'soon': expected a span of 0.1 s to a day, such as '10s'"),
    (("read", "every"), "2d", "every = '2d': expected a span"),
    (("read", "every"), True, "every = True: expected a span"),
    (("read", "begin"), None, "[read] crc = 'dsmr' needs begin and end"),
    (("column",), [], "expected 1 to 1000 tables [[column]]"),
    (("column",), {}, "expected 1 to 1000 tables [[column]]"),
    (("column", 0), "p", "[[column]] 1 is not a table"),
    (("column", 0, "name"), "", "[[column]] 1: name is not there"),
    (("column", 0, "name"), "a b", "name = 'a b': expected at most 255 bytes without blanks and colons"),
    (("column", 0, "name"), "time", "name = 'time' is kept for the record's own time (time = true)"),
    (("column", 0, "unit"), "m / s", "[[column]] p: unit = 'm / s': expected no blanks"),
    (("column", 0, "register"), 40001, "[[column]] p: 'register' is not a setting here"),
    (("column", 0, "pattern"), "p", "[[column]] p: pattern = 'p': expected a group (…) around the value"),
    (("column", 0, "pattern"), "(" * 1001, "more than 1000 characters"),
    (("column", 0, "scale"), "1000", "[[column]] p: scale = '1000': expected a number"),
    (("column", 0, "scale"), math.nan, "expected a number"),
    (("column", 0, "decimal"), ";", "decimal = ';': expected ., ,"),
    (("column", 0, "values"), ["on"], "values = ['on']: expected a table"),
    (("column", 0, "values"), {"on": "1"}, "[[column]] p: on = '1': expected a number"),
    (("column", 0, "format"), "%y", "format goes with time = true"),
    (("column", 0, "time"), 1, "time = 1: expected true or false"),
    (("column", 0, "time"), True, "scale does not go with time = true"),
]


@pytest.mark.parametrize(("where", "value", "says"), WRONG, ids=lambda each: str(each)[:40])
def test_what_is_wrong_is_named(where: tuple[Any, ...], value: object, says: str) -> None:
    """The place, the value and what was expected."""
    spec: Any = copy.deepcopy(GOOD)
    if not where:
        spec = value
    else:
        inner = spec
        for key in where[:-1]:
            inner = inner[key]
        inner[where[-1]] = value
        if value is None:
            del inner[where[-1]]
    with pytest.raises(SpecError) as raised:
        Spec(spec)
    assert says in str(raised.value)


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ([{"name": "a", "pattern": "(.)"}] * 2, "[[column]] a: there are two of that name"),
        ([{"name": "a", "pattern": "(.)", "time": True}], "expected one without time = true"),
        ([{"name": x, "pattern": "(.)", "time": x != "a"} for x in "abc"], "c: time = true goes with one column"),
        ([{"name": "a", "pattern": "(.)", "time": True, "zone": "Mars/Base"}], "zone = 'Mars/Base': this machine"),
        ([{"name": "a", "pattern": "(.)", "time": True, "format": "%Q"}], "format = '%Q': 'Q' is a bad directive"),
    ],
)
def test_columns_that_do_not_go_together(columns: Any, says: str) -> None:
    with pytest.raises(SpecError) as raised:
        Spec({**GOOD, "column": columns})
    assert says in str(raised.value)


JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*GOOD, *GOOD["read"], *"abc"]), inner),
    max_leaves=12,
)


@given(JSONS, st.sampled_from(["", "read", "column", "version"]), st.sampled_from(["text", "json", "modbus"]))
def test_whatever_comes_is_taken_or_refused(said: Any, where: str, kind: str) -> None:
    """Nothing else is raised: what is wrong at the centre must not end a device."""
    spec = {**copy.deepcopy(GOOD), "read": {"kind": kind}}
    with contextlib.suppress(SpecError):
        Spec({**spec, where: said} if where else said)


def test_a_smart_meter() -> None:
    """Its telegram, whole, gives one row with its own time, in summer and in winter."""
    spec = shipped("dsmr5.*.toml")
    found, bad = records(spec, p1(1.193), p1(2.5, "100709113020S"))
    assert not bad
    (winter, row), (summer, other) = [spec.row(record, 1.0) for record in found]
    assert winter == 1291890620  # 2010-12-09T10:30:20Z
    assert summer == 1278667820  # 2010-07-09T09:30:20Z
    values = dict(zip([each.name for each in spec.columns], row, strict=True))
    assert values["power_import"] == pytest.approx(1193.0)
    assert values["energy_export_1"] == 12.3
    assert values["tariff"] == 2
    assert values["gas"] == 12785.123
    assert values["current_l3"] == 3
    assert other[0] == pytest.approx(2500.0)
    assert spec.header.startswith(b"#spec 1\n#columns time power_import:W power_export:W energy_import_1:kWh ")


@pytest.mark.parametrize(("which", "seconds"), [("S", 1792888200), ("W", 1792891800), ("", 1792888200)])
def test_the_hour_that_comes_twice(which: str, seconds: float) -> None:
    """S or W says which; without, it is the first."""
    column = {"name": "t", "time": True, "pattern": "t=(\\d+)([SW]?)", "format": "%y%m%d%H%M%S"}
    spec = Spec({**GOOD, "column": [{"name": "p", "pattern": "p=(.)"}, {**column, "zone": "Europe/Amsterdam"}]})
    assert spec.row(f"p=1 t=261025023000{which}", 0.0) == (seconds, [1.0])


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("2026-10-25T00:30:00Z", 1792888200),
        ("2026-10-25T02:30:00+02:00", 1792888200),
        ("1792888200.5", 1792888200.5),
        (1792888200123, 1792888200.123),
        ("yesterday", None),
        ("-5", None),
        (True, None),
        (None, None),
        (10**400, None),
        ("nan", None),
    ],
)
def test_times_without_a_format(said: object, seconds: float | None) -> None:
    spec = Spec(
        {
            "version": "1",
            "read": {"kind": "json"},
            "column": [{"name": "t", "path": "t", "time": True}, {"name": "p", "path": "p"}],
        }
    )
    if seconds is None:
        with pytest.raises(ValueError, match=r"time|Invalid isoformat|has no t"):
            spec.row({"t": said, "p": 1}, 0.0)
    else:
        assert spec.row({"t": said, "p": 1}, 0.0)[0] == pytest.approx(seconds)


def test_a_telegram_that_is_not_whole() -> None:
    """A wrong or missing CRC, a lost end, a flood: the record is dropped, with its reason; the next one is whole."""
    spec = shipped("dsmr5.*.toml")
    good, cut = p1(), p1()[:200]
    wrong = p1().replace(b"01.193", b"91.193")
    none = p1()[:-6] + b"\r\n"
    found, bad = records(spec, good[100:], wrong, none, cut, b"\r\n", good, b"/" + b"x\r\n" * 30_000, good)
    assert len(found) == 2
    assert [each[:20] for each in bad] == [
        wrong_crc(wrong)[:20],
        "'' after ! is no CRC of four digits"[:20],
        "another begins before its end"[:20],
        "it is longer than 64 KiB"[:20],
    ]


def wrong_crc(data: bytes) -> str:
    return f"its CRC is {crc16(data[: data.rfind(b'!') + 1]):04X}, not"


def test_the_crc_is_that_of_the_catalogues() -> None:
    """CRC-16/ARC of its check string."""
    assert crc16(b"123456789") == 0xBB3D


@given(st.lists(st.sampled_from([b"/a", b"!", b"x", b"\r\n", b"\n", b"12"]), max_size=30), st.data())
def test_how_bytes_come_changes_no_record(pieces: list[bytes], data: Any) -> None:
    """However reads cut them."""
    whole = b"".join(pieces)
    ends = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=5)))
    reads = [whole[a:b] for a, b in zip([0, *ends], [*ends, len(whole)], strict=True)]
    for read in ({"begin": "^/", "end": "^!"}, {"begin": "^/"}, {"end": "^!"}, {}):
        spec = Spec({**GOOD, "read": {"kind": "text", **read}})
        assert records(spec, *reads, is_end=True) == records(spec, whole, is_end=True)


@pytest.mark.parametrize(
    ("read", "expected"),
    [
        ({}, ["x", "/a", "b", "!c", "/d", "e"]),
        ({"begin": "^/"}, ["/a\nb\n!c\n", "/d\ne"]),
        ({"end": "^!"}, ["x\n/a\nb\n!c\n"]),
        ({"begin": "^/", "end": "^!"}, ["/a\nb\n!c\n"]),
    ],
)
def test_where_records_begin_and_end(read: dict[str, str], expected: list[str]) -> None:
    spec = Spec({**GOOD, "read": {"kind": "text", **read}})
    assert records(spec, b"x\n/a\r\nb\n\n!c\n/d\ne".replace(b"\n\n", b"\n"), is_end=True)[0] == expected


def test_a_line_that_does_not_end() -> None:
    """It costs itself, and not the memory."""
    spec = Spec({**GOOD, "read": {"kind": "text"}})
    assert records(spec, *[b"x" * 10_000] * 50, b"y\nz\n") == (["z"], ["it is longer than 64 KiB"])


def test_columns_of_text() -> None:
    """The first match, a decimal comma, words for numbers, scale and offset; what is not there is missing."""
    columns = [
        {"name": "t", "pattern": "t=([^ ]+)", "decimal": ",", "scale": 2, "offset": 1},
        {"name": "s", "pattern": "s=(\\w+)", "values": {"ON": 1, "OFF": 0}},
        {"name": "n", "pattern": "n=(.+)"},
    ]
    spec = Spec({"version": "1", "read": {"kind": "text"}, "column": columns})
    assert spec.row("t=1.234,5 s=ON t=7", 5.0)[1][:2] == [2470.0, 1.0]
    assert math.isnan(spec.row("t=1 s=??", 5.0)[1][1])
    assert math.isnan(spec.row("t=1", 5.0)[1][2])
    with pytest.raises(ValueError, match="none of its columns is there"):
        spec.row("n=1e999 s=x t=0x10", 5.0)


def test_columns_of_json() -> None:
    """By path, through lists too; booleans and numbers in strings count."""
    columns = [{"name": path, "path": path} for path in ("a.b", "l.1.x", "on", "s", "none", "a")]
    spec = Spec({"version": "1", "read": {"kind": "json"}, "column": columns})
    record = {"a": {"b": 21.5}, "l": [0, {"x": "7"}], "on": True, "s": "off", "none": None}
    at, values = spec.row(record, 5.0)
    assert (at, values[:3]) == (5.0, [21.5, 7.0, 1.0])
    assert all(map(math.isnan, values[3:]))
    with pytest.raises(ValueError, match="none of its columns"):
        spec.row([1], 5.0)


@pytest.mark.parametrize(
    ("said", "table", "first"),
    [
        (40001, "holding", 0),
        (30053, "input", 52),
        (10001, "discrete", 0),
        (1, "coil", 0),
        (400001, "holding", 0),
        (465536, "holding", 65535),
        ("holding:0", "holding", 0),
        ("input:65535", "input", 65535),
    ],
)
def test_places_of_registers(said: object, table: str, first: int) -> None:
    register = Register(said)
    assert (register.table, register.first) == (table, first)


@pytest.mark.parametrize(
    "said", [0, 20001, 40000, 500001, True, None, 1.5, "holding:65536", "holding:-1", "x:1", "40001"]
)
def test_places_that_are_none(said: object) -> None:
    with pytest.raises(ValueError, match="register = "):
        Register(said)


@pytest.mark.parametrize(("said", "kind"), [("holding:65535", "float32"), ("input:65533", "float64")])
def test_a_value_beyond_the_last_register(said: str, kind: str) -> None:
    with pytest.raises(ValueError, match="there are 65536 registers"):
        Register(said, kind)


@given(st.sampled_from(["int16", "uint16", "int32", "uint32", "int64", "uint64"]), st.data(), st.booleans())
def test_words_of_registers(kind: str, data: Any, is_big: bool) -> None:
    """What a meter writes is what is read, in both orders of words."""
    bits = int(kind.lstrip("uint"))
    low, high = (0, 2**bits) if kind[0] == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1))
    number = data.draw(st.integers(low, high - 1))
    raw = (number % 2**bits).to_bytes(bits // 8, "big")
    words = [int.from_bytes(raw[place : place + 2], "big") for place in range(0, len(raw), 2)]
    register = Register(40001, kind, "big" if is_big else "little")
    assert register.value(words if is_big else words[::-1]) == float(number)


def test_numbers_of_registers() -> None:
    words = list(struct.unpack(">2H", struct.pack(">f", 230.5)))
    assert Register(30001, "float32").value(words) == 230.5
    assert Register(1).value([True]) == 1.0


def test_registers_are_asked_for_together() -> None:
    """Those without a gap between them, at most 125 at once: many meters refuse what lies between."""
    registers = [Register(30001 + 2 * place, "float32") for place in range(100)]
    registers += [Register(30401, "float32"), Register(40001)]
    groups = together(registers[::-1])
    assert [(each[0].table, each[0].first, sum(r.count for r in each)) for each in groups] == [
        ("holding", 0, 1),
        ("input", 0, 124),
        ("input", 124, 76),
        ("input", 400, 2),
    ]


@pytest.mark.parametrize(
    ("telegram", "expected"),
    [
        (p1(), ("dsmr5.ISk-M550E-1012", P1_SERIAL)),
        (p1(head="/KFM5KAIFA-METER"), ("dsmr5.KFM-KAIFA-METER", P1_SERIAL)),
        (p1(head=r"/Ene5\T210-D ESMR5.0"), ("dsmr5.Ene-210-D_ESMR5.0", P1_SERIAL)),
        (p1(version=42), ("dsmr4.ISk-M550E-1012", P1_SERIAL)),
        (p1().replace(b"1-3:0.2.8(50)", b"0-0:96.1.4(50217)"), ("dsmr5.ISk-M550E-1012", P1_SERIAL)),
        (iec(), ("iec62056.EMH-ED300L", "1126150012345")),
        (b"/EMH4ED300L\r\n\r\n1.8.0(1*kWh)\r\n!\r\n", None),
        (b"23.5,40.1\r\n", None),
    ],
)
def test_who_a_telegram_is_from(telegram: bytes, expected: tuple[str, str] | None) -> None:
    assert who(telegram.decode().replace("\r\n", "\n")) == expected


def test_a_meter_that_sends_by_itself() -> None:
    spec = shipped("iec62056.*.toml")
    (record,), bad = records(spec, iec())
    assert not bad
    assert spec.row(record, 7.0)[0] == 7.0
    assert spec.row(record, 7.0)[1][:3] == [5184.47, 0.0, 0.31]


def test_an_arduino() -> None:
    """Lines of numbers; a header is no row."""
    spec = shipped("arduino-csv.toml")
    head, first = records(spec, b"temp,hum\r\n23.5, 40.1\r\n")[0]
    with pytest.raises(ValueError, match="none of its columns"):
        spec.row(head, 0.0)
    assert spec.row(first, 0.0)[1][:2] == [23.5, 40.1]
