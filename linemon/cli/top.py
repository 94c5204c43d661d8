"""`linemon top`: all sources, live in the terminal."""

from __future__ import annotations

import argparse

from linemon.cli._terminal import store_of, warn_if_stale
from linemon.config import Config

HELP = "sources and their newest values, live in the terminal"
EXAMPLE = "linemon top"
READS_ONLY = True


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--once", action="store_true", help="print the table once and exit")


def run(config: Config, options: argparse.Namespace) -> int:
    from linemon.cli import _screen

    store = store_of(config)
    if options.once:
        warn_if_stale(store)
    try:
        return _screen.top(store, once=options.once)
    except KeyboardInterrupt:
        return 0
