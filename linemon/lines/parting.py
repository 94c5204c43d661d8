"""What people ask of sources, by the socket beside the rings and by HTTP: another name, or to be no more."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from linemon.errors import LinemonError, UnknownSource
from linemon.lines import wire
from linemon.lines.intake import Intake
from linemon.patterns import OUTPUT, is_output
from linemon.store.reader import Store
from linemon.store.rows import known


class Taken(LinemonError):
    """The new name is one of a source."""


class Parting:
    """Does it, for all that ask."""

    def __init__(self, intake: Intake, store: Store, rows_came: Callable[[], None], clock: Callable[[], int]) -> None:
        self._intake, self._store, self._rows_came, self._clock = intake, store, rows_came, clock

    def part(self, name: str, to: str | None) -> None:
        """Rename a source, or forget it (None); what tasks give of it goes with it.

        UnknownSource, Taken; LineError: no name, no room.
        """
        self._part(name, to, self._outputs().get(name, []))

    def _part(self, name: str, to: str | None, outputs: list[str]) -> None:
        if not self._store.knows(name):
            raise UnknownSource(f"no source {name[:100]!r}{known(name, self._store.sources())}")
        # The source comes last: after a kill in between it can be asked for again.
        new = {each: None if to is None else wire.source_name(to + each[len(name) :]) for each in [*outputs, name]}
        for each in new.values():
            if each is not None and self._store.knows(each):
                raise Taken(f"there is a source {each[:100]!r}, or history of one")
        self._intake.flush(self._clock())  # rows that came before go with it
        self._rows_came()
        for each, its in new.items():
            self._intake.store.farewells.part(self._intake.store, each, its)

    def _outputs(self) -> dict[str, list[str]]:
        """What tasks give of each source, and of what they give of it."""
        found: dict[str, list[str]] = {}
        for name in filter(is_output, self._store.sources(history=True)):
            source = name
            while is_output(source):
                source = source.rpartition(OUTPUT)[0]
                found.setdefault(source, []).append(name)
        return found

    def commands(self) -> dict[str, Callable[[dict[str, Any]], Awaitable[None]]]:
        """What the collector does for its own user."""

        async def forget(request: dict[str, Any]) -> None:
            outputs, gone = self._outputs(), set[str]()
            for name in map(str, request["sources"]):
                if name not in gone:
                    mine = [each for each in outputs.get(name, []) if each not in gone]
                    self._part(name, None, mine)
                    gone |= {name, *mine}

        async def rename(request: dict[str, Any]) -> None:
            self.part(str(request["source"]), str(request["to"]))

        return {"forget_sources": forget, "rename_source": rename}
