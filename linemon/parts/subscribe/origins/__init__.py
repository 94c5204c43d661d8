"""Origins, one file each: what lies here is found. Its name is the scheme of a [[subscribe]]'s `from`; where it says
``TLS``, the same with an ``s`` behind it is spoken in TLS.

A file has ``Settings``, a dataclass of its own keys in linemon.toml (ValueError says what is wrong); ``SECRET``, the
names of those that nobody may see; and ``From``, an `Origin`.
"""

from __future__ import annotations

import sys
from dataclasses import fields
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from linemon.config import Config
from linemon.errors import ConfigError
from linemon.parts._secrets import hidden, secrets_of
from linemon.parts.subscribe.origin import Origin, SubscribeConfig
from linemon.settings import section


@cache
def schemes() -> dict[str, ModuleType]:
    """By scheme, those of the same in TLS too."""
    found = {}
    for path in sorted(Path(__file__).parent.glob("[!_]*.py")):
        module = import_module(f"{__name__}.{path.stem}")
        found[path.stem] = module
        if module.TLS:
            found[f"{path.stem}s"] = module
    return found


def build(config: Config) -> dict[str, Origin]:
    """Those that linemon.toml names. ConfigError says what is wrong with one."""
    found: dict[str, Origin] = {}
    for table in config.subscribe:
        origin = _build(table, config)
        if origin.config.title in found:
            raise ConfigError(f"[[subscribe]] name = {origin.config.title!r}: there are two of that name")
        found[origin.config.title] = origin
    return found


def check(config: Config) -> tuple[list[str], list[str]]:
    """What `linemon check` says of them, and warns of. ConfigError says what is wrong with one."""
    said, warnings = [], []
    for name, origin in build(config).items():
        said.append(f"{name}: from {origin.config.shown}")
        try:
            found = origin.check()
        except ImportError as error:
            library = (error.name or "").partition(".")[0]
            found = [f"it needs {library}, which is not installed: {sys.executable} -m pip install {library}"]
        warnings += [f"[[subscribe]] {name!r}: {each}" for each in found]
    return said, warnings


def _build(table: dict[str, Any], config: Config) -> Origin:
    common = {each.name.rstrip("_") for each in fields(SubscribeConfig)}
    shared = section(SubscribeConfig, "[[subscribe]]", {key: value for key, value in table.items() if key in common})
    where = f"[[subscribe]] {shared.title!r}"
    scheme = schemes().get(shared.from_.partition(":")[0])
    if scheme is None:
        raise ConfigError(f"{where} from = {shared.shown!r}: expected an address of one of: {', '.join(schemes())}")
    try:
        settings = section(scheme.Settings, where, {key: value for key, value in table.items() if key not in common})
        secrets = secrets_of([*hidden(shared.from_), *(getattr(settings, name) for name in scheme.SECRET)])
        state = config.state_folder / f"subscribe.{shared.title}.json"
        origin: Origin = scheme.From(shared, settings, secrets, state)
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(f"{where} {error}") from None
    return origin
