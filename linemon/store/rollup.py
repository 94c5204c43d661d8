"""One step of history: rows of rings, or bucket rows of a finer tier, into the rings of a tier. Many sources at once.

A ring of a tier says itself how far it is, in two acknowledged numbers that become visible with its rows
(docs/STORE.md): rows of the feed below number M are in it, and of those from M up to H the ones that lie before the end
E of its newest bucket. So a row is in a bucket or it is not, whenever the process is killed.

- Rows before C, the last end of a bucket that the newest row has passed, go into the ring. What is left is the bucket
  that is still open.
- Rows that come when their bucket is closed and a newer one is there are *late*. They become parts of their buckets in
  a ring of their own, before the others are written, with the number up to which rows were looked at: where that is
  above H, the process was killed in between, and the late ones are not written again.
- Rows stamped later than they came by more than five minutes are taken for late, and so do not move E.
- Where the open bucket must not wait, its rows are written as a part of it: when a quarter of the feed's ring is new,
  when the source falls silent, at the end of the process.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from linemon.store import buckets
from linemon.store.arena import AHEAD_NS, ArenaWriter
from linemon.store.ring import ACKED, ARRIVED, COMMIT, ID, LATEST, RESERVED, SENDERS, Arena, Cells, Floats, Slots, fence

TAKEN, LOOKED = 0, 1  # places of acknowledged numbers in the ring of a tier: M and H
LATE_LOOKED, LATE_LIMIT, LATE_TAKEN = 0, 1, 2  # in its ring of late parts: how far for those, and of the finer tier's
CHUNK_CELLS: Final = 1 << 18  # looked at in one step: 2 MB
WANTED, REFUSED = -1, -2  # no ring for late parts: none yet; none to be had, so late rows are dropped
NO_LIMIT: Final = np.iinfo(np.int64).max
NEVER: Final = np.iinfo(np.int64).min
Flags = npt.NDArray[np.bool_]


@dataclass
class Feed:
    """Sources that go from the rings of one file to those of another: equal arrays of slots, and what they share.

    `of_tier`: the feed holds bucket rows. `places` (k,): the column of the tier's source that each of the feed's fills.
    """

    arena: Arena
    slots: Slots
    ids: Cells  # of the feed's slots: another one there means that the source has moved
    tier: ArenaWriter
    tier_slots: Slots
    places: npt.NDArray[np.int64]
    of_tier: bool
    late: ArenaWriter | None  # None: no source has a ring there
    late_slots: Slots  # or WANTED, REFUSED
    turned: Cells = field(init=False)  # when each was last taken (ns)

    def __post_init__(self) -> None:
        self.turned = np.zeros(len(self.slots), np.int64)


@dataclass
class Step:
    """What a step came to."""

    buckets: int = 0  # written
    late: int = 0  # parts written for late rows
    dropped: int = 0  # late rows that were too old, or for which there is no ring
    missed: int = 0  # rows that were overwritten before they were looked at
    more: bool = False  # there is more to take at once
    want_late: tuple[int, ...] = ()  # indices of sources that need a ring for late parts; nothing of theirs was taken


def acked(arena: Arena, slots: Slots, place: int) -> Cells:
    """The numbers that count, of many slots."""
    half = arena.cells[slots, COMMIT] & 1
    found: Cells = arena.cells[slots, ACKED + half * SENDERS + place]
    return found


def newest_starts(arena: Arena, slots: Slots) -> Cells:
    """The time of the newest row of each ring; NEVER where there is none."""
    heads = arena.cells[slots, COMMIT] >> 1
    found = np.full(len(slots), NEVER)
    some = np.flatnonzero(heads)
    found[some] = arena.rows[slots[some], (heads[some] - 1) % arena.points, 0]
    return found


def waiting(feed: Feed) -> Cells:
    """How many rows of each source are not in a bucket yet, or not known to be."""
    heads: Cells = feed.arena.cells[feed.slots, COMMIT] >> 1
    return heads - acked(feed.tier, feed.tier_slots, TAKEN)


def advance(feed: Feed, step: int, grace: int, keep: int, now: int, ending: bool = False) -> Step:
    """Take what is due of each source, about `CHUNK_CELLS` of it; all times in ns. LineError where there is no room.

    `ending`: also of buckets that are open.
    """
    at = _due(feed, step, grace, now, ending)
    done = Step(more=at.cut)
    if not len(at.who):
        return done
    rows = _gather(feed.arena, feed.slots[at.who], feed.ids[at.who], at.start, at.stop)
    sorts = _sort(at, rows, step, grace, max(1, feed.arena.points // 4))
    has_late = _any_of_each(sorts.late, rows.src, len(at.who))
    fits = rows.is_same & ~(has_late & (feed.late_slots[at.who] == WANTED))
    done.want_late = tuple(at.who[rows.is_same & ~fits].tolist())
    new_late = np.flatnonzero(sorts.late & (fits & ~at.is_resumed)[rows.src])
    if len(new_late):
        done.late, done.dropped = _put_late(feed, at, rows, sorts.begin, new_late, now - keep)
    sel = np.flatnonzero(sorts.go & fits[rows.src])
    moved = np.flatnonzero(fits & sorts.moves)
    owners, times, parts = _reduced(rows.block, rows.src, sorts.begin, sel, feed.of_tier)
    block = buckets.rows_of(times, parts, feed.tier.width, feed.places)
    places = {TAKEN: sorts.taken[moved], LOOKED: at.stop[moved]}
    _append(feed.tier, feed.tier_slots[at.who[owners]], block, feed.tier_slots[at.who[moved]], places)
    done.buckets = len(times)
    done.missed = int(at.missed[fits].sum()) + int(np.count_nonzero(~rows.is_whole & fits[rows.src]))
    feed.turned[at.who[fits]] = now
    return done


def advance_late(feed: Feed, step: int, keep: int, now: int, ending: bool = False) -> Step:
    """Take the late parts of the finer tier into those of the next: at most once a step, so that they are few."""
    done, late = Step(), feed.tier
    heads = feed.arena.cells[feed.slots, COMMIT] >> 1
    taken = acked(late, feed.tier_slots, LATE_TAKEN)
    who = np.flatnonzero((heads > taken) & ((now - feed.turned >= step) | ending))
    fence()
    oldest = np.clip(feed.arena.cells[feed.slots[who], RESERVED] - feed.arena.points, 0, heads[who])
    start = np.maximum(taken[who], oldest)
    stop = np.minimum(heads[who], start + max(1, CHUNK_CELLS // (1 + feed.arena.width)))
    if not len(who):
        return done
    rows = _gather(feed.arena, feed.slots[who], feed.ids[who], start, stop)
    begin = rows.block[:, 0] - rows.block[:, 0] % step
    sel = np.flatnonzero(rows.is_whole & rows.is_same[rows.src] & (begin >= now - keep))
    owners, times, parts = _reduced(rows.block, rows.src, begin, sel, True)
    block = buckets.rows_of(times, parts, late.width, feed.places)
    moved = np.flatnonzero(rows.is_same)
    _append(late, feed.tier_slots[who[owners]], block, feed.tier_slots[who[moved]], {LATE_TAKEN: stop[moved]})
    done.late, done.more = len(times), bool((stop < heads[who]).any())
    feed.turned[who[stop == heads[who]]] = now
    return done


# -- parts of a step


@dataclass
class _Due:
    """What is looked at: `who` (m,) are indices of sources, the others (m,) belong to them."""

    who: Slots
    taken: Cells  # M
    looked: Cells  # H
    newest: Cells
    limit: Cells  # later rows are ahead of the clock
    start: Cells  # the numbers of the rows that are read
    stop: Cells
    missed: Cells
    is_resumed: Flags  # its late rows are written already
    is_cut: Flags  # there are more rows after `stop`
    closes_all: Flags  # nothing is left open
    cut: bool  # some source has to wait for the next step


def _due(feed: Feed, step: int, grace: int, now: int, ending: bool) -> _Due:
    arena, slots, points = feed.arena, feed.slots, feed.arena.points
    heads = arena.cells[slots, COMMIT] >> 1
    fence()
    oldest = np.clip(arena.cells[slots, RESERVED] - points, 0, heads)
    taken = acked(feed.tier, feed.tier_slots, TAKEN)
    looked = acked(feed.tier, feed.tier_slots, LOOKED)
    newest = newest_starts(feed.tier, feed.tier_slots)
    arrived = arena.cells[slots, ARRIVED]
    limit = np.where(arrived > 0, arrived, now) + AHEAD_NS if not feed.of_tier else np.full(len(slots), NO_LIMIT)
    stop, is_resumed = heads.copy(), np.zeros(len(slots), np.bool_)
    has_late = np.flatnonzero(feed.late_slots >= 0)
    if feed.late is not None:
        late_slots = feed.late_slots[has_late]
        scanned = acked(feed.late, late_slots, LATE_LOOKED)
        again = has_late[scanned > looked[has_late]]
        is_resumed[again] = True
        stop[again] = np.minimum(scanned[scanned > looked[has_late]], heads[again])
        limit[again] = acked(feed.late, feed.late_slots[again], LATE_LIMIT)
    start = np.maximum(taken, oldest)
    first = np.zeros(len(slots), np.int64)
    some = np.flatnonzero(heads > start)
    first[some] = arena.rows[slots[some], start[some] % points, 0]
    closes = (np.minimum(arena.cells[slots, LATEST], limit) - grace) // step * step
    is_late = (first - first % step < newest) | (first > limit)
    silent = now - arrived >= step + grace
    due = np.where(is_late, now - feed.turned >= step, first - first % step < closes)
    due |= silent | (heads - taken >= max(1, points // 4)) | ending
    who = np.flatnonzero((due & (heads > taken)) | is_resumed)
    room = max(1, CHUNK_CELLS // (1 + arena.width))
    counts = np.cumsum(np.minimum(stop[who] - start[who], room))
    fits = np.flatnonzero(counts <= room)
    cut = len(fits) < len(who)
    who = who[: max(1, len(fits))] if len(who) else who
    last = np.minimum(stop[who], start[who] + room)
    is_cut = last < stop[who]
    all_of = (silent | ending)[who] & ~is_cut
    return _Due(
        who, taken[who], looked[who], newest[who], limit[who], start[who], last, (start - taken)[who],
        is_resumed[who], is_cut, all_of, cut or bool(is_cut.any()),
    )  # fmt: skip


@dataclass
class _Rows:
    """Rows of several sources, one after the other: (n,) whose, their numbers, (n, 1 + k) cells."""

    src: Slots
    number: Cells
    block: Cells
    is_whole: Flags  # (n,): it was not overwritten meanwhile
    is_same: Flags  # of each source: it did not move


def _gather(arena: Arena, slots: Slots, ids: Cells, start: Cells, stop: Cells) -> _Rows:
    counts = stop - start
    src = np.repeat(np.arange(len(slots)), counts)
    number = np.arange(len(src)) + np.repeat(start - (np.cumsum(counts) - counts), counts)
    block = arena.rows[slots[src], number % arena.points]
    fence()
    is_whole = number >= (arena.cells[slots, RESERVED] - arena.points)[src]
    fence()
    return _Rows(src, number, block, is_whole, arena.cells[slots, ID] == ids)


@dataclass
class _Sorted:
    """What becomes of rows: (n,) their buckets, which are late, which go into the ring; M, and whether it moves."""

    begin: Cells
    late: Flags
    go: Flags
    taken: Cells
    moves: Flags


def _sort(at: _Due, rows: _Rows, step: int, grace: int, quarter: int) -> _Sorted:
    src, number, time, count = rows.src, rows.number, rows.block[:, 0], len(at.who)
    begin = time - time % step
    end = np.where(at.newest == NEVER, NEVER, at.newest + step)
    untaken = rows.is_whole & ((number >= at.looked[src]) | (time >= end[src]))
    ahead = time > at.limit[src]
    late = untaken & (number >= at.looked[src]) & ((begin < at.newest[src]) | ahead)
    closes = _of_each(np.maximum, np.where(ahead | ~rows.is_whole, NEVER, time), src, count, NEVER)
    closes = np.where(closes == NEVER, NEVER, (closes - grace) // step * step)
    go = untaken & ~late & (begin < closes[src])
    moves = _any_of_each(go | late | ~rows.is_whole, src, count) | (at.missed > 0)
    # Of a bucket that has a part already, rows cannot be left: once H moves, they would count as taken.
    go |= untaken & ~late & (begin <= at.newest[src]) & moves[src]
    left = untaken & ~late & ~go
    taken = _of_each(np.minimum, np.where(left, number, NO_LIMIT), src, count, NO_LIMIT)
    taken = np.minimum(taken, at.stop)
    moves |= taken == at.stop
    force = at.closes_all | (at.stop - taken >= quarter) | (at.is_cut & (taken <= at.start))
    force |= _any_of_each(late & ahead, src, count)  # so that the limit need not be remembered
    go |= left & force[src]
    return _Sorted(begin, late, go, np.where(force, at.stop, taken), moves | force)


def _any_of_each(flags: Flags, src: Slots, count: int) -> Flags:
    """Of which sources there is a row with the flag."""
    found = np.zeros(count, np.bool_)
    found[src[flags]] = True
    return found


def _of_each(ufunc: np.ufunc, values: Cells, src: Slots, count: int, empty: int) -> Cells:
    """The ufunc over the values of each source; `src` is in order."""
    found = np.full(count, empty)
    if len(src):
        starts = buckets.groups(src)
        found[src[starts]] = ufunc.reduceat(values, starts)
    return found


def _reduced(
    block: Cells, src: Slots, begin: Cells, sel: Slots, of_tier: bool
) -> tuple[Slots, Cells, tuple[Floats, Floats, Floats, Floats]]:
    """Of the rows `sel`: whose the buckets are, their starts, and what is in them."""
    if not len(sel):
        nothing = np.empty((0, (block.shape[1] - 1) // (4 if of_tier else 1)))
        return np.empty(0, np.intp), np.empty(0, np.int64), (nothing, nothing, nothing, nothing)
    key = np.column_stack((src[sel], begin[sel]))
    if ((key[1:, 1] < key[:-1, 1]) & (key[1:, 0] == key[:-1, 0])).any():
        order = np.lexsort((key[:, 1], key[:, 0]))
        sel, key = sel[order], key[order]
    starts = buckets.groups(key)
    reduce = buckets.of_buckets if of_tier else buckets.of_rows
    return key[starts, 0].astype(np.intp), key[starts, 1], reduce(block[sel], starts)


def _put_late(feed: Feed, at: _Due, rows: _Rows, begin: Cells, sel: Slots, oldest: int) -> tuple[int, int]:
    """Write the late rows `sel` as parts of their buckets; how many parts were written, and rows dropped."""
    slots = feed.late_slots[at.who]
    kept = sel[(begin[sel] >= oldest) & (slots[rows.src[sel]] >= 0)]
    if feed.late is None:
        return 0, len(sel)
    owners, times, parts = _reduced(rows.block, rows.src, begin, kept, feed.of_tier)
    block = buckets.rows_of(times, parts, feed.late.width, feed.places)
    ours = np.unique(rows.src[sel])
    ours = ours[slots[ours] >= 0]
    _append(feed.late, slots[owners], block, slots[ours], {LATE_LOOKED: at.stop[ours], LATE_LIMIT: at.limit[ours]})
    return len(times), len(sel) - len(kept)


def _append(arena: ArenaWriter, slots: Slots, block: Cells, owners: Slots, numbers: dict[int, Cells]) -> None:
    """Append bucket rows, and have the numbers of `owners`, by place, become visible in the same instant."""
    acks = [
        (slot, place, n) for place, of in numbers.items() for slot, n in zip(owners.tolist(), of.tolist(), strict=True)
    ]
    if len(slots) or acks:
        arena.append(slots, block, acks)
