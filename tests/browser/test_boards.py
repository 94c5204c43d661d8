"""The menu of a chart, and what it is for: one chart alone, boards, walls."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, expect

from linemon.config import load
from tests.browser.conftest import Feed, Served
from tests.browser.looking import line_pixels, middle
from tests.browser.test_looks import faults
from tests.running import eventually

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
    expect(menu.get_by_role("button").first).to_be_focused()
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


@pytest.fixture
def folder(feed: Feed) -> Iterator[Path]:
    """Where the boards are; empty before and after."""
    folder = load(feed.config).boards_folder
    shutil.rmtree(folder, ignore_errors=True)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def expect_titles(page: Page, *titles: str) -> None:
    expect(page.locator("figure.card figcaption b")).to_have_text(titles)


def take(page: Page, chart: int, item: str) -> None:
    page.locator(f"#card{chart} .dots").click()
    page.locator("#menu").get_by_role("button", name=item).click()


def test_a_board_is_made_by_pins_and_put_in_order(show: Show, served: Served, folder: Path) -> None:
    """From a source's page and a comparison; by dragging and by keyboard; on each page that shows it, at once."""
    page = show(f"{served.url}?source=web1")
    for chart in (0, 2):  # CPU, Network
        take(page, chart, "Pin to a board…")
        page.fill("#pin-board", "Night shift")
        assert faults(page) == []
        page.keyboard.press("Enter")
        expect(page.locator("#pin")).to_be_hidden()
    page.locator("#done a").click()
    expect_titles(page, "web1 CPU", "web1 Network")
    eventually(lambda: line_pixels(page) > 20, "a line")
    other = show(f"{served.url}?plot=web1:cpu.busy_pct,room1.humidity:value")
    take(other, 0, "Pin to a board…")
    other.fill("#pin-board", "Night shift")
    other.fill("#pin-name", "<b>Both</b>")
    other.keyboard.press("Enter")
    expect_titles(page, "web1 CPU", "web1 Network", "<b>Both</b>")
    other.goto(f"{served.url}?board=Night+shift")
    page.locator("#card2 figcaption").drag_to(page.locator("#card0"), target_position={"x": 40, "y": 60})
    expect_titles(other, "<b>Both</b>", "web1 CPU", "web1 Network")
    expect_titles(page, "<b>Both</b>", "web1 CPU", "web1 Network")
    page.locator("#card1 .dots").focus()
    page.keyboard.press("Enter")
    for _ in range(2):
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect_titles(page, "<b>Both</b>", "web1 Network", "web1 CPU")
    expect(page.locator("#card2 .dots")).to_be_focused()
    take(page, 0, "Remove from this board")
    expect_titles(page, "web1 Network", "web1 CPU")
    page.locator("#done button").click()
    expect_titles(page, "<b>Both</b>", "web1 Network", "web1 CPU")
    take(page, 0, "Title…")
    page.fill("#entitle-name", "Both")
    page.keyboard.press("Enter")
    expect_titles(page, "Both", "web1 Network", "web1 CPU")
    assert (folder / "Night shift.toml").read_text().count("[[chart]]") == 3
    assert faults(page) == []


def test_a_chart_that_is_called_as_its_source_is_pinned_by_that_name_once(
    show: Show, served: Served, feed: Feed, folder: Path
) -> None:
    feed.past("room7.temperature", {ago: {"value": 20.0} for ago in (2, 1, 0)})
    page = show(f"{served.url}?source=room7.temperature", wait=None)
    expect(page.locator("figcaption b")).to_have_text("room7.temperature")
    take(page, 0, "Pin to a board…")
    expect(page.locator("#pin-name")).to_have_value("room7.temperature")


