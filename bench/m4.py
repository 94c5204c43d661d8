"""The hourly series of the M4 competition, and its measures.

Makridakis, Spiliotis and Assimakopoulos, The M4 Competition, International Journal of Forecasting 36 (2020) 54;
github.com/Mcompetitions/M4-methods has the data and the code that these follow.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
SEASON, AHEAD = 24, 48
PENALTY = 2 / 0.05  # of what lies outside an interval of 95 %


def load(folder: Path) -> tuple[list[Floats], list[Floats]]:
    """The series, and what came after each."""
    past, after = (_read(folder / f"Hourly-{part}.csv") for part in ("train", "test"))
    return past, after


def _read(path: Path) -> list[Floats]:
    with path.open() as file:
        return [np.array([float(each) for each in line[1:] if each]) for line in list(csv.reader(file))[1:]]


def naive2(past: Floats, ahead: int = AHEAD) -> Floats:
    """The last value, times the season's ratio where a test at 90 % finds one: what OWA is relative to."""
    size, rest = len(past), past - past.mean()
    likeness = np.array([rest[lag:] @ rest[: size - lag] for lag in range(1, SEASON + 1)]) / (rest @ rest)
    limit = 1.645 * np.sqrt((1 + 2 * (likeness[:-1] ** 2).sum()) / size)
    if abs(likeness[-1]) <= limit:
        return np.full(ahead, past[-1])
    weights = np.concatenate([[0.5], np.ones(SEASON - 1), [0.5]]) / SEASON
    trend = np.convolve(past, weights, "valid")
    ratio = past[SEASON // 2 : SEASON // 2 + len(trend)] / trend
    hour = (np.arange(len(ratio)) + SEASON // 2) % SEASON
    season = np.array([ratio[hour == each].mean() for each in range(SEASON)])
    season /= season.mean()
    found: Floats = past[-1] / season[(size - 1) % SEASON] * season[(size + np.arange(ahead)) % SEASON]
    return found


def measures(past: Sequence[Floats], after: Sequence[Floats], found: Sequence[Floats]) -> tuple[float, float]:
    """Means over all series of sMAPE (in %) and MASE."""
    percent = [np.mean(200 * np.abs(a - f) / (np.abs(a) + np.abs(f))) for a, f in zip(after, found, strict=True)]
    scaled = [np.mean(np.abs(a - f)) / _scale(p) for p, a, f in zip(past, after, found, strict=True)]
    return float(np.mean(percent)), float(np.mean(scaled))


def owa(past: Sequence[Floats], after: Sequence[Floats], found: Sequence[Floats]) -> float:
    """The overall weighted average: sMAPE and MASE relative to those of `naive2`, half and half."""
    ours = measures(past, after, found)
    its = measures(past, after, [naive2(p, len(a)) for p, a in zip(past, after, strict=True)])
    return (ours[0] / its[0] + ours[1] / its[1]) / 2


def intervals(
    past: Sequence[Floats], after: Sequence[Floats], low: Sequence[Floats], high: Sequence[Floats]
) -> tuple[float, float]:
    """The mean scaled interval score (MSIS) at 95 %, and the share of values in their intervals."""
    scores, inside = [], []
    for p, a, lo, hi in zip(past, after, low, high, strict=True):
        outside = np.maximum(lo - a, 0) + np.maximum(a - hi, 0)
        scores.append(np.mean(hi - lo + PENALTY * outside) / _scale(p))
        inside.append(np.mean(outside == 0))
    return float(np.mean(scores)), float(np.mean(inside))


def _scale(past: Floats) -> float:
    return float(np.mean(np.abs(past[SEASON:] - past[:-SEASON])))
