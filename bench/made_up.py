"""Made-up data with known answers, by seed: hosts with anomalies, groups of series, series that change."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Random = np.random.Generator

DAY = 1440  # minutes
KINDS: Final = ("daily and weekly", "busy load", "bursty rate", "disk sawtooth", "nightly job", "flat with ticks")
ANOMALIES: Final = ("spike", "shift", "wrong hour", "stuck", "wild", "dip")
WEEKLY, BUSY, BURSTY, SAWTOOTH, NIGHTLY, FLAT = range(6)
SPIKE, SHIFT, WRONG_HOUR, STUCK, WILD, DIP = range(6)
FIRST_ANOMALY = 15 * DAY
AFTER = 30  # minutes that still count as part of an anomaly
START_S = 1764028800.0  # a Tuesday


def _drifting(random: Random, size: tuple[int, int], likeness: float) -> Floats:
    """Columns of normal noise of variance 1, each value like the one before by `likeness`."""
    noise = random.normal(size=size)
    values = np.empty(size)
    values[0] = noise[0]
    for at in range(1, size[0]):
        values[at] = likeness * values[at - 1] + np.sqrt(1 - likeness**2) * noise[at]
    return values


def hosts(seed: int, per_kind: int = 40, days: int = 28) -> tuple[Floats, Floats, Mask, Ints]:
    """Times (n,) in s, values (n, k) a minute, whether each is of an anomaly, and the anomaly of each column or -1.

    `per_kind` columns of each of `KINDS`; every other one has an anomaly in the time after `FIRST_ANOMALY`.
    """
    random = np.random.default_rng(seed)
    size, columns = days * DAY, per_kind * len(KINDS)
    minute: Ints = np.arange(size) % DAY
    time: Floats = np.arange(size, dtype=np.float64) * 60.0 + START_S
    weekend = (time // 86400 + 3) % 7 >= 5
    usual: Floats = np.zeros((size, columns))
    spread: Floats = np.empty(columns)
    for i in range(columns):
        usual[:, i], spread[i] = _usual(random, i // per_kind, minute, weekend, i)
    noise = _drifting(random, (size, columns), 0.7)
    values = usual + spread * noise
    for i in range(columns):
        kind = i // per_kind
        if kind == BUSY:
            values[:, i] = np.abs(usual[:, i] + spread[i] * (noise[:, i] + 0.6 * noise[:, i] ** 2))
        elif kind == BURSTY:
            values[:, i] = np.maximum(0, np.exp(4 + 0.8 * noise[:, i]))
        elif kind == FLAT:
            values[:, i] = np.round(values[:, i], 1)
        elif kind == NIGHTLY:
            values[:, i] += (random.random(size) < 0.002) * 8
    strange: Mask = np.zeros((size, columns), bool)
    what: Ints = np.full(columns, -1)
    for i in range(0, columns, 2):
        what[i], begin, length = _plant(random, values[:, i], spread[i] * noise[:, i], (i // 2) % 6, i // per_kind)
        strange[begin : begin + length + AFTER, i] = True
    return time, values, strange, what


def _usual(
    random: Random, kind: int, minute: Ints, weekend: npt.NDArray[np.bool_], column: int
) -> tuple[Floats, float]:
    phase = random.uniform(0, DAY)
    day: Floats = np.sin(2 * np.pi * (minute + phase) / DAY)
    if kind == WEEKLY:
        noon = 25 * np.exp(-(((minute - 840 + random.normal() * 60) / 240.0) ** 2))
        return 40 + (noon + 6 * day) * np.where(weekend, random.uniform(0.2, 0.5), 1), 2.0
    if kind == BUSY:
        return 30 + 5 * day, 6.0
    if kind == SAWTOOTH:
        period = random.integers(3, 9) * DAY
        part: Floats = ((np.arange(len(minute), dtype=np.float64) + phase * 3) % float(period)) / float(period)
        return 40 + 30 * part, 0.2
    if kind == NIGHTLY:
        busy: Floats = np.where((minute > 120) & (minute < 140 + 10 * (column % 3)), 60.0, 0.0)
        return 10.0 + busy, 2.0
    level: Floats = np.full(len(minute), 100.0 if kind == BURSTY else 5.0)
    return level, 20.0 if kind == BURSTY else 0.05


def _plant(random: Random, values: Floats, noise: Floats, what: int, kind: int) -> tuple[int, int, int]:
    """Put an anomaly into a column: which, where it begins, and for how many minutes."""
    begin = int(random.integers(FIRST_ANOMALY, len(values) - 400))
    whole = float(values.std())
    length = (5, 180, 60, 120, 60, 15)[what]
    if what == WRONG_HOUR:
        if kind == NIGHTLY:
            begin, length = begin // DAY * DAY + 130, 20
        elif kind == WEEKLY:
            begin = begin // DAY * DAY + 840
        else:
            what, length = SHIFT, 180
    step = max(float(np.std(np.diff(values))), 1e-3)
    inside = slice(begin, begin + length)
    if what == SPIKE:
        values[inside] += 8 * max(step, 0.7 * whole)
    elif what == SHIFT:
        values[inside] += 5 * max(step, 0.5 * whole)
    elif what == WRONG_HOUR:
        values[inside] = values[begin - 700 : begin - 700 + length] if kind == WEEKLY else 10 + noise[inside]
    elif what == STUCK:
        values[inside] = values[begin]
    elif what == WILD:
        values[inside] += random.normal(size=length) * 6 * step
    else:
        values[inside] -= 8 * max(step, 0.5 * whole)
    return what, begin, length


def grouped(seed: int, count: int = 200, groups: int = 12, minutes: int = DAY) -> tuple[Floats, Ints]:
    """Series (count, minutes), and the group of each: 7 of 10 follow one of `groups` factors, the others none."""
    random = np.random.default_rng(seed)
    members = int(count * 0.7)
    labels = np.concatenate([random.integers(0, groups, members), np.arange(groups, groups + count - members)])
    factors = _walks(random, groups, minutes)
    series = np.empty((count, minutes))
    for i, label in enumerate(labels):
        if label < groups:
            weight = random.choice([-1, 1]) * random.uniform(0.5, 2)
            series[i] = weight * factors[label] + random.normal(size=minutes) * random.uniform(0.3, 0.8)
        else:
            series[i] = _walks(random, 1, minutes)[0]
        shared = np.sin(np.arange(minutes) / minutes * 2 * np.pi + 0.3)  # the day that everything has in it
        series[i] += shared * random.uniform(0, 2) * (random.random() < 0.6)
        if random.random() < 0.05:
            series[i, random.random(minutes) < 0.01] += 30
    return series, labels


def _walks(random: Random, count: int, minutes: int) -> Floats:
    steps = 0.4 * random.normal(size=(count, minutes))
    for at in range(1, minutes):
        steps[:, at] += 0.95 * steps[:, at - 1]
    return steps


def rand_index(a: Ints, b: Ints) -> float:
    """1 where two groupings are the same, 0 as by chance: Hubert and Arabie, Journal of Classification 2 (1985) 193."""
    table = np.zeros((int(a.max()) + 1, int(b.max()) + 1))
    np.add.at(table, (a, b), 1)
    pairs = [float((each * (each - 1) / 2).sum()) for each in (table, table.sum(0), table.sum(1))]
    expected = pairs[1] * pairs[2] / (len(a) * (len(a) - 1) / 2)
    return (pairs[0] - expected) / ((pairs[1] + pairs[2]) / 2 - expected)


def changing(seed: int, count: int = 300, changes: int = 10, span: int = 60, spans: int = 5) -> tuple[Floats, Ints]:
    """Series (count, spans * span), and which of them change in the last span: the level, or the spread.

    Noise with and without memory, days, bursts, and slow drifts, of any size.
    """
    random = np.random.default_rng(seed)
    size = span * spans
    series = np.empty((count, size))
    for i in range(count):
        values = _drifting(random, (size + 100, 1), random.uniform(0.3, 0.95))[100:, 0]
        if i % 4 == 1:
            values += 2 * np.sin(2 * np.pi * (np.arange(size) + random.uniform(0, DAY)) / DAY)
        elif i % 4 == 2:
            values = np.exp(0.8 * values)
        elif i % 4 == 3:
            values += random.uniform(-1, 1) * np.arange(size) / size * 1.5
        series[i] = values * 10 ** random.uniform(-2, 6) + 100 * random.normal()
    chosen = random.choice(count, changes, replace=False)
    for number, i in enumerate(chosen):
        last = series[i, size - span :]
        if number % 2:
            last += random.choice([-1, 1]) * random.uniform(3, 5) * series[i].std()
        else:
            wider = random.uniform(3, 5) if number % 4 else 1 / random.uniform(5, 8)
            last[:] = last.mean() + (last - last.mean()) * wider
    return series, chosen
