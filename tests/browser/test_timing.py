"""Times as people type them, and runs laid over each other."""

from __future__ import annotations

import csv
import re
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import APP, Feed, Served
from tests.browser.looking import drawn, view
from tests.browser.test_compare import saved
from tests.browser.test_marks import set_mark
from tests.browser.test_time import query
from tests.running import eventually

Show = Callable[..., Page]
BERLIN = ZoneInfo("Europe/Berlin")
NOW = "2026-11-26 10:30:00"  # a Thursday
# What is typed, and from and to as the browser's clock has them; a date alone stands for its midnight.
TYPED = {
    "yesterday 14:00 to 16:00": ("2026-11-25 14:00", "2026-11-25 16:00"),
    "Yesterday  at 2pm – 4:30 pm": ("2026-11-25 14:00", "2026-11-25 16:30"),
    "yesterday 22:00 to 06:00": ("2026-11-25 22:00", "2026-11-26 06:00"),
    "14:00": ("2026-11-25 14:00", "2026-11-25 14:05"),  # the latest, and as long as what is in sight
    "9:00": ("2026-11-26 09:00", "2026-11-26 09:05"),
    "9:00-10:15": ("2026-11-26 09:00", "2026-11-26 10:15"),
    "22:00 until now": ("2026-11-25 22:00", NOW),
    "2 h ago": ("2026-11-26 08:30", NOW),
    "an hour ago": ("2026-11-26 09:30", NOW),
    "last hour": ("2026-11-26 09:30", NOW),
    "last 2 hours": ("2026-11-26 08:30", NOW),
    "-90m": ("2026-11-26 09:00", NOW),
    "1h30m": ("2026-11-26 09:00", NOW),
    "0.5h": ("2026-11-26 10:00", NOW),
    "-2h to -1h": ("2026-11-26 08:30", "2026-11-26 09:30"),
    "2 days ago to yesterday": ("2026-11-24 10:30", "2026-11-26"),
    "1w": ("2026-11-19 10:30", NOW),
    "today": ("2026-11-26", NOW),
    "yesterday": ("2026-11-25", "2026-11-26"),
    "last monday": ("2026-11-23", "2026-11-24"),
    "thursday": ("2026-11-19", "2026-11-20"),
    "monday to wednesday": ("2026-11-23", "2026-11-26"),
    "fri to mon": ("2026-11-20", "2026-11-24"),
    "sun to thu": ("2026-11-22", "2026-11-27"),
    "tue 8:15": ("2026-11-24 08:15", "2026-11-24 08:20"),
    "2026-11-20": ("2026-11-20", "2026-11-21"),
    "2026-11-20 to 2026-11-21": ("2026-11-20", "2026-11-22"),
    "2026-11-20 - 2026-11-21": ("2026-11-20", "2026-11-22"),
    "11-20 14:00": ("2026-11-20 14:00", "2026-11-20 14:05"),  # as axes say it
    "12-24": ("2025-12-24", "2025-12-25"),
    "2026-11-20T14:00": ("2026-11-20 14:00", "2026-11-20 14:05"),
    "2026-11-20t14:00:01.5 to 14:00:02": ("2026-11-20 14:00:01.5", "2026-11-20 14:00:02"),
    "2026-11-20 14:00Z": ("2026-11-20 15:00", "2026-11-20 15:05"),
    "2026-11-20T14:00-05:00": ("2026-11-20 20:00", "2026-11-20 20:05"),
    "2026-11-20T14:00 05:30": ("2026-11-20 09:30", "2026-11-20 09:35"),  # of an address, where a plus is a blank
    "1764000000": ("2025-11-24 17:00", "2025-11-24 17:05"),
    "1764000000000 to 1764000060000": ("2025-11-24 17:00", "2025-11-24 17:01"),
    "2026-10-25": ("2026-10-25", "2026-10-26"),  # of 25 hours
    "2026-10-24 12:00 to 25 h ago": ("2026-10-24 12:00", "2026-11-25 09:30"),
}
NONE = [
    "", "foo", "14", "25:00", "12:60", "13pm", "0am", "2026-02-30", "2026-13-01", "10 parsecs ago", "2 ago", "- 5",
    "yesterday tomorrow", "14:00 to", "14:00 to 15:00 to 16:00", "16:00 yesterday to 14:00", "2 h ago to 3 h ago",
    "2026-11-20 to 2026-11-19", "12345678", "last", "to", "99:99", "<b>",
]  # fmt: skip


@pytest.fixture(scope="module")
def reader(browser: Browser) -> Page:
    """A page that has only what reads times, and no server."""
    page = browser.new_context(timezone_id="Europe/Berlin").new_page()
    for script in ("format.js", "when.js"):
        page.add_script_tag(content=(APP / "templates" / script).read_text())
    return page


