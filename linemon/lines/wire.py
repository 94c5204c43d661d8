"""The line language: bytes to columns of numbers. No I/O, no clock.

Numbers and times of whole blocks are read in bulk (`linemon.lines.bulk`); what the bulk reader does not take goes line
by line to `number` and `when.time_ns`, which are the language's definition. Both give the same doubles and the same
nanoseconds, to the bit.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from linemon.errors import LineError, show
from linemon.lines import bulk
from linemon.lines.hints import hint
from linemon.store.ring import Cells, Floats, Ints
from linemon.when import EXACT, INT64_MAX, INTEGER, LIMITS, NUMBER, UNIT_NS, is_moment, time_ns, with_clock

MISSING: Final = re.compile(rb"[+-]?(?:nan|inf(?:inity)?)", re.IGNORECASE)  # a ring holds no infinities
NO_VALUE: Final = (b"na", b"n/a", b"null", b"none", b"-")  # in any case: missing in a row, and never a name


def number(token: bytes) -> float:
    """The double that a token says; `nan`, `inf` are missing values. LineError `number` if it is not one."""
    if NUMBER.fullmatch(token):
        value = float(token)
        if abs(value) != float("inf"):
            # "-0" is the whole number zero, which has no sign; "-0.0" keeps it.
            return value if value or not INTEGER.fullmatch(token) else 0.0
        raise LineError("number", f"{show(token)} overflows a double")
    if MISSING.fullmatch(token):
        return float("nan")
    raise LineError("number", f"{show(token)} is not a number{hint(token)}")


def row_number(token: bytes) -> float:
    """The same in a row, where `NA` and its like are missing values too."""
    return number(token) if token[-1:].isdigit() or token.lower() not in NO_VALUE else float("nan")


def tokens(line: bytes) -> list[bytes]:
    """What stands between spaces and tabs."""
    return [token for token in line.replace(b"\t", b" ").split(b" ") if token]


def text(token: bytes) -> str:
    """The token's characters. LineError `text` if it is not UTF-8."""
    try:
        return token.decode()
    except UnicodeDecodeError:
        raise LineError("text", f"{show(token)} is not UTF-8") from None


def is_text(token: bytes) -> bool:
    """Whether it is UTF-8."""
    try:
        token.decode()
    except UnicodeDecodeError:
        return False
    return True


# -- names

CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")  # and halves of characters, which JSON can say


def source_name(name: str) -> str:
    """A source's name: UTF-8, 1 to 1,024 bytes, no control characters. LineError `name` if it is not one."""
    if not 1 <= len(name.encode()) <= 1024:
        raise LineError("name", f"a source name has 1 to 1,024 bytes, not {len(name.encode())}")
    if CONTROL.search(name):
        raise LineError("name", f"source name {name!r} holds a control character")
    return name


MAX_MARK: Final = 500  # characters
MARK_WORDS: Final = re.compile(rb"([^ \t]+)(?:[ \t]+([^ \t]+))?")


def mark_text(said: str) -> str:
    """The text of a mark: 1 to 500 characters, none of them a control character. LineError `mark` if it is not one."""
    found = said.strip(" \t")
    if not 1 <= len(found) <= MAX_MARK:
        raise LineError("mark", f"the text of a mark has 1 to {MAX_MARK} characters, not {len(found)}")
    if CONTROL.search(found):
        raise LineError("mark", f"the text of a mark holds a control character: {show(found.encode(errors='replace'))}")
    return found


def said_mark(rest: bytes) -> tuple[int | None, str]:
    """What `#mark` says: when (ns; None for now), and the text. LineError `time`, `text` or `mark`.

    It begins with a time where its first token, or a date and a clock, can be meant as nothing else.
    """
    text(rest)  # first of all: what is no text says no time
    time, match = None, MARK_WORDS.match(rest)
    if match:
        first, second = match.groups(b"")
        joined = with_clock([first, second], 0)
        if len(joined) == 1 and is_moment(joined[0]):
            time, rest = time_ns(joined[0]), rest[match.end(2) :]
        elif is_moment(first):
            time, rest = time_ns(first), rest[match.end(1) :]
    return time, mark_text(text(rest))


def column_name(name: str) -> str:
    """A column's name: UTF-8, 1 to 255 bytes, no control characters. LineError `name` if it is not one."""
    length = len(name.encode(errors="replace"))
    if not 1 <= length <= 255:
        raise LineError("name", f"a column's name has 1 to 255 bytes, not {length}")
    if CONTROL.search(name):
        raise LineError("name", f"column name {name!r} holds a control character, or half of one")
    return name


