"""A real collector process: lines in over TCP, rows out of the store, the tap and the commands."""

from __future__ import annotations

import contextlib
import json
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import linemon
from linemon.errors import UnknownSource
from linemon.lines import bulk
from linemon.store.writer import StoreWriter
from tests.running import DEADLINE_S, Running, command, eventually


def test_netcat_to_export(collector: Running) -> None:
    """What a person types into netcat comes out of `linemon export`."""
    host, port = collector.address()
    netcat = shutil.which("nc")
    assert netcat, "the tests need netcat"
    began = time.time()
    subprocess.run([netcat, "-q1", host, str(port)], input=b"room1.temperature 20.3\n", check=True)
    out = collector.run("export", "room1.temperature")
    assert out.returncode == 0
    header, row = out.stdout.splitlines()
    assert header == "time,value"
    at, value = row.split(",")
    assert at.endswith("Z")
    assert value == "20.3"
    assert abs(np.datetime64(at[:-1], "us").astype(float) / 1e6 - began) < 5


def test_a_lone_line_is_stored_at_once(collector: Running) -> None:
    """A row is in the ring while the connection is still open and idle."""
    with collector.connect() as sock:
        sock.sendall(b"m 1\n")
        eventually(lambda: "m" in collector.store, "the row")
        sock.sendall(b"m 2\nm 3")
        eventually(lambda: collector.store["m"].rows == 2, "the second row")
    eventually(lambda: collector.store["m"].rows == 3, "the last line without its newline")


def test_a_reset_drops_the_unfinished_line(collector: Running) -> None:
    """Half a line before a reset does not count, and the neighbours go on."""
    other = collector.connect()
    sock = collector.connect()
    sock.sendall(b"m 1\nm 2")
    eventually(lambda: "m" in collector.store, "the first line")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
    other.sendall(b"o 1\n")
    eventually(lambda: "o" in collector.store, "the neighbour's line")
    eventually(lambda: collector.status()["connections"] == 1, "the connection gone")
    assert collector.store["m"].rows == 1
    assert collector.status()["rejected"] == {}
    other.close()


def test_lines_behind_an_open_quote_count_after_a_reset(collector: Running) -> None:
    """They waited for the end of a point; whole lines are not lost by that."""
    sock = collector.connect()
    sock.sendall(b'm 1\np s="abc\nn 2\nn 3')
    eventually(lambda: "m" in collector.store, "the first line")
    assert "n" not in collector.store
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
    eventually(lambda: "n" in collector.store, "what waited")
    eventually(lambda: collector.status()["rejected"] == {"syntax": 1}, "the open point counted")
    assert collector.store["n"].last(5).values.tolist() == [[2.0]]


def test_many_connections_at_once(collector: Running) -> None:
    """Rows of fifty connections of three shapes, read back as sent."""
    socks = [collector.connect() for _ in range(50)]
    for i, sock in enumerate(socks):
        sock.sendall(f"#source s{i}\n#columns {' '.join('abcdefg'[: 2 + i % 3])}\n".encode())
    for row in range(20):
        for i, sock in enumerate(socks):
            sock.sendall((" ".join(str(row * 100 + i + k) for k in range(2 + i % 3)) + "\n").encode())
    for sock in socks:
        sock.close()
    eventually(lambda: collector.status().get("stored") == 1000, "all rows")
    for i in range(50):
        expected = [[row * 100.0 + i + k for k in range(2 + i % 3)] for row in range(20)]
        assert collector.store[f"s{i}"].since(0).values.tolist() == expected


@pytest.mark.slow
def test_limits_of_connections(start_collector: Callable[..., Running]) -> None:
    """One connection too many is closed and counted; one that is silent too long is closed."""
    running = start_collector('[tcp]\nlisten = "127.0.0.1:0"\nmax_connections = 2\nidle_timeout = 3\n')
    first, second = running.connect(), running.connect()
    eventually(lambda: running.status()["connections"] == 2, "two connections")
    with running.connect() as third:
        assert third.recv(10) == b""
    eventually(lambda: running.status()["connections_refused"] == 1, "the refusal counted")
    for sock in (first, second):
        sock.settimeout(DEADLINE_S)
        assert sock.recv(10) == b""
        sock.close()
    assert running.say("m 1\n#stats\n") == "#stats received=1 stored=1 rejected=0 duplicate=0 dropped=0\n"


