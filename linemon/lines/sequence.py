"""Senders that number their lines, and the rings that keep their numbers. No I/O.

The number below which all lines of a sender are held becomes visible in the same instant as the rows (docs/STORE.md):
so after a crash of either side the sender is told exactly where to go on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakValueDictionary

from linemon.errors import LineError
from linemon.lines.pace import Pace
from linemon.store.ring import SENDERS
from linemon.store.writer import Ring

if TYPE_CHECKING:
    from linemon.lines.session import Session


class Sequence:
    """The lines that one sender numbers to one source.

    Those below `next` were taken; of those below `settled` what became is in the ring, or they were rejected or lost.
    """

    __slots__ = ("__weakref__", "next", "pace", "place", "ring", "sender", "settled", "source")

    def __init__(self, source: str, sender: str, number: int, pace: Pace) -> None:
        self.source, self.sender = source, sender
        self.pace = pace  # of all that number lines of the source
        self.next = self.settled = number
        self.ring: Ring | None = None  # which keeps the number,
        self.place = 0  # and where


class Sequences:
    """All sequences that a connection is at, one for each source and sender, however many connections there are."""

    def __init__(self, rings: Mapping[str, Ring]) -> None:
        self._rings = rings
        self._known: WeakValueDictionary[tuple[str, str], Sequence] = WeakValueDictionary()
        self._paces: WeakValueDictionary[str, Pace] = WeakValueDictionary()

    def find(self, source: str, sender: str, number: int) -> Sequence:
        """The sequence of this sender; of one that was never heard of `number` is the next line."""
        sequence = self._known.get((source, sender))
        if sequence is None:
            pace = self._paces.setdefault(source, Pace())
            sequence = self._known[source, sender] = Sequence(source, sender, number, pace)
            ring = self._rings.get(source)
            if ring and sender in (places := ring.arena.senders(ring.entry.slot)):
                sequence.next = sequence.settled = ring.arena.acked(ring.entry.slot, places[sender])
                self.keep(sequence, ring)
        return sequence

    def keep(self, sequence: Sequence, ring: Ring) -> None:
        """Have the ring keep the sequence's number from now on. LineError if it keeps those of too many senders."""
        if sequence.ring is ring:
            return
        places = ring.arena.senders(ring.entry.slot)
        place = places.get(sequence.sender)
        if place is None:
            silent = [each for sender, each in places.items() if (sequence.source, sender) not in self._known]
            free = [*(set(range(SENDERS)) - set(places.values())), *silent]  # those that came first go first
            if not free:
                raise LineError("sequence", f"source {sequence.source!r} has {SENDERS} numbering senders already")
            place = free[0]
            ring.arena.register(ring.entry.slot, place, sequence.sender, sequence.settled)
        else:
            ring.arena.register_again(ring.entry.slot, place)
        sequence.ring, sequence.place = ring, place


class Place(NamedTuple):
    """Where a connection was in a source that it left: `#source` alone goes on there after `#acks named`."""

    columns: tuple[str, ...] | None
    units: tuple[str, ...]
    time_at: int | None
    width: int
    ring: Ring | None
    order: tuple[int, ...]
    sequence: Sequence
    number: int
    is_waiting: bool


def are_next(sessions: list[Session]) -> bool:
    """Whether all that are numbered are at the line that their ring awaits, and no sender has two connections."""
    at: dict[Sequence, Session] = {}
    for session in sessions:
        sequence = session.sequence
        if sequence is not None:
            if session.number != sequence.next or sequence.ring is not session.ring:
                return False
            if at.setdefault(sequence, session) is not session:
                return False
    return True
