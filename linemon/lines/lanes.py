"""Lanes: connections that send rows of one shape and nothing else, as most do most of the time. No I/O.

Of a connection in a lane a round needs where its rows go and how many came: this stands in lists by the number of its
descriptor, and what was read of all of them is parsed and appended at once. Whatever is more than good rows that are
next goes the way of all other bytes, through `Intake.take`, and the connection leaves its lane until it has sent such
rows again.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from linemon.errors import LineError
from linemon.lines import wire
from linemon.lines.intake import Intake
from linemon.lines.pace import OLD_NS
from linemon.lines.sequence import are_next
from linemon.lines.session import Session
from linemon.lines.shapes import Shape

LANE_BYTES: Final = 4096  # less than this is read at once of a connection in a lane: who sends more has little of it
MAX_LANES: Final = 256
ACK_NS: Final = 10**9 // 2  # from one acknowledgement to the next of who sends on meanwhile; others get theirs at once
RETRY_NS: Final = 20 * ACK_NS
NO_LANE: Final = 0

Read = tuple[int, bytes]  # whose descriptor, and complete lines


class Lanes:
    """The connections of one port that are in lanes."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._store = intake.store
        self._moves = self._store.moves
        self._lanes: dict[tuple[Shape, bool], int] = {}  # by the shape of rows, and whether they are numbered
        self.of: list[int] = []  # which lane each descriptor is in, or NO_LANE
        self.heard: list[float] = []  # when who reads last heard of it, in lanes or not
        self._sessions: list[Session | None] = []  # by descriptor, as the next two
        self._slots: list[int] = []
        self._came: list[int] = []  # rows that its session does not know of yet
        self._acked: set[int] = set()  # since `_ack_at` was set,
        self._owed: set[int] = set()  # and who is to be told more when it has come
        self._busy: set[int] = set()  # of these, who sent on without it;
        self._patient: set[int] = set()  # who did not waits for each answer, and gets it at once
        self._ack_at = self._retry_at = 0  # ns since the epoch; when to see anew who is patient

    def make_room(self, fd: int) -> None:
        """There is a connection of this descriptor, in no lane."""
        more = fd + 1 - len(self.of)
        self.of += [NO_LANE] * more
        self.heard += [0.0] * more
        self._sessions += [None] * more
        self._slots += [0] * more
        self._came += [0] * more

    def enter(self, fd: int, session: Session) -> None:
        """Put a connection into a lane, if what it sent last were rows that need no care.

        None whose `max_line` a line of one read may exceed.
        """
        if session.ring is None or not session.is_plain or not session.fits() or session.max_line < LANE_BYTES:
            return
        shape = session.ring.arena, session.width, session.time_at
        key = shape, session.sequence is not None
        lane = self._lanes.get(key)
        if lane is None:
            if len(self._lanes) == MAX_LANES:
                return
            lane = self._lanes[key] = len(self._lanes) + 1
        self.of[fd], self._sessions[fd], self._slots[fd] = lane, session, session.slot

    def leave(self, fd: int) -> None:
        """Take a connection out of its lane, where it is in one; its session gets to know what came."""
        session, came = self._sessions[fd], self._came[fd]
        if session is not None:
            for group in (self._acked, self._busy, self._patient):
                group.discard(fd)
            if fd in self._owed and session.sequence:
                self._owed.discard(fd)
                session.owed[session.sequence] = None
            session.lines += came
            session.received += came
            session.stored += came
            self.of[fd], self._sessions[fd], self._came[fd] = NO_LANE, None, 0

    def wait_ns(self, now: int) -> int | None:
        """How long until acknowledgements are due, at `now` (ns); None if none is owed."""
        return min(max(0, self._ack_at - now), ACK_NS) if self._owed else None

    def due(self, now: int) -> list[Read]:
        """The acknowledgements that are due, by descriptor."""
        if 0 < self._ack_at - now <= ACK_NS:  # else it is time, or the clock was set
            return []
        if not 0 < self._retry_at - now <= RETRY_NS:
            self._retry_at = now + RETRY_NS
            self._patient.clear()
        self._patient |= self._owed - self._busy
        self._busy.clear()
        self._ack_at, self._acked, self._owed = now + ACK_NS, self._owed, set()
        return [self._answer(fd) for fd in self._acked]

    def _answer(self, fd: int) -> Read:
        session = self._sessions[fd]
        assert session
        return fd, b"#ack %d\n" % session.number

    def take(self, reads: dict[int, list[Read]], now: int) -> tuple[list[Read], list[Read]]:
        """Store what was read at `now` (ns), by lane: what must go another way, and the answers that are due."""
        answers: list[Read] = []
        if self._moves != self._store.moves:  # sources got other rings
            self._moves = self._store.moves
            answers = [self._answer(fd) for fd in self._owed]
            self._owed.clear()
            for fd in range(len(self.of)):
                self.leave(fd)
            self._lanes.clear()
            return [each for lane in reads.values() for each in lane], answers
        rest: list[Read] = []
        shapes = list(self._lanes)
        for lane, came in reads.items():
            try:
                others = self._take(*shapes[lane - 1], came, now)
            except Exception:  # nothing is stored yet: whose lines meet it is found on the other way
                others = came
            rest += others
            if shapes[lane - 1][1]:
                answers += self._to_tell(came, others)
        return rest, answers

    def _to_tell(self, came: list[Read], others: list[Read]) -> list[Read]:
        """The acknowledgements of what came, without the others, that are not to wait."""
        told = {fd for fd, _ in came}
        told.difference_update([fd for fd, _ in others])
        later = (told & self._acked) - self._patient
        self._busy |= later & self._owed
        self._owed |= later
        told -= later
        self._acked |= told
        return [self._answer(fd) for fd in told]

    def _take(self, shape: Shape, are_numbered: bool, came: list[Read], now: int) -> list[Read]:
        arena, width, time_at = shape
        assert arena is not None
        found = wire.rows([data for _, data in came], width, time_at, 1 + arena.width, now)
        if found is None or found.odd:
            return self._without(shape, are_numbered, came, self._at_fault(came, found), now)
        cells, counts, _ = found
        senders: list[Session] = []
        acks = np.empty((3, 0), np.int64)
        slots = [self._slots[fd] for fd, _ in came]
        if are_numbered:
            senders = [session for fd, _ in came if (session := self._sessions[fd])]
            if not are_next(senders):
                return came
            if time_at is not None and (is_old := cells[:, 0] < now - OLD_NS).any():  # a backlog, which has a pace
                out = np.repeat(np.arange(len(came)), counts)[is_old]
                return self._without(shape, are_numbered, came, set(out.tolist()), now)
            places = [session.sequence.place for session in senders if session.sequence]
            acks = np.array([slots, places, [each.number + count for each, count in zip(senders, counts, strict=True)]])
        try:
            arena.append(np.repeat(slots, counts) if len(cells) > len(came) else np.array(slots), cells, acks.T)
        except LineError:  # no room for one of them
            return came
        counted = self._came
        for (fd, _), count in zip(came, counts, strict=True):
            counted[fd] += count
        accounts = self._intake.accounts
        accounts.received += len(cells)
        accounts.stored += len(cells)
        for session, count in zip(senders, counts, strict=False):  # there are none where lines have no numbers
            session.number += count
            session.sequence.next = session.sequence.settled = session.number  # type: ignore[union-attr]
        return []

    @staticmethod
    def _at_fault(came: list[Read], found: wire.Rows | None) -> set[int]:
        """Which reads hold the odd lines; where that is not known, those that hold more than numbers."""
        if found:
            ends = np.cumsum(found.lines)
            return set(np.searchsorted(ends, [line for line, _ in found.odd], side="right").tolist())
        return {i for i, (_, data) in enumerate(came) if not wire.is_numbers(data)}

    def _without(self, shape: Shape, are_numbered: bool, came: list[Read], out: set[int], now: int) -> list[Read]:
        """Take the reads but these, which are returned."""
        if not out or len(out) == len(came):
            return came
        rest = self._take(shape, are_numbered, [each for i, each in enumerate(came) if i not in out], now)
        return rest + [came[i] for i in sorted(out)]
