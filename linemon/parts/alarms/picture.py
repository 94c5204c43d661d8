"""Charts as PNG, for messages: of an incident, or of what was asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from linemon.parts.alarms.event import Event


class Pictures:
    """Draws from the store in this folder; `limits` are those of a source's column."""

    def __init__(self, folder: Path, limits: Callable[[str, str], list[float]]) -> None:
        self._folder, self._limits = folder, limits

    def of(self, event: Event) -> bytes | None:
        """The incident; None where there is nothing to draw."""
        return None

    def last(self, source: str, column: str, span: float, dark: bool) -> bytes:
        """The last `span` seconds."""
        raise NotImplementedError

    def names(self) -> dict[str, tuple[str, ...]]:
        """The sources, and their columns."""
        return {}