def test_an_endless_line_costs_no_memory(collector: Running) -> None:
    """20 MB without a newline are one rejected line, and the sender's next one is stored."""
    collector.say(b"x" * 2_000_000 + b"\n#stats\n")  # what the memory's allocator keeps for such reads
    before = rss_kb(collector.process.pid)
    assert collector.say(b"x" * 20_000_000 + b"\nm 1\n#stats\n").split()[1:4] == [
        "received=2",
        "stored=1",
        "rejected=1",
    ]
    assert rss_kb(collector.process.pid) - before < 8000  # allocators differ in what they keep


def test_kill_keeps_the_rows(start_collector: Callable[..., Running]) -> None:
    """What was stored when the collector was killed is there for readers, and for the next collector."""
    first = start_collector()
    first.say("m 1\nm 2\n")
    source = first.store["m"]
    cursor = source.since(0).cursor
    first.process.kill()
    first.process.wait()
    assert source.since(0).values.tolist() == [[1.0], [2.0]]
    second = start_collector()
    second.say("m 3\n")
    assert source.since(cursor).values.tolist() == [[3.0]]
    assert source.since(0).values.tolist() == [[1.0], [2.0], [3.0]]


MANY_NEW = {
    "metrics": "new.{i} {i}\n",
    "points": "new,i={i} f={i},g=2\n",
    "rows": "#source new.{i}\n{i} 2\n",
    "pairs": "#source new.{i}\na={i} b=2\n",
}


@pytest.mark.parametrize("kind", MANY_NEW)
def test_of_many_new_sources_every_line_counts(collector: Running, kind: str) -> None:
    """Who brings thousands of sources waits for its turn; all is there in the end, though it has hung up by then."""
    with collector.connect() as sock:
        sock.sendall("".join(MANY_NEW[kind].format(i=i) for i in range(4000)).encode())
        assert "received=1 " in collector.say("other 1\n#stats\n")
    eventually(lambda: collector.status()["stored"] == 4001, "all of them")
    newest = {name: collector.store[name].last(1).values[0, 0] for name in collector.store.sources() if "new" in name}
    assert sorted(newest.values()) == [float(i) for i in range(4000)]
    assert collector.status()["rejected"] == {}


def test_what_waits_for_its_turn_is_stored_at_the_end(collector: Running) -> None:
    """Lines that were read and wait when the collector is stopped are stored and counted, each where it belongs."""
    with collector.connect() as sock:
        sock.sendall("".join(f"#source new.{i}\n{i}\n" for i in range(6000)).encode())
        eventually(lambda: len(collector.store.sources()) > 100, "some of them")
        collector.process.send_signal(signal.SIGINT)
        assert collector.process.wait(DEADLINE_S) == 0
    store = collector.store
    names = [name for name in store.sources() if name.startswith("new")]
    assert collector.status()["received"] == collector.status()["stored"] == len(names) > 1000  # a read has more
    assert sorted(store[name].last(1).values[0, 0] for name in names) == [float(i) for i in range(len(names))]


def test_interrupt_ends_it_cleanly(collector: Running) -> None:
    """Ctrl-C: what had arrived is stored, exit code 0, no traceback."""
    with collector.connect() as sock:
        sock.sendall(b"m 1\n")
        eventually(lambda: "m" in collector.store, "the line")
        collector.process.send_signal(signal.SIGINT)
        assert collector.process.wait(DEADLINE_S) == 0
    log = (collector.folder / "log").read_text()
    assert "Traceback" not in log
    assert all("collect:" in line for line in log.splitlines())


def test_the_collector_counts_itself(collector: Running) -> None:
    """Its counters are a source like others."""
    collector.say("m 1\nm x\n")
    eventually(lambda: "linemon.collector" in collector.store, "the source")
    own = collector.store["linemon.collector"]
    eventually(lambda: own.last(1).to_dict()["sources"].tolist() == [2.0], "both sources counted")
    rows = own.since(0).to_dict()
    assert rows["lines.received_per_s"].sum() > rows["lines.stored_per_s"].sum() > 0
    assert rows["lines.rejected_per_s"].sum() > 0
    assert rows["process.rss_bytes"][-1] == pytest.approx(rss_kb(collector.process.pid) * 1024, rel=0.2)


