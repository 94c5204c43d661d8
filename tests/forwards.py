"""What every scheme of a forward promises, tried against its real far side: a new one gets a subclass in tests."""

from __future__ import annotations

import json
import shutil
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from linemon.store.reader import Store
from linemon.store.status import read_part
from linemon.store.writer import StoreWriter
from tests.forked import run
from tests.running import Work, eventually, forget

Row = tuple[int, dict[str, float]]  # ns, and the values by their columns

START = 1_790_000_000 * 10**9
SECRET = "hush/hush+hush"
QUIET = '[history]\nenabled = false\n[alarms]\nenabled = false\n[tcp]\nlisten = "127.0.0.1:1"\n'
UGLY = (-0.0, 5e-324, 1.7976931348623157e308, 2.0**53 + 2, -1e-7)


class Near:
    """The near side: a store that the test writes, and `linemon work` in a process of its own."""

    def __init__(self, folder: Path, forwards: str, points: int = 3600) -> None:
        folder.mkdir(exist_ok=True)
        self.folder, self.points = folder, points
        self.config = folder / "linemon.toml"
        self.set(forwards)
        self.writer = StoreWriter(folder / "store", points, 1000)
        self.work = Work(self.config)

    def set(self, forwards: str) -> None:
        self.config.write_text(f'[store]\npath = "{self.folder}/store"\n{QUIET}{forwards}')

    def add(self, source: str, rows: Sequence[Row]) -> None:
        """Rows of the same columns come."""
        columns = tuple(rows[0][1])
        ring = self.writer.bind(source, columns, ("V",) * len(columns))
        cells = np.array([[0.0, *values.values()] for _, values in rows])
        cells.view(np.int64)[:, 0] = [at for at, _ in rows]
        ring.arena.append_to(ring.entry.slot, cells.view(np.int64))
        self.writer.note_arrivals()

    def remake(self) -> None:
        """The store is taken away, and made anew."""
        self.writer.close()
        shutil.rmtree(self.folder / "store")
        self.writer = StoreWriter(self.folder / "store", self.points, 1000)

    def start(self) -> None:
        self.work.start()

    def kill(self) -> None:
        self.work.kill()

    def stop(self) -> None:
        self.work.stop()

    def status(self, name: str = "it") -> dict[str, Any]:
        return read_part(self.folder / "store", f"forward.{name}")

    def log(self) -> str:
        return self.work.log

    def until(self, **wanted: object) -> dict[str, Any]:
        """Until its status says so."""

        def look() -> dict[str, Any] | None:
            status = self.status()
            return status if status and all(status.get(name) == value for name, value in wanted.items()) else None

        try:
            return eventually(look, f"{wanted}")
        except AssertionError:
            raise AssertionError(f"not {wanted}, but {self.status()}\n{self.log()}") from None

    def close(self) -> None:
        self.kill()
        self.writer.close()


def rows_of(count: int, start: int = 0, columns: Sequence[str] = ("a", "b")) -> list[Row]:
    """A row a second, of values that are all different."""
    return [(START + i * 10**9, {c: i + j / 8 for j, c in enumerate(columns)}) for i in range(start, start + count)]


def rows_in(store: Store, source: str) -> list[Row]:
    """In order of arrival, missing values left out."""
    if source not in store:
        return []
    rows = store[source].since(0)
    return [
        (at, {c: v for c, v in zip(rows.columns, values, strict=True) if v == v})
        for at, values in zip(rows.time.view("int64").tolist(), rows.values.tolist(), strict=True)
    ]


