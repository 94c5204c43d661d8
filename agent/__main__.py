"""The agent's command line, and its loop."""

from __future__ import annotations

import getopt
import os
import selectors
import signal
import socket
import sys
import time

import psutil

from agent.listener import TUTORIAL, Listener
from agent.sampler import FIXED, Sampler
from agent.sender import Sender

HELP = """\
usage: linemon agent [--to HOST:PORT] [--listen HOST:PORT] [options]

Reads this machine's metrics and sends them to a collector, or serves them itself.

  --to HOST:PORT      the collector; default: $LINEMON_TO, else 127.0.0.1:4000 unless --listen is given
  --listen HOST:PORT  serve rows to LabPlot or nc; may be given together with --to
  --columns A,B       with --listen: which columns, in which order; default: those of LabPlot's tutorial,
                      {}
  --name NAME         the source's name; default: the host's name
  --interval SECONDS  from one row to the next, {} to {}; default: 1
  --token SECRET      proves the right to write; better kept in $LINEMON_TOKEN, as others can read options
  --help              print this

examples:
  linemon agent --to collector.example:4000 --name web1 --interval 5
  linemon agent --listen 127.0.0.1:1027     and then: nc 127.0.0.1 1027
"""
SHORTEST, LONGEST = 0.05, 60.0  # seconds; a collector hangs up on who says nothing for minutes


class UsageError(Exception):
    """An option is wrong; its text says which and why."""


class Options:
    """What the command line and the environment ask for."""

    def __init__(self, argv: list[str]) -> None:
        """Raises UsageError."""
        try:
            known = ["to=", "listen=", "columns=", "name=", "interval=", "token=", "help"]
            pairs, rest = getopt.gnu_getopt(argv, "h", known)
        except getopt.GetoptError as error:
            raise UsageError(str(error)) from None
        if rest:
            raise UsageError(f"unexpected argument {rest[0]!r}")
        given = dict(pairs)
        self.help = "--help" in given or "-h" in given
        self.listen = _address("--listen", given["--listen"]) if "--listen" in given else None
        to = given.get("--to") or os.environ.get("LINEMON_TO") or ("" if self.listen else "127.0.0.1:4000")
        self.to = _address("--to", to) if to else None
        if "--columns" in given and not self.listen:
            raise UsageError("--columns goes with --listen; a collector gets all columns")
        self.columns = tuple(given["--columns"].split(",")) if "--columns" in given else TUTORIAL
        if not all(self.columns):
            raise UsageError(f"--columns {given['--columns']!r} has an empty name")
        self.name = given.get("--name", "").strip() or socket.gethostname()
        if not self.name.isprintable() or len(self.name.encode()) > 255:
            raise UsageError(f"--name {self.name!r} is not 1 to 255 bytes without control characters")
        self.token = given.get("--token") or os.environ.get("LINEMON_TOKEN", "")
        if not self.token.isprintable() or " " in self.token:
            raise UsageError("the token holds a blank or a control character")
        try:
            self.interval = float(given.get("--interval", "1"))
        except ValueError:
            self.interval = 0.0
        if not SHORTEST <= self.interval <= LONGEST:
            wanted = f"{SHORTEST} to {LONGEST:g} seconds"
            raise UsageError(f"--interval {given['--interval']!r} is not {wanted}")


def main(argv: list[str] | None = None) -> int:
    """Run the agent until SIGINT or SIGTERM; 0 = ended by them, 1 = cannot listen, 2 = wrong options."""
    try:
        options = Options(sys.argv[1:] if argv is None else argv)
    except UsageError as error:
        log(f"{error}; --help shows how")
        return 2
    if options.help:
        print(HELP.format(",".join(TUTORIAL), SHORTEST, f"{LONGEST:g}"), end="")
        return 0
    return run(options)


def run(options: Options) -> int:
    """One row at each point of a monotonic grid, and between them whatever the sockets bring."""
    selector = selectors.DefaultSelector()
    ended: list[int] = []
    woken, waker = socket.socketpair()  # a signal must end a wait that has just begun, too
    woken.setblocking(False)
    waker.setblocking(False)
    selector.register(woken, selectors.EVENT_READ, lambda _: ended.extend(woken.recv(16)))
    signal.set_wakeup_fd(waker.fileno())
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)

    sampler = Sampler(psutil, log)
    listener = sender = None
    if options.listen:
        try:
            listener = Listener(options.listen, options.columns, selector, log)
        except OSError as error:
            log(f"cannot listen on {options.listen[0]}:{options.listen[1]}: {error.strerror or error}")
            return 1
        if not options.listen[0].startswith("127.") and options.listen[0] not in ("::1", "localhost"):
            log("warning: everyone who reaches this port can read this machine's metrics")
    if options.to:
        sender = Sender(options.to, options.name, options.token, sampler.columns, len(FIXED), selector, log)

    sampler.sample(0)  # what the first differences are taken from
    due = time.monotonic() + options.interval
    while not ended:
        for key, mask in selector.select(max(0.0, due - time.monotonic())):
            key.data(mask)
        late = time.monotonic() - due
        if late < 0:
            continue
        due += options.interval * (late // options.interval + 1)
        sample = sampler.sample(sender.dropped if sender else 0)
        if sample is None:
            continue
        at, values = sample
        if sender:
            sender.send(at, values)
        if listener:
            listener.publish(values)
    if listener:
        listener.close()
    if sender:
        sender.close()
    return 0


def log(text: str) -> None:
    """Write one line to standard error; that nobody reads it is no reason to stop."""
    try:
        sys.stderr.write(f"linemon agent: {text}\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        pass


def _address(option: str, text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise UsageError(f"{option} {text!r}: an IPv6 address goes in brackets, [::1]:4000")
    if not host or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise UsageError(f"{option} {text!r} is not HOST:PORT")
    return host, int(port)


if __name__ == "__main__":
    sys.exit(main())
