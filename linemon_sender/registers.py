"""Modbus registers: where a value lies, and what its words mean."""

from __future__ import annotations

import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

# What a number of a register stands for, as in manuals, with four digits behind the table's or five.
TABLES = {"coil": "0", "discrete": "1", "input": "3", "holding": "4"}
TYPES = {"int16": "h", "uint16": "H", "int32": "i", "uint32": "I", "float32": "f", "int64": "q", "uint64": "Q"}
TYPES.update({"float64": "d", "bool": "?"})
BITS = ("coil", "discrete")
TOGETHER = 125  # registers in one question, at most


class Register:
    """A value in one of the four tables."""

    def __init__(self, said: object, kind: object = "uint16", words: object = "big") -> None:
        """`said`: 40001, or "holding:0". ValueError, with the key."""
        if kind not in TYPES:
            raise ValueError(f"type = {kind!r}: expected {', '.join(TYPES)}")
        if words not in ("big", "little"):
            raise ValueError(f"words = {words!r}: expected big, little")
        self.table, self.first = _place(said)
        if self.table in BITS:
            kind = "bool"
        self._format, self._is_big = TYPES[str(kind)], words == "big"
        self.count = 1 if kind == "bool" else struct.calcsize(f">{self._format}") // 2
        if self.first + self.count > 65536:
            raise ValueError(f"register = {said!r}: there are 65536 registers")

    def value(self, words: Sequence[int]) -> float:
        """Of its registers' words, or its one bit."""
        if self._format == "?":
            return float(bool(words[0]))
        ordered = words if self._is_big else words[::-1]
        return float(struct.unpack(f">{self._format}", struct.pack(f">{len(ordered)}H", *ordered))[0])


def _place(said: object) -> tuple[str, int]:
    """The table, and the number within it from 0."""
    if isinstance(said, str):
        table, _, number = said.partition(":")
        if table in TABLES and number.isascii() and number.isdigit() and int(number) < 65536:
            return table, int(number)
    elif isinstance(said, int) and not isinstance(said, bool) and 0 < said < 500000:
        digits = str(said).zfill(5)
        number_of = {sign: table for table, sign in TABLES.items()}
        if digits[0] in number_of and 0 < int(digits[1:]) <= 65536:
            return number_of[digits[0]], int(digits[1:]) - 1
    raise ValueError(
        f"register = {said!r}: expected a number such as 40001, or 'holding:0' (coil, discrete, input, holding)"
    )


def together(registers: Sequence[Register]) -> list[list[Register]]:
    """Which can be asked for at once: those that follow one another without a gap."""
    joined: list[list[Register]] = []
    for each in sorted(registers, key=lambda each: (each.table, each.first)):
        last = joined[-1] if joined else []
        follows = last and last[0].table == each.table and each.first <= max([r.first + r.count for r in last])
        if follows and each.first + each.count - last[0].first <= TOGETHER:
            last.append(each)
        else:
            joined.append([each])
    return joined
