"""The line language once more: slow and obvious, on whole lines, one character after the other.

This is the language's second description. It shares no code and no regular expression with `linemon`, and it keeps
everything in lists. What `linemon` makes of any bytes, cut in any way, must be what this makes of them.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from dataclasses import dataclass, field
from datetime import date
from fractions import Fraction

LARGEST_TIME = 2**63 - 1
MISSING = float("nan")
TRUE = ("t", "T", "true", "True", "TRUE")
FALSE = ("f", "F", "false", "False", "FALSE")


class Rejected(Exception):
    """A line is not taken; the reason is one of `linemon.errors.REASONS`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class WrongToken(Rejected):
    """A #token that is none, where one is asked for."""


# -- tokens


def is_blank(char: str) -> bool:
    return char in (" ", "\t")


def tokens_of(line: str) -> list[str]:
    """What stands between spaces and tabs."""
    tokens = []
    token = ""
    for char in line + " ":
        if not is_blank(char):
            token += char
        elif token:
            tokens.append(token)
            token = ""
    return tokens


def without_blanks(line: bytes) -> bytes:
    """The line without blanks at either end."""
    while line[:1] in (b" ", b"\t"):
        line = line[1:]
    while line[-1:] in (b" ", b"\t"):
        line = line[:-1]
    return line


def is_digits(text: str) -> bool:
    """One or more of 0 to 9."""
    return text != "" and all(char in "0123456789" for char in text)


# -- numbers


def without_sign(token: str) -> str:
    return token[1:] if token[:1] in ("+", "-") else token


def is_integer(token: str) -> bool:
    """A sign, perhaps, and digits."""
    return is_digits(without_sign(token))


def looks_like_number(token: str) -> bool:
    """``[+-]? (digits [. digits*] | . digits) ([eE] [+-]? digits)?``"""
    mantissa = without_sign(token)
    for e in ("e", "E"):
        if e in mantissa:
            mantissa, exponent = mantissa.split(e, 1)
            if not is_integer(exponent):
                return False
            break
    if "." not in mantissa:
        return is_digits(mantissa)
    before, after = mantissa.split(".", 1)
    if before == "":
        return is_digits(after)
    return is_digits(before) and (after == "" or is_digits(after))


def number(token: str) -> float:
    """The double that a token says."""
    if token.lower() == "nan" and len(token) == 3:
        return MISSING
    if not looks_like_number(token):
        raise Rejected("number")
    value = float(token)
    if value in (float("inf"), float("-inf")):
        raise Rejected("number")
    if is_integer(token) and value == 0:
        return 0.0  # a whole number has no sign at zero
    return value


# -- times


def exactly(token: str) -> Fraction:
    """The number a token says, without any rounding; only for such that are between 1 and 1e19."""
    sign = -1 if token[0] == "-" else 1
    mantissa = without_sign(token).lower()
    exponent = 0
    if "e" in mantissa:
        mantissa, power = mantissa.split("e")
        exponent = int(power)
    before, _, after = mantissa.partition(".")
    digits = (before + after).lstrip("0")
    exponent -= len(after)
    trailing = len(digits) - len(digits.rstrip("0"))
    return sign * Fraction(int(digits[: len(digits) - trailing])) * Fraction(10) ** (exponent + trailing)


def unit_of(number: Fraction | float) -> int:
    """Nanoseconds in the unit that a magnitude tells."""
    if number < 10**11:
        return 10**9
    if number < 10**14:
        return 10**6
    if number < 10**17:
        return 10**3
    return 1


def epoch(token: str) -> int | None:
    """Nanoseconds of an epoch number; None is the time of arrival."""
    value = float(token)
    if value == -1:
        return None
    if value < 0 or value > 1e19:
        raise Rejected("time")
    if value < 1:
        return round(value * 1e6) * 1000
    exact = exactly(token)
    if exact.denominator == 1 and (is_integer(token) or value >= 2.0**53):
        return int(exact) * unit_of(exact)
    # A fraction is what a double makes of it, and kept to the microsecond.
    unit = unit_of(exact if value >= 2.0**53 else value)
    if value.is_integer():
        return int(value) * unit
    return round(value * (unit / 1000)) * 1000


