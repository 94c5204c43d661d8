"""The outbox: what is put reaches its notifiers at least once, in order, and not too often; whatever happens to it."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from math import inf
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linemon.config import Config, load
from linemon.errors import AskedWrongly, ConfigError
from linemon.parts.alarms import letters, outbox
from linemon.parts.alarms.event import Event
from linemon.parts.alarms.letters import Letters
from linemon.parts.alarms.notifiers import build, kinds
from linemon.parts.alarms.outbox import Outbox
from linemon.parts.alarms.waiting import Letter, Waiting
from tests.notifiers import FIRST, OTHER, Post, over, raised
from tests.running import eventually
from tests.sinks import HttpSink

ROOT = Path(__file__).parent.parent


def letter(at: float = 0.0, event: Event = FIRST) -> Letter:
    return Letter(event, at)


def waits(alone: bool = False, group_wait: float = 10.0, max_per_hour: int = 30) -> Waiting:
    return Waiting(alone, group_wait, max_per_hour, draw=lambda: 0.0)


# -- what is sent when


def test_what_comes_together_goes_together() -> None:
    """`group_wait` after the first of them."""
    waiting = waits()
    waiting.add(letter(100))
    waiting.add(letter(105, OTHER))
    assert waiting.due(109.9) == ([], 110)
    found, _ = waiting.due(110)
    assert [each.event for each in found] == [FIRST, OTHER]
    waiting.sent(found, 110)
    assert waiting.due(110) == ([], inf)


def test_machines_are_told_each_event_at_once() -> None:
    waiting = waits(alone=True)
    waiting.add(letter(100))
    waiting.add(letter(100, raised()))
    found, _ = waiting.due(100)
    assert [each.event for each in found] == [FIRST]


def test_after_a_failure_ever_longer() -> None:
    """5 s doubling to 10 min, for the incident; others go on."""
    waiting, now, pauses = waits(alone=True), 0.0, []
    waiting.add(letter(0))
    for _ in range(9):
        found, _ = waiting.due(now)
        waiting.failed(found, now, None, whole=False)
        _, again = waiting.due(now)
        pauses.append(again - now)
        now = again
    assert pauses == [5, 10, 20, 40, 80, 160, 320, 600, 600]
    waiting.add(letter(now - 1, OTHER))
    found, _ = waiting.due(now - 1)
    assert [each.event for each in found] == [OTHER]


def test_what_the_peer_asks_for_wins() -> None:
    """Retry-After, for all that waits."""
    waiting = waits(alone=True)
    waiting.add(letter(0))
    waiting.add(letter(0, OTHER))
    waiting.failed(waiting.due(0)[0], 0, 42.0, whole=True)
    assert waiting.due(41) == ([], 42)
    assert len(waiting.due(42)[0]) == 1


def test_too_many_become_a_digest() -> None:
    """After `max_per_hour` in an hour all wait for the next; but what is critical goes, with its incident alone."""
    waiting = waits(group_wait=1, max_per_hour=2)
    for i in range(2):
        waiting.add(letter(10 * i))
        waiting.sent(waiting.due(10 * i + 1)[0], 10 * i + 1)
    for i, event in enumerate((FIRST, OTHER, raised(OTHER))):
        waiting.add(letter(30 + i, event))
    found, again = waiting.due(40)
    assert ([each.event.seq for each in found], again) == ([1, 2], 3601)
    waiting.sent(found, 40)
    assert waiting.due(41) == ([], 3601)
    assert [each.event for each in waiting.due(3601)[0]] == [FIRST]


STEP = st.tuples(st.sampled_from(["add", "ok", "fail", "whole"]), st.integers(0, 3), st.floats(0, 400))


@given(st.lists(STEP, max_size=80), st.booleans())
def test_order_and_bounds_hold_whatever_happens(steps: list[tuple[str, int, float]], alone: bool) -> None:
    """Of an incident each letter goes after the one before; nothing is lost; no more messages than are allowed."""
    waiting, now = waits(alone, 5, 4), 0.0
    seqs: Counter[int] = Counter()
    gone: dict[str, list[int]] = {}
    messages: list[float] = []

    def turn(how: str) -> bool:
        found, again = waiting.due(now)
        assert found or again > now
        if not found:
            return False
        for key in {each.event.key for each in found}:
            mine = [each.event.seq for each in found if each.event.key == key]
            assert mine == list(range(len(gone.get(key, [])) + 1, len(gone.get(key, [])) + 1 + len(mine)))
        if how in ("fail", "whole"):
            waiting.failed(found, now, None, how == "whole")
        else:
            waiting.sent(found, now)
            messages.append(now)
            for each in found:
                gone.setdefault(each.event.key, []).append(each.event.seq)
        return True

    for what, i, pause in steps:
        now += pause
        if what == "add":
            seqs[i] += 1
            waiting.add(letter(now, replace(FIRST, key=str(i), seq=seqs[i])))
        else:
            turn(what)
    for _ in range(400):
        if not turn("ok"):
            if not len(waiting):
                break
            now = max(now, min(waiting.due(now)[1], now + 4000))
    assert not len(waiting)
    assert gone == {str(i): list(range(1, count + 1)) for i, count in seqs.items()}
    if not alone:
        assert all(later - first > 3600 - 1e-6 for first, later in zip(messages, messages[4:], strict=False))


# -- the file


def test_a_letter_is_held_once(tmp_path: Path) -> None:
    """A (key, number, notifier) that is there, or was there, is refused; another notifier's is not."""
    file = Letters(tmp_path / "outbox")
    assert [name for name, _ in file.put([(FIRST, ["a", "b"])])] == ["a", "b"]
    assert [name for name, _ in file.put([(FIRST, ["a", "c"])])] == ["c"]
    file.end("sent", "a", [letter()])
    assert not file.put([(FIRST, ["a"])])
    file.close()
    file = Letters(tmp_path / "outbox")
    assert not file.put([(FIRST, ["a", "b", "c"])])
    assert {name: len(each) for name, each in file.waiting.items() if each} == {"b": 1, "c": 1}
    assert file.counts["sent"] == 1
    assert (tmp_path / "outbox").stat().st_mode & 0o777 == 0o600
    file.close()


