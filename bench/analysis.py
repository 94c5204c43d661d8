"""`make bench-analysis DATA=FOLDER`: how good the built-in analyses are, beside published figures. docs/ANALYSIS.md.

FOLDER has `nab` (github.com/numenta/NAB: its `data` and `labels`) and `m4` (Hourly-train.csv and Hourly-test.csv of
github.com/Mcompetitions/M4-methods); without one, what needs it is left out. What had to be chosen was chosen with half
A of NAB and seed 1 of the made-up hosts; all else only says how it stands.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench import libraries, m4, made_up, nab
from linemon.analysis import changed, forecast, groups, spectrum, strange

Floats = nab.Floats
HOST_COLUMNS, TOGETHER, TOGETHER_STEPS = 40, 4, 10
GAP_MINUTES = 60  # detections closer than this are one event


@dataclass
class Table:
    """Rows as `strange` gets them."""

    time: Any
    values: Floats
    columns: tuple[str, ...]

    @classmethod
    def of(cls, seconds: Floats, values: Floats) -> Table:
        return cls(
            (seconds * 1e9).astype(np.int64).view("M8[ns]"), values, tuple(f"c{i}" for i in range(values.shape[1]))
        )

    @property
    def units(self) -> tuple[str, ...]:
        return ("",) * len(self.columns)

    def __getitem__(self, column: str) -> Floats:
        return self.values[:, self.columns.index(column)]


def say(name: str, figure: str, wanted: str = "", published: str = "") -> None:
    print(f"{name:58} {figure:>26} {wanted:>16}  {published}", flush=True)


# -- strange


def scores(series: nab.Series, **options: Any) -> Floats:
    """What `strange` says of each row of a file of NAB."""
    step = float(np.median(np.diff(series.time)))
    ordered = np.maximum.accumulate(series.time)
    rows = Table.of(np.append(ordered, ordered[-1] + step), np.append(series.values, np.nan)[:, None])
    ends, found = strange.strange(rows, {}, step=step, **options)
    by_step = dict(zip((ends.astype(np.int64) / 1e9 // step - 1).tolist(), found["c0.score:"].tolist(), strict=True))
    answer: Floats = np.nan_to_num(np.array([by_step.get(number, 0.0) for number in (ordered // step).tolist()]))
    return answer


def bench_nab(folder: Path) -> None:
    data = nab.load(folder / "nab")
    half_a, half_b = ({name: data[name] for name in half} for half in nab.halves(data))
    ways: Mapping[str, tuple[dict[str, Any], str, str]] = {
        "record alone": ({"by": ["record"]}, ">= 53", ">= 50"),
        "record and cusum": ({"by": ["record"], "cusum": ["*"]}, ">= 60", ">= 55"),
        "all": ({}, "", ""),
    }
    for way, (options, wanted, wanted_b) in ways.items():
        found = {name: scores(series, **options) for name, series in data.items()}
        for profile in nab.PROFILES:
            best, level = nab.score(data, found, profile)
            first = profile == "standard"
            published = "ARTime 74.9, HTM 70.1, Random Cut Forest 51.7, Twitter 47.1" if first else ""
            say(f"strange, NAB {profile}, {way}", f"{best:.1f} at {level:.2f}", wanted if first else "", published)
        _, level = nab.score(half_a, found)
        say(
            f"strange, NAB half B at half A's level, {way}", f"{nab.score(half_b, found, level=level)[0]:.1f}", wanted_b
        )
        say(f"strange, NAB at its own level 1, {way}", f"{nab.score(data, found, level=1.0)[0]:.1f}")
        say(f"strange, NAB false events a series-day, {way}", f"{nab.false_events(data, found, 1.0):.3f}", "<= 0.12")


def bench_hosts(seeds: Sequence[int]) -> None:
    for seed in seeds:
        seconds, values, planted, what = made_up.hosts(seed)
        state: dict[str, Any] = {}
        said = np.zeros(values.shape, bool)
        begin = time.process_time()
        for day in range(0, len(values), made_up.DAY):
            part = slice(day, day + made_up.DAY)
            ends, found = strange.strange(Table.of(seconds[part], values[part]), state)
            at = ((ends.astype(np.int64) // 10**9 - seconds[0]) // 60 - 1).astype(int)
            said[at] = np.stack([found[f"c{i}.score:"] for i in range(values.shape[1])], 1) >= 1
        cost = (time.process_time() - begin) / values.size * 1e6
        columns = range(values.shape[1])
        caught = [bool((said[:, i] & planted[:, i]).any()) for i in columns if what[i] >= 0]
        wrong = said & ~planted
        wrong[: made_up.FIRST_ANOMALY] = False
        days = (len(values) - made_up.FIRST_ANOMALY) / made_up.DAY
        name = f"strange, made-up hosts, seed {seed}"
        say(f"{name}: recall", f"{np.mean(caught):.3f}", ">= 0.85")
        say(
            f"{name}: false a series-day",
            f"{sum(events(wrong[:, i]) for i in columns) / len(columns) / days:.3f}",
            "<= 0.25",
        )
        hosts = values.shape[1] // HOST_COLUMNS
        both = sum(events(together(wrong[:, first::hosts])) for first in range(hosts)) / hosts / days
        say(f"{name}: four columns at once, false a host-day", f"{both:.3f}", "<= 0.03")
        say(f"{name}: us a point, rows of {len(columns)}", f"{cost:.2f}", "<= 2")


def events(flags: Any) -> int:
    """Runs of true ones, those less than an hour apart taken as one."""
    at = np.flatnonzero(flags)
    return int(len(at) > 0) + int((np.diff(at) > GAP_MINUTES).sum())


def together(flags: Any) -> Any:
    """When four columns were strange within ten minutes, which is what `strange_columns` counts."""
    held = np.zeros(flags.shape, bool)
    for late in range(TOGETHER_STEPS):
        held[late:] |= flags[: len(flags) - late]
    return held.sum(1) >= TOGETHER


# -- the others


def bench_forecast(folder: Path) -> None:
    past, after = m4.load(folder / "m4")
    begin = time.process_time()
    found = [forecast.one(series, m4.AHEAD, (24, 168)) for series in past]
    cost = (time.process_time() - begin) / len(past) * 1e3
    expected = [each[0] for each in found]
    percent, scaled = m4.measures(past, after, expected)
    score, inside = m4.intervals(past, after, [e - w for e, w, *_ in found], [e + w for e, w, *_ in found])
    naive = m4.owa(past, after, [series[-24:][np.arange(m4.AHEAD) % 24] for series in past])
    say(
        "forecast, M4 hourly, 414 series: OWA",
        f"{m4.owa(past, after, expected):.3f}",
        "<= 0.45",
        "best 0.410, winner 0.440",
    )
    say("forecast, M4 hourly: seasonal naive's OWA", f"{naive:.3f}", "", "0.628")
    say("forecast, M4 hourly: sMAPE, MASE", f"{percent:.2f} %, {scaled:.3f}")
    say("forecast, M4 hourly: MSIS", f"{score:.2f}", "<= 7.5", "best 6.14, ARIMA 7.54, ETS 17.5")
    say("forecast, M4 hourly: values within 95 %", f"{inside:.3f}", "0.92 to 0.97")
    say("forecast, M4 hourly: ms a series", f"{cost:.1f}", "<= 30")


def bench_spectrum() -> None:
    random, minutes = np.random.default_rng(1), np.arange(14 * made_up.DAY)
    waves = 10 * np.sin(2 * np.pi * minutes / 1440 + 1) + 5 * np.cos(2 * np.pi * minutes / 10080)
    found = spectrum.periods(50 + 3e-4 * minutes + waves + 3 * random.normal(size=len(minutes)))
    say(
        "spectrum, 14 days with a day and a week",
        ", ".join(f"{period:.1f}" for period, _ in found[:2]),
        "1440, 10080 +-1 %",
    )


def bench_groups() -> None:
    for seed in (1, 2, 3):
        series, labels = made_up.grouped(seed)
        r = groups.correlations(series.reshape(len(series), -1, 5).mean(2), 12, 2)
        for method, found in (("linkage", groups.joined(r, 0.6)), ("affinity", groups.propagated(r, 0.5))):
            index = made_up.rand_index(labels, found)
            say(f"groups, 12 among 200, seed {seed}, {method}: Rand index", f"{index:.3f}", ">= 0.95")
    series, _ = made_up.grouped(1, 1000, 40)
    begin = time.process_time()
    groups.joined(groups.correlations(series.reshape(1000, -1, 5).mean(2), 12, 2), 0.6)
    say("groups, 1,000 series: CPU s", f"{time.process_time() - begin:.2f}", "<= 0.5")


def bench_changed() -> None:
    hits = []
    for seed in range(20):
        series, chosen = made_up.changing(seed)
        found = np.array([(changed.score(list(each.reshape(5, -1))) or (0.0,))[0] for each in series])
        hits.append(len({*np.argsort(-found)[:10].tolist()} & {*chosen.tolist()}) / 10)
    say("changed, 10 among 300, 20 seeds: precision at 10", f"{np.mean(hits):.2f} ({min(hits):.1f} at worst)", ">= 0.8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, help="with nab and m4; none = what needs no data")
    parser.add_argument("--seeds", type=int, nargs="*", default=[1, 2, 3], help="of the made-up hosts")
    parser.add_argument("--only", help="one of them, such as forecast")
    asked = parser.parse_args()
    benches: dict[str, list[Callable[[], None]]] = {
        "forecast": [lambda: bench_forecast(asked.folder)] if asked.folder else [],
        "libraries": [
            *([lambda: libraries.bench_forecast(asked.folder, say)] if asked.folder else []),
            lambda: libraries.bench_groups((1, 2, 3), say),
        ],
        "spectrum": [bench_spectrum],
        "groups": [bench_groups],
        "changed": [bench_changed],
        "strange": [lambda: bench_hosts(asked.seeds), *([lambda: bench_nab(asked.folder)] if asked.folder else [])],
    }
    say("what", "is", "wanted", "published")
    for name, each in benches.items():
        for bench in each if asked.only in (None, name) else []:
            bench()
    return 0


if __name__ == "__main__":
    sys.exit(main())
