"""Alarms: judge what the rows say, and tell people once, in time, and not for nothing (docs/ALARMS.md).

language.py and rules.py say what an alarm means; machine.py is one alarm on one column, judged.py those of a source,
feed.py brings it the rows; telling.py holds back or hands on what instances say, the outbox delivers it.
"""

from __future__ import annotations

from linemon.config import Config
from linemon.parts.alarms.part import Alarms
from linemon.parts.alarms.rules import rules


def parts(config: Config) -> list[Alarms]:
    """The alarms of these settings. ConfigError says what is wrong with one."""
    return [Alarms(config, rules(config))] if config.alarms.enabled else []
