"""Many numbers at once: by the C reader where it was built, else by numpy.

`_reader.c` reads whole lines, and hands back those that it is not sure of; `_reader.pyi` says what its functions take
and give. It is asked by those who know what the lines mean: `wire.rows` for one. Whatever it reads is what the code
here, and at last `wire.number`, makes of it, to the bit. Where there was no C compiler all goes this way, which takes
five times as long; ``LINEMON_READER=python`` in the environment asks for it.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from types import ModuleType
from typing import Final

import numpy as np

from linemon.store.ring import Floats, Ints

COMMAS: Final = bytes.maketrans(b" \t\n", b",,,")
NEWLINES: Final = bytes.maketrans(b" \t,", b"\n\n\n")
WHOLE_ZERO: Final = re.compile(rb"-0+")
INSTALLED_WITHIN_S: Final = 60.0  # files that are installed together come in any order
NOT_JSON: Final = (b",+", b",.", b",-.", b".,", b".e", b".E")  # in numbers of the line language between commas,
LEADING_ZERO: Final = re.compile(rb",-?0\d")  # and this


def _found() -> ModuleType | None:
    """The C reader; None if it is not there, not asked for, or older than its source, as after a pull."""
    if os.environ.get("LINEMON_READER") == "python":
        return None
    try:
        from linemon.lines import _reader
    except ImportError:
        return None
    built, source = Path(_reader.__file__), Path(__file__).with_name("_reader.c")
    is_old = source.exists() and source.stat().st_mtime > built.stat().st_mtime + INSTALLED_WITHIN_S
    return None if is_old else _reader


reader = _found()


def said() -> str:
    """Which reader there is, for a person."""
    if reader:
        return "lines are read in C"
    return (
        "lines are read in Python, a sixth as fast as in C: no C compiler, or no Python.h, was found when linemon was "
        "installed, the source has changed since, or LINEMON_READER=python is set"
    )


def numbers(block: bytes) -> Floats | None:
    """The doubles of tokens with one blank, comma or newline between each two; nan where they say so.

    None where one is no number, or overflows.
    """
    if reader:
        lines = block.translate(NEWLINES) + b"\n"
        values = np.empty(np.count_nonzero(np.frombuffer(lines, np.uint8) == 10))
        times = np.empty(len(values), np.int64)  # all lines have one
        return values if reader.alike(lines, b"\n\n", False, -1, 0, values, times) else None
    if block.translate(None, b"0123456789+-.eE, \t\nnaifyNAIFTY"):  # numpy strips more than blanks
        return None
    return plain_numbers(block)


def plain_numbers(block: bytes) -> Floats | None:
    """The same without the C reader, of a block that is known to hold no other characters than those of numbers."""
    if not block:
        return None
    commas = block.translate(COMMAS)
    try:
        values = np.loadtxt([commas.decode()], delimiter=",", comments=None, ndmin=1)
    except ValueError:
        return None
    odd = np.flatnonzero(((values == 0) & np.signbit(values)) | np.isinf(values)).tolist()
    tokens = commas.split(b",") if odd else []
    for at in odd:
        if values[at]:
            if not tokens[at][-1:].isalpha():
                return None
            values[at] = np.nan  # a ring holds no infinities
        elif WHOLE_ZERO.fullmatch(tokens[at]):
            values[at] = 0.0  # the whole number zero has no sign
    return values


def json_numbers(block: bytes) -> Floats | None:
    """The doubles of numbers with commas between; None where one overflows, or is not JSON's."""
    between = b"," + block + b","
    if (
        block.translate(None, b"0123456789+-.eE,")
        or any(each in between for each in NOT_JSON)
        or LEADING_ZERO.search(between)
    ):
        return None
    return numbers(block)


def integers(block: bytes) -> Ints | None:
    """The whole numbers of tokens between which is what may be in `numbers`; None if one is none, or beyond 64 bits."""
    if not block or block.translate(None, b"0123456789-, \t\n"):
        return None
    try:
        return np.loadtxt([block.translate(COMMAS).decode()], np.int64, delimiter=",", comments=None, ndmin=1)
    except ValueError:
        return None
