"""`linemon export`: rows as a file."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from linemon.cli._terminal import column_names, is_pattern, need_columns, sources_of, store_of, warn_if_stale
from linemon.config import Config
from linemon.errors import AskedWrongly, LinemonError

if TYPE_CHECKING:
    from linemon.store.formats import Table
    from linemon.store.reader import Store
    from linemon.store.rows import Rows

HELP = "rows out, oldest first"
EXAMPLE = "linemon export web1 --since 10m --format csv -o web1.csv; linemon export 'room*'"
READS_ONLY = True
FORMATS = ("csv", "jsonl", "parquet")


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="SOURCE", help="or a pattern, as 'room*', for a table of all that fit it")
    parser.add_argument("--since", metavar="WHEN", help="a span such as 10m, 2h, 1h30m, 3d, or a time (UTC); inclusive")
    parser.add_argument("--until", metavar="WHEN", help="likewise; exclusive")
    parser.add_argument("--every", metavar="1m", help="buckets of this length: min, max, mean, count of each column")
    parser.add_argument("--format", choices=FORMATS, default="csv")
    parser.add_argument("--columns", metavar="a,b", type=column_names, default=(), help="default: all")
    parser.add_argument("-o", dest="out", metavar="FILE", help="default: standard output")


def run(config: Config, options: argparse.Namespace) -> int:
    """The rows of a source, or of all that fit a pattern, from `--since` up to, not including, `--until`."""
    from linemon.store.formats import FORMATS

    store = store_of(config)
    table = table_asked(store, options)
    warn_if_stale(store)
    write = FORMATS[options.format]
    if options.out is None:
        write(table, sys.stdout.buffer)
        return 0
    # Under its name only when it is whole: a half-written export looks like data.
    draft = Path(options.out + ".part")
    try:
        with draft.open("wb") as file:
            write(table, file)
        draft.rename(options.out)
    except OSError as error:
        raise LinemonError(f"cannot write {options.out}: {error.strerror}") from error
    finally:
        draft.unlink(missing_ok=True)
    return 0


def table_asked(store: Store, options: argparse.Namespace) -> Table:
    """What is to be written. AskedWrongly for times, spans and columns that cannot be."""
    from linemon.store.formats import in_buckets, table_of, table_of_all
    from linemon.when import span_ns

    length = span_ns(options.every) if options.every else 0
    if length is None or (options.every and (not length or options.every.startswith("-"))):
        raise AskedWrongly(f"--every {options.every!r} is not a span such as 10s, 1m, 1h30m")
    found = list(rows_asked(store, options))
    if not is_pattern(store, options.source):
        return in_buckets(found[0], length) if length else table_of(found[0])
    if length:
        raise AskedWrongly("--every takes one source, not a pattern")
    return table_of_all(found)


def rows_asked(store: Store, options: argparse.Namespace) -> Iterator[Rows]:
    """The rows of each source that is meant."""
    import numpy as np

    from linemon.when import when

    now = time.time_ns()
    try:
        start, end = (np.datetime64(when(text, now), "ns") if text else None for text in (options.since, options.until))
    except ValueError as error:
        raise AskedWrongly(str(error)) from None
    names = sources_of(store, options.source)
    if len(names) > 1 or is_pattern(store, options.source):
        there = {column for name in names for column in store[name].columns}
        need_columns(options.source, options.columns, tuple(sorted(there)))
    for name in names:
        rows = store[name].between(start, end)
        if options.columns:
            if len(names) == 1:
                need_columns(name, options.columns, rows.columns)
            rows = rows.select(tuple(column for column in options.columns if column in rows.columns))
        if rows.columns:
            yield rows