@pytest.mark.slow
def test_dead_sources_are_forgotten(start_collector: Callable[..., Running]) -> None:
    """A source without rows goes, its place is free for another; a connection that wakes up makes it anew."""
    running = start_collector("forget_after = 2\nmax_sources = 3\n")
    with running.connect() as quiet, running.connect() as busy:
        quiet.sendall(b"#source quiet\n1 2\n")
        eventually(lambda: "quiet" in running.store and running.store["quiet"].rows == 1, "the row")
        reader = running.store["quiet"]
        while "quiet" in running.store:
            busy.sendall(b"busy 1\n")
        assert "busy" in running.store
        with pytest.raises(UnknownSource):
            reader.last(1)
        quiet.sendall(b"3 4\n")
        eventually(lambda: "quiet" in running.store, "the source again")
        assert reader.since(0).values.tolist() == [[3.0, 4.0]]


@pytest.mark.slow
def test_memory_and_imports(start_collector: Callable[..., Running]) -> None:
    """With a full ring of a host's sixty columns the collector stays small, and it never imports bokeh."""
    collector = start_collector(fresh=True)
    with collector.connect() as sock:
        sock.sendall(b"#source web1\n#columns " + b" ".join(b"c%d" % i for i in range(60)) + b"\n")
        for sent in range(100, 4100, 100):  # more than the ring holds
            sock.sendall((b"1.5 " * 60 + b"\n") * 100)
            eventually(lambda rows=sent: "web1" in collector.store and collector.store["web1"].rows == rows, "the rows")  # type: ignore[misc]
    most = 50_000 if sys.version_info < (3, 14) else 53_000
    assert rss_kb(collector.process.pid) < most + (0 if bulk.reader else 5_000)  # numpy's, where it reads the numbers
    maps = Path(f"/proc/{collector.process.pid}/maps").read_text()
    assert "numpy" in maps
    assert "bokeh" not in maps
    code = "import sys, linemon.collector; sys.exit(any(m.split('.')[0] in ('bokeh', 'tornado') for m in sys.modules))"
    assert subprocess.run([command()[0], "-c", code]).returncode == 0


def rss_kb(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])


# -- the tap


def tap_rows(sock: socket.socket, count: int) -> list[bytes]:
    """Each read is one row: rows are single writes, far enough apart in these tests."""
    return [sock.recv(65536) for _ in range(count)]


def test_the_tap_sends_the_newest_row_then_each(start_collector: Callable[..., Running]) -> None:
    """On accept, then as they come; many readers, in the order of `columns`, in the format LabPlot reads."""
    running = start_collector('[[tap]]\nlisten = "127.0.0.1:0"\nsource = "web1"\ncolumns = ["b", "nope", "a"]\n')
    early = running.connect("tap")
    sender = running.connect()
    sender.sendall(b"#source web1\n#columns a b\n1 2\n")
    assert tap_rows(early, 1) == [b"2.0 nan 1.0\n"]
    late = [running.connect("tap") for _ in range(4)]
    for sock in late:
        assert tap_rows(sock, 1) == [b"2.0 nan 1.0\n"]
    sender.sendall(b"3e-05 nan\n")
    for sock in (early, *late):
        assert tap_rows(sock, 1) == [b"nan nan 3e-05\n"]
    late[0].sendall(b"what a client says is ignored\n")
    late[1].shutdown(socket.SHUT_WR)
    late[2].close()
    sender.sendall(b"5 6\n")
    for sock in (early, late[0], late[1], late[3]):
        assert tap_rows(sock, 1) == [b"6.0 nan 5.0\n"]
        sock.close()


def test_the_tap_defaults_to_the_tutorials_six(collector: Running) -> None:
    """CPU percent, MHz, memory percent, loads."""
    collector.say(
        "#source web1\n#columns load.1m load.5m load.15m cpu.busy_pct cpu.freq_hz:Hz mem.used_pct\n"
        "0.5 0.25 0.125 12.5 2400000000 40\n"
    )
    with collector.connect("tap") as sock:
        assert tap_rows(sock, 1) == [b"12.5 2400.0 40.0 0.5 0.25 0.125\n"]


