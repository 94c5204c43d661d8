"""Subscriptions: what others publish, as lines to this linemon's own port (docs/SCALE.md).

part.py runs one of them; origin.py says what an origin is, origins/ has one file for each scheme; port.py is the
connection to the collector, and knows what it holds.
"""

from __future__ import annotations

from linemon.config import Config
from linemon.parts.subscribe.origins import build
from linemon.parts.subscribe.part import Subscription


def parts(config: Config) -> list[Subscription]:
    """One for each [[subscribe]]. ConfigError says what is wrong with one."""
    return [
        Subscription(config, origin, table)
        for origin, table in zip(build(config).values(), config.subscribe, strict=True)
    ]
