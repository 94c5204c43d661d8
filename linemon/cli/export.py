"""`linemon export`: rows as a file."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from linemon.cli._terminal import column_names, need_columns, store_of
from linemon.config import Config
from linemon.errors import AskedWrongly, LinemonError

HELP = "rows out, oldest first"
EXAMPLE = "linemon export web1 --since 10m --format csv -o web1.csv"
READS_ONLY = True
FORMATS = ("csv", "jsonl", "parquet")


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="SOURCE")
    parser.add_argument("--since", metavar="WHEN", help="a span such as 10m, 2h, 1h30m, 3d, or a time (UTC); inclusive")
    parser.add_argument("--until", metavar="WHEN", help="likewise; exclusive")
    parser.add_argument("--format", choices=FORMATS, default="csv")
    parser.add_argument("--columns", metavar="a,b", type=column_names, default=(), help="default: all")
    parser.add_argument("-o", dest="out", metavar="FILE", help="default: standard output")


def run(config: Config, options: argparse.Namespace) -> int:
    """The rows of a source from `--since` up to, not including, `--until`."""
    import numpy as np

    from linemon.store.formats import FORMATS
    from linemon.when import when

    now = time.time_ns()
    try:
        start, end = (np.datetime64(when(text, now), "ns") if text else None for text in (options.since, options.until))
    except ValueError as error:
        raise AskedWrongly(str(error)) from None
    rows = store_of(config)[options.source].between(start, end)
    if options.columns:
        need_columns(rows.source, options.columns, rows.columns)
        rows = rows.select(options.columns)
    write = FORMATS[options.format]
    if options.out is None:
        write(rows, sys.stdout.buffer)
        return 0
    # Under its name only when it is whole: a half-written export looks like data.
    draft = Path(options.out + ".part")
    try:
        with draft.open("wb") as file:
            write(rows, file)
        draft.rename(options.out)
    except OSError as error:
        raise LinemonError(f"cannot write {options.out}: {error.strerror}") from error
    finally:
        draft.unlink(missing_ok=True)
    return 0
