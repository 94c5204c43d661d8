"""What people read and see: messages, commands of a bot, pictures."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from linemon.errors import LinemonError
from linemon.parts._secrets import clean, secrets_of
from linemon.parts.alarms import commands, pen
from linemon.parts.alarms.event import Event
from linemon.parts.alarms.message import Message, cut
from linemon.parts.alarms.notifier import Answers
from linemon.parts.alarms.notifiers import mqtt
from linemon.parts.alarms.pen import DARK, LIGHT, Theme
from linemon.parts.alarms.picture import Chart, Pictures
from linemon.store.writer import StoreWriter
from tests.notifiers import FIRST, NOW, OTHER, over, raised

MIN = 60 * 10**9


@pytest.fixture(autouse=True)
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    import time

    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


# -- messages


@pytest.mark.parametrize(
    ("events", "title", "text"),
    [
        ([FIRST], "Warning: disk full on web1", "web1: fs./.used_pct is 92 %. Since 12:06 CET, #12"),
        ([FIRST, raised()], "Critical: disk full on web1", "web1: fs./.used_pct is 92 %. Since 12:06 CET, #12"),
        (
            [FIRST, raised(), replace(over(seq=3), level=2)],
            "OK: disk full on web1",
            "web1: fs./.used_pct is 92 %. Was critical 12:06 to 12:13 CET (7 min), #12",
        ),
        (
            [replace(FIRST, kind="still", level=2, at=NOW + 50 * 60 * MIN)],
            "Still critical: disk full on web1",
            "web1: fs./.used_pct is 92 %. Since 2026-11-18 12:06 CET, #12",
        ),
        (
            [replace(FIRST, kind="flapping", text="Up and down!")],
            "Flapping: disk full on web1",
            "Up and down! It comes and goes since 12:06 CET. Nothing more is told until it is steady, #12",
        ),
        (
            [replace(over(), kind="gone")],
            "Gone: disk full on web1",
            "web1: fs./.used_pct is 92 %. It is no longer there. Was warning 12:06 to 12:13 CET (7 min), #12",
        ),
        (
            [FIRST, raised(OTHER), over()],
            "2 alarms: 1 critical, 1 OK",
            "OK: disk full on web1. web1: fs./.used_pct is 92 %. Was warning 12:06 to 12:13 CET (7 min), #12\n"
            "Critical: memory on web2. web2: memory is 97 %. Since 12:06 CET, #13",
        ),
    ],
)
def test_how_it_is_said(events: list[Event], title: str, text: str) -> None:
    message = Message(events)
    assert message.title == title
    assert message.text(1000) == text


def test_a_message_of_many_is_bounded() -> None:
    """The first of them, and how many more; in as many characters as there may be."""
    events = [replace(FIRST, key=str(i), n=i) for i in range(500)]
    message = Message(events)
    assert message.title == "500 alarms: 500 warnings"
    assert message.parts[-1] == ("", "… and 450 more")
    assert len(Message(events, "https://lab.example/").text(900)) == 900
    assert Message(events, "https://lab.example/").text(900).endswith("…\nhttps://lab.example/?source=web1")


def test_where_to_look() -> None:
    """The source's page, or that of the alarms where there are several."""
    assert Message([replace(FIRST, source="a b/ü")], "http://h/x/").link == "http://h/x/?source=a%20b%2F%C3%BC"
    assert Message([FIRST, OTHER], "http://h/x").link == "http://h/x/?alarms=1"
    assert Message([FIRST]).link == ""


def test_the_same_message_has_the_same_id() -> None:
    assert Message([FIRST]).id == f"{FIRST.key}.1"
    assert Message([FIRST, OTHER]).id == Message([FIRST, OTHER]).id != Message([FIRST, raised(OTHER)]).id
    assert len(Message([replace(FIRST, key="k" * 5000)]).id) == 32


NAME = st.text(max_size=60)


@given(NAME, NAME, NAME, st.integers(20, 200))
def test_names_stay_in_their_line(text: str, source: str, alarm: str, most: int) -> None:
    """Whatever they hold: nothing of them is a line break or a control character."""
    message = Message([replace(FIRST, text=text, source=source, alarm=alarm)])
    for said in (message.title, message.text(10_000)):
        assert said.isprintable()
    assert len(cut(message.text(10_000), most).encode()) <= most
    assert len(cut(message.text(10_000), most, "utf-16-le").encode("utf-16-le")) <= most


