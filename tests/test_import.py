"""`linemon import`: what `linemon export` wrote comes back, once."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from linemon import Store
from tests.running import Running, Work, command, eventually

NAMES = ("a/b", "room1", "sys,host=h 7", "ü.%41")
ROWS = (
    '#columns ["time", ["fs./.used", "%"], ["t", "°C"], [".", "m / s"]]\n'
    "1971-03-01T00:00:00.000000001Z 1 nan -0.0\n1700000000 1e300 0.1 nan\n1700000000.5 nan nan nan\n"
    "1700000000123456789 5e-324 -3 12345678901234567\n"
)
KINDS = ["csv", "jsonl", "parquet", *(["hdf5"] if find_spec("h5py") else [])]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Collectors, each with a store of its own."""
    started: list[Running] = []

    def another(settings: str = "") -> Running:
        started.append(Running(tmp_path / f"run{len(started)}", settings))
        return started[-1]

    yield another
    for running in started:
        running.stop()


def held(running: Running) -> dict[str, list[Any]]:
    """All that is in the rings, to the bit, but for the collector's own."""
    found = {}
    for name in running.store.sources():
        if not name.startswith("linemon."):
            rows = running.store[name].between()
            bits = np.where(np.isnan(rows.values), np.nan, rows.values).view(np.int64)
            found[name] = [rows.columns, rows.units, rows.time.tolist(), bits.tolist()]
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.slow
def test_what_was_exported_comes_back_once(start: Callable[..., Running], kind: str) -> None:
    """Times, values, names, and units where the format has them; a second time nothing is stored."""
    there, here = start(), start()
    for name in NAMES:
        there.say(f"#source {name}\n{ROWS}")
    eventually(lambda: set(NAMES) <= set(there.store.sources()), "the sources")
    folder = there.folder / "out"
    assert there.run("export", "*", "--format", kind, "-o", f"{folder}/").returncode == 0
    files = sorted(map(str, folder.iterdir()))
    done = here.run("import", *files)
    assert (done.returncode, done.stdout) == (0, "stored 16, there already 0, rejected 0 rows of 4 sources\n"), done
    wanted = held(there)
    if kind in ("csv", "jsonl"):
        wanted = {name: [columns, ("", "", ""), *rest] for name, (columns, _, *rest) in wanted.items()}
    assert held(here) == wanted
    assert here.run("import", *files).stdout == "stored 0, there already 16, rejected 0 rows of 4 sources\n"
    assert here.run("import", files[1], "--source", "x").stdout.startswith("stored 4,")
    assert held(here)["x"][2:] == wanted["room1"][2:]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.slow
def test_a_table_of_several_sources_comes_back(start: Callable[..., Running], kind: str) -> None:
    """Each gets the columns that it had; where it is there already, in the places that it has for them."""
    there, here = start(), start()
    there.say("#source s1\n#columns time b a\n1700000000 1 2\n#source s2\n#columns time c b\n1700000000 3 4\n")
    here.say("#source s2\n#columns time d b c\n1600000000 7 8 9\n")
    eventually(lambda: "s2" in there.store and "s2" in here.store, "the sources")
    file = there.folder / f"all.{kind}"
    assert there.run("export", "*", "--format", kind, "-o", str(file)).returncode == 0
    assert here.run("import", str(file)).stdout == "stored 2, there already 0, rejected 0 rows of 2 sources\n"
    assert here.store["s1"].columns == ("b", "a")
    assert here.store["s2"].columns == ("d", "b", "c")
    assert here.store["s2"].last(1).values.tolist()[0][1:] == [4, 3]


@pytest.mark.slow
def test_equal_rows_are_known_in_another_format(start: Callable[..., Running]) -> None:
    running = start()
    running.say(f"#source room1\n{ROWS}")
    eventually(lambda: "room1" in running.store, "the source")
    for kind in KINDS:
        assert running.run("export", "room1", "--format", kind, "-o", f"{running.folder}/room1.{kind}").returncode == 0
    said = [running.run("import", f"{running.folder}/room1.{kind}", "--source", "copy").stdout for kind in KINDS]
    assert said[0].startswith("stored 4, there already 0")
    assert all(each.startswith("stored 0, there already 4") for each in said[1:])


