"""Commands that read: `linemon export`, `sources`, and what they say where no collector runs."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from linemon.store.reader import Store
from tests.running import Running, eventually


@pytest.mark.slow
def test_export_writes_as_many_digits_in_all_rows(collector: Running) -> None:
    """A whole second among halves has a digit, too: pandas takes the format of the first row for that of all."""
    collector.say(
        "#source a\n#columns time v\n1700000000 1\n1700000000.5 2\n#source b\n#columns time v\n1700000000 1\n"
    )
    text = eventually(lambda: "b" in collector.store and collector.run("export", "a").stdout, "the rows")
    assert text == "time,v\n2023-11-14T22:13:20.0Z,1.0\n2023-11-14T22:13:20.5Z,2.0\n"
    import pandas as pd

    frame = pd.read_csv(io.StringIO(text), parse_dates=["time"], index_col="time")
    assert len(frame.resample("1s").mean()) == 1
    assert collector.run("export", "b").stdout == "time,v\n2023-11-14T22:13:20Z,1.0\n"


@pytest.mark.slow
def test_export_by_pattern(collector: Running) -> None:
    """One table, in time order, of all sources that fit: whose row it is, and the columns of all."""
    collector.say(
        "#source room1\n#columns time t:C\n1700000000 20\n1700000002 21\n"
        "#source room2\n#columns time h t\n1700000001 40 19\n"
        '#source hall\n#columns time t\n1700000001 1\n#source a"b*\n#columns time t\n1700000003 5\n'
    )
    eventually(lambda: 'a"b*' in collector.store, "the sources")
    assert collector.run("export", "room*").stdout == (
        "time,source,t,h\n2023-11-14T22:13:20Z,room1,20.0,\n2023-11-14T22:13:21Z,room2,19.0,40.0\n"
        "2023-11-14T22:13:22Z,room1,21.0,\n"
    )
    lines = collector.run("export", "room?", "--format", "jsonl", "--columns", "h").stdout
    assert lines == '{"time": "2023-11-14T22:13:21Z", "source": "room2", "h": 40.0}\n'
    file = collector.folder / "rooms.parquet"
    assert collector.run("export", "room[12]", "--format", "parquet", "-o", str(file)).returncode == 0
    import pyarrow.parquet as pq

    assert pq.read_table(file).column("source").to_pylist() == ["room1", "room2", "room1"]
    assert collector.run("export", 'a"b*').stdout == "time,t\n2023-11-14T22:13:23Z,5.0\n"  # a source of that name
    assert ',"a""b*",' in collector.run("export", "a?b?").stdout
    assert collector.run("export", "cellar*").returncode == 1
    assert collector.run("export", "room*", "--columns", "x").returncode == 2


def test_export_in_buckets(collector: Running) -> None:
    """From the epoch on; those without a value are left out, and counts are whole numbers."""
    collector.say("#source a\n#columns time v w\n119 1 nan\n121 2 5\n122 4 nan\n300 nan nan\n601 8 1\n")
    eventually(lambda: "a" in collector.store and collector.store["a"].rows == 5, "the rows")
    assert collector.run("export", "a", "--every", "1m", "--columns", "v").stdout == (
        "time,v.min,v.max,v.mean,v.count\n1970-01-01T00:01:00Z,1.0,1.0,1.0,1\n1970-01-01T00:02:00Z,2.0,4.0,3.0,2\n"
        "1970-01-01T00:10:00Z,8.0,8.0,8.0,1\n"
    )
    assert ",w.min,w.max,w.mean,w.count\n1970-01-01T00:01:00Z,1.0,1.0,1.0,1,,,,0\n" in (
        collector.run("export", "a", "--every", "1m").stdout
    )
    assert collector.run("export", "a", "--every", "1m", "--since", "10m").stdout.startswith("time,v.min,")
    for wrong in ("1", "0s", "-1m", "soon"):
        assert collector.run("export", "a", f"--every={wrong}").returncode == 2


def test_sources_by_pattern_and_in_the_order_of_people(collector: Running) -> None:
    collector.say("room10.t 1\nroom2.t 1\nhall.t 1\n")
    eventually(lambda: "hall.t" in collector.store, "the sources")
    listed = [line.split()[0] for line in collector.run("sources", "room*").stdout.splitlines()[1:]]
    assert listed == ["room2.t", "room10.t"]
    assert [each["source"] for each in json.loads(collector.run("sources", "hall.t", "--json").stdout)] == ["hall.t"]
    for asked in (["sources", "cellar*"], ["sources", "hall"]):
        assert collector.run(*asked).returncode == 1


@pytest.mark.slow
def test_errors_are_sorted_and_filtered(collector: Running) -> None:
    """By source and time, to the second; by pattern and reason; none is said in words."""
    assert collector.run("sources", "--errors").stderr == "linemon: no bad lines\n"
    collector.say("#source web10\n1\n1 2\n#source web2\n#columns time a\n-5 1\n1700000000 x\n")
    eventually(lambda: len(collector.status()["bad_lines"]) == 3, "the bad lines in the status")

    def listed(*options: str) -> list[list[str]]:
        return [line.split()[2:5] for line in collector.run("sources", "--errors", *options).stdout.splitlines()[1:]]

    in_order = [["web2", "6", "time"], ["web2", "7", "number"], ["web10", "3", "tokens"]]
    assert listed() == in_order
    assert listed("web2") == listed("web?") == in_order[:2]
    assert listed("--reason", "tokens") == in_order[2:]
    assert listed("w*2", "--reason", "tokens") == []
    head, first, *_ = collector.run("sources", "--errors").stdout.splitlines()
    assert head.split() == ["time", "peer", "source", "line", "reason", "error", "text"]
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ ", first)
    assert collector.run("sources", "--errors", "--reason", "numbers").returncode == 2
    assert collector.run("sources", "--reason", "number").returncode == 2


@pytest.mark.slow
def test_what_is_read_without_a_collector_is_called_old(start_collector: Callable[..., Running]) -> None:
    """One line on stderr, of every command that reads; the answer is the same."""
    running = start_collector()
    running.say("m 1\n")
    eventually(lambda: "m" in running.store and "linemon.collector" in running.store, "the sources")
    running.stop()
    late = f"import time; time.time_ns = lambda: {time.time_ns() + 60 * 10**9}\n"
    late += "import sys; from linemon.cli.main import main; sys.exit(main())"
    for asked in (["sources"], ["sources", "--errors"], ["export", "m"], ["top", "--once"]):
        out = subprocess.run(
            [sys.executable, "-c", late, *asked, "--config", str(running.config)], capture_output=True, text=True
        )
        assert "linemon: no collector runs: no data from it for 1.0 m" in out.stderr, asked
        assert out.returncode == 0


def test_a_store_that_is_not_there_says_so(tmp_path: Path) -> None:
    assert repr(Store(tmp_path / "typo")).endswith("typo: nothing there yet>")


@pytest.mark.slow
def test_export_of_several_sources(collector: Running) -> None:
    """Names and patterns together; those with `!` take away, whatever their place; linemon's own only by name."""
    collector.say(
        "".join(f"#source {name}\n#columns time v\n1700000000 1\n" for name in ("room1", "room2", "hall", "!x"))
    )
    eventually(lambda: {"!x", "linemon.collector"} <= set(collector.store.sources()), "the sources")

    def exported(*wanted: str) -> list[str]:
        done = collector.run("export", "--format", "jsonl", "--until", "2023-11-15", *wanted)
        return [json.loads(line).get("source", "") for line in done.stdout.splitlines()]

    assert exported("room1", "hall") == ["hall", "room1"]
    assert exported("!room2", "room*") == ["room1"]
    assert exported("hall", "room*", "!*1") == ["hall", "room2"]
    assert exported("!room*", "!hall") == ["!x"]
    assert exported("[!]x", "hall") == ["!x", "hall"]
    assert exported("room1") == [""]  # one source by its name: no column of sources
    assert exported("room[1]") == ["room1"]
    nothing = collector.run("export", "room1", "!room*")
    assert (nothing.returncode, nothing.stdout) == (1, "")
    assert "no source fits 'room1' '!room*'" in nothing.stderr
    assert "no source 'room3'" in collector.run("export", "room*", "room3").stderr
    listed = json.loads(collector.run("sources", "--json", "room*", "!room1").stdout)
    assert [each["source"] for each in listed] == ["room2"]
    assert json.loads(collector.run("sources", "--json", "linemon.*").stdout)[0]["source"] == "linemon.collector"


