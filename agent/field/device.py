"""What becomes of readings: who they are from, rows by the spec, and until there is one they are kept as they are."""

from __future__ import annotations

import base64
import json
import signal
import time

from agent.field.modbus import Modbus
from agent.field.reader import Reading
from agent.field.readers import File
from agent.settings import seconds, texts
from linemon_sender.device import Device, State, chosen
from linemon_sender.records import BEGIN, END, Cutter, crc_error, text_of, who
from linemon_sender.seldom import Seldom
from linemon_sender.specs import Spec, SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from agent.field.reader import Reader
    from linemon_sender.spool import Spool

NAN = float("nan")
OWN = ("agent.rejected_records", "agent.dropped_rows")
"""Columns that follow those of the spec: what did not fit it, and what the spools have lost."""
RAW = b"#columns time raw"
AHEAD = 300.0  # seconds that a record's own time may be ahead of ours
LONGEST_MATCH = 1.0  # seconds that a record may take; a pattern that takes longer takes for ever
SHORTEST, LONGEST = 0.1, 86400.0  # seconds from one row to the next
AT_ONCE = 131072  # bytes of kept readings that are taken at once
KEEP_EVERY = 10.0  # seconds from one writing of how far it has come to the next, where rows are in memory


class FieldDevice:
    """Takes readings, gives rows to the spool."""

    def __init__(
        self,
        reader: Reader,
        spool: Spool,
        raw: Spool,
        state: State,
        log: Callable[[str], None],
        product: str = "",
        serial: str = "",
    ) -> None:
        """`raw`: where readings wait for a spec. `product` and `serial`: empty = as the readings say.

        ValueError for a product or a serial that cannot be one.
        """
        self._reader, self._spool, self._raw, self._state, self._log = reader, spool, raw, state, log
        self._product, self._serial = product, serial
        self._spec: Spec | None = None
        self._said_spec: tuple[str, object] = ("", None)
        self._cutter = Cutter(BEGIN, END, lambda _: None)  # until a spec says how; for who it is
        self._held = b""  # a telegram that says it is from another device, for the first time
        self._header, self._chosen = b"", list[bool]()
        self._interval = 0.0
        self._last = float("-inf")  # the time of the newest row
        self._rejected = 0
        self._complain, self._repeat = Seldom(log), Seldom(log)
        self._mark = self._kept = ""  # of a file: how far it was read; and what of it is kept
        self._kept_at = 0.0
        self.device = Device(product, serial if product else "", self._apply, log, state, self._take_spec)
        self._recall()

    # -- readings

    def take(self) -> None:
        """Work off what was read since."""
        if self._spec and self._raw.waiting:
            self._work_off_raw()
        for reading in self._reader.take():
            self._mark = reading.mark or self._mark
            if self._spec is None:
                self._wait(reading.at, self._identify(reading), reading.is_whole)
            elif isinstance(reading.data, tuple):
                registers, values = reading.data
                if registers == [each.register for each in self._spec.columns]:  # and not of the spec before
                    self._row(reading.at, [each.number(value) for each, value in zip(self._spec.columns, values)])
            elif (left := self._cut(reading.at, reading.data, reading.is_whole)) is not None:
                self._wait(reading.at, left, reading.is_whole)
        self._keep(KEEP_EVERY)

    def close(self) -> None:
        """Keep what must outlive this process."""
        self._keep(0.0)

    def _cut(self, at: float, data: bytes, is_whole: bool) -> bytes | None:
        """Rows from bytes. Any record may be from another product: then it and what follows is given back."""
        spec = self._spec
        assert spec is not None
        if spec.kind == "json" and is_whole and data:
            self._record(spec, at, data)
            return None
        self._cutter.add(data)
        if is_whole and not data:
            if self._cutter.leave().strip():
                self._reject("what is read ended in the midst of it")
            return None
        for record in self._cutter.records(time.monotonic(), is_whole):
            if other := self._other(record):
                left = self._held + record + self._cutter.leave()
                self._become(*other)
                return left
            if not self._held:
                self._record(spec, at, record)
        return None

    def _record(self, spec: Spec, at: float, record: bytes) -> None:
        """Its row, or rows where JSON has a list of them, or a reason why there is none."""
        if self._spec is not spec:
            return
        if spec.crc == "dsmr" and (reason := crc_error(record)):
            self._reject(reason)
            return
        try:
            said = json.loads(record) if spec.kind == "json" else text_of(record)
            with within(LONGEST_MATCH):
                rows = [spec.row(each, at) for each in (said if isinstance(said, list) else [said])]
        except TimeoutError:
            self._spec = None
            self.device.refuse_spec(f"its patterns take longer than {LONGEST_MATCH:g} s")
        except (ValueError, RecursionError) as error:
            self._reject(str(error))
        else:
            for when, values in sorted(rows, key=lambda row: row[0]):  # history may come newest first
                self._row(when, values)

    def _row(self, at: float, values: list[float]) -> None:
        """To the spool, unless it went there before or comes sooner than it is wanted."""
        assert self._spec is not None
        if all(value != value for value in values):
            self._reject("none of its columns is there")
        elif self._spec.time and at <= self._last:
            self._repeat(
                f"a record of {self._reader.name} is not newer than the newest that was sent, and not sent again"
            )
        elif self._reader.asks or not self._last <= at < self._last + 0.98 * self._interval:  # a bit early is in time
            if at < time.time() + AHEAD:  # one that is stamped wrong must not hold up all that follow
                self._last = at
            values = [value if yes else NAN for value, yes in zip(values, self._chosen)]
            values += [float(self._rejected), float(self._spool.dropped + self._raw.dropped)]
            self._spool.append(" ".join([f"{at:.6f}", *[f"{value:.15g}" for value in values]]).encode(), self._header)

    def _reject(self, reason: str) -> None:
        """Count a record that gives no row; the log gets the first reason, then one a minute."""
        self._rejected += 1
        self._complain(f"a record of {self._reader.name} gives no row: {reason}")

    # -- who it is

    def _identify(self, reading: Reading) -> Any:
        """Before there is a spec: look for telegrams that say who they are from; what is to be kept of a reading."""
        if self._product or not isinstance(reading.data, bytes):
            return reading.data
        self._cutter.add(reading.data)
        for record in self._cutter.records(time.monotonic(), reading.is_whole):
            if other := self._other(record):
                left, before = self._held + record + self._cutter.leave(), self.device.identity
                if before:
                    self._drop_raw(len(left) < len(reading.data))
                self._become(*other)
                kept = self._identify(Reading(left, reading.is_whole))
                return reading.data if not before and kept == left else kept
        return reading.data

    def _drop_raw(self, more: int) -> None:
        """What waits, and so many more, are of one that had no spec, and never gets one now."""
        if waiting := self._raw.waiting:
            self._raw.acknowledge(self._raw.rewind() + waiting)
        self._raw.dropped += waiting + more
        self._log(f"drops {waiting + more} readings of {self.device.identity}, which had no spec yet")

    def _other(self, record: bytes) -> tuple[str, str] | None:
        """Who a telegram is from, if that is somebody else than before. Without a right CRC it must be said twice."""
        held, self._held = self._held, b""
        said = None if self._product else who(text_of(record))
        if not said or self.device.identity == f"{said[0]} {self._serial or said[1]}":
            if held:
                self._reject("another one said once that it is from another device")
            return None
        if self.device.identity and crc_error(record) and who(text_of(held)) != said:
            self._held = record
            return None
        self._held = held
        return said

    def _become(self, product: str, serial: str) -> None:
        """What is read is another product, or another one of it, from now on."""
        serial = self._serial or serial
        self._log(f"{self._reader.name} is {product} {serial}")
        self._spec, self._last = None, float("-inf")
        self._said_spec = ("", None)
        self.device.become(product, serial)
        self._spool.identify(self.device.identity)
        self._cutter, self._held = Cutter(BEGIN, END, lambda _: None), b""
        self._state.write("identity", self.device.identity)

    # -- without a spec

    def _wait(self, at: float, data: Any, is_whole: bool) -> None:
        """Keep a reading until there is a spec for it."""
        if not isinstance(data, bytes):
            return
        if not self._raw.waiting:
            product = self.device.identity.partition(" ")[0]
            why = f"the collector has a spec for {product}" if product else "it says what it is; or --product says it"
            self._log(f"keeps what it reads until {why}")
        self._raw.append(f"{at:.6f} {int(is_whole)} {base64.b64encode(data).decode()}".encode(), RAW)

    def _work_off_raw(self) -> None:
        """What waited for the spec becomes rows, with the times at which it was read."""
        others: list[bytes] = []  # from where another product begins
        self._raw.rewind()
        while self._raw.columns() is not None:
            number, _, lines = self._raw.take(AT_ONCE)
            if self._raw.next == number:  # it cannot be read now
                break
            for line in lines.splitlines():
                at, is_whole, data = line.split(b" ")
                if self._spec is None:
                    others.append(line)
                elif (left := self._cut(float(at), base64.b64decode(data), is_whole == b"1")) is not None:
                    others.append(b"%b %b %b" % (at, is_whole, base64.b64encode(left)))
            self._raw.acknowledge(self._raw.next)
        self._raw.finish()
        for line in others:
            self._raw.append(line, RAW)

    # -- what the collector says

    def _take_spec(self, version: str, said: object) -> str:
        """Work by this spec; a reason if it cannot."""
        if (version, said) == self._said_spec and self._spec:
            return ""
        try:
            spec = Spec(said)
            if (spec.kind == "modbus") != isinstance(self._reader, Modbus):
                raise SpecError(f"[read] kind = {spec.kind!r}, but it is read by {self._reader.name.partition(' ')[0]}")
        except SpecError as error:
            self._log(f"refuses spec {version}: {error}")
            return str(error)
        self._said_spec = (version, said)
        self._state.write("spec", json.dumps({"identity": self.device.identity, "version": version, "spec": said}))
        before = self._cutter.leave() if self._spec else b""
        self._spec = spec
        self._cutter = Cutter(spec.begin, spec.end, self._reject)
        self._cutter.add(before)
        self._header = spec.header + " ".join(["", *OWN]).encode()
        if isinstance(self._reader, Modbus):
            self._reader.ask_for([each.register for each in spec.columns if each.register])
        self._log(f"works by spec {version} of {self.device.identity.partition(' ')[0]}")
        return ""

    def _apply(self, wishes: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Work by these wishes; what is in force, and what is refused."""
        asked = self._spec.every if self._spec else self._reader.every
        settings: dict[str, Any] = {"interval": asked if self._reader.asks else 0.0, "columns": ["*"]}
        refused: dict[str, Any] = {}
        names = [each.name for each in self._spec.columns] if self._spec else []
        for key, wish in wishes.items():
            try:
                if key == "interval":
                    is_each = wish == 0 and not self._reader.asks  # each record
                    settings[key] = 0.0 if is_each else seconds(wish, SHORTEST, LONGEST)
                elif key == "columns":
                    settings[key] = texts(wish) or ["*"]
                    if names and not any(chosen(settings[key], names)):
                        raise ValueError("there is no such column")
                else:
                    raise ValueError("it has interval, columns")
            except ValueError as error:
                refused[key] = str(error)
        if "columns" in refused:
            settings["columns"] = ["*"]
        self._interval = settings["interval"]
        self._chosen = chosen(settings["columns"], names)
        if self._reader.asks:
            self._reader.ask_every(self._interval)
        return settings, refused

    # -- what outlives this process

    def _recall(self) -> None:
        """Go on as the process before: the spec, who it was, and how far it had come."""
        if not self._product and (identity := self._state.read("identity").split()) and len(identity) == 2:
            self.device.become(*identity)
        if self.device.identity:
            self._spool.identify(self.device.identity)
        try:
            last, _, self._mark = self._state.read("mark").partition(" ")
            self._last = float(last or "-inf")
            kept = json.loads(self._state.read("spec") or "{}")
        except ValueError:
            return
        if isinstance(kept, dict) and kept.get("identity") == self.device.identity != "":
            self.device.recall_spec(str(kept.get("version")), kept.get("spec"))
        if isinstance(self._reader, File):
            self._reader.mark = self._mark

    def _keep(self, every: float) -> None:
        """How far it has come, once the rows to there are as safe as they will be."""
        now = time.monotonic()
        if not self._spool.folder and (now - self._kept_at < every or self._spool.waiting or self._raw.waiting):
            return
        inode, _, offset = self._mark.partition(" ")
        mark = f"{inode} {int(offset) - (self._cutter.pending if self._spec else 0)}" if offset else ""
        if (kept := f"{self._last!r} {mark}") != self._kept:
            self._kept, self._kept_at = kept, now
            self._state.write("mark", kept)


class within:  # noqa: N801 - as a `with` statement reads
    """TimeoutError where it takes longer than so many seconds, in the main thread; `re` looks at signals meanwhile."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def __enter__(self) -> None:
        signal.signal(signal.SIGALRM, _raise)
        signal.setitimer(signal.ITIMER_REAL, self._seconds)

    def __exit__(self, *_: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _raise(*_: object) -> None:
    raise TimeoutError
