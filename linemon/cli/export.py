"""`linemon export`: rows as a file."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from linemon.cli._terminal import (
    Progress,
    column_names,
    is_one,
    need_columns,
    sources_of,
    store_of,
    warn_if_stale,
)
from linemon.config import Config
from linemon.errors import AskedWrongly, LinemonError

if TYPE_CHECKING:
    from linemon.store.formats import Table
    from linemon.store.reader import Store
    from linemon.store.rows import Rows

HELP = "rows out, oldest first, or minutes, hours, days of them"
EXAMPLE = "linemon export web1 --since 10m --format csv -o web1.csv; linemon export 'room*' '!room-test'"
READS_ONLY = True
FORMATS = ("csv", "jsonl", "parquet", "hdf5")


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "sources",
        metavar="SOURCE",
        nargs="+",
        help="or a pattern, as 'room*'; '!room1' takes away",
    )
    parser.add_argument("--since", metavar="WHEN", help="a span such as 10m, 2h, 1h30m, 3d, or a time (UTC); inclusive")
    parser.add_argument("--until", metavar="WHEN", help="likewise; exclusive")
    parser.add_argument("--every", metavar="1m", help="buckets of this length, of history too: min, max, mean, count")
    parser.add_argument("--format", choices=FORMATS, default="csv")
    parser.add_argument("--columns", metavar="a,b", type=column_names, default=(), help="default: all")
    parser.add_argument("-o", dest="out", metavar="FILE", help="or FOLDER/, a file each; default: standard output")
    parser.add_argument("--frozen", metavar="NAME", help="a file each in a folder NAME, with a manifest, written once")


class Asked(NamedTuple):
    """What is to be written: of these sources [start, end) in ns, None = open; `every` in ns, 0 = rows."""

    store: Store
    names: list[str]
    start: int | None
    end: int | None
    every: int
    columns: tuple[str, ...]


def run(config: Config, options: argparse.Namespace) -> int:
    """The rows of sources, from `--since` up to, not including, `--until`."""
    from linemon.store.formats import FORMATS

    store, out, kind = store_of(config), options.out, options.format
    warn_if_stale(store)
    asked = asked_for(store, options)
    write, progress = FORMATS[kind], Progress(len(asked.names))
    if options.frozen:
        from linemon.cli._frozen import freeze

        folder = Path(out) if out else config.state_folder / "frozen"
        said = freeze(folder, options.frozen, kind, asked, progress)
        progress.end()
        print(said)
        return 0
    if out and (out.endswith("/") or Path(out).is_dir()):
        folder = Path(out)
        folder.mkdir(parents=True, exist_ok=True)
        for name in asked.names:
            to_file(file_of(folder, name, kind), kind, tables(asked._replace(names=[name])), progress)
    elif kind == "hdf5":
        if not out:
            raise AskedWrongly("hdf5 is written to a file: -o FILE.h5, or -o FOLDER/ for a file each")
        to_file(Path(out), kind, tables(asked), progress)
    else:
        table = iter([one_table(asked, is_one=is_one(store, options.sources))])
        if out:
            to_file(Path(out), kind, table, progress)
        else:
            write(progress.watch(table), sys.stdout.buffer)
    progress.end()
    return 0


def asked_for(store: Store, options: argparse.Namespace) -> Asked:
    """What the options ask for. AskedWrongly for times, spans and columns that cannot be."""
    from linemon.when import span_ns, when

    every = span_ns(options.every) if options.every else 0
    if every is None or (options.every and (not every or options.every.startswith("-"))):
        raise AskedWrongly(f"--every {options.every!r} is not a span such as 10s, 1m, 1h30m")
    now = time.time_ns()
    try:
        start, end = (when(text, now) if text else None for text in (options.since, options.until))
    except ValueError as error:
        raise AskedWrongly(str(error)) from None
    names = sources_of(store, options.sources, history=bool(every))
    there = dict.fromkeys(column for name in names for column in store[name].columns)
    need_columns(", ".join(options.sources), options.columns, tuple(there))
    return Asked(store, names, start, end, every, options.columns)


def file_of(folder: Path, source: str, kind: str) -> Path:
    """The file of one source in a folder; its name cannot lead out of it."""
    return folder / f"{quote(source, safe=' ;=,@+')}.{kind}"


def to_file(path: Path, kind: str, tables: Iterator[Table], progress: Progress) -> None:
    """Under its name only when it is whole: a half-written export looks like data."""
    from linemon.store.formats import FORMATS

    draft = path.with_name(path.name + ".part")
    try:
        with draft.open("w+b") as file:
            FORMATS[kind](progress.watch(tables), file)
        draft.rename(path)
    except OSError as error:
        raise LinemonError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        draft.unlink(missing_ok=True)


def tables(asked: Asked) -> Iterator[Table]:
    """A table for each source."""
    return (one_table(asked._replace(names=[name]), is_one=True) for name in asked.names)


def one_table(asked: Asked, *, is_one: bool) -> Table:
    """What is to be written as one table; of several sources unless `is_one`."""
    from linemon.store.formats import in_buckets, table_of, table_of_all

    if not is_one:
        if asked.every:
            raise AskedWrongly("--every takes one source, not several; or say -o FOLDER/ for a file each, or hdf5")
        return table_of_all(list(rows_of(asked)))
    if asked.every and (older := buckets_of(asked)):
        return older
    (rows,) = rows_of(asked)
    return in_buckets(rows, asked.every) if asked.every else table_of(rows)


def buckets_of(asked: Asked) -> Table | None:
    """Buckets of rows and history of one source; None where there is no history."""
    from linemon.store.formats import table_of_history

    source = asked.store[asked.names[0]]
    kept = source.kept
    if len(kept) < 2 and source.rows:
        return None
    first, last = min((level.begin for level in kept), default=0), max((level.end for level in kept), default=-1) + 1
    begin, stop = max(first, asked.start or 0), last if asked.end is None else min(asked.end, last)
    columns = [column for column in asked.columns or source.columns if column in source.columns]
    return table_of_history(source, begin, stop, asked.every, columns)


def rows_of(asked: Asked) -> Iterator[Rows]:
    """The rows of each source, of those columns that it has; of several sources only those that have one."""
    import numpy as np

    start, end = (None if each is None else np.datetime64(each, "ns") for each in (asked.start, asked.end))
    for name in asked.names:
        rows = asked.store[name].between(start, end)
        if asked.columns:
            rows = rows.select(tuple(column for column in asked.columns if column in rows.columns))
        if rows.columns or len(asked.names) == 1:
            yield rows
