"""Marks: set by lines, the command and HTTP, kept in their file, read by HTTP and Python; who may, and how many."""

from __future__ import annotations

import http.client
import json
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linemon.errors import LineError
from linemon.store.marks import ALARM, MAX_LINES, MOST, MOST_ALARMS, Mark, MarkFile, MarkWriter
from linemon.store.reader import Store
from tests.examples import examples
from tests.running import Running, eventually
from tests.web import get, post

Start = Callable[..., Running]
NOON = "2026-11-22T12:00:00Z"
NOON_NS = 1_795_348_800 * 10**9


def said(marks: list[Mark]) -> list[tuple[str, str | None]]:
    return [(mark.text, mark.source) for mark in marks]


def test_a_mark_is_one_wherever_it_is_set(collector: Running) -> None:
    """Lines, the command and HTTP set what lines, HTTP and Python read, in time order."""
    at = collector.address("http")
    collector.say(f"#source web1\n#mark {NOON} by line\n#mark now\n")
    done = collector.run("mark", "by", "command", "--source", "web1", "--at", "2026-11-22T11:00:00Z")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert collector.run("mark", "by command, now").returncode == 0
    posted = post(at, {"text": " by HTTP ", "time": "2026-11-22 13:00", "kind": "setting"}, "/api/marks")
    assert posted.json == {"time": "2026-11-22T13:00:00Z", "text": "by HTTP", "source": None, "kind": "setting"}
    with Store(collector.store_path) as store:
        day = store.marks("2026-11-22", "2026-11-23")
        assert day == [
            Mark(np.datetime64("2026-11-22T11:00:00", "ns"), "by command", "web1", "note"),
            Mark(np.datetime64("2026-11-22T12:00:00", "ns"), "by line", "web1", "note"),
            Mark(np.datetime64("2026-11-22T13:00:00", "ns"), "by HTTP", None, "setting"),
        ]
        found = [(mark.text, abs(int(mark.time.astype("int64")) - time.time_ns()) < 60e9) for mark in store.marks()[3:]]
        assert sorted(found) == [("by command, now", True), ("now", True)]
        everything = store.marks()
    listed = get(at, "/api/marks").json
    assert [(each["text"], each["source"]) for each in listed] == said(everything)
    assert get(at, "/api/marks", start="2026-11-22", end="2026-11-23").json == [mark.fields for mark in day]


def test_what_a_span_and_a_source_choose(collector: Running) -> None:
    """The start is in it, the end is not; a source's marks come with those of all."""
    at = collector.address("http")
    for text, source in (("0", None), ("1", "web1"), ("2", "web2"), ("3", None)):
        assert post(at, {"text": text, "time": 1700000000 + int(text), "source": source}, "/api/marks").status == 200

    def texts(**query: object) -> str:
        return "".join(mark["text"] for mark in get(at, "/api/marks", **query).json)

    assert texts() == "0123"
    assert texts(source="web1") == "013"
    assert texts(source="unknown") == "03"
    assert texts(start=1700000001) == "123"
    assert texts(end=1700000002) == "01"
    assert texts(start=1700000001, end=1700000003, source="web2") == "2"
    assert texts(start="1m") == ""
    assert [get(at, "/api/marks", **{name: "x"}).json["field"] for name in ("start", "end", "since")] == [
        "start",
        "end",
        "since",
    ]
    assert get(at, "/api/marks", source="").status == 400


@pytest.mark.parametrize(
    ("mark", "field"),
    [
        (b"{", None),
        (b"\xff", None),
        ([], None),
        ({}, "text"),
        ({"text": ""}, "text"),
        ({"text": "  "}, "text"),
        ({"text": 5}, "text"),
        ({"text": "x" * 501}, "text"),
        ({"text": "a\nb"}, "text"),
        ({"text": "\ud800"}, "text"),
        ({"text": "x", "time": "noon"}, "time"),
        ({"text": "x", "time": -5}, "time"),
        ({"text": "x", "time": True}, "time"),
        ({"text": "x", "source": ""}, "source"),
        ({"text": "x", "source": 1}, "source"),
        ({"text": "x", "source": "\udc00"}, "source"),
        ({"text": "x", "kind": ""}, "kind"),
        ({"text": "x", "kind": "a b"}, "kind"),
        ({"text": "x", "kind": "x" * 17}, "kind"),
        ({"text": "x", "tme": 5}, "tme"),
    ],
    ids=repr,
)
def test_a_mark_that_is_none_is_told(collector: Running, mark: Any, field: str | None) -> None:
    answer = post(collector.address("http"), mark, "/api/marks")
    assert (answer.status, answer.json["field"]) == (400, field)
    assert get(collector.address("http"), "/api/marks").json == []


