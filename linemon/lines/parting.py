"""What people ask of sources, by the socket beside the rings and by HTTP: another name, or to be no more."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from linemon.errors import LinemonError, UnknownSource
from linemon.lines import wire
from linemon.lines.intake import Intake
from linemon.store.reader import Store
from linemon.store.rows import known


class Taken(LinemonError):
    """The new name is one of a source."""


class Parting:
    """Does it, for all that ask."""

    def __init__(self, intake: Intake, store: Store, rows_came: Callable[[], None], clock: Callable[[], int]) -> None:
        self._intake, self._store, self._rows_came, self._clock = intake, store, rows_came, clock

    def part(self, name: str, to: str | None) -> None:
        """Rename a source, or forget it (None). UnknownSource, Taken; LineError: no name, no room."""
        if to is not None and self._store.knows(to := wire.source_name(to)):
            raise Taken(f"there is a source {to[:100]!r}, or history of one")
        if not self._store.knows(name):
            raise UnknownSource(f"no source {name[:100]!r}{known(name, self._store.sources())}")
        self._intake.flush(self._clock())  # rows that came before go with it
        self._rows_came()
        self._intake.store.farewells.part(self._intake.store, name, to)

    def commands(self) -> dict[str, Callable[[dict[str, Any]], Awaitable[None]]]:
        """What the collector does for its own user."""

        async def forget(request: dict[str, Any]) -> None:
            for name in request["sources"]:
                self.part(str(name), None)

        async def rename(request: dict[str, Any]) -> None:
            self.part(str(request["source"]), str(request["to"]))

        return {"forget_sources": forget, "rename_source": rename}
