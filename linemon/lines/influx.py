r"""InfluxDB line protocol: ``measurement,tag=value field=value,field=value [time]``. No I/O, no clock.

By the public specification (https://docs.influxdata.com/influxdb/v2/reference/syntax/line-protocol/): a backslash makes
the comma, blank or equals sign after it an ordinary character, a string field stands in double quotes in which a
backslash stands before a quote or a backslash, integers end with ``i``, unsigned ones with ``u``. What may separate the
three parts is linemon's: any number of blanks and tabs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

import numpy as np

from linemon import when
from linemon.errors import LineError, show
from linemon.lines import bulk, wire
from linemon.store.ring import Floats

# A backslash, or a row of them, takes the special meaning from the character that follows.
_PLAIN: Final = rb"(?:[^\\,= \t]|\\+[^\\])+"
_MEASUREMENT: Final = rb"(?:[^\\, \t]|\\+[^\\])+"
_STRING: Final = rb'"(?>[^"\\]|\\["\\]|\\(?!["\\]))*"'
_FIELD: Final = _PLAIN + rb"=(?:" + _STRING + rb'|[^,= \t"\\]+)'
_HEAD: Final = rb"(?P<name>" + _MEASUREMENT + rb")(?P<tags>(?:," + _PLAIN + rb"=(?:" + _PLAIN + rb")?)*)[ \t]+"
_TIME: Final = rb"(?:[ \t]+(?P<time>" + when.DATE.pattern + rb"[ \t]+" + when.CLOCK.pattern + rb"|[^ \t]+))?"
# Most of them: to find out what `source` says of any takes five times as long.
_PLAIN_HEAD: Final = re.compile(
    rb"(?!(?:%b)(?:,|\Z))[a-z_][\w./%%-]*(?:,[\w./%%-]+=[\w./:%%-]+)*" % wire.MISSING.pattern, re.IGNORECASE
)
BEGINS: Final = re.compile(_HEAD, re.DOTALL)
LINE: Final = re.compile(_HEAD + rb"(?P<fields>" + _FIELD + rb"(?:," + _FIELD + rb")*)" + _TIME, re.DOTALL)
TAG: Final = re.compile(rb"(" + _PLAIN + rb")=(" + _PLAIN + rb")?", re.DOTALL)
# A string may hold newlines. The parts of such a point: up to where a line ends within a string, from there to the
# quote that closes it, and behind that.
_OPEN: Final = _PLAIN + rb'="(?:[^"\\]|\\.)*+\\?'
OPENS: Final = re.compile(_HEAD + rb"(?:" + _FIELD + rb",)*" + _OPEN, re.DOTALL)
CLOSES: Final = re.compile(rb'(?:[^"\\]|\\.)*+"', re.DOTALL)
OPENS_AGAIN: Final = re.compile(rb"(?:," + _FIELD + rb")*," + _OPEN, re.DOTALL)
ENDS: Final = re.compile(rb"(?:," + _FIELD + rb")*" + _TIME + rb"[ \t]*", re.DOTALL)
MAX_NEWLINES: Final = 100  # in the strings of one point
QUESTDB_TIME: Final = re.compile(rb"\d+t")
PAIR: Final = re.compile(rb"(" + _PLAIN + rb")=(" + _STRING + rb"|" + _PLAIN + rb")", re.DOTALL)
BACKSLASH, EQUALS = b"\\="
ESCAPED: Final = re.compile(rb"\\([,= ])")
INTEGER: Final = re.compile(rb"([+-]?\d+)i|(\+?\d+)u")
BOOLEANS: Final = dict.fromkeys((b"t", b"T", b"true", b"True", b"TRUE"), 1.0) | dict.fromkeys(
    (b"f", b"F", b"false", b"False", b"FALSE"), 0.0
)
MISTAKEN: Final = re.compile(when.NUMBER.pattern + rb"|" + wire.MISSING.pattern, re.IGNORECASE)  # for a measurement
_NO_SIGNS: Final = bytes(set(range(256)) - set(b",=\n"))


@dataclass(frozen=True)
class Point:
    """One line: its source, its numeric fields, its time token if it has one, and how many string fields it had."""

    source: str
    fields: dict[str, float]
    time: bytes | None
    strings: int


def point(line: bytes) -> Point:
    """What a line says. LineError `syntax`, `number`, `name` or `fields` (no numeric field) if it is not one."""
    match = LINE.fullmatch(line)
    if match is None:
        raise LineError("syntax", "not MEASUREMENT[,TAG=VALUE…] FIELD=VALUE[,…] [TIME]")
    fields: dict[str, float] = {}
    strings = 0
    for key, value in PAIR.findall(match["fields"]):
        if value.startswith(b'"') or QUESTDB_TIME.fullmatch(value):
            strings += 1
            continue
        read = number(value)
        if key == b"time":  # no column can be called so
            strings += 1
        else:
            fields[_name(key)] = read
    if not fields:
        raise LineError("fields", "the line has no numeric field (one called time is left out), and nothing to store")
    name = source(match["name"], match["tags"])
    for field in fields:
        wire.column_name(field)
    [*_, time] = [None] if match["time"] is None else when.with_clock(wire.tokens(match["time"]), 0)
    return Point(name, fields, time, strings)


def source_of(head: bytes) -> str:
    """The source of points that begin so, up to the blank. LineError if none does, or as `source`."""
    if _PLAIN_HEAD.fullmatch(head):
        name, *tags = head.decode().split(",")
        pairs = sorted(tag.split("=") for tag in tags)
        if len({key for key, _ in pairs}) == len(pairs):
            return wire.source_name(",".join([name, *map("=".join, pairs)]))
    wire.text(head)  # also what is left out
    match = BEGINS.fullmatch(head + b" ")
    if match is None:
        raise LineError("syntax", "not MEASUREMENT[,TAG=VALUE…]")
    return source(match["name"], match["tags"])


def span(lines: Sequence[bytes], at: int, max_bytes: int, is_over: Callable[[bytes], bool]) -> int | None:
    """How many lines the line at `at` is, a point whose string stays open at its end; 1 where they are no point.

    None where more lines may tell. `is_over` says whether a line ends the waiting, as directives do.
    """
    size = len(lines[at])
    for i, line in enumerate(lines[at + 1 : at + 1 + MAX_NEWLINES], 1):
        size += 1 + len(line)
        if size - line.endswith(b"\r") > max_bytes or is_over(line) or not wire.is_text(line):
            return 1
        closed = CLOSES.match(line)
        if closed is None:
            continue
        if ENDS.fullmatch(line.removesuffix(b"\r"), closed.end()):
            return i + 1
        if not OPENS_AGAIN.fullmatch(line, closed.end()):
            return 1
    return None if len(lines) - at <= MAX_NEWLINES else 1


def source(measurement: bytes, tags: bytes) -> str:
    """The name of the source: unescaped, tags sorted by key. LineError `name` if it cannot be one."""
    name = _name(measurement)
    if name[:1] in ("#", "{", "[") or MISTAKEN.fullmatch(name.encode()) or when.is_time_form(name.encode()):
        raise LineError(
            "name",
            f"{show(measurement)} is no measurement: a time stands at the end, or as time=… t=21.5 before pairs",
        )
    pairs = sorted((_name(key), _name(value)) for key, value in TAG.findall(tags) if value)
    if len({key for key, _ in pairs}) < len(pairs):
        raise LineError("name", "a tag is there twice")
    return wire.source_name(",".join([name, *(f"{key}={value}" for key, value in pairs)]))


def number(token: bytes) -> float:
    """A field's value as a double: float, integer, unsigned or boolean. LineError `number` if it is none of them."""
    if token in BOOLEANS:
        return BOOLEANS[token]
    if match := INTEGER.fullmatch(token):
        signed, unsigned = match.groups()
        exact = Decimal((signed or unsigned).decode())  # int() refuses more than 4,300 digits
        if -(2**63) <= exact < (2**63 if signed else 2**64):
            return float(int(exact))
        raise LineError("number", f"{show(token)} overflows 64 bits")
    return wire.number(token)


