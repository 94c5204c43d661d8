"""The part `tasks` of `linemon work`: a look a second at what is due, and what people ask of it."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import replace
from math import nan
from typing import Any, Final

from linemon.config import Config
from linemon.errors import LinemonError, StoreError
from linemon.locks import Taken, take
from linemon.parts._outputs import Outputs
from linemon.parts._port import Output
from linemon.parts.tasks.keeping import OUT, Records, folder
from linemon.parts.tasks.minder import Minder
from linemon.parts.tasks.plan import Task
from linemon.parts.tasks.runs import Runs
from linemon.parts.tasks.turns import Due, Turns
from linemon.sections import Span
from linemon.store.folder import own_folder
from linemon.store.reader import Store

log = logging.getLogger(__name__)

TURN_S: Final = 1.0
OUT_S: Final = (10.0, 60.0)  # from one row of our own to the next, at least, and where nothing changes
OWN: Final = "linemon.tasks"
SHOWN: Final = ("runs", "failed", "missed", "skipped", "failing", "took_s")
Request = dict[str, Any]


class Tasks:
    """The part."""

    name = "tasks"

    def __init__(self, config: Config, tasks: list[Task]) -> None:
        self.settings = config.store, config.tasks, config.task, config.work, config.tcp, config.tls
        self._config, self._tasks = config, {task.name: task for task in tasks}
        self._busy: dict[str, asyncio.Task[Any]] = {}
        # Of a run of the part:
        self._store: Store
        self._records: Records
        self._outputs: Outputs | None = None
        self._runs: Runs
        self._minder: Minder
        self._shown: tuple[float, dict[str, float]] = float("-inf"), {}  # when, and what

    def state(self) -> dict[str, Any]:
        if not self._outputs:
            return {}
        failing = [f"{name}: {record.last_error}" for name, record in self._records.of.items() if record.failing]
        lost = self._outputs.rejected + self._minder.lost
        more = {"waiting_bytes": self._outputs.waiting, "lost": lost, "failing": failing}
        found = {"tasks": len(self._tasks), "running": len(self._busy)}
        return found | {name: value for name, value in more.items() if value}

    async def run(self) -> None:
        """Look once a second what is due, until cancelled. StoreError where another process has the state."""
        with ExitStack() as opened:
            path, store = folder(self._config), self._config.store
            for each in (path, path / OUT):
                own_folder(each, 0o700)
            try:
                opened.callback(os.close, take(path / "lock"))
            except Taken as error:
                raise StoreError(f"{path} is used by {error}") from None
            records = self._records = Records(path, store.folder, store.mode & 0o666, list(self._tasks))
            self._store = opened.enter_context(Store(store.folder))
            outputs = Outputs(self._config)
            opened.callback(outputs.close)
            own = Output(self._config, OWN)
            opened.callback(own.close)
            runs = self._runs = Runs(self._config, records, outputs, path / OUT)
            turns = Turns(self._tasks.values(), records.of, *now())
            online = tuple(task for task in self._tasks.values() if task.schedule is None)
            self._minder = Minder(self._config, online, records, path, runs.tell)
            self._outputs = outputs
            minding = asyncio.create_task(self._minder.run()) if online else None
            try:
                while minding is None or not minding.done():
                    self._begin(turns.due(*now(), self._busy))
                    self._say(own)
                    records.write()
                    await asyncio.sleep(TURN_S)
                minding.result()
            finally:
                ending = [each for each in (minding, *self._busy.values()) if each]
                for task in ending:
                    task.cancel()
                await asyncio.gather(*ending, return_exceptions=True)
                outputs.settle()
                records.has_news = True
                records.write()

    def _begin(self, found: list[Due]) -> None:
        """Start these runs; each waits for those of the same turn that are to come before it."""
        turn = {due.task.name for due in found}
        for due in found:
            if due.missed:
                log.info("%s: %d runs were missed; one is made in their place", due.task.name, due.missed)
            before = {name: self._busy[name] for name in due.task.after if name in turn}
            self._busy[due.task.name] = asyncio.create_task(self._in_turn(due, before))
            self._records.has_news = True

    async def _in_turn(self, due: Due, before: dict[str, asyncio.Task[bool]]) -> bool:
        """Whether it went well."""
        task, record = due.task, self._records.of[due.task.name]
        try:
            done = await asyncio.gather(*before.values())
            if all(done):
                end = time.time_ns() if due.missed else due.at
                found = await self._runs.run(task, str(due.at), end, task.sources(self._store))
                record.running = None
                return not found.failed
            failed = [name for name, is_well in zip(before, done, strict=True) if not is_well]
            record.skipped, record.running = record.skipped + 1, None
            record.last_error = f"skipped, as {', '.join(failed)} had failed"
        except OSError as error:
            record.fails(f"no process can be started: {error.strerror or error}")
        finally:
            self._busy.pop(task.name, None)
        return False

    def _say(self, own: Output) -> None:
        """A row of our own counts, where they are others."""
        at, shown = self._shown
        if time.monotonic() - at < OUT_S[0]:
            return
        counts: dict[str, float] = {
            f"{name}.{each}": nan if (value := getattr(record, each)) is None else value
            for name, record in self._records.of.items()
            for each in SHOWN
        }
        if repr(counts) == repr(shown) and time.monotonic() - at < OUT_S[1]:
            return
        self._shown = time.monotonic(), counts
        had = self._store[OWN].columns if OWN in self._store else ()  # also those of tasks that are no more
        units = {name: "s" if name.endswith("_s") else "" for name in (*had, *counts)}
        own.send(units, [(time.time_ns(), [counts.get(name, nan) for name in units])])

    # -- what people ask, by `work.sock`

    def commands(self) -> dict[str, Callable[[Request], Awaitable[str]]]:
        return {"tasks run": self._by_hand, "tasks reset": self._reset}

    def _named(self, request: Request) -> Task:
        name = str(request.get("name"))
        if name not in self._tasks:
            raise LinemonError(f"there is no task {name!r}; there are: {', '.join(self._tasks)}")
        return self._tasks[name]

    async def _by_hand(self, request: Request) -> str:
        """Run one now."""
        task = self._named(request)
        if task.name in self._busy:
            raise LinemonError(f"{task.name} is running")
        if request.get("over"):
            task = replace(task, over=Span.parse(request["over"]).ns)
        sources, end = wanted(task, self._store, request.get("source")), time.time_ns()
        running = self._busy[task.name] = asyncio.create_task(self._runs.run(task, f"by hand {end}", end, sources))
        try:
            found = await running
        finally:
            self._busy.pop(task.name, None)
        text = f"{task.name}: {found.done} sources, {found.rows_in} rows read, {found.rows_out} written"
        text += f", {found.left_out} left out, as there are later ones" if found.left_out else ""
        if found.failed:
            raise LinemonError(f"{text}; {len(found.failed)} failed: {found.failed[0]}")
        return text

    async def _reset(self, request: Request) -> str:
        """Have an online task forget what it has learnt."""
        task = self._named(request)
        if task.schedule is not None:
            raise LinemonError(f"{task.name} is no online task: it has learnt nothing")
        return f"{task.name} begins anew on {await self._minder.reset(task.name)} sources"


def wanted(task: Task, store: Store, source: str | None) -> list[str]:
    """The sources of a run by hand. LinemonError where there is none."""
    found = task.sources(store)
    if source is not None and source not in found:
        raise LinemonError(f"{task.name} does not read {source!r}; it reads: {', '.join(found[:10]) or 'nothing'}")
    if not found:
        raise LinemonError(f"{task.name}: no source has a column that fits {', '.join(task.inputs)}")
    return [source] if source is not None else found


def now() -> tuple[int, int]:
    """The clock, and one that nobody sets and that goes on while the machine sleeps; ns."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.time_ns(), time.clock_gettime_ns(clock)
