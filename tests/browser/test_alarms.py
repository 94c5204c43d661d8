"""What fires: the list, what is done from it, the strip and the title, dots, limits and incidents in charts."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from linemon.store.status import read_alarms
from linemon.when import iso_ns
from tests.browser.conftest import Feed, Served
from tests.browser.looking import drawn
from tests.browser.test_looks import faults
from tests.running import Running, eventually
from tests.running import Work as RealWork

Show = Callable[..., Page]
STATES = {"ok": 0, "pending": 0, "firing": 1, "clearing": 1}


class Work:
    """`linemon work` as the page sees it: the list beside the rings, and a socket that answers commands."""

    def __init__(self, store: Path) -> None:
        self.file = store / "alarms.json"
        self.listed: list[dict[str, Any]] = []
        self.asked: list[dict[str, Any]] = []
        self.answer = '{"said": "done"}'
        self._sock = socket.socket(socket.AF_UNIX)
        self._sock.bind(str(store / "work.sock"))
        self._sock.listen()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=each) for each in (self._serve, self._publish)]
        for thread in self._threads:
            thread.start()

    def say(self, *alarms: dict[str, Any]) -> None:
        self.listed = list(alarms)
        self._write()

    def change(self, place: int, **more: Any) -> None:
        self.listed[place] |= more
        self._write()

    def silent(self) -> None:
        """It writes no more, and the list grows old."""
        self._stop.set()
        self._threads[1].join()
        long_ago = time.time() - 60
        os.utime(self.file, (long_ago, long_ago))

    def stop(self) -> None:
        self._stop.set()
        self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()
        for thread in self._threads:
            thread.join()

    def _write(self) -> None:
        new = self.file.with_suffix(".new")
        new.write_text(json.dumps(self.listed))
        new.rename(self.file)

    def _publish(self) -> None:
        while not self._stop.wait(3):
            if self.file.exists():
                self.file.touch()

    def _serve(self) -> None:
        while True:
            try:
                sock, _ = self._sock.accept()
            except OSError:
                return
            with sock, sock.makefile("rwb") as lines:
                self.asked.append(json.loads(lines.readline()))
                lines.write(self.answer.encode() + b"\n")


def alarm(name: str, source: str, state: str, level: int | None = None, **more: Any) -> dict[str, Any]:
    """An object of the list, as `linemon alarms --json` has it."""
    level = STATES[state] if level is None else level
    ago = more.pop("ago", 100)
    return {
        "n": 7 if level else None, "key": None, "alarm": name, "source": source, "column": None, "state": state,
        "level": level, "since": None if state == "ok" else iso_ns(time.time_ns() - ago * 10**9), "value": 91.5,
        "unit": "%", "stale": False, "told": level, "acked": None, "silenced_until": None, "held": None,
        "text": f"{source}: {name} is 91.5 %", "limits": {"warning": None, "critical": None},
    } | more  # fmt: skip


@pytest.fixture
def alarmed(own_feed: Feed) -> Iterator[tuple[Feed, Work, Served]]:
    own_feed.move(300)
    for name in ("web2", "web3"):
        own_feed.write(name, {"cpu.busy_pct": 5.0, "mem.used_pct": 50.0, "net.rx_bytes_per_s": 1e5})
    work, served = Work(own_feed.store), Served(own_feed.config)
    yield own_feed, work, served
    served.stop()
    work.stop()


def column(page: Page, number: int) -> list[str]:
    """The first line of each cell."""
    cells = page.locator(f"#alarms tbody td:nth-child({number})").all_inner_texts()
    return [cell.splitlines()[0] if cell else "" for cell in cells]


def test_the_list(show: Show, alarmed: tuple[Feed, Work, Served]) -> None:
    """Firing and clearing, then pending; all if asked; words of the search; each source is a link."""
    _, work, served = alarmed
    work.say(
        alarm("cpu", "web1", "firing", 2, column="cpu.busy_pct", n=12),
        alarm("disk full", "web2", "clearing", acked={"by": "ops", "at": "", "why": "known"}, held="quiet"),
        alarm("memory", "web3", "pending", n=None),
        alarm("memory", "web1", "ok"),
    )
    page = show(served.url + "?alarms=1")
    eventually(lambda: column(page, 1) == ["critical", "warning, clearing", "pending"], "the list")
    assert column(page, 2) == ["cpu", "disk full", "memory"]
    expect(page.locator("#alarms tbody tr").nth(1)).to_contain_text("acknowledged by ops: known, not told: quiet hours")
    expect(page.locator("#alarms tbody tr").nth(0)).to_contain_text("91.5 %")
    expect(page.locator("#alarms tbody tr").nth(0)).to_contain_text("1 min")
    expect(page.locator("#counts")).to_have_text("1 critical, 1 warning, 4 watched")
    expect(page).to_have_title("(2) Alarms · linemon")
    page.get_by_role("button", name="All").click()
    eventually(lambda: column(page, 1)[3:] == ["OK"], "all")
    page.fill("#find", "memory")
    eventually(lambda: column(page, 3) == ["web3", "web1"], "those that are looked for")
    page.fill("#find", "")
    eventually(lambda: len(column(page, 1)) == 4, "all")
    work.say(alarm("cpu", "web1", "ok"))
    page.get_by_role("button", name="Firing").click()
    expect(page.locator("#no-alarms")).to_be_visible()
    expect(page.locator("#no-alarms h2")).to_have_text("Nothing fires")
    expect(page).to_have_title("Alarms · linemon")


def test_what_is_done_from_the_list(show: Show, alarmed: tuple[Feed, Work, Served]) -> None:
    """Acknowledged, silenced and told of again, by the socket of `linemon work`; what it refuses is told."""
    _, work, served = alarmed
    work.say(alarm("disk full", "[x]*", "firing", n=3), alarm("cpu", "web1", "firing", n=4))
    page = show(served.url + "?alarms=1")
    page.get_by_role("button", name="Acknowledge disk full").click()
    eventually(lambda: work.asked == [{"do": "ack", "n": 3, "by": "page"}], "the command")
    page.get_by_label("Silence disk full").select_option("8 hours")
    eventually(lambda: len(work.asked) == 2, "the command")
    assert work.asked[1] == {"do": "silence", "pattern": "disk full@[[]x][*]", "for": "8h", "by": "page"}
    page.locator("h1").click()
    work.change(0, acked={"by": "page", "at": "", "why": ""}, silenced_until=iso_ns(time.time_ns() + 10**13))
    expect(page.locator("#alarms tbody tr").first).to_contain_text("acknowledged by page, silenced until ")
    assert page.get_by_role("button", name="Acknowledge disk full").count() == 0
    page.get_by_role("button", name="Tell of disk full").click()
    eventually(lambda: len(work.asked) == 3, "the command")
    assert work.asked[2] == {"do": "unsilence", "pattern": "disk full@[[]x][*]", "by": "page"}
    work.answer = '{"error": "no incident 4 goes on"}'
    page.get_by_role("button", name="Acknowledge cpu").click()
    expect(page.locator("#order-error")).to_have_text("no incident 4 goes on")


def test_alarms_that_do_not_run(show: Show, alarmed: tuple[Feed, Work, Served]) -> None:
    """Never: it says how they would. No longer: the last list stays, and it is said that it is old; no dot is shown."""
    _, work, served = alarmed
    page = show(served.url + "?alarms=1", wait="waiting")
    expect(page.locator("#no-alarms h2")).to_have_text("Alarms are not running")
    overview = show(served.url)
    expect(overview.locator("#hosts tbody a")).to_have_count(3)
    expect(overview.locator("#firing")).to_be_hidden()
    work.say(alarm("cpu", "web1", "firing"))
    expect(page.locator("#status")).to_have_attribute("data-state", "live")
    expect(overview.locator("#firing")).to_be_visible()
    expect(overview.locator("#hosts .dot:not(:empty)")).to_have_count(1)
    work.silent()
    expect(page.locator("#not-running")).to_contain_text("not running: this is how it was")
    assert column(page, 2) == ["cpu"]
    expect(overview.locator("#firing")).to_contain_text("Alarms are not running; the last that was known: 1 warning")
    expect(overview.locator("#hosts .dot:not(:empty)")).to_have_count(0)
    page.get_by_role("button", name="Acknowledge").click()  # the socket is another matter
    eventually(lambda: len(work.asked) == 1, "the command")


def test_the_strip_the_title_and_dots(show: Show, alarmed: tuple[Feed, Work, Served]) -> None:
    """On every page how many fire, and what; on the overview a dot at each source of which something does."""
    _, work, served = alarmed
    work.say(
        alarm("cpu", "web1", "firing", 2),
        *(alarm(f"disk {i}", "web2", "firing") for i in range(3)),
        alarm("cpu", "web3", "pending"),
    )
    page = show(served.url)
    said = "1 critical, 3 warnings: web1: cpu is 91.5 %; web2: disk 0 is 91.5 %; web2: disk 1 is 91.5 %, and 1 more"
    expect(page.locator("#firing")).to_have_text(said)
    assert page.title() == "(2) linemon", "so many sources are in trouble"
    expect(page.locator("#in-trouble")).to_contain_text("2 in trouble")
    dots = "(dots) => dots.map(({dataset}) => dataset.level ?? '')"
    eventually(lambda: page.locator("#hosts .dot").evaluate_all(dots) == ["critical", "warning", ""], "dots")
    source = show(served.url + "?source=web3")
    expect(source.locator("#firing")).to_have_text(said)
    assert source.title() == "(2) web3 · linemon"
    devices = show(served.url + "?devices=1", wait="waiting")
    expect(devices.locator("#firing")).to_have_text(said)
    work.say()
    expect(page.locator("#firing")).to_be_hidden()
    eventually(lambda: page.title() == "linemon", "the plain title")
    work.say(alarm("cpu", "web1", "clearing"))  # its text says a value that is well
    expect(page.locator("#firing")).to_have_text("1 warning: web1: cpu is 91.5 % (clearing)")
    page.locator("#firing").click()
    expect(page.locator("h1")).to_have_text("Alarms")


def test_limits_and_incidents_in_charts(show: Show, alarmed: tuple[Feed, Work, Served]) -> None:
    """Limits within the axis, and a band since an incident began, in the charts of the column; a switch hides both."""
    _, work, served = alarmed
    limits = {"warning": 60.0, "critical": 90.0}
    work.say(
        alarm("hot", "web1", "firing", 2, column="temp.core_celsius", limits=limits, ago=60),
        alarm("busy", "web1", "ok", column="cpu.0.busy_pct", limits=limits),
        alarm("busy", "web2", "firing", column="cpu.busy_pct", limits=limits),
    )
    page = show(served.url + "?source=web1")

    def levels(chart: int) -> list[float]:
        lines = drawn(page, chart)["ys"]
        return [line[0] for line in lines if len(line) == 2 and line[0] == line[1]]

    def bands(chart: int) -> list[float]:
        """How long they are (seconds)."""
        areas = drawn(page, chart, "areas")["xs"]
        return [(area[1] - area[0]) / 1000 for area in areas if len(area) == 4 and area[0] == area[3]]

    eventually(lambda: levels(1) == [60, 90], "limits of what is OK")
    assert levels(3) == []  # 60 and 90 °C are not on an axis around 51.5 °C
    [band] = bands(3)
    assert band == pytest.approx(60, abs=15)
    assert bands(0) == bands(1) == bands(2) == levels(0) == []
    page.click("#marks summary")
    page.get_by_role("button", name="Show marks and limits").click()
    eventually(lambda: levels(1) == bands(3) == [], "nothing of them")


RULE = """
[[alarm]]
name = "hot"
columns = "t"
value = "last()"
warning = "> 60"
keep = "1m"
"""


def test_with_what_judges_them(show: Show, tmp_path: Path) -> None:
    """Rows, `linemon work` and the page: it fires, has its limit and its mark, is acknowledged and silenced."""
    running = Running(tmp_path, RULE)
    work = RealWork(running.config, "alarms").start()
    served = Served(running.config)
    try:
        running.say("#source room1\n#columns t:°C\n20\n")
        eventually(lambda: "room1" in {each["source"] for each in read_alarms(running.store_path)[0]}, "it is judged")
        running.say("#source room1\n#columns t:°C\n70\n")
        page = show(served.url + "?alarms=1")
        eventually(lambda: column(page, 2) == ["hot"], "the incident")
        page.get_by_role("button", name="Acknowledge hot").click()
        expect(page.locator("#alarms tbody")).to_contain_text("acknowledged by page")
        page.get_by_label("Silence hot").select_option("1 hour")
        page.locator("h1").click()
        expect(page.locator("#alarms tbody")).to_contain_text("silenced until")
        [seen] = [each for each in read_alarms(running.store_path)[0] if each["state"] == "firing"]
        assert (seen["acked"]["by"], seen["silenced_until"] is None) == ("page", False)
        page.goto(served.url + "?source=room1")
        page.wait_for_function("linemon.received > 0")
        eventually(lambda: [60, 60] in drawn(page)["ys"], "the limit in the chart")
        eventually(lambda: "alarm" in {mark.kind for mark in running.store.marks()}, "the mark")
    finally:
        served.stop()
        work.stop()
        running.stop()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_list_at_every_size(show: Show, alarmed: tuple[Feed, Work, Served], scheme: str) -> None:
    """Nothing is cut off sideways, axe-core finds no fault, whatever names hold."""
    _, work, served = alarmed
    work.say(
        alarm("cpu", "<img src=x onerror=alert(1)>", "firing", 2, column="a" * 250),
        alarm("disk full", "w" * 200, "clearing", acked={"by": "page", "at": "", "why": "x" * 200}),
        alarm("memory", "web3", "pending", silenced_until=iso_ns(time.time_ns() + 10**13)),
    )
    page = show(served.url + "?alarms=1", color_scheme=scheme)
    eventually(lambda: len(column(page, 1)) == 3, "the list")
    assert page.locator("img").count() == 0
    for width in (1440, 1024, 390):
        page.set_viewport_size({"width": width, "height": 844})
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, width
        assert faults(page) == []
    overview = show(served.url, color_scheme=scheme)
    expect(overview.locator("#firing")).to_be_visible()
    assert faults(overview) == []
