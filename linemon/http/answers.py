"""What the HTTP port answers about the store, piece by piece: a long answer is written while others go on.

Each function gives pieces of one JSON text. Errors come before the first piece: UnknownSource, or `BadQuestion`.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from linemon.errors import AskedWrongly, LineError, StoreError, UnknownSource
from linemon.lines.wire import INT64_MAX, NUMBER, Floats, Ints, time_ns
from linemon.store.formats import iso
from linemon.store.liveness import Life
from linemon.store.reader import Source, Store
from linemon.store.rows import Rows

PIECE = 4096  # numbers
CURSOR = re.compile(r"\d{1,18}(\.\d{1,19})?", re.ASCII)
MAX_POINTS = 10_000  # buckets of a window
MAX_CELLS = 1_000_000  # buckets times columns
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
    """Compact JSON; never NaN, which is none."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def describe(source: Source, now: int) -> dict[str, Any]:
    """One source as `linemon sources --json` shows it; `now` in ns."""
    life, newest = Life.of(source, now), source.newest
    return {
        "source": source.name,
        "columns": source.columns,
        "units": source.units,
        "rows": source.rows,
        "newest": None if newest is None else iso_ns(int(newest.astype(np.int64))),
        "arrived": None if life.arrived is None else iso_ns(life.arrived),
        "rejected": source.rejected,
        "ahead": source.ahead,
        "rate_per_s": life.rate_per_s,
        "age_s": life.age_s,
        "silent_since": None if life.silent_since is None else iso_ns(life.silent_since),
    }


def describe_all(store: Store, now: int) -> Iterator[dict[str, Any]]:
    """All sources, as `describe` has them; one that cannot be read has an `error`, and its counters are null."""
    for name in store.sources():
        try:
            yield describe(store[name], now)
        except UnknownSource:  # forgotten meanwhile
            continue
        except StoreError as error:
            unknown = "rows", "newest", "arrived", "rejected", "ahead", "rate_per_s", "age_s", "silent_since"
            yield {"source": name, "columns": (), "units": (), **dict.fromkeys(unknown), "error": str(error)}


def iso_ns(ns: int) -> str:
    return iso(np.array([ns], dtype="datetime64[ns]"))[0]


def sources(store: Store, now: int) -> Iterator[bytes]:
    """All sources, as a list."""
    return _pieces(dumps(each) for each in describe_all(store, now))


def rows(found: Rows) -> Iterator[bytes]:
    """Rows by column, times in ms since the epoch."""
    yield _head(found.source, found.columns, found.units)
    yield b',"time":'
    yield from _numbers(milliseconds(found.time.view(np.int64)))
    yield from _columns("values", found.values)
    said = cursor_of(found)
    yield b"," + dumps({"cursor": said.pop("cursor"), "missed": found.missed, **said})[1:]


def cursor_of(found: Rows) -> dict[str, Any]:
    """What an answer says of where to go on; and of a source that began anew after the cursor that was asked for."""
    return {"cursor": str(Cursor(found.cursor, found.born))} | ({"restarted": True} if found.restarted else {})


def window(source: Source, query: dict[str, str], now: int) -> Iterator[bytes]:
    """Buckets from `start` up to `end` (default: now), at most `points` (default 1200) of them."""
    start, end = moment(query, "start", None), moment(query, "end", now)
    points = whole(query, "points", 1200, 1, MAX_POINTS)
    if end <= start:
        raise BadQuestion("end", "end does not lie after start")
    if points * len(source.columns) > MAX_CELLS:
        raise BadQuestion("points", f"at most {MAX_CELLS // len(source.columns)} points of so many columns")
    cursor = Cursor(source.rows, source.born)
    found = source.window(np.datetime64(start, "ns"), np.datetime64(end, "ns"), points)

    def pieces() -> Iterator[bytes]:
        yield _head(source.name, found.columns, found.units)
        yield b',"time":'
        yield from _numbers(milliseconds(found.time.view(np.int64)))
        for name, values in (("min", found.min), ("max", found.max), ("mean", found.mean), ("count", found.count)):
            yield from _columns(name, values)
        yield f',"cursor":"{cursor}","missed":0}}'.encode()

    return pieces()


def rows_asked(store: Store, query: dict[str, str], now: int) -> Iterator[bytes]:
    """`/api/rows`: what came after `since`, a window, or all that the ring holds."""
    source = store[text(query, "source")]
    if query.keys() & {"start", "end", "points"}:
        return window(source, query, now)
    return rows(held(source, query))


