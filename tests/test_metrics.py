"""`GET /metrics`, read line by line and by a real Prometheus."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.running import DEADLINE_S, Running, eventually
from tests.web import get

Start = Callable[..., Running]
LINE = re.compile(r'(linemon_\w+)(?:\{((?:\w+="(?:[^"\\]|\\.)*",?)*)\})? (\S+)(?: (\d+))?')
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
DEBIAN = Path(__file__).parent.parent / ".venv/debian/usr/bin"


def scraped(text: str) -> dict[tuple[str, ...], tuple[float, int | None]]:
    """Name and labels -> value and time; each line is one, and each name is described before."""
    found: dict[tuple[str, ...], tuple[float, int | None]] = {}
    described = set()
    for line in text.splitlines():
        if line.startswith("# "):
            described.add(line.split()[2])
            continue
        match = LINE.fullmatch(line)
        assert match, line
        assert match[1] in described, line
        key = (match[1], *(value for _, value in LABEL.findall(match[2] or "")))
        assert key not in found, line
        found[key] = float(match[3]), int(match[4]) if match[4] else None
    return found


def test_counters(collector: Running) -> None:
    """What /api/health says, under the names that Prometheus's users expect."""
    collector.say("a 1\na x\n1 2 3\n1 2\n")
    at = collector.address("http")
    eventually(lambda: b"_received_total 4" in get(at, "/metrics").body, "all of them")
    answer = get(at, "/metrics")
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    found = scraped(answer.text)
    expected = {"received": 4, "stored": 2, "duplicate": 0, "lost": 0, "ahead": 0}
    assert {name: found[f"linemon_{name}_total",][0] for name in expected} == expected
    assert found["linemon_rejected_total", "number"][0] == 1
    assert found["linemon_rejected_total", "tokens"][0] == 1
    assert found["linemon_uptime_seconds",][0] > 0
    assert not [name for name, *_ in found if name == "linemon_value"]


def test_values(collector: Running) -> None:
    """The newest of each column, with its time; names are escaped, what is missing is NaN."""
    collector.say(
        '#source lab "A" \\ x\n#columns time cpu:% mem\n1700000000.5 12.5 nan\nroom1 20.3 1700000001\nroom2 5\n'
    )
    eventually(lambda: "room2" in collector.store, "the sources")
    at = collector.address("http")
    answer = get(at, "/metrics?sources=lab*&sources=room?").text
    found = scraped(answer)
    assert found["linemon_value", r"lab \"A\" \\ x", "cpu"] == (12.5, 1_700_000_000_500)
    assert found["linemon_value", r"lab \"A\" \\ x", "mem"][0] != 0
    assert " NaN 1700000000500\n" in answer
    assert found["linemon_value", "room1", "value"] == (20.3, 1_700_000_001_000)
    assert found["linemon_metrics_left_out",] == (0, None)
    assert not [key for key in found if "linemon.collector" in key]
    assert get(at, "/metrics?source=room1").json["field"] == "source"


def test_values_are_bounded(start_collector: Start) -> None:
    """The first by name, and how many are left out."""
    running = start_collector('[http]\nlisten = "127.0.0.1:0"\nmax_metrics = 3\n')
    running.say("#source a\n1 2\n#source b\n1 2\n#source c\n1 2\n")
    eventually(lambda: "c" in running.store, "the sources")
    found = scraped(get(running.address("http"), "/metrics", sources="?").text)
    assert [key[1:] for key in found if key[0] == "linemon_value"] == [("a", "c1"), ("a", "c2"), ("b", "c1")]
    assert found["linemon_metrics_left_out",][0] == 3


def test_who_may_read(tmp_path: Path) -> None:
    """Who may read rows, where the port is open to others: a token is asked for."""
    (tmp_path / "linemon.toml").write_text(
        f'[store]\npath = "{tmp_path}/store"\n[tcp]\nlisten = "127.0.0.1:0"\ntoken = "s3cret"\n'
        '[http]\nlisten = "0.0.0.0:0"\n[[tap]]\nlisten = "127.0.0.1:0"\nsource = "web1"\n'
    )
    running = Running(tmp_path)
    try:
        at = "127.0.0.1", running.address("http")[1]
        assert get(at, "/metrics").status == 401
        assert get(at, "/metrics", p="s3cret").status == 200
    finally:
        assert running.stop() == 0


@pytest.mark.slow
def test_a_real_prometheus_scrapes(collector: Running, tmp_path: Path) -> None:
    """It takes all, knows the types, and has the values with their times."""
    program = shutil.which("prometheus") or shutil.which("prometheus", path=str(DEBIAN))
    if not program:
        pytest.skip("this system has no package prometheus")
    now = int(time.time())
    collector.say(f'#source lab "A" \\ x\n#columns time cpu:% mem\n{now} 12.5 nan\n')
    eventually(lambda: 'lab "A" \\ x' in collector.store, "the source")
    host, port = collector.address("http")
    (tmp_path / "prometheus.yml").write_text(f"""
scrape_configs:
  - job_name: linemon
    scrape_interval: 1s
    metrics_path: /metrics
    params: {{sources: ["lab*"]}}
    static_configs: [{{targets: ["{host}:{port}"]}}]
""")
    log = (tmp_path / "prometheus.log").open("wb")
    command = [
        program, f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/tsdb",
        "--web.listen-address=127.0.0.1:0",
    ]  # fmt: skip
    prometheus = subprocess.Popen(command, stderr=log, stdout=log)
    try:

        def listens() -> str | None:
            said = (tmp_path / "prometheus.log").read_text()
            match = re.search(r'msg="Listening on"[^\n]* address=(127\.0\.0\.1:[1-9]\d*)', said)
            return match[1] if match else None

        address = eventually(listens, "its port", 60)

        def is_ready() -> bool:  # it listens before it has opened its store, and answers 503 until then
            with contextlib.suppress(urllib.error.HTTPError):
                urllib.request.urlopen(f"http://{address}/-/ready", timeout=DEADLINE_S).close()
                return True
            return False

        eventually(is_ready, "that it is ready", 60)

        def asked(query: str) -> list[dict[str, Any]]:
            with urllib.request.urlopen(f"http://{address}/api/v1/query?query={query}", timeout=DEADLINE_S) as answer:
                found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
                return found

        [row] = eventually(lambda: asked("linemon_value{column=%22cpu%22}"), "the value", 60)
        labels = {"source": 'lab "A" \\ x', "column": "cpu", "instance": f"{host}:{port}", "job": "linemon"}
        assert row["metric"] == {"__name__": "linemon_value", **labels}
        assert row["value"][1] == "12.5"
        [up] = asked("up")
        assert up["value"][1] == "1"
        [stored] = asked("linemon_stored_total")
        assert float(stored["value"][1]) == 1
    finally:
        prometheus.terminate()
        prometheus.wait(DEADLINE_S)
        log.close()
