"""`linemon import`: what `linemon export` wrote back into a store, through the port."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from linemon.cli._terminal import Progress
from linemon.cli.send import connect, say
from linemon.config import Config
from linemon.errors import LinemonError

if TYPE_CHECKING:
    from linemon.store.ring import Floats
    from linemon.store.rows import Rows

HELP = "bring files of linemon export back; what is there already is not stored twice"
EXAMPLE = "linemon import web1.csv rooms.parquet; linemon import old.csv --source web1"
SHOWN = 10  # errors that are shown as they come; the others are counted
MAX_FILES = 16  # read at a time: each source has its own pace
MAX_LINKS = 200  # connections of a file
PIECE_BYTES = 1 << 16
WAIT_S = 60.0  # for the collector to take a piece; a backlog has a pace


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", metavar="FILE", nargs="+", help="csv, jsonl, parquet, hdf5 of linemon export")
    parser.add_argument("--source", metavar="NAME", help="whose rows they are; default: as the file, or its name, says")


def run(config: Config, options: argparse.Namespace) -> int:
    """Look the files over, send what the collector does not have, and say what became of it."""
    progress, counts, source = Progress(0), Counter[str](), options.source or ""
    surveys = [(Path(name), survey(Path(name), source, progress)) for name in options.files]
    total = sum(lot.rows for _, lots in surveys for lot in lots.values())
    waiting = [Import(config, path, source, lots, counts).steps() for path, lots in surveys]
    while waiting:
        for each in waiting[:MAX_FILES]:
            if next(each, None) is None:
                waiting.remove(each)
            progress.tell(f"{counts['sent']:,} of {total:,} rows are sent")
    progress.end()
    sources = len({name for _, lots in surveys for name in lots})
    said = (f"{word} {counts[word.split()[0]]}" for word in ("stored", "there already", "rejected"))
    print(", ".join(said) + f" rows of {sources} sources")
    return 1 if counts["rejected"] else 0


@dataclass
class Lot:
    """The rows of one source in a file: how many, which columns have a value, and what tells them from all others."""

    columns: tuple[str, ...]
    rows: int = 0
    used: set[str] = field(default_factory=set)
    digest: str = ""


def survey(path: Path, source: str, progress: Progress) -> dict[str, Lot]:
    """What is in a file, by source. The digests are of the rows: of equal ones they are equal, whatever the format."""
    import numpy as np

    from linemon.store.files import read

    lots: dict[str, Lot] = {}
    hashes = {}
    for rows in read(path, source):
        lot = lots.setdefault(rows.source, Lot(rows.columns))
        if rows.source not in hashes:
            hashes[rows.source] = hashlib.sha256(json.dumps([rows.source, rows.columns]).encode())
        is_there = ~np.isnan(rows.values)
        cells = np.where(is_there, rows.values, np.nan).view(np.int64)
        hashes[rows.source].update(np.column_stack((rows.time.view(np.int64), cells)).tobytes())
        lot.rows += len(rows)
        lot.used.update(np.array(rows.columns, object)[is_there.any(axis=0)])
        progress.tell(f"reads {path}: {sum(each.rows for each in lots.values()):,} rows")
    for name, lot in lots.items():
        lot.digest = hashes[name].hexdigest()[:32]
    return lots


class Import:
    """The rows of one file on their way, each source over a connection of its own."""

    def __init__(self, config: Config, path: Path, source: str, lots: dict[str, Lot], counts: Counter[str]) -> None:
        from linemon.store.reader import Store

        self._config, self._store, self._path, self._source = config, Store(config.store.folder), path, source
        self._lots, self._counts = lots, counts
        self._links: dict[str, Link] = {}  # the one that was used last is the last
        self._passed: Counter[str] = Counter()  # rows of each source so far

    def steps(self) -> Iterator[bool]:
        """Send a piece at a time."""
        from linemon.store.files import read

        for rows in read(self._path, self._source):
            name = rows.source
            link = self._links.pop(name, None) or self._open(rows)
            self._links[name] = link
            link.send(1 + self._passed[name], rows)
            self._passed[name] += len(rows)
            self._counts["sent"] += len(rows)
            if len(self._links) > MAX_LINKS:
                self._links.pop(next(iter(self._links))).close()
            yield True
        for link in self._links.values():
            link.close()
            yield True

    def _open(self, rows: Rows) -> Link:
        """With the columns that the source has already, in their order, and those of the file that are used."""
        lot = self._lots[rows.source]
        known = self._store[rows.source].columns if rows.source in self._store else ()
        mine = rows.columns if len(self._lots) == 1 else [name for name in rows.columns if name in lot.used]
        units = dict(zip(rows.columns, rows.units, strict=True))
        names = dict.fromkeys([*known, *mine])
        columns = {name: units.get(name, "") for name in names}
        link = Link(self._config, rows.source, columns, lot, self._counts)
        if not self._passed[rows.source]:
            self._counts["there"] += link.next - 1
        return link


class Link:
    """A connection that sends the rows of one source, numbered from 1."""

    def __init__(self, config: Config, source: str, columns: dict[str, str], lot: Lot, counts: Counter[str]) -> None:
        """LinemonError where the collector does not say how far it is."""
        from linemon.parts._port import header_of

        self._source, self._columns, self._lot, self._counts = source, columns, lot, counts
        self._rest, self._said, self._stats = b"", "", False
        self._sock = connect(config)
        self._sock.settimeout(WAIT_S)
        token = os.environ.get("LINEMON_TOKEN") or config.tcp.token
        head = f"#token {token}\n" if token else ""
        sender = f"import:{lot.digest}"
        self._acked = 0
        self._write(f"#errors on\n{head}#source {source}\n#seq 1 {sender}\n".encode())
        while not self._acked:
            self._hear()
            if self._said:
                raise LinemonError(f"{source}: {self._said}")
        self.next = self._acked  # the number of the first row that it does not have
        self._write(f"#seq {self.next} {sender}\n".encode() + header_of(columns) + b"\n")

    def send(self, number: int, rows: Rows) -> None:
        """Rows of which the first has this number; those that are there already are left out."""
        from linemon.parts._port import time_of

        skip = max(0, min(self.next - number, len(rows)))
        values = self._in_order(rows)[skip:].tolist()
        times = rows.time[skip:].astype("int64").tolist()
        lines = "".join([f"{time_of(at)} {' '.join(map(repr, row))}\n" for at, row in zip(times, values, strict=True)])
        self.next += len(times)
        self._write(lines.encode())

    def _in_order(self, rows: Rows) -> Floats:
        """The values as the collector was told the columns."""
        import numpy as np

        found = np.full((len(rows), len(self._columns)), np.nan)
        for i, name in enumerate(self._columns):
            if name in rows.columns:
                found[:, i] = rows[name]
        return found

    def close(self) -> None:
        """Wait until all that was sent is stored or rejected, and count it."""
        self._write(b"#stats\n")
        while self._acked < self.next or not self._stats:
            self._hear()
        self._sock.close()

    def _write(self, lines: bytes) -> None:
        try:
            for at in range(0, len(lines), PIECE_BYTES):
                self._sock.sendall(lines[at : at + PIECE_BYTES])
        except TimeoutError:
            self._lost(f"it took nothing for {WAIT_S:g} s")
        except OSError:  # what it said before may tell why
            while True:
                self._hear()

    def _hear(self) -> None:
        try:
            said = self._sock.recv(PIECE_BYTES)
        except OSError as error:
            self._lost("it said nothing" if isinstance(error, TimeoutError) else error.strerror or str(error))
        if not said:
            self._lost("it closed the connection")
        *lines, self._rest = (self._rest + said).split(b"\n")
        for line in lines:
            word, _, rest = line.decode(errors="replace").partition(" ")
            if word == "#ack":
                self._acked = int(rest)
            elif word == "#error":
                if self._acked or not self._said:  # what is wrong first is why it does not begin
                    self._said = rest.partition(" ")[2]
                self._counts["errors"] += self._acked > 0
                if 0 < self._counts["errors"] <= SHOWN:
                    say(f"{self._source}: {self._said}")
            elif word == "#stats":
                told = dict(pair.split("=") for pair in rest.split())
                self._counts.update({name: int(told[name]) for name in ("stored", "rejected")})
                self._stats = True

    def _lost(self, why: str) -> None:
        said = f": {self._said}" if self._said else ""
        raise LinemonError(f"{self._source}: {why}{said}; run it again, and what is stored by now is left out")
