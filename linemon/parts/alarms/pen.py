"""A chart as PNG, drawn with Pillow four times as large as it is seen, and reduced to twice: sharp on every screen."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from linemon.parts.alarms.event import LEVELS
from linemon.parts.alarms.message import clock, plain
from linemon.parts.alarms.picture import Chart

WIDTH, HEIGHT = 640, 320  # as it is seen
FINE: Final = 4  # so much larger it is drawn
SHARP: Final = 2  # so much larger it is sent
TOP, BOTTOM, EDGE = 50, 28, 16
COLOURS: Final = 256
TICKS: Final = 6
DAY_S: Final = 86400
PAD: Final = 0.06  # of the values' range, above and below
SMALLEST: Final = 1e-300  # a difference of numbers that can be divided
STEPS_S: Final = (
    1,
    2,
    5,
    10,
    15,
    30,
    60,
    120,
    300,
    600,
    900,
    1800,
    3600,
    7200,
    10800,
    21600,
    43200,
    86400,
    172800,
    604800,
)
Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Theme:
    """The page's colours."""

    card: Colour
    text: Colour
    muted: Colour
    grid: Colour
    line: Colour
    levels: tuple[Colour, Colour, Colour]


LIGHT: Final = Theme(
    (255, 255, 255),
    (28, 37, 48),
    (93, 107, 123),
    (230, 234, 239),
    (0, 114, 178),
    ((18, 120, 79), (176, 116, 0), (179, 38, 30)),
)
DARK: Final = Theme(
    (22, 28, 37),
    (216, 223, 233),
    (140, 153, 171),
    (38, 49, 64),
    (86, 165, 232),
    ((79, 207, 152), (237, 176, 76), (244, 122, 114)),
)


