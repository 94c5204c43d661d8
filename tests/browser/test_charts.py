"""The page of a source: charts that draw themselves, and the numbers beside them."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import NASTY, Feed, Served
from tests.browser.looking import axis, drawn, line_pixels, middle, newest, until_newer
from tests.running import eventually

Show = Callable[..., Page]


def test_charts_are_drawn_and_move(show: Show, served: Served) -> None:
    page = show(served.url + "?source=web1")
    titles = page.locator("figcaption b").all_inner_texts()
    assert titles == ["CPU", "CPU busy", "Network", "Temperature"]
    assert page.locator("figure").first.locator(".line span").all_inner_texts() == ["busy", "user", "system"]
    for chart in range(4):
        eventually(lambda chart=chart: line_pixels(page, 0, chart) > 20, f"a line in chart {chart}")  # type: ignore[misc]
    start = newest(page)
    assert abs(start / 1000 - time.time()) < 10
    until_newer(page, start)
    expect(page.locator("figure").nth(2).locator("output").first).to_have_text(re.compile(r"^[\d.]+ MB/s$"))
    expect(page.locator("figure").nth(3).locator("output")).to_have_text("51.5 °C")
    expect(page.locator(".tile span").first).to_have_text("CPU busy")
    expect(page.locator(".tile output").first).to_have_text(re.compile(r"^[\d.]+ %$"))
    assert page.title() == "web1 · linemon"


def test_how_charts_are_drawn(show: Show, served: Served) -> None:
    """Modes are stacked, percent axes go from 0 to 100, what goes out is below zero but read as positive."""
    page = show(served.url + "?source=web1")
    user, both, busy = drawn(page)["ys"]
    system = np.array(both) - np.array(user)  # on top of user; where the feed stood still there is a gap
    np.testing.assert_allclose(system[~np.isnan(system)], 20)
    assert busy[-1] >= user[-1]
    assert axis(page) == (0, 100)
    sent, received = drawn(page, 2)["ys"]
    assert min(received) > 0
    assert set(sent) == {-5e5}
    expect(page.locator("#card2 output").nth(1)).to_have_text("500 kB/s")
    start, end = axis(page, 2)
    assert start < 0 < end


@pytest.mark.parametrize("name", NASTY)
def test_names_are_text_whatever_is_in_them(show: Show, served: Served, feed: Feed, name: str) -> None:
    feed.write(name, {"value": 7.25})
    page = show(served.url)
    page.get_by_role("link", name=name, exact=True).click()
    expect(page.locator("h1")).to_have_text(name)
    expect(page.locator("figcaption b")).to_have_text(name)
    expect(page.locator(".line output")).to_have_text("7.25")
    expect(page.locator("#toml")).to_contain_text("[[dashboard.panel]]")
    assert page.locator("img").count() == 0


def test_hover_shows_units_and_the_time_here(show: Show, served: Served) -> None:
    zone = "Asia/Kathmandu"  # 5:45 ahead of UTC
    page = show(served.url + "?source=web1", timezone_id=zone)
    expect(page.locator("#zone")).to_have_text("Asia/Katmandu (UTC+5:45)")
    page.mouse.move(*middle(page))
    tip = page.locator("#tip")
    expect(tip).to_be_visible()
    when, *rows = [line.strip() for line in tip.inner_text().splitlines() if line.strip()]
    at = datetime.fromisoformat(when).replace(tzinfo=ZoneInfo(zone))
    assert timedelta() <= datetime.now(ZoneInfo(zone)) - at < timedelta(minutes=5)
    assert re.fullmatch(r"busy\s+[\d.]+ %", rows[0])
    assert re.fullmatch(r"user\s+[\d.]+ %", rows[1])
    assert page.evaluate("linemon.clock(0, [-60000, 0])") == "05:30"  # as it was in 1970
    start = page.evaluate("Date.UTC(2026, 0, 1, 0, 7)")
    tick = page.evaluate("(t) => linemon.timeTicks(t, t + 5 * 3600e3)[0]", start)
    assert page.evaluate("(t) => linemon.clock(t, [0, 3600e3])", tick) == "06:00"
    page.mouse.move(5, 5)
    expect(tip).to_be_hidden()


def test_the_tooltip_goes_with_a_chart_that_moves(show: Show, served: Served) -> None:
    page = show(served.url + "?source=web1&window=1m")
    page.mouse.move(*middle(page))
    caption = page.locator("#tip caption")
    first, at = caption.inner_text(), page.evaluate("linemon.model('crosshair').location")
    expect(caption).not_to_have_text(first)
    page.wait_for_function("(at) => linemon.model('crosshair').location > at + 1000", arg=at)
    share = "(linemon.model('crosshair').location - linemon.time.range.start) / linemon.time.span / 1000"
    assert page.evaluate(share) == pytest.approx(0.5, abs=0.15)


def test_a_legend_isolates_and_hides(show: Show, served: Served) -> None:
    page = show(served.url + "?source=web1")
    lines = page.locator("#card0 .line")
    pressed = "(lines) => lines.map((line) => line.getAttribute('aria-pressed'))"
    eventually(lambda: line_pixels(page) > 20, "the line")
    lines.nth(1).click()
    assert lines.evaluate_all(pressed) == ["false", "true", "false"]
    eventually(lambda: line_pixels(page) == 0, "the others gone")
    page.reload()
    expect(lines.nth(0)).to_have_attribute("aria-pressed", "false")
    lines.nth(1).click()
    assert lines.evaluate_all(pressed) == ["true", "true", "true"]
    lines.nth(0).click(modifiers=["Control"])
    assert lines.evaluate_all(pressed) == ["false", "true", "true"]
    lines.nth(0).press("Enter")
    assert lines.evaluate_all(pressed) == ["true", "false", "false"]


def test_the_table_of_what_is_in_sight(show: Show, served: Served) -> None:
    page = show(served.url + "?source=web1")
    page.click("#values summary")
    rows = page.locator("#statistics tbody tr")
    expect(rows).to_have_count(8)
    row = rows.filter(has_text="temp.core_celsius").locator("td")
    expect(row).to_have_text(["51.5 °C"] * 4)
    least, mean, most = (
        float(rows.filter(has_text="user").locator("td").nth(i).inner_text().split()[0]) for i in (1, 2, 3)
    )
    assert least < mean < most
    page.get_by_role("button", name="max").click()
    expect(rows.first.locator("th")).to_have_text("net.rx_bytes_per_s")
    expect(page.locator("#statistics th[aria-sort=descending]")).to_have_text(re.compile("max"))
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.click("#copy-table")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.splitlines()[0] == "column\tlast\tmin\tmean\tmax\tunit"
    assert "temp.core_celsius\t51.5\t51.5\t51.5\t51.5\t°C" in copied


def test_a_mean_counts_the_values_that_are_there(show: Show, served: Served, feed: Feed) -> None:
    """Where rows are buckets, and a column has a value in some rows only."""
    values = [(100.0 if i % 10 == 0 else np.nan) if i < 1500 else 0.0 for i in range(3000)]
    feed.past("seldom", {3000 - i: {"a": 1.0, "b": value} for i, value in enumerate(values)})
    page = show(served.url + "?source=seldom&window=all", viewport={"width": 400, "height": 800})
    assert page.evaluate("linemon.charts.sources[0].isThinned")
    page.click("#values summary")
    row = page.locator("#statistics tbody tr").filter(has=page.get_by_role("rowheader", name="b"))
    mean = float(row.locator("td").nth(2).inner_text())
    assert mean == pytest.approx(np.nanmean(values), rel=1e-3)


def test_many_rows_and_late_ones(show: Show, served: Served, feed: Feed) -> None:
    """A thousand rows a second, some out of order: few points, in order, with the extremes in a band."""
    began = time.time_ns()
    values = (99.0 if i == 1500 else float(i % 10) for i in range(3000))
    # Each seventh comes half a second late.
    feed.past("burst", {(0.5 + i * 1e-6 if i % 7 == 0 else 3 - i / 1000): {"value": v} for i, v in enumerate(values)})
    page = show(served.url + "?source=burst&window=1m")
    (t,) = drawn(page)["xs"]
    assert len(t) < 200
    assert t == sorted(t)
    assert max(max(ys) for ys in drawn(page, what="areas")["ys"]) == 99
    feed.write("burst", {"value": -5.0}, at=began - 20 * 10**9)
    page.wait_for_function("linemon.charts.sources[0].mean(0).includes(-5)")
    (t,), (values,) = drawn(page)["xs"], drawn(page)["ys"]
    assert t == sorted(t)
    assert values[0] == -5
    assert np.isnan(values[1])  # seventeen seconds without a row are a gap


def test_a_missing_value_is_no_gap_but_missing_rows_are(show: Show, served: Served, feed: Feed) -> None:
    """Two senders of fields in turn, and then a pause."""
    began = time.time()
    rows = {ago: {"a": ago if ago % 2 else np.nan, "b": np.nan if ago % 2 else ago} for ago in range(60, 0, -1)}
    feed.past("taken,in=turn", {ago: row for ago, row in rows.items() if not 20 < ago < 40})
    page = show(served.url + "?source=taken%2Cin%3Dturn")
    lines = drawn(page)
    for t, values in zip(lines["xs"], lines["ys"], strict=True):
        (hole,) = np.flatnonzero(np.isnan(values))
        assert abs(t[hole] / 1000 - (began - 40)) < 5
    expect(page.locator("figure output")).to_have_text(["1", "2"])


def test_a_chart_without_data_says_so(show: Show, served: Served, feed: Feed) -> None:
    feed.write("half", {"a": 1.0, "b": np.nan})
    page = show(served.url + "?source=half")
    expect(page.locator("figcaption .warning")).to_have_text(["", "no data in sight"])


def test_a_row_between_gaps_is_a_dot(show: Show, served: Served) -> None:
    page = show(served.url + "?source=room1.humidity")
    eventually(lambda: line_pixels(page) > 5, "a single point is a dot")


def test_panels_of_linemon_toml(show: Show, own_feed: Feed) -> None:
    with own_feed.config.open("a") as file:
        file.write('[[dashboard.panel]]\ntitle = "Mine"\ncolumns = ["temp.*"]\nlimits = [0, 90]\n')
    own_feed.move(5)
    served = Served(own_feed.config)
    try:
        page = show(served.url + "?source=web1")
        expect(page.locator("figcaption b")).to_have_text(["Mine"])
        assert axis(page) == (0, 90)
        expect(page.locator(".numbers dt")).to_have_count(7)
        expect(page.locator(".numbers dd").last).to_have_text(re.compile(r"\S+ kB/s"))
        page.close()
    finally:
        served.stop()


def test_panels_that_name_no_column_are_told_and_the_source_is_shown(show: Show, own_feed: Feed) -> None:
    with own_feed.config.open("a") as file:
        file.write('[[dashboard.panel]]\nsource = "room*"\ntitle = "Mine"\ncolumns = ["valu"]\n')
    own_feed.write("room1.temperature", {"value": 20.3}, units=("°C",))
    served = Served(own_feed.config)
    try:
        page = show(served.url + "?source=room1.temperature")
        expect(page.locator("main .trouble:not([hidden])")).to_have_text(
            "The panels of linemon.toml for this source name none of its columns: value"
        )
        expect(page.locator("figcaption b")).to_have_text("room1.temperature")
        expect(page.locator(".line output")).to_have_text("20.3 °C")
        page.close()
    finally:
        served.stop()


def test_numbers_read_well(show: Show, served: Served) -> None:
    page = show(served.url)
    cases: list[tuple[float | None, str, str]] = [
        (20.3, "", "20.3"),
        (2400.0, "", "2400"),
        (1013.25, "hPa", "1013.3 hPa"),
        (12345678.0, "", "12.35M"),
        (0.000123456, "", "0.0001235"),
        (0.0, "", "0"),
        (-3.5, "°C", "-3.5 °C"),
        (7.891, "%", "7.9 %"),
        (42.123, "%", "42.1 %"),
        (1000.0, "B", "0.977 KiB"),
        (16 * 2.0**30, "B", "16 GiB"),
        (1.5e6, "B/s", "1.5 MB/s"),
        (2.4e9, "Hz", "2.4 GHz"),
        (12345.0, "/s", "12.3 k/s"),
        (90.0, "s", "1 min 30 s"),
        (90061.0, "s", "1 d 1 h"),
        (-90.0, "s", "-1 min 30 s"),
        (0.00123, "s", "1.23 ms"),
        (10000.0, "ms", "10 s"),
        (2.252e-12, "A", "2.252 pA"),
        (-0.005, "V", "-5 mV"),
        (999.96, "V", "1 kV"),
        (-0.0000765, "kg", "-76.5 mg"),
        (2000.0, "kg", "2000 kg"),
        (12345678.0, "Wh", "12.35 MWh"),
        (1.2e6, "kB", "1.2 GB"),
        (5.2, "pH", "5.2 pH"),
        (0.005, "/s", "0.005 /s"),
        (1e300, "", "1e+300"),
        (1e300, "A", "1e+300 A"),
        (None, "", "–"),
    ]
    for value, unit, text in cases:
        assert page.evaluate("([value, unit]) => linemon.format(value, unit)", [value, unit]) == text
    assert page.evaluate("linemon.ticks(0, 100, '%')") == [0, 50, 100]
    assert page.evaluate("linemon.ticks(0, 4 * 2 ** 30, 'B').map((t) => linemon.format(t, 'B'))") == [
        "0 B",
        "1 GiB",
        "2 GiB",
        "3 GiB",
        "4 GiB",
    ]
    assert page.evaluate("linemon.ticks(0, 3000, 's').map((t) => linemon.format(t, 's', 4, 900))") == [
        "0 s",
        "15 min",
        "30 min",
        "45 min",
    ]


def test_neighbouring_ticks_never_read_the_same(show: Show, served: Served) -> None:
    page = show(served.url)
    code = """([start, end, unit]) => {
      const ticks = linemon.ticks(start, end, unit)
      return ticks.map((tick) => linemon.format(tick, unit, 4, ticks[1] - ticks[0]))
    }"""
    for case in (
        (12345678, 12345698, "Wh"),
        (1013.2501, 1013.2509, "hPa"),
        (1.7e9, 1.7e9 + 20, ""),
        (16 * 2**30, 16 * 2**30 + 20480, "B"),
        (48.1371230, 48.1371250, "°"),
        (5e7, 5e7 + 4e-6, "Hz"),
        (20, 20 + 4e-6, "°C"),
        (1e7 - 0.01, 1e7 + 0.01, "Hz"),
        (20 * 86400, 20 * 86400 + 60, "s"),
        (-1e-9, 1e-9, "A"),
        (-4.0, 4.0, "%"),
    ):
        labels = page.evaluate(code, case)
        assert len(labels) > 2
        assert len(set(labels)) == len(labels), labels


def test_a_large_value_that_changes_little_can_be_read(show: Show, served: Served, feed: Feed) -> None:
    """On the axis, in the legend, under the pointer and in the table."""
    feed.past("meter", {ago: {"total": 12345708.0 - ago} for ago in range(30, -1, -1)}, units=("Wh",))
    page = show(served.url + "?source=meter&window=1m")
    expect(page.locator(".line output")).to_have_text("12.345708 MWh")
    page.mouse.move(*middle(page))
    expect(page.locator("#tip")).to_contain_text(re.compile(r"12\.3456\d+ MWh"))
    page.click("#values summary")
    expect(page.locator("#statistics td").first).to_have_text("12.345708 MWh")


def test_times_on_the_axis_are_round_in_the_calendar_and_say_the_day(show: Show, served: Served) -> None:
    page = show(served.url, timezone_id="Europe/Berlin")  # where clocks change on 2024-03-31 and on 2024-10-27
    code = """(ends) => {
      const ticks = linemon.timeTicks(...ends.map((end) => +new Date(end)))
      return ticks.map((tick) => linemon.clock(tick, ticks))
    }"""
    for start, end, labels in (
        ("2024-10-25T00:00", "2024-10-31T00:00", ["2024-10-25", "2024-10-27", "2024-10-29", "2024-10-31"]),
        ("2024-10-26T14:00", "2024-10-27T14:00", ["10-26 18:00", "10-27", "06:00", "12:00"]),
        ("2024-03-30T14:00", "2024-03-31T14:00", ["03-30 18:00", "03-31", "06:00", "12:00"]),
        ("2024-03-28T14:00", "2024-04-04T14:00", ["2024-03-29", "2024-03-31", "2024-04-02", "2024-04-04"]),
        ("2024-10-27T00:30", "2024-10-27T04:30", ["10-27 01:00", "02:00", "02:00", "03:00", "04:00"]),
        ("2024-09-15T00:00", "2025-01-20T00:00", ["2024-10", "2024-11", "2024-12", "2025-01"]),
        ("2014-06-01T00:00", "2024-03-31T00:00", ["2016", "2018", "2020", "2022", "2024"]),
        ("2024-03-30T23:55", "2024-03-31T00:10", ["03-30 23:55", "03-31", "00:05", "00:10"]),
    ):
        assert page.evaluate(code, [start, end]) == labels


def test_what_goes_out_is_below_zero_whichever_sign_it_has(show: Show, served: Served, feed: Feed) -> None:
    rows = {ago: {"net.in_bytes_per_s": 5.0 + ago, "net.out_bytes_per_s": -3.0 - ago} for ago in range(30, -1, -1)}
    feed.past("pump", rows)
    page = show(served.url + "?source=pump&window=1m")
    expect(page.locator("figcaption .muted").nth(1)).to_have_text("out is below zero")
    sent, received = sorted(drawn(page)["ys"])
    assert max(sent) == -3
    assert min(received) == 5