def read(page: Page, said: str) -> list[float] | str:
    """From and to in epoch ms, where five minutes are in sight; or what is wrong."""
    found: list[float] | str = page.evaluate(
        """([said, now]) => {
          try { return linemon.when.read(said, now, 300000) } catch (error) { return error.message }
        }""",
        [said, ms(NOW)],
    )
    return found


def ms(said: str) -> float:
    return datetime.fromisoformat(said).replace(tzinfo=BERLIN).timestamp() * 1000


def test_times_are_read_as_people_type_them(reader: Page) -> None:
    found = {said: read(reader, said) for said in TYPED}
    assert found == {said: [ms(each) for each in ends] for said, ends in TYPED.items()}
    for said, ends in TYPED.items():  # and what the page writes in their place is the same
        spelt = reader.evaluate("(ends) => linemon.when.spell(...ends)", [ms(each) for each in ends])
        assert read(reader, spelt) == [ms(each) for each in ends], (said, spelt)


@pytest.mark.parametrize("said", NONE)
def test_what_is_no_time_is_told_with_what_is_expected(reader: Page, said: str) -> None:
    found = read(reader, said)
    assert isinstance(found, str)
    assert "expected one such as “yesterday 14:00 to 16:00”" in found or "ends before it begins" in found


def test_a_time_that_is_typed_is_shown_and_is_in_the_address(show: Show, served: Served, feed: Feed) -> None:
    feed.past("week", {ago: {"value": 1.0} for ago in range(5 * 86400, -1, -1800)})
    page = show(served.url + "?source=week", timezone_id="Europe/Berlin")
    button, said = page.locator("#when"), page.locator("#when-said")
    expect(button).to_have_text("Last 5m")
    page.keyboard.press("t")
    page.keyboard.type("yesterday 14:00 to")  # over what is in sight, which is selected
    expect(said).to_contain_text("“yesterday 14:00 to” is not a time: expected one such as")
    page.keyboard.press("Enter")
    expect(page.locator("#when-dialog")).to_be_visible()
    page.keyboard.type(" 16:00")
    day = datetime.now(BERLIN) - timedelta(days=1)
    start = day.replace(hour=14, minute=0, second=0, microsecond=0)
    words = f"{start:%Y-%m-%d} 14:00 to 16:00"
    expect(said).to_have_text(f"{words} (2 h)")
    page.keyboard.press("Enter")
    expect(page.locator("#status")).to_have_text("paused")
    assert view(page) == (start.timestamp() * 1000, start.timestamp() * 1000 + 7200e3)
    expect(button).to_have_text(words)
    eventually(lambda: query(page).get("from") == [f"{start.timestamp() * 1000:.0f}"], "the address")
    button.click()
    page.fill("#when-text", "3 weeks ago to 2 weeks ago")
    expect(said).to_contain_text("Nothing so old is kept: the oldest row is of")
    page.click("text=Cancel")
    page.go_back()
    expect(page.locator("#status")).to_have_text("live")


def test_a_time_that_only_the_second_source_reaches_is_shown(show: Show, served: Served, feed: Feed) -> None:
    """How far back a page reaches is no matter of its first source alone."""
    feed.past("elder", {ago: {"cpu.busy_pct": 20.0 + ago % 7} for ago in range(5 * 3600, 0, -10)})
    page = show(served.url + "?plot=web1:cpu.busy_pct,elder:cpu.busy_pct")
    page.keyboard.press("t")
    page.fill("#when-text", "-4h to -3h")
    expect(page.locator("#when-said")).not_to_contain_text("Nothing so old")
    page.keyboard.press("Enter")
    eventually(lambda: view(page)[1] < (time.time() - 2 * 3600) * 1000, "the view three hours ago")
    eventually(lambda: any(len(xs) > 100 for xs in drawn(page)["xs"]), "the rows of the second source")


def test_how_far_back_several_sources_reach_is_known(show: Show, served: Served, feed: Feed) -> None:
    """The strip is from the oldest row of all to the newest, and says whose its line is; longer windows are pale."""
    feed.past("short", {ago: {"value": 1.0} for ago in range(3600, 0, -1)})
    feed.past("long", {2 * ago: {"value": 2.0} for ago in range(3600, 0, -1)})
    page = show(served.url + "?plot=short:value,long:value", wait=None)
    page.wait_for_function("linemon.charts.oldest > 0")
    assert time.time() - page.evaluate("linemon.charts.oldest") / 1e3 == pytest.approx(7200, abs=60)
    start, end = page.evaluate("[linemon.model('whole').start, linemon.model('whole').end]")
    assert (end - start) / 1e3 == pytest.approx(7198, abs=2)
    expect(page.locator(".brush .whose")).to_have_text("short value")
    expect(page.locator(".window.beyond")).to_have_text(["6h", "24h", "7d", "30d", "1y"])
    page.keyboard.press("t")
    page.fill("#when-text", "4h ago to 3h ago")
    expect(page.locator("#when-said")).to_contain_text("Nothing so old is kept: the oldest row is of")


