"""Hands 1, 2, 3 … to a `linemon.Sender` with a spool, until SIGTERM; goes on where an earlier, killed one was.

    python -m tests.chaos_driver HOST:PORT SPOOL STATE

STATE is a mapped file of two int64: the last number handed over, and how many rows wait in memory only (-1: not known
yet, the driver is starting).
"""

from __future__ import annotations

import logging
import mmap
import random
import signal
import sys
import time
from pathlib import Path

import numpy as np

import linemon


def last_spooled(spool: Path) -> int:
    """The last number that is whole in the spool: it may be one more than the state tells."""
    rows = [
        line.split()[1]
        for path in sorted(spool.glob("*.lines"))[-1:]
        for line in path.read_bytes().split(b"\n")[:-1]
        if not line.startswith(b"#")
    ]
    return int(float(rows[-1])) if rows else 0


def main(address: str, spool: Path, state_file: Path) -> int:
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO)
    with state_file.open("r+b") as file:
        state = np.frombuffer(mmap.mmap(file.fileno(), 16), dtype=np.int64)
    ended: list[int] = []
    signal.signal(signal.SIGTERM, lambda *_: ended.append(1))
    state[1] = 0  # from here on SIGTERM is heard
    number = state[0] = max(int(state[0]), last_spooled(spool))
    sender = linemon.Sender("chaos", ["number"], to=address, spool=spool)
    while not ended:
        for _ in range(random.choice([1, 1, 5, 50])):
            number += 1
            sender.send(number)
            state[0] = number
        with sender._lock:
            state[1] = sum([each.count for each in sender._spool._segments if not each.path])
        time.sleep(random.uniform(0.0, 0.05))
    all_sent = sender.flush(60.0)
    state[1] = 0
    sender.close()
    print(f"all sent: {all_sent}, dropped: {sender.dropped}", file=sys.stderr)
    return int(not all_sent)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])))
