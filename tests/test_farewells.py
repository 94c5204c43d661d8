"""Sources that are forgotten or renamed: all that is kept of them goes along, whoever sends or reads, and whatever is
killed meanwhile.
"""

from __future__ import annotations

import errno
import json
import os
import pty
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import quote

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linemon.errors import LineError
from linemon.store.farewells import MOST, FarewellFile, FarewellWriter
from linemon.store.folder import replace_file
from linemon.store.levels import LATE
from linemon.store.marks import Mark, MarkFile
from linemon.store.reader import Store
from linemon.store.writer import StoreWriter
from tests.examples import examples
from tests.histories import BEGIN, SECOND, Place, assert_same, open_places, tier
from tests.running import Running, command, eventually
from tests.web import Address, Answer, ask, get, post

Start = Callable[..., Running]


def rows_of(running: Running, source: str) -> list[float]:
    return running.store[source].since(0).values[:, 0].tolist()  # type: ignore[no-any-return]


def forget(at: Address, name: str, **headers: str) -> Answer:
    return ask(at, "DELETE", f"/api/sources/{quote(name, safe='')}", **headers)


def rename(at: Address, name: str, said: Any, **headers: str) -> Answer:
    return post(at, said, f"/api/sources/{quote(name, safe='')}/rename", **headers)


def names(running: Running) -> list[str]:
    """Of all sources but the collector's own, which is not there at once."""
    return sorted(set(running.store.sources()) - {"linemon.collector"})


def send(running: Running, source: str, *values: float) -> None:
    """Rows of one column, and wait until they are there."""
    had = running.store[source].rows if source in running.store else 0
    running.say(f"#source {source}\n#columns v\n" + "".join(f"{value}\n" for value in values))
    eventually(lambda: running.store[source].rows == had + len(values), "the rows")


# -- what becomes of a source


def test_a_source_is_forgotten_with_its_rows_and_marks(collector: Running) -> None:
    """At once, and no other; a row that comes again makes a new source, which says that it is back."""
    for source in ("web1", "web2"):
        send(collector, source, 1, 2, 3)
        collector.say(f"#source {source}\n#mark seen\n")
    born = collector.store["web1"].born
    done = collector.run("forget", "web1")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert "web1" not in collector.store.sources(history=True)
    assert [mark.source for mark in collector.store.marks()] == ["web2"]
    assert get(collector.address("http"), "/api/rows", source="web1").status == 404
    assert rows_of(collector, "web2") == [1, 2, 3]
    assert "is back" not in collector.run("sources").stderr

    send(collector, "web1", 4)
    assert rows_of(collector, "web1") == [4]
    assert collector.store["web1"].born > born
    assert "linemon: web1 is back: it was forgotten at 20" in collector.run("sources").stderr
    back = {each["source"]: each["back"] for each in json.loads(collector.run("sources", "--json").stdout)}
    assert (back["web1"][:13], back["web2"]) == ("forgotten at ", None)
    assert "source 'web1' is back: it was forgotten at 20" in (collector.folder / "log").read_text()


def test_a_source_is_renamed_with_its_rows_and_marks(collector: Running) -> None:
    """Its row numbers and its life go on, so a cursor of before is good; the old name is nobody's."""
    send(collector, "rom1", 1, 2, 3)
    collector.say("#source rom1\n#mark seen\n")
    before = collector.store["rom1"].since(0)
    assert collector.run("rename", "rom1", "room 1/ü").returncode == 0
    assert names(collector) == ["room 1/ü"]
    source = collector.store["room 1/ü"]
    assert source.since(0).values.tolist() == before.values.tolist()
    assert [(mark.text, mark.source) for mark in collector.store.marks()] == [("seen", "room 1/ü")]
    send(collector, "room 1/ü", 4)
    after = source.since(before.cursor, before.born)
    assert (after.values.tolist(), after.restarted, after.missed) == ([[4]], False, 0)


