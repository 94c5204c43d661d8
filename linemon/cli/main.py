"""The `linemon` command: finds the subcommand, and says what is wrong.

Exit codes: 0 did it, 1 could not, 2 asked wrongly. What is wrong is one line on stderr; `--debug` shows where.
"""

from __future__ import annotations

import argparse
import difflib
import logging
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from keyword import iskeyword
from pathlib import Path
from typing import Any

from linemon import __version__
from linemon.config import load
from linemon.errors import AskedWrongly, ConfigError, LineError, LinemonError, StoreGone


def names() -> list[str]:
    """The commands: what lies in this folder."""
    return sorted(path.stem.rstrip("_") for path in Path(__file__).parent.glob("[!_]*.py") if path.stem != "main")


def command(name: str) -> Any:
    """The module of a command; `import` is no name for one."""
    return import_module(f"linemon.cli.{name}{'_' * iskeyword(name)}")


def overview() -> str:
    """What `linemon --help` prints."""
    lines = [f"  {name:11}{command(name).HELP}" for name in names()]
    return "\n".join(
        [
            "usage: linemon COMMAND [options]",
            "",
            "Takes lines of numbers over TCP and shows them moving in a browser a second later.",
            "",
            *lines,
            "",
            "linemon COMMAND --help shows the options of one, linemon --version the version.",
            "example: linemon up",
        ]
    )


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """What a command line asks for; SystemExit where that is help, or wrong. AskedWrongly for an unknown command."""
    name, *rest = arguments
    if name not in names():
        near = difflib.get_close_matches(name, names(), 1)
        hint = f"; did you mean {near[0]!r}?" if near else ";"
        raise AskedWrongly(f"there is no command {name!r}{hint} there are: {', '.join(names())}")
    module = command(name)
    has_own = getattr(module, "OWN_OPTIONS", False)  # they go to another program as they are, --help too
    parser = argparse.ArgumentParser(
        prog=f"linemon {name}",
        description=module.HELP[0].upper() + module.HELP[1:] + ".",
        epilog=f"example: {module.EXAMPLE}",
        add_help=not has_own,
        allow_abbrev=not has_own,
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings (default: linemon.toml here)")
    parser.add_argument("--debug", action="store_true", help="show tracebacks and more of the log")
    module.options(parser)
    options, unknown = parser.parse_known_intermixed_args(rest)
    if unknown and not has_own:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    options.command, options.rest = name, unknown
    return options


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(overview(), file=sys.stdout if arguments else sys.stderr)
        return 0 if arguments else 2
    if arguments[0] == "--version":
        print(f"linemon {__version__}")
        return 0
    debug = "--debug" in arguments
    try:
        options = parse(arguments)
        set_up_log(options.command, debug=debug)
        module = command(options.command)
        code: int = module.run(load(options.config, secrets=not getattr(module, "READS_ONLY", False)), options)
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130
    except (LinemonError, OSError) as error:
        if debug:
            raise
        print(f"linemon: {error}", file=sys.stderr)
        if isinstance(error, StoreGone):
            from linemon.cli._supervisor import AGAIN  # only here: nobody else pays for its imports

            return AGAIN
        return 2 if isinstance(error, (AskedWrongly, ConfigError, LineError)) else 1
    except Exception as error:
        if debug:
            raise
        print(f"linemon: a bug: {type(error).__name__}: {error}; --debug shows where", file=sys.stderr)
        return 1
    return code


def set_up_log(name: str, *, debug: bool) -> None:
    """Log to stderr: lines with the time and the command's name."""
    logging.basicConfig(
        stream=sys.stderr,
        format=f"%(asctime)s {name}: %(message)s",
        datefmt="%H:%M:%S",
        level=logging.DEBUG if debug else logging.INFO,
    )
