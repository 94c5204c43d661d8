"""`python -m tests.browser.picture`: the pictures in README and docs/ANALYSIS.md, of made-up hosts."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
from playwright.sync_api import Playwright, sync_playwright

import linemon
from bokeh_app.kept import Kept
from linemon.store.marks import Mark
from linemon.tasks import forecast, normal
from tests.browser.conftest import CHROMIUM, FLAGS, Feed, Served

DOCS = Path(__file__).parents[2] / "docs"
DAYS, STEP_S = 14, 360
WIDTH, HEIGHT = 1180, 560
COLUMNS = {"cpu.busy_pct": (14.0, 46.0, 3.0), "net.rx_bytes_per_s": (4e5, 3.2e6, 2e5)}


def host(now: float) -> dict[float, dict[str, float]]:
    """Rows by their age in seconds: busy by day, less at weekends, and this night for 50 minutes as never."""
    chance, rows = np.random.default_rng(1), {}
    for ago in range(DAYS * 86400, -1, -STEP_S):
        days = (now - ago) / 86400
        by_day = np.exp(-((days % 1 * 24 - 14) ** 2) / 24) * (0.35 if int(days + 3) % 7 > 4 else 1.0)
        odd = 0.7 if 9000 < ago < 12000 else 0.0
        rows[float(ago)] = {
            name: max(0.0, least + swing * (by_day + odd) + noise * chance.standard_normal())
            for name, (least, swing, noise) in COLUMNS.items()
        }
    return rows


def busy(ago: float) -> dict[str, float]:
    """A row of a host by its age in seconds: something was rolled out eight minutes ago, and it is busier since."""
    chance, more = np.random.default_rng(int(ago)), 1.0 if ago < 480 else 0.0
    slow, quick, noise = np.sin(ago / 190), np.sin(ago / 23), chance.standard_normal(12)
    user = 24 + 9 * slow + 26 * more + 2 * noise[0]
    system, waits = 7 + 2 * slow + 5 * more + noise[1] / 2, max(0.0, 1 + 2 * more * quick + noise[2] / 2)
    down, up = 3.2e6 + 1.4e6 * slow + 2.5e6 * more + 2e5 * noise[3], 9e5 + 3e5 * slow + 6e5 * more + 6e4 * noise[4]
    written = max(0.0, 4e5 * quick + 5e5 * more + 2e5 * noise[5])
    return {
        "cpu.busy_pct": user + system + waits,
        "cpu.user_pct": user,
        "cpu.system_pct": system,
        "cpu.iowait_pct": waits,
        "load.1m": (user + system) / 18 + noise[6] / 12,
        "load.5m": 2.2 + slow / 3 + more,
        "load.15m": 2.0 + slow / 5 + more / 2,
        "mem.used_pct": 51 + 2 * slow + (480 - ago) / 40 * more,
        "mem.used_bytes": 8.4e9 + 3e8 * slow + (480 - ago) * 4e6 * more,
        "mem.cached_bytes": 3.3e9 - 1e8 * slow,
        "net.rx_bytes_per_s": down,
        "net.tx_bytes_per_s": up,
        "disk.read_bytes_per_s": max(0.0, 3e5 * slow + 1e5 * noise[7]),
        "disk.write_bytes_per_s": written,
        "psi.cpu.some_avg10": max(0.0, 2 + 14 * more + 3 * quick),
        "temp.cpu_celsius": 47 + 3 * slow + 11 * more + noise[8] / 3,
        "fs.root.used_pct": 71.4 + (900 - ago) / 600,
    }


def draw_page(playwright: Playwright) -> None:
    """The page of a host, with a mark, and a limit that it is beyond."""
    with tempfile.TemporaryDirectory() as folder:
        feed = Feed(Path(folder))
        feed.config.write_text(f'{feed.config.read_text()}[dashboard]\nstate = "{folder}/dashboard.json"\n')
        Kept(Path(folder) / "dashboard.json").change({("columns", "web2", "cpu.busy_pct", "warn"): 60.0}, {})
        now = time.time()
        feed.past("web2", {float(ago): busy(ago) for ago in range(900, -1, -1)})
        assert feed._writer
        feed._writer.marks.add(Mark.of(int((now - 480) * 1e9), "release 2.4", "web2", "note"))
        served = Served(feed.config)
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = chromium.new_page(viewport={"width": 1440, "height": 900}, color_scheme="dark")
        page.goto(f"{served.url}?source=web2&window=15m")
        page.wait_for_function("linemon.charts.sources[0]?.length > 0")
        feed.write("web2", busy(0))
        page.wait_for_timeout(3000)
        page.screenshot(path=DOCS / "page.png")
        chromium.close()
        served.stop()
        feed.stop()


def draw_analysis(playwright: Playwright) -> None:
    """What tasks say of a host."""
    with tempfile.TemporaryDirectory() as folder:
        feed = Feed(Path(folder))
        now = time.time() // STEP_S * STEP_S
        feed.past("web1", host(now))
        store = linemon.open(feed.store)
        rows, end = store["web1"].between(), np.datetime64(int(now), "s")
        for name, task, back in ("normal", normal, 24), ("forecast", forecast, 0):
            times, found = task(rows, at=end - np.timedelta64(back, "h"))
            if name == "normal":  # of the day that was, and of the one that comes
                more = task(rows, at=end)
                times, found = (
                    np.concatenate([times, more[0]]),
                    {key: np.concatenate([each, more[1][key]]) for key, each in found.items()},
                )
            ages = (end - times) / np.timedelta64(1, "s") + time.time() - now
            names = [key.rpartition(":")[0] for key in found]
            feed.past(
                f"web1~{name}",
                {
                    float(ago): dict(zip(names, row, strict=True))
                    for ago, *row in zip(ages, *found.values(), strict=True)
                },
            )
        served = Served(feed.config)
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = chromium.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.goto(f"{served.url}?plot={','.join(f'web1:{name}' for name in COLUMNS)}&beside=1&window=24h")
        page.wait_for_function(
            "linemon.charts.sources[0]?.length > 0 && document.querySelectorAll('.behind').length > 3"
        )
        page.wait_for_timeout(1000)
        page.locator(".cards").screenshot(path=DOCS / "analysis.png")
        chromium.close()
        served.stop()
        feed.stop()


if __name__ == "__main__":
    with sync_playwright() as started:
        draw_page(started)
        draw_analysis(started)
