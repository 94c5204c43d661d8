"""A fleet of devices that registers, and is set all at once; the fleet is one process on the same machine."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

from bench.cases import OURS
from bench.receivers import Linemon
from bench.senders import allow_files
from bench.store import Figure
from linemon.store.asking import ask
from linemon.store.status import COLLECT_SOCKET

FLEET = 1000
BORN = {"interval": 1, "groups": []}
COME_S, SET_S = 10.0, 5.0  # what it may take
LOOK_S = 0.05


async def live(number: int, port: int, came: asyncio.Event) -> None:
    """One device: it registers, sends a row, and applies what is set."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    hello = f"#source host{number}\n#device host {number}\n#is 0 {json.dumps(BORN)}\n#columns a b c\n#seq 1 x\n1 2 3\n"
    writer.write(hello.encode())
    try:
        while line := (await reader.readline()).decode():
            word, _, rest = line.partition(" ")
            if word == "#ack":
                came.set()
            elif word == "#set":
                version, _, wished = rest.partition(" ")
                writer.write(f"#is {version} {json.dumps(BORN | json.loads(wished))}\n".encode())
    finally:
        writer.close()


async def measured(running: Linemon) -> tuple[float, float, float]:
    """Seconds until all have registered, CPU seconds of the collector for that, seconds until all report a setting."""
    store: Path = running._store.path
    cpu_s, began = running.cpu_s(), time.monotonic()
    came = [asyncio.Event() for _ in range(FLEET)]
    fleet = [asyncio.create_task(live(number, running.port, event)) for number, event in enumerate(came)]
    await asyncio.gather(*(event.wait() for event in came))
    came_s, cpu_s = time.monotonic() - began, running.cpu_s() - cpu_s
    began = time.monotonic()
    wish = {"do": "set", "name": "host*", "settings": {"interval": 0.5}}
    await asyncio.to_thread(ask, store, wish, COLLECT_SOCKET)
    while True:
        known = await asyncio.to_thread(ask, store, {"do": "devices"}, COLLECT_SOCKET)
        if all(device["reported"]["interval"] == 0.5 for device in known):
            break
        await asyncio.sleep(LOOK_S)
    set_s = time.monotonic() - began
    for task in fleet:
        task.cancel()
    await asyncio.wait(fleet)
    return came_s, cpu_s, set_s


def figures() -> list[Figure]:
    """Of a thousand; none where this machine allows no so many connections."""
    if not allow_files(2 * FLEET):
        return []
    running = Linemon(OURS)
    try:
        came_s, cpu_s, set_s = asyncio.run(measured(running))
    finally:
        running.stop()
    return [
        Figure(f"{FLEET:,} devices register and send a row", came_s, "s", COME_S),
        Figure("the same, CPU time of the collector a device", 1e3 * cpu_s / FLEET, "ms"),
        Figure("a setting of all of them, until the last has reported it", set_s, "s", SET_S),
    ]
