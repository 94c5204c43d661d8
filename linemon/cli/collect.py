"""`linemon collect`: the collector alone."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from linemon.config import Address, Config

HELP = "the collector alone: the line port, HTTP and the taps"
EXAMPLE = "linemon collect --config linemon.toml"


def options(parser: argparse.ArgumentParser) -> None:
    plot_server_options(parser)
    parser.add_argument(
        "--cfg",
        metavar="FILE",
        action=OptionsFromFile,
        help="a file of these three options, as http-plot-server has it",
    )


def run(config: Config, options: argparse.Namespace) -> int:
    from linemon import collector

    collector.main(with_options(config, options))
    return 0


def plot_server_options(parser: argparse.ArgumentParser) -> None:
    """The options of `http-plot-server`; as there, one without its value says nothing."""
    parser.add_argument("--host", nargs="?", metavar="HOST", help="HTTP host (overrides [http] listen)")
    parser.add_argument(
        "--port", nargs="?", metavar="PORT", type=port_number, help="HTTP port (overrides [http] listen)"
    )
    parser.add_argument(
        "--max-points", nargs="?", metavar="N", type=above_zero, help="rows kept per source (overrides [store] points)"
    )


class OptionsFromFile(argparse.Action):
    """Read options from a file, separated by blanks or newlines; what comes later on the command line counts."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: Any, values: Any, option: str | None = None) -> None:
        inner = argparse.ArgumentParser(prog=f"{parser.prog} {option} {values}", add_help=False, allow_abbrev=False)
        plot_server_options(inner)
        try:
            inner.parse_args(Path(values).read_text().split(), namespace)
        except (OSError, UnicodeDecodeError) as error:
            parser.error(f"{option} {values}: {getattr(error, 'strerror', None) or 'not a text'}")


def above_zero(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def port_number(text: str) -> int:
    try:
        return Address.parse(f"localhost:{text}").port
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port from 0 to 65535") from None


def with_options(config: Config, options: argparse.Namespace) -> Config:
    """The settings with what the command line says beside them."""
    listen, points = config.http.listen, options.max_points or config.store.points
    listen = Address(options.host or listen.host, listen.port if options.port is None else options.port)
    return replace(config, http=replace(config.http, listen=listen), store=replace(config.store, points=points))
