"""What tasks say of a source: sources SOURCE~TASK, which are shown with theirs and listed nowhere by themselves.

What a task gives is known by its columns, whatever its name is: `COLUMN.expected .low .high`, `.score`, `.group`.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

from linemon.patterns import OUTPUT, is_output

from .pump import Pump

LOOK_S = 1.0


def task_of(name: str) -> str:
    """The task whose output a source is by its name, or nothing."""
    source, _, task = name.rpartition(OUTPUT)
    return task if source else ""


def outputs(pump: Pump) -> dict[str, list[str]]:
    """The names of the outputs of each source that has some."""
    return pump.shared("outputs", lambda: _by_source(pump.names()), LOOK_S)


def listed(names: tuple[str, ...]) -> tuple[str, ...]:
    """The names without those of outputs; one whose source there is not is a source."""
    of_tasks = {name for found in _by_source(names).values() for name in found}
    return tuple(name for name in names if name not in of_tasks) if of_tasks else names


def with_parts(columns: Sequence[str], *parts: str) -> dict[str, list[int]]:
    """The columns of a source of which an output says all these, and the numbers of its columns that do."""
    at = {name: number for number, name in enumerate(columns)}
    names = (name.removesuffix(f".{parts[0]}") for name in columns if name.endswith(f".{parts[0]}"))
    return {
        name: [at[f"{name}.{part}"] for part in parts]
        for name in names
        if all(f"{name}.{part}" in at for part in parts)
    }


@functools.lru_cache(maxsize=1)  # as the names of the store change seldom
def _by_source(names: tuple[str, ...]) -> dict[str, list[str]]:
    some = [name for name in names if is_output(name)]
    known, found = frozenset(names) if some else (), dict[str, list[str]]()
    for name in sorted(some):
        source = name.rpartition(OUTPUT)[0]
        if source in known:
            found.setdefault(source, []).append(name)
    return found
