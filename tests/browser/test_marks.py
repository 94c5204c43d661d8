"""Marks on charts: lines with texts, a switch, and one that is set here."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from linemon.store.marks import Mark
from tests.browser.conftest import Feed, Served
from tests.browser.looking import drawn, middle
from tests.browser.test_compare import saved
from tests.running import Running, eventually

Show = Callable[..., Page]
S = 10**9


def set_mark(feed: Feed, text: str, source: str | None = None, ago: float = 0.0, kind: str = "note") -> None:
    with feed._lock:
        assert feed._writer
        feed._writer.marks.add(Mark.of(time.time_ns() - int(ago * S), text, source, kind))


def marks(page: Page, chart: int = 0) -> list[float]:
    """Where a chart has the lines of marks (epoch ms)."""
    found: list[float] = page.evaluate(
        """(chart) => {
          const {xs, dash} = linemon.model(`lines of chart${chart}`).data
          return [...xs].filter((_, i) => dash[i] == "dotted").map(([x]) => x).sort()
        }""",
        chart,
    )
    return found


def texts(page: Page, chart: int = 0) -> list[str]:
    found: list[str] = page.evaluate("(chart) => [...linemon.model(`texts of chart${chart}`).data.text]", chart)
    return sorted(found)


@pytest.fixture
def marked(own_feed: Feed) -> Iterator[tuple[Feed, Served]]:
    own_feed.move(300)
    own_feed.write("room1", {"value": 20.0}, units=("%",))
    served = Served(own_feed.config)
    yield own_feed, served
    served.stop()


def test_marks_are_lines_with_texts(show: Show, marked: tuple[Feed, Served]) -> None:
    """Of the page's sources and of all, in every chart, as they come; a source's own are on no other page."""
    feed, served = marked
    set_mark(feed, "of all", ago=200)
    set_mark(feed, "refilled", "web1", ago=100)
    set_mark(feed, "of room1", "room1", ago=50)
    page = show(served.url + "?source=web1")
    for chart in range(4):
        eventually(lambda chart=chart: texts(page, chart) == ["of all", "refilled"], f"texts in chart {chart}")  # type: ignore[misc]
    first, second = marks(page)
    assert second - first == pytest.approx(100_000, abs=2000)
    assert drawn(page)["ys"][-1] == [0, 100]  # from the bottom of the axis to its top
    set_mark(feed, "just now")
    eventually(lambda: len(marks(page)) == 3, "the new one")
    feed.write("room1", {"value": 20.0}, units=("%",))
    room = show(served.url + "?source=room1")
    eventually(lambda: texts(room) == ["just now", "of all", "of room1"], "texts of room1")
    both = show(served.url + "?plot=web1:cpu.busy_pct,room1:value")
    eventually(lambda: len(marks(both)) == 4, "marks of both")
    said = "".join(texts(both))
    assert "web1: refil" in said
    assert "room1: of" not in said, "whose it is, once"


def test_a_chart_has_the_marks_of_its_own_sources(show: Show, marked: tuple[Feed, Served]) -> None:
    """And those of all; only a chart of several sources says whose a mark is."""
    feed, served = marked
    set_mark(feed, "of all", ago=200)
    set_mark(feed, "refilled", "web1", ago=100)
    set_mark(feed, "aired", "room1", ago=50)
    page = show(served.url + "?plot=web1:cpu.busy_pct,room1:value&beside=1")
    eventually(lambda: texts(page) == ["of all", "refilled"], "the marks of web1")
    eventually(lambda: texts(page, 1) == ["aired", "of all"], "the marks of room1")
    page.keyboard.press(" ")
    page.mouse.move(*middle(page, 1))
    near = page.evaluate(
        "linemon.marks.all.map(({time}) => [0, 1].map((chart) => linemon.marks.near(chart, time).length))"
    )
    assert near == [[1, 1], [1, 0], [0, 1]]


def test_marks_of_what_is_in_sight(show: Show, marked: tuple[Feed, Served]) -> None:
    """Those before the window come when it is moved there; where there is no room there is a line without a text."""
    feed, served = marked
    for ago in (250, 249.8, 249.6, 20):
        set_mark(feed, f"{ago} seconds ago", ago=ago)
    page = show(served.url + "?source=web1&window=1m")
    eventually(lambda: texts(page) == ["20 seconds ago"], "the one of the last minute")
    page.evaluate("linemon.time.go(linemon.now() - 280e3, linemon.now() - 220e3)")
    eventually(lambda: len(marks(page)) == 3, "those of before")
    assert texts(page) == ["249.6 seconds ago"]


def test_of_marks_close_together_the_newest_is_said_whole(show: Show, marked: tuple[Feed, Served]) -> None:
    """And of the others no beginning that says nothing."""
    feed, served = marked
    for ago in (50, 38, 26):
        set_mark(feed, "run", ago=ago)  # which would have room, but for the newest
    for number, ago in enumerate((14, 11, 8)):
        set_mark(feed, f"room temperature number {number}, which is a long one", ago=ago)
    page = show(served.url + "?source=web1&window=1m", viewport={"width": 1100, "height": 800})
    page.keyboard.press(" ")
    eventually(lambda: len(marks(page)) == 6, "the marks")
    assert texts(page) == ["room temperature number 2, which is a long one"]


def test_a_switch_hides_marks(show: Show, marked: tuple[Feed, Served]) -> None:
    """And it is remembered."""
    feed, served = marked
    set_mark(feed, "here", ago=100)
    page = show(served.url + "?source=web1")
    eventually(lambda: texts(page) == ["here"], "the mark")
    page.click("#marks summary")
    page.get_by_role("button", name="Show marks").click()
    eventually(lambda: marks(page) == [], "no marks")
    page.reload()
    expect(page.locator("#status")).to_have_attribute("data-state", "live")
    page.wait_for_function("linemon.model('lines of chart0').data.xs.length > 0")
    assert marks(page) == []
    page.click("#marks summary")
    page.get_by_role("button", name="Show marks").click()
    eventually(lambda: texts(page) == ["here"], "the mark again")


def test_the_whole_text_is_under_the_pointer(show: Show, marked: tuple[Feed, Served]) -> None:
    feed, served = marked
    words = "<b>a text</b> that is longer than " + "any chart " * 20
    page = show(served.url + "?source=web1")
    page.keyboard.press(" ")  # so that it stays where it is
    x, y = middle(page)
    page.mouse.move(x, y)
    at = page.evaluate("linemon.values.pointed()")
    feed_ago = time.time() - at / 1000
    set_mark(feed, words, ago=feed_ago)
    eventually(lambda: len(marks(page)) == 1, "the mark")
    page.mouse.move(x + 1, y)
    expect(page.locator("#tip p")).to_contain_text(words.strip())


def test_an_export_has_the_marks(show: Show, browser: Browser, marked: tuple[Feed, Served], tmp_path: Path) -> None:
    """The page that needs no server shows them, and so does the picture, which is what is drawn."""
    feed, served = marked
    set_mark(feed, "a <script> mark", ago=100)
    page = show(served.url + "?source=web1")
    eventually(lambda: texts(page) == ["a <script> mark"], "the mark")
    path = saved(page, "#export-html", tmp_path)
    context = browser.new_context()
    alone = context.new_page()
    alone.goto(path.as_uri())
    alone.wait_for_function("Bokeh.documents[0]?.get_model_by_name('texts of chart0')")
    data = "[...Bokeh.documents[0].get_model_by_name('{}').data.{}]"
    assert alone.evaluate(data.format("texts of chart0", "text")) == ["a <script> mark"]
    assert alone.evaluate(data.format("lines of chart0", "dash"))[-1] == "dotted"
    context.close()


# -- one that is set here


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple[Running, Served]]:
    """A real collector, and the page of its store."""
    running = Running(tmp_path, '[tcp]\nlisten = "127.0.0.1:0"\ntoken = "s3cret"\n')
    rows = "".join(f"{time.time() - ago:.3f} {ago}\n" for ago in range(300, 0, -1))
    running.say(f"#token s3cret\n#source web1\n#columns time a\n{rows}")
    served = Served(running.config)
    yield running, served
    served.stop()
    running.stop()


def test_a_mark_is_set_where_the_pointer_is(show: Show, running: tuple[Running, Served]) -> None:
    """By the key; its time is that of the pointer, its source the page's; then it is drawn."""
    collector, served = running
    page = show(served.url + "?source=web1", wait=None)
    page.wait_for_function("linemon.received > 0")
    page.mouse.move(*middle(page))
    page.wait_for_function("linemon.values.pointed()")
    before, began = page.evaluate("linemon.values.pointed()"), time.monotonic()
    page.keyboard.press("m")
    expect(page.locator("#mark-dialog")).to_be_visible()
    after = before + (time.monotonic() - began) * 1e3 + 1e3  # the chart moves on under the pointer, by a row at a time
    page.keyboard.type("-- heater on; $(true) 'n'")
    page.keyboard.press("Enter")
    expect(page.locator("#mark-dialog")).to_be_hidden()
    [mark] = collector.store.marks()
    assert (mark.text, mark.source, mark.kind) == ("-- heater on; $(true) 'n'", "web1", "note")
    assert before - 1 <= int(mark.time.astype("int64")) / 1e6 <= after + 1
    eventually(lambda: len(marks(page)) == 1, "the mark in the chart")


