"""`linemon top`: all sources and their newest values, live in a terminal. Needs rich, the extra `linemon[top]`."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np

from linemon.errors import LinemonError
from linemon.store import Source, Store

TICK_S = 1.0
SILENT_S = 10.0
VALUES = 4  # per source
FIRST = ("cpu.busy_pct", "mem.used_pct", "load.1m", "net.rx_bytes_per_s")  # of a host


def top(store: Store, *, once: bool = False) -> int:
    """Show the table until interrupted, or `once`. LinemonError where rich is not installed."""
    try:
        from rich.console import Console
        from rich.live import Live
        from rich.table import Table
        from rich.text import Text
    except ImportError:
        raise LinemonError('top needs rich: pip install "linemon[top]", or pip install rich') from None

    def picture() -> Table:
        table = Table(box=None, pad_edge=False, header_style="bold", expand=True)
        table.add_column("source", overflow="fold", ratio=2)
        table.add_column("newest values", overflow="ellipsis", no_wrap=True, ratio=4)
        table.add_column("age", justify="right", no_wrap=True)
        listed = sorted(lines(store), key=lambda line: line[0].casefold())
        shown = listed if once else listed[: max(1, console.height - 2)]
        for name, values, age in shown:
            is_silent = age is None or age > SILENT_S
            said = "-" if age is None else f"{age:.0f} s"
            table.add_row(Text(name), Text(values), Text(said, style="red" if is_silent else ""))
        if len(listed) > len(shown):
            table.caption = f"and {len(listed) - len(shown)} more"
        return table

    console = Console()
    if once:
        console.print(picture())
        return 0
    with Live(picture(), console=console, screen=console.is_terminal, auto_refresh=False) as live:
        while True:
            time.sleep(TICK_S)
            live.update(picture(), refresh=True)


def lines(store: Store) -> Iterator[tuple[str, str, float | None]]:
    """Of each source its name, its newest values as a text, and the age of its newest row in seconds."""
    now = time.time_ns()
    for name in store.sources():
        try:
            yield name, *newest(store[name], now)
        except LinemonError:
            continue  # gone between two reads


def newest(source: Source, now: int) -> tuple[str, float | None]:
    """The values of the newest row as a text, and its age in seconds at `now` (ns)."""
    rows = source.last(1)
    if not len(rows):
        return "", None
    wanted = [name for name in FIRST if name in rows.columns] or list(rows.columns[:VALUES])
    parts = []
    for name in wanted:
        column = rows.columns.index(name)
        label = "" if name == "value" else f"{name} "
        parts.append(f"{label}{rows.values[0, column]:.5g} {rows.units[column]}".strip())
    more = len(rows.columns) - len(wanted)
    age = max(0.0, (now - int(rows.time[0].astype(np.int64))) / 1e9)
    return "  ".join(parts) + (f"  +{more}" if more else ""), age
