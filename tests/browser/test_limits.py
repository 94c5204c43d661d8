"""Limits of columns, who is in trouble by them, what a column is called; the y axis by hand, and two of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import Feed, Served
from tests.browser.looking import axis, drawn
from tests.browser.test_looks import faults
from tests.running import eventually

Show = Callable[..., Page]
PANELS = """
[[dashboard.panel]]
source = "lab*"
title = "A:b, 100%"
columns = ["t", "p"]
warn = 20
crit = 10
[[dashboard.panel]]
source = "lab*"
title = "Flow"
columns = ["flow"]
"""


@pytest.fixture(scope="module")
def feed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Feed]:
    """A host that moves, and a lab with two units in one panel, and a flow over five decades with a spike."""
    feed = Feed(tmp_path_factory.mktemp("limits"))
    feed.config.write_text(feed.config.read_text() + PANELS)
    feed.move()
    rows = {ago: {"t": 15.0, "p": 900.0 + ago % 100, "flow": 10.0 ** (ago % 5)} for ago in range(200, 0, -1)}
    feed.past("lab1", rows | {100: {"t": 15.0, "p": 950.0, "flow": 5e6}}, units=("°C", "hPa", "l/min"))
    for name in ("a1", "web2"):
        feed.past(name, {ago: {"cpu.busy_pct": 5.0, "mem.used_pct": 50.0} for ago in range(60, 0, -5)})
    yield feed
    feed.stop()


def icon(page: Page) -> Locator:
    return page.locator('link[rel="icon"]')


def hosts(page: Page) -> list[str]:
    return page.locator("#hosts tbody a").all_inner_texts()


def set_limits(page: Page, column: str, **fields: str) -> None:
    page.locator("#card0 [data-menu]").click()
    page.get_by_role("button", name="Limits, unit and name").click()
    page.locator("#limits-column").select_option(label=column)
    for name, value in fields.items():
        page.fill(f"#limits-{name}", value)
    page.keyboard.press("Enter")


def test_limits_that_are_set_on_the_page(show: Show, served: Served) -> None:
    """A line in the chart, a sign at each number; first on the overview; title and favicon; taken back everywhere."""
    page, overview = show(f"{served.url}?source=web2"), show(served.url)
    eventually(lambda: hosts(overview) == ["a1", "web1", "web2"], "the hosts")
    expect(overview.locator("#in-trouble")).to_contain_text("1 in trouble")  # lab1
    set_limits(page, "mem.used_pct", warn="x")
    expect(page.locator("#limits-error")).to_have_text("x is no number")
    page.fill("#limits-warn", "50")
    page.fill("#limits-crit", "90")
    page.keyboard.press("Enter")
    expect(page.locator("#done")).to_contain_text("mem.used_pct is set")
    number = page.locator(".tile", has_text="Memory").locator("output")
    expect(number).to_have_attribute("data-level", "1")
    assert '"▲ "' in str(number.evaluate("(number) => getComputedStyle(number, '::before').content"))
    place = int(page.evaluate("linemon.about.panels.findIndex(({title}) => title == 'Memory')"))
    eventually(lambda: [50, 50] in drawn(page, place)["ys"] and [90, 90] in drawn(page, place)["ys"], "the lines")
    expect(page.locator(f"#card{place} .line output")).to_have_attribute("data-level", "1")
    page.click("#values summary")
    expect(page.locator("#statistics tr", has_text="mem.used_pct").locator("[data-level='1']")).to_have_count(4)
    eventually(lambda: hosts(overview) == ["web2", "a1", "web1"], "it stands first")
    expect(overview.locator("#in-trouble")).to_contain_text("2 in trouble")
    expect(overview.locator("#hosts tr", has_text="web2").locator(".value").nth(1)).to_have_attribute("data-level", "1")
    expect(page).to_have_title("(2) web2 · linemon")
    page.locator("#done button").click()
    expect(number).not_to_have_attribute("data-level", "1")
    eventually(lambda: hosts(overview) == ["a1", "web1", "web2"], "as before")
    expect(overview).to_have_title("(1) linemon")


def test_the_text_of_a_limit_stands_on_its_line_and_within_the_chart(show: Show, served: Served) -> None:
    page = show(f"{served.url}?source=web2")
    place = int(page.evaluate("linemon.about.panels.findIndex(({title}) => title == 'Memory')"))
    data = f"linemon.model('texts of chart{place}').data"
    for warn, crit in ((96, 98), (90, 50), (0.5, 1)):
        set_limits(page, "mem.used_pct", warn=str(warn), crit=str(crit))
        expect(page.locator("#done")).to_contain_text("mem.used_pct is set")
        wanted = {f"▲ {warn} %": warn, f"◆ {crit} %": crit}
        eventually(lambda wanted=wanted: wanted.keys() <= set(page.evaluate(f"[...{data}.text]")), "the texts")  # type: ignore[misc]
        high = page.evaluate(f"linemon.drawing('chart{place}').frame.bbox.height")
        found = dict(page.evaluate(f"[...{data}.text].map((text, i) => [text, [{data}.drop[i], {data}.offset[i]]])"))
        for text, value in wanted.items():
            line, top = high * (1 - value / 100), high * (1 - value / 100) + found[text][0]
            assert top - 1 <= line <= top + 14, text
            assert -1 <= top <= high - 12, text
        if abs(warn - crit) < 10:
            assert len({found[text][1] for text in wanted}) == 2, "beside each other"
    page.locator("#done button").click()
    expect(page.locator("#done")).to_contain_text("Undone")
    set_limits(page, "mem.used_pct", warn="", crit="")
    expect(page.locator("#done")).to_contain_text("mem.used_pct is set")


def test_a_columns_unit_and_name(show: Show, served: Served) -> None:
    """Wherever they are shown, for all sources or one; whatever stands in them."""
    page, overview = show(f"{served.url}?source=lab1"), show(served.url)
    set_limits(page, "flow", label="Flow <b>", unit="m³/h")
    expect(page.locator("#done")).to_contain_text("flow is set")
    expect(page.locator("#card1 figcaption")).to_contain_text("m³/h")
    expect(page.locator("#card1 .line")).to_contain_text("Flow <b>")
    expect(page.locator(".tile", has_text="Flow <b>").locator("output")).to_contain_text("m³/h")
    expect(overview.locator("#others tr", has_text="lab1")).to_contain_text("Flow <b>")
    compare = show(f"{served.url}?plot=lab1:flow")
    expect(compare.locator("figcaption")).to_contain_text("Flow <b> m³/h")
    page.locator("#done button").click()
    expect(page.locator("#card1 figcaption")).to_contain_text("l/min")


def test_limits_of_linemon_toml_where_low_is_bad(show: Show, served: Served) -> None:
    """Of the unit on the left; the worst of all says the favicon; nothing of it is wrong for axe, at any size."""
    for scheme in ("light", "dark"):
        page = show(f"{served.url}?source=lab1", color_scheme=scheme)
        expect(page.locator("#card0 .line output").nth(0)).to_have_attribute("data-level", "1")
        expect(page.locator("#card0 .line output").nth(1)).not_to_have_attribute("data-level", "1")
        expect(icon(page)).to_have_attribute("data-state", "warn")
        for width in (1440, 1024, 390):
            page.set_viewport_size({"width": width, "height": 844})
            page.locator("#card0 [data-menu]").click()
            assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, width
            if width != 390:
                page.keyboard.press("Escape")
        assert faults(page) == []
        page.get_by_role("button", name="Limits, unit and name").click()
        assert faults(page) == []


def on_axis(page: Page, chart: int, share: float) -> tuple[float, float]:
    """A point on the left axis, `share` of its height from below, in pixels of the page."""
    x, y = page.evaluate(
        """([chart, share]) => {
          const {frame, el} = linemon.drawing(`chart${chart}`), {left, top, bottom} = frame.bbox
          const box = el.getBoundingClientRect()
          return [box.left + left / 2, box.top + bottom - share * (bottom - top)]
        }""",
        [chart, share],
    )
    return x, y


def said(page: Page) -> list[str]:
    return parse_qs(urlsplit(page.url).query).get("y", [])


def test_the_axis_by_mouse(show: Show, served: Served) -> None:
    """A drag over it shows that part, the wheel zooms where the pointer is, a double click gives it back."""
    page = show(f"{served.url}?source=web1")
    assert axis(page) == (0, 100)
    page.mouse.move(*on_axis(page, 0, 0.2))
    page.mouse.down()
    page.mouse.move(*on_axis(page, 0, 0.7), steps=3)
    page.mouse.up()
    low, high = axis(page)
    assert low == pytest.approx(20, abs=2)
    assert high == pytest.approx(70, abs=2)
    assert said(page) == [f"{low:g}..{high:g}:CPU"]
    page.mouse.move(*on_axis(page, 0, 0.0))
    page.mouse.wheel(0, -100)
    page.wait_for_function("(high) => linemon.model('chart0').y_range.end < high - 5", arg=high)
    assert axis(page)[0] == pytest.approx(low, abs=1)
    assert page.evaluate("scrollY") == 0
    page.reload()
    page.wait_for_function("linemon.received > 0")
    assert axis(page)[0] == pytest.approx(low, abs=1)
    page.get_by_role("button", name="The axis as it is by itself").hover()
    page.mouse.dblclick(*on_axis(page, 0, 0.5))
    page.wait_for_function("linemon.model('chart0').y_range.end == 100")
    assert (said(page), page.locator(".by-hand").count()) == ([], 0)
    assert page.evaluate("linemon.time.isLive"), "no hand on an axis zooms the time"


def test_the_axis_by_the_menu(show: Show, served: Served) -> None:
    """Ends, logarithmic, without spikes; by keyboard; all in the address, whatever is in a title."""
    page = show(
        f"{served.url}?source=lab1&y=1..2:None&y=Flow&y=2..1:Flow&y=x..y,z:Flow"
    )  # what makes no sense is not there
    eventually(lambda: axis(page, 1)[1] > 4e6, "all values in the axis")
    assert axis(page, 1)[0] == 0
    page.locator("#card1 [data-menu]").focus()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Ignore spikes").press("Enter")
    page.wait_for_function("linemon.model('chart1').y_range.end <= 20000")
    page.get_by_role("button", name="Logarithmic axis").press("Enter")
    page.wait_for_function("linemon.model('chart1').y_range.end == 4")
    assert axis(page, 1) == (0, 4)
    [line] = drawn(page, 1)["ys"]
    assert {round(value, 6) for value in line if value < 5} == {0, 1, 2, 3, 4}
    assert page.evaluate("linemon.ticks(0, 4, '', true)") == [0, 1, 2, 3, 4]
    page.keyboard.press("Escape")
    page.locator("#card0 [data-menu]").focus()
    page.keyboard.press("Enter")
    page.get_by_label("axis on the right from").fill("1000")
    page.get_by_label("axis on the right to").fill("800")
    page.keyboard.press("Enter")
    expect(page.locator("#menu .ends output")).to_contain_text("the lower first")
    page.get_by_label("axis on the right from").fill("800")
    page.get_by_label("axis on the right to").fill("1e3")
    page.keyboard.press("Enter")
    expect(page.locator("#menu")).to_be_hidden()
    assert said(page) == ["log,spikes:Flow", "..,800..1000:A:b, 100%"]
    other = show(page.url)
    other.wait_for_function("linemon.model('chart1').y_range.end == 4")
    expect(other.locator("#card0 .by-hand")).to_have_text("800 hPa to 1000 hPa ×")
    other.locator("#card0 .by-hand").click()
    assert said(other) == ["log,spikes:Flow"]


def test_two_units_have_an_axis_each(show: Show, served: Served) -> None:
    """Each line is where its own axis has its values, also where both are logarithmic."""
    page = show(f"{served.url}?source=lab1&y=10..20,800..1200:A:b, 100%25")
    assert axis(page) == (10, 20)
    expect(page.locator("#card0 figcaption")).to_contain_text("°C")
    temperature, pressure = drawn(page)["ys"][:2]
    assert set(temperature) == {15}
    assert (min(pressure), max(pressure)) == (pytest.approx(12.5), pytest.approx(12.5 + 99 / 40))
    page.goto(f"{served.url}?source=lab1&y=1..100,10..1000,log:A:b, 100%25")
    page.wait_for_function("linemon.received > 0 && linemon.model('chart0')?.y_range.end == 2")
    eventually(lambda: len(drawn(page)["ys"]) >= 2, "both lines")
    temperature, pressure = drawn(page)["ys"][:2]
    assert temperature[0] == pytest.approx(1.17609126)
    assert 1.95 < min(pressure) < max(pressure) < 2
