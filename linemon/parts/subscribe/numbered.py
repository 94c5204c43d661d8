"""A connection to this linemon's own port, for blocks of numbered lines: what the collector holds of them is known.

So who takes a block from elsewhere remembers that only once its rows are in the rings, and what comes twice is told
apart by the collector.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from linemon.config import Config
from linemon.parts._far import FORWARDED, Away, Denied
from linemon.parts._port import find, tls_of

HEADER: Final = re.compile(rb"(?m)^#source ([^\n]+)\n#columns (\[[^\n]*\])\n#seq (\d{1,18}) ([!-~]{1,64})\n")
UNCOUNTED: Final = (
    b"\n\n",
    b"\n ",
    b"\n\t",
    b"\n#",
    b"\r",
)  # of blanks or comments: the collector gives them no number
SLICE: Final = 100  # rows
WAITS: Final = ("token", "max_sources", "store_full")  # reasons that may pass


class Section(NamedTuple):
    """Rows of one source in a block, numbered from `first` by `sender`."""

    source: str
    columns: str  # a JSON list, as `#columns` has it
    sender: str
    first: int
    end: int  # the number after the last one
    rows: bytes


@dataclass(frozen=True)
class Said:
    """Lines that were sent, the last of which has this number."""

    line: int
    count: int
    section: Section
    is_question: bool


def sections_of(block: bytes) -> list[Section]:
    """A block of lines, each section with `#source`, `#columns` and `#seq`. ValueError where it is none."""
    heads = list(HEADER.finditer(block))
    if not heads or heads[0].start() or not block.endswith(b"\n"):
        raise ValueError("no block of numbered lines")
    found = []
    for head, end in zip(heads, [*(each.start() for each in heads[1:]), len(block)], strict=True):
        source, columns, sender = (head[i].decode() for i in (1, 2, 4))
        first, rows = int(head[3]), block[head.end() : end]
        if any(odd in block[head.end() - 1 : end] for odd in UNCOUNTED):
            raise ValueError("lines that have no number")
        found.append(Section(source, columns, sender, first, first + rows.count(b"\n"), rows))
    return found


class NumberedPort:
    """The connection, made when there is something to be said. Away, Denied: then `close` it."""

    def __init__(self, config: Config, seconds: float) -> None:
        """`seconds`: how long the collector may say nothing."""
        self._config, self._seconds = config, seconds
        self.refused, self.why = 0, ""  # rows that the collector did not take, and why not the last one
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def take(self, sections: Iterable[Section]) -> None:
        """Until the collector holds all of these rows, or has refused them for good."""
        if self._writer is None or self._reader is None or self._reader.at_eof():
            await self._open()
        batch: dict[str, Section] = {}
        for section in sections:
            if section.source in batch:  # of another life
                await self._take(batch)
                batch = {}
            if not section.sender.startswith(f"{FORWARDED}{self._store}:"):  # else its rows come from here
                batch[section.source] = section
        await self._take(batch)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    async def _open(self) -> None:
        self.close()
        address, token = find(self._config)
        # The key of parts opens their own sources only.
        token = self._config.work.token or self._config.tcp.token or token
        tls = tls_of(self._config, address)
        try:
            secure = {"ssl": tls.context(), "server_hostname": address.host} if tls else {}
            opening = asyncio.open_connection(address.host, address.port, **secure)  # type: ignore[arg-type]
            self._reader, self._writer = await asyncio.wait_for(opening, self._seconds)
        except (OSError, TimeoutError) as error:
            raise Away(f"the collector at {address}: {getattr(error, 'strerror', '') or 'no answer'}") from None
        self._store, self._heard, self._lines = "", b"", 0
        self._at: dict[str, tuple[str, str, int]] = {}  # where the connection is in a source: sender, columns, number
        self._named: set[str] = set()  # sources with other columns there: rows go as JSON, which names them
        self._acked: dict[str, int] = {}  # of the sources at hand: the number below which all is held
        self._over: set[str] = set()  # of these, the ones whose section is refused as a whole
        self._said: list[Said] = []
        self._write(((f"#token {token}\n" if token else "") + "#errors on\n#acks named\n").encode())
        await self._until(lambda: bool(self._store))

    async def _take(self, batch: dict[str, Section]) -> None:
        """Sections of different sources."""
        self._said.clear()
        self._over.clear()
        self._acked.clear()
        asked = [each for each in batch.values() if self._at.get(each.source) != place(each, each.first)]
        for section in asked:
            self._named.discard(section.source)
            self._ask(section)
        await self._until(lambda: all(each.source in self._acked or each.source in self._over for each in asked))
        left = [each for each in batch.values() if self._acked.get(each.source, 0) < each.end]
        for section, rows in slices(left):
            if section.source in self._over:
                continue
            try:
                lines = as_json(section, rows) if section.source in self._named else b"".join(rows)
            except (ValueError, TypeError, LookupError):  # others may publish what they like
                self._refuse(section, "its columns are no list of names, or not those of its rows")
                continue
            self._write(b"#source %b\n%b" % (section.source.encode(), lines))
            self._said.append(Said(self._lines, len(rows), section, False))
            self._at[section.source] = place(section, section.end)
        await self._until(
            lambda: all(self._acked.get(each.source, 0) >= each.end or each.source in self._over for each in left)
        )

    def _ask(self, section: Section) -> None:
        """Where to go on."""
        columns = b"" if section.source in self._named else b"#columns %b\n" % section.columns.encode()
        source, sender = section.source.encode(), section.sender.encode()
        self._write(b"#source %b\n%b#seq %d %b\n" % (source, columns, section.first, sender))
        self._said.append(Said(self._lines, 2 + bool(columns), section, True))
        self._at[section.source] = place(section, section.first)

    def _write(self, lines: bytes) -> None:
        assert self._writer
        self._writer.write(lines)
        self._lines += lines.count(b"\n")

    async def _until(self, is_done: Callable[[], bool]) -> None:
        """Hear what the collector says until that is so. Away where it says nothing any more."""
        assert self._reader
        while not is_done():
            try:
                data = await asyncio.wait_for(self._reader.read(1 << 16), self._seconds)
            except TimeoutError:
                raise Away(f"the collector says nothing for {self._seconds:g} s") from None
            except OSError as error:
                raise Away(f"the collector: {error.strerror or error}") from None
            if not data:
                raise Away("the collector has closed the connection")
            *lines, self._heard = (self._heard + data).split(b"\n")
            for line in lines:
                word, _, rest = line.decode(errors="replace").partition(" ")
                if word == "#ack":
                    number, sender, source = rest.split(" ", 2)
                    if self._at.get(source, ("",))[0] == sender:
                        self._acked[source] = int(number)
                elif word == "#acks":
                    self._store = rest
                elif word == "#error":
                    number, _, why = rest.partition(" ")
                    self._complained(int(number), why)

    def _complained(self, line: int, why: str) -> None:
        """The collector does not take a line."""
        said = next((each for each in self._said if line <= each.line), None)
        reason = why.partition(":")[0]
        if said is None or line <= said.line - said.count:
            raise Denied(f"the collector says: {why}")
        section = said.section
        if section.source in self._over:
            return
        if reason in WAITS or (said.is_question and reason == "sequence"):  # more sources than a connection may have
            raise Denied(f"the collector, of source {section.source!r}: {why}")
        if said.is_question and reason == "columns" and section.source not in self._named:
            self._named.add(section.source)
            self._ask(section)
            return
        if said.is_question:
            self._refuse(section, why)
            return
        self.refused += 1
        self.why = f"{section.source}: {why}"

    def _refuse(self, section: Section, why: str) -> None:
        """None of its rows can be stored."""
        self._over.add(section.source)
        self._at.pop(section.source, None)
        self.refused += section.end - section.first
        self.why = f"{section.source}: {why}"


def place(section: Section, number: int) -> tuple[str, str, int]:
    """Where a connection is in a source that has sent a section up to this number."""
    return section.sender, section.columns, number


def slices(sections: list[Section]) -> Iterator[tuple[Section, list[bytes]]]:
    """Some rows of each, then more: the collector takes so many a second of one source; the next waits behind it."""
    rows = [section.rows.splitlines(True) for section in sections]
    for at in range(0, max(map(len, rows), default=0), SLICE):
        for section, lines in zip(sections, rows, strict=True):
            if at < len(lines):
                yield section, lines[at : at + SLICE]


def as_json(section: Section, rows: list[bytes]) -> bytes:
    """Rows of it as lines that name their columns; what is missing is left out."""
    names = [each if isinstance(each, str) else each[0] for each in json.loads(section.columns)]
    keys = [json.dumps(name) for name in names]
    lines = []
    for row in rows:
        pairs = [f"{key}: {said}" for key, said in zip(keys, row.decode().split(), strict=True) if said != "nan"]
        if not pairs[0].rpartition(" ")[2].isdecimal():  # a time as text
            key, _, said = pairs[0].partition(": ")
            pairs[0] = f'{key}: "{said}"'
        lines.append("{" + ", ".join(pairs) + "}\n")
    return "".join(lines).encode()
