"""Forwards: rows of this store sent on, to another linemon, a database, a broker, files (docs/FORWARD.md).

part.py runs one of them; flow.py has the sources on their way, cursors.py how far they are, as a file; target.py says
what a target is, targets/ has one file for each scheme.
"""

from __future__ import annotations

from linemon.config import Config
from linemon.parts.forward.part import Forward
from linemon.parts.forward.targets import build


def parts(config: Config) -> list[Forward]:
    """One for each [[forward]]. ConfigError says what is wrong with one."""
    targets = build(config).values()
    return [Forward(config, target, table) for target, table in zip(targets, config.forward, strict=True)]
