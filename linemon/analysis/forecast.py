"""Where a column goes: autoregression on seasons, checked against its own past."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

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

RIDGE = 1e-4  # of the mean variance of the lags
ORIGINS = 8  # of the back-test, a season apart
SHARPNESS = 4  # a model's weight falls with this power of its back-test error
HALF_WIDTH = 1.96 * 1.1  # standard deviations: 95 %, and a tenth more, as what comes differs from what was
SMOOTH = 3  # steps on either side, over which errors of neighbouring horizons are pooled

Model = Callable[[Floats, int], Floats]  # of values and a number of steps: the values that come


def forecast(
    rows: Series,
    *,
    horizon: str | float = "48h",
    season: Sequence[str | float] = ("24h", "168h"),
    step: str | float = "1h",
    at: np.datetime64 | None = None,
) -> tuple[Times, Outputs]:
    """``COLUMN.expected .low .high`` for `horizon` from the last row (or from `at`) on; 95 % should lie in between.

    Also ``.error`` and ``.naive_error``, the mean absolute error of the back-test and that of the last season repeated,
    in the column's unit. A column without two of the shortest season and a horizon is left out.

    The models work on means of `step`: a ridge regression of a value on those 1, 2, 3 steps and one and two seasons
    (each also a step less and a step more) before it; the same of logarithms where all values are positive; and each
    season repeated. They are weighted by 1 / (mean absolute error)^4 in forecasts from `ORIGINS` moments of the past.
    The interval is the root mean square of the errors of these, by horizon.

    Sources: Hoerl and Kennard, Technometrics 12 (1970) 55, the regression; Bates and Granger, Operational Research
    Quarterly 20 (1969) 451, the weights; Tashman, International Journal of Forecasting 16 (2000) 437, the back-test.
    """
    length = span_ns(step)
    seasons = sorted(round(span_ns(each) / length) for each in season)
    if not seasons or seasons[0] < 2:
        raise ValueError(f"season = {season!r} must have a span of at least two steps of {step!r}, and none below that")
    ahead = max(1, round(span_ns(horizon) / length))
    start, values = grid(rows, length, None if at is None else int(at.astype("datetime64[ns]").astype(np.int64)))
    outputs: Outputs = {}
    for i, (column, unit) in enumerate(zip(rows.columns, rows.units, strict=True)):
        series, late = _newest_run(without_gaps(values[:, i], seasons[0]))
        if late > ahead or len(series) < 2 * seasons[0] + ahead + late:
            continue
        expected, width, error, naive = one(series, ahead + late, seasons)
        outputs[named(column, "expected", unit)] = expected[late:]
        outputs[named(column, "low", unit)] = (expected - width)[late:]
        outputs[named(column, "high", unit)] = (expected + width)[late:]
        outputs[named(column, "error", unit)] = np.full(ahead, error)
        outputs[named(column, "naive_error", unit)] = np.full(ahead, naive)
    return times(start + len(values) * length, length, ahead), outputs


def one(values: Floats, ahead: int, seasons: Sequence[int]) -> tuple[Floats, Floats, float, float]:
    """The next `ahead` of `values` (n,), half the width of their interval, the back-test's error, the last season's."""
    lags = _lags(seasons, 2 * len(values) // 5)
    models: list[Model] = [_repeated(each) for each in seasons if each + ahead <= len(values)]
    models.append(lambda past, ahead: _regressed(past, ahead, lags))
    if values.min() > 0:
        models.append(lambda past, ahead: np.exp(_regressed(np.log(past), ahead, lags)))
    need = max(int(lags[-1]) + 2 * len(lags), seasons[0])
    last = len(values) - ahead
    origins = [cut for cut in range(last, last - seasons[0] * ORIGINS, -seasons[0]) if cut >= need]
    origins = origins or [last]
    errors = np.array([[model(values[:cut], ahead) - values[cut : cut + ahead] for cut in origins] for model in models])
    # A regression that runs away is no forecast, however well it was doing before.
    reach = 3 * np.ptp(values)
    now = np.array([model(values, ahead) for model in models])
    sound = (np.abs(now - np.median(values)) <= reach).all(1) & np.isfinite(errors).all((1, 2))
    errors[~sound], now[~sound] = 0.0, 0.0
    mean_errors = np.where(sound, np.abs(errors).mean((1, 2)), np.inf)
    weights = (
        np.maximum(mean_errors.min(), np.finfo(float).tiny) / np.maximum(mean_errors, np.finfo(float).tiny)
    ) ** SHARPNESS
    weights /= weights.sum()
    together = np.tensordot(weights, errors, 1)
    width = HALF_WIDTH * np.sqrt(_smoothed((together**2).mean(0)))
    return weights @ now, width, float(np.abs(together).mean()), float(mean_errors[0])


def _newest_run(values: Floats) -> tuple[Floats, int]:
    """What stands after the last gap, and how many values are missing after it."""
    known = np.isfinite(values)
    late = int(np.argmax(known[::-1])) if known.any() else len(values)
    values = values[: len(values) - late]
    gap = np.flatnonzero(~np.isfinite(values))
    return values[gap[-1] + 1 :] if len(gap) else values, late


def _lags(seasons: Sequence[int], longest: int) -> npt.NDArray[np.int64]:
    near = {each + off for season in seasons for each in (season, 2 * season) for off in (-1, 0, 1)}
    return np.array(sorted(lag for lag in near | {1, 2, 3} if 0 < lag <= longest) or [1])


def _repeated(season: int) -> Model:
    return lambda past, ahead: past[len(past) - season + np.arange(ahead) % season]


def _regressed(values: Floats, ahead: int, lags: npt.NDArray[np.int64]) -> Floats:
    """``x[t] = c + Σ b[i] x[t - lags[i]]`` with the b that minimise squares + RIDGE, each forecast fed to the next."""
    most, size = int(lags[-1]), len(values)
    past = np.stack([values[most - lag : size - lag] for lag in lags], 1)
    centre, mean = past.mean(0), values[most:].mean()
    past -= centre
    square = past.T @ past
    square += RIDGE * max(np.trace(square) / len(lags), np.finfo(float).tiny) * np.eye(len(lags))
    weights = np.linalg.solve(square, past.T @ (values[most:] - mean))
    constant = mean - centre @ weights
    longer = np.concatenate([values, np.empty(ahead)])
    for t in range(size, size + ahead):
        longer[t] = constant + weights @ longer[t - lags]
    return longer[size:]


def _smoothed(values: Floats) -> Floats:
    """The mean of each and the `SMOOTH` on either side of it."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    at = np.arange(len(values))
    low, high = np.maximum(at - SMOOTH, 0), np.minimum(at + SMOOTH + 1, len(values))
    means: Floats = (sums[high] - sums[low]) / (high - low)
    return means
