"""Alarms as linemon.toml and shipped.toml say them -> rules. ConfigError names line, key, and what was expected."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from importlib.resources import files
from itertools import pairwise
from math import inf, nan, nextafter
from pathlib import Path
from string import Formatter
from typing import Any, Final

import numpy as np

from linemon.config import Config
from linemon.errors import ConfigError
from linemon.parts.alarms import language
from linemon.parts.alarms.language import DAY, Flags, Limit, Tests, Value, Values
from linemon.parts.alarms.machine import UNKNOWN, S, Terms
from linemon.parts.alarms.windows import PARTS, SHORT, Frame
from linemon.patterns import fits
from linemon.sections import AlarmConfig
from linemon.settings import section
from linemon.store.devices import Registered
from linemon.store.reader import Store

NAME: Final = re.compile(r"[\w. -]{1,64}")
FIELDS: Final = ("alarm", "source", "column", "value", "unit", "level", "since")
PLAIN: Final = ("last", "min", "max", "mean", "median", "p")  # functions whose values are of the column's kind
SHIPPED: Final = "shipped.toml"


@dataclass(frozen=True)
class Rule:
    """One alarm. Equal rules judge and tell alike."""

    config: AlarmConfig
    value: Value
    warning: Limit | None
    critical: Limit | None
    clear: Limit | None
    only_if: Tests | None
    critical_if: Tests | None
    notify: tuple[str, ...]
    terms: Terms
    is_shipped: bool = field(default=False, compare=False)

    @property
    def name(self) -> str:
        return self.config.name

    def named(self, name: str, source: str, text: str) -> Rule:
        """The same, for what is judged elsewhere."""
        return replace(self, config=replace(self.config, name=name, source=(source,), columns=(), text=text))

    def covers(self, source: str) -> bool:
        return fits(patterns(self.config.source), source)

    def heeds(self, source: str, columns: tuple[str, ...], is_device: bool) -> bool:
        """Whether it judges a source at all, for its name, its columns, and what it is."""
        said = self.config
        return self.covers(source) and (not said.having or said.having in columns or (said.devices and is_device))

    def columns(self, names: tuple[str, ...]) -> list[tuple[int, tuple[str, ...]]]:
        """Of a source's columns those that it judges: the place of each, and what the ``*`` of the pattern took."""
        yes = [each for each in patterns(self.config.columns) if not each.startswith("!")] or ["*"]
        no = tuple(each for each in self.config.columns if each.startswith("!"))
        found = []
        for i, name in enumerate(names):
            took = next((m.groups() for each in yes if (m := matcher(each).fullmatch(name))), None)
            if took is not None and (not no or fits(no, name)):
                found.append((i, took))
        return found

    @cached_property
    def limits(self) -> dict[str, float | None]:
        """What may be drawn into a chart of the column: where the value is of its kind."""
        is_plain = isinstance(self.value, language.Window) and self.value.function in PLAIN and not self.value.column
        levels = {"warning": self.warning, "critical": self.critical}
        return {name: limit.number if limit and is_plain else None for name, limit in levels.items()}

    @cached_property
    def bounds(self) -> tuple[float, float, int] | None:
        """Between which samples no window of them can have a level, and how long (ns) another one counts.

        None where that cannot be said. The mean of values below a limit is below it; so are their max and median. nan:
        while they stay the same, as of what has not changed.
        """
        if any(node.of_task for node in self.windows):
            return None
        tree, factor = self.value, 1.0
        if isinstance(tree, language.Sign) and tree.sign == "*" and isinstance(right := tree.right, language.Number):
            tree, factor = tree.left, right.number
        limits = [limit for limit in (self.warning, self.critical) if limit]
        if isinstance(tree, language.Window) and tree.function == "change" and not tree.column and factor > 0:
            return None if any(limit.holds(0.0) for limit in limits) else (nan, nan, tree.span or 0)
        is_plain = isinstance(tree, language.Window) and tree.function in PLAIN and not tree.column
        if not isinstance(tree, language.Window) or not is_plain or factor <= 0 or (tree.span or 0) > SHORT:
            found = language.parts(self.value)
            is_of_row = all(each.function == "last" for each in found if isinstance(each, language.Window))
            has_clock = any(isinstance(each, language.Clock) for each in found)
            return (nan, nan, 0) if is_of_row and not has_clock and language.windows(self.value) else None
        if any(limit.op not in ("<", "<=", ">", ">=") for limit in limits):
            return None
        low, high = -inf, inf
        for limit in limits:
            edge = limit.number / factor
            if limit.op[0] == "<":
                low = max(low, edge if limit.op == "<=" else nextafter(edge, -inf))
            else:
                high = min(high, edge if limit.op == ">=" else nextafter(edge, inf))
        return low, high, tree.span or 0

    @cached_property
    def every(self) -> int:
        """How long (ns) its value stays as it was computed: of long windows alone; 0 of others."""
        found = language.windows(self.value)
        if not found or any((node.span or 0) <= SHORT or node.of_task for node in found) or self.terms.by_clock:
            return 0
        return min((node.span or 0) // PARTS for node in found)

    @property
    def terms_text(self) -> str:
        """What tells whether levels mean the same as before."""
        said = self.config
        return " ".join((said.warning, said.critical, said.clear, said.only_if, said.critical_if))

    @property
    def windows(self) -> list[language.Window]:
        return [each for tree in (self.value, self.only_if, self.critical_if) for each in language.windows(tree)]

    def judge(self, frame: Frame) -> tuple[Values, Values, Flags]:
        """At each row: the value, its level or UNKNOWN, and whether it is clear; (k, n), or what broadcasts to it."""
        with np.errstate(all="ignore"):
            value = self.value.of(frame)
            known = value == value
            level = self.level(value)
            if self.critical_if and self.critical:
                truth, knows = self.critical_if.of(frame)
                level = np.where((level == 2) & ~(truth & knows), self._warns(value), level)
            clear = level == 0 if self.clear is None else self.clear.holds(value)
            if self.only_if:
                truth, knows = self.only_if.of(frame)
                level, clear, known = np.where(truth, level, 0), clear | ~truth, known & knows
        return value, np.where(known, level, UNKNOWN), clear

    def level(self, value: Values) -> Values:
        """0, 1 or 2 of known values."""
        if self.critical is None:
            return self._warns(value)
        return np.where(self.critical.holds(value), 2, self._warns(value))

    def _warns(self, value: Values) -> Values:
        return self.warning.holds(value) * 1 if self.warning else np.zeros_like(value, dtype=np.int64)


def patterns(said: str | tuple[str, ...]) -> tuple[str, ...]:
    return (said,) if isinstance(said, str) else said


@lru_cache(maxsize=1024)
def matcher(pattern: str) -> re.Pattern[str]:
    """A pattern as in a shell; each ``*`` is a group that takes as little as it can."""
    text = ""
    for part in re.findall(r"\*|\?|\[[^]]+\]|.", pattern, re.S):
        if part == "*":
            text += "(.*?)"
        elif part == "?":
            text += "."
        elif len(part) > 1:
            text += f"[^{re.escape(part[2:-1])}]" if part[1] == "!" else f"[{part[1:-1]}]"
        else:
            text += re.escape(part)
    return re.compile(text, re.S)


def shipped() -> list[dict[str, Any]]:
    """The alarms that come with linemon, as tables."""
    text = files("linemon.parts.alarms").joinpath(SHIPPED).read_text()
    found: list[dict[str, Any]] = tomllib.loads(text)["alarm"]
    return found


def rules(config: Config) -> list[Rule]:
    """All alarms that are enabled: those shipped, what the user says of them laid over, and the user's own."""
    tables = {table["name"]: table for table in shipped()}
    ours, lines = set(tables), _lines(config.file)
    told = tuple(str(each.get("name")) for each in config.notify)
    places: dict[str, int] = {}
    for i, table in enumerate(config.alarm):
        name = table.get("name")
        where = f"[[alarm]] {name!r}"
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise _at(lines, i, "name", f"{where}: expected a name of 1 to 64 letters, digits, blanks, '.', '_', '-'")
        if name in places:
            raise _at(lines, i, "name", f"{where}: there are two of this name")
        places[name] = i
        tables[name] = tables.get(name, {}) | table
    found, tasks = [], {task.name for task in config.task if task.enabled and config.tasks.enabled}
    for name, table in tables.items():
        try:
            rule = make(name, table, told, config, name in ours)
            unknown = {node.of_task for node in rule.windows} - tasks - {""}
            if unknown and name in ours:
                continue
            if unknown:
                raise ConfigError(f"[[alarm]] {name!r} value: no [[task]] has the name {min(unknown)!r}")
        except ConfigError as error:
            key = str(error).removeprefix(f"[[alarm]] {name!r} ").split(" ")[0].rstrip(":")
            raise _at(lines, places.get(name, -1), key, str(error)) from None
        if rule.config.enabled:
            found.append(rule)
    _check_needs(found)
    return found


def check(config: Config, store: Path) -> tuple[list[str], list[str]]:
    """For `linemon check`: what is judged of the sources that there are, and what will never be known."""
    if not config.alarms.enabled:
        return ["off"], []
    found, counts = rules(config), Counter[str]()
    sources = Store(store)
    entries = [sources[name] for name in sources.sources()] if store.exists() else []
    devices = Registered(config.devices_folder).look()
    for rule in found:
        for source in entries:
            names = source.columns
            if rule.heeds(source.name, names, source.name in devices):
                counts[rule.name] += len(rule.columns(names)) if rule.config.columns else 1
    there = ", ".join(f"{rule.name} {counts[rule.name]}" for rule in found if counts[rule.name])
    none = ", ".join(rule.name for rule in found if not counts[rule.name])
    said = [f"{len(found)} rules; instances now: {there or 'none'}"] + ([f"none of: {none}"] if none else [])
    kept = max((tier.keep.ns for tier in config.history.tiers), default=0) if config.history.enabled else 0
    warnings = [
        f"[[alarm]] {rule.name!r} looks back {node.span / DAY:.3g} d: it needs [history] that keeps at least half of it"
        for rule in found
        for node in rule.windows
        if node.span and max(kept, config.store.points * S) < node.span / 2
    ]
    return said, warnings


def make(
    name: str, table: dict[str, Any], notifiers: tuple[str, ...], config: Config, is_shipped: bool = False
) -> Rule:
    """A rule from its table; ConfigError begins with its name and the key that is wrong."""
    where = f"[[alarm]] {name!r}"
    said = section(AlarmConfig, where, table)

    def read(key: str, parse: Any) -> Any:
        text = getattr(said, key)
        if not text:
            return None
        try:
            return parse(text)
        except ConfigError as error:
            raise ConfigError(f"{where} {key} = {text!r}: {error}") from None

    limits = [read(key, Limit.parse) for key in ("warning", "critical", "clear")]
    if limits[:2] == [None, None]:
        raise ConfigError(f"{where} warning: expected warning, critical, or both")
    value = read("value", language.parse_value)
    if value is None:
        raise ConfigError(f"{where} value = '': expected a value such as last() or mean(5m)")
    by_clock = language.asks_age(value)
    if by_clock and (said.columns or language.windows(value)):
        raise ConfigError(
            f"{where} value = {said.value!r}: age(), overdue() and skew() stand alone, and without columns"
        )
    if said.columns == () and any(each.column is None for each in language.windows(value)):
        raise ConfigError(f"{where} columns: expected which columns, as value = {said.value!r} asks for their values")
    for unknown in set(said.notify or ()) - set(notifiers):
        raise ConfigError(f"{where} notify: no [[notify]] has the name {unknown!r}; there are: {', '.join(notifiers)}")
    _check_text(where, said.text)
    alarms = config.alarms
    terms = Terms(
        for_=said.for_.ns if said.for_ else 0,
        keep=said.keep.ns if said.keep else 0,
        no_data=said.no_data,
        repeat=said.repeat.ns if said.repeat else None,
        once=said.once,
        late=alarms.late.ns,
        flap=alarms.flap,
        flap_quiet=alarms.flap_quiet.ns,
        by_clock=by_clock,
    )
    notify = notifiers if said.notify is None else said.notify
    tests = [read(key, language.parse_tests) for key in ("only_if", "critical_if")]
    rule = Rule(said, value, *limits, *tests, notify, terms, is_shipped)  # type: ignore[call-arg]
    if overlap := overlaps(rule):
        raise ConfigError(f"{where} clear = {said.clear!r}: expected what no level holds for; {overlap:g} is both")
    return rule


def overlaps(rule: Rule) -> float | None:
    """A value that is clear and has a level, too."""
    if rule.clear is None:
        return None
    edges = sorted({each.number for each in (rule.warning, rule.critical, rule.clear) if each})
    near = [x for edge in edges for x in (edge, nextafter(edge, -inf), nextafter(edge, inf))]
    between = [(a + b) / 2 for a, b in pairwise([edges[0] - 2, *edges, edges[-1] + 2])]
    return next((x for x in (*between, *near) if rule.clear.holds(x) and rule.level(np.float64(x)) > 0), None)


def _check_text(where: str, text: str) -> None:
    """`text` is a format string that may name what an alarm has, and format the value; nothing else."""
    try:
        fields = [each for each in Formatter().parse(text) if each[1] is not None]
        for _, name, spec, conversion in fields:
            if not (name in FIELDS or (name or "").isdigit()) or conversion or (spec and name != "value"):
                known = " ".join(f"{{{each}}}" for each in FIELDS)
                raise ValueError(
                    f"{{{name}}}: there are {known} {{1}}; a format, as in {{value:.0f}}, of the value only"
                )
            format(0.5, spec or "")
    except ValueError as error:
        raise ConfigError(f"{where} text = {text!r}: {error}") from None


def _check_needs(found: list[Rule]) -> None:
    needs = {rule.name: rule.config.needs.partition("@")[0] for rule in found if rule.config.needs}
    names = {rule.name for rule in found}
    for name, other in needs.items():
        if other not in names:
            raise ConfigError(f"[[alarm]] {name!r} needs = {other!r}: there is no alarm of this name that is enabled")
        seen = {name}
        while other in needs and other not in seen:
            seen.add(other)
            other = needs[other]
        if other in seen:
            raise ConfigError(f"[[alarm]] {name!r} needs: it would wait for itself")


def _lines(file: Path | None) -> list[str]:
    return file.read_text().splitlines() if file else []


def _at(lines: list[str], index: int, key: str, text: str) -> ConfigError:
    """The error with the line of the key in the [[alarm]] of this number, or of its head where it is not there."""
    heads = [i for i, line in enumerate(lines) if re.match(r"\s*\[\[\s*alarm\s*\]\]", line)]
    if not 0 <= index < len(heads):
        return ConfigError(text)
    found = heads[index]
    for i in range(found + 1, len(lines)):
        if re.match(r"\s*\[", lines[i]):
            break
        if re.match(rf"\s*{re.escape(key)}\s*=", lines[i]):
            found = i
            break
    return ConfigError(f"line {found + 1}: {text}")