def iso(token: str) -> int:
    """Nanoseconds of an ISO 8601 time: extended or basic, `Z`, an offset or nothing at its end."""
    if len(token) == 10:
        return day_of(token[:4], token[4], token[5:7], token[7], token[8:]) * 86400 * 10**9
    if token.count("T") != 1:
        raise Rejected("time")
    day, clock = token.split("T")
    if len(day) == 10:
        days = day_of(day[:4], day[4], day[5:7], day[7], day[8:])
        colon = ":"
    elif len(day) == 8:
        days = day_of(day[:4], "-", day[4:6], "-", day[6:])
        colon = ""
    else:
        raise Rejected("time")
    clock, offset_minutes = split_zone(clock)
    fraction = ""
    for point in (".", ","):
        if point in clock:
            clock, fraction = clock.split(point, 1)
            if not is_digits(fraction) or len(clock) != 6 + 2 * len(colon):
                raise Rejected("time")
            break
    parts = clock.split(":") if colon else [clock[i : i + 2] for i in range(0, len(clock), 2)]
    if len(parts) not in (2, 3) or any(len(part) != 2 or not is_digits(part) for part in parts):
        raise Rejected("time")
    hour, minute, second = (*map(int, parts), 0)[:3]
    if hour > 23 or minute > 59 or second > 59:
        raise Rejected("time")
    digits, below = fraction[:9], fraction[9:]
    if below.strip("0"):
        raise Rejected("time")  # it could not be kept exactly
    seconds = days * 86400 + (hour * 60 + minute - offset_minutes) * 60 + second
    return seconds * 10**9 + int((digits + "000000000")[:9])


def day_of(year: str, dash: str, month: str, other_dash: str, day: str) -> int:
    """Days since the epoch."""
    if dash != "-" or other_dash != "-" or not all(is_digits(part) for part in (year, month, day)):
        raise Rejected("time")
    try:
        return date(int(year), int(month), int(day)).toordinal() - date(1970, 1, 1).toordinal()
    except ValueError:
        raise Rejected("time") from None


def split_zone(clock: str) -> tuple[str, int]:
    """The clock without its zone, and the zone's minutes east."""
    if clock.endswith("Z"):
        return clock[:-1], 0
    for sign in ("+", "-"):
        if sign in clock:
            clock, zone = clock.split(sign, 1)
            if len(zone) == 5 and zone[2] == ":":
                zone = zone[:2] + zone[3:]
            if len(zone) == 2:
                zone += "00"
            if len(zone) != 4 or not is_digits(zone) or int(zone[:2]) > 23 or int(zone[2:]) > 59:
                raise Rejected("time")
            minutes = int(zone[:2]) * 60 + int(zone[2:])
            return clock, minutes if sign == "+" else -minutes
    return clock, 0


def time(token: str) -> int | None:
    """Nanoseconds since the epoch, None for the time of arrival."""
    ns = epoch(token) if looks_like_number(token) else iso(token)
    if ns is not None and not 0 <= ns <= LARGEST_TIME:
        raise Rejected("time")
    return ns


# -- names


def has_control(text: str) -> bool:
    return any(unicodedata.category(char) == "Cc" for char in text)


def source_name(name: str) -> str:
    if not 1 <= len(name.encode()) <= 255 or has_control(name):
        raise Rejected("name")
    return name


def is_name(name: str) -> bool:
    """Whether a metric or a measurement may be called so; what may not is the start of a row."""
    if name.lower() in ("inf", "infinity", "nan"):
        return False
    return name != "" and (name[0] == "_" or unicodedata.category(name[0]).startswith("L"))


# -- Influx


@dataclass
class Point:
    """One line of InfluxDB's line protocol."""

    source: str
    values: dict[str, float]
    strings: int
    time: int | None


def piece(text: str, start: int, special: str) -> tuple[str, int]:
    """The text up to the first of `special` without a backslash right before it, and where that is.

    The backslash takes the meaning from the special character and is gone; before any other it is one itself.
    """
    found = ""
    at = start
    while at < len(text) and text[at] not in special:
        if text[at] == "\\" and text[at + 1 : at + 2] in (",", "=", " ", "\t"):
            found += "\\\t" if text[at + 1] == "\t" else text[at + 1]
            at += 2
        else:
            found += text[at]
            at += 1
    return found, at


def is_influx(line: str) -> bool:
    """Whether there is a name, and an equals sign in what would be the fields."""
    _, at = piece(line, 0, " \t")
    while is_blank(line[at : at + 1]):
        at += 1
    _, at = piece(line, at, "= \t")
    return is_name(tokens_of(line)[0]) and line[at : at + 1] == "="


