"""The page in a real browser, served by a real Bokeh server, from a real store."""

from __future__ import annotations

import asyncio
import gc
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect, sync_playwright

from linemon.writer import StoreWriter
from tests.running import eventually

APP = Path(__file__).parents[2] / "bokeh_app"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
COLUMNS = (
    "cpu.busy_pct",
    "cpu.user_pct",
    "cpu.0.busy_pct",
    "cpu.1.busy_pct",
    "net.rx_bytes_per_s",
    "net.tx_bytes_per_s",
    "temp.core_celsius",
)
NASTY = ("<img src=x onerror=alert(1)>", 'a/b;c="d"&e\'f?#%20+', "{{ 7 * 7 }} 日本 語")
SEARCH_CANVASES = """
function canvases(root, found = []) {
  for (const each of root.querySelectorAll("*")) {
    if (each.localName == "canvas") found.push(each)
    if (each.shadowRoot) canvases(each.shadowRoot, found)
  }
  return found
}
function pixels(root, wanted) {  // how many pixels have about this colour
  let count = 0
  for (const canvas of canvases(root)) {
    if (!canvas.width || !canvas.height) continue
    const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", {willReadFrequently: true})
    copy.drawImage(canvas, 0, 0)
    const {data} = copy.getImageData(0, 0, canvas.width, canvas.height)
    for (let i = 0; i < data.length; i += 4)
      if (data[i + 3] > 200 && wanted.every((part, n) => Math.abs(part - data[i + n]) < 12)) count++
  }
  return count
}
"""


class Feed:
    """A store written as the collector writes it, with one source of several columns that moves all the time."""

    def __init__(self, folder: Path) -> None:
        self.config = folder / "linemon.toml"
        self.config.write_text(f'[store]\npath = "{folder / "store"}"\n[agent]\nname = "web1"\n')
        self._store = folder / "store"
        self._writer: StoreWriter | None = None
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._mover = threading.Thread(target=self._move)

    def write(self, name: str, values: dict[str, float], *, units: tuple[str, ...] = (), ago: float = 0.0) -> None:
        with self._lock:
            self._writer = self._writer or StoreWriter(self._store, 3600, 100)
            ring = self._writer.bind(name, tuple(values), units or ("",) * len(values))
            missing = [np.nan] * (ring.width - len(values))
            row = np.array([[0.0, *values.values(), *missing]]).view(np.int64)
            row[0, 0] = int((time.time() - ago) * 1e9)
            ring.arena.append_to(ring.entry.slot, row)

    def move(self, seconds_before: int = 120) -> None:
        """Give web1 a past, and a new row every 0.2 s from now on."""
        for ago in range(seconds_before, 0, -1):
            self._step(ago)
        self._mover.start()

    def stop(self) -> None:
        self._stop.set()
        if self._mover.ident:
            self._mover.join()
        if self._writer:
            self._writer.close()

    def _step(self, ago: float) -> None:
        wave = np.sin((time.time() - ago) / 7)
        values = [50 + 40 * wave, 30 + 20 * wave, 20, 40 + wave, 2e6 + 1e6 * wave, 5e5, 51.5]
        self.write("web1", dict(zip(COLUMNS, values, strict=True)), ago=ago)

    def _move(self) -> None:
        while not self._stop.wait(0.2):
            self._step(0.0)


class Served:
    """`bokeh serve bokeh_app` in a process of its own."""

    def __init__(self, config: Path, port: int = 0) -> None:
        arguments = [sys.executable, "-m", "bokeh", "serve", str(APP), "--port", str(port)]
        self.process = subprocess.Popen(
            arguments, env=os.environ | {"LINEMON_CONFIG": str(config)}, stderr=subprocess.PIPE, text=True
        )
        assert self.process.stderr
        self.log = ""
        for line in self.process.stderr:
            self.log += line
            if found := re.search(r"running at: (http://\S+)", line):
                self.url = found[1]
                break
        else:
            raise AssertionError(self.log)
        self.port = urlsplit(self.url).port or 0
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            self.log += line

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)
        self._reader.join()
        assert "Traceback" not in self.log, self.log
        assert "ERROR" not in self.log, self.log


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def feed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Feed]:
    """The store that most tests look at."""
    feed = Feed(tmp_path_factory.mktemp("page"))
    feed.move()
    feed.write("room1.humidity", {"value": 41.0}, units=("%",))
    for name in (*NASTY, *(f"rack{i}" for i in range(1, 12))):
        feed.write(name, {"value": 7.25})
    yield feed
    feed.stop()


