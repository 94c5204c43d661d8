"""What an archive has from before what the store holds: asked in a thread, so that a page waits for nothing.

A page draws what is known, and is filled anew once there is an answer. While the archive is away it is asked again
now and then, as long as somebody looks.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet

import numpy as np

from linemon import Archive, Window
from linemon.errors import ConfigError, LinemonError, UnknownSource

from .packing import Points, from_window, joined

if TYPE_CHECKING:
    from .streams import Stream

log = logging.getLogger(__name__)

PATIENCE_S: Final = 20.0  # for an answer
KEEP_S: Final = 60.0  # an answer is good for
AGAIN_S: Final = 10.0  # from one question of an archive that is away to the next
MOST: Final = 16  # answers that are kept, and questions that wait: the newest


class Older:
    """The archive, for all pages of a server process; without one there is nothing older. To be asked in its loop."""

    def __init__(self, url: str) -> None:
        """ConfigError where it is no address."""
        try:
            self._archive = Archive(url, patience_s=PATIENCE_S) if url else None
        except ValueError as error:
            raise ConfigError(f"[dashboard] archive: {error}") from None
        self._answers: dict[object, tuple[float, Any]] = {}
        self._questions: dict[object, tuple[Callable[[], Any], WeakSet[Stream]]] = {}  # and whose; the newest last
        self._task: asyncio.Task[None] | None = None
        self.version = 0  # another one with each answer
        self._trouble = ""

    @property
    def said(self) -> str:
        """A sentence on why something is not shown, if so."""
        return f"What is older is not shown. {self._trouble}" if self._trouble else ""

    def oldest(self, stream: Stream) -> int | None:
        """The earliest time (ns) that the store holds of a source, or the archive; None where the store has nothing."""
        held = stream.source.oldest if stream.source else None
        if held is None:
            return None
        name, first = stream.name, int(held.astype(np.int64))

        def ask(archive: Archive) -> int:
            oldest = archive[name].oldest
            return first if oldest is None else int(oldest.astype(np.int64))

        return min(first, self._ask(("oldest", name), ask, stream) or first)

    def before(self, points: Points, stream: Stream, drawn: Sequence[int], begin: int, end: int, bucket: int) -> Points:
        """Points of [begin, end) ns with those from before what the store holds, as far as they are known, before them.

        In buckets of about this length (ns).
        """
        held = stream.source.oldest if stream.source else None
        if self._archive is None or held is None or begin >= (last := int(held.astype(np.int64))):
            return points
        name, columns = stream.name, tuple(stream.shape[0][column] for column in drawn)
        first, last = begin // bucket * bucket, min(end, last)

        def ask(archive: Archive) -> Window:
            span = np.datetime64(first, "ns"), np.datetime64(last, "ns")
            return picked(archive[name].window(*span, -(-(last - first) // bucket)), columns)

        window: Window | None = self._ask((name, columns, first, last, bucket), ask, stream)
        if window is None:
            return points
        return joined([from_window(window, list(range(len(columns))), points.bucket), points])

    def _ask(self, key: object, question: Callable[[Archive], Any], stream: Stream) -> Any:
        """The answer, or None while there is none; `stream` is renewed once there is."""
        archive = self._archive
        if archive is None:
            return None
        until, answer = self._answers.get(key, (0.0, None))
        if until < time.monotonic():
            _, streams = self._questions.pop(key, (None, WeakSet()))
            streams.add(stream)
            self._questions[key] = (lambda: question(archive)), streams
            for old in list(self._questions)[:-MOST]:
                del self._questions[old]
            if self._task is None:
                self._task = asyncio.get_running_loop().create_task(self._work())
        return answer  # an old one is better than none

    async def _work(self) -> None:
        """Answer what is asked, the newest first."""
        try:
            while self._questions:
                key, (question, streams) = list(self._questions.items())[-1]
                try:
                    answer = await asyncio.to_thread(question) if streams else None
                except UnknownSource:
                    answer = None
                except (LinemonError, OSError) as error:
                    self._fails(str(error))
                    await asyncio.sleep(AGAIN_S)
                    continue
                self._trouble = ""
                self.version += 1
                self._questions.pop(key, None)
                self._answers.pop(key, None)
                self._answers[key] = time.monotonic() + KEEP_S, answer
                for old in list(self._answers)[:-MOST]:
                    del self._answers[old]
                for stream in list(streams):
                    stream.renew()
        except Exception:  # it would be kept until the task is freed
            log.exception("a question to the archive failed")
        finally:
            self._task = None

    def _fails(self, trouble: str) -> None:
        if trouble != self._trouble:
            log.warning("%s", trouble)
            self._trouble = trouble
            for stream in {stream for _, streams in self._questions.values() for stream in streams}:
                stream.renew()


def picked(window: Window, columns: Sequence[str]) -> Window:
    """These columns of a window, in this order; those that it lacks are missing."""
    places = [window.columns.index(column) if column in window.columns else -1 for column in columns]
    none = np.full((len(window), 1), np.nan)
    low, high, mean = (np.hstack([each, none])[:, places] for each in (window.min, window.max, window.mean))
    count = np.hstack([window.count, np.zeros((len(window), 1), np.int64)])[:, places]
    return replace(
        window, columns=tuple(columns), units=("",) * len(columns), min=low, max=high, mean=mean, count=count
    )