@pytest.mark.slow
def test_a_slow_tap_reader_loses_rows_and_holds_nobody_up(start_collector: Callable[..., Running]) -> None:
    """It gets whole rows in order, the newest one too; what it lost between is counted."""
    names = [f"c{i + 1}" for i in range(200)]
    running = start_collector(f'[[tap]]\nlisten = "127.0.0.1:0"\nsource = "web1"\ncolumns = {json.dumps(names)}\n')
    running.say("#source web1\n" + "0 " * 200 + "\n")
    with running.connect("tap") as slow, running.connect() as sender:
        sender.sendall(b"#source web1\n")
        sent = 0
        while not running.status()["tap_rows_lost"]:
            assert sent < 100_000, "nothing lost"
            sender.sendall(b"".join(f"{sent + i} ".encode() * 200 + b"\n" for i in range(1, 501)))
            sent += 500
            eventually(lambda rows=sent + 1: running.store["web1"].rows == rows, "rows stored")  # type: ignore[misc]
        seen = []
        for line in slow.makefile("rb"):
            values = set(line.split())
            assert (len(values), line.count(b" ")) == (1, 199)
            seen.append(int(float(values.pop())))
            if seen[-1] == sent:
                break
        assert seen == sorted(set(seen))
        eventually(lambda: running.status()["tap_rows_lost"] == sent + 1 - len(seen), "the loss counted")


@pytest.mark.parametrize("rows", [900, 3000])
def test_a_burst_is_no_slow_tap_reader(start_collector: Callable[..., Running], rows: int) -> None:
    """As many rows as the ring holds, in one go, reach a reader that reads."""
    running = start_collector('[[tap]]\nlisten = "127.0.0.1:0"\nsource = "web1"\ncolumns = ["c1"]\n')
    running.say("#source web1\n0 0\n")
    with running.connect("tap") as reader:
        lines = reader.makefile("rb")
        assert lines.readline() == b"0.0\n"
        running.say("#source web1\n" + "".join(f"{i} 0\n" for i in range(1, rows + 1)))
        assert [lines.readline() for _ in range(rows)] == [b"%d.0\n" % i for i in range(1, rows + 1)]
    assert running.status()["tap_rows_lost"] == 0


def test_more_tap_readers_than_there_is_room_for(start_collector: Callable[..., Running]) -> None:
    """The 257th is refused; those that stopped talking, and may be gone, give way first."""
    running = start_collector('[[tap]]\nlisten = "127.0.0.1:0"\nsource = "web1"\ncolumns = ["c1"]\n')
    running.say("#source web1\n1\n")
    with contextlib.ExitStack() as stack:
        readers = [stack.enter_context(running.connect("tap")) for _ in range(256)]
        for reader in readers:
            assert reader.recv(100) == b"1.0\n"
        with running.connect("tap") as one_more:
            assert one_more.recv(100) == b""
        eventually(lambda: running.status()["tap_readers_refused"] == 1, "counted")
        readers[7].shutdown(socket.SHUT_WR)
        running.say("#source web1\n2\n")  # after this the tap has seen the half close
        assert readers[7].recv(100) == b"2.0\n"
        with running.connect("tap") as another:
            assert another.recv(100) == b"2.0\n"
            assert readers[7].recv(100) == b""
            assert readers[0].recv(100) == b"2.0\n"


@pytest.mark.slow
def test_a_tap_reader_that_half_closed_and_was_reset_goes_at_once(collector: Running) -> None:
    """Also while no row comes."""
    collector.say("#source web1\n1 1\n")
    reader = collector.connect("tap")
    reader.shutdown(socket.SHUT_WR)
    eventually(lambda: collector.status()["tap_readers"] == 1, "counted")
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    reader.close()  # with a reset
    eventually(lambda: collector.status()["tap_readers"] == 0, "gone")


