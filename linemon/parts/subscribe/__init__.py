"""Subscriptions: what others publish, taken as lines (docs/MQTT.md).

part.py runs one of them; origin.py says what an origin is, origins/ has one file for each scheme; port.py hands lines
to the collector; mapping.py makes them of topics and payloads, presets.py knows those of common devices.
"""

from __future__ import annotations

from linemon.config import Config
from linemon.parts.subscribe.origins import build
from linemon.parts.subscribe.part import Subscription


def parts(config: Config) -> list[Subscription]:
    """One for each [[subscribe]]. ConfigError says what is wrong with one."""
    origins = build(config).values()
    return [Subscription(config, origin, table) for origin, table in zip(origins, config.subscribe, strict=True)]
