"""`linemon sources`: what there is."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from linemon.cli._terminal import print_json, printable, sources_of, span, store_of, table, warn_if_stale
from linemon.config import Config
from linemon.errors import REASONS, AskedWrongly, UnknownSource
from linemon.patterns import fits

if TYPE_CHECKING:
    from linemon.store.reader import Store

HELP = "a table of all sources"
EXAMPLE = "linemon sources 'room*'; linemon sources --errors --reason number"
READS_ONLY = True


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("patterns", metavar="PATTERN", nargs="*", help="only these, as 'room*' '!room-test'")
    parser.add_argument("--json", action="store_true", help="for scripts")
    parser.add_argument("--errors", action="store_true", help="the last lines that were rejected, by source and time")
    parser.add_argument("--reason", metavar="WORD", help=f"only errors of this kind: {', '.join(REASONS)}")
    parser.add_argument("--history", action="store_true", help="what is kept of each, also of those that are no more")


def run(config: Config, options: argparse.Namespace) -> int:
    """A table of the sources, or with `--errors` of the last bad lines, with `--history` of what is kept."""
    if options.reason and not options.errors:
        raise AskedWrongly("--reason goes with --errors")
    if options.reason and options.reason not in REASONS:
        raise AskedWrongly(f"--reason {options.reason!r}: expected one of {', '.join(REASONS)}")
    store = store_of(config)
    warn_if_stale(store)
    if options.errors:
        show_errors(store, options)
    elif options.history:
        show_kept(store, options)
    else:
        show_sources(store, options)
    return 0


def is_meant(source: str, patterns: list[str]) -> bool:
    return not patterns or source in patterns or fits(patterns, source)


def show_errors(store: Store, options: argparse.Namespace) -> None:
    """The bad lines that the collector remembers: as JSON as they came, for people those of one source together."""
    from linemon.store.describe import natural
    from linemon.when import iso_ns

    found: list[dict[str, Any]] = [
        bad
        for bad in store.status().get("bad_lines", ())
        if options.reason in (None, bad["reason"]) and is_meant(bad["source"], options.patterns)
    ]
    if options.json:
        print_json([bad | {"time": iso_ns(bad["time"])} for bad in found])
    elif not found:
        asked = options.patterns or options.reason
        print("linemon: no bad lines" + (" of these" if asked else ""), file=sys.stderr)
    else:
        found.sort(key=lambda bad: (natural(bad["source"]), bad["time"]))
        names = ("peer", "source", "number", "reason", "error", "line")
        table(
            ("time", "peer", "source", "line", "reason", "error", "text"),
            ([iso_ns(bad["time"] // 10**9 * 10**9), *(bad[name] for name in names)] for bad in found),
        )


def show_sources(store: Store, options: argparse.Namespace) -> None:
    """The sources as people sort names, web2 before web10."""
    import time

    from linemon.store.describe import describe_all, natural

    names = sources_of(store, options.patterns) if options.patterns else store.sources()
    listed = list(describe_all(store, time.time_ns(), sorted(names, key=natural)))
    if options.json:
        print_json(listed)
        return
    table(
        ("source", "columns", "rows", "rate", "age", "rejected"),
        (
            (
                each["source"],
                len(each["columns"]),
                "-" if each["rows"] is None else each["rows"],
                "-" if each["rate_per_s"] is None else f"{each['rate_per_s']:.3g}/s",
                newest(each),
                "-" if each["rejected"] is None else each["rejected"],
            )
            for each in listed
        ),
    )
    for each in listed:
        if each["back"]:
            print(f"linemon: {printable(each['source'])} is back: it was {printable(each['back'])}", file=sys.stderr)


def show_kept(store: Store, options: argparse.Namespace) -> None:
    """What is kept of each source, in rows and in buckets."""
    listed = [each for each in kept(store) if is_meant(str(each["source"]), options.patterns)]
    shown = ("source", "kept", "since", "until", "bytes")
    if options.json:
        print_json(listed)
    else:
        table(shown, ([each[name] for name in shown] for each in listed))


def kept(store: Store) -> Iterator[dict[str, object]]:
    """A line for what is kept of each source in each way, also of those that are no more."""
    from linemon.when import iso_ns

    for name in store.sources(history=True):
        with suppress(UnknownSource):  # gone meanwhile
            for level in store[name].kept:
                span = {"since": iso_ns(level.begin), "until": iso_ns(level.end)}
                yield {"source": name, "kept": level.name, **span, "bytes": level.bytes}


def newest(described: dict[str, object]) -> str:
    """How old the newest row is, for how long there should have been one, or why it cannot be told."""
    if "error" in described:
        return str(described["error"])
    age = described["age_s"]
    if not isinstance(age, float):
        return "-"
    return f"no data for {span(age)}" if described["silent_since"] else span(age)
