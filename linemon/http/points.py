"""Points as JSON says them, in the way of `http-plot-server`: ``{"tag": …, "value": …, "unit"?: …, "ts"?: …}``. No I/O.

A tag is a source with the column `value`. Points wait until `flush`, which appends those of all requests together.
"""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np

from linemon.access import Grant
from linemon.errors import LineError
from linemon.lines import wire
from linemon.lines.intake import Intake
from linemon.lines.session import Session
from linemon.store.arena import ArenaWriter
from linemon.store.writer import Ring

COLUMN: Final = ("value",)
MAX_TEXT: Final = 255  # bytes of a tag or a unit
SLICE: Final = 500  # points that are taken in one go, so that a long body does not keep others waiting
NOT_JSON: Final = 'not JSON: expected {"tag": text, "value": number}, with "unit" and "ts" if you like'


class PointError(LineError):
    """A point cannot be taken; `field` is the part of it that is at fault, None where it is the JSON itself."""

    def __init__(self, reason: str, text: str, field: str | None, raw: bytes = b"") -> None:
        super().__init__(reason, text)
        self.field = field
        self.raw = raw


@dataclass
class Body:
    """The points of one request, and what became of them; `is_batch` where it was a list or NDJSON."""

    points: list[Any]  # a PointError stands for a line that is not JSON
    is_batch: bool
    accepted: int = 0
    rejected: int = 0
    value: float = 0.0  # of the last point accepted
    first_error: tuple[int, PointError] | None = None  # and its place in the batch

    @property
    def is_done(self) -> bool:
        return self.accepted + self.rejected == len(self.points)


class Waiting(NamedTuple):
    """A point that was accepted and is not stored yet."""

    session: Session
    body: Body
    place: int  # in the body
    ring: Ring
    time: int
    value: float
    number: int  # in the connection


class Points:
    """Takes the points of requests, accounts for them, and puts them into the store."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._store = intake.store
        self._waiting: list[Waiting] = []

    def take(self, session: Session, grant: Grant, body: Body, now: int) -> None:
        """Check the next `SLICE` points of a body that came at `now` (ns); the next `flush` stores what is accepted."""
        done = body.accepted + body.rejected
        for index, point in enumerate(body.points[done : done + SLICE], done):
            session.lines += 1
            try:
                ring, time, value = self._point(grant, point)
            except PointError as error:
                self._reject(session, body, index, error, now, session.lines)
            else:
                body.accepted += 1
                body.value = value
                when = now if time is None else time
                self._waiting.append(Waiting(session, body, index, ring, when, value, session.lines))

    def refuse(self, session: Session, error: LineError, now: int, raw: bytes = b"") -> None:
        """Count a body that holds no points to be looked at, as one line: broken, too long, without a token."""
        session.lines += 1
        self._intake.accounts.reject(session, error, raw, now, source="")

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
                ring = self._store.bind(ring.entry.source, COLUMN, ring.entry.units[:1])
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
            self._reject(each.session, each.body, each.place, wrong, now, each.number)
        else:
            for session, count in Counter([each.session for each in together]).items():
                self._intake.accounts.store(session, count)

    def _reject(self, session: Session, body: Body, index: int, error: PointError, now: int, number: int) -> None:
        point = body.points[index]
        body.rejected += 1
        if body.first_error is None or index < body.first_error[0]:
            body.first_error = index, error
        tag = point.get("tag") if isinstance(point, dict) else None
        source = tag[:MAX_TEXT] if isinstance(tag, str) else ""
        self._intake.accounts.reject(session, error, error.raw or quoted(point), now, number, source)

    def _point(self, grant: Grant, point: Any) -> tuple[Ring, int | None, float]:
        """The ring, time (None: now) and value that a point says."""
        if isinstance(point, PointError):
            raise point
        if type(point) is not dict:
            raise PointError("syntax", f"a point is an object with tag and value, not {show(point)}", None)
        tag, unit, ts = point.get("tag"), point.get("unit"), point.get("ts")
        if type(tag) is not str:
            raise PointError("name", f"tag is a text of 1 to 255 bytes, not {show(tag)}", "tag")
        value = number(point.get("value"))
        if unit is not None:
            check_unit(unit)
        time = None if ts is None else time_ns(ts)
        if not grant.covers(tag):
            raise PointError("token", f"this token may not write to {tag!r}", "tag")
        ring = self._store.rings.get(tag)
        if ring is None or ring.entry.columns[0] != "value" or (unit and unit != ring.entry.units[0]):
            ring = self._bind(tag, unit or "")
        return ring, time, value

    def _bind(self, tag: str, unit: str) -> Ring:
        try:
            return self._store.bind(wire.source_name(tag), COLUMN, (unit,))
        except LineError as error:
            raise PointError(error.reason, str(error), "tag") from None
        except UnicodeEncodeError:
            raise PointError("text", "tag holds half of a character", "tag") from None


def parse(body: bytes, *, is_lines: bool = False) -> Body:
    """What a body holds: a point, a list of them, or lines of which one at least is an object.

    `is_lines`: the sender says that it is NDJSON. PointError where all is broken.
    """
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise PointError("text", "the body is not UTF-8", None, body) from None
    problem = ""
    if not is_lines:
        try:
            found = json.loads(text)
        except (ValueError, RecursionError) as error:
            problem = str(error)
        else:
            return Body(found, True) if isinstance(found, list) else Body([found], False)
    lines = [_line(line) for line in text.split("\n") if line.strip()]
    if is_lines or (len(lines) > 1 and any(type(line) is dict for line in lines)):
        return Body(lines, True)
    raise PointError("syntax", f"{NOT_JSON}; {problem}", None, body)


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
        raise PointError("name", f"unit is a text of at most {MAX_TEXT} bytes, not {show(unit)}", "unit")


def time_ns(ts: object) -> int | None:
    """Nanoseconds since the epoch; None (now) for -1.

    As `http-plot-server` has it, a number of 10 digits before the point is seconds, and any other is milliseconds; 15
    digits are microseconds here, 18 and more nanoseconds. A text is such a number or ISO 8601, also with a blank
    between date and time, as `/current_data` writes it.
    """
    if isinstance(ts, str):
        token = ts.strip().encode(errors="replace")
        if not wire.NUMBER.fullmatch(token):
            try:
                return wire.time_ns(token[:10] + token[10:].replace(b" ", b"T", 1))
            except LineError as error:
                raise PointError("time", f"ts: {error}", "ts") from None
        ts = int(token) if wire.INTEGER.fullmatch(token) and len(token) < 30 else float(token)
    if isinstance(ts, bool) or not isinstance(ts, (int, float)) or ts != ts:
        raise PointError("time", f"ts is epoch seconds, ms, us or ns, or ISO 8601, not {show(ts)}", "ts")
    if ts == -1:
        return None
    if not 0 <= ts <= wire.INT64_MAX:
        raise PointError("time", f"ts {show(ts)} lies before 1970 or beyond 2262", "ts")
    unit = 10**9 if 10**9 <= ts < 10**10 else 10**6 if ts < 10**14 else 10**3 if ts < 10**17 else 1
    ns = int(ts) * unit if ts == int(ts) else round(ts * (unit / 1000)) * 1000
    if ns > wire.INT64_MAX:
        raise PointError("time", f"ts {show(ts)} lies beyond 2262", "ts")
    return ns
