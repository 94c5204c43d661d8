"""What every door that takes readings promises, tried through it: a new one gets a subclass in test_doors.py.

A reading is a source and a number, in the door's own form: a line, a JSON point, a datagram.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.running import Running, eventually

Start = Callable[..., Running]
OWN = "linemon.collector"


class Conformance(ABC):
    """The suite."""

    section: str  # of linemon.toml
    listen = 'listen = "127.0.0.1:0"'  # its setting that opens the door
    bounds: str  # the section of max_length
    max_length: str  # a setting that bounds one reading to 200 bytes
    checked: str  # how its line of `linemon check` starts

    @abstractmethod
    def reading(self, source: str, value: str) -> bytes:
        """A reading whose value may be none."""

    @abstractmethod
    def say(self, running: Running, readings: list[bytes], token: str = "") -> None:
        """Send readings, on one connection where there are connections, and wait until they were taken."""

    @abstractmethod
    def foreign(self, running: Running, data: bytes) -> None:
        """Send what is none of the door's language."""

    # -- the promises

    def start(self, start_collector: Start, *, token: bool = False, bounded: bool = False, more: str = "") -> Running:
        sections = {"tcp": ['listen = "127.0.0.1:0"'], "http": ['listen = "127.0.0.1:0"'], self.section: [self.listen]}
        sections[self.section].append(more)
        sections["tcp"] += ['token = "secret"'] * token
        sections[self.bounds] += [self.max_length] * bounded
        return start_collector("\n".join(line for name, said in sections.items() for line in (f"[{name}]", *said)))

    @pytest.fixture
    def conserved(self, start_collector: Start) -> Iterator[Start]:
        """Start collectors whose accounts must add up in the end."""
        started: list[Running] = []

        def start(**options: Any) -> Running:
            started.append(self.start(start_collector, **options))
            return started[-1]

        yield start
        for running in started:
            eventually(lambda running=running: self.adds_up(running.status()), "accounts that add up")  # type: ignore[misc]

    @staticmethod
    def adds_up(status: dict[str, Any]) -> bool:
        parts = [status["stored"], status["duplicate"], *status["rejected"].values(), *status["dropped"].values()]
        return bool(status["received"] == sum(parts))

    def test_a_bad_reading_costs_itself(self, conserved: Start) -> None:
        """Those around it are stored, the reason is counted, the reading can be looked at."""
        running = conserved()
        self.say(running, [self.reading("a", "1"), self.reading("a", "x"), self.reading("b", "2")])
        eventually(lambda: running.status()["stored"] == 2, "the good ones")
        eventually(lambda: running.status()["rejected"] == {"number": 1}, "the bad one")
        assert set(running.store) - {OWN} == {"a", "b"}
        assert "x" in running.status()["bad_lines"][-1]["line"]

    def test_an_overlong_reading_is_one_rejected(self, conserved: Start) -> None:
        """It costs no memory and no neighbour."""
        running = conserved(bounded=True)
        self.say(running, [self.reading("a", "1"), self.reading("long" * 100, "1"), self.reading("a", "2")])
        eventually(lambda: running.status()["stored"] == 2, "the good ones")
        eventually(lambda: running.status()["rejected"] == {"length": 1}, "the long one")

    def test_foreign_bytes_store_nothing(self, conserved: Start) -> None:
        """Another protocol, or noise: the door goes on."""
        running = conserved()
        for data in (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", bytes(range(256)), b"\n" * 50):
            self.foreign(running, data)
        self.say(running, [self.reading("a", "1")])
        eventually(lambda: running.status()["stored"] == 1, "the good one")
        assert set(running.store) - {OWN} == {"a"}

    def test_a_token_is_asked_for(self, conserved: Start) -> None:
        """Readings without the right one are rejected, and counted so."""
        running = conserved(token=True)
        self.say(running, [self.reading("a", "1")])
        eventually(lambda: running.status()["rejected"].get("token") == 1, "the one without")
        self.say(running, [self.reading("a", "1")], token="wrong")
        eventually(lambda: running.status()["rejected"]["token"] >= 2, "the one with a wrong one")
        assert "a" not in running.store
        self.say(running, [self.reading("a", "1")], token="secret")
        eventually(lambda: "a" in running.store, "the one with the right one")

    def test_check_tells_of_it(self, conserved: Start) -> None:
        """What it means is a line of `linemon check`."""
        assert any(line.startswith(self.checked) for line in conserved().run("check").stdout.splitlines())


class ConnectionConformance(Conformance):
    """The suite, of doors with connections."""

    refused: str  # the counter of those beyond max_connections

    @abstractmethod
    def hold(self, running: Running, stack: ExitStack) -> None:
        """Open a connection that stays open."""

    def test_connections_are_bounded(self, conserved: Start) -> None:
        """Beyond max_connections they are refused and counted; there is room again when one goes."""
        running = conserved(more="max_connections = 3\n")
        with ExitStack() as stack:
            for _ in range(5):
                self.hold(running, stack)
            eventually(lambda: running.status()[self.refused] == 2, "two refused")

        def goes() -> bool:
            try:
                self.say(running, [self.reading("a", "1")])
            except OSError:
                return False
            return True

        eventually(goes, "room again")
