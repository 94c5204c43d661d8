"""Doors: what brings lines in or sends rows out. They register by lying in their folder.

A module of `inputs/` or `outputs/`, or `http/site.py`, that has a function ``start(house) -> Port`` is a door: it is
started with the collector, and what it says of itself goes into status.json, the source `linemon.collector` and, by a
function ``check(config) -> list[str]`` where it has one, into what `linemon check` prints. Nothing else names it.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from importlib import import_module
from importlib.resources import files
from types import ModuleType
from typing import Any, NamedTuple

from linemon.access import Tokens
from linemon.config import Address, Config, HttpConfig, TcpConfig
from linemon.lines.intake import Intake
from linemon.ports import UdpConfig
from linemon.store.reader import Store


class Count(NamedTuple):
    """What a door counts: under `name` in status.json, where equal names are added."""

    name: str
    value: int
    column: str = ""  # of linemon.collector; one that ends in _per_s gets the rate


@dataclass(frozen=True)
class House:
    """What a door is given."""

    config: Config
    intake: Intake  # takes lines
    store: Store  # to read rows
    tokens: Tokens
    tls: ssl.SSLContext | None
    status: Callable[[], dict[str, Any]]  # what status.json says
    rows_came: Callable[[], None]  # to be called when rows may have been stored
    serve: Callable[[Coroutine[Any, Any, None]], None]  # runs until the collector ends; it ends if this fails


class Port:
    """A door that was started; what it has nothing to say about stays as it is here."""

    def addresses(self) -> dict[str, str | list[str]]:
        """Where it listens, as status.json has it."""
        return {}

    def counters(self) -> list[Count]:
        return []

    def renew(self, tokens: Tokens, tls: ssl.SSLContext | None) -> None:
        """What connections that come from now on must show, and what is shown to them."""

    def update(self) -> None:
        """Rows may have been stored."""

    def close(self) -> None:
        """Take what has arrived, and close the port and its connections."""


def doors() -> list[ModuleType]:
    """The modules that have `start`: those of `inputs/` first, those of `outputs/` last."""
    names = []
    for room, pattern in (("inputs", ""), ("http", "site"), ("outputs", "")):
        found = sorted(file.name for file in files(f"linemon.{room}").iterdir() if file.name.endswith(".py"))
        names += [f"linemon.{room}.{name[:-3]}" for name in found if name[:-3] == pattern or not pattern]
    modules = [import_module(name) for name in names if not name.endswith("__init__")]
    return [module for module in modules if hasattr(module, "start")]


def said(config: Config) -> list[str]:
    """What these settings mean for each door, as `linemon check` prints it."""
    return [line for door in doors() if hasattr(door, "check") for line in door.check(config)]


def reach(address: Address) -> str:
    """Who can connect, as `linemon check` says it."""
    return "this machine only" if address.is_loopback else "open to other machines"


def guards(config: Config, port: TcpConfig | UdpConfig | HttpConfig) -> str:
    """What a port asks of those who write, as `linemon check` says it."""
    asks = "asks for a token" if config.tokens() else "asks for no token"
    if not port.tls:
        return asks
    return f"{asks}, TLS with certificates of both sides" if config.tls.client_ca else f"{asks}, TLS"
