"""What commands print, and the store that they read."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from linemon.config import Config
from linemon.errors import AskedWrongly, LinemonError, UnknownSource
from linemon.patterns import fits, is_exclusion, is_pattern

if TYPE_CHECKING:
    from linemon.store.formats import Block, Table
    from linemon.store.reader import Store

GAP: Final = "  "  # between two columns of a table
NARROWEST: Final = 8  # that a column is made, in characters


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


def is_one(store: Store, wanted: Sequence[str]) -> bool:
    """Whether it is one source that is meant, by its name; a source of exactly that name comes before a pattern."""
    return len(wanted) == 1 and (wanted[0] in store or not is_pattern(wanted[0]))


def sources_of(store: Store, wanted: Sequence[str], *, history: bool = False) -> list[str]:
    """The sources that names and patterns mean (`linemon.patterns`), sorted as people do; UnknownSource for none.

    `history`: also those of which only that is left.
    """
    from linemon.store.describe import natural

    known = store.sources(history=history)
    named = [each for each in wanted if each in known or not is_pattern(each)]
    patterns = [each for each in wanted if each not in named]
    exact = [store[each].name for each in named]
    away = [each for each in patterns if is_exclusion(each)]
    found = {each for each in exact if fits(away, each) or not away}
    if patterns and (len(away) < len(patterns) or not named):
        found |= {each for each in known if fits(patterns, each)}
    if not found:
        raise UnknownSource(f"no source fits {' '.join(map(repr, wanted))}; `linemon sources` lists them")
    return sorted(found, key=natural)


def column_names(text: str) -> tuple[str, ...]:
    """The value of `--columns a,b`."""
    return tuple(name for name in text.split(",") if name)


def need_columns(source: str, wanted: Iterable[str], there: tuple[str, ...]) -> None:
    """AskedWrongly where the source lacks one of the columns."""
    missing = [column for column in wanted if column not in there]
    if missing:
        raise AskedWrongly(f"{source!r} has no column {missing[0]!r}; it has: {', '.join(there)}")


class Progress:
    """How far a long command is, on stderr: nothing within the first second, then on one line of a terminal."""

    FIRST_S, AGAIN_S, AGAIN_LOG_S = 1.0, 0.2, 10.0

    def __init__(self, total: int) -> None:
        """Of so many sources."""
        self._total, self._number, self._rows = total, 0, 0
        self._due = time.monotonic() + self.FIRST_S
        self._is_terminal = sys.stderr.isatty()
        self._has_told = False

    def watch(self, tables: Iterator[Table]) -> Iterator[Table]:
        """The same tables; what is taken of them is told of."""
        for table in tables:
            self._number += 1
            yield replace(table, blocks=self._watch(table))

    def _watch(self, table: Table) -> Iterator[Block]:
        from linemon.when import iso_ns

        for block in table.blocks:
            yield block
            self._rows += len(block.time)
            if time.monotonic() >= self._due:
                of = f" of {table.source} ({self._number} of {self._total})" if table.source else ""
                self.tell(f"{self._rows:,} rows{of}, up to {iso_ns(int(block.time[-1]))}")

    def tell(self, text: str) -> None:
        """Say how far it is, where that is due."""
        if time.monotonic() < self._due:
            return
        self._due = time.monotonic() + (self.AGAIN_S if self._is_terminal else self.AGAIN_LOG_S)
        self._has_told = True
        start, end = ("\r\x1b[K", "") if self._is_terminal else ("", "\n")
        print(f"{start}linemon: {printable(text)}", file=sys.stderr, end=end, flush=True)

    def end(self) -> None:
        """Clear the line."""
        if self._has_told and self._is_terminal:
            print("\r\x1b[K", file=sys.stderr, end="", flush=True)


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


def table(header: tuple[str, ...], rows: Iterable[Iterable[Any]], names: tuple[str, ...] = ()) -> None:
    """Columns of text as wide as they need to be; what a sender wrote cannot steer the terminal.

    Where it is wider than the terminal, the columns `names` are cut. A script gets all of each cell.
    """
    cells = [header, *([printable(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    if sys.stdout.isatty():
        room = shutil.get_terminal_size().columns - len(GAP) * (len(widths) - 1)
        shrink(widths, [header.index(name) for name in names], room)
    for row in cells:
        print(GAP.join(cut(cell, width).ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def shrink(widths: list[int], columns: list[int], room: int) -> None:
    """Take from the widest of these columns what all widths are more than `room`, as long as they say something."""
    while sum(widths) > room and columns:
        widest = max(columns, key=widths.__getitem__)
        if widths[widest] <= NARROWEST:
            return
        widths[widest] -= 1


def cut(text: str, width: int) -> str:
    """A text that fits; one that does not ends in ``…``."""
    return text if len(text) <= width else f"{text[: width - 1]}…"