@pytest.mark.slow
def test_export_as_hdf5(collector: Running) -> None:
    """A group a source that xarray opens as netCDF-4, and of which pandas makes a frame; each name is in it."""
    import numpy as np
    import pandas as pd
    import xarray

    h5py = pytest.importorskip("h5py", reason="h5py has no wheel for this Python")
    collector.say(
        '#source a/b\n#columns ["time", ["fs./.used", "%"], [".", ""], ["t", "°C"]]\n'
        "1700000000123456789 1 2 -0.0\n1700000000 nan 3 5e-324\n#source room1\n#columns time t\n1700000001 4\n"
    )
    eventually(lambda: "room1" in collector.store, "the sources")
    file = collector.folder / "all.h5"
    assert collector.run("export", "*", "--format", "hdf5", "-o", str(file)).returncode == 0
    with xarray.open_dataset(file, group="room1") as room1:
        assert room1.t.dims == ("time",)
        assert room1.time.values.tolist() == [1700000001 * 10**9]
    with h5py.File(file) as opened:
        assert {group.attrs["source"] for group in opened.values()} == {"a/b", "room1"}
        group = opened["a%2Fb"]
        frame = pd.DataFrame({name: column[:] for name, column in group.items()}).set_index("time")
        names = {name: group[name].attrs["long_name"] for name in frame}
    assert list(names.values()) == ["fs./.used", ".", "t"]
    assert frame.index.tolist() == [1700000000 * 10**9, 1700000000123456789]
    assert np.signbit(frame["t"].tolist()).tolist() == [False, True]
    assert frame["t"].tolist()[0] == 5e-324
    with xarray.open_dataset(file, group="a%2Fb") as both:
        assert both.time.dtype == "datetime64[ns]"
        assert both.time.values.astype(int).tolist() == frame.index.tolist()
        assert both["fs.%2F.used"].attrs["units"] == "%"
        assert np.isnan(both["fs.%2F.used"].values).tolist() == [True, False]
    whole = collector.folder / "each"
    assert collector.run("export", "*", "--format", "hdf5", "-o", f"{whole}/").returncode == 0
    assert sorted(path.name for path in whole.iterdir()) == ["a%2Fb.hdf5", "room1.hdf5"]
    buckets = collector.run("export", "*", "--format", "hdf5", "--every", "1m", "-o", str(file))
    assert buckets.returncode == 0, buckets.stderr
    with xarray.open_dataset(file, group="room1") as minutes:
        assert minutes["t.count"].dtype == np.int64
    assert collector.run("export", "*", "--format", "hdf5").returncode == 2


