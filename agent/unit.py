"""The systemd unit that `--print-unit` prints."""

from __future__ import annotations

import os
import sys

from linemon_sender.unit import unit


def agent_unit(options: list[str]) -> str:
    """A unit that runs this agent, wherever it was started from, with these options."""
    kept, skip = [], False
    for option in options:
        if skip:
            skip = False
        elif option == "--token":
            skip = True
        elif option != "--print-unit" and not option.startswith("--token="):
            kept.append(option)
    archive = os.path.abspath(sys.argv[0])
    start = [archive] if archive.endswith(".pyz") else ["-m", "agent"]
    more = "MemoryMax=128M\nTasksMax=16"
    if start[0] != archive and not _installed():
        more += f"\nWorkingDirectory={os.path.dirname(os.path.dirname(os.path.abspath(__file__)))}"
    command = [sys.executable, *start, *kept]
    if not any(option.partition("=")[0] == "--read" for option in kept):
        return unit("linemon-agent", "linemon agent: this host's metrics", command, more)
    text = unit("linemon-device", "linemon agent: a device's readings", command, more)
    if "serial:" in " ".join(kept):  # as a user of its own it may open what the group of serial ports may
        text = text.replace("PrivateDevices=yes", "PrivateDevices=no\nSupplementaryGroups=dialout")
    return text


def _installed() -> bool:
    return "site-packages" in __file__ or "dist-packages" in __file__
