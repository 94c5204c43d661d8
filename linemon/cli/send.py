"""`linemon send`: rows, lines, CSV and files that grow, by hand, and what became of them."""

from __future__ import annotations

import argparse
import os
import re
import select
import socket
import ssl
import sys
from collections import Counter
from contextlib import suppress
from typing import Protocol

from linemon.config import Address, Config
from linemon.errors import REASONS, AskedWrongly, LineError, LinemonError
from linemon.store.status import read_status

HELP = "send one row by hand, the lines or CSV of standard input, or of a file as it grows"
EXAMPLE = "linemon send room1 temperature=20.3; linemon send room1 --csv < room1.csv"
SHOWN = 10  # errors that are shown as they come; the others are counted
WAIT_S = 10.0  # for the collector, to connect and for its last word
PIECE_BYTES = 1 << 16
MAX_REST = 1 << 20  # bytes of a line that is not whole: the collector may refuse it as it likes
END = b"#stats\n"
STATS = re.compile(rb"(?m)^[ \t]*#stats[ \t\r]*$")
CSV_ONLY = {"sep": ",", "decimal": ".", "columns": None, "zone": "UTC", "missing": ""}  # options, their defaults
NOT_NOW = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Feed(Protocol):
    """Makes lines of what is read: of each piece those that are whole, and at the end what is left."""

    def take(self, piece: bytes) -> bytes: ...

    def end(self) -> bytes: ...


class Lines:
    """Lines as they are, but for `#stats`: its answer is how we know the end."""

    def __init__(self) -> None:
        self._rest = b""
        self._is_first = True

    def take(self, piece: bytes) -> bytes:
        data = self._rest + piece
        end = len(data) if len(data) > MAX_REST else data.rfind(b"\n") + 1
        whole, self._rest = data[:end], data[end:]
        if whole and self._is_first:
            whole, self._is_first = whole.removeprefix(b"\xef\xbb\xbf"), False  # a byte order mark
        return STATS.sub(b"#", whole) if b"#stats" in whole else whole

    def end(self) -> bytes:
        return self.take(b"\n") if self._rest else b""


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source", metavar="SOURCE", nargs="?", help="whose rows they are; - for lines that name their source"
    )
    parser.add_argument("values", metavar="NAME=VALUE", nargs="*", help="none: read lines from standard input")
    parser.add_argument(
        "--follow", metavar="FILE",
        help="the lines of a file from its beginning, then what is added, also where another takes its place; a line "
        "that the collector did not confirm is sent again, so some may be stored twice",
    )  # fmt: skip
    parser.add_argument(
        "--csv", action="store_true",
        help="the lines are CSV, the first is its header; time, timestamp, date, datetime are the row's time",
    )  # fmt: skip
    parser.add_argument("--sep", metavar="CHAR", default=",", help="between cells (default: ,), also tab")
    parser.add_argument("--decimal", metavar="CHAR", default=".", help="the decimal sign (default: .)")
    parser.add_argument("--columns", metavar="a,,c", help="there is no header, these are the columns; none: left out")
    parser.add_argument("--zone", metavar="NAME", default="UTC", help="of times without one, as Europe/Berlin")
    parser.add_argument("--missing", metavar="NA,-", default="", help="cells that mean no value, as empty ones do")


def run(config: Config, options: argparse.Namespace) -> int:
    """Send, show errors as they come, and say at the end, also on Ctrl-C, what was stored."""
    check(options)
    head = [] if options.source == "-" else [f"#source {options.source}"]
    row = b""
    if options.values:
        values = one_row(config, options.source, options.values)
        head.append("#columns " + " ".join(values))
        row = " ".join(values.values()).encode() + b"\n"
    if token := os.environ.get("LINEMON_TOKEN") or config.tcp.token:
        head.insert(0, f"#token {token}")
    head.insert(0, "#errors on")
    answers = Answers(0 if options.values else len(head) + options.csv)
    first = "\n".join([*head, ""]).encode() + row
    if options.follow:
        from linemon.cli._follow import Follower

        Follower(options.follow, lambda: connect(config), first, lambda: feed_of(options, answers), answers).run()
        return answers.sum_up()
    feed = feed_of(options, answers)
    with connect(config) as sock:
        converse(sock, first, None if options.values else sys.stdin.fileno(), feed, answers)
    if not answers.are_complete:
        raise LinemonError("the collector closed the connection before it said what it stored")
    return answers.sum_up()


def check(options: argparse.Namespace) -> None:
    """AskedWrongly where options do not go together."""
    if not options.source:
        raise AskedWrongly("whose rows are they? linemon send SOURCE; - for lines that name their source")
    csv_only = [name for name, default in CSV_ONLY.items() if getattr(options, name) != default]
    if csv_only and not options.csv:
        raise AskedWrongly(f"--{csv_only[0]} is for --csv")
    if options.values and (options.csv or options.follow):
        raise AskedWrongly(f"{options.values[0]!r}: a file is read by < {options.values[0]}, or with --follow")
    if options.csv and options.source == "-":
        raise AskedWrongly("CSV names no source: linemon send SOURCE --csv")