def test_what_tasks_give_of_a_source_goes_with_it(collector: Running) -> None:
    """Renamed and forgotten, by command and by HTTP, one or many; of other sources nothing."""
    for source in ("web1", "web1~normal", "web1~normal~groups", "web10~normal", "web2", "web2~normal"):
        send(collector, source, 1, 2)
    assert collector.run("rename", "web1", "www").returncode == 0
    assert names(collector) == ["web10~normal", "web2", "web2~normal", "www", "www~normal", "www~normal~groups"]
    assert rows_of(collector, "www~normal~groups") == [1, 2]
    send(collector, "new~normal", 1)
    taken = rename(collector.address("http"), "web2", {"to": "new"})
    assert (taken.status, "there is a source 'new~normal'" in taken.json["error"]) == (409, True)
    assert rename(collector.address("http"), "web2", {"to": "web9"}).status == 200
    assert collector.run("forget", "--yes", "new~normal", "web10~normal").returncode == 0
    assert names(collector) == ["web9", "web9~normal", "www", "www~normal", "www~normal~groups"]
    assert collector.run("forget", "--yes", "www", "www~normal").returncode == 0  # which goes with it
    assert forget(collector.address("http"), "web9").status == 200
    assert names(collector) == []


def test_who_sends_on_under_the_old_name_makes_a_new_source(collector: Running) -> None:
    """On the same connection, in lines, metrics and points: each row is in one of the two sources."""

    def await_rows(*sources: str) -> None:
        eventually(lambda: all(collector.store[source].rows for source in sources), "their rows")

    with collector.connect() as rows, collector.connect() as metrics:
        rows.sendall(b"#source old\n#columns v\n1\n2\n")
        metrics.sendall(b"metric 1\nm,host=a v=1\n")
        three = ("old", "metric", "m,host=a")
        await_rows(*three)
        eventually(lambda: collector.store["old"].rows == 2, "both rows")
        for name in three:
            assert collector.run("rename", name, f"new {name}").returncode == 0
        rows.sendall(b"3\n4\n")
        metrics.sendall(b"metric 2\nm,host=a v=2\n")
        eventually(lambda: collector.store["old"].rows == 2, "rows of the old name")
        await_rows(*three)
    assert (rows_of(collector, "new old"), rows_of(collector, "old")) == ([1, 2], [3, 4])
    assert (rows_of(collector, "new metric"), rows_of(collector, "metric")) == ([1], [2])
    assert (rows_of(collector, "new m,host=a"), rows_of(collector, "m,host=a")) == ([1], [2])
    told = collector.run("sources").stderr
    assert "linemon: old is back: it was renamed to 'new old' at 20" in told
    status = eventually(lambda: (s := collector.status())["stored"] == 8 and s, "the counters")
    assert (status["received"], status["rejected"], status["dropped"]) == (8, {}, {})


def test_a_numbering_sender_goes_on_under_the_new_name(collector: Running) -> None:
    """What the renamed source holds of it is not stored twice; under the old name it goes on at its next line."""

    def say(source: str, first: int, *values: int) -> str:
        return collector.say(f"#source {source}\n#columns v\n#seq {first} me\n" + "".join(f"{v}\n" for v in values))

    assert "#ack 3" in say("old", 0, 0, 1, 2)
    assert collector.run("rename", "old", "new").returncode == 0
    assert "#ack 5" in say("new", 1, 1, 2, 3, 4)
    assert rows_of(collector, "new") == [0, 1, 2, 3, 4]
    assert "#ack 6" in say("old", 5, 5)
    assert rows_of(collector, "old") == [5]
    assert collector.status()["lost"] == 0


def test_a_numbering_connection_outlives_a_rename(collector: Running) -> None:
    """No line of it is lost, counted as lost, or stored twice."""
    with collector.connect() as sock:
        answers = sock.makefile("rb")
        sock.sendall(b"#source old\n#columns v\n#seq 0 me\n")
        assert answers.readline() == b"#ack 0\n"
        for value in range(10):
            sock.sendall(b"%d\n" % value)
            while answers.readline() != b"#ack %d\n" % (value + 1):
                pass
            if value == 4:
                assert collector.run("rename", "old", "new").returncode == 0
    assert (rows_of(collector, "new"), rows_of(collector, "old")) == ([0, 1, 2, 3, 4], [5, 6, 7, 8, 9])
    assert collector.status()["lost"] == 0


