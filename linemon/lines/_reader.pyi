"""What `_reader.c` has, where it was built. Buffers to write to are C-contiguous, of 8 bytes an element."""

from linemon.store.ring import Cells, Floats, Ints

def rows(
    blocks: list[bytes], tokens: int, time_at: int, room: int, now: int, cells: Floats
) -> tuple[int, list[int], list[tuple[int, bytes]]] | None:
    """Read rows of `tokens` tokens, the time the one at `time_at` (-1: there is none, all have `now`), into `cells`.

    Each block ends with a newline. `cells` gets (n, `room`): the time in ns, the numbers, nan. The answer is n, how
    many lines each block has, and the lines that are not plainly such rows, with their index among all lines; None
    where they are more than one in 16.
    """

def named(
    block: bytes, known: dict[bytes, int], are_points: bool, unit: int, now: int, space: Cells
) -> tuple[int, int, list[bytes]] | None:
    """Read metrics, or points (`are_points`: nothing else) whose times have a `unit` in ns, 0 by magnitude.

    `known` says where lines of a key go, slot << 32 | target; the key of a metric is its name as it is spelled, that of
    a point its measurement with its tags, a newline, and the names of its fields with commas between. `space`, (4, m),
    gets the slots, targets and times in ns of the lines, and in its last row the values of all, as bits. The answer is
    how many lines and how many values there are, and keys that are not known: then the rest means nothing, and there
    may be more of them. None where a line is not plainly of the kind of the first one, or m is too small.
    """

def alike(block: bytes, texts: bytes, is_json: bool, time_at: int, now: int, values: Floats, times: Ints) -> bool:
    """Read lines that differ in nothing but their numbers, of which the one at `time_at` is a time (-1: there is none).

    `texts` is what stands before, between and behind the numbers of each line, a newline behind each. `values`,
    (lines, numbers but the time), and `times`, (lines,) in ns, get what they say; False where a line is different.
    """
