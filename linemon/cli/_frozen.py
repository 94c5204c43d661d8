"""`linemon export --frozen NAME`: the input of an analysis, written once, with what says what it is.

A folder of that name: a file a source, and `manifest.json`. Nothing in it is ever written again.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from linemon import __version__
from linemon.cli._terminal import Progress
from linemon.cli.export import Asked, file_of, one_table, to_file
from linemon.errors import AskedWrongly, LinemonError

if TYPE_CHECKING:
    from linemon.store.formats import Block, Table

MANIFEST = "manifest.json"
NAME = re.compile(r"[^\W_][\w. -]{0,63}")
READ_BYTES = 1 << 20


def freeze(folder: Path, name: str, kind: str, asked: Asked, progress: Progress) -> str:
    """Write it; what there is to say of it. LinemonError where there is one of this name already."""
    from linemon.when import iso_ns

    if not NAME.fullmatch(name):
        raise AskedWrongly(f"--frozen {name!r}: expected up to 64 letters, digits, blanks, and . _ -")
    place = folder / name
    if place.exists():
        raise LinemonError(f"{place} is there, and is not changed: {told(place)}; choose another name")
    folder.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=folder))
    try:
        sources = [freeze_one(draft, kind, asked._replace(names=[each]), progress) for each in asked.names]
        whole = hashlib.sha256("".join(each["sha256"] for each in sources).encode()).hexdigest()
        start, end = (None if each is None else iso_ns(each) for each in (asked.start, asked.end))
        manifest: dict[str, Any] = {
            "name": name,
            "made": iso_ns(time.time_ns() // 10**9 * 10**9),
            "linemon": __version__,
            "store": asked.store.id,
        }
        manifest |= {"since": start, "until": end, "every_s": asked.every / 1e9 or None, "format": kind}
        (draft / MANIFEST).write_text(json.dumps({**manifest, "sha256": whole, "sources": sources}, indent=1))
        for path in draft.iterdir():
            path.chmod(0o444)
            with path.open("rb") as file:
                os.fsync(file.fileno())
        draft.chmod(0o555)
        draft.rename(place)  # not over one that was made meanwhile
    except OSError as error:
        raise LinemonError(f"cannot write {place}: {error.strerror or error}") from error
    finally:
        if draft.exists():
            draft.chmod(0o700)
            shutil.rmtree(draft)
    return f"{place}: {sum(each['rows'] for each in sources)} rows of {len(sources)} sources, SHA-256 {whole}"


def told(place: Path) -> str:
    """When it was made, and whether it is as it was."""
    try:
        manifest = json.loads((place / MANIFEST).read_bytes())
        changed = [each["file"] for each in manifest["sources"] if digest(place / each["file"]) != each["sha256"]]
        return f"made {manifest['made']}, " + (f"CHANGED since: {', '.join(changed)}" if changed else "as it was then")
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"no frozen export, or a broken one ({error})"


def freeze_one(folder: Path, kind: str, asked: Asked, progress: Progress) -> dict[str, Any]:
    """Write the file of one source; what the manifest says of it."""
    source = asked.store[asked.names[0]]
    path = file_of(folder, source.name, kind)
    facts: dict[str, Any] = {"source": source.name, "file": path.name, "rows": 0, "first": None, "last": None}
    if asked.every:
        facts |= {"born": source.born, "rows_to": source.rows}
        table = one_table(asked, is_one=True)
    else:
        table, numbers = numbered_rows(asked)
        facts |= numbers
    facts |= {"columns": list(table.columns), "units": list(table.units)}
    to_file(path, kind, iter([replace(table, blocks=counted(table, facts))]), progress)
    return facts | {"sha256": digest(path)}


def numbered_rows(asked: Asked) -> tuple[Table, dict[str, int]]:
    """The rows of one source, in time order, and their numbers in its ring: all of one moment."""
    import numpy as np

    from linemon.store.formats import table_of

    rows = asked.store[asked.names[0]].since(0)
    time = rows.time.view(np.int64)
    start, end = asked.start or 0, np.iinfo(np.int64).max if asked.end is None else asked.end
    at = np.flatnonzero((time >= start) & (time < end))
    numbers = at + rows.cursor - len(rows)
    at = at[np.argsort(time[at], kind="stable")]
    found = replace(rows, time=rows.time[at], values=rows.values[at])
    if asked.columns:
        found = found.select(tuple(column for column in asked.columns if column in rows.columns))
    span = {"rows_from": int(numbers[0]), "rows_to": int(numbers[-1]) + 1} if len(numbers) else {"rows_to": rows.cursor}
    return table_of(found), {"born": rows.born, **span}


def counted(table: Table, facts: dict[str, Any]) -> Iterator[Block]:
    """The blocks of a table; how many rows they have, and from when to when, becomes known as they are taken."""
    from linemon.when import iso_ns

    for block in table.blocks:
        if len(block.time):
            facts["rows"] += len(block.time)
            facts["first"] = facts["first"] or iso_ns(int(block.time[0]))
            facts["last"] = iso_ns(int(block.time[-1]))
        yield block


def digest(path: Path) -> str:
    """The SHA-256 of a file."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(READ_BYTES):
            found.update(piece)
    return found.hexdigest()
