"""What processes say of themselves in the store's folder: the collector, and each part of `linemon work`."""

from __future__ import annotations

import json
import math
import os
import time
from pathlib import Path
from typing import Any

STATUS = "status.json"  # replaced by the collector every second
WORK = "work"  # a folder with NAME.json for each part
WORK_SOCKET = "work.sock"  # by which `linemon work` takes commands,
COLLECT_SOCKET = "collect.sock"  # and the collector
ALARMS = "alarms.json"  # all instances, as the part `alarms` last wrote them
ALARMS_OLD_S = 10.0  # older than this they are no longer looked after


def read_status(folder: Path) -> dict[str, Any]:
    """The counters as they were last written; empty before the first time."""
    return _read(folder / STATUS)


def read_part(folder: Path, name: str) -> dict[str, Any]:
    """What a part last said of itself; empty if it never ran, or was ended."""
    return _read(folder / WORK / f"{name}.json")


def read_parts(folder: Path) -> list[dict[str, Any]]:
    """What each part that `linemon work` runs, or was killed while it ran, last said of itself."""
    return [_read(path) for path in sorted((folder / WORK).glob("*.json"))]


def read_forwards(folder: Path) -> list[dict[str, Any]]:
    """Of these the forwards, with their `name`."""
    parts = [(said.get("part", "").partition("forward."), said) for said in read_parts(folder)]
    return [{"name": name, **said} for (before, _, name), said in parts if name and not before]


def read_alarms(folder: Path) -> tuple[list[dict[str, Any]], float]:
    """All instances, the firing ones first, and how many seconds ago that was written; inf where it never was."""
    try:
        with open(folder / ALARMS, "rb") as file:
            age = time.time() - os.fstat(file.fileno()).st_mtime
            return json.loads(file.read()), max(0.0, age)
    except FileNotFoundError:
        return [], math.inf


def _read(path: Path) -> dict[str, Any]:
    try:
        status: dict[str, Any] = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    return status
