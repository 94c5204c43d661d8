"""The pages in a real browser, served by a real Bokeh server, from a real store."""

from __future__ import annotations

import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect, sync_playwright

from linemon.store.ring import ARRIVED
from linemon.store.writer import StoreWriter
from tests.forked import BOKEH

# Without windows it takes half of the processor's time: tests/tools.sh brings it where Debian has it.
CHROMIUM = shutil.which("chromium-headless-shell") or "/usr/bin/chromium"
APP = Path(__file__).parents[2] / "bokeh_app"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
COLUMNS = (
    "cpu.busy_pct",
    "cpu.user_pct",
    "cpu.system_pct",
    "cpu.0.busy_pct",
    "cpu.1.busy_pct",
    "net.rx_bytes_per_s",
    "net.tx_bytes_per_s",
    "temp.core_celsius",
)
Row = dict[str, float]  # by column
expect.set_options(timeout=30_000)  # on a busy machine things come late; what never comes fails later
NASTY = ("<img src=x onerror=alert(1)>", 'a/b;c="d"&e\'f?#%20+', "{{ 7 * 7 }} 日本 語")


class Feed:
    """A store written as the collector writes it, with one source of several columns that moves all the time."""

    def __init__(self, folder: Path) -> None:
        self.config = folder / "linemon.toml"
        self.config.write_text(f'[store]\npath = "{folder / "store"}"\n[agent]\nname = "web1"\n')
        self.store = folder / "store"
        self._writer: StoreWriter | None = None
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._mover = threading.Thread(target=self._move)

    def write(
        self,
        name: str,
        values: dict[str, float],
        *,
        units: tuple[str, ...] = (),
        ago: float = 0.0,
        at: int = 0,
        came: float | None = None,
    ) -> None:
        """A row of now, of `ago` seconds before, or of `at` ns since 1970; it came then, or `came` seconds before."""
        with self._lock:
            self._writer = self._writer or StoreWriter(self.store, 3600, 1000)
            ring = self._writer.bind(name, tuple(values), units or ("",) * len(values))
            missing = [np.nan] * (ring.width - len(values))
            row = np.array([[0.0, *values.values(), *missing]]).view(np.int64)
            row[0, 0] = at or int((time.time() - ago) * 1e9)
            ring.arena.append_to(ring.entry.slot, row)
            came = time.time() - came if came is not None else min(time.time(), row[0, 0] / 1e9)
            ring.arena.cells[ring.entry.slot, ARRIVED] = int(came * 1e9)
            ring.arena.note_arrivals()

    def past(self, name: str, rows: Mapping[int, Row] | Mapping[float, Row], *, units: tuple[str, ...] = ()) -> None:
        """Rows of so many seconds ago each, which came together a moment ago.

        Such a source owes no next row: it is not called silent, however long it takes until a page looks at it.
        """
        with self._lock:
            self._writer = self._writer or StoreWriter(self.store, 3600, 1000)
            columns = tuple(next(iter(rows.values())))
            ring, now = self._writer.bind(name, columns, units or ("",) * len(columns)), time.time()
            block = np.array([[0.0, *values.values()] for values in rows.values()]).view(np.int64)
            block[:, 0] = [int((now - ago) * 1e9) for ago in rows]
            ring.arena.append_to(ring.entry.slot, block)
            ring.arena.note_arrivals()

    def move(self, seconds_before: int = 120) -> None:
        """Give web1 a past, and a new row every 0.2 s from now on."""
        for ago in range(seconds_before, 0, -1):
            self._step(ago)
        self._mover.start()

    def stop(self) -> None:
        self._stop.set()
        if self._mover.ident:
            self._mover.join()
        if self._writer:
            self._writer.close()

    def _step(self, ago: float) -> None:
        wave = np.sin((time.time() - ago) / 7)
        values = [50 + 20 * wave, 30 + 20 * wave, 20, 20, 40 + wave, 2e6 + 1e6 * wave, 5e5, 51.5]
        self.write("web1", dict(zip(COLUMNS, values, strict=True)), ago=ago)

    def _move(self) -> None:
        while not self._stop.wait(0.2):
            self._step(0.0)


def errors_in(log: str) -> list[str]:
    """The errors in a server's log, but for Bokeh's own about a page that closed while they shook hands."""
    records = re.split(r"(?m)^(?=\d{4}-\d\d-\d\d )", log)
    found = [each for each in records if "ERROR" in each or "Traceback" in each]
    not_bokehs = re.compile(r'(?m)^  File "(?!.*/site-packages/(?:bokeh|tornado)/)')
    return [each for each in found if not_bokehs.search(each) or "assert self._session is not None" not in each]


class Served:
    """`bokeh serve bokeh_app` in a process of its own."""

    def __init__(self, config: Path, port: int = 0) -> None:
        ours, theirs = os.pipe()
        with open(theirs, "wb") as log, open(os.devnull, "r+b") as nothing:
            files = [nothing.fileno(), nothing.fileno(), log.fileno()]
            self.process = BOKEH.start(["serve", str(APP), "--port", str(port)], files, LINEMON_CONFIG=str(config))
        self._stderr = open(ours)  # noqa: SIM115
        self.log = ""
        for line in self._stderr:
            self.log += line
            if found := re.search(r"running at: (http://\S+)", line):
                self.url = found[1]
                break
        else:
            raise AssertionError(self.log)
        self.port = urlsplit(self.url).port or 0
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        for line in self._stderr:
            self.log += line

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)
        self._reader.join()
        self._stderr.close()
        assert not errors_in(self.log), self.log


@pytest.fixture(scope="session", autouse=True)
def nursery() -> None:
    """It outlives the test that first needs it, which is not to have left its socket."""
    BOKEH.prepare()


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def feed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Feed]:
    """The store that most tests look at."""
    feed = Feed(tmp_path_factory.mktemp("page"))
    feed.move()
    feed.write("room1.humidity", {"value": 41.0}, units=("%",))
    for name in (*NASTY, *(f"rack{i}" for i in range(1, 12))):
        feed.write(name, {"value": 7.25})
    yield feed
    feed.stop()


@pytest.fixture(scope="module")
def served(feed: Feed) -> Iterator[Served]:
    served = Served(feed.config)
    yield served
    served.stop()


@pytest.fixture
def own_feed(tmp_path: Path) -> Iterator[Feed]:
    """A store for a test that needs an empty one."""
    feed = Feed(tmp_path)
    yield feed
    feed.stop()


@pytest.fixture
def show(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Open a page; whatever the test does, nothing may complain and nothing may be asked of a foreign host."""
    contexts = []
    complaints: list[str] = []
    hosts: set[str | None] = set()

    def note(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            complaints.append(f"{message.type}: {message.text}")

    def asked(request: Request) -> None:
        if not request.url.startswith("data:"):
            hosts.add(urlsplit(request.url).hostname)

    def show(url: str, wait: str | None = "live", script: str = "", **settings: object) -> Page:
        settings = {"viewport": {"width": 1280, "height": 800}} | settings
        context = browser.new_context(**settings)  # type: ignore[arg-type]  # whatever the test asks for
        contexts.append(context)
        page = context.new_page()
        page.on("console", note)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", asked)
        page.on("websocket", lambda socket: hosts.add(urlsplit(socket.url).hostname))
        if script:
            page.add_init_script(script)
        page.goto(url)
        if wait:
            expect(page.locator("#status")).to_have_attribute("data-state", wait)
        return page

    yield show
    said = complaints.copy()  # a page that is being closed may complain that its server has gone
    for context in contexts:
        context.close()
    assert not said
    assert hosts <= {"localhost", "127.0.0.1"}
