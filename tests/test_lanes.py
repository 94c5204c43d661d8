"""Connections that send often: what they say is taken as from anybody else, in whatever pieces, among whomever."""

from __future__ import annotations

import random
import re
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from tests.running import Running, eventually
from tests.test_intake import Bench

Start = Callable[..., Running]
ROWS = 30


def said_by(rng: random.Random, name: str) -> list[bytes]:
    """What a connection says, in pieces: mostly a row each, and now and then anything else."""
    numbered, timed = rng.random() < 0.5, rng.random() < 0.5
    head = f"#source {name}\n#columns {'time ' * timed}a b c\n" + f"#seq 1 {name}-run\n" * numbered
    pieces = [head.encode()]
    for i in range(ROWS):
        row = b"%s%d.5 nan %d\n" % (b"%d " % (time.time() + i) if timed else b"", i, i)
        kind = rng.choice(["row"] * 8 + ["bad", "short", "two", "cut", "none", "blanks", "columns", "stats", "odd"])
        pieces += {
            "row": [row],
            "bad": [row.replace(b"nan", b"oops")],
            "short": [b"1 2\n"],
            "two": [row + row],
            "cut": [row[: len(row) // 2], row[len(row) // 2 :]],
            "none": [b"\n", row],
            "blanks": [b" " + row.replace(b" ", b"\t ").replace(b"\n", b"\r\n")],
            "columns": [f"#columns {'time ' * timed}a b c d\n".encode(), row[:-1] + b" 7\n"]
            if i == ROWS - 1
            else [row],
            "stats": [b"#stats\n"],
            "odd": [row.replace(b"nan", b".5")],
        }[kind]
    return [*pieces, b"#stats\n"]


def barrier(sock: socket.socket, answers: socket.SocketIO) -> None:
    """What others have sent before is read now."""
    sock.sendall(b"#stats\n")
    assert answers.readline().startswith(b"#stats")


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.slow
def test_a_fleet_is_taken_as_each_for_itself(start_collector: Start, seed: int) -> None:
    """Rows, counts and answers of forty connections are those of forty collectors that have one each."""
    rng = random.Random(seed)
    scripts = {f"s{i}": said_by(rng, f"s{i}") for i in range(40)}
    running = start_collector()
    with ExitStack() as stack:
        asking = stack.enter_context(running.connect())
        heard = stack.enter_context(asking.makefile("rb", buffering=0))
        socks = {name: stack.enter_context(running.connect()) for name in scripts}
        left = {name: list(pieces) for name, pieces in scripts.items()}
        while any(left.values()):
            for name in rng.sample(sorted(left), len(left)):
                if left[name] and rng.random() < 0.7:
                    socks[name].sendall(left[name].pop(0))
            barrier(asking, heard)
        bench = Bench(running.folder / "alone")
        for name, pieces in scripts.items():
            sock = socks[name]
            sock.shutdown(socket.SHUT_WR)
            answered = sock.makefile("rb").read().decode()
            alone = bench.session()
            for piece in pieces:
                bench.say(piece, alone)
            expected = alone.to_send().decode()
            assert re.findall("#stats.*", answered)[-1] == re.findall("#stats.*", expected)[-1]
            acks = [int(number) for number in re.findall("#ack (.*)", answered)]
            assert acks == sorted(set(acks))
            assert acks[-1:] == [alone.sequence.settled] if alone.sequence else not acks
            here, there = running.store[name].since(0), bench.store[name].since(0)
            assert here.columns == there.columns
            assert repr(here.values.tolist()) == repr(there.values.tolist())
            if b"time" in pieces[0].split():
                assert (here.time == there.time).all()
    bench.check()


def test_what_is_sent_before_a_connection_ends_counts(start_collector: Start) -> None:
    """However the end comes: right behind rows, behind half a row, as a reset."""
    running = start_collector()
    with ExitStack() as stack:
        asking = stack.enter_context(running.connect())
        heard = stack.enter_context(asking.makefile("rb", buffering=0))
        socks = [running.connect() for _ in range(30)]
        for count in range(1, 5):  # by then they are in lanes
            for i, sock in enumerate(socks):
                sock.sendall(f"#source s{i}\n1 {count}\n".encode() if count == 1 else f"1 {count}\n".encode())
            barrier(asking, heard)
        for i, sock in enumerate(socks):
            sock.sendall((b"1 5\n", b"1 5\n1 6", b"")[i % 3])
            sock.close()
        eventually(lambda: running.status()["connections"] == 1, "their end")
    assert [running.store[f"s{i}"].rows for i in range(6)] == [5, 6, 4, 5, 6, 4]


def test_who_sent_little_sends_much(collector: Running) -> None:
    """Nothing of it waits for a word that does not come."""
    row = b"12.5 7\n"
    with collector.connect() as sock:
        sock.sendall(b"#source s\n" + row)
        for count in (1, 2, 3):
            eventually(lambda rows=count: "s" in collector.store and collector.store["s"].rows == rows, "a row")  # type: ignore[misc]
            sock.sendall(row)
        for size in (585, 586, 10_000, 100_000, 1):  # rows: 4,095 bytes; 4,102; many reads
            before = collector.store["s"].rows
            sock.sendall(row * size)
            eventually(lambda rows=before + size: collector.store["s"].rows >= rows, f"{size} rows")  # type: ignore[misc]


def test_two_connections_of_one_sender_in_one_round(collector: Running) -> None:
    """Each row is taken once, whichever brings it; the other is told how far the collector is."""
    with ExitStack() as stack:
        asking = stack.enter_context(collector.connect())
        heard = stack.enter_context(asking.makefile("rb", buffering=0))
        both = [stack.enter_context(collector.connect()) for _ in range(2)]
        for sock in both:
            sock.sendall(b"#source s\n#seq 1 x\n")
        for number in range(1, 40):
            for sock in both if number % 3 else both[number % 2 :][:1]:
                sock.sendall(b"%d 0\n" % number)
            if number % 3 == 0:
                both[1 - number % 2].sendall(b"%d 0\n" % number)
            if number % 2:
                barrier(asking, heard)
        barrier(asking, heard)
        assert collector.store["s"].since(0).values[:, 0].tolist() == list(range(1, 40))
        eventually(lambda: collector.status()["duplicate"] == 39, "the duplicates counted")


@pytest.mark.slow
def test_who_sends_often_is_acknowledged_twice_a_second(collector: Running) -> None:
    """A row that comes alone is acknowledged at once; of those that follow fast the last one is, a little later."""
    with collector.connect() as sock:
        sock.sendall(b"#source s\n#seq 1 x\n")
        answers = sock.makefile("rb")
        assert answers.readline() == b"#ack 1\n"
        sock.sendall(b"1 0\n")
        assert answers.readline() == b"#ack 2\n"
        began = time.monotonic()
        for number in range(2, 45):
            sock.sendall(b"%d 0\n" % number)
            eventually(lambda rows=number: collector.store["s"].rows == rows, "the row")  # type: ignore[misc]
        told: list[int] = []
        while not told or told[-1] < 45:
            told.append(int(answers.readline().split()[1]))
        assert len(told) <= 2 + 2 * (time.monotonic() - began + 0.5)


@pytest.mark.slow
def test_who_waits_for_each_acknowledgement_gets_it_at_once(collector: Running) -> None:
    """Such as a device that keeps one row; but for the first, by which it is told from who sends on."""
    with collector.connect() as sock:
        sock.sendall(b"#source s\n#seq 1 x\n")
        answers = sock.makefile("rb")
        assert answers.readline() == b"#ack 1\n"
        began = time.monotonic()
        for number in range(1, 101):
            sock.sendall(b"%d 0\n" % number)
            assert answers.readline() == b"#ack %d\n" % (number + 1)
        assert time.monotonic() - began < 25  # 50 s where each waits for half a second


@pytest.mark.slow
def test_rows_of_a_fleet_go_where_their_source_went(start_collector: Start) -> None:
    """Sources that get more columns, or are forgotten, while their connections send and send."""
    running = start_collector("forget_after = 2\n")
    with ExitStack() as stack:
        socks = [stack.enter_context(running.connect()) for _ in range(6)]
        for i, sock in enumerate(socks):
            sock.sendall(f"#source s{i}\n#columns a b\n0 0\n".encode())
        other = stack.enter_context(running.connect())
        for number in range(1, 30):
            for sock in socks:
                sock.sendall(b"%d 1\n" % number)
            if number % 5 == 0:
                at = number // 5
                other.sendall(
                    f"#source s{at - 1}\n#columns {' '.join('abcdefgh'[: 2 + at])}\n{'7 ' * (2 + at)}\n".encode()
                )
            eventually(lambda rows=number: running.store["s5"].rows >= rows, "the rows")  # type: ignore[misc]
        for i in range(6):
            eventually(lambda name=f"s{i}": running.store[name].rows == 30 + (name != "s5"), "all rows")  # type: ignore[misc]
        assert len(running.store["s4"].columns) == 7
        eventually(lambda: not any(f"s{i}" in running.store for i in range(6)), "all forgotten")
        for sock in socks:
            sock.sendall(b"1 2\n")
        eventually(lambda: all(f"s{i}" in running.store and running.store[f"s{i}"].rows == 1 for i in range(6)), "anew")


def test_a_line_that_is_too_long_is_rejected_of_who_sends_often_too(start_collector: Start) -> None:
    running = start_collector('[tcp]\nlisten = "127.0.0.1:0"\nmax_line = 100\n')
    with running.connect() as sock:
        sock.sendall(b"#source s\n")
        for rows in range(1, 6):
            sock.sendall(b"1 2\n")
            eventually(lambda rows=rows: "s" in running.store and running.store["s"].rows == rows, "the row")  # type: ignore[misc]
        sock.sendall(b"1 " + b"0" * 100 + b"2\n")
        eventually(lambda: running.status()["rejected"] == {"length": 1}, "the long line, rejected", 5)
