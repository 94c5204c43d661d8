"""Lines that come in one piece which has an end: the body of a request, a datagram. No I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from linemon import when
from linemon.errors import LineError, show
from linemon.lines import bulk, wire
from linemon.store.ring import Ints
from linemon.when import INT64_MAX

MAX_FAULTS: Final = 10  # that are told
NOT_HERE: Final = (b"#seq", b"#acks", b"#device", b"#is", b"#spec")  # directives that need a connection that goes on


class Body:
    """What is taken of such lines, and what was wrong with them.

    `has_points`: Influx points are taken and nothing else, and what begins with `#` is a comment. `unit`: their times
    are whole numbers of so many ns; 0: the unit is told by magnitude. `names_source`: rows go nowhere without #source.
    """

    def __init__(self, *, has_points: bool = False, unit: int = 0, names_source: bool = False) -> None:
        self.has_points = has_points
        self.unit = unit
        self.names_source = names_source
        self.rejected: Counter[str] = Counter()  # lines, and directives that were refused, by reason
        self.faults: list[tuple[int, LineError]] = []  # the first of these, and their lines

    def hear(self, number: int, error: LineError) -> None:
        """Something is wrong with the line `number`."""
        if error.reason == "comment":
            return
        self.rejected[error.reason] += 1
        if not (self.has_points and error.reason == "fields"):  # a point of strings alone is nobody's fault
            self.faults = sorted([*self.faults, (number, error)], key=lambda fault: fault[0])[:MAX_FAULTS]

    def time_ns(self, token: bytes) -> int | None:
        """A point's time in ns, None for that of arrival. LineError `time` if it is none, or not in the unit."""
        if not self.unit:
            return when.time_ns(token)
        if when.INTEGER.fullmatch(token):
            exact = Decimal(token.decode())  # int() refuses more than 4,300 digits
            if 0 <= exact <= INT64_MAX // self.unit:
                return int(exact) * self.unit
        raise LineError("time", f"{show(token)} is not a time in the precision that the request says")

    def times(self, tokens: Sequence[bytes], now: int) -> Ints | None:
        """The same of many; None if one of them is to be looked at."""
        if not self.unit:
            return wire.times(tokens, now)
        whole = bulk.integers(b",".join(tokens))
        if whole is None or len(whole) != len(tokens) or (whole < 0).any() or (whole > INT64_MAX // self.unit).any():
            return None
        return whole * self.unit
