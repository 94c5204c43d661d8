"""What a page has done in its place: it writes nothing and computes nothing itself, so others are asked to."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import numpy as np

from linemon.config import Config
from linemon.errors import LinemonError
from linemon.patterns import exactly
from linemon.store.asking import ask
from linemon.store.marks import Mark
from linemon.store.status import COLLECT_SOCKET

from . import board_changes
from .kept import Kept, Key, Refused
from .panels import unit_of

MARK_S = 20.0  # until a mark must be set
CHANGED_S = 30.0  # until what changed must be found
CHANGED_ROWS = 20
EXPLAIN_S = 20.0  # until it must be known how lines would be read
MAX_SOURCES = 100  # named at once

one_at_a_time = asyncio.Semaphore(1)  # of what keeps a processor busy, for all pages


async def carry_out(config: Config, said: dict[str, Any]) -> dict[str, Any]:
    """Do what a page says, `{"do": …}`; its answer, in which `error` says why that could not be."""
    try:
        if said["do"] == "changed":
            return await what_changed(config, said)
        if said["do"] == "explain":
            return await explain(config, said)
        if not config.dashboard.listen.is_loopback and not config.dashboard.password:
            return {"error": "this page is open to everybody: it sets nothing without [dashboard] password"}
        if does := KEPT.get(said["do"]):
            return await asyncio.to_thread(does, config, said)
        return {"error": await ORDERS[said["do"]](config, said)}
    except TimeoutError:
        return {"error": "it took too long, and was stopped"}
    except (KeyError, TypeError, ValueError, OverflowError, OSError) as error:
        return {"error": f"that could not be done: {error}"}


async def set_mark(config: Config, said: dict[str, Any]) -> str:
    """`{"text", "time": epoch ms, "source"}`, by `linemon mark`, which knows the collector's port, token and TLS."""
    mark = Mark.of(int(float(said["time"]) * 1e6), str(said["text"]))
    of = [f"--source={said['source']}"] if said["source"] else []
    arguments = [f"--at={mark.fields['time']}", *of, *of_file(config)]
    async with asyncio.timeout(MARK_S):
        return (await linemon("mark", *arguments, "--", mark.text))[1]


async def what_changed(config: Config, said: dict[str, Any]) -> dict[str, Any]:
    """`{"from", "to": epoch ms, "sources": names, or null for all}`: `found`, as `linemon changed --json` says it,
    with what each column is `called` on the page.
    """
    names = said["sources"]
    patterns = ["*"] if names is None else [exactly(str(name)) for name in names[:MAX_SOURCES]]
    span = [f"--{side}={np.datetime64(int(said[side]), 'ms')}Z" for side in ("from", "to")]
    options = [*span, "--json", f"--top={CHANGED_ROWS}", *of_file(config)]
    async with asyncio.timeout(CHANGED_S), one_at_a_time:
        found, error = await linemon("changed", *options, "--", *patterns)
    rows, kept = [] if error else json.loads(found), Kept(config.dashboard_state)
    kept.refresh()
    for row in rows:
        [label], [unit] = kept.state.named(row["source"], [row["column"]], [row["unit"]])
        row |= {"called": label or row["column"], "unit": unit_of(row["column"], unit)}
    return {"error": error, "found": rows}


async def explain(config: Config, said: dict[str, Any]) -> dict[str, Any]:
    """How `lines` would be read: `found`, as `linemon explain --json` says it."""
    async with asyncio.timeout(EXPLAIN_S), one_at_a_time:
        found, error = await linemon("explain", "--json", *of_file(config), said=str(said["lines"]))
    return {"error": error, "found": [] if error else json.loads(found)}


def of_file(config: Config) -> list[str]:
    """The option that names the settings of this server."""
    return [f"--config={config.file}"] if config.file else []


async def linemon(*arguments: str, said: str = "") -> tuple[str, str]:
    """What a command prints, and why it failed, or nothing; it is killed where nobody waits for it any more.

    `said`: what it is told on its standard input.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "linemon", *arguments,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        printed, complaint = await process.communicate(said.encode())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if not process.returncode:
        return printed.decode(), ""
    return "", complaint.decode(errors="replace").removeprefix("linemon: ").strip() or "it failed"


async def tell_work(config: Config, said: dict[str, Any]) -> str:
    """`ack`, `silence`, `unsilence`: by the socket of `linemon work`."""
    request = {name: said[name] for name in ("do", "n", "pattern", "for") if name in said}
    try:
        await asyncio.to_thread(ask, config.store.folder, request | {"by": "page"})
    except LinemonError as error:
        return str(error)
    return ""


async def tell_collector(config: Config, said: dict[str, Any]) -> str:
    """`set`, `block`, `unblock` of a device: by the socket of the collector."""
    request: dict[str, Any] = {name: said[name] for name in ("do", "settings") if name in said}
    request["name"] = exactly(str(said["name"]))
    try:
        await asyncio.to_thread(ask, config.store.folder, request, COLLECT_SOCKET)
    except LinemonError as error:
        return str(error)
    return ""


async def tell_of_source(config: Config, said: dict[str, Any]) -> str:
    """`rename` a `source` `to` another name, `forget` it: by the socket of the collector."""
    request: dict[str, Any] = {"do": "forget_sources", "sources": [str(said["source"])]}
    if said["do"] == "rename":
        request = {"do": "rename_source", "source": str(said["source"]), "to": str(said["to"])}
    try:
        await asyncio.to_thread(ask, config.store.folder, request, COLLECT_SOCKET)
    except LinemonError as error:
        return str(error)
    return ""


def keep(config: Config, said: dict[str, Any]) -> dict[str, Any]:
    """`keep`: have a `source` be `flag`, or not, as `on` says; `undo` a `change`: by the file of what is kept.

    `change` is the number of what was done, `kept` what the source is now.
    """
    kept, answer = Kept(config.dashboard_state), dict[str, Any]()
    try:
        if said["do"] == "undo":
            return {"change": kept.undo(int(said["change"]))}
        key, on = ("sources", str(said["source"]), str(said["flag"])), bool(said["on"])
        answer["change"] = kept.change({key: on or None}, {key: None if on else True})
    except Refused as error:
        answer["error"] = str(error)
    return answer | {"kept": kept.state.source(str(said.get("source")))}


def keep_column(config: Config, said: dict[str, Any]) -> dict[str, Any]:
    """`column`: what is kept of a `column` of a `source`; with `now` have it be so in place of `was`.

    `of` is `own`, or `all` that have it; `kept` has a table for each, `change` is the number of what was done.
    """
    kept, answer = Kept(config.dashboard_state), dict[str, Any]()
    patterns, column = {"own": exactly(str(said["source"])), "all": "*"}, str(said["column"])
    try:
        kept.refresh()
        if "now" in said:
            key: Key = ("columns", patterns[said["of"]], column)
            now, was = ({(*key, name): value for name, value in said[each].items()} for each in ("now", "was"))
            answer["change"] = kept.change(now, was)
    except Refused as error:
        answer["error"] = str(error)
    found = {of: kept.state.of_column(pattern, column) for of, pattern in patterns.items()}
    return answer | {"kept": found}


KEPT = {"keep": keep, "undo": keep, "column": keep_column, "board": board_changes.keep}
ORDERS = {
    "mark": set_mark,
    **dict.fromkeys(("ack", "silence", "unsilence"), tell_work),
    **dict.fromkeys(("set", "block", "unblock"), tell_collector),
    **dict.fromkeys(("rename", "forget"), tell_of_source),
}
