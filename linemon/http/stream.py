"""Rows as they come, as server-sent events: one event per source and turn, its id holds all cursors.

The ring is the queue: a reader that is slow gets what the ring still holds, and `missed` says what it does not.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import Protocol

from linemon.errors import StoreError
from linemon.http.answers import BadQuestion, Cursor, rows
from linemon.store.reader import Store

TURN_S = 0.1
MAX_SOURCES = 100
MAX_ROWS = 1000  # an event
ALIVE_S = 15.0  # without an event, a comment shows that we are still here


class Reader(Protocol):
    """Where events go."""

    def start_stream(self, content_type: str) -> None: ...

    async def write(self, data: bytes) -> None: ...

    @property
    def is_gone(self) -> bool: ...


def start(store: Store, sources: list[str], last_id: str) -> dict[str, Cursor]:
    """Where to begin with each source: after the cursors of `last_id`, or with what comes from now on."""
    if not 1 <= len(sources) <= MAX_SOURCES:
        raise BadQuestion("source", f"1 to {MAX_SOURCES} parameters called source are expected, not {len(sources)}")
    said = [cursor for each in last_id.split(",") if (cursor := Cursor.parse(each))]
    if len(said) == len(sources):
        return dict(zip(sources, said, strict=True))
    return {name: Cursor(store[name].rows, store[name].born) for name in sources}


async def follow(store: Store, cursors: dict[str, Cursor], reader: Reader) -> None:
    """Send what comes until the reader goes."""
    reader.start_stream("text/event-stream")
    heard = 0.0
    while not reader.is_gone:
        for name in cursors:
            while (event := next_event(store, cursors, name)) is not None:
                await reader.write(event)
                heard = time.monotonic()
        if time.monotonic() - heard > ALIVE_S:
            await reader.write(b":\n\n")
            heard = time.monotonic()
        await asyncio.sleep(TURN_S)


def next_event(store: Store, cursors: dict[str, Cursor], name: str) -> bytes | None:
    """The next rows of a source as an event, None if there are none."""
    try:
        found = store[name].since(*cursors[name])
    except (StoreError, OSError):  # forgotten, or being made anew: it may come again
        return None
    if not len(found):
        return None
    left = max(0, len(found) - MAX_ROWS)
    first = replace(found, time=found.time[:MAX_ROWS], values=found.values[:MAX_ROWS], cursor=found.cursor - left)
    cursors[name] = Cursor(first.cursor, first.born)
    ids = ",".join(map(str, cursors.values())).encode()
    return b"id: " + ids + b"\nevent: rows\ndata: " + b"".join(rows(first)) + b"\n\n"
