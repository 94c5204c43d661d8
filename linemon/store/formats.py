"""Rows as CSV, JSON lines or Parquet: one table, of one source or of several, of rows or of buckets."""

from __future__ import annotations

import csv
import io
import json
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from linemon.errors import LinemonError
from linemon.store.reader import Source
from linemon.store.ring import Cells, Floats
from linemon.store.rows import Rows
from linemon.store.window import Buckets, of_block

PIECE = 4096  # rows that are written at once
OF_A_BUCKET = "min", "max", "mean", "count"
Column = Floats | npt.NDArray[np.int64]


class Block(NamedTuple):
    """Some rows of a table: times (n,) int64 ns, the columns, each (n,), and whose rows they are where that is told."""

    time: Cells
    columns: Sequence[Column]
    sources: Sequence[str] | None = None


@dataclass
class Table:
    """What is written: `blocks` in the order of the rows. `digits` below the second are the same in all of them."""

    columns: Sequence[str]
    units: Sequence[str]
    digits: int
    blocks: Iterable[Block]
    has_sources: bool = False

    @property
    def header(self) -> list[str]:
        return ["time", *(["source"] if self.has_sources else []), *self.columns]


def iso_of(time: Cells, digits: int) -> list[str]:
    """ISO 8601 in UTC with `Z` and so many digits below the second, of int64 ns."""
    end = 20 + digits if digits else 19
    return [text[:end] + "Z" for text in np.datetime_as_string(time.view("datetime64[ns]"), unit="ns").tolist()]


def digits_of(time: Cells) -> int:
    """The fewest digits below the second that hold all these times, 0 to 9."""
    return next((n for n in range(9) if not (time % 10 ** (9 - n)).any()), 9)


# -- tables


def table_of(rows: Rows) -> Table:
    """The rows of one source."""
    time = rows.time.view(np.int64)
    blocks = [Block(time[i : i + PIECE], list(rows.values[i : i + PIECE].T)) for i in range(0, len(rows), PIECE)]
    return Table(rows.columns, rows.units, digits_of(time), blocks)


def table_of_all(found: Sequence[Rows]) -> Table:
    """The rows of several sources in time order; the columns are those of all, missing where a source lacks one."""
    columns = dict.fromkeys(column for rows in found for column in rows.columns)
    places = {column: i for i, column in enumerate(columns)}
    units = {column: unit for rows in found for column, unit in zip(rows.columns, rows.units, strict=True) if unit}
    lengths = [len(rows) for rows in found]
    time = np.concatenate([rows.time.view(np.int64) for rows in found])
    owners = np.repeat(np.arange(len(found)), lengths)
    numbers = np.concatenate([np.arange(length) for length in lengths])
    order = np.argsort(time, kind="stable")

    def blocks() -> Iterator[Block]:
        for i in range(0, len(order), PIECE):
            piece = order[i : i + PIECE]
            whose, values = owners[piece], np.full((len(places), len(piece)), np.nan)
            for owner in np.unique(whose).tolist():
                at = np.flatnonzero(whose == owner)
                into = np.array([places[column] for column in found[owner].columns])
                values[into[:, None], at] = found[owner].values[numbers[piece[at]]].T
            yield Block(time[piece], list(values), [found[owner].source for owner in whose.tolist()])

    return Table(list(columns), [units.get(column, "") for column in columns], digits_of(time), blocks(), True)


