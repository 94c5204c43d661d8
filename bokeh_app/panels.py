"""Which columns of a source are drawn together, how, and under which names. Pure: no Bokeh, no store."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
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
    "celsius": "°C",
    "degC": "°C",
}
TITLES = {
    "clock": "Clock",
    "cpu": "CPU",
    "disk": "Disk",
    "files": "Open files",
    "fs": "File systems",
    "kernel": "Kernel",
    "load": "Load",
    "mem": "Memory",
    "net": "Network",
    "proc": "Processes",
    "psi": "Pressure",
    "sys": "System",
    "temp": "Temperature",
}
TOTALS, DEVICES, DETAILS, ALONE = range(4)  # in this order, where not all fit
# What is read together although it is named apart, or apart although named together: by first word, or whole name.
SAME_CHART = {"swap": "mem", "cpu.count": "load", "cpu.limit_cores": "load", "proc.files_open": "files"}
SAME_UNIT = {"°C": "temp"}  # what is read together whatever its name

FAULTS = {"errors", "drops", "retransmits"}  # of devices: few, and flat beside what goes well
DETAILED = FAULTS | {"packets", "free"}  # of devices: not worth a chart before all else has its own
NO_DEVICES = {"psi"}  # whose parts are something else

# The parts of a processor's time. `busy` and `idle` are sums of some of them: a line over the stack.
MODES = {"user", "nice", "system", "iowait", "irq", "softirq", "steal", "guest", "guest_nice"}
INWARDS = re.compile(r"(^|[._ ])(rx|recv|received?|in|input|ingress|read|reads|download|down)($|[._ ])")
OUTWARDS = re.compile(r"(^|[._ ])(tx|sent|send|transmit|out|output|egress|write|writes|written|upload|up)($|[._ ])")
ROLES = {"stack": "stacked", "below": "mirrored", "step": "step"}  # of a line: what its chart is then


@dataclass(frozen=True)
class Line:
    """One column in a chart. `role`: a plain `line`, one in steps (`step`), a part of the `stack`, or `below` zero."""

    column: int
    label: str
    role: str = "line"


@dataclass(frozen=True)
class Panel:
    """One chart; `limits` are the ends of its axis, empty = as the values are; `warn`, `crit` those of linemon.toml."""

    title: str
    unit: str
    lines: tuple[Line, ...]
    limits: tuple[float, ...] = ()
    right: str = ""  # the unit of the axis on the right, of lines that are not in `unit`
    warn: float | None = None
    crit: float | None = None

    @property
    def kind(self) -> str:
        """One of `PANEL_KINDS` of linemon.config."""
        roles = {line.role for line in self.lines}
        return next((kind for role, kind in ROLES.items() if role in roles), "lines")


@dataclass(frozen=True)
class Column:
    """One column, taken apart: `net.eth0.rx_bytes_per_s` is net, (eth0,), rx, B/s."""

    number: int
    name: str
    head: str
    devices: tuple[str, ...]
    measure: str
    unit: str

    @property
    def topic(self) -> str:
        return SAME_UNIT.get(self.unit) or SAME_CHART.get(self.name) or SAME_CHART.get(self.head, self.head)


def group(columns: Sequence[str], units: Sequence[str]) -> tuple[list[Panel], list[int]]:
    """The charts of a source, and the numbers of the columns for which there was no place."""
    groups: dict[tuple[str, str, bool, bool], list[Column]] = {}
    for column in taken_apart(columns, units):
        has_devices = bool(column.devices) and column.unit not in SAME_UNIT
        key = column.topic, column.unit, has_devices, has_devices and column.measure in FAULTS
        groups.setdefault(key, []).append(column)
    together = list(groups.values())
    if len(together) > MAX_PANELS:
        together = _merge_single(together)
    drawn: list[list[Column]] = []
    room = MAX_LINES
    for each in sorted(together, key=_rank)[:MAX_PANELS]:
        if room:
            drawn.append(each[: min(LINES_PER_PANEL, room)])
            room -= len(drawn[-1])
    first = {topic: number for number, topic in reversed(list(enumerate(key[0] for key in groups)))}
    drawn.sort(key=lambda each: (first[each[0].topic], each[0].number))
    panels = [_panel(each) for each in drawn]
    shown = {line.column for panel in panels for line in panel.lines}
    return panels, [number for number in range(len(columns)) if number not in shown]


def unit_of(name: str, unit: str) -> str:
    """The unit to show for a column: its sender's, else what its name ends with."""
    return take_apart(0, name, unit).unit


