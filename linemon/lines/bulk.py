"""Many numbers at once: pysimdjson where it is installed, else the standard library.

Both give the same doubles and whole numbers for what they take, to the bit; the standard library takes more of the
line language (`+1`, `.5`, `5.`, `01`), and five times as long. ``LINEMON_READER=python`` in the environment asks for
it. Only what holds nothing but characters of numbers and one separator between each two may come here.
"""

from __future__ import annotations

import importlib
import os
import re
from typing import Any, Final

import numpy as np
import numpy.typing as npt

COMMAS: Final = bytes.maketrans(b" \t\n", b",,,")
WHOLE_ZERO: Final = re.compile(rb"-0+")
NOT_JSON: Final = (b",+", b",.", b",-.", b".,", b".e", b".E")  # in numbers of the line language between commas,
LEADING_ZERO: Final = re.compile(rb",-?0\d")  # and this


def _parser() -> Any:
    """The parser of pysimdjson; None if it is not there, or not asked for."""
    if os.environ.get("LINEMON_READER") == "python":
        return None
    try:
        return importlib.import_module("simdjson").Parser()
    except ImportError:
        return None


_PARSER: Final = _parser()
READER: Final = "python" if _PARSER is None else "simdjson"


def doubles(block: bytes) -> npt.NDArray[np.float64] | None:
    """The doubles of a block of numbers; None where one is none, overflows, or (pysimdjson) is not JSON's."""
    if _PARSER is not None:
        buffer = _buffer(block, "d")
        return None if buffer is None else np.frombuffer(buffer, np.float64)
    tokens = block.translate(COMMAS).split(b",")
    try:
        values = np.array(list(map(float, tokens)))
    except ValueError:
        return None
    if np.isinf(values).any():
        return None
    if b"-0" in block:  # the whole number zero has no sign
        for at in np.flatnonzero((values == 0) & np.signbit(values)).tolist():
            if WHOLE_ZERO.fullmatch(tokens[at]):
                values[at] = 0.0
    return values


def json_doubles(block: bytes) -> npt.NDArray[np.float64] | None:
    """The doubles of numbers with commas between; None where one overflows, or is not JSON's by either reader."""
    if block.translate(None, b"0123456789+-.eE,"):
        return None
    if _PARSER is None:
        between = b"," + block + b","
        if any(each in between for each in NOT_JSON) or LEADING_ZERO.search(between):
            return None
    return doubles(block)


def integers(block: bytes) -> npt.NDArray[np.int64] | None:
    """The whole numbers of a block; None where one is none, has more than 64 bits, or (pysimdjson) is not JSON's."""
    if _PARSER is not None:
        buffer = _buffer(block, "i")
        return None if buffer is None else np.frombuffer(buffer, np.int64)
    try:
        return np.array(list(map(int, block.translate(COMMAS).split(b","))), np.int64)
    except (ValueError, OverflowError):
        return None


def _buffer(block: bytes, of_type: str) -> memoryview | None:
    """The block as JSON's numbers, one after the other."""
    try:
        return memoryview(_PARSER.parse(b"[" + block.translate(COMMAS) + b"]").as_buffer(of_type=of_type))
    except (ValueError, TypeError, RuntimeError):  # the last for a whole number of more than 64 bits
        return None