def test_an_address_takes_times_as_people_write_them(show: Show, served: Served) -> None:
    day = (datetime.now(BERLIN) - timedelta(days=2)).replace(hour=0, minute=0, second=0, microsecond=0)
    start, end = (day.replace(hour=hour).timestamp() * 1000 for hour in (14, 16))
    page = show(
        f"{served.url}?source=week&from={day:%Y-%m-%d}+14:00&to=16:00", wait="paused", timezone_id="Europe/Berlin"
    )
    assert view(page) == (start, end)
    page.goto(served.url + "?measure=value&from=-2h")  # where the server must know what is in sight, too
    page.wait_for_url(re.compile(r"from=\d+&to=\d+"))
    expect(page.locator("#status")).to_have_text("paused")
    start, end = (float(query(page)[name][0]) for name in ("from", "to"))
    assert end - start == 7200e3
    assert abs(end / 1000 - time.time()) < 60
    for said, what in (("half+past+two", "expected one such as"), ("now&to=yesterday", "It ends before it begins")):
        page.goto(f"{served.url}?source=web1&from={said}")
        expect(page.locator("#misread")).to_contain_text(what)
        expect(page.locator("#status")).to_have_text("live")


def runs(page: Page) -> dict[str, list[tuple[float, float]]]:
    """By the name of each run its line: seconds after the mark, and value."""
    labels = page.locator("#card0 .line span").all_inner_texts()
    zero, lines = page.evaluate("linemon.zero"), drawn(page)
    found = [
        [((x - zero) / 1000, y) for x, y in zip(*each, strict=True)]
        for each in zip(lines["xs"], lines["ys"], strict=True)
    ]
    return dict(zip((label.split(" ", 2)[2] for label in labels), found, strict=False))


def test_runs_lie_over_each_other_from_their_marks(show: Show, served: Served, feed: Feed, tmp_path: Path) -> None:
    """Their values are the number of the run, and how many seconds it lasts."""
    begins = {1: 500, 2: 360, 3: 240, 4: 100}
    ago = {at: max(n for n, begin in begins.items() if begin >= at) for at in range(500, 0, -1)}
    feed.past("oven", {at: {"t": 1000.0 * n + begins[n] - at, "door": 0.0} for at, n in ago.items()})
    for n, begin in begins.items():
        set_mark(feed, f"run {n}", "oven" if n % 2 else None, ago=begin + 0.5)
    set_mark(feed, "something else", "oven", ago=50)
    page = show(served.url + "?source=oven")
    page.get_by_role("button", name="What can be done with the chart t", exact=True).click()
    page.get_by_role("button", name="Runs over each other").click()
    page.fill("#runs-mark", "run")
    page.fill("#runs-last", "3")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("Runs of oven")
    assert query(page) == {"runs": ["oven:t"], "mark": ["run"], "last": ["3"]}
    page.wait_for_function("linemon.model('lines of chart0')?.data.xs.length >= 3")
    found = runs(page)
    assert list(found) == ["run 4", "run 3", "run 2"]
    for n, length in ((4, 100), (3, 140), (2, 120)):
        line = dict(found[f"run {n}"])
        after = {t: y for t, y in line.items() if t > 0}
        assert length - 2 <= max(after) <= length + 1  # until the next one
        assert all(abs(y - 1000 * n - t) < 1 for t, y in after.items())
        before = {t: y for t, y in line.items() if -5 < t < -1}
        assert before
        assert all(1000 * (n - 1) < y < 1000 * n for y in before.values())
    start, end = page.evaluate(
        "[linemon.time.range.start, linemon.time.range.end].map((x) => (x - linemon.zero) / 1000)"
    )
    assert (start, end) == pytest.approx((-7, 140), abs=0.1)  # the longest that is over, and a little before
    assert page.evaluate("linemon.clock(linemon.zero + 60000, [0, 30000])") == "1 min"
    feed.write("oven", {"t": 4111.0, "door": 0.0})  # the newest goes on
    eventually(lambda: max(y for _, y in runs(page)["run 4"]) == 4111, "the row that came")
    with saved(page, "#export-csv", tmp_path).open() as file:
        head, *rows = csv.reader(file)
    assert head[0] == "seconds"
    assert re.fullmatch(r"t \d\d-\d\d \d\d:\d\d(:\d\d)? run 4", head[1])
    assert all(abs(float(row[2]) - 3000 - float(row[0])) < 1 for row in rows if row[2] and float(row[0]) > 0)
    page.keyboard.press("+")
    eventually(lambda: "from" in query(page), "the address")
    first, last = float(query(page)["from"][0]), float(query(page)["to"][0])
    assert (first, last) == pytest.approx((29_750, 103_250), abs=100)  # ms after the mark
    set_mark(feed, "run 5", "oven")
    expect(page.locator("#card0 .line span").first).to_contain_text("run 5")
    expect(page.locator("#status")).to_have_text("paused")
    assert page.evaluate("linemon.time.range.start - linemon.zero") == pytest.approx(first, abs=1)
    page.goto(served.url + "?runs=oven:t&mark=walk")
    expect(page.locator("h2").first).to_have_text("No mark of oven begins with walk")


