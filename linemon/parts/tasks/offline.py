"""In the process of a run: an offline task on one source after the other, here or on a Dask cluster."""

from __future__ import annotations

import hashlib
import inspect
import json
import time
import traceback
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from linemon.errors import LinemonError, UnknownSource
from linemon.parts.tasks.child import Function, Job, Say, load
from linemon.parts.tasks.giving import Given, TaskError, checked, fitted, text_of, without_told
from linemon.store.reader import Store
from linemon.store.rows import Rows, Window
from linemon.tasks import Kind, kind

Inputs = Rows | Window | dict[str, Rows | Window]
PART: Final = ".part"


def run(job: Job, say: Say) -> None:
    """Say of each source when it begins and what came of it; of a task that is given all at once, of these together."""
    try:
        function = load(job.task.run, job.folder)
    except Exception as error:  # of the user's module
        say(failure(job.sources, error))
        return
    how = kind(function)
    units: list[tuple[str, ...]] = [job.sources] if how.together else [(source,) for source in job.sources]
    with ExitStack() as opened:
        store = opened.enter_context(Store(job.config.store.folder))
        if job.config.tasks.dask:
            on_cluster(job, units, how, function, store, say, opened)
            return
        for unit in units:
            say({"begins": unit})
            try:
                inputs = read(job, unit, how, store)
                more = before(job, unit, function, store)
                given = None if inputs is None else called(function, inputs, job.task.options, how, more)
                say(outcome(job, unit, inputs, given, store))
            except Exception as error:  # of the user's function
                say(failure(unit, error))


def called(function: Function, inputs: Inputs, options: Mapping[str, Any], how: Kind, more: Mapping[str, Any]) -> Any:
    """What the function gives; an online one begins with an empty state."""
    return function(inputs, {}, **options) if how.online else function(inputs, **options, **more)


def read(job: Job, unit: Sequence[str], how: Kind, store: Store) -> Inputs | None:
    """What the function is given; None where the source is gone, or there is nothing."""
    found: dict[str, Rows | Window] = {}
    for name in unit:
        try:
            columns = job.task.columns(name, store[name].columns)
            rows = window(store, name, job, how.window.ns) if how.window else between(store, name, job)
            rows = rows.select(tuple(each for each in columns if each in rows.columns))
            found[name] = trimmed(rows) if isinstance(rows, Window) else rows
        except UnknownSource:  # forgotten meanwhile
            continue
    if not any(len(each) for each in found.values()):
        return None
    return found if how.together else found[unit[0]]


def between(store: Store, name: str, job: Job) -> Rows:
    first, end = (np.datetime64(at, "ns") for at in (max(0, job.end - job.task.over), job.end))
    return store[name].between(first, end)


