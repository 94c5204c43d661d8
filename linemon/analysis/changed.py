"""What is different in a span of time: the columns whose level or spread changed most against the spans before it."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt

from linemon.analysis._series import Floats, Outputs, Series, Times, named, times

SPANS_BEFORE = 4
SPREAD_COUNTS = 3.0  # a spread e times as wide counts as a level that many standard deviations away
LEAST_VALUES = 3  # in each span
MOST = 1000.0  # the score of a column that was constant and is so no more


def changed(rows: Series, *, start: np.datetime64, end: np.datetime64) -> tuple[Times, Outputs]:
    """``COLUMN.score``: how much [start, end) differs from the four spans of that length before it; one row, at `end`.

    Also ``.mean``, ``.mean_before``, ``.spread``, ``.spread_before`` (standard deviations) in the column's unit. `rows`
    should reach back to `start` - 4 × (`end` - `start`); a column with fewer than three values in the span, or in
    two of those before, is left out. ValueError unless `start` lies before `end`.
    """
    begin, stop = (int(each.astype("datetime64[ns]").astype(np.int64)) for each in (start, end))
    if begin >= stop:
        raise ValueError(f"start = {start} does not lie before end = {end}")
    edges = stop - (stop - begin) * np.arange(SPANS_BEFORE + 1, -1, -1)
    cuts = np.searchsorted(rows.time.astype("datetime64[ns]").astype(np.int64), edges)
    outputs: Outputs = {}
    for column, unit in zip(rows.columns, rows.units, strict=True):
        values = rows[column]
        found = score([values[low:high] for low, high in pairwise(cuts)])
        if found is None:
            continue
        value, mean, mean_before, spread, spread_before = found
        outputs[named(column, "score")] = np.array([value])
        outputs[named(column, "mean", unit)] = np.array([mean])
        outputs[named(column, "mean_before", unit)] = np.array([mean_before])
        outputs[named(column, "spread", unit)] = np.array([spread])
        outputs[named(column, "spread_before", unit)] = np.array([spread_before])
    return times(stop, 1, 1), outputs


def score(spans: list[Floats]) -> tuple[float, float, float, float, float] | None:
    """The score of the last of these spans, its mean, that before it, its standard deviation, that before it; or None.

    The larger of two: the distance of the last mean from the median of those before, in units of how far these lie
    apart and of what a mean of so many values is uncertain by, at their correlation with the one before (Bayley and
    Hammersley, Journal of the Royal Statistical Society Supplement 8 (1946) 184); and three times the logarithm of the
    ratio of the standard deviations, where the last one is not 0 as that of one before was. `MOST` at most.
    """
    spans = [span[np.isfinite(span)] for span in spans]
    before = [span for span in spans[:-1] if len(span) >= LEAST_VALUES]
    if len(before) < 2 or len(spans[-1]) < LEAST_VALUES:
        return None
    means, spreads = (np.array([measure(span) for span in before]) for measure in (np.mean, np.std))
    mean, spread = float(np.mean(spans[-1])), float(np.std(spans[-1]))
    usual, within = float(np.median(means)), float(np.median(spreads) or np.mean(spreads))
    effective = max(1.0, len(spans[-1]) * _independence(np.concatenate(spans)))
    apart = np.sqrt(np.sum((means - usual) ** 2) / (len(means) - 1) + within**2 / effective)
    # What rounding makes of equal values is no spread.
    floor = 1e-12 * max(abs(usual), abs(mean))
    moved = abs(mean - usual)
    level = 0.0 if moved <= floor else moved / apart if apart > floor else MOST
    low, high = sorted((spread, within))
    is_constant = spread <= floor and spreads.min() <= floor  # as it was in one before
    width = 0.0 if high <= floor or is_constant else SPREAD_COUNTS * np.log(high / low) if low > floor else MOST
    return float(min(max(level, width), MOST)), mean, usual, spread, within


def _independence(values: npt.NDArray[np.float64]) -> float:
    """The share of independent ones among values of which each resembles the one before: (1 - φ) / (1 + φ)."""
    rest = values - values.mean()
    square = float(rest @ rest)
    likeness = min(max(float(rest[1:] @ rest[:-1]) / square, 0.0), 0.98) if square > 0 else 0.0
    return (1 - likeness) / (1 + likeness)