def feed_of(options: argparse.Namespace, answers: Answers) -> Feed:
    """What reads the lines as the options say they are."""
    if not options.csv:
        return Lines()
    from linemon.cli._csv import Csv

    return Csv(
        answers.refuse,
        say,
        sep=options.sep,
        decimal=options.decimal,
        columns=options.columns,
        zone=options.zone,
        missing=[word for word in options.missing.split(",") if word],
    )


def say(text: str) -> None:
    print(f"linemon: {text}", file=sys.stderr, flush=True)


def converse(sock: socket.socket, first: bytes, fd: int | None, feed: Feed, answers: Answers) -> None:
    """Send these lines, then those that come from `fd`, and hear the answers meanwhile, until the last one is heard."""
    sock.setblocking(False)
    out = bytearray(first + (END if fd is None else b""))
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
                    out += feed.take(said)
                else:
                    fd = None
                    out += feed.end() + END
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
            out += feed.end() + END
        except OSError:  # the collector is gone; what it said until then counts
            return


def one_row(config: Config, source: str, assignments: list[str]) -> dict[str, str]:
    """The tokens of a row by column; columns of a known source that are not named are missing."""
    from linemon.lines import wire
    from linemon.store.catalog import Catalog

    if source == "-":
        raise AskedWrongly("NAME=VALUE needs a SOURCE; - is for lines that name their source")
    wire.source_name(source)
    entry = Catalog(config.store.folder).find(source)
    known = entry.columns if entry else ()
    row = dict.fromkeys(known, "nan")
    for assignment in assignments:
        name, _, value = assignment.rpartition("=")
        if not name or set(name) & set(": \t"):
            hint = f"; a file is read by < {assignment}" if os.path.exists(assignment) else ""
            raise AskedWrongly(f"{assignment!r}: expected NAME=VALUE, such as value=20.3{hint}")
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
    """What the collector says, on one connection or on several one after another."""

    def __init__(self, skip: int) -> None:
        """`skip`: lines of ours before the first one of the user's; 0 where he typed none."""
        self._own = skip
        self._skip = skip
        self._rest = b""
        self._shown = 0
        self._reasons: Counter[str] = Counter()
        self._sure: Counter[str] = Counter()  # what `_reasons` was when the collector last said its counts
        self._stats: dict[str, int] = {}
        self._before: Counter[str] = Counter()  # the counts of earlier connections
        self._refused: Counter[str] = Counter()  # rows that were not sent
        self.is_broken = False  # not all that was to be sent is accounted for

    @property
    def are_complete(self) -> bool:
        return bool(self._stats)

    def begin(self, line: int) -> None:
        """Another connection, whose first line of the user's is this one of his file (from 0)."""
        self._before.update(self._stats)
        self._stats, self._rest = {}, b""
        self._reasons = self._sure.copy()
        self._skip = self._own - line

    def hear(self, data: bytes) -> bool:
        """Bytes as they come: errors are shown, the first ones, and counted. Whether the counts came, too."""
        had_stats = False
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            word, _, rest = line.decode(errors="replace").partition(" ")
            if word == "#error":
                self._error(*rest.split(" ", 1))
            elif word == "#stats":
                self._stats = {name: int(count) for name, count in (pair.split("=") for pair in rest.split())}
                self._sure = self._reasons.copy()
                self._skip += 1  # it is a line of the connection, too
                had_stats = True
        return had_stats

    def _error(self, number: str, text: str) -> None:
        reason, _, what = text.partition(": ")
        if reason not in REASONS:
            reason, what = "other", text
        if reason != "comment":  # a note, of a line that is not rejected
            self._reasons[reason] += 1
        self._show(int(number) - self._skip if self._own else 0, what)

    def refuse(self, line: int, reason: str, what: str) -> None:
        """A row of the user's that is not sent."""
        self._refused[reason] += 1
        self._show(line, what)

    def _show(self, line: int, what: str) -> None:
        self._shown += 1
        if self._shown <= SHOWN:
            say(f"line {line}: {what}" if line else what)
        elif self._shown == SHOWN + 1:
            say("more errors follow; they are counted")

    def sum_up(self) -> int:
        """Print what was stored and rejected; the exit code."""
        counts = self._before + Counter(self._stats)
        rejected, reasons = counts["rejected"], self._sure + self._refused
        if untold := rejected - self._sure.total():  # the collector had no room for all of them
            reasons["other"] += untold
        rejected += self._refused.total()
        by_reason = ", ".join(f"{reason} {count}" for reason, count in reasons.most_common() if count > 0)
        print(f"stored {counts['stored']}, rejected {rejected}" + (f" ({by_reason})" if rejected else ""))
        if rejected and not counts["stored"]:
            say("docs/RECIPES.md has one line each that makes lines of vmstat, df, ping, JSON, CSV and others")
        is_whole = counts["received"] == counts["stored"] and not self._refused and not self.is_broken
        return 0 if is_whole else 1