@pytest.mark.slow
def test_a_backlog_is_taken_at_its_pace(start_collector: Callable[..., Running]) -> None:
    """A reader that looks twice a second misses nothing, nor does a tap; others are not kept waiting."""
    tap = '[[tap]]\nlisten = "127.0.0.1:0"\nsource = "late"\ncolumns = ["n"]\n'
    running = start_collector(f'points = 800\n[tcp]\nlisten = "127.0.0.1:0"\nidle_timeout = 1\n{tap}')
    rows, began = 900, time.monotonic()
    start = time.time() - 5000
    with running.connect() as sock, running.connect("tap") as reader:
        sock.sendall(b"#source late\n#columns time n\n#seq 0 x\n")
        sock.sendall("".join(f"{start + i:.3f} {i}\n" for i in range(rows)).encode())
        eventually(lambda: "late" in running.store, "the source")
        seen: list[float] = []
        cursor = 0
        while len(seen) < rows:
            found = running.store["late"].since(cursor)
            assert found.missed == 0
            cursor, seen = found.cursor, seen + found["n"].tolist()
            asked = time.monotonic()
            assert running.say("m 1\n#stats\n").startswith("#stats received=1")
            assert time.monotonic() - asked < 1.0
            time.sleep(0.5)
        assert seen == list(range(rows))
        assert time.monotonic() - began > rows / 200 - 1
        lines = reader.makefile("rb")
        assert [float(lines.readline()) for _ in range(rows)] == list(range(rows))
        answers = sock.makefile("rb")
        while answers.readline() != b"#ack %d\n" % rows:
            pass


def test_no_room_for_a_new_source(collector: Running) -> None:
    """`linemon.Sender` keeps its rows where the disk has no room for its ring, and they arrive when it has."""
    pid = collector.process.pid
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (65536, resource.RLIM_INFINITY))  # as on a disk that is full
    host, port = collector.address()
    with linemon.Sender("new", ["a"], to=f"{host}:{port}") as sender:
        for i in range(50):
            sender.send(i)
        assert not sender.flush(1.0)
        assert (sender.waiting, sender.dropped) == (50, 0)
        eventually(lambda: collector.status()["held_back"].get("store_full"), "counted")
        assert (collector.status()["received"], "new" in collector.store) == (0, False)
        assert (collector.folder / "log").read_text().count("'new' of 127.0.0.1 must wait") == 1
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        assert sender.flush(60.0)
    assert collector.store["new"].since(0)["a"].tolist() == list(range(50))


# -- commands


def test_send_says_what_became_of_it(collector: Running) -> None:
    """One row by hand; columns not named are missing; lines from standard input; a wrong one is named."""
    assert collector.run("send", "web1", "a=1", "b=2.5").returncode == 0
    assert collector.run("send", "web1", "b=3").returncode == 0
    out = collector.run("send", "web1", stdin="4 5\n6\n7 8")
    assert (out.returncode, out.stderr) == (1, "linemon: line 2: expected 2 tokens, the line has 1\n")
    rows = collector.store["web1"].since(0)
    assert repr(rows.values.tolist()) == "[[1.0, 2.5], [nan, 3.0], [4.0, 5.0], [7.0, 8.0]]"
    for wrong in (["a"], ["a=x"], ["=1"], ["a=1_0"], ["a b=1"]):
        out = collector.run("send", "web1", *wrong)
        assert out.returncode == 2, wrong
        assert len(out.stderr.splitlines()) == 1


def test_sources(collector: Running) -> None:
    """A table for people, JSON for scripts, and the bad lines with their reasons."""
    now = time.time()
    collector.say(f"#source web1\n#columns time a:V b\n{now - 2} 1 2\n{now} 3 4\n5\n")
    out = collector.run("sources", "--json")
    web1 = next(each for each in json.loads(out.stdout) if each["source"] == "web1")
    assert (web1["source"], web1["columns"], web1["units"]) == ("web1", ["a", "b"], ["V", ""])
    assert (web1["rows"], web1["rejected"]) == (2, 1)
    assert abs(np.datetime64(web1["newest"][:-1], "us").astype(float) / 1e6 - now) < 0.01
    table = collector.run("sources").stdout.splitlines()
    assert table[0].split() == ["source", "columns", "rows", "rate", "age", "rejected"]
    assert next(line.split() for line in table if line.startswith("web1"))[:4] == ["web1", "2", "2", "-"]
    eventually(lambda: collector.status()["bad_lines"], "the bad line in the status")
    (bad,) = json.loads(collector.run("sources", "--errors", "--json").stdout)
    assert (bad["peer"], bad["source"], bad["number"], bad["line"]) == ("127.0.0.1", "web1", 5, "5")
    assert bad["reason"] == "tokens"
    assert "expected 3 tokens, the line has 1" in collector.run("sources", "--errors").stdout


