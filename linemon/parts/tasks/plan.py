"""Tasks as linemon.toml says them -> what is run, on what, and when. ConfigError names the task, the key, the value.

No function is imported here: that is for the processes that run them. Whether it is there, its source tells.
"""

from __future__ import annotations

import ast
import os
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any, Final

from linemon.config import Config
from linemon.errors import ConfigError
from linemon.homes import expanded
from linemon.parts.tasks.schedule import Schedule
from linemon.patterns import OUTPUT, fits, is_exclusion
from linemon.sections import TaskConfig, check_zone
from linemon.store.reader import Store

NAME: Final = re.compile(r"[\w. -]{1,64}")
BUILT_IN: Final = ("strange", "normal", "forecast", "spectrum", "groups")
OURS: Final = "linemon:"
ROWS: Final = "rows"  # `when` of an online task
DEEPEST: Final = 8  # tasks that read one another's outputs
OTHERS_WRITE: Final = 0o022


@dataclass(frozen=True)
class Task:
    """One task. `schedule`: None of an online one."""

    name: str
    run: str
    inputs: tuple[str, ...]
    when: str
    schedule: Schedule | None
    over: int  # ns
    timeout_s: float
    after: tuple[str, ...]
    options: Mapping[str, Any]

    def columns(self, source: str, columns: Iterable[str]) -> tuple[str, ...]:
        """Of the columns of a source those that it reads; none where the source is not meant."""
        pairs = [(is_exclusion(each), *split(each.removeprefix("!"))) for each in self.inputs]
        yes = [column for is_not, name, column in pairs if not is_not and fits((name,), source)]
        no = [column for is_not, name, column in pairs if is_not and fnmatchcase(source, name)]
        return tuple(
            each
            for each in columns
            if any(fnmatchcase(each, pattern) for pattern in yes)
            and not any(fnmatchcase(each, pattern) for pattern in no)
        )

    def sources(self, store: Store) -> list[str]:
        """The sources that it reads, by name."""
        entries = ((name, store[name].columns) for name in store.sources())
        return sorted(name for name, columns in entries if self.columns(name, columns))

    def output(self, source: str) -> str:
        """Where what it finds of a source goes."""
        return f"{source}{OUTPUT}{self.name}"


def split(pattern: str) -> tuple[str, str]:
    """``SOURCE:COLUMN`` at its last colon; ``%3A`` is one in a name."""
    source, _, column = pattern.rpartition(":")
    return source.replace("%3A", ":"), column.replace("%3A", ":")


def tasks(config: Config) -> list[Task]:
    """All that are enabled, none before those that it comes after."""
    found: dict[str, Task] = {}
    for said in config.task:
        if not NAME.fullmatch(said.name):
            raise ConfigError(f"[[task]] name = {said.name!r}: expected 1 to 64 letters, digits, blanks, '.', '_', '-'")
        if said.name in found:
            raise ConfigError(f"[[task]] {said.name!r}: there are two of this name")
        found[said.name] = make(said)
    enabled = {said.name: found[said.name] for said in config.task if said.enabled}
    for task in enabled.values():
        for other in task.after:
            if other not in found:
                raise ConfigError(f"[[task]] {task.name!r} after: there is no task {other!r}")
            if found[other].schedule is None or task.schedule is None:
                raise ConfigError(f"[[task]] {task.name!r} after {other!r}: an online task has no turns")
    order = walked("after", {name: [o for o in task.after if o in enabled] for name, task in enabled.items()})
    walked("inputs", {name: list(feeds(task, enabled.values())) for name, task in enabled.items()}, DEEPEST)
    return [enabled[name] for name in order]


def make(said: TaskConfig) -> Task:
    """One of them; ConfigError."""
    where = f"[[task]] {said.name!r}"
    for each in said.inputs:
        source, column = split(each.removeprefix("!"))
        if not source or not column:
            raise ConfigError(f"{where} inputs = {each!r}: expected SOURCE:COLUMN, such as 'web*:cpu.busy_pct'")
    if all(is_exclusion(each) for each in said.inputs):
        raise ConfigError(f"{where} inputs: expected patterns such as ['web*:cpu.busy_pct']")
    module, _, function = said.run.rpartition(":")
    if not module or not function.isidentifier():
        raise ConfigError(
            f"{where} run = {said.run!r}: expected 'linemon:normal', 'module:function' or 'path/to/file.py:function'"
        )
    if said.run.startswith(OURS) and function not in BUILT_IN:
        raise ConfigError(f"{where} run = {said.run!r}: linemon has {', '.join(BUILT_IN)}")
    check_zone(where, said.zone)
    try:
        schedule = None if said.when == ROWS else Schedule(said.when, said.zone)
    except ConfigError as error:
        raise ConfigError(f"{where} when = {said.when!r}: {error}") from None
    if said.run.startswith(OURS) and (function == "strange") != (schedule is None):
        raise ConfigError(f"{where} when = {said.when!r}: {function} expects {'rows' if schedule else 'a schedule'!r}")
    return Task(
        said.name, said.run, said.inputs, said.when, schedule, said.over.ns, said.timeout, said.after, said.options
    )  # fmt: skip


