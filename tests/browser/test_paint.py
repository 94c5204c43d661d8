"""How soon a page is there, and what that costs others."""

from __future__ import annotations

import concurrent.futures
import urllib.request
from pathlib import Path

from tests.browser.conftest import Feed, Served

CHARTS = 16
PAGE_S = 0.3  # of the server's time


def cpu_s(pid: int) -> float:
    """Seconds that the threads of a process have run: a busy machine makes them wait, not run."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def test_four_pages_of_sixteen_charts_opened_at_once_do_not_freeze_a_fifth(feed: Feed, served: Served) -> None:
    """One thread serves all pages: what one of them costs, all others wait for."""
    feed.write("many", {f"g{i}.{name}": float(i) for i in range(CHARTS) for name in ("a", "b")})

    def get(number: int) -> str:
        with urllib.request.urlopen(f"{served.url}?source=many&{number}", timeout=60) as answer:
            return str(answer.read(), "utf-8")

    before = cpu_s(served.process.pid)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        pages = list(pool.map(get, range(4)))
    spent = cpu_s(served.process.pid) - before
    assert all(f'id="plot{CHARTS - 1}"' in page for page in pages)
    assert spent < 4 * PAGE_S