def test_a_mark_by_menu_of_all_sources_at_a_time(show: Show, running: tuple[Running, Served]) -> None:
    collector, served = running
    page = show(served.url + "?source=web1", wait=None, timezone_id="Asia/Kathmandu")
    page.wait_for_function("linemon.received > 0")
    page.click("#marks summary")
    page.click("#mark-here")
    page.fill("#mark-text", "noon")
    page.fill("#mark-time", "2026-11-22T12:00:00")
    page.select_option("#mark-source", label="all sources")
    page.click("#mark-set")
    expect(page.locator("#mark-dialog")).to_be_hidden()
    assert [mark.fields for mark in collector.store.marks()] == [
        {"time": "2026-11-22T06:15:00Z", "text": "noon", "source": None, "kind": "note"}
    ]


def test_what_is_wrong_with_a_mark_is_told(show: Show, running: tuple[Running, Served]) -> None:
    """The dialog stays, with what was typed."""
    collector, served = running
    page = show(served.url + "?source=web1", wait=None)
    page.wait_for_function("linemon.received > 0")
    collector.process.kill()
    collector.process.wait()
    page.keyboard.press("m")
    page.fill("#mark-text", "heater on")
    page.click("#mark-set")
    expect(page.locator("#mark-error")).to_contain_text("no collector")
    assert page.input_value("#mark-text") == "heater on"


