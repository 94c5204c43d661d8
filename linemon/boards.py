"""Boards: charts of any columns of any sources. Each is a file NAME.toml that people read, edit and commit.

    window = "1h"                                 # how much is followed, where the address says nothing else

    [[chart]]
    title = "Load"
    lines = ["web1:load.1m", "{host}:load.1m"]    # SOURCE:COLUMN; {host} is what the address says, &host=web2
    kind = "lines"                                # or another one of [[dashboard.panel]]
    limits = [0, 8]                               # the ends of the axis; none = as the values are

The page changes them, too, and leaves of what people wrote there all that it can.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

from linemon.config import PANEL_KINDS
from linemon.errors import ConfigError
from linemon.settings import section

HOST: Final = "{host}"
MAX_NAME: Final = 100  # characters
MAX_BYTES: Final = 200  # of a name: file systems have 255, with an ending
MAX_WIDTH: Final = 100  # characters of a list on one line
DAY: Final = 86400
WINDOWS: Final = {  # that the page offers, s; 0 = all there is
    "1m": 60, "5m": 300, "15m": 900, "1h": 3600, "6h": 21600,
    "24h": DAY, "7d": 7 * DAY, "30d": 30 * DAY, "1y": 365 * DAY, "all": 0,
}  # fmt: skip
_CHART = re.compile(r"^(?:[ \t]*#.*\n)*[ \t]*\[\[[ \t]*chart[ \t]*\]\]", re.MULTILINE)  # with the comment above it


@dataclass(frozen=True)
class Chart:
    """One chart. A line is ``SOURCE:COLUMN``; a percent sign, and a colon of a column, are percent-encoded."""

    title: str = ""
    lines: tuple[str, ...] = ()
    kind: str = "lines"
    limits: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not self.title.isprintable():
            raise ConfigError(f"[[chart]] title = {self.title!r}: expected one line of text")
        if not self.lines:
            raise ConfigError('[[chart]] lines = []: expected a list such as ["web1:cpu.busy_pct"]')
        for line in self.lines:
            if not all(_pair(line)):
                raise ConfigError(f'[[chart]] lines = …{line!r}…: expected "SOURCE:COLUMN" such as "web1:cpu.busy_pct"')
        if self.kind not in PANEL_KINDS:
            raise ConfigError(f"[[chart]] kind = {self.kind!r}: expected one of: {', '.join(PANEL_KINDS)}")
        if self.kind == "stacked" and len({source for source, _ in self.pairs}) > 1:
            raise ConfigError('[[chart]] kind = "stacked": expected lines of one source, as its values add up')
        if self.limits and not (len(self.limits) == 2 and self.limits[0] < self.limits[1]):
            raise ConfigError(f"[[chart]] limits = {list(self.limits)}: expected [least, greatest], or [] for none")

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """(source, column) of each line, in which `HOST` may stand."""
        return list(dict.fromkeys(map(_pair, self.lines)))

    @property
    def toml(self) -> str:
        """As its file has it, without what is as it is by itself."""
        lines = ", ".join(map(quoted, self.lines))
        if len(lines) > MAX_WIDTH:
            lines = "".join(f"\n  {quoted(line)}," for line in self.lines) + "\n"
        said = ["[[chart]]", f"title = {quoted(self.title)}", f"lines = [{lines}]"]
        if self.kind != PANEL_KINDS[0]:
            said.append(f"kind = {quoted(self.kind)}")
        if self.limits:
            said.append(f"limits = [{', '.join(repr(limit).removesuffix('.0') for limit in self.limits)}]")
        return "\n".join(said)


def line_of(source: str, column: str) -> str:
    """A column as a line of a chart."""
    return f"{source.replace('%', '%25')}:{column.replace('%', '%25').replace(':', '%3A')}"


def quoted(text: str) -> str:
    """A string of TOML: what JSON escapes it reads alike, but for DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def parse(text: str) -> tuple[Chart, ...]:
    """The charts of a file. ConfigError says what is wrong with it, and in which line."""
    charts = _tables(text).get("chart", [])
    found = []
    places = [match.end() for match in _CHART.finditer(text)]
    for number, chart in enumerate(charts):
        try:
            found.append(section(Chart, "[[chart]]", chart))
        except ConfigError as error:
            key = str(error).split()[1].rstrip(":")
            start, end = [*places[number : number + 2], *[len(text)] * 2][:2]
            raise ConfigError(f"line {_line(text[:end], start, key)}: {error}") from None
    return tuple(found)