def said_columns(said: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What `#columns` says, as names and units: ``NAME[:UNIT] …``, or a JSON list of names and of lists of the two.

    LineError `name` if it is neither.
    """
    if said.startswith("["):
        return _checked(_listed(said))
    tokens = [token for token in said.replace("\t", " ").split(" ") if token]
    return columns(tokens)


def columns(tokens: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """``NAME[:UNIT]`` tokens as names and units. LineError `name` if they are not."""
    return _checked([(name, unit) for name, _, unit in (token.partition(":") for token in tokens)])


def _checked(pairs: list[tuple[str, str]]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if any(not name and unit for name, unit in pairs):
        raise LineError("name", f"{':' + next(unit for name, unit in pairs if not name)!r} is not NAME or NAME:UNIT")
    names = tuple(column_name(name) for name, _ in pairs)
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise LineError("name", f"column {twice!r} is named twice")
    if not names or names == ("time",):
        raise LineError("name", f"#columns names {'only the time, ' if names else ''}no column")
    if any(CONTROL.search(unit) for _, unit in pairs):
        raise LineError("name", "a unit holds a control character")
    return names, tuple(unit for _, unit in pairs)


def _listed(said: str) -> list[tuple[str, str]]:
    """The names and units of a JSON list."""
    try:
        items = [item if isinstance(item, list) else [item, ""] for item in json.loads(said)]
    except (ValueError, RecursionError):
        items = [[None]]
    if any(len(item) != 2 or not all(isinstance(part, str) for part in item) for item in items):
        raise LineError("name", 'as a list #columns are names, or names with units: ["time", "a b", ["x:y", "m / s"]]')
    return [(name, unit) for name, unit in items]


# -- bulk

_NUMBER_BYTES = b"0123456789+-.eE"
_BLANKS_ONLY = bytes(range(33, 256))  # deleted, a block shows how its tokens are separated
FEW = 16  # one line in so many may be odd before the whole block is looked at again
_MISSING_IN_ROW = re.compile(rb"(?<![^ \n])(?:%b|n/a|na|null|none|-)(?![^ \n])" % MISSING.pattern, re.IGNORECASE)
_NAN = re.compile(rb"(?<![^ \n])nan(?![^ \n])")


def count_lines(block: bytes) -> int:
    """How many newlines there are; numpy counts long blocks several times as fast as bytes do."""
    return block.count(b"\n") if len(block) < 4096 else int(np.count_nonzero(np.frombuffer(block, np.uint8) == 10))


def is_numbers(block: bytes) -> bool:
    """Whether there is nothing but characters of numbers, blanks and newlines."""
    return not block.translate(None, b"0123456789+-.eE, \t\n")


def is_regular(block: bytes, width: int) -> bool:
    """Whether every line has `width` tokens of any kind, with one blank between each two and none at the ends."""
    return _is_pattern(block.translate(None, _BLANKS_ONLY), width)


class Rows(NamedTuple):
    """What lines say: (n, room) cells of the rows, how many lines each block has, and the lines that are no such row.

    Those come with their index among all lines.
    """

    cells: Cells
    lines: list[int]
    odd: list[tuple[int, bytes]]


def rows(blocks: list[bytes], width: int, time_at: int | None, room: int, now: int) -> Rows | None:
    """The rows of blocks of complete lines of `width` numbers, and a time at `time_at` where it stands in them.

    A row's cells are its time (`now` where it says none), the numbers as `row_number` has them, and nan up to `room`.
    None where more lines are odd than to look at one by one.
    """
    tokens = width + (time_at is not None)
    if bulk.reader:
        space = np.empty((sum(map(len, blocks)) // (2 * tokens), room))
        read = bulk.reader.rows(blocks, tokens, -1 if time_at is None else time_at, room, now, space)
        return read and Rows(space[: read[0]].view(np.int64), *read[1:])
    block = b"".join(blocks)
    found = table(block, tokens)
    if found is None:
        return None
    values, odd, rest = found
    cells = np.empty((len(values), room))
    cells[:, 1 + width :] = np.nan
    if time_at is None:
        cells[:, 1 : 1 + width] = values
        cells.view(np.int64)[:, 0] = now
    else:
        at = epoch_times(values[:, time_at], now)
        if at is None:
            at = times(rest.split()[time_at::tokens], now)
        if at is None:
            return None
        cells[:, 1 : 1 + time_at] = values[:, :time_at]
        cells[:, 1 + time_at : 1 + width] = values[:, time_at + 1 :]
        cells.view(np.int64)[:, 0] = at
    return Rows(cells.view(np.int64), [count_lines(each) for each in blocks], odd)


def table(block: bytes, width: int) -> tuple[Floats, list[tuple[int, bytes]], bytes] | None:
    """The numbers of complete lines, (n, width), the lines that are not `width` numbers, and the block of the others.

    None where it is not quickly told which lines are at fault.
    """
    separators = block.translate(None, _NUMBER_BYTES)
    odd: list[tuple[int, bytes]] = []
    if not _is_pattern(separators, width):
        lines = block.split(b"\n")
        block = others = tidied(block)
        if b"n" in separators or b"N" in separators:  # as in all these words but one; looking for them takes long
            block = _MISSING_IN_ROW.sub(b"nan", block)
            others = _NAN.sub(b"", block)
        separators = others.translate(None, _NUMBER_BYTES)
        if not _is_pattern(separators, width):
            wrong = _odd_lines(separators, width)
            if FEW * len(wrong) >= len(lines):
                return None
            block, odd = _without(block, wrong), [(at, lines[at]) for at in wrong]
    values = bulk.plain_numbers(block[:-1]) if block else None  # there is nothing else between the separators
    if values is None or len(values) % width:
        return None
    return values.reshape(-1, width), odd, block


def _is_pattern(separators: bytes, width: int) -> bool:
    """Whether this is what stands between the tokens of lines of `width` tokens, one blank between each two."""
    return separators == (b" " * (width - 1) + b"\n") * (len(separators) // width)


def _odd_lines(separators: bytes, width: int) -> list[int]:
    """Which lines do not have just `width` - 1 blanks between the characters of numbers."""
    between = np.frombuffer(separators, np.uint8)
    ends = np.flatnonzero(between == 10)
    odd = {0} if ends[0] != width - 1 else set()
    odd.update((np.flatnonzero(ends[1:] - ends[:-1] != width) + 1).tolist())
    if np.count_nonzero(between == 32) + len(ends) != len(between):
        strange = np.flatnonzero((between != 32) & (between != 10))
        odd.update(np.searchsorted(ends, strange).tolist())
    return sorted(odd)


def tidied(block: bytes) -> bytes:
    """One blank between tokens, none at the ends of lines."""
    block = block.replace(b"\r\n", b"\n").replace(b"\t", b" ")
    while b"  " in block:
        block = block.replace(b"  ", b" ")
    return block.replace(b" \n", b"\n").replace(b"\n ", b"\n").removeprefix(b" ")


def _without(block: bytes, odd: list[int]) -> bytes:
    """The block without these lines."""
    ends = np.flatnonzero(np.frombuffer(block, np.uint8) == 10)
    pieces, at = [], 0
    for line in odd:
        pieces.append(block[at : int(ends[line - 1]) + 1 if line else 0])
        at = int(ends[line]) + 1
    return b"".join([*pieces, block[at:]])


def epoch_times(values: Floats, now: int) -> Ints | None:
    """Epoch numbers as nanoseconds, -1 as `now`; None if any is missing, out of range or too long for a double."""
    arrival = values == -1
    if arrival.any():
        values = np.where(arrival, 0.0, values)
    if not ((values >= 0) & (values < EXACT)).all():  # also false for nan
        return None
    unit = np.array(UNIT_NS)[np.searchsorted(LIMITS, values, side="right")]
    if (values * unit > INT64_MAX - 1024).any():
        return None
    whole = np.floor(values)
    ns = np.where(
        whole == values,
        whole.astype(np.int64) * unit,
        np.rint(values * (unit / 1000)).astype(np.int64) * 1000,
    )
    return np.where(arrival, now, ns) if arrival.any() else ns


def times(tokens: Sequence[bytes], now: int) -> Ints | None:
    """Time tokens as nanoseconds, -1 as `now`; None if any is not a plain epoch number."""
    joined = b",".join(tokens)
    if joined.translate(None, b"0123456789.,-"):
        return None
    if b"." in joined:
        values = bulk.numbers(joined)
        return None if values is None or len(values) != len(tokens) else epoch_times(values, now)
    whole = bulk.integers(joined)
    if whole is None or len(whole) != len(tokens):
        return None
    arrival = whole == -1
    if (whole < -1).any():
        return None
    limits = np.array(LIMITS, dtype=np.int64)
    unit = np.array(UNIT_NS)[np.searchsorted(limits, whole, side="right")]
    if (whole > INT64_MAX // unit).any():
        return None
    return np.where(arrival, now, whole * unit)
