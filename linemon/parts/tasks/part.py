"""The part `tasks` of `linemon work`: has tasks run when they are due, and what they give written; once each."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from linemon.config import Config
from linemon.errors import LinemonError, StoreError
from linemon.locks import Taken, take
from linemon.parts._marks import set_marks
from linemon.parts._outputs import Outputs
from linemon.parts._port import Output
from linemon.parts.tasks.child import AT_BYTES, Job, OnlineJob
from linemon.parts.tasks.giving import MOST_BYTES
from linemon.parts.tasks.keeping import OUT, Records, folder, forget
from linemon.parts.tasks.plan import Task, folder_of
from linemon.parts.tasks.runner import START_S, Process, outcomes
from linemon.parts.tasks.turns import Due, Turns
from linemon.sections import Span
from linemon.store.folder import own_folder
from linemon.store.marks import Mark
from linemon.store.reader import Store

log = logging.getLogger(__name__)

TURN_S: Final = 1.0
HANG_S: Final = 10.0  # without a word from online tasks, of which one then hangs
AGAIN_S: Final = (1.0, 60.0)  # first and longest pause before they are started again
STEADY_S: Final = 60.0
OUT_S: Final = 60.0  # from one row of our own to the next where nothing changes
OWN: Final = "linemon.tasks"
SHOWN: Final = ("runs", "failed", "missed", "skipped", "failing", "took_s")
SUFFIX: Final = ".run"
Request = dict[str, Any]


class Tasks:
    """The part."""

    name = "tasks"

    def __init__(self, config: Config, tasks: list[Task]) -> None:
        self.settings = config.store, config.tasks, config.task, config.work, config.tcp, config.tls
        self._config, self._tasks = config, {task.name: task for task in tasks}
        self._path = folder(config)
        self._busy: dict[str, asyncio.Task[bool]] = {}
        self._told: set[tuple[str, str]] = set()  # kinds of failures that were logged with their traceback
        self._marking = set[asyncio.Task[None]]()  # only so that they live
        self._process: Process | None = None  # of online tasks
        self._forgets: dict[str, asyncio.Future[int]] = {}  # online tasks that are to begin anew
        self._behind_s = 0.0
        self._records: Records | None = None

    def state(self) -> dict[str, Any]:
        if not self._records:
            return {}
        failing = [f"{name}: {record.last_error}" for name, record in self._records.of.items() if record.failing]
        found: dict[str, Any] = {"tasks": len(self._tasks), "running": len(self._busy)}
        found |= {"waiting_bytes": self._outputs.waiting} if self._outputs.waiting else {}
        found |= {"lost": self._outputs.rejected} if self._outputs.rejected else {}
        return found | ({"failing": failing} if failing else {})

    async def run(self) -> None:
        """Look once a second what is due, until cancelled. StoreError where another process has the state."""
        with ExitStack() as opened:
            own_folder(self._path, 0o700)
            own_folder(self._path / OUT, 0o700)
            try:
                opened.callback(os.close, take(self._path / "lock"))
            except Taken as error:
                raise StoreError(f"{self._path} is used by {error}") from None
            records = self._records = Records(self._path, list(self._tasks))
            self._store = opened.enter_context(Store(self._config.store.folder))
            self._outputs = Outputs(self._config)
            opened.callback(self._outputs.close)
            own = Output(self._config, OWN)
            opened.callback(own.close)
            self._slots = asyncio.Semaphore(self._config.tasks.workers)
            self._hand_on()
            turns = Turns(self._tasks.values(), records.of, *now())
            online = tuple(task for task in self._tasks.values() if task.schedule is None)
            minding = asyncio.create_task(self._mind(online)) if online else None
            told: dict[str, float] = {}
            told_at = float("-inf")
            try:
                while True:
                    self._begin(turns.due(*now(), self._busy))
                    counts = self._counts()
                    if counts != told or time.monotonic() - told_at > OUT_S:
                        told, told_at = counts, time.monotonic()
                        units = {name: "s" if name.endswith("_s") else "" for name in counts}
                        own.send(units, [(time.time_ns(), counts.values())])
                    records.write()
                    if minding and minding.done():
                        minding.result()
                    await asyncio.sleep(TURN_S)
            finally:
                ending = [each for each in (minding, *self._busy.values()) if each]
                for each in ending:
                    each.cancel()
                await asyncio.gather(*ending, return_exceptions=True)
                self._outputs.settle()
                records.write(ending=True)

    def _counts(self) -> dict[str, float]:
        assert self._records
        return {
            f"{name}.{each}": float("nan") if getattr(record, each) is None else getattr(record, each)
            for name, record in self._records.of.items()
            for each in SHOWN
        }

    # -- what is due

    def _begin(self, found: list[Due]) -> None:
        """Start these runs; each waits for those of the same turn that are to come before it."""
        turn = {due.task.name for due in found}
        for due in found:
            if due.missed:
                log.info("%s: %d runs were missed; one is made in their place", due.task.name, due.missed)
            before = {name: self._busy[name] for name in due.task.after if name in turn}
            self._busy[due.task.name] = asyncio.create_task(self._in_turn(due, before))

    async def _in_turn(self, due: Due, before: dict[str, asyncio.Task[bool]]) -> bool:
        assert self._records
        task, record = due.task, self._records.of[due.task.name]
        try:
            done = await asyncio.gather(*before.values())
            if not all(done):
                failed = [name for name, is_well in zip(before, done, strict=True) if not is_well]
                record.skipped, record.running = record.skipped + 1, None
                record.last_error = f"skipped, as {', '.join(failed)} had failed"
                return False
            end = due.at if not due.missed else time.time_ns()
            said = await self._run(task, str(due.at), end, task.sources(self._store))
            record.running = None
            return not said["failed"]
        except OSError as error:
            record.fails(f"no process can be started: {error.strerror or error}")
            return False
        finally:
            self._busy.pop(task.name, None)

    async def _run(self, task: Task, run: str, end: int, sources: list[str]) -> dict[str, Any]:
        """A run: how many sources were `done` and `failed`, rows in, out, and left out."""
        assert self._records
        record = self._records.of[task.name]
        said: dict[str, Any] = {"done": 0, "failed": [], "rows_in": 0, "rows_out": 0, "left_out": 0}
        async with self._slots:
            record.last, began = time.time_ns(), time.monotonic()
            if self._outputs.waiting > MOST_BYTES:
                said["failed"].append(f"{self._outputs.waiting} bytes of outputs wait for the collector")
            else:
                plain = replace(task, schedule=None)
                job = Job(
                    self._config, folder_of(self._config), plain, tuple(sources), run, end, self._path / OUT,
                    self._newest(task, sources),
                )  # fmt: skip
                async for each in outcomes(job):
                    self._take(task, each, said)
            record.took_s, record.runs = round(time.monotonic() - began, 3), record.runs + 1
            if not said["failed"]:
                record.failing = 0
            else:
                record.fails(said["failed"][-1])
        return said

    def _take(self, task: Task, each: dict[str, Any], said: dict[str, Any]) -> None:
        """What became of a source."""
        assert self._records
        record = self._records.of[task.name]
        if "done" in each:
            said["done"] += len(each["done"])
            for key in ("rows_in", "rows_out", "left_out"):
                said[key] += each[key]
            record.rows_in, record.rows_out = record.rows_in + each["rows_in"], record.rows_out + each["rows_out"]
            for file in each["files"]:
                self._keep(Path(file))
        else:
            record.abandoned += each.get("abandoned", 0)
            said["failed"].append(self._tell(task.name, each))

    def _tell(self, name: str, each: dict[str, Any]) -> str:
        """Log a failure, with its traceback where it is the first of its kind, and mark it; what to say of it."""
        sources = each["failed"]
        of = (
            f"{sources[0]}: " if len(sources) == 1 else f"{sources[0]} and {len(sources) - 1} more: " if sources else ""
        )
        text = f"{of}{each['error']}"
        if (name, each["kind"]) not in self._told:
            self._told.add((name, each["kind"]))
            log.error("task %s failed on %s\n%s", name, text, each.get("traceback", ""))
            mark = f"task {name} failed ({each['kind']}): linemon tasks says more"
            source = sources[0] if len(sources) == 1 else None
            marking = asyncio.create_task(self._mark(Mark.of(time.time_ns(), mark, source, "task")))
            self._marking.add(marking)
            marking.add_done_callback(self._marking.discard)
        return text

    async def _mark(self, mark: Mark) -> None:
        with suppress(LinemonError):
            await asyncio.to_thread(partial(set_marks, self._config, [mark]))

    # -- what was given

    def _newest(self, task: Task, sources: list[str]) -> dict[str, int]:
        assert self._records
        names = map(task.output, sources)
        return {name: self._records.newest[name] for name in names if name in self._records.newest}

    def _keep(self, part: Path) -> None:
        """From now on these rows are written, whatever happens."""
        self._number += 1
        file = part.with_name(f"{self._number:012d}{SUFFIX}")
        part.rename(file)
        self._deliver(file)

    def _hand_on(self) -> None:
        """Send what a process before has left."""
        files = sorted((self._path / OUT).glob(f"*{SUFFIX}"))
        self._number = int(files[-1].stem) if files else 0
        for file in files:
            self._deliver(file)
        for draft in set((self._path / OUT).iterdir()) - set(files):
            draft.unlink()

    def _deliver(self, file: Path) -> None:
        assert self._records
        try:
            head, columns, rows = file.read_bytes().split(b"\n", 2)
            said = json.loads(head)
        except (OSError, ValueError) as error:
            log.error("%s cannot be read, and is removed: %s", file, error)
            file.unlink(missing_ok=True)
            return
        if said["newest"] is not None:
            newest = self._records.newest
            newest[said["source"]] = max(said["newest"], newest.get(said["source"], 0))
        done = partial(file.unlink, missing_ok=True)
        self._outputs.put(said["source"], said["sender"], 1, columns, rows, done)

    # -- online tasks

    async def _mind(self, tasks: tuple[Task, ...]) -> None:
        """Have a process run them, and another one where it ends, or where one of them hangs."""
        pause, hung = AGAIN_S[0], None
        with tempfile.TemporaryFile() as at:
            while True:
                began = time.monotonic()
                for name, future in self._forgets.items():
                    future.set_result(forget(self._path, name))
                self._forgets.clear()
                job = OnlineJob(self._config, folder_of(self._config), tasks, self._path, at.fileno(), hung)
                how = await self._watch(job)
                hung = None
                if how:  # else a file of tasks is another one, or they are to forget
                    hung = self._blame(os.pread(at.fileno(), AT_BYTES, 0), how)
                    at.truncate(0)
                    pause = AGAIN_S[0] if time.monotonic() - began > STEADY_S else min(2 * pause, AGAIN_S[1])
                    await asyncio.sleep(pause)

    async def _watch(self, job: OnlineJob) -> str:
        """Run a process until it ends; how that came, empty where it is well."""
        self._process = process = await Process.start(job)
        how = ""
        try:
            await self._listen(process)
        except TimeoutError:
            how = f"not done after {HANG_S:g} s: killed"
        finally:
            code = await process.end(HANG_S / 2)
        return how or (f"its process ended with {code}" if code else "")

    def _blame(self, at: bytes, how: str) -> tuple[str, str] | None:
        """The task and the source that were at work, which failed; what they were given is passed over."""
        name, _, source = at.rstrip(b"\0").decode().partition("\n")
        if name not in self._tasks:
            log.error("online tasks: %s; they are started again", how)
            return None
        self._failed_online(name, {"failed": [source], "kind": "died", "error": how})
        return name, source

    async def _listen(self, process: Process) -> None:
        """Until it ends. TimeoutError where nothing is heard of it."""
        assert self._records
        limit = START_S
        while (said := await process.hears(limit)) is not None:
            if "online" not in said:
                self._failed_online(said["task"], said)
                continue
            limit = HANG_S
            for name, behind_s in said["behind"].items():
                self._records.of[name].behind_s = behind_s
            for name, counts in said["online"].items():
                self._add(name, counts)

    def _add(self, name: str, counts: dict[str, int]) -> None:
        """A turn of an online task."""
        assert self._records
        record = self._records.of[name]
        if counts.get("rows_in"):
            record.runs, record.last = record.runs + 1, time.time_ns()
            record.took_s = round(counts.get("took_us", 0) / 1e6, 6)
            record.failing = record.failing if counts.get("failed") else 0
        record.rows_in += counts.get("rows_in", 0)
        record.rows_out += counts.get("rows_out", 0)
        record.missed += counts.get("missed", 0)

    def _failed_online(self, name: str, said: dict[str, Any]) -> None:
        assert self._records
        self._records.of[name].fails(self._tell(name, said))

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
        sources = wanted(task, self._store, request.get("source"))
        end = time.time_ns()
        running = asyncio.create_task(self._run(task, f"by hand {end}", end, sources))
        self._busy[task.name] = running  # type: ignore[assignment]  # only whether it is there is asked
        try:
            said = await running
        finally:
            self._busy.pop(task.name, None)
        text = f"{task.name}: {said['done']} sources, {said['rows_in']} rows read, {said['rows_out']} written"
        text += f", {said['left_out']} left out, as there are later ones" if said["left_out"] else ""
        if said["failed"]:
            raise LinemonError(f"{text}; {len(said['failed'])} failed: {said['failed'][0]}")
        return text

    async def _reset(self, request: Request) -> str:
        """Have an online task forget what it has learnt."""
        task = self._named(request)
        if task.schedule is not None:
            raise LinemonError(f"{task.name} is no online task: it has learnt nothing")
        future = self._forgets.setdefault(task.name, asyncio.get_running_loop().create_future())
        if self._process:
            await self._process.end(HANG_S / 2)
        return f"{task.name} begins anew on {await future} sources"


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
