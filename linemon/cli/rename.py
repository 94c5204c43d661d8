"""`linemon rename`: another name for a source."""

from __future__ import annotations

import argparse

from linemon.config import Config

HELP = "give a source another name; its rows, history and marks go with it"
EXAMPLE = "linemon rename rom1 room1"


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="OLD", help="as it is called now")
    parser.add_argument("to", metavar="NEW", help="the name of no source so far")


def run(config: Config, options: argparse.Namespace) -> int:
    """Have the collector do it, and say nothing. LinemonError where it is away, or refuses it."""
    from linemon.cli._terminal import store_of
    from linemon.store.asking import post

    with store_of(config) as store:
        source = store[options.source].name
    post(config, "/api/sources/rename", [{"source": source, "to": options.to}])
    return 0
