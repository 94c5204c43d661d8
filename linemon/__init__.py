"""linemon takes lines of numbers over TCP and shows them moving in a browser a second later.

store = linemon.open()
rows = store["web1"].last(600)

linemon.Sender("room1", ["temperature"]).send(20.3)
"""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

if TYPE_CHECKING:
    from linemon.archive.reader import Archive
    from linemon.sender import Sender
    from linemon.store.reader import Source, Store
    from linemon.store.rows import Rows, Window

__all__ = ["Archive", "Rows", "Sender", "Source", "Store", "Window", "open"]
__version__ = "0.2.0"


@overload
def open(path: os.PathLike[str] | None = None, *, config: str | os.PathLike[str] | None = None) -> Store: ...
@overload
def open(path: str) -> Store | Archive: ...
def open(
    path: str | os.PathLike[str] | None = None, *, config: str | os.PathLike[str] | None = None
) -> Store | Archive:
    """Attach, read-only, to the store at `path`, or of the given linemon.toml, or of the one that is in force here.

    `path` may be the address of an archive, ``postgresql://HOST/DATABASE``: the same questions have the same answers.
    """
    from linemon.config import load
    from linemon.store.reader import Store

    if isinstance(path, str) and path.startswith(("postgresql://", "postgres://")):
        from linemon.archive.reader import Archive

        return Archive(path)
    return Store(path if path is not None else load(Path(config) if config else None, secrets=False).store.folder)


def __getattr__(name: str) -> Any:
    """What `__all__` names, when it is first asked for: the commands import this package, and most need no numpy."""
    if name not in __all__:
        raise AttributeError(f"module 'linemon' has no attribute {name!r}")
    rooms = {"Sender": "linemon.sender", "Archive": "linemon.archive.reader"}
    module = import_module(rooms.get(name, "linemon.store.reader"))
    found = globals()[name] = getattr(module, name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
