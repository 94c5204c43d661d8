"""What a function of a task gives -> rows as lines. TaskError says what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from linemon.errors import LinemonError
from linemon.parts._port import header_of, time_of

MOST_ROWS: Final = 100_000
MOST_BYTES: Final = 16 << 20
LONGEST: Final = 1024  # bytes of a name
Times = npt.NDArray[np.datetime64]


class TaskError(LinemonError):
    """A function gives what cannot be stored."""


class Given(NamedTuple):
    """Rows: times (n,) int64 ns, in order, and values (n, k); the columns with their units."""

    columns: dict[str, str]
    times: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64]


def checked(given: Any, time: Times | None) -> Given | None:
    """From `{NAME or NAME:UNIT: array}`, or `(times, {…})`; `time`: of the rows that it was given. None of nothing."""
    if isinstance(given, tuple) and len(given) == 2:
        time, given = given
    if given is None or (isinstance(given, Mapping) and not given):
        return None
    if not isinstance(given, Mapping):
        raise TaskError(f"it gives a {type(given).__name__}: expected {{NAME: array}}, or (times, {{NAME: array}})")
    times = np.asarray(time)
    if time is None or times.dtype.kind != "M" or times.ndim != 1:
        raise TaskError("its times are none: expected an array of datetime64")
    ns = times.astype("datetime64[ns]").astype(np.int64)
    if np.isnat(times).any() or (ns[1:] < ns[:-1]).any() or (ns < 0).any():
        raise TaskError("its times are not in ascending order, or before 1970")
    if len(ns) > MOST_ROWS:
        raise TaskError(f"it gives {len(ns)} rows; {MOST_ROWS} are taken")
    columns: dict[str, str] = {}
    values = np.empty((len(ns), len(given)))
    for i, (key, each) in enumerate(given.items()):
        name, unit = split(key)
        if name in columns:
            raise TaskError(f"it gives the column {name!r} twice")
        columns[name] = unit
        try:
            array = np.asarray(each, np.float64)
        except (TypeError, ValueError):
            raise TaskError(f"{name!r} is no array of numbers") from None
        if array.shape != ns.shape:
            raise TaskError(f"{name!r} has the shape {array.shape}: expected {ns.shape}, a value for each time")
        values[:, i] = array
    return Given(columns, ns, values)


def split(key: Any) -> tuple[str, str]:
    """Name and unit of a column."""
    name, colon, unit = key.rpartition(":") if isinstance(key, str) else ("", "", "")
    name, unit = (name, unit) if colon else (unit, "")
    if not name.strip() or not name.isprintable() or name == "time" or len(name.encode()) > LONGEST:
        raise TaskError(f"a column cannot be called {key!r}")
    return name, unit.strip()


def fitted(given: Given, columns: Iterable[str]) -> Given:
    """The same with these columns first, as the source has them; what is not given is missing."""
    names = list(dict.fromkeys([*columns, *given.columns]))
    values = np.full((len(given.times), len(names)), np.nan)
    values[:, [names.index(name) for name in given.columns]] = given.values
    return Given({name: given.columns.get(name, "") for name in names}, given.times, values)


def without_told(given: Given, newest: int | None, now: int) -> tuple[Given, int]:
    """Without the rows that are neither ahead of `now` nor later than `newest`; and how many these are."""
    if newest is None:
        return given, 0
    is_new = (given.times > now) | (given.times > newest)
    return given._replace(times=given.times[is_new], values=given.values[is_new]), int((~is_new).sum())


def text_of(given: Given) -> tuple[bytes, bytes]:
    """The `#columns` line, without a newline, and the rows as lines."""
    rows = zip(given.times.tolist(), given.values.tolist(), strict=True)
    lines = "".join(f"{time_of(time)} {' '.join(map(repr, values))}\n" for time, values in rows).encode()
    if len(lines) > MOST_BYTES:
        raise TaskError(f"it gives {len(lines)} bytes of rows; {MOST_BYTES} are taken")
    return header_of(given.columns), lines
