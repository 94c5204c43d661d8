"""`linemon export` of several sources, and of buckets over history, as a user runs it."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from linemon import Store
from linemon.config import Config, StoreConfig
from linemon.parts.history import History
from linemon.sections import HistoryConfig
from linemon.store.writer import StoreWriter
from tests.histories import SECOND, tier
from tests.running import Running, Work, command, eventually

SETTINGS = 'points = 600\n[history]\nevery = 0.1\n[[history.tier]]\nstep = "10s"\nkeep = "1d"\n'


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, int]]:
    """A collector with an hour of rows behind it, of which it holds ten minutes; the history has all."""
    running = Running(tmp_path_factory.mktemp("past"), SETTINGS)
    begin = int(time.time()) // 3600 * 3600 - 7200
    work = Work(running.config).start()
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
    work.stop()
    assert running.stop() == 0


@pytest.mark.slow
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


@pytest.mark.slow
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


PEAK = """
import resource, subprocess
done = subprocess.run({}, stderr=subprocess.PIPE)
print(done.returncode, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, done.stderr.decode())
"""


def fill(folder: Path, days: int) -> None:
    """A store whose history has minutes of so many days until now: a row of three columns a minute."""
    writer = StoreWriter(folder, 3600, 10)
    ring = writer.bind("web1", ("a", "b", "c"), ("", "", ""))
    end = time.time_ns() // (60 * SECOND) * 60 * SECOND
    history = HistoryConfig(share=1.0, tier=(tier("1m", f"{days + 10}d"),))
    with ExitStack() as stack:
        chain = History(Config(store=StoreConfig(path=str(folder)), history=history)).open(stack)
        for first in range(-days * 1440, 0, 800):
            rows = np.random.default_rng(first + 10**9).random((min(800, -first), 4))
            rows.view(np.int64)[:, 0] = end + 60 * SECOND * np.arange(first, min(0, first + 800))
            ring.arena.append_to(ring.entry.slot, rows.view(np.int64))
            for _ in chain.steps():
                pass
    writer.close()


@pytest.mark.slow
def test_a_year_of_minutes_takes_no_more_memory_than_a_day(tmp_path: Path) -> None:
    """Buckets are read as they are written; what takes longer than a second says how far it is."""
    fill(tmp_path / "run" / "store", days=365)
    config = tmp_path / "linemon.toml"
    config.write_text(f'[store]\npath = "{tmp_path / "run" / "store"}"\n')
    peaks = []
    for span in ("1d", "365d"):
        for kind in ("csv", "parquet", "hdf5")[: 2 + bool(find_spec("h5py"))]:
            out = tmp_path / f"out.{kind}"
            asked = command("export", "web1", "--every", "1m", "--since", span, "--format", kind, "-o", str(out))
            script = PEAK.format([*asked, "--config", str(config)])
            said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout
            code, peak, stderr = said.split(" ", 2)
            assert code == "0", said
            peaks.append(int(peak))
            if kind == "csv":
                lines = sum(1 for _ in out.open())
                assert lines > 500_000 if span == "365d" else 1400 < lines < 1500
                assert ("rows of web1 (1 of 1), up to 20" in stderr) == (span == "365d")
    mapped = sum(
        path.stat().st_blocks // 2 for path in tmp_path.glob("run/store/history/1m/*.ring")
    )  # kB, as the peaks
    assert all(
        large < small + mapped + 100_000
        for small, large in zip(peaks[: len(peaks) // 2], peaks[len(peaks) // 2 :], strict=True)
    ), peaks


@pytest.mark.slow
def test_a_frozen_export_is_written_once(collector: Running) -> None:
    """With a manifest that says which rows they are; a second time it is refused, and told whether it is whole."""
    collector.say("#source a/b\n#columns time v:m\n1700000002 3\n1700000000 1\n1700000001 2\n")
    collector.say("#source room1\n#columns time t\n9e9 1\n")
    eventually(lambda: "room1" in collector.store, "the sources")
    folder = collector.folder / "papers"
    asked = ("export", "*", "--until", "2023-11-14T22:13:22Z", "--frozen", "paper 1", "-o", str(folder))
    done = collector.run(*asked)
    assert done.returncode == 0, done.stderr
    place = folder / "paper 1"
    manifest = json.loads((place / "manifest.json").read_text())
    first, second = manifest["sources"]
    assert (place / first["file"]).read_text() == "time,v\n2023-11-14T22:13:20Z,1.0\n2023-11-14T22:13:21Z,2.0\n"
    assert first["sha256"] == hashlib.sha256((place / first["file"]).read_bytes()).hexdigest()
    assert (first["source"], first["rows"], first["rows_from"], first["rows_to"]) == ("a/b", 2, 1, 3)
    assert (first["first"], first["last"]) == ("2023-11-14T22:13:20Z", "2023-11-14T22:13:21Z")
    assert (first["born"], first["units"]) == (collector.store["a/b"].born, ["m"])
    assert (second["source"], second["rows"], second["rows_to"]) == ("room1", 0, 1)
    assert manifest["sha256"] in done.stdout
    assert {path.stat().st_mode & 0o222 for path in (place, *place.iterdir())} == {0}
    before = {path: path.read_bytes() for path in place.iterdir()}

    collector.say("#source a/b\n#columns time v:m\n1700000000.5 9\n")
    again = collector.run(*asked)
    assert again.returncode == 1
    assert "as it was then; choose another name" in again.stderr
    assert {path: path.read_bytes() for path in place.iterdir()} == before
    (place / first["file"]).chmod(0o644)
    (place / first["file"]).write_text("time,v\n")
    assert "CHANGED since: a%2Fb.csv" in collector.run(*asked).stderr
    assert [path.name for path in folder.iterdir()] == ["paper 1"]
    assert collector.run("export", "*", "--frozen", "../x").returncode == 2
    minutes = collector.run("export", "a/b", "--every", "1m", "--format", "parquet", "--frozen", "m", "-o", str(folder))
    assert minutes.returncode == 0, minutes.stderr
    assert json.loads((folder / "m" / "manifest.json").read_text())["sources"][0]["rows"] == 1