def test_what_people_know(tmp_path: Path) -> None:
    """Of each incident number and level of what was put last: 0 after its end, -1 while it flaps."""
    box = outbox.Outbox(tmp_path, Config(notify=({"name": "it", "kind": "command", "argv": ["x"]},)))
    known = [
        (box.put(each), box.told(each.key))[1]
        for each in (FIRST, raised(), replace(FIRST, seq=3, kind="flapping"), over(seq=4))
    ]
    assert known == [(1, 1), (2, 2), (3, -1), (4, 0)]
    assert box.told("another") is None
    box.close()


@pytest.mark.parametrize("cut", range(0, 400, 7))
def test_a_torn_line_costs_itself(tmp_path: Path, cut: int) -> None:
    """Wherever the file ends, what was whole is there, and the next start writes on."""
    file = Letters(tmp_path / "outbox")
    file.put([(FIRST, ["a"])])
    whole = (tmp_path / "outbox").stat().st_size
    file.put([(OTHER, ["a"])])
    file.close()
    data = (tmp_path / "outbox").read_bytes()
    (tmp_path / "outbox").write_bytes(data[: whole + cut])
    file = Letters(tmp_path / "outbox")
    assert len(file.waiting["a"]) == (2 if whole + cut >= len(data) else 1)
    assert file.put([(raised(OTHER), ["a"])])
    file.close()
    assert len(Letters(tmp_path / "outbox").waiting["a"]) == (3 if whole + cut >= len(data) else 2)
    assert not (tmp_path / "outbox.unreadable").exists()


