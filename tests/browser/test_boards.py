"""The menu of a chart, and what it is for: one chart alone, boards, walls."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import Page, expect

from tests.browser.conftest import Served
from tests.browser.looking import middle

Show = Callable[..., Page]


def test_the_menu_of_a_chart_by_mouse_and_keyboard(show: Show, served: Served) -> None:
    """Escape and a click elsewhere close it; the focus goes back; each chart is called by its title."""
    page = show(f"{served.url}?source=web1")
    menu, opener = page.locator("#menu"), page.locator("#card1 .dots")
    opener.click()
    expect(menu).to_be_visible()
    page.mouse.click(5, 300)
    expect(menu).to_be_hidden()
    opener.focus()
    page.keyboard.press("Enter")
    expect(menu.get_by_role("button", name="Enlarge")).to_be_focused()
    page.keyboard.press("Escape")
    expect(menu).to_be_hidden()
    expect(opener).to_be_focused()
    keys = page.evaluate("linemon.about.panels.map((_, number) => linemon.menu.keyOf(number))")
    assert len(set(keys)) == len(keys)
    assert [page.evaluate("(key) => linemon.menu.chartOf(key)", key) for key in keys] == list(range(len(keys)))


def test_one_chart_over_the_whole_window(show: Show, served: Served) -> None:
    """By the menu, by `f`, by its address; Escape and Back lead back; it is drawn as finely as it is wide."""
    page = show(f"{served.url}?source=web1&window=1m")
    figures = page.locator("figure.card:visible")
    many = figures.count()
    page.mouse.move(*middle(page, 1))
    page.keyboard.press("f")
    expect(figures).to_have_count(1)
    expect(page.locator("#card1")).to_be_visible()
    title = page.locator("#card1 b").inner_text()
    assert parse_qs(urlsplit(page.url).query)["chart"] == [title]
    box = page.locator("#plot1").bounding_box()
    assert box
    assert (box["height"] > 550, box["width"] > 1200) == (True, True)
    page.wait_for_function("linemon.model('wishes').pixels > 1100")
    page.keyboard.press("Escape")
    expect(figures).to_have_count(many)
    page.locator("#card0 .dots").click()
    page.get_by_role("button", name="Enlarge").click()
    expect(figures).to_have_count(1)
    page.reload()
    expect(page.locator("#card0")).to_be_visible()
    expect(figures).to_have_count(1)
    page.go_back()
    expect(figures).to_have_count(many)
