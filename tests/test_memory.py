"""The protocol of docs/STORE.md against every order in which a machine with weakly ordered memory may carry it out.

The model: what a process does between two of its barriers happens in any order, one cell after the other, in a memory
that all see alike. ARMv8 is such a machine (other-multi-copy-atomic); x86 allows less. All interleavings of a writer
and a reader are gone through. With all barriers no reader sees a wrong row; without any one of them, some reader does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import pytest

POINTS = 2
ID, RESERVED, COUNT = "id", "reserved", "count"
Stores = tuple[tuple[str, int], ...]


def row(place: int) -> tuple[str, str]:
    """The two cells of the row at a place: a whole row has the same number in both."""
    return f"time {place}", f"value {place}"


def append(number: int, owner: int) -> list[Stores | str]:
    """One row, with the names of the barriers."""
    value = 100 * owner + number
    stores = tuple((cell, value) for cell in row(number % POINTS))
    return [((RESERVED, number + 1),), "after reserved", stores, "after rows", ((COUNT, number + 1),), "last"]


def other_owner(owner: int) -> list[Stores | str]:
    zeroed = ((RESERVED, 0), (COUNT, 0), *((cell, 0) for place in range(POINTS) for cell in row(place)))
    return [((ID, 0),), "after id = 0", zeroed, "before id", ((ID, owner),), "last"]


WRITERS = {
    "it wraps": [*append(2, 1), *append(3, 1)],
    "it gets another owner": [*other_owner(2), *append(0, 2)],
    "it wraps, then gets another owner": [*append(2, 1), *other_owner(2)],
}
START = {ID: 1, RESERVED: 2, COUNT: 2} | {cell: 100 + place for place in range(POINTS) for cell in row(place)}
READER: list[tuple[str, ...] | str] = [
    (ID,), "after id", (COUNT,), "after count", tuple(cell for place in range(POINTS) for cell in row(place)),
    "after copy", (RESERVED,), "before id again", ("id again",),
]  # fmt: skip
BARRIERS = ["after reserved", "after rows", "after id = 0", "before id"]
READER_BARRIERS = ["after id", "after count", "after copy", "before id again"]


def groups(program: Sequence[tuple[Any, ...] | str], without: str) -> tuple[tuple[Any, ...], ...]:
    """The parts of a program between its barriers, one of which is left out: within a part any order may be."""
    found: list[tuple[Any, ...]] = [()]
    for part in program:
        if isinstance(part, str):
            if part != without:
                found.append(())
        else:
            found[-1] += part
    return tuple(group for group in found if group)


def is_wrong(seen: dict[str, int], wanted: int) -> bool:
    """What a reader that looks for the rows of an owner makes of what it loaded: whether it takes a wrong row."""
    if seen[ID] != wanted or seen["id again"] != wanted:
        return False  # it starts again
    for number in range(max(0, seen[COUNT] - POINTS, seen[RESERVED] - POINTS), seen[COUNT]):
        if any(seen[cell] != 100 * wanted + number for cell in row(number % POINTS)):
            return True
    return False


def finds_a_wrong_row(writer: str, wanted: int, without: str = "") -> bool:
    """Go through all interleavings."""
    stores, loads = groups(WRITERS[writer], without), groups(READER, without)

    @cache
    def after(
        memory: tuple[tuple[str, int], ...], at: int, done: frozenset[int], step: int, seen: frozenset[tuple[str, int]]
    ) -> bool:
        cells, loaded = dict(memory), dict(seen)
        if step == len(loads):
            return is_wrong(loaded, wanted)
        for name in loads[step]:
            if name not in loaded:
                now = seen | {(name, cells[ID if name == "id again" else str(name)])}
                is_over = all(each in dict(now) for each in loads[step])
                if after(memory, at, done, step + is_over, now):
                    return True
        if at < len(stores):
            for i in not_yet(stores[at], done):
                cell, value = stores[at][i]
                now_done = done | {i}
                is_over = len(now_done) == len(stores[at])
                changed = tuple(sorted((cells | {cell: value}).items()))
                if after(changed, at + is_over, frozenset() if is_over else now_done, step, seen):
                    return True
        return False

    return after(tuple(sorted(START.items())), 0, frozenset(), 0, frozenset())


def not_yet(group: tuple[Any, ...], done: frozenset[int]) -> Iterator[int]:
    """The stores that may come next: any, but those to the same cell in their order."""
    met = set()
    for i, store in enumerate(group):
        cell = store[0]
        if i not in done and cell not in met:
            yield i
        if i not in done:
            met.add(cell)


@pytest.mark.slow
@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("wanted", [1, 2])
def test_no_order_shows_a_wrong_row(writer: str, wanted: int) -> None:
    """Of the source that one reads and of the one that comes after it in the same slot."""
    assert not finds_a_wrong_row(writer, wanted)


@pytest.mark.slow
@pytest.mark.parametrize("barrier", BARRIERS + READER_BARRIERS)
def test_every_barrier_is_needed(barrier: str) -> None:
    """Without it some reader takes a wrong row: so the model would show a mistake in the protocol."""
    assert any(finds_a_wrong_row(writer, wanted, barrier) for writer in WRITERS for wanted in (1, 2))
