"""The soaks, for as long as a suite may take; `make chaos` runs them for minutes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import chaos_scale, soak_agent, soak_senders
from tests.postgres import server


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


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_hosts_an_edge_a_bus_two_centres_and_an_archive(tmp_path: Path) -> None:
    """Servers of the bus and `linemon work` on its way are killed: the archive has each row once."""
    with server() as postgres:
        wrong, events = chaos_scale.run(tmp_path, postgres, 40.0, hosts=20, seed=3)
    assert wrong == []
    assert events["rows in PostgreSQL"] == events["rows sent"] > 1000
    assert events["server killed"] == 3
