"""Bucket rows: what a tier of history keeps in place of rows. Pure functions of arrays.

A bucket row has the start of its bucket as its time, then min, max, mean and count of each column, in this order, as
four columns ``NAME.min NAME.max NAME.mean NAME.count``: so columns are added at the end. Several bucket rows of one
start are parts of one bucket.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from linemon.store.ring import Cells, Floats

PARTS: Final = ("min", "max", "mean", "count")
Counts = npt.NDArray[np.int64]


def columns_of(columns: tuple[str, ...], units: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The columns of a tier, and their units, for a source of these."""
    return (
        tuple(f"{column}.{part}" for column in columns for part in PARTS),
        tuple("" if part == "count" else unit for unit in units for part in PARTS),
    )


def sources_columns(columns: tuple[str, ...]) -> tuple[str, ...]:
    """The columns of a source of which these are a tier's."""
    return tuple(column.removesuffix(".min") for column in columns[:: len(PARTS)])


def of_rows(block: Cells, starts: Counts) -> tuple[Floats, Floats, Floats, Floats]:
    """Min, max, sum and count, each (g, k), of groups of rows (n, 1 + k); `starts` (g,) has the first row of each."""
    values = block[:, 1:].view(np.float64)
    with np.errstate(all="ignore"):  # sums overflow, as they may
        low, high = np.fmin.reduceat(values, starts, axis=0), np.fmax.reduceat(values, starts, axis=0)
        total = np.add.reduceat(values, starts, axis=0)
        count = np.broadcast_to(np.diff(starts, append=len(block))[:, None], total.shape).astype(np.float64)
        holed = np.flatnonzero(np.isnan(total).any(axis=0))  # columns with missing values
        if len(holed):
            some = values[:, holed]
            is_there = ~np.isnan(some)
            count[:, holed] = np.add.reduceat(is_there, starts, axis=0, dtype=np.float64)
            total[:, holed] = np.add.reduceat(np.where(is_there, some, 0.0), starts, axis=0)
    return low, high, total, count


def of_buckets(block: Cells, starts: Counts) -> tuple[Floats, Floats, Floats, Floats]:
    """The same of groups of bucket rows (n, 1 + 4k); a column that one lacks is nan there, its count too."""
    values = block[:, 1:].view(np.float64)
    with np.errstate(all="ignore"):
        low = np.fmin.reduceat(values[:, 0::4], starts, axis=0)
        high = np.fmax.reduceat(values[:, 1::4], starts, axis=0)
        count = np.nan_to_num(values[:, 3::4], copy=True, nan=0.0)
        total = np.add.reduceat(np.where(count > 0, values[:, 2::4] * count, 0.0), starts, axis=0)
        count = np.add.reduceat(count, starts, axis=0)
    return low, high, total, count


def rows_of(times: Cells, parts: tuple[Floats, Floats, Floats, Floats], width: int, places: Counts) -> Cells:
    """Bucket rows (g, 1 + width) of these starts. `places` (k,) has the column of a tier's source that each fills."""
    low, high, total, count = parts
    block = np.full((len(times), 1 + width), np.nan)
    with np.errstate(all="ignore"):
        for offset, part in enumerate((low, high, total / count, count)):
            block[:, 1 + 4 * places + offset] = part
    cells = block.view(np.int64)
    cells[:, 0] = times
    return cells


def groups(keys: Cells) -> Counts:
    """Where each run of equal keys begins; `keys` (n,) or (n, j)."""
    if not len(keys):
        return np.empty(0, np.int64)
    differs = keys[1:] != keys[:-1]
    return np.append(0, 1 + np.flatnonzero(differs.any(axis=1) if differs.ndim == 2 else differs))
