"""What kind a line is, and what its name says: metrics, `put` lines, tags. No I/O, no clock."""

from __future__ import annotations

import re
from enum import Enum
from typing import Final, NamedTuple

from linemon import when
from linemon.errors import LineError, show
from linemon.lines import wire
from linemon.lines.hints import hint

EQUALS, BRACE, SEMICOLON = b"={;"  # as numbers: to look for one in bytes is ten times as quick as for bytes
YEAR_2000: Final = when.YEAR_2000_S * 10**9


# How a line spells what it is about: a metric its name, with tags and all, a `put` line its name and its tags.
Head = bytes | tuple[bytes, ...]


class Kind(Enum):
    """How a line is told; one that is bad as its kind is bad, and never tried as another."""

    ROW = "row"
    METRIC = "metric"
    PUT = "put"
    PAIRS = "pairs"
    JSON = "JSON"
    INFLUX = "influx"


# A backslash, or a row of them, takes the special meaning from an equals sign, a comma or a blank.
_ESCAPED: Final = rb"\\+[,= \t]|\\+(?![,= \t\\])"
PAIR_FIRST: Final = re.compile(rb"(?:[^\\=,;{ \t\n]++|" + _ESCAPED + rb")*+=")
_UNTIL_BLANK: Final = re.compile(rb"(?:[^\\ \t]++|" + _ESCAPED + rb")*+")
_EQUALS_NEXT: Final = re.compile(rb"[ \t]++(?:[^\\= \t]++|" + _ESCAPED + rb")*+=")
_UNTIL_TAGS: Final = re.compile(rb"[^;{]*")
_EXPONENT: Final = re.compile("[eE][0-9]*")

_LABEL: Final = rb'[^ \t"={},;]+="(?:[^"\\]|\\.)*"'
PROMETHEUS: Final = re.compile(
    rb"([^ \t{;]+)\{((?:" + _LABEL + rb"(?:," + _LABEL + rb")*,?)?)\}(?=[ \t]|\Z)", re.DOTALL
)
# Many metrics, in whose braces blanks may be.
LINES: Final = re.compile(rb"^([^ \t\n{]++(?:\{[^}\n]*+\})?) ([^ \t\n]++)(?: ([^ \t\n]++))?$", re.MULTILINE)
_LABELS: Final = re.compile(rb'([^ \t"={},;]+)="((?:[^"\\]|\\.)*)"', re.DOTALL)
_UNESCAPED: Final = {b"\\n": b"\n", b"\\\\": b"\\", b'\\"': b'"'}


# Most names of metrics: what `kind`, `is_name` and `metric_source` say of any name takes ten times as long to find out.
_PLAIN: Final = re.compile(
    rb"(?!(?:%b|%b)\Z)[a-z_][\w./%%-]{0,1000}" % (wire.MISSING.pattern, b"|".join(map(re.escape, wire.NO_VALUE))),
    re.IGNORECASE,
)


def kind(line: bytes, in_rows: bool) -> Kind:
    """How a line without blanks at its ends is told; `in_rows`: its connection has sent rows, or said `#columns`."""
    if line.startswith(b"{"):
        return Kind.JSON
    if EQUALS in line:
        if PAIR_FIRST.match(line):
            return Kind.PAIRS
        head = PROMETHEUS.match(line) if BRACE in line else None
        until = (head or _UNTIL_BLANK.match(line)).end()  # type: ignore[union-attr]
        if _EQUALS_NEXT.match(line, until):
            return Kind.INFLUX
    elif in_rows and line[0] in b"0123456789+-.":
        return Kind.ROW
    if line.startswith((b"put ", b"put\t")) and len(wire.tokens(line)) >= 4:
        return Kind.PUT
    return Kind.METRIC if is_name(first_token(line), in_rows) else Kind.ROW


def first_token(line: bytes) -> bytes:
    """Up to a blank; in the quotes of Prometheus's braces there may be some."""
    head = PROMETHEUS.match(line) if BRACE in line else None
    return head[0] if head else line.replace(b"\t", b" ").partition(b" ")[0]


def is_name(token: bytes, in_rows: bool) -> bool:
    """Whether a metric may be called so: a letter of any script or `_` first, or a digit and one of them later."""
    if not token or token.lower() in wire.NO_VALUE:
        return False
    base = _UNTIL_TAGS.match(token)[0]  # type: ignore[index]
    if base.endswith((b":", b"=")) or wire.MISSING.fullmatch(token):
        return False
    try:
        text = base.decode()
    except UnicodeDecodeError:
        return False
    if _begins(text):
        return True
    if in_rows or not base[:1].isdigit() or when.NUMBER.fullmatch(token):
        return False
    return any(_begins(part) and not _EXPONENT.fullmatch(part) for part in text.split(".")[1:])


