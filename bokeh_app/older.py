"""What an archive has from before what the store holds: asked in a thread, so that a page waits for nothing.

A page draws what is known, and is filled anew once there is an answer. While the archive is away it is asked again
now and then, for whoever is looking.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from linemon import Archive, Source, Window
from linemon.errors import ConfigError, LinemonError, UnknownSource

from .packing import Points, from_window, joined

log = logging.getLogger(__name__)

PATIENCE_S: Final = 20.0  # for an answer
KEEP_S: Final = 60.0  # an answer is good for
AGAIN_S: Final = 10.0  # from one question of an archive that is away to the next
MOST: Final = 16  # answers that are kept, and questions that wait: the newest


class Older:
    """The archive, for all pages of a server process. To be asked in its loop."""

    def __init__(self, url: str, has_pages: Callable[[], bool], answered: Callable[[], None]) -> None:
        """`answered` is called where `version` is another one: there is something new. ConfigError."""
        try:
            self._archive = Archive(url, patience_s=PATIENCE_S)
        except ValueError as error:
            raise ConfigError(f"[dashboard] archive: {error}") from None
        self._has_pages, self._answered = has_pages, answered
        self._answers: dict[object, tuple[float, Any]] = {}
        self._questions: dict[object, Callable[[], Any]] = {}  # the newest last
        self._task: asyncio.Task[None] | None = None
        self.version = 0
        self.trouble = ""

    def oldest(self, source: str) -> int | None:
        """The earliest time (ns) of a source; None where there is none, or it is not known yet."""

        def ask() -> int | None:
            oldest = self._archive[source].oldest
            return None if oldest is None else int(oldest.astype(np.int64))

        found: int | None = self._ask(("oldest", source), ask)
        return found

    def window(self, source: str, columns: Sequence[str], begin: int, end: int, points: int) -> Window | None:
        """These columns in [begin, end) ns; None where there is nothing, or it is not known yet."""

        def ask() -> Window:
            first, last = (np.datetime64(at, "ns") for at in (begin, end))
            return picked(self._archive[source].window(first, last, points), columns)

        found: Window | None = self._ask((source, tuple(columns), begin, end, points), ask)
        return found

    def _ask(self, key: object, question: Callable[[], Any]) -> Any:
        until, answer = self._answers.get(key, (0.0, None))
        if until < time.monotonic():
            self._questions.pop(key, None)
            self._questions[key] = question
            for old in list(self._questions)[:-MOST]:
                del self._questions[old]
            if self._task is None:
                self._task = asyncio.get_running_loop().create_task(self._work())
        return answer  # an old one is better than none

    async def _work(self) -> None:
        """Answer what is asked, the newest first."""
        try:
            while self._questions:
                key, question = list(self._questions.items())[-1]
                try:
                    answer = await asyncio.to_thread(question)
                except UnknownSource:
                    answer = None
                except (LinemonError, OSError) as error:
                    self._tell(str(error))
                    await asyncio.sleep(AGAIN_S)
                    if not self._has_pages():
                        self._questions.clear()
                    continue
                self._questions.pop(key, None)
                self._answers.pop(key, None)
                self._answers[key] = time.monotonic() + KEEP_S, answer
                for old in list(self._answers)[:-MOST]:
                    del self._answers[old]
                self.version += 1
                self._tell("")
                self._answered()
        except Exception:  # it would be kept until the task is freed
            log.exception("a question to the archive failed")
        finally:
            self._task = None

    def _tell(self, trouble: str) -> None:
        if trouble == self.trouble:
            return
        if trouble:
            log.warning("%s", trouble)
        self.trouble = trouble
        self.version += 1
        self._answered()


def oldest_of(older: Older | None, source: Source) -> int | None:
    """The earliest time (ns) that the store holds of a source, or the archive; None where the store holds nothing."""
    oldest = source.oldest
    if oldest is None:
        return None
    held, archived = int(oldest.astype(np.int64)), older.oldest(source.name) if older else None
    return held if archived is None else min(held, archived)


def with_older(
    older: Older | None, source: Source, points: Points, drawn: list[int], begin: int, end: int, bucket: int
) -> Points:
    """Points of [begin, end) ns with what the archive has from before what the store holds, as far as it is known.

    In buckets of about this length (ns).
    """
    oldest = source.oldest
    if older is None or oldest is None or begin >= (held := int(oldest.astype(np.int64))):
        return points
    first, last = begin // bucket * bucket, min(end, held)
    columns, count = [source.columns[column] for column in drawn], -(-(last - first) // bucket)
    window = older.window(source.name, columns, first, last, count)
    return joined([from_window(window, list(range(len(drawn))), points.bucket), points]) if window else points


def picked(window: Window, columns: Sequence[str]) -> Window:
    """These columns of a window, in this order; those that it lacks are missing."""
    places = [window.columns.index(column) if column in window.columns else -1 for column in columns]
    none = np.full((len(window), 1), np.nan)
    low, high, mean = (np.hstack([each, none])[:, places] for each in (window.min, window.max, window.mean))
    count = np.hstack([window.count, np.zeros((len(window), 1), np.int64)])[:, places]
    return replace(
        window, columns=tuple(columns), units=("",) * len(columns), min=low, max=high, mean=mean, count=count
    )