def test_lines_that_are_hidden_are_in_the_address(show: Show, served: Served) -> None:
    page = show(served.url + "?source=web1")
    lines = page.locator("#card0 .line")
    lines.nth(1).click(modifiers=["Control"])
    assert query(page)["hide"] == ["cpu.user_pct"]
    other = show(page.url)
    eventually(lambda: len([xs for xs in drawn(other)["xs"] if len(xs) > 2]) == 2, "two lines, beside marks")
    expect(other.locator("#card0 .line[aria-pressed=false]")).to_have_text(re.compile("^user"))
    lines.nth(2).click()  # alone
    assert query(page)["hide"] == ["cpu.user_pct,cpu.busy_pct"]
    lines.nth(2).click()
    assert "hide" not in query(page)
    page.goto(served.url + "?plot=web1:cpu.busy_pct,room1.humidity:value&hide=room1.humidity:value")
    expect(page.locator("#card0 .line[aria-pressed=false]")).to_have_text(re.compile("^room1.humidity"))


WRITTEN = """
  window.written = []
  const real = CanvasRenderingContext2D.prototype.fillText
  CanvasRenderingContext2D.prototype.fillText = function (words, ...rest) {
    written.push(words)
    real.call(this, words, ...rest)
  }
"""


def test_files_say_what_they_show(show: Show, browser: Browser, served: Served, tmp_path: Path) -> None:
    page = show(served.url + "?source=web1", script=WRITTEN)
    page.keyboard.press(" ")
    span = page.locator("#when").inner_text()
    saved(page, "#export-png", tmp_path)
    written = page.evaluate("written")
    today = datetime.now().astimezone().strftime("%Y-%m-%d")
    assert any(words.startswith(f"web1   {today} {span}, ") for words in written)
    assert "Network  B/s  out is below zero" in written
    for line in page.locator("#card0 .line").all():
        assert " ".join(line.inner_text().split()) in written  # with its value
    path = saved(page, "#export-html", tmp_path)
    alone = browser.new_page(viewport={"width": 1280, "height": 300})
    alone.goto(path.as_uri())
    expect(alone.locator("h1 + span")).to_have_text(re.compile(f"^{today} {span}, "))
    assert (
        alone.evaluate(
            "(({scrollHeight, clientHeight}) => scrollHeight - clientHeight)(document.querySelector('.scroll'))"
        )
        <= 1
    )
    alone.context.close()


def test_a_frame_says_where_the_keyboard_is_and_not_where_the_mouse_was(show: Show, served: Served) -> None:
    page = show(served.url + "?source=web1")
    page.wait_for_function("linemon.drawing('chart0').canvas_view")
    frame = """() => {
      let at = document.activeElement
      while (at.shadowRoot?.activeElement) at = at.shadowRoot.activeElement
      return [at.className, getComputedStyle(at).outlineStyle]
    }"""
    page.click("#plot0")
    assert page.evaluate(frame)[1] == "none"
    page.locator("#card0 .dots").focus()
    page.keyboard.press("Tab")
    assert page.evaluate(frame) == ["bk-layer bk-events", "dotted"]


def test_a_wide_chart_has_more_times_on_its_axis(show: Show, served: Served) -> None:
    ticks = "linemon.timeTicks(linemon.time.range.start, linemon.time.range.end).length"
    page = show(
        served.url + "?source=room1.humidity&from=12:00&to=12:50",
        wait="paused",
        viewport={"width": 1440, "height": 900},
    )
    page.wait_for_function(f"{ticks} >= 10")
    for width in (1200, 1024, 900, 770):  # and the header has room for the search at any
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_function("document.documentElement.scrollWidth <= innerWidth")
        assert page.evaluate("document.querySelector('#find').offsetWidth") >= 130
    page.set_viewport_size({"width": 390, "height": 844})
    page.keyboard.press("+")
    page.wait_for_function(f"{ticks} <= 6")
