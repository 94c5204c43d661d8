"""What became of every line: counted, and the last bad ones kept for whoever asks why."""

from __future__ import annotations

import logging
from collections import Counter, deque
from typing import NamedTuple

from linemon.errors import LOG_EVERY_NS, LineError
from linemon.lines.session import Session

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

    def __init__(self) -> None:
        self.received = self.stored = self.duplicate = 0
        self.lost = 0  # lines that a numbering sender never sent, apart from all the others
        self.rejected: Counter[str] = Counter()  # by reason, see `linemon.errors.REASONS`
        self.dropped: Counter[str] = Counter()
        self.strings = 0  # fields of Influx lines that are texts: left out
        self.bad_lines: deque[BadLine] = deque(maxlen=BAD_LINES)
        self._logged: dict[str, tuple[int, int]] = {}  # reason: when last (ns), and how many it had then

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

    def reject(self, session: Session, source: str, error: LineError, line: bytes, now: int, number: int) -> None:
        """Count a line that was not taken, log it at a bounded rate, answer it where the peer asked for that."""
        session.received += 1
        session.rejected += 1
        self.received += 1
        self.rejected[error.reason] += 1
        shown = line[:200].decode(errors="replace")
        bad = BadLine(now, session.peer, source, number, error.reason, str(error), shown)
        self.bad_lines.append(bad)
        self._log(bad, now)
        self.answer(session, error, number)

    @staticmethod
    def answer(session: Session, error: LineError, number: int) -> None:
        """Tell the peer what was wrong with its line `number`, if it said `#errors on`."""
        if session.wants_errors:
            session.reply(f"#error {number} {error}")

    def _log(self, bad: BadLine, now: int) -> None:
        count = self.rejected[bad.reason]
        when, had = self._logged.get(bad.reason, (0, 0))
        if now - when >= LOG_EVERY_NS:
            self._logged[bad.reason] = now, count
            log.warning(
                "rejected %d line(s) for %r, the last from %s, line %d: %s",
                count - had, bad.reason, bad.peer, bad.number, bad.error,
            )  # fmt: skip
