"""Rows and the tiers of history, read as one."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from linemon.store.folder import replace_file

HISTORY = "history.json"  # beside the rings: where the tiers are


@dataclass(frozen=True)
class Known:
    """A tier as readers are told of it: its folder's name, step and keep in ns, whose it is, whether it still grows."""

    name: str
    step: int
    keep: int
    sources: tuple[str, ...] = ("*",)
    ended: bool = False


@dataclass(frozen=True)
class History:
    """Where the tiers of a store are, the finest first."""

    path: Path
    tiers: tuple[Known, ...]


def read(store: Path) -> History | None:
    """What the history part has told; None where there is none."""
    try:
        said = json.loads((store / HISTORY).read_bytes())
        tiers = tuple(Known(**{**each, "sources": tuple(each["sources"])}) for each in said["tiers"])
        return History(store / said["path"], tiers)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def tell(store: Path, history: History, mode: int) -> None:
    """Replace what is told, in one step."""
    path = str(history.path.absolute())
    said = {"path": os.path.relpath(path, store.absolute()) if history.path.is_relative_to(store) else path}
    data = json.dumps({**said, "tiers": [asdict(each) for each in history.tiers]}).encode()
    os.close(replace_file(store / HISTORY, data, mode))
