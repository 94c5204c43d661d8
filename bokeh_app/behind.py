"""What lies behind the lines of a page: what tasks expected of them, and the same span of some time before."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

import linemon
from linemon.errors import LinemonError
from linemon.store.liveness import RECENT
from linemon.store.ring import Floats

from .outputs import outputs, task_of, with_parts
from .packing import Points, bucket_for, pack_points, room_for
from .page import as_text
from .pump import Pump
from .streams import LAST_NS, Stream, between, ns_of

STEP_S = 60.0  # how often it is asked how far the rows of an output are apart
EXPECTED = ("expected", "low", "high")


class Behind:
    """For one page; `but` are the numbers of its columns that have nothing behind them, `shift` ns before, 0 = none."""

    def __init__(self, pump: Pump, streams: Sequence[Stream], shift: int, but: Collection[int]) -> None:
        self._pump, self._streams, self._shift, self._but = pump, streams, shift, but
        self._made_of: list[tuple[str, int]] = []
        self._until: list[int] = []  # the newest row of each stream (ns) from which on more is needed

    def is_due(self) -> bool:
        """Whether what was sent last is not what belongs there now."""
        is_beyond = (
            stream.source is not None and ns_of(stream.source.newest) > until
            for stream, until in zip(self._streams, self._until, strict=False)
        )
        try:
            return any(is_beyond) or self._made_of != [(name, source.rows) for _, name, source in self._outputs()]
        except (LinemonError, OSError):  # one of them is gone, or the store is being made anew
            return False

    def text(self, window: int, sight: Sequence[float], pixels: int) -> str:
        """JSON: `parts`, each with its name, whether it is of before, and the numbers of the page's columns it is of.

        Of each part `packed` has points as float64 in base64: those of its columns, or their expected, low, high.
        """
        spans = [self._span(stream, window, sight) for stream in self._streams]
        self._until = [until for *_, until in spans]
        found = list(self._outputs())
        self._made_of = [(name, source.rows) for _, name, source in found]
        parts: list[dict[str, Any]] = []
        packed: list[Floats] = []
        for i, name, source in found:
            of = with_parts(source.columns, *EXPECTED)
            mine = {number: of[column] for number, column in self._columns(i) if column in of}
            if mine:
                places = np.array(list(mine.values())).T.ravel().tolist()
                parts.append({"name": task_of(name), "is_before": False, "columns": list(mine)})
                packed.append(self._shared(source, places, *spans[i][:2], pixels, 0))
        for i, stream in enumerate(self._streams if self._shift else ()):
            numbers = [number for number, _ in self._columns(i)]
            if numbers and stream.source:
                first = self._first(i)
                places = [stream.drawn[number - first] for number in numbers]
                parts.append({"name": "", "is_before": True, "columns": numbers})
                packed.append(self._shared(stream.source, places, *spans[i][:2], pixels, self._shift))
        return json.dumps({"parts": parts, "packed": as_text(packed) if packed else ""})

    def _outputs(self) -> Iterator[tuple[int, str, linemon.Source]]:
        """The outputs that expect something, and the number of the stream that they belong to."""
        known = outputs(self._pump)
        for i, stream in enumerate(self._streams):
            for name in known.get(stream.name, ()):
                source = self._pump.source(name)
                if source and any(column.endswith(f".{EXPECTED[0]}") for column in source.columns):
                    yield i, name, source

    def _first(self, i: int) -> int:
        return sum(len(stream.shown) for stream in self._streams[:i])

    def _columns(self, i: int) -> list[tuple[int, str]]:
        """The numbers (of the page) and names of the columns of a stream that something may lie behind."""
        stream, first = self._streams[i], self._first(i)
        names = ((first + at, stream.shape[0][place]) for at, place in enumerate(stream.drawn))
        return [(number, name) for number, name in names if number not in self._but]

    def _span(self, stream: Stream, window: int, sight: Sequence[float]) -> tuple[int, int, int]:
        """From and to (ns) of what is wanted, and the newest row from which on it is not enough."""
        begin, end = stream.held(window, sight)
        if end < LAST_NS or stream.source is None:
            return begin, end, LAST_NS
        newest = min(ns_of(stream.source.newest), self._pump.latest())
        span = max(newest - begin, 1)
        return begin, newest + span // 2, newest + span // 4

    def _shared(
        self, source: linemon.Source, places: list[int], begin: int, end: int, pixels: int, shift: int
    ) -> Floats:
        key = "behind", source.name, tuple(places), begin, end, pixels, shift

        def make() -> Floats:
            points, step = self._read(source, places, begin - shift, end - shift, room_for(len(places), pixels))
            # What is expected of a step is known by its beginning; a line goes through its middle.
            return pack_points(replace(points, times=points.times + (shift or step // 2), longer=()))

        return self._pump.shared(key, make)

    def _read(self, source: linemon.Source, places: list[int], begin: int, end: int, room: int) -> tuple[Points, int]:
        """The means of [begin, end) in ns, and a little more, so that lines come in and go out; the usual step (ns)."""
        step = self._pump.shared(("step", source.name), lambda: usual_step(source), STEP_S)
        begin, end = max(0, begin - 2 * step), max(2 * step, end + 2 * step)
        try:
            points, _ = between(source, begin, end, places, bucket_for(end - begin, room), 2 * room)
        except (LinemonError, OSError):
            return Points.none(len(places)), step
        return replace(points, low=points.mean, high=points.mean), step


def usual_step(source: linemon.Source) -> int:
    """How far (ns) its newest rows are usually apart; 0 where it has none."""
    steps = np.diff(source.last(RECENT).time.astype(np.int64))
    return int(np.median(steps[steps > 0])) if (steps > 0).any() else 0