def held(source: Source, query: dict[str, str]) -> Rows:
    """What came after the cursor `since`; without one all that the ring holds, in time order."""
    if "since" in query:
        cursor = Cursor.parse(query["since"])
        if cursor is None:
            raise BadQuestion("since", f"since is the cursor of an earlier answer, not {query['since'][:60]!r}")
        return source.since(*cursor)
    return source.last(source.points)


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

    return _pieces(each())


def tag_column(store: Store, tag: str) -> tuple[Source, str]:
    """The source and column that a tag stands for; UnknownSource if there is none."""
    names = [(tag, "value")] + [(tag[:at], tag[at + 1 :]) for at, char in enumerate(tag) if char == ":"]
    for name, column in names:
        if name in store and column in (source := store[name]).columns:
            return source, column
    raise UnknownSource(f"no tag {tag[:100]!r}")


def current_data(store: Store, query: dict[str, str]) -> Iterator[bytes]:
    """`/current_data`: one column in time order, times as Python writes them in the server's own zone."""
    tag = text(query, "tag")
    source, column = tag_column(store, tag)
    found = held(source, query)
    times, at = found.time.view(np.int64), found.columns.index(column)
    if "since" in query:
        order = np.argsort(times, kind="stable")
        times, values = times[order], found.values[order, at]
    else:
        values = found.values[:, at]

    def pieces() -> Iterator[bytes]:
        yield b'{"time":'
        yield from _pieces(dumps(local(times[i : i + PIECE]))[1:-1] for i in range(0, len(times), PIECE))
        yield b',"value":'
        yield from _numbers(values)
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


def whole(query: dict[str, str], name: str, default: int, least: int, most: int) -> int:
    said = query.get(name)
    if said is None:
        return default
    if not (said.isascii() and said.isdecimal() and len(said) < 20 and least <= int(said) <= most):
        raise BadQuestion(name, f"{name} is a whole number from {least} to {most}, not {said[:60]!r}")
    return int(said)


def moment(query: dict[str, str], name: str, default: int | None) -> int:
    """ISO 8601, or ms since the epoch; as ns."""
    if default is not None and name not in query:
        return default
    said = text(query, name)
    try:
        if NUMBER.fullmatch(said.encode()):
            ns = int(said) * 10**6 if said.isdecimal() and len(said) < 20 else round(float(said) * 1000) * 1000
            if 0 <= ns <= INT64_MAX:
                return ns
        else:  # the "+" of a zone arrives as a blank
            return time_ns((said[:10] + said[10:11].replace(" ", "T") + said[11:].replace(" ", "+")).encode()) or 0
    except (LineError, OverflowError, UnicodeEncodeError):
        pass
    raise BadQuestion(name, f"{name} is ISO 8601 or ms since the epoch, not {said[:60]!r}")


# -- pieces of JSON


def _each(store: Store) -> Iterator[Source]:
    for name in store.sources():
        with contextlib.suppress(UnknownSource):  # forgotten meanwhile
            yield store[name]


def _head(source: str, columns: tuple[str, ...], units: tuple[str, ...]) -> bytes:
    return dumps({"source": source, "columns": columns, "units": units})[:-1]


def _pieces(pieces: Iterable[bytes]) -> Iterator[bytes]:
    before = b"["
    for piece in pieces:
        yield before + piece
        before = b","
    yield b"]" if before == b"," else b"[]"


def _columns(name: str, values: Floats | npt.NDArray[np.int64]) -> Iterator[bytes]:
    yield f',"{name}":['.encode()
    for i in range(values.shape[1]):
        if i:
            yield b","
        yield from _numbers(values[:, i])
    yield b"]"


def _numbers(values: Floats | Ints) -> Iterator[bytes]:
    """A list of numbers, null where one is missing."""
    return _pieces(dumps(numbers(values[i : i + PIECE]))[1:-1] for i in range(0, len(values), PIECE))


def numbers(values: Floats | Ints) -> list[float | None]:
    listed: list[float | None] = values.tolist()
    if values.dtype == np.float64 and not np.isfinite(values).all():  # a mean may overflow
        return [value if math.isfinite(value) else None for value in values.tolist()]
    return listed


def milliseconds(ns: Ints) -> Floats | Ints:
    """Times in ms: whole ones where all are, else with the microseconds as their fraction."""
    if (ns % 10**6 == 0).all():
        return ns // 10**6
    return (ns // 1000) / 1000
