"""Paths as settings say them: ``~`` is a home directory, which a user whom a service or a container made up has not."""

from __future__ import annotations

from pathlib import Path

from linemon.errors import ConfigError


def expanded(key: str, path: str) -> Path:
    """The path with ``~`` or ``~user`` at its start filled in. ConfigError names the key if there is no such home."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise ConfigError(f"{key} = {path!r}: there is no such home directory; set a path that begins with /") from None
