"""`make bench-dashboard`: the dashboard's budgets, measured in Chromium against a real collector and a real server.

Latency is from the time stamp of a row, made when it is sent, to the end of the last repaint that it causes in the
browser; both clocks are this machine's. Medians of three runs, but for the growth: that takes five minutes.
"""

from __future__ import annotations

import json
import math
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
from playwright.sync_api import Browser, Page, sync_playwright

from linemon.store.reader import Store

RUNS = int(os.environ.get("BENCH_RUNS", "3"))
WATCH_S = float(os.environ.get("BENCH_SECONDS", "15"))
FLAGS = ["--no-sandbox", "--disable-gpu", "--js-flags=--expose-gc", "--enable-precise-memory-info"]
GROUPS = 8  # charts, of 60 columns
COLUMNS = [f"g{i % GROUPS}.m{i // GROUPS}" for i in range(60)]
HOST = [f"g{i % 16}.m{i // 16}" for i in range(64)]  # of sixteen charts
QUICK_S = 0.1
HOSTS = 500
ROOMS, IN_A_ROOM = 2375, ("temperature", "humidity", "co2", "light")  # with the hosts, 10,000 sources
HOST_COLUMNS = ("cpu.busy_pct", "mem.used_pct", "net.rx_bytes_per_s")
DAY_S, EIGHT_H_S = 86_400, 28_800
SESSIONS = int(os.environ.get("BENCH_SESSIONS", "50"))
HOOK = """
window.wire = {bytes: 0}
window.paints = []
const Real = WebSocket
window.WebSocket = class extends Real {
  constructor(...arguments_) {
    super(...arguments_)
    this.addEventListener("message", ({data}) => { wire.bytes += data.length ?? data.byteLength })
  }
}
"""
WATCH_PAINTS = """
() => {
  for (const view of Bokeh.index.roots) {
    const name = ["_actual_paint", "actual_paint"].find((each) => typeof view[each] == "function")
    if (!name) continue
    const paint = view[name]
    view[name] = function (...given) { const done = paint.apply(this, given); paints.push(Date.now()); return done }
  }
  return 1
}
"""


