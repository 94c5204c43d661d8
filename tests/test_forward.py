"""Forwards to another linemon, through its real port, and what all forwards share."""

from __future__ import annotations

import json
import re
import shutil
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from linemon.config import Address
from linemon.store.reader import Store
from linemon.store.status import read_part
from tests import forward_kills
from tests.forked import run
from tests.forwards import START, Conformance, Near, Row, rows_in, rows_of
from tests.running import Running, Work, eventually, free_port


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

    @pytest.mark.slow
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

    def test_a_lost_file_of_one_that_begins_with_what_comes(self) -> None:
        """The far side says that it is not the first time: what came while the forward was down is sent."""
        self.near.set(self.forward().replace('since = "start"\n', ""))
        self.near.add("s", rows_of(5))  # before it ever ran: not sent
        self.near.start()
        files = self.near.folder
        eventually(
            lambda: [file for file in files.rglob("forward.it.json") if '"s"' in file.read_text()], "its first look"
        )
        self.near.add("s", rows_of(5, 5))
        self.arrives("s", rows_of(5, 5))
        self.near.kill()
        for file in self.near.folder.rglob("forward.it.json"):
            file.unlink()
        self.near.add("s", rows_of(5, 10))
        self.near.start()
        self.arrives("s", rows_of(10, 5))
        assert self.far.status()["lost"] == 0

    def test_rows_that_are_overwritten_while_it_sends(self) -> None:
        """More come at once than the ring holds: the others keep their numbers, and are not taken for those."""
        near = Near(self.folder / "small", self.forward(), points=100)
        try:
            near.add("small", rows_of(10))
            near.start()
            self.arrives("small", rows_of(10))
            near.add("small", rows_of(250, 10))
            self.arrives("small", rows_of(10) + rows_of(100, 160))
            near.until(missed=150, sent=110, behind_s=0.0)
            near.add("small", rows_of(20, 260))
            self.arrives("small", rows_of(10) + rows_of(120, 160))
            eventually(lambda: self.far.status()["lost"] == 150, "the far side counts them, once a second")
        finally:
            near.close()

    def test_columns_in_another_order_there(self) -> None:
        """Others wrote to that source: its columns stay where they are."""
        self.far.say(f"#token hush-hush\n#source s\n#columns time b a\n{START} 1 2\n")
        self.near.add("s", rows_of(5))
        self.near.start()
        self.arrives("s", [(START, {"b": 1.0, "a": 2.0}), *((at, {"b": v["b"], "a": v["a"]}) for at, v in rows_of(5))])
        self.near.until(refused=0, sent=5)

    @pytest.mark.slow
    def test_a_full_far_side_keeps_one_source_waiting(self) -> None:
        """The one that has no room waits, and is told of; the others go on; later it is taken whole."""
        self.close()
        settings = self.far.config.read_text()
        self.far.config.write_text(settings.replace("[store]\n", "[store]\nmax_sources = 3\n"))
        self.open()
        self.far.say("#token hush-hush\n#source other\n1\n")
        eventually(lambda: "linemon.collector" in self.far.store, "its own source, the second of three")
        self.near.start()
        self.near.add("a", rows_of(5))
        self.arrives("a", rows_of(5))
        self.near.add("b", rows_of(5))
        said = eventually(lambda: self.near.status().get("waits"), "that b waits")
        assert said.startswith("1 sources, 'b' as max_sources: ")
        self.near.add("a", rows_of(5, 5))
        self.arrives("a", rows_of(10))
        eventually(lambda: self.near.status().get("behind_s", 0) > 0, "that it is behind")
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


def both_ways(tmp_path: Path, more: str = "") -> tuple[Running, Running, list[Work]]:
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
    return a, b, [Work(side.config, "forward").start() for side in sides]


def all_in(store: Store, *names: str) -> bool:
    return all(name in store for name in names)


def says(side: Running, what: str) -> dict[str, Any] | None:
    status = read_part(side.store_path, "forward.other")
    return status if what in status else None


@pytest.mark.slow
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
            status = eventually(partial(says, side, "waits" if relay else "not sent back"), "its status")
            assert back in status["waits"] if relay else status["not sent back"].startswith("1 sources")
            assert status["behind_s"] < 1
            assert [side.store[name].rows for name in ("at a", "at b")] == [3, 1]
    finally:
        for work in works:
            work.stop()
        assert (a.stop(), b.stop()) == (0, 0)


@pytest.mark.slow
def test_exactly_once_over_kills(tmp_path: Path) -> None:
    """The collector, the forward and the far side are killed at random moments; `python -m tests.forward_kills` does it
    more often.
    """
    outcome = forward_kills.run(tmp_path / "run", 2, seed=3)
    assert outcome.rows > 100
    assert outcome.is_right, outcome


