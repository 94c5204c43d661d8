"""Rows as PostgreSQL's binary COPY has them, all at once, and back. Pure functions of arrays.

A row is ``source int4, time timestamptz, v float8[]``. All rows of one width are of one length, so that a block of them
is an array of records, with most fields always the same. PostgreSQL's manual has the format, at COPY; that of an array
is in its array_recv.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final

import numpy as np

from linemon.errors import StoreError
from linemon.store.ring import Cells, Floats

SIGNATURE: Final = b"PGCOPY\n\xff\r\n\0"
HEADER: Final = SIGNATURE + bytes(8)  # no flags, no extension
TRAILER: Final = b"\xff\xff"
EPOCH_US: Final = 946_684_800_000_000  # 2000-01-01, where PostgreSQL's time begins
FLOAT8: Final = 701  # the type's number, in every PostgreSQL
AT_DIM: Final = 38  # where in a row it says how many values there are
PIECE: Final = 4096  # rows that are looked at together
FIXED: Final = {"fields": 3, "source_size": 4, "time_size": 8, "dims": 1, "has_null": 0, "type": FLOAT8, "first": 1}


@lru_cache(maxsize=64)
def layout(width: int) -> np.dtype[Any]:
    """A row with `width` values."""
    names = ("fields", "source_size", "source", "time_size", "time", "size", "dims", "has_null", "type", "dim", "first")
    kinds = {"fields": ">i2", "time": ">i8"}
    value = np.dtype([("size", ">i4"), ("is", ">f8")])
    return np.dtype([*((name, kinds.get(name, ">i4")) for name in names), ("v", value, (width,))])


def encode(source: int, times: Cells, values: Floats) -> memoryview:
    """Rows of a source, without header and trailer: times (n,) int64 ns, which are cut to whole µs, values (n, k)."""
    width = values.shape[1]
    record = layout(width)
    pattern = np.zeros(1, record)
    for name, always in FIXED.items():
        pattern[name] = always
    pattern["source"], pattern["dim"], pattern["size"] = source, width, 20 + 12 * width
    pattern["v"]["size"] = 8
    rows = np.repeat(pattern, len(times))
    rows["time"] = times // 1000 - EPOCH_US
    rows["v"]["is"] = values
    return rows.view(np.uint8).data


def decode(data: bytes) -> Iterator[tuple[Cells, Floats]]:
    """Times (n,) int64 ns and values (n, k) of whole rows, with the trailer or without: one pair a run of one width.

    StoreError where they are not as `encode` writes them.
    """
    at = 0
    while len(data) - at > len(TRAILER):
        width, left = int.from_bytes(data[at + AT_DIM : at + AT_DIM + 4]), len(data) - at
        count = min(PIECE, left // (AT_DIM + 8 + 12 * width))
        rows = np.frombuffer(data, layout(width if count else 0), count, at)
        always = {**FIXED, "size": 20 + 12 * width}
        if not count or any(rows[name][0] != value for name, value in always.items()):
            raise StoreError("the archive has rows that linemon did not write")
        differs = np.flatnonzero(rows["size"] != always["size"])
        rows = rows[: differs[0]] if len(differs) else rows
        yield (rows["time"].astype(np.int64) + EPOCH_US) * 1000, rows["v"]["is"].astype(np.float64)
        at += rows.nbytes
