"""What the programs share that kill linemon again and again, and then compare what is there with what should be."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Protocol


class Outcome(Protocol):
    """What a run came to; it is a dataclass of counts, which is printed."""

    @property
    def is_right(self) -> bool: ...


def main(run: Callable[[Path, int, int], Outcome], said: str | None, kills: int = 20) -> int:
    """A command line: `run` is given a folder that is not there yet, how often to kill, and a seed."""
    parser = argparse.ArgumentParser(description=said, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=kills)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        outcome = run(Path(folder) / "run", asked.kills, asked.seed)
    print(outcome)
    return int(not outcome.is_right)
