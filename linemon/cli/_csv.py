"""CSV as lines: what `linemon send --csv` makes of a table of comma-separated values.

After one line, `#columns`, each line of the file becomes one of the connection, an empty one where it holds no row: so
the collector's errors have the numbers of the file's lines. A block is taken column by column; single cells are looked
at only in a column of which some cell is not what its neighbours are.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta, tzinfo
from functools import lru_cache, partial
from typing import Final, NamedTuple

import numpy as np
from dateutil import tz

from linemon.errors import AskedWrongly, LineError, LinemonError
from linemon.lines import wire
from linemon.when import time_ns

BOM: Final = b"\xef\xbb\xbf"
TIMES: Final = (
    "time",
    "timestamp",
    "date",
    "datetime",
    "_time",
)  # the last is InfluxDB's; the names of columns that are the row's time, in any case
LOOKED_AT: Final = 10  # cells that tell whether a column is text
MAX_LINE: Final = 1 << 24  # bytes
MAX_OPEN: Final = 100  # lines that a quoted cell goes over; in more its quote was never meant as one
EARLY_S: Final = 946_684_800  # 2000
QUARTER_NS: Final = 900 * 10**9  # the clocks of all zones change at one of these
NUMBER: Final = r"[+-]?(?:\d++(?:\.\d*+)?|\.\d++)(?:[eE][+-]?\d++)?|(?i:[+-]?(?:nan|inf|infinity))"
NUMBERS: Final = re.compile(rf"(?:(?:{NUMBER})\n)*+", re.ASCII)
EPOCHS: Final = re.compile(r"(?:\d{1,19}(?:\.\d*+)?\n)*+", re.ASCII)
INFINITE: Final = re.compile(r"(?im)^[+-]?(?:nan|inf|infinity)$")
DAY_FIRST: Final = re.compile(r"(?m)^(\d\d?)\.(\d\d?)\.(\d{4})\b", re.ASCII)
YEAR_FIRST: Final = re.compile(r"(?m)^(\d{4})/(\d\d)/(\d\d)\b", re.ASCII)
CLOCK: Final = re.compile(r"(?m)^(\d{4}-\d\d-\d\d)[ \t]+(?=\d\d?:)", re.ASCII)
SHORT: Final = re.compile(r"(?m)^(.{10}T)(?=\d:)", re.ASCII)  # an hour of one digit
EXCEL_SEP: Final = re.compile(r"sep=(.)")  # a first line that Excel obeys
THOUSANDS: Final = re.compile(r"[+-]?\d{1,3}([.,' \u2019])\d{3}(\1\d{3})*([.,]\d*)?", re.ASCII)
YEAR: Final = r"(?:19[7-9]|2[01]\d)\d"  # what int64 nanoseconds hold
LOCALS: Final = re.compile(rf"(?:{YEAR}-\d\d-\d\d(?:T\d\d:\d\d(?::\d\d(?:\.\d{{1,9}}+)?)?)?\n)*+", re.ASCII)
UNIT: Final = re.compile(r"(.+?)\s*(?:\[([^\]]*)\]|\(([^)]*)\))")
Cells = Sequence[str]


class Column(NamedTuple):
    """A column of the file that becomes one of the source."""

    at: int  # its place in a row of the file
    token: str  # as `#columns` has it


class Csv:
    """Bytes of a file to lines; `take` a piece at a time, then `end`."""

    def __init__(
        self,
        refuse: Callable[[int, str, str], None],
        tell: Callable[[str], None],
        *,
        sep: str = ",",
        decimal: str = ".",
        columns: str | None = None,
        zone: str = "UTC",
        missing: Sequence[str] = (),
    ) -> None:
        """`refuse` hears of each row that is not sent: its line, a reason, a text. `columns`: the file has no header.

        AskedWrongly for options that cannot be.
        """
        self._sep = "\t" if sep in ("\\t", "tab") else sep
        if len(self._sep) != 1 or self._sep in '"\n\r':
            raise AskedWrongly(f"--sep {sep!r}: expected one character, or tab")
        if len(decimal) != 1 or decimal.isalnum():
            raise AskedWrongly(f"--decimal {decimal!r}: expected one character, such as ,")
        if decimal == self._sep:
            raise AskedWrongly(f"--sep and --decimal are both {decimal!r}; is --sep ';' meant?")
        found = tz.UTC if zone == "UTC" else tz.gettz(zone)
        if found is None:
            raise AskedWrongly(f"--zone {zone!r} is not a zone: expected a name such as Europe/Berlin")
        self._offset_ns = lru_cache(4096)(partial(offset_ns, found))
        self._is_utc = found is tz.UTC
        self._decimal = decimal
        self._swap = {} if decimal == "." else str.maketrans({decimal: ".", ".": decimal})
        self._missing = frozenset(missing)
        self._empty = re.compile(rf"(?m)^[ \t]*(?:{'|'.join(['', *map(re.escape, missing)])})[ \t]*(?=\n)")
        self._refuse, self._tell = refuse, tell
        self._rest = b""
        self._line = 0  # of the file: so many were taken
        self._is_first = True
        self._header: list[str] | None = None
        self._columns: list[Column] | None = None  # known with the first rows
        self._times: list[int] = []  # the places of the time's columns: none, one, or date and clock
        if columns is not None:
            self._read_header(columns.split(","))

    def take(self, piece: bytes) -> bytes:
        """The lines that are whole now. LinemonError for a header that cannot be one."""
        data = self._rest + piece
        end = data.rfind(b"\n") + 1
        self._rest = data[end:]
        if len(self._rest) > MAX_LINE:
            raise LinemonError(f"line {self._line + 1} is longer than {MAX_LINE} bytes: is this CSV?")
        return self._lines_of(data[:end], is_last=False) if end else b""

    def end(self) -> bytes:
        """The last line, where it has no newline, and those that an open quote held back."""
        rest, self._rest = self._rest, b""
        return self._lines_of(rest + b"\n" * (not rest.endswith(b"\n")), is_last=True) if rest else b""

    def _lines_of(self, block: bytes, *, is_last: bool) -> bytes:
        if self._is_first:
            block, self._is_first = block.removeprefix(BOM), False
        lines = block.decode(errors="replace").replace("\r\n", "\n").replace("\r", " ").split("\n")[:-1]
        if self._line == 0 and lines and (said := EXCEL_SEP.fullmatch(lines[0])):
            self._sep, lines[0] = said[1], ""
        out: list[str] = []
        while lines:
            rows, ends = parse(lines, self._sep)
            done = ends[-1] if ends else 0
            out += self._rows(rows, ends, done)
            lines = lines[done:]
            if lines and not is_last and len(lines) <= MAX_OPEN:
                self._rest = "\n".join([*lines, ""]).encode() + self._rest
                break
            if lines:  # this quote is never closed: it costs its own line
                self._line += 1
                self._refuse(self._line, "syntax", "a quote is never closed")
                out.append("")
                del lines[0]
        return "\n".join([*out, ""]).encode() if out else b""

    def _rows(self, rows: list[list[str]], ends: list[int], count: int) -> list[str]:
        """So many lines of the connection, from rows that end at these lines."""
        out, data = [""] * count, []
        for row, end in zip(rows, ends, strict=True):
            if (len(row) < 2 and not "".join(row).strip()) or row[0].startswith("#"):
                continue  # an empty line, a comment
            if self._header is None:
                self._read_header(row)
            else:
                data.append((end, row))
        if data:
            first = self._choose([row for _, row in data]) if self._columns is None else ""
            for end, text in self._tokens(data):
                out[end - 1] = text
            out[0] = first + out[0]
        self._line += count
        return out

    # -- the header

    def _read_header(self, cells: Cells) -> None:
        """Names and units as `#columns` has them, empty for a column that is left out."""
        shown = self._sep.join(cells)
        if "\ufffd" in shown or "\0" in shown:
            raise LinemonError("the header is not UTF-8; `iconv -f CP1252 -t UTF-8` (or -f UTF-16) makes it so")
        if NUMBERS.fullmatch("".join(cell.strip().translate(self._swap) + "\n" for cell in cells)):
            raise LinemonError(f"the first line is data, not a header: {shown[:60]!r}; name its columns: --columns a,b")
        self._header = [column_token(cell) for cell in cells]
        if len(cells) == 1 and (other := next((char for char in ";\t,|" if char in shown), "")):
            raise LinemonError(f"the header is one column, {shown[:60]!r}; is --sep {other!r} meant?")
        names = [token.partition(":")[0].lower() for token in self._header]
        found = [name for name in names if name in TIMES]
        if "date" in found and "time" in found:
            self._times = [names.index("date"), names.index("time")]
        elif found:
            self._times = [names.index(found[0])]
        try:
            wire.columns(["time" for _ in self._times[:1]] + [each.token for each in self._all_columns()])
        except LineError as error:
            raise LinemonError(f"the header {shown[:60]!r}: {error}") from None

    def _all_columns(self) -> list[Column]:
        return [Column(at, token) for at, token in enumerate(self._header or ()) if token and at not in self._times]

    def _choose(self, rows: list[list[str]]) -> str:
        """`#columns`, and its newline; columns of text are left out. Those are told by the first rows that come."""
        self._columns, texts, examples = [], [], []
        for column in self._all_columns():
            cells = [row[column.at].strip() for row in rows[:LOOKED_AT] if len(row) > column.at]
            cells = [cell for cell in cells if cell and cell not in self._missing]
            is_text = cells and not any(NUMBERS.fullmatch(cell.translate(self._swap) + "\n") for cell in cells)
            if is_text:
                examples.append(cells[0])
                hint = (
                    "; is it the time? --columns names columns" if looks_like_time(cells[0]) and not self._times else ""
                )
                texts.append(f"{column.token.partition(':')[0]} ({cells[0][:20]!r}{hint})")
            else:
                self._columns.append(column)
        if self._times and (early := self._early(rows[0][self._times[0]])):
            self._tell(early)
        if texts:
            self._tell(f"columns of text are left out: {', '.join(texts)}")
        if not self._columns:
            raise LinemonError("no column holds numbers" + self._hint(examples[-1] if examples else ""))
        return (
            " ".join(["#columns", *("time" for _ in self._times[:1]), *(each.token for each in self._columns)]) + "\n"
        )

    def _early(self, cell: str) -> str:
        """What to say of a first time that counts from a start of its own, as measuring devices do."""
        number = cell.strip().translate(self._swap)
        if not EPOCHS.fullmatch(number + "\n") or float(number) >= EARLY_S:
            return ""
        return (
            f"the first time, {cell[:20]!r}, is in 1970: if it counts from a start of its own it is better a column, "
            "named by --columns"
        )

    # -- columns of cells

    def _tokens(self, data: list[tuple[int, list[str]]]) -> Iterator[tuple[int, str]]:
        """The lines of these rows; those at fault are refused."""
        width = len(self._header or ())
        if any(len(row) != width for _, row in data):
            for end, row in data:
                if len(row) != width:
                    text = f"{len(row)} cells, where the header has {width}"
                    self._refuse(self._line + end, "tokens", text)
            data = [(end, row) for end, row in data if len(row) == width]
        cells = list(zip(*(row for _, row in data), strict=True))
        if not cells:
            return
        faults: dict[int, tuple[str, str]] = {}  # by row: the first of it
        columns = []
        if len(self._times) == 2:
            columns.append(
                self._moments(list(map(" ".join, zip(*(cells[at] for at in self._times), strict=True))), faults)
            )
        elif self._times:
            columns.append(self._moments(cells[self._times[0]], faults))
        for at, token in self._columns or ():
            columns.append(self._numbers(cells[at], token.partition(":")[0], faults))
        for i, text in enumerate(map(" ".join, zip(*columns, strict=True))):
            if i in faults:
                self._refuse(self._line + data[i][0], *faults[i])
            else:
                yield data[i][0], text

    def _numbers(self, cells: Cells, name: str, faults: dict[int, tuple[str, str]]) -> Cells:
        """Numbers as lines have them, `nan` where one is missing."""
        said = "\n".join([*cells, ""])
        text = said.translate(self._swap) if self._swap else said
        if not NUMBERS.fullmatch(text):
            text = self._empty.sub("nan", said).translate(self._swap)
        if NUMBERS.fullmatch(text) and text.count("\n") == len(cells):
            return (INFINITE.sub("nan", text) if "n" in text or "N" in text else text).split("\n")[:-1]
        found = []
        for i, cell in enumerate(cells):
            number = cell.strip().translate(self._swap)
            if cell.strip() in self._missing or INFINITE.fullmatch(number) or not number:
                number = "nan"
            elif not NUMBERS.fullmatch(number + "\n"):
                faults.setdefault(i, ("number", f"{name}: {cell[:40]!r} is not a number" + self._hint(cell)))
            found.append(number)
        return found

    def _hint(self, cell: str) -> str:
        if self._decimal == "." and re.fullmatch(r"\s*[+-]?\d+,\d+\s*", cell):
            return "; is --decimal , meant?"
        if THOUSANDS.fullmatch(cell.strip()):
            return "; there is nothing between thousands"
        return "; a unit belongs in the header, name [unit]" if re.match(r"\s*[+-]?[\d.,]+ ?[^\d\s]+$", cell) else ""

    def _moments(self, cells: Cells, faults: dict[int, tuple[str, str]]) -> Cells:
        """Times as epoch numbers."""
        text = "\n".join([*cells, ""])
        if text.count("\n") == len(cells):
            if EPOCHS.fullmatch(text):
                return cells
            if (found := self._in_bulk(text)) is not None:
                return found
        tokens = []
        for i, cell in enumerate(cells):
            try:
                tokens.append(self._moment(cell.strip()))
            except LineError as error:
                tokens.append("")
                faults.setdefault(i, ("time", str(error)))
        return tokens

    def _in_bulk(self, text: str) -> list[str] | None:
        """None: not all are dates of one form that there are."""
        text = in_iso(text)
        is_utc = "Z\n" in text and not LOCALS.fullmatch(text)
        if is_utc:
            if text.count("Z\n") != text.count("\n"):
                return None
            text = text.replace("Z\n", "\n")
        if not LOCALS.fullmatch(text):
            return None
        try:
            times = np.array(text.split("\n")[:-1], "datetime64[ns]").view(np.int64)
        except ValueError:  # as 30 February
            return None
        if not is_utc and not self._is_utc:
            quarters, which = np.unique(times // QUARTER_NS, return_inverse=True)
            offsets = [self._offset_ns(quarter) for quarter in quarters.tolist()]
            if None in offsets:
                return None
            times = times - np.array(offsets, np.int64)[which]
        return list(map(str, times.tolist()))

    def _moment(self, cell: str) -> str:
        """One time as an epoch number. LineError `time` if it is none."""
        text = in_iso(cell)
        if EPOCHS.fullmatch((epoch := text.translate(self._swap)) + "\n"):
            return epoch
        try:
            ns = time_ns(text.encode())
        except LineError:
            hint = "which is the day? ISO 8601 is read, and DD.MM.YYYY" if "/" in cell else "epoch or ISO 8601"
            raise LineError("time", f"{cell[:40]!r} is not a time: {hint}") from None
        if ns is None:
            return "-1"
        if LOCALS.fullmatch(text + "\n"):
            offset = self._offset_ns(ns // QUARTER_NS)
            if offset is None:
                raise LineError("time", f"{cell[:40]!r} is no time of this zone: its clocks were set forward over it")
            ns -= offset
        return str(ns)


def offset_ns(zone: tzinfo, quarter: int) -> int | None:
    """What a zone's clock is ahead of UTC in this quarter of an hour of its own; the first of two; None: there is none.

    `quarter`: counted from 1970-01-01 00:00 of that clock.
    """
    local = datetime(1970, 1, 1) + timedelta(minutes=15 * quarter)  # noqa: DTZ001 - a clock's face
    if not tz.datetime_exists(local, zone):
        return None
    offset = local.replace(tzinfo=zone).utcoffset() or timedelta()
    return offset // timedelta(microseconds=1) * 1000


def in_iso(text: str) -> str:
    """`DD.MM.YYYY`, `YYYY/MM/DD` and `date clock`, one a line, as ISO 8601 has them."""
    text = YEAR_FIRST.sub(r"\1-\2-\3", text)
    text = DAY_FIRST.sub(lambda found: f"{found[3]}-{found[2]:0>2}-{found[1]:0>2}", text)
    return SHORT.sub(r"\g<1>0", CLOCK.sub(r"\1T", text))


def looks_like_time(cell: str) -> bool:
    return bool(re.match(r"\d{1,4}([./-])\d{1,2}\1\d|\d{1,2}:\d\d", cell))


def column_token(cell: str) -> str:
    """``name:unit`` of a header's cell `name`, `name:unit`, `name [unit]` or `name (unit)`; blanks in it become `_`."""
    text = cell.strip()
    if match := UNIT.fullmatch(text):
        name, unit = match[1].replace(":", "_"), match[2] or match[3] or ""
    else:
        name, _, unit = text.partition(":") if text.count(":") == 1 else (text.replace(":", "_"), "", "")
    name, unit = re.sub(r"\s+", "_", name.strip()), re.sub(r"\s+", "", unit)
    return f"{name}:{unit}" if unit else name


class Once:
    """An iterator over lines that knows whether it was asked for more after its end."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = iter(lines)
        self.asked = 0  # beyond the end

    def __iter__(self) -> Once:
        return self

    def __next__(self) -> str:
        for line in self._lines:
            return line + "\n"
        self.asked += 1
        raise StopIteration


def parse(lines: list[str], sep: str) -> tuple[list[list[str]], list[int]]:
    """The rows of these lines, and after how many of the lines each ends; what begins in an open quote is left over."""
    if not any('"' in line for line in lines):
        return list(csv.reader(lines, delimiter=sep, skipinitialspace=True)), list(range(1, len(lines) + 1))
    given = Once(lines)
    reader = csv.reader(given, delimiter=sep, skipinitialspace=True)
    rows, ends = [], []
    for row in reader:
        rows.append(row)
        ends.append(reader.line_num)
    if given.asked > 1:  # the last row ended with the lines, not with its quote
        rows.pop()
        ends.pop()
    return rows, ends


csv.field_size_limit(1 << 30)  # a cell that is too long is refused like any other text
