"""How the reference tells a line, and its points, pairs and JSON. See `tests/reference.py`."""

from __future__ import annotations

from dataclasses import dataclass

from tests.reference_words import (
    LARGEST_TIME,
    Rejected,
    Unclosed,
    column_name,
    is_a,
    is_blank,
    is_clock,
    is_digits,
    is_integer,
    is_name,
    iso,
    looks_like_number,
    number,
    piece,
    prometheus,
    remembered,
    source_name,
    time,
    tokens_of,
    with_clock,
    without_sign,
)

TRUE = ("t", "T", "true", "True", "TRUE")
FALSE = ("f", "F", "false", "False", "FALSE")


# -- how a line is told


@remembered
def first_token(line: str) -> str:
    """Up to a blank; those in the quotes of Prometheus's tags belong to the token."""
    for end in range(len(line), 0, -1):
        if (end == len(line) or is_blank(line[end])) and prometheus(line[:end]) is not None:
            return line[:end]
    return tokens_of(line)[0]


@remembered
def kind_of(line: str, in_rows: bool) -> str:
    """The first of the kinds that a line can be told to be; what is bad as that kind is bad."""
    first = first_token(line)
    if line[0] in "#{":
        return {"#": "directive", "{": "json"}[line[0]]
    _, at = piece(line, 0, "=,;{ \t")
    if line[at : at + 1] == "=":
        return "pairs"
    _, at = piece(line, 0, " \t")  # a blank with a backslash before it belongs to a measurement
    at = len(first) if prometheus(first) is not None else at
    while is_blank(line[at : at + 1]):
        at += 1
    _, at = piece(line, at, "= \t")
    if line[at : at + 1] == "=":
        return "influx"
    if first == "put" and len(tokens_of(line)) >= 4:
        return "put"
    return "metric" if is_name(first, in_rows) else "row"


# -- Influx


@dataclass
class Point:
    """One line of InfluxDB's line protocol."""

    source: str
    values: dict[str, float]
    strings: int
    time: int | None


@remembered
def influx(line: str, unit: int = 0) -> Point:
    """``measurement[,tag=value…] field=value[,field=value…] [time]``; a `unit` in ns asks for times in it."""
    measurement, at = piece(line, 0, ", \t")
    if measurement == "":
        raise Rejected("syntax")
    tags: list[tuple[str, str]] = []
    while line[at : at + 1] == ",":
        key, at = piece(line, at + 1, ",= \t")
        if key == "" or line[at : at + 1] != "=":
            raise Rejected("syntax")
        value, at = piece(line, at + 1, ",= \t")
        if line[at : at + 1] == "=":
            raise Rejected("syntax")
        if value != "":
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
            token = line[at + 1 : end]
            if token[-1] == "t" and is_digits(token[:-1]):
                strings += 1  # QuestDB's time
            else:
                numeric.append((key, token))
            at = end
        more = line[at : at + 1] == ","
        at += more
    if at < len(line) and not is_blank(line[at]):
        raise Rejected("syntax")
    rest = with_clock(tokens_of(line[at:]), 0)
    if len(rest) > 1:
        raise Rejected("syntax")
    read = [(key, field_value(token)) for key, token in numeric]
    values = {key: value for key, value in read if key != "time"}  # of two of one name the last one counts
    strings += len(read) - len([key for key, _ in read if key != "time"])
    if not values:
        raise Rejected("fields")
    if not is_measurement(measurement) or len({key for key, _ in tags}) < len(tags):
        raise Rejected("name")
    for key in values:
        column_name(key)
    source = source_name(",".join([measurement, *(f"{key}={value}" for key, value in sorted(tags))]))
    when = None if not rest else time_in(unit, rest[0]) if unit else time(rest[0])
    return Point(source, values, strings, when)


def time_in(unit: int, token: str) -> int:
    """Nanoseconds of a whole number of units."""
    if not is_integer(token) or not 0 <= whole(token) * unit <= LARGEST_TIME:
        raise Rejected("time")
    return whole(token) * unit


def is_measurement(name: str) -> bool:
    """What is a number, a time or a clock stands before a point by mistake."""
    if name[:1] in ("#", "{", "[") or name.lower() in ("nan", "inf", "infinity"):
        return False
    return not is_a(number, name) and not looks_like_number(name) and not is_a(iso, name) and not is_clock(name)


@remembered
def stays_open(text: str) -> bool:
    """Whether this is the start of a point, up to somewhere in a quoted string."""
    try:
        influx(text)
    except Unclosed:
        return True
    except Rejected:
        pass
    return False


@remembered
def is_written_as_point(text: str) -> bool:
    """Whether its parts are those of a point, whatever its numbers and names are."""
    try:
        influx(text)
    except Rejected as why:
        return why.reason != "syntax"
    return True


def end_of_string(line: str, at: int) -> int:
    """Where a quoted string is over; a backslash takes the special meaning of the character after it."""
    while at < len(line):
        if line[at] == '"':
            return at + 1
        at += 2 if line[at] == "\\" else 1
    raise Unclosed("syntax")


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


# -- pairs and JSON


@dataclass
class Named:
    """A row with named columns."""

    values: dict[str, float]
    strings: int
    time: int | None


@remembered
def pairs(line: str) -> Named:
    """``NAME=NUMBER NAME=NUMBER``, with ``time=TIME`` among them."""
    values: dict[str, float] = {}
    at = None
    tokens = tokens_of(line)
    while tokens:
        name, equals, value = tokens.pop(0).partition("=")
        if equals == "":
            raise Rejected("syntax")
        if name == "time":
            value, *tokens = with_clock([value, *tokens], 0)
            at = time(value)
        else:
            values[column_name(name)] = number(value)
    if not values:
        raise Rejected("fields")
    return Named(values, 0, at)


