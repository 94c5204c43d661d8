"""How pages look, to eyes and to screen readers. Screenshots are left in build/screenshots/."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Feed, Served
from tests.browser.looking import line_pixels
from tests.running import eventually

ROOT = Path(__file__).parents[2]
SCREENSHOTS = ROOT / "build" / "screenshots"
AXE = files("axe_playwright_python") / "axe.min.js"
SIZES = {"1440x900": (1440, 900), "1024x768": (1024, 768), "390x844": (390, 844)}
PAGES = {
    "overview": "",
    "source": "?source=web1",
    "compare": "?plot=web1:cpu.busy_pct,web1:cpu.user_pct,room1.humidity",
    "health": "?health=1",
    "alarms": "?alarms=1",
    "expected": "?source=web1&window=1m&shift=1m",
    "groups": "?groups=1",
    "unknown": "?source=no+such",
}
HOST = ("cpu.busy_pct", "mem.used_pct", "net.rx_bytes_per_s")
Show = Callable[..., Page]


def faults(page: Page) -> list[str]:
    """What axe-core finds wrong, from moderate on."""
    page.evaluate(AXE.read_text())
    found: list[dict[str, Any]] = page.evaluate("axe.run().then((found) => found.violations)")
    return [
        f"{each['id']} ({each['impact']}): {node['html'][:200]}"
        for each in found
        if each["impact"] in ("moderate", "serious", "critical")
        for node in each["nodes"]
    ]


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Thirty hosts and some others, of which one is silent; and what tasks say of them."""
    feed = Feed(tmp_path_factory.mktemp("crowd"))
    feed.move(300)
    for i in range(2, 32):
        rows = {
            ago: {"cpu.busy_pct": (i * 37 + ago / 3) % 100, "mem.used_pct": 40 + i, "net.rx_bytes_per_s": 1e5 * i}
            for ago in range(300, 0, -5)
        }
        if i != 7:
            feed.past(f"web{i}", rows)
            continue
        for ago, values in rows.items():
            feed.write("web7", values, ago=ago + 200)
    feed.write("room1.humidity", {"value": 41.0}, units=("%",))
    feed.write("greenhouse", {"soil": 38.2, "lux": 20412.0, "co2": 412.0, "ph": 6.4}, units=("%", "lx", "ppm", ""))
    said = {"temp.core_celsius": 50.0, "cpu.busy_pct": 50.0, "net.rx_bytes_per_s": 2e6, "net.tx_bytes_per_s": 5e5}
    parts = {"expected": 1.0, "low": 0.7, "high": 1.3}
    normal = {f"{name}.{part}": value * share for name, value in said.items() for part, share in parts.items()}
    feed.past("web1~normal", dict.fromkeys(range(300, -300, -5), normal))
    told = {"cpu.busy_pct.score": 3.5, "mem.used_pct.score": 1.5, "strange_columns": 2.0}
    for host in ("web1", "web3", "web4"):
        feed.past(f"{host}~strange", {60: told, 0: dict.fromkeys(told, 0.0)})
    together = {"group": 0.0, "r": 0.8, "exemplar": 0.0}
    ran = time.time_ns()
    for host in ("web2", "web3", "web4", "web5", "web6"):
        row = {f"{name}.{part}": value for name in HOST for part, value in together.items()}
        feed.write(f"{host}~groups", row | {"mem.used_pct.exemplar": float(host == "web3")}, at=ran)
    served = Served(feed.config)
    yield served
    served.stop()
    feed.stop()