def test_the_command_says_what_is_wrong(tmp_path: Path, start_collector: Start) -> None:
    running = start_collector()
    for arguments, what in (
        (["mark", ""], "1 to 500"),
        (["mark", "x", "--at", "10"], "'10' is not a time"),
        (["mark", "x", "--source", "n" * 1025], "1,024"),
    ):
        done = running.run(*arguments)
        assert done.returncode == 2
        assert what in done.stderr
    running.stop()
    done = running.run("mark", "x")
    assert (done.returncode, done.stdout) == (1, "")
    assert "no collector" in done.stderr


# -- who may, and how many


def test_who_may_set_marks(start_collector: Start) -> None:
    """One of a source needs the right to write to it, one of all a token for all; parts may, with their key."""
    rooms = '[[token]]\nsecret = "rooms"\nsources = ["room*"]\n'
    running = start_collector(f'[tcp]\nlisten = "127.0.0.1:0"\ntoken = "all"\n{rooms}')
    at, key = running.address("http"), (running.store_path / "work.key").read_text()

    def status(secret: str, source: str | None) -> int:
        said = {"text": f"by {secret}", "source": source, "kind": "task"}
        return post(at, said, "/api/marks", **({"Authorization": f"Bearer {secret}"} if secret else {})).status

    assert [status("", "room1"), status("wrong", None)] == [401, 401]
    assert [status("rooms", "room1"), status("rooms", "web1"), status("rooms", None)] == [200, 403, 403]
    assert [status("all", "web1"), status("all", None)] == [200, 200]
    assert [status(key, "web1"), status(key, None)] == [200, 200]
    answer = running.say(
        "#errors on\n#mark a\n#token rooms\n#mark b\n#source web1\n#mark c\n#source room1\n#mark d\n"
        "#token all\n#mark e\n"
    )
    assert [line.split(":")[0] for line in answer.splitlines()] == [
        "#error 2 token",
        "#error 4 token",
        "#error 6 token",
    ]
    assert said(running.store.marks())[-2:] == [("d", "room1"), ("e", "room1")]
    assert running.run("mark", "by the file's token").returncode == 0
    assert not running.status()["rejected"].get("mark")  # a mark is no line


def test_ten_marks_a_second(collector: Running) -> None:
    """Of a connection; of bodies of lines, which are many connections, of their peer."""
    connection = http.client.HTTPConnection(*collector.address("http"), timeout=20)
    found = []
    began = time.time()
    for number in range(45):
        connection.request("POST", "/api/marks", json.dumps({"text": f"{number}"}))
        answer = connection.getresponse()
        answer.read()
        found.append((answer.status, answer.headers["Retry-After"]))
    connection.close()
    seconds = int(time.time()) - int(began) + 1
    assert 10 <= found.count((200, None)) <= 10 * seconds
    assert set(found) == {(200, None), (429, "1")}
    lines = "".join(f"#mark body {number}\n" for number in range(8)).encode()
    assert 400 in [post(collector.address("http"), lines, "/api/lines").status for _ in range(12)]


def test_where_there_is_no_room_it_is_said(collector: Running) -> None:
    (collector.store_path / "marks").mkdir()  # as a disk that takes nothing more
    answer = post(collector.address("http"), {"text": "x"}, "/api/marks")
    assert (answer.status, "marks" in answer.json["error"]) == (507, True)
    assert collector.say("#errors on\n#mark x\nm 1\n#stats\n").splitlines()[0].startswith("#error 2 store_full")


# -- the file


def notes(writer: MarkWriter | MarkFile) -> list[str]:
    return [mark.text for mark in writer.marks]


@pytest.mark.slow
def test_the_newest_marks_are_kept(tmp_path: Path) -> None:
    """As they come, whatever their times; the file stays bounded, and another process has the same ones."""
    writer = MarkWriter(tmp_path, 0o600)
    reader = MarkFile(tmp_path)
    for number in range(MAX_LINES + 50):
        writer.add(Mark.of(NOON_NS - number, f"{number}"))
        if number in (5, MAX_LINES - 1, MAX_LINES + 3):
            reader.refresh()
            assert notes(reader) == notes(writer)
    assert notes(writer) == [f"{number}" for number in range(MAX_LINES + 50 - MOST, MAX_LINES + 50)]
    assert len((tmp_path / "marks").read_bytes().splitlines()) < MOST + 100
    reader.refresh()
    assert notes(reader) == notes(writer) == notes(MarkWriter(tmp_path, 0o600))
    reader.close()


