"""Fingers on a chart, as on a phone: real touches, through the browser's own gestures."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Served
from tests.browser.looking import axis, middle, view

Show = Callable[..., Page]
Point = tuple[float, float]


@pytest.fixture
def phone(show: Show, served: Served) -> Page:
    page = show(served.url + "?source=web1", viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page.wait_for_function("linemon.received > 0 && document.querySelector('#figure-chart0').shadowRoot !== undefined")
    page.locator("#plot1").scroll_into_view_if_needed()
    page.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
    return page


def touch(page: Page, *fingers: list[Point]) -> None:
    """Each finger goes from point to point, all at the same time, and is lifted at its last one."""
    cdp = page.context.new_cdp_session(page)

    def send(kind: str, points: list[Point]) -> None:
        at = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(points)]
        cdp.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": at})

    steps = [list(step) for step in zip(*fingers, strict=True)]
    send("touchStart", steps[0])
    for before, after in pairwise(steps):
        for part in range(1, 9):
            between = [
                (x + (to_x - x) * part / 8, y + (to_y - y) * part / 8)
                for (x, y), (to_x, to_y) in zip(before, after, strict=True)
            ]
            send("touchMove", between)
    send("touchEnd", [])
    page.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")


def test_a_tap_reads_and_a_tap_beside_puts_it_away(phone: Page) -> None:
    x, y = middle(phone, 1)
    touch(phone, [(x, y)])
    expect(phone.locator("#tip")).to_be_visible()
    box = phone.locator("#tip").bounding_box()
    assert box
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390
    start, end = view(phone)
    at = phone.evaluate("linemon.model('crosshair').location")
    assert start < at < end
    received = phone.evaluate("linemon.received")
    phone.wait_for_function("(n) => linemon.received > n + 1", arg=received)  # it stays while rows come
    expect(phone.locator("#tip")).to_be_visible()
    said = phone.locator("#tip tr:not(.lit) td:last-child").first.inner_text()
    assert said == phone.locator("#card1 .line output").first.inner_text()  # the legend says the same
    touch(phone, [(200, 20)])
    expect(phone.locator("#tip")).to_be_hidden()


def test_a_finger_across_a_chart_zooms_to_what_it_passed(phone: Page) -> None:
    before, (x, y) = view(phone), middle(phone, 1)
    touch(phone, [(x - 60, y), (x + 60, y)])
    start, end = view(phone)
    assert before[0] < start < end < before[1]
    assert 0.2 < (end - start) / (before[1] - before[0]) < 0.6
    expect(phone.locator("#status")).to_have_attribute("data-state", "paused")
    expect(phone.locator(".band")).to_have_count(0)


def test_two_fingers_zoom_and_move(phone: Page) -> None:
    before, (x, y) = view(phone), middle(phone, 1)
    touch(phone, [(x - 30, y), (x - 90, y)], [(x + 30, y), (x + 90, y)])
    zoomed = view(phone)
    assert (zoomed[1] - zoomed[0]) / (before[1] - before[0]) == pytest.approx(1 / 3, rel=0.05)
    touch(phone, [(x - 40, y), (x, y)], [(x + 40, y), (x + 80, y)])
    moved = view(phone)
    assert moved[1] - moved[0] == pytest.approx(zoomed[1] - zoomed[0], rel=0.02)
    assert moved[0] < zoomed[0] - 0.05 * (zoomed[1] - zoomed[0])  # what lies under the fingers goes with them


def test_two_fingers_on_a_value_axis_zoom_and_move_it(phone: Page) -> None:
    """What they hold stays under them, and it is in the address; the time stays as it was."""
    before, low, high = view(phone), *axis(phone, 1)
    left, top, tall = phone.evaluate(
        """(() => {
          const {frame, el} = linemon.drawing("chart1"), {left, top, bottom} = frame.bbox
          const box = el.getBoundingClientRect()
          return [box.left + left / 2, box.top + top, bottom - top]
        })()"""
    )
    at = [top + share * tall for share in (0.3, 0.4, 0.6, 0.9)]
    touch(phone, [(left, at[1]), (left, at[0])], [(left, at[2]), (left, at[3])])
    start, end = axis(phone, 1)
    assert (end - start) / (high - low) == pytest.approx(1 / 3, rel=0.05)
    assert end - 0.3 * (end - start) == pytest.approx(high - 0.4 * (high - low), rel=0.02)
    assert parse_qs(urlsplit(phone.url).query)["y"][0].startswith(f"{start:g}..{end:g}:")
    touch(phone, [(left, at[1]), (left, at[1] + 20)], [(left, at[1] + 8), (left, at[1] + 28)])
    moved = axis(phone, 1)
    assert moved[1] - moved[0] == pytest.approx(end - start, rel=0.02)
    assert moved[0] - start == pytest.approx(20 / tall * (end - start), rel=0.1)
    assert phone.locator("#status").get_attribute("data-state") == "live"
    assert view(phone)[0] >= before[0]


def test_a_finger_up_or_down_scrolls_the_page(phone: Page) -> None:
    before, (x, y) = phone.evaluate("scrollY"), middle(phone, 1)
    touch(phone, [(x, y), (x + 3, y - 200)])
    phone.wait_for_function("(y) => scrollY > y + 100", arg=before)
    assert phone.locator("#status").get_attribute("data-state") == "live"