@pytest.mark.slow
def test_killed_in_the_midst_and_run_again(start: Callable[..., Running]) -> None:
    """A backlog has a pace; what is there when it is killed is not sent again, and none is missing."""
    running = start("points = 4000\n")
    file = running.folder / "x.csv"
    file.write_text("time,v\n" + "".join(f"{np.datetime64(1700000000 + at, 's')}Z,{at}.0\n" for at in range(4000)))
    importing = subprocess.Popen(command("import", str(file), "--config", str(running.config)))
    eventually(lambda: "x" in running.store and running.store["x"].rows > 500, "some rows")
    importing.kill()
    importing.wait()
    again = running.run("import", str(file))
    assert again.returncode == 0, again.stderr
    assert running.store["x"].between().values[:, 0].tolist() == list(range(4000))
    stored = int(again.stdout.split()[1].rstrip(","))
    assert 0 < stored < 3500
    assert "of 4,000 rows are sent" in again.stderr  # as it takes longer than a second


@pytest.mark.slow
def test_more_than_the_ring_holds_goes_into_the_history(start: Callable[..., Running]) -> None:
    """An hour of rows into a ring of twenty minutes: the minutes are whole."""
    running = start('points = 1200\n[history]\nevery = 0.1\n[[history.tier]]\nstep = "1m"\nkeep = "30d"\n')
    begin = int(time.time()) // 3600 * 3600 - 7200
    file = running.folder / "web1.csv"
    file.write_text("time,v\n" + "".join(f"{np.datetime64(begin + at, 's')}Z,{at}.0\n" for at in range(3600)))
    work = Work(running.config).start()
    try:
        eventually(lambda: (running.store_path / "history.json").exists(), "history is on")
        assert running.run("import", str(file)).stdout.startswith("stored 3600,")
        tier = running.store_path / "history" / "1m"
        eventually(lambda: "web1" in Store(tier) and Store(tier)["web1"].rows >= 59, "it is in the history")
    finally:
        work.stop()
    asked = ("export", "web1", "--every", "1m", "--format", "jsonl", "--since", str(begin))
    minutes = [json.loads(line) for line in running.run(*asked).stdout.splitlines()]
    assert [each["v.count"] for each in minutes] == [60] * 60


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("x.csv", "a,b\n1,2\n", "the header does not begin with time"),
        ("x.csv", "time,a\n2026-01-01T00:00:00Z,hello\n", "in the 1 lines up to 2: could not convert string to float"),
        ("x.csv", "time,a\n2026-01-01T00:00:00Z,1\n2026-01-01T00:00:01Z\n", "in the 2 lines up to 3"),
        ("x.csv", "time,a\nyesterday,1\n", "'yesterday' is no time"),
        ("x.csv", "time,a\n1960-01-01T00:00:00Z,1\n", "a time before 1970"),
        ("x.jsonl", "{}\n", "in the 1 lines up to 1: 'time'"),
        ("x.jsonl", '{"time": "2026-01-01T00:00:00Z", "a": "b"}\n', "could not convert"),
        ("x.parquet", "no", "x.parquet: "),
        ("x.hdf5", "no", "x.hdf5"),
        ("x.txt", "", "expected a name that ends in .csv, .jsonl, .parquet, .hdf5"),
        ("none.csv", None, "No such file"),
    ],
)
def test_files_that_are_not_ours(collector: Running, name: str, text: str | None, expected: str) -> None:
    """One line that names the file, exit code 1, and nothing is sent."""
    file = collector.folder / name
    if text is not None:
        file.write_text(text)
    done = collector.run("import", str(file))
    assert done.returncode == 1
    assert expected in done.stderr
    assert str(file) in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "x" not in collector.store


@pytest.mark.slow
def test_what_the_collector_refuses_is_said(start: Callable[..., Running], tmp_path: Path) -> None:
    """A token that does not open the source: its words, at once; columns that are too many: counted, exit code 1."""
    running = start('max_columns = 2\n[[token]]\nsecret = "s"\nsources = ["web*"]\n')
    for name, columns in (("room1", "a"), ("web1", "a,b,c"), ("web2", "a,b")):
        cells = ",".join("1" for _ in columns.split(","))
        (tmp_path / f"{name}.csv").write_text(f"time,{columns}\n2026-01-01T00:00:00Z,{cells}\n")

    def imported(name: str, token: str) -> subprocess.CompletedProcess[str]:
        asked = command("import", str(tmp_path / f"{name}.csv"), "--config", str(running.config))
        return subprocess.run(asked, capture_output=True, text=True, env={"LINEMON_TOKEN": token}, timeout=30)

    assert "one of mine" in imported("web2", "wrong").stderr
    assert "this token may not write to 'room1'" in imported("room1", "s").stderr
    too_many = imported("web1", "s")
    assert (too_many.returncode, too_many.stdout) == (1, "stored 0, there already 0, rejected 1 rows of 1 sources\n")
    assert "max_columns = 2" in too_many.stderr
    assert imported("web2", "s").stdout == "stored 1, there already 0, rejected 0 rows of 1 sources\n"
