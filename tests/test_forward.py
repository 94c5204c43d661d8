"""Forwards to another linemon, through its real port, and what all forwards share."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path
from subprocess import Popen

import pytest

from linemon.store.reader import Store
from linemon.store.status import read_part
from tests import forward_kills
from tests.forwards import START, Conformance, Row, rows_of
from tests.running import Running, command, eventually
from tests.sinks import free_port


def rows_in(store: Store, source: str) -> list[Row]:
    """In order of arrival, missing values left out."""
    if source not in store:
        return []
    rows = store[source].since(0)
    return [
        (at, {c: v for c, v in zip(rows.columns, values, strict=True) if v == v})
        for at, values in zip(rows.time.view("int64").tolist(), rows.values.tolist(), strict=True)
    ]


class TestLinemon(Conformance):
    exactly_once = True
    secrets = ("hush-hush",)

    def open(self) -> None:
        if not hasattr(self, "port"):
            self.far = Running(self.folder / "far", '[tcp]\nlisten = "127.0.0.1:0"\ntoken = "hush-hush"\n')
            self.port = self.far.address()[1]
            self.far.config.write_text(self.far.config.read_text().replace("127.0.0.1:0", f"127.0.0.1:{self.port}", 1))
        else:
            self.far = Running(self.folder / "far")

    def close(self) -> None:
        self.far.process.kill()
        self.far.process.wait()
        self.far.log.close()

    def forward(self) -> str:
        return (
            f'[[forward]]\nname = "it"\nto = "linemon://127.0.0.1:{self.port}"\ntoken = "hush-hush"\nsince = "start"\n'
            "every = 0.05\n"
        )

    def read(self, source: str) -> list[Row]:
        return rows_in(self.far.store, source)

    # -- what only another linemon can promise

    def test_a_far_side_that_is_set_back_is_filled_again(self) -> None:
        """Its store is gone, and ours still holds the rows: whatever our file says."""
        self.near.add("s", rows_of(20))
        self.near.start()
        self.arrives("s", rows_of(20))
        self.near.until(sent=20)
        self.close()
        shutil.rmtree(self.far.store_path)
        self.open()
        self.arrives("s", rows_of(20))
        self.near.add("s", rows_of(5, 20))
        self.arrives("s", rows_of(25))

    def test_a_lost_file_doubles_nothing(self) -> None:
        """The far side knows how far it is."""
        self.near.add("s", rows_of(20))
        self.near.start()
        self.arrives("s", rows_of(20))
        self.near.kill()
        for file in self.near.folder.rglob("forward.it.json"):
            file.unlink()
        self.near.start()
        self.near.add("s", rows_of(5, 20))
        self.arrives("s", rows_of(25))

    def test_columns_that_do_not_fit_there(self) -> None:
        """Others wrote to that source: the rows go as lines that name their columns, and no row is lost for it."""
        self.far.say(f"#token hush-hush\n#source s\n#columns time b a\n{START} 1 2\n")
        self.near.add("s", rows_of(5))
        self.near.start()
        self.arrives("s", [(START, {"b": 1.0, "a": 2.0}), *((at, {"b": v["b"], "a": v["a"]}) for at, v in rows_of(5))])
        self.near.until(refused=0, sent=5)

    def test_a_full_far_side_keeps_one_source_waiting(self) -> None:
        """The one that has no room waits, and is told of; the others go on; later it is taken whole."""
        self.close()
        settings = self.far.config.read_text()
        self.far.config.write_text(settings.replace("[store]\n", "[store]\nmax_sources = 3\n"))
        self.open()
        self.far.say("#token hush-hush\n#source other\n1\n")
        self.near.start()
        self.near.add("a", rows_of(5))
        self.arrives("a", rows_of(5))
        self.near.add("b", rows_of(5))
        said = eventually(lambda: self.near.status().get("waits"), "that b waits")
        assert said.startswith("1 sources, 'b' as max_sources: ")
        self.near.add("a", rows_of(5, 5))
        self.arrives("a", rows_of(10))
        assert self.near.status()["behind_s"] > 0
        self.close()
        self.far.config.write_text(settings)
        self.open()
        self.near.kill()  # else it asks again in a minute
        self.near.start()
        self.arrives("b", rows_of(5))
        self.near.until(refused=0, missed=0, behind_s=0.0)

    def test_a_wrong_token_is_told(self) -> None:
        self.near.set(self.forward().replace("hush-hush", "something else"))
        self.near.add("s", rows_of(5))
        self.near.start()
        said = eventually(
            lambda: self.near.status().get("denied") or self.near.status().get("waits"), "that it is denied"
        )
        assert "token" in said
        assert "something else" not in json.dumps(self.near.status()) + self.near.log()


def both_ways(tmp_path: Path, more: str = "") -> tuple[Running, Running, list[Popen[bytes]]]:
    """Two linemons, each of which forwards all to the other."""
    sides = []
    ports = free_port(), free_port()
    for name, here, there in (("a", *ports), ("b", *ports[::-1])):
        forward = (
            f'[[forward]]\nname = "other"\nto = "linemon://127.0.0.1:{there}"\nsince = "start"\nevery = 0.05\n{more}'
        )
        sides.append(
            Running(tmp_path / name, f'[tcp]\nlisten = "127.0.0.1:{here}"\n{forward}[history]\nenabled = false\n')
        )
    a, b = sides
    return a, b, [Popen(command("work", "forward", "--config", str(side.config))) for side in sides]


def all_in(store: Store, *names: str) -> bool:
    return all(name in store for name in names)


@pytest.mark.parametrize("relay", [False, True], ids=["plain", "relay"])
def test_a_loop_ends(tmp_path: Path, relay: bool) -> None:
    """A forwards all to B, B all to A: each has the rows of both once, and says what it does not send back."""
    a, b, works = both_ways(tmp_path, "relay = true\n" if relay else "")
    try:
        a.say("#source at a\n1\n2\n")
        b.say("#source at b\n3\n")
        for side in (a, b):
            eventually(partial(all_in, side.store, "at a", "at b"), "both sources")
        a.say("#source at a\n4\n")
        eventually(lambda: b.store["at a"].rows == 3, "the last row")
        for side, back in ((a, "at b"), (b, "at a")):
            key, says = ("waits", back) if relay else ("not sent back", "1 sources")
            status = partial(read_part, side.store_path, "forward.other")
            eventually(lambda: says in (status() or {}).get(key, ""), "its status")  # noqa: B023
            assert [side.store[name].rows for name in ("at a", "at b")] == [3, 1]
    finally:
        for work in works:
            work.terminate()
            assert work.wait(20) == 0
        assert (a.stop(), b.stop()) == (0, 0)


def test_exactly_once_over_kills(tmp_path: Path) -> None:
    """The collector, the forward and the far side are killed at random moments; `python -m tests.forward_kills` does it
    more often.
    """
    outcome = forward_kills.run(tmp_path / "run", 2, seed=3)
    assert outcome.rows > 100
    assert (outcome.lost, outcome.twice, outcome.disorder) == (0, 0, 0)
