"""What grows with the number of sources, and how nobody waits for it."""

from __future__ import annotations

import random
import time
from contextlib import closing
from pathlib import Path

import pytest

import linemon
from linemon.store import catalog as catalog_module
from linemon.store.catalog import Catalog
from linemon.store.writer import StoreWriter
from tests.running import Running

OTHERS = ("v", '{"source": "plain", ')  # columns, one of which looks like the start of a line


@pytest.mark.parametrize("name", ["plain", 'quo"te\\', "ü ☃", "source"])
def test_one_source_is_found_without_the_others(tmp_path: Path, name: str) -> None:
    """As it is now: with the columns it got since, not where it was removed, nor by a line that is damaged."""
    catalog = Catalog(tmp_path)
    assert catalog.find(name) is None
    with closing(StoreWriter(tmp_path, 10, 100)) as writer:
        for each in ("a", name, "b", name[:-1] + "x"):
            writer.bind(each, OTHERS, ("", name))
        assert catalog.find(name) == writer.rings[name].entry
        writer.bind(name, (*OTHERS, "more"), ("", "", ""))
        found = writer.rings[name].entry
        assert catalog.find(name) == found
        with open(tmp_path / "catalog", "ab") as file:
            file.write(b"00000000" + found._replace(columns=("other",)).line()[8:] + found.farewell()[:-1])
        assert catalog.find(name) == found
        with open(tmp_path / "catalog", "ab") as file:
            file.write(b"\n")
        assert catalog.find(name) is None


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_a_catalog_is_made_anew_while_it_changes(tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sources that come, go, come again and get columns meanwhile: the new file says what the old one did, in order."""
    monkeypatch.setattr(catalog_module, "LOT", 3)
    rng = random.Random(seed)
    with closing(StoreWriter(tmp_path, 4, 10_000)) as writer:
        for i in range(300):
            writer.bind(f"s{i}", ("a",), None)
        before, changes = (tmp_path / "catalog").stat().st_ino, 0
        while (tmp_path / "catalog").stat().st_ino == before:
            changes += 1
            name = f"s{rng.randrange(320)}"
            if name not in writer.rings or rng.random() < 0.5:
                ring = writer.rings.get(name)
                columns = ring.entry.columns if ring else ()
                if len(columns) < 8:
                    writer.bind(name, (*columns, f"c{len(columns)}"), ("",) * (len(columns) + 1))
            else:
                writer.let_go(writer.rings[name])
            if changes > 2000:
                writer._catalog.tidy(0)  # a lot at a time
                if changes % 50 == 0:
                    writer.sync()
            assert changes < 5000
        fresh = linemon.open(tmp_path)
        assert {name: fresh._entry(name) for name in fresh} == {name: ring.entry for name, ring in writer.rings.items()}
        assert fresh.sources() == tuple(writer._catalog.entries)
        assert len((tmp_path / "catalog").read_bytes().splitlines()) < 1000
        writer.bind("last", ("a",), None)
        assert "last" in fresh
    assert not list(tmp_path.glob("catalog.*"))


@pytest.mark.slow
def test_forgetting_and_tidying_take_turns_with_others(tmp_path: Path) -> None:
    """Of five thousand sources no call sees to all; each takes a step of a few milliseconds, as CPU time goes."""
    with closing(StoreWriter(tmp_path, 4, 10_000)) as writer:
        for i in range(5000):
            writer.bind(f"s{i}", ("a",), None)
        while not writer.forget_silent(0.0, 10.0):
            pass
        steps, is_done = [], False
        while not is_done:
            began = time.thread_time()
            is_done = writer.forget_silent(20.0, 10.0)
            writer.tidy()
            steps.append(time.thread_time() - began)
        assert not writer.rings
        assert len(steps) > 4
        assert sorted(steps)[len(steps) // 2] < 0.02


@pytest.mark.slow
def test_thousands_of_new_sources_in_one_read_hold_nobody_up(tmp_path: Path) -> None:
    """On a fresh connection, and on one that brought some before: others have their turn while few of them are made."""
    running, made = Running(tmp_path, "max_sources = 100000\n"), []
    try:
        with running.connect() as sock, sock.makefile("rb") as answers, running.connect() as other:
            for lot in range(3):
                before = len(running.store)
                sock.sendall("".join(f"m{lot}x{i} 1\n" for i in range(6000)).encode() + b"#stats\n")
                other.sendall(b"#stats\n")
                assert other.recv(1000).startswith(b"#stats")
                made.append(len(running.store) - before)
                assert b"rejected=0" in answers.readline()
        assert running.status()["rejected"] == {}
        assert len(running.store) >= 18_000
        assert sorted(made)[1] < 4500
    finally:
        assert running.stop() == 0
