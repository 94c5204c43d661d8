"""Which columns of a source are drawn together, under which names. Pure: no Bokeh, no store."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

# A browser's work grows with each chart and each line, hardly with points.
MAX_PANELS = 16
MAX_LINES = 80
LINES_PER_PANEL = 12

# What a column's name says about its unit, where its sender said nothing; the longest ending comes first.
SUFFIXES = (
    ("_bytes_per_s", "B/s"),
    ("_celsius", "°C"),
    ("_per_s", "/s"),
    ("_bytes", "B"),
    ("_percent", "%"),
    ("_pct", "%"),
    ("_hz", "Hz"),
    ("_s", "s"),
)
SPELLINGS = {
    "percent": "%",
    "bytes": "B",
    "bytes/s": "B/s",
    "By": "B",
    "By/s": "B/s",
    "1/s": "/s",
    "C": "°C",
    "Cel": "°C",
}
TITLES = {
    "cpu": "CPU",
    "disk": "Disk",
    "fs": "File systems",
    "kernel": "Kernel",
    "load": "Load",
    "mem": "Memory",
    "net": "Network",
    "proc": "Processes",
    "sys": "System",
    "temp": "Temperature",
}
TOTALS, DEVICES, ALONE = range(3)  # in this order, where not all fit
SAME_CHART = {"swap": "mem"}  # what is read together although it is named apart


@dataclass(frozen=True)
class Panel:
    """One chart: the numbers of its columns in the source, and a short label for each."""

    title: str
    unit: str
    columns: tuple[int, ...]
    labels: tuple[str, ...]


@dataclass(frozen=True)
class _Column:
    """One column, taken apart: `net.eth0.rx_bytes_per_s` is net, (eth0,), rx, B/s."""

    number: int
    head: str
    devices: tuple[str, ...]
    measure: str
    unit: str

    @property
    def topic(self) -> str:
        return SAME_CHART.get(self.head, self.head)


def group(columns: Sequence[str], units: Sequence[str]) -> tuple[list[Panel], list[int]]:
    """The charts of a source, and the numbers of the columns for which there was no place."""
    groups: dict[tuple[str, str, bool], list[_Column]] = {}
    for number, (name, unit) in enumerate(zip(columns, units, strict=True)):
        column = _take_apart(number, name, unit)
        groups.setdefault((column.topic, column.unit, bool(column.devices)), []).append(column)
    together = list(groups.values())
    if len(together) > MAX_PANELS:
        together = _merge_single(together)
    drawn: list[list[_Column]] = []
    room = MAX_LINES
    for each in sorted(together, key=_rank)[:MAX_PANELS]:
        if room:
            drawn.append(each[: min(LINES_PER_PANEL, room)])
            room -= len(drawn[-1])
    first = {topic: number for number, topic in reversed(list(enumerate(key[0] for key in groups)))}
    drawn.sort(key=lambda each: (first[each[0].topic], each[0].number))
    panels = [_panel(each) for each in drawn]
    shown = {number for panel in panels for number in panel.columns}
    return panels, [number for number in range(len(columns)) if number not in shown]


def unit_of(name: str, unit: str) -> str:
    """The unit to show for a column: its sender's, else what its name ends with."""
    return _take_apart(0, name, unit).unit


def _take_apart(number: int, name: str, unit: str) -> _Column:
    for suffix, meaning in SUFFIXES:
        if name.endswith(suffix) and len(name) > len(suffix):
            name, unit = name.removesuffix(suffix), unit or meaning
            break
    head, *rest = (unquote(part) for part in name.split("."))
    if not rest:  # no groups by name: what shares a first word belongs together, `usage_user` and `usage_idle`
        word, _, measure = head.partition("_")
        return _Column(number, word, (), measure or head, SPELLINGS.get(unit, unit))
    return _Column(number, head, tuple(rest[:-1]), rest[-1], SPELLINGS.get(unit, unit))


def _rank(group: list[_Column]) -> int:
    """What kind of group: several totals, per device, or one number that stands alone."""
    if group[0].devices:
        return DEVICES
    return TOTALS if len(group) > 1 else ALONE


def _merge_single(groups: Iterable[list[_Column]]) -> list[list[_Column]]:
    """Put columns that would be alone in their charts together, as far as they share a unit."""
    merged: list[list[_Column]] = []
    open_chart: dict[str, list[_Column]] = {}
    for each in groups:
        unit = each[0].unit
        if _rank(each) < ALONE:
            merged.append(each)
        elif unit in open_chart and len(open_chart[unit]) < LINES_PER_PANEL:
            open_chart[unit].extend(each)
        else:
            open_chart[unit] = list(each)
            merged.append(open_chart[unit])
    return merged


def _panel(group: list[_Column]) -> Panel:
    topics = list(dict.fromkeys(column.topic for column in group))
    measures = {column.measure for column in group}
    title = ", ".join(TITLES.get(topic, topic) for topic in topics[:3]) + (" …" if len(topics) > 3 else "")
    if group[0].devices:
        title += f" {group[0].measure}" if len(measures) == 1 else " by device"
    labels = []
    for column in group:
        words = list(column.devices)
        if len(topics) > 1 or column.head != column.topic or (words and words[0].isdecimal()):
            words.insert(0, column.head)
        if not column.devices or len(measures) > 1:
            words.append(column.measure)
        labels.append(" ".join(dict.fromkeys(words)).replace("_", " "))
    return Panel(title.replace("_", " "), group[0].unit, tuple(column.number for column in group), tuple(labels))
