"""How soon a page is there, and what that costs others."""

from __future__ import annotations

import concurrent.futures
import urllib.request
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page

from tests.browser.conftest import APP, Feed, Served
from tests.browser.looking import line_pixels
from tests.running import eventually

CHARTS = 16
PAGE_S = 0.3  # of the server's time


def cpu_s(pid: int) -> float:
    """Seconds that the threads of a process have run: a busy machine makes them wait, not run."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def test_four_pages_of_sixteen_charts_opened_at_once_do_not_freeze_a_fifth(feed: Feed, served: Served) -> None:
    """One thread serves all pages: what one of them costs, all others wait for."""
    feed.write("many", {f"g{i}.{name}": float(i) for i in range(CHARTS) for name in ("a", "b")})

    def get(number: int) -> str:
        with urllib.request.urlopen(f"{served.url}?source=many&{number}", timeout=60) as answer:
            return str(answer.read(), "utf-8")

    before = cpu_s(served.process.pid)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        pages = list(pool.map(get, range(4)))
    spent = cpu_s(served.process.pid) - before
    assert all(f'id="plot{CHARTS - 1}"' in page for page in pages)
    assert spent < 4 * PAGE_S


def test_a_repaint_leaves_the_styles_of_the_page_alone(show: Callable[..., Page], served: Served) -> None:
    """What is written into a style sheet, or asked of one, makes the browser work out all styles."""
    count = """
    window.styled = 0
    const text = Object.getOwnPropertyDescriptor(Node.prototype, "textContent")
    const set = function (value) { if (this.localName == "style") styled++; text.set.call(this, value) }
    Object.defineProperty(Node.prototype, "textContent", {...text, set})
    const asked = getComputedStyle
    window.getComputedStyle = (...of) => { styled++; return asked(...of) }
    """
    page = show(served.url + "?source=web1", script=count)
    page.wait_for_function("linemon.received > 2")
    before = page.evaluate("styled = 0, linemon.received")
    page.wait_for_function("(n) => linemon.received > n + 7", arg=before)
    messages = page.evaluate("linemon.received") - before
    assert page.evaluate("styled") / messages / page.locator(".plot").count() < 4  # there were 200


def test_what_is_in_sight_is_painted_first_and_the_rest_by_itself(
    show: Callable[..., Page], feed: Feed, served: Served
) -> None:
    for ago in range(60, 0, -1):
        feed.write("many", {f"g{i}.{name}": float(ago % 7 + i) for i in range(CHARTS) for name in ("a", "b")}, ago=ago)
    order = """
    window.built = []
    const attach = Element.prototype.attachShadow
    Element.prototype.attachShadow = function (given) {
      setTimeout(() => { const place = this.closest("[id^=figure-chart]"); if (place) built.push(+place.id.slice(12)) })
      return attach.call(this, given)
    }
    """
    page = show(served.url + "?source=many", script=order)
    page.wait_for_function(f"built.includes({CHARTS - 1})")
    assert page.evaluate("built") == [*range(CHARTS)]
    eventually(lambda: line_pixels(page, 1, CHARTS - 1) > 100, "the last one")


def test_a_png_of_charts_that_are_not_painted_yet_waits_for_them(
    show: Callable[..., Page], feed: Feed, served: Served
) -> None:
    feed.write("many", {f"g{i}.{name}": float(i) for i in range(CHARTS) for name in ("a", "b")})
    click = f"""
    const attach = Element.prototype.attachShadow
    Element.prototype.attachShadow = function (given) {{
      setTimeout(() => {{
        if (window.isMissing !== undefined || !this.closest("#figure-chart{CHARTS - 3}")) return
        window.isMissing = linemon.drawing("chart{CHARTS - 1}") == null
        document.getElementById("export-png").click()
      }})
      return attach.call(this, given)
    }}
    """
    page = show(served.url + "?source=many", wait=None, script=click)
    with page.expect_download() as download:
        page.wait_for_function("window.isMissing !== undefined")
    assert page.evaluate("isMissing"), "the last one was there"
    assert download.value.path().read_bytes().startswith(b"\x89PNG")


def test_a_message_is_painted_once_in_the_frame_in_which_it_is_drawn(show: Callable[..., Page], served: Served) -> None:
    page = show(served.url + "?source=web1")
    page.wait_for_function("linemon.received > 2")
    page.evaluate(
        """() => {
          window.frames_ = []
          const now = () => document.timeline.currentTime, {draw} = linemon.page
          linemon.page.draw = () => { frames_.push({at: now(), paints: []}); draw() }
          for (const view of Bokeh.index.roots.filter((each) => each.model.name?.startsWith("chart"))) {
            const paint = view._actual_paint
            view._actual_paint = function () { paint.call(this); frames_.at(-1)?.paints.push([view.model.name, now()]) }
          }
        }"""
    )
    page.wait_for_function("frames_.length > 6")
    frames, charts = page.evaluate("[frames_.slice(0, 6), document.querySelectorAll('.plot').length]")
    for frame in frames:
        assert all(at == frame["at"] for _, at in frame["paints"])
        assert len(frame["paints"]) == len({name for name, _ in frame["paints"]}) == charts


def test_no_rule_of_the_page_asks_what_is_in_what() -> None:
    """Each change of what there is would have the browser work out all its styles: with `:has` that took 5 ms a row."""
    assert ":has(" not in (APP / "templates" / "style.css").read_text()
