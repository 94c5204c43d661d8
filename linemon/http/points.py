"""Points as JSON says them, in the way of `http-plot-server`: ``{"tag": …, "value": …, "unit"?: …, "ts"?: …}``. No I/O.

A tag is a source with the column `value`. Points wait until `flush`, which appends those of all requests together.
"""

from __future__ import annotations

import contextlib
import gc
import io
import json
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, NamedTuple

import numpy as np

from linemon import when
from linemon.access import Grant
from linemon.errors import LineError
from linemon.lines import wire
from linemon.lines.intake import Intake
from linemon.lines.session import Session
from linemon.store.arena import ArenaWriter
from linemon.store.writer import Ring

COLUMN: Final = ("value",)
MAX_TEXT: Final = 255  # bytes of a unit
SLICE: Final = 500  # points that are taken in one go, so that a long body does not keep others waiting
BLANK: Final = object()  # stands for an empty line of NDJSON
NOT_JSON: Final = 'not JSON: expected {"tag": string, "value": number}, with "unit" and "ts" if you like'


class PointError(LineError):
    """A point cannot be taken; `field` is the part of it that is at fault, None where it is the JSON itself."""

    def __init__(self, reason: str, text: str, field: str | None, raw: bytes = b"") -> None:
        super().__init__(reason, text)
        self.field = field
        self.raw = raw


@dataclass
class Body:
    """The points of one request, and what became of them; `is_batch` where it was a list or NDJSON."""

    points: Iterator[Any]  # a PointError stands for a line that is not JSON
    is_batch: bool
    is_done: bool = False  # all points were looked at
    accepted: int = 0
    rejected: int = 0
    value: float = 0.0  # of the last point accepted
    first_error: tuple[int, PointError] | None = None  # and its place in the batch


class Waiting(NamedTuple):
    """A point that was accepted and is not stored yet."""

    session: Session
    body: Body
    place: int  # in the body
    point: Any
    ring: Ring
    time: int
    value: float
    number: int  # in the connection