def test_an_open_page_sets_no_marks(show: Show, tmp_path: Path) -> None:
    """Which is open to other machines and asks for no password."""
    running = Running(tmp_path, '[dashboard]\nlisten = "0.0.0.0:0"\nallow_open = true\n')
    running.say("#source web1\n1 2\n")
    served = Served(running.config)
    try:
        page = show(served.url + "?source=web1", wait=None)
        page.wait_for_function("linemon.received > 0")
        assert page.locator("#mark-here").count() == 0
        told = page.evaluate("linemon.ask({do: 'mark', text: 'x', time: 1.7e12, source: ''})")
        assert "password" in told["error"]
        assert running.store.marks() == []
    finally:
        served.stop()
        running.stop()


def test_a_finger_that_rests_sets_a_mark(show: Show, marked: tuple[Feed, Served]) -> None:
    """A mouse that does may be about to drag."""
    _, served = marked
    page = show(served.url + "?source=web1")
    page.wait_for_function("linemon.received > 0")
    page.evaluate("linemon.model('chart0').on_event('press', () => { window.isPressed = true })")
    page.mouse.move(*middle(page))
    page.mouse.down()
    page.wait_for_function("window.isPressed")
    expect(page.locator("#mark-dialog")).to_be_hidden()
    page.mouse.up()
    phone = show(served.url + "?source=web1", has_touch=True, is_mobile=True)
    phone.wait_for_function("linemon.received > 0")
    phone.locator("#plot0").scroll_into_view_if_needed()
    x, y = middle(phone)
    touch = phone.context.new_cdp_session(phone)
    touch.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]})
    expect(phone.locator("#mark-dialog")).to_be_visible()
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


def test_more_marks_than_are_drawn_are_told(show: Show, marked: tuple[Feed, Served]) -> None:
    feed, served = marked
    for number in range(503):
        set_mark(feed, f"{number}", ago=200 - number / 10)
    page = show(served.url + "?source=web1")
    expect(page.locator("#marks summary")).to_have_text("Marks (3 older ones are left out)")
    eventually(lambda: len(marks(page)) == 500, "the newest")
