"""What the HTTP port answers about the store, piece by piece: a long answer is written while others go on.

Each function gives pieces of one JSON text. Errors come before the first piece: UnknownSource, or `BadQuestion`.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import numpy as np

from linemon.errors import AskedWrongly, LineError, UnknownSource
from linemon.lines import wire
from linemon.store.describe import describe_all
from linemon.store.formats import Block, Table, csv_pieces, digits_of, numbers, table_of_buckets
from linemon.store.reader import Source, Store
from linemon.store.ring import Floats, Ints
from linemon.store.rows import Rows
from linemon.store.slices import Slices
from linemon.store.window import Buckets
from linemon.when import EXPECTED, NUMBER, time_ns, when

PIECE = 1024  # numbers
CURSOR = re.compile(r"\d{1,18}(\.\d{1,19})?", re.ASCII)
MAX_POINTS = 10_000  # buckets of a window
MAX_CELLS = 1_000_000  # buckets times columns
MAX_NAME = 1024  # bytes of a source's name
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class BadQuestion(AskedWrongly):
    """A parameter of the query is missing or wrong; `field` is its name."""

    def __init__(self, field: str, text: str) -> None:
        super().__init__(text)
        self.field = field


class Cursor(NamedTuple):
    """A place in a source's rows as the outside has it: `N.BORN`, or the number alone."""

    row: int
    born: int | None = None

    @classmethod
    def parse(cls, text: str) -> Cursor | None:
        """None if it is not one."""
        return cls(*map(int, text.split("."))) if CURSOR.fullmatch(text) else None

    def __str__(self) -> str:
        return f"{self.row}.{self.born or 0}"


def dumps(value: Any) -> bytes:
    """Compact JSON; never NaN, which is none. Half a character, which a sender's JSON may hold, becomes `?`."""
    said = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return said.encode(errors="replace")


def source_of(store: Store, name: str) -> Source:
    """UnknownSource if there is none, without looking for names that are like it: that takes time."""
    if not store.knows(name):
        raise UnknownSource(f"no source {name[:100]!r}")
    return store[name]


def sources(store: Store, now: int) -> Iterator[bytes]:
    """All sources, as a list."""
    return listed(dumps(each) for each in describe_all(store, now))


def rows(found: Rows) -> bytes:
    """Some rows by column, times in ms since the epoch."""
    return b"".join(
        (
            _head(found.source, found.columns, found.units),
            b',"time":',
            *_numbers([milliseconds(found.time.view(np.int64))]),
            b',"values":[',
            b",".join(b"".join(_numbers([column])) for column in found.values.T),
            b"]" + _end(found),
        )
    )


class Answer(NamedTuple):
    """An answer to `/api/rows`, and where to go on after it."""

    pieces: Iterator[bytes]
    cursor: Cursor
    is_csv: bool


def rows_asked(store: Store, query: dict[str, str], now: int) -> Answer:
    """`/api/rows`: what came after `since`, a window, or all that the ring holds."""
    source = source_of(store, text(query, "source"))
    if query.get("format", "json") not in ("csv", "json"):
        raise BadQuestion("format", f"format is csv or json, not {query['format'][:60]!r}")
    is_csv = query.get("format") == "csv"
    is_window = query.keys() & {"start", "end", "points"}
    if is_window and "since" in query:
        raise BadQuestion("since", "since goes without start, end and points")
    if is_window:
        return window(source, query, now, is_csv=is_csv)
    found = held(source, query, now, by_arrival=True)
    at = places(query, found.columns)
    columns, units = tuple(found.columns[i] for i in at), tuple(found.units[i] for i in at)
    cursor = Cursor(found.cursor, found.born)

    def as_csv() -> Iterator[bytes]:
        digits = 0
        for times in found.times():
            digits = max(digits, digits_of(times))
            yield b""
        values = (Block(block[:, 0], [block[:, 1 + i].view(np.float64) for i in at]) for block in found.blocks())
        yield from csv_pieces(Table(columns, units, digits, values))

    def as_json() -> Iterator[bytes]:
        yield _head(source.name, columns, units)
        yield b',"time":'
        yield from _numbers(map(milliseconds, found.times()))
        yield b',"values":['
        for number, i in enumerate(at):
            yield b"," if number else b""
            yield from _numbers(found.values(i))
        yield b"]" + _end(found)

    return Answer(as_csv() if is_csv else as_json(), cursor, is_csv)


