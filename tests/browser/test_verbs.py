"""What people do to sources on the page: pin, hide, rename, delete, with undo, for all who look."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect

from linemon.config import load
from tests.browser.conftest import Served
from tests.running import Running, eventually

Show = Callable[..., Page]


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple[Running, Served]]:
    """A real collector with three hosts and a sensor, and the page of its store."""
    running = Running(tmp_path, '[tcp]\nlisten = "127.0.0.1:0"\ntoken = "s3cret"\n')
    for name in ("web1", "web2", "web3"):
        rows = "".join(f"{time.time() - ago:.3f} {ago % 60} 40 1000\n" for ago in range(60, 0, -1))
        running.say(
            f"#token s3cret\n#source {name}\n#columns time cpu.busy_pct mem.used_pct net.rx_bytes_per_s\n{rows}"
        )
    running.say("#token s3cret\n#source <b>rom 1</b>\n#columns t:°C\n20\n21\n")
    served = Served(running.config)
    yield running, served
    served.stop()
    running.stop()


def listed(page: Page, table: str = "hosts") -> list[str]:
    return page.locator(f"#{table} tbody a").all_inner_texts()


def open_menu(page: Page, name: str) -> None:
    page.get_by_role("button", name=f"Pin, hide, rename or delete {name}", exact=True).click()
    expect(page.locator("#verbs-title")).to_have_text(name)


def test_pinned_and_hidden_for_all_who_look(show: Show, running: tuple[Running, Served]) -> None:
    """At once on every open page; what is hidden can be listed, and taken back."""
    _, served = running
    page, other = show(served.url, wait=None), show(served.url, wait=None)
    eventually(lambda: listed(page) == listed(other) == ["web1", "web2", "web3"], "the hosts")
    open_menu(page, "web3")
    page.get_by_role("button", name="Pin", exact=True).click()
    expect(page.locator("#done")).to_contain_text("web3 is pinned")
    eventually(lambda: listed(page) == listed(other) == ["web3", "web1", "web2"], "the pinned one first")
    expect(other.get_by_role("img", name="pinned")).to_be_visible()
    open_menu(other, "web1")
    other.get_by_role("button", name="Hide", exact=True).click()
    eventually(lambda: listed(page) == listed(other) == ["web3", "web2"], "the hidden one is not listed")
    page.get_by_role("button", name="Show 1 hidden").click()
    eventually(lambda: listed(page) == ["web3", "web1", "web2"], "all")
    assert listed(other) == ["web3", "web2"]
    other.locator("#done button").click()
    eventually(lambda: listed(other) == ["web3", "web1", "web2"], "it is back")
    late = show(served.url, wait=None)
    eventually(lambda: listed(late) == ["web3", "web1", "web2"], "it is kept")


def test_who_is_slower_is_told(show: Show, running: tuple[Running, Served]) -> None:
    """Two have the menu open; the second one sees how it is now, and can choose again."""
    _, served = running
    pages = [show(f"{served.url}?source=web1", wait=None) for _ in range(2)]
    for page in pages:
        page.wait_for_function("linemon.received > 0")
        page.locator("#verbs-of").click()
    pages[0].get_by_role("button", name="Hide", exact=True).click()
    expect(pages[0].locator("#done")).to_contain_text("web1 is hidden")
    pages[1].get_by_role("button", name="Hide", exact=True).click()
    expect(pages[1].locator("#verb-error")).to_contain_text("somebody else has changed")
    pages[1].get_by_role("button", name="Show", exact=True).click()
    expect(pages[1].locator("#done")).to_contain_text("web1 is shown again")


def test_a_source_is_renamed_and_that_undone(show: Show, running: tuple[Running, Served]) -> None:
    """From its own page, which goes with it; who looks at it as well is led to the new name."""
    collector, served = running
    name, to = "<b>rom 1</b>", "room 1/<i>ü"
    page, other = (show(f"{served.url}?source={quote(name)}", wait=None) for _ in range(2))
    for each in (page, other):
        each.wait_for_function("linemon.received > 0")
    page.locator("#verbs-of").click()
    page.fill("#verb-name", "web1")
    page.get_by_role("button", name="Rename", exact=True).click()
    expect(page.locator("#verb-error")).to_contain_text("there is a source 'web1'")
    page.fill("#verb-name", to)
    page.keyboard.press("Enter")
    expect(page.locator("#title")).to_have_text(to)
    expect(page.locator("#done")).to_contain_text(f"{name} is called {to} now")
    assert collector.store[to].rows == 2
    board = load(collector.config).boards_folder / "rooms.toml"
    board.parent.mkdir()
    board.write_text(f'[[chart]]\nlines = ["{name}:t"]\n')
    pinned = show(f"{served.url}?board=rooms", wait=None)
    expect(pinned.locator(".lacking")).to_have_text(f"{name} t is called {to} now")
    other.get_by_role("link", name=to).click()
    expect(other.locator("#title")).to_have_text(to)
    page.locator("#done button").click()
    expect(page.locator("#title")).to_have_text(name)
    assert collector.store[name].rows == 2


def test_a_source_is_deleted(show: Show, running: tuple[Running, Served]) -> None:
    """Not by one click; by the keyboard alone, too."""
    collector, served = running
    page = show(f"{served.url}?source=web1", wait=None)
    page.wait_for_function("linemon.received > 0")
    page.locator("#verbs-of").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#verb-sure")).to_be_hidden()
    page.locator("#verb-delete").focus()
    page.keyboard.press("Enter")
    assert "web1" in collector.store
    page.keyboard.press("Enter")
    page.wait_for_function("linemon.about.kind == 'overview'")
    expect(page.locator("#done")).to_contain_text("web1 is deleted")
    expect(page.locator("#done button")).to_be_hidden()
    eventually(lambda: listed(page) == ["web2", "web3"], "it is gone")
    assert "web1" not in collector.store
    page.goto(f"{served.url}?source=web1")
    expect(page.locator("#waiting")).to_contain_text("It was forgotten at 20")


def test_an_open_page_changes_nothing(show: Show, tmp_path: Path) -> None:
    """Which is open to other machines and asks for no password."""
    running = Running(tmp_path, '[dashboard]\nlisten = "0.0.0.0:0"\nallow_open = true\n')
    running.say("#source web1\n1 2\n")
    served = Served(running.config)
    try:
        page = show(f"{served.url}?source=web1", wait=None)
        page.wait_for_function("linemon.received > 0")
        assert page.locator(".dots:not([data-menu]), #pin, #verbs, #limits").count() == 0
        for what in (
            "{do: 'keep', source: 'web1', flag: 'hidden', on: true}", "{do: 'undo', change: 1}",
            "{do: 'board', what: 'pin', board: 'x', chart: {title: '', lines: [['a', 'b']], kind: '', limits: []}}",
            "{do: 'rename', source: 'web1', to: 'x'}", "{do: 'forget', source: 'web1'}",
            "{do: 'column', source: 'web1', column: 'a', of: 'own', now: {warn: 1}, was: {warn: null}}",
        ):  # fmt: skip
            assert "password" in page.evaluate(f"linemon.ask({what})")["error"]
        assert "web1" in running.store
        assert not (running.store_path / "dashboard.json").exists()
        assert not (running.store_path / "boards").exists()
    finally:
        served.stop()
        running.stop()
