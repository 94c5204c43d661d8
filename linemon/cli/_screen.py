"""`linemon top`: all sources and their newest values, live in a terminal. Needs rich."""

from __future__ import annotations

import math
import os
import re
import select
import signal
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from linemon.errors import LinemonError
from linemon.store.describe import natural
from linemon.store.liveness import Life, collector_silent_since
from linemon.store.reader import Source, Store
from linemon.store.status import ALARMS_OLD_S, read_alarms
from linemon.when import iso

try:
    from rich.cells import cell_len
    from rich.console import Console, Group
    from rich.live import Live
    from rich.table import Table
    from rich.text import Text
except ImportError:
    raise LinemonError(f"top needs rich: {sys.executable} -m pip install rich") from None

TICK_S = 1.0
VALUES = 4  # per source
HOST = {  # of a host, and what stands before them
    "cpu.busy_pct": "cpu",
    "mem.used_pct": "mem",
    "load.1m": "load",
    "net.rx_bytes_per_s": "in",
    "net.tx_bytes_per_s": "out",
}
AROUND = 3  # lines of the screen that are no source: the title, the heads of the columns, the keys
FIRING = ("firing", "clearing")
GAP = 2  # characters between two columns
PIPE_WIDTH = 200  # characters, where the output is no terminal
HELP = "q quit   ↑ ↓ PgUp PgDn Home End move   / find"
KEY = re.compile(r"\x1b[\[O][\d;]*[A-Za-z~]|.", re.DOTALL)  # as terminals send them
MOVES = {
    "\x1b[A": (-1, 0), "\x1bOA": (-1, 0), "k": (-1, 0), "\x1b[B": (1, 0), "\x1bOB": (1, 0), "j": (1, 0),
    "\x1b[5~": (0, -1), "\x1b[6~": (0, 1), " ": (0, 1),
}  # fmt: skip  # by so many rows and screens
HOME, END = ("\x1b[H", "\x1bOH", "\x1b[1~", "g"), ("\x1b[F", "\x1bOF", "\x1b[4~", "G")


def top(store: Store, *, once: bool = False) -> int:
    """Show the table until `q` or Ctrl-C; `once`, or where the output is no terminal, print it and exit."""
    if once or not sys.stdout.isatty():
        console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH)
        console.print(table(store, names(store, ""), console.width))
        return 0
    for variable in ("COLUMNS", "LINES"):  # some parents leave them behind, and rich would believe them for ever
        os.environ.pop(variable, None)
    console, view = Console(), View()
    with keyboard() as keys, Live(view.draw(store, console), console=console, screen=True, auto_refresh=False) as live:
        while all(view.press(key) for key in keys(TICK_S)):
            live.update(view.draw(store, console), refresh=True)
    return 0


@contextmanager
def keyboard() -> Iterator[Callable[[float], list[str]]]:
    """Give a function that waits for keys, at most so many seconds, and returns them; a resized window ends it, too.

    The terminal is left as it was, also after SIGTERM and SIGHUP.
    """

    def end(number: int, _: object) -> None:
        sys.exit(128 + number)

    woken, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.signal(signal.SIGWINCH, lambda *_: None)
    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGHUP, end)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    has_keys, fd = sys.stdin.isatty(), sys.stdin.fileno()

    def wait(seconds: float) -> list[str]:
        ready, _, _ = select.select([woken, fd] if has_keys else [woken], [], [], seconds)
        if woken in ready:
            os.read(woken, 512)
        if fd not in ready:
            return []
        if not (said := os.read(fd, 1024)):
            sys.exit(1)  # the terminal is gone
        return KEY.findall(said.decode(errors="ignore"))

    if not has_keys:
        yield wait
        return
    before = termios.tcgetattr(fd)
    try:
        tty.setcbreak(fd)
        now = termios.tcgetattr(fd)
        now[6][termios.VSUSP] = b"\0"  # Ctrl-Z would leave our screen to the shell
        termios.tcsetattr(fd, termios.TCSANOW, now)
        yield wait
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


