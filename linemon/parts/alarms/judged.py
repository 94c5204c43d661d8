"""A source as its alarms see it: rows and ticks in, to the instances of all rules that cover it. No I/O, no clock."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from linemon.parts.alarms.language import Clock, Window, unit_of, windows
from linemon.parts.alarms.machine import AHEAD, Desk, Instance, S
from linemon.parts.alarms.rules import Rule
from linemon.parts.alarms.windows import MINUTE, SHORT, Cells, Floats, Frame, Past, Recent

YOUNG: Final = 30 * S  # age() is not known until the part has run so long
USUAL_ROWS: Final = 100  # that tell how long a source usually waits
USUAL_AGAIN: Final = 10 * S
NO_DATA: Final = 30 * S  # the least default of no_data_after, and how many usual intervals it is
NO_DATA_STEPS: Final = 10
SKEW_MINUTES: Final = 10  # whose quickest row tells how far a source's clock is behind
STEADY: Final = 60 * S  # of a backlog that is caught up, times become less late by more
BEHIND, BEFORE = 5 * S, S  # by so much rows may be late, on their way; and early
FOREVER: Final = 1 << 62
LOOK: Final = 30 * S  # a group at which nothing can have changed is judged in full so often, for who looks at values


class Group:
    """One rule on one source: an instance for each column that it judges and that had a value once."""

    def __init__(self, rule: Rule, source: Judged) -> None:
        self.rule, self.source = rule, source
        found = rule.columns(source.columns) if rule.config.columns else []
        self.took = [took for _, took in found]
        self.own = np.array([at for at, _ in found], np.intp)
        self.names: list[str | None] = [source.columns[at] for at, _ in found] or [None]
        self.instances: list[Instance | None] = [None] * len(self.names)
        self.memory: dict[Window, tuple[Any, Any]] = {}  # of long windows: when each was computed, and what it was
        self._places: dict[str | None, Cells] = {None: self.own}
        self._calm = False  # all instances are at rest, and only `due` or a sample out of bounds changes that
        self._dirty_until = self._due = 0
        self._patience: float = 0.0  # the least of them
        self._passed: tuple[int, int] | None = None  # time and arrival of the last row that was let pass

    def places(self, name: str | None) -> Cells:
        """Where the columns of this name are: (k,), or (1,) where all have the same; -1 is one that is not there."""
        found = self._places.get(name)
        if found is None:
            assert name is not None
            names = [filled(name, took) for took in self.took] if "{" in name else [name]
            at = {column: i for i, column in enumerate(self.source.columns)}
            found = self._places[name] = np.array([at.get(each, -1) for each in names or [name]], np.intp)
        return found

    def told(self, name: str) -> list[tuple[str, str]]:
        """The task and the column of ``~TASK:COLUMN``, of each instance, or of all where they have the same."""
        names = [filled(name, took) for took in self.took] if "{" in name else [name]
        return [(task, column) for task, _, column in (each[1:].partition(":") for each in names)]

    def __iter__(self) -> Iterator[Instance]:
        self._wake()
        return (each for each in self.instances if each)

    def instance(self, i: int) -> Instance:
        """That of a column, made where there is none yet."""
        found = self.instances[i]
        if found is None:
            unit = self.rule.config.unit or self.source.unit(self.rule, i if len(self.own) else None, self)
            found = Instance(self.rule.terms, self.source.desk, self.source.name, self.names[i], unit)
            found.alarm, found.took = self.rule, self.took[i] if self.took else ()
            found.patience = math.inf if self.rule.terms.by_clock else self.source.patience(self)
            self.instances[i] = found
        return found

    def seen(self, values: Floats) -> list[int]:
        """The columns of ours that have a value in one of these rows (n, width)."""
        if not len(self.own):
            return [0]
        own = values[:, self.own]
        found: list[int] = np.flatnonzero((own == own).any(axis=0)).tolist()
        return found

    def arrive(self, values: Floats, w: int) -> None:
        """Rows have come, of whatever time."""
        for i in self.seen(values):
            self.instance(i).arrive(w)

    def dirty(self, t: int) -> None:
        """A sample of ours at t is out of bounds, or is missing."""
        self._dirty_until = max(self._dirty_until, t + (self.rule.bounds[2] if self.rule.bounds else 0) + 1)

    def passes(self, t: int, w: int) -> bool:
        """Whether rows in order up to t, none of which is out of bounds, change nothing; then they need no judging."""
        if not self._calm or t < self._dirty_until or t >= self._due:
            return False
        self._passed = t, w
        return True

    def _wake(self) -> None:
        """Have the instances know of the rows that passed."""
        if self._passed:
            t, w = self._passed
            self._passed = None
            for each in self:
                if each.last_t is None or t > each.last_t:
                    each.last_t = each.last_known = t
                    each.last_unknown = False
                each.last_arrival = max(w, each.last_arrival or w)

    def rows(self, times: Cells, values: Floats, w: int, came: bool = True) -> None:
        """Judge rows (n,), (n, width), in time order; not `came`: they came before."""
        self._wake()
        columns = self.seen(values)
        if came:
            for i in columns:
                self.instance(i).arrive(w)
        if not columns:
            return
        shape = len(self.instances), len(times)
        found, level, clear = self.rule.judge(Frame(self, times, w))
        moments = times.tolist()
        values_, levels, clears = (
            (each if each.shape == shape else np.broadcast_to(each, shape)).tolist()
            for each in (np.asarray(found), level, np.asarray(clear))
        )
        own = values[:, self.own].T.tolist() if len(self.own) else None
        for i in columns:
            row = self.instance(i).row
            present = moments if own is None else own[i]
            for t, value, at, is_clear, here in zip(moments, values_[i], levels[i], clears[i], present, strict=True):
                if here == here:
                    row(t, value, at, is_clear, w)
        self._settle(moments[-1], len(columns), values_)

    def _settle(self, t: int, count: int, found: list[list[float]]) -> None:
        """Whether rows may pass from now on."""
        rule = self.rule
        self._calm = bool(rule.bounds or rule.every) and all(each.rests for each in self)
        self._due = t + (LOOK if rule.bounds else rule.every)
        self._patience = min((each.patience for each in self), default=0.0)
        if rule.bounds:
            self._calm = self._calm and count == sum(each is not None for each in self.instances)
        if self._calm:  # whatever `only_if` says
            self._calm = not any(
                value == value and rule.level(np.float64(value)) for (value,) in (v[-1:] for v in found)
            )

    def clock(self, w: int) -> None:
        """Judge an alarm that goes by the clock."""
        one = self.instance(0)
        if one.rests and isinstance(self.rule.value, Clock):
            value = self.source.clock(self.rule.value.function, w)
            if value == value and not self.rule.level(np.float64(value)):
                one.value, one.last_t, one.last_known, one.last_unknown = value, w, w, False
                return
        found, level, clear = self.rule.judge(Frame(self, np.array([w]), w))
        value, at, is_clear = (np.asarray(each).reshape(-1)[0].item() for each in (found, level, clear))
        one.at_clock(value, at, is_clear, w)

    def tick(self, w: int, hears: bool) -> None:
        if self._passed and w - self._passed[1] < self._patience:
            return
        self._wake()
        lives = self.source.arrived is not None and w - self.source.arrived < 10 * S
        for each in self.instances:
            if each is None:
                continue
            quiet = each.rests and (each.last_arrival is None or w - each.last_arrival < each.patience)
            if not quiet:
                each.tick(w, hears, lives and w - (each.last_arrival or 0) > 10 * S)
                self._calm = self._calm and each.rests


class Judged:
    """One source."""

    def __init__(
        self, name: str, columns: tuple[str, ...], units: tuple[str, ...], rules: list[Rule], desk: Desk,
        born: int = 0, past: Past | None = None, begin: int | None = None, is_device: bool = False,
    ) -> None:  # fmt: skip
        """`begin`: since when there are rows, where that is before the first that comes.

        `is_device`: it is the source of a registered device.
        """
        self.name, self.columns, self.units, self.desk, self.born, self.past = name, columns, units, desk, born, past
        self.is_device = is_device
        self.groups = [group for rule in rules if (group := self._group(rule)) is not None]
        self.arrived: int | None = None
        self._waiting: list[tuple[int, Floats]] = []  # rows stamped ahead: time, values (width,)
        self._arrivals: deque[int] = deque(maxlen=USUAL_ROWS)
        self._usual, self._usual_at = math.nan, 0
        self._lags: deque[list[int]] = deque(maxlen=SKEW_MINUTES)  # minute, least, greatest; ns
        short = [node.span or 0 for group in self.groups for node in group.rule.windows if (node.span or 0) <= SHORT]
        needed = {int(at) for group in self.groups for node in group.rule.windows for at in group.places(node.column)}
        self._late = min((group.rule.terms.late for group in self.groups), default=0)
        self._newest = -(1 << 62)
        self._by_row = [group for group in self.groups if not group.rule.terms.by_clock]
        self.by_clock = [group for group in self.groups if group.rule.terms.by_clock]
        owners: dict[int, list[Group]] = {}
        for group in self.groups:
            nodes = windows(group.rule.value) if group.rule.bounds else ()
            for at in {int(at) for node in nodes for at in group.places(node.column) if at >= 0}:
                owners.setdefault(at, []).append(group)
        self._watched, self._owners = np.array(list(owners), np.intp), list(owners.values())
        bounds = [[group.rule.bounds for group in each if group.rule.bounds] for each in self._owners]
        self._low = np.array([max(low for low, _, _ in each) for each in bounds])
        self._high = np.array([min(high for _, high, _ in each) for each in bounds])
        self._steady = np.array([any(low != low for low, _, _ in each) for each in bounds], np.bool_)
        self.recent = Recent(sorted(needed - {-1}), len(columns), max([*short, MINUTE]), begin)

    def _group(self, rule: Rule) -> Group | None:
        """None where the rule has nothing to judge here."""
        if not rule.heeds(self.name, self.columns, self.is_device):
            return None
        group = Group(rule, self)
        return group if len(group.own) or not rule.config.columns else None

    def __iter__(self) -> Iterator[tuple[Rule, Instance]]:
        return ((group.rule, each) for group in self.groups for each in group)

    @property
    def size(self) -> int:
        """How many instances it may have."""
        return sum(len(group.instances) for group in self.groups)

    def unit(self, rule: Rule, i: int | None, group: Group) -> str:
        """The unit of a rule's value, of its own column number `i`."""
        tree, column = rule.value, ""
        if isinstance(tree, Window):
            places = group.places(tree.column)
            at = int(places[(i or 0) % len(places)]) if len(places) else -1
            column = self.units[at] if at >= 0 else ""
        return unit_of(tree, column)

    # -- what the language asks of the source

    def clock(self, function: str, w: int) -> float:
        """age, overdue, seen, skew, at w; nan where it is not known."""
        if function == "seen":
            return (w - self.born) / 1e9 if self.born else math.nan
        if function == "skew":
            return self.skew_s
        started = self.desk.started
        if self.arrived is None or started is None or w - started < YOUNG:
            return math.nan
        age = (w - self.arrived) / 1e9
        return age if function == "age" else age / self.usual_s

    @property
    def usual_s(self) -> float:
        """The interval of its rows: the larger of the median gaps of their times and of their arrivals; nan below 3."""
        return self._usual

    @property
    def skew_s(self) -> float:
        """By how much its sender's clock is wrong, as the times of its rows say; 0 where that is within what is usual.

        nan before there were ten minutes with rows, and where what came was a backlog.
        """
        if len(self._lags) < SKEW_MINUTES:
            return math.nan
        least, greatest = min(each[1] for each in self._lags), max(each[2] for each in self._lags)
        if greatest - least > STEADY:
            return math.nan
        return least / 1e9 if least > BEHIND else -greatest / 1e9 if greatest < -BEFORE else 0.0

    def came(self, time: int, arrived: int) -> None:
        """The newest row has this time, and came then."""
        minute, lag = arrived // MINUTE, arrived - time
        if self._lags and self._lags[-1][0] == minute:
            self._lags[-1][1:] = min(lag, self._lags[-1][1]), max(lag, self._lags[-1][2])
        else:
            self._lags.append([minute, lag, lag])

    def patience(self, group: Group) -> float:
        """no_data_after in ns; inf where no interval is known."""
        said = group.rule.config.no_data_after
        if said is not None:
            return said.ns
        return math.inf if math.isnan(self._usual) else max(NO_DATA, NO_DATA_STEPS * self._usual * 1e9)

    def _learn(self, w: int) -> None:
        """What is usual, now and then."""
        if w - self._usual_at < USUAL_AGAIN and not math.isnan(self._usual):
            return
        times = self.recent.times[-USUAL_ROWS:]
        if len(times) < 3:
            return
        gaps = [np.diff(each) for each in (times, np.array(self._arrivals))]
        medians = [float(np.median(each[each > 0])) for each in gaps if (each > 0).any()]
        self._usual, self._usual_at = max(medians, default=math.nan) / 1e9, w
        for group in self.groups:
            if not group.rule.terms.by_clock:
                patience = self.patience(group)
                for each in group:
                    each.patience = patience

    def expect(self, arrivals: list[int]) -> None:
        """When rows came, before the first that is judged here."""
        self._arrivals.extend(arrivals)

    # -- rows and ticks

    def load(self, times: Cells, values: Floats, w: int) -> None:
        """Rows that had come by w, before a restart: for windows and for what is usual.

        Those ahead of it wait, again perhaps: which of them were judged already, their instances know.
        """
        order = np.argsort(times, kind="stable")
        times, values = times[order], values[order]
        now = int(np.searchsorted(times, w, "right"))
        self.recent.add(times[:now], values[:now])
        if len(times):
            self._newest = int(times[-1])
            for at in np.flatnonzero(self._steady).tolist():
                self._hold(at, values[-1, self._watched[at]])
            self._note(values, self._newest)
        self._waiting = list(zip(times[now:].tolist(), values[now:], strict=True))
        self._learn(w)

    def judge(self, groups: list[Group], block: Cells, w: int) -> None:
        """Have new groups judge rows (n, 1 + width) that came before them."""
        block = block[np.argsort(block[:, 0], kind="stable")]
        for group in groups if len(block) else ():
            group.rows(block[:, 0].copy(), block[:, 1:].view(np.float64), w)

    def bucket(self, time: int, parts: Floats) -> None:
        """Min, max and mean (3, width) of a bucket of history, as a row at its end, of which nothing is late."""
        self.arrived = time
        self._take(np.array([time]), parts[2][None], time, spread=(parts[0][None], parts[1][None]))

    def rows(self, times: Cells, values: Floats, w: int) -> None:
        """Rows (n,), (n, width) that were read at w, in any order."""
        if (times[1:] < times[:-1]).any():
            order = np.argsort(times, kind="stable")
            times, values = times[order], values[order]
        self._reach(w)
        self.arrived = w
        self._arrivals.append(w)
        now = int(np.searchsorted(times, w + AHEAD, "right"))
        if now < len(times):
            self._waiting += zip(times[now:].tolist(), values[now:], strict=True)
            self._waiting.sort(key=lambda row: row[0])
            for group in self.groups:
                group.arrive(values[now:], w)
        self._take(times[:now], values[:now], w)

    def tick(self, w: int, hears: bool = True) -> None:
        """The collector's clock, once a second."""
        self._reach(w)
        self.tick_clocks(w, hears)
        for group in self._by_row:
            group.tick(w, hears)

    def tick_clocks(self, w: int, hears: bool = True) -> None:
        """The same, but only for what is judged by the clock."""
        for group in self.by_clock:
            if self.arrived is not None:
                group.instance(0).last_arrival = self.arrived
                if hears:
                    group.clock(w)
            group.tick(w, hears)

    def rests_until(self) -> int:
        """Until when no tick changes what is judged by rows."""
        every = [each for group in self._by_row for each in group]
        if not all(each.rests for each in every):
            return 0
        due = (each.last_arrival + each.patience for each in every if each.last_arrival is not None)
        return int(min((*due, FOREVER)))

    def _reach(self, w: int) -> None:
        """Judge the rows stamped ahead that the clock has reached."""
        while self._waiting and self._waiting[0][0] <= w:
            time, values = self._waiting.pop(0)
            self._take(np.array([time]), values[None], w, came=False)

    def _take(
        self, times: Cells, values: Floats, w: int, came: bool = True, spread: tuple[Floats, Floats] | None = None
    ) -> None:
        if not len(times):
            return
        t = int(times[-1])
        is_usual = came and times[0] > self._newest and w - times[0] <= self._late
        self._newest = max(self._newest, t)
        self.recent.add(times, values, spread)
        self._learn(w)
        for part in spread or (values,):
            self._note(part, t)
        for group in self._by_row:
            if not (is_usual and group.passes(t, w)):
                group.rows(times, values, w, came)

    def _note(self, values: Floats, t: int) -> None:
        """Tell groups of samples that are out of bounds, or missing."""
        if not len(self._watched):
            return
        own = values[:, self._watched]
        is_well = (own > self._low) & (own < self._high)
        if not is_well.all():
            for at in np.flatnonzero(~is_well.all(axis=0)).tolist():
                for group in self._owners[at]:
                    group.dirty(t)
                if self._steady[at]:
                    self._hold(at, own[-1, at])

    def _hold(self, at: int, sample: float) -> None:
        """A watched column is to be the same from now on."""
        self._low[at], self._high[at] = np.nextafter(sample, -np.inf), np.nextafter(sample, np.inf)


def filled(text: str, took: tuple[str, ...]) -> str:
    """``fs.{1}.free_bytes`` with what the first ``*`` took."""
    for i, part in enumerate(took, 1):
        text = text.replace(f"{{{i}}}", part)
    return text
