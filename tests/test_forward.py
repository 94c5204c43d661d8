"""Forwards to another linemon, through its real port, and what all forwards share."""

from __future__ import annotations

from linemon.store.reader import Store
from tests.forwards import Conformance, Row
from tests.running import Running


def rows_in(store: Store, source: str) -> list[Row]:
    """In order of arrival, missing values left out."""
    if source not in store:
        return []
    rows = store[source].since(0)
    return [
        (at, {c: v for c, v in zip(rows.columns, values, strict=True) if v == v})
        for at, values in zip(rows.time.view("int64").tolist(), rows.values.tolist(), strict=True)
    ]


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
            'every = "50ms"\n'.replace('"50ms"', "0.05")
        )

    def read(self, source: str) -> list[Row]:
        return rows_in(self.far.store, source)
