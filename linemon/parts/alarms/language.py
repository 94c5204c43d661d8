"""The language of alarms: `value`, `only_if` and limits. Text in, trees of functions of a `Frame` out; no I/O.

    value = sum; sum = prod {("+"|"-") prod}; prod = atom {("*"|"/") atom}
    atom = NUMBER | "-" atom | "(" sum ")" | FUNC "(" [arg {"," arg}] ")"
    only_if = test {("and"|"or") test}; test = value OP value

Values are float64, (k, n) for k columns at n rows, or what broadcasts to it; nan = unknown. A test is two arrays of
bool: whether it holds, and whether that is known.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from linemon.errors import ConfigError
from linemon.patterns import OUTPUT
from linemon.sections import UNITS_S

if TYPE_CHECKING:
    from linemon.parts.alarms.windows import Frame

Values = Any  # float64, an array or one number
Flags = npt.NDArray[np.bool_]
TOKEN: Final = re.compile(
    r"\s*(?:(?P<span>\d+[smhdw])(?!\w)|(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(?!\w)"
    r"|(?P<name>[A-Za-z_]\w*)|'(?P<column>[^']+)'|(?P<sign><=|>=|==|!=|[<>+\-*/(),]))"
)
LIMIT: Final = re.compile(r"\s*(<=|>=|==|!=|<|>)\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*")
OPS: Final[dict[str, Callable[[Any, Any], Any]]] = {
    ">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le, "==": operator.eq, "!=": operator.ne,
}  # fmt: skip
REDUCED: Final = ("min", "max", "mean", "median", "sum", "count", "std", "change", "rate", "slope")
CLOCKS: Final = ("age", "overdue", "seen", "skew")
FUNCTIONS: Final = ("last", *REDUCED, "p", "eta", *CLOCKS)
DAY: Final = 86400 * 10**9
LONGEST: Final = 400 * DAY


class Limit(NamedTuple):
    """``> 90``."""

    op: str
    number: float

    @classmethod
    def parse(cls, text: str) -> Limit:
        """ConfigError if it is none."""
        if not (found := LIMIT.fullmatch(text)):
            raise ConfigError("expected a limit such as '> 90'; there are > >= < <= == !=, and numbers without units")
        return cls(found[1], float(found[2]))

    def holds(self, value: Values) -> Values:
        return OPS[self.op](value, self.number)

    def __str__(self) -> str:
        return f"{self.op} {self.number:g}"


@dataclass(frozen=True)
class Number:
    number: float

    def of(self, frame: Frame) -> Values:
        return np.float64(self.number)


@dataclass(frozen=True)
class Sign:
    """Two values, or one with a minus."""

    sign: str
    left: Value
    right: Value

    def of(self, frame: Frame) -> Values:
        left, right = self.left.of(frame), self.right.of(frame)
        if self.sign == "+":
            return left + right
        if self.sign == "-":
            return left - right
        if self.sign == "*":
            return left * right
        return np.where(right == 0, np.nan, left / right)


@dataclass(frozen=True)
class Larger:
    """``max`` or ``min`` of two values."""

    function: str
    left: Value
    right: Value

    def of(self, frame: Frame) -> Values:
        larger = np.maximum if self.function == "max" else np.minimum  # nan where one is
        return larger(self.left.of(frame), self.right.of(frame))


@dataclass(frozen=True)
class Window:
    """A function of the rows of (t - span, t]; span None: `last`. `number`: of ``p``, or the limit of ``eta``."""

    function: str
    span: int | None = None  # ns
    column: str | None = None  # None: the instance's own
    number: float = 0.0

    @property
    def of_task(self) -> str:
        """The task whose output its column is, as in ``'~normal:cpu.busy_pct.high'``; empty: it is the source's."""
        return (self.column or "")[1:].partition(":")[0] if (self.column or "").startswith(OUTPUT) else ""

    def of(self, frame: Frame) -> Values:
        return frame.window(self)


@dataclass(frozen=True)
class Clock:
    """``age``, ``overdue``, ``seen``, ``skew``: of the source, at the collector's clock."""

    function: str

    def of(self, frame: Frame) -> Values:
        return frame.clock(self.function)


Value = Number | Sign | Larger | Window | Clock


@dataclass(frozen=True)
class Test:
    """``value OP NUMBER``; of two values, their difference and 0."""

    value: Value
    limit: Limit

    def of(self, frame: Frame) -> tuple[Flags, Flags]:
        found = self.value.of(frame)
        return np.asarray(self.limit.holds(found)), found == found


@dataclass(frozen=True)
class Both:
    """Two tests; ``or`` where `is_or`. What is not known does not decide."""

    is_or: bool
    left: Test | Both
    right: Test | Both

    def of(self, frame: Frame) -> tuple[Flags, Flags]:
        (a, knows_a), (b, knows_b) = self.left.of(frame), self.right.of(frame)
        a, b = a & knows_a, b & knows_b
        if self.is_or:
            return a | b, (knows_a & knows_b) | a | b
        return a & b, (knows_a & knows_b) | (knows_a & ~a) | (knows_b & ~b)


Tests = Test | Both


def parse_value(text: str) -> Value:
    """ConfigError says what was found, and what was expected."""
    reader = _Reader(text)
    found = reader.sum()
    reader.end("a sign + - * /, or the end")
    return found


def parse_tests(text: str) -> Tests:
    """As `parse_value`, of `only_if` and `critical_if`."""
    reader = _Reader(text)
    found = reader.tests()
    reader.end("'and', 'or', or the end")
    return found


