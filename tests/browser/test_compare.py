"""Columns of several sources on one page, chosen by search, and files of what is in sight."""

from __future__ import annotations

import csv
import re
import struct
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

import linemon
from tests.browser.conftest import Feed, Served
from tests.browser.looking import axis, drawn, line_pixels
from tests.running import eventually

Show = Callable[..., Page]


@pytest.fixture
def two(own_feed: Feed) -> Served:
    own_feed.move(60)
    own_feed.past("sys,host=h7", {ago: {"cpu": 20.0 + ago, "a:b": 1.0} for ago in range(60, 0, -2)}, units=("%", "V"))
    return Served(own_feed.config)


def test_columns_of_sources_over_each_other_and_side_by_side(show: Show, two: Served) -> None:
    try:
        page = show(two.url + "?plot=web1:cpu.busy_pct,sys%252Chost=h7:cpu,sys%252Chost=h7:a%253Ab,gone:x&window=1m")
        expect(page.locator("figcaption b")).to_have_text(["cpu.busy_pct, cpu", "a:b"])
        expect(page.locator("#card0 .line span")).to_have_text(["web1 cpu.busy_pct", "sys,host=h7 cpu"])
        expect(page.locator("#waiting")).to_contain_text("gone:x")
        first, second = drawn(page)["xs"]
        assert len(first) > 50
        assert len(second) <= 31
        page.click("#beside")
        expect(page.locator("figcaption b")).to_have_text(["web1 cpu.busy_pct", "sys,host=h7 cpu", "sys,host=h7 a:b"])
        page.get_by_role("button", name="Remove gone x").click()
        expect(page.locator("#waiting")).to_have_count(0)
        assert "beside=1" in page.url
        page.close()
    finally:
        two.stop()


def test_values_too_large_to_be_drawn_are_told_and_hide_no_other(show: Show, served: Served, feed: Feed) -> None:
    """Such as the greatest float64, which stands for "no value" in many laboratories."""
    for ago in range(60, 0, -1):
        huge = float(np.finfo(float).max) if ago % 2 else 1e300
        feed.write("lab", {"huge": huge, "sentinel": huge if ago % 2 else 5.0, "plain": 20.0 + ago}, ago=ago)
    feed.write("lab", {"huge": 1e300, "sentinel": 5.0, "plain": 20.0})
    page = show(served.url + "?plot=lab:huge,lab:sentinel,lab:plain", wait=None)
    page.wait_for_function("linemon.charts.sources[0]?.length > 60")
    assert axis(page) == (0, 100)
    eventually(lambda: line_pixels(page, 2) > 20, "the other line")
    expect(page.locator("figcaption .warning")).to_have_text("values beyond 3.4e38 are not drawn")
    expect(page.locator(".line output").first).to_have_text("1e+300")
    page.goto(served.url)
    expect(page.locator("#others a", has_text="lab")).to_be_visible()
    page.goto(served.url + "?plot=lab:plain")
    page.wait_for_function("linemon.charts.sources[0]?.length > 60")
    expect(page.locator("figcaption .warning")).to_be_empty()


def test_columns_are_added_by_search(show: Show, two: Served) -> None:
    try:
        page = show(two.url + "?source=web1")
        page.hover("#card3")
        page.click("#card3 a:has-text('compare')")
        expect(page.locator(".chips li")).to_have_text(re.compile("web1 temp.core_celsius"))
        page.fill("#find", "h7:cp")
        page.get_by_role("option", name="sys,host=h7 : cpu").click()
        expect(page.locator(".chips li")).to_have_count(2)
        expect(page.locator("figcaption b")).to_have_count(2)
        page.fill("#find", "web1")  # a source: its columns
        page.get_by_role("option").first.click()
        expect(page.get_by_role("option", name="web1 : cpu.user_pct")).to_be_visible()
        page.close()
    finally:
        two.stop()


def saved(page: Page, button: str, folder: Path) -> Path:
    page.click("#export summary")
    with page.expect_download() as download:
        page.click(button)
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return path


def test_csv_of_what_is_in_sight(show: Show, served: Served, tmp_path: Path) -> None:
    page = show(served.url + "?source=web1&window=1m")
    page.keyboard.press("Space")
    page.locator("#card0 .line").first.click(modifiers=["Control"])  # what is hidden is left out
    path = saved(page, "#export-csv", tmp_path)
    assert re.fullmatch(r"web1_2\d{3}-.*\.csv", path.name)
    with path.open() as file:
        head, *rows = csv.reader(file)
    assert head[:3] == ["time", "cpu.user_pct", "cpu.system_pct"]
    times = [datetime.fromisoformat(row[0]).timestamp() for row in rows]
    assert times == sorted(times)
    assert 55 < times[-1] - times[0] <= 61
    assert abs(time.time() - times[-1]) < 20
    assert {row[head.index("temp.core_celsius")] for row in rows} == {"51.5"}


