"""What people call a column, and its unit, stand wherever the page shows it."""

from __future__ import annotations

import time
from collections.abc import Callable

from playwright.sync_api import Page, expect

from bokeh_app.kept import Kept, Values
from linemon.config import load
from tests.browser.conftest import Feed, Served
from tests.browser.test_alarms import Work, alarm
from tests.browser.test_tasks import member, scores, with_a_change
from tests.running import eventually

Show = Callable[..., Page]
MIN = 60


def test_a_column_is_called_alike_everywhere(show: Show, own_feed: Feed) -> None:
    """In all lists: alarms, what is strange, in trouble, changed, moves together; in the search; in files it is not."""
    with_a_change(own_feed)
    scores(own_feed, "web2", {3: {"mem.used_pct.score": 9.0}}, 1)
    at = time.time_ns() - MIN * 10**9
    own_feed.write("web1~groups", member("cpu.busy_pct", 0, 0.9, exemplar=True), at=at)
    own_feed.write("web2~groups", member("mem.used_pct", 0, 0.8), at=at)
    key = "columns", "*", "mem.used_pct"
    mine: Values = {(*key, "label"): "RAM", (*key, "unit"): "%RH"}
    Kept(load(own_feed.config).dashboard_state).change(mine, {})
    work, served = Work(own_feed.store), Served(own_feed.config)
    try:
        work.say(alarm("full", "web2", "firing", 2, column="mem.used_pct"))
        alarms = show(f"{served.url}?alarms=1")
        row = alarms.locator("#alarms tbody tr")
        expect(row.locator("td").nth(2)).to_contain_text("RAM")
        expect(row.locator("td").nth(3)).to_have_text("91.5 %RH")
        overview = show(served.url)
        expect(overview.locator("#in-trouble")).to_contain_text("web2 RAM")
        expect(overview.locator("#strange li").first).to_contain_text("RAM 3 min ago")
        page = show(f"{served.url}?plot=web1:mem.used_pct,web2:mem.used_pct")
        expect(page.locator(".chips li").first).to_contain_text("web1 RAM")
        page.click("#values summary")
        expect(page.locator("#statistics tbody th")).to_have_text(["web1 RAM", "web2 RAM"])
        page.evaluate("linemon.time.go(linemon.charts.newest - 295e3, linemon.charts.newest)")
        page.click("#what-changed")
        first = page.locator("#changed tbody tr").first
        expect(first.locator("th")).to_have_text("web2 : RAM")
        expect(first.locator("td").nth(1)).to_have_text("40 %RH → 60 %RH")
        page.locator("#find").fill("ram web2")
        expect(page.locator("#found li")).to_have_text(["web2 : RAMcolumn mem.used_pct"])
        groups = show(f"{served.url}?groups=1", wait=None)
        expect(groups.locator("#card0 .members li")).to_have_text(["web1 cpu.busy_pct 0.90", "web2 RAM 0.80"])
        expect(show(f"{served.url}?measure=mem.used_pct").locator("#title")).to_have_text("RAM")
        eventually(lambda: page.evaluate("linemon.values.nameOf(0, true)") == "web1 mem.used_pct", "its own name")
    finally:
        work.stop()
        served.stop()
