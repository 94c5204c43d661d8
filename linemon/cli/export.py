"""`linemon export`: rows as a file."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import quote

from linemon.cli._terminal import column_names, is_pattern, need_columns, sources_of, store_of, warn_if_stale
from linemon.config import Config
from linemon.errors import AskedWrongly, LinemonError

if TYPE_CHECKING:
    from linemon.store.formats import Table
    from linemon.store.reader import Store
    from linemon.store.rows import Rows

HELP = "rows out, oldest first, or minutes, hours, days of them"
EXAMPLE = "linemon export web1 --since 10m --format csv -o web1.csv; linemon export 'room*'"
READS_ONLY = True
FORMATS = ("csv", "jsonl", "parquet")


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="SOURCE", help="or a pattern, as 'room*', for one table, or a file each")
    parser.add_argument("--since", metavar="WHEN", help="a span such as 10m, 2h, 1h30m, 3d, or a time (UTC); inclusive")
    parser.add_argument("--until", metavar="WHEN", help="likewise; exclusive")
    parser.add_argument("--every", metavar="1m", help="buckets of this length, of history too: min, max, mean, count")
    parser.add_argument("--format", choices=FORMATS, default="csv")
    parser.add_argument("--columns", metavar="a,b", type=column_names, default=(), help="default: all")
    parser.add_argument("-o", dest="out", metavar="FILE", help="or FOLDER/, a file each; default: standard output")


def run(config: Config, options: argparse.Namespace) -> int:
    """The rows of a source, or of all that fit a pattern, from `--since` up to, not including, `--until`."""
    from linemon.store.formats import FORMATS

    store, out = store_of(config), options.out
    warn_if_stale(store)
    write = FORMATS[options.format]
    if out and (out.endswith("/") or Path(out).is_dir()):
        folder = Path(out)
        folder.mkdir(parents=True, exist_ok=True)
        for name in sources_of(store, options.source):
            one = argparse.Namespace(**{**vars(options), "source": name})
            to_file(folder / f"{quote(name, safe=' ;=,@+')}.{options.format}", write, table_asked(store, one))
    elif out:
        to_file(Path(out), write, table_asked(store, options))
    else:
        write(table_asked(store, options), sys.stdout.buffer)
    return 0


def to_file(path: Path, write: Callable[[Table, BinaryIO], None], table: Table) -> None:
    """Under its name only when it is whole: a half-written export looks like data."""
    draft = path.with_name(path.name + ".part")
    try:
        with draft.open("wb") as file:
            write(table, file)
        draft.rename(path)
    except OSError as error:
        raise LinemonError(f"cannot write {path}: {error.strerror}") from error
    finally:
        draft.unlink(missing_ok=True)


def table_asked(store: Store, options: argparse.Namespace) -> Table:
    """What is to be written. AskedWrongly for times, spans and columns that cannot be."""
    from linemon.store.formats import in_buckets, table_of, table_of_all
    from linemon.when import span_ns

    length = span_ns(options.every) if options.every else 0
    if length is None or (options.every and (not length or options.every.startswith("-"))):
        raise AskedWrongly(f"--every {options.every!r} is not a span such as 10s, 1m, 1h30m")
    if length and is_pattern(store, options.source):
        raise AskedWrongly("--every takes one source, not a pattern; or say -o FOLDER/, for a file each")
    if length and (older := buckets_asked(store, options, length)):
        return older
    found = list(rows_asked(store, options))
    if not is_pattern(store, options.source):
        return in_buckets(found[0], length) if length else table_of(found[0])
    return table_of_all(found)


def buckets_asked(store: Store, options: argparse.Namespace, length: int) -> Table | None:
    """Buckets of rows and history; None where there is no history."""
    from linemon.store.formats import table_of_history

    source = store[options.source]
    kept = source.kept
    if len(kept) < 2 and source.rows:
        return None
    need_columns(source.name, options.columns, source.columns)
    start, end = span_asked(options)
    first, last = min((level.begin for level in kept), default=0), max((level.end for level in kept), default=-1) + 1
    begin, stop = max(first, 0 if start is None else start), last if end is None else min(end, last)
    return table_of_history(source, begin, stop, length, options.columns or source.columns)


def span_asked(options: argparse.Namespace) -> tuple[int | None, int | None]:
    """`--since` and `--until` in ns. AskedWrongly where they are no times."""
    from linemon.when import when

    now = time.time_ns()
    try:
        return tuple(when(text, now) if text else None for text in (options.since, options.until))  # type: ignore[return-value]
    except ValueError as error:
        raise AskedWrongly(str(error)) from None


def rows_asked(store: Store, options: argparse.Namespace) -> Iterator[Rows]:
    """The rows of each source that is meant."""
    import numpy as np

    start, end = (None if each is None else np.datetime64(each, "ns") for each in span_asked(options))
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