def test_a_board_is_found_renamed_and_deleted(show: Show, served: Served, folder: Path) -> None:
    folder.mkdir()
    (folder / "<i>day.toml").write_text('[[chart]]\nlines = ["web1:cpu.busy_pct"]\n')
    page = show(served.url)
    page.get_by_role("navigation", name="Boards").get_by_role("link", name="<i>day").click()
    expect_titles(page, "cpu.busy_pct")
    page.fill("#find", "day")
    expect(page.get_by_role("option")).to_have_text("<i>dayboard")
    page.keyboard.press("Enter")
    page.wait_for_function("linemon.received > 0")
    page.locator("#board-verbs").click()
    page.fill("#board-name", "a/b")
    page.get_by_role("button", name="Rename", exact=True).click()
    expect(page.locator("#board-error")).to_contain_text("no board can be called 'a/b'")
    page.fill("#board-name", "Day")
    page.get_by_role("button", name="Rename", exact=True).click()
    expect(page.locator("#title")).to_have_text("Day")
    assert [path.name for path in folder.iterdir()] == ["Day.toml"]
    page.locator("#board-verbs").click()
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(page.locator("#done")).to_contain_text("Day is deleted")
    assert list(folder.iterdir()) == []
    page.locator("#done button").click()
    expect_titles(page, "cpu.busy_pct")


def test_a_board_of_any_host_written_by_hand(show: Show, served: Served, feed: Feed, folder: Path) -> None:
    """The sources that fit can be chosen; a slip in the file is named, and mended the page is there again."""
    for name in ("web1", "web2"):
        feed.write(f"{name}.disk", {"value": 20.0})
    folder.mkdir()
    file = folder / "host.toml"
    file.write_text(
        '[[chart]]\ntitle = "{host} disk"\nlines = ["{host}.disk:value", "{host}.none:value"]\n\n'
        '[[chart]]\nlines = ["rack1:value"]\n'
    )
    page = show(f"{served.url}?board=host&window=1h", wait=None)
    expect_titles(page, "web1 disk", "value")
    expect(page.locator("#card0 .lacking")).to_have_text("web1.none value is not here (yet)")
    assert page.locator("#host option").all_inner_texts() == ["web1", "web2"]
    page.select_option("#host", "web2")
    expect_titles(page, "web2 disk", "value")
    query = parse_qs(urlsplit(page.url).query)
    assert (query["host"], query["window"]) == (["web2"], ["1h"])
    right = file.read_text()
    file.write_text(right + "lines = 3\n")
    expect(page.locator("#waiting")).to_contain_text("host.toml: Cannot overwrite a value (at line 7")
    file.write_text(right.replace("{host} disk", "Disk of {host}"))
    expect_titles(page, "Disk of web2", "value")
    feed.write("web2.none", {"value": 1.0})
    expect(page.locator(".lacking")).to_have_count(0)


def test_a_board_opens_with_the_window_of_its_file(show: Show, served: Served, folder: Path) -> None:
    """The address comes first; without either it is as of a host's page; one that is none is named."""
    folder.mkdir()
    file, chart = folder / "slow.toml", '[[chart]]\nlines = ["web1:cpu.busy_pct"]\n'
    file.write_text(f'window = "1h"\n{chart}')
    page, pressed = show(f"{served.url}?board=slow"), '.window[aria-pressed="true"]'
    expect(page.locator(pressed)).to_have_text("1h")
    assert page.evaluate("linemon.time.span") == 3600
    page.goto(f"{served.url}?board=slow&window=15m")
    expect(page.locator(pressed)).to_have_text("15m")
    file.write_text(chart)
    page.goto(f"{served.url}?board=slow")
    expect(page.locator(pressed)).to_have_text("5m")
    file.write_text(f'window = "2h"\n{chart}')
    expect(page.locator("#waiting")).to_contain_text("slow.toml: line 1: window = '2h': expected one of: 1m, 5m")


