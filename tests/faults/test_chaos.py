"""Nothing lost, nothing twice, whatever is killed, cut, stalled or full. `make chaos` does it for longer."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos import chaos


@pytest.mark.timeout(240)
def test_every_number_arrives_once_and_in_order(tmp_path: Path) -> None:
    """A third of a minute of it; the counts say that something did go wrong."""
    wrong, events = chaos(20.0, seed=5, folder=tmp_path)
    print(events)
    assert wrong == []
    for event in ("collector killed", "sender killed", "agent killed", "disk filled", "cuts", "stalls"):
        assert events[event] > 0, event
    assert events["numbers stored"] > 1000
