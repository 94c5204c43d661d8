"""One alarm on one column of one source, as it stands: rows and ticks in, what is to be told out. No I/O, no clock.

States: ok -> pending -> firing <-> clearing -> ok. Only rows move `for` and `keep`, at their own times; the collector's
clock moves all else. All times and spans are int ns. `told` is the level that was told last; after each row and tick it
is compared with the state, so that what was held back comes in the end. tests/alarms_model.py has the same as a model.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final, Protocol

S: Final = 10**9
HOLE: Final = 300 * S  # a hole in the rows of up to 5 min ends no run
AHEAD: Final = 300 * S  # a row stamped more than 5 min ahead waits until the clock has reached it
SETTLE: Final = 10 * S  # catching up is over after so long without a row, or at a steady pace
FLAP_IN: Final = 3600 * S
UNKNOWN: Final = -1  # as a level
OK, PENDING, FIRING, CLEARING = "ok", "pending", "firing", "clearing"
KINDS: Final = ("ok", "warning", "critical")
FLAPPING: Final = -1  # as what was told


@dataclass(frozen=True)
class Terms:
    """What an alarm says of time and of telling."""

    for_: int = 0
    keep: int = 0
    no_data: str = "keep"
    repeat: int | None = None
    once: bool = False
    late: int = 60 * S
    flap: int = 4
    flap_quiet: int = 1800 * S
    by_clock: bool = False


class Desk(Protocol):
    """Whom an instance tells, and who knows what must not be told now."""

    started: int | None  # when the part began to judge; None: at the first row or tick

    def held(self, instance: Instance, kind: str, level: int, w: int) -> str | None:
        """Why a message must wait; None if it need not."""
        ...

    def told(self, instance: Instance, start: int) -> tuple[int, int] | None:
        """Sequence and level of what was told last of the incident that began then."""
        ...

    def number(self) -> int:
        """A number for an incident that begins."""
        ...

    def changed(self, instance: Instance, kind: str, w: int) -> None:
        """An incident begins, becomes worse, or ends."""
        ...

    def say(self, instance: Instance, kind: str, level: int, start: int, w: int) -> bool:
        """Whether it could be taken."""
        ...


class Instance:
    """The state of one alarm on one column of one source."""

    # What is kept over a restart, with its defaults.
    KEPT: Final[dict[str, Any]] = {
        "state": OK, "level": 0, "start": None, "end": None, "since1": None, "since2": None, "clear_since": None,
        "last_t": None, "last_unknown": False, "last_known": None, "last_arrival": None, "stale": False,
        "catching": None, "lag": None, "told": 0, "told_at": None, "told_start": None, "acked": None, "seq": 0, "n": 0,
        "changes": (), "flapping": False, "flap_said": False, "critical_said": False, "gone": False, "left": None,
    }  # fmt: skip
    __slots__ = (
        *KEPT, "alarm", "column", "desk", "held", "marked", "patience", "rests", "source", "terms", "took", "unit",
        "value",
    )  # fmt: skip

    state: str
    level: int  # of the incident, while firing or clearing
    start: Any  # of the incident, ns; of it the end
    end: Any
    since1: int | None  # since when rows have been at this level or above
    since2: int | None
    clear_since: Any  # what `keep` counts from
    last_t: Any  # time of the newest judged row; whether its value was unknown
    last_unknown: bool
    last_known: int | None  # time of the newest known value
    last_arrival: int | None  # when the last value came
    stale: bool  # no_data
    catching: list[int] | None  # catching up: time and arrival of the row since which the pace is steady
    lag: int | None  # of a sender whose clock is behind
    told: int  # the level told last; FLAPPING
    told_at: Any
    told_start: Any  # of the incident that was told
    acked: dict[str, Any] | None
    seq: int
    n: int
    changes: list[int]  # when it began to fire and ended, of late
    flapping: bool
    flap_said: bool
    critical_said: bool
    gone: bool  # it ended as there is nothing left to judge
    left: int | None  # when it was pending or firing last

    def __init__(self, terms: Terms, desk: Desk, source: str = "", column: str | None = None, unit: str = "") -> None:
        self.terms, self.desk, self.source, self.column, self.unit = terms, desk, source, column, unit
        self.alarm: Any = None  # the rule, and what the ``*`` of its pattern took: for whom it tells
        self.took: tuple[str, ...] = ()
        self.patience: float = math.inf  # no_data_after
        self.value = math.nan  # of the newest row
        self.held: str | None = None  # why what is to be told waits
        self.rests = True  # a good row changes nothing but the times
        self.marked = 0  # when its last mark was made
        self.load({})

    def save(self) -> dict[str, Any]:
        """What differs from the state of one that was never seen, whose newest value is known."""
        first = self.KEPT | {"last_known": self.last_t}
        return {name: value for name, default in first.items() if (value := getattr(self, name)) != default}

    def load(self, saved: dict[str, Any]) -> None:
        for name, default in (self.KEPT | {"last_known": saved.get("last_t")}).items():
            setattr(self, name, saved.get(name, default))
        self._rest()

    @property
    def now(self) -> int:
        """The level of the incident; 0 where there is none."""
        return self.level if self.state in (FIRING, CLEARING) else 0

    # -- rows and ticks

    def arrive(self, w: int) -> None:
        """A row with a value has come, of whatever time."""
        self.last_arrival = w
        if self.stale:
            self.stale = False
            self._rest()

    def row(self, t: int, value: float, level: int, clear: bool, w: int) -> None:
        """A row of time t, read at w: its value and level (`UNKNOWN`: not known), and whether it is clear."""
        last = self.last_t
        if self.rests and level == 0 and w - t <= self.terms.late and (last is None or t > last):
            self.last_t = self.last_known = t
            self.last_unknown, self.value = False, value
            return
        if last is not None and (t < last or (t == last and not self.last_unknown)):
            return
        self.value = value
        self._catch_up(t, w)
        self._judge(t, level, clear, w)
        self._tell(w)
        self._rest()

    def at_clock(self, value: float, level: int, clear: bool, w: int) -> None:
        """The value of an alarm that is judged by the clock."""
        self.value = value
        self._judge(w, level, clear, w)
        self._rest()

    def tick(self, w: int, hears: bool = True, lives: bool = False) -> None:
        """The collector's clock. `hears` false: the collector is silent, so silence proves nothing. `lives`: other
        columns of the source have values.
        """
        arrived, started = self.last_arrival, self.desk.started
        if hears and arrived is not None and started is not None:
            is_due = not self.terms.by_clock and self.last_t is not None
            if is_due and min(w - arrived, w - started) >= self.patience:
                self._no_data(w, lives)
            if self.catching and w - max(arrived, started) >= SETTLE:
                self.catching = None
        self._tell(w)
        self._rest()

    def begin(self, level: int, start: int, w: int) -> None:
        """An incident that no row told of."""
        self._become(FIRING, level, w, start=start)
        self._rest()

    def finish(self, w: int) -> None:
        """Its end."""
        self._become(OK, 0, w, end=w)
        self._rest()

    def leave(self, w: int) -> None:
        """The source, its column or the alarm is no more."""
        self.gone = True
        if self.state in (FIRING, CLEARING):
            self._become(OK, 0, w, end=w)
        self.state = OK
        self.since1 = self.since2 = self.catching = None
        self._tell(w)
        self._rest()

    # -- the machine

    def _rest(self) -> None:
        self.rests = (
            self.state == OK and self.told == 0 and not self.changes and self.catching is None and self.lag is None
            and self.since1 is None and self.since2 is None and not self.stale and not self.flapping
        )  # fmt: skip

    def _catch_up(self, t: int, w: int) -> None:
        """Until a row that is not late, or none for a while (`tick`), or a while of rows no faster than twice the
        clock: no backlog, but a sender whose clock is behind; while the lag stays its rows are not late.
        """
        late = self.terms.late
        if w - t <= late:
            self.catching = self.lag = None
        elif self.lag is None or abs(w - t - self.lag) > late:
            steady = self.catching and t - self.catching[0] <= 2 * (w - self.catching[1])
            since = self.catching if self.catching and steady else [t, w]
            self.catching, self.lag = since, None
            if w - max(since[1], self.desk.started or 0) >= SETTLE:
                self.catching, self.lag = None, w - t

    def _judge(self, t: int, level: int, clear: bool, w: int) -> None:
        terms = self.terms
        if self.clear_since is not None and not math.isinf(self.patience):  # `keep` is not served while stale
            self.clear_since += max(0, t - self.last_t - int(self.patience))
        self.last_t, self.last_unknown = t, level == UNKNOWN
        if level == UNKNOWN:
            return  # proves nothing, ends nothing
        hole = 0 if self.last_known is None else t - self.last_known
        if hole > max(terms.for_, HOLE):
            self.since1 = self.since2 = None
        if hole > max(terms.keep, HOLE):
            self.clear_since = None
        self.last_known = t
        self.since1 = None if level < 1 else t if self.since1 is None else self.since1
        self.since2 = None if level < 2 else t if self.since2 is None else self.since2
        due = 0
        if self.since1 is not None and t - self.since1 >= terms.for_:
            due = 1
        if self.since2 is not None and t - self.since2 >= terms.for_:
            due = 2
        if self.state in (OK, PENDING):
            if self.state == PENDING and not level:
                self.left = w
            self.state = PENDING if level else OK
            if due:
                self._become(FIRING, due, w, start=self.since1)
            return
        if due > self.level:  # a lower one changes nothing until the end
            self.level = due
            self.desk.changed(self, KINDS[due], w)
        if clear:
            self.state, self.clear_since = CLEARING, t if self.clear_since is None else self.clear_since
            if t - self.clear_since >= terms.keep:
                self._become(OK, 0, w, end=t)
        else:
            self.state, self.clear_since = FIRING, None

    def _no_data(self, w: int, lives: bool) -> None:
        """No value arrived for no_data_after; while others of its source do: a disk that was unmounted."""
        self.stale = True
        incident, no_data = self.state in (FIRING, CLEARING), self.terms.no_data
        if no_data == "alarm":
            if not incident:
                self._become(FIRING, 1, w, start=self.last_t)
        elif no_data == "ok" or lives:
            if self.state == PENDING:
                self.left = w
            self.state, self.since1, self.since2, self.gone = OK, None, None, no_data != "ok"
            if incident:
                self._become(OK, 0, w, end=w)

    def _become(self, state: str, level: int, w: int, *, start: int | None = None, end: int | None = None) -> None:
        """An incident begins (`start`) or ends (`end`)."""
        self.clear_since = None
        if start is not None:
            self.state, self.level, self.start, self.gone = state, level, start, False
            self.end = None
            if self.told == 0:  # else it is the incident that people know
                self.n = self.desk.number()
        else:
            self.end = end
        self.desk.changed(self, KINDS[level], w)
        if start is None:
            self.state, self.level, self.left, self.acked = state, level, w, None
        if not self.catching and not self.terms.once:
            self.changes = [*self.changes, w]

    # -- telling

    def _tell(self, w: int) -> None:
        """Compare the state with what was told last."""
        terms, now = self.terms, self.now
        if self.changes:
            self.changes = [x for x in self.changes if x > w - FLAP_IN]
        self.held = None
        if self.catching:
            self.held = "late" if now > max(self.told, 0) or (not now and self.told) else None
            return
        if self.flapping and self.changes and w - self.changes[-1] < terms.flap_quiet:
            if not self.flap_said:
                self.flap_said = self._say(w, "flapping", now)
            elif now == 2 and not self.critical_said:
                self.critical_said = self._say(w, "critical", 2)
            self.held = self.held or "flapping"
            return
        if self.flapping:
            self.flapping, self.changes = False, []
        if len(self.changes) >= terms.flap:
            self.flapping, self.flap_said, self.critical_said = True, False, False
            self.flap_said = self._say(w, "flapping", now)
            self.critical_said = self.flap_said and now == 2
        elif now > self.told:
            if self._say(w, KINDS[now], now):
                self.acked = None
        elif now == 0 and self.told > 0:
            if terms.once:
                self.told = 0
            else:
                self._say(w, "gone" if self.gone else "ok", 0)
        elif now and self.told > 0 and terms.repeat and self.acked is None and not self.stale:
            self._repeat(w, now, terms.repeat)

    def _repeat(self, w: int, now: int, after: int) -> None:
        if w - self.told_at >= after:
            self._say(w, "still", now)

    def _say(self, w: int, kind: str, level: int) -> bool:
        """False where it is held: compared again later."""
        self.held = self.desk.held(self, kind, max(level, self.told), w)
        if self.held:
            return False
        start = self.told_start if kind in ("ok", "gone", "still") and self.told > 0 else self.start
        before = self.desk.told(self, start)
        if before and before[0] > self.seq:  # told before the part was killed
            self.seq, self.told = before
        else:
            self.seq += 1
            if not self.desk.say(self, kind, level, start, w):
                self.seq -= 1
                return False
            if kind != "still":
                self.told = FLAPPING if kind == "flapping" or self.flapping else level
        self.told_at, self.told_start = w, start
        return True
