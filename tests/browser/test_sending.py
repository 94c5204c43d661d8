"""What the page says to those who send: how a line would be read, what to type, how what takes the rows is."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Served
from tests.browser.test_looks import faults
from tests.forked import NURSERY
from tests.running import Running, eventually

ROOT = Path(__file__).parents[2]
Show = Callable[..., Page]
PARTS = """
[[forward]]
name = "far"
to = "linemon://127.0.0.1:9"
token = "hidden-token"
[[task]]
name = "mine"
run = "no_such_file.py:f"
inputs = ["<b>rom 1</b>:*"]
when = "every 10s"
over = "10m"
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, Served]]:
    """A collector that asks for a token, with `linemon work`, and the page of its store."""
    folder = tmp_path_factory.mktemp("sending")
    running = Running(folder, '[tcp]\nlisten = "127.0.0.1:0"\ntoken = "s3cret"\n' + PARTS)
    served = Served(running.config)
    yield running, served
    served.stop()
    running.stop()


def typed(page: Page) -> list[str]:
    """What the page says is to be typed."""
    return [each for each in page.locator("pre[id^=way]").all_inner_texts() if each]


def carry_out(text: str) -> None:
    """Type it, where `linemon-agent.pyz` is what lies here."""
    environment = os.environ | {"LINEMON_TOKEN": "s3cret", "PYTHONPATH": str(ROOT)}
    if text.startswith("import"):
        done = subprocess.run([sys.executable, "-c", text], env=environment, timeout=30, capture_output=True, text=True)
    else:
        done = subprocess.run(text, shell=True, env=environment, timeout=30, capture_output=True, text=True)
    assert done.returncode == 0, done  # curl shows on stderr how far it is


def has_rows(collector: Running, name: str, rows: int) -> bool:
    return collector.store[name].rows >= rows


def test_what_is_typed_from_the_page_arrives(show: Show, running: tuple[Running, Served]) -> None:
    """From the empty overview, and from the page of a source, whatever is in its name and those of its columns."""
    collector, served = running
    page = show(served.url, wait=None)
    expect(page.locator("#empty")).to_be_visible()
    shell, http, python, agent = typed(page)
    assert agent == f"LINEMON_TOKEN=… python3 linemon-agent.pyz --to {collector.status()['tcp']}"
    for text in (shell, http, python):
        carry_out(text)
    eventually(lambda: collector.store["room1.temperature"].last(3).values.tolist() == [[20.3], [20.3], [1.0]], "all")
    expect(page.locator("#empty")).to_be_hidden()
    odd, columns = "it's <b>$HOME</b> ü", '#columns ["a b", ["x:y", "m / s"], "`z`"]'
    collector.say(f"#token s3cret\n#source {odd}\n{columns}\n9 9 9\n#source web1\n#columns a:% b c d e\n9 9 9 9 9\n")
    for name, ways in ((odd, 2), ("web1", 3)):
        eventually(partial(has_rows, collector, name, 1), "it is there")
        before = collector.store[name].rows
        page.goto(f"{served.url}?source={quote(name)}")
        page.get_by_text("How to send to this source").click()
        for text in (found := typed(page)):
            carry_out(text)
        assert len(found) == ways
        eventually(partial(has_rows, collector, name, before + ways), f"all of {name}")
        assert [list(row[:2]) for row in collector.store[name].last(ways).values] == [[1.0, 2.0]] * ways
    eventually(lambda: collector.status()["stored"] == 10, "they are counted")
    assert not collector.status()["rejected"]
    page.goto(f"{served.url}?source=linemon.collector")
    page.wait_for_function("linemon.received > 0")
    assert page.get_by_text("How to send to this source").count() == 0


def test_how_a_line_would_be_read(show: Show, running: tuple[Running, Served]) -> None:
    """By the keyboard: its kind and source, what is stored of it, or the words that refuse it."""
    collector, served = running
    collector.say("#token s3cret\n#source <b>rom 1</b>\n#columns t:°C\n20\n")
    eventually(lambda: collector.store["<b>rom 1</b>"].rows, "it is there")
    page = show(f"{served.url}?health=1", wait=None)
    page.wait_for_function("linemon.received > 0")
    page.locator("#explain-lines").fill("#source <b>rom 1</b>\n21 22\n21\n<b>x</b>.y 1 2 3 4\nnew.one 5 1700000000")
    page.keyboard.press("Control+Enter")
    rows = page.locator("#explained tbody tr")
    expect(rows).to_have_count(5)
    told = [[cell.strip() for cell in row.locator("td").all_inner_texts()] for row in rows.all()]
    assert told[0] == ["#source <b>rom 1</b>", "directive", "", "–"]
    assert told[1] == ["21 22", "row", "", "rejected: source '<b>rom 1</b>' has 1 columns, the row has 2"]
    assert told[2] == ["21", "row", "<b>rom 1</b>", "t = 21 °C, at its arrival"]
    assert told[4] == ["new.one 5 1700000000", "metric", "new.one new", "value = 5, at 2023-11-14T22:13:20Z"]
    assert "rejected" in told[3][3]
    assert "new.one" not in collector.store
    assert not faults(page)


def test_what_work_runs_is_on_the_health_page(show: Show, running: tuple[Running, Served]) -> None:
    """As `linemon status` says it: what is away, what fails, and that it was killed; no secret."""
    collector, served = running
    page = show(f"{served.url}?health=1", wait=None)
    page.wait_for_function("linemon.received > 0")
    expect(page.locator("#no-parts")).to_be_visible()
    with open(collector.folder / "work.log", "w+b") as log:
        work = NURSERY.start(["work", "--config", str(collector.config)], [log.fileno()] * 3)
    try:
        row = page.locator("#parts tr", has_text="forward.far")
        expect(row).to_contain_text("away")
        expect(row).to_contain_text(re.compile(r"runs\s*for"))
        expect(row.locator(".warning")).to_contain_text("refused")
        expect(page.locator("#parts tr", has_text="tasks")).to_contain_text("no_such_file.py")
        expect(page.locator("#parts tr", has_text="history")).to_contain_text("runs")
        assert "hidden-token" not in page.content()
    finally:
        work.kill()
        work.wait(20)
    expect(row).to_contain_text("does not run")
