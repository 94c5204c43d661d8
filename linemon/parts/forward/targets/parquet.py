"""To Parquet files, one a source and day: FOLDER/SOURCE/2026-11-25.parquet, exactly once.

A file is written beside its place and renamed, and says in its metadata below which number it has all rows of its day:
rows that come again are left out. They wait in memory until it is written, every ten minutes.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import numpy as np

from linemon.homes import expanded
from linemon.parts.forward.flow import Block, Flow, held
from linemon.parts.forward.target import Later, Target
from linemon.sections import Span

TLS = False
SECRET = ()
KEY: Final = b"linemon"  # in a file's metadata: {RUN: NUMBER}
DAY_NS: Final = 86400 * 10**9
MOST_ROWS: Final = 200_000  # that wait in memory


@dataclass(frozen=True)
class Settings:
    write: Span = Span(600)


class To(Target):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        folder = self.config.to.partition(":")[2]
        if not folder:
            raise ValueError(f"to = {self.config.to!r}: expected a folder, such as 'parquet:/srv/linemon'")
        self._folder = expanded("to", folder)
        self._waiting: dict[Flow, list[Block]] = {}
        self._rows = 0
        self._written = time.monotonic()

    def check(self) -> list[str]:
        import pyarrow  # noqa: F401

        return []

    def send(self, blocks: list[Block]) -> None:
        for block in blocks:
            self._waiting.setdefault(block.flow, []).append(block)
            self._rows += len(block.rows)
        if self._rows > MOST_ROWS:
            self._write()

    def settle(self) -> None:
        if time.monotonic() - self._written >= self.settings.write:
            self._write()

    def close(self) -> None:
        self._waiting.clear()
        self._rows = 0

    def _write(self) -> None:
        """Put all that waits into the files of its days."""
        import pyarrow as pa

        try:
            for flow, blocks in self._waiting.items():
                folder = self._folder / "/".join(quote(part, safe=" ,=@+") for part in flow.name.split("/"))
                folder.mkdir(parents=True, exist_ok=True)
                days = {day for block in blocks for day in np.unique(block.rows.time.view("int64") // DAY_NS).tolist()}
                for day in sorted(days):
                    self._write_day(folder / f"{np.datetime64(day, 'D')}.parquet", day, flow, blocks)
                held(blocks)
        except pa.ArrowException as error:
            raise Later(f"{self._folder}: {error}") from None
        self.close()
        self._written = time.monotonic()

    def _write_day(self, path: Path, day: int, flow: Flow, blocks: list[Block]) -> None:
        """The file so far, and those rows of that day that it does not hold."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        tables = [pq.ParquetFile(path).read()] if path.exists() else []
        said = json.loads((tables[0].schema.metadata or {}).get(KEY, b"{}")) if tables else {}
        upto = said.get(flow.run, 0)
        for block in blocks:
            times, numbers = block.rows.time.view("int64"), np.arange(block.first, block.end)
            new = (times // DAY_NS == day) & (numbers >= upto)
            columns = {"time": pa.array(block.rows.time[new], pa.timestamp("ns", "UTC"))}
            for i, name in enumerate(block.rows.columns):
                columns[name] = pa.array(block.rows.values[new, i], from_pandas=True)  # missing values are null
            tables.append(pa.table(columns))
        whole = pa.concat_tables(tables, promote_options="default")
        said[flow.run] = max(upto, blocks[-1].end)
        whole = whole.replace_schema_metadata({KEY: json.dumps(said), "source": flow.name})
        draft = path.with_suffix(".new")
        with open(draft, "wb") as file:
            pq.write_table(whole, file, compression="zstd")
            file.flush()
            os.fsync(file.fileno())
        draft.rename(path)
