"""In a process of its own: online tasks, which get new rows as they come and keep a state.

What a task has learnt of a source, up to which row, and the number of the next row that it gives are saved together,
and only once the collector holds all rows before that one. So after a kill the rows since then are read again, and what
comes of them has the same numbers as before: it is stored once. Where rows are passed over the state is saved first.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final

from linemon.errors import LinemonError, UnknownSource
from linemon.parts._outputs import Outputs
from linemon.parts.tasks.child import AT_BYTES, Function, OnlineJob, Say, load
from linemon.parts.tasks.giving import MOST_BYTES, TaskError, checked, fitted, text_of
from linemon.parts.tasks.keeping import NotKept, online_file, packed, unpacked
from linemon.parts.tasks.offline import failure, sender_of
from linemon.parts.tasks.plan import OURS, Task, file_of
from linemon.store.catalog import Entry
from linemon.store.folder import own_folder, replace_file
from linemon.store.heads import heads_of
from linemon.store.reader import Store
from linemon.store.ring import COMMIT
from linemon.tasks import kind

log = logging.getLogger(__name__)

TURN_S: Final = 1.0
MOST: Final = 500  # rows of a source at a time, and before it is known how long they take
FIRST: Final = 8
CALL_S: Final = 0.1  # that a call is to take
SAVING_S: Final = 0.5
NOWHERE: Final = bytes(AT_BYTES)
SPAN_S: Final = 10.0  # in which no more than the budget is used; rows that wait longer are passed over


class Budget:
    """A share of a core, of which `SPAN_S` may be used at once."""

    def __init__(self, share: float) -> None:
        self._share, self._left = share, share * SPAN_S
        self._at, self._used = time.monotonic(), time.process_time()

    def is_used_up(self) -> bool:
        now, used = time.monotonic(), time.process_time()
        self._left = min(self._left + self._share * (now - self._at), self._share * SPAN_S) - (used - self._used)
        self._at, self._used = now, used
        return self._left <= 0


class Stream:
    """A task on a source."""

    def __init__(self, task: Task, entry: Entry, path: Path, cursor: int) -> None:
        """As its file says, else from this row on. A damaged file is told of, and begins anew."""
        self.task, self.source, self.path = task, entry.source, path
        self.output = task.output(self.source)
        self.state: dict[str, Any] = {}
        self.born, self.cursor, self.number, self.run = entry.born, cursor, 1, os.urandom(8).hex()
        try:
            self.state, head = unpacked(path.read_bytes())
            self.born, self.cursor, self.number, self.run = (head[key] for key in ("born", "cursor", "number", "run"))
            self.must_save = False
        except FileNotFoundError:
            self.must_save = True  # so that after a kill it goes on from here
        except (ValueError, KeyError, OSError) as error:
            log.error("%s cannot be read (%s): %s begins anew on %s", path, error, task.name, self.source)
            self.must_save = True
        self.sender = sender_of(task.name, self.run)
        self.saved_at = time.monotonic()
        self.is_saved = not self.must_save
        self.waits: tuple[float, int] | None = None  # since when rows up to this one wait
        self.columns: dict[tuple[str, ...], tuple[str, ...]] = {}  # of the source's, those that it reads
        self.gives: tuple[str, ...] = ()  # the columns of its output
        self.most = FIRST  # rows of a call
        self.at = f"{task.name}\n{self.source}".encode().ljust(AT_BYTES, b"\0")

    def save(self, outputs: Outputs) -> bool:
        """Whether that could be done now. OSError; NotKept where it never can."""
        if not outputs.has_all(self.output, self.sender):
            return False
        head = {"source": self.source, "born": self.born, "cursor": self.cursor, "number": self.number, "run": self.run}
        self.saved_at = time.monotonic()
        try:
            os.close(replace_file(self.path, packed(self.state, head), 0o600, is_synced=bool(self.state)))
        except NotKept:
            self.must_save = False  # it goes on, and after a kill begins anew
            raise
        self.must_save, self.is_saved = False, True
        return True


class Online:
    """All tasks of the process."""

    def __init__(self, job: OnlineJob, say: Say, store: Store, outputs: Outputs) -> None:
        self._job, self._say, self._store, self._outputs = job, say, store, outputs
        self._budget = Budget(job.config.tasks.budget)
        self._functions: dict[str, Function] = {}
        self._streams: dict[tuple[str, str], Stream] = {}
        self._seen: object = None
        self._began = time.time_ns()
        self._turn = self._lost = 0
        self._counts: dict[str, Counter[str]] = {}
        self.is_over = False
        self._files = self._stats()
        for task in job.tasks:
            own_folder(online_file(job.state, task.name, "").parent, 0o700)
            try:
                function = load(task.run, job.folder)
                if not kind(function).online:
                    raise LinemonError(f"run = {task.run!r} is no online task: expected @task(online=True)")
                self._functions[task.name] = function
            except Exception as error:  # of the user's module
                self._counts.setdefault(task.name, Counter())["failed"] += 1
                say(failure([], error) | {"task": task.name})

    def _stats(self) -> list[int]:
        """Other numbers once a file of tasks is another one."""
        found = []
        for task in self._job.tasks:
            with suppress(OSError, LinemonError):
                path = None if task.run.startswith(OURS) else file_of(task.run, self._job.folder)
                found.append(path.stat().st_mtime_ns if path else 0)
        return found

    def run(self) -> None:
        """A turn a second, until it is told to end, or a file of tasks is another one."""
        while not self.is_over:
            began = time.monotonic()
            self._attach()
            self._take()
            self._save()
            lost, self._lost = self._outputs.rejected - self._lost, self._outputs.rejected
            self._say({"online": self._counts, "behind": self._behind(began), "lost": lost})
            self._counts = {}
            self.is_over = self.is_over or self._stats() != self._files
            time.sleep(0.0 if self.is_over else max(0.0, TURN_S - (time.monotonic() - began)))

    def end(self) -> None:
        """Save what the collector has taken."""
        self._save(ending=True)

    def _attach(self) -> None:
        """Take up the sources that are new, and let go of those that are no more."""
        names = self._store.sources()
        state = self._store.id, self._store._catalog.state
        if state == self._seen:
            return
        self._seen = state
        heads = self._heads(names)
        for task in self._job.tasks:
            if task.name not in self._functions:
                continue
            for source in task.sources(self._store):
                if (task.name, source) not in self._streams and source in heads:
                    entry, head = heads[source]
                    is_new = entry.born > self._began and task.output(source) not in self._store  # and not renamed
                    cursor = 0 if is_new else head
                    path = online_file(self._job.state, task.name, source)
                    stream = self._streams[task.name, source] = Stream(task, entry, path, cursor)
                    if stream.output in self._store:
                        stream.gives = self._store[stream.output].columns
                    if (task.name, source) == self._job.hung and stream.born == entry.born:
                        self._pass(stream, head)
                    self._is_ready(stream)  # before any task is called: it may never come back
        self._streams = {key: each for key, each in self._streams.items() if key[1] in names}

    def _behind(self, now: float) -> dict[str, float]:
        """How long rows of each task have waited, s."""
        behind = dict.fromkeys(self._functions, 0.0)
        for stream in self._streams.values():
            if stream.waits:
                behind[stream.task.name] = max(behind[stream.task.name], round(now - stream.waits[0], 1))
        return behind

    def _heads(self, names: tuple[str, ...]) -> dict[str, tuple[Entry, int]]:
        found: dict[str, tuple[Entry, int]] = {}
        for heads in heads_of(self._store, names):
            rows = (heads.cells[:, COMMIT] >> 1).tolist()
            found |= {entry.source: (entry, head) for entry, head in zip(heads.entries, rows, strict=True)}
        return found

    def _take(self) -> None:
        """Give each task its new rows, as far as the budget goes."""
        heads = self._heads(tuple({source for _, source in self._streams}))
        order = [each for each in self._streams.values() if each.source in heads]
        self._turn += 1
        at = self._turn % max(1, len(order))
        now = time.monotonic()
        for stream in order[at:] + order[:at]:
            entry, head = heads[stream.source]
            while (stream.cursor, stream.born) != (head, entry.born) and self._may_go_on(stream):
                if not self._step(stream):
                    break
            self._wait(stream, entry, head, now)

    def _may_go_on(self, stream: Stream) -> bool:
        is_free = not self.is_over and self._outputs.waiting <= MOST_BYTES and not self._budget.is_used_up()
        return is_free and self._is_ready(stream)

    def _is_ready(self, stream: Stream) -> bool:
        """Whether what must be saved before it goes on is saved."""
        try:
            return not stream.must_save or stream.save(self._outputs)
        except (NotKept, OSError) as error:
            self._fails(stream, error)
            return False

    def _wait(self, stream: Stream, entry: Entry, head: int, now: float) -> None:
        """Pass over rows that have waited for too long."""
        if stream.waits and (stream.cursor >= stream.waits[1] or stream.born != entry.born):
            stream.waits = None
        if stream.cursor == head or stream.born != entry.born or stream.must_save:
            return
        if stream.waits is None:
            stream.waits = now, head
        elif now - stream.waits[0] > SPAN_S and self._outputs.waiting < MOST_BYTES:
            self._pass(stream, stream.waits[1])

    def _pass(self, stream: Stream, cursor: int) -> None:
        """Go on from there; what is before it is missed."""
        self._count(stream)["missed"] += cursor - stream.cursor
        stream.cursor, stream.waits, stream.must_save = cursor, None, True

    def _step(self, stream: Stream) -> bool:
        """Some rows of a source; whether there may be more."""
        try:
            rows = self._store[stream.source].since(stream.cursor, stream.born, stream.most)
        except UnknownSource:  # forgotten meanwhile
            return False
        counts = self._count(stream)
        if rows.missed:
            counts["missed"] += rows.missed
            stream.cursor, stream.must_save = rows.cursor - len(rows), True
            return self._may_go_on(stream) and self._step(stream)
        stream.cursor, stream.born, stream.is_saved = rows.cursor, rows.born, False
        if rows.columns not in stream.columns:
            stream.columns = {rows.columns: stream.task.columns(stream.source, rows.columns)}
        columns = stream.columns[rows.columns]
        if not len(rows) or not columns:
            return bool(len(rows))
        began = time.perf_counter()
        try:
            self._call(stream, rows.select(columns), counts)
        except Exception as error:  # of the user's function
            counts["missed"] += len(rows)
            stream.must_save = True
            self._fails(stream, error)
        took_s = time.perf_counter() - began
        stream.most = max(1, min(MOST, 2 * stream.most, round(CALL_S * len(rows) / took_s)))
        counts["took_us"] += round(1e6 * took_s)
        counts["rows_in"] += len(rows)
        return True

    def _call(self, stream: Stream, rows: Any, counts: Counter[str]) -> None:
        os.pwrite(self._job.at, stream.at, 0)
        given = self._functions[stream.task.name](rows, stream.state, **stream.task.options)
        os.pwrite(self._job.at, NOWHERE, 0)
        found = checked(given, rows.time)
        if not found or not len(found.times):
            return
        if len(found.times) > len(rows):
            raise TaskError(f"it gives {len(found.times)} rows for {len(rows)}: expected one for each at most")
        found = fitted(found, stream.gives)
        stream.gives = tuple(found.columns)
        self._outputs.put(stream.output, stream.sender, stream.number, *text_of(found))
        stream.number += len(found.times)
        counts["rows_out"] += len(found.times)

    def _save(self, ending: bool = False) -> None:
        """Save what is due, for half a second at a time: a disk may be slow."""
        now = time.monotonic()
        for stream in self._streams.values():
            if time.monotonic() - now > SAVING_S and not ending:
                break
            if stream.is_saved or not (
                ending or stream.must_save or now - stream.saved_at >= self._job.config.tasks.save
            ):
                continue
            try:
                stream.save(self._outputs)
            except (NotKept, OSError) as error:
                self._fails(stream, error)

    def _count(self, stream: Stream) -> Counter[str]:
        return self._counts.setdefault(stream.task.name, Counter())

    def _fails(self, stream: Stream, error: Exception) -> None:
        self._count(stream)["failed"] += 1
        self._say(failure([stream.source], error) | {"task": stream.task.name})


def run(job: OnlineJob, say: Say) -> None:
    """Until the process is told to end."""
    with Store(job.config.store.folder) as store, closing(Outputs(job.config)) as outputs:
        online = Online(job, say, store, outputs)

        def stop(*_: object) -> None:
            online.is_over = True

        signal.signal(signal.SIGTERM, stop)
        online.run()
        outputs.settle()
        online.end()
