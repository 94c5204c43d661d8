"""linemon takes lines of numbers over TCP and shows them moving in a browser a second later.

store = linemon.open()
rows = store["web1"].last(600)

linemon.Sender("room1", ["temperature"]).send(20.3)
"""

from __future__ import annotations

import os
from pathlib import Path

from linemon.config import load
from linemon.sender import Sender
from linemon.store.reader import Rows, Source, Store, Window

__all__ = ["Rows", "Sender", "Source", "Store", "Window", "open"]


def open(path: str | os.PathLike[str] | None = None, *, config: str | os.PathLike[str] | None = None) -> Store:
    """Attach, read-only, to the store at `path`, or of the given linemon.toml, or of the one that is in force here."""
    return Store(path if path is not None else load(Path(config) if config else None).store.folder)