def window(store: Store, name: str, job: Job, step: int) -> Window:
    """Whole buckets, from the first that is held on."""
    end = job.end // step * step
    oldest = store[name].oldest
    first = max(0, job.end - job.task.over, 0 if oldest is None else int(oldest.astype(np.int64))) // step * step
    first = min(first, end - step)
    return store[name].window(np.datetime64(first, "ns"), np.datetime64(end, "ns"), (end - first) // step)


def trimmed(window: Window) -> Window:
    """From the first to the last bucket that has anything."""
    some = np.flatnonzero(window.count.any(axis=1))
    part = slice(some[0], some[-1] + 1) if len(some) else slice(0)
    names = ("time", "step", "min", "max", "mean", "count")
    return replace(window, **{name: getattr(window, name)[part] for name in names})


def before(job: Job, unit: Sequence[str], function: Function, store: Store) -> dict[str, Any]:
    """What it gave the time before, for a function that has an argument `before`."""
    if "before" not in inspect.signature(function).parameters:
        return {}
    outputs = {source: job.task.output(source) for source in unit}
    return {"before": {source: store[name].last(1) for source, name in outputs.items() if name in store}}


def outcome(job: Job, unit: Sequence[str], inputs: Inputs | None, given: Any, store: Store) -> dict[str, Any]:
    """Check what was given, and lay the rows that are new in files. TaskError."""
    parts = list(inputs.values()) if isinstance(inputs, dict) else [] if inputs is None else [inputs]
    rows_in = sum(map(len, parts))
    files, rows_out, left_out = [], 0, 0
    for source, each in dict(shares(given, inputs, unit)).items():
        name = job.task.output(source)
        newest = job.newest.get(name)
        if name in store:
            told = store[name].between(None, np.datetime64(job.end, "ns")).time
            newest = max(newest or 0, int(told[-1].astype(np.int64))) if len(told) else newest
        new, told_before = without_told(fitted(each, store[name].columns if name in store else ()), newest, job.end)
        left_out += told_before
        if len(new.times):
            files.append(str(written(job, name, new)))
            rows_out += len(new.times)
    return {"done": unit, "rows_in": rows_in, "rows_out": rows_out, "left_out": left_out, "files": files}


def shares(given: Any, inputs: Inputs | None, unit: Sequence[str]) -> Iterator[tuple[str, Given]]:
    """What was given of each source."""
    if not isinstance(inputs, dict):
        if found := checked(given, None if inputs is None else inputs.time):
            yield unit[0], found
        return
    times = None
    if isinstance(given, tuple) and len(given) == 2:
        times, given = given
    if given is not None and not isinstance(given, Mapping):
        raise TaskError(f"it gives a {type(given).__name__}: expected {{SOURCE: {{NAME: array}}}}")
    for source, each in (given or {}).items():
        if source not in inputs:
            raise TaskError(f"it gives something of {source!r}, which it was not given")
        if found := checked(each, inputs[source].time if times is None else times):
            yield source, found


def written(job: Job, name: str, given: Given) -> Path:
    """A file of rows that wait for the collector."""
    header, rows = text_of(given)
    past = given.times[given.times <= job.end]
    said = {
        "source": name,
        "sender": sender_of(job.task.name, job.run),
        "newest": int(past[-1]) if len(past) else None,
    }
    path = job.out / f"{hashlib.sha256(f'{job.run} {name}'.encode()).hexdigest()[:24]}{PART}"
    path.write_bytes(json.dumps(said).encode() + b"\n" + header + b"\n" + rows)
    return path


def sender_of(task: str, run: str) -> str:
    """SENDER of all that a run gives."""
    return f"task:{hashlib.sha256(f'{task} {run}'.encode()).hexdigest()[:24]}"


def failure(unit: Sequence[str], error: BaseException) -> dict[str, Any]:
    """What is said of a call that failed."""
    lines = "".join(traceback.format_exception(error))
    text = str(error) if isinstance(error, LinemonError) else f"{type(error).__name__}: {error}"
    return {"failed": list(unit), "kind": type(error).__name__, "error": text[:500], "traceback": lines[-8000:]}


# -- on a cluster


def on_cluster(
    job: Job, units: list[tuple[str, ...]], how: Kind, function: Function, store: Store, say: Say, opened: ExitStack
) -> None:
    """The same by a Dask scheduler, side by side; a call that takes too long is cancelled, and not waited for."""
    from distributed import Client

    try:
        client = opened.enter_context(Client(job.config.tasks.dask, timeout=job.task.timeout_s, set_as_default=False))
        workers = len(client.scheduler_info()["workers"])
    except Exception as error:  # whatever its network raises
        say(failure(job.sources, error))
        return
    running: deque[tuple[tuple[str, ...], Any, Inputs, float]] = deque()

    def settle() -> None:
        unit, future, inputs, until = running.popleft()
        say({"begins": unit})
        try:
            say(outcome(job, unit, inputs, future.result(timeout=max(0.0, until - time.monotonic())), store))
        except TimeoutError:
            future.cancel()
            error = LinemonError(f"not done after {job.task.timeout_s:g} s; the cluster may go on with it")
            say(failure(unit, error) | {"kind": "timeout", "abandoned": 1})
        except Exception as error:  # of the user's function, or the cluster's
            say(failure(unit, error))

    for unit in units:
        inputs = read(job, unit, how, store)
        if inputs is None:
            say(outcome(job, unit, None, None, store))
            continue
        more = before(job, unit, function, store)
        future = client.submit(
            on_worker, job.task.run, str(job.folder), inputs, dict(job.task.options), more, pure=False
        )
        running.append((unit, future, inputs, time.monotonic() + job.task.timeout_s))
        if len(running) >= max(1, workers):
            settle()
    while running:
        settle()


def on_worker(run: str, folder: str, inputs: Inputs, options: dict[str, Any], more: dict[str, Any]) -> Any:
    """What a worker does: linemon and the function's module must be there."""
    function = load(run, Path(folder))
    return called(function, inputs, options, kind(function), more)
