"""Who is silent, how old and how often: by when rows came, whatever they are stamped with."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import linemon
from linemon.store.describe import describe, describe_all
from linemon.store.liveness import Life, silent_after
from linemon.store.writer import StoreWriter
from tests.examples import examples
from tests.running import Running, arrive, command, eventually

YEAR_S = 365 * 86_400
NOW_S = time.time_ns() // 10**9


@pytest.fixture
def writer(tmp_path: Path) -> StoreWriter:
    return StoreWriter(tmp_path / "store", points=100, max_sources=20)


def life(writer: StoreWriter, name: str, at_s: float = NOW_S) -> Life:
    return Life.of(linemon.open(writer.folder)[name], round(at_s * 1e9))


def test_what_the_command_says(writer: StoreWriter, tmp_path: Path) -> None:
    """`linemon sources`: since when, by what the source usually does; a slow one, or one that came once, is not yet."""
    for name, every_s, age_s, times in (
        ("fast", 1, 30, 5),
        ("slow", 60, 30, 5),
        ("fresh", 1, 0, 5),
        ("once", 1, 30, 1),
    ):
        for i in reversed(range(times)):
            at = time.time() - age_s - i * every_s
            arrive(writer, name, at, [at - 500])
    writer.close()
    config = tmp_path / "linemon.toml"
    config.write_text(f'[store]\npath = "{writer.folder}"\n')

    def sources(*options: str) -> str:
        ran = subprocess.run(command("sources", *options, "--config", str(config)), capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    listed = {each["source"]: each for each in json.loads(sources("--json"))}
    assert [name for name, each in listed.items() if each["silent_since"]] == ["fast"]
    assert listed["fast"]["silent_since"] == listed["fast"]["arrived"] > listed["fast"]["newest"]
    assert 30 <= listed["once"]["age_s"] < 60
    assert listed["fresh"]["rate_per_s"] == pytest.approx(1.0, rel=0.1)
    assert re.search(r"^fast .* no data for [3-9]\d\.\d s ", sources(), re.M)


def test_one_stamp_ahead(writer: StoreWriter) -> None:
    """A row stamped for next year makes no source younger, slower or alive."""
    for age_s, stamp_s in ((16, -16), (15, YEAR_S), (14, -14), (13, -13), (12, -12)):
        arrive(writer, "s", NOW_S - age_s, [NOW_S + stamp_s])
    assert life(writer, "s", NOW_S - 12).rate_per_s == pytest.approx(1.0)
    found = life(writer, "s")
    assert (found.age_s, found.silent_since) == (12.0, (NOW_S - 12) * 10**9)
    source = linemon.open(writer.folder)["s"]
    assert source.ahead == 1
    assert source.newest == np.datetime64(NOW_S + YEAR_S, "s")


@pytest.mark.parametrize("stamped", ["not", "by the second"])
def test_a_sender_of_batches(writer: StoreWriter, stamped: str) -> None:
    """Twenty rows at once every fifteen seconds: silent when five batches are missing, not between two."""
    for at in range(NOW_S - 300, NOW_S + 1, 15):
        stamps = [at] * 20 if stamped == "not" else [at - 19 + i for i in range(20)]
        arrive(writer, "s", at, stamps)
    for after_s in (1, 14, 74):
        found = life(writer, "s", NOW_S + after_s)
        assert found.silent_since is None
        assert found.rate_per_s == pytest.approx(20 / 15)
    assert life(writer, "s", NOW_S + 76).silent_since == NOW_S * 10**9


def test_after_a_night_of_silence(writer: StoreWriter) -> None:
    """One long pause does not make a source patient that comes each second."""
    for at in (*range(NOW_S - 30_012, NOW_S - 30_000), *range(NOW_S - 11, NOW_S + 1)):
        arrive(writer, "s", at, [at])
    assert life(writer, "s", NOW_S + 9).silent_since is None
    assert life(writer, "s", NOW_S + 11).silent_since is not None


@pytest.mark.slow
def test_rows_ahead_are_counted_and_move_no_live_view(start_collector: Callable[..., Running]) -> None:
    """Kept and counted, for the source and in all; `tail` and the tap begin with the row that came last."""
    running = start_collector('[[tap]]\nlisten = "127.0.0.1:0"\nsource = "web1"\ncolumns = ["a"]')
    ahead = NOW_S + YEAR_S
    running.say(f"#source web1\n#columns time a\n{NOW_S} 1\n{ahead} 2\n{NOW_S + 1} 3\n#stats\n")
    eventually(lambda: "web1" in running.store and running.store["web1"].rows == 3, "the rows")
    assert running.store["web1"].last(1).values.tolist() == [[2.0]]
    listed = json.loads(running.run("sources", "web1", "--json").stdout)[0]
    assert listed["ahead"] == 1
    assert listed["newest"] > listed["arrived"]
    eventually(lambda: running.status()["ahead"] == 1, "the count in all")
    with running.connect("tap") as tap:
        assert tap.recv(100) == b"3.0\n"
    tail = subprocess.Popen(command("tail", "web1", "--config", str(running.config)), stdout=subprocess.PIPE, text=True)
    assert tail.stdout is not None
    try:
        assert [tail.stdout.readline() for _ in range(2)][1].endswith(" 3.0\n")
    finally:
        tail.kill()
        tail.wait()
        tail.stdout.close()


@settings(max_examples=examples(100), deadline=None)
@given(st.lists(st.floats(0, 1e6), max_size=20), st.lists(st.floats(0, 1e3), max_size=20))
def test_the_usual_step_is_longer_than_nine_in_ten(steps: list[float], others: list[float]) -> None:
    """As numpy says, of one source and of several at once."""
    for each in (steps, others):
        above = [step for step in each if step > 0]
        expected = max(10.0, 5 * float(np.quantile(above, 0.9))) if above else np.inf
        assert silent_after(np.array(each)) == pytest.approx(expected)


def test_many_sources_are_described_as_each_for_itself(writer: StoreWriter) -> None:
    """Fast, slow, silent, empty, out of order, ahead of their time, moved, overwritten: at once as one by one."""
    now = time.time()
    rng = np.random.default_rng(7)
    for i in range(12):
        for k in reversed(range(1 + i)):
            at = now - 7 * (i % 4) - k * (1 + i % 3)
            arrive(writer, f"s{i}", at, [at + rng.integers(-20, 20) * (i % 2) for _ in range(1 + 3 * i)])
    arrive(writer, "ahead", now, [now + 5000])
    writer.bind("empty", ("value",), None)
    writer.bind("s5", ("value", "more"), ("", "V"))
    writer.rings["s3"].arena.count_rejected(writer.rings["s3"].entry.slot)
    store, now_ns = linemon.open(writer.folder), time.time_ns()
    listed = list(describe_all(store, now_ns))
    assert [each["source"] for each in listed] == list(store)
    for each in listed:
        alone = describe(store[each["source"]], now_ns)
        assert {**each, "rate_per_s": None} == {**alone, "rate_per_s": None}
        assert each["rate_per_s"] == pytest.approx(alone["rate_per_s"])
    assert len(listed) == 14
    writer.let_go(writer.rings["s1"])
    assert [each["source"] for each in describe_all(store, now_ns, ["s0", "s1", "s2"])] == ["s0", "s2"]