class Conformance(ABC):
    """The suite; `forward` is a [[forward]] named ``it``."""

    exactly_once = False
    keeps_order = True
    secrets: tuple[str, ...] = ()
    points = 3600
    ugly: Sequence[float] = UGLY

    @pytest.fixture(autouse=True)
    def sides(self, tmp_path: Path) -> Iterator[None]:
        self.folder = tmp_path
        self.open()
        self.near = Near(tmp_path / "near", self.forward(), self.points)
        yield
        self.near.close()
        self.close()

    @abstractmethod
    def open(self) -> None:
        """Start the far side; it has what it had before, at the same address."""

    @abstractmethod
    def close(self) -> None:
        """End it, as `kill -9` does."""

    @abstractmethod
    def forward(self) -> str:
        """A [[forward]]."""

    @abstractmethod
    def read(self, source: str) -> list[Row]:
        """What the far side has of a source, in its order, missing values left out."""

    def expected(self, rows: list[Row]) -> list[Row]:
        """What it should have of these rows; of those that it cannot tell apart the last."""
        return rows

    def has(self, source: str, rows: list[Row]) -> bool:
        """Whether it holds these rows and no others."""
        wanted = self.expected([(at, {c: v for c, v in values.items() if v == v}) for at, values in rows])
        found = self.read(source)
        if self.exactly_once:
            return same(found, wanted)
        firsts = [*dict.fromkeys(json.dumps(row, sort_keys=True) for row in found)]
        texts = [json.dumps(row, sort_keys=True) for row in wanted]
        return firsts == texts if self.keeps_order else sorted(firsts) == sorted(texts)

    def arrives(self, source: str, rows: list[Row]) -> None:
        try:
            eventually(lambda: self.has(source, rows), "the rows", 30)
        except AssertionError:
            found, wanted = self.read(source), self.expected(rows)
            raise AssertionError(
                f"{len(found)} rows in place of {len(wanted)}: {found[:3]} … {found[-3:]}, not {wanted[:3]} … "
                f"{wanted[-3:]}\n{self.near.status()}\n{self.near.log()}"
            ) from None

    # -- the suite

    def test_all_rows_in_order(self) -> None:
        rows, other = rows_of(2500), rows_of(10, columns=("only",))
        self.near.add("s", rows)
        self.near.add("other", other)
        self.near.start()
        self.arrives("s", rows)
        self.arrives("other", other)
        self.near.add("s", rows_of(3, 2500))
        self.arrives("s", rows_of(2503))
        self.near.until(sent=2513, refused=0, missed=0, behind_s=0.0)

    @pytest.mark.slow
    def test_a_far_side_that_is_away(self) -> None:
        """At the start, and again later: what came meanwhile is sent once it is back."""
        self.close()
        self.near.add("s", rows_of(10))
        self.near.start()
        eventually(lambda: "away" in self.near.status(), "away")
        assert self.near.status()["behind_s"] >= 0
        self.open()
        self.arrives("s", rows_of(10))
        self.close()
        self.near.add("s", rows_of(10, 10))
        eventually(lambda: "away" in self.near.status(), "away again")
        self.open()
        self.arrives("s", rows_of(20))

    @pytest.mark.slow
    def test_kills_of_both_sides(self) -> None:
        """Ten of the forward and three of the far side, while rows come: none is lost."""
        count = 0
        for i in range(10):
            self.near.start()
            for _ in range(20):
                self.near.add("s", rows_of(10, count))
                count += 10
                time.sleep(0.01)  # rows come while it runs
            if i in (3, 5, 7):
                self.close()
                self.near.add("s", rows_of(10, count))
                count += 10
                self.open()
            self.near.kill()
        self.near.start()
        self.arrives("s", rows_of(count))

    def test_columns_that_are_added(self) -> None:
        rows = rows_of(5) + rows_of(5, 5, ("a", "b", "c"))
        self.near.start()
        self.near.add("s", rows[:5])
        self.arrives("s", rows[:5])
        self.near.add("s", rows[5:])
        self.arrives("s", rows)

    def test_a_source_that_is_made_again(self) -> None:
        """With other columns, and fewer rows than before."""
        self.near.start()
        first, second = rows_of(5), rows_of(3, 10, ("b", "c"))
        self.near.add("s", first)
        self.arrives("s", first)
        forget(self.near.writer, 0.0, 1.0)
        forget(self.near.writer, time.time() + 10, 1.0)
        self.near.add("s", second)
        self.arrives("s", first + second)

    def test_a_source_that_is_renamed(self) -> None:
        """It goes on under its new name with the rows that were not sent so far."""
        rows = rows_of(8)
        self.near.start()
        self.near.add("s", rows[:5])
        self.arrives("s", rows[:5])
        self.near.add("s", rows[5:7])
        self.near.writer.farewells.part(self.near.writer, "s", "t")
        self.near.add("t", rows[7:])

        def is_all_there() -> bool:
            there = [row for source in ("s", "t") for row in self.read(source)]
            return all(row in there for row in self.expected(rows))

        eventually(is_all_there, "each row under one of the names", 30)

    def test_a_store_that_is_made_anew(self) -> None:
        """While it runs: the rows of both go, each once."""
        self.near.set(self.forward() + f'[work]\nstate = "{self.folder}/state"\n')
        self.near.start()
        self.near.add("s", rows_of(5))
        self.arrives("s", rows_of(5))
        self.near.remake()
        self.near.add("s", rows_of(3, 10))
        self.arrives("s", rows_of(5) + rows_of(3, 10))

    def test_ugly_values(self) -> None:
        rows: list[Row] = [(START + i * 10**9, {"a": value, "b": float("nan")}) for i, value in enumerate(self.ugly)]
        rows.append((START + 100 * 10**9, {"a": float("nan"), "b": 1.0}))
        rows.append((30_000_000 * 10**9, {"a": 1971.0, "b": 1.0}))  # its nanoseconds look like microseconds
        rows.append((START + 200 * 10**9, {"a": 1.0, "b": 2.0}))
        self.near.add("s", rows)
        self.near.start()
        self.arrives("s", rows)

    def test_ugly_names(self) -> None:
        columns = ("a b", 'q"uo', "com,ma", "e=q", "sl/ash", "per%", "semi;", "ü", "colon:x")
        names = ("a b", 'q"uo', "com,ma", "sl/ash", "per%cent", "ü.x", "n" * 150)
        self.near.start()
        for name in names:
            self.near.add(name, rows_of(3, columns=columns))
        for name in names:
            self.arrives(name, rows_of(3, columns=columns))

    def test_rows_of_one_time_and_out_of_order(self) -> None:
        rows: list[Row] = [(START + i * 10**9, {"a": float(n)}) for n, i in enumerate((5, 3, 3, 9, 1))]
        self.near.add("s", rows)
        self.near.start()
        self.arrives("s", rows)

    @pytest.mark.slow
    def test_rows_that_were_overwritten_are_counted(self) -> None:
        self.close()
        self.near.add("s", rows_of(10))
        self.near.start()
        eventually(lambda: "away" in self.near.status(), "away")
        for start in range(10, self.near.points + 60, 10):
            self.near.add("s", rows_of(10, start))
        self.open()
        eventually(lambda: self.has("s", rows_of(self.near.points, 60)), "those that are left", 30)
        self.near.until(missed=60, sent=self.near.points, behind_s=0.0)

    def test_a_second_one_is_refused(self) -> None:
        self.near.start()
        eventually(self.near.status, "running")
        second = run(["work", "--config", str(self.near.config)])
        assert second.returncode == 1
        assert f"forward.it is run by process {self.near.work.pid} already" in second.stderr

    @pytest.mark.slow
    def test_its_secrets_are_nowhere(self) -> None:
        """In no log, status or answer of a command, whatever fails."""
        self.close()
        self.near.add("s", rows_of(3))
        self.near.start()
        eventually(lambda: "away" in self.near.status(), "away")
        self.open()
        self.arrives("s", rows_of(3))
        said = [run([*command, "--config", str(self.near.config)]) for command in (["check"], ["status", "--json"])]
        texts = [self.near.log(), json.dumps(self.near.status()), *(each.stdout + each.stderr for each in said)]
        texts += [path.read_text() for path in self.near.folder.rglob("forward.*.json")]
        for secret in self.secrets:
            assert secret in self.near.config.read_text()
            assert not [text for text in texts if secret in text]

    def test_a_far_side_that_stalls_delays_no_other(self) -> None:
        """One that accepts and never answers."""
        with socket.create_server(("127.0.0.1", 0)) as stalled:
            port = stalled.getsockname()[1]
            dead = "".join(
                f'[[forward]]\nname = "dead{i}"\nto = "{scheme}://127.0.0.1:{port}/x"\nsince = "start"\n'
                f'rename = "dead{i}/{{source}}"\n'
                for i, scheme in enumerate(("influx", "victoria") * 5)
            )
            self.near.set(self.forward() + dead)
            self.near.start()
            self.near.add("s", rows_of(3))
            self.arrives("s", rows_of(3))
            assert self.near.status("dead0")["sent"] == 0


def same(found: list[Row], wanted: list[Row]) -> bool:
    """To the bit."""
    return [(at, *map(repr, values.items())) for at, values in found] == [
        (at, *map(repr, values.items())) for at, values in wanted
    ]
