"""Moving in time: windows, pause, zoom, keys, the brush, and the address that holds the view."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from contextlib import ExitStack
from itertools import pairwise
from urllib.parse import parse_qs

import pytest
from playwright.sync_api import Page, expect

from linemon.config import Config, StoreConfig
from linemon.parts.history import History
from linemon.sections import HistoryConfig
from tests.browser.conftest import Feed, Served
from tests.browser.looking import axis, drag, drawn, middle, newest, until_newer, view
from tests.histories import tier
from tests.running import eventually

Show = Callable[..., Page]


def query(page: Page) -> dict[str, list[str]]:
    return parse_qs(page.evaluate("location.search").removeprefix("?"))


def test_the_window_is_in_the_address(show: Show, served: Served) -> None:
    page = show(served.url + "?source=web1")
    page.click("text=15m")
    eventually(lambda: query(page) == {"source": ["web1"], "window": ["15m"]}, "the address")
    page.reload()
    expect(page.locator(".window[aria-pressed=true]")).to_have_text("15m")
    expect(page.locator("#status")).to_have_text("live")
    start, end = view(page)
    assert 890e3 < end - start < 910e3


def test_drag_zooms_all_charts_and_the_address_is_the_view(show: Show, served: Served) -> None:
    page = show(served.url + "?source=web1")
    before = view(page)
    drag(page, middle(page, 1), 60)
    expect(page.locator("#status")).to_have_text("paused")
    start, end = view(page)
    assert end - start < (before[1] - before[0]) / 2
    same = "linemon.model('chart0').x_range == linemon.model('chart3').x_range"
    assert page.evaluate(same)
    eventually(lambda: "from" in query(page), "the address")
    assert abs(float(query(page)["from"][0]) - start) < 1
    kept = newest(page)
    other = show(page.url, wait="paused")
    assert view(other) == pytest.approx((start, end), abs=1)
    eventually(lambda: len(drawn(other)["xs"]) == 3, "lines")
    assert newest(other) < kept + 5000


def test_a_double_click_zooms_out_one_step_after_whatever_zoom(show: Show, served: Served) -> None:
    page = show(served.url + "?source=web1&window=1m")
    axes = [axis(page, chart) for chart in range(4)]
    for chart in 0, 3:
        drag(page, middle(page, chart), 150)
    start, end = view(page)
    for factor in 2, 4:
        page.mouse.dblclick(*middle(page, 3))
        eventually(lambda factor=factor: view(page)[1] - view(page)[0] > 0.9 * factor * (end - start), "zoomed out")  # type: ignore[misc]
        now = view(page)
        assert now[1] - now[0] == pytest.approx(factor * (end - start))
        assert now[0] < start < end < now[1]
    page.keyboard.press("0")
    expect(page.locator("#status")).to_have_text("live")
    assert [axis(page, chart) for chart in range(4)] == axes


def test_back_undoes_a_zoom(show: Show, served: Served) -> None:
    page = show(served.url + "?source=web1&window=1m")
    page.evaluate("window.mark = 1")
    drag(page, middle(page), 150)
    eventually(lambda: "from" in query(page), "the address")
    zoomed = view(page)
    after = page.evaluate("performance.now()") + 1001  # what follows within a second belongs to the same step
    page.wait_for_function("(after) => performance.now() > after", arg=after)
    page.keyboard.press("+")
    eventually(lambda: abs(float(query(page)["from"][0]) - view(page)[0]) < 1, "the address")
    assert view(page)[1] - view(page)[0] < 0.6 * (zoomed[1] - zoomed[0])
    page.go_back()
    eventually(lambda: view(page) == pytest.approx(zoomed, abs=1), "the first zoom")
    expect(page.locator("#status")).to_have_text("paused")
    page.go_back()
    expect(page.locator("#status")).to_have_text("live")
    assert "from" not in query(page)
    page.go_forward()
    eventually(lambda: view(page) == pytest.approx(zoomed, abs=1), "the first zoom")
    assert page.evaluate("window.mark") == 1


def test_nothing_leads_out_of_what_there_is(show: Show, served: Served) -> None:
    page = show(served.url + "?source=web1&window=1m")
    for key in ("ArrowRight", "ArrowLeft"):
        for _ in range(40):
            page.keyboard.press(key)
        start, end = view(page)
        assert start <= page.evaluate("linemon.charts.newest")
        assert end >= page.evaluate("linemon.model('whole').start")
    for _ in range(80):
        page.keyboard.press("-")
    start, end = view(page)
    assert end - start < 110 * 365 * 86400e3


def test_the_picture_of_all_there_is_has_no_hole_where_another_page_stood_still(show: Show, served: Served) -> None:
    still = show(served.url + "?source=web1")
    still.keyboard.press("ArrowLeft")
    eventually(lambda: "from" in query(still), "the address")
    at = still.evaluate("linemon.charts.newest")
    still.wait_for_function("(at) => linemon.charts.newest > at + 4000", arg=at)
    other = show(served.url + "?source=web1")
    times = "linemon.model('lines of brush').data.xs[0]"
    other.wait_for_function(f"(at) => {times}?.at(-1) > at + 4000", arg=at)
    assert other.evaluate(f"Math.max(...{times}.slice(1).map((t, i) => t - {times}[i]))") < 3000


def test_pause_stands_still_and_live_follows(show: Show, served: Served) -> None:
    page = show(served.url + "?source=web1")
    page.keyboard.press("Space")
    status = page.locator("#status")
    expect(status).to_have_text("paused")
    paused_at, seen = view(page), page.evaluate("linemon.model('wishes').ack")
    more = "(n) => linemon.model('wishes').ack > n"
    page.wait_for_function(more, arg=seen + 1)  # what ends a moment ahead of the newest row has room for one more
    tile = page.locator(".tile output").first.inner_text()
    page.wait_for_function(more, arg=seen + 3)
    assert view(page) == paused_at
    expect(page.locator(".tile output").first).to_have_text(tile)
    page.keyboard.press("Space")
    expect(status).to_have_text("live")
    page.wait_for_function("(end) => linemon.time.range.end > end + 1000", arg=paused_at[1])


def test_numbers_and_sparklines_are_of_what_is_in_sight(show: Show, served: Served, feed: Feed) -> None:
    feed.past("ramp", {ago: {"a": 1000.0 - ago, "b": 5.0} for ago in range(300, -1, -1)})
    page = show(served.url + "?source=ramp&window=1m")
    tile = page.locator(".tile output").first
    expect(tile).to_have_text("1000")
    end = newest(page)
    page.evaluate("(end) => linemon.time.go(end - 160500, end - 100500)", end)
    page.wait_for_function("linemon.charts.sources[0].times[0] < linemon.time.range.start - 10000")
    for place in tile, page.locator(".line output").first:
        expect(place).to_have_text("899")
    page.click("#values summary")
    expect(page.locator("#statistics td").first).to_have_text("899")
    out = """() => {
      const holder = document.querySelector(".tiles").getBoundingClientRect()
      const places = [...document.querySelectorAll(".tile .spark")].map((each) => each.getBoundingClientRect())
      const {xs} = linemon.model("lines of sparks").data
      return xs.map((x, i) => [x[0] - places[i].left + holder.left, places[i].right - holder.left - x.at(-1)])
    }"""
    edges = page.evaluate(out)
    assert len(edges) == 2
    assert all(left >= 0 and right >= 0 for left, right in edges), edges


def test_keys_and_the_wheel(show: Show, served: Served) -> None:
    page = show(served.url + "?source=web1")
    status = page.locator("#status")
    start, end = view(page)
    page.keyboard.press("ArrowLeft")
    expect(status).to_have_text("paused")
    moved = view(page)
    assert moved[1] - moved[0] == pytest.approx(end - start, rel=0.05)
    assert moved[0] < start - 60e3
    page.keyboard.press("+")
    assert view(page)[1] - view(page)[0] == pytest.approx((end - start) / 2, rel=0.05)
    page.keyboard.press("-")
    page.keyboard.press("ArrowRight")
    assert view(page)[0] == pytest.approx(start, abs=20e3)
    page.keyboard.press("0")
    expect(status).to_have_text("live")
    page.keyboard.press("?")
    expect(page.locator("#help")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    page.keyboard.type("web 1+-0")  # in a field keys are letters
    expect(status).to_have_text("live")
    page.keyboard.press("Escape")
    page.evaluate("document.body.style.minHeight = '3000px'")  # there is something to scroll
    page.mouse.move(*middle(page))
    page.mouse.wheel(0, 20)
    page.wait_for_function("scrollY > 0")
    expect(status).to_have_text("live")
    page.keyboard.down("Control")
    page.mouse.wheel(0, -200)
    page.keyboard.up("Control")
    expect(status).to_have_text("paused")


def test_the_brush_moves_the_window(show: Show, served: Served, feed: Feed) -> None:
    """It moves with time, too: of an hour, so little that the mouse finds it where it was a moment ago."""
    feed.past("hour", {ago: {"value": 1.0} for ago in range(3600, 0, -10)})
    page = show(served.url + "?source=hour&window=15m")
    page.wait_for_function("linemon.model('areas of brush').data.xs.length == 1")
    whole = page.evaluate("[linemon.model('whole').start, linemon.model('whole').end]")
    start, end = view(page)
    box = page.locator(".brush").bounding_box()
    assert box
    left, width = box["x"] + 70, box["width"] - 86
    grip = left + width * ((start + end) / 2 - whole[0]) / (whole[1] - whole[0])
    drag(page, (grip, box["y"] + 20), -width / 4)
    expect(page.locator("#status")).to_have_text("paused")
    eventually(lambda: view(page)[1] == pytest.approx(end - 900e3, abs=120e3), "moved by a quarter of an hour")
    # About as long: all there is grows, and the brush's pixels with it, while it is dragged.
    assert view(page)[1] - view(page)[0] == pytest.approx(end - start, rel=0.1)


def test_zoom_shows_rows_where_there_were_buckets(show: Show, own_feed: Feed) -> None:
    """Many rows in one pixel are a band of least and greatest; zoomed in, each row is there."""
    own_feed.past("long", {ago: {"value": 100.0 if ago == 2000 else float(ago % 2)} for ago in range(3500, 0, -1)})
    served = Served(own_feed.config)
    try:
        page = show(served.url + "?source=long&window=1h", viewport={"width": 500, "height": 800})
        points = "linemon.charts.sources[0].length"
        assert page.evaluate(points) < 700
        eventually(  # the spike is not lost
            lambda: max((max(ys) for ys in drawn(page, what="areas")["ys"]), default=0) == 100, "the band"
        )
        at = newest(page) - 2000e3
        page.evaluate("(at) => linemon.time.go(at - 50e3, at + 50e3)", at)
        page.wait_for_function("linemon.charts.sources[0].bucket == 0")
        eventually(lambda: len(drawn(page)["xs"][0]) >= 190, "half as much again on either side")
        assert page.evaluate("linemon.charts.sources[0].mean(0).includes(100)")
        page.close()
    finally:
        served.stop()


def test_windows_beyond_what_is_kept_are_marked(show: Show, served: Served, feed: Feed) -> None:
    feed.past("full", {ago / 2: {"value": 1.0} for ago in range(3610, 0, -1)})
    page = show(served.url + "?source=full")
    expect(page.locator(".window.beyond")).to_have_text(["1h", "6h", "24h", "7d", "30d", "1y"])
    expect(page.locator(".window.beyond").first).to_have_attribute(
        "title", re.compile(r"No more than 30 min \d s is kept: \[store\] points = 3600")
    )
    expect(page.locator("#kept")).to_have_text(re.compile(r"^Held: rows for 30 min 0 s, \d+ KiB$"))


def test_axes_do_not_jump(show: Show, own_feed: Feed) -> None:
    """An axis grows at once, and shrinks only after a while."""
    own_feed.past("s", {2: {"value": 10.0}, 1: {"value": 9.0}})
    served = Served(own_feed.config)
    try:
        page = show(served.url + "?source=s&window=1m")
        assert axis(page)[1] < 20
        own_feed.write("s", {"value": 100.0}, ago=58)
        eventually(lambda: axis(page)[1] >= 100, "grown")
        seen = newest(page)
        own_feed.write("s", {"value": 9.0}, ago=-4)  # four seconds later the high value is out of sight
        until_newer(page, seen)
        page.wait_for_function("linemon.charts.sources[0].before(linemon.time.range.start) > 0")
        assert axis(page)[1] >= 100
        page.close()
    finally:
        served.stop()


def test_a_row_stamped_ahead_of_now_is_told_and_moves_no_live_view(show: Show, served: Served, feed: Feed) -> None:
    feed.past("zone", {ago: {"value": 1.0} for ago in range(60, -1, -1)})
    feed.write("zone", {"value": 2.0}, ago=-3630)
    page = show(served.url + "?source=zone&window=1m")
    expect(page.locator("#age")).to_contain_text("1 row 1 h ahead")
    eventually(lambda: abs(view(page)[1] / 1000 - time.time()) < 30, "the view is of now")
    start, end = view(page)
    assert end - start < 70e3
    feed.write("zone", {"value": 3.0}, ago=-7230)
    seen = newest(page)
    feed.write("zone", {"value": 1.5})
    until_newer(page, seen)
    expect(page.locator("#age")).to_contain_text("2 rows 2 h ahead")
    expect(page.locator(".line output")).to_have_text("1.5")
    feed.write("tomorrow", {"value": 2.0}, ago=-86430)
    ahead = show(served.url + "?source=tomorrow&window=1m")
    expect(ahead.locator("#age")).to_have_text(re.compile(r"^newest row \d+ s ago, 1 row 1 d 0 h ahead$"))
    assert abs(view(ahead)[1] / 1000 - time.time()) < 30
    page.goto(served.url)
    expect(page.locator("#others tr", has_text="zone").locator(".value").first).to_have_text("1.5")
    expect(page.locator("#others tr", has_text="zone").locator(".seen")).to_have_text(re.compile(r"^\d+ s ago$"))


def test_a_wrong_clock_is_noticed(show: Show, served: Served) -> None:
    page = show(served.url + "?source=web1", script="const real = Date.now; Date.now = () => real() - 120_000")
    expect(page.locator("#clock")).to_have_text("clocks differ: this browser is 2 min 0 s behind")
    expect(page.locator("#age")).to_have_text("newest row 0 s ago")


def test_there_is_no_jump_where_rows_and_history_meet(show: Show, served: Served, feed: Feed) -> None:
    """Two hours, of which the rows hold the last one: one line from its first minute to its last second.

    Where a view is shorter than a minute, the line goes through it from the minute before to the one after.
    """
    history = HistoryConfig(share=1.0, tier=(tier("1m", "2d"),))
    end, seconds = int(time.time()) // 60 * 60, 7200
    with ExitStack() as stack:
        chain = None
        for first in range(-seconds, 0, 600):
            for at in range(first, first + 600):
                feed.write("seam", {"v": 50 + 0.001 * at}, at=(end + at) * 10**9, came=0)
            chain = chain or History(Config(store=StoreConfig(path=str(feed.store)), history=history)).open(stack)
            for _ in chain.steps():
                pass
    xs, ys = "linemon.model('lines of chart0').data.xs[0]", "linemon.model('lines of chart0').data.ys[0]"

    def line(start: int, stop: int) -> list[list[float]]:
        """What is drawn in a view that begins and ends so many seconds before the end."""
        page = show(f"{served.url}?source=seam&from={(end - start) * 1000}&to={(end - stop) * 1000}", wait="paused")
        page.wait_for_function(f"{xs}?.length > 1")
        found: list[list[float]] = page.evaluate(f"[[...{xs}], [...{ys}].map((y) => Number.isNaN(y) ? null : y)]")
        return found

    for start, stop in ((7200, 0), (4200, 3000), (3640, 3560), (5430, 5410), (5401, 5400)):
        times, values = line(start, stop)
        assert None not in values, f"a gap between {start} and {stop} s before the end"
        assert times[0] <= (end - start) * 1000 + 60_000
        assert times[-1] >= (end - stop) * 1000 - 60_000
        assert max(b - a for a, b in pairwise(times)) <= 60_000
        expected = [50 + 0.001 * (at / 1000 - end) for at in times]
        assert max(abs(a - b) for a, b in zip(values, expected, strict=True)) < 0.04  # half a minute of its slope
    second = show(f"{served.url}?source=seam&from={(end - 5401) * 1000}&to={(end - 5400) * 1000 - 1}", wait="paused")
    expect(second.locator(".line output").first).to_have_text(re.compile(r"^44\.[56]"))  # it has no point in sight
    page = show(served.url + "?source=seam", wait=None)
    beyond = page.locator(".window.beyond")
    expect(beyond).to_have_text(["6h", "24h", "7d", "30d", "1y"])
    expect(beyond.first).to_have_attribute(
        "title", re.compile(r"^No more than (1 h 59 min|2 h \d min) is kept: the history holds 1m for ")
    )
    expect(page.locator("#kept")).to_have_text(re.compile(r"^Held: rows for .*, 1m for .* [KM]iB$"))
