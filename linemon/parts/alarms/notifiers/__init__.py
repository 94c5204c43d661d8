"""Ways to tell people and machines, one file each: what lies here is found. Its name is the `kind` of a [[notify]].

A file has ``Settings``, a dataclass whose fields are the kind's keys in linemon.toml (ValueError says what is wrong);
``SECRET``, the names of those that nobody may see; and ``Notify``, a `Notifier` with ``tell(message)``. Libraries that
linemon does not need itself are imported where they are used.
"""

from __future__ import annotations

from dataclasses import fields
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from linemon.config import Config
from linemon.errors import ConfigError
from linemon.parts._secrets import secrets_of
from linemon.parts.alarms.notifier import Notifier, NotifyConfig
from linemon.settings import section


@cache
def kinds() -> dict[str, ModuleType]:
    """The files of this folder."""
    names = sorted(path.stem for path in Path(__file__).parent.glob("[!_]*.py"))
    return {name: import_module(f"{__name__}.{name}") for name in names}


def build(config: Config) -> dict[str, Notifier]:
    """Those that linemon.toml names. ConfigError says what is wrong with one."""
    found: dict[str, Notifier] = {}
    for table in config.notify:
        notifier = _build(table)
        if notifier.name in found:
            raise ConfigError(f"[[notify]] name = {notifier.name!r}: there are two of that name")
        found[notifier.name] = notifier
    return found


def check(config: Config) -> tuple[list[str], list[str]]:
    """What `linemon check` says of them, and warns of. ConfigError says what is wrong with one."""
    said, warnings = [], []
    for name, notifier in build(config).items():
        said.append(f"{notifier.label}, {'critical alone' if notifier.level > 1 else 'warnings too'}")
        try:
            found = notifier.check()
        except ImportError as error:
            found = [notifier.lacks(error)]
        warnings += [f"[[notify]] {name!r}: {each}" for each in found]
    return said, warnings


def _build(table: dict[str, Any]) -> Notifier:
    common = {each.name for each in fields(NotifyConfig)}
    config = section(NotifyConfig, "[[notify]]", {key: value for key, value in table.items() if key in common})
    where = f"[[notify]] {config.name!r}"
    if not (kind := kinds().get(config.kind)):
        raise ConfigError(f"{where} kind = {config.kind!r}: expected one of: {', '.join(kinds())}")
    try:
        settings = section(kind.Settings, where, {key: value for key, value in table.items() if key not in common})
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(f"{where} {error}") from None
    values = [getattr(settings, name) for name in kind.SECRET]
    secrets = secrets_of(each for value in values for each in (value if isinstance(value, tuple) else (value,)))
    notifier: Notifier = kind.Notify(config, settings, secrets)
    return notifier
