"""Ways to read a chart: steps, per second, means over a span, many lines, cursors, distributions."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from playwright.sync_api import Page, expect

from tests.browser.conftest import Feed, Served
from tests.browser.looking import axis, drawn, middle
from tests.browser.test_looks import faults

Show = Callable[..., Page]
POINTS = """({bucket, longer, times, low, mean, high, count}) => {
  const points = new linemon.Points(1), block = {low: [low], mean: [mean], high: [high], count: [count]}
  points.clear(bucket)
  points.add({bucket, longer, times, isThinned: bucket > 0, isBeyond: [false], ...block})
  return [...linemon.reading.rates(points, 0).values].map((value) => value == value ? value : null)
}"""


def filled(page: Page) -> None:
    page.wait_for_function("linemon.charts.sources[0]?.length > 0")


def rates(page: Page, **points: Any) -> list[float | None]:
    mean = points["mean"]
    given = {"bucket": 0, "longer": [], "low": mean, "high": mean, "count": [1] * len(mean)} | points
    found: list[float | None] = page.evaluate(POINTS, given)
    return found


def test_doors_are_drawn_in_steps_and_what_moves_is_not(show: Show, served: Served, feed: Feed) -> None:
    """Whole numbers that stand still for long, too; a missing value and a gap are no step."""
    rows = {
        float(ago): {
            "door": float(ago // 20 % 2),
            "count": 40.0 + ago // 15,
            "level": ago / 7,
            "busy": float(ago * 7 % 5),
        }
        for ago in range(60, 0, -1)
        if not 30 < ago < 45
    }
    rows[10.0]["door"] = np.nan
    feed.past("gate", rows)
    page = show(f"{served.url}?plot=gate:door,gate:count,gate:level,gate:busy&window=1m", wait=None)
    filled(page)
    door, count, level, busy = drawn(page)["ys"]
    xs = drawn(page)["xs"]
    for steps, times in (door, xs[0]), (count, xs[1]):
        moves = np.array([times, steps]).T
        assert all(a[0] == b[0] or a[1] == b[1] or np.isnan(a[1] + b[1]) for a, b in pairwise(moves))
        assert np.isnan(steps).sum() == 1, "the gap"
    assert len(level) == len(busy) == len(rows) + 1
    page.goto(f"{served.url}?source=gate")
    filled(page)
    row = page.evaluate("linemon.reading.standsStill([0, 1, 0, 1], [0, 1, 0, 1])")
    assert row is True, "a switch, however often it is turned"


def test_a_rate_is_never_negative_and_a_mean_counts_what_is_there(show: Show, served: Served) -> None:
    """Of rows, buckets and longer buckets; a temperature may fall; the newest bucket is not whole."""
    page = show(served.url)
    at = [1000.0 * i for i in range(30)]
    counter = [50.0 * i if i < 20 else 50.0 * (i - 20) for i in range(30)]
    assert rates(page, times=at, mean=counter) == [None, *[50.0] * 19, None, *[50.0] * 9]
    falling = [100.0 - 2 * i for i in range(30)]
    assert rates(page, times=at, mean=falling) == [None, *[-2.0] * 29]
    # buckets of 10 s that grow by 5 a second, the first three of a minute
    starts = [0.0, 60e3, 120e3, 180e3, 190e3, 200e3, 210e3]
    size = [60, 60, 60, 10, 10, 10, 10]
    low = [5 * start / 1e3 for start in starts]
    high = [least + 5 * (s - 1) for least, s in zip(low, size, strict=True)]
    mean = [least + 2.5 * s for least, s in zip(low, size, strict=True)]
    found = rates(page, bucket=10e3, longer=[[180e3, 60e3]], times=starts, low=low, mean=mean, high=high, count=size)
    assert found[1:-1] == pytest.approx([5.0] * 5)
    assert found[-1] is None
    restart = rates(
        page,
        bucket=10e3,
        times=[*at[::10], 30e3, 40e3],
        mean=[5.0, 15, 8, 15, 25],
        low=[0.0, 10, 0, 10, 20],
        high=[9.0, 19, 22, 19, 29],
    )
    assert all(value is None or value >= 0 for value in restart)

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.floats(0, 1e9), min_size=25, max_size=60), st.integers(1, 24))
    def never_negative(steps: list[float], restart: int) -> None:
        values = np.cumsum(steps)
        values[restart:] -= values[restart] * 0.999
        found = rates(page, times=[1000.0 * i for i in range(len(steps))], mean=values.tolist())
        assert all(value is None or value >= 0 for value in found)

    never_negative()
    # rows that come evenly, two or three in a bucket: their rate has no ripple
    buckets = [[float(row) for row in range(1000) if row // 2.4 == slot] for slot in range(100)]
    low, high = [min(each) for each in buckets], [max(each) for each in buckets]
    mean, size = [float(np.mean(each)) for each in buckets], [len(each) for each in buckets]
    starts = [2400.0 * slot for slot in range(100)]
    even = rates(page, bucket=2400.0, times=starts, low=low, mean=mean, high=high, count=size)
    assert even[1:-1] == pytest.approx([1.0] * 98, rel=0.02)
    means(page)


def means(page: Page) -> None:
    """Over a span: each value counts for what it stands for."""
    code = """([times, values, weights, span]) => {
      const found = linemon.reading.means(times, values.map((value) => value ?? NaN), weights, span)
      return [...found].map((value) => value == value ? value : null)
    }"""
    assert page.evaluate(code, [[0, 1, 2, 3], [1, 3, None, 5], [1, 1, 1, 1], 2]) == [1, 2, None, 5]
    assert page.evaluate(code, [[0, 1], [1, 4], [1, 2], 10]) == [1, 3]
    rows = np.random.default_rng(1).normal(1e6, 1, 300)
    found = page.evaluate(code, [list(range(300)), rows.tolist(), [1] * 300, 60])
    np.testing.assert_allclose(found[59:], np.convolve(rows, np.ones(60) / 60, "valid"), rtol=1e-12)


def test_per_second_and_a_mean_by_the_menu_of_a_chart(show: Show, served: Served, feed: Feed) -> None:
    """The axis, its unit, legend and table follow; the address says it; the rows before the window count, too."""
    feed.past("router", {float(ago): {"net.rx_bytes": 1e6 - 500.0 * ago, "up": 1.0} for ago in range(700, 0, -1)})
    page = show(f"{served.url}?source=router&window=5m", wait=None)
    filled(page)
    page.locator("#card0 .dots").click()
    page.get_by_role("button", name="Per second").click()
    page.get_by_label("Mean over").select_option("5m")
    assert {key: parse_qs(urlsplit(page.url).query)[key] for key in ("rate", "mean")} == {
        "rate": ["Network"],
        "mean": ["5m:Network"],
    }
    page.reload()
    filled(page)
    expect(page.locator("#card0 .reading")).to_have_text("per second, mean over 5 min")
    expect(page.locator("#card0 .unit")).to_have_text("B/s")
    expect(page.locator("#card0 .line output")).to_have_text("500 B/s")
    page.wait_for_function("linemon.charts.sources[0].length > 500")
    assert {round(value, 6) for value in drawn(page)["ys"][0][1:]} == {500}
    assert axis(page)[1] < 1000
    page.locator('[data-window="1m"]').click()
    expect(page.locator("#card0 .reading")).to_have_text("per second, mean over 1 min, as no more is in sight")
    page.click("#values summary")
    expect(page.locator("#statistics tr", has_text="net.rx_bytes").locator("td")).to_have_text(["500 B/s"] * 4)
    page.mouse.move(*middle(page))
    expect(page.locator("#tip")).to_contain_text(re.compile("rx500 B/s"))
    assert page.evaluate("linemon.model('chart0').left[0].formatter.args.unit") == "B/s"


def test_eighteen_lines_are_told_apart(show: Show, served: Served, feed: Feed) -> None:
    """By colour and dash, by the pointer, by a legend in order; the legend's entries do it for the keyboard."""
    for i in range(18):
        feed.past(f"db{i:02}", {float(ago): {"busy": 10.0 * ((i * 7) % 18)} for ago in range(60, 0, -1)})
    page = show(f"{served.url}?plot={','.join(f'db{i:02}:busy' for i in range(18))}&window=1m", wait=None)
    filled(page)
    names = page.locator("#card0 .line span")
    expect(names.first).to_have_text("db05")  # 170
    values = [float(each) for each in page.locator("#card0 .line output").all_inner_texts()]
    assert values == sorted(values, reverse=True)
    styles = page.evaluate(
        "linemon.model('lines of chart0').data.color.map((c, i) => c + linemon.model('lines of chart0').data.dash[i])"
    )
    assert len(set(styles)) == 18
    swatches = "all => all.map((line) => line.style.cssText + getComputedStyle(line.querySelector('i')).background)"
    assert len(set(page.locator("#card0 .line").evaluate_all(swatches))) == 18

    box = page.locator("#plot0").bounding_box()
    assert box
    x, y = page.evaluate(
        """() => {
          const {x_scale, y_scale} = linemon.drawing("chart0").frame, {xs, ys} = linemon.charts.states[0].shapes[5]
          return [x_scale.compute(xs[30]), y_scale.compute(ys[30])]
        }"""
    )
    page.mouse.move(box["x"] + x, box["y"] + y)
    lit = page.locator("#card0 .lit")
    expect(lit.locator("span")).to_have_text("db05")
    expect(page.locator("#tip tr")).to_have_count(12)
    expect(page.locator("#tip .lit")).to_contain_text("db05")
    expect(page.locator("#tip")).to_contain_text("and 6 more")
    widths = "linemon.model('lines of chart0').data.width"
    assert sorted(page.evaluate(widths))[-2:] == [1.5, 3]
    assert sum(len(color) == 9 for color in drawn(page)["color"]) == 17, "the others are pale"
    page.mouse.move(5, 5)
    expect(lit).to_have_count(0)
    assert set(page.evaluate(widths)) == {1.5}
    page.locator("#card0 .line").nth(2).focus()
    expect(lit).to_have_count(1)


