"""What the archive takes: rows of a host into PostgreSQL, by the writer and by what everybody writes.

Wall time, with the server on the same machine.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np
import psycopg

from bench.store import Figure
from linemon.archive import binary
from linemon.archive.link import Place
from linemon.archive.reader import Archive
from linemon.archive.writer import ArchiveWriter, Batch
from linemon.sections import Span
from tests.postgres import program, server

SECOND = 10**9
ROWS, WIDTH, TIMES = 6000, 60, 9  # of a transaction; how many there are
COPY = "COPY linemon.rows (source, time, v) FROM STDIN (FORMAT BINARY)"
COLUMNS = tuple(f"c{i}" for i in range(WIDTH))


def ns_a_value(work: Callable[[int], object]) -> float:
    """The median; `work` is told how often it was called before."""
    spent = []
    for i in range(TIMES):
        began = time.perf_counter_ns()
        work(i)
        spent.append((time.perf_counter_ns() - began) / (ROWS * WIDTH))
    return statistics.median(spent)


def figures() -> list[Figure]:
    if not program("initdb"):
        return []  # there is no PostgreSQL here
    values = np.random.default_rng(1).random((ROWS, WIDTH))
    start = time.time_ns() // 1000 * 1000 - 2 * TIMES * ROWS * SECOND

    def times(i: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        return start + (i * ROWS + np.arange(ROWS)) * SECOND

    encoded = ns_a_value(lambda i: binary.encode(1, times(i), values))
    with server() as running, Archive(url := running.database()) as archive:
        writer = ArchiveWriter(Place.parse(url), "BENCH/it", 0, Span.parse("90d"))

        def write(i: int) -> None:
            writer.write([Batch("host", COLUMNS, ("",) * WIDTH, 1, i * ROWS, (i + 1) * ROWS, times(i), values)])

        write(0)  # makes the tables
        written = ns_a_value(lambda i: write(i + 1))
        with psycopg.connect(url) as connection:

            def plainly(i: int) -> None:
                moments = [datetime.fromtimestamp(at / 1e9, UTC) for at in times(i + TIMES + 1).tolist()]
                with connection.transaction(), connection.cursor().copy(COPY) as copy:
                    copy.set_types(["int4", "timestamptz", "float8[]"])
                    for moment, row in zip(moments, values.tolist(), strict=True):
                        copy.write_row((1, moment, row))

            plain = ns_a_value(plainly)

        def read(i: int) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
            first, last = (times(k)[:1].view("datetime64[ns]")[0] for k in (i, i + 1))
            return archive["host"].between(first, last).values

        assert np.array_equal(read(0), values), "the rows are not those that were written"
        back = ns_a_value(read)
        writer.close()
    return [
        Figure(f"rows into PostgreSQL, 60 columns: {1e3 / written:.1f} M values/s", written, "ns a value", 250),
        Figure("the same as a share of what write_row takes", written / plain, "x", 1 / 3),
        Figure("write_row of psycopg, binary", plain, "ns a value"),
        Figure("of it what numpy takes to encode", encoded, "ns a value"),
        Figure("rows read back", back, "ns a value"),
    ]
