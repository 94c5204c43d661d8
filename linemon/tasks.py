"""What a file of tasks imports: `task`, and the analyses that come with linemon, each a function of rows or a window.

from linemon.tasks import forecast
times, values = forecast(linemon.open()["web1"].window("2026-11-01", "2026-11-15", points=336))

docs/ANALYSIS.md says how to write a task.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, overload

from linemon.analysis.changed import changed
from linemon.analysis.forecast import forecast
from linemon.analysis.groups import groups
from linemon.analysis.normal import normal
from linemon.analysis.spectrum import spectrum
from linemon.analysis.strange import strange
from linemon.sections import Span

__all__ = ["Kind", "changed", "forecast", "groups", "kind", "normal", "spectrum", "strange", "task"]

Function = TypeVar("Function", bound=Callable[..., Any])
NOTED = "_linemon_task"


@dataclass(frozen=True)
class Kind:
    """How a function wants to be called.

    `online`: with the new rows, as they come, and a `state`, a dict that is kept. Else with what there is of a span of
    time: rows, or a window of buckets of `window`; of one source, or `together` of all, as {source: rows}.
    """

    online: bool = False
    window: Span | None = None
    together: bool = False


@overload
def task(function: Function) -> Function: ...
@overload
def task(
    *, online: bool = False, window: str | float | None = None, together: bool = False
) -> Callable[[Function], Function]: ...
def task(
    function: Function | None = None,
    *,
    online: bool = False,
    window: str | float | None = None,
    together: bool = False,
) -> Any:
    """Note on a function how it is to be called; it stays as it is. ValueError where that cannot be."""
    if online and (window is not None or together):
        raise ValueError("an online task is given the new rows of one source: no window, not together")
    said = Kind(online, None if window is None else Span.parse(window), together)

    def note(function: Function) -> Function:
        setattr(function, NOTED, said)
        return function

    return note if function is None else note(function)


def kind(function: Callable[..., Any]) -> Kind:
    """How it is to be called; one without a note is given the rows of a source."""
    found: Kind = getattr(function, NOTED, Kind())
    return found


task(online=True)(strange)
task(window="15m")(normal)
task(window="1h")(forecast)
task(window="1m")(spectrum)
task(window="1m", together=True)(groups)