def window_of(text: str) -> str:
    """The window that a file says, one of `WINDOWS`; empty where it says none. ConfigError as above."""
    return str(_tables(text).get("window", ""))


def rewritten(text: str, charts: Sequence[Chart]) -> str:
    """The text of a board with these charts, those that it has already as they stand there, with their comments."""
    starts = [match.start() for match in _CHART.finditer(text)]
    old = parse(text)
    head = text[: starts[0]] if starts else text
    pieces = [text[start:end] for start, end in pairwise([*starts, len(text)])]
    stands = dict(zip(old, pieces, strict=True)) if len(old) == len(pieces) else {}
    parts = [head, *(stands.get(chart, chart.toml) for chart in charts)]
    said = "\n\n".join(part.strip("\n") for part in parts if part.strip()) + "\n"
    try:
        if parse(said) == tuple(charts):
            return said
    except ConfigError:
        pass  # it was written in another way than charts one after the other
    window = window_of(text)
    return "\n\n".join([*([f"window = {quoted(window)}"] if window else []), *(chart.toml for chart in charts)]) + "\n"


def is_name(name: str) -> bool:
    """Whether a board can be called so: its name is that of its file."""
    is_file = name.isprintable() and "/" not in name and not name.startswith(".") and name == name.strip()
    return is_file and 0 < len(name) <= MAX_NAME and len(name.encode(errors="replace")) <= MAX_BYTES


def names(folder: Path) -> list[str]:
    """All boards of a folder, in order; none where there is no folder."""
    try:
        found = [path.stem for path in folder.iterdir() if path.suffix == ".toml" and is_name(path.stem)]
    except OSError:
        return []
    return sorted(found, key=lambda name: (name.casefold(), name))


def read(folder: Path, name: str) -> str | None:
    """What stands in the file of a board; None where there is none. ConfigError where it cannot be read."""
    try:
        return (folder / f"{name}.toml").read_text() if is_name(name) else None
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"cannot be read: {error.reason} at byte {error.start}: expected UTF-8") from None


def _tables(text: str) -> dict[str, Any]:
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(str(error)) from None
    charts, window = tables.get("chart", []), tables.get("window", "5m")
    if not isinstance(charts, list) or not all(isinstance(chart, dict) for chart in charts):
        raise ConfigError(f"line {_line(text, 0, 'chart')}: chart: expected sections [[chart]]")
    if not isinstance(window, str) or window not in WINDOWS:
        expected = f"expected one of: {', '.join(WINDOWS)}"
        raise ConfigError(f"line {_line(text, 0, 'window')}: window = {window!r}: {expected}")
    for said in tables.keys() - {"chart", "window"}:
        raise ConfigError(f"line {_line(text, 0, said)}: {said}: expected window, sections [[chart]], and nothing else")
    return tables


def _pair(line: str) -> tuple[str, str]:
    source, _, column = line.rpartition(":")
    return unquote(source), unquote(column)


def _line(text: str, start: int, key: str) -> int:
    """The number of the line in which a key stands, from `start` on; of the one at `start` where it does not."""
    found = re.compile(rf"^[ \t\[]*{re.escape(key)}\b", re.MULTILINE).search(text, start)
    return 1 + text.count("\n", 0, found.start() if found else start)
