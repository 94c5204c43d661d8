"""`linemon send`: rows by hand, CSV, files that grow; and what became of them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linemon.cli._csv import Csv
from linemon.errors import AskedWrongly, LinemonError
from tests.examples import examples
from tests.running import Running, command, eventually


def values(running: Running, source: str) -> list[list[float | None]]:
    """All rows in time order, None where a value is missing."""
    rows = running.store[source].last(10_000).values.tolist()
    return [[None if value != value else value for value in row] for row in rows]


# -- CSV, without a collector


def converted(text: str | bytes, **options: Any) -> tuple[list[str], list[tuple[int, str, str]], list[str]]:
    """The lines made of a file, the rows refused (line, reason, text), and what was told; the cut changes nothing."""
    data = text.encode() if isinstance(text, str) else text
    found = []
    for size in (1, 7, len(data) or 1):
        refused: list[tuple[int, str, str]] = []
        told: list[str] = []
        csv = Csv(lambda *what: refused.append(what), told.append, **options)  # noqa: B023
        out = b"".join(csv.take(data[i : i + size]) for i in range(0, len(data), size)) + csv.end()
        found.append((out.decode().splitlines(), sorted(refused), told))
    # `#columns` comes before the first row, and so at another place where the header came alone.
    without = [([line for line in lines if not line.startswith("#columns")], refused) for lines, refused, _ in found]
    assert without[0] == without[1] == without[2]
    return found[2]


S = 10**9


@pytest.mark.parametrize(
    ("text", "options", "columns", "rows"),
    [
        ("a,b\n1,2\n", {}, "a b", ["1 2"]),
        ("a,b\r\n1,2\r\n3,4", {}, "a b", ["1 2", "3 4"]),
        ("\ufeffa,b\n1,2\n", {}, "a b", ["1 2"]),
        ("# made by hand\n\na,b\n1,2\n\n#x\n3,4\n", {}, "a b", ["1 2", "3 4"]),
        ('"a","b"\n"1"," 2 "\n', {}, "a b", ["1 2"]),
        ('a,note,b\n1,"two\nlines, ""quoted""",2\n', {}, "a b", ["1 2"]),
        ("a;b\n1,5;-2,25\n", {"sep": ";", "decimal": ","}, "a b", ["1.5 -2.25"]),
        ("a\tb\n1\t2\n", {"sep": "tab"}, "a b", ["1 2"]),
        ("a,b\nNA,1\n-,\n nan,inf\n", {"missing": ["NA", "-"]}, "a b", ["nan 1", "nan nan", "nan nan"]),
        ("1,2,3\n", {"columns": "a,,c:V"}, "a c:V", ["1 3"]),
        (",a,b\n7,1,2\n", {}, "a b", ["1 2"]),
        ("Temp °C,in V [V],p (h Pa),r:%,x:y:z\n1,2,3,4,5\n", {}, "Temp_°C in_V:V p:hPa r:% x_y_z", ["1 2 3 4 5"]),
        ("sep=;\na;b\n1;2\n", {}, "a b", ["1 2"]),
        ("#group,false\n_start,_time,_value\nx,2026-11-25T19:00:00Z,1\n", {}, "time _value", [f"{1795633200 * S} 1"]),
        ("name,v\nx,1\ny,2\n", {}, "v", ["1", "2"]),
        ("TIME,v\n1700000000,1\n1700000000.5,2\n", {}, "time v", ["1700000000 1", "1700000000.5 2"]),
        ("v,Timestamp\n1,2026-11-25T19:00:00Z\n", {}, "time v", [f"{1795633200 * S} 1"]),
        ("date,v\n2026-11-25 19:00:00.25,1\n", {}, "time v", [f"{1795633200 * S + S // 4} 1"]),
        ("datetime,v\n25.11.2026 19:00,1\n2026-11-25,2\n", {}, "time v",
         [f"{1795633200 * S} 1", f"{1795564800 * S} 2"]),
        ("datetime,v\n2026/11/25 19:00:00.5,1\n", {}, "time v", [f"{1795633200 * S + S // 2} 1"]),
        ("datetime,v\n5.1.2026 9:05,1\n", {}, "time v", [f"{1767603900 * S} 1"]),
        ("Date,Time,v\n25.11.2026,19:00,1\n", {}, "time v", [f"{1795633200 * S} 1"]),
        ("time,v\n2026-11-25T20:00:00+01:00,1\n-1,2\n", {}, "time v", [f"{1795633200 * S} 1", "-1 2"]),
        ("time,v\n2026-11-25 20:00,1\n2026-07-25 20:00,2\n", {"zone": "Europe/Berlin"}, "time v",
         [f"{1795633200 * S} 1", f"{1785002400 * S} 2"]),
        ("time,v\n2026-11-25T19:00:00Z,1\n", {"zone": "Europe/Berlin"}, "time v", [f"{1795633200 * S} 1"]),
        ("time,v\n2026-10-25 02:30,1\n", {"zone": "Europe/Berlin"}, "time v",
         [f"{1792888200 * S} 1"]),  # it is there twice: the first
    ],
)  # fmt: skip
def test_csv_becomes_rows(text: str, options: dict[str, Any], columns: str, rows: list[str]) -> None:
    lines, refused, _ = converted(text, **options)
    assert not refused
    assert [line for line in lines if line] == [f"#columns {columns}", *rows]


