"""Stores of version 1, which had no room for acknowledged numbers: read once, by the first newer collector.

catalog.jsonl = one JSON object a line, the newest of a source counts
ring file     = header slot*      cells of 8 bytes
header        = magic version mark width points zero*                      4096 bytes
slot          = id reserved head rejected latest disorder zero zero row[points]
row           = time value[width]
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from linemon.store.catalog import OLD_CATALOG
from linemon.store.ring import MAGIC, MARK, PAGE_BYTES, Cells

SLOT_CELLS = 8


class OldSource(NamedTuple):
    """A source of version 1: its columns, its rows (n, 1 + width) below number `head`, and its rejected lines."""

    name: str
    columns: tuple[str, ...]
    units: tuple[str, ...]
    head: int
    rejected: int
    block: Cells


def old_sources(folder: Path) -> Iterator[OldSource | str]:
    """What a store of version 1 holds; a text names a source that cannot be read."""
    entries: dict[str, dict[str, Any]] = {}
    for line in (folder / OLD_CATALOG).read_bytes().split(b"\n")[:-1]:
        try:
            fields = json.loads(line)
        except ValueError:  # damaged
            continue
        entries.pop(fields["source"], None)
        if "removed" not in fields:
            entries[fields["source"]] = fields
    for name, fields in entries.items():
        try:
            found = _ring(folder / fields["file"], fields["slot"], fields["id"])
        except (OSError, ValueError):
            found = None
        if found is None:
            yield name
        else:
            yield OldSource(name, tuple(fields["columns"]), tuple(fields["units"]), *found)


def _ring(path: Path, slot: int, source_id: int) -> tuple[int, int, Cells] | None:
    header = np.fromfile(path, np.int64, 5)
    if header[:3].tolist() != [MAGIC, 1, MARK]:
        return None
    width, points = header[3:].tolist()
    count = SLOT_CELLS + points * (1 + width)
    cells = np.fromfile(path, np.int64, count, offset=PAGE_BYTES + 8 * slot * count)
    if len(cells) < count or cells[0] != source_id:
        return None
    reserved, head, rejected = cells[1:4].tolist()
    held = np.arange(min(head, max(0, reserved - points)), head)
    return head, rejected, cells[SLOT_CELLS:].reshape(points, 1 + width)[held % points]