def _name(token: bytes) -> str:
    return wire.text(ESCAPED.sub(rb"\1", token) if BACKSLASH in token else token)


def columns(fields: Sequence[bytes]) -> tuple[tuple[bytes, ...], Floats] | None:
    """The field keys and values of lines that all have the same keys in the same order, (n, k); None if they do not.

    `fields` are the middle parts of the lines, without quotes and backslashes.
    """
    joined = b"\n".join(fields)
    width, lines = fields[0].count(b"="), len(fields)
    if not width or joined.translate(None, _NO_SIGNS) + b"\n" != ((b"=," * width)[:-1] + b"\n") * lines:
        return None
    keys = [pair.partition(b"=")[0] for pair in fields[0].split(b",")]
    said = b",".join(keys) + b","
    if len(set(keys)) < width or lines * len(said) > len(joined):
        return None
    # All lines have the keys of the first one, each from what separates it up to its equals sign; without them there
    # are the values alone. Numpy does it with all bytes at once, in half the time of splitting them.
    sizes = np.array([len(key) + 1 for key in keys])
    text = np.frombuffer(b"\n" + joined, np.uint8)
    offsets = np.arange(len(said)) - np.repeat(np.cumsum(sizes), sizes)
    at = np.flatnonzero(text == EQUALS).reshape(lines, width).repeat(sizes, axis=1) + offsets
    expected = np.frombuffer(b"\n" + said[:-1], np.uint8)
    if (text[at] != expected).any():
        return None
    is_value = np.ones(len(text), np.bool_)
    is_value[at + 1] = False
    values = text[is_value][1:].tobytes()
    table = bulk.numbers(values)
    if table is not None:
        return (tuple(keys), table.reshape(lines, width)) if len(table) == lines * width else None
    tokens = values.replace(b"\n", b",").split(b",")
    table = np.empty((lines, width))
    for nth in range(width):
        column = _column(tokens[nth::width])
        if column is None:
            return None
        table[:, nth] = column
    return tuple(keys), table


def _column(values: list[bytes]) -> Floats | None:
    """One field of many lines, if they are all of one kind."""
    joined = b",".join(values)
    if joined.endswith(b"i"):
        whole = bulk.integers((joined + b",").replace(b"i,", b",")[:-1])
        return whole.astype(np.float64) if whole is not None and len(whole) == len(values) else None
    if values[0] in BOOLEANS:
        booleans = [BOOLEANS.get(value) for value in values]
        return None if None in booleans else np.array(booleans, np.float64)
    numbers = bulk.numbers(joined)
    return numbers if numbers is not None and len(numbers) == len(values) else None