def test_what_is_foretold_again_counts_from_then_on(collector: Running) -> None:
    """Of rows of an output with one time the last is exported, and seen in windows; of other sources all are."""
    for source in ("web1~normal", "web1"):
        for values in ((1, 2, 3), (20, 30)):
            first = 3 - len(values)
            rows = "".join(f"{1700000000 + 60 * (first + i)} {value}\n" for i, value in enumerate(values))
            collector.say(f"#source {source}\n#columns time high\n{rows}")
    ahead = f"#columns time high\n{time.time() + 86400} 1\n"
    collector.say("".join(f"#source {name}\n{ahead}" for name in ("web2~normal", "web2")))
    counts = {each["source"]: each["ahead"] for each in json.loads(collector.run("sources", "--json").stdout)}
    assert (counts["web2~normal"], counts["web2"]) == (0, 1)  # what a task says may lie ahead
    output, web1 = collector.store["web1~normal"], collector.store["web1"]
    assert output.between()["high"].tolist() == [1, 20, 30]
    assert web1.between()["high"].tolist() == [1, 2, 20, 3, 30]
    for each, means in ((output, [1, 20, 30]), (web1, [1, 11, 16.5])):
        assert each.window("2023-11-14T22:13:20", "2023-11-14T22:16:20", 3)["high"].tolist() == means
    lines = collector.run("export", "web1~normal").stdout.splitlines()
    assert [line.partition(",")[2] for line in lines] == ["high", "1.0", "20.0", "30.0"]