def test_columns_that_are_coming_are_there_after_a_rename(tmp_path: Path) -> None:
    writer = StoreWriter(tmp_path, 10, 10)
    ring = writer.bind("old", ("a",), ("",))
    writer.announce(ring, ("b",))
    writer.farewells.part(writer, "old", "new")
    assert writer.rings["new"].columns == ("a", "b")
    assert not writer.rings["new"].coming
    writer.close()


# -- who asks


def test_what_cannot_be_done_is_told(collector: Running) -> None:
    send(collector, "web1", 1)
    send(collector, "web2", 1)
    for arguments, what in (
        (["forget", "web3"], "no source 'web3'"),
        (["rename", "web3", "x"], "no source 'web3'"),
        (["rename", "web1", "web2"], "there is a source 'web2'"),
        (["rename", "web1", "web1"], "there is a source 'web1'"),
        (["rename", "web1", "n" * 1025], "1,024"),
        (["rename", "web1", ""], "1 to 1,024"),
    ):
        done = collector.run(*arguments)
        assert done.returncode == 1
        assert what in done.stderr
        assert done.stderr.count("\n") == 1
    at = collector.address("http")
    for name in ("web3", "", "web1/x", "."):
        assert [forget(at, name).status, rename(at, name, {"to": "y"}).status] == [404, 404]
    taken = rename(at, "web1", {"to": "web2"})
    assert (taken.status, taken.json["field"]) == (409, "to")
    for body, field in (
        (b"{", None),
        ([], None),
        ({}, "to"),
        ({"to": ""}, "to"),
        ({"to": 5}, "to"),
        ({"to": "\ud800"}, "to"),
        ({"to": "a\nb"}, "to"),
        ({"to": "x", "source": "y"}, "source"),
    ):
        answer = rename(at, "web1", body)
        assert (answer.status, answer.json["field"]) == (400, field), body
    assert get(at, "/api/sources/web1").status == get(at, "/api/sources/web1/rename").status == 405
    assert ask(at, "DELETE", "/api/sources").status == 405
    assert names(collector) == ["web1", "web2"]


@pytest.mark.slow
def test_many_are_forgotten_when_that_was_meant(collector: Running) -> None:
    """A pattern that means several is asked about; without a terminal it needs --yes."""
    for name in ("test1", "test2", "test-bench", "web1"):
        send(collector, name, 1)
    meant = ("forget", "test*", "!test-bench")
    done = collector.run(*meant)
    assert (done.returncode, done.stderr) == (
        2,
        "linemon: 2 sources would be removed: test1, test2; --yes if that is meant\n",
    )
    for answer, left in ((b"n\n", 4), (b"\n", 4), (b"y\n", 2)):
        ours, theirs = pty.openpty()
        os.write(ours, answer)
        asked = subprocess.run(
            command(*meant, "--config", str(collector.config)), stdin=theirs, stderr=subprocess.PIPE, check=False
        )
        os.close(theirs)
        os.close(ours)
        assert b"2 sources would be removed: test1, test2. Remove them? [y/N]" in asked.stderr
        assert (asked.returncode, len(names(collector))) == (0 if left == 2 else 1, left)
    assert collector.run("forget", "t*", "web1", "--yes").returncode == 0
    assert names(collector) == []


