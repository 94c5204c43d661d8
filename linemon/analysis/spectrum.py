"""At which periods a column swings, and how much of it that is."""

from __future__ import annotations

import numpy as np

from linemon.analysis._series import (
    Floats,
    Outputs,
    Series,
    Times,
    grid,
    named,
    span_ns,
    times,
    without_gaps,
)

PEAKS = 3
FINER = 8  # times as many frequencies as the span tells apart, so that the look for a peak starts near it
ROUNDS = 6  # of making all frequencies exact together after each new one
NOTHING = 1e-9  # of the variance: what rounding leaves
LEAST_PERIODS = 1.5  # that a span must hold


def spectrum(rows: Series, *, step: str | float = "1m") -> tuple[Times, Outputs]:
    """``COLUMN.period1_s`` to ``.period3_s``, the strongest periods in seconds, and ``.share1`` to ``.share3``.

    A share, in [0, 1], is what the sine wave of that period explains of the variance about a straight line. One row, at
    the last bucket of `step`; gaps of up to 2 % of the span are filled by straight lines, a column with longer ones or
    of one value only is left out. Where there are fewer periods the others are nan.

    The highest peak of the Fourier transform under a Hann window, then of what a line and the waves so far leave; after
    each all are made exact together by least squares. Source: Quinn and Hannan, The Estimation and Tracking of
    Frequency (2001), chapter 3.
    """
    length = span_ns(step)
    start, values = grid(rows, length)
    outputs: Outputs = {}
    for i, column in enumerate(rows.columns):
        series = without_gaps(values[:, i], len(values) // 50)
        if len(series) < 16 or not np.isfinite(series).all() or np.ptp(series) == 0:
            continue
        for rank, (period, share) in enumerate(periods(series), 1):
            outputs[named(column, f"period{rank}_s", "s")] = np.array([period * length / 1e9])
            outputs[named(column, f"share{rank}")] = np.array([share])
    return times(start + (len(values) - 1) * length, length, 1 if len(values) else 0), outputs


def periods(values: Floats) -> list[tuple[float, float]]:
    """`PEAKS` times the period in steps and the share of the variance of finite `values` (n,), the largest first."""
    at = (np.arange(len(values)) - (len(values) - 1) / 2) / len(values)
    found = np.empty(0)  # frequencies, in turns of the whole span
    rest, powers = _fit(values, at, found)
    total = float(rest @ rest)
    if total <= NOTHING * float(values @ values):
        return [(np.nan, np.nan)] * PEAKS  # a straight line
    for _ in range(PEAKS):
        if rest @ rest <= NOTHING * total:
            break
        found = np.append(found, _peak(rest))
        for _ in range(ROUNDS):
            found = _closer(values, at, found)
        rest, powers = _fit(values, at, found)
    order = np.argsort(-powers)
    best = [(len(values) / float(found[i]), min(1.0, float(powers[i]) / total)) for i in order]
    return best + [(np.nan, np.nan)] * (PEAKS - len(best))


def _peak(values: Floats) -> float:
    """The frequency with the most power, of those with `LEAST_PERIODS` or more in the span."""
    power = np.abs(np.fft.rfft(values * np.hanning(len(values)), len(values) * FINER))
    lowest = int(np.ceil(LEAST_PERIODS * FINER))
    return (lowest + int(power[lowest:].argmax())) / FINER


def _basis(at: Floats, frequencies: Floats) -> Floats:
    """Columns (n, 2 + 2 f): one, the time, then the cosine and then the sine of each frequency."""
    turns = 2 * np.pi * np.outer(at, frequencies)
    return np.concatenate([np.ones((len(at), 1)), at[:, None], np.cos(turns), np.sin(turns)], 1)


def _solve(basis: Floats, values: Floats) -> Floats:
    weights = np.linalg.lstsq(basis.T @ basis, basis.T @ values, rcond=None)[0]
    return np.asarray(weights, np.float64)


def _fit(values: Floats, at: Floats, frequencies: Floats) -> tuple[Floats, Floats]:
    """What a line and waves of these frequencies leave of the values, and the sum of squares of each wave."""
    basis = _basis(at, frequencies)
    weights = _solve(basis, values)
    count = len(frequencies)
    waves = basis[:, 2 : 2 + count] * weights[2 : 2 + count] + basis[:, 2 + count :] * weights[2 + count :]
    return values - basis @ weights, np.einsum("ij,ij->j", waves, waves)


def _closer(values: Floats, at: Floats, frequencies: Floats) -> Floats:
    """Frequencies after a step of Gauss and Newton on all of them at once, by a quarter of a turn at most."""
    basis, count = _basis(at, frequencies), len(frequencies)
    weights = _solve(basis, values)
    cosine, sine = basis[:, 2 : 2 + count], basis[:, 2 + count :]
    slope = 2 * np.pi * at[:, None] * (cosine * weights[2 + count :] - sine * weights[2 : 2 + count])
    moves = _solve(np.concatenate([basis, slope], 1), values)[-count:]
    return np.maximum(frequencies + np.clip(moves, -0.25, 0.25), LEAST_PERIODS / 2)
