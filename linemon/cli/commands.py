"""What the short commands do: sources, tail, send, export, check. Each returns the exit code."""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from agent.unit import unit as systemd_unit
from linemon.config import Address, Config, HttpConfig, TcpConfig
from linemon.doors import reach, said
from linemon.errors import AskedWrongly, LinemonError
from linemon.http.answers import describe, iso_ns
from linemon.lines import wire
from linemon.outputs.tap import raw_lines
from linemon.store.formats import FORMATS, iso
from linemon.store.reader import Rows, Store
from linemon.tls import server_context
from linemon.when import when
from linemon_sender.tls import Tls


def sources(store: Store, *, as_json: bool, errors: bool) -> int:
    """A table of all sources, or with `errors` of the last bad lines."""
    must_be_there(store)
    if errors:
        listed = [bad | {"time": iso_ns(bad["time"])} for bad in store.status().get("bad_lines", ())]
    else:
        now = time.time_ns()
        listed = [describe(store[name], now) for name in store.sources()]
    if as_json:
        print(json.dumps(listed, ensure_ascii=False, indent=1))
    elif errors:
        names = ("time", "peer", "source", "number", "error", "line")
        table(
            ("time", "peer", "source", "line", "error", "text"),
            ([bad[name] for name in names] for bad in listed),
        )
    else:
        table(
            ("source", "columns", "rows", "rate", "age", "rejected"),
            (
                (
                    each["source"],
                    len(each["columns"]),
                    each["rows"],
                    "-" if each["rate_per_s"] is None else f"{each['rate_per_s']:.3g}/s",
                    newest(each),
                    each["rejected"],
                )
                for each in listed
            ),
        )
    return 0


def must_be_there(store: Store) -> None:
    """LinemonError where no collector has ever written."""
    if not store.status() and not store.sources():
        raise LinemonError(f"no store at {store.path}: is the collector running? `linemon up` starts one")


def newest(described: dict[str, Any]) -> str:
    """How old the newest row is, or since when there should have been one."""
    if described["silent_since"]:
        return f"silent since {described['silent_since']}"
    return "-" if described["age_s"] is None else span(described["age_s"])


def tail(config: Config, store: Store, name: str | None, columns: tuple[str, ...], *, raw: bool) -> int:
    """The newest row, then every row as it comes, until interrupted."""
    source = store[name or config.agent.source]
    if raw:
        columns = columns or (() if name is None else source.columns)
    else:
        columns = columns or source.columns
        missing = [column for column in columns if column not in source.columns]
        if missing:
            raise AskedWrongly(f"{source.name!r} has no column {missing[0]!r}; it has: {', '.join(source.columns)}")
        print("time", *columns)
    rows = source.last(1)
    while True:
        if rows.missed:
            print(f"{rows.missed} rows came too fast to be shown", file=sys.stderr)
        lines = [line.decode() for line in raw_lines(rows, columns)]
        if not raw:
            lines = [f"{at} {line}" for at, line in zip(iso(rows.time), lines, strict=True)]
        sys.stdout.writelines(lines)
        sys.stdout.flush()
        while not len(rows := source.since(rows.cursor)):
            store.wait()


def send(config: Config, store: Store, source: str, assignments: list[str]) -> int:
    """Send one row of NAME=VALUE, or the lines of standard input, and say what became of them.

    Columns of a known source that are not named are sent as missing.
    """
    wire.source_name(source)
    lines: Iterable[bytes] = sys.stdin.buffer
    head = [f"#source {source}"]
    if assignments:
        row = dict.fromkeys(store[source].columns if source in store else (), "nan")
        for assignment in assignments:
            name, _, value = assignment.rpartition("=")
            if not name or set(name) & set(": \t"):
                raise AskedWrongly(f"{assignment!r}: expected NAME=VALUE, such as value=20.3")
            wire.number(value.encode())
            row[name] = value
        wire.columns(list(row))
        head.append("#columns " + " ".join(row))
        lines = [" ".join(row.values()).encode() + b"\n"]
    if config.tcp.token:
        head.insert(0, f"#token {config.tcp.token}")
    # The collector knows its port where the settings leave the choice to the system.
    address = Address.parse(store.status().get("tcp", str(config.tcp.listen))).from_here
    try:
        sock = socket.create_connection((address.host, address.port), timeout=10)
    except OSError as error:
        raise LinemonError(f"no collector at {address}: {error.strerror}; `linemon up` starts one") from error
    if config.tcp.tls:
        try:
            sock = Tls(address.host, config.agent.ca, config.agent.cert).wrap(sock)
        except OSError as error:
            raise LinemonError(f"no TLS with {address}: {error.strerror}; see ca and cert in [agent]") from error
    with sock:
        sock.sendall("\n".join(["#errors on", *head, ""]).encode())
        for line in lines:
            sock.sendall(line if line.endswith(b"\n") else line + b"\n")
        sock.sendall(b"#stats\n")
        answers = []
        for said in sock.makefile("r", errors="replace"):
            answers.append(said.rstrip("\n"))
            if said.startswith("#stats "):
                break
    for answer in answers:
        if answer.startswith("#error "):
            _, number, reason = answer.split(" ", 2)
            at = "" if assignments else f"line {int(number) - len(head) - 1}: "
            print(f"linemon: {at}{reason}", file=sys.stderr)
    counts = dict(pair.split("=") for pair in answers[-1].split()[1:]) if answers else {}
    if not counts:
        raise LinemonError("the collector closed the connection before it said what it stored")
    return 0 if counts["received"] == counts["stored"] else 1


