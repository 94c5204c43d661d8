"""Rows in InfluxDB's line protocol."""

from __future__ import annotations

import re
from typing import Final

from linemon.parts.forward.flow import Block

IN_MEASUREMENT: Final = re.compile(r"([, \\])")
IN_KEY: Final = re.compile(r"([,= \\])")


def points(blocks: list[Block]) -> str:
    """A line for each row that has a value; missing ones are left out. Times in ns."""
    lines: list[str] = []
    for block in blocks:
        head = series(block.flow.name) + " "
        keys = [IN_KEY.sub(r"\\\1", column) + "=" for column in block.rows.columns]
        times = block.rows.time.view("int64").tolist()
        for time, values in zip(times, block.rows.values.tolist(), strict=True):
            fields = [key + repr(value) for key, value in zip(keys, values, strict=True) if value == value]
            if fields:
                lines.append(f"{head}{','.join(fields)} {time}\n")
    return "".join(lines)


def series(name: str) -> str:
    """Measurement and tags of ``sys,host=h7`` or ``sys;host=h7``; of another name the whole of it as measurement."""
    measurement, *tags = re.split("[,;]", name)
    pairs = [tag.partition("=") for tag in tags]
    if not tags or not measurement or not all(key and value and equals for key, equals, value in pairs):
        return IN_MEASUREMENT.sub(r"\\\1", name)
    said = [f"{IN_KEY.sub(_ESCAPED, key)}={IN_KEY.sub(_ESCAPED, value)}" for key, _, value in pairs]
    return ",".join([IN_MEASUREMENT.sub(_ESCAPED, measurement), *said])


_ESCAPED: Final = r"\\\1"