def test_two_cursors_say_what_lies_between_them(show: Show, served: Served, feed: Feed) -> None:
    """By `d` and the pointer, by sliders, over a reload; a step of 2 a second."""
    feed.past("ramp", {float(ago): {"a": 1000.0 - 2 * ago, "b": 5.0} for ago in range(60, 0, -1)}, units=("V", "V"))
    page = show(f"{served.url}?plot=ramp:a,ramp:b&window=1m", wait=None)
    filled(page)
    x, y = middle(page)
    page.mouse.move(x - 300, y)
    page.keyboard.press("d")
    page.mouse.move(x, y, steps=2)
    panel, first = page.locator("#cursors"), page.locator("#cursors tbody tr").first
    expect(first.locator("td").nth(2)).to_have_text(re.compile(r"^\+\d+ V$"))
    page.keyboard.press("d")
    moved = first.inner_text()
    page.mouse.move(x - 100, y, steps=2)
    assert first.inner_text() == moved, "both are set"
    expect(first.locator("td").nth(3)).to_have_text("+2 V/s")
    expect(page.locator("#cursors tbody tr").nth(1).locator("td")).to_have_text(["5 V", "5 V", "0 V", "0 V/s"])
    (a, _), (b, _) = drawn(page)["xs"][-2:]
    assert parse_qs(urlsplit(page.url).query)["cursors"] == [
        f"{round(a)},{round(b)}:{page.evaluate('linemon.menu.keyOf(0)')}"
    ]
    expect(page.locator("#cursors-between")).to_have_text(re.compile(r"^Δt [\d.]+ s$"))
    page.goto(page.url.replace(str(round(b)), str(round(a) + 2000)))
    expect(page.locator("#cursors-between")).to_have_text("Δt 2 s, 0.5 Hz")
    page.go_back()
    filled(page)
    expect(first).to_have_text(re.compile(r"a.*\+2 V/s"))
    page.get_by_label("Cursor B").focus()
    page.keyboard.press("ArrowLeft")
    expect(first).not_to_have_text(moved)
    page.keyboard.press("Escape")
    expect(panel).to_be_hidden()
    assert "cursors" not in page.url
    page.mouse.move(5, 5)
    page.keyboard.press("d")
    expect(page.get_by_label("Cursor A")).to_be_focused()
    assert faults(page) == []


