"""What `_reader.c` has, where it was built. Buffers to write to are C-contiguous, of 8 bytes an element."""

from linemon.store.ring import Floats

def rows(
    blocks: list[bytes], tokens: int, time_at: int, room: int, now: int, cells: Floats
) -> tuple[int, list[int], list[tuple[int, bytes]]] | None:
    """Read rows of `tokens` tokens, the time the one at `time_at` (-1: there is none, all have `now`), into `cells`.

    Each block ends with a newline. `cells` gets (n, `room`): the time in ns, the numbers, nan. The answer is n, how
    many lines each block has, and the lines that are not plainly such rows, with their index among all lines; None
    where they are more than one in 16.
    """
