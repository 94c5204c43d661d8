"""From which values on a column is a warning, or critical: as people set it on the page, or in linemon.toml.

Low values are bad where `crit` is below `warn`. What alarms say, and what is in trouble by both, is in `alarms.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from linemon.config import PanelConfig
from linemon.errors import LinemonError
from linemon.patterns import fits
from linemon.store.catalog import Entry
from linemon.store.newest import Picked, entries_of
from linemon.store.ring import Floats

from .kept import State
from .layout import in_order
from .panels import unit_of
from .pump import Pump

LOOK_S = 1.0

Limits = tuple[float | None, float | None]  # warn, crit
Levels = dict[str, dict[str, int]]  # of sources, by their columns: 1 a warning, 2 critical
NONE: Limits = None, None


def of_columns(
    state: State, panels: Iterable[PanelConfig], source: str, columns: Sequence[str], units: Sequence[str]
) -> dict[str, Limits]:
    """The limits of a source's columns, of those that have some: what is kept comes before what its panels say.

    Those of a panel are of the unit on its left.
    """
    found: dict[str, Limits] = {}
    for panel in panels:
        if not panel.source or fits([panel.source], source):
            shown = state.named(source, columns, units)[1]
            unit_by = {name: unit_of(name, unit) for name, unit in zip(columns, shown, strict=True)}
            mine = in_order(panel.columns, columns)
            found = {name: (panel.warn, panel.crit) for name in mine if unit_by[name] == unit_by[mine[0]]} | found
    for name, said in state.columns(source).items():
        if name in columns and ("warn" in said or "crit" in said):
            found[name] = said.get("warn"), said.get("crit")  # type: ignore[assignment]  # `kept.check` holds it
    return found


def levels_of(values: Floats, warn: Floats, crit: Floats) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """(n,) 0, 1 or 2 of values with these limits, nan where there is none."""
    is_low = crit < warn
    beyond = [np.where(is_low, values <= limit, values >= limit) for limit in (warn, crit)]
    return np.where(beyond[1], 2, np.where(beyond[0], 1, 0))


class Watched:
    """All columns that have limits, of all sources; it costs nothing while nobody has set any."""

    def __init__(self, pump: Pump) -> None:
        self._pump = pump
        self._panels = [each for each in pump.config.dashboard.panel if (each.warn, each.crit) != NONE]
        self._made_of: object = None
        self._kept: State | None = None
        self._known: dict[str, tuple[Entry, dict[str, Limits]]] = {}
        self._wanted: list[tuple[Entry, str]] = []
        self._limits = np.empty((0, 2))
        self._values: Picked | None = None

    def of_source(self, source: str) -> dict[str, Limits]:
        """The limits of a source's columns."""
        found = self._pump.source(source)
        return of_columns(self._pump.kept(), self._panels, source, found.columns, found.units) if found else {}

    def levels(self) -> Levels:
        """Of those that are beyond their limits now."""
        try:
            self._look()
        except (LinemonError, OSError):  # the store is being made anew
            return {}
        if not self._values:
            return {}
        levels = levels_of(self._values.values(self._pump.latest()), *self._limits.T)
        found: Levels = {}
        for at in np.flatnonzero(levels).tolist():
            entry, column = self._wanted[at]
            found.setdefault(entry.source, {})[column] = int(levels[at])
        return found

    def _look(self) -> None:
        """See what has limits; only what is new or has changed is asked."""
        kept = self._pump.kept()
        if kept is not self._kept:
            self._kept, self._known, self._made_of = kept, {}, None
        if not self._panels and not kept.has_columns:
            self._values = None
            return
        state, entries = entries_of(self._pump.store)
        if state == self._made_of:
            return
        old, self._known = self._known, {}
        for name, entry in entries.items():
            was, limits = old.get(name, (None, {}))
            if was is not entry:
                limits = of_columns(kept, self._panels, name, entry.columns, entry.units)
            self._known[name] = entry, limits
        found = [(entry, column, each) for entry, some in self._known.values() for column, each in some.items()]
        self._wanted = [(entry, column) for entry, column, _ in found]
        self._limits = np.array([each for *_, each in found], np.float64).reshape(-1, 2)  # None is nan
        self._values, self._made_of = Picked(self._pump.store, self._wanted), state