@pytest.mark.slow
def test_buckets_of_a_tier(tmp_path: Path) -> None:
    """`tier` sends buckets in place of rows, also those that came late, under a name of their own."""
    far = Running(tmp_path / "far")
    tier = '[history]\nevery = 0.2\ngrace = 0.1\n[[history.tier]]\nstep = "2s"\nkeep = "1d"\n'
    forward = f'[[forward]]\nname = "it"\nto = "linemon://{Address(*far.address())}"\ntier = "2s"\nsince = "start"\n'
    near = Running(tmp_path / "near", f"{tier}{forward}every = 0.1\n")
    work = Work(near.config, "history", "forward").start()
    try:
        base = int(time.time()) // 60 * 60 - 6000
        near.say("".join(f"s {i} {base + i}\n" for i in range(12)))
        eventually(lambda: "s/2s" in far.store and far.store["s/2s"].rows >= 5, "buckets")
        near.say(f"s 100 {base + 1}\n")
        eventually(lambda: 100.0 in far.store["s/2s"].since(0)["value.max"], "a late part")
        rows = far.store["s/2s"].since(0)
        assert rows.columns == ("value.min", "value.max", "value.mean", "value.count")
        whole = dict(zip(rows.time.astype(int).tolist(), rows.values.tolist(), strict=True))
        assert whole[(base + 2) * 10**9] == [2.0, 3.0, 2.5, 2.0]
        assert "s" not in far.store
    finally:
        work.stop()
        assert (near.stop(), far.stop()) == (0, 0)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ('to = "ftp://x"', "to = 'ftp://x': expected an address of one of: graphite, influx, influxs, influx2"),
        ('to = "linemon://me:hush@x/y?z=hush"', "expected an address such as 'linemon://host:4000'"),
        ('to = "influx://x"', "expected the database too"),
        ('to = "influx2://x/b"', "expected bucket and organisation"),
        ('to = "mqtt://x/t"', "expected an address such as 'mqtt://host/plant/{source}/{column}'"),
        ('to = "parquet:/x"', "this one needs `name`"),
        ('to = "linemon://x"\nrename = "all"', "expected a name with {source} in it"),
        ('to = "linemon://x"\nrename = "{host}/{source}"', "expected a name with {source} in it"),
        ('to = "linemon://x"\nsince = "ever"', "since = 'ever': expected one of: now, start"),
        ('to = "linemon://x"\ntier = "7m"', "tier = '7m': expected one that [history] has: 1m"),
        ('to = "linemon://x"\ncolour = 1', "colour: unknown setting"),
        ('to = "linemon://x"\n[[forward]]\nto = "linemon://x"', "there are two of that name"),
        (
            'to = "linemon://x"\nsources = ["web*"]\n[[forward]]\nname = "b"\nto = "linemon://x"\nsources = ["*1"]',
            "may send to one source there",
        ),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, said: str, why: str) -> None:
    """By `linemon check`, without what is secret."""
    file = tmp_path / "linemon.toml"
    file.write_text(f'[store]\npath = "{tmp_path}/store"\n[[forward]]\n{said}\n')
    found = run(["check", "--config", str(file)])
    assert found.returncode == 2
    assert why in found.stderr
    assert "hush" not in found.stderr


def test_forwards_that_cannot_meet(tmp_path: Path) -> None:
    file = tmp_path / "linemon.toml"
    to = 'to = "linemon://x"'
    file.write_text(
        f'[store]\npath = "{tmp_path}/store"\n[[forward]]\n{to}\nsources = ["*", "!web*"]\n'
        f'[[forward]]\nname = "web"\n{to}\nsources = ["web*"]\n'
        f'[[forward]]\nname = "other"\n{to}\nrename = "o/{{source}}"\n'
    )
    found = run(["check", "--config", str(file)])
    assert found.returncode == 0, found.stderr
    assert "web: rows of web* to linemon://x as {source}" in found.stdout


def test_the_first_example_of_its_doc_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An edge that sends all to a central linemon, as docs/FORWARD.md has it but for the name of the host."""
    monkeypatch.setenv("CENTRAL_TOKEN", "hush-hush")
    central = Running(tmp_path / "central", '[tcp]\nlisten = "127.0.0.1:0"\ntoken = "hush-hush"\n')
    example = re.search(
        r"```toml\n(.*?)```", (Path(__file__).parent.parent / "docs" / "FORWARD.md").read_text(), re.DOTALL
    )
    assert example
    text = example[1].replace("central.example:4000", central.status()["tcp"])
    edge = Running(tmp_path / "edge", "[history]\nenabled = false\n" + text)
    work = Work(edge.config, "forward").start()
    try:

        def arrives() -> bool:
            edge.say("room1.temperature 20.3\n")  # rows from now on are sent: it may not have looked yet
            return central.store["edge1/room1.temperature"].rows > 0

        eventually(arrives, "a row")
        assert set(central.store.sources()) <= {"edge1/room1.temperature", "linemon.collector"}
    finally:
        work.stop()
        assert (edge.stop(), central.stop()) == (0, 0)


@pytest.mark.parametrize("doc", ["FORWARD.md", "MQTT.md"])
def test_the_examples_of_its_doc(doc: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They can be pasted as they stand."""
    for name in ("CENTRAL_TOKEN", "BROKER_PASSWORD"):
        monkeypatch.setenv(name, "hush-hush")
    texts = re.findall(r"```toml\n(.*?)```", (Path(__file__).parent.parent / "docs" / doc).read_text(), re.DOTALL)
    for i, text in enumerate(texts):
        file = tmp_path / f"{i}.toml"
        file.write_text(f'{text}\n[store]\npath = "{tmp_path}/store"\n')
        found = run(["check", "--config", str(file)])
        assert found.returncode == 0, found.stderr
        assert "hush-hush" not in found.stdout + found.stderr
    assert texts