def places(query: dict[str, str], columns: tuple[str, ...]) -> list[int]:
    """Where the columns are that `columns=a,b` asks for; without it all."""
    if "columns" not in query:
        return list(range(len(columns)))
    wanted = [name for name in query["columns"].split(",") if name]
    unknown = [name for name in wanted if name not in columns]
    if unknown or not wanted:
        raise BadQuestion("columns", f"there is no column {(unknown or [''])[0][:60]!r}")
    return [columns.index(name) for name in wanted]


def held(source: Source, query: dict[str, str], now: int, *, by_arrival: bool = False) -> Slices:
    """What came after the cursor `since`, with `by_arrival` as it came, or what is stamped so or later; else all."""
    if "since" not in query:
        return Slices(source)
    if cursor := Cursor.parse(query["since"]):
        return Slices(source, *cursor, by_arrival=by_arrival)
    if NUMBER.fullmatch(query["since"].encode(errors="replace")):
        raise BadQuestion("since", f"since is the cursor of an earlier answer or a time, not {query['since'][:60]!r}")
    return Slices(source, begin=moment(query, "since", None, now, "the cursor of an earlier answer, or "))


def cursor_of(found: Rows | Slices) -> dict[str, Any]:
    """What an answer says of where to go on; and of a source that began anew after the cursor that was asked for."""
    return {"cursor": str(Cursor(found.cursor, found.born))} | ({"restarted": True} if found.restarted else {})


def _end(found: Rows | Slices) -> bytes:
    said = cursor_of(found)
    return b"," + dumps({"cursor": said.pop("cursor"), "missed": found.missed, **said})[1:]


