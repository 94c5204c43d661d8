"""Sources that get columns while they have many rows: what it costs, and that nothing else changes by it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from linemon.errors import LineError
from tests.budget import cost
from tests.running import Running
from tests.test_intake import Bench

NOW_S = 1_700_000_000


@pytest.mark.slow
def test_a_thousand_fields_each_on_a_line_of_its_own(tmp_path: Path) -> None:
    """A full ring that gets 999 columns in one go is copied a few times, not 999 times; nobody waits for these."""
    running = Running(tmp_path, "points = 3600")
    try:
        running.say("".join(f"wide f0={i} {NOW_S + i}\n" for i in range(3600)) + "#stats\n")
        lines = "".join(f"wide f{i}=1\n" for i in range(1, 1000)) + "#stats\n"
        answers: list[str] = []
        spent = cost(running, lambda: answers.append(running.say(lines)))
        assert "stored=999 rejected=0" in answers[0]
        wide = running.store["wide"]
        assert wide.columns == tuple(f"f{i}" for i in range(1000))
        newest = wide.since(wide.rows - 999).values
        assert np.array_equal(np.argwhere(newest == 1.0), [[i, i + 1] for i in range(999)])
        assert np.count_nonzero(newest == newest) == 999
        assert wide.between(None, "2023-11-15").values[-1, 0] == 3599.0
        assert spent.cpu_s < 1.0  # 999 copies are 14 GB, which take longer than that to move alone
    finally:
        assert running.stop() == 0


def no_room(growth: int) -> None:
    raise LineError("store_full", f"no room for {growth} bytes")


def test_columns_for_which_there_is_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Points that would add them are rejected as `store_full`; those of the columns that are there go on."""
    bench = Bench(tmp_path)
    bench.say("s a=1\n")
    monkeypatch.setattr(bench.writer, "_room_for", no_room)
    bench.say("s a=2\ns b=3\ns a=4,c=5\ns a=6\n")
    bench.say("s a=7\n" * 3)
    bench.say("s b=8\n" * 3)
    assert bench.values("s") == [[1.0], [2.0], [6.0], [7.0], [7.0], [7.0]]
    assert bench.intake.accounts.rejected == {"store_full": 5}
    assert bench.writer.rings["s"].columns == ("a",)
    monkeypatch.undo()
    bench.say("s b=9\n" * 2)
    assert bench.store["s"].columns == ("a", "b")
    bench.check()


def test_more_columns_than_a_source_may_have(tmp_path: Path) -> None:
    """Columns are taken as they come, up to max_columns; a point with one more is rejected whole."""
    bench = Bench(tmp_path)
    bench.writer.max_columns = 3
    bench.say("s a=1\ns b=1\ns c=1,d=1\ns c=2\ns d=1\n")
    assert bench.store["s"].columns == ("a", "b", "c")
    assert (bench.intake.accounts.stored, bench.intake.accounts.rejected) == (3, {"columns": 2})
    bench.check()
