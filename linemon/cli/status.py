"""`linemon status`: how the parts of `linemon work` are."""

from __future__ import annotations

import argparse
import time
from datetime import datetime
from typing import Any

from linemon import locks
from linemon.cli._terminal import print_json, span, table
from linemon.config import Config
from linemon.errors import LinemonError

HELP = "how history and other parts are"
EXAMPLE = "linemon status"
READS_ONLY = True
SHOWN_APART = ("part", "pid", "runs", "since", "behind_s", "failed", "failed_at")


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="for scripts")


def run(config: Config, options: argparse.Namespace) -> int:
    """A table of the parts that linemon.toml configures; 1 if one of them does not run."""
    from linemon.parts.work import configured

    found = [status_of(config, name) for name in configured(config)]
    if options.json:
        print_json(found)
    elif not found:
        print("linemon.toml configures no part")
    else:
        table(("part", "state", "behind", "and", "failed last"), map(line, found))
    return 0 if all(each["runs"] for each in found) else 1


def status_of(config: Config, name: str) -> dict[str, Any]:
    """What a part last said; whether it runs is told by its lock."""
    from linemon.store.status import read_part

    try:
        is_held = locks.is_taken(config.state_folder / f"{name}.lock")
    except OSError as error:
        raise LinemonError(f"cannot look at {config.state_folder}: {error.strerror}") from error
    said = read_part(config.store.folder, name)
    return {"part": name, "runs": False} | said | ({} if is_held else {"runs": False})


def line(status: dict[str, Any]) -> list[str]:
    """A line of the table."""
    if status["runs"]:
        state = f"runs for {ago(status['since'])}"
    else:
        state = "waits to start again" if "failed_at" in status else "not running"
    behind = status.get("behind_s")
    more = [f"{name} {value}" for name, value in status.items() if name not in SHOWN_APART]
    failed = f"{ago(status['failed_at'])} ago: {status['failed']}" if "failed_at" in status else ""
    return [status["part"], state, "-" if behind is None else span(behind), ", ".join(more), failed]


def ago(moment: str) -> str:
    return span(max(0.0, time.time() - datetime.fromisoformat(moment).timestamp()))
