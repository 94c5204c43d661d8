"""The words of the reference: tokens, numbers, times, names. See `tests/reference.py`."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from datetime import date
from fractions import Fraction
from functools import wraps
from typing import Any, ParamSpec, TypeVar

LARGEST_TIME = 2**63 - 1
MISSING = float("nan")


class Rejected(Exception):
    """A line is not taken; the reason is one of `linemon.errors.REASONS`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Unclosed(Rejected):
    """A quoted string goes on beyond the line."""


Asked = ParamSpec("Asked")
Said = TypeVar("Said")
MOST_REMEMBERED = 50_000


def remembered(function: Callable[Asked, Said]) -> Callable[Asked, Said]:
    """What a function of texts said of them, or why it did not: who tries millions of inputs asks the same again.

    Nobody may change what it returns.
    """
    known: dict[Any, tuple[Any, Rejected | None]] = {}

    @wraps(function)
    def ask(*args: Asked.args, **named: Asked.kwargs) -> Said:
        key = (args, *named.items()) if named else args
        if key not in known:
            if len(known) >= MOST_REMEMBERED:
                known.clear()
            try:
                known[key] = function(*args, **named), None
            except Rejected as why:
                known[key] = None, why.with_traceback(None)  # which would keep whole connections
        said, why_not = known[key]
        if why_not is not None:
            raise type(why_not)(why_not.reason)
        return said  # type: ignore[no-any-return]

    return ask


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


@remembered
def number(token: str) -> float:
    """The double that a token says; a ring holds no infinities, so they are missing values too."""
    if without_sign(token).lower() in ("nan", "inf", "infinity"):
        return MISSING
    if not looks_like_number(token):
        raise Rejected("number")
    value = float(token)
    if value in (float("inf"), float("-inf")):
        raise Rejected("number")
    if is_integer(token) and value == 0:
        return 0.0  # a whole number has no sign at zero
    return value


NO_VALUE = ("na", "n/a", "null", "none", "-")


def row_number(token: str) -> float:
    """In a row some words say that there is no value."""
    return MISSING if token.lower() in NO_VALUE else number(token)


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
    token = token.replace("t", "T").replace("z", "Z")
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
    if hour > 23 or minute > 59 or second > 60:  # 60 is the first second of the minute after
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


def is_date(token: str) -> bool:
    """``YYYY-MM-DD``, whatever the digits say."""
    return [len(part) for part in token.split("-") if is_digits(part)] == [4, 2, 2] and len(token) == 10


def is_clock(token: str) -> bool:
    """``HH:MM[:SS[.digits]]`` and perhaps a zone, whatever the digits say."""
    is_utc = token[-1:] in ("Z", "z")
    if is_utc:
        token = token[:-1]
    for sign in ("+", "-"):
        if sign in token and not is_utc:
            token, zone = token.split(sign, 1)
            parts = zone.split(":")
            lengths = [len(part) for part in parts if is_digits(part)]
            if len(parts) != len(lengths) or lengths not in ([2], [4], [2, 2]):
                return False
            break
    parts = token.split(":")
    if len(parts) == 3 and "." in parts[2]:
        parts[2], fraction = parts[2].split(".", 1)
        if not is_digits(fraction):
            return False
    return len(parts) in (2, 3) and all(len(part) == 2 and is_digits(part) for part in parts)


def with_clock(tokens: list[str], at: int) -> list[str]:
    """The tokens, with a date at this place and a clock behind it as one time."""
    if at + 1 < len(tokens) and is_date(tokens[at]) and is_clock(tokens[at + 1]):
        return [*tokens[:at], tokens[at] + "T" + tokens[at + 1], *tokens[at + 2 :]]
    return tokens


@remembered
def time(token: str) -> int | None:
    """Nanoseconds since the epoch, None for the time of arrival."""
    ns = epoch(token) if looks_like_number(token) else iso(token)
    if ns is not None and not 0 <= ns <= LARGEST_TIME:
        raise Rejected("time")
    return ns


def recent_time(token: str) -> int | None:
    """The time of a metric: before 2000 it is a second value, or the two are the wrong way round."""
    ns = time(token)
    if ns is not None and ns < day_of("2000", "-", "01", "-", "01") * 86400 * 10**9:
        raise Rejected("time")
    return ns


def is_moment(token: str) -> bool:
    """What can be meant as a time only, where a word might stand."""
    if looks_like_number(token):
        return float(token) == -1 or float(token) >= 946684800
    return is_a(iso, token)


