"""docs/STORE.md is enough: a reader in C that was written from it alone sees what linemon sees, while rows come."""

from __future__ import annotations

import multiprocessing
import subprocess
from pathlib import Path

import numpy as np
import pytest

from linemon.store.reader import Store
from tests.hunt import rows, write
from tests.running import Running, eventually

SOURCE = Path(__file__).parent / "reader.c"


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("reader") / "reader"
    subprocess.run(["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-std=c11", SOURCE, "-o", program], check=True)
    assert len(SOURCE.read_text().splitlines()) <= 62
    return program


def read(reader: Path, folder: Path, source: str, cursor: int | str) -> tuple[list[list[float]], int, int]:
    """The rows with their numbers and times, the next cursor, and how many were missed."""
    return read_life(reader, folder, source, str(cursor))[:3]


def read_life(reader: Path, folder: Path, source: str, cursor: str) -> tuple[list[list[float]], int, int, int]:
    """As `read`, and when the source was born."""
    ran = subprocess.run([reader, folder, source, cursor], capture_output=True, text=True, timeout=20)
    assert ran.returncode == 0, ran.stderr
    *lines, last = ran.stdout.splitlines()
    _, next_cursor, _, missed = last.split()
    count, born = map(int, next_cursor.split("."))
    return [[float(token) for token in line.split()] for line in lines], count, int(missed), born


def test_it_reads_a_live_store(reader: Path, tmp_path: Path) -> None:
    """Sources of one column and of many, new columns, missing values, rows that go on, a name that JSON escapes."""
    running = Running(tmp_path, "points = 5")
    try:
        running.say(
            "room1 20.5 1700000000\n#source web1\n#columns time a b\n1700000000 1 nan\n1700000001 2 3.25\n#stats\n"
        )
        eventually(lambda: "web1" in running.store, "rows")
        for name in ("room1", "web1"):
            source = running.store[name].since(0)
            found, cursor, missed = read(reader, running.store_path, name, 0)
            assert (cursor, missed) == (source.cursor, 0)
            assert [row[1] for row in found] == [float(at) for at in source.time.view(np.int64)]
            assert np.array_equal([row[2:] for row in found], source.values, equal_nan=True)
        running.say('#source a "b" \\\n#columns x\n7\n#stats\n')
        eventually(lambda: 'a "b" \\' in running.store, "rows")
        assert read(reader, running.store_path, r"a \"b\" \\", 0)[0][0][2:] == [7.0]
        running.say("#source web1\n#columns a b c\n" + "".join(f"{i} {i} {i}\n" for i in range(9)) + "#stats\n")
        eventually(lambda: running.store["web1"].rows == 11, "rows")
        found, cursor, missed = read(reader, running.store_path, "web1", 2)
        assert (cursor, missed) == (11, 4)
        assert [row[0] for row in found] == [6, 7, 8, 9, 10]
        assert [row[2:] for row in found] == [[i, i, i] for i in range(4, 9)]
        ran = subprocess.run([reader, running.store_path, "nobody", "0"], capture_output=True, text=True)
        assert (ran.returncode, ran.stderr) == (1, "reader: no such source\n")
    finally:
        running.stop()


@pytest.mark.parametrize("minor", ["2", "2.1"])
def test_it_reads_every_minor_version(reader: Path, minor: str) -> None:
    """What a cursor is worth is known from the life that it is of, where the store says it."""
    folder = Path(__file__).parent / "fixtures" / f"store-{minor}"
    source = Store(folder)["room1.temperature"]
    rows, cursor, missed, born = read_life(reader, folder, "room1.temperature", "10")
    assert (len(rows), cursor, missed, born) == (3, 13, 0, source.born)
    assert len(read(reader, folder, "room1.temperature", f"10.{source.born}")[0]) == 3
    assert len(read(reader, folder, "room1.temperature", f"10.{source.born + 1}")[0]) == 8
    assert len(read(reader, folder, "room1.temperature", 14)[0]) == 8


@pytest.mark.slow
def test_it_sees_no_torn_row(reader: Path, tmp_path: Path) -> None:
    """A writer that wraps its ring thousands of times a second."""
    process = multiprocessing.get_context("fork").Process(target=write, args=(tmp_path, False))
    process.start()
    try:
        eventually(
            lambda: (tmp_path / "catalog").exists() and b'"x"' in (tmp_path / "catalog").read_bytes(), "a source"
        )
        cursor = seen = 0
        for _ in range(300):
            found, after, missed = read(reader, tmp_path, "x", cursor)
            assert [row[0] for row in found] == list(range(cursor + missed, after))
            if found:
                expected = rows(cursor + missed, len(found))
                assert [row[1] for row in found] == expected[:, 0].tolist()
                assert np.array_equal([row[2:] for row in found], expected[:, 1:].view(np.float64))
            cursor, seen = after, seen + len(found)
        assert seen > 300
    finally:
        process.kill()
        process.join()
