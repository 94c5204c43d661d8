"""Which columns move together. Correlation is not causality: what moves together may have a common cause, or none."""

from __future__ import annotations

from collections.abc import Mapping

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
)

Labels = npt.NDArray[np.int64]

HOUR_NS = 3600 * 10**9
MOST_MISSING = 0.1  # of a series
DAMPING, STEADY, MOST_ROUNDS = 0.7, 15, 400  # of affinity propagation


def groups(
    rows: Mapping[str, Series],
    *,
    step: str | float = "5m",
    shifts: int = 2,
    cut: float = 0.6,
    method: str = "linkage",
    preference: float = 0.5,
    before: Mapping[str, Series] | None = None,
) -> tuple[Times, dict[str, Outputs]]:
    """For each source ``COLUMN.group`` (0 = the largest), ``.exemplar`` (1 for the most typical of it), ``.r``.

    `r` is the mean |r| to the others of its group, nan in a group of one. Columns that miss more than a tenth of the
    span, or do not change, are left out. One row, at the last bucket of `step`.

    |r| is Spearman's: of the ranks of means of `step` less their running hour, at the best of up to `shifts` steps to
    either side. ``linkage`` joins the groups that are closest by their mean 1 - |r| until that is above `cut` (average
    linkage: Sokal and Michener, University of Kansas Science Bulletin 38 (1958) 1409; by chains of nearest neighbours:
    Murtagh, The Computer Journal 26 (1983) 354). ``affinity`` is affinity propagation with this `preference` (Frey and
    Dueck, Science 315 (2007) 972). ValueError for another method.

    `before`: what was found before, by source. A group that shares most columns with one of then has its number.
    """
    if method not in ("linkage", "affinity"):
        raise ValueError(f"method = {method!r} is neither 'linkage' nor 'affinity'")
    length = span_ns(step)
    spans = [each.time.astype(np.int64) for each in rows.values() if len(each.time)]
    outputs: dict[str, Outputs] = {source: {} for source in rows}
    if not spans:
        return times(0, length, 0), outputs
    first = min(int(span[0]) for span in spans) // length * length
    end = max(int(span[-1]) for span in spans) // length * length + length
    names, series = _aligned(rows, first, end, length)
    if not names:
        return times(0, length, 0), outputs
    r = correlations(np.array(series), max(1, HOUR_NS // length), shifts)
    labels = joined(r, cut) if method == "linkage" else propagated(r, preference)
    numbers = labels
    if before:
        numbers = _renamed(labels, np.array([_number(before.get(source), column) for source, column in names]))
    for (source, column), label, mean, is_exemplar in zip(names, numbers, *_within(r, labels), strict=True):
        outputs[source][named(column, "group")] = np.array([float(label)])
        outputs[source][named(column, "r")] = np.array([mean])
        outputs[source][named(column, "exemplar")] = np.array([float(is_exemplar)])
    return times(end - length, length, 1), outputs


def correlations(series: Floats, hour: int, shifts: int) -> Floats:
    """|r| (k, k) of finite `series` (k, n): of the ranks of what differs from the mean of `hour` values, best shift."""
    rest = series - _running_mean(series, hour)
    best = np.zeros((len(rest), len(rest)), np.float32)
    size = rest.shape[1]
    for shift in range(shifts + 1):
        ahead, behind = _ranks(rest[:, : size - shift]), _ranks(rest[:, shift:])
        r = np.abs(ahead @ behind.T)
        np.maximum(best, np.maximum(r, r.T), out=best)
    np.fill_diagonal(best, 1.0)
    return np.minimum(best.astype(np.float64), 1.0)


def _aligned(rows: Mapping[str, Series], first: int, end: int, step: int) -> tuple[list[tuple[str, str]], list[Floats]]:
    """Names and values (n,) of all columns that have enough of them and change, in the same buckets from `first` on."""
    names, series = [], []
    size = (end - first) // step
    for source, each in rows.items():
        _, means = grid(each, step, end)
        whole = np.full((size, means.shape[1]), np.nan)
        whole[size - len(means) :] = means
        for i, column in enumerate(each.columns):
            missing = size - np.isfinite(whole[:, i]).sum()
            if missing > MOST_MISSING * size:
                continue
            known = np.flatnonzero(np.isfinite(whole[:, i]))
            values = np.interp(np.arange(size), known, whole[known, i])
            if np.ptp(values) > 0:
                names.append((source, column))
                series.append(values)
    return names, series


def _running_mean(series: Floats, width: int) -> Floats:
    """The mean of the `width` values around each, fewer at the ends."""
    sums = np.concatenate([np.zeros((len(series), 1)), np.cumsum(series, 1)], 1)
    at = np.arange(series.shape[1])
    low, high = np.maximum(at - width // 2, 0), np.minimum(at + width - width // 2, series.shape[1])
    means: Floats = (sums[:, high] - sums[:, low]) / (high - low)
    return means


def _ranks(series: Floats) -> npt.NDArray[np.float32]:
    """Ranks in each row, equal values in order, less their mean and of length 1: products of two are correlations."""
    ranks = np.argsort(np.argsort(series, 1, kind="stable"), 1).astype(np.float32)
    ranks -= ranks.mean(1, keepdims=True)
    lengths = np.sqrt(np.einsum("ij,ij->i", ranks, ranks))[:, None]
    ranks /= np.maximum(lengths, np.float32(1e-30))
    return ranks


def joined(r: Floats, cut: float) -> Labels:
    """Average linkage of 1 - |r|, cut at that height: the number of each one's group."""
    count = len(r)
    apart = 1.0 - r
    np.fill_diagonal(apart, np.inf)
    sizes, member = np.ones(count), np.arange(count)
    chain: list[int] = []
    alive = np.ones(count, bool)
    while alive.sum() > 1:
        if not chain:
            chain.append(int(np.argmax(alive)))
        here = chain[-1]
        near = int(apart[here].argmin())
        if len(chain) > 1 and apart[here, chain[-2]] <= apart[here, near]:
            near = chain[-2]
        if len(chain) < 2 or near != chain[-2]:
            chain.append(near)
            continue
        del chain[-2:]
        if apart[here, near] > cut:  # nearest to each other: no other will ever be nearer to either
            for each in (here, near):
                alive[each] = False
                apart[each], apart[:, each] = np.inf, np.inf
            continue
        merged = (sizes[here] * apart[here] + sizes[near] * apart[near]) / (sizes[here] + sizes[near])
        apart[near], apart[:, near] = merged, merged
        apart[here], apart[:, here], apart[near, near] = np.inf, np.inf, np.inf
        sizes[near] += sizes[here]
        alive[here] = False
        member[member == here] = near
    return _by_size(member)


def propagated(r: Floats, preference: float) -> Labels:
    """Affinity propagation on |r|: the number of each one's group."""
    likeness = r.copy()
    np.fill_diagonal(likeness, preference)
    count, at = len(r), np.arange(len(r))
    responsible, available = np.zeros_like(r), np.zeros_like(r)
    exemplars, steady = np.zeros(count, np.int64), 0
    for _ in range(MOST_ROUNDS):
        both = available + likeness
        best = both.argmax(1)
        first = both[at, best]
        both[at, best] = -np.inf
        new = likeness - first[:, None]
        new[at, best] = likeness[at, best] - both.max(1)
        responsible = DAMPING * responsible + (1 - DAMPING) * new
        positive = np.maximum(responsible, 0)
        positive[at, at] = responsible[at, at]
        new = positive.sum(0) - positive
        own = new[at, at].copy()
        new = np.minimum(new, 0)
        new[at, at] = own
        available = DAMPING * available + (1 - DAMPING) * new
        chosen = (responsible + available).argmax(1)
        steady = steady + 1 if (chosen == exemplars).all() else 0
        exemplars = chosen
        if steady == STEADY:
            break
    centres = np.flatnonzero(exemplars == at)
    return _by_size(centres[r[:, centres].argmax(1)] if len(centres) else at)


def _by_size(member: npt.NDArray[np.int64]) -> Labels:
    """Numbers from 0 in place of any labels, the largest group first, equal ones by their first member."""
    _, first, inverse, count = np.unique(member, return_index=True, return_inverse=True, return_counts=True)
    order = np.lexsort((first, -count))
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    numbers: Labels = rank[inverse]
    return numbers


def _number(before: Series | None, column: str) -> int:
    """The group that the column was in, -1 where there was none."""
    if before is None or f"{column}.group" not in before.columns or not len(before.time):
        return -1
    number = float(before[f"{column}.group"][-1])
    return int(number) if number >= 0 else -1


def _renamed(labels: Labels, before: Labels) -> Labels:
    """The same groups, those with most in common with one of before under its number, others under unused ones."""
    pairs, count = np.unique(np.stack([labels, before])[:, before >= 0], axis=1, return_counts=True)
    new: dict[int, int] = {}
    for label, number in pairs[:, np.argsort(-count, kind="stable")].T.tolist():
        if label not in new and number not in new.values():
            new[label] = number
    taken = set(new.values())
    free = (number for number in range(len(labels) + len(new)) if number not in taken)
    for label in range(int(labels.max()) + 1):
        if label not in new:
            new[label] = next(free)
    return np.array([new[label] for label in labels.tolist()])


def _within(r: Floats, labels: Labels) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Of each the mean |r| to the others of its group, and whether it is the most typical of them."""
    same = labels[:, None] == labels
    others = same.sum(1) - 1
    sums = (r * same).sum(1) - 1
    with np.errstate(invalid="ignore"):
        mean = np.where(others > 0, sums / np.maximum(others, 1), np.nan)
    is_exemplar = np.zeros(len(r), bool)
    for label in range(int(labels.max()) + 1):
        members = np.flatnonzero(labels == label)
        is_exemplar[members[sums[members].argmax()]] = True
    return mean, is_exemplar