def export(
    store: Store,
    name: str,
    *,
    since: str | None,
    until: str | None,
    kind: str,
    columns: tuple[str, ...],
    out: str | None,
) -> int:
    """The rows of a source from `since` up to, not including, `until`."""
    now = time.time_ns()
    try:
        start, end = (np.datetime64(when(text, now), "ns") if text else None for text in (since, until))
    except ValueError as error:
        raise AskedWrongly(str(error)) from None
    rows = store[name].between(start, end)
    if columns:
        rows = select(rows, columns)
    if out is None:
        FORMATS[kind](rows, sys.stdout.buffer)
        return 0
    # Under its name only when it is whole: a half-written export looks like data.
    draft = Path(out + ".part")
    try:
        with draft.open("wb") as file:
            FORMATS[kind](rows, file)
        draft.rename(out)
    except OSError as error:
        raise LinemonError(f"cannot write {out}: {error.strerror}") from error
    finally:
        draft.unlink(missing_ok=True)
    return 0


def select(rows: Rows, columns: tuple[str, ...]) -> Rows:
    """Only these columns, in this order."""
    missing = [column for column in columns if column not in rows.columns]
    if missing:
        raise AskedWrongly(f"{rows.source!r} has no column {missing[0]!r}; it has: {', '.join(rows.columns)}")
    at = [rows.columns.index(column) for column in columns]
    return Rows(rows.source, columns, tuple(rows.units[i] for i in at), rows.time, rows.values[:, at], rows.cursor)


def check(config: Config) -> int:
    """Say what the settings mean; they are right, or they could not have been loaded."""
    print(f"{config.file or 'built-in defaults (no linemon.toml here or in the config folder)'}: right")
    store, tcp = config.store, config.tcp
    print(f"store:     {store.folder}, the newest {store.points} rows of up to {store.max_sources} sources")
    config.tokens()
    if config.tls.cert:
        server_context(config.tls)
    print(*said(config), sep="\n")
    print(f"dashboard: http://{config.dashboard.listen}/, {reach(config.dashboard.listen)}")
    agent = config.agent
    print(f"agent:     sends {agent.source} to {agent.to} every {agent.interval:g} s")
    spool = agent.spool or "memory"
    print(f"           rows wait in {spool}, up to {agent.spool_bytes} bytes and {agent.spool_age:g} s")
    if tcp.tls and not agent.tls:
        print("warning: [tcp] tls = true, but [agent] tls = false: an agent in the clear is refused", file=sys.stderr)
    for section, port in config.ports():
        if port.allow_open and not port.listen.is_loopback:
            print(f"warning: {section} listens on {port.listen} and asks nobody who they are", file=sys.stderr)
        elif isinstance(port, TcpConfig | HttpConfig) and not port.listen.is_loopback and not port.tls:
            print(f"warning: {section} listens on {port.listen} without tls: others may read it all", file=sys.stderr)
    return 0


def print_unit(config: Config) -> int:
    """A systemd unit for `linemon up` with these settings."""
    command = [sys.executable, "-m", "linemon", "up"]
    if config.file:
        command += ["--config", str(config.file.resolve())]
    # Its user is not yours: the store needs a place that both can name.
    more = "RuntimeDirectory=linemon\nRuntimeDirectoryMode=0755\nLimitNOFILE=65536"
    print(systemd_unit("linemon", "linemon: collector, page and agent", command, more), end="")
    if not config.store.path:
        say = 'path = "/run/linemon/store" and readable_by = "everyone" under [store]'
        print(f"linemon: say {say}, so that others find the rings", file=sys.stderr)
    return 0


def span(seconds: float) -> str:
    """A duration in its largest fitting unit."""
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.1f} s"


def printable(cell: object) -> str:
    """The cell's text with what is not printable escaped; `-` for None."""
    text = "-" if cell is None else str(cell)
    return text if text.isprintable() else text.encode("unicode_escape").decode()


def table(header: tuple[str, ...], rows: Iterable[Iterable[Any]]) -> None:
    """Columns of text as wide as they need to be; what a sender wrote cannot steer the terminal."""
    cells = [header, *([printable(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
