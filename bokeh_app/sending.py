"""How to send to a source: lines to copy into a shell or a program, with the ports as they are."""

from __future__ import annotations

import json
import re
from shlex import quote
from typing import Any, NamedTuple

from linemon.config import Address, Config
from linemon.errors import LinemonError
from linemon.patterns import is_output

from .pump import Pump

MOST = 4  # columns that are named: rows may lack others
METRIC = re.compile(r"(?!(?i:na|nan|null|none|inf|infinity)$)[A-Za-z_](?:[\w.-]*\w)?", re.ASCII)
ODD = re.compile(r"[\s:]")  # in a name or a unit: not without JSON
OF_AGENTS = "agent.rss_bytes"
CA = "ca.pem"


class Way(NamedTuple):
    """One way to send: its title, and what to type."""

    title: str
    text: str


def sending(
    pump: Pump, host: str, source: str, columns: tuple[str, ...] = (), units: tuple[str, ...] = ()
) -> dict[str, Any]:
    """What sending.html shows: all ways there are, where the page was asked of this host."""
    config = pump.config
    return {
        "ways": ways(pump, host, source, columns, units),
        "is_local": config.tcp.listen.is_loopback,
        "has_tokens": _has_tokens(config),
    }


def ways(pump: Pump, host: str, source: str, columns: tuple[str, ...], units: tuple[str, ...]) -> list[Way]:
    """None for what only linemon writes."""
    if source.startswith("linemon.") or is_output(source) or not source.isprintable():
        return []
    config = pump.config
    try:
        status = pump.store.status()  # the collector's ports
    except (LinemonError, OSError, ValueError):
        status = {}
    named = list(zip(columns, units, strict=True))[:MOST]
    lines = _lines(source, named)
    has_tokens = _has_tokens(config)
    to = _reached(str(status.get("tcp", config.tcp.listen)), host)
    to_shell = " ".join(map(quote, lines))
    spoken = '"#token $LINEMON_TOKEN" ' if has_tokens else ""
    netcat = f"openssl s_client -quiet -no_ign_eof -CAfile {CA} -verify_return_error -connect {to}"
    if not config.tcp.tls:
        netcat = f"nc -q1 {to.host} {to.port}"
    found = [Way("A shell", f"printf '%s\\n' {spoken}{to_shell} | {netcat}")]
    if len(lines) == 1 and not has_tokens:
        found = [Way("A shell", f"echo {to_shell} | {netcat}")]
    if "http" in status:
        at, head = _reached(str(status["http"]), host), ' -H "Authorization: Bearer $LINEMON_TOKEN"'
        scheme = f"--cacert {CA} https" if config.http.tls else "http"
        curl = f"curl{head if has_tokens else ''} --data-binary @- {scheme}://{at}/api/lines"
        found.append(Way("HTTP", f"printf '%s\\n' {to_shell} | {curl}"))
    if not any(ODD.search(name + unit) for name, unit in named):
        found.append(Way("Python", _python(source, named, to, config.tcp.tls)))
    if not columns or OF_AGENTS in columns:
        shown = "LINEMON_TOKEN=… " if has_tokens else ""
        name = f" --name {quote(source)}" if columns else ""
        tls = f" --tls --ca {CA}" if config.tcp.tls else ""
        found.append(Way("The agent, for a host", f"{shown}python3 linemon-agent.pyz --to {to}{tls}{name}"))
    return found


def _has_tokens(config: Config) -> bool:
    return bool(config.tcp.token or config.token)


def _reached(listens: str, host: str) -> Address:
    """Where a port is reached that listens there: one of all addresses by the name by which the page was."""
    address = Address.parse(listens)
    return Address(host, address.port) if host and address.from_here != address else address.from_here


def _lines(source: str, named: list[tuple[str, str]]) -> list[str]:
    if not named or ([name for name, _ in named] == ["value"] and METRIC.fullmatch(source)):
        return [f"{source} 20.3"]
    heads = " ".join(f"{name}:{unit}" if unit else name for name, unit in named)
    if any(ODD.search(name + unit) for name, unit in named):
        heads = json.dumps([[name, unit] if unit else name for name, unit in named], ensure_ascii=False)
    return [f"#source {source}", f"#columns {heads}", " ".join(map(str, range(1, len(named) + 1)))]


def _python(source: str, named: list[tuple[str, str]], to: Address, tls: bool) -> str:
    units = f", {dict(named)!r}" if named and named != [("value", "")] else ""
    values = ", ".join(f"{number}.0" for number in range(1, max(1, len(named)) + 1))
    more = f', tls=True, ca="{CA}"' if tls else ""
    return f"import linemon\n\nsender = linemon.Sender({source!r}{units}, to={str(to)!r}{more})\nsender.send({values})"
