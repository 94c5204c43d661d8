"""`linemon tasks`: what is computed of the rows, when, and what became of it."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from linemon.cli._terminal import print_json, span, store_of, table
from linemon.config import Config
from linemon.errors import AskedWrongly, LinemonError

if TYPE_CHECKING:
    from linemon.parts.tasks.plan import Task
    from linemon.sections import Span
    from linemon.store.rows import Rows

HELP = "analyses: when they ran and will; run one now; who feeds whom"
EXAMPLE = "linemon tasks; linemon tasks run normal --source web1 --dry; linemon tasks graph"
READS_ONLY = True
HEAD = ("task", "when", "next", "last", "took", "rows in", "out", "runs", "missed", "skipped", "failed", "error")
DO = {
    "list": ("", "all of linemon.toml, and what became of them"),
    "run": ("NAME", "one now; --dry prints what it would write"),
    "reset": ("NAME", "have an online task forget what it has learnt"),
    "graph": ("", "who feeds whom, as Mermaid has it"),
}


def options(parser: argparse.ArgumentParser) -> None:
    lines = [f"  {f'{name} {args}'.strip():12} {what}" for name, (args, what) in DO.items()]
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = "\n".join([f"{parser.description}", "", *lines])
    parser.add_argument("do", metavar="WHAT", nargs="?", default="list", help=f"{', '.join(DO)}; default: list")
    parser.add_argument("name", metavar="NAME", nargs="?", help="of a task")
    parser.add_argument("--source", metavar="S", help="of run: this one only")
    parser.add_argument("--since", metavar="14d", help="of run: how far back it reads, in place of `over`")
    parser.add_argument("--dry", action="store_true", help="of run: print as CSV what it would write")
    parser.add_argument("--from", dest="file", metavar="FILE", help="with --dry: of rows that `linemon export` wrote")
    parser.add_argument("--dot", action="store_true", help="of graph: for Graphviz")
    parser.add_argument("--json", action="store_true", help="of list: for scripts")


def run(config: Config, options: argparse.Namespace) -> int:
    """Do it."""
    if options.do not in DO:
        raise AskedWrongly(f"there is no {options.do!r}; there are: {', '.join(DO)}")
    if bool(DO[options.do][0]) != (options.name is not None):
        raise AskedWrongly(f"expected: linemon tasks {options.do} {DO[options.do][0]}".rstrip())
    from linemon.parts.tasks.plan import tasks

    found = {task.name: task for task in tasks(config)}
    if options.name is not None and options.name not in found:
        raise AskedWrongly(f"there is no task {options.name!r}; there are: {', '.join(found) or 'none'}")
    if options.do == "list":
        return listed(config, list(found.values()), options)
    if options.do == "graph":
        return drawn(config, list(found.values()), options)
    from linemon.sections import Span
    from linemon.store.asking import ask

    try:
        over = Span.parse(options.since) if options.since else None
    except ValueError:
        raise AskedWrongly(f"--since {options.since}: expected a span such as 14d") from None
    if options.file and not options.dry:
        raise AskedWrongly("--from goes with --dry")
    if options.do == "run" and options.dry:
        return dry(config, found[options.name], over, options)
    request = {"do": f"tasks {options.do}", "name": options.name, "source": options.source, "over": over}
    print(ask(config.store.folder, request, wait_s=None))
    return 0


def listed(config: Config, found: list[Task], options: argparse.Namespace) -> int:
    """What their file says of them; it is there whether they run or not."""
    from linemon import locks
    from linemon.parts.tasks import keeping
    from linemon.parts.tasks.turns import Record

    path = keeping.folder(config)
    said: dict[str, Any] = {}
    for file in (path / keeping.STATE, config.store.folder / keeping.NOW):
        with suppress(FileNotFoundError):
            said = keeping.read(file)["tasks"]
    lines = [shown(task, Record.load(said.get(task.name, {}))) for task in found]
    if found and not locks.is_taken(path / "lock"):
        print("linemon: tasks are not running. `linemon status` says more", file=sys.stderr)
    if options.json:
        print_json(lines)
    elif not found:
        print("linemon.toml has no [[task]]")
    else:
        table(HEAD, map(line, lines))
    return 0


def shown(task: Task, record: Any) -> dict[str, Any]:
    """A task as `--json` has it."""
    from linemon.when import iso_ns

    of = {name: getattr(record, name) for name in ("rows_in", "rows_out", "runs", "missed", "skipped", "failed")}
    times = {name: None if at is None else iso_ns(at) for name, at in (("next", record.next), ("last", record.last))}
    said = {"name": task.name, "run": task.run, "when": task.when, **times, "took_s": record.took_s}
    more = {name: getattr(record, name) for name in ("last_error", "behind_s", "abandoned")}
    return {**said, **of, **more}


def line(each: dict[str, Any]) -> list[object]:
    """A line of the table."""
    times = [each[name] and each[name][:19] + "Z" for name in ("next", "last")]
    took = None if each["took_s"] is None else span(each["took_s"])
    counts = [each[name] for name in ("rows_in", "rows_out", "runs", "missed", "skipped", "failed")]
    return [each["name"], each["when"], *times, took, *counts, each["last_error"] or ""]


def dry(config: Config, task: Task, over: Span | None, options: argparse.Namespace) -> int:
    """Run it in a process as the part does, and print what it gives."""
    import asyncio
    import tempfile
    from dataclasses import replace

    from linemon.parts.tasks.child import Job
    from linemon.parts.tasks.part import wanted
    from linemon.parts.tasks.plan import folder_of
    from linemon.parts.tasks.runner import outcomes
    from linemon.store.formats import FORMATS, table_of, table_of_all

    found: list[Rows] = []
    failed: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        out, end = Path(folder), time.time_ns()
        home = folder_of(config)
        if options.file:
            config, end = of_file(config, Path(options.file), out / "store", options.source or "")
        sources = tuple(wanted(task, store_of(config), options.source))
        plain = replace(task, schedule=None, over=over.ns if over else task.over)
        job = Job(config, home, plain, sources, "dry", end, out, {})

        async def work() -> None:
            async for each in outcomes(job):
                found.extend(map(rows_of, each.get("files", ())))
                if "failed" in each:
                    failed.append(each.get("traceback") or f"{each['error']}\n")

        asyncio.run(work())
    if found:
        FORMATS["csv"](iter([table_of(found[0]) if len(found) == 1 else table_of_all(found)]), sys.stdout.buffer)
        sys.stdout.flush()
    for text in failed[:1]:
        print(text, end="", file=sys.stderr)
    if not found and not failed:
        print(f"linemon: {task.name} gives nothing that is later than what it has written", file=sys.stderr)
    if failed:
        raise LinemonError(f"{task.name} failed {len(failed)} times")
    return 0


def of_file(config: Config, path: Path, folder: Path, source: str) -> tuple[Config, int]:
    """A store of a file's rows, in a folder of its own, and up to when (ns) they reach. LinemonError."""
    from contextlib import closing
    from dataclasses import replace

    import numpy as np

    from linemon.store.files import read
    from linemon.store.writer import StoreWriter

    end, pieces = 0, list(read(path, source))
    points = sum(map(len, pieces))
    if not points:
        raise LinemonError(f"{path} has no rows")
    with closing(StoreWriter(folder, points, config.store.max_sources, config.store.max_columns)) as writer:
        for rows in pieces:
            ring = writer.bind(rows.source, rows.columns, rows.units)
            cells = np.column_stack([rows.time.view(np.int64), rows.values.copy().view(np.int64)])
            ring.arena.append_to(ring.entry.slot, cells)
            end = max(end, int(cells[:, 0].max()) + 1)
    return replace(config, store=replace(config.store, path=str(folder))), end