def _begins(text: str) -> bool:
    return text[:1].isalpha() or text[:1] == "_"


def metric_source(token: bytes) -> str:
    """The source that a metric's NAME says. LineError `name` if it cannot be one."""
    if SEMICOLON not in token and BRACE not in token:
        return wire.source_name(wire.text(token))
    if match := PROMETHEUS.fullmatch(token):
        labels = [
            (key, re.sub(rb"\\.", _unescaped, value, flags=re.DOTALL)) for key, value in _LABELS.findall(match[2])
        ]
        for key, value in labels:
            if b";" in value or b"=" in value:
                raise LineError(
                    "name", f"the value of {key.decode()} in {show(token)} holds a semicolon or equals sign"
                )
        return _tagged(match[1], labels)
    base, *texts = token.split(b";")
    return _tagged(base, [(key, value) for key, _, value in (text.partition(b"=") for text in texts)])


def source_of(head: Head, in_rows: bool) -> str:
    """The source of lines spelled so. LineError `name` if they are other lines, or it cannot be one."""
    if isinstance(head, bytes) and _PLAIN.fullmatch(head):
        return head.decode()
    wire.text(head if isinstance(head, bytes) else b" ".join(head))  # also what is left out
    if isinstance(head, bytes):
        if kind(head + b" 0", in_rows) is not Kind.METRIC or first_token(head + b" 0") != head:
            raise LineError("name", f"{show(head)} is not a name")
        return metric_source(head)
    line = b" ".join([b"put", head[0], b"-1", b"0", *head[1:]])
    if kind(line, in_rows) is not Kind.PUT:
        raise LineError("name", f"{show(head[0])} is not a name")
    return put(line).source


def _unescaped(match: re.Match[bytes]) -> bytes:
    return _UNESCAPED.get(match[0], match[0])


def _tagged(base: bytes, tags: list[tuple[bytes, bytes]]) -> str:
    """The name with its tags sorted by key: empty ones are left out, the last of two of a key counts."""
    kept = {key: value for key, value in tags if key and value}
    return wire.source_name(wire.text(b";".join([base, *(key + b"=" + kept[key] for key in sorted(kept))])))


class Metric(NamedTuple):
    """What a metric or `put` line says; `time` in ns, None for now."""

    source: str
    value: float
    time: int | None


def metric(line: bytes) -> Metric:
    """``NAME VALUE [TIME]``. LineError `tokens`, `number`, `time` or `name` if it is not that."""
    name = first_token(line)
    rest = when.with_clock(wire.tokens(line[len(name) :]), 1)
    if len(rest) not in (1, 2):
        raise LineError("tokens", _not_a_metric(name, 1 + len(rest)))
    value = wire.number(rest[0])
    time = _recent(rest[1], rest[0]) if len(rest) == 2 else None
    return Metric(metric_source(name), value, time)


def _not_a_metric(name: bytes, tokens: int) -> str:
    said = f"a metric is NAME VALUE [TIME], not {tokens} token{'s' if tokens > 1 else ''}"
    return said + (hint(name) if tokens == 1 else "")


def put(line: bytes) -> Metric:
    """``put NAME TIME VALUE [KEY=VALUE]…``. LineError as for `metric`, and `syntax` for a tag that is none."""
    _, name, *rest = when.with_clock(wire.tokens(line), 2)
    if len(rest) < 2:
        raise LineError("tokens", "an OpenTSDB line is put NAME TIME VALUE [KEY=VALUE]…, a metric NAME VALUE [TIME]")
    time = _recent(rest[0], rest[1])
    value = wire.number(rest[1])
    if not is_name(name, in_rows=False) or b";" in name or b"{" in name:
        raise LineError("name", f"{show(name)} is not a name: a letter or _ first, tags at the end as KEY=VALUE")
    tags = []
    for token in rest[2:]:
        key, equals, tag = token.partition(b"=")
        if not equals or not key:
            raise LineError("syntax", f"{show(token)} is not a tag KEY=VALUE")
        if b";" in token or b"=" in tag:
            raise LineError("name", f"the tag {show(token)} holds a semicolon or a second equals sign")
        tags.append((key, tag))
    return Metric(_tagged(name, tags), value, time)


def _recent(token: bytes, value: bytes) -> int | None:
    """The time of a metric. LineError `time` if it is none, or before 2000: then something else was meant."""
    time = when.time_ns(token)
    if time is not None and time < YEAR_2000:
        swapped = when.NUMBER.fullmatch(value) and float(value) >= YEAR_2000 / 1e9
        raise LineError(
            "time",
            f"{show(token)} as a time lies before 2000: "
            + ("the value comes before the time, NAME VALUE TIME" if swapped else
               "is it a second value? A row of several is #source NAME, and the numbers alone"),
        )  # fmt: skip
    return time
