"""`linemon devices`: who registered, what is wished of them and what they do; whom to refuse."""

from __future__ import annotations

import argparse
import time
from typing import Any

from linemon.cli._terminal import print_json, span, table
from linemon.config import Config
from linemon.errors import AskedWrongly

HELP = "the devices that registered: settings wished and reported, specs, clones; block and forget one"
EXAMPLE = "linemon devices; linemon devices --block meter.4711"
READS_ONLY = True


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="for scripts")
    for name, help in (
        ("block", "end its connection and refuse it; NAME may be a pattern"),
        ("unblock", "let it come again"),
        ("forget", "its wishes and its token; its rows stay, and it registers anew"),
    ):
        parser.add_argument(f"--{name}", metavar="NAME", help=help)


def run(config: Config, options: argparse.Namespace) -> int:
    """Show them, or do what is asked."""
    from linemon.store.asking import ask
    from linemon.store.status import COLLECT_SOCKET

    asked = [name for name in ("block", "unblock", "forget") if getattr(options, name) is not None]
    if len(asked) > 1:
        raise AskedWrongly(f"one at a time: {' or '.join(f'--{name}' for name in asked)}")
    for name in asked:
        ask(config.store.folder, {"do": name, "name": getattr(options, name)}, COLLECT_SOCKET)
        return 0
    found = ask(config.store.folder, {"do": "devices"}, COLLECT_SOCKET)
    if options.json:
        print_json(found)
    elif found:
        table(("name", "product", "serial", "address", "seen", "spec", "settings", "and"), map(line, found))
    else:
        print("no device has registered")
    return 0


def line(each: dict[str, Any]) -> list[object]:
    """A line of the table."""
    spec = each["spec"]["version"]
    if each["spec"]["offered"] not in (None, spec):
        spec = f"{spec or 'none'}, offered {each['spec']['offered']}"
    more = ["blocked"] * each["blocked"]
    more += [f"{key} refused: {why}" for key, why in each["refused"].items() if key not in each["desired"]]
    more += [f"clone: {each['clone']}"] if each["clone"] else []
    more += [f"asked for the name {each['wanted']}"] if each["wanted"] else []
    more += [f"{each['foreign']} other connections wrote to it"] if each["foreign"] else []
    who = [each[key] for key in ("name", "product", "serial", "address")]
    return [*who, seen(each), spec, settings(each), "; ".join(more)]


def seen(each: dict[str, Any]) -> str:
    ago = span(time.time() - seconds(each["since"])) if each["since"] else ""
    if each["connected"]:
        return f"connected for {ago}"
    return f"silent for {ago}" if ago else "not since the collector's start"


def settings(each: dict[str, Any]) -> str:
    """Each wish and what became of it, then the other settings."""
    import json

    shown = [f"{key}={json.dumps(value)}{fate(each, key)}" for key, value in each["desired"].items()]
    shown += [f"{key}={json.dumps(value)}" for key, value in each["reported"].items() if key not in each["desired"]]
    return " ".join(shown)


def fate(each: dict[str, Any], key: str) -> str:
    """What became of a wish; nothing where it was granted."""
    if each["waiting_since"]:
        return f" (waiting for {span(time.time() - seconds(each['waiting_since']))})"
    if key in each["refused"]:
        return f" (refused: {each['refused'][key]})"
    now = each["reported"].get(key)
    return "" if now == each["desired"][key] else f" (it says {now})"


def seconds(iso: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(iso[:19] + "+00:00").timestamp()
