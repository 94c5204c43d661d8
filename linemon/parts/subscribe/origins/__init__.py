"""Origins, one file each: what lies here is found. Its name is the scheme of a [[subscribe]]'s `from`; where it says
``TLS``, the same with an ``s`` behind it is spoken in TLS.

A file has ``Settings``, a dataclass of its own keys in linemon.toml (ValueError says what is wrong); ``SECRET``, the
names of those that nobody may see; and ``From``, an `Origin`.
"""

from __future__ import annotations

import sys

from linemon.config import Config
from linemon.errors import ConfigError
from linemon.parts._far import made
from linemon.parts.subscribe.origin import Origin, SubscribeConfig


def build(config: Config) -> dict[str, Origin]:
    """Those that linemon.toml names. ConfigError says what is wrong with one."""
    found: dict[str, Origin] = {}
    for table in config.subscribe:
        origin: Origin = made(__name__, "From", SubscribeConfig, "[[subscribe]]", "from", table, config.state_folder)
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
            found = origin.check(config)
        except ImportError as error:
            library = (error.name or "").partition(".")[0]
            found = [f"it needs {library}, which is not installed: {sys.executable} -m pip install {library}"]
        warnings += [f"[[subscribe]] {name!r}: {each}" for each in found]
    return said, warnings
