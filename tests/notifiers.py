"""What every notifier promises, tried against its peer: a new one gets a subclass in test_notifiers.py."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from linemon.config import load
from linemon.parts.alarms import waiting
from linemon.parts.alarms.event import Event
from linemon.parts.alarms.notifier import Answers
from linemon.parts.alarms.outbox import Outbox
from tests.running import eventually, free_port

NOW = 1_795_000_000_000_000_000
FIRST = Event(
    key="disk%20full/web1/fs.%2F.used_pct/1795000000000",
    seq=1,
    n=12,
    kind="warning",
    level=1,
    alarm="disk full",
    source="web1",
    column="fs./.used_pct",
    value=91.5,
    unit="%",
    since=NOW,
    until=None,
    at=NOW + 10**9,
    text="web1: fs./.used_pct is 92 %",
    notify=("it",),
)
OTHER = replace(
    FIRST,
    key="memory/web2/-/1795000000001",
    n=13,
    alarm="memory",
    source="web2",
    column=None,
    text="web2: memory is 97 %",
)


def raised(event: Event = FIRST, seq: int = 2) -> Event:
    return replace(event, seq=seq, kind="critical", level=2, at=event.at + 60 * 10**9)


def over(event: Event = FIRST, seq: int = 2) -> Event:
    return replace(event, seq=seq, kind="ok", until=event.since + 420 * 10**9, at=event.at + 430 * 10**9, value=80.0)


class Post:
    """An outbox that runs, in a thread of its own."""

    def __init__(self, folder: Path, settings: str, answers: Answers | None = None) -> None:
        self.folder = folder
        file = folder / "linemon.toml"
        file.write_text(f'[store]\npath = "{folder}/store"\n{settings}')
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self.outbox: Outbox = self.call(lambda: Outbox(folder, load(file), answers))
        self._run = asyncio.run_coroutine_threadsafe(self.outbox.run(), self._loop)

    def call(self, function: Callable[[], Any]) -> Any:
        """In the loop, as the part does."""

        async def called() -> Any:
            return function()

        return asyncio.run_coroutine_threadsafe(called(), self._loop).result(10)

    def put(self, *events: Event) -> int:
        return int(self.call(lambda: self.outbox.put(*events)))

    def test(self, name: str) -> None:
        asyncio.run_coroutine_threadsafe(self.outbox.test(name), self._loop).result(10)

    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = self.call(self.outbox.state)
        return found

    def of(self, name: str = "it") -> dict[str, Any]:
        found: dict[str, Any] = self.state()["notifiers"][name]
        return found

    def until(self, wanted: Callable[[dict[str, Any]], bool], what: str) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            state = self.state()
            return state if wanted(state) else None

        return eventually(look, what)

    def until_sent(self, count: int) -> dict[str, Any]:
        return self.until(lambda state: state["sent"] == count and not state["waiting"], f"{count} are sent")

    def stop(self) -> None:
        self._run.cancel()
        end = asyncio.run_coroutine_threadsafe(self._ended(), self._loop)
        end.result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _ended(self) -> None:
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        await asyncio.wait(tasks, timeout=9) if tasks else None
        self.outbox.close()


class Conformance(ABC):
    """The suite. `settings` are those of a [[notify]] named ``it``."""

    secrets: tuple[str, ...] = ()
    timeout = 30.0
    is_for_machines = False

    @pytest.fixture(autouse=True)
    def peer(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
        monkeypatch.setattr(waiting, "BACK_OFF_S", (0.05, 0.1))
        caplog.set_level(logging.DEBUG)
        self.folder, self.caplog = tmp_path, caplog
        self.posts: list[Post] = []
        self.open()
        yield
        for post in self.posts:
            post.stop()
        self.close()

    @abstractmethod
    def open(self) -> None:
        """Start the peer."""

    @abstractmethod
    def close(self) -> None:
        """End it."""

    @abstractmethod
    def settings(self) -> str:
        """The kind and its own keys."""

    def nowhere(self) -> str:
        """The settings, with a port that nobody listens on."""
        return re.sub(r"127\.0\.0\.1:\d+", f"127.0.0.1:{free_port()}", self.settings())

    @abstractmethod
    def told(self) -> list[str]:
        """What the peer was told and has taken, a text each; of several events, one after the other."""

    @abstractmethod
    def fail(self) -> None:
        """Fail from now on, as if another time would do."""

    @abstractmethod
    def hang(self) -> None:
        """Take what comes from now on, and answer nothing."""

    @abstractmethod
    def work(self) -> None:
        """Take all again."""

    def start(
        self, more: str = "", answers: Answers | None = None, settings: str = "", timeout: float | None = None
    ) -> Post:
        common = f"timeout = {timeout or self.timeout}\n"
        settings = f'[[notify]]\nname = "it"\n{common}{settings or self.settings()}\n'
        post = Post(self.folder, f"[alarms]\ngroup_wait = 0.05\n{more}\n{settings}", answers)
        self.posts.append(post)
        return post

    def end(self, post: Post) -> None:
        self.posts.remove(post)
        post.stop()

    def until_told(self, count: int) -> list[str]:
        def look() -> list[str] | None:
            told = self.told()
            return told if len(told) >= count else None

        return eventually(look, f"{count} are told")

    def hidden(self, post: Post) -> None:
        """No secret stands in anything that can be looked at."""
        shown = json.dumps(post.state()) + self.caplog.text
        shown += "".join(file.read_text() for file in self.folder.glob("outbox*"))
        shown += "".join(repr(each) for record in self.caplog.records for each in (record.args or (), record.exc_info))
        for secret in self.secrets:
            assert secret not in shown

    # -- the promises

    def test_what_is_told(self) -> None:
        """An incident's begin, its rise and its end: once each, in order, with its number."""
        post = self.start()
        for event in (FIRST, raised(), over(seq=3)):
            assert post.put(event) == 1
            post.until_sent(event.seq)
        told = self.until_told(3)
        assert len(told) == 3
        assert all("disk full" in each and "web1" in each and "12" in each for each in told)
        assert "warning" in told[0].lower()
        assert "critical" in told[1].lower()
        assert "ok" in told[2].lower()
        assert post.put(over(seq=3)) == 0  # it holds it
        assert not post.outbox.failing()
        self.hidden(post)

    def test_what_fails_is_told_later(self) -> None:
        """Once each, and in order, when the peer is well again; meanwhile it is said what is wrong."""
        self.fail()
        post = self.start()
        post.put(FIRST, OTHER)
        post.until(lambda state: state["failed"] >= 3, "it is tried")
        state = post.state()
        assert state["waiting"] == 2
        assert state["notifiers"]["it"]["fails"]
        assert state["notifiers"]["it"]["error"]
        self.hidden(post)
        self.work()
        post.until_sent(2)
        assert post.put(raised()) == 1
        post.until_sent(3)
        text = "\n".join(self.told())
        assert text.lower().index("warning: disk full" if "Warning: disk" in text else "warning") < text.lower().index(
            "critical"
        )
        assert not post.of()["fails"]
        self.hidden(post)

    def test_what_waits_outlives_the_process(self) -> None:
        """Who starts anew tells it, and what was told is not told again."""
        post = self.start()
        post.put(FIRST)
        post.until_sent(1)
        self.fail()
        post.put(raised())
        post.until(lambda state: state["failed"] >= 1, "it is tried")
        self.end(post)
        self.work()
        post = self.start()
        assert post.outbox.told(FIRST.key) == (2, 2)
        assert post.put(FIRST, raised()) == 0
        post.until(lambda state: state["sent"] == 2, "it is sent")
        assert len(self.until_told(2)) == 2

    def test_one_that_hangs_delays_nobody(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Not another notifier, and not who puts; it is said so, and told when it is well."""
        self.hang()
        other = self.folder / "other"
        program = self.folder / "other.sh"
        program.write_text(f"#!/bin/sh\ncat >> {other}\n")
        program.chmod(0o755)
        other_one = f'[[notify]]\nname = "other"\nkind = "command"\nargv = ["{program}"]\n'
        post = self.start(more=other_one, timeout=0.3)
        begin = time.monotonic()
        post.put(replace(FIRST, notify=("it", "other")))
        assert time.monotonic() - begin < 1
        eventually(other.exists, "the other one is told")
        assert not self.told()
        post.until(lambda state: state["notifiers"]["it"]["failed"] >= 1, "it is said so")
        self.hidden(post)
        self.work()
        post.until_sent(2)

    def test_nobody_is_there(self) -> None:
        """A port that nobody listens on: it waits, and says so without a secret."""
        post = self.start(settings=self.nowhere())
        post.put(FIRST)
        post.until(lambda state: state["failed"] >= 2, "it is tried")
        assert post.state()["waiting"] == 1
        assert "127.0.0.1 cannot be reached" in post.of()["error"]
        self.hidden(post)

    def test_a_test_has_its_answer(self) -> None:
        """`linemon alarms test`: told at once, or the peer's words."""
        post = self.start()
        post.test("it")
        assert "test" in self.until_told(1)[0]
        if self.is_for_machines:  # which would take it for an incident that goes on
            assert '"state": "ok"' in self.until_told(2)[1]
        self.fail()
        with pytest.raises(Exception) as caught:  # noqa: PT011  whatever it is, it has words
            post.test("it")
        assert str(caught.value)
        assert not any(secret in str(caught.value) for secret in self.secrets)


class RefusingConformance(Conformance):
    """The suite, of those whose peer can say that it never will."""

    @abstractmethod
    def refuse(self) -> None:
        """Refuse from now on; where it has words, they show all secrets."""

    def test_what_is_refused_is_dead(self) -> None:
        """It is not tried again, but counted, and people are to hear of it; what comes after is told."""
        self.refuse()
        post = self.start()
        post.put(FIRST)
        post.until(lambda state: state["dead"] == 1, "it is dead")
        assert post.outbox.failing() == ["it"]
        assert post.of()["failed"] == 1
        self.hidden(post)
        self.work()
        post.put(raised())
        post.until_sent(1)
        assert len(self.told()) == 1
        assert not post.outbox.failing()
        self.hidden(post)
