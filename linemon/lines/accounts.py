"""What became of every line: counted, and the last bad ones kept for whoever asks why."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict, deque
from collections.abc import Mapping
from typing import NamedTuple

from linemon.errors import LineError
from linemon.lines import names
from linemon.lines.session import Session
from linemon.logs import Seldom
from linemon.store.writer import Ring

log = logging.getLogger(__name__)

BAD_LINES = 100


class BadLine(NamedTuple):
    """A line that was not taken: when (ns since the epoch), from whom, where in the connection, and why."""

    time: int
    peer: str
    source: str  # empty where the connection had none yet
    number: int
    reason: str
    error: str
    line: str


class Accounts:
    """The counters of all connections, in data lines.

    received = stored + duplicate + the sum of `rejected` + the sum of `dropped`, at every moment and in each session.
    """

    def __init__(self, rings: Mapping[str, Ring]) -> None:
        """`rings` by source: a ring counts the rejected lines of its own."""
        self._rings = rings
        self.received = self.stored = self.duplicate = 0
        self.lost = 0  # lines that a numbering sender never sent, apart from all the others
        self.rejected: Counter[str] = Counter()  # by reason, see `linemon.errors.REASONS`
        self.dropped: Counter[str] = Counter()  # by reason: lines that were met by an error of our own
        self.held_back: Counter[str] = Counter()  # by reason: how often a numbered line was not taken, to come again
        self.failed = 0  # connections that ended by an error of our own
        self.strings = 0  # fields of Influx lines that are texts: left out
        self.bad_lines: deque[BadLine] = deque(maxlen=BAD_LINES)
        self._told: defaultdict[str, Seldom] = defaultdict(Seldom)  # by reason

    def store(self, session: Session, count: int) -> None:
        """Count lines that were stored."""
        session.received += count
        session.stored += count
        self.received += count
        self.stored += count

    def duplicated(self, session: Session) -> None:
        """Count a numbered line that is held already."""
        session.received += 1
        session.duplicate += 1
        self.received += 1
        self.duplicate += 1

    def reject(
        self, session: Session, error: LineError, line: bytes, now: int, number: int = 0, source: str | None = None
    ) -> None:
        """Count a line that was not taken, log it at a bounded rate, answer it where the peer asked for that.

        `number` is the line's own in the connection (0: it is the last one), `source` where it would have gone (None:
        the source that it names, or the connection's).
        """
        number = number or session.lines
        if source is None:
            source = source_of(session, line)
        if ring := self._rings.get(source):
            ring.arena.count_rejected(ring.entry.slot)
        session.received += 1
        session.rejected += 1
        self.received += 1
        self.rejected[error.reason] += 1
        shown = line[:200].decode(errors="replace")
        self.bad_lines.append(BadLine(now, session.peer, source, number, error.reason, str(error), shown))
        if count := self._told[error.reason].due():
            log.warning(
                "rejected %d line(s) for %r, the last from %s, line %d: %s",
                count, error.reason, session.peer, number, error,
            )  # fmt: skip
        self.answer(session, error, number)

    def hold_back(self, session: Session, error: LineError, number: int) -> None:
        """Count and tell of a numbered line that there is no room or no right for: it is not received, it comes again.

        The connection ends, or if its acknowledgements say whose they are, this source of it waits for its next #seq.
        """
        if session.is_named:
            session.wait()
        else:
            session.shut()
        self.held_back[error.reason] += 1
        if count := self._told[f"held back: {error.reason}"].due():
            log.warning(
                "%r of %s must wait, its lines are not acknowledged: %s (%d since the last such line)",
                session.source, session.peer, error, count,
            )  # fmt: skip
        self.answer(session, error, number)

    def fail(self, session: Session, lost: int) -> None:
        """End a connection whose lines were met by an error that nobody foresaw; `lost` of them are dropped."""
        session.shut()
        self.failed += 1
        session.received += lost
        session.dropped += lost
        self.received += lost
        if lost:
            self.dropped["error"] += lost
        if self._told["error"].due():
            log.exception("a bug, or a failing disk: the connection of %s (%r) ends", session.peer, session.source)

    def note(self, session: Session, said: str, line: bytes, now: int) -> None:
        """List a comment that was hardly meant as one, and tell the peer if it wants errors; it counts as nothing."""
        shown = line[:200].decode(errors="replace")
        self.bad_lines.append(BadLine(now, session.peer, session.source or "", session.lines, "comment", said, shown))
        self.answer(session, LineError("comment", said), session.lines)

    @staticmethod
    def answer(session: Session, error: LineError, number: int) -> None:
        """Tell the peer what was wrong with its line `number`, if it said `#errors on`, or will be answered anyway."""
        if session.body:
            session.body.hear(number, error)
        elif session.wants_errors:
            session.reply(f"#error {number} {error.reason}: {error}")


def source_of(session: Session, line: bytes) -> str:
    """The source that a line names, or else that of its connection; empty if it has none."""
    if line and names.kind(line, session.in_rows) in (names.Kind.METRIC, names.Kind.INFLUX):
        return names.first_token(line).decode(errors="replace")
    return session.ring.entry.source if session.ring else session.source or ""