def marked(text: str) -> tuple[int | None, str]:
    """The time that a mark may begin with, as one token or as a date and a clock, and the text behind it."""
    tokens = tokens_of(text)
    for count in (2, 1):
        joined = with_clock(tokens[:count], 0)
        if len(tokens) >= count and len(joined) == 1 and is_moment(joined[0]):
            for _ in range(count):
                while text[:1] not in ("", " ", "\t"):
                    text = text[1:]
                text = text.lstrip(" \t")
            return time(joined[0]), text
    return None, text


# -- names


def has_control(text: str) -> bool:
    return any(unicodedata.category(char) == "Cc" for char in text)


def source_name(name: str) -> str:
    if not 1 <= len(name.encode()) <= 1024 or has_control(name):
        raise Rejected("name")
    return name


@remembered
def column_name(name: str) -> str:
    try:
        length = len(name.encode())
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can say
        raise Rejected("name") from None
    if not 1 <= length <= 255 or has_control(name):
        raise Rejected("name")
    return name


def is_a(what: Callable[[Any], object], token: str | bytes) -> bool:
    """Whether a token is taken for that."""
    try:
        what(token)
    except Rejected:
        return False
    return True


def starts_as_name(text: str) -> bool:
    return text[:1] == "_" or (text != "" and unicodedata.category(text[0]).startswith("L"))


@remembered
def is_name(name: str, in_rows: bool) -> bool:
    """Whether a metric may be called so; what may not is the start of a row."""
    base = name.split(";")[0].split("{")[0]
    if base[-1:] in (":", "=") or name.lower() in NO_VALUE:
        return False
    if name.lower() in ("nan", "inf", "infinity") or looks_like_number(name) or is_a(iso, name):
        return False
    if starts_as_name(base):
        return True
    if in_rows or base[:1] not in tuple("0123456789"):
        return False
    for part in base.split(".")[1:]:
        is_exponent = part[:1] in ("e", "E") and (part[1:] == "" or is_digits(part[1:]))
        if starts_as_name(part) and not is_exponent:
            return True
    return False


def with_tags(name: str, tags: list[tuple[str, str]]) -> str:
    """The name of a source: the tags sorted by the bytes of their keys, the last of two equal ones."""
    tags = [(key, value) for key, value in tags if key != "" and value != ""]
    kept = {key.encode(): value for key, value in tags}
    return source_name(";".join([name, *(f"{key.decode()}={kept[key]}" for key in sorted(kept))]))


@remembered
def metric_name(name: str) -> str:
    """The source of a metric called so: ``name;k=v`` or Prometheus's ``name{k="v"}``."""
    found = prometheus(name)
    if found is not None:
        base, tags = found
        if any(char in value for _, value in tags for char in (";", "=")):
            raise Rejected("name")
        return with_tags(base, tags)
    base, *texts = name.split(";")
    return with_tags(base, [split_once(text, "=") for text in texts])


def split_once(text: str, at: str) -> tuple[str, str]:
    before, _, after = text.partition(at)
    return before, after


@remembered
def prometheus(text: str) -> tuple[str, list[tuple[str, str]]] | None:
    """The name and the tags of ``name{key="value",…}``; None if the text is not that."""
    base, at = "", 0
    while at < len(text) and text[at] not in (" ", "\t", "{", ";"):
        base += text[at]
        at += 1
    if base == "" or text[at : at + 1] != "{" or text[-1] != "}":
        return None
    tags = []
    at += 1
    while at < len(text) - 1:
        key = ""
        while at < len(text) and text[at] not in ' \t"={},;':
            key += text[at]
            at += 1
        if key == "" or text[at : at + 2] != '="':
            return None
        at += 2
        value = ""
        while at < len(text) and text[at] != '"':
            if text[at] == "\\" and text[at + 1 : at + 2] != "":
                char = text[at + 1]
                value += {"n": "\n", "\\": "\\", '"': '"'}.get(char, "\\" + char)
                at += 2
            else:
                value += text[at]
                at += 1
        if text[at : at + 1] != '"':
            return None
        at += 1
        tags.append((key, value))
        if text[at : at + 1] == ",":
            at += 1
        elif at != len(text) - 1:
            return None
    return (base, tags) if at == len(text) - 1 else None


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


def is_utf8(data: bytes) -> bool:
    return is_a(utf8, data)


def utf8(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise Rejected("text") from None
