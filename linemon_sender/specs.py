"""Specs: how readings of a product become columns. What a spec may say, checked, for the device and for the centre.

A spec is written as TOML at the centre and comes to the device as JSON: `version`, a table `read` and a list of
`column` tables (docs/DEVICES.md). It names no file, command or address: what is read is the device's business.
"""

from __future__ import annotations

import re

from linemon_sender.registers import Register
from linemon_sender.stamps import Stamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NAN = float("nan")
NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
SPAN = re.compile(r"(?:(\d+(?:\.\d+)?)d)?(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?")
EVERY, SHORTEST, LONGEST = 10.0, 0.1, 86400.0  # seconds from one question to the next: as a rule, and bounds
MOST_COLUMNS = 1000
LONGEST_PATTERN = 1000  # characters
LONGEST_VERSION = 64  # bytes
KINDS = ("text", "json", "modbus")
READ_KEYS = {"text": {"kind", "begin", "end", "crc", "every"}, "json": {"kind", "every"}, "modbus": {"kind", "every"}}
COLUMN_KEYS = {"name", "unit", "scale", "offset", "values", "time", "format", "zone"}
OWN_KEYS = {"text": {"pattern", "decimal"}, "json": {"path", "decimal"}, "modbus": {"register", "type", "words"}}


class SpecError(ValueError):
    """A spec is wrong; its text says where, what, and what was expected."""


class Column:
    """One column of a spec: where its value stands in a record, and what becomes of it."""

    def __init__(self, said: dict[str, Any], kind: str) -> None:
        """SpecError without the column's name."""
        _known(said, COLUMN_KEYS | OWN_KEYS[kind])
        self.name = _text(said, "name")
        if re.search(r"[\s:\x00-\x1f\x7f]", self.name) or len(self.name.encode()) > 255:
            raise SpecError(f"name = {self.name!r}: expected at most 255 bytes without blanks and colons")
        self.unit = _text(said, "unit", "")
        if re.search(r"[\s\x00-\x1f\x7f]", self.unit):
            raise SpecError(f"unit = {self.unit!r}: expected no blanks")
        self.is_time = _flag(said, "time")
        if self.name == "time" and not self.is_time:
            raise SpecError("name = 'time' is kept for the record's own time (time = true)")
        for key in ("format", "zone"):
            if key in said and not self.is_time:
                raise SpecError(f"{key} goes with time = true")
        for key in ("scale", "offset", "values", "decimal"):
            if key in said and self.is_time:
                raise SpecError(f"{key} does not go with time = true")
        self._scale, self._offset = _number(said, "scale", 1.0), _number(said, "offset", 0.0)
        self._decimal = _one_of(said, "decimal", (".", ","))
        self._values = _values(said)
        self.stamp: Stamp | None = None
        if self.is_time:
            try:
                self.stamp = Stamp(_text(said, "format", ""), _text(said, "zone", "UTC"))
            except ValueError as error:
                raise SpecError(str(error)) from None
        self.pattern: re.Pattern[str] | None = None
        self.path: list[str] = []
        self.register: Register | None = None
        if kind == "text":
            self.pattern = _pattern(said, "pattern")
            if not self.pattern.groups:
                raise SpecError(f"pattern = {self.pattern.pattern!r}: expected a group (…) around the value")
        elif kind == "json":
            self.path = _text(said, "path").split(".")
        else:
            try:
                self.register = Register(said.get("register"), said.get("type", "uint16"), said.get("words", "big"))
            except ValueError as error:
                raise SpecError(str(error)) from None

    def number(self, found: object) -> float:
        """The column's value of what stands in the record: a string or a number; nan where it is neither."""
        if isinstance(found, str):
            text = found.strip()
            if self._values and text in self._values:
                return self._values[text]
            if self._decimal == ",":
                text = text.replace(".", "").replace(",", ".")
            found = float(text) if NUMBER.fullmatch(text) else NAN
        if not isinstance(found, (int, float)):
            return NAN
        try:
            number = float(found) * self._scale + self._offset
        except OverflowError:
            return NAN
        return number if abs(number) < float("inf") else NAN

    def find(self, record: Any) -> tuple[object, str]:
        """What stands in a text or JSON value for this column, None if nothing does; and the pattern's second group."""
        if self.pattern:
            match = self.pattern.search(record)
            if not match or match[1] is None:
                return None, ""
            return match[1], (match[2] or "" if self.pattern.groups > 1 else "")
        for step in self.path:
            if isinstance(record, dict) and step in record:
                record = record[step]
            elif isinstance(record, list) and step.isdigit() and int(step) < len(record):
                record = record[int(step)]
            else:
                return None, ""
        return record, ""


