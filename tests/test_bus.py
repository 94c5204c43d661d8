"""The bus: forwards to NATS JetStream and subscriptions from it, over a cluster of three servers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.bus import PASSWORD, Cluster, Taker
from tests.forwards import Conformance, Row
from tests.test_forward import rows_in


class TestNats(Conformance):
    """What is on the bus is what a subscription takes from it, into another linemon."""

    exactly_once = True
    secrets = (PASSWORD,)

    @pytest.fixture(autouse=True)
    def ends(self) -> Iterator[None]:
        yield
        self.far.close()

    def open(self) -> None:
        if not hasattr(self, "cluster"):
            self.cluster = Cluster(self.folder / "cluster")
            self.far = Taker(self.folder / "far", self.cluster.address("TEST"))
            self.far.start()
        else:
            self.cluster.start()

    def close(self) -> None:
        self.cluster.kill_all()

    def forward(self) -> str:
        return (
            f'[[forward]]\nname = "it"\nto = "{self.cluster.address("TEST")}"\npassword = "{PASSWORD}"\n'
            'since = "start"\nevery = 0.05\npartitions = 2\nmax_bytes = 10000000\n'
        )

    def read(self, source: str) -> list[Row]:
        return rows_in(self.far.collector.store, source)
