"""Rows as CSV, JSON lines, Parquet or HDF5: tables, of one source or of several, of rows or of buckets."""

from __future__ import annotations

import csv
import io
import json
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from linemon.errors import LinemonError
from linemon.store.reader import Source
from linemon.store.ring import Cells, Floats
from linemon.store.rows import Rows
from linemon.store.window import Buckets, of_block

PIECE = 4096  # rows that are written at once
GROUP = 16  # such pieces are a row group of Parquet
OF_A_BUCKET = "min", "max", "mean", "count"
Column = Floats | npt.NDArray[np.int64]


class Block(NamedTuple):
    """Some rows of a table: times (n,) int64 ns, the columns, each (n,), and whose rows they are where that is told."""

    time: Cells
    columns: Sequence[Column]
    sources: Sequence[str] | None = None


@dataclass
class Table:
    """What is written: `blocks` in the order of the rows, which may be made as they are taken.

    `digits` below the second are the same in all of them. `source` is whose rows they are; None where each says it.
    """

    columns: Sequence[str]
    units: Sequence[str]
    digits: int
    blocks: Iterable[Block]
    source: str | None = ""

    @property
    def has_sources(self) -> bool:
        return self.source is None

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
    return Table(rows.columns, rows.units, digits_of(time), blocks, rows.source)


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

    return Table(list(columns), [units.get(column, "") for column in columns], digits_of(time), blocks(), None)