def test_csv_keeps_the_numbers_of_lines() -> None:
    """After one line of our own each line of the file is a line of the connection: errors have its numbers."""
    text = '# c\na,b\n1,2\n\n"3\n",4\nx,5\n6,7\n'
    lines, refused, _ = converted(text)
    assert lines == ["#columns a b", "", "", "1 2", "", "", "3 4", "", "6 7"]
    assert refused == [(7, "number", "a: 'x' is not a number")]


@pytest.mark.parametrize(
    ("row", "options", "reason", "what"),
    [
        ("x,1", {}, "number", "a: 'x' is not a number"),
        ('"1,5",1', {}, "number", "is --decimal , meant?"),
        ("1_000,1", {}, "number", "'1_000'"),
        ("0x10,1", {}, "number", "'0x10'"),
        ("t=5,1", {}, "number", "'t=5'"),
        ("1 2,1", {}, "number", "'1 2'"),
        ("12 %,1", {}, "number", "a unit belongs in the header"),
        ('"1,234.5",1', {}, "number", "nothing between thousands"),
        ("٣,1", {}, "number", "'٣'"),
        ("NA,1", {}, "number", "'NA'"),
        ("1.234;1", {"sep": ";", "decimal": ","}, "number", "'1.234'"),
        ("1", {}, "tokens", "1 cells, where the header has 2"),
        ("1,2,3", {}, "tokens", "3 cells, where the header has 2"),
        ('1,"2', {}, "syntax", "a quote is never closed"),
    ],
)
def test_a_bad_row_of_csv_costs_itself(row: str, options: dict[str, Any], reason: str, what: str) -> None:
    sep = options.get("sep", ",")
    lines, refused, _ = converted(f"a{sep}b\n5{sep}6\n{row}\n7{sep}8\n", **options)
    assert [line for line in lines if line] == ["#columns a b", "5 6", "7 8"]
    ((line, why, text),) = refused
    assert (line, why) == (3, reason)
    assert what in text


@pytest.mark.parametrize(
    ("time", "zone", "what"),
    [
        ("", "UTC", "is not a time"),
        ("soon", "UTC", "is not a time"),
        ("2026-02-30", "UTC", "is not a time"),
        ("30.02.2026 10:00", "UTC", "is not a time"),
        ("11/25/2026 19:00", "UTC", "which is the day?"),
        ("2026-03-29 02:30", "Europe/Berlin", "its clocks were set forward over it"),
        ("9999-01-01", "UTC", "is not a time"),
    ],
)
def test_what_is_no_time_of_csv(time: str, zone: str, what: str) -> None:
    lines, refused, _ = converted(f"time,v\n2026-11-25 19:00,1\n{time},2\n", zone=zone)
    assert len([line for line in lines if line]) == 2
    ((line, why, text),) = refused
    assert (line, why) == (3, "time")
    assert what in text