class Spec:
    """A spec, whole and right."""

    def __init__(self, said: object) -> None:
        """From what TOML or JSON made of it. SpecError."""
        if not isinstance(said, dict):
            raise SpecError("expected a table with version, [read] and [[column]]")
        _known(said, {"version", "read", "column"})
        self.version = _text(said, "version")
        if not re.fullmatch(r"\S+", self.version) or not self.version.isprintable():
            raise SpecError(f"version = {self.version!r}: expected a string without blanks")
        if len(self.version.encode()) > LONGEST_VERSION:
            raise SpecError(f"version = {self.version!r}: expected at most {LONGEST_VERSION} bytes")
        read, columns = said.get("read"), said.get("column")
        if not isinstance(read, dict):
            raise SpecError("[read] is not there; expected a table with kind")
        if not isinstance(columns, list) or not 0 < len(columns) <= MOST_COLUMNS:
            raise SpecError(f"expected 1 to {MOST_COLUMNS} tables [[column]]")
        try:
            self._read(read)
        except SpecError as error:
            raise SpecError(f"[read] {error}") from None
        made = [self._column(place, each) for place, each in enumerate(columns, 1)]
        names = [each.name for each in made]
        for name in names:
            if names.count(name) > 1:
                raise SpecError(f"[[column]] {name}: there are two of that name")
        self.columns = [each for each in made if not each.is_time]
        """In the order in which they are sent."""
        times = [each for each in made if each.is_time]
        if len(times) > 1:
            raise SpecError(f"[[column]] {times[1].name}: time = true goes with one column")
        if not self.columns:
            raise SpecError("[[column]] expected one without time = true")
        self.time = times[0] if times else None

    def _read(self, said: dict[str, Any]) -> None:
        self.kind = _one_of(said, "kind", KINDS)
        if "kind" not in said:
            raise SpecError(f"kind is not there; expected {', '.join(KINDS)}")
        _known(said, READ_KEYS[self.kind])
        self.begin, self.end = (_pattern(said, key) if key in said else None for key in ("begin", "end"))
        """What the first and the last line of a record of text begin with; both None: each line is one."""
        self.crc = _one_of(said, "crc", ("none", "dsmr"))
        if self.crc == "dsmr" and not (self.begin and self.end):
            raise SpecError("crc = 'dsmr' needs begin and end")
        self.every = _span(said, "every")
        """Seconds from one question to the next, where it is asked."""

    def _column(self, place: int, said: object) -> Column:
        if not isinstance(said, dict):
            raise SpecError(f"[[column]] {place} is not a table")
        try:
            return Column(said, self.kind)
        except SpecError as error:
            name = said.get("name")
            raise SpecError(f"[[column]] {name if isinstance(name, str) and name else place}: {error}") from None

    @property
    def header(self) -> bytes:
        """The directives before its rows, without the last newline."""
        names = [f"{each.name}:{each.unit}" if each.unit else each.name for each in self.columns]
        return f"#spec {self.version}\n#columns time {' '.join(names)}".encode()

    def row(self, record: Any, now: float) -> tuple[float, list[float]]:
        """The time, in seconds, and a value for each column, nan = missing, of a text or of what JSON made of one.

        `now` is the time where the spec names none. ValueError, with the reason, where the record does not fit.
        """
        values = [each.number(each.find(record)[0]) for each in self.columns]
        at = now
        if self.time and self.time.stamp:
            found, which = self.time.find(record)
            if found is None:
                raise ValueError(f"it has no {self.time.name}")
            at = self.time.stamp(found, which)
        if all(value != value for value in values):
            raise ValueError("none of its columns is there")
        return at, values


def _known(said: dict[str, Any], keys: set[str]) -> None:
    for key in said:
        if key not in keys:
            raise SpecError(f"{key!r} is not a setting here; expected {', '.join(sorted(keys))}")


def _text(said: dict[str, Any], key: str, default: str | None = None) -> str:
    value = said.get(key, default)
    if value is None or value == "" != default:
        raise SpecError(f"{key} is not there")
    if not isinstance(value, str):
        raise SpecError(f"{key} = {value!r}: expected a string")
    return value


def _flag(said: dict[str, Any], key: str) -> bool:
    value = said.get(key, False)
    if not isinstance(value, bool):
        raise SpecError(f"{key} = {value!r}: expected true or false")
    return value


def _one_of(said: dict[str, Any], key: str, choices: tuple[str, ...]) -> str:
    value = said.get(key, choices[0])
    if value not in choices:
        raise SpecError(f"{key} = {value!r}: expected {', '.join(choices)}")
    return str(value)


def _number(said: dict[str, Any], key: str, default: float) -> float:
    value = said.get(key, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e300:
        raise SpecError(f"{key} = {value!r}: expected a number")
    return float(value)


def _values(said: dict[str, Any]) -> dict[str, float]:
    value = said.get("values", {})
    if not isinstance(value, dict):
        raise SpecError(f"values = {value!r}: expected a table of what stands there and the number for it")
    return {name: _number(value, name, 0.0) for name in value}


def _pattern(said: dict[str, Any], key: str) -> re.Pattern[str]:
    text = _text(said, key)
    try:
        if len(text) > LONGEST_PATTERN:
            raise ValueError(f"it has more than {LONGEST_PATTERN} characters")
        return re.compile(text, re.MULTILINE)
    except (re.error, ValueError, OverflowError, RecursionError) as error:
        raise SpecError(f"{key} = {text!r}: {error}") from None


def _span(said: dict[str, Any], key: str) -> float:
    value = said.get(key, EVERY)
    seconds = value
    if isinstance(value, str) and (parts := SPAN.fullmatch(value)):
        seconds = sum([float(count or 0) * unit for count, unit in zip(parts.groups(), (86400, 3600, 60, 1))])
    if isinstance(seconds, (bool, str)) or not isinstance(seconds, (int, float)) or not SHORTEST <= seconds <= LONGEST:
        raise SpecError(f"{key} = {value!r}: expected a span of {SHORTEST:g} s to a day, such as '10s'")
    return float(seconds)