class NumberText(str):
    """A JSON number as it is written."""


Json = NumberText | str | bool | None | list["Json"] | tuple[tuple[str, "Json"], ...]  # an object is a tuple of pairs


class JsonReader:
    """Reads one JSON value, and nothing after it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def whole(self) -> Json:
        try:
            value = self.value()
        except RecursionError:
            raise Rejected("syntax") from None
        self.skip_blanks()
        if self.at != len(self.text):
            raise Rejected("syntax")
        return value

    def skip_blanks(self) -> None:
        while self.text[self.at : self.at + 1] in (" ", "\t", "\r", "\n"):
            self.at += 1

    def take(self, expected: str) -> bool:
        if self.text[self.at : self.at + len(expected)] != expected:
            return False
        self.at += len(expected)
        return True

    def value(self) -> Json:
        self.skip_blanks()
        words: dict[str, Json] = {"true": True, "false": False, "null": None}
        for word in ("NaN", "Infinity", "-Infinity"):
            words[word] = NumberText(word)
        for word, meaning in words.items():
            if self.take(word):
                return meaning
        if self.take('"'):
            return self.string()
        if self.take("["):
            return self.items()
        if self.take("{"):
            return self.members()
        return self.number()

    def items(self) -> Json:
        found: list[Json] = []
        self.skip_blanks()
        if self.take("]"):
            return found
        while True:
            found.append(self.value())
            self.skip_blanks()
            if self.take("]"):
                return found
            if not self.take(","):
                raise Rejected("syntax")

    def members(self) -> Json:
        found: list[tuple[str, Json]] = []
        self.skip_blanks()
        if self.take("}"):
            return tuple(found)
        while True:
            self.skip_blanks()
            if not self.take('"'):
                raise Rejected("syntax")
            key = self.string()
            self.skip_blanks()
            if not self.take(":"):
                raise Rejected("syntax")
            found.append((key, self.value()))
            self.skip_blanks()
            if self.take("}"):
                return tuple(found)
            if not self.take(","):
                raise Rejected("syntax")

    def string(self) -> str:
        found = ""
        while self.at < len(self.text):
            char = self.text[self.at]
            self.at += 1
            if char == '"':
                return found
            if char < " ":
                break
            found += self.escaped() if char == "\\" else char
        raise Rejected("syntax")

    def escaped(self) -> str:
        char = self.text[self.at : self.at + 1]
        self.at += 1
        if char == "u":
            code = self.hexadecimal()
            if 0xD800 <= code < 0xDC00 and self.text[self.at : self.at + 2] == "\\u":
                before = self.at
                self.at += 2
                low = self.hexadecimal()
                if 0xDC00 <= low < 0xE000:
                    return chr(0x10000 + (code - 0xD800) * 1024 + low - 0xDC00)
                self.at = before
            return chr(code)
        plain = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
        if char not in plain:
            raise Rejected("syntax")
        return plain[char]

    def hexadecimal(self) -> int:
        digits = self.text[self.at : self.at + 4]
        if len(digits) != 4 or any(char not in "0123456789abcdefABCDEF" for char in digits):
            raise Rejected("syntax")
        self.at += 4
        return int(digits, 16)

    def number(self) -> NumberText:
        start = self.at
        self.take("-")
        if not self.take("0") and not self.digits():
            raise Rejected("syntax")
        for point in (".", "e", "E"):
            before = self.at
            if point in "eE" and any(char in self.text[start : self.at] for char in "eE"):
                break
            if self.take(point):
                if point != ".":
                    self.take("+") or self.take("-")
                if not self.digits():
                    self.at = before  # what is behind the number is no part of it
        return NumberText(self.text[start : self.at])

    def digits(self) -> bool:
        start = self.at
        while is_digits(self.text[self.at : self.at + 1]):
            self.at += 1
        return self.at > start


@remembered
def json_line(line: str) -> Named:
    """An object: its numbers and booleans, each with the names of what it is in."""
    document = JsonReader(line).whole()
    assert isinstance(document, tuple)
    keys = [key for key, _ in document]
    time_key = next((key for key in ("time", "ts", "timestamp") if key in keys), None)
    row = Named({}, 0, None)
    for key, value in document:
        if key != time_key:
            put_values(row, (key,), value)
    if not row.values:
        raise Rejected("fields")
    if time_key is not None:
        row.time = json_time([value for key, value in document if key == time_key][-1])
    return row


def put_values(row: Named, path: tuple[str, ...], value: Json) -> None:
    """The numbers of a value that stands there."""
    if isinstance(value, (bool, NumberText)):
        if len(path) > 8:
            raise Rejected("syntax")
        name = column_name(".".join(path))
        row.values[name] = float(value) if isinstance(value, bool) else number(str(value))
    elif isinstance(value, str):
        row.strings += 1
    elif isinstance(value, (list, tuple)) and len(path) > 100:
        raise Rejected("syntax")
    elif isinstance(value, list):
        for i, item in enumerate(value):
            put_values(row, (*path, str(i)), item)
    elif value is not None:
        for key, item in value:
            put_values(row, (*path, key), item)


def json_time(value: Json) -> int | None:
    if value is None:
        return None
    if isinstance(value, str):  # a number, too
        tokens = with_clock(tokens_of(value), 0)
        if len(tokens) == 1:
            return time(tokens[0])
    raise Rejected("time")