def test_alarms_leave_room_for_the_others(tmp_path: Path) -> None:
    """Their marks are half of all at most."""
    writer = MarkWriter(tmp_path, 0o600)
    for number in range(20):
        writer.add(Mark.of(NOON_NS + number, f"note {number}"))
    for number in range(MOST_ALARMS + 10):
        writer.add(Mark.of(NOON_NS + number, f"alarm {number}", "web1", ALARM))
    assert notes(writer) == [f"note {number}" for number in range(20)] + [
        f"alarm {number}" for number in range(10, MOST_ALARMS + 10)
    ]


ADDED = st.lists(st.tuples(st.integers(0, 3), st.sampled_from("ab"), st.sampled_from([None, "s"])), max_size=20)


@settings(deadline=None, max_examples=examples(50))
@given(added=ADDED, damaged=st.integers(0, 19), cut=st.integers(0, 200))
def test_what_is_left_of_a_damaged_file(
    tmp_path_factory: pytest.TempPathFactory, added: list[tuple[int, str, str | None]], damaged: int, cut: int
) -> None:
    """Whole lines are kept, the others dropped, and a mark that is set after that is there."""
    folder = tmp_path_factory.mktemp("marks")
    writer = MarkWriter(folder, 0o600)
    for at, text, source in added:
        writer.add(Mark.of(at, text, source))
    marks = list(dict.fromkeys(Mark.of(at, text, source) for at, text, source in added))
    assert list(writer.marks) == marks
    if marks:
        lines = (folder / "marks").read_bytes().splitlines(keepends=True)
        which = damaged % len(lines)
        lines[which] = b"00000000" + lines[which][8:]
        data = b"".join(lines)
        (folder / "marks").write_bytes(data[: max(0, len(data) - cut)])
        whole = data[: max(0, len(data) - cut)].count(b"\n")
        marks = [mark for i, mark in enumerate(marks) if i < whole and i != which]
    again = MarkWriter(folder, 0o600)
    assert list(again.marks) == marks
    again.add(Mark.of(9, "after"))
    reader = MarkFile(folder)
    reader.refresh()
    assert list(reader.marks) == [*marks, Mark.of(9, "after")]
    assert (reader.damaged, reader.is_cut) == (0, False)
    reader.close()


def test_a_person_can_read_the_file(collector: Running) -> None:
    """A line each: a checksum, and JSON. Nobody else may read it."""
    collector.say(f"#source web1\n#mark {NOON} Tür zu, 21,5 °C\n")
    path = collector.store_path / "marks"
    text = '{"time": "2026-11-22T12:00:00Z", "text": "Tür zu, 21,5 °C", "source": "web1", "kind": "note"}'
    assert path.read_text() == f"{zlib.crc32(text.encode()):08x} {text}\n"
    assert path.stat().st_mode & 0o777 == 0o600


def test_marks_outlive_a_kill(tmp_path: Path) -> None:
    """What was answered is there after kill -9, at whatever moment that comes; nothing is there that was not sent."""
    sent: list[str] = []
    sure: list[str] = []
    for turn in range(5):
        running = Running(tmp_path)
        sock = running.connect()
        answers = sock.makefile("rb")
        for number in range(turn * 2 + 1):
            sent.append(f"{turn}.{number}")
            sock.sendall(f"#mark {sent[-1]}\n#stats\n".encode())
            answers.readline()
            sure.append(sent[-1])
        sent.append(f"{turn}.last")
        sock.sendall(f"#mark {sent[-1]}\n".encode())
        running.process.kill()
        running.process.wait()
        sock.close()
        answers.close()
        running.log.close()
        with Store(running.store_path) as store:
            found = [mark.text for mark in store.marks()]
        assert set(sure) <= set(found) <= set(sent)
    running = Running(tmp_path)
    assert running.run("mark", "after all").returncode == 0
    eventually(lambda: "after all" in [mark.text for mark in running.store.marks()], "the mark")
    running.store.close()
    assert running.stop() == 0


def test_a_mark_is_refused_where_it_cannot_be_written(tmp_path: Path) -> None:
    """And is not there in memory either."""
    writer = MarkWriter(tmp_path, 0o600)
    (tmp_path / "marks").mkdir()
    with pytest.raises(LineError) as caught:
        writer.add(Mark.of(1, "x"))
    assert caught.value.reason == "store_full"
    (tmp_path / "marks").rmdir()
    writer.add(Mark.of(1, "x"))
    assert notes(MarkWriter(tmp_path, 0o600)) == ["x"]
