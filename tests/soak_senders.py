"""Hundreds of senders that connect, send a few lines and close, as cron jobs do; every line is accounted for.

python -m tests.soak_senders --minutes 4 --senders 200
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.running import Running, eventually

POINTS = 20_000  # a ring holds all that one sender sends


async def sender(name: str, address: tuple[str, int], end: float, rng: random.Random) -> int:
    """Send 1, 2, 3 … as metrics of this name, a few on each connection; how many."""
    sent = 0
    while time.monotonic() < end:
        count = rng.choice((1, 1, 1, 2, 10))
        lines = "".join(f"{name} {number}\n" for number in range(sent + 1, sent + count + 1))
        _, writer = await asyncio.open_connection(*address)
        writer.write(lines.removesuffix("\n").encode())  # a clean end ends the last line too
        writer.close()
        await writer.wait_closed()
        sent += count
        await asyncio.sleep(rng.uniform(0, 0.5))
    return sent


async def all_senders(count: int, address: tuple[str, int], seconds: float, seed: int) -> list[int]:
    end = time.monotonic() + seconds
    return await asyncio.gather(*(sender(f"s{i}", address, end, random.Random(seed + i)) for i in range(count)))


def soak(seconds: float, senders: int, seed: int, folder: Path) -> tuple[list[str], dict[str, int]]:
    """Run it; what was wrong, and the counts."""
    running = Running(folder, f"points = {POINTS}\n")
    try:
        sent = asyncio.run(all_senders(senders, running.address(), seconds, seed))
        total = sum(sent)
        wrong = []
        try:
            eventually(lambda: running.status()["received"] >= total, "all lines", 30)
            eventually(lambda: running.status()["connections"] == 0, "no connection left", 30)
        except AssertionError as error:
            wrong.append(str(error))
        status = running.status()
        counts = {
            name: int(status[name]) for name in ("received", "stored", "duplicate", "lost", "connections_refused")
        }
        expected = {"received": total, "stored": total, "duplicate": 0, "lost": 0, "connections_refused": 0}
        if counts != expected or status["rejected"] or status["dropped"]:
            wrong.append(f"counted {counts}, {status['rejected']}, {status['dropped']}; expected {expected}")
        for i, count in enumerate(sent):
            found = running.store[f"s{i}"].since(0).values[:, 0].tolist()
            if sorted(found) != list(range(1, count + 1)):  # rows of two connections may change places
                wrong.append(f"s{i} sent {count} rows, {len(found)} are there")
        return wrong, {"senders": senders, "sent": total, **counts}
    finally:
        running.stop()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak_senders", description=__doc__)
    parser.add_argument("--minutes", type=float, default=4.0)
    parser.add_argument("--senders", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="linemon-soak-") as folder:
        wrong, events = soak(60 * asked.minutes, asked.senders, asked.seed, Path(folder))
    for event, count in events.items():
        print(f"{event:28} {count:>12,}")
    print("\n".join(wrong) or "every line was stored and counted, once")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
