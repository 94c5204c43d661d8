"""`python -m tests.browser.picture`: the picture in docs/ANALYSIS.md, of a made-up host and what tasks say of it."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
from playwright.sync_api import sync_playwright

import linemon
from linemon.tasks import forecast, normal
from tests.browser.conftest import CHROMIUM, FLAGS, Feed, Served

FILE = Path(__file__).parents[2] / "docs" / "analysis.png"
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


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
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
        page.locator(".cards").screenshot(path=FILE)
        chromium.close()
        served.stop()
        feed.stop()


if __name__ == "__main__":
    main()
