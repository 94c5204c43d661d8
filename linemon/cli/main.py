"""The `linemon` command: what it takes, and how it says that something is wrong.

Exit codes: 0 did it, 1 could not, 2 asked wrongly. What is wrong is one line on stderr; `--debug` shows where.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from linemon.config import Address, Config, load
from linemon.errors import AskedWrongly, ConfigError, LineError, LinemonError
from linemon.store.formats import FORMATS
from linemon.store.reader import Store

EXAMPLES = {
    "up": ("all of it: collector, dashboard, an agent for this machine", "linemon up"),
    "collect": ("the collector alone: the line port, HTTP and the taps", "linemon collect --config linemon.toml"),
    "dashboard": ("the page alone", "linemon dashboard"),
    "agent": ("the agent: sends this machine's metrics", "linemon agent --to 10.0.0.1:4000"),
    "sources": ("a table of all sources", "linemon sources --errors"),
    "top": ("sources and their newest values, live in the terminal", "linemon top"),
    "tail": ("rows as they come", "linemon tail web1 --columns cpu.busy_pct,load.1m"),
    "send": (
        "send one row by hand, or the lines of standard input",
        "linemon send room1.temperature value=20.3",
    ),
    "export": ("rows out, oldest first", "linemon export web1 --since 10m --format csv -o web1.csv"),
    "check": ("say whether linemon.toml is right, and what it means", "linemon check --config linemon.toml"),
}


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = argparse.ArgumentParser(
        prog="linemon",
        description="Takes lines of numbers over TCP and shows them moving in a browser a second later.",
        epilog="example: linemon up",
    )
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    by_name: dict[str, argparse.ArgumentParser] = {}
    for name, (does, example) in EXAMPLES.items():
        command = by_name[name] = commands.add_parser(
            name, help=does, description=does[0].upper() + does[1:] + ".", epilog=f"example: {example}"
        )
        command.add_argument("--config", type=Path, metavar="FILE", help="settings (default: linemon.toml here)")
        command.add_argument("--debug", action="store_true", help="show tracebacks and more of the log")

    by_name["up"].add_argument("--print-unit", action="store_true", help="print a systemd unit for it, and end")
    plot_server_options(by_name["collect"])
    by_name["collect"].add_argument(
        "--cfg",
        metavar="FILE",
        action=OptionsFromFile,
        help="a file of these three options, as http-plot-server has it",
    )
    by_name["sources"].add_argument("--json", action="store_true", help="for scripts")
    by_name["sources"].add_argument("--errors", action="store_true", help="the last lines that were rejected")
    by_name["top"].add_argument("--once", action="store_true", help="print the table once and end")
    by_name["tail"].add_argument("source", metavar="SOURCE", nargs="?", help="default: this machine's agent")
    by_name["tail"].add_argument("--raw", action="store_true", help="numbers only, as a tap sends them")
    by_name["send"].add_argument("source", metavar="SOURCE")
    by_name["send"].add_argument("values", metavar="NAME=VALUE", nargs="*", help="none: read lines from stdin")
    export = by_name["export"]
    export.add_argument("source", metavar="SOURCE")
    export.add_argument("--since", metavar="WHEN", help="a span such as 10m, 2h, 3d, or a time (UTC); inclusive")
    export.add_argument("--until", metavar="WHEN", help="likewise; exclusive")
    export.add_argument("--format", choices=sorted(FORMATS), default="csv")
    export.add_argument("-o", dest="out", metavar="FILE", help="default: standard output")
    for name in ("tail", "export"):
        by_name[name].add_argument("--columns", metavar="a,b", type=names, default=(), help="default: all")
    return top


def plot_server_options(command: argparse.ArgumentParser) -> None:
    """The options of `http-plot-server`; as there, one without its value says nothing."""
    command.add_argument("--host", nargs="?", metavar="HOST", help="of the HTTP port, instead of [http] listen")
    command.add_argument("--port", nargs="?", metavar="PORT", type=port_number, help="likewise")
    command.add_argument("--max-points", nargs="?", metavar="N", type=above_zero, help="instead of [store] points")


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


def with_options(config: Config, options: Any) -> Config:
    """The settings with what `linemon collect` was given beside them."""
    listen, points = config.http.listen, options.max_points or config.store.points
    listen = Address(options.host or listen.host, listen.port if options.port is None else options.port)
    return replace(config, http=replace(config.http, listen=listen), store=replace(config.store, points=points))


def names(text: str) -> tuple[str, ...]:
    return tuple(name for name in text.split(",") if name)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["agent"]:  # has options of its own
        common = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        common.add_argument("--config", type=Path)
        common.add_argument("--debug", action="store_true")
        options, rest = common.parse_known_args(arguments[1:])
        options.command, options.rest = "agent", rest
    else:
        options = parser().parse_args(arguments)
    try:
        return run(options)
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 0 if options.command in ("tail", "top") else 130
    except (LinemonError, OSError) as error:
        if options.debug:
            raise
        print(f"linemon: {error}", file=sys.stderr)
        return 2 if isinstance(error, (AskedWrongly, ConfigError, LineError)) else 1
    except Exception as error:
        if options.debug:
            raise
        print(f"linemon: a bug: {type(error).__name__}: {error}; --debug shows where", file=sys.stderr)
        return 1


def run(options: Any) -> int:
    """Carry out a parsed command. What only one command needs is imported by it: each starts in its own time."""
    command: str = options.command
    logging.basicConfig(
        stream=sys.stderr,
        format=f"%(asctime)s {command}: %(message)s",
        datefmt="%H:%M:%S",
        level=logging.DEBUG if options.debug else logging.INFO,
    )
    if not options.debug:
        logging.getLogger("bokeh").setLevel(logging.WARNING)
        for name in ("tornado.access", "tornado.general"):  # what strangers send must not fill the log
            logging.getLogger(name).setLevel(logging.ERROR)
    config = load(options.config)
    if command == "up" and options.print_unit:
        from linemon.cli import commands

        return commands.print_unit(config)
    if command == "up":
        from linemon.cli import commands
        from linemon.cli import up as supervisor

        common = ["--config", str(config.file)] if config.file else []
        store = Store(config.store.folder)
        return supervisor.up(common + ["--debug"] * options.debug, lambda pid: store.status().get("pid") == pid)
    if command == "collect":
        from linemon import collector

        collector.main(with_options(config, options))
        return 0
    if command == "dashboard":
        from linemon.cli import dashboard

        return dashboard.main(config)
    if command == "agent":
        # In place of this process: the agent needs psutil and nothing else, and stays as small as it is alone.
        os.execv(sys.executable, [sys.executable, "-m", "agent", *agent_arguments(config, options.rest)])  # noqa: S606
    return short(options, config)


def short(options: Any, config: Config) -> int:
    """The commands that look or say something and end."""
    from linemon.cli import commands

    store = Store(config.store.folder)
    if options.command == "sources":
        return commands.sources(store, as_json=options.json, errors=options.errors)
    if options.command == "top":
        from linemon.cli import top

        commands.must_be_there(store)
        return top.top(store, once=options.once)
    if options.command == "tail":
        return commands.tail(config, store, options.source, options.columns, raw=options.raw)
    if options.command == "send":
        return commands.send(config, store, options.source, options.values)
    if options.command == "export":
        return commands.export(
            store,
            options.source,
            since=options.since,
            until=options.until,
            kind=options.format,
            columns=options.columns,
            out=options.out,
        )
    return commands.check(config)


def agent_arguments(config: Config, given: list[str]) -> list[str]:
    """The agent's own options after those of [agent] in linemon.toml: what is given on the command line counts."""
    agent = config.agent
    arguments = ["--name", agent.source, "--interval", str(agent.interval), "--subsamples", str(agent.subsamples)]
    arguments += ["--spool-bytes", str(agent.spool_bytes), "--spool-age", str(agent.spool_age)]
    if agent.tls:
        arguments += [
            "--tls",
            *(["--ca", agent.ca] if agent.ca else []),
            *(["--cert", agent.cert] if agent.cert else []),
        ]
    arguments += ["--groups", ",".join(agent.groups)] if agent.groups else []
    arguments += ["--spool", str(Path(agent.spool).expanduser())] if agent.spool else []
    says_where = any(option.split("=")[0] in ("--to", "--listen") for option in given)
    if not says_where and not os.environ.get("LINEMON_TO"):
        arguments += ["--to", str(config.agent.to)]
        if config.tcp.token:  # through the environment: a command line can be read by every user
            os.environ.setdefault("LINEMON_TOKEN", config.tcp.token)
    return arguments + given