def png(chart: Chart, dark: bool) -> bytes:
    """The chart, 1280 x 640."""
    image = Image.new("RGB", (WIDTH * FINE, HEIGHT * FINE), (DARK if dark else LIGHT).card)
    Pen(ImageDraw.Draw(image, "RGBA"), chart, DARK if dark else LIGHT).draw()
    file = io.BytesIO()
    image.reduce(FINE // SHARP).quantize(COLOURS, dither=Image.Dither.NONE).save(file, "PNG")
    return file.getvalue()


class Pen:
    """Draws one chart; coordinates are in pixels as they are seen."""

    def __init__(self, draw: Any, chart: Chart, theme: Theme) -> None:
        self._draw, self._chart, self._theme = draw, chart, theme
        self._low, self._high, self._ticks = extent(chart)
        self._step = self._ticks[1] - self._ticks[0] if len(self._ticks) > 1 else 1.0
        labels = [number(tick, chart.unit, self._step) for tick in self._ticks]
        self._left = EDGE + max(self._width(each, 11) for each in labels) + 8
        self._labels = labels
        self._limits = sorted((limit, level, number(limit, chart.unit, limit)) for level, limit in chart.limits)
        self._right = WIDTH - EDGE - max((self._width(label, 11) + 7 for *_, label in self._limits), default=4)

    def draw(self) -> None:
        self._incident()
        self._grid()
        self._band()
        self._dashes()
        self._heading()

    # -- where things are

    def x(self, time_ns: Any) -> Any:
        chart = self._chart
        return self._left + (time_ns - chart.begin) / (chart.end - chart.begin) * (self._right - self._left)

    def y(self, value: Any) -> Any:
        return HEIGHT - BOTTOM - (value - self._low) / (self._high - self._low) * (HEIGHT - BOTTOM - TOP)

    # -- the parts of it

    def _heading(self) -> None:
        chart, theme = self._chart, self._theme
        newest = float(f"{chart.mean[-1]:.3g}")
        shown = number(newest, chart.unit, newest)
        if chart.incident and chart.incident[0]:
            level, begin, end = chart.incident
            over = end < chart.end
            said = f"{LEVELS[level]} {'from' if over else 'since'} {clock(begin, chart.end)}"
            said += f" to {clock(end, chart.end)}" if over else ""
            self._text((WIDTH - EDGE, 35), said, 11, theme.levels[level], "rs")
        self._text((WIDTH - EDGE, 20), shown, 14, theme.text, "rs", bold=True)
        room = WIDTH - EDGE - EDGE - self._width(shown, 14, bold=True) - 16
        self._text((EDGE, 20), self._fitting(plain(chart.source), room, 14), 14, theme.text, "ls", bold=True)
        self._text((EDGE, 35), self._fitting(plain(chart.column), WIDTH / 2, 11), 11, theme.muted, "ls")

    def _grid(self) -> None:
        theme = self._theme
        for tick, label in zip(self._ticks, self._labels, strict=True):
            self._line([(self._left, self.y(tick)), (self._right, self.y(tick))], theme.grid, 1)
            self._text((self._left - 8, self.y(tick)), label, 11, theme.muted, "rm")
        used = -math.inf
        for time_ns, label in times(self._chart.begin, self._chart.end):
            x, half = self.x(time_ns), self._width(label, 11) / 2
            self._line([(x, HEIGHT - BOTTOM), (x, HEIGHT - BOTTOM + 4)], theme.grid, 1)
            if x - half > used and x + half < WIDTH - 4:
                self._text((x, HEIGHT - BOTTOM + 8), label, 11, theme.muted, "ma")
                used = x + half + 10

    def _incident(self) -> None:
        if not self._chart.incident:
            return
        level, begin, end = self._chart.incident
        left, right = self.x(max(begin, self._chart.begin)), max(self.x(end), self.x(begin) + 1.5)
        colour = self._theme.levels[level]
        self._draw.rectangle(self._fine([(left, TOP), (right, HEIGHT - BOTTOM)]), (*colour, 30))
        edges = ([left] if begin >= self._chart.begin else []) + ([right] if end < self._chart.end else [])
        for x in edges:
            self._line([(x, TOP), (x, HEIGHT - BOTTOM)], (*colour, 150), 1)

    def _band(self) -> None:
        chart, colour = self._chart, self._theme.line
        for run in chart.runs():
            x = self.x(chart.time[run])
            low, mean, high = self.y(chart.low[run]), self.y(chart.mean[run]), self.y(chart.high[run])
            if len(x) == 1:
                self._dot(float(x[0]), float(mean[0]), 2, colour)
                continue
            edge = [*zip(x, high, strict=True), *zip(x[::-1], low[::-1], strict=True)]
            self._draw.polygon(self._fine(edge), (*colour, 60))
            self._draw.line(self._fine(zip(x, mean, strict=True)), colour, round(1.75 * FINE), joint="curve")
        self._dot(float(self.x(chart.time[-1])), float(self.y(chart.mean[-1])), 3.5, colour, self._theme.card)

    def _dashes(self) -> None:
        """The limits, each with its number beside it, none upon another."""
        used = math.inf
        for limit, level, label in self._limits:
            y, colour = self.y(limit), self._theme.levels[level]
            for x in np.arange(self._left, self._right, 7.0):
                self._line([(x, y), (min(x + 4, self._right), y)], colour, 1.25)
            used = min(y, used - 13)
            self._text((self._right + 7, used), label, 11, colour, "lm")

    # -- strokes

    def _fine(self, points: Any) -> list[tuple[float, float]]:
        return [(float(x) * FINE, float(y) * FINE) for x, y in points]

    def _line(self, points: Any, colour: Any, width: float) -> None:
        self._draw.line(self._fine(points), colour, round(width * FINE))

    def _dot(self, x: float, y: float, radius: float, colour: Colour, edge: Colour | None = None) -> None:
        box = self._fine([(x - radius, y - radius), (x + radius, y + radius)])
        self._draw.ellipse(box, colour, edge, round(1.25 * FINE) if edge else 0)

    def _text(
        self, at: tuple[float, float], text: str, size: int, colour: Any, anchor: str, bold: bool = False
    ) -> None:
        self._draw.text((at[0] * FINE, at[1] * FINE), text, colour, font(size, bold), anchor)

    def _width(self, text: str, size: int, bold: bool = False) -> float:
        return float(font(size, bold).getlength(text)) / FINE

    def _fitting(self, text: str, room: float, size: int) -> str:
        """The text, cut in its middle where there is no room."""
        if self._width(text, size, bold=True) <= room:
            return text
        keep = len(text)
        while keep > 4 and self._width(text[: keep // 2] + "…" + text[-(keep // 2) :], size, bold=True) > room:
            keep -= 2
        return text[: keep // 2] + "…" + text[-(keep // 2) :]


@cache
def font(size: int, bold: bool) -> Any:
    """DejaVu where the system has it, else Pillow's own."""
    try:
        return ImageFont.truetype("DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf", size * FINE)
    except OSError:
        return ImageFont.load_default(size * FINE)


def extent(chart: Chart) -> tuple[float, float, list[float]]:
    """The lowest and highest value of the axis, with all values and limits between; and its ticks, round numbers."""
    values = [float(chart.low.min()), float(chart.high.max()), *(limit for _, limit in chart.limits)]
    low, high = min(values), max(values)
    if high - low <= max(1e-6 * abs(high), SMALLEST):
        low, high = low - max(abs(low) / 2, 1), high + max(abs(high) / 2, 1)
    is_from_zero = 0 <= min(values) < high / 2
    low, high = (0.0 if is_from_zero else low - PAD * (high - low)), high + PAD * (high - low)
    if chart.unit == "%" and min(values) >= 0 and max(values) <= 100:
        low, high = max(low, 0.0), min(high, 100.0)
    step = rounded((high - low) / TICKS)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return low, high, [i * step for i in range(first, last + 1)]


def rounded(step: float) -> float:
    """1, 2, 2.5 or 5 times a power of ten, not below this."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(power * each for each in (1, 2, 2.5, 5, 10) if power * each >= step * (1 - 1e-9))


def number(value: float, unit: str, step: float) -> str:
    """A value as exact as `step`, with the unit and k, M, G before it."""
    prefix, scale = 0, 1.0
    while abs(value) >= 9999.5 * scale and prefix < 6:
        scale, prefix = scale * 1000, prefix + 1
    digits = next((each for each in range(6) if math.isclose(round(step / scale, each), step / scale)), 6)
    text = f"{value / scale:.{digits}f}".replace("-", "−")
    word = " kMGTPE"[prefix].strip() + unit
    return f"{text} {word}" if word else text


def times(begin: int, end: int) -> list[tuple[int, str]]:
    """Round local times between, and what is written at them."""
    begin_s, end_s = begin / 1e9, end / 1e9
    step = next((each for each in STEPS_S if (end_s - begin_s) / each <= 7), None)
    step = step or STEPS_S[-1] * math.ceil((end_s - begin_s) / 7 / STEPS_S[-1])
    start = datetime.fromtimestamp(begin_s).astimezone()
    if step < DAY_S:
        offset = (start.utcoffset() or timedelta()).total_seconds()
        first = math.ceil((begin_s + offset) / step)
        found = [count * step - offset for count in range(first, math.floor((end_s + offset) / step) + 1)]
    else:  # midnights: days are not equally long
        midnight = start.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
        days = range(0, math.ceil((end_s - begin_s) / DAY_S) + 2, step // DAY_S)
        found = [(midnight + timedelta(days=count)).timestamp() for count in days]
    form = "%H:%M:%S" if step < 60 else "%H:%M" if step < DAY_S else "%b %-d"
    return [
        (round(at * 1e9), datetime.fromtimestamp(at).astimezone().strftime(form))
        for at in found
        if begin_s <= at <= end_s
    ]