def feeds(task: Task, others: Iterable[Task]) -> Iterable[str]:
    """The tasks whose outputs this one reads: where a pattern names them."""
    for other in others:
        for pattern in task.inputs:
            source = split(pattern)[0]
            if not is_exclusion(pattern) and OUTPUT in source and fnmatchcase(other.name, source.rpartition(OUTPUT)[2]):
                yield other.name


def walked(key: str, needs: Mapping[str, Iterable[str]], deepest: int = sys.maxsize) -> list[str]:
    """The names, each behind those that it needs. ConfigError where some wait for one another, or one is too deep."""
    depth: dict[str, int] = {}

    def visit(name: str, path: tuple[str, ...]) -> int:
        if name in path:
            raise ConfigError(f"[[task]] {name!r} {key}: a cycle, {' -> '.join((*path[path.index(name) :], name))}")
        if name not in depth:
            depth[name] = 1 + max((visit(other, (*path, name)) for other in needs[name]), default=0)
        if depth[name] > deepest:
            raise ConfigError(f"[[task]] {name!r} {key}: more than {deepest} tasks, one behind the other")
        return depth[name]

    for name in needs:
        visit(name, ())
    return list(depth)


# -- where functions are


def folder_of(config: Config) -> Path:
    """From where files of tasks are named: that of linemon.toml."""
    return (config.file.parent if config.file else Path()).absolute()


def file_of(run: str, folder: Path) -> Path | None:
    """The file that has the function; None where it is in a package. ConfigError if others could change it."""
    name = run.rpartition(":")[0]
    if not name.endswith(".py"):
        return None
    path = folder / expanded("run", name)
    try:
        for each in (path, path.parent):
            stat = each.stat()
            if stat.st_uid not in (0, os.getuid()) or stat.st_mode & OTHERS_WRITE:
                raise ConfigError(f"run = {run!r}: others may write to {each}: `chmod go-w` it")
    except OSError as error:
        raise ConfigError(f"run = {run!r}: {path}: {error.strerror}") from None
    return path


def check(config: Config, store: Path) -> tuple[list[str], list[str]]:
    """For `linemon check`: the tasks, how many sources each has now, and what will not work."""
    if not config.tasks.enabled or not config.task:
        return ["none" if config.tasks.enabled else "off"], []
    found, warnings, opened = tasks(config), [], Store(store)
    lines = []
    for task in found:
        count = len(task.sources(opened)) if store.exists() else 0
        lines.append(f"{task.name}: {task.run}, {task.when}, on {count} sources now")
        where = f"[[task]] {task.name!r}"
        words = None if task.run.startswith(OURS) else words_of(task, folder_of(config))
        if words is not None and ("online" in words) != (task.schedule is None):
            raise ConfigError(f"{where} when = {task.when!r}: @task(online=True) goes with 'rows', and only that")
        if task.schedule and words is not None and "window" not in words and task.over > config.store.points * 10**9:
            warnings.append(
                f"{where} reads rows, of which {config.store.points} are kept, not those of "
                f'{task.over / 86400e9:.3g} d: @task(window="1m") reads the history, too'
            )
    return lines, warnings


def words_of(task: Task, folder: Path) -> set[str] | None:
    """What the decorator of its function is given; None where its source does not tell. ConfigError without one."""
    where, name = f"[[task]] {task.name!r} run = {task.run!r}", task.run.rpartition(":")[0]
    try:
        path = file_of(task.run, folder)
    except ConfigError as error:
        raise ConfigError(f"[[task]] {task.name!r} {error}") from None
    if path is None:
        places: list[str] | None = [*sys.path, str(folder)]
        spec = None
        for i, _ in enumerate(parts := name.split(".")):  # without importing the packages that it is in
            spec = PathFinder.find_spec(".".join(parts[: i + 1]), places)
            places = list(spec.submodule_search_locations or ()) if spec else []
        if not spec or not spec.origin:
            raise ConfigError(f"{where}: there is no module {name!r}, neither installed nor in {folder}")
        path = Path(spec.origin)
    if path.suffix != ".py":
        return None
    try:
        found = defined(path.read_text())
    except (SyntaxError, UnicodeDecodeError) as error:
        raise ConfigError(f"{where}: {path}: {error}") from None
    function = task.run.rpartition(":")[2]
    if function not in found:
        raise ConfigError(f"{where}: {path} has no function {function!r}; it has {', '.join(found) or 'none'}")
    return found[function]


def defined(text: str) -> dict[str, set[str] | None]:
    """The functions of a module, each with what its decorators are given; None of what is imported, or assigned."""
    found: dict[str, set[str] | None] = {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef):
            words = [word for each in node.decorator_list if isinstance(each, ast.Call) for word in each.keywords]
            found[node.name] = {word.arg for word in words if word.arg and ast.unparse(word.value) != "False"}
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {alias.asname or alias.name: None for alias in node.names}
        elif isinstance(node, ast.Assign):
            found |= {each.id: None for each in node.targets if isinstance(each, ast.Name)}
    return found
