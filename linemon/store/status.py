"""The collector's counters, as a file in the store's folder that the collector replaces every second."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

STATUS = "status.json"


def read_status(folder: Path) -> dict[str, Any]:
    """The counters as they were last written; empty before the first time."""
    try:
        status: dict[str, Any] = json.loads((folder / STATUS).read_bytes())
    except FileNotFoundError:
        return {}
    return status