def rows_of(file: str) -> Rows:
    """What a run has laid in a file."""
    import numpy as np

    from linemon.parts.tasks.giving import split
    from linemon.store.rows import Rows

    head, said, *lines = Path(file).read_text().splitlines()
    names = [split(f"{each}:" if isinstance(each, str) else ":".join(each)) for each in json.loads(said[9:])[1:]]
    cells = [each.split(" ") for each in lines]
    time = np.array([int(each[0]) for each in cells], np.int64).view("datetime64[ns]")
    values = np.array([list(map(float, each[1:])) for each in cells])
    columns, units = ((name for name, _ in names), (unit for _, unit in names))
    return Rows(json.loads(head)["source"], tuple(columns), tuple(units), time, values, 0)


def drawn(config: Config, found: list[Task], options: argparse.Namespace) -> int:
    """Sources, tasks and alarms, and what goes from one to the other."""
    numbers: dict[str, int] = {}

    def node(text: str) -> str:
        return f"n{numbers.setdefault(text, len(numbers))}"

    edges = [f"{node(a)} {'->' if options.dot else '-->'} {node(b)}" for a, b in arrows(config, found)]
    escaped = {text: text.replace('"', "'") for text in numbers}
    if options.dot:
        nodes = [f'n{number} [label="{escaped[text]}"]' for text, number in numbers.items()]
        print("digraph tasks {", *(f"  {each}" for each in ["rankdir=LR", *nodes, *edges]), "}", sep="\n")
    else:
        nodes = [f'n{number}["{escaped[text]}"]' for text, number in numbers.items()]
        print("graph LR", *(f"  {each}" for each in [*nodes, *edges]), sep="\n")
    return 0


def arrows(config: Config, found: list[Task]) -> Iterator[tuple[str, str]]:
    """From what is read to what reads it, as texts."""
    from linemon.parts.alarms.rules import rules
    from linemon.parts.tasks.plan import feeds

    for task in found:
        others = list(feeds(task, found))
        for pattern in task.inputs:
            if not (others and "~" in pattern):
                yield pattern, f"{task.name}, {task.when}"
        for other in others:
            yield f"{other}, {next(each.when for each in found if each.name == other)}", f"{task.name}, {task.when}"
    for rule in rules(config) if config.alarms.enabled else ():
        for task in found:
            if any((node.column or "").startswith(f"~{task.name}:") for node in rule.windows):
                yield f"{task.name}, {task.when}", f"alarm {rule.name}"
