"""The overview of many sources: of the list only what is in sight is there; groups, the grid, a choice to compare."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Feed, Served
from tests.browser.test_looks import faults

ROOMS = 150
MEASURES = {"temperature": "°C", "humidity": "%", "co2": "ppm"}
ROWS = ".sources tbody:not(.space) tr"
Show = Callable[..., Page]


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    feed = Feed(tmp_path_factory.mktemp("many"))
    panel = '[[dashboard.panel]]\nsource = "room3.*"\ncolumns = ["value"]\nwarn = 3.4\ncrit = 9\n'
    feed.config.write_text(feed.config.read_text() + panel)
    for i in range(1, 31):
        feed.past(f"web{i}", {ago: {"cpu.busy_pct": float(i), "mem.used_pct": 50.0} for ago in (10, 5, 0)})
    for i in range(1, ROOMS + 1):
        for number, (name, unit) in enumerate(MEASURES.items()):
            feed.past(f"room{i}.{name}", {ago: {"value": i + number / 4} for ago in (5, 0)}, units=(unit,))
    served = Served(feed.config)
    yield served
    served.stop()
    feed.stop()


def test_only_what_is_in_sight_is_there(show: Show, many: Served) -> None:
    page = show(many.url)
    rows, others = page.locator(ROWS), page.locator("#others")
    expect(others).to_have_attribute("aria-rowcount", str(3 * ROOMS + 1))
    expect(page.locator("#count")).to_have_text(f"{3 * ROOMS + 30} sources")
    assert page.evaluate("document.documentElement.scrollHeight") > 30 * (3 * ROOMS + 30)
    assert rows.count() < 60
    page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
    last = page.locator("#others tr", has_text=f"room{ROOMS}.temperature")
    expect(last.locator(".value").first).to_have_text("150 °C")
    expect(last).to_have_attribute("aria-rowindex", str(3 * ROOMS + 1))
    assert rows.count() < 60
    expect(page.locator("#others thead th").first).to_be_in_viewport()  # what is sorted is said wherever one is
    page.wait_for_function("linemon.model('lines of sparks')?.data.xs.length > 10")
    first = int(rows.first.get_attribute("aria-rowindex") or 0)
    page.locator(f"#others [aria-rowindex='{first + 12}'] a").focus()
    for _ in range(60):  # the keyboard goes on where there was nothing
        page.keyboard.press("Shift+Tab")
    reached = int(page.locator("#others tr:focus-within").get_attribute("aria-rowindex") or 0)
    assert first - 12 < reached < first
    assert rows.count() < 60
    page.fill("#find", "room7. temp")
    expect(rows).to_have_count(1)
    expect(page.locator("#count")).to_have_text(f"1 of {3 * ROOMS + 30} sources")


def test_groups_fold_and_the_address_says_which_are_open(show: Show, many: Served) -> None:
    page = show(many.url)
    page.get_by_role("button", name="By name").click()
    heads = page.locator(".group-row button")
    expect(heads.first).to_have_text("web*")
    expect(page.locator(".group-row", has_text="web*")).to_contain_text("30 sources")
    fold = page.get_by_role("button", name="room2.*")
    fold.focus()
    page.keyboard.press("Enter")
    expect(fold).to_have_attribute("aria-expanded", "true")
    expect(fold).to_be_focused()
    expect(page.locator(f"{ROWS} a")).to_have_text(["room2.co2", "room2.humidity", "room2.temperature"])
    assert "by=prefix" in page.url
    page.reload()
    expect(page.locator(f"{ROWS} a")).to_have_text(["room2.co2", "room2.humidity", "room2.temperature"])
    assert faults(page) == []
    page.get_by_role("button", name="room2.*").click()
    expect(page.locator(f"{ROWS} a")).to_have_count(0)


def test_rooms_and_measures_as_a_grid(show: Show, many: Served) -> None:
    page = show(many.url + "?by=grid&find=room", color_scheme="dark")
    expect(page.locator("#grid thead th")).to_have_text(
        ["Name", "temperature °C", "humidity %", "co2 ppm", "Newest row"]
    )
    row = page.locator("#grid tbody tr", has=page.get_by_text("room3", exact=True))
    expect(row.locator("td a")).to_have_text(["3 °C", "3.3 %", "3.5 ppm"])
    expect(row.locator("[data-level]")).to_have_text(["3.5 ppm"])
    assert faults(page) == []
    row.locator("td a").nth(1).click()
    expect(page.locator(".chips li")).to_have_text(re.compile("room3.humidity"))


def test_chosen_sources_are_compared(show: Show, many: Served) -> None:
    page = show(many.url)
    for name in "web3", "web20":
        page.get_by_role("checkbox", name=f"Choose {name}", exact=True).check()
    expect(page.locator("#chosen")).to_contain_text("2 chosen")
    assert faults(page) == []
    page.locator("#compare-by").get_by_role("link", name="Memory used").click()
    expect(page.locator(".line span")).to_have_text(["web3", "web20"])


def test_one_measure_of_all_hosts(show: Show, many: Served) -> None:
    page = show(many.url)
    page.get_by_role("link", name="CPU of all hosts").click()
    expect(page.locator("h1")).to_have_text("CPU busy")
    expect(page.locator(".line span")).to_have_text([f"web{i}" for i in range(30, 20, -1)])
    expect(page.locator(".rest")).to_contain_text("20 others")
    middle = "linemon.model('lines of chart0')?.data.ys.find((ys) => ys[0] == 10 || ys[0] == 11)"
    page.wait_for_function(middle)  # the median of 1 to 20
    band = page.evaluate("[...linemon.model('areas of chart0').data.ys[0]].filter((y) => y == y)")
    assert (min(band), max(band)) == (1, 20)
    assert faults(page) == []
    page.click("#small")
    expect(page.locator("figcaption b")).to_have_text([f"web{i}" for i in range(30, 14, -1)])
    page.wait_for_function("linemon.charts.sources[15]?.length >= 3")
    axes = "linemon.about.panels.map((_, i) => linemon.model(`chart${i}`)?.y_range ?? {})"
    page.wait_for_function(f"new Set({axes}.map(({{start, end}}) => `${{start}} ${{end}}`)).size == 1")
    page.goto(f"{many.url}?measure=temperature&find=room1&small=1", wait_until="commit")
    expect(page.locator(".head .muted").first).to_have_text("the 16 highest of 62 by mean with “room1”")
    expect(page.locator("figcaption b").first).to_have_text("room150")
    page.goto(f"{many.url}?measure=no+such")
    expect(page.locator("#waiting")).to_contain_text("No source has")


def test_a_measure_says_the_means_it_is_ranked_by(show: Show, own_feed: Feed) -> None:
    """Who was highest on the whole stands first, whatever the newest values are."""
    for i in range(1, 10):
        own_feed.past(f"pump{i}", {10: {"flow": 10.0 * i}, 5: {"flow": 10.0 * i}, 0: {"flow": 10.0 - i}})
    served = Served(own_feed.config)
    page = show(f"{served.url}?measure=flow", wait=None)
    expect(page.locator(".head .muted").first).to_have_text("all 9 by mean")
    expect(page.locator(".line small").first).to_have_text("mean 60.33")
    expect(page.locator(".line output").first).to_have_text("1")
    expect(page.locator(".line span")).to_have_text([f"pump{i}" for i in range(9, 0, -1)])
    page.click("#small")
    expect(page.locator(".line small").last).to_have_text("mean 9.667")
    assert faults(page) == []
    served.stop()
