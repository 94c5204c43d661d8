"""What is older than the store comes from the archive; one that is away costs a sentence."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from linemon.archive.link import Place
from linemon.archive.writer import ArchiveWriter, Batch
from linemon.sections import Span
from tests.browser.conftest import Feed, Served
from tests.browser.looking import drawn
from tests.postgres import Server, server
from tests.running import eventually

Show = Callable[..., Page]
BEFORE = 7200  # seconds that are in the archive alone


@pytest.fixture(scope="module")
def postgres() -> Iterator[Server]:
    """A server of this module's own, as it is ended."""
    with server() as running:
        yield running


@pytest.fixture
def archived(own_feed: Feed, postgres: Server) -> Iterator[Served]:
    """Five minutes in the store; two hours before them in the archive, whose columns stand in another order."""
    if postgres.process.poll() is not None:
        postgres.start()
    url = postgres.database()
    own_feed.move(300)
    times = (int(time.time()) - 300 - BEFORE + np.arange(BEFORE)) * 10**9
    columns = ("load.1m", "cpu.user_pct", "cpu.busy_pct")
    values = np.column_stack([np.full(BEFORE, 9.0), np.full(BEFORE, 30.0), np.arange(BEFORE) % 100])
    writer = ArchiveWriter(Place.parse(url), "S/it", 0, Span.parse("90d"))
    writer.write([Batch("web1", columns, ("",) * 3, 1, 0, BEFORE, times, values)])
    writer.close()
    config = own_feed.config.read_text() + f'[dashboard]\narchive = "{url.replace("tester@", "tester:hush@")}"\n'
    own_feed.config.write_text(config)
    served = Served(own_feed.config)
    yield served
    served.stop()


def ages(page: Page) -> list[float]:
    """How old (s) the points of the first chart's first line are."""
    lines: dict[str, Any] = drawn(page)
    return [time.time() - x / 1e3 for x, y in zip(lines["xs"][0], lines["ys"][0], strict=True) if y == y]


def test_a_span_from_before_the_store(show: Show, archived: Served) -> None:
    """Of the last hour the store has five minutes, the archive the others; all there is goes back to its first row."""
    page = show(archived.url + "?source=web1&window=1h")
    page.wait_for_function("linemon.charts.sources[0].times[0] < Date.now() - 3500e3")

    def is_drawn() -> bool:
        found = ages(page)
        return sum(400 < age < 3500 for age in found) > 200 and sum(age < 290 for age in found) > 20

    eventually(is_drawn, "both")
    page.wait_for_function(f"linemon.charts.oldest < Date.now() - {BEFORE - 100}e3")
    page.get_by_role("button", name="all", exact=True).click()
    page.wait_for_function(f"linemon.charts.sources[0].times[0] < Date.now() - {BEFORE - 100}e3")
    expect(page.locator("#older")).to_be_hidden()


def test_a_span_that_only_the_archive_has(show: Show, archived: Served) -> None:
    """As stored: its columns are found by their names."""
    begin, end = (int(time.time() - ago) * 1000 for ago in (5000, 4800))
    page = show(archived.url + f"?source=web1&from={begin}&to={end}", wait="paused")
    page.wait_for_function("linemon.charts.sources[0].times.length > 150")

    def is_drawn() -> bool:
        values = [y for line in drawn(page)["ys"] for y in line if y == y]
        return 30.0 in values and max(values) == 99

    eventually(is_drawn, "its values")


def test_an_archive_that_is_away(show: Show, archived: Served, postgres: Server) -> None:
    """Live rows go on; a sentence says what is not shown, without what is secret, until it is back."""
    postgres.kill()
    page = show(archived.url + "?source=web1&window=1h")
    expect(page.locator("#older")).to_contain_text("What is older is not shown.")
    expect(page.locator("#older")).to_contain_text(
        re.compile(r"postgresql://127\.0\.0\.1:\d+/archive\d+: connection failed")
    )
    assert "hush" not in page.content()
    before = float(page.evaluate("linemon.charts.newest"))
    page.wait_for_function(f"linemon.charts.newest > {before} + 1000")
    postgres.start()
    expect(page.locator("#older")).to_be_hidden()
    page.wait_for_function("linemon.charts.sources[0].times[0] < Date.now() - 3500e3")
    assert "hush" not in archived.log
