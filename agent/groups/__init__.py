"""Columns that cost more or are many: one file each, loaded only where it is asked for.

A file of this folder is a group of that name. It has ``HELP`` (what its columns are, in one line), ``SLOW`` (asked
every ten seconds, in a thread, instead of with every row) and a class ``Probe(ps, log, system)``: psutil, a function
that logs a line, the folder that holds proc and sys. Called with the monotonic time in seconds, it gives what it could
read as {column name: value}; what it leaves out is missing, and what it raises costs it alone. A column's end says
its unit (agent/sampler.py).
"""

from __future__ import annotations

import importlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def names() -> tuple[str, ...]:
    """The groups there are, also in a zip."""
    import pkgutil

    return tuple(sorted(found.name for found in pkgutil.iter_modules(__path__)))


def group(name: str) -> Any:
    """The module of a group."""
    return importlib.import_module(f"{__name__}.{name}")
