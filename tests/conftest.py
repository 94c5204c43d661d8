"""Collectors for the tests, stopped when the test ends."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.running import Running

# What a shell starts in the background ignores SIGINT, and so would all that it starts: the tests end some by it.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[Running]:
    running = Running(tmp_path)
    yield running
    assert running.stop() == 0, (tmp_path / "log").read_text()


@pytest.fixture
def start_collector(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Start collectors with settings of one's own, each in its folder."""
    started: list[Running] = []

    def start(settings: str = "", name: str = "one", open_files: int = 0) -> Running:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        started.append(Running(folder, settings, open_files))
        return started[-1]

    yield start
    for each in started:
        each.stop()
