"""`linemon forget`: sources that are to be no more."""

from __future__ import annotations

import argparse
import sys

from linemon.config import Config
from linemon.errors import AskedWrongly, LinemonError

HELP = "remove sources with their rows, history and marks"
EXAMPLE = "linemon forget rom1; linemon forget 'test*' '!test-bench'"
AT_ONCE = 20  # others have their turn after so many; their names fit into a command


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("sources", metavar="NAME", nargs="+", help="a source, or a pattern, as 'room*' '!room-test'")
    parser.add_argument("--yes", action="store_true", help="do not ask before more than one is removed")


def run(config: Config, options: argparse.Namespace) -> int:
    """Have the collector do it. LinemonError where it is away, or refuses it."""
    from linemon.cli._terminal import sources_of, store_of
    from linemon.store.asking import ask
    from linemon.store.status import COLLECT_SOCKET

    with store_of(config) as store:
        names = sources_of(store, options.sources, history=True)
    if len(names) > 1 and not options.yes and not is_sure(names):
        raise LinemonError("nothing was removed")
    for at in range(0, len(names), AT_ONCE):
        ask(config.store.folder, {"do": "forget_sources", "sources": names[at : at + AT_ONCE]}, COLLECT_SOCKET)
    return 0


def is_sure(names: list[str]) -> bool:
    """Ask whether so many are meant. AskedWrongly where nobody is there to answer."""
    from linemon.cli._terminal import printable
    from linemon.store.rows import some

    what = f"{len(names)} sources would be removed: {printable(some(names))}"
    if not sys.stdin.isatty():
        raise AskedWrongly(f"{what}; --yes if that is meant")
    print(f"linemon: {what}. Remove them? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
