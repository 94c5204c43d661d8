"""Far sides, one file each: what lies here is found. Its name is the scheme of a [[forward]]'s `to`; where it says
``TLS``, the same with an ``s`` behind it (``influxs``) is spoken in TLS.

A file has ``Settings``, a dataclass of its own keys in linemon.toml (ValueError says what is wrong); ``SECRET``, the
names of those that nobody may see; and ``To``, a `Target`. Libraries that linemon does not need itself are imported
where they are used.
"""

from __future__ import annotations

import re
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
from linemon.parts.forward.target import ForwardConfig, Target
from linemon.patterns import fits, is_exclusion
from linemon.settings import section


@cache
def schemes() -> dict[str, ModuleType]:
    """By scheme, those of the same in TLS too."""
    found = {}
    for path in sorted(Path(__file__).parent.glob("[!_]*.py")):
        module = import_module(f"{__name__}.{path.stem}")
        found[path.stem] = module
        if getattr(module, "TLS", False):
            found[f"{path.stem}s"] = module
    return found


def build(config: Config) -> dict[str, Target]:
    """Those that linemon.toml names. ConfigError says what is wrong with one."""
    found: dict[str, Target] = {}
    for table in config.forward:
        target = _build(table)
        if target.config.title in found:
            raise ConfigError(f"[[forward]] name = {target.config.title!r}: there are two of that name")
        for other in found.values():
            if may_meet(target, other):
                raise ConfigError(
                    f"[[forward]] {target.config.title!r} and {other.config.title!r} may send to one source there: "
                    "have their `rename` keep them apart"
                )
        tiers = [tier.step.text for tier in config.history.tiers] if config.history.enabled else []
        if target.config.tier and target.config.tier not in tiers:
            raise ConfigError(
                f"[[forward]] {target.config.title!r} tier = {target.config.tier!r}: expected one that [history] has: "
                f"{', '.join(tiers) or 'it has none'}"
            )
        found[target.config.title] = target
    return found


def check(config: Config) -> tuple[list[str], list[str]]:
    """What `linemon check` says of them, and warns of. ConfigError says what is wrong with one."""
    said, warnings = [], []
    for name, target in build(config).items():
        to = target.config
        what = f"buckets of {to.tier}" if to.tier else "rows"
        said.append(f"{name}: {what} of {', '.join(to.sources)} to {to.shown} as {to.far_name('{source}')}")
        try:
            found = target.check()
        except ImportError as error:
            library = (error.name or "").partition(".")[0]
            found = [f"it needs {library}, which is not installed: {sys.executable} -m pip install {library}"]
        warnings += [f"[[forward]] {name!r}: {each}" for each in found]
    return said, warnings


def may_meet(one: Target, other: Target) -> bool:
    """Whether both could write to one source of one far side, as far as their patterns tell."""
    if one.config.shown != other.config.shown or one.place("\0") != other.place("\0"):
        return False
    mine, theirs = one.config.sources, other.config.sources
    patterns = [each for each in mine + theirs if not is_exclusion(each)] or ["*"]
    parts = [re.split(r"[*?]|\[.*?\]", each) for each in patterns]
    names = {first[0] + between + last[-1] for first in parts for last in parts for between in ("", "x")}
    return any(fits(mine, name) and fits(theirs, name) for name in names.union(patterns))


def _build(table: dict[str, Any]) -> Target:
    common = {each.name for each in fields(ForwardConfig)}
    config = section(ForwardConfig, "[[forward]]", {key: value for key, value in table.items() if key in common})
    where = f"[[forward]] {config.title!r}"
    scheme = schemes().get(config.to.partition(":")[0])
    if scheme is None:
        raise ConfigError(f"{where} to = {config.shown!r}: expected an address of one of: {', '.join(schemes())}")
    try:
        settings = section(scheme.Settings, where, {key: value for key, value in table.items() if key not in common})
        secrets = secrets_of([*hidden(config.to), *(getattr(settings, name) for name in scheme.SECRET)])
        target: Target = scheme.To(config, settings, secrets)
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(f"{where} {error}") from None
    return target
