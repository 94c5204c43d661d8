"""The Numenta Anomaly Benchmark, version 1.1: its data, and its score.

Lavin and Ahmad, Evaluating Real-time Anomaly Detection Algorithms, ICMLA 2015; github.com/numenta/NAB. Each window
around a labelled anomaly is worth something to the first detection in it, the more the earlier; each one elsewhere
costs.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
PROFILES: Final = {
    "standard": (1.0, 0.11, 1.0),
    "low FP": (1.0, 0.22, 1.0),
    "low FN": (1.0, 0.11, 2.0),
}  # hit, false, miss
PROBATION, PROBATION_ROWS = 0.15, 5000  # of a file, at most of so many rows, nothing counts
NONE, ON_PROBATION = -1, -2  # in place of a window's number
EVENT_GAP_S = 3600.0  # detections closer than this are one event


@dataclass(frozen=True)
class Series:
    """One file: `time` in s, `values`, and the first and last row of each window."""

    time: Floats
    values: Floats
    windows: list[tuple[int, int]]


def load(folder: Path) -> dict[str, Series]:
    """All files of NAB below `folder`, by their name."""
    labels = json.loads((folder / "labels" / "combined_windows.json").read_text())
    return {name: _read(folder / "data" / name, windows) for name, windows in sorted(labels.items())}


def _read(path: Path, windows: Iterable[tuple[str, str]]) -> Series:
    with path.open() as file:
        lines = list(csv.reader(file))[1:]
    moments = [_moment(at) for at, _ in lines]
    first: dict[datetime, int] = {}
    for number, moment in enumerate(moments):
        first.setdefault(moment, number)
    inside = [tuple(first[_moment(each)] for each in window) for window in windows]
    time = np.array([moment.timestamp() for moment in moments])
    return Series(time, np.array([float(value) for _, value in lines]), [(low, high) for low, high in inside])


def _moment(said: str) -> datetime:
    return datetime.fromisoformat(said).replace(tzinfo=UTC)


def halves(names: Iterable[str]) -> tuple[list[str], list[str]]:
    """A and B: within each folder the files alternate, in the order of the SHA-1 of their names."""
    folders: dict[str, list[str]] = {}
    for name in names:
        folders.setdefault(name.split("/")[0], []).append(name)
    split: tuple[list[str], list[str]] = ([], [])
    for _, inside in sorted(folders.items()):
        for at, name in enumerate(sorted(inside, key=lambda name: hashlib.sha1(name.encode()).hexdigest())):
            split[at % 2].append(name)
    return split


def _sigmoid(position: Floats) -> Floats:
    return np.where(position > 3, -1.0, 2 / (1 + np.exp(5 * np.minimum(position, 3.0))) - 1)


def _worth(series: Series, hit: float, false: float) -> tuple[Floats, Ints]:
    """What a detection in each row is worth, and the window it is in."""
    count = len(series.values)
    worth, window, at = np.full(count, -false), np.full(count, NONE), np.arange(count)
    ends = [*series.windows, (count, count)]
    for number, (low, high) in enumerate(series.windows):
        inside = slice(low, high + 1)
        worth[inside] = _sigmoid(-(high - at[inside] + 1) / (high - low + 1)) * hit / _sigmoid(np.array(-1.0))
        window[inside] = number
        after = slice(high + 1, ends[number + 1][0])
        if high > low:
            worth[after] = _sigmoid((at[after] - high) / (high - low)) * false
    window[: int(min(PROBATION * count, PROBATION * PROBATION_ROWS))] = ON_PROBATION
    return worth, window


def score(
    data: Mapping[str, Series],
    found: Mapping[str, Floats],
    profile: str = "standard",
    level: float | None = None,
) -> tuple[float, float]:
    """NAB's score of `found`, an array for each file of `data`, and the level from which on a value is a detection.

    One level for all files: the best, as NAB has it, or the one given. 0 is a detector that says nothing, 100 a perfect
    one.
    """
    hit, false, miss = PROFILES[profile]
    values, worths, windows, base = [], [], [], 0
    for name, series in data.items():
        worth, window = _worth(series, hit, false)
        counts = window != ON_PROBATION
        values.append(found[name][counts])
        worths.append(worth[counts])
        windows.append(np.where(window[counts] >= 0, window[counts] + base, NONE))
        base += len(series.windows)
    value, worth, window = map(np.concatenate, (values, worths, windows))
    order = np.argsort(-value, kind="stable")
    value, worth, window = value[order], worth[order], window[order]
    # The score as the level falls: each row below it joins; of a window the best row counts.
    gain = np.where(window == NONE, worth, 0.0)
    best = dict.fromkeys(np.unique(window[window >= 0]).tolist(), -miss)
    for at in np.flatnonzero(window >= 0).tolist():
        number = int(window[at])
        gain[at] = max(0.0, worth[at] - best[number])
        best[number] += gain[at]
    nothing = -miss * len(best)
    ends = np.append(np.flatnonzero(np.diff(value)), len(value) - 1)  # rows of one value join together
    totals = np.append(nothing, nothing + np.cumsum(gain)[ends])
    levels = np.append(np.inf, value[ends])
    chosen = int(totals.argmax()) if level is None else int(np.flatnonzero(levels >= level)[-1])
    return 100 * float(totals[chosen] - nothing) / (base * hit - nothing), float(levels[chosen])


def false_events(data: Mapping[str, Series], found: Mapping[str, Floats], level: float) -> float:
    """Events a day and series outside all windows."""
    events, days = 0, 0.0
    for name, series in data.items():
        _, window = _worth(series, 1.0, 1.0)
        counts = window != ON_PROBATION
        days += (series.time[-1] - series.time[counts.argmax()]) / 86400
        times = series.time[(found[name] >= level) & (window == NONE)]
        events += int(len(times) > 0) + int((np.diff(times) > EVENT_GAP_S).sum())
    return events / days