@dataclass
class View:
    """Which of the sources are on the screen."""

    first: int = 0
    rows: int = 1  # there is room for
    find: str = ""
    is_typing: bool = False

    def press(self, key: str) -> bool:
        """Do what a key asks for; False: end."""
        if self.is_typing:
            self._type(key)
        elif key == "q":
            return False
        elif key == "/":
            self.find, self.is_typing = "", True
        elif key == "\x1b":
            self.find = ""
        elif key in HOME:
            self.first = 0
        elif key in END:
            self.first = sys.maxsize
        elif key in MOVES:
            by_rows, by_screens = MOVES[key]
            self.first = max(0, self.first + by_rows + by_screens * self.rows)
        return True

    def _type(self, key: str) -> None:
        if key in ("\r", "\n", "\x1b"):
            self.is_typing = False
            self.find = "" if key == "\x1b" else self.find
        elif key in ("\x7f", "\b"):
            self.find = self.find[:-1]
        elif key.isprintable():
            self.find += key

    def draw(self, store: Store, console: Console) -> Group:
        """The screen as it is to be now; it reads what is on it, and nothing else."""
        found = names(store, self.find)
        self.rows = max(1, console.height - AROUND)
        self.first = min(self.first, max(0, len(found) - self.rows))
        shown = found[self.first : self.first + self.rows]
        since = collector_silent_since(store, time.time_ns())
        if since is None:
            title = Text(f"linemon  {len(found)} source{'s' * (len(found) != 1)}  {store.path}", "bold")
        else:
            title = Text(f"no data from the collector since {at(since)}; values are stale", "bold red")
        if len(shown) < len(found):
            title.append(f"  {self.first + 1} to {self.first + len(shown)} of {len(found)}")
        keys = Text(f"/{self.find}" + "█" * self.is_typing if self.find or self.is_typing else HELP, "dim")
        for line in (title, keys):
            line.no_wrap, line.overflow = True, "ellipsis"
        room = [Text()] * (self.rows - len(shown))
        return Group(title, table(store, shown, console.width), *room, keys)


def names(store: Store, find: str) -> list[str]:
    """The names of the sources that hold this text, in any case, ordered as people count: web2 before web10."""
    return sorted((name for name in store.sources() if find.casefold() in name.casefold()), key=natural)


def table(store: Store, shown: list[str], width: int) -> Table:
    """These sources, a line each."""
    lines = [line(store, name, time.time_ns()) for name in shown]
    dots = alarmed(store)
    first = min(max(map(cell_len, ["source", *shown])) + 2 * bool(dots), max(10, width // 3))
    last = max(len(age) for age in ("age", *(age for _, age, _ in lines)))
    drawn = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")
    for head, room in (("source", first), ("newest values", max(10, width - first - last - 2 * GAP)), ("age", last)):
        drawn.add_column(head, width=room, overflow="ellipsis", no_wrap=True)
    drawn.columns[-1].justify = "right"
    for name, (values, age, is_silent) in zip(shown, lines, strict=True):
        dot = Text("● " if name in dots else "  ", dots.get(name, "")) if dots else Text()
        drawn.add_row(dot.append(name, "default"), Text(values), Text(age, "red" if is_silent else ""))
    return drawn


def alarmed(store: Store) -> dict[str, str]:
    """The sources of which an alarm fires, and the colour of its level."""
    try:
        found, age_s = read_alarms(store.path)
    except (OSError, ValueError):
        return {}
    if age_s > ALARMS_OLD_S:
        return {}
    colours: dict[str, str] = {}
    for each in found:
        if each["state"] in FIRING and colours.get(each["source"]) != "red":
            colours[each["source"]] = "red" if each["level"] == 2 else "yellow"
    return colours


def line(store: Store, name: str, now: int) -> tuple[str, str, bool]:
    """The newest values of a source and their age at `now` (ns), as texts, and whether it is silent."""
    try:
        source = store[name]
        rows, life = source.last_arrived(), Life.of(source, now)
    except LinemonError:
        return "", "gone", True  # between two reads
    if not len(rows):
        return "", "-", False
    values = newest(source, rows.values[-1])
    if life.silent_since is not None:
        return values, f"no data since {at(life.silent_since)}", True
    return values, "-" if life.age_s is None else f"{life.age_s:.0f} s", False


def newest(source: Source, values: np.ndarray) -> str:
    """The values that are shown of a row."""
    wanted = [name for name in HOST if name in source.columns] or list(source.columns[:VALUES])
    parts = []
    for name in wanted:
        i = source.columns.index(name)
        label = "" if name == "value" else HOST.get(name, name) + " "
        parts.append(label + number(float(values[i]), source.units[i]))
    more = len(source.columns) - len(wanted)
    return "  ".join(parts) + (f"  +{more}" if more else "")


def number(value: float, unit: str) -> str:
    """Four digits and a unit, always as wide, so that what follows stays where it is."""
    prefix = 0
    while math.isfinite(value) and abs(value) >= 9999.5 and prefix < 6:
        value, prefix = value / 1000, prefix + 1
    return f"{value:>6.4g} {' kMGTPE'[prefix]}".rstrip() + unit if prefix else f"{value:>6.4g} {unit}".rstrip()


def at(ns: int) -> str:
    """A moment (ns since the epoch) to the second, UTC; the date alone where it was not in the last day."""
    text = iso(np.array([ns // 10**9 * 10**9], "datetime64[ns]"))[0]
    return text[:10] if time.time_ns() - ns > 86400 * 10**9 else text[11:]
