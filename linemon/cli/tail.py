"""`linemon tail`: rows as they come."""

from __future__ import annotations

import argparse
import sys

from linemon.cli._terminal import column_names, need_columns, store_of, warn_if_stale
from linemon.config import Config

HELP = "rows as they come"
EXAMPLE = "linemon tail web1 --columns cpu.busy_pct,load.1m"
READS_ONLY = True


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="SOURCE", nargs="?", help="default: this machine's agent")
    parser.add_argument("--raw", action="store_true", help="numbers only, as a tap sends them")
    parser.add_argument("--columns", metavar="a,b", type=column_names, default=(), help="default: all")


def run(config: Config, options: argparse.Namespace) -> int:
    """The newest row, then every row as it comes, until interrupted."""
    from linemon.outputs.tap import raw_lines
    from linemon.when import iso

    store = store_of(config)
    source = store[options.source or config.agent.source]
    if options.raw:
        columns = options.columns or (() if options.source is None else source.columns)
    else:
        columns = options.columns or source.columns
        need_columns(source.name, columns, source.columns)
        print("time", *columns)
    warn_if_stale(store)
    rows = source.last_arrived()  # not the latest by its stamp, which may lie ahead
    try:
        while True:
            if rows.missed:
                print(f"linemon: skipped {rows.missed} rows", file=sys.stderr)
            lines = [line.decode() for line in raw_lines(rows, columns)]
            if not options.raw:
                lines = [f"{at} {line}" for at, line in zip(iso(rows.time), lines, strict=True)]
            sys.stdout.writelines(lines)
            sys.stdout.flush()
            while not len(rows := source.since(rows.cursor)):
                store.wait()
    except KeyboardInterrupt:
        return 0