def influx(line: str) -> Point:
    """``measurement[,tag=value…] field=value[,field=value…] [time]``"""
    measurement, at = piece(line, 0, ", \t")
    tags: list[tuple[str, str]] = []
    while line[at : at + 1] == ",":
        key, at = piece(line, at + 1, ",= \t")
        if key == "" or line[at : at + 1] != "=":
            raise Rejected("syntax")
        value, at = piece(line, at + 1, ",= \t")
        if value == "" or line[at : at + 1] == "=":
            raise Rejected("syntax")
        tags.append((key, value))
    while is_blank(line[at : at + 1]):
        at += 1
    numeric: list[tuple[str, str]] = []
    strings = 0
    more = True
    while more:
        key, at = piece(line, at, ",= \t")
        if key == "" or line[at : at + 1] != "=":
            raise Rejected("syntax")
        if line[at + 1 : at + 2] == '"':
            at = end_of_string(line, at + 2)
            strings += 1
        else:
            end = at + 1
            while end < len(line) and line[end] not in ',= \t"\\':
                end += 1
            if end == at + 1:
                raise Rejected("syntax")
            numeric.append((key, line[at + 1 : end]))
            at = end
        more = line[at : at + 1] == ","
        at += more
    if at < len(line) and not is_blank(line[at]):
        raise Rejected("syntax")
    rest = tokens_of(line[at:])
    if len(rest) > 1:
        raise Rejected("syntax")
    values = {key: field_value(token) for key, token in numeric}  # of two of one name the last one counts
    if not values:
        raise Rejected("fields")
    if not is_name(measurement) or len({key for key, _ in tags}) < len(tags):
        raise Rejected("name")
    if any(key == "time" or has_control(key) for key in values):
        raise Rejected("name")
    source = source_name(",".join([measurement, *(f"{key}={value}" for key, value in sorted(tags))]))
    return Point(source, values, strings, time(rest[0]) if rest else None)


def end_of_string(line: str, at: int) -> int:
    """Where a quoted string is over; a backslash takes the special meaning of the character after it."""
    while at < len(line):
        if line[at] == '"':
            return at + 1
        at += 2 if line[at] == "\\" else 1
    raise Rejected("syntax")


def field_value(token: str) -> float:
    """The number of a field: a float, an integer with its `i` or `u`, a boolean."""
    if token in TRUE:
        return 1.0
    if token in FALSE:
        return 0.0
    if token.endswith("i"):
        if not is_integer(token[:-1]) or not -(2**63) <= whole(token[:-1]) < 2**63:
            raise Rejected("number")
        return float(whole(token[:-1]))
    if token.endswith("u"):
        if not is_integer(token[:-1]) or token[0] == "-" or whole(token[:-1]) >= 2**64:
            raise Rejected("number")
        return float(whole(token[:-1]))
    return number(token)


def whole(digits: str) -> int:
    """An integer of any number of digits."""
    sign = -1 if digits[0] == "-" else 1
    significant = without_sign(digits).lstrip("0")
    return sign * int(significant[:30] or "0")  # 30 digits are too many already


# -- the collector


@dataclass
class Source:
    """A source and all its rows: (time in ns, one value per column)."""

    columns: list[str]
    units: list[str]
    rows: list[tuple[int, list[float]]] = field(default_factory=list)

    def add(self, columns: list[str], units: list[str]) -> None:
        """More columns at the end, missing in the rows there are."""
        self.columns += columns
        self.units += units
        for _, values in self.rows:
            values += [MISSING] * len(columns)


