"""What commands print, and the store that they read."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from linemon.config import Config
from linemon.errors import AskedWrongly, LinemonError, UnknownSource

if TYPE_CHECKING:
    from linemon.store.reader import Store


def store_of(config: Config) -> Store:
    """The store of these settings. LinemonError where no collector has ever written."""
    from linemon.store.reader import Store

    store = Store(config.store.folder)
    if not store.status() and not store.sources():
        raise LinemonError(f"no store at {store.path}: is the collector running? `linemon up` starts one")
    return store


def warn_if_stale(store: Store) -> None:
    """Say that no collector runs, where what is about to be shown will not go on."""
    from linemon.store.liveness import collector_silent_since

    now = time.time_ns()
    since = collector_silent_since(store, now)
    if since is not None:
        ago = span((now - since) / 1e9)
        print(f"linemon: no collector runs: no data from it for {ago}; `linemon up` starts one", file=sys.stderr)


def is_pattern(store: Store, name: str) -> bool:
    """Whether it stands for all sources that fit it; a source of exactly that name comes first."""
    return name not in store and any(char in name for char in "*?[")


def sources_of(store: Store, name: str) -> list[str]:
    """The sources that a name or a pattern (``*``, ``?``, ``[abc]`` as in a shell) means, sorted.

    UnknownSource where there is none.
    """
    if not is_pattern(store, name):
        return [store[name].name]
    from linemon.store.describe import natural

    found = sorted((each for each in store.sources() if fnmatchcase(each, name)), key=natural)
    if not found:
        raise UnknownSource(f"no source fits {name!r}; `linemon sources` lists them")
    return found


def column_names(text: str) -> tuple[str, ...]:
    """The value of `--columns a,b`."""
    return tuple(name for name in text.split(",") if name)


def need_columns(source: str, wanted: Iterable[str], there: tuple[str, ...]) -> None:
    """AskedWrongly where the source lacks one of the columns."""
    missing = [column for column in wanted if column not in there]
    if missing:
        raise AskedWrongly(f"{source!r} has no column {missing[0]!r}; it has: {', '.join(there)}")


def print_json(value: Any) -> None:
    """For scripts; half characters, which no encoding has, come as escapes."""
    print(json.dumps(value, ensure_ascii=False, indent=1).encode("utf-8", "backslashreplace").decode())


def span(seconds: float) -> str:
    """A duration in its largest fitting unit."""
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.1f} s"


def printable(cell: object) -> str:
    """The cell's text with what is not printable escaped; `-` for None."""
    text = "-" if cell is None else str(cell)
    return text if text.isprintable() else text.encode("unicode_escape").decode()


def table(header: tuple[str, ...], rows: Iterable[Iterable[Any]]) -> None:
    """Columns of text as wide as they need to be; what a sender wrote cannot steer the terminal."""
    cells = [header, *([printable(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
