"""The overview, the search and the health page."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Feed, Served
from tests.running import eventually

Show = Callable[..., Page]


def test_a_row_per_source_hosts_first(show: Show, served: Served) -> None:
    page = show(served.url)
    host = page.locator("#hosts tbody tr")
    expect(host).to_have_count(1)
    expect(host.locator("a")).to_have_text("web1")
    expect(host.locator(".value").first).to_have_text(re.compile(r"^[\d.]+ %$"))
    expect(host.locator(".value").nth(1)).to_have_text("–")  # it has no such column
    expect(host.locator(".value").nth(2)).to_have_text(re.compile(r"^[\d.]+ [kM]B/s$"))
    expect(host.locator(".seen")).to_have_text(re.compile(r"^\d s ago$"))
    names = page.locator("#others tbody a").all_inner_texts()
    assert names.index("rack9") < names.index("rack10")
    humidity = page.locator("#others tr", has_text="room1.humidity")
    expect(humidity.locator(".value").first).to_have_text("41 %")
    sparks = "linemon.model('lines of sparks')?.data.xs.length"
    page.wait_for_function(f"{sparks} >= 2")
    assert page.title() == "linemon"
    host.locator("td").first.click()
    expect(page.locator("h1")).to_have_text("web1")


def test_a_new_source_shows_up_by_itself(show: Show, served: Served, feed: Feed) -> None:
    page = show(served.url)
    page.evaluate("window.mark = 1")
    page.wait_for_function("linemon.received >= 2")
    feed.write("room1.temperature", {"value": 20.3})
    row = page.locator("#others tr", has_text="room1.temperature")
    expect(row.locator(".value").first).to_have_text("20.3")
    feed.write("room1.temperature", {"value": 21.375})
    expect(row.locator(".value").first).to_have_text("21.375")
    assert page.evaluate("window.mark") == 1
    row.locator("a").click()
    expect(page.locator("h1")).to_have_text("room1.temperature")


def test_a_source_stamped_in_1970_is_never_live(show: Show, served: Served, feed: Feed) -> None:
    """As after `#columns time value` and a row of two values."""
    feed.write("room77", {"value": 20.3}, at=45 * 10**9, came=0)
    page = show(served.url + "?source=room77", wait="waiting")
    expect(page.locator("#age")).to_have_text("stamped 1970-01-01: was its time meant as a value?")
    page.goto(served.url)
    row = page.locator("#others tr", has_text="room77")
    expect(row.locator(".seen")).to_have_text("stamped 1970")
    expect(row).to_have_class(re.compile("silent"))


@pytest.mark.parametrize("every", [10, 600])
def test_a_slow_source_has_a_sparkline(show: Show, served: Served, feed: Feed, every: int) -> None:
    feed.past(f"slow{every}", {i * every + 0.1 * (i % 3): {"value": float(i % 7)} for i in range(60, -1, -1)})
    page = show(served.url)
    code = """(name) => {
      const row = [...document.querySelectorAll("#others tr")].find((each) => each.innerText.startsWith(name))
      const holder = document.getElementById("rows").getBoundingClientRect()
      const {xs, ys} = linemon.model("lines of sparks")?.data ?? {}
      if (!row || !xs) return false
      const {top, bottom, width} = row.querySelector(".spark").getBoundingClientRect()
      const mine = xs.filter((_, i) => ys[i][0] > top - holder.top - 1 && ys[i][0] < bottom - holder.top + 1)
      return mine.length == 1 && (mine[0].at(-1) - mine[0][0]) / width > 0.8
    }"""
    page.wait_for_function(code, arg=f"slow{every}")


def test_a_silent_source_says_since_when(show: Show, own_feed: Feed) -> None:
    for ago in 1, 0:
        own_feed.write("old", {"value": 1.0}, ago=200 + ago)
    own_feed.write("once", {"value": 1.0}, ago=200)
    served = Served(own_feed.config)
    try:
        page = show(served.url)
        old, young, once, late = (page.locator("tr", has_text=name) for name in ("old", "young", "once", "late"))
        expect(once.locator(".seen")).to_have_text("3 min ago")  # one row promises no other
        expect(old.locator(".seen")).to_have_text("no data for 3 min")
        expect(old.locator(".seen")).to_have_attribute("title", re.compile("newest row: .*:"))
        expect(old).to_have_class(re.compile("silent"))
        for ago in 1, 0:
            own_feed.write("young", {"value": 1.0}, ago=ago)
            own_feed.write("late", {"value": 1.0}, ago=3600 + ago, came=ago)  # an hour behind, as of a wrong zone
        for each in late, young:
            expect(each.locator(".seen")).to_have_text(re.compile(r"^\d s ago"))
        expect(young.locator(".seen")).to_have_text(re.compile(r"^no data for \d+ s$"))
        page.close()
    finally:
        served.stop()


def test_typing_filters_and_finds_columns(show: Show, served: Served) -> None:
    page = show(served.url)
    names = page.locator(".sources tbody a")
    eventually(lambda: names.count() > 10, "rows")
    everything = names.count()
    page.keyboard.press("/")
    page.keyboard.type("RACK1")
    expect(names).to_have_text(["rack1", "rack10", "rack11"])
    page.fill("#find", "no such thing")
    expect(page.locator("#none")).to_have_text("No source and no column has that in its name.")
    page.fill("#find", "web1 busy")  # words of a source and of a column, in any order
    expect(page.get_by_role("option").first).to_have_text(re.compile("^web1 : cpu.busy_pct"))
    expect(names).to_have_text(["web1"])
    page.fill("#find", "temp.core")
    option = page.get_by_role("option", name="web1 : temp.core_celsius")
    expect(option).to_be_visible()
    page.keyboard.press("Escape")
    expect(names).to_have_count(everything)
    page.fill("#find", "web1")
    expect(page.get_by_role("option").first).to_have_text(re.compile("^web1"))
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("web1")


def test_back_to_the_list_as_it_was(show: Show, own_feed: Feed) -> None:
    """Sorted, filtered and scrolled."""
    for i in range(1, 61):
        own_feed.write(f"h{i}", {"cpu.busy_pct": float(i)})
    served = Served(own_feed.config)
    try:
        page = show(served.url)
        names = page.locator("#hosts tbody a")
        expect(page.locator("#hosts")).to_have_attribute("aria-rowcount", "61")
        page.click("[data-sort=first]")
        expect(names.first).to_have_text("h60")
        page.fill("#find", "h")
        page.keyboard.press("Tab")
        page.wait_for_function("location.search.includes('find=h')")
        page.evaluate("scrollTo(0, 700)")
        page.locator("#hosts tbody a", has_text="h30").evaluate("(link) => link.click()")  # without a scroll to it
        expect(page.locator("h1")).to_have_text("h30")
        page.go_back()
        row = page.locator("#hosts tbody tr[aria-rowindex]", has_text="h30")  # those far above are not there
        expect(row).to_have_attribute("aria-rowindex", "32")
        expect(page.locator("#find")).to_have_value("h")
        expect(page.locator("th[aria-sort=descending]")).to_have_text(re.compile("CPU"))
        page.wait_for_function("scrollY == 700")
        page.close()
    finally:
        served.stop()


def test_hundreds_of_hosts_have_a_map_and_are_sorted(show: Show, own_feed: Feed) -> None:
    for i in range(1, 301):
        own_feed.write(f"h{i}", {"cpu.busy_pct": float(i % 101), "mem.used_pct": 50.0})
    served = Served(own_feed.config)
    try:
        page = show(served.url)
        rows = page.locator("#hosts tbody:not(.space) tr")
        expect(page.locator("#hosts")).to_have_attribute("aria-rowcount", "301")
        cells = "linemon.model('cells of map')?.data"
        page.wait_for_function(f"{cells}?.xs.length == 300")
        assert page.evaluate(f"new Set({cells}.color).size") >= 5
        page.get_by_role("button", name="CPU").click()
        expect(rows.first.locator("a")).to_have_text("h100")
        box = page.locator("#map").bounding_box()
        assert box
        page.mouse.move(box["x"] + 24, box["y"] + 8)
        expect(page.locator("#tip")).to_have_text(re.compile("h2: 2 %"))
        page.mouse.click(box["x"] + 24, box["y"] + 8)
        expect(page.locator("h1")).to_have_text("h2")
        page.close()
    finally:
        served.stop()


def test_the_health_page(show: Show, own_feed: Feed) -> None:
    """The strip and the page of counters, against a real collector that was sent a bad line."""
    from tests.running import Running

    running = Running(own_feed.config.parent / "real")
    served = Served(running.config)
    try:
        running.say("#source web1\n1 2 3\nthis is no row\n1 2 3\n")
        page = show(served.url)
        for fact in "rows", "senders", "sources", "lag", "store", "up":
            expect(page.locator(f"[data-fact={fact}]")).not_to_have_text("–")
        page.click("#strip a >> nth=0")
        expect(page.locator("h1")).to_have_text("Health of the collector")
        expect(page.locator("#bad-lines td").last).to_have_text("this is no row")
        received = page.locator("#counters div", has=page.get_by_text("received", exact=True))
        expect(received.locator("dd")).to_have_text("3")
        expect(page.locator("#trouble")).to_be_hidden()
        running.process.kill()
        expect(page.locator("#trouble")).to_have_text(re.compile("silent"))
        page.close()
    finally:
        running.stop()
        served.stop()


def test_hosts_and_others_whose_names_begin_alike_have_a_heading_each(show: Show, own_feed: Feed) -> None:
    """And keep it, as rows come; of a source with more columns than are shown it is said how many there are."""
    for name in ("web1", "web2"):
        own_feed.write(name, {"cpu.busy_pct": 5.0, "mem.used_pct": 50.0, "net.rx_bytes_per_s": 1e5})
    for name in ("web-a", "web-b", "web3", "web4"):
        own_feed.write(name, {"value": 1.0})
    own_feed.write("lab", {f"column{n}": -1.0 for n in range(10)})
    served = Served(own_feed.config)
    try:
        page = show(served.url + "?by=prefix", wait=None, viewport={"width": 390, "height": 844})
        expect(page.locator("#hosts .fold-group")).to_have_text("web*")
        others = page.locator("#others .fold-group")
        expect(others).to_have_count(1)
        page.wait_for_function("(n) => linemon.received > n + 2", arg=page.evaluate("linemon.received"))
        own_feed.write("web5", {"value": 1.0})
        expect(page.locator("#others .group-row")).to_contain_text("3 sources")
        expect(page.locator("#hosts .group-row")).to_contain_text("2 sources")
        row = page.locator("#hosts .group-row th").bounding_box()
        table = page.locator("#hosts").bounding_box()
        assert row
        assert table
        assert row["width"] == pytest.approx(table["width"], abs=1)
        expect(page.locator("#others tr", has_text="lab").locator("th")).to_contain_text("lab 10 columns")
    finally:
        page.close()
        served.stop()
