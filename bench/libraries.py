"""Libraries as references, on the same data, where they are installed: they serve nobody but the reader of the table.

pip install statsmodels statsforecast scikit-learn
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np

from bench import m4, made_up
from linemon.analysis import forecast, groups

Floats = m4.Floats
Say = Callable[..., None]
SOME: Final = 24  # series of M4, as libraries take seconds for one
DISTANCE: Final = 0.6


def bench_forecast(folder: Path, say: Say) -> None:
    """Every so many of M4's hourly series."""
    past, after = m4.load(folder / "m4")
    every = len(past) // SOME
    past, after = past[::every], after[::every]

    def ours(series: Floats) -> Floats:
        found: Floats = forecast.one(series, m4.AHEAD, (24, 168))[0]
        return found

    ways: dict[str, tuple[str, Callable[[Floats], Floats]]] = {
        "ours": ("numpy", ours),
        "statsmodels, Holt-Winters": ("statsmodels", holt_winters),
        "statsforecast, MSTL": ("statsforecast", mstl),
    }
    for name, (library, way) in ways.items():
        title = f"forecast, {len(past)} of M4 hourly, {name}: OWA"
        if not find_spec(library):
            say(title, "not installed")
            continue
        way(past[0])  # some compile what they need
        begin = time.process_time()
        with warnings.catch_warnings(action="ignore"):
            found = [way(series) for series in past]
        cost = (time.process_time() - begin) / len(past) * 1e3
        say(title, f"{m4.owa(past, after, found):.3f}, {cost:,.1f} ms each")


def holt_winters(series: Floats) -> Floats:
    """Additive trend and season of a day."""
    from statsmodels.tsa.holtwinters import ExponentialSmoothing

    fitted = ExponentialSmoothing(series, trend="add", damped_trend=True, seasonal="add", seasonal_periods=24).fit()
    found: Floats = np.asarray(fitted.forecast(m4.AHEAD))
    return found


def mstl(series: Floats) -> Floats:
    """A trend by exponential smoothing, and seasons of a day and a week."""
    from statsforecast.models import MSTL

    found: Floats = np.asarray(MSTL(season_length=[24, 168]).forecast(y=series, h=m4.AHEAD)["mean"])
    return found


def bench_groups(seeds: Sequence[int], say: Say) -> None:
    """The same distances, and the plain ones of values, joined by scikit-learn."""
    if not find_spec("sklearn"):
        say("groups, scikit-learn", "not installed")
        return
    from sklearn.cluster import AgglomerativeClustering

    for seed in seeds:
        series, labels = made_up.grouped(seed)
        means = series.reshape(len(series), -1, 5).mean(2)
        plain = np.abs(np.corrcoef(means))
        for name, r in (("our distances", groups.correlations(means, 12, 2)), ("of plain values", plain)):
            model: Any = AgglomerativeClustering(
                n_clusters=None, metric="precomputed", linkage="average", distance_threshold=DISTANCE
            )
            found = model.fit_predict(1 - r)
            say(
                f"groups, scikit-learn's linkage, seed {seed}, {name}: Rand index",
                f"{made_up.rand_index(labels, found):.3f}",
            )
