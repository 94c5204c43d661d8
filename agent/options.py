"""The agent's command line."""

from __future__ import annotations

import os
import socket

from linemon_sender.spool import MAX_AGE, MAX_BYTES, SMALLEST
from linemon_sender.tutorial import TUTORIAL

HELP = """\
usage: linemon agent [--to HOST:PORT] [--listen HOST:PORT] [options]

Reads this machine's metrics and sends them to a collector, or serves them itself. With --read it reads another device.

  --to HOST:PORT      the collector; default: $LINEMON_TO, else 127.0.0.1:4000 unless --listen is given
  --listen HOST:PORT  serve rows to LabPlot or nc; may be given together with --to
  --columns A,B       with --listen: which columns, in which order; default: those of LabPlot's tutorial,
                      {tutorial}
  --name NAME         the source's name; default: the host's name
  --interval SECONDS  from one row to the next, {shortest} to {longest:g}; default: 1
  --subsamples N      readings of cpu, memory and network within an interval, which then also come as their
                      min, mean and max; 1 to {subsamples}; default: 1
  --groups A,B        more columns, at more cost: {groups}; default: none
  --read URL          another device's readings, by the spec that the collector has for its product:
                      serial:/dev/ttyUSB0?baud=115200 (bits=8, parity=none, stop=1), tcp://HOST:PORT, file:PATH,
                      exec:COMMAND, http://…, modbus://HOST:502?unit=1; ${{NAME}} is taken from the environment
  --product PRODUCT   with --read: what that device is; default: what its telegrams say (IEC 62056-21, DSMR)
  --serial SERIAL     which one it is; default: what its telegrams say, with --product this machine and URL
  --spool FOLDER      where rows wait until the collector holds them; default: in memory
  --spool-bytes N     rows that may wait, at least {smallest}; then the oldest are dropped; default: {max_bytes}
  --spool-age SECONDS that rows may wait; default: {max_age:g}
  --tls               speak TLS; the collector must show a certificate for HOST
  --ca FILE           with --tls: who may have signed it (PEM); default: whom this machine trusts
  --cert FILE         with --tls: a certificate of ours and its key (PEM), where the collector asks for one
  --token SECRET      proves the right to write; better kept in $LINEMON_TOKEN, as others can read options;
                      without --tls everyone on the way can read it
  --print-unit        print a systemd unit that runs this agent with these options
  --help              print this

examples:
  linemon agent --to collector.example:4000 --name web1 --interval 5
  linemon agent --listen 127.0.0.1:1027     and then: nc 127.0.0.1 1027
"""
VALUED: tuple[str, ...] = (
    "to",
    "listen",
    "columns",
    "name",
    "interval",
    "subsamples",
    "groups",
    "read",
    "product",
    "serial",
    "spool",
)
VALUED += ("spool-bytes", "spool-age", "token", "ca", "cert")
FLAGS = ("tls", "print-unit", "help")
SHORTEST, LONGEST = 0.05, 60.0  # seconds; a collector hangs up on who says nothing for minutes
SUBSAMPLES = 100  # at most
SHORTEST_SUBSAMPLE = 0.01  # seconds between two readings


class UsageError(Exception):
    """An option is wrong; its text says which and why."""


class Options:
    """What the command line and the environment ask for."""

    def __init__(self, argv: list[str]) -> None:
        """Raises UsageError."""
        given = _given(argv)
        self.help = "--help" in given
        self.print_unit = "--print-unit" in given
        self.listen = address("--listen", given["--listen"]) if "--listen" in given else None
        to = given.get("--to") or os.environ.get("LINEMON_TO") or ("" if self.listen else "127.0.0.1:4000")
        self.to = address("--to", to) if to else None
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
        self.tls = "--tls" in given
        self.ca, self.cert = given.get("--ca", ""), given.get("--cert", "")
        if (self.ca or self.cert) and not self.tls:
            raise UsageError("--ca and --cert go with --tls")
        self.interval = _number(given, "--interval", 1.0, SHORTEST, LONGEST, "seconds")
        self.subsamples = int(_number(given, "--subsamples", 1.0, 1, SUBSAMPLES, "readings"))
        if self.subsamples > 1 and self.interval / self.subsamples < SHORTEST_SUBSAMPLE:
            raise UsageError(f"--subsamples {self.subsamples} are less than {SHORTEST_SUBSAMPLE} s apart")
        self.groups = tuple(group for group in given.get("--groups", "").split(",") if group)
        if self.groups:
            from agent.groups import names

            for group in self.groups:
                if group not in names():
                    raise UsageError(f"--groups: {group!r} is none of {', '.join(names())}")
        self.read, self.product, self.serial = (given.get(f"--{name}", "") for name in ("read", "product", "serial"))
        self.has_name = "--name" in given
        if self.read:
            for option in ("--listen", "--subsamples", "--groups"):
                if option in given:
                    raise UsageError(f"{option} does not go with --read")
        elif self.product or self.serial:
            raise UsageError("--product and --serial go with --read")
        self.spool = given.get("--spool", "")
        self.spool_bytes = int(_number(given, "--spool-bytes", MAX_BYTES, SMALLEST, 1 << 40, "bytes"))
        self.spool_age = _number(given, "--spool-age", MAX_AGE, 1, 1e9, "seconds")


def help_text() -> str:
    """What --help prints."""
    from agent.groups import names

    return HELP.format(
        tutorial=",".join(TUTORIAL),
        shortest=SHORTEST,
        longest=LONGEST,
        subsamples=SUBSAMPLES,
        groups=", ".join(names()),
        smallest=SMALLEST,
        max_bytes=MAX_BYTES,
        max_age=MAX_AGE,
    )


def address(option: str, text: str) -> tuple[str, int]:
    """Host and port of HOST:PORT. Raises UsageError, which names the option."""
    host, _, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise UsageError(f"{option} {text!r}: an IPv6 address goes in brackets, [::1]:4000")
    if not host or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise UsageError(f"{option} {text!r} is not HOST:PORT")
    return host, int(port)


def is_local(address: tuple[str, int]) -> bool:
    """Whether what is said to that address stays on this machine."""
    return address[0].startswith("127.") or address[0] in ("::1", "localhost")


def _given(argv: list[str]) -> dict[str, str]:
    """What is said of each option, the last counts. UsageError. (getopt brings gettext, which costs memory.)"""
    given: dict[str, str] = {}
    words = iter(argv)
    for word in words:
        option, has_value, value = word.partition("=")
        name = "help" if option == "-h" else option[2:]
        if not option.startswith("--") and name != "help":
            raise UsageError(f"unexpected argument {word!r}")
        if name not in VALUED + FLAGS:
            raise UsageError(f"there is no option {option}")
        if name in VALUED and not has_value:
            value = next(words, "\0")
            if value == "\0":
                raise UsageError(f"{option} needs a value")
        elif name in FLAGS and has_value:
            raise UsageError(f"{option} takes no value")
        given[f"--{name}"] = value
    return given


def _number(given: dict[str, str], option: str, default: float, least: float, most: float, unit: str) -> float:
    try:
        number = float(given.get(option, default))
    except ValueError:
        number = -1.0
    if not least <= number <= most or (unit != "seconds" and number != int(number)):
        raise UsageError(f"{option} {given[option]!r} is not {least:g} to {most:g} {unit}")
    return number
