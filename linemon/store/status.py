"""What processes say of themselves in the store's folder: the collector, and each part of `linemon work`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

STATUS = "status.json"  # replaced by the collector every second
WORK = "work"  # a folder with NAME.json for each part


def read_status(folder: Path) -> dict[str, Any]:
    """The counters as they were last written; empty before the first time."""
    return _read(folder / STATUS)


def read_part(folder: Path, name: str) -> dict[str, Any]:
    """What a part last said of itself; empty if it never ran, or was ended."""
    return _read(folder / WORK / f"{name}.json")


def _read(path: Path) -> dict[str, Any]:
    try:
        status: dict[str, Any] = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    return status
