"""`linemon explain`: how lines would be read, without sending them."""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from linemon.config import Config

if TYPE_CHECKING:
    from linemon.lines.session import Session
    from linemon.store.reader import Source, Store

HELP = "say how lines would be read, without sending them"
EXAMPLE = "linemon explain 'room1.temperature 20.3'; linemon explain < lines.txt"
READS_ONLY = True
PEER = "127.0.0.1"
MAX_LINES = 100


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "lines", metavar="LINE", nargs="*", help=f"of one connection, up to {MAX_LINES}; none: standard input"
    )
    parser.add_argument("--json", action="store_true", help="for scripts")


def run(config: Config, options: argparse.Namespace) -> int:
    """Of each line what it is, and what would be stored of it, or why nothing would."""
    from linemon.cli._terminal import print_json
    from linemon.store.reader import Store

    lines = [line.encode(errors="surrogateescape") for line in options.lines] or sys.stdin.buffer.read().splitlines()
    logging.disable()  # nothing is rejected in earnest
    with closing(Store(config.store.folder)) as store:
        _, sources = explain(config, lines[:MAX_LINES], [])  # only then it is known which sources they are about
        there = [store[name] for name in sources if name in store]
        found, _ = explain(config, lines[:MAX_LINES], there)
    if options.json:
        print_json(found)
    else:
        for each in found:
            print(each["line"])
            print(f"    {words(each)}")
    return 0


def explain(config: Config, lines: Sequence[bytes], known: Sequence[Source]) -> tuple[list[dict[str, Any]], set[str]]:
    """What becomes of each line of a connection, where these sources are known; and the sources that it speaks of.

    The lines go the way of all lines, into a store that nobody sees.
    """
    from linemon.errors import LineError
    from linemon.lines.intake import Intake
    from linemon.lines.session import Session
    from linemon.store.reader import Store
    from linemon.store.writer import StoreWriter

    found, names = list[dict[str, Any]](), set[str]()
    with (
        tempfile.TemporaryDirectory(prefix="linemon-explain-") as place,
        closing(StoreWriter(Path(place) / "store", MAX_LINES, 10 * MAX_LINES, config.store.max_columns)) as writer,
        closing(Store(writer.folder)) as store,
    ):
        for source in known:
            writer.bind(source.name, source.columns, source.units)
        seen = {source.name: 0 for source in known}
        intake, session = Intake(writer), Session(PEER, config.tcp.max_line)
        for number, line in enumerate(lines, 1):
            now, texts, kind = time.time_ns(), intake.accounts.strings, kind_of(session, line)
            if found and found[-1]["goes_on"]:
                kind = found[-1]["kind"]
            session.wants_errors, error = True, None
            try:
                intake.take(session, line + b"\n", now)
                if number == len(lines):
                    intake.broke(session, now)  # a point whose string stays open is none
                intake.flush(now)
            except LineError as foreign:
                session.is_over, error = True, str(foreign)
            for answer in session.replies.decode().splitlines():
                if answer.startswith("#error "):  # LINE REASON: WORDS
                    error = answer.partition(": ")[2]
            session.replies.clear()
            found.append({"line": line[:200].decode(errors="replace"), "kind": kind, "error": error})
            found[-1] |= {"goes_on": bool(session.open_point), "texts": intake.accounts.strings - texts}
            found[-1] |= stored(store, seen, now)
            names |= {session.source} if session.source else set()
            if session.is_over:
                break
        return found, names | set(writer.rings)


def kind_of(session: Session, line: bytes) -> str:
    """What a line is told to be."""
    from linemon.lines import names
    from linemon.lines.session import is_directive

    line = line.strip(b" \t\r")
    if line.startswith(b"#"):
        return "directive" if is_directive(line) else "comment"
    return names.kind(line, session.in_rows).value if line else "empty"


def stored(store: Store, seen: dict[str, int], now: int) -> dict[str, Any]:
    """The row that has come since, of whichever source; `seen` has how many rows of each were there before."""
    import numpy as np

    from linemon.when import iso_ns

    for name in store.sources():
        source = store[name]
        if source.rows > seen.get(name, 0):
            rows, is_new = source.since(seen.get(name, 0)), name not in seen
            seen[name] = source.rows
            time_ns, values = int(rows.time[-1].astype(np.int64)), rows.values[-1].tolist()
            return {
                "source": name,
                "is_new": is_new,
                "time": None if time_ns == now else iso_ns(time_ns),
                "values": [
                    [column, unit, value]
                    for column, unit, value in zip(rows.columns, source.units, values, strict=True)
                    if value == value
                ],
            }
    return {}


def words(said: dict[str, Any]) -> str:
    """The same in words."""
    if said["error"]:
        return said["error"] if said["kind"] in ("directive", "comment") else f"rejected: {said['error']}"
    if "source" not in said:
        return "goes on in the next line" if said["goes_on"] else said["kind"]
    values = ", ".join(f"{column} = {value:.15g} {unit}".rstrip() for column, unit, value in said["values"])
    texts = f"; {said['texts']} of its texts left out" if said["texts"] else ""
    source = f"{said['source']}, a new source" if said["is_new"] else said["source"]
    return f"{said['kind']} of {source}: {values or 'no value'}, at {said['time'] or 'its arrival'}{texts}"
