"""`linemon mark`: a moment with a text, by hand."""

from __future__ import annotations

import argparse
import os
import time

from linemon.config import Config
from linemon.errors import AskedWrongly, LinemonError

HELP = "set a mark: a moment with a text, which charts show"
EXAMPLE = 'linemon mark "heater on" --source room1 --at 10m'
PIECE_BYTES = 1 << 12


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("text", metavar="TEXT", nargs="+", help="1 to 500 characters")
    parser.add_argument("--source", metavar="SOURCE", help="whose mark it is (default: of all sources)")
    parser.add_argument("--at", metavar="WHEN", default="now", help="10m (ago), 09:30 or 2026-11-22T10:15:00Z (UTC)")


def run(config: Config, options: argparse.Namespace) -> int:
    """Set it, and say nothing. LinemonError where the collector is away, or refuses it."""
    from linemon.cli.send import connect
    from linemon.lines import wire
    from linemon.store.folder import read_key
    from linemon.when import iso_ns, when

    text = wire.mark_text(" ".join(options.text))
    try:
        at = when(options.at, time.time_ns())
    except ValueError as error:
        raise AskedWrongly(f"--at {error}") from None
    lines = [f"#mark {iso_ns(at)} {text}", "#stats", ""]
    if options.source is not None:
        lines.insert(0, f"#source {wire.source_name(options.source)}")
    if token := os.environ.get("LINEMON_TOKEN") or config.tcp.token or read_key(config.store.folder):
        lines.insert(0, f"#token {token}")
    answer = b""
    with connect(config) as sock:
        sock.sendall("\n".join(["#errors on", *lines]).encode())
        while b"#stats" not in answer:
            if not (more := sock.recv(PIECE_BYTES)):
                raise LinemonError("the collector closed the connection before it had set the mark")
            answer += more
    for line in answer.decode().splitlines():
        if line.startswith("#error"):
            raise LinemonError(line.partition(": ")[2])
    return 0