def test_columns_of_text_are_left_out_and_named() -> None:
    """Also one that seems to be the time; what is text only later costs its row."""
    lines, _, told = converted("Datum,note,v\n25.11.2026 19:00,ok,1\n")
    assert lines == ["#columns v", "", "1"]
    (text,) = told
    assert "note ('ok')" in text
    assert "Datum ('25.11.2026 19:00'; is it the time?" in text
    rows = "".join(f"{i},1\n" for i in range(10))
    _, refused, told = converted("a,b\n" + rows + "ERR,1\n")
    assert (refused, told) == ([(12, "number", "a: 'ERR' is not a number")], [])


def test_a_time_that_counts_from_a_start_is_told_of() -> None:
    """Devices that measure do so; what they send is kept where it says, in 1970."""
    lines, refused, told = converted("time,v\n0.000,1\n0.001,2\n")
    assert ([line for line in lines if line], refused) == (["#columns time v", "0.000 1", "0.001 2"], [])
    assert "counts from a start of its own" in told[0]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("1,2\n3,4\n", "is data, not a header"),
        ("a;b\n1;2\n", "is --sep ';' meant?"),
        ("a,a\n1,2\n", "named twice"),
        ("time\n1700000000\n", "no column"),
        ("note\nx\n", "no column holds numbers"),
        ("cpu\n12.5 %\n", "no column holds numbers; a unit belongs in the header"),
        ('cpu\n"12,5"\n', "no column holds numbers; is --decimal , meant?"),
        ("Temp \u00b0C,b\n1,2\n".encode("cp1252"), "iconv -f CP1252"),
        ("a,b\n1,2\n".encode("utf-16"), "iconv"),
        ("\x07,b\n1,2\n", "control character"),
    ],
)
def test_a_header_that_cannot_be(text: str | bytes, what: str) -> None:
    with pytest.raises(LinemonError, match=re.escape(what)) as error:
        converted(text)
    assert not isinstance(error.value, AskedWrongly)


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"sep": ",", "decimal": ","}, "both"),
        ({"sep": "::"}, "one character"),
        ({"decimal": "x"}, "one character"),
        ({"zone": "Mars/Olympus"}, "is not a zone"),
    ],
)
def test_options_of_csv_that_cannot_be(options: dict[str, Any], what: str) -> None:
    with pytest.raises(AskedWrongly, match=what):
        converted("a,b\n", **options)


@pytest.mark.slow
@given(st.lists(st.lists(st.text('12.,;"\n\r x-eE#', max_size=4), min_size=1, max_size=4), max_size=30))
@settings(max_examples=examples(300), deadline=None)
def test_each_row_of_csv_is_sent_or_refused(rows: list[list[str]]) -> None:
    """Whatever stands in it, and wherever it is cut: as many lines come out as went in, none sent and refused."""
    text = "a,b\n1,2\n" + "".join(",".join(row).replace("\r", "") + "\n" for row in rows)
    lines, refused, _ = converted(text)
    assert len(lines) == 1 + text.count("\n")
    sent = [number for number, line in enumerate(lines[1:], 1) if line]
    assert not set(sent) & {number for number, _, _ in refused}
    assert all(re.fullmatch(r"\S+ \S+", line) for line in lines[1:] if line)


# -- CSV, with one


def test_send_csv(collector: Running) -> None:
    """What the command and what the collector refuse is in one sum, with the file's line numbers."""
    text = (
        "time;Temp [°C];note\n25.11.2026 19:00;21,5;ok\n25.11.2026 19:01;x;ok\n01.01.1960;1;ok\n25.11.2026 19:02;;ok\n"
    )
    out = collector.run("send", "room", "--csv", "--sep", ";", "--decimal", ",", stdin=text)
    assert (out.returncode, out.stdout) == (1, "stored 2, rejected 2 (number 1, time 1)\n")
    for said in ("note ('ok')", "line 3: Temp: 'x' is not a number", "line 4: "):
        assert said in out.stderr
    room = collector.store["room"]
    assert (room.columns, room.units, values(collector, "room")) == (("Temp",), ("°C",), [[21.5], [None]])