@pytest.fixture(scope="module")
def served(feed: Feed) -> Iterator[Served]:
    served = Served(feed.config)
    yield served
    served.stop()


@pytest.fixture
def own_feed(tmp_path: Path) -> Iterator[Feed]:
    """A store for a test that needs an empty one."""
    feed = Feed(tmp_path)
    yield feed
    feed.stop()


@pytest.fixture
def show(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Open a page; whatever the test does, nothing may complain and nothing may be asked of a foreign host."""
    contexts = []
    complaints: list[str] = []
    hosts: set[str | None] = set()

    def note(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            complaints.append(f"{message.type}: {message.text}")

    def asked(request: Request) -> None:
        if not request.url.startswith("data:"):
            hosts.add(urlsplit(request.url).hostname)

    def show(url: str, wait: str = "live", **settings: object) -> Page:
        settings = {"viewport": {"width": 1280, "height": 800}} | settings
        context = browser.new_context(**settings)  # type: ignore[arg-type]  # whatever the test asks for
        contexts.append(context)
        page = context.new_page()
        page.on("console", note)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", asked)
        page.on("websocket", lambda socket: hosts.add(urlsplit(socket.url).hostname))
        page.goto(url)
        expect(page.locator("#status")).to_have_attribute("data-state", wait, timeout=15_000)
        return page

    yield show
    for context in contexts:
        context.close()
    assert not complaints
    assert hosts <= {"localhost", "127.0.0.1"}


def newest(page: Page) -> float:
    return float(page.evaluate('Bokeh.documents[0].get_model_by_name("data").data.t.at(-1)'))


def until_newer(page: Page, than: float) -> None:
    page.wait_for_function('(t) => Bokeh.documents[0].get_model_by_name("data").data.t.at(-1) > t', arg=than)


def line_pixels(page: Page, line: int = 0, chart: int = 0) -> int:
    """How much of a line is really on the canvas of its chart."""
    return int(
        page.evaluate(
            "([line, chart]) => {" + SEARCH_CANVASES + "const style = getComputedStyle(document.documentElement)\n"
            "const hex = style.getPropertyValue(`--line-${line}`).trim()\n"
            "return pixels(document.getElementById(`plot${chart}`), [1, 3, 5]"
            ".map((i) => parseInt(hex.slice(i, i + 2), 16)))}",
            [line, chart],
        )
    )


def test_charts_are_drawn_and_move(show: Callable[..., Page], served: Served) -> None:
    page = show(served.url)
    titles = page.locator("figcaption b").all_inner_texts()
    assert titles == ["CPU", "CPU busy", "Network", "Temperature"]
    assert page.locator("figure").first.locator(".line span").all_inner_texts() == ["busy", "user"]
    for chart in range(4):
        eventually(lambda chart=chart: line_pixels(page, 0, chart) > 20, f"a line in chart {chart}")  # type: ignore[misc]
    start = newest(page)
    assert abs(start / 1000 - time.time()) < 10
    until_newer(page, start)
    expect(page.locator("figure").nth(2).locator("output").first).to_have_text(re.compile(r"^[\d.]+ MiB/s$"))
    expect(page.locator("figure").nth(3).locator("output")).to_have_text("51.5 °C")
    assert page.title() == "web1 · linemon"


def test_a_new_source_shows_up_by_itself(show: Callable[..., Page], served: Served, feed: Feed) -> None:
    page = show(served.url)
    page.evaluate("window.mark = 1")
    feed.write("room1.temperature", {"value": 20.3})
    started = time.monotonic()
    entry = page.locator("#sources a", has_text="room1.temperature")
    expect(entry.locator(".value")).to_have_text("20.3")
    feed.write("room1.temperature", {"value": 21.375})
    expect(entry.locator(".value")).to_have_text("21.375")
    assert time.monotonic() - started < 4
    assert re.fullmatch(r"\d s ago", entry.locator(".age").inner_text())
    assert page.evaluate("window.mark") == 1
    entry.click()
    expect(page.locator("h1")).to_have_text("room1.temperature")
    eventually(lambda: line_pixels(page) > 5, "a line between two points")


def test_switching_sources_keeps_the_window(show: Callable[..., Page], served: Served) -> None:
    page = show(served.url)
    page.click("text=15m")
    assert parse_qs(urlsplit(page.url).query)["window"] == ["15m"]
    page.click("#sources a:has-text('room1.humidity')")
    expect(page.locator("h1")).to_have_text("room1.humidity")
    expect(page.locator("#sources a[aria-current]")).to_contain_text("41 %")
    assert parse_qs(urlsplit(page.url).query) == {"source": ["room1.humidity"], "window": ["15m"]}
    expect(page.locator(".window[aria-pressed=true]")).to_have_text("15m")
    eventually(lambda: line_pixels(page) > 5, "a single point is a dot")
    page.go_back()
    expect(page.locator("h1")).to_have_text("web1")


def test_typing_finds_a_source(show: Callable[..., Page], served: Served) -> None:
    page = show(served.url)
    names = page.locator("#sources .name")
    listed = names.all_inner_texts()
    assert listed.index("rack9") < listed.index("rack10")
    page.fill("#find", "RACK1")
    expect(names).to_have_text(["rack1", "rack10", "rack11"])
    page.fill("#find", "")
    expect(names).to_have_count(len(listed))


@pytest.mark.parametrize("name", NASTY)
def test_names_are_text_whatever_is_in_them(show: Callable[..., Page], served: Served, name: str) -> None:
    page = show(served.url)
    page.get_by_role("link", name=name, exact=False).click()
    expect(page.locator("h1")).to_have_text(name)
    expect(page.locator("figcaption b")).to_have_text(name)
    expect(page.locator("output")).to_have_text("7.25")
    assert page.locator("img").count() == 0


def test_light_and_dark(show: Callable[..., Page], served: Served) -> None:
    def background(page: Page) -> str:
        return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))

    light, dark = (show(served.url, color_scheme=scheme) for scheme in ("light", "dark"))
    assert (background(light), background(dark)) == ("rgb(244, 246, 248)", "rgb(14, 18, 24)")
    for page in light, dark:  # the lines, in this scheme's colour
        eventually(lambda page=page: line_pixels(page) > 20, "a line")  # type: ignore[misc]
    light.click("#scheme")
    light.click("#scheme")
    expect(light.locator("#scheme")).to_have_text("☾ Dark")
    assert background(light) == background(dark)
    eventually(lambda: line_pixels(light) > 20, "a line in the new colour")
    light.reload()
    assert background(light) == background(dark)
    light.click("#scheme")
    assert background(light) == "rgb(244, 246, 248)"
    light.emulate_media(color_scheme="dark")
    eventually(lambda: background(light) == background(dark), "the system's change followed")


def test_hover_shows_units_and_the_time_here(show: Callable[..., Page], served: Served) -> None:
    zone = "Asia/Kathmandu"  # 5:45 ahead of UTC
    page = show(served.url, timezone_id=zone)
    box = page.locator("#plot0").bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + box["height"] / 2)
    tip = page.locator("#tip")
    expect(tip).to_be_visible()
    when, *rows = [line.strip() for line in tip.inner_text().splitlines() if line.strip()]
    at = datetime.fromisoformat(when).replace(tzinfo=ZoneInfo(zone))
    assert timedelta() <= datetime.now(ZoneInfo(zone)) - at < timedelta(minutes=5)
    assert re.fullmatch(r"busy\s+[\d.]+ %", rows[0])
    assert re.fullmatch(r"user\s+[\d.]+ %", rows[1])
    assert page.evaluate("linemon.clock(0, [0, 60000])") == "05:30"  # as it was in 1970
    start = page.evaluate("Date.UTC(2026, 0, 1, 0, 7)")
    tick = page.evaluate("(t) => linemon.timeTicks(t, t + 5 * 3600e3)[0]", start)
    assert page.evaluate("(t) => linemon.clock(t, [0, 3600e3])", tick) == "06:00"
    page.mouse.move(5, 5)
    expect(tip).to_be_hidden()


def test_pan_pauses_and_a_button_goes_live(show: Callable[..., Page], served: Served) -> None:
    page = show(served.url)
    view = (
        "(() => { const {start, end} = Bokeh.documents[0].get_model_by_name('chart0').x_range; return [start, end] })()"
    )
    box = page.locator("#plot0").bounding_box()
    assert box
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 60, y, steps=4)
    page.mouse.up()
    status = page.locator("#status")
    expect(status).to_have_text("paused")
    page.wait_for_function("Bokeh.documents[0].get_model_by_name('wishes').view.length == 2")
    paused_at, seen = page.evaluate(view), page.evaluate("Bokeh.documents[0].get_model_by_name('wishes').ack")
    page.wait_for_function("(n) => Bokeh.documents[0].get_model_by_name('wishes').ack > n + 1", arg=seen)
    assert page.evaluate(view) == paused_at
    page.click("#live")
    expect(status).to_have_text("live")
    page.wait_for_function(f"(end) => {view}[1] > end + 1000", arg=paused_at[1])
    page.evaluate("document.body.style.minHeight = '3000px'")  # there is something to scroll
    page.mouse.move(x, y)
    page.mouse.wheel(0, 20)
    page.wait_for_function("scrollY == 20")
    expect(status).to_have_text("live")
    page.keyboard.down("Control")
    page.mouse.wheel(0, -200)
    page.keyboard.up("Control")
    expect(status).to_have_text("paused")


def test_a_legend_entry_hides_its_line(show: Callable[..., Page], served: Served) -> None:
    page = show(served.url)
    eventually(lambda: line_pixels(page) > 20, "the line")
    entry = page.locator(".line").first
    entry.click()
    expect(entry).to_have_attribute("aria-pressed", "false")
    eventually(lambda: line_pixels(page) == 0, "the line gone")
    page.reload()
    expect(entry).to_have_attribute("aria-pressed", "false")


def test_numbers_read_well(show: Callable[..., Page], served: Served) -> None:
    page = show(served.url)
    cases: list[tuple[float | None, str, str]] = [
        (20.3, "", "20.3"),
        (2400.0, "", "2400"),
        (1013.25, "hPa", "1013.3 hPa"),
        (12345678.0, "", "12.35M"),
        (0.000123456, "", "0.0001235"),
        (0.0, "", "0"),
        (-3.5, "°C", "-3.5 °C"),
        (7.891, "%", "7.9 %"),
        (42.123, "%", "42.1 %"),
        (1000.0, "B", "0.977 KiB"),
        (16 * 2.0**30, "B", "16 GiB"),
        (1.5 * 2**20, "B/s", "1.5 MiB/s"),
        (2.4e9, "Hz", "2.4 GHz"),
        (12345.0, "/s", "12.3 k/s"),
        (90.0, "s", "1 min 30 s"),
        (90061.0, "s", "1 d 1 h"),
        (None, "", "–"),
    ]
    for value, unit, text in cases:
        assert page.evaluate("([value, unit]) => linemon.format(value, unit)", [value, unit]) == text
    assert page.evaluate("linemon.ticks(0, 100, '%')") == [0, 50, 100]
    assert page.evaluate("linemon.ticks(0, 4 * 2 ** 30, 'B').map((t) => linemon.format(t, 'B'))") == [
        "0 B",
        "1 GiB",
        "2 GiB",
        "3 GiB",
        "4 GiB",
    ]


def test_from_waiting_to_a_column_more(show: Callable[..., Page], own_feed: Feed) -> None:
    """One page from before there is a store to a source that grows, without a hand on it."""
    served = Served(own_feed.config)
    try:
        page = show(served.url + "?window=1m", wait="waiting")
        expect(page.locator("#waiting")).to_contain_text('echo "room1.temperature 20.3" | nc -q1 127.0.0.1 4000')
        other = show(served.url + "?source=no%20such", wait="waiting")
        expect(other.locator("#waiting")).to_contain_text("no such")
        own_feed.move(5)
        expect(page.locator("figcaption b").first).to_have_text("CPU")
        expect(page.locator(".window[aria-pressed=true]")).to_have_text("1m")
        expect(other.locator("#sources a")).to_contain_text("7 columns")
        own_feed.write("web1", dict.fromkeys((*COLUMNS, "temp.disk_celsius"), 38.5))
        expect(page.locator(".line", has_text="disk").locator("output")).to_have_text("38.5 °C")
        expect(page.locator(".window[aria-pressed=true]")).to_have_text("1m")
        own_feed.write("no such", {"value": 1.0})
        expect(other.locator("figcaption b")).to_have_text("no such")
        for each in page, other:
            expect(each.locator("#status")).to_have_text("live")
            each.close()
    finally:
        served.stop()


def test_many_rows_and_late_ones(show: Callable[..., Page], served: Served, feed: Feed) -> None:
    """A thousand rows a tick, some out of order: few points, in order, with the extremes."""
    for i in range(3000):
        feed.write("burst", {"value": 99.0 if i == 1500 else float(i % 10)}, ago=0.5 if i % 7 == 0 else 3 - i / 1000)
    page = show(served.url + "?source=burst&window=1m")
    t, values = page.evaluate("(({t, c0}) => [[...t], [...c0]])(Bokeh.documents[0].get_model_by_name('data').data)")
    assert len(t) < 200
    assert t == sorted(t)
    assert max(values) == 99
    feed.write("burst", {"value": -5.0}, ago=20)
    page.wait_for_function("Bokeh.documents[0].get_model_by_name('data').data.c0.includes(-5)")
    t, values = page.evaluate("(({t, c0}) => [[...t], [...c0]])(Bokeh.documents[0].get_model_by_name('data').data)")
    assert t == sorted(t)
    assert values[0] == -5
    assert np.isnan(values[1])  # seventeen seconds without a row are a gap


def test_a_missing_value_is_no_gap_but_missing_rows_are(show: Callable[..., Page], served: Served, feed: Feed) -> None:
    """Two senders of fields in turn, and then a pause."""
    for ago in range(60, 0, -1):
        if not 20 < ago < 40:
            feed.write("taken,in=turn", {"a": ago if ago % 2 else np.nan, "b": np.nan if ago % 2 else ago}, ago=ago)
    page = show(served.url + "?source=taken%2Cin%3Dturn")
    data = page.evaluate(
        "(({t, c0, c1}) => [[...t], [...c0], [...c1]])(Bokeh.documents[0].get_model_by_name('data').data)"
    )
    t, a, b = map(np.array, data)
    holes = t[np.isnan(a) & np.isnan(b)]
    assert len(holes) == 1
    assert abs(holes[0] / 1000 - (time.time() - 40)) < 5
    assert np.isnan(a[1:-1]).sum() <= 3
    expect(page.locator("figure output")).to_have_text(["1", "2"])


def test_the_page_comes_back_with_its_server(browser: Browser, own_feed: Feed) -> None:
    own_feed.move()
    served = Served(own_feed.config)
    page = browser.new_page()
    page.goto(served.url)
    status = page.locator("#status")
    expect(status).to_have_text("live", timeout=15_000)
    served.stop()
    expect(status).to_have_text("connection lost")
    again = Served(own_feed.config, served.port)
    try:
        expect(status).to_have_text("live", timeout=15_000)
        until_newer(page, newest(page))
    finally:
        page.close()
        again.stop()


def test_a_closed_tab_leaves_nothing(
    show: Callable[..., Page], own_feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At `/`, in this process, to look into it."""
    from bokeh.application import Application
    from bokeh.application.handlers import DirectoryHandler
    from bokeh.document import Document
    from bokeh.server.server import Server

    monkeypatch.setenv("LINEMON_CONFIG", str(own_feed.config))
    own_feed.move()
    ready = threading.Event()
    servers: list[Server] = []

    def serve() -> None:
        asyncio.set_event_loop(asyncio.new_event_loop())
        server = Server(
            {"/": Application(DirectoryHandler(filename=str(APP)))},
            address="127.0.0.1",
            port=0,
            check_unused_sessions_milliseconds=200,
            unused_session_lifetime_milliseconds=200,
        )
        server.start()
        servers.append(server)
        ready.set()
        server.io_loop.start()
        server.unlisten()

    before = {module for module in sys.modules if module.endswith(".pump")}
    thread = threading.Thread(target=serve)
    thread.start()
    assert ready.wait(20)
    try:
        server = servers[0]
        context = server._tornado._applications["/"]
        page = show(f"http://localhost:{server.port}/")
        (name,) = {module for module in sys.modules if module.endswith(".pump")} - before
        pump = sys.modules[name].pump
        assert len(pump.pages) == 1
        page.close()
        eventually(lambda: not pump.pages and not context._sessions, "the session gone")

        def is_freed() -> bool:
            gc.collect()
            return not any(isinstance(each, Document) and each.title.startswith("web1") for each in gc.get_objects())

        eventually(is_freed, "its document freed")
    finally:
        servers[0].io_loop.add_callback(servers[0].io_loop.stop)
        thread.join()