def in_buckets(rows: Rows, length: int) -> Table:
    """Buckets of so many ns, counted from the epoch; those without rows are left out. OverflowError beyond int64."""
    time = rows.time.view(np.int64)
    starts = np.unique(time // length) * length
    edges = np.append(starts, (int(starts[-1]) if len(starts) else 0) + length)
    block = np.column_stack([time, rows.values.view(np.int64)]) if len(rows) else np.empty((0, 1 + len(rows.columns)))
    buckets = of_block(block.astype(np.int64, copy=False), edges)
    return table_of_buckets(rows.columns, rows.units, starts, buckets, rows.source)


def table_of_history(source: Source, begin: int, end: int, length: int, columns: Sequence[str]) -> Table:
    """The same of rows and history, read as they are written; longer ones where only those are left."""
    from linemon.store.levels import buckets_of  # which reads by what this module is about

    at = [source.columns.index(column) for column in columns]
    units = [source.units[i] for i in at]

    def blocks() -> Iterator[Block]:
        for part in buckets_of(source, begin, end, length):
            low, high, mean, count = (part.values[:, i :: len(OF_A_BUCKET)][None, :, at] for i in range(4))
            buckets = Buckets(low, high, mean, count.astype(np.int64))
            yield from table_of_buckets(columns, units, part.time.view(np.int64), buckets).blocks

    return Table(*names_of_buckets(columns, units), digits_of(np.array([length])), blocks(), source.name)


def table_of_buckets(
    columns: Sequence[str], units: Sequence[str], starts: Cells, buckets: Buckets, source: str = ""
) -> Table:
    """`COLUMN.min .max .mean .count` of the buckets, of one ring, that hold a value."""
    holds = buckets.count[0].any(axis=1)
    parts = [getattr(buckets, name)[0][holds] for name in OF_A_BUCKET]
    values = [part[:, i] for i in range(len(columns)) for part in parts]
    time = starts[holds]
    blocks = [Block(time[i : i + PIECE], [each[i : i + PIECE] for each in values]) for i in range(0, len(time), PIECE)]
    return Table(*names_of_buckets(columns, units), digits_of(time), blocks, source)


def names_of_buckets(columns: Sequence[str], units: Sequence[str]) -> tuple[list[str], list[str]]:
    """The columns of a table of buckets, and their units."""
    names = [f"{column}.{name}" for column in columns for name in OF_A_BUCKET]
    return names, [unit if name != "count" else "" for unit in units for name in OF_A_BUCKET]


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


# -- files


def write_csv(tables: Iterator[Table], out: BinaryIO) -> None:
    for table in tables:
        out.writelines(csv_pieces(table))


def write_jsonl(tables: Iterator[Table], out: BinaryIO) -> None:
    for table in tables:
        out.writelines(jsonl_pieces(table))


def write_parquet(tables: Iterator[Table], out: BinaryIO) -> None:
    """The time is a UTC timestamp in nanoseconds; units are in the columns' metadata, the source is in the file's."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise LinemonError(f"parquet needs pyarrow: {sys.executable} -m pip install pyarrow") from None
    for table in tables:
        blocks, kinds = peeked(table)
        fields = [pa.field("time", pa.timestamp("ns", tz="UTC"))]
        fields += [pa.field("source", pa.string())] if table.has_sources else []
        for name, unit, kind in zip(table.columns, table.units, kinds, strict=True):
            metadata = {"unit": unit} if unit else None
            fields.append(pa.field(name, pa.from_numpy_dtype(kind), metadata=metadata))
        schema = pa.schema(fields, metadata={"source": table.source} if table.source else None)
        with pq.ParquetWriter(out, schema) as writer:
            while some := list(islice(blocks, GROUP)):
                arrays = [pa.array(np.concatenate([block.time for block in some]).view("datetime64[ns]"))]
                if table.has_sources:
                    arrays.append(pa.array([name for block in some for name in block.sources or ()], pa.string()))
                columns = zip(*(block.columns for block in some), strict=True)
                arrays += [pa.array(np.concatenate(column), from_pandas=True) for column in columns]
                cast = [array.cast(field.type) for array, field in zip(arrays, fields, strict=True)]
                writer.write_table(pa.Table.from_arrays(cast, schema=schema))


def write_hdf5(tables: Iterator[Table], out: BinaryIO) -> None:
    """A group a source, by the conventions of netCDF-4 and CF: a variable a column, `time` is what all are over.

    A group's attribute `source`, and a variable's `long_name`, hold names that HDF5 has no place for. `out` is a file.
    """
    try:
        import h5py
    except ImportError:
        raise LinemonError(f"hdf5 needs h5py: {sys.executable} -m pip install h5py") from None
    with h5py.File(out, "w", track_order=True, rdcc_nbytes=2 * PIECE * 8) as file:  # else 8 MB a column
        file.attrs["Conventions"] = "CF-1.8"
        for table in tables:
            blocks, kinds = peeked(table)
            group = file.create_group(hdf5_name(table.source or ""), track_order=True)
            group.attrs["source"] = table.source
            shape = {"shape": (0,), "maxshape": (None,), "chunks": (PIECE,), "compression": "gzip", "shuffle": True}
            time = group.create_dataset("time", dtype="i8", **shape)
            time.attrs.update({"units": "nanoseconds since 1970-01-01", "calendar": "proleptic_gregorian"})
            time.attrs["standard_name"] = "time"
            time.make_scale("time")
            names = zip(table.columns, kinds, strict=True)
            variables = [group.create_dataset(hdf5_name(name), dtype=kind, **shape) for name, kind in names]
            for variable, name, unit in zip(variables, table.columns, table.units, strict=True):
                variable.attrs.update({"long_name": name} | ({"units": unit} if unit else {}))
                if variable.dtype.kind == "f":
                    variable.attrs["_FillValue"] = np.array([np.nan])
                variable.dims[0].attach_scale(time)
            for block in blocks:
                head = len(time)
                for variable, values in zip([time, *variables], [block.time, *block.columns], strict=True):
                    variable.resize(head + len(values), 0)
                    variable[head:] = values


def hdf5_name(name: str) -> str:
    """A name as HDF5 takes it: without a slash, and neither empty nor a dot."""
    odd = {"": "%", ".": "%2E", "time": "%74ime"}
    return odd.get(name) or name.replace("%", "%25").replace("/", "%2F")


def peeked(table: Table) -> tuple[Iterator[Block], list[np.dtype[Any]]]:
    """The blocks of a table, and the types of its columns, which the first one tells."""
    blocks = iter(table.blocks)
    first = list(islice(blocks, 1))
    kinds = [column.dtype for column in first[0].columns] if first else [np.dtype(np.float64)] * len(table.columns)
    return chain(first, blocks), kinds


FORMATS: Mapping[str, Callable[[Iterator[Table], BinaryIO], None]] = {
    "csv": write_csv,
    "jsonl": write_jsonl,
    "parquet": write_parquet,
    "hdf5": write_hdf5,
}
