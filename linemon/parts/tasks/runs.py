"""Has offline tasks run, and what they give written: from the moment that a file has its name, whatever happens."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from linemon.config import Config
from linemon.errors import LinemonError
from linemon.parts._marks import set_marks
from linemon.parts._outputs import Outputs
from linemon.parts.tasks.child import Job
from linemon.parts.tasks.giving import MOST_BYTES
from linemon.parts.tasks.keeping import Records
from linemon.parts.tasks.plan import Task, folder_of
from linemon.parts.tasks.runner import outcomes
from linemon.store.marks import Mark

log = logging.getLogger(__name__)

SUFFIX: Final = ".run"
LOOK_S: Final = 1.0  # from one look whether outputs go out to the next


@dataclass
class Outcome:
    """What became of a run: how many sources were `done`, why others failed, and rows."""

    done: int = 0
    failed: list[str] = field(default_factory=list)
    rows_in: int = 0
    rows_out: int = 0
    left_out: int = 0


class Runs:
    """All runs of the part, some at a time."""

    def __init__(self, config: Config, records: Records, outputs: Outputs, out: Path) -> None:
        """Sends what a process before has left in `out`."""
        self._config, self._records, self._outputs, self._out = config, records, outputs, out
        self._slots = asyncio.Semaphore(config.tasks.workers)
        self._told: set[tuple[str, str]] = set()  # kinds of failures that were logged with their traceback
        self._marking = set[asyncio.Task[None]]()  # only so that they live
        files = sorted(out.glob(f"*{SUFFIX}"))
        self._number = int(files[-1].stem) if files else 0
        for file in files:
            self._deliver(file)
        for draft in set(out.iterdir()) - set(files):
            draft.unlink()

    async def run(self, task: Task, run: str, end: int, sources: Sequence[str]) -> Outcome:
        """A run on these sources, of rows up to `end` (ns); what has the same `run` is the same one. OSError."""
        record, found, names = self._records.of[task.name], Outcome(), map(task.output, sources)
        async with self._slots:
            record.last, began = time.time_ns(), time.monotonic()
            newest = {name: self._records.newest[name] for name in names if name in self._records.newest}
            plain = replace(task, schedule=None)
            job = Job(self._config, folder_of(self._config), plain, tuple(sources), run, end, self._out, newest)
            async for said in outcomes(job):
                self._take(task.name, said, found)
                while self._outputs.waiting > MOST_BYTES:
                    await asyncio.sleep(LOOK_S)
            record.took_s, record.runs = round(time.monotonic() - began, 3), record.runs + 1
            record.rows_in, record.rows_out = record.rows_in + found.rows_in, record.rows_out + found.rows_out
            if found.failed:
                record.fails(found.failed[-1])
            else:
                record.failing = 0
            self._records.has_news = True
        return found

    def _take(self, name: str, said: dict[str, Any], found: Outcome) -> None:
        """What became of a source."""
        if "failed" in said:
            self._records.of[name].abandoned += said.get("abandoned", 0)
            found.failed.append(self.tell(name, said))
            return
        found.done += len(said["done"])
        for key in ("rows_in", "rows_out", "left_out"):
            setattr(found, key, getattr(found, key) + said[key])
        for part in map(Path, said["files"]):
            self._number += 1
            self._deliver(part.rename(self._out / f"{self._number:012d}{SUFFIX}"))

    def _deliver(self, file: Path) -> None:
        try:
            head, columns, rows = file.read_bytes().split(b"\n", 2)
            said = json.loads(head)
        except (OSError, ValueError) as error:
            log.error("%s cannot be read, and is removed: %s", file, error)
            file.unlink(missing_ok=True)
            return
        source, newest = said["source"], self._records.newest
        if said["newest"] is not None:
            newest[source] = max(said["newest"], newest.get(source, 0))
        self._outputs.put(source, said["sender"], 1, columns, rows, partial(file.unlink, missing_ok=True))

    def tell(self, name: str, said: dict[str, Any]) -> str:
        """Log a failure, with its traceback where it is the first of its kind, and mark it; what to say of it."""
        sources = said["failed"]
        more = f" and {len(sources) - 1} more" if len(sources) > 1 else ""
        text = f"{sources[0]}{more}: {said['error']}" if sources else said["error"]
        if (name, said["kind"]) not in self._told:
            self._told.add((name, said["kind"]))
            log.error("task %s failed on %s\n%s", name, text, said.get("traceback", ""))
            text_of_mark = f"task {name} failed ({said['kind']}): linemon tasks says more"
            mark = Mark.of(time.time_ns(), text_of_mark, sources[0] if len(sources) == 1 else None, "task")
            marking = asyncio.create_task(self._mark(mark))
            self._marking.add(marking)
            marking.add_done_callback(self._marking.discard)
        return text

    async def _mark(self, mark: Mark) -> None:
        with suppress(LinemonError):  # the collector is away
            await asyncio.to_thread(partial(set_marks, self._config, [mark]))
