"""A process that runs tasks: code of users is called here and nowhere else. `runner.py` has the other end.

It reads one `Job` from its standard input, which stays open as long as its parent lives, and says what comes of it, a
line of JSON each, on what was its standard output; what the code prints goes to standard error.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import pickle
import resource
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from linemon.config import Config
from linemon.errors import LinemonError
from linemon.parts.tasks.plan import OURS, Task, file_of

NICE: Final = 10
AT_BYTES: Final = 2048  # of the file that says which online task is called
Say = Callable[[dict[str, Any]], None]
Function = Callable[..., Any]


@dataclass(frozen=True)
class Job:
    """An offline task on some sources, now; the rows that it gives become files in `out`, or are left where `dry`.

    `run` names it: what two runs of one name give has the same numbers. Rows of [end - over, end) are read, those up to
    `newest` of an output were given before.
    """

    config: Config
    folder: Path  # of linemon.toml
    task: Task
    sources: tuple[str, ...]
    run: str
    end: int
    out: Path
    newest: dict[str, int]


@dataclass(frozen=True)
class OnlineJob:
    """All online tasks, until the process ends; `state` is their folder.

    `at`: an open file that says which task is called on which source. `hung`: with which a process before has ended.
    """

    config: Config
    folder: Path
    tasks: tuple[Task, ...]
    state: Path
    at: int
    hung: tuple[str, str] | None = None


def main() -> None:
    """Do what the parent says."""
    source = sys.stdin.buffer
    job = pickle.loads(source.read(int.from_bytes(source.read(8), "big")))  # noqa: S301  from the process that started us
    threading.Thread(target=end_with_parent, daemon=True).start()
    told = os.dup(1)
    os.dup2(2, 1)
    os.nice(NICE)
    memory = job.config.tasks.memory
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))  # not what is mapped of the store

    def say(what: dict[str, Any]) -> None:
        data = json.dumps(what).encode() + b"\n"
        while data:
            data = data[os.write(told, data) :]

    if isinstance(job, Job):
        from linemon.parts.tasks.offline import run

        run(job, say)
    else:
        from linemon.parts.tasks.online import run as run_online

        run_online(job, say)


def end_with_parent() -> None:
    """End, with all that the code has started, once the parent does, however it ends."""
    while os.read(0, 1):
        pass
    os.killpg(os.getpgrp(), signal.SIGKILL)


def load(run: str, folder: Path) -> Function:
    """The function that `run` names. LinemonError, or what its module raises."""
    name, _, function = run.rpartition(":")
    if run.startswith(OURS):
        name = "linemon.tasks"
    path = file_of(run, folder)
    if path is None:
        if str(folder) not in sys.path:
            sys.path.append(str(folder))
        module = importlib.import_module(name)
    else:
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec
        assert spec.loader
        module = importlib.util.module_from_spec(spec)
        sys.modules.setdefault(path.stem, module)  # so that what it gives can be pickled, and dataclasses work
        spec.loader.exec_module(module)
    found = getattr(module, function, None)
    if not callable(found):
        raise LinemonError(f"{run!r}: there is no such function")
    typed: Function = found
    return typed
