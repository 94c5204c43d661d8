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
    from linemon.store.asking import ask
    from linemon.store.status import COLLECT_SOCKET

    request = {"do": "rename_source", "source": options.source, "to": options.to}
    ask(config.store.folder, request, COLLECT_SOCKET)
    return 0
