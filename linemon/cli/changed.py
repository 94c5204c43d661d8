"""`linemon changed`: what was different in a span of time."""

from __future__ import annotations

import argparse
import sys
import time

from linemon.cli._terminal import print_json, sources_of, store_of, table, warn_if_stale
from linemon.config import Config
from linemon.errors import AskedWrongly

HELP = "the columns that changed most in a span, against the four spans before it"
EXAMPLE = "linemon changed --from 14:00 --to 14:30 'web*'"
READS_ONLY = True
PARTS = ("score", "mean", "mean_before", "spread", "spread_before")
POINTS = 120  # of each span: means of so many parts of it, or its rows where they are fewer


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("sources", metavar="SOURCE", nargs="*", default=["*"], help="names or patterns (default: all)")
    parser.add_argument(
        "--from", dest="start", metavar="WHEN", required=True, help="10m (ago), 09:30 or ISO 8601 (UTC)"
    )
    parser.add_argument("--to", dest="end", metavar="WHEN", default="now", help="likewise (default: now)")
    parser.add_argument("--top", metavar="N", type=int, default=20, help="so many of them (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="for scripts")


def run(config: Config, options: argparse.Namespace) -> int:
    """A table, the most changed first. A score of 3 and less is what chance brings."""
    import numpy as np

    from linemon.analysis.changed import SPANS_BEFORE, changed
    from linemon.when import when

    now, store = time.time_ns(), store_of(config)
    warn_if_stale(store)
    try:
        start, end = (when(said, now) for said in (options.start, options.end))
    except ValueError as error:
        raise AskedWrongly(f"--from, --to: {error}") from None
    if start >= end:
        raise AskedWrongly(f"--from {options.start} does not lie before --to {options.end}")
    begin = start - SPANS_BEFORE * (end - start)
    first, after = np.datetime64(start, "ns"), np.datetime64(end, "ns")
    found: list[dict[str, object]] = []
    for name in sources_of(store, options.sources):
        window = store[name].window(np.datetime64(begin, "ns"), after, points=POINTS * (SPANS_BEFORE + 1))
        _, outputs = changed(window, start=first, end=after)
        values = {output.rpartition(":")[0]: float(each[0]) for output, each in outputs.items()}
        units = dict(zip(window.columns, window.units, strict=True))
        for column in window.columns:
            if f"{column}.score" in values:
                parts = {part: values[f"{column}.{part}"] for part in PARTS}
                found.append({"source": name, "column": column, "unit": units[column], **parts})
    found.sort(key=lambda each: -float(str(each["score"])))
    found = found[: options.top]
    if options.json:
        print_json(found)
    elif not found:
        print("linemon: no column has enough values in this span and before it", file=sys.stderr)
    else:
        table(
            ("source", "column", "score", "mean", "before", "spread", "before", "unit"),
            (
                [each["source"], each["column"], *(f"{each[part]:.4g}" for part in PARTS), each["unit"]]
                for each in found
            ),
        )
    return 0
