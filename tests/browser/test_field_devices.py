"""A smart meter from its port to the chart: the agent's one file, a real collector, the page."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
import time
import tty
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Served
from tests.browser.looking import drawn
from tests.meters import P1_SERIAL, p1
from tests.running import Running, archive, eventually

NAME = f"dsmr5.ISk-M550E-1012.{P1_SERIAL}"


def telegrams(port: int, stop: threading.Event) -> None:
    """One a second, with the time of now."""
    while not stop.wait(1.0):
        now = datetime.now(ZoneInfo("Europe/Amsterdam"))
        os.write(port, p1(now.second / 10, f"{now:%y%m%d%H%M%S}{'S' if now.dst() else 'W'}"))


@pytest.fixture
def meter(tmp_path: Path) -> Iterator[tuple[Running, Served]]:
    """A meter on a pseudo-terminal, an agent that reads it, a collector and its page."""
    running = Running(tmp_path)
    far, near = os.openpty()
    tty.setraw(near)
    stop = threading.Event()
    thread = threading.Thread(target=telegrams, args=(far, stop))
    thread.start()
    to = "{}:{}".format(*running.address())
    command = [sys.executable, str(archive(tmp_path / "agent")), "--to", to, "--read", f"serial:{os.ttyname(near)}"]
    agent = subprocess.Popen([*command, "--spool", str(tmp_path / "spool")])
    eventually(lambda: NAME in running.store, "its rows")
    served = Served(running.config)
    yield running, served
    served.stop()
    agent.terminate()
    agent.wait()
    stop.set()
    thread.join()
    os.close(far)
    os.close(near)
    assert running.stop() == 0


def test_a_smart_meter_is_plotted_and_set(show: Callable[..., Page], meter: tuple[Running, Served]) -> None:
    """It named itself; a drag of the slider, and the chart has its points at the new pace."""
    running, served = meter
    page = show(f"{served.url}?source={NAME}")
    page.locator("#device summary").click()
    expect(page.locator("#device-who")).to_have_text(f"dsmr5.ISk-M550E-1012 {P1_SERIAL}")
    slider = page.get_by_label("interval, seconds")
    slider.focus()
    slider.press("Home")
    for _ in range(5):
        slider.press("ArrowRight")  # 2 s
    expect(page.locator('#settings tr[data-key="interval"] .fate')).to_have_text("applied")  # the last or one before
    began = time.time()

    def paces() -> list[float]:
        """Seconds between the newest points of the first line."""
        times = [at for at in drawn(page)["xs"][0] if at / 1000 > began]
        return [(later - sooner) / 1000 for sooner, later in itertools.pairwise(times)]

    eventually(lambda: paces()[-3:] == [2.0, 2.0, 2.0], "points at the new pace")
    assert running.store[NAME].columns[:2] == ("power_import", "power_export")
