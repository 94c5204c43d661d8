"""Far sides, one file each: what lies here is found. Its name is the scheme of a [[forward]]'s `to`; where it says
``TLS``, the same with an ``s`` behind it (``influxs``) is spoken in TLS.

A file has ``Settings``, a dataclass of its own keys in linemon.toml (ValueError says what is wrong); ``SECRET``, the
names of those that nobody may see; and ``To``, a `Target`. Libraries that linemon does not need itself are imported
where they are used.
"""

from __future__ import annotations

import re
import sys

from linemon.config import Config
from linemon.errors import ConfigError
from linemon.parts._far import made
from linemon.parts.forward.target import ForwardConfig, Target
from linemon.patterns import fits, is_exclusion


def build(config: Config) -> dict[str, Target]:
    """Those that linemon.toml names. ConfigError says what is wrong with one."""
    found: dict[str, Target] = {}
    for table in config.forward:
        target: Target = made(__name__, "To", ForwardConfig, "[[forward]]", "to", table)
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
    if one.address != other.address or one.place("\0") != other.place("\0"):
        return False
    mine, theirs = one.config.sources, other.config.sources
    patterns = [each for each in mine + theirs if not is_exclusion(each)] or ["*"]
    parts = [re.split(r"[*?]|\[.*?\]", each) for each in patterns]
    names = {first[0] + between + last[-1] for first in parts for last in parts for between in ("", "x")}
    return any(fits(mine, name) and fits(theirs, name) for name in names.union(patterns))