def test_what_a_sender_wrote_cannot_steer_the_terminal(collector: Running) -> None:
    """Escape sequences in bad lines are shown, not sent."""
    collector.say("1 \x1b[2J\x00\n")
    eventually(lambda: collector.status()["bad_lines"], "the bad line in the status")
    out = collector.run("sources", "--errors").stdout
    assert "1 \\x1b[2J\\x00" in out
    assert "\x1b" not in out


def test_export_formats(collector: Running) -> None:
    """CSV, JSON lines and Parquet hold the same rows, in time order, from --since up to --until."""
    collector.say(
        "#source web1\n#columns time a:V b,c\n"
        "2026-11-22T10:15:02.5Z 3 nan\n2026-11-22T10:15:00Z 1 2\n1795342503123456789 4 5e-7\n"
    )
    csv = collector.run("export", "web1").stdout
    assert csv == (
        'time,a,"b,c"\n2026-11-22T10:15:00.000000000Z,1.0,2.0\n2026-11-22T10:15:02.500000000Z,3.0,\n'
        "2026-11-22T10:15:03.123456789Z,4.0,5e-07\n"
    )
    cut = ("--since", "2026-11-22T10:15:00Z", "--until", "2026-11-22 10:15:03.123456789")
    lines = collector.run("export", "web1", "--format", "jsonl", *cut).stdout.splitlines()
    assert [json.loads(line) for line in lines] == [
        {"time": "2026-11-22T10:15:00.0Z", "a": 1.0, "b,c": 2.0},
        {"time": "2026-11-22T10:15:02.5Z", "a": 3.0, "b,c": None},
    ]
    file = collector.folder / "web1.parquet"
    assert collector.run("export", "web1", "--format", "parquet", "-o", str(file)).returncode == 0
    import pyarrow.parquet as pq

    table = pq.read_table(file)
    assert table.column("a").to_pylist() == [1.0, 3.0, 4.0]
    assert table.column("b,c").to_pylist() == [2.0, None, 5e-07]
    assert table.column("time").cast("int64").to_pylist() == [
        1795342500000000000,
        1795342502500000000,
        1795342503123456789,
    ]
    assert collector.run("export", "web1", "--columns", "b,c").returncode == 2
    assert collector.run("export", "web1", "--since", "10").returncode == 2
    assert collector.run("export", "web1", "--columns", "a", "--since", "10m").stdout == "time,a\n"


def test_parquet_without_pyarrow_says_what_to_install(collector: Running, tmp_path: Path) -> None:
    """An optional extra that is missing is one line, not a traceback."""
    collector.say("m 1\n")
    (tmp_path / "pyarrow.py").write_text("raise ImportError\n")
    out = subprocess.run(
        command("export", "m", "--format", "parquet", "--config", str(collector.config)),
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(tmp_path)},
    )
    wanted = f"linemon: parquet needs pyarrow: {sys.executable} -m pip install pyarrow\n"
    assert (out.returncode, out.stderr) == (1, wanted)


