"""Rows of a field device, whatever comes when: readings in pieces, specs at any moment, another meter in between."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.field.device import FieldDevice
from agent.field.reader import Reader, Reading
from linemon_sender.device import State
from linemon_sender.spool import Spool
from tests.agent.test_field_devices import at, shipped
from tests.examples import examples
from tests.meters import P1_SERIAL, p1

SECOND = b"5" * 17


class Given(Reader):
    """What the test says was read."""

    def say(self, data: bytes) -> None:
        self._taken.append(Reading(data, is_whole=False))


def offer(field: FieldDevice, version: str) -> None:
    """The collector's spec for it, of that version."""
    spec: dict[str, Any] = {**shipped("dsmr5.*"), "version": version}
    field.device.hear(f"#spec {version} {json.dumps(spec)}".encode())


def rows(spool: Spool) -> list[tuple[str, str, int]]:
    """Of all rows: whose they are, by which spec, and the power."""
    found = []
    while spool.waiting:
        spool.rewind()
        device = spool.run[2]
        while (header := spool.columns()) is not None:
            _, _, lines = spool.take(1 << 20)
            spec, columns = (line.split()[1:] for line in header.decode().splitlines())
            place = [name.partition(":")[0] for name in columns].index("power_import")
            found += [(device.split()[1], spec[0], round(float(row.split()[place]))) for row in lines.splitlines()]
        assert spool.acknowledge(spool.next)
    return found


def of_two_meters(switch: int) -> list[bytes]:
    """Ten telegrams, from `switch` on of another meter."""
    telegrams = [p1(n / 1000, at(n)) for n in range(10)]
    return telegrams[:switch] + [with_serial(each, SECOND.hex().upper().encode()) for each in telegrams[switch:]]


def taken(pieces: list[bytes], offers: list[int]) -> tuple[list[tuple[str, str, int]], int, list[str]]:
    """The rows of what is read in these pieces, with a spec before some of them; how many were lost, and the log."""
    with tempfile.TemporaryDirectory() as folder:
        reader, log = Given("given"), list[str]()
        spool, raw = (Spool("", "", 1 << 24, 1e9, log.append) for _ in range(2))
        field = FieldDevice(reader, spool, raw, State(folder, log.append), log.append)
        for place, piece in enumerate(pieces):
            for number in range(offers.count(place)):
                if field.device.identity:
                    offer(field, f"{place}.{number}")
            reader.say(piece)
            field.take()
        while True:  # the collector has a spec for each that registers
            offer(field, "last")
            field.take()
            if not raw.waiting:
                break
        return rows(spool), raw.dropped, log


@settings(max_examples=examples(60))
@given(st.data())
def test_every_telegram_is_one_row(data: Any) -> None:
    """Once, in order, of the meter that said it, whenever specs come.

    Those of a meter that was replaced before it had a spec are counted as dropped.
    """
    switch = data.draw(st.integers(2, 8), "another meter from telegram")
    whole = b"".join(of_two_meters(switch))
    ends = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=12), "cut at"))
    pieces = [whole[a:b] for a, b in zip([0, *ends], [*ends, len(whole)], strict=True)]
    offers = data.draw(st.lists(st.integers(0, len(pieces)), max_size=4), "specs before piece")
    found, lost, log = taken(pieces, offers)
    assert [power for _, _, power in found] == list(range(10 - len(found), 10))
    assert len(found) >= 10 - switch
    assert len(found) == 10 or lost
    serials = {power: serial for serial, _, power in found}
    assert all(serial == (P1_SERIAL if power < switch else SECOND.decode()) for power, serial in serials.items())
    assert not [line for line in log if "gives no row" in line]


def test_two_meters_in_one_reading() -> None:
    """What came of the second one stays, also where the reading ends within a telegram."""
    telegrams = of_two_meters(2)
    whole = b"".join(telegrams)
    at_end = sum(map(len, telegrams[:8])) + 1
    found, lost, _ = taken([whole[:at_end], whole[at_end : at_end + 573], whole[at_end + 573 :]], [1])
    assert [power for _, _, power in found] == list(range(2, 10))
    assert lost == 1


def with_serial(telegram: bytes, serial: bytes) -> bytes:
    """The same of another meter, with its CRC."""
    from linemon_sender.records import crc16

    text = telegram.replace(P1_SERIAL.encode().hex().upper().encode(), serial)
    text = text[: text.rindex(b"!") + 1]
    return text + f"{crc16(text):04X}\r\n".encode()


def test_a_spec_that_is_kept_serves_the_next_process(tmp_path: Path) -> None:
    """Without a network, too; one for another device does not."""
    kept = {"identity": f"dsmr5.ISk-M550E-1012 {P1_SERIAL}", "version": "7", "spec": shipped("dsmr5.*")}
    for name, text in (("spec", json.dumps(kept)), ("identity", kept["identity"])):
        (tmp_path / name).write_text(text)

    def read() -> list[tuple[str, str, int]]:
        reader, log = Given("given"), list[str]()
        spool, raw = (Spool("", "", 1 << 24, 1e9, log.append) for _ in range(2))
        field = FieldDevice(reader, spool, raw, State(str(tmp_path), log.append), log.append)
        reader.say(p1(0.5))
        field.take()
        return rows(spool)

    assert read() == [(P1_SERIAL, "1", 500)]
    (tmp_path / "spec").write_text(json.dumps({**kept, "identity": "x 1"}))
    assert read() == []
    for damaged in ("", "{", "[]", '{"identity": 5}'):
        (tmp_path / "spec").write_text(damaged)
        assert read() == []