def window(source: Source, query: dict[str, str], now: int, *, is_csv: bool) -> Answer:
    """Buckets from `start` up to `end` (default: now), at most `points` (default 1200) of them; of history, too."""
    start, end = moment(query, "start", None, now), moment(query, "end", now, now)
    points = whole(query, "points", 1200, 1, MAX_POINTS)
    if end <= start:
        raise BadQuestion("end", "end does not lie after start")
    if points * len(source.columns) > MAX_CELLS:
        raise BadQuestion("points", f"at most {MAX_CELLS // len(source.columns)} points of so many columns")
    older = source.older(np.datetime64(start, "ns"), np.datetime64(end, "ns"), points)
    if older is not None:
        buckets = Buckets(older.min[None], older.max[None], older.mean[None], older.count[None])
        edges = np.append(older.time.view(np.int64), end)
        names, cursor = (older.columns, older.units), Cursor(older.cursor, source.born)
        at = places(query, older.columns)
        return Answer(_window(source.name, names, at, edges, buckets, cursor, is_csv=is_csv), cursor, is_csv)
    held = Slices(source)
    length = -(-(end - start) // points)
    edges = np.append(start + length * np.arange(-(-(end - start) // length)), end)
    names, cursor, at = (held.columns, held.units), Cursor(held.cursor, held.born), places(query, held.columns)

    def pieces() -> Iterator[bytes]:
        found = Buckets.empty(1, len(edges) - 1, len(held.columns))
        for _ in held.reduce(edges, found):
            yield b""
        yield from _window(source.name, names, at, edges, found, cursor, is_csv=is_csv)

    return Answer(pieces(), cursor, is_csv)


def _window(
    source: str,
    names: tuple[tuple[str, ...], tuple[str, ...]],
    at: list[int],
    edges: Ints,
    found: Buckets,
    cursor: Cursor,
    *,
    is_csv: bool,
) -> Iterator[bytes]:
    """Buckets of one ring between `edges` (n + 1,) in ns, of the columns `at`, as an answer."""
    columns, units = (tuple(each[i] for i in at) for each in names)
    if is_csv:
        low, high, mean = (each[:, :, at] for each in (found.min, found.max, found.mean))
        yield from csv_pieces(
            table_of_buckets(columns, units, edges[:-1], Buckets(low, high, mean, found.count[:, :, at]))
        )
        return
    yield _head(source, columns, units)
    for name, values in (("time", edges[:-1]), ("step", np.diff(edges))):
        yield f',"{name}":'.encode()
        yield from _numbers([milliseconds(values)])
    parts: tuple[Floats | Ints, ...] = found.min, found.max, found.mean, found.count
    for name, part in zip(("min", "max", "mean", "count"), parts, strict=True):
        yield f',"{name}":['.encode()
        for number, i in enumerate(at):
            yield b"," if number else b""
            yield from _numbers([part[0, :, i]])
        yield b"]"
    yield f',"cursor":"{cursor}","missed":0}}'.encode()


# -- http-plot-server's view


def tags(store: Store) -> Iterator[bytes]:
    """All tags: a source with a column `value` is one of its name, any other column is one as SOURCE:COLUMN."""
    seen: set[str] = set()

    def each() -> Iterator[bytes]:
        for source in _each(store):
            for column in source.columns:
                tag = source.name if column == "value" else f"{source.name}:{column}"
                if tag not in seen:
                    seen.add(tag)
                    yield dumps(tag)

    return listed(each())


def tag_column(store: Store, tag: str) -> tuple[Source, str]:
    """The source and column that a tag stands for; UnknownSource if there is none."""
    names = [(tag, "value")] + [(tag[:at], tag[at + 1 :]) for at, char in enumerate(tag[: MAX_NAME + 1]) if char == ":"]
    for name, column in names:
        if name in store and column in (source := store[name]).columns:
            return source, column
    raise UnknownSource(f"no tag {tag[:100]!r}")


def current_data(store: Store, query: dict[str, str], now: int) -> Iterator[bytes]:
    """`/current_data`: one column in time order, times as Python writes them in the server's own zone."""
    tag = text(query, "tag")
    source, column = tag_column(store, tag)
    found = held(source, query, now)
    at = found.columns.index(column)

    def pieces() -> Iterator[bytes]:
        yield b'{"time":'
        yield from listed(dumps(local(times))[1:-1] for times in found.times())
        yield b',"value":'
        yield from _numbers(found.values(at))
        yield b"," + dumps({"tag": tag, "unit": found.units[at] or None, **cursor_of(found)})[1:]

    return pieces()


def local(times: Ints) -> list[str]:
    """Times (ns) as `str` of a datetime in the zone of this machine, to the microsecond."""
    return [str((EPOCH + timedelta(microseconds=at)).astimezone()) for at in (times // 1000).tolist()]


# -- parameters


def text(query: dict[str, str], name: str) -> str:
    if not query.get(name):
        raise BadQuestion(name, f"the parameter {name} is missing")
    return query[name]


def source_name(said: str, field: str) -> str:
    """The name of a source in a body. BadQuestion where it cannot be one."""
    try:
        return wire.source_name(said)
    except LineError as error:
        raise BadQuestion(field, str(error)) from None
    except UnicodeEncodeError:
        raise BadQuestion(field, f"{field} holds half a character") from None


def whole(query: dict[str, str], name: str, default: int, least: int, most: int) -> int:
    said = query.get(name)
    if said is None:
        return default
    if not (said.isascii() and said.isdecimal() and len(said) < 20 and least <= int(said) <= most):
        raise BadQuestion(name, f"{name} is a whole number from {least} to {most}, not {said[:60]!r}")
    return int(said)


def moment(query: dict[str, str], name: str, default: int | None, now: int, or_else: str = "") -> int:
    """A number since the epoch whose unit is told by its size, or what `when` takes; `now` and the result in ns."""
    if default is not None and name not in query:
        return default
    said = text(query, name)
    said = said[:11] + said[11:].replace(" ", "+")  # the "+" of a zone arrives as a blank
    try:
        if NUMBER.fullmatch(said.encode(errors="replace")):
            if (ns := time_ns(said.encode())) is not None:
                return ns
        else:
            return when(said, now)
    except ValueError:
        pass
    raise BadQuestion(name, f"{name} is {or_else}{EXPECTED}, not {said[:60]!r}")


# -- pieces of JSON


def _each(store: Store) -> Iterator[Source]:
    for name in store.sources():
        with contextlib.suppress(UnknownSource):  # forgotten meanwhile
            yield store[name]


def _head(source: str, columns: tuple[str, ...], units: tuple[str, ...]) -> bytes:
    return dumps({"source": source, "columns": columns, "units": units})[:-1]


def listed(pieces: Iterable[bytes]) -> Iterator[bytes]:
    before = b"["
    for piece in pieces:
        yield before + piece
        before = b","
    yield b"]" if before == b"," else b"[]"


def _numbers(arrays: Iterable[Floats | Ints]) -> Iterator[bytes]:
    """A list of numbers, null where one is missing."""
    return listed(
        dumps(numbers(values[i : i + PIECE]))[1:-1] for values in arrays for i in range(0, len(values), PIECE)
    )


def milliseconds(ns: Ints) -> Floats | Ints:
    """Times in ms: whole ones where all are, else with the microseconds as their fraction."""
    if (ns % 10**6 == 0).all():
        return ns // 10**6
    return (ns // 1000) / 1000
