"""Rows that say the names of their columns: pairs ``t=21.5 h=40`` and JSON objects. No I/O, no clock.

Many of them that are alike but for their numbers are read at once: `alike`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np

from linemon import when
from linemon.errors import LineError, show
from linemon.lines import bulk, wire
from linemon.store.ring import Floats, Ints

MAX_PARTS: Final = 8  # of a JSON name
MAX_LEVELS: Final = 100  # of JSON, whatever it holds
TIME_KEYS: Final = ("time", "ts", "timestamp")
NOT_A_PAIR: Final = "{} is not a pair NAME=NUMBER, as all tokens of such a line are; a time is time=…"
NOT_JSON: Final = "not JSON: one object a line, such as " + '{{"t": 21.5}} ({})'


class Fields(NamedTuple):
    """What a line says: numbers by the names of their columns, texts that are left out, ns (None for now)."""

    values: dict[str, float]
    strings: int
    time: int | None


def pairs(line: bytes) -> Fields:
    """``NAME=NUMBER …``, ``time=TIME`` among them. LineError `syntax`, `name`, `number`, `time`, `fields`."""
    values: dict[str, float] = {}
    time = None
    tokens = wire.tokens(line)
    while tokens:
        name, equals, value = tokens.pop(0).partition(b"=")
        if not equals:
            raise LineError("syntax", NOT_A_PAIR.format(show(name)))
        if name == b"time":
            value, *tokens = when.with_clock([value, *tokens], 0)
            time = when.time_ns(value)
        else:
            values[wire.column_name(wire.text(name))] = wire.number(value)
    if not values:
        raise LineError("fields", "the line has only a time, and nothing to store")
    return Fields(values, 0, time)


class _Number(str):
    """A JSON number as it is written: its digits are kept for the time."""

    __slots__ = ()


def _decoder() -> Callable[[str], Any]:
    return json.JSONDecoder(
        object_pairs_hook=tuple, parse_float=_Number, parse_int=_Number, parse_constant=_Number
    ).decode


_decode: Final = _decoder()


def json_line(line: bytes) -> Fields:
    """A JSON object: numbers and booleans by the names of what they are in, joined by points.

    LineError `syntax`, `name`, `number`, `time`, or `fields` where it holds none.
    """
    try:
        document = _decode(line.decode())
    except RecursionError:
        raise LineError("syntax", f"JSON of more than {MAX_LEVELS} levels") from None
    except ValueError as error:
        raise LineError("syntax", NOT_JSON.format(str(error).partition(":")[0])) from None
    keys = [key for key, _ in document]
    time_key = next((key for key in TIME_KEYS if key in keys), None)
    values: dict[str, float] = {}
    strings = sum(_gather(values, (key,), value) for key, value in document if key != time_key)
    if not values:
        raise LineError("fields", "the object has no numbers, and nothing to store")
    time = None
    if time_key is not None:
        time = _time([value for key, value in document if key == time_key][-1], time_key)
    return Fields(values, strings, time)


def _gather(values: dict[str, float], path: tuple[str, ...], value: Any) -> int:
    """Put the numbers of a JSON value into `values`; returns how many texts it has."""
    if isinstance(value, (bool, _Number)):
        if len(path) > MAX_PARTS:
            raise LineError("syntax", f"{'.'.join(path)[:60]!r} lies deeper than {MAX_PARTS} levels")
        name = wire.column_name(".".join(path))
        values[name] = float(value) if isinstance(value, bool) else wire.number(value.encode())
        return 0
    if isinstance(value, (list, tuple)):
        if len(path) > MAX_LEVELS:
            raise LineError("syntax", f"JSON of more than {MAX_LEVELS} levels")
        items = value if isinstance(value, tuple) else [(str(i), item) for i, item in enumerate(value)]
        return sum(_gather(values, (*path, key), item) for key, item in items)
    return isinstance(value, str)


def _time(value: Any, key: str) -> int | None:
    """Nanoseconds of a JSON time: a number, a text, null for now."""
    if value is None:
        return None
    if isinstance(value, str):
        tokens = when.with_clock(wire.tokens(value.encode(errors="replace")), 0)
        if len(tokens) == 1:
            return when.time_ns(tokens[0])
    raise LineError("time", f"{key!r} is not a time: a number or a text such as 2026-11-22T10:15:00Z")


# -- many at once

FEW_BYTES: Final = 400  # as quick one by one
_FIRST_ID: Final = 2  # stands for the first number of a line; true and false are 1 and 0
_PAIR_VALUE: Final = re.compile(rb"()([^ \t]+)((?:[ \t].*)?)", re.DOTALL)
_JSON_VALUE: Final = re.compile(rb"([ \t]*)(-?[0-9][0-9.eE+-]*)([ \t,}].*)", re.DOTALL)


class Alike(NamedTuple):
    """Lines with the same columns: their names, (n, k) values, (n,) times in ns, texts left out."""

    names: tuple[str, ...]
    values: Floats
    times: Ints
    strings: int


def alike(block: bytes, now: int) -> Alike | None:
    """What lines of pairs, or of JSON, say that differ in nothing but their numbers; None if they are not that.

    What stands between the numbers of the first line is compared in all of them, and becomes commas; the first line
    without its numbers is read by itself.
    """
    if len(block) < FEW_BYTES:
        return None
    if b"\r" in block:
        block = block.replace(b"\r\n", b"\n")
    is_json = block.startswith(b"{")
    separator = b":" if is_json else b"="
    [head, *between, tail], counts, leads = _without_numbers(block[: block.index(b"\n")], separator)
    if not between and not tail:
        return None
    line = b"".join([head, *(b"%d%b" % (_FIRST_ID + i, each) for i, each in enumerate([*between, tail]))])
    try:
        found = (json_line if is_json else pairs)(line.strip(b" \t"))
    except LineError:
        return None
    places = [int(each) - _FIRST_ID for each in found.values.values()]
    time_at = (found.time or 0) // 10**9 - _FIRST_ID
    if sorted([*places, time_at] if time_at >= 0 else places) != list(range(len(counts))):
        return None  # a name that is there twice, or a number elsewhere
    lines = wire.count_lines(block)
    if bulk.reader:
        texts = b"".join(each + b"\n" for each in [head, *between, tail])
        table, times = np.empty((lines, len(places))), np.empty(lines, np.int64)
        if not bulk.reader.alike(block, texts, is_json, max(time_at, -1), now, table, times):
            return None
        places = [place - (0 <= time_at < place) for place in places]
    else:
        numbers = _numbers(block, [tail + b"\n" + head, *between], separator, np.cumsum(counts), leads)
        read = None if numbers is None else _read(numbers, lines, len(counts), time_at, is_json, now)
        if read is None:
            return None
        table, times = read
    return Alike(tuple(found.values), table[:, places], times, found.strings * lines)


def _numbers(block: bytes, literals: list[bytes], separator: bytes, counts: Ints, leads: list[int]) -> bytes | None:
    """The numbers of a block with commas between, None where anything else differs from line to line.

    `literals` stand before each number of a line (before the first one with the end of the line before), `counts` say
    how many separators come up to each number, `leads` how many bytes are between the last of those and the number.
    """
    lines = wire.count_lines(block)
    end = literals[0][: literals[0].index(b"\n") + 1]
    if not block.endswith(end):
        return None
    cells = np.frombuffer(bytearray(end + block[: -len(end)]), np.uint8)  # so the first line is as the others
    found = np.flatnonzero(cells == separator[0])
    if len(found) != lines * counts[-1]:
        return None
    stops = found.reshape(lines, -1)[:, counts - 1] + 1 + np.array(leads)
    starts = stops - np.array([len(each) for each in literals])
    if starts[0, 0] != 0 or stops[-1, -1] > len(cells) or (starts.ravel()[1:] < stops.ravel()[:-1]).any():
        return None
    for literal, start in zip(literals, starts.T, strict=True):
        size = len(literal)
        places = np.ndarray((len(cells) - size + 1,), f"V{size}", cells, strides=(1,))
        if places[start].tobytes() != literal * lines:
            return None
        places[start] = np.frombuffer(b"," + b"\n" * (size - 1), places.dtype)
    # All newlines that there were stood in the literals: what is left of them now was put there.
    return cells.tobytes().translate(None, b"\n")[1:]


def _without_numbers(line: bytes, separator: bytes) -> tuple[list[bytes], list[int], list[int]]:
    """What is before, between and after the numbers of a line, those right behind a separator.

    And for each number how many separators there are since the one before it, and how many bytes behind the last.
    """
    form = _PAIR_VALUE if separator == b"=" else _JSON_VALUE
    first, *pieces = line.split(separator)
    texts, counts, leads = [first], [0], list[int]()
    for piece in pieces:
        counts[-1] += 1
        match = form.fullmatch(piece)
        if match is None:
            texts[-1] += separator + piece
            continue
        texts[-1] += separator + match[1]
        texts.append(match[3])
        leads.append(len(match[1]))
        counts.append(0)
    return [*texts, b""][: max(2, len(texts))], counts[:-1], leads


def _read(numbers: bytes, lines: int, width: int, time_at: int, is_json: bool, now: int) -> tuple[Floats, Ints] | None:
    """Numbers with commas between as (lines, width), and the times: those of column `time_at`, below 0 all `now`."""
    values = bulk.json_numbers(numbers) if is_json else bulk.numbers(numbers)
    if values is None or len(values) != lines * width:
        return None
    table = values.reshape(lines, width)
    if time_at < 0:
        return table, np.full(lines, now)
    times = wire.epoch_times(table[:, time_at], now)
    if times is None:
        times = wire.times(numbers.split(b",")[time_at::width], now)
    return None if times is None else (table, times)
