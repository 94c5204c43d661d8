"""Lines of a log that come at a bounded rate."""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

EVERY = 60.0  # seconds from one line to the next


class Seldom:
    """Logs the first line at once, then one every EVERY, with how many there were."""

    def __init__(self, log: Callable[[str], None]) -> None:
        self._log = log
        self._at, self._count = float("-inf"), 0

    def __call__(self, text: str) -> None:
        """Log it, or count it."""
        self._count += 1
        if (now := time.monotonic()) - self._at >= EVERY:
            more = f" ({self._count} since the last such line)" if self._count > 1 else ""
            self._log(f"{text}{more}")
            self._at, self._count = now, 0