class Setup:
    """A collector, a dashboard, and what is sent to them."""

    def __init__(self, folder: Path) -> None:
        self.config = folder / "linemon.toml"
        self.config.write_text(
            f'[store]\npath = "{folder / "store"}"\npoints = {DAY_S}\nmax_sources = 12000\n'
            '[tcp]\nlisten = "127.0.0.1:0"\n'
            '[http]\nlisten = "127.0.0.1:0"\n[[tap]]\nlisten = "127.0.0.1:0"\n[dashboard]\nlisten = "127.0.0.1:0"\n'
        )
        self.collector = self._run("collect", subprocess.DEVNULL)
        self.store = Store(folder / "store")
        wait_until(lambda: bool(self.store.status().get("tcp")))
        host, _, port = self.store.status()["tcp"].rpartition(":")
        self.address = host, int(port)
        self.dashboard = self._run("dashboard", subprocess.PIPE)
        assert self.dashboard.stderr
        self.url = self.dashboard.stderr.readline().decode().split()[-1]
        self.server = psutil.Process(self.dashboard.pid)
        self._stop = threading.Event()
        self._senders: list[threading.Thread] = []

    def _run(self, part: str, stderr: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-m", "linemon", part, "--config", str(self.config)], stderr=stderr)

    def feed(self, name: str, past_s: int, columns: list[str] = COLUMNS, every_s: float = 1.0) -> None:
        """A row of so many columns every so many seconds, with a past of one a second."""
        sock = socket.create_connection(self.address)
        sock.sendall(f"#source {name}\n#columns time {' '.join(columns)}\n".encode())
        now = time.time()
        for start in range(past_s, 0, -2000):
            rows = (row(now - ago, len(columns)) for ago in range(start, max(0, start - 2000), -1))
            sock.sendall("".join(rows).encode())
        self._every(every_s, lambda: sock.sendall(row(time.time(), len(columns)).encode()))

    def feed_hosts(self) -> None:
        sock = socket.create_connection(self.address)
        names = [f"host{i}" for i in range(HOSTS)]

        def send() -> None:
            at = time.time()
            lines = []
            for i, name in enumerate(names):
                lines.append(f"#source {name}\n#columns time {' '.join(HOST_COLUMNS)}\n{row(at, 3, i)}")
            sock.sendall("".join(lines).encode())

        self._every(1.0, send)

    def feed_rooms(self) -> None:
        """Metrics: each is a source."""
        sock = socket.create_connection(self.address)
        names = [f"room{i}.{measure}" for i in range(ROOMS) for measure in IN_A_ROOM]

        def send() -> None:
            at = time.time()
            sock.sendall(
                "".join(f"{name} {math.sin(at / 20 + i):.3f} {at:.3f}\n" for i, name in enumerate(names)).encode()
            )

        self._every(1.0, send)

    def replay(self, name: str, past_s: int, faster: int) -> None:
        """Sixty columns at 1 Hz up to now, so many times faster."""
        sock = socket.create_connection(self.address)
        sock.sendall(f"#source {name}\n#columns time {' '.join(COLUMNS)}\n".encode())
        start = time.time()

        def run() -> None:
            sent = 0
            while sent < past_s and not self._stop.wait(0.05):
                due = min(past_s, int((time.time() - start) * faster))
                sock.sendall("".join(row(start - past_s + n, 60) for n in range(sent, due)).encode())
                sent = due

        self._senders.append(threading.Thread(target=run, daemon=True))
        self._senders[-1].start()

    def _every(self, seconds: float, send: Callable[[], None]) -> None:
        def run() -> None:
            while not self._stop.wait(seconds - time.time() % seconds + 0.1 * seconds):
                send()

        self._senders.append(threading.Thread(target=run, daemon=True))
        self._senders[-1].start()

    def own_memory(self) -> int:
        """Bytes that the dashboard alone holds: pages of the rings, which grow meanwhile, belong to the store."""
        return int(self.server.memory_full_info().uss)

    def stop(self) -> None:
        self._stop.set()
        for process in self.dashboard, self.collector:
            process.terminate()
            process.wait(20)


def row(at: float, width: int, phase: int = 0) -> str:
    values = (50 + 40 * math.sin(at / (20 + i) + phase) for i in range(width))
    return f"{at:.3f} {' '.join(f'{value:.3f}' for value in values)}\n"


def wait_until(look: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < end, "not in time"
        time.sleep(0.05)


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] if values else math.nan


class Tab:
    """One page in a context of its own: nothing is cached."""

    def __init__(self, browser: Browser, url: str, drawn: str) -> None:
        self.context = browser.new_context(viewport={"width": 1440, "height": 900})
        self.page: Page = self.context.new_page()
        self.page.add_init_script(HOOK)
        self.cdp = self.context.new_cdp_session(self.page)
        self.http = 0.0
        self.cdp.on("Network.loadingFinished", self._loaded)
        self.cdp.send("Network.enable")
        self.cdp.send("Performance.enable")
        start = time.monotonic()
        self.page.goto(url)
        self.page.wait_for_function(drawn, polling=20)
        self.page.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
        self.load_s = time.monotonic() - start
        self.wire = self.page.evaluate("wire.bytes")

    def _loaded(self, event: dict[str, Any]) -> None:
        self.http += event["encodedDataLength"]

    def metric(self, name: str) -> float:
        return float(next(m["value"] for m in self.cdp.send("Performance.getMetrics")["metrics"] if m["name"] == name))

    def busy_pct(self, seconds: float) -> float:
        before, start = self.metric("TaskDuration"), time.monotonic()
        self.page.wait_for_timeout(seconds * 1000)
        return 100 * (self.metric("TaskDuration") - before) / (time.monotonic() - start)

    def heap(self) -> float:
        self.cdp.send("HeapProfiler.collectGarbage")
        return self.metric("JSHeapUsedSize") / 1e6

    def close(self) -> None:
        self.context.close()


LINES = "window.linemon === undefined && typeof linemon == 'object' && linemon.charts.sources[0]?.length > 1"
ROWS = "document.querySelectorAll('#hosts tbody tr').length >= 25 && linemon.model('lines of sparks')"

IN_SIGHT = (
    "[...document.querySelectorAll('.sources tbody:not(.space) tr')].some((row) => {"
    "const {top, bottom} = row.getBoundingClientRect(); return top < innerHeight - 40 && bottom > innerHeight - 80})"
)


def cpu_s(process: psutil.Process) -> float:
    """Seconds that its threads have run, to the nanosecond: ticks of 10 ms are too coarse for so little."""
    tasks = Path(f"/proc/{process.pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def rest() -> None:
    """Until the server has forgotten the sessions of closed pages, which takes it time; both are Bokeh's defaults."""
    time.sleep(15 + 17 + 3)


def source_page(setup: Setup, browser: Browser, found: dict[str, list[float]]) -> None:
    """Load, latency, main thread and server, of one page with sixty lines in eight charts."""
    rest()
    tab = Tab(browser, f"{setup.url}?source=one&window=1h", LINES)
    found["load s"].append(tab.load_s)
    found["HTTP MB"].append(tab.http / 1e6)
    found["websocket kB"].append(tab.wire / 1e3)
    tab.page.wait_for_timeout(1500)
    tab.page.evaluate(WATCH_PAINTS)
    tab.page.evaluate(
        """() => {
          window.arrivals = []
          let last = linemon.charts.newest
          linemon.model("answers").properties.packed.change.connect(() => {
            if (linemon.charts.newest > last) arrivals.push([last = linemon.charts.newest, Date.now()])
          })
        }"""
    )
    before, received = cpu_s(setup.server), tab.page.evaluate("linemon.received")
    found["main thread %"].append(tab.busy_pct(WATCH_S))
    count = tab.page.evaluate("linemon.received") - received
    found["server ms, one viewer"].append(1e3 * (cpu_s(setup.server) - before) / max(1, count))
    arrivals, paints = tab.page.evaluate("[arrivals, paints]")
    painted = []
    for i, (made, at) in enumerate(arrivals):
        until = arrivals[i + 1][1] if i + 1 < len(arrivals) else math.inf
        of_this = [paint for paint in paints if at <= paint < min(until, at + 400)]
        painted.append((max(of_this) if of_this else at) - made)
    found["painted p50 ms"].append(percentile(painted, 0.5))
    found["painted p95 ms"].append(percentile(painted, 0.95))
    tab.close()


def host_page(setup: Setup, browser: Browser, found: dict[str, list[float]]) -> None:
    """What a page of sixteen charts takes until it is painted, and how long another stands still while four come."""
    rest()
    tab = Tab(browser, f"{setup.url}?source=host", LINES)
    found["first paint s"].append(tab.load_s)
    tab.close()
    tab = Tab(browser, f"{setup.url}?source=quick&window=1m", LINES)
    tab.page.wait_for_timeout(3000)
    tab.page.evaluate(
        """() => {
          window.longest = 0
          let last = performance.now()
          linemon.model("answers").properties.packed.change.connect(() => {
            const now = performance.now()
            longest = Math.max(longest, now - last)
            last = now
          })
        }"""
    )
    before = cpu_s(setup.server)

    def open_page(_: int) -> None:
        with urllib.request.urlopen(f"{setup.url}?source=host") as answer:
            answer.read()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(open_page, range(4)))
    found["server ms, a host page"].append(1e3 * (cpu_s(setup.server) - before) / 4)
    tab.page.wait_for_timeout(1000)
    found["stands still ms"].append(tab.page.evaluate("longest"))
    tab.close()


def zoom(setup: Setup, browser: Browser, found: dict[str, list[float]]) -> None:
    """From a day to five minutes, until the rows themselves are drawn."""
    tab = Tab(browser, f"{setup.url}?source=one&window=24h", LINES)
    tab.page.wait_for_timeout(2000)
    found["zoom ms"].append(
        tab.page.evaluate(
            """() => new Promise((done) => {
              const start = performance.now(), middle = linemon.charts.newest - 6 * 3600e3
              linemon.time.go(middle - 150e3, middle + 150e3)
              const look = () => {
                if (linemon.charts.sources[0].bucket > 0) return setTimeout(look, 1)
                requestAnimationFrame(() => setTimeout(() => done(performance.now() - start)))
              }
              look()
            })"""
        )
    )
    tab.close()


def overview(setup: Setup, browser: Browser, found: dict[str, list[float]]) -> None:
    tab = Tab(browser, setup.url, ROWS)
    found["overview load s"].append(tab.load_s)
    tab.page.wait_for_timeout(2000)
    found["overview main thread %"].append(tab.busy_pct(WATCH_S))
    tab.close()


def ten_thousand(setup: Setup, browser: Browser, found: dict[str, list[float]]) -> None:
    """The overview of 10,000 sources: what is in sight is sent, whatever the rest does."""
    rest()
    idle, start = cpu_s(setup.server), time.monotonic()
    time.sleep(WATCH_S)
    idle = (cpu_s(setup.server) - idle) / (time.monotonic() - start)
    tab = Tab(browser, setup.url, ROWS)
    found["10,000 load s"].append(tab.load_s)
    tab.page.wait_for_timeout(12_000)  # at first it is asked of all what is usual
    before, wire, start = cpu_s(setup.server), tab.page.evaluate("wire.bytes"), time.monotonic()
    found["10,000 main thread %"].append(tab.busy_pct(WATCH_S))
    seconds = time.monotonic() - start
    found["10,000 server %"].append(100 * ((cpu_s(setup.server) - before) / seconds - idle))
    found["10,000 kB/s"].append((tab.page.evaluate("wire.bytes") - wire) / 1e3 / seconds)
    scroll = "(to) => { scrollTo(0, to); return 1 }"
    late = []
    for to in range(20_000, 280_000, 26_000):
        tab.page.evaluate(scroll, to)
        begin = time.monotonic()
        tab.page.wait_for_function(IN_SIGHT, polling=5)
        late.append(1e3 * (time.monotonic() - begin))
    found["10,000 scrolled ms"].append(statistics.median(late))
    tab.close()


def ten_viewers(setup: Setup, browser: Browser, found: dict[str, list[float]]) -> None:
    rest()
    tabs = [Tab(browser, f"{setup.url}?source=one", LINES) for _ in range(10)]
    tabs[0].page.wait_for_timeout(3000)
    received = "linemon.received"
    before, start, count = cpu_s(setup.server), time.monotonic(), tabs[0].page.evaluate(received)
    tabs[0].page.wait_for_timeout(WATCH_S * 1000)
    spent, count = cpu_s(setup.server) - before, tabs[0].page.evaluate(received) - count
    found["10 viewers %"].append(100 * spent / (time.monotonic() - start))
    found["server ms, of ten each"].append(1e3 * spent / len(tabs) / max(1, count))
    for tab in tabs:
        tab.close()


def growth(setup: Setup, browser: Browser, found: dict[str, list[float]]) -> None:
    """A page that stays open for eight hours' worth of rows, a hundred a second, while others are opened and closed."""
    setup.replay("replayed", EIGHT_H_S, faster=100)
    wait_until(lambda: "replayed" in setup.store.sources())
    url = f"{setup.url}?source=replayed&window=1h"
    tab = Tab(browser, url, LINES)
    for _ in range(5):  # the first ones fill caches
        Tab(browser, url, LINES).close()
    wait_until(lambda: setup.store["replayed"].rows > 3600, 120)  # the page holds an hour, as it will to the end
    own, heap = setup.own_memory(), tab.heap()
    for _ in range(SESSIONS):
        Tab(browser, url, LINES).close()
    wait_until(lambda: setup.store["replayed"].rows == EIGHT_H_S, EIGHT_H_S / 50)
    rest()
    newest = setup.store["replayed"].newest
    assert newest is not None
    assert abs(tab.page.evaluate("linemon.charts.newest") - newest.astype(int) / 1e6) < 1
    found["server growth MB"].append((setup.own_memory() - own) / 1e6)
    found["heap growth %"].append(100 * (tab.heap() - heap) / heap)
    tab.close()


BUDGETS = {
    "painted p50 ms": 250.0,
    "painted p95 ms": 100.0,
    "main thread %": 20.0,
    "server ms, one viewer": 1.5,
    "server ms, of ten each": 1.5,
    "10 viewers %": 5.0,
    "load s": 2.5,
    "HTTP MB": 2.2,
    "websocket kB": 300.0,
    "first paint s": 0.7,
    "server ms, a host page": 300.0,
    "stands still ms": 600.0,
    "zoom ms": 400.0,
    "overview load s": 3.0,
    "overview main thread %": 30.0,
    "10,000 load s": 2.0,
    "10,000 main thread %": 15.0,
    "10,000 server %": 2.5,
    "10,000 kB/s": 20.0,
    "10,000 scrolled ms": 200.0,
    "server growth MB": 20.0,
    "heap growth %": 10.0,
}


def run(part: Callable[..., None], setup: Setup, browser: Browser, found: dict[str, list[float]]) -> None:
    """One part; says at once what it has found."""
    before = {name: len(values) for name, values in found.items()}
    part(setup, browser, found)
    new = {name: round(values[-1], 1) for name, values in found.items() if len(values) > before[name]}
    print(f"{part.__name__}: {new}", file=sys.stderr, flush=True)


def main() -> int:
    """Measure and print; 1 where a budget is not kept."""
    found: dict[str, list[float]] = {name: [] for name in BUDGETS}
    load = psutil.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        setup = Setup(Path(folder))
        try:
            setup.feed("one", DAY_S)
            setup.feed("host", 300, HOST)
            setup.feed("quick", 60, COLUMNS[:6], QUICK_S)
            wait_until(lambda: "one" in setup.store.sources() and setup.store["one"].rows >= DAY_S - 1, 120)
            for part in [source_page, host_page, zoom, ten_viewers] * RUNS + [growth]:
                run(part, setup, browser, found)
            setup.feed_hosts()
            wait_until(lambda: len(setup.store.sources()) > HOSTS)
            for part in [overview] * RUNS:
                run(part, setup, browser, found)
            setup.feed_rooms()
            wait_until(lambda: len(setup.store.sources()) >= HOSTS + len(IN_A_ROOM) * ROOMS)
            for part in [ten_thousand] * RUNS:
                run(part, setup, browser, found)
        finally:
            browser.close()
            setup.stop()
    print(f"load of the machine before: {load:.2f}, after: {psutil.getloadavg()[0]:.2f}, {psutil.cpu_count()} cores")
    missed = 0
    for name, budget in BUDGETS.items():
        median = statistics.median(found[name])
        missed += median > budget
        mark = "" if median <= budget else "  MISSED"
        print(
            f"{name:24} {median:8.1f}   budget {budget:6.1f}{mark}   {json.dumps([round(v, 1) for v in found[name]])}"
        )
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