@pytest.mark.parametrize("name", PAGES)
def test_every_page_at_every_size(show: Show, crowd: Served, name: str) -> None:
    """Nothing is cut off sideways, and axe-core finds no fault in light and in dark."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page = show(crowd.url + PAGES[name], wait="live" if name == "overview" else None)
    if name in ("source", "compare", "expected", "groups"):
        eventually(lambda: line_pixels(page) > 20, "a line")
    elif name == "overview":
        page.wait_for_function("linemon.model('lines of sparks').data.xs.length > 60")
    for size, (width, height) in SIZES.items():
        page.set_viewport_size({"width": width, "height": height})
        page.wait_for_function(
            "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))"
        )
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, size
        page.screenshot(path=SCREENSHOTS / f"{name}-{size}.png")
    page.set_viewport_size({"width": 1440, "height": 900})
    if name == "expected":
        page.click("#what-changed")
        expect(page.locator("#changed-said")).to_contain_text("chance")
    for details in page.locator("details.fold:visible").all():
        details.locator("summary").click()
    assert faults(page) == []
    page.emulate_media(color_scheme="dark")
    assert faults(page) == []
    page.screenshot(path=SCREENSHOTS / f"{name}-dark.png")


def test_the_help_and_the_search_are_accessible(show: Show, crowd: Served) -> None:
    page = show(crowd.url + "?source=web1")
    page.fill("#find", "cpu")
    expect(page.get_by_role("option").first).to_be_visible()
    page.keyboard.press("ArrowDown")
    assert faults(page) == []
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    assert faults(page) == []
    cut = """[...document.querySelectorAll("#help, #help dt, #help dd")]
      .filter((each) => each.scrollWidth > each.clientWidth).map((each) => each.textContent)"""
    for width, height in SIZES.values():
        page.set_viewport_size({"width": width, "height": height})
        assert page.evaluate(cut) == [], width


def test_the_keyboard_reaches_everything(show: Show, crowd: Served) -> None:
    """Every button, link and field in turn, each seen to have the focus."""
    page = show(crowd.url + "?source=web1")
    wanted = page.evaluate(
        "[...document.querySelectorAll('button, a[href], input, summary')].filter((e) => e.checkVisibility()).length"
    )
    page.evaluate("window.reached = new Set(); window.unseen = []")
    for _ in range(wanted + 12):
        page.keyboard.press("Tab")
        page.evaluate(
            """() => {
              const here = document.activeElement
              if (!here.matches("button, a, input, summary")) return
              reached.add(here)
              if (getComputedStyle(here).outlineStyle == "none") unseen.push(here.outerHTML)
            }"""
        )
    assert page.evaluate("reached.size") >= wanted
    assert page.evaluate("unseen") == []


def test_light_and_dark(show: Show, served: Served) -> None:
    def background(page: Page) -> str:
        return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))

    light, dark = (show(served.url + "?source=web1", color_scheme=scheme) for scheme in ("light", "dark"))
    assert (background(light), background(dark)) == ("rgb(244, 246, 248)", "rgb(14, 18, 24)")
    for page in light, dark:  # the lines, in this scheme's colour
        eventually(lambda page=page: line_pixels(page) > 20, "a line")  # type: ignore[misc]
    light.click("#scheme")
    light.click("#scheme")
    expect(light.locator("#scheme")).to_have_attribute("aria-label", "Colours: dark")
    assert background(light) == background(dark)
    eventually(lambda: line_pixels(light) > 20, "a line in the new colour")
    light.reload()
    assert background(light) == background(dark)
    light.click("#scheme")
    assert background(light) == "rgb(244, 246, 248)"
    light.emulate_media(color_scheme="dark")
    eventually(lambda: background(light) == background(dark), "the system's change followed")


def test_nothing_shifts_while_rows_come(show: Show, served: Served) -> None:
    page = show(served.url + "?source=web1")
    page.evaluate(
        """() => {
          window.shift = 0
          new PerformanceObserver((list) => { for (const each of list.getEntries()) shift += each.value })
            .observe({type: "layout-shift"})
        }"""
    )
    seen = page.evaluate("linemon.received")
    page.wait_for_function("(n) => linemon.received > n + 12", arg=seen)
    assert page.evaluate("shift") < 0.01


def test_print_leaves_out_what_paper_cannot_do(show: Show, served: Served) -> None:
    page = show(served.url + "?source=web1")
    page.emulate_media(media="print")
    expect(page.locator("#find")).to_be_hidden()
    expect(page.locator("#card0")).to_be_visible()
    assert len(page.pdf()) > 10_000


def test_the_menu_of_a_source_is_accessible(show: Show, crowd: Served) -> None:
    """On the overview and on its own page, at every size, in light and in dark, also before it is deleted."""
    for address in ("", "?source=web1"):
        page = show(crowd.url + address, wait=None)
        page.get_by_role("button", name="Pin, hide, rename or delete web1", exact=True).click()
        page.click("#verb-delete")
        for width, height in SIZES.values():
            page.set_viewport_size({"width": width, "height": height})
            page.wait_for_function("document.documentElement.scrollWidth <= innerWidth")  # charts follow in their time
            box = page.locator("#verbs").bounding_box()
            assert box is not None
            assert 0 <= box["x"] <= box["x"] + box["width"] <= width
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            assert faults(page) == []
        page.keyboard.press("Escape")
        expect(page.locator("#verbs")).to_be_hidden()