def test_what_cannot_be_read_is_kept_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = Letters(tmp_path / "outbox")
    file.put([(FIRST, ["a"])])
    file.close()
    lines = (tmp_path / "outbox").read_bytes() + b'["put",1]\nrubbish\n["later",2]\n'
    (tmp_path / "outbox").write_bytes(lines)
    assert len(Letters(tmp_path / "outbox").waiting["a"]) == 1
    assert (tmp_path / "outbox.unreadable").read_bytes() == lines
    assert "3 lines of" in caplog.text


def test_the_file_does_not_grow_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is over leaves it once half of it is; what waits stays, and what was told is known."""
    monkeypatch.setattr(letters, "LARGE", 10_000)
    file = Letters(tmp_path / "outbox")
    file.put([(OTHER, ["a"])])
    for i in range(200):
        event = replace(FIRST, key="k", seq=i + 1)
        file.put([(event, ["a"])])
        file.end("sent", "a", [Letter(event, 0)])
    assert (tmp_path / "outbox").stat().st_size < 20_000
    file.close()
    file = Letters(tmp_path / "outbox")
    assert [each.event for each in file.waiting["a"].values()] == [OTHER]
    assert file.counts["sent"] == 200
    assert (file.told["k"].seq, file.told["k"].level) == (200, 1)
    file.close()


def test_a_full_disk_is_said_to_who_puts(tmp_path: Path) -> None:
    """Then it does not count as told, and what comes after is no torn line."""
    file = Letters(tmp_path / "outbox")
    fd, file._fd = file._fd, os.open("/dev/full", os.O_WRONLY)
    with pytest.raises(OSError, match="No space left"):
        file.put([(FIRST, ["a"])])
    os.close(file._fd)
    file._fd = fd
    assert not file.told
    assert file.put([(FIRST, ["a"])])
    file.close()


def test_it_is_on_the_disk_when_put_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All events of a call at once: written out, then synced, once."""
    file, synced, sync = Letters(tmp_path / "outbox"), list[bytes](), os.fsync

    def spy(fd: int) -> None:
        sync(fd)
        synced.append((tmp_path / "outbox").read_bytes())

    monkeypatch.setattr(os, "fsync", spy)
    file.put([(FIRST, ["a"]), (OTHER, ["a", "b"])])
    assert len(synced) == 1
    assert synced[0].count(b'["put",') == 2
    file.close()


def test_a_line_that_is_written_in_part(tmp_path: Path) -> None:
    """The disk is full in its midst: what is put then is not held, and what comes after is whole."""
    file = Letters(tmp_path / "outbox")
    file.put([(FIRST, ["a"])])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, ((tmp_path / "outbox").stat().st_size + 100, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            file.put([(OTHER, ["a"])])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert file.put([(OTHER, ["a"])])
    file.close()
    file = Letters(tmp_path / "outbox")
    assert [each.event for each in file.waiting["a"].values()] == [FIRST, OTHER]
    assert not (tmp_path / "outbox.unreadable").exists()
    file.close()


# -- all of it


@pytest.fixture
def sink() -> Iterator[HttpSink]:
    sink = HttpSink()
    yield sink
    sink.close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str], Post]]:
    posts: list[Post] = []

    def begin(text: str) -> Post:
        posts.append(Post(tmp_path, text))
        return posts[-1]

    yield begin
    for each in posts:
        each.stop()


def ntfy(sink: HttpSink, name: str = "it", more: str = "") -> str:
    return f'[[notify]]\nname = "{name}"\nkind = "ntfy"\nurl = "http://127.0.0.1:{sink.port}/{name}"\n{more}\n'


def test_begin_and_end_that_wait_are_one(sink: HttpSink, start: Callable[[str], Post]) -> None:
    """People hear that it was; of an incident that got worse they hear the worst."""
    post = start("[alarms]\ngroup_wait = 0.3\n" + ntfy(sink))
    post.put(FIRST, OTHER)
    post.put(over(), raised(OTHER))
    post.until_sent(4)
    assert len(sink.taken) == 1
    said = sink.taken[0]
    assert said.headers["Title"] == "2 alarms: 1 critical, 1 OK"
    lines = said.body.decode().splitlines()
    assert lines[0].startswith("OK: disk full on web1. web1: fs./.used_pct is 92 %. Was warning ")
    assert lines[0].endswith("(7 min), #12")
    assert lines[1].startswith("Critical: memory on web2. ")


