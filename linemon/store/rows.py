"""What a store answers with: rows and windows, and what its messages say of names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from linemon.store.catalog import Entry
from linemon.store.ring import Cells, Floats
from linemon.store.window import Buckets

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

Times = npt.NDArray[np.datetime64]
TimeLike = str | datetime | np.datetime64

NAMED = 20  # names in a message


def as_ns(time: TimeLike) -> int:
    """A moment as int64 nanoseconds since the epoch; without a zone it is UTC. ValueError if it is not a time."""
    if isinstance(time, str):
        time = datetime.fromisoformat(time)
    if isinstance(time, datetime):
        time = np.datetime64(time.astimezone(UTC).replace(tzinfo=None) if time.tzinfo else time)
    return int(time.astype("datetime64[ns]").astype(np.int64))


def span_of(start: TimeLike, end: TimeLike, points: int) -> tuple[int, int]:
    """The span of a window in ns; ValueError where there can be none."""
    begin, stop = as_ns(start), as_ns(end)
    if points < 1 or stop <= begin:
        raise ValueError(f"a window needs points >= 1 and start < end, not {points} points, {start} to {end}")
    return begin, stop


@dataclass(frozen=True, repr=False)
class Rows:
    """Rows of one source: `time` datetime64[ns] UTC (n,), `values` float64 (n, k), missing = nan.

    `cursor` is for `Source.since`; `missed` counts rows that were overwritten before they could be read. `born` names
    the life of the source in which `cursor` counts: whoever keeps a cursor longer than the store may live keeps both.
    `restarted`: the cursor that was asked for is of another life, so these are the rows from the first one on.

    The arrays are views of one copy: rows must leave the ring, which goes on. Nothing after that copies.
    """

    source: str
    columns: tuple[str, ...]
    units: tuple[str, ...]
    time: Times
    values: Floats
    cursor: int
    missed: int = 0
    born: int = 0
    restarted: bool = False

    @classmethod
    def of(cls, entry: Entry, block: Cells, cursor: int, missed: int = 0, restarted: bool = False) -> Rows:
        """From cells (n, 1 + k)."""
        time, values = block[:, 0].view("datetime64[ns]"), block[:, 1:].view(np.float64)
        return cls(entry.source, entry.columns, entry.units, time, values, cursor, missed, entry.born, restarted)

    def __len__(self) -> int:
        return len(self.time)

    def __getitem__(self, column: str) -> Floats:
        """The values (n,) of one column; KeyError names those there are."""
        if column not in self.columns:
            raise KeyError(f"{self.source!r} has no column {column!r}{known(column, self.columns)}")
        return self.values[:, self.columns.index(column)]

    def _ipython_key_completions_(self) -> list[str]:
        return list(self.columns)

    def __repr__(self) -> str:
        span = f" from {self.time[0]} to {self.time[-1]}" if len(self) else ""
        missed = f", {self.missed} missed" if self.missed else ""
        return f"<{len(self)} rows of {self.source!r}{span}: {some(self.columns)}{missed}>"

    def select(self, columns: tuple[str, ...]) -> Rows:
        """Only these columns, in this order; ValueError if one is not there."""
        at = [self.columns.index(column) for column in columns]
        units = tuple(self.units[i] for i in at)
        return replace(self, columns=columns, units=units, values=self.values[:, at])

    def to_dict(self) -> dict[str, Any]:
        """The time and each column as an array under its name, as views."""
        return {"time": self.time} | {name: self.values[:, i] for i, name in enumerate(self.columns)}

    def to_pandas(self) -> pd.DataFrame:
        """A DataFrame with a UTC time index; needs pandas."""
        import pandas as pd  # an optional extra: only who asks for a frame needs it

        index = pd.DatetimeIndex(self.time, name="time").tz_localize("UTC")
        return pd.DataFrame(self.values, index=index, columns=list(self.columns))

    def to_polars(self) -> pl.DataFrame:
        """A DataFrame with the UTC time as its first column; needs polars."""
        import polars as pl  # an optional extra, too

        return pl.DataFrame(self.to_dict()).with_columns(pl.col("time").dt.replace_time_zone("UTC"))


@dataclass(frozen=True, repr=False)
class Window:
    """Buckets one after the other: `time` their starts (n,), `step` their lengths, `min max mean count` each (n, k).

    They are of equal length where rows are held from the start on; else longer where only longer ones are in the
    history. Missing values are left out; a bucket without any has count 0 and nan. `cursor` is for `Source.since`: what
    came after the window was made.
    """

    columns: tuple[str, ...]
    units: tuple[str, ...]
    time: Times
    min: Floats
    max: Floats
    mean: Floats
    count: npt.NDArray[np.int64]
    cursor: int
    step: npt.NDArray[np.timedelta64]

    @classmethod
    def of(cls, entry: Entry, edges: Cells, buckets: Buckets, ring: int, cursor: int) -> Window:
        """From the buckets of one ring of many."""
        low, high, mean, count = (each[ring] for each in (buckets.min, buckets.max, buckets.mean, buckets.count))
        time, step = edges[:-1].view("datetime64[ns]"), np.diff(edges).view("timedelta64[ns]")
        return cls(entry.columns, entry.units, time, low, high, mean, count, cursor, step)

    def __len__(self) -> int:
        return len(self.time)

    def __getitem__(self, column: str) -> Floats:
        """The means (n,) of one column; KeyError names those there are."""
        if column not in self.columns:
            raise KeyError(f"there is no column {column!r}{known(column, self.columns)}")
        return self.mean[:, self.columns.index(column)]

    def select(self, columns: tuple[str, ...]) -> Window:
        """Only these columns, in this order; ValueError if one is not there."""
        at = [self.columns.index(column) for column in columns]
        parts = {name: getattr(self, name)[:, at] for name in ("min", "max", "mean", "count")}
        return replace(self, columns=columns, units=tuple(self.units[i] for i in at), **parts)

    def __repr__(self) -> str:
        return f"<{len(self)} buckets from {self.time[0]} to {self.time[-1]}: {some(self.columns)}>"


class Level(NamedTuple):
    """What is kept of a source in one way: rows (`step` 0), or buckets of `step` ns; from `begin` to `end` (ns)."""

    name: str
    step: int
    begin: int
    end: int
    bytes: int  # that it takes when it is full


def some(names: Iterable[str]) -> str:
    """Names for a message, of many the first."""
    names = tuple(names)
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")


def known(wanted: str, names: Iterable[str]) -> str:
    """What a message about an unknown name says of those that exist, the nearest one first of all."""
    near = difflib.get_close_matches(wanted, names, 1)
    return (f"; did you mean {near[0]!r}?" if near else ";") + f" there are: {some(sorted(names)) or 'none yet'}"
