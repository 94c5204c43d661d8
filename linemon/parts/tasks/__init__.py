"""Tasks: what is computed of the rows, and comes back as rows of SOURCE~TASK (docs/ANALYSIS.md).

plan.py and schedule.py say what a [[task]] means; turns.py which are due; part.py has them run, each in a process by
runner.py and child.py: offline.py on what there is, online.py on what comes. keeping.py has what survives a restart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from linemon.config import Config

if TYPE_CHECKING:
    from linemon.parts.tasks.part import Tasks


def parts(config: Config) -> list[Tasks]:
    """The tasks of these settings. ConfigError says what is wrong with one."""
    if not config.task or not config.tasks.enabled:
        return []
    from linemon.parts.tasks.part import Tasks  # only who has tasks pays for what they need
    from linemon.parts.tasks.plan import tasks

    found = tasks(config)
    return [Tasks(config, found)] if found else []
