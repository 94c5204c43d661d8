"""`linemon export` of several sources, and of buckets over history, as a user runs it."""

from __future__ import annotations

import json
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from linemon import Store
from tests.running import Running, command, eventually

SETTINGS = 'points = 600\n[history]\nevery = 0.1\n[[history.tier]]\nstep = "10s"\nkeep = "1d"\n'


@pytest.fixture
def past(start_collector: Callable[..., Running]) -> Iterator[tuple[Running, int]]:
    """A collector with an hour of rows behind it, of which it holds ten minutes; the history has all."""
    running = start_collector(SETTINGS)
    begin = int(time.time()) // 3600 * 3600 - 7200
    with (running.folder / "work.log").open("wb") as log:
        work = subprocess.Popen(command("work", "--config", str(running.config)), stderr=log)
    tier = running.store_path / "history" / "10s"
    for second in range(0, 3600, 300):
        for source in ("web1", "web2", "a/b"):
            lines = "".join(f"{begin + at} {at}\n" for at in range(second, second + 300))
            running.say(f"#source {source}\n#columns time v:m\n{lines}")
        eventually(
            lambda second=second: all(  # type: ignore[misc]
                name in Store(tier) and Store(tier)[name].rows >= (second + 300) // 10 - 2
                for name in ("web1", "web2", "a/b")
            ),
            "it is in the history",
        )
    yield running, begin
    work.send_signal(signal.SIGINT)
    assert work.wait(20) == 0, (running.folder / "work.log").read_text()


def test_minutes_of_what_the_rows_do_not_go_back_to(past: tuple[Running, int]) -> None:
    running, begin = past
    assert len(running.run("export", "web1").stdout.splitlines()) == 601
    done = running.run("export", "web1", "--every", "1m", "--since", str(begin), "--until", str(begin + 3600))
    header, *lines = done.stdout.splitlines()
    assert header == "time,v.min,v.max,v.mean,v.count"
    assert len(lines) == 60
    assert [line.split(",")[1:] for line in lines] == [
        [f"{at}.0", f"{at + 59}.0", f"{at + 29.5}", "60"] for at in range(0, 3600, 60)
    ]
    assert running.run("export", "web1", "--every", "soon").returncode == 2
    some = running.run("export", "web1", "--every", "1h", "--columns", "v").stdout
    assert some.splitlines()[0] == header
    missing = running.run("export", "web1", "--every", "1h", "--columns", "w")
    assert (missing.returncode, "no column 'w'" in missing.stderr) == (2, True)


def test_what_is_kept_is_listed(past: tuple[Running, int]) -> None:
    """Rows and each tier, since when, and how many bytes that may take."""
    running, begin = past
    listed = json.loads(running.run("sources", "--history", "--json").stdout)
    mine = {each["kept"]: each for each in listed if each["source"] == "web1"}
    assert set(mine) == {"rows", "10s"}
    assert mine["10s"]["since"] == datetime.fromtimestamp(begin, UTC).isoformat().replace("+00:00", "Z")
    assert mine["rows"]["since"] == datetime.fromtimestamp(begin + 3000, UTC).isoformat().replace("+00:00", "Z")
    assert mine["10s"]["bytes"] > 8640 * 40
    assert "10s" in running.run("sources", "--history").stdout


def test_several_sources_are_a_file_each(past: tuple[Running, int], tmp_path: Path) -> None:
    """By name or pattern; a name cannot lead out of the folder."""
    running, _ = past
    out = tmp_path / "out"
    done = running.run("export", "[wa][e/]*", "--format", "jsonl", "-o", f"{out}/")
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in out.iterdir()) == ["a%2Fb.jsonl", "web1.jsonl", "web2.jsonl"]
    assert len((out / "web1.jsonl").read_text().splitlines()) == 600
    assert running.run("export", "web*", "--every", "1h", "-o", str(out)).returncode == 0
    assert {path.name for path in out.glob("*.csv")} == {"web1.csv", "web2.csv"}


def test_windows_by_http_go_back_as_far(past: tuple[Running, int]) -> None:
    """The same buckets, with their lengths; exactly as they were where rows are held for all."""
    running, begin = past
    host, port = running.address("http")
    address = f"http://{host}:{port}/api/rows?source=web1"

    def asked(more: str) -> Any:
        with urllib.request.urlopen(address + more) as answer:
            return json.load(answer)

    hour = asked(f"&start={begin}000&end={begin + 3600}000&points=60")
    assert hour["step"] == [60_000] * 60
    assert hour["count"] == [[60] * 60]
    assert hour["min"] == [[float(at) for at in range(0, 3600, 60)]]
    newest = asked(f"&start={begin + 3100}000&end={begin + 3600}000&points=500")
    assert (newest["step"], newest["count"]) == ([1000] * 500, [[1] * 500])
