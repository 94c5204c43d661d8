"""Columns as lines name them."""

from __future__ import annotations


def columns_line(columns: dict[str, str]) -> bytes:
    """The `#columns` line of these names and their units, `time` first; without a newline."""
    return " ".join(["#columns time", *[f"{name}:{unit}" if unit else name for name, unit in columns.items()]]).encode()


def first_tokens(line: bytes, count: int) -> bytes:
    """Of a line, so many of its words."""
    return b" ".join(line.split(b" ", count)[:count])
