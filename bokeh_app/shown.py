"""What a page of charts shows. Each kind of them has a module whose `show` puts this together (`main.KINDS`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from .panels import Panel
from .pump import Pump
from .streams import ChartPage, Stream

Columns = list[tuple[int, str, str, str]]  # the number of its stream, name, unit, and what people call it


def never() -> bool:
    return False


@dataclass
class Shown:
    """A stream per source, the charts, and the columns that are sent; `is_stale` says when to build the page anew."""

    title: str
    streams: list[Stream]
    panels: list[Panel]
    columns: Columns
    is_stale: Callable[[], bool] = never
    heading: str = ""  # where it is not the title
    window: str = ""  # that it opens with, where the address says none
    is_shifted: bool = False  # rows are drawn at other times than their own
    about: dict[str, Any] = field(default_factory=dict)  # what the browser gets to know beside what all pages tell it
    words: dict[str, Any] = field(default_factory=dict)  # what the template does
    page: Callable[..., ChartPage] = ChartPage
    device: Callable[[], str] = str  # see `Page.device`


def until_other(state: Callable[[], object]) -> Callable[[], bool]:
    """Stale as soon as `state` gives something else than now."""
    known = state()
    return lambda: state() != known


def until_called_else(pump: Pump, streams: Sequence[Stream]) -> Callable[[], bool]:
    """Stale as soon as people have other names or units for their columns than now."""

    def names() -> list[object]:
        return [kept.named(stream.name, *stream.shape) for stream in streams]

    kept = pump.kept()
    known, is_other = names(), False

    def is_stale() -> bool:
        nonlocal kept, is_other
        if kept is not pump.kept():  # seldom
            kept = pump.kept()
            is_other = names() != known
        return is_other  # again and again: a page that has just had something done does not heed it at once

    return is_stale