def test_what_is_no_text_or_number() -> None:
    """Half characters and infinities, which JSON lines and `eta()` give, are told as what all peers take."""
    event = replace(FIRST, source="a\ud800", column="\udfff", text="x\ud800", value=float("inf"))
    message = Message([event], "https://lab.example")
    assert message.text(1000).encode()
    assert message.title.encode()
    assert json.loads(json.dumps(event.as_json(), allow_nan=False))["value"] is None
    assert mqtt.escaped("a/\ud800") == "a%2F%3F"


def test_what_is_cut_out() -> None:
    """A secret in all the ways in which it is sent; what is too short to be one stays."""
    hidden = secrets_of(["https://u:pa+ss@h.example/T0/B+1?k=v+w", "to/k en", "x"])
    text = "h.example u x https://u:pa+ss@h.example/T0/B+1?k=v+w pa%2Bss /T0/B%2B1 T0/B+1 to%2Fk%20en to%2Fk+en to/k en"
    assert clean(text, hidden) == "h.example u x ... ... ... ... ... ... ..."


# -- commands


class House:
    """What a bot may use, and what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[object, ...]] = []
        self.answers: Answers | None = self
        self.sources = {"web1": ("cpu.busy_pct", "mem.used_pct"), "Web2": ("a.b", "a.c"), "db.web1": ("value",)}

    def status(self, name: str) -> str:
        self.asked.append(("status", name))
        return f"{name or 'all'}: OK"

    def ack(self, n: int, by: str) -> str:
        if n == 404:
            raise LinemonError("no incident 404")
        self.asked.append(("ack", n, by))
        return f"#{n} is acknowledged"

    def silence(self, pattern: str, span: float, by: str) -> str:
        self.asked.append(("silence", pattern, span, by))
        return "silent"

    def limits(self, source: str, column: str) -> list[tuple[int, float]]:
        return []

    def picture(self, source: str, column: str, span: float, dark: bool) -> bytes:
        self.asked.append(("picture", source, column, span, dark))
        return b"PNG"

    def names(self) -> dict[str, tuple[str, ...]]:
        return self.sources

    def mark(self, name: str) -> int:
        return 0

    def note(self, name: str, number: int) -> None:
        pass


@pytest.mark.parametrize(
    ("said", "asked", "answer"),
    [
        ("STATUS", ("status", ""), "all: OK"),
        ("/status@linemon_bot web1", ("status", "web1"), "web1: OK"),
        ("Status WEB2", ("status", "Web2"), "Web2: OK"),
        ("status db", ("status", "db.web1"), "db.web1: OK"),
        ("status web", None, "web stands for several. They are: web1, Web2, db.web1"),
        ("status wbe1", None, "There is no source wbe1. Near it: web1"),
        ("graph web1", ("picture", "web1", "cpu.busy_pct", 3600.0, False), "web1 cpu.busy_pct, the last 1h"),
        ("GRAPH web1 6h", ("picture", "web1", "cpu.busy_pct", 21600.0, False), "web1 cpu.busy_pct, the last 6h"),
        ("graph web1 MEM 90m", ("picture", "web1", "mem.used_pct", 5400.0, False), "web1 mem.used_pct, the last 90m"),
        ("graph web2", ("picture", "Web2", "a.b", 3600.0, False), "Web2 a.b, the last 1h"),
        ("graph web1 mem.usde_pct", None, "There is no column mem.usde_pct. Near it: mem.used_pct"),
        ("graph web1 mem 5x", None, "5x is no span such as 30m or 6h, of 366d at most"),
        ("ack 12", ("ack", 12, "ann"), "#12 is acknowledged"),
        ("/ACK #12", ("ack", 12, "ann"), "#12 is acknowledged"),
        ("ack 404", None, "no incident 404"),
        ("silence web* 2h", ("silence", "web*", 7200.0, "ann"), "silent"),
        ("silence web1 8d", None, "8d is no span such as 30m or 6h, of 7d at most"),
        ("stauts", None, f"I do not know stauts. Did you mean STATUS?\n{commands.HELP}"),
        ("ack", None, commands.HELP),
        ("hello", None, commands.HELP),
        ("", None, commands.HELP),
    ],
)
def test_what_a_bot_does(said: str, asked: tuple[object, ...] | None, answer: str) -> None:
    """Any case, with a slash or without; what is not clear is asked back, and nothing is done."""
    house = House()
    text, picture = asyncio.run(commands.obey(house, said, "ann"))
    assert text == answer
    assert house.asked == ([asked] if asked else [])
    assert (picture is not None) == bool(asked and asked[0] == "picture")


# -- pictures


def shown(png: bytes) -> Image.Image:
    with Image.open(io.BytesIO(png)) as image:
        return image.convert("RGB")


def near(image: Image.Image, colour: tuple[int, int, int], box: tuple[int, int, int, int]) -> int:
    """How many pixels there have about this colour."""
    part = np.asarray(image.crop(box), int)
    return int((np.abs(part - colour).max(axis=2) < 24).sum())


def chart(**more: object) -> Chart:
    time = np.linspace(NOW, NOW + 360 * MIN, 400).astype(np.int64)
    mean = np.where(np.arange(400) > 300, 95.0, 50.0)
    made = Chart("web1", "mem.used_pct", "%", NOW, NOW + 360 * MIN, time, mean - 1, mean + 1, mean)
    return replace(made, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(("dark", "theme"), [(False, LIGHT), (True, DARK)])
def test_a_picture(dark: bool, theme: Theme) -> None:
    """The line, the limits in their colours, and the incident's time shaded; in the page's colours."""
    limits, incident = ((1, 80.0), (2, 97.0)), (2, NOW + 270 * MIN, NOW + 360 * MIN)
    image = shown(pen.png(chart(limits=limits, incident=incident), dark))
    assert image.size == (1280, 640)
    assert near(image, theme.card, (0, 0, 20, 640)) == 20 * 640
    plot = (120, 100, 1190, 580)
    assert near(image, theme.line, plot) > 1000
    assert near(image, theme.levels[1], plot) > 500
    assert near(image, theme.levels[2], plot) > 500
    before, within = (200, 400, 240, 420), (1000, 400, 1040, 420)
    assert near(image, theme.card, before) == 800
    tint = np.asarray(image.crop(within), int).mean(axis=(0, 1)) - theme.card
    toward = np.array(theme.levels[2]) - theme.card
    assert tint @ toward / (toward @ toward) == pytest.approx(30 / 255, abs=0.03)


@pytest.mark.slow
def test_a_hole_is_a_hole() -> None:
    """No line where there were no rows; a point that is alone is a dot."""
    full = chart()
    keep = np.r_[0:100, 150:151, 200:400]
    image = shown(
        pen.png(replace(full, **{name: getattr(full, name)[keep] for name in ("time", "low", "high", "mean")}), False)
    )
    whole = shown(pen.png(full, False))
    left, right = (x_of(image, each) for each in (102, 148))
    assert near(whole, LIGHT.line, (left, 100, right, 580)) > 200
    assert near(image, LIGHT.line, (left, 100, right, 580)) == 0
    assert near(image, LIGHT.line, (x_of(image, 147), 100, x_of(image, 153), 580)) > 20


def x_of(image: Image.Image, point: int) -> int:
    """Where one of the 400 points is, of a chart whose line spans all of it."""
    columns = np.flatnonzero((np.abs(np.asarray(image, int)[100:580] - LIGHT.line).max(axis=2) < 24).any(axis=0))
    return int(columns[0] + (columns[-1] - columns[0]) * point / 399)


FINITE = st.floats(-1e300, 1e300)


@given(st.lists(FINITE, min_size=1, max_size=5), st.lists(FINITE, max_size=2), st.sampled_from(["%", "B/s", "", "°C"]))
def test_the_axis_holds_all_values(values: list[float], limits: list[float], unit: str) -> None:
    """Two ticks or more, in order, few; each as long as it must be to be told from the next."""
    mean = np.array(values)
    low, high, ticks = pen.extent(
        chart(mean=mean, low=mean, high=mean, unit=unit, limits=tuple((1, x) for x in limits))
    )
    assert low <= min(values + limits) <= max(values + limits) <= high
    assert 2 <= len(ticks) <= 8
    assert all(low <= tick <= high for tick in ticks)
    labels = [pen.number(tick, unit, ticks[1] - ticks[0]) for tick in ticks]
    if 1e-4 < ticks[1] - ticks[0] < 1e18 and max(map(abs, ticks)) < 1e4 * (ticks[1] - ticks[0]):
        assert len(set(labels)) == len(labels)


@pytest.mark.parametrize(
    ("value", "unit", "step", "text"),
    [
        (0, "%", 25, "0 %"),
        (7.5, "", 2.5, "7.5"),
        (80e6, "B/s", 20e6, "80 MB/s"),
        (-0.25, "V", 0.05, "−0.25 V"),
        (1500, "", 500, "1500"),
    ],
)
def test_numbers_of_the_axis(value: float, unit: str, step: float, text: str) -> None:
    assert pen.number(value, unit, step) == text


@pytest.mark.parametrize("span", [1, 10, 59, 600, 3600, 86400, 7 * 86400, 40 * 86400, 5 * 366 * 86400])
def test_times_of_the_axis(span: int) -> None:
    """A few, round by the local clock, in order; also over the hour that comes twice."""
    begin = 1_792_890_000 * 10**9  # an hour or so before the clocks of Berlin are set back
    found = pen.times(begin, begin + span * 10**9)
    assert len(found) <= 9
    assert span < 2 or len(found) >= 2
    assert [at for at, _ in found] == sorted(at for at, _ in found)
    assert all(begin <= at <= begin + span * 10**9 for at, _ in found)


@pytest.fixture
def pictures(tmp_path: Path) -> Iterator[Pictures]:
    """A store with an hour of a row a second until NOW."""
    writer = StoreWriter(tmp_path, 3600, 10)
    ring = writer.bind("web1", ("fs./.used_pct", "never"), ("%", ""))
    block = np.empty((3600, 3), np.int64)
    block[:, 0] = NOW - 3600 * 10**9 + np.arange(3600) * 10**9
    block[:, 1] = np.linspace(50, 95, 3600).view(np.int64)
    block[:, 2] = np.full(3600, np.nan).view(np.int64)
    ring.arena.append_to(ring.entry.slot, block)
    yield Pictures(tmp_path, lambda source, column: [(1, 90.0)])
    writer.close()


def test_the_picture_of_an_incident(pictures: Pictures) -> None:
    """It begins where there are rows; where there is nothing to draw there is none, and the message goes without."""
    event = replace(FIRST, at=NOW, since=NOW - 10 * MIN)
    image = shown(pictures.of(event, False) or b"")
    line = np.flatnonzero((np.abs(np.asarray(image, int)[100:580] - LIGHT.line).max(axis=2) < 24).any(axis=0))
    assert line[0] < 160
    assert line[-1] > 1150
    assert near(image, LIGHT.levels[1], (120, 100, 1190, 580)) > 500
    for nothing in (replace(event, column=None), replace(event, source="x"), replace(event, column="never")):
        assert pictures.of(nothing, False) is None
    with pytest.raises(LinemonError, match="no rows of web1 never in that time"):
        pictures.last("web1", "never", 1e9, False)


def test_the_picture_of_a_young_source(pictures: Pictures, tmp_path: Path) -> None:
    """Rows of the last minute in a window of six hours: each is seen, and the line ends at the newest value."""
    read = pictures._read("web1", "fs./.used_pct", NOW - 6 * 60 * MIN, NOW, None)
    assert read.begin == pytest.approx(NOW - 60 * MIN, abs=MIN)
    assert len(read.time) > 500
    read = pictures._read("web1", "fs./.used_pct", NOW - 6 * 60 * MIN, NOW - 59 * MIN, None)
    assert read.begin == NOW - 61 * MIN
    assert len(read.time) > 60
    assert read.mean[-1] == read.high[-1] == pytest.approx(50 + 45 * 59 / 3599)


def test_what_pictures_may_be_asked_for(pictures: Pictures) -> None:
    assert pictures.names() == {"web1": ("fs./.used_pct", "never")}
    with pytest.raises(LinemonError, match="has no column 'x'"):
        pictures.last("web1", "x", 60, False)