@pytest.mark.slow
def test_tail_follows(collector: Running) -> None:
    """The newest row, then each as it comes; Ctrl-C ends it with 0."""
    collector.say("#source web1\n#columns a b\n1 2\n3 4\n")
    options = ("--config", str(collector.config))
    tail = subprocess.Popen(command("tail", "web1", *options), stdout=subprocess.PIPE, text=True)
    raw = subprocess.Popen(command("tail", "web1", "--raw", *options), stdout=subprocess.PIPE, text=True)
    assert tail.stdout
    assert raw.stdout
    assert tail.stdout.readline() == "time a b\n"
    assert tail.stdout.readline().split()[1:] == ["3.0", "4.0"]
    assert raw.stdout.readline() == "3.0 4.0\n"
    collector.say("#source web1\n5 6\n")
    assert tail.stdout.readline().split()[1:] == ["5.0", "6.0"]
    assert raw.stdout.readline() == "5.0 6.0\n"
    for process in (tail, raw):
        process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE_S) == 0


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["export", "nope"], 1, "no source 'nope'"),
        (["tail", "nope"], 1, "no source 'nope'"),
        (["tail", "web1", "--columns", "a,x"], 2, "no column 'x'; it has: a, b"),
        (["export", "web1", "--since", "soon"], 2, "'soon' is not a time"),
        (["export", "web1", "--since", "3/4/2026"], 2, "'3/4/2026' is not a time"),
        (["export", "web1", "-o", "/nowhere/x.csv"], 1, "cannot write /nowhere/x.csv"),
        (["export"], 2, "SOURCE"),
        (["fly"], 2, "fly"),
    ],
)
def test_what_is_wrong_is_said(collector: Running, arguments: list[str], code: int, says: str) -> None:
    """Errors are a line on stderr with what to do, and the exit code tells whose fault it is."""
    collector.say("#source web1\n#columns a b\n1 2\n")
    out = collector.run(*arguments)
    assert out.returncode == code
    assert says in out.stderr
    assert "Traceback" not in out.stderr


@pytest.mark.parametrize("how", ["removed", "replaced"])
def test_a_store_that_is_taken_away(tmp_path: Path, how: str) -> None:
    """The collector takes no rows into nowhere: it ends, with a sentence, and asks to be started again."""
    running = Running(tmp_path)
    running.say("m 1\n")
    shutil.rmtree(running.store_path)
    if how == "replaced":
        StoreWriter(running.store_path, 10, 5).close()
    assert running.process.wait(DEADLINE_S) == 75
    assert f"{running.store_path} was removed or replaced under the collector" in (tmp_path / "log").read_text()
    assert "Traceback" not in (tmp_path / "log").read_text()
    assert not (running.store_path / "status.json").exists()
    running.stop()
    again = Running(tmp_path)
    assert "stored=1" in again.say("m 2\n#stats\n")
    assert again.stop() == 0


@pytest.mark.slow
def test_a_port_in_use(collector: Running, start_collector: Callable[..., Running], tmp_path: Path) -> None:
    """A collector that cannot have its port or its store says so and ends with 1."""
    config = tmp_path / "second.toml"
    host, port = collector.address()
    config.write_text(f'[store]\npath = "{tmp_path}/second"\n[tcp]\nlisten = "{host}:{port}"\n')
    out = subprocess.run(command("collect", "--config", str(config)), capture_output=True, text=True)
    assert (out.returncode, out.stderr) == (
        1,
        f"linemon: [Errno 98] cannot listen on {host}:{port}: Address already in use\n",
    )
    out = collector.run("collect")
    assert out.returncode == 1
    assert f"another collector (process {collector.process.pid})" in out.stderr


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ("m 1\n#stats\n", "#stats received=1 stored=1 rejected=0 duplicate=0 dropped=0\n"),
        ("m x\n#errors on\nm y\n", "#error 3 number: 'y' is not a number\n"),
        ("m 1\n#source s\n#seq 1 a\n", "#ack 1\n"),
    ],
)
def test_answers_come_at_once(collector: Running, said: str, answer: str) -> None:
    """Also to directives that came with the lines before them, on a connection that then waits for the answer."""
    with collector.connect() as sock:
        sock.settimeout(5.0)  # idle connections are looked at every 10 s, and would get what was forgotten
        sock.sendall(said.encode())
        assert sock.recv(4096).decode() == answer


def test_numbered_lines_on_a_socket(tmp_path: Path) -> None:
    """Acknowledged at once and after each batch; what was sent before is dropped, also after a SIGKILL."""
    first = Running(tmp_path)
    assert first.say("#source numbered\n#seq 1 s\n") == "#ack 1\n"
    assert first.say("#source numbered\n#seq 1 s\n1\n2\n").endswith("#ack 3\n")
    first.process.kill()
    first.stop()
    again = Running(tmp_path)
    try:
        assert again.say("#source numbered\n#seq 1 s\n1\n2\n3\n").endswith("#ack 4\n")
        assert again.store["numbered"].since(0).values[:, 0].tolist() == [1.0, 2.0, 3.0]
        eventually(lambda: again.status()["duplicate"] == 2, "the count")
    finally:
        again.stop()