def in_buckets(rows: Rows, length: int) -> Table:
    """Buckets of so many ns, counted from the epoch; those without rows are left out. OverflowError beyond int64."""
    time = rows.time.view(np.int64)
    starts = np.unique(time // length) * length
    edges = np.append(starts, (int(starts[-1]) if len(starts) else 0) + length)
    block = np.column_stack([time, rows.values.view(np.int64)]) if len(rows) else np.empty((0, 1 + len(rows.columns)))
    return table_of_buckets(rows.columns, rows.units, starts, of_block(block.astype(np.int64, copy=False), edges))


def table_of_history(source: Source, begin: int, end: int, length: int, columns: Sequence[str]) -> Table:
    """The same of rows and history; longer ones where only those are left."""
    from linemon.store.levels import buckets_of  # which reads by what this module is about

    parts = list(buckets_of(source, begin, end, length))
    names, units = source.columns, source.units
    at = [names.index(column) for column in columns]
    none = np.empty((0, len(OF_A_BUCKET) * len(names)))
    values = np.vstack([part.values for part in parts] or [none])
    starts = np.concatenate([part.time.view(np.int64) for part in parts] or [np.empty(0, np.int64)])
    low, high, mean, count = (values[:, i :: len(OF_A_BUCKET)][None, :, at] for i in range(len(OF_A_BUCKET)))
    return table_of_buckets(columns, [units[i] for i in at], starts, Buckets(low, high, mean, count.astype(np.int64)))


def table_of_buckets(columns: Sequence[str], units: Sequence[str], starts: Cells, buckets: Buckets) -> Table:
    """`COLUMN.min .max .mean .count` of the buckets, of one ring, that hold a value."""
    holds = buckets.count[0].any(axis=1)
    parts = [getattr(buckets, name)[0][holds] for name in OF_A_BUCKET]
    values = [part[:, i] for i in range(len(columns)) for part in parts]
    names = [f"{column}.{name}" for column in columns for name in OF_A_BUCKET]
    each_unit = [unit if name != "count" else "" for unit in units for name in OF_A_BUCKET]
    time = starts[holds]
    blocks = [Block(time[i : i + PIECE], [each[i : i + PIECE] for each in values]) for i in range(0, len(time), PIECE)]
    return Table(names, each_unit, digits_of(time), blocks)


# -- as text


def csv_pieces(table: Table) -> Iterator[bytes]:
    """A header ``time,<column>,…``, then a line a row; missing values are empty."""
    yield csv_line(table.header)
    for block in table.blocks:
        columns = [iso_of(block.time, table.digits)]
        if block.sources is not None:
            quoted = {name: csv_line([name])[:-1].decode(errors="replace") for name in set(block.sources)}
            columns.append([quoted[name] for name in block.sources])
        columns += [cells_of(column) for column in block.columns]
        yield ("\n".join(map(",".join, zip(*columns, strict=True))) + "\n").encode(errors="replace")


def cells_of(values: Column) -> list[str]:
    cells = list(map(repr, values.tolist()))
    if values.dtype == np.float64 and np.isnan(values).any():
        return ["" if cell == "nan" else cell for cell in cells]
    return cells


def csv_line(cells: Sequence[str]) -> bytes:
    line = io.StringIO(newline="")
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue().encode(errors="replace")


def jsonl_pieces(table: Table) -> Iterator[bytes]:
    """An object a row: `time`, `source` where there are several, and the columns; missing values are null."""
    for block in table.blocks:
        columns: list[Sequence[object]] = [iso_of(block.time, table.digits)]
        if block.sources is not None:
            columns.append(block.sources)
        columns += [numbers(column) for column in block.columns]
        rows = (dict(zip(table.header, row, strict=True)) for row in zip(*columns, strict=True))
        yield "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode(errors="replace")


def numbers(values: Column) -> list[float | None]:
    """As JSON has them: null where one is missing, or beyond a double, as a mean may be."""
    listed: list[float | None] = values.tolist()
    if values.dtype == np.float64 and not np.isfinite(values).all():
        return [value if math.isfinite(value) else None for value in values.tolist()]
    return listed


def write_csv(table: Table, out: BinaryIO) -> None:
    out.writelines(csv_pieces(table))


def write_jsonl(table: Table, out: BinaryIO) -> None:
    out.writelines(jsonl_pieces(table))


def write_parquet(table: Table, out: BinaryIO) -> None:
    """The time is a UTC timestamp in nanoseconds, the units are in the columns' metadata."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise LinemonError(f"parquet needs pyarrow: {sys.executable} -m pip install pyarrow") from None
    blocks = list(table.blocks)
    times = np.concatenate([block.time for block in blocks] or [np.empty(0, np.int64)])
    fields = [pa.field("time", pa.timestamp("ns", tz="UTC"))]
    arrays = [pa.array(times.view("datetime64[ns]")).cast(fields[0].type)]
    if table.has_sources:
        fields.append(pa.field("source", pa.string()))
        arrays.append(pa.array([name for block in blocks for name in block.sources or ()], pa.string()))
    for i, (name, unit) in enumerate(zip(table.columns, table.units, strict=True)):
        values = np.concatenate([block.columns[i] for block in blocks] or [np.empty(0)])
        arrays.append(pa.array(values, from_pandas=True))
        fields.append(pa.field(name, arrays[-1].type, metadata={"unit": unit} if unit else None))
    pq.write_table(pa.Table.from_arrays(arrays, schema=pa.schema(fields)), out)


FORMATS: Mapping[str, Callable[[Table, BinaryIO], None]] = {
    "csv": write_csv,
    "jsonl": write_jsonl,
    "parquet": write_parquet,
}
