"""Minds the process of online tasks: another one is begun where it ends, or where a task hangs."""

from __future__ import annotations

import asyncio
import logging
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from linemon.config import Config
from linemon.parts.tasks.child import AT_BYTES, OnlineJob
from linemon.parts.tasks.keeping import Records, forget
from linemon.parts.tasks.plan import Task, folder_of
from linemon.parts.tasks.runner import START_S, Process

log = logging.getLogger(__name__)

HANG_S: Final = 10.0  # without a word, of which a task then hangs
END_S: Final = 5.0  # to save what was learnt
AGAIN_S: Final = (1.0, 60.0)  # first and longest pause before another one is begun
STEADY_S: Final = 60.0


class Minder:
    """Of these tasks; `tell` has a failure told, and returns what to say of it."""

    def __init__(
        self, config: Config, tasks: tuple[Task, ...], records: Records, path: Path, tell: Callable[[str, Any], str]
    ) -> None:
        self._config, self._tasks, self._records, self._path, self._tell = config, tasks, records, path, tell
        self._process: Process | None = None
        self._forgets: dict[str, asyncio.Future[int]] = {}
        self.lost = 0  # rows that the collector would not have

    async def reset(self, name: str) -> int:
        """Have a task forget what it has learnt; of how many sources that was."""
        future = self._forgets.setdefault(name, asyncio.get_running_loop().create_future())
        if self._process:
            await self._process.end(END_S)
        return await future

    async def run(self) -> None:
        """Until cancelled. OSError where no process can be started."""
        pause, hung = AGAIN_S[0], None
        with tempfile.TemporaryFile() as at:
            while True:
                began = time.monotonic()
                for name, future in self._forgets.items():
                    future.set_result(forget(self._path, name))
                self._forgets.clear()
                job = OnlineJob(self._config, folder_of(self._config), self._tasks, self._path, at.fileno(), hung)
                how, hung = await self._watch(job), None
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
            code = await process.end(END_S)
        return how or (f"its process ended with {code}" if code else "")

    async def _listen(self, process: Process) -> None:
        """Until it ends. TimeoutError where nothing is heard of it."""
        limit, records = START_S, self._records.of
        while (said := await process.hears(limit)) is not None:
            if "online" not in said:
                records[said["task"]].last_error = self._tell(said["task"], said)
                continue
            limit = HANG_S
            self.lost += said["lost"]
            for name, behind_s in said["behind"].items():
                records[name].behind_s = behind_s
            for name, counts in said["online"].items():
                self._add(name, counts)

    def _add(self, name: str, counts: dict[str, int]) -> None:
        """A turn of a task."""
        record = self._records.of[name]
        failed, rows_in = counts.get("failed", 0), counts.get("rows_in", 0)
        if failed:
            record.failed, record.failing = record.failed + failed, record.failing + 1
            self._records.has_news = True
        elif rows_in:
            record.failing = 0
        if rows_in:
            record.runs, record.last = record.runs + 1, time.time_ns()
            record.took_s = round(counts["took_us"] / 1e6, 6)
        record.rows_in, record.rows_out = record.rows_in + rows_in, record.rows_out + counts.get("rows_out", 0)
        record.missed += counts.get("missed", 0)

    def _blame(self, at: bytes, how: str) -> tuple[str, str] | None:
        """The task and the source that were at work, which failed; what they were given is passed over."""
        name, _, source = at.rstrip(b"\0").decode().partition("\n")
        if name not in self._records.of:
            log.error("online tasks: %s; they are started again", how)
            return None
        self._records.of[name].fails(self._tell(name, {"failed": [source], "kind": "died", "error": how}))
        self._records.has_news = True
        return name, source
