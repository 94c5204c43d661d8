"""Bytes as they are read -> records of text; and what telegrams of meters say of whom they are from."""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Pattern = re.Pattern[str]

LONGEST_RECORD = 65536  # bytes
LONGEST_WAIT = 120.0  # seconds from a record's first line to its last
BEGIN, END = re.compile("^/"), re.compile("^!")  # of telegrams of IEC 62056-21 and of DSMR, which is made of it


class Cutter:
    """Cuts records out of bytes: lines, or those from one that matches `begin` to one that matches `end`."""

    def __init__(self, begin: Pattern | None, end: Pattern | None, bad: Callable[[str], None]) -> None:
        """`bad` is called with the reason for each record that is not whole."""
        self._begin, self._end, self._bad = begin, end, bad
        self._rest = b""  # bytes not yet looked at
        self._lines: list[bytes] = []  # of the record that has begun
        self._size, self._since = 0, 0.0
        self._is_long = False  # the line that is coming is too long: its rest is passed over

    def add(self, data: bytes) -> None:
        """What was read."""
        self._rest += data

    def records(self, now: float, is_end: bool = False) -> Iterator[bytes]:
        """The records that are whole by now; `now` is monotonic. `is_end`: nothing follows what was added."""
        while (cut := self._rest.find(b"\n") + 1) or (is_end and (cut := len(self._rest))):
            line, self._rest = self._rest[:cut], self._rest[cut:]
            if self._is_long:
                self._is_long = False
            else:
                yield from self._line(line, now)
        if len(self._rest) > LONGEST_RECORD:
            if not self._is_long:
                self._drop("it is longer than 64 KiB")
            self._rest, self._is_long = b"", True
        if self._lines and now - self._since > LONGEST_WAIT:
            self._drop(f"it had no end within {LONGEST_WAIT:g} s")
        if is_end:
            self._is_long = False
            if self._lines and self._end:
                self._drop("its end is missing")
            elif self._lines:
                yield from self._take()

    def leave(self) -> bytes:
        """What was added and is part of no record yet; it is forgotten."""
        rest, self._rest, self._lines, self._size = b"".join(self._lines) + self._rest, b"", [], 0
        return rest

    @property
    def pending(self) -> int:
        """How many bytes were added that are part of no record yet."""
        return self._size + len(self._rest)

    def _line(self, line: bytes, now: float) -> Iterator[bytes]:
        text = line.decode("utf-8", "replace")
        if not self._begin and not self._end:
            if text.strip():
                yield line.rstrip(b"\r\n")
            return
        if self._begin and self._begin.match(text):
            if self._lines and self._end:
                self._drop("another begins before its end")
            elif self._lines:
                yield from self._take()
        elif self._begin and not self._lines:
            return  # the end of one whose beginning was not read
        if not self._lines:
            self._since = now
        self._lines.append(line)
        self._size += len(line)
        if self._size > LONGEST_RECORD:
            self._drop("it is longer than 64 KiB")
        elif self._end and self._end.match(text):
            yield from self._take()

    def _take(self) -> Iterator[bytes]:
        record, self._lines, self._size = b"".join(self._lines), [], 0
        yield record

    def _drop(self, reason: str) -> None:
        self._lines, self._size = [], 0
        self._bad(reason)


def text_of(record: bytes) -> str:
    """As patterns see it."""
    return record.decode("utf-8", "replace").replace("\r\n", "\n")


def crc16(data: bytes) -> int:
    """CRC-16/ARC, as DSMR 5.0.2 (P1) has it in 5.2: x^16 + x^15 + x^2 + 1, the low bit first."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0xA001 if crc & 1 else crc >> 1
    return crc


def crc_error(record: bytes) -> str:
    """What is wrong with a record that ends in ! and the checksum of all to there; empty if nothing is."""
    begin, end = record.find(b"/"), record.rfind(b"!") + 1
    said = record[end:].strip()
    if not re.fullmatch(rb"[0-9A-Fa-f]{4}", said):
        return f"{said.decode('utf-8', 'replace')!r} after ! is no CRC of four digits"
    if int(said, 16) != (is_so := crc16(record[begin:end])):
        return f"its CRC is {is_so:04X}, not {said.decode()}"
    return ""


HEAD = re.compile(r"^/(\w{3}).(?:\\\w)*(\S[^\r\n]*)$", re.MULTILINE)
VERSION = re.compile(r"^(?:1-3:0\.2\.8|0-0:96\.1\.4)\((\d)\d*\)", re.MULTILINE)  # the second: in Belgium
SERIALS = tuple(
    re.compile(pattern, re.MULTILINE)
    for pattern in (
        r"^0-0:96\.1\.1\(([^()\s]+)\)",  # DSMR: in hexadecimal
        r"^(?:\d+-\d+:)?(?:0\.0\.[09]|C\.1\.[0-9]|96\.1\.0)(?:\*255)?\(([^()\s]+)\)",
    )
)


def who(record: str) -> tuple[str, str] | None:
    """PRODUCT and SERIAL that a telegram of IEC 62056-21 or DSMR names; None if it is none, or lacks one of them.

    PRODUCT is `dsmr5.ISk-M550E-1012` or `iec62056.EMH-ED300L`: what it speaks, its maker, its type.
    """
    head = HEAD.search(record)
    serial = next((found[1] for pattern in SERIALS if (found := pattern.search(record))), "")
    if not head or not serial:
        return None
    version = VERSION.search(record)
    speaks = f"dsmr{version[1]}" if version else "iec62056"
    if version and len(serial) % 2 == 0 and re.fullmatch(r"(?:[2-7][0-9A-Fa-f])+", serial):
        serial = bytes.fromhex(serial).decode("ascii")
    return tuple(  # type: ignore[return-value]
        re.sub(r"[^!-~]+", "_", text.strip())[:64] for text in (f"{speaks}.{head[1]}-{head[2]}", serial)
    )
