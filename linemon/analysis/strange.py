"""What a column has never done before: beyond all it has seen, at this time of the day, or stuck."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from math import exp
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from linemon.analysis._series import DAY_NS, Floats, Outputs, Series, Times, named, span_ns

State = dict[str, Any]
Mask = npt.NDArray[np.bool_]

DAY_S = 86400.0
FADE_S = 14 * DAY_S  # in which a record is forgotten
SPREAD_S = DAY_S  # of the moving mean and variance
FOLLOW_S = 2 * DAY_S  # in which the level of a profile follows
SMOOTH_S = 1800.0  # of the third record: small, and for long
# What makes each record strange, in its unit: of values, in standard deviations of a day; of what differs from the
# profile, in the profile's own; of the half hour's mean of that, in standard deviations of a day.
LEVELS = np.array([[0.8], [3.0], [0.3]])
IN_OWN_SPREAD = np.array([[True], [False], [True]])
SLOTS, SLOT_S = 96, 900
PROFILE_WEIGHT = 1 / 7  # of a day
CLIP, FAR = 6.0, 100.0  # standard deviations: what lies further away moves no profile by more, and is no further
LEARN, TRUST = 1, 3  # days of values until records are told, and until those against the profile are
STUCK, STUCK_TIMES = 20, 3  # values in a row, and times as many as ever before
CUSUM_S, CUSUM_SLACK, CUSUM_CLIP, CUSUM_LEVEL = 4 * DAY_S, 1.5, 3.0, 10.0
NOTHING, TINY = 1e-9, 1e-100  # of a value, and at least: what rounding makes of equal ones


def strange(
    rows: Series,
    state: State,
    *,
    step: str | float = "1m",
    hold: str | float = "10m",
    zone: str = "UTC",
    by: Sequence[str] = ("record", "profile", "stuck"),
    cusum: Sequence[str] = (),
) -> tuple[Times, Outputs]:
    """``COLUMN.score`` of each whole `step`, strange from 1 on, and ``strange_columns``: how many were within `hold`.

    An online function: `rows` are those since the last call, `state` is a dict that it keeps. It goes by means of
    `step`. The score is the largest of these, each over its level, and 0 where nothing is new, so that an event is told
    once; `by` says which:

    - `record`: beyond the highest or lowest ever seen, which fade towards the mean within 14 days, in standard
      deviations of the last day; after a day of values;
    - `profile`: the same of what differs from a profile (96 parts of the day, workdays and weekends in `zone`; a day
      has a weight of 1/7; its level follows within 48 h), in the profile's own standard deviations, and of the mean of
      that over half an hour; after three days;
    - `stuck`: a run of 20 or more equal values, three times as long as any before; after a day.

    Columns that fit a pattern of `cusum` are strange, too, where a sum of deviations above 1.5 (of at most 3) standard
    deviations reaches 10; told once until it is 0 again. It cries at every rotation of a log.

    Records: Chandler, Journal of the Royal Statistical Society B 14 (1952) 220. Cusum: Page, Biometrika 41 (1954) 100.
    Moving variance: Finch, Incremental calculation of weighted mean and variance (2009).
    Values that come after their step is over are left out. ValueError for another `by`.
    """
    length = span_ns(step)
    _fit_columns(state, rows.columns)
    if unknown := set(by) - {"record", "profile", "stuck"}:
        raise ValueError(f"by = {sorted(unknown)[0]!r}: expected record, profile, stuck")
    mask = np.array([any(fnmatchcase(column, each) for each in cusum) for column in rows.columns], bool)
    place, hold_steps = ZoneInfo(zone), max(1, round(span_ns(hold) / length))
    ends, scores, counts = [], [], []
    for start, means in _whole_steps(rows, state, length):
        score = _judge(state, means, start, length, place, by, mask)
        state["last_strange"] = np.where(score >= 1, 0, state["last_strange"] + 1)
        ends.append(start + length)
        scores.append(score)
        counts.append(float((state["last_strange"] < hold_steps).sum()))
    table = np.array(scores).reshape(len(ends), len(rows.columns))
    outputs = {named(column, "score"): table[:, i] for i, column in enumerate(rows.columns)}
    outputs["strange_columns:"] = np.array(counts)
    return np.array(ends, np.int64).view("datetime64[ns]"), outputs


def _fit_columns(state: State, columns: tuple[str, ...]) -> None:
    """Makes the state one of these columns: new ones begin anew, those that are gone are forgotten."""
    had: list[str] = state.get("columns", [])
    if had == list(columns):
        return
    from_old = [had.index(column) if column in had else -1 for column in columns]
    new: State = {
        "sum": 0.0, "count": 0.0, "seen": 0.0, "last_strange": 1e9, "last": np.nan, "run": 0.0, "longest": 1.0,
        "level": 0.0, "variance": 0.0, "smooth": 0.0, "known": np.zeros((2, SLOTS)), "profile": np.zeros((2, SLOTS)),
        "spread": np.zeros((2, SLOTS)), "records": np.zeros((5, 3)), "cusum": np.zeros(6),
    }  # fmt: skip
    for name, begin in new.items():
        begin = np.asarray(begin, float)
        old = np.concatenate([state.get(name, np.empty((*begin.shape, 0))), begin[..., None]], -1)
        state[name] = old[..., from_old]
    state["columns"] = list(columns)


def _whole_steps(rows: Series, state: State, step: int) -> Iterator[tuple[int, Floats]]:
    """The start (ns) and the means (k,) of each step that a row of a later one shows to be over."""
    if not len(rows.time) or not rows.columns:
        return
    at = rows.time.astype("datetime64[ns]").astype(np.int64) // step
    now = np.maximum.accumulate(np.maximum(at, state.setdefault("step", int(at[0]))))
    values = np.where((at == now)[:, None], np.stack([rows[column] for column in rows.columns], 1), np.nan)
    known = np.isfinite(values)
    firsts = np.flatnonzero(np.diff(now, prepend=now[0] - 1))
    sums, counts = (np.add.reduceat(each, firsts) for each in (np.where(known, values, 0.0), known.astype(float)))
    for number, more, count in zip(now[firsts].tolist(), sums, counts, strict=True):
        if number > state["step"]:
            with np.errstate(invalid="ignore"):
                yield state["step"] * step, state["sum"] / state["count"]
            state["step"], state["sum"], state["count"] = number, np.zeros_like(more), np.zeros_like(count)
        state["sum"] = state["sum"] + more
        state["count"] = state["count"] + count


def _judge(state: State, x: Floats, start: int, step: int, zone: ZoneInfo, by: Sequence[str], cusum: Mask) -> Floats:
    """The scores (k,) of means `x` (k,), nan = missing, that begin at `start` (ns)."""
    dt = min(max((start - state.get("start", start - step)) / 1e9, step / 1e9), DAY_S)
    state["start"] = start
    known = np.isfinite(x)
    age_steps = state["seen"]
    state["seen"] = age_steps + known
    day = DAY_NS / step
    rest, spread = _against_profile(state, x, known, start, step / 1e9, dt, zone)
    in_spreads = np.where(age_steps >= day, np.clip(rest / spread, -FAR, FAR), np.nan)
    smooth = 1 - exp(-dt / SMOOTH_S)
    state["smooth"] += smooth * np.nan_to_num(np.clip(in_spreads, -CLIP, CLIP) - state["smooth"])
    three = np.stack([x, in_spreads, np.where(np.isfinite(in_spreads), state["smooth"], np.nan)])
    beyond = _record(state["records"], three, dt) / LEVELS
    beyond[0] *= (age_steps >= LEARN * day) & ("record" in by)
    beyond[1:] *= (age_steps >= TRUST * day) & ("profile" in by)
    stuck = _stuck(state, x, known) * ((age_steps >= LEARN * day) & ("stuck" in by))
    score = np.fmax(beyond.max(0), stuck)
    if cusum.any():
        score = np.fmax(score, np.where(cusum, _cusum(state["cusum"], x, known, dt), 0.0))
    return np.where(known, score, np.nan)


def _record(state: Floats, values: Floats, dt: float) -> Floats:
    """How far `values` (3, k) lie beyond all before them, each in its unit; 0 where they do not, or are missing."""
    mean, variance, high, low, count = state
    known = np.isfinite(values)
    first = known & (count == 0)
    values = np.where(known, values, mean)
    for each in (mean, high, low):
        np.copyto(each, values, where=first)
    fade = np.where(known, dt / FADE_S, 0.0)
    high += (mean - high) * fade
    low += (mean - low) * fade
    unit = np.where(IN_OWN_SPREAD, np.sqrt(variance) + NOTHING * np.abs(mean) + TINY, 1.0)
    beyond = np.where(count > 1, np.maximum(np.maximum(values - high, low - values), 0.0) / unit, 0.0)
    count += known
    _follow(mean, variance, values, known, np.maximum(1 - exp(-dt / SPREAD_S), 1 / np.maximum(count, 1)))
    np.maximum(high, values, out=high)
    np.minimum(low, values, out=low)
    return beyond


def _follow(mean: Floats, variance: Floats, values: Floats, known: Mask, weight: Floats) -> None:
    """Moves a mean and variance towards values by this weight each."""
    weight = np.where(known, weight, 0.0)
    apart = values - mean
    mean += weight * apart
    variance += weight * apart * apart
    variance *= 1 - weight


def _against_profile(
    state: State, x: Floats, known: Mask, start: int, step_s: float, dt: float, zone: ZoneInfo
) -> tuple[Floats, Floats]:
    """What differs from the profile and its level, and the standard deviation of that, both (k,); and learns."""
    local = datetime.fromtimestamp(start / 1e9, UTC).astimezone(zone)
    at = int(local.weekday() >= 5), (local.hour * 3600 + local.minute * 60) // SLOT_S
    profile, spreads, count = state["profile"][at], state["spread"][at], state["known"][at]
    new = known & (count == 0)  # of a first weekend all that is known are workdays
    seen = state["known"][0, at[1]] > 0
    np.copyto(profile, np.where(seen, state["profile"][0, at[1]], np.nan_to_num(x)), where=new)
    np.copyto(spreads, np.where(seen, state["spread"][0, at[1]], 0.0), where=new)
    rest = np.where(known, x - profile - state["level"], 0.0)
    variance, day = state["variance"], DAY_S / step_s
    learning = state["seen"] <= day
    limit = np.where(state["seen"] > day + 100, CLIP * np.sqrt(variance), np.inf)
    clipped = np.clip(rest, -limit, limit)
    unit = np.sqrt(np.maximum(variance, spreads)) + NOTHING * np.abs(profile) + TINY
    weight = np.where(known, np.maximum(PROFILE_WEIGHT * step_s / SLOT_S, 1 / (count + 1)), 0.0)
    profile += weight * np.where(learning, rest, clipped)
    spreads += np.where(learning, 0.0, weight * (clipped * clipped - spreads))
    count += known
    past_a_day = known & ~learning
    state["level"] += np.where(past_a_day, (1 - exp(-dt / FOLLOW_S)) * clipped, 0.0)
    pace = np.maximum(
        1 - exp(-dt / SPREAD_S), np.where(state["seen"] > 2 * day, 0.0, 1 / np.maximum(state["seen"] - day, 1))
    )
    variance += np.where(past_a_day, pace * (clipped * clipped - variance), 0.0)
    return rest, unit


def _stuck(state: State, x: Floats, known: Mask) -> Floats:
    """1 where a run of equal values has just become too long, else 0."""
    same = x == state["last"]
    over = known & ~same
    np.maximum(state["longest"], state["run"], out=state["longest"], where=over)
    state["run"] = np.where(over, 1.0, state["run"] + (known & same))
    np.copyto(state["last"], x, where=known)
    limit = np.maximum(STUCK, STUCK_TIMES * state["longest"] + 1)
    return np.where(known & same & (state["run"] >= limit) & (state["run"] < limit + 1), 1.0, 0.0)


def _cusum(state: Floats, x: Floats, known: Mask, dt: float) -> Floats:
    """1 where a sum of deviations has just reached its level, else 0."""
    mean, variance, above, below, told, count = state
    np.copyto(mean, x, where=known & (count == 0))
    values = np.where(known, x, mean)
    unit = np.sqrt(variance) + NOTHING * np.abs(mean) + TINY
    z = np.where(variance > 0, np.clip((values - mean) / unit, -CUSUM_CLIP, CUSUM_CLIP), 0.0)
    for total, sign in ((above, 1.0), (below, -1.0)):
        np.maximum(total + sign * z - CUSUM_SLACK, 0.0, out=total, where=known)
    largest = np.maximum(above, below)
    told[largest == 0] = 0.0
    now = known & (largest >= CUSUM_LEVEL) & (told == 0)
    told[now] = 1.0
    count += known
    _follow(mean, variance, values, known, np.maximum(1 - exp(-dt / CUSUM_S), 1 / np.maximum(count, 1)))
    return np.where(now, 1.0, 0.0)
