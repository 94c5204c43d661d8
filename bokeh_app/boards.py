"""The page of a board: the charts of its file, of the host that the address names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from linemon import boards
from linemon.boards import HOST, Chart
from linemon.errors import ConfigError

from .board_changes import version
from .compare import owner_label, streams_of
from .finding import in_order
from .layout import label_beside
from .panels import MAX_LINES, MAX_PANELS, Panel, take_apart, units_of_axes, with_roles
from .pump import Pump
from .shown import Columns, Shown
from .streams import Stream
from .view import View

MAX_HOSTS = 1000  # to choose from
HOSTS_S = 30.0  # how often it is looked who they are,
COME_S = 1.0  # and whether what a board lacks has come: among ten thousand names that takes a millisecond


@dataclass
class Board:
    """A board as a page shows it. `lacking` says of each chart which lines are not there, and why."""

    name: str
    text: str | None = None
    fault: str = ""  # why its file cannot be read
    asks_host: bool = False  # whether a chart has `HOST` in it
    host: str = ""
    hosts: list[str] = field(default_factory=list)  # those that fit
    streams: list[Stream] = field(default_factory=list)
    panels: list[Panel] = field(default_factory=list)
    columns: Columns = field(default_factory=list)
    window: str = ""  # that its file says
    lacking: list[list[tuple[str, str, str]]] = field(default_factory=list)
    count: int = 0  # charts in the file
    seen: object = None  # the file that this was made of
    names: tuple[str, ...] = ()  # all sources, where there was no host among them

    @property
    def heading(self) -> str:
        return f"{self.name} · {self.host}" if self.host else self.name

    @property
    def about(self) -> dict[str, Any]:
        """What the browser must know to change it."""
        return {"name": self.name, "version": version(self.text or ""), "count": self.count}

    @property
    def more(self) -> str:
        """What there is no room for."""
        if self.count > MAX_PANELS:
            return f"It has {self.count} charts: the first {MAX_PANELS} are shown."
        if len(self.hosts) == MAX_HOSTS:
            return f"The first {MAX_HOSTS} hosts are listed; the address takes any, as &host=NAME."
        return f"Of its lines the first {MAX_LINES} are drawn." if len(self.columns) >= MAX_LINES else ""


def show(pump: Pump, view: View) -> Shown:
    board = look(pump, view)
    return Shown(
        board.heading,
        board.streams,
        board.panels,
        board.columns,
        lambda: is_stale(pump, board),
        heading=board.name,
        window=board.window,
        about={"board": board.about},
        words={"board": board},
    )


def look(pump: Pump, view: View) -> Board:
    """The board that an address asks for."""
    board, file = Board(view.board), _file(pump, view.board)
    board.seen = _seen(file)
    try:
        board.text = boards.read(pump.config.boards_folder, view.board)
        charts = boards.parse(board.text or "")
        board.window = boards.window_of(board.text or "")
    except ConfigError as error:
        board.fault = f"{file}: {error}"
        return board
    board.asks_host = any(HOST in source for chart in charts for source, _ in chart.pairs)
    if board.asks_host:
        names = pump.names()
        board.hosts = pump.shared(("hosts", board.text, names), lambda: _hosts(pump, names, charts), HOSTS_S)
        board.host = view.host or next(iter(board.hosts), "")
        board.names = () if board.host else names
    board.count = len(charts)
    _lay_out(pump, board, charts[:MAX_PANELS])
    return board


def is_stale(pump: Pump, board: Board) -> bool:
    """Whether the page must be built anew: the file is another one, or what it lacked has come."""
    return _seen(_file(pump, board.name)) != board.seen or _has_come(pump, board)


def _file(pump: Pump, name: str) -> Path:
    return pump.config.boards_folder / f"{name}.toml"


def _seen(file: Path) -> object:
    """What tells a file from another one in its place."""
    try:
        stat = file.stat()
    except (OSError, ValueError):
        return None
    return stat.st_ino, stat.st_mtime_ns, stat.st_size


def _has_come(pump: Pump, board: Board) -> bool:
    """Whether a line is there that was not, or sources are among which a host may be."""
    lacking = [(source, column) for lines in board.lacking for source, column, _ in lines]

    def has_come() -> bool:
        if board.asks_host and not board.host:
            return pump.names() != board.names
        return any(pump.source(source) and column in pump.columns(source) for source, column in lacking)

    return bool(lacking) and pump.shared(("come", board.names, *lacking), has_come, COME_S)


def _lay_out(pump: Pump, board: Board, charts: Sequence[Chart]) -> None:
    wanted = [[(source.replace(HOST, board.host), column) for source, column in chart.pairs] for chart in charts]
    pairs = list(dict.fromkeys(pair for chart in wanted for pair in chart))[:MAX_LINES]
    board.streams, board.columns, missing = streams_of(pump, pairs)
    numbers = {
        (board.streams[stream].name, column): number for number, (stream, column, *_) in enumerate(board.columns)
    }
    named = {pair: board.columns[number][3] or pair[1] for pair, number in numbers.items()}
    for chart, lines in zip(charts, wanted, strict=True):
        there = [pair for pair in lines if pair in numbers]
        known = [take_apart(numbers[pair], pair[1], board.columns[numbers[pair]][2]) for pair in there]
        names = {column for _, column in there}
        is_of_one = len({source for source, _ in lines}) == 1
        labels = [
            called or label_beside(column, known)
            if is_of_one
            else owner_label(source, called or column.name, len(names))
            for column, (source, _), called in zip(
                known, there, [board.columns[numbers[pair]][3] for pair in there], strict=True
            )
        ]
        title = chart.title.replace(HOST, board.host) or ", ".join(
            dict.fromkeys(named.get(pair, pair[1]) for pair in lines)
        )
        unit, right = units_of_axes([column.unit for column in known] or [""], chart.kind)
        drawn = with_roles(zip(known, labels, strict=True), chart.kind)
        board.panels.append(Panel(title, unit, drawn, chart.limits, right))
        board.lacking.append([(*pair, _why(pump, pair[0])) for pair in lines if pair in missing])


def _why(pump: Pump, source: str) -> str:
    """What to say of a line that is not there."""
    farewell = None if pump.source(source) else pump.farewell(source)
    return f"is called {farewell.to} now" if farewell and farewell.to else "is not here (yet)"


def _hosts(pump: Pump, names: Sequence[str], charts: Sequence[Chart]) -> list[str]:
    """What may stand for `HOST`, so that a line at least is there."""
    wanted: dict[str, set[str]] = {}
    for source, column in (pair for chart in charts for pair in chart.pairs if HOST in pair[0]):
        wanted.setdefault(source, set()).add(column)
    found = set()
    for source, columns in wanted.items():
        first, *rest = map(re.escape, source.split(HOST))
        pattern = re.compile(first + "(?P<host>.+)" + "(?P=host)".join(rest), re.DOTALL)
        fitting = ((name, pattern.fullmatch(name)) for name in names)
        found |= {match["host"] for name, match in fitting if match and columns & set(pump.columns(name))}
    return [name for name, _ in in_order(tuple(found))][:MAX_HOSTS]