class Collector:
    """Takes connections, and remembers what became of their lines."""

    def __init__(self, now: int, *, max_line: int = 65536, max_sources: int = 10000, token: str = "") -> None:
        self.now = now
        self.max_line = max_line
        self.max_sources = max_sources
        self.token = token
        self.sources: dict[str, Source] = {}
        self.received = 0
        self.stored = 0
        self.rejected: Counter[str] = Counter()
        self.strings = 0  # Influx's string fields that were left out
        self.duplicate = 0
        self.lost = 0  # lines that numbering senders left out
        self.kept: dict[tuple[str, str], int] = {}  # the next number of each source and sender that has rows,
        self.awaited: dict[tuple[str, str], int] = {}  # and of those that an open connection is at
        self.open: list[Connection] = []

    def connect(self, peer: str) -> Connection:
        connection = Connection(self, peer)
        self.open.append(connection)
        return connection

    def advance(self, key: tuple[str, str], number: int) -> None:
        """What becomes of the lines below `number` is known."""
        self.awaited[key] = number
        if key in self.kept:
            self.kept[key] = number

    def forget_unused(self) -> None:
        """A number that no ring keeps lasts as long as somebody is at it."""
        used = {connection.key for connection in self.open}
        self.awaited = {key: number for key, number in self.awaited.items() if key in used}

    def whole(self, peer: str, data: bytes, clean_end: bool = True) -> Connection:
        """A connection from its first to its last byte."""
        connection = self.connect(peer)
        connection.hear(data)
        connection.end() if clean_end else connection.reset()
        return connection

    def source(self, name: str, columns: list[str], units: list[str]) -> Source:
        """The source of that name, made where there is none yet."""
        if name not in self.sources:
            if len(self.sources) >= self.max_sources:
                raise Rejected("max_sources")
            self.sources[name] = Source(list(columns), list(units))
        return self.sources[name]

    def store(self, source: Source, time: int | None, values: list[float]) -> None:
        missing = [MISSING] * (len(source.columns) - len(values))
        source.rows.append((self.now if time is None else time, values + missing))