def test_who_wants_the_critical_only(sink: HttpSink, start: Callable[[str], Post]) -> None:
    """`level` keeps warnings off a phone; the end of what was critical comes."""
    post = start("[alarms]\ngroup_wait = 0.05\n" + ntfy(sink, more='level = "critical"'))
    assert post.put(FIRST) == 0
    assert post.put(raised(), replace(over(seq=3), level=2), over(OTHER)) == 2
    post.until_sent(2)


def test_names_that_are_no_notifier(
    sink: HttpSink, start: Callable[[str], Post], caplog: pytest.LogCaptureFixture
) -> None:
    """Of one that linemon.toml has no more, what waits is dead, counted and said."""
    sink.answer = lambda request: (500, {}, b"")
    post = start(ntfy(sink) + ntfy(sink, "gone"))
    assert post.put(replace(FIRST, notify=("it", "gone", "never"))) == 2
    post.stop()
    again = Post(post.folder, ntfy(sink))
    try:
        assert again.state()["dead"] == 1
        assert again.state()["waiting"] == 1
        assert "no notifier 'gone' any more" in caplog.text
    finally:
        again.stop()
        post.stop = lambda: None  # type: ignore[method-assign]


def test_after_a_day_it_is_dead(sink: HttpSink, start: Callable[[str], Post], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "MIND_S", 0.05)
    monkeypatch.setattr("linemon.parts.alarms.waiting.TOO_OLD_S", 0.5)
    sink.answer = lambda request: (500, {}, b"")
    post = start(ntfy(sink))
    post.put(FIRST)
    state = post.until(lambda state: state["dead"] == 1, "it is dead")
    assert state["waiting"] == 0


