"""Which lines may be parsed and appended together. No I/O."""

from __future__ import annotations

from linemon.lines import names
from linemon.lines.session import Session
from linemon.store.arena import ArenaWriter

# What rows must share to be parsed and appended together: the arena, the numbers a line without the time, and where
# the time stands. NAMED stands for metrics and points, FIELDS for pairs and JSON, NO_SHAPE for lines to be looked at
# one by one.
Shape = tuple[ArenaWriter | None, int, int | None]
NAMED: Shape = (None, 1, None)
FIELDS: Shape = (None, 2, None)
POINTS = -1  # in place of how many numbers: points of bodies whose times have one unit, which is the third
NO_SHAPE: Shape = (None, 0, None)

DIGITS = b"0123456789"
ROW_STARTS = DIGITS + b"+-.nN"
NO_NAMES = b"+-. \t\r\n#"
EQUALS, BRACE = b"={"


def shape_of(session: Session, block: bytes) -> Shape:
    """Which way a block goes, by its first line."""
    if not block or session.grant is None or session.refused or session.open_point:
        return NO_SHAPE
    if session.body and session.body.has_points:
        return NO_SHAPE if session.grant.is_limited or block[0] in NO_NAMES else (None, POINTS, session.body.unit)
    first = block[0]  # a number: to look for one in bytes is ten times as quick as for bytes
    if session.ring is not None and first in ROW_STARTS and session.fits():
        return NO_SHAPE if session.order else (session.ring.arena, session.width, session.time_at)
    if session.sequence is not None:
        return NO_SHAPE
    if first == BRACE or (EQUALS in block and names.PAIR_FIRST.match(block)):
        return FIELDS
    if session.grant.is_limited or first in NO_NAMES:
        return NO_SHAPE
    if first in DIGITS and names.kind(block.partition(b"\n")[0], session.in_rows) is names.Kind.ROW:
        return NO_SHAPE
    return NAMED