class Connection:
    """One connection: what it said that holds for its next lines, and what became of the last ones."""

    def __init__(self, collector: Collector, peer: str) -> None:
        self.collector = collector
        self.peer = peer
        self.unfinished = b""
        self.is_new = True  # nothing came yet but what may be a byte order mark
        self.wrong_tokens = 0
        self.is_too_long = False  # the unfinished line, which is counted already
        self.closed = False  # by the collector
        self.lines = 0
        self.received = 0
        self.stored = 0
        self.rejected = 0
        self.duplicate = 0
        self.key: tuple[str, str] | None = None  # the source and the sender whose lines are numbered,
        self.number = 0  # the next one with this,
        self.acked: int | None = None  # and at the end of the connection the first one that was not acknowledged
        self.bad: list[tuple[int, str]] = []  # (line, reason) of each rejected line
        self.replies: list[tuple[str, int] | str] = []  # ("#error", line), or all of a #stats answer

        self.authorized = collector.token == ""
        self.wants_errors = False
        self.source_name: str | None = None
        self.names: list[str] | None = None  # what #columns said, without the time
        self.units: list[str] = []
        self.width: int | None = None
        self.time_at: int | None = None
        self.rows_came = False  # since #source and #columns were said
        self.said_anew = True  # no row was stored since
        self.refused: list[tuple[str, str]] = []  # (directive, reason): rows are rejected because of the first

    # -- lines

    def hear(self, data: bytes) -> None:
        """Bytes that came; all of them or some of them, that makes no difference."""
        self.unfinished += data
        if self.is_new:
            if len(self.unfinished) < 3 and b"\xef\xbb\xbf".startswith(self.unfinished):
                return
            self.is_new = False
            self.unfinished = self.unfinished.removeprefix(b"\xef\xbb\xbf")
        if self.lines == 0 and opens_otherwise(self.unfinished[: self.collector.max_line].split(b"\n")[0]):
            self.lines = 1
            self.reject("protocol")
            self.close()
        while b"\n" in self.unfinished and not self.closed:
            line, self.unfinished = self.unfinished.split(b"\n", 1)
            if not self.is_too_long:
                self.line(line)
            self.is_too_long = False
        unfinished = self.unfinished[:-1] if self.unfinished[-1:] == b"\r" else self.unfinished
        if len(unfinished) > self.collector.max_line and not self.is_too_long and not self.closed:
            self.line(self.unfinished)  # rejected as soon as that is known
            self.is_too_long = True

    def reset(self) -> None:
        """The connection broke: an unfinished line does not count."""
        self.close()

    def end(self) -> None:
        """The peer closed: a last line without its newline counts, but where lines are numbered."""
        if self.unfinished != b"" and not self.is_too_long and not self.closed and self.key is None:
            self.line(self.unfinished)
        self.close()

    def close(self) -> None:
        self.unfinished = b""
        self.closed = True
        if self.key is not None:
            self.acked = self.collector.awaited[self.key]
        if self in self.collector.open:
            self.collector.open.remove(self)
        self.collector.forget_unused()

    def line(self, line: bytes) -> None:
        """One line without its newline."""
        self.lines += 1
        if line[-1:] == b"\r":
            line = line[:-1]
        if len(line) > self.collector.max_line:
            if not self.is_held():
                self.reject("length")
            return
        line = without_blanks(line)
        if line == b"":
            return
        if line[:1] == b"#":
            try:
                self.directive(line)
            except WrongToken:
                self.wrong_token()
            except Rejected:
                self.answer_error()
            return
        if self.is_held():
            return
        try:
            self.data_line(line)
        except Rejected as why:
            self.refuse(line, why.reason)
        else:
            self.received += 1
            self.stored += 1
            self.collector.received += 1
            self.collector.stored += 1

    def refuse(self, line: bytes, reason: str) -> None:
        """A data line that cannot be taken."""
        if self.key is not None and reason in ("store_full", "max_sources", "token"):
            self.collector.advance(self.key, self.number - 1)  # it comes again, when there is room or right for it
            self.answer_error()
            self.close()
            return
        words = [word for word in (b"#source", b"#columns", b"#token") if holds(line, word)]
        if self.lines > 1 or not words:
            self.reject(reason)
        elif min(words, key=line.find) == b"#token":
            self.wrong_token()
        else:
            self.refused.append((min(words, key=line.find).decode(), "name"))
            self.answer_error()

    def wrong_token(self) -> None:
        self.reject("token")
        self.wrong_tokens += 1
        if self.wrong_tokens == 10:
            self.close()

    def is_held(self) -> bool:
        """Take the line's number, where lines have numbers; whether that line came before."""
        if self.key is None:
            return False
        self.number += 1
        if self.number > self.collector.awaited[self.key]:
            self.collector.advance(self.key, self.number)
            return False
        self.received += 1
        self.duplicate += 1
        self.collector.received += 1
        self.collector.duplicate += 1
        return True

    def reject(self, reason: str) -> None:
        self.received += 1
        self.rejected += 1
        self.collector.received += 1
        self.collector.rejected[reason] += 1
        self.bad.append((self.lines, reason))
        self.answer_error()

    def answer_error(self) -> None:
        if self.wants_errors:
            self.replies.append(("#error", self.lines))

    # -- data

    def data_line(self, line: bytes) -> None:
        if not self.authorized:
            raise Rejected("token")
        text = utf8(line)
        tokens = tokens_of(text)
        if self.key is not None and is_name(tokens[0]):
            raise Rejected("sequence")
        if is_influx(text):
            self.influx(influx(text))
        elif is_name(tokens[0]):
            self.metric(tokens)
        else:
            self.row(tokens)

    def metric(self, tokens: list[str]) -> None:
        """``NAME VALUE [TIME]``"""
        if len(tokens) not in (2, 3):
            raise Rejected("tokens")
        value = number(tokens[1])
        at = time(tokens[2]) if len(tokens) == 3 else None
        source = self.collector.source(source_name(tokens[0]), ["value"], [""])
        if source.columns != ["value"]:
            raise Rejected("columns")
        self.collector.store(source, at, [value])

    def influx(self, point: Point) -> None:
        """A column for each field, wherever it stands in the source."""
        source = self.collector.source(point.source, list(point.values), [""] * len(point.values))
        new = [key for key in point.values if key not in source.columns]
        source.add(new, [""] * len(new))
        self.collector.store(source, point.time, [point.values.get(column, MISSING) for column in source.columns])
        self.collector.strings += point.strings

    def row(self, tokens: list[str]) -> None:
        """Numbers, and the time where #columns said that it stands."""
        for _, reason in self.refused:
            raise Rejected(reason)
        self.rows_came = True
        if self.width is not None and len(tokens) != self.width + (self.time_at is not None):
            raise Rejected("tokens")
        at = None
        if self.time_at is not None:
            at = time(tokens.pop(self.time_at))
        values = [number(token) for token in tokens]
        name = self.source_name if self.source_name is not None else f"{self.peer}/{len(values)}"
        source = self.fitting(name, len(values))
        self.width = len(values)
        self.said_anew = False
        if self.key is not None:
            self.collector.kept[self.key] = self.collector.awaited[self.key]
        self.collector.store(source, at, values)

    def fitting(self, name: str, width: int) -> Source:
        """The source for a row, which gets the columns it lacks."""
        if self.names is None:
            columns = [f"c{i + 1}" for i in range(width)]
            source = self.collector.source(name, columns, [""] * width)
            if len(source.columns) != width:
                raise Rejected("columns")
            return source
        source = self.collector.source(name, self.names, self.units)
        known = len(source.columns)
        both = min(known, width)
        if self.names[:both] != source.columns[:both]:
            raise Rejected("columns")
        if self.width != len(source.columns) or self.units != source.units:
            source.units = [new or old for new, old in zip(self.units, source.units, strict=False)] + source.units[
                both:
            ]
        source.add(self.names[known:], self.units[known:])
        return source

    # -- directives

    def directive(self, line: bytes) -> None:
        word, rest = line, b""
        for i in range(len(line)):
            if line[i : i + 1] in (b" ", b"\t"):
                word, rest = line[:i], without_blanks(line[i:])
                break
        if word == b"#source":
            self.carefully("#source", rest)
        elif word == b"#columns":
            self.carefully("#columns", rest)
        elif word == b"#seq":
            self.carefully("#seq", rest)
        elif word == b"#token":
            if rest == self.collector.token.encode():
                self.authorized = True
            elif self.collector.token != "":
                raise WrongToken("token")
        elif word == b"#errors" and rest in (b"on", b"off"):
            self.wants_errors = rest == b"on"
        elif line == b"#stats":
            self.replies.append(
                f"#stats received={self.received} stored={self.stored} rejected={self.rejected} "
                f"duplicate={self.duplicate} dropped=0"
            )

    def carefully(self, word: str, rest: bytes) -> None:
        """Do what is said; if that cannot be, rows wait until it is said rightly."""
        self.refused = [(which, reason) for which, reason in self.refused if which != word]
        if word == "#source":
            self.refused = [(which, reason) for which, reason in self.refused if which != "#seq"]
        self.said_anew = self.said_anew or word != "#seq"
        try:
            {"#source": self.say_source, "#columns": self.say_columns, "#seq": self.say_seq}[word](rest)
        except Rejected as why:
            self.refused.append((word, why.reason))
            raise

    def say_source(self, rest: bytes) -> None:
        if self.rows_came:
            self.forget_columns()
        self.rows_came = False
        self.source_name = self.key = None
        self.collector.forget_unused()
        self.source_name = source_name(utf8(rest))

    def say_seq(self, rest: bytes) -> None:
        self.key = None
        self.collector.forget_unused()
        if not self.authorized:
            raise Rejected("token")
        if self.source_name is None:
            raise Rejected("sequence")
        parts = [part for part in rest.replace(b"\t", b" ").split(b" ") if part]
        if len(parts) not in (1, 2) or len(parts[0]) > 18 or not all(48 <= byte <= 57 for byte in parts[0]):
            raise Rejected("sequence")
        number, sender = parts[0], utf8(parts[1]) if len(parts) == 2 else ""
        sender = "" if sender == "-" else sender
        if len(sender.encode()) > 64 or not sender.isprintable():
            raise Rejected("sequence")
        key = self.source_name, sender
        awaited = self.collector.awaited.get(key, self.collector.kept.get(key, int(number)))
        self.collector.lost += max(0, int(number) - awaited)
        self.key, self.number = key, int(number)
        self.collector.awaited[key] = awaited
        self.collector.advance(key, max(awaited, int(number)))

    def say_columns(self, rest: bytes) -> None:
        self.forget_columns()
        self.rows_came = False
        names, units = [], []
        for token in [utf8(part) for part in rest.replace(b"\t", b" ").split(b" ") if part]:
            name, _, unit = token.partition(":")
            if name == "" or has_control(token) or name in names:
                raise Rejected("name")
            names.append(name)
            units.append(unit)
        if names in ([], ["time"]):
            raise Rejected("name")
        if "time" in names:
            self.time_at = names.index("time")
            del names[self.time_at], units[self.time_at]
        self.names, self.units, self.width = names, units, len(names)

    def forget_columns(self) -> None:
        self.names, self.units, self.width, self.time_at = None, [], None, None


def utf8(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise Rejected("text") from None


def holds(line: bytes, word: bytes) -> bool:
    return word + b" " in line or word + b"\t" in line


def opens_otherwise(line: bytes) -> bool:
    """Whether a connection that starts so speaks HTTP or TLS: a request line, or a handshake record."""
    if line[:2] == b"\x16\x03":
        return True
    parts = line.split(b" ")
    if len(parts) < 3:
        return False
    method, target, version = parts[:3]
    is_method = 3 <= len(method) <= 10 and all(65 <= byte <= 90 for byte in method)
    is_target = target != b"" and not any(byte in b"\t\r\v\f" for byte in target)
    return is_method and is_target and version[:5] == b"HTTP/" and version[5:6].isdigit()