def parts(tree: Value | Tests) -> list[Value | Tests]:
    """A tree and all that is in it."""
    found: list[Value | Tests] = [tree]
    for name in ("left", "right", "value"):
        inner = getattr(tree, name, None)
        if inner is not None:
            found += parts(inner)
    return found


def windows(tree: Value | Tests | None) -> list[Window]:
    return [each for each in parts(tree) if isinstance(each, Window)] if tree else []


def asks_age(tree: Value) -> bool:
    """Whether it is judged by the clock."""
    return any(isinstance(each, Clock) and each.function != "seen" for each in parts(tree))


def unit_of(tree: Value, column: str) -> str:
    """The unit of a value, of its column's; empty of an expression of several."""
    if isinstance(tree, Clock):
        return "" if tree.function == "overdue" else "s"
    if not isinstance(tree, Window):
        return ""
    after = {"rate": "/s", "slope": "/h"}.get(tree.function)
    if after:
        return f"{column}{after}" if column else ""
    return {"eta": "h", "count": ""}.get(tree.function, column)


class _Reader:
    """Tokens of a text, one after the other."""

    def __init__(self, text: str) -> None:
        self.text, at = text, 0
        self.tokens: list[tuple[str | None, str]] = []
        while at < len(text.rstrip()):
            if not (found := TOKEN.match(text, at)):
                raise ConfigError(f"{text[at:].strip()[:30]!r} is nothing that the language has")
            self.tokens.append((found.lastgroup, found[found.lastgroup or 0]))
            at = found.end()
        self.at = 0

    def next(self) -> tuple[str | None, str]:
        return self.tokens[self.at] if self.at < len(self.tokens) else (None, "the end")

    def takes(self, *words: str) -> str | None:
        """The next token, if it is one of these."""
        kind, word = self.next()
        if kind in ("sign", "name") and word in words:
            self.at += 1
            return word
        return None

    def need(self, word: str) -> None:
        if not self.takes(word):
            raise self.error(repr(word))

    def end(self, expected: str) -> None:
        if self.at < len(self.tokens):
            raise self.error(expected)

    def error(self, expected: str) -> ConfigError:
        kind, word = self.next()
        return ConfigError(f"expected {expected}, not {word if kind is None else repr(word)}")

    def tests(self) -> Tests:
        """``and`` binds more than ``or``."""
        found = self.all_of()
        while self.takes("or"):
            found = Both(True, found, self.all_of())
        return found

    def all_of(self) -> Tests:
        found: Tests = self.test()
        while self.takes("and"):
            found = Both(False, found, self.test())
        return found

    def test(self) -> Test:
        value = self.sum()
        op = self.takes(*OPS)
        if not op:
            raise self.error("a test such as '> 90' after a value")
        right = self.sum()
        if isinstance(right, Number):
            return Test(value, Limit(op, right.number))
        if isinstance(right, Sign) and right.left == Number(-1.0) and isinstance(right.right, Number):
            return Test(value, Limit(op, -right.right.number))
        return Test(Sign("-", value, right), Limit(op, 0.0))

    def number(self) -> float:
        sign = -1.0 if self.takes("-") else 1.0
        kind, word = self.next()
        if kind != "number":
            raise self.error("a number")
        self.at += 1
        return sign * float(word)

    def sum(self) -> Value:
        found = self.product()
        while sign := self.takes("+", "-"):
            found = Sign(sign, found, self.product())
        return found

    def product(self) -> Value:
        found = self.atom()
        while sign := self.takes("*", "/"):
            found = Sign(sign, found, self.atom())
        return found

    def atom(self) -> Value:
        kind, word = self.next()
        if kind == "number":
            return Number(self.number())
        if self.takes("-"):
            return Sign("*", Number(-1.0), self.atom())
        if self.takes("("):
            found = self.sum()
            self.need(")")
            return found
        if kind != "name":
            raise self.error("a value such as last() or mean(5m)")
        self.at += 1
        if word not in FUNCTIONS:
            raise ConfigError(f"there is no function {word!r}; there are: {', '.join(FUNCTIONS)}")
        self.need("(")
        found = self.call(word)
        self.need(")")
        return found

    def call(self, name: str) -> Value:
        """What stands in the parentheses of a function."""
        kind, _ = self.next()
        if name in CLOCKS:
            return Clock(name)
        if name == "last":
            return Window(name, None, self.column() if kind == "column" else None)
        if name == "eta":
            return Window(name, 30 * 3600 * 10**9, number=self.number(), column=self.comma_column())
        if name in ("min", "max") and kind != "span":
            left = self.sum()
            self.need(",")
            return Larger(name, left, self.sum())
        number = 0.0
        if name == "p":
            number = self.number()
            if not 0 <= number <= 100:
                raise ConfigError(f"p({number:g}, ...): expected a percentage from 0 to 100")
            self.need(",")
        kind, word = self.next()
        if kind != "span":
            raise self.error(f"a span such as {name}({'95, ' if name == 'p' else ''}5m)")
        self.at += 1
        span = int(word[:-1]) * UNITS_S[word[-1]] * 10**9
        if not 0 < span <= LONGEST:
            raise ConfigError(f"{name}({word}): expected a span above 0, at most 400d")
        return Window(name, span, self.comma_column(), number)

    def comma_column(self) -> str | None:
        return self.column() if self.takes(",") else None

    def column(self) -> str:
        kind, word = self.next()
        if kind != "column":
            raise self.error("a column in quotes such as 'mem.used_pct'")
        self.at += 1
        if word.startswith(OUTPUT) and not all(word[1:].partition(":")):
            raise ConfigError(f"{word!r}: expected a task and a column, such as '~normal:cpu.busy_pct.high'")
        return word
