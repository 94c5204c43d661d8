"""Far sides by the schemes of their addresses: one file each in a package, what lies there is found."""

from __future__ import annotations

import re
from dataclasses import fields
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType
from typing import Any, Final
from urllib.parse import urlsplit

from linemon.errors import ConfigError, LinemonError
from linemon.parts._secrets import bare, hidden, secrets_of, split
from linemon.settings import section

NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
FORWARDED: Final = "f:"  # a SENDER that begins so is a forward: f:STORE:BORN


class Away(LinemonError):
    """What is needed cannot be reached now: it is tried again, ever more seldom."""


class Denied(LinemonError):
    """We are not let in, or not with these rows: nothing is lost, and it is tried once a minute."""


@cache
def schemes(package: str) -> dict[str, ModuleType]:
    """By scheme; of those that say ``TLS``, the same with an ``s`` behind it too."""
    found = {}
    for each in sorted(iter_modules(import_module(package).__path__), key=lambda each: each.name):
        if each.name.startswith("_"):
            continue
        module = import_module(f"{package}.{each.name}")
        found[each.name] = module
        if getattr(module, "TLS", False):
            found[f"{each.name}s"] = module
    return found


def made(
    package: str, is_called: str, kind: type, head: str, key: str, table: dict[str, Any], state: Path | None = None
) -> Any:
    """The far side of a table of linemon.toml, in which `key` has the address: what its file calls so, made of the
    settings that all have, which are of this kind, its own settings, what nobody may see, and a file of its own in the
    folder `state`.

    ConfigError says what is wrong.
    """
    names = {each.name.rstrip("_") for each in fields(kind)}
    address = str(table.get(key, ""))
    common: Any = section(kind, head, {name: value for name, value in table.items() if name in names})
    where = f"{head} {common.title!r}"
    module = schemes(package).get(address.partition(":")[0])
    if module is None:
        expected = ", ".join(schemes(package))
        raise ConfigError(f"{where} {key} = {bare(address)!r}: expected an address of one of: {expected}")
    try:
        own = section(module.Settings, where, {name: value for name, value in table.items() if name not in names})
        secrets = secrets_of([*hidden(address), *(getattr(own, name) for name in module.SECRET)])
        files = [state / f"{head.strip('[]')}.{common.title}.json"] if state else []
        return getattr(module, is_called)(common, own, secrets, *files)
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(f"{where} {error}") from None


def host_of(address: str) -> str:
    """The host of an address, the first of several."""
    try:
        return urlsplit(f"//{split(address)[1].split(',')[0]}").hostname or ""
    except ValueError:
        return ""
