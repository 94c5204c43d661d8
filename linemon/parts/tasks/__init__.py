"""Tasks: what is computed of the rows, and comes back as rows of SOURCE~TASK (docs/ANALYSIS.md).

plan.py and schedule.py say what a [[task]] means; turns.py which are due; part.py has them run, each in a process by
runner.py and child.py: offline.py on what there is, online.py on what comes. keeping.py has what survives a restart.
"""

from __future__ import annotations

from linemon.config import Config
from linemon.parts.tasks.part import Tasks
from linemon.parts.tasks.plan import tasks


def parts(config: Config) -> list[Tasks]:
    """The tasks of these settings. ConfigError says what is wrong with one."""
    found = tasks(config) if config.tasks.enabled else []
    return [Tasks(config, found)] if found else []