@pytest.mark.parametrize(
    ("arguments", "stdin", "code"),
    [
        (("-", "--csv"), "a\n1\n", 2),
        (("x", "--sep", ";"), "1\n", 2),
        (("x", "--csv", "a.csv"), "", 2),
        (("x", "/etc/hosts"), "", 2),
        (("--csv",), "a\n1\n", 2),
        (("x", "--follow", "/dev/null"), "", 2),
        (("x", "--csv", "--sep", ";", "--decimal", ";"), "a\n1\n", 2),
        (("x", "--csv"), "1,2\n", 1),
    ],
)
def test_send_asked_wrongly(collector: Running, arguments: tuple[str, ...], stdin: str, code: int) -> None:
    """One line says why, and nothing is sent."""
    out = collector.run("send", *arguments, stdin=stdin)
    assert (out.returncode, out.stdout) == (code, "")
    assert len([line for line in out.stderr.splitlines() if line.startswith("linemon: ")]) >= 1
    assert "x" not in collector.store


# -- lines


def test_send_takes_stats_for_a_comment(collector: Running) -> None:
    """Its answer is how the command knows the end: the lines after one in a file would not be sent."""
    assert collector.run("send", "x", stdin="1\n#stats\n2\n").stdout == "stored 2, rejected 0\n"


def test_send_shows_notes_and_does_not_count_them(collector: Running) -> None:
    """A comment that looks like a directive is not rejected."""
    out = collector.run("send", "x", stdin="# source y\n1\n1 2\n")
    assert (out.returncode, out.stdout) == (1, "stored 1, rejected 1 (tokens 1)\n")
    assert "line 1: " in out.stderr


def test_send_drops_a_byte_order_mark(collector: Running) -> None:
    assert collector.run("send", "-", stdin="\ufeffroom1.t 20").stdout == "stored 1, rejected 0\n"
    assert "room1.t" in collector.store


# -- a file that grows


class Following:
    """`linemon send SOURCE --follow FILE`, as it runs."""

    def __init__(self, running: Running, path: Path, *options: str) -> None:
        self.path = path
        self.err = running.folder / "follow.err"
        self._file = self.err.open("wb")
        self.process = subprocess.Popen(
            command("send", "f", "--follow", str(path), *options, "--config", str(running.config)),
            stdout=subprocess.PIPE, stderr=self._file, text=True,
        )  # fmt: skip

    def said(self, text: str) -> None:
        eventually(lambda: text in self.err.read_text(), text)

    def add(self, text: str) -> None:
        with self.path.open("a") as file:
            file.write(text)

    def end(self) -> str:
        """What it prints after Ctrl-C."""
        self.process.send_signal(signal.SIGINT)
        out, _ = self.process.communicate(timeout=30)
        self._file.close()
        return out


@contextmanager
def following(running: Running, path: Path, *options: str) -> Iterator[Following]:
    each = Following(running, path, *options)
    try:
        yield each
    finally:
        if each.process.poll() is None:
            each.end()


def arrived(running: Running, expected: list[float]) -> None:
    """The rows of `f` are these, in order of arrival."""

    def look() -> bool:
        return "f" in running.store and running.store["f"].since(0).values[:, 0].tolist() == expected

    eventually(look, f"{expected}")


def test_follow_a_file_that_grows(collector: Running, tmp_path: Path) -> None:
    """From its beginning; a line waits for its newline; the file's line is named; Ctrl-C ends with the sum."""
    path = tmp_path / "log.txt"
    path.write_text("1\n2\n")
    with following(collector, path) as follow:
        arrived(collector, [1, 2])
        follow.add("x\n3")
        follow.said("line 3: ")
        follow.add("4\n")
        arrived(collector, [1, 2, 34])
        assert follow.end() == "stored 3, rejected 1 (tokens 1)\n"
        assert follow.process.returncode == 1
    assert "at least once" in follow.err.read_text()