def take_apart(number: int, name: str, unit: str) -> Column:
    """What a column's name says."""
    rest = name
    for suffix, meaning in SUFFIXES:
        if name.endswith(suffix) and len(name) > len(suffix):
            rest, unit = name.removesuffix(suffix), unit or meaning
            break
    unit = SPELLINGS.get(unit, unit)
    head, *parts = (unquote(part) for part in rest.split("."))
    return Column(number, name, head, tuple(parts[:-1]), parts[-1] if parts else head, unit)


def taken_apart(columns: Sequence[str], units: Sequence[str]) -> list[Column]:
    """What the names of a source's columns say, with one another: where several names without dots share a first word
    they belong together, `usage_user` and `usage_idle`; that of one alone is a part of its name."""
    known = [take_apart(number, *each) for number, each in enumerate(zip(columns, units, strict=True))]
    words = Counter(word for column in known if (word := _first_word(column)))
    return [_split(column) if words[_first_word(column)] > 1 else column for column in known]


def _first_word(column: Column) -> str:
    return "" if "." in column.name else column.head.partition("_")[0]


def _split(column: Column) -> Column:
    word, _, measure = column.head.partition("_")
    return replace(column, head=word, measure=measure or word)


def with_roles(lines: Iterable[tuple[Column, str]], kind: str) -> tuple[Line, ...]:
    """Columns and their labels as the lines of a chart of one of `PANEL_KINDS` of linemon.config.

    What is a sum lies over a stack.
    """
    lines = list(lines)
    has_modes = any(column.measure in MODES for column, _ in lines)
    return tuple(Line(column.number, label, _role(column, kind, has_modes)) for column, label in lines)


def _role(column: Column, kind: str, has_modes: bool) -> str:
    if kind == "mirrored":
        return "below" if _goes_out(column) else "line"
    if kind == "stacked":
        return "stack" if column.measure in MODES or not has_modes else "line"
    return "step" if kind == "step" else "line"


def units_of_axes(units: Iterable[str], kind: str) -> tuple[str, str]:
    """The units of the axes on the left and on the right of a chart of one of `KINDS`; without the second: ""."""
    first, *more = dict.fromkeys(units)
    if len(more) == 1 and kind in ("lines", "step"):
        return first, more[0]
    return "" if more else first, ""  # one axis cannot be in two


def label_of(column: Column) -> str:
    """How a column is called where nothing else says what it belongs to."""
    words = [column.head, *column.devices, column.measure]
    return " ".join(dict.fromkeys(TITLES.get(word, word) for word in words)).replace("_", " ")


def _goes_out(column: Column) -> bool:
    return OUTWARDS.search(column.measure) is not None


def _rank(group: list[Column]) -> int:
    """What kind of group: several totals, per device, what of devices can wait, or one number that stands alone."""
    if group[0].devices or group[0].unit in SAME_UNIT:
        return DETAILS if group[0].measure in DETAILED else DEVICES
    return TOTALS if len(group) > 1 and len({column.topic for column in group}) == 1 else ALONE


def _merge_single(groups: Iterable[list[Column]]) -> list[list[Column]]:
    """Put columns that would be alone in their charts together, as far as they share a unit."""
    merged: list[list[Column]] = []
    open_chart: dict[str, list[Column]] = {}
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


def _panel(group: list[Column]) -> Panel:
    is_alone = len(group) == 1 and group[0].unit in SAME_UNIT
    topics = [group[0].head] if is_alone else list(dict.fromkeys(column.topic for column in group))
    measures = {column.measure for column in group}
    title = ", ".join(TITLES.get(topic, topic) for topic in topics[:3]) + (" …" if len(topics) > 3 else "")
    if group[0].devices and group[0].unit not in SAME_UNIT and not NO_DEVICES & set(topics):
        many = " faults" if measures <= FAULTS else " by device"
        title += f" {group[0].measure}" if len(measures) == 1 else many
    labels = []
    for column in group:
        words = list(column.devices)
        if len(topics) > 1 or column.head != column.topic or (words and words[0].isdecimal()):
            words.insert(0, column.head)
        if not column.devices or len(measures) > 1:
            words.append(column.measure)
        labels.append(" ".join(dict.fromkeys(words)).replace("_", " "))
    are_modes = not group[0].devices and len(measures & MODES) > 1 and {"user", "system"} <= measures
    kind = "stacked" if are_modes else "mirrored" if _is_in_and_out(group) else "lines"
    lines = with_roles(zip(group, labels, strict=True), kind)
    return Panel(title.replace("_", " "), group[0].unit, lines)


def _is_in_and_out(group: list[Column]) -> bool:
    """Whether each device has what goes in and what goes out, and nothing else."""
    if group[0].unit in SAME_UNIT:
        return False
    out = sum(map(_goes_out, group))
    return 0 < out == sum(INWARDS.search(column.measure) is not None for column in group) and 2 * out == len(group)
