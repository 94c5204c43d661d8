"""The search: which sources and columns a text names."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from linemon.patterns import is_output
from linemon.store.describe import natural

if TYPE_CHECKING:
    from .pump import Pump

MAX_FOUND = 40


@functools.lru_cache(maxsize=4)  # the names change seldom, and there may be ten thousand
def in_order(names: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Each name and its form to search in, in the order in which people look for them: `web2` before `web10`.

    What tasks say comes after all else.
    """
    return tuple((name, name.casefold()) for name in sorted(names, key=lambda name: (is_output(name), natural(name))))


def matching(names: tuple[str, ...], find: str) -> list[str]:
    """The names that contain all words of a text, in order."""
    words = find.casefold().split()
    return [name for name, folded in in_order(names) if all(word in folded for word in words)]


def found(pump: Pump, text: str) -> list[tuple[str, str, str]]:
    """Sources (with an empty column) and columns that a text names, the sources first; and what people call the column.

    All words must be there: of a source in its name; of a column in "SOURCE COLUMN", one of them at least in its own
    name or what people call it. `web1:cpu busy` says which belong to which.
    """
    return pump.shared(("found", text), lambda: _found(pump, text))


def _found(pump: Pump, text: str) -> list[tuple[str, str, str]]:
    names, kept = pump.names(), pump.kept()
    listed = [(name, "", "") for name in matching(names, text)[:MAX_FOUND]]
    before, colon, after = text.casefold().rpartition(":")
    words = after.split()
    if not words and not colon:
        return listed
    hits: dict[object, list[tuple[str, str]]] = {}  # many sources have the same columns
    for name, folded in in_order(names):
        if len(listed) >= MAX_FOUND:
            break
        if not all(word in folded for word in before.split()):
            continue
        rest = tuple(words if colon else (word for word in words if word not in folded))
        columns = pump.columns(name)
        labels = tuple(kept.named(name, columns, columns)[0]) if kept.has_columns else ("",) * len(columns)
        key = columns, labels, rest
        if key not in hits:
            hits[key] = [
                (column, label)
                for column, label in zip(columns, labels, strict=True)
                for its in [f"{column} {label}".casefold()]
                if all(word in its for word in rest) and (rest or colon or any(word in its for word in words))
            ]
        listed += [(name, column, label) for column, label in hits[key]]
    return listed[:MAX_FOUND]
