"""`linemon work`: history and other parts."""

from __future__ import annotations

import argparse

from linemon.config import Config

HELP = "history and what else reads the rows, in one process"
EXAMPLE = "linemon work history"


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("parts", metavar="PART", nargs="*", help="only these; default: all of linemon.toml")


def run(config: Config, options: argparse.Namespace) -> int:
    from linemon.parts import work

    work.main(config, options.parts)
    return 0