def test_what_waits_is_bounded(sink: HttpSink, start: Callable[[str], Post], monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond, the oldest of the notifier with most of them are dropped and counted; the others lose nothing."""
    monkeypatch.setattr(outbox, "MOST", 50)
    sink.hangs.set()
    post = start(ntfy(sink) + ntfy(sink, "quiet"))
    post.put(replace(OTHER, notify=("quiet",)))
    for i in range(60):
        post.put(replace(FIRST, key=f"k{i}"))
    state = post.state()
    assert (state["waiting"], state["dropped"]) == (50, 11)
    assert state["notifiers"]["quiet"]["waiting"] == 1
    assert "oldest are dropped" in state["notifiers"]["it"]["error"]
    sink.free()


def test_a_heartbeat(sink: HttpSink, start: Callable[[str], Post], monkeypatch: pytest.MonkeyPatch) -> None:
    """Who watches the watcher is asked each minute; that it fails is counted and said, without its address."""
    monkeypatch.setattr(outbox, "HEARTBEAT_S", 0.2)
    monkeypatch.setattr(outbox, "FAILING_S", 0.1)
    post = start(f'[alarms]\nheartbeat = "http://127.0.0.1:{sink.port}/ping/s3cret"\n')
    eventually(lambda: len(sink.taken) > 1, "it is asked")
    sink.answer = lambda request: (404, {}, b"no /ping/s3cret")
    eventually(lambda: post.outbox.failing() == ["heartbeat"], "it fails")
    shown = post.state()["heartbeat"]
    assert shown["error"] == "127.0.0.1 answers 404 no ..."


def test_a_test_of_nobody(start: Callable[[str], Post]) -> None:
    with pytest.raises(AskedWrongly, match=r"no notifier 'x'; linemon\.toml names: none"):
        start("").test("x")


# -- a file is a notifier

TOY = """
from dataclasses import dataclass
from linemon.parts.alarms.notifier import Notifier

SECRET = ()


@dataclass(frozen=True)
class Settings:
    file: str = ""


class Notify(Notifier):
    def tell(self, message):
        with open(self.settings.file, "a") as file:
            print(message.title, file=file)
"""
USE = """
import asyncio, sys
from pathlib import Path
from linemon.config import load
from linemon.parts.alarms.event import Event
from linemon.parts.alarms.outbox import Outbox

async def main():
    outbox = Outbox(Path(sys.argv[1]), load(Path(sys.argv[1]) / "linemon.toml"))
    outbox.put(Event("k", 1, 1, "warning", 1, "a", "s", None, None, "", 0, None, 1, "t", ("it",)))
    running = asyncio.create_task(outbox.run())
    while outbox.state()["waiting"]:
        await asyncio.sleep(0.01)
    running.cancel()

asyncio.run(main())
"""


@pytest.mark.slow
def test_a_notifier_is_a_file(tmp_path: Path) -> None:
    """What lies in notifiers/ is a kind, with its own keys; nothing else names it."""
    for room in ("linemon", "linemon_sender"):
        shutil.copytree(ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "linemon" / "parts" / "alarms" / "notifiers" / "toy.py").write_text(TOY)
    (tmp_path / "linemon.toml").write_text(
        f'[alarms]\ngroup_wait = 0.01\n[[notify]]\nname = "it"\nkind = "toy"\nfile = "{tmp_path}/told"\n'
    )
    subprocess.run([sys.executable, "-c", USE, str(tmp_path)], cwd=tmp_path, check=True, timeout=60)
    assert (tmp_path / "told").read_text() == "Warning: a on s\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('kind = "fax"', r"\[\[notify\]\] 'it' kind = 'fax': expected one of: apprise, command, mail, mqtt, ntfy, "),
        ('kind = "ntfy"', r"\[\[notify\]\] 'it' url: expected an address such as"),
        ('kind = "ntfy"\nurl = "https://ntfy.sh/"', r"url: expected the address of a topic"),
        ('kind = "ntfy"\nurl = "https://[::/x"', r"url: expected an address such as"),
        ('kind = "webhook"\nurl = "ftp://h/s3cret"', r"url: expected an address such as"),
        ('kind = "webhook"\nurl = 5', r"\[\[notify\]\] 'it' url = \.\.\.: expected a string"),
        ('kind = "webhook"\ntopic = 5', r"topic: unknown setting; expected one of: url, secret"),
        ('kind = "command"', r"argv = \[\]: expected a program"),
        ('kind = "mail"', r"to = \[\]: expected a list of addresses"),
        ('kind = "mail"\nto = ["ops"]', r"to = 'ops': expected an address such as"),
        ('kind = "mail"\nto = ["a@b"]\nfrom = "x y@z"', r"from = 'x y@z': expected an address"),
        ('kind = "mail"\nto = ["a@b"]\nhost = "h"', r"host = 'h': expected an address such as"),
        ('kind = "mail"\nto = ["a@b"]\ntls = true\nstarttls = true', r"tls = true: expected it alone"),
        ('kind = "telegram"', r"token: expected a bot's token"),
        ('kind = "telegram"\ntoken = "s3cret"', r"chats = \[\]: expected a list of numbers"),
        ('kind = "telegram"\ntoken = "s3cret"\nchats = ["a"]', r"chats = \['a'\]: expected a list of whole numbers"),
        ('kind = "mqtt"\nbroker = "u:s3cret@h"', r"broker: expected an address such as"),
        ('kind = "mqtt"\nprefix = "a/#"', r"prefix = 'a/#': expected the beginning of a topic"),
        ('kind = "apprise"', r"urls: expected a list of addresses"),
        ('level = "info"', r"level = 'info': expected one of: warning, critical"),
        ('timeout = "soon"', r"timeout = 'soon': expected a span"),
    ],
)
def test_what_is_configured_wrongly_is_named(tmp_path: Path, text: str, says: str) -> None:
    """Without what may be a secret."""
    file = tmp_path / "linemon.toml"
    file.write_text(f'[[notify]]\nname = "it"\n{text}\n')
    with pytest.raises(ConfigError, match=says) as caught:
        build(load(file))
    assert "s3cret" not in str(caught.value) + repr(load(file))


@pytest.mark.parametrize(
    ("names", "says"), [(("a/b",), "expected 1 to 64 letters"), (("a", "a"), "there are two of that name")]
)
def test_names_of_notifiers(tmp_path: Path, names: tuple[str, ...], says: str) -> None:
    file = tmp_path / "linemon.toml"
    file.write_text("".join(f'[[notify]]\nname = "{name}"\nkind = "command"\nargv = ["x"]\n' for name in names))
    with pytest.raises(ConfigError, match=says):
        Outbox(tmp_path, load(file))


def test_the_docs_show_what_machines_are_told() -> None:
    """The JSON in docs/NOTIFIERS.md is that of an event; each kind has its row."""
    text = (ROOT / "docs" / "NOTIFIERS.md").read_text()
    example = re.search(r'^    \{"key".*?\}$', text, re.M | re.S)
    assert example
    assert json.loads(example[0]) == FIRST.as_json()
    rows = re.findall(r"^\| `(\w+)` \|", text, re.M)
    assert sorted(each for each in rows if each.islower()) == list(kinds())


# -- kill -9

PUTS = """
import asyncio, sys
from dataclasses import replace
from pathlib import Path
from linemon.config import load
from linemon.parts.alarms.outbox import Outbox
from tests.notifiers import FIRST

async def main():
    folder, last = Path(sys.argv[1]), int(sys.argv[2])
    outbox = Outbox(folder, load(folder / "linemon.toml"))
    running = asyncio.create_task(outbox.run())
    done = folder / "put"
    i = len(done.read_text().split())
    while i < last:
        outbox.put(replace(FIRST, key=f"k{i // 5}", seq=i % 5 + 1, notify=("it",)))
        with done.open("a") as file:
            print(i, file=file)
        i += 1
        await asyncio.sleep(0.005)
    while outbox.state()["waiting"]:
        await asyncio.sleep(0.01)
    running.cancel()
    try:
        await running
    except asyncio.CancelledError:
        outbox.close()

asyncio.run(main())
"""


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_killed_at_any_moment_each_is_told(tmp_path: Path) -> None:
    """`kill -9`: each message at least once, one more at most for each kill, none invented, each incident in order."""
    kills = 8
    (tmp_path / "page").write_text(f"#!/bin/sh\ncat >> {tmp_path}/told\n")
    (tmp_path / "page").chmod(0o755)
    (tmp_path / "linemon.toml").write_text(f'[[notify]]\nname = "it"\nkind = "command"\nargv = ["{tmp_path}/page"]\n')
    put = tmp_path / "put"
    put.touch()
    for turn in range(kills):
        until = len(put.read_text().split()) + 3 * turn
        process = subprocess.Popen([sys.executable, "-c", PUTS, str(tmp_path), "100000"], cwd=ROOT)
        try:
            eventually(lambda until=until: len(put.read_text().split()) > until, "it puts", 60)  # type: ignore[misc]
        finally:
            process.kill()
            process.wait()
    last = len(put.read_text().split())
    subprocess.run([sys.executable, "-c", PUTS, str(tmp_path), str(last)], cwd=ROOT, check=True, timeout=60)
    told = [(each["key"], each["seq"]) for each in map(json.loads, (tmp_path / "told").read_text().splitlines())]
    counts = Counter(told)
    wanted = {(f"k{i // 5}", i % 5 + 1) for i in range(last)}
    assert wanted <= set(counts)
    assert set(counts) - wanted <= {(f"k{last // 5}", last % 5 + 1)}  # put, and killed before it was noted here
    assert sum(counts.values()) - len(counts) <= kills
    firsts = list(dict.fromkeys(told))
    for key in {key for key, _ in firsts}:
        mine = [seq for each, seq in firsts if each == key]
        assert mine == sorted(mine)
