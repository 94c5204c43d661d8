"""What `linemon export` wrote, read back: CSV, JSON lines, Parquet and HDF5, as rows, some thousand at a time."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np

from linemon.errors import LinemonError
from linemon.store.ring import Cells, Floats
from linemon.store.rows import Rows

PIECE = 1024  # rows


def read(path: Path, source: str = "") -> Iterator[Rows]:
    """The rows of a file, those of one source after the other in each piece, in the order of the file.

    `source`: whose they are; empty = as the file, or its name, says. LinemonError where it is not what `linemon
    export` writes, OSError where it cannot be read.
    """
    kind = KINDS.get(path.suffix)
    if kind is None:
        raise LinemonError(f"{path}: expected a name that ends in {', '.join(KINDS)}")
    for rows in kind(path, source or unquote(path.stem), bool(source)):
        if (rows.time.view(np.int64) < 0).any():
            raise LinemonError(f"{path}: a time before 1970")
        yield rows


def _csv(path: Path, source: str, is_said: bool) -> Iterator[Rows]:
    with path.open(newline="", encoding="utf-8") as file:
        lines = csv.reader(file)
        header = next(lines, [])
        if header[:1] != ["time"]:
            raise LinemonError(f"{path}: the header does not begin with time; `linemon send --csv` takes other CSV")
        at = 2 if header[1:2] == ["source"] and not is_said else 1
        while some := list(islice(lines, PIECE)):
            try:
                columns = list(zip(*some, strict=True))
                time = _times(columns[0])
                values = [[float(cell or "nan") for cell in column] for column in columns[at:]]
                names = columns[1] if at == 2 else None
                yield from _by_source(names, source, header[at:], time, np.array(values).reshape(-1, len(some)).T)
            except ValueError as error:
                raise LinemonError(f"{path}: in the {len(some)} lines up to {lines.line_num}: {error}") from None


def _jsonl(path: Path, source: str, is_said: bool) -> Iterator[Rows]:
    header: list[str] = []
    number = 0
    with path.open(encoding="utf-8") as file:
        while some := list(islice(file, PIECE)):
            number += len(some)
            try:
                rows = [json.loads(line) for line in some]
                time = _times([row.pop("time") for row in rows])
                has_sources = not is_said and isinstance(rows[0].get("source"), str)
                names = [row.pop("source") for row in rows] if has_sources else None
                header = header or list(rows[0])
                if any(list(row) != header for row in rows):
                    raise ValueError("rows of other columns than the first")
                values = np.array([list(row.values()) for row in rows], np.float64).reshape(len(rows), len(header))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise LinemonError(f"{path}: in the {len(some)} lines up to {number}: {error}") from None
            yield from _by_source(names, source, header, time, values)


def _parquet(path: Path, source: str, is_said: bool) -> Iterator[Rows]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise LinemonError(f"parquet needs pyarrow: {sys.executable} -m pip install pyarrow") from None
    try:
        with pq.ParquetFile(path) as file:
            fields = {field.name: field for field in file.schema_arrow}
            if not is_said:
                source = (file.schema_arrow.metadata or {}).get(b"source", source.encode()).decode()
            has_sources = "source" in fields and fields["source"].type == pa.string() and not is_said
            header = [name for name in fields if name != "time" and not (has_sources and name == "source")]
            units = [(fields[name].metadata or {}).get(b"unit", b"").decode() for name in header]
            for batch in file.iter_batches(PIECE):
                table = batch.to_pydict() if has_sources else {}
                time = batch.column("time").cast("int64").to_numpy(zero_copy_only=False)
                columns = [batch.column(name).cast("float64").to_numpy(zero_copy_only=False) for name in header]
                values = np.array(columns, np.float64).reshape(-1, len(batch)).T
                yield from _by_source(table.get("source"), source, header, time, values, units)
    except (pa.ArrowException, KeyError) as error:
        raise LinemonError(f"{path}: {str(error).splitlines()[0]}") from None


def _hdf5(path: Path, source: str, is_said: bool) -> Iterator[Rows]:
    try:
        import h5py
    except ImportError:
        raise LinemonError(f"hdf5 needs h5py: {sys.executable} -m pip install h5py") from None
    try:
        with h5py.File(path) as file:
            if is_said and len(file) > 1:
                raise LinemonError(f"{path} is of {len(file)} sources, not of {source!r} alone")
            for group in file.values():
                columns = {each.attrs["long_name"]: each for name, each in group.items() if name != "time"}
                units = [each.attrs.get("units", "") for each in columns.values()]
                name = source if is_said else group.attrs["source"]
                for first in range(0, len(group["time"]), PIECE):
                    time = group["time"][first : first + PIECE]
                    values = np.column_stack([each[first : first + PIECE] for each in columns.values()])
                    yield from _by_source(None, name, list(columns), time, values.astype(np.float64), units)
    except (KeyError, AttributeError, OSError) as error:
        if isinstance(error, OSError) and error.errno:
            raise
        raise LinemonError(f"{path} is not what `linemon export` writes: {error}") from None


def _times(texts: Sequence[str]) -> Cells:
    """ISO 8601 with `Z` as ns. ValueError for what is none."""
    if not all(text.endswith("Z") for text in texts):
        raise ValueError(f"{next(text for text in texts if not text.endswith('Z'))!r} is no time that ends in Z")
    return np.array([text[:-1] for text in texts], "datetime64[ns]").view(np.int64)


def _by_source(
    names: Sequence[str] | None,
    source: str,
    columns: Sequence[str],
    time: Cells,
    values: Floats,
    units: Sequence[str] = (),
) -> Iterator[Rows]:
    """Rows of one source, or of those that `names` says for each."""
    told = tuple(units) or ("",) * len(columns)
    stamps = time.astype(np.int64).view("datetime64[ns]")
    if names is None:
        yield Rows(source, tuple(columns), told, stamps, values, 0)
        return
    whose = np.array(names, object)
    for name in dict.fromkeys(names):
        at = np.flatnonzero(whose == name)
        yield Rows(name, tuple(columns), told, stamps[at], values[at], 0)


KINDS: dict[str, Callable[[Path, str, bool], Iterator[Any]]] = {
    ".csv": _csv,
    ".jsonl": _jsonl,
    ".parquet": _parquet,
    ".hdf5": _hdf5,
    ".h5": _hdf5,
}
