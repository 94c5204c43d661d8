"""`linemon send`: rows and lines by hand, and what became of them."""

from __future__ import annotations

import argparse
import os
import select
import socket
import ssl
import sys
from collections import Counter
from contextlib import suppress

from linemon.config import Address, Config
from linemon.errors import REASONS, AskedWrongly, LineError, LinemonError
from linemon.store.status import read_status

HELP = "send one row by hand, or the lines of standard input"
EXAMPLE = "linemon send room1.temperature value=20.3"
SHOWN = 10  # errors that are shown as they come; the others are counted
WAIT_S = 10.0  # for the collector, to connect and for its last word
PIECE_BYTES = 1 << 16
END = b"#stats\n"
NOT_NOW = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="SOURCE", help="whose rows they are; - for lines that name their source")
    parser.add_argument("values", metavar="NAME=VALUE", nargs="*", help="none: read lines from standard input")


def run(config: Config, options: argparse.Namespace) -> int:
    """Send, show errors as they come, and say at the end, also on Ctrl-C, what was stored."""
    head = [] if options.source == "-" else [f"#source {options.source}"]
    row = b""
    if options.values:
        values = one_row(config, options.source, options.values)
        head.append("#columns " + " ".join(values))
        row = " ".join(values.values()).encode() + b"\n"
    if token := os.environ.get("LINEMON_TOKEN") or config.tcp.token:
        head.insert(0, f"#token {token}")
    head.insert(0, "#errors on")
    answers = Answers(0 if options.values else len(head))
    with connect(config) as sock:
        converse(sock, "\n".join([*head, ""]).encode() + row, None if options.values else sys.stdin.fileno(), answers)
    return answers.sum_up()


def converse(sock: socket.socket, first: bytes, fd: int | None, answers: Answers) -> None:
    """Send these lines, then those that come from `fd`, and hear the answers meanwhile, until the last one is heard."""
    sock.setblocking(False)
    out = bytearray(first + (END if fd is None else b""))
    last = first
    while not answers.are_complete:
        try:
            readers: list[socket.socket | int] = [sock]
            if fd is not None and len(out) < PIECE_BYTES:
                readers.append(fd)
            ready, room, _ = select.select(readers, [sock] if out else [], [], WAIT_S if fd is None else None)
            if not ready and not room:
                return
            if fd in ready and fd is not None:
                if said := os.read(fd, PIECE_BYTES):
                    last = said
                else:
                    said, fd = (b"" if last.endswith(b"\n") else b"\n") + END, None
                out += said
            if room:
                with suppress(*NOT_NOW):
                    del out[: sock.send(out)]
            with suppress(*NOT_NOW):
                while said := sock.recv(PIECE_BYTES):
                    answers.hear(said)
                return
        except KeyboardInterrupt:  # what was sent until now is accounted for all the same
            if fd is None:
                return
            fd = None
            out += b"\n" + END
        except OSError:  # the collector is gone; what it said until then counts
            return


def one_row(config: Config, source: str, assignments: list[str]) -> dict[str, str]:
    """The tokens of a row by column; columns of a known source that are not named are missing."""
    from linemon.lines import wire
    from linemon.store.reader import Store

    if source == "-":
        raise AskedWrongly("NAME=VALUE needs a SOURCE; - is for lines that name their source")
    wire.source_name(source)
    store = Store(config.store.folder)
    known = store[source].columns if source in store else ()
    row = dict.fromkeys(known, "nan")
    for assignment in assignments:
        name, _, value = assignment.rpartition("=")
        if not name or set(name) & set(": \t"):
            raise AskedWrongly(f"{assignment!r}: expected NAME=VALUE, such as value=20.3")
        try:
            wire.number(value.encode())
        except LineError as error:
            raise AskedWrongly(f"{assignment!r}: {error}") from None
        if known and name not in row:
            print(f"linemon: {name!r} is a new column of {source!r}", file=sys.stderr)
        row[name] = value
    wire.columns(list(row))
    return row


def connect(config: Config) -> socket.socket:
    """A connection to the line port. LinemonError where there is none."""
    # The collector knows its port where the settings leave the choice to the system.
    address = Address.parse(read_status(config.store.folder).get("tcp", str(config.tcp.listen))).from_here
    try:
        sock = socket.create_connection((address.host, address.port), timeout=WAIT_S)
    except OSError as error:
        raise LinemonError(f"no collector at {address}: {error.strerror}; `linemon up` starts one") from error
    if config.tcp.tls:
        from linemon_sender.tls import Tls

        try:
            return Tls(address.host, config.agent.ca, config.agent.cert).wrap(sock)
        except OSError as error:
            raise LinemonError(f"no TLS with {address}: {error.strerror}; see ca and cert in [agent]") from error
    return sock


class Answers:
    """What the collector says."""

    def __init__(self, skip: int) -> None:
        """`skip`: lines of ours before the first one of the user's; 0 where he typed none."""
        self._skip = skip
        self._rest = b""
        self._reasons: Counter[str] = Counter()
        self._stats: dict[str, int] = {}

    @property
    def are_complete(self) -> bool:
        return bool(self._stats)

    def hear(self, data: bytes) -> None:
        """Bytes as they come: errors are shown, the first ones, and counted."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            word, _, rest = line.decode(errors="replace").partition(" ")
            if word == "#error":
                self._error(*rest.split(" ", 1))
            elif word == "#stats":
                self._stats = {name: int(count) for name, count in (pair.split("=") for pair in rest.split())}

    def _error(self, number: str, text: str) -> None:
        reason, _, what = text.partition(": ")
        if reason not in REASONS:
            reason, what = "other", text
        self._reasons[reason] += 1
        if self._reasons.total() <= SHOWN:
            at = f"line {int(number) - self._skip}: " if self._skip else ""
            print(f"linemon: {at}{what}", file=sys.stderr)
        elif self._reasons.total() == SHOWN + 1:
            print("linemon: more errors follow; they are counted", file=sys.stderr)

    def sum_up(self) -> int:
        """Print what was stored and rejected; the exit code."""
        if not self._stats:
            raise LinemonError("the collector closed the connection before it said what it stored")
        rejected, reasons = self._stats["rejected"], self._reasons
        if untold := rejected - reasons.total():  # the collector had no room for all of them
            reasons["other"] += untold
        by_reason = ", ".join(f"{reason} {count}" for reason, count in reasons.most_common() if count > 0)
        print(f"stored {self._stats['stored']}, rejected {rejected}" + (f" ({by_reason})" if rejected else ""))
        return 0 if self._stats["received"] == self._stats["stored"] else 1