def test_follow_a_file_that_is_not_there_yet(collector: Running, tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    with following(collector, path) as follow:
        follow.said("is not there yet")
        follow.add("1\n")
        arrived(collector, [1])
        assert follow.end() == "stored 1, rejected 0\n"
        assert follow.process.returncode == 0


def test_follow_a_file_that_is_replaced_and_emptied(collector: Running, tmp_path: Path) -> None:
    """As logrotate does: what was added to the old one last is read, then the new one from its beginning."""
    path = tmp_path / "log.txt"
    path.write_text("1\n")
    with following(collector, path) as follow:
        arrived(collector, [1])
        path.rename(tmp_path / "log.1")
        with (tmp_path / "log.1").open("a") as file:
            file.write("2\n3")  # its last line has no newline, and never will
        path.write_text("x\n4\n")
        arrived(collector, [1, 2, 3, 4])
        follow.said("line 1: ")
        path.write_text("5\n")
        arrived(collector, [1, 2, 3, 4, 5])
        assert follow.end() == "stored 5, rejected 1 (tokens 1)\n"


@pytest.mark.slow
def test_follow_over_a_collector_that_goes_away(start_collector: Callable[..., Running], tmp_path: Path) -> None:
    """It says so, connects again, and sends what was not confirmed, to the source and columns the file had named."""
    running = start_collector()
    port = running.address()[1]
    running.config.write_text(
        running.config.read_text().replace('[tcp]\nlisten = "127.0.0.1:0"', f'[tcp]\nlisten = "127.0.0.1:{port}"')
    )
    path = tmp_path / "log.txt"
    path.write_text("#columns a b\n1 2\n")
    with following(running, path) as follow:
        arrived(running, [1])
        running.process.kill()
        running.stop()
        follow.add("3 4\nx\n")
        follow.said("are sent again")
        again = start_collector()
        follow.said("connected again")
        follow.add("5 6\ny\n")
        arrived(again, [1, 3, 5])
        follow.said("line 4: ")
        follow.said("line 6: ")
        assert again.store["f"].columns == ("a", "b")
        assert follow.end() == "stored 3, rejected 2 (tokens 2)\n"


def test_follow_csv(collector: Running, tmp_path: Path) -> None:
    """Each file has its own header."""
    path = tmp_path / "log.csv"
    path.write_text("time,a\n2026-11-25 19:00,1\n")
    with following(collector, path, "--csv") as follow:
        arrived(collector, [1])
        follow.add("2026-11-25 19:01,x\n2026-11-25 19:02,2\n")
        arrived(collector, [1, 2])
        follow.said("line 3: a: 'x' is not a number")
        (tmp_path / "new").write_text("a,time\n3,2026-11-25 19:03\n")
        os.replace(tmp_path / "new", path)
        arrived(collector, [1, 2, 3])
        assert follow.end() == "stored 3, rejected 1 (number 1)\n"


# -- by hand


def test_send_shows_errors_as_they_come(collector: Running) -> None:
    """A live stream is not mute until its end; Ctrl-C ends it with the sum, also of what is under way."""
    process = subprocess.Popen(
        command("send", "live", "--config", str(collector.config)),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdin
    assert process.stderr
    process.stdin.write("20 5\n21;5\n")
    process.stdin.flush()
    assert "line 2: " in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert re.fullmatch(r"stored 1, rejected 1 \(tokens 1\)\n", out)


@pytest.mark.slow
def test_send_counts_what_it_does_not_show(collector: Running) -> None:
    """Ten errors, one line that there are more, and the sum of them all."""
    out = collector.run("send", "many", stdin="x\n" * 50_000 + "1\n")
    assert out.returncode == 1
    assert len(out.stderr.splitlines()) == 11
    assert re.match(r"stored 1, rejected 50000 \((other \d+, )?tokens \d+(, other \d+)?\)", out.stdout)  # no room


def test_send_by_hand(collector: Running) -> None:
    """What became of it is said, a new column is told of, and a wrong value is named with its column."""
    assert collector.run("send", "web1", "cpu=1", "mem=2").stdout == "stored 1, rejected 0\n"
    assert "'disk' is a new column of 'web1'" in collector.run("send", "web1", "disk=3").stderr
    wrong = collector.run("send", "web1", "cpu=fast")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "'cpu=fast': 'fast' is not a number" in wrong.stderr
    own = collector.run("send", "-", stdin="room1.t 20\nroom2.t 21\n")
    assert own.stdout == "stored 2, rejected 0\n"
    assert {"web1", "room1.t", "room2.t"} <= set(collector.store)