@pytest.mark.parametrize("every", [0, 1_000, 1_000_000_000])
def test_csv_holds_the_stored_numbers_times_and_rows(
    show: Show, served: Served, feed: Feed, tmp_path: Path, every: int
) -> None:
    """Also of rows with one stamp, or in one millisecond."""
    begin = time.time_ns() - 60 * 10**9
    exact = [23.619, 3567000867.6, 1.5e-300, 1e300, 2.204404e-12, -1e-9, 123456789.25, 0.1 + 0.2]
    for i in range(50):
        values = [each * (1 + i / 7) for each in exact]
        feed.write(f"exact {every}", {f"c{n}": value for n, value in enumerate(values)}, at=begin + i * every)
    page = show(served.url + f"?source=exact%20{every}", wait=None)
    expect(page.locator("#export")).to_be_visible()
    page.wait_for_function("linemon.charts.sources[0]?.length > 0")
    page.evaluate("(at) => linemon.time.go(at - 1e3, at + 59e3)", begin // 10**6)
    with saved(page, "#export-csv", tmp_path).open() as file:
        head, *rows = csv.reader(file)
    stored = linemon.open(feed.store)[f"exact {every}"].last(50)
    assert head == ["time", *stored.columns]
    assert [[float(cell) for cell in row[1:]] for row in rows] == stored.values.tolist()
    times = np.array([row[0].removesuffix("Z") for row in rows], "datetime64[ns]")
    assert times.tolist() == stored.time.tolist()
    assert len({len(row[0]) for row in rows}) == 1, "as many digits in all"


def test_png_of_the_charts(show: Show, served: Served, tmp_path: Path) -> None:
    page = show(served.url + "?source=web1")
    data = saved(page, "#export-png", tmp_path).read_bytes()
    assert data.startswith(b"\x89PNG")
    width, height = struct.unpack(">II", data[16:24])
    assert width > 600
    assert height > 400


def test_names_are_text_in_the_html_that_needs_no_server(
    show: Show, browser: Browser, served: Served, feed: Feed, tmp_path: Path
) -> None:
    column = "a_</SCRIPT><svg/onload=document['title']=4242>"
    feed.write("hostile", {column: 1.0, "b": 2.0})
    path = saved(show(served.url + "?source=hostile"), "#export-html", tmp_path)
    alone = browser.new_page()
    alone.goto(path.as_uri())
    eventually(lambda: line_pixels(alone) > 2, "what is drawn")
    assert alone.title() == "hostile · linemon"
    assert alone.locator("svg").count() == 0
    assert alone.locator("#statistics th", has_text=column).count() == 1
    alone.close()


def test_html_that_needs_no_server(browser: Browser, own_feed: Feed, tmp_path: Path) -> None:
    """The file draws the same lines with the server gone and the network off, can be read and zoomed."""
    own_feed.move()
    served = Served(own_feed.config)
    page = browser.new_page()
    page.goto(served.url + "?source=web1")
    expect(page.locator("#status")).to_have_text("live")
    path = saved(page, "#export-html", tmp_path)
    lines = page.evaluate("linemon.model('lines of chart0').data.xs.length")
    page.close()
    served.stop()
    context = browser.new_context(offline=True)
    alone = context.new_page()
    trouble: list[str] = []
    alone.on("pageerror", lambda error: trouble.append(str(error)))
    alone.on("requestfailed", lambda request: trouble.append(request.url))
    alone.goto(path.as_uri())
    eventually(lambda: line_pixels(alone) > 20, "a line")
    assert alone.evaluate("Bokeh.documents[0].get_model_by_name('lines of chart0').data.xs.length") == lines
    expect(alone.locator("h1")).to_have_text("web1")
    expect(alone.locator("#statistics td").first).to_have_text(re.compile(r"\d"))
    expect(alone.locator("#find")).to_have_count(0)
    box = alone.locator("#plot0").bounding_box()
    assert box
    alone.mouse.move(box["x"] + box["width"] - 60, box["y"] + 80)
    expect(alone.locator("#tip")).to_contain_text(re.compile(r"\d\d:\d\d:\d\d.*busy[\d.]+ %"))
    alone.mouse.move(box["x"] + 200, box["y"] + 80)
    alone.mouse.down()
    alone.mouse.move(box["x"] + 260, box["y"] + 80, steps=4)
    alone.mouse.up()
    range_ = "(() => { const {start, end} = Bokeh.documents[0].get_model_by_name('time'); return end - start })()"
    assert alone.evaluate(range_) < 150e3
    assert trouble == []
    context.close()
