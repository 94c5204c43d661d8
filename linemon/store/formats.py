"""Rows as CSV, JSON lines or Parquet."""

from __future__ import annotations

import csv
import io
import json
import math
import sys
from collections.abc import Callable
from typing import BinaryIO

import numpy as np

from linemon.errors import LinemonError
from linemon.store.rows import Rows
from linemon.when import iso


def write_csv(rows: Rows, out: BinaryIO) -> None:
    """A header ``time,<column>,…``, then a line a row; missing values are empty."""
    text = io.TextIOWrapper(out, encoding="utf-8", newline="", write_through=True)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["time", *rows.columns])
    for time, values in zip(iso(rows.time), rows.values.tolist(), strict=True):
        writer.writerow([time, *("" if math.isnan(value) else repr(value) for value in values)])
    text.detach()


def write_jsonl(rows: Rows, out: BinaryIO) -> None:
    """An object a row: `time` and the columns; missing values are null."""
    for time, values in zip(iso(rows.time), rows.values.tolist(), strict=True):
        row = {"time": time} | {
            name: None if math.isnan(value) else value for name, value in zip(rows.columns, values, strict=True)
        }
        out.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")


def write_parquet(rows: Rows, out: BinaryIO) -> None:
    """One table; the time is a UTC timestamp in nanoseconds, the units are in the columns' metadata."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise LinemonError(f"parquet needs pyarrow: {sys.executable} -m pip install pyarrow") from None
    fields = [pa.field("time", pa.timestamp("ns", tz="UTC"))]
    fields += [
        pa.field(name, pa.float64(), metadata={"unit": unit} if unit else None)
        for name, unit in zip(rows.columns, rows.units, strict=True)
    ]
    arrays = [pa.array(np.ascontiguousarray(rows.time)).cast(fields[0].type)]
    arrays += [pa.array(np.ascontiguousarray(column), from_pandas=True) for column in rows.values.T]
    pq.write_table(pa.Table.from_arrays(arrays, schema=pa.schema(fields)), out)


FORMATS: dict[str, Callable[[Rows, BinaryIO], None]] = {
    "csv": write_csv,
    "jsonl": write_jsonl,
    "parquet": write_parquet,
}