class PointIntake:
    """Takes the points of requests, accounts for them, and puts them into the store."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._store = intake.store
        self._waiting: list[Waiting] = []

    def take(self, session: Session, grant: Grant, body: Body, now: int) -> None:
        """Check the next `SLICE` points of a body that came at `now` (ns); the next `flush` stores what is accepted."""
        looked = 0
        for point in islice(body.points, SLICE):
            looked += 1
            if point is BLANK:
                continue
            index = body.accepted + body.rejected
            session.lines += 1
            try:
                ring, time, value = self._point(grant, point)
            except PointError as error:
                self._reject(session, body, index, point, error, now, session.lines)
            else:
                body.accepted += 1
                body.value = value
                when = now if time is None else time
                self._waiting.append(Waiting(session, body, index, point, ring, when, value, session.lines))
        body.is_done = looked < SLICE

    def flush(self, now: int) -> set[str]:
        """Append all points that wait; returns the sources that they belong to."""
        waiting, self._waiting = self._waiting, []
        arenas: dict[ArenaWriter, list[Waiting]] = {}
        for each in waiting:
            if each.ring.is_gone:  # forgotten since
                self._append([each], now)
            else:
                arenas.setdefault(each.ring.arena, []).append(each)
        for together in arenas.values():
            self._append(together, now)
        return {each.ring.entry.source for each in waiting}

    def _append(self, together: list[Waiting], now: int) -> None:
        """Append points whose rings are in one arena."""
        try:
            ring = together[0].ring
            if ring.is_gone:
                ring = self._bind(ring.entry.source, ring.entry.units[0])
            cells = np.empty((len(together), 1 + ring.width))
            cells[:, 1] = [each.value for each in together]
            cells[:, 2:] = np.nan
            cells.view(np.int64)[:, 0] = [each.time for each in together]
            slots = [each.ring.entry.slot for each in together] if len(together) > 1 else [ring.entry.slot]
            if len(set(slots)) == 1:  # of a lone post: several times as quick
                ring.arena.append_to(slots[0], cells.view(np.int64))
            else:
                ring.arena.append(np.array(slots), cells.view(np.int64))
        except LineError as error:  # no room for one of them: who has room goes on
            if len(together) > 1:
                for each in together:
                    self._append([each], now)
                return
            [each] = together
            each.body.accepted -= 1
            wrong = PointError(error.reason, str(error), "tag")
            self._reject(each.session, each.body, each.place, each.point, wrong, now, each.number)
        else:
            for session, count in Counter([each.session for each in together]).items():
                self._intake.accounts.store(session, count)

    def _reject(
        self, session: Session, body: Body, index: int, point: Any, error: PointError, now: int, number: int
    ) -> None:
        body.rejected += 1
        if body.first_error is None or index < body.first_error[0]:
            body.first_error = index, error
        tag = point.get("tag") if isinstance(point, dict) else None
        source = tag[:MAX_TEXT].encode(errors="replace").decode() if isinstance(tag, str) else ""
        self._intake.accounts.reject(session, error, error.raw or quoted(point), now, number, source)

    def _point(self, grant: Grant, point: Any) -> tuple[Ring, int | None, float]:
        """The ring, time (None: now) and value that a point says."""
        if isinstance(point, PointError):
            raise point
        if type(point) is not dict:
            raise PointError("syntax", f"a point is an object with tag and value, not {show(point)}", None)
        tag, unit, ts = point.get("tag"), point.get("unit"), point.get("ts")
        if type(tag) is not str:
            raise PointError("name", f"tag is a string, not {show(tag)}", "tag")
        value = number(point.get("value"))
        if unit is not None:
            check_unit(unit)
        time = None if ts is None else time_ns(ts)
        if grant.wants_device(tag):
            raise PointError("device", f"{tag!r} takes rows of its registered device only", "tag")
        if not grant.covers(tag):
            raise PointError("token", f"this token may not write to {tag!r}", "tag")
        ring = self._store.rings.get(tag)
        if ring is None or ring.entry.columns[0] != "value" or (unit and unit != ring.entry.units[0]):
            try:
                ring = self._bind(wire.source_name(tag), unit or "")
            except LineError as error:
                raise PointError(error.reason, str(error), "tag") from None
            except UnicodeEncodeError:
                raise PointError("text", "tag holds half a character", "tag") from None
        return ring, time, value

    def _bind(self, source: str, unit: str) -> Ring:
        """The ring of a source whose first column is `value`, made if it is new. LineError if there is none such."""
        ring = self._store.rings.get(source)
        if ring is not None and ring.columns[0] != "value":
            raise LineError(
                "columns", f"source {source!r} has {ring.columns[0]!r} as its first column, a point has 'value'"
            )
        return self._store.bind(source, COLUMN, (unit,))


def parse(body: bytes, *, is_lines: bool = False) -> Body:
    """What a body holds: a point, a list of them, or lines, of which the first is an object.

    `is_lines`: the sender says that it is NDJSON, whatever the first line is. Lines are read as they are taken.
    PointError where there is nothing to take.
    """
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise PointError("text", "the body is not UTF-8", None, body[:400]) from None
    if not is_lines:
        gc.disable()  # a list of many empty ones takes five times as long else
        try:
            found = json.loads(text)
        except (ValueError, RecursionError) as error:
            first, _, others = text.lstrip().partition("\n")
            if not others or others.isspace() or type(_line(first)) is not dict:
                raise PointError("syntax", f"{NOT_JSON}; {error}", None, body[:400]) from None
        else:
            return Body(iter(found), True) if isinstance(found, list) else Body(iter([found]), False)
        finally:
            gc.enable()
    return Body((_line(line) if line.strip() else BLANK for line in io.StringIO(text, newline="\n")), True)


def _line(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        return PointError("syntax", f"{NOT_JSON}; {error}", None, line.encode()[:400])


def quoted(point: Any) -> bytes:
    """What a point says, for the list of bad lines."""
    if not isinstance(point, dict):
        return show(point).encode()
    said = (f"{key}: {show(point[key])}" for key in ("tag", "value", "unit", "ts") if key in point)
    return ("{" + ", ".join(said) + "}").encode()


def show(value: object) -> str:
    """A value as an error may quote it: what it is, and not too much of it."""
    if value is None:
        return "nothing"
    if isinstance(value, (list, dict)):
        return "a list" if isinstance(value, list) else "an object"
    text = repr(value) if not isinstance(value, int) or abs(value) < 10**30 else "a number of many digits"
    return text if len(text) <= 60 else text[:56] + "...'"


def number(value: object) -> float:
    """What Python's float() makes of it, finite or nan."""
    if isinstance(value, (float, int, str)):
        try:
            found = float(value)
        except (ValueError, OverflowError):
            pass
        else:
            if abs(found) != float("inf"):
                return found
    raise PointError("number", f"value is a finite number, or NaN where it is missing, not {show(value)}", "value")


def check_unit(unit: object) -> None:
    """PointError if a unit is not a text of a length to be shown."""
    try:
        good = isinstance(unit, str) and len(unit.encode()) <= MAX_TEXT
    except UnicodeEncodeError:
        good = False
    if not good or any(unicodedata.category(char) == "Cc" for char in str(unit)):
        raise PointError("name", f"unit is a string of at most {MAX_TEXT} bytes, not {show(unit)}", "unit")


def time_ns(ts: object, name: str = "ts") -> int | None:
    """Nanoseconds since the epoch; None (now) for -1. PointError calls it by `name`.

    A number's unit is told by its size, as in lines: below 1e11 seconds, below 1e14 ms, below 1e17 us, else ns. A
    string is such a number or ISO 8601, also with a blank between date and time, as `/current_data` writes it.
    """
    ns: int | None = -1
    if isinstance(ts, str):
        with contextlib.suppress(LineError):  # its text does not say that it is ts
            ns = when.said_ns(ts.strip())
    elif isinstance(ts, (int, float)) and not isinstance(ts, bool):
        ns = None if ts == -1 else when.number_ns(ts)
    if ns is not None and ns < 0:
        text = f"{name} is epoch s, ms, us or ns from 1970 to 2262, or ISO 8601, not {show(ts)}"
        raise PointError("time", text, name)
    return ns
