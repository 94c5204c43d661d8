"""`linemon up`: collector, agent, dashboard and work as processes of their own, restarted when one dies."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from linemon.config import Config

HELP = "all of it: collector, dashboard, history, an agent for this machine"
EXAMPLE = "linemon up"
SUPERVISOR = Path(__file__).with_name("_supervisor.py")


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--print-unit", action="store_true", help="print a systemd unit for it, and exit")


def run(config: Config, options: argparse.Namespace) -> int:
    """Run all until SIGINT or SIGTERM: 0. Where one cannot start at all: its exit code."""
    if not options.print_unit:
        common = ["--config", str(config.file)] if config.file else []
        common += ["--debug"] * options.debug
        commands = ["collect", "agent", "dashboard"] + ["work"] * config.work.enabled
        # In place of this process, and with nothing loaded that it does not need.
        supervisor = [sys.executable, "-I", "-S", str(SUPERVISOR), ",".join(commands), *common]
        os.execv(sys.executable, supervisor)  # noqa: S606
    return print_unit(config)


def print_unit(config: Config) -> int:
    """A systemd unit for `linemon up` with these settings."""
    from linemon_sender.unit import unit

    command = [sys.executable, "-P", "-m", "linemon", "up"]
    if config.file:
        command += ["--config", str(config.file.resolve())]
    # Its user is not yours: the store needs a place that both can name.
    more = "ExecReload=kill -HUP $MAINPID\nRuntimeDirectory=linemon\nRuntimeDirectoryMode=0755\nLimitNOFILE=65536"
    print(unit("linemon", "linemon: collector, page and agent", command, more), end="")
    if not config.store.path:
        settings = 'path = "/run/linemon/store" and readable_by = "everyone" under [store]'
        print(f"linemon: set {settings}, so that others find the rings", file=sys.stderr)
    if not config.work.state and (not config.store.path or config.store.folder.is_relative_to("/run")):
        settings = 'state = "/var/lib/linemon" under [work]'
        print(f"linemon: set {settings}, so that boards, and how far was forwarded, outlive a restart", file=sys.stderr)
    return 0
