"""`linemon sources`: what there is."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from linemon.cli._terminal import print_json, span, store_of, table
from linemon.config import Config
from linemon.errors import UnknownSource

if TYPE_CHECKING:
    from linemon.store.reader import Store

HELP = "a table of all sources"
EXAMPLE = "linemon sources --errors"
READS_ONLY = True


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="for scripts")
    parser.add_argument("--errors", action="store_true", help="the last lines that were rejected")
    parser.add_argument("--history", action="store_true", help="what is kept of each, also of those that are no more")


def run(config: Config, options: argparse.Namespace) -> int:
    """A table of all sources, or of the last bad lines, or of what is kept."""
    import time

    from linemon.store.describe import describe_all
    from linemon.when import iso_ns

    store = store_of(config)
    if options.errors:
        listed = [bad | {"time": iso_ns(bad["time"])} for bad in store.status().get("bad_lines", ())]
    elif options.history:
        listed = list(kept(store))
    else:
        now = time.time_ns()
        listed = list(describe_all(store, now))
    if options.json:
        print_json(listed)
    elif options.errors:
        names = ("time", "peer", "source", "number", "error", "line")
        table(
            ("time", "peer", "source", "line", "error", "text"),
            ([bad[name] for name in names] for bad in listed),
        )
    elif options.history:
        shown = ("source", "kept", "since", "until", "bytes")
        table(shown, ([each[name] for name in shown] for each in listed))
    else:
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
    return 0


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