def test_a_histogram_and_xy_of_what_is_in_sight(show: Show, served: Served, feed: Feed) -> None:
    """Of rows exactly; of buckets with every row counted, and both ends; from a chart's menu, by address, live."""
    rows = {ago: {"x": float(ago % 10), "y": 3.0 * (ago % 10) + 1, "z": 1.0} for ago in range(3000, 0, -1)}
    feed.past("dice", rows, units=("V", "A", "V"))
    page = show(f"{served.url}?plot=dice:x,dice:z&window=1m", wait=None)
    filled(page)
    page.locator("#card0 .dots").click()
    page.get_by_role("button", name="One over the other (XY)").click()
    filled(page)
    page.locator("#shape-choice select").nth(1).select_option(label="y")
    said, facts = page.locator("#shape-said"), page.locator("#shape-facts tbody tr")
    expect(said).to_have_text(re.compile(r"^6\d points: rows in sight.*r = 1\.000$"))
    dots = page.evaluate("(() => { const {xs, ys} = linemon.model('dots of shape').data; return [xs, ys] })()")
    assert dots[1] == [3 * value + 1 for value in dots[0]]
    expect(facts.first).to_have_text(re.compile(r"x: x\s*0 V\s*9 V"))
    assert parse_qs(urlsplit(page.url).query)["xy"] == ["dice:x,dice:y"]

    page.locator("#card1 .dots").click()
    page.get_by_role("button", name="Per second").click()
    expect(said).to_contain_text("per second, of rows in sight")
    page.keyboard.press("Escape")
    page.goto(f"{served.url}?histogram=dice:x,dice:y&window=all")
    page.set_viewport_size({"width": 400, "height": 800})
    page.reload()
    filled(page)
    assert page.evaluate("linemon.charts.sources[0].isThinned")
    expect(said).to_contain_text("of buckets of")
    expect(said).to_contain_text("1 of another unit left out")
    expect(facts).to_have_count(1)
    expect(facts.locator("td").nth(0)).to_have_text("3000")
    expect(facts.locator("td").nth(1)).to_have_text("0 V")
    expect(facts.locator("td").nth(6)).to_have_text("9 V")
    assert facts.locator("td").nth(5).inner_text() == "4.5 V", "the mean"
    assert faults(page) == []
    feed.write("dice", {"x": 50.0, "y": 1.0, "z": 1.0})
    expect(facts.locator("td").nth(6)).to_have_text("50 V")
