"""The soaks, for as long as a suite may take; `make chaos` runs them for minutes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import soak_agent, soak_senders


@pytest.mark.timeout(120)
def test_senders_that_connect_send_and_close(tmp_path: Path) -> None:
    """Every line of theirs is stored and counted, once."""
    wrong, events = soak_senders.soak(8.0, senders=100, seed=3, folder=tmp_path)
    assert wrong == []
    assert events["sent"] > 500


@pytest.mark.timeout(300)
def test_an_agent_through_every_fault(tmp_path: Path) -> None:
    """Away, full, read-only, removed, killed: no gap but what the fault may leave, and no row twice."""
    wrong, events = soak_agent.soak(0.0, seed=3, folder=tmp_path)
    assert wrong == []
    assert all(events[fault] == 1 for fault in ("away", "full", "read_only", "removed", "killed"))