def test_a_wall_of_charts(show: Show, served: Served) -> None:
    """Nothing to press, nothing to scroll, letters to be read from afar; `w` and Escape; the address says it."""
    page = show(f"{served.url}?source=web1&window=1m", viewport={"width": 1920, "height": 1080})
    eventually(lambda: line_pixels(page) > 20, "a line")
    page.evaluate("linemon.verbs.done('It is done')")
    page.keyboard.press("w")
    expect(page.locator("header button:visible, main button.dots:visible, footer:visible")).to_have_count(0)
    assert not page.locator("#done").is_visible()  # that something was done is said for a while
    assert parse_qs(urlsplit(page.url).query)["wall"] == ["1"]
    assert page.evaluate("document.documentElement.scrollHeight - innerHeight") <= 0
    lowest = max(box["y"] + box["height"] for card in page.locator("figure.card").all() if (box := card.bounding_box()))
    assert 1000 < lowest <= 1080
    assert page.evaluate("linemon.model('chart0').left[0].major_label_text_font_size") == "24px"
    for state in ("#status", "#age"):
        expect(page.locator(state)).to_be_visible()
    assert faults(page) == []
    page.keyboard.press("Escape")
    expect(page.locator("header button:visible").first).to_be_visible()
    assert page.evaluate("linemon.model('chart0').left[0].major_label_text_font_size") == "11px"
    assert "wall" not in page.url


def test_no_row_of_a_legend_is_cut_in_half_on_a_wall(show: Show, served: Served, feed: Feed, folder: Path) -> None:
    """On a phone, too, where axes have fewer numbers, so that these do not touch."""
    for n in range(6):
        feed.write(f"room{n}.temperature", {"value": 20.0 + n}, units=("°C",))
    lines = ", ".join(f'"room{n}.temperature:value"' for n in range(6))
    folder.mkdir()
    (folder / "rooms.toml").write_text("\n".join(f"[[chart]]\nlines = [{lines}]" for _ in range(4)))
    for width, height in ((390, 844), (1440, 900)):
        page = show(f"{served.url}?board=rooms&wall=1", viewport={"width": width, "height": height})
        cut = """
          [...document.querySelectorAll(".legend")].flatMap((legend) => {
            const bottom = legend.getBoundingClientRect().bottom
            return [...legend.querySelectorAll(".line")].map((line) => line.getBoundingClientRect())
              .filter((line) => line.top < bottom - 1 && line.bottom > bottom + 1)
          }).length
        """
        assert page.evaluate(cut) == 0, width
        seen = """
          (legend) => [...legend.querySelectorAll(".line")]
            .filter((line) => line.getBoundingClientRect().top < legend.getBoundingClientRect().bottom - 1).length
        """
        assert page.locator(".legend").first.evaluate(seen) >= (4 if width == 390 else 6), width
        assert (page.evaluate("linemon.upwards") < 4) == (width == 390)


def test_a_window_may_change_its_size_while_a_wall_comes(show: Show, served: Served) -> None:
    """As where a browser goes to the full screen by itself; what is wrong would be told by `show`."""
    early = """
      let left = 400
      const timer = setInterval(() => { dispatchEvent(new Event("resize")); if (!--left) clearInterval(timer) }, 5)
    """
    page = show(f"{served.url}?source=web1&window=1m&wall=1", script=early)
    eventually(lambda: line_pixels(page) > 20, "a line")


def test_boards_take_turns_on_a_wall(show: Show, served: Served, folder: Path) -> None:
    """From the first on, as long as the address says so; one that is not there says so, and has its turn."""
    folder.mkdir()
    (folder / "night.toml").write_text('[[chart]]\nlines = ["web1:cpu.busy_pct"]\n')
    page = show(f"{served.url}?wall=night,gone&every=2s&window=1m", wait=None)
    for name in ("night", "gone", "night"):
        expect(page.locator("#title")).to_have_text(name)
    query = parse_qs(urlsplit(page.url).query)
    assert query == {"board": ["night"], "wall": ["night,gone"], "every": ["2s"], "window": ["1m"]}
