"""Which tasks are due: the clock in, runs out, each due time once. No I/O, no clock.

What falls due while nobody is there is one run, and counted as missed; what falls due while the task still runs, as
skipped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, NamedTuple

from linemon.parts.tasks.plan import Task

S: Final = 10**9
JUMP: Final = 3600 * S  # by how much a clock that is set is another one
LATE: Final = 60 * S  # a run that begins later is not the one that was due


@dataclass
class Record:
    """What is known of a task, and kept. Times in ns."""

    when: str = ""  # by which `next` was found
    next: int | None = None
    done: int | None = None  # the last due time that was run,
    running: int | None = None  # and that which is being run: once more where it was killed
    last: int | None = None
    took_s: float | None = None
    rows_in: int = 0
    rows_out: int = 0
    runs: int = 0
    missed: int = 0  # turns; of an online task rows
    skipped: int = 0
    failed: int = 0
    failing: int = 0  # in a row
    abandoned: int = 0  # runs that a cluster goes on with
    last_error: str | None = None
    behind_s: float | None = None  # how long rows wait for an online task

    @classmethod
    def load(cls, said: Mapping[str, Any]) -> Record:
        """From `save`; what is not known is left out."""
        known = {each.name for each in fields(cls)}
        return cls(**{name: value for name, value in said.items() if name in known})

    def save(self) -> dict[str, Any]:
        return asdict(self)

    def fails(self, text: str) -> None:
        self.failed, self.failing, self.last_error = self.failed + 1, self.failing + 1, text


class Due(NamedTuple):
    """A task that is to be run, for this due time and so many that were missed."""

    task: Task
    at: int
    missed: int


class Turns:
    """The tasks of a schedule."""

    def __init__(self, tasks: Iterable[Task], records: Mapping[str, Record], now: int, elapsed: int) -> None:
        """`elapsed`: ns by a clock that nobody sets, as in `due`. Tasks come behind those they wait for."""
        self._tasks, self._records = [task for task in tasks if task.schedule], records
        self._was = now - elapsed
        for task in self._tasks:
            record = records[task.name]
            if record.when != task.when or record.next is None:
                self._plan(task, now)
            elif record.running is not None:
                record.next = record.running
            record.when, record.running = task.when, None

    def due(self, now: int, elapsed: int, busy: Iterable[str]) -> list[Due]:
        """Those that are to be run now; those of these names still run."""
        was, self._was = self._was, now - elapsed
        if abs(self._was - was) > JUMP:
            for task in self._tasks:
                self._plan(task, now)
        found, busy = [], set(busy)
        for task in self._tasks:
            record = self._records[task.name]
            if record.next is None or record.next > now or not task.schedule:
                continue
            turns, at = task.schedule.turns(record.next - 1, now)
            record.done = max(at, record.done or 0)
            self._plan(task, now)
            if task.name in busy:
                record.skipped += turns
                continue
            missed = turns if now - at > LATE else turns - 1
            record.missed, record.running = record.missed + missed, at
            found.append(Due(task, at, missed))
        return found

    def _plan(self, task: Task, now: int) -> None:
        """Its next turn; never one that was run."""
        assert task.schedule
        record = self._records[task.name]
        record.next = task.schedule.next(max(now, record.done or 0))
