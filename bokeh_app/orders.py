"""What a page has done in its place: it writes nothing itself, so others are asked to."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from linemon.config import Config
from linemon.errors import LinemonError
from linemon.patterns import exactly
from linemon.store.asking import ask
from linemon.store.marks import Mark
from linemon.store.status import COLLECT_SOCKET

MARK_S = 20.0  # until a mark must be set


async def carry_out(config: Config, said: dict[str, Any]) -> str:
    """Do what a page says, `{"do": …}`; why that could not be, or nothing."""
    if not config.dashboard.listen.is_loopback and not config.dashboard.password:
        return "this page is open to everybody: it sets nothing without [dashboard] password"
    try:
        return await ORDERS[said["do"]](config, said)
    except (KeyError, TypeError, ValueError, OSError, TimeoutError) as error:
        return f"that could not be done: {error}"


async def set_mark(config: Config, said: dict[str, Any]) -> str:
    """`{"text", "time": epoch ms, "source"}`, by `linemon mark`, which knows the collector's port, token and TLS."""
    mark = Mark.of(int(float(said["time"]) * 1e6), str(said["text"]))
    arguments = [f"--at={mark.fields['time']}", *([f"--source={said['source']}"] if said["source"] else [])]
    if config.file:
        arguments.append(f"--config={config.file}")
    command = [sys.executable, "-m", "linemon", "mark", *arguments, "--", mark.text]
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(MARK_S):
            _, complaint = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        raise
    return complaint.decode(errors="replace").removeprefix("linemon: ").strip() if process.returncode else ""


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


ORDERS = {
    "mark": set_mark,
    **dict.fromkeys(("ack", "silence", "unsilence"), tell_work),
    **dict.fromkeys(("set", "block", "unblock"), tell_collector),
}