def test_only_an_admin_of_the_source_renames_and_forgets_it(start_collector: Start) -> None:
    """Where tokens are set, one with `admin = true` that opens the source; and who owns the store."""
    running = start_collector(
        '[[token]]\nsecret = "all"\n'
        '[[token]]\nsecret = "boss"\nadmin = true\n'
        '[[token]]\nsecret = "rooms"\nsources = ["room*"]\nadmin = true\n'
    )
    at = running.address("http")
    for name in ("web1", "web2", "web3", "room1", "room2"):
        assert post(at, {"tag": name, "value": 1}, Authorization="Bearer all").status == 200

    def with_(secret: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {secret}"} if secret else {}

    for secret, status in (("", 401), ("wrong", 401), ("all", 403), ("rooms", 403)):
        assert forget(at, "web1", **with_(secret)).status == status
        assert rename(at, "web1", {"to": "room3"}, **with_(secret)).status == status
        assert rename(at, "room1", {"to": "web9"}, **with_(secret)).status == status
    assert {"web1", "web2", "web3", "room1", "room2"} <= set(running.store.sources())
    assert forget(at, "room1", **with_("rooms")).status == 200
    assert rename(at, "room2", {"to": "room1"}, **with_("rooms")).status == 200
    assert forget(at, "web1", **with_("boss")).status == 200
    assert rename(at, "web2", {"to": "x"}, **with_("boss")).json == {"source": "web2", "to": "x"}
    assert running.run("rename", "web3", "web4").returncode == 0
    assert {"room1", "x", "web4"} <= set(running.store.sources())


def test_a_page_of_another_site_forgets_nothing(collector: Running) -> None:
    send(collector, "web1", 1)
    at = collector.address("http")

    for headers in ({"Origin": "http://evil.example"}, {"Host": "evil.example"}):
        assert forget(at, "web1", **headers).status == rename(at, "web1", {"to": "x"}, **headers).status == 403
    assert names(collector) == ["web1"]
    assert forget(at, "web1", Origin=f"http://{at[0]}:{at[1]}").status == 200


def test_any_name_is_renamed_and_forgotten(collector: Running) -> None:
    """By the commands and by HTTP, whatever is in it."""
    at = collector.address("http")
    odd = ["a b", "a/b", "ü", "%2F", "a?b#c", 'say "x"', "!x", "*", "m,host=a"]
    for name in odd:
        send(collector, name, 1)
        assert rename(at, name, {"to": f"{name}2"}).status == 200
        assert collector.run("rename", f"{name}2", name).returncode == 0
    assert names(collector) == sorted(odd)
    for number, name in enumerate(odd):
        if number % 2:
            assert forget(at, name).status == 200
        else:
            assert collector.run("forget", name).returncode == 0
    assert names(collector) == []


# -- who reads


def test_taps_and_streams_wait_for_the_old_name(collector: Running) -> None:
    """They end no connection: rows of a source of that name that comes later go on, from its first one."""
    send(collector, "web1", 1)
    at = collector.address("http")
    with collector.connect("tap") as tap, collector.connect("http") as stream:
        lines = tap.makefile("rb")
        lines.readline()
        stream.sendall(f"GET /api/stream?source=web1 HTTP/1.1\r\nHost: {at[0]}\r\n\r\n".encode())
        events = stream.makefile("rb")
        while events.readline() != b"\r\n":
            pass
        for verb in (("rename", "web1", "web2"), ("forget", "web1")):
            assert collector.run(*verb).returncode == 0
            send(collector, "web1", 7)
            assert lines.readline()
            while not (event := events.readline()).startswith(b"data:"):
                pass
            assert json.loads(event[5:])["values"] == [[7]]


# -- history


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    yield from open_places(tmp_path, monkeypatch)


MakePlace = Callable[..., Place]
TWO = tier("10s", "1d"), tier("1m", "30d")


def part(place: Place, name: str, to: str | None) -> None:
    place.writer.farewells.part(place.writer, name, to)
    sent = place.sent.pop(name, [])
    if to is not None:
        place.sent[to] = sent


def assert_whole(place: Place, *sources: str) -> None:
    """The tiers have these sources, and of each the buckets of all rows that were sent."""
    for each in place.chain.tiers:
        assert set(each.main.rings) == set(sources)
        assert set(each.late.rings) <= set(sources)
        for source in sources:
            assert_same(place.buckets(each.name, source), place.truth(each.name, source))


def test_history_follows_a_rename(make: MakePlace) -> None:
    """Its buckets, those that are open, those of late rows; and the old name, sent on, has its own."""
    place = make(*TWO, points=100)
    place.live("old", 0, 600)
    place.add("old", np.arange(5, 300, 7))  # late
    place.live("old", 600, 700)
    part(place, "old", "new")
    place.add("new", np.arange(700, 705))
    place.add("old", np.arange(700, 710))
    place.live("new", 705, 800)
    place.settle()
    assert_whole(place, "new", "old")
    assert place.chain.counts["missed"] == 0
    start, end = np.datetime64(BEGIN, "ns"), np.datetime64(BEGIN + 900 * SECOND, "ns")
    assert place.store["new"].window(start, end, 15).count.sum() == sum(len(time) for time, _ in place.sent["new"])


def test_history_forgets_what_is_forgotten(make: MakePlace) -> None:
    """Also a source of which only history is left; one that is back begins anew."""
    place = make(*TWO)
    for name in ("a", "b", "gone"):
        place.live(name, 0, 120)
    place.writer.let_go(place.writer.rings["gone"])  # silent for too long
    place.turn()
    assert place.store.knows("gone")
    for name in ("a", "gone"):
        part(place, name, None)
    place.clock.now = BEGIN + 130 * SECOND
    place.add("a", np.arange(120, 130))
    place.settle()
    assert_whole(place, "a", "b")
    assert not place.store.knows("gone")


def test_history_follows_what_came_while_it_was_away(make: MakePlace) -> None:
    """In the order in which it came, however names went round."""
    place = make(*TWO)
    for name in ("a", "b", "c"):
        place.live(name, 0, 120)
    place.close()
    for name, to in (("a", "x"), ("b", "a"), ("x", "b"), ("c", None), ("b", "c")):
        part(place, name, to)
    place.add("c", np.arange(120, 130))
    place.open()
    place.settle()
    assert_whole(place, "a", "c")


@pytest.mark.slow
@pytest.mark.parametrize("at", range(12))
def test_history_killed_while_it_follows(make: MakePlace, at: int) -> None:
    """Whatever it had done of a farewell: no bucket is lost, doubled, or another source's."""
    place = make(*TWO)
    for name in ("a", "b", "c"):
        place.live(name, 0, 120)
    for name, to in (("a", "x"), ("b", "a"), ("x", "b"), ("c", None)):
        part(place, name, to)
    calls = 0

    def dying(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls > at:
                raise KeyboardInterrupt  # nothing catches it, as little as a kill
            return real(*arguments)

        return call

    with (
        mock.patch.object(StoreWriter, "let_go", dying(StoreWriter.let_go)),
        mock.patch("linemon.store.farewells.replace_file", dying(replace_file)),
    ):
        try:
            place.turn()
        except KeyboardInterrupt:
            place.kill()
    place.settle()
    assert_whole(place, "a", "b")


def test_history_waits_for_a_rename_that_is_not_done_yet(make: MakePlace) -> None:
    """The collector was killed after its word: until it is there again all has its old name."""
    place = make(*TWO)
    place.live("old", 0, 60)
    with mock.patch.object(StoreWriter, "let_go", side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        place.writer.farewells.part(place.writer, "old", "new")
    place.settle()
    assert_whole(place, "old")
    os.close(place.writer._lock)
    place.writer = StoreWriter(place.folder, 3600, 100)
    place.sent["new"] = place.sent.pop("old")
    place.live("new", 36000, 36060)
    place.settle()
    assert_whole(place, "new")


def test_tiers_that_have_ended_follow_too(make: MakePlace) -> None:
    place = make(*TWO)
    for name in ("a", "b"):
        place.live(name, 0, 120)
    place.configure(TWO[1])
    part(place, "a", "x")
    part(place, "b", None)
    place.turn()
    for folder in ("10s", "1m"):
        assert Store(place.folder / "history" / folder).sources() == ("x",)
        assert "a" not in Store(place.folder / "history" / (folder + LATE))


# -- killed, and full


@pytest.mark.slow
def test_the_collector_killed_while_sources_are_renamed(start_collector: Start) -> None:
    """Ten kills at random moments: each time one of the two names has all rows and the mark, and no row is lost."""
    chance = random.Random(5)
    running = start_collector()
    send(running, "a", *range(100))
    running.say("#source a\n#mark seen\n")
    for _ in range(10):
        stop = threading.Event()

        def back_and_forth(stop: threading.Event = stop, running: Running = running) -> None:
            at = running.address("http")
            while not stop.is_set():
                for name, to in (("a", "b"), ("b", "a")):
                    try:
                        rename(at, name, {"to": to})
                    except OSError:
                        return

        thread = threading.Thread(target=back_and_forth)
        thread.start()
        time.sleep(chance.random() * 0.2)  # a moment of no meaning
        os.kill(running.process.pid, signal.SIGKILL)
        stop.set()
        thread.join()
        running.process.wait(20)
        running.stop()
        running = start_collector()
        [name] = [each for each in running.store.sources() if each in ("a", "b")]
        assert rows_of(running, name) == list(range(100))
        assert [(mark.text, mark.source) for mark in running.store.marks()] == [("seen", name)]
    assert "damaged" not in (running.folder / "log").read_text()


@pytest.mark.parametrize("to", ["new", None])
def test_a_full_disk_leaves_the_source_as_it_is(tmp_path: Path, to: str | None) -> None:
    """Whichever of its files has no room any more: it is told, and after another start it still is so."""
    for at in range(3):
        folder = tmp_path / str(at)
        writer = StoreWriter(folder, 10, 10)
        writer.bind("old", ("a",), ("",))
        writer.marks.add(Mark.of(1, "seen", "old"))
        real, calls = os.write, 0

        def write(fd: int, data: bytes, at: int = at, real: Callable[..., int] = real) -> int:
            nonlocal calls
            calls += 1
            if calls == 1 + at:
                raise OSError(errno.ENOSPC, "no space")
            return real(fd, data)

        with mock.patch("linemon.store.folder.os.write", write), pytest.raises(LineError, match="no space"):
            writer.farewells.part(writer, "old", to)
        assert list(writer.rings) == ["old"]
        writer.close()
        again = StoreWriter(folder, 10, 10)
        assert list(again.rings) == ["old"]
        assert [mark.source for mark in Store(folder).marks()] == ["old"]
        assert not FarewellWriter(folder, 0o600).kept
        again.close()


@pytest.mark.slow
@settings(max_examples=examples(100), deadline=None)
@given(
    moves=st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from(["a", "b", "c", None]), st.booleans()), max_size=15
    )
)
def test_any_farewells_leave_what_a_dictionary_would(
    tmp_path_factory: pytest.TempPathFactory, moves: list[Any]
) -> None:
    """Rows, marks and what names are told to be back, for the writer, a reader that follows, and after each start."""
    folder = tmp_path_factory.mktemp("any")
    writer, reader, following = StoreWriter(folder, 10, 10), Store(folder), MarkFile(folder)
    rows: dict[str, int] = {}
    gone: dict[str, str | None] = {}
    for number, (name, to, is_restart) in enumerate(moves):
        if name not in rows:
            ring = writer.bind(name, ("v",), ("",))
            ring.arena.append_to(ring.entry.slot, np.array([[number, number]]))
            writer.marks.add(Mark.of(number, str(number), name))
            rows[name] = number
        if to not in rows:
            writer.farewells.part(writer, name, to)
            number = rows.pop(name)
            gone[name] = to
            if to is not None:
                rows[to] = number
                gone.pop(to, None)
        if is_restart:
            writer.close()
            writer = StoreWriter(folder, 10, 10)
        found = {each: int(reader[each].since(0).values.view(np.int64)[0, 0]) for each in reader.sources()}
        assert found == rows
        assert {mark.source: int(mark.text) for mark in reader.marks()} == rows
        following.refresh()
        assert {mark.source: int(mark.text) for mark in following.marks} == rows
        farewells = FarewellFile(folder)
        farewells.refresh()
        assert {each: farewell.to for each, farewell in farewells.names.items()} == gone
        farewells.close()
        assert {each: farewell.to for each, farewell in writer.farewells.names.items()} == gone
    writer.close()
    reader.close()
    following.close()


def test_the_file_of_farewells_is_bounded(tmp_path: Path) -> None:
    """The newest are kept; times rise, whatever the clock does."""
    with mock.patch("linemon.store.farewells.time.time_ns", return_value=5):
        writer = FarewellWriter(tmp_path, 0o600)
        with mock.patch("linemon.store.farewells.MOST", 10), mock.patch.object(FarewellWriter, "MOST_LINES", 20):
            for i in range(35):
                writer._add(f"s{i}", None, 1)
    found = FarewellFile(tmp_path)
    found.refresh()
    assert [each.at for each in found.kept][-1] == 5 + 34
    assert found.lines <= 21 < MOST
    assert list(writer.names) == [f"s{i}" for i in range(25, 35)]
    found.close()
