"""Devices on the page: the list, and what is set of one on its own page, with a real collector behind it."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import NASTY, Served
from tests.browser.test_looks import faults
from tests.running import Running, eventually

Show = Callable[..., Page]
BORN: dict[str, Any] = {"interval": 1, "groups": ["cores"], "verbose": False, "label": "roof"}


class Meter:
    """A device that sends a row each interval, and applies what it is told when it is let."""

    def __init__(self, running: Running, name: str, serial: str) -> None:
        self.settings = dict(BORN)
        self.applies = threading.Event()
        self.applies.set()
        self._sock = running.connect()
        self._sock.settimeout(None)
        self._lock = threading.Lock()
        self._say(f"#source {name}", f"#device meter {serial}", f"#is 0 {json.dumps(BORN)}", "#columns power:W", "230")
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=each) for each in (self._listen, self._send)]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        self._stop.set()
        self.applies.set()
        with suppress(OSError):  # it was blocked, or is closed already
            self._sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._sock.close()

    def _say(self, *lines: str) -> None:
        with self._lock:
            self._sock.sendall("".join(f"{line}\n" for line in lines).encode())

    def _send(self) -> None:
        while not self._stop.wait(min(1.0, self.settings["interval"])):
            try:
                self._say("230")
            except OSError:
                return

    def _listen(self) -> None:
        with self._sock.makefile("rb") as answers:
            for line in answers:
                word, _, rest = line.decode().partition(" ")
                if word != "#set":
                    continue
                version, _, text = rest.partition(" ")
                wished = json.loads(text)
                self.applies.wait()
                slow = wished.get("interval", 1) > 30
                self.settings = BORN | {key: value for key, value in wished.items() if key != "interval" or not slow}
                refused = {"interval": "at most 30"} if slow else {}
                self._say(f"#is {version} {json.dumps(self.settings | ({'refused': refused} if refused else {}))}")


@pytest.fixture
def metered(tmp_path: Path) -> Iterator[tuple[Running, Meter, Served]]:
    running = Running(tmp_path)
    meter = Meter(running, "roof", "42")
    eventually(lambda: "roof" in running.store, "its rows")
    served = Served(running.config)
    yield running, meter, served
    served.stop()
    meter.close()
    assert running.stop() == 0


def fate(page: Page, key: str) -> Any:
    return page.locator(f'#settings tr[data-key="{key}"] .fate')


def test_a_setting_from_the_page(show: Show, metered: tuple[Running, Meter, Served]) -> None:
    """Dragged, it waits until the device has it, is applied within two intervals and a second, and leaves a mark."""
    running, meter, served = metered
    page = show(served.url + "?source=roof")
    page.locator("#device summary").click()
    expect(page.locator("#device-who")).to_have_text("meter 42")
    expect(page.locator("#settings tbody th")).to_have_text(list(BORN))
    meter.applies.clear()
    slider = page.get_by_label("interval, seconds")
    slider.focus()
    slider.press("ArrowLeft")
    expect(fate(page, "interval")).to_contain_text("waiting since")
    expect(page.locator("#device-fate")).to_contain_text("interval waiting since")
    meter.applies.set()
    expect(fate(page, "interval")).to_have_text("applied")
    assert meter.settings["interval"] == 0.5
    expect(page.locator("#setting-error")).to_be_hidden()
    expect(page.locator('#settings tr[data-key="interval"] td').first).to_have_text("0.5")
    rows = running.store["roof"].rows
    began = time.monotonic()
    eventually(lambda: running.store["roof"].rows >= rows + 4, "rows at the new pace")
    assert time.monotonic() - began < 4 * 0.5 + 2
    [mark] = running.store.marks()
    assert (mark.text, mark.source, mark.kind) == ("interval = 0.5", "roof", "setting")
    eventually(lambda: page.evaluate("() => linemon.model('texts of chart0').data.text.length") == 1, "it is drawn")


def test_keys_that_are_pressed_quickly(show: Show, metered: tuple[Running, Meter, Served]) -> None:
    """What they come to is what is set: no wish overtakes a later one, and the slider never jumps back."""
    running, meter, served = metered
    page = show(served.url + "?source=roof")
    page.locator("#device summary").click()
    slider = page.get_by_label("interval, seconds")
    slider.focus()
    page.keyboard.press("Home")
    for _ in range(9):
        page.keyboard.press("ArrowRight")  # 30 s
    expect(page.locator('#settings tr[data-key="interval"] td').first).to_have_text("30")
    expect(fate(page, "interval")).to_have_text("applied")
    expect(slider).to_have_value("9")
    wishes = [float(mark.text.removeprefix("interval = ")) for mark in running.store.marks()]
    assert wishes == sorted(wishes)
    assert (wishes[-1], meter.settings["interval"]) == (30, 30)


def test_fields_of_all_kinds(show: Show, metered: tuple[Running, Meter, Served]) -> None:
    """Lists, texts, boxes; what is no number is said here, what is refused by the device too; a wish is taken back."""
    _, meter, served = metered
    page = show(served.url + "?source=roof")
    page.locator("#device summary").click()
    for key, value in (("groups", "cores, top"), ("label", "Dach <b>")):
        page.locator(f"#setting-{key}").fill(value)
        page.locator(f"#setting-{key}").press("Enter")
        expect(fate(page, key)).to_have_text("applied")
    page.locator("#setting-verbose").check()
    page.locator("#title").click()
    expect(fate(page, "verbose")).to_have_text("applied")
    assert meter.settings == BORN | {"groups": ["cores", "top"], "label": "Dach <b>", "verbose": True}
    page.locator("#setting-interval").fill("fast")
    page.locator("#setting-interval").press("Enter")
    expect(page.locator("#setting-error")).to_have_text("interval: fast is no number")
    page.locator("#setting-interval").fill("45")
    page.locator("#setting-interval").press("Enter")
    expect(fate(page, "interval")).to_have_text("refused: at most 30")
    expect(page.locator("#device-fate")).to_have_text("interval refused: at most 30")
    assert faults(page) == []
    page.get_by_label("Take the wish for interval back").click()
    expect(fate(page, "interval")).to_have_text("")
    eventually(lambda: meter.settings["interval"] == 1, "what it came with")


def test_the_list_of_devices(show: Show, metered: tuple[Running, Meter, Served]) -> None:
    """Found by words, whatever their names; blocked from here; told of where they are away, or the collector is."""
    running, meter, served = metered
    other = Meter(running, NASTY[0], "43")
    page = show(served.url + "?devices=1")
    names = page.locator("#devices tbody td:nth-child(2) a")
    expect(names).to_have_text(sorted([NASTY[0], "roof"]))
    expect(page.locator("#counts")).to_have_text("2 registered, 2 connected")
    assert faults(page) == []
    page.get_by_label(f"Block {NASTY[0]}").click()
    expect(page.locator("#devices .level")).to_have_text(["blocked", "connected"])
    expect(page.locator("#order-error")).to_be_hidden()
    other.close()
    meter.close()
    page.locator("#find").fill("ROOF met")
    expect(names).to_have_text(["roof"])
    expect(page.locator("#devices .level")).to_have_text(["away"])
    page.locator("#find").fill("nothing such")
    expect(page.locator("#no-devices h2")).to_have_text("No such device")
    running.process.terminate()
    expect(page.locator("#no-collector")).to_have_text("no collector runs: `linemon up` starts one")


def test_a_page_that_is_open_to_everybody_sets_nothing(show: Show, tmp_path: Path) -> None:
    """Without a password, beyond loopback: it shows settings."""
    running = Running(tmp_path, '[dashboard]\nlisten = "0.0.0.0:5006"\nallow_open = true\n')
    meter = Meter(running, "roof", "42")
    eventually(lambda: "roof" in running.store, "its rows")
    served = Served(running.config)
    try:
        page = show(served.url + "?source=roof")
        page.locator("#device summary").click()
        expect(page.locator("#settings tbody tr")).to_have_count(4)
        expect(page.locator("#settings :is(input, button)")).to_have_count(0)
        told = page.evaluate("() => linemon.ask({do: 'set', name: 'roof', settings: {interval: 5}})")
        assert "sets nothing without [dashboard] password" in told["error"]
    finally:
        served.stop()
        meter.close()
        assert running.stop() == 0
