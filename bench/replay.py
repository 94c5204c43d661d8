"""A day's samples through the agent's spool and connection into a collector, a hundred times as fast.

Memory must stay flat on both sides.

    python -m bench.replay --rows 86400 --speed 100      takes a quarter of an hour

Each row is a real sample of this machine under a time of its own; both processes' memory is printed ten times.
"""

from __future__ import annotations

import argparse
import selectors
import subprocess
import sys
import time
from pathlib import Path

from bench.receivers import Linemon


def send(port: int, rows: int, speed: float) -> None:
    """The sending side, in a process of its own: what the agent does, at another speed."""
    import psutil

    from agent.sampler import Sampler
    from linemon_sender.columns import columns_line
    from linemon_sender.sender import SpoolSender
    from linemon_sender.spool import MAX_AGE, MAX_BYTES, Spool

    def log(text: str) -> None:
        print(text, file=sys.stderr)

    sampler = Sampler(psutil, log)
    sampler.sample(0)
    time.sleep(1.0)
    sample = sampler.sample(0)
    assert sample
    at, values = sample
    header = columns_line(sampler.columns)
    selector = selectors.DefaultSelector()
    spool = Spool("replay", "", MAX_BYTES, MAX_AGE, log)
    sender = SpoolSender(("127.0.0.1", port), "", spool, selector, log, lazy=True)
    begun = time.monotonic()
    for number in range(rows):
        due = begun + number / speed
        while (left := due - time.monotonic()) > 0:
            for key, mask in selector.select(left):
                key.data(mask)
        row = [f"{at + number:.6f}", *[f"{values.get(name, 0.0) + number % 7:.15g}" for name in sampler.columns]]
        spool.append(" ".join(row).encode(), header)
        sender.turn()
    sender.close(10.0)


def resident(pid: int) -> int:
    """KiB."""
    return int(Path(f"/proc/{pid}/status").read_text().split("VmRSS:")[1].split()[0])


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.replay", description=__doc__)
    parser.add_argument("--rows", type=int, default=86400)
    parser.add_argument("--speed", type=float, default=100.0, help="rows a second")
    parser.add_argument("--to", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.to:
        send(asked.to, asked.rows, asked.speed)
        return 0
    receiver = Linemon("rows")
    assert receiver._process
    command = [sys.executable, "-m", "bench.replay", "--to", str(receiver.port)]
    sender = subprocess.Popen([*command, "--rows", str(asked.rows), "--speed", str(asked.speed)])
    try:
        print(f"{'rows':>8} {'agent KiB':>10} {'collector KiB':>14}")
        for tenth in range(1, 11):
            wanted = asked.rows * tenth // 10
            while (stored := receiver._store["replay"].rows if "replay" in receiver._store else 0) < wanted:
                if sender.poll() is not None:
                    break
                memory = resident(sender.pid)
                time.sleep(0.2)
            print(f"{stored:8,} {memory:10,} {resident(receiver._process.pid):14,}", flush=True)
        sender.wait()
        stored = receiver._store["replay"].rows
        print(f"{stored:,} of {asked.rows:,} rows stored")
        return int(stored != asked.rows)
    finally:
        sender.kill()
        receiver.stop()


if __name__ == "__main__":
    sys.exit(main())
