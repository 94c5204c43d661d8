"""To an archive in PostgreSQL (docs/ARCHIVE.md), exactly once: the numbers of rows stand there, beside the rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from linemon.archive.link import ArchiveRefuses, Place
from linemon.archive.writer import ArchiveWriter, Batch, CursorMoved, NameTaken
from linemon.errors import LinemonError
from linemon.parts.forward.flow import Block, Flow, held
from linemon.parts.forward.target import DENIED_S, Denied, Later, Target
from linemon.sections import Span

SECRET = ("password",)
KEEP: Final = ("90d", "10y")  # rows, and buckets
LONGEST: Final = Span.parse("200y")  # what nanoseconds can count back


@dataclass(frozen=True)
class Settings:
    user: str = ""
    password: str = ""
    keep: str = ""
    shared: bool = False


class To(Target):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        to, said = self.config, self.settings
        try:
            self._place = Place.parse(to.to, said.user, said.password)
        except ValueError as error:
            raise ValueError(f"to = {to.shown!r}: {error}") from None
        try:
            self._keep = Span.parse(said.keep or KEEP[bool(to.tier)])
            if self._keep > LONGEST:
                raise ValueError(said.keep)
        except ValueError:
            raise ValueError(f"keep = {said.keep!r}: expected a span such as '90d', of 200y at most") from None
        self.config = replace(to, rename=to.rename or "{source}")  # each tier has a table of its own
        self._step = int(Span.parse(to.tier)) if to.tier else 0
        self._writer: ArchiveWriter | None = None
        self._outside = 0

    def place(self, source: str) -> str:
        return f"{self.config.tier}/{self.config.far_name(source)}"

    def check(self) -> list[str]:
        import psycopg  # noqa: F401  # whether it is there

        return self._place.doubts()

    def begin(self, flows: list[Flow], oldest: dict[Flow, int]) -> None:
        if self._writer is None:
            _, store, *_ = flows[0].run.split(":")
            reader, patience = f"{store}/{self.config.title}", float(self.config.timeout)
            self._writer = ArchiveWriter(
                self._place, reader, self._step, self._keep, shared=self.settings.shared, patience_s=patience
            )
        for flow in flows:
            self._ask(self._writer, flow, oldest[flow])

    def _ask(self, writer: ArchiveWriter, flow: Flow, oldest: int) -> None:
        """Go on after the rows that are there, or with the oldest that can be sent."""
        none = np.empty(0, np.int64), np.empty((0, len(flow.columns)))
        empty = Batch(flow.name, flow.columns, flow.units, life(flow), oldest, oldest, *none, is_late(flow))
        try:
            with told():
                there = writer.meet(empty)
        except NameTaken as error:
            flow.deny(str(error), DENIED_S)
            return
        number = oldest
        if there and there[0] == life(flow):
            if there[1] > flow.head:  # this store lost its newest rows, or is a copy of another
                flow.turn = there[1]
            else:
                number = max(there[1], oldest)
                flow.begin(max(there[1], flow.done))
        if number == oldest > flow.done:  # what lies between is overwritten
            flow.stop()
            flow.skip(number)
        flow.begin(number)

    def send(self, blocks: list[Block]) -> None:
        blocks = [block for block in blocks if block.flow.is_begun]
        assert self._writer
        with told():
            outside = self._writer.write([batch_of(block) for block in blocks])
        held(blocks)
        for block, count in zip(blocks, outside, strict=True):
            if count:
                self._outside += count
                self.refuse(block.flow, count, f"rows older than {self._keep.text}, or of more than 3 days ahead")

    def settle(self) -> None:
        if self._writer:
            with told():
                self._writer.tend()

    def close(self) -> None:
        if self._writer:
            self._writer.close()

    def state(self) -> dict[str, Any]:
        return super().state() | ({"outside": self._outside} if self._outside else {})


def batch_of(block: Block) -> Batch:
    rows, flow = block.rows, block.flow
    times = rows.time.view(np.int64)
    return Batch(
        flow.name, rows.columns, rows.units, life(flow), block.first, block.end, times, rows.values, is_late(flow)
    )


def life(flow: Flow) -> int:
    """Names a run of row numbers: another one also where the same life began to count anew."""
    return flow.born + flow.turn


def is_late(flow: Flow) -> bool:
    return flow.run.endswith(":late")


@contextmanager
def told() -> Iterator[None]:
    """What went wrong, as a forward knows it."""
    try:
        yield
    except NameTaken:
        raise
    except ArchiveRefuses as error:
        raise Denied(str(error)) from None
    except CursorMoved as error:
        raise Later(str(error), 1.0) from None
    except LinemonError as error:
        raise Later(str(error)) from None
