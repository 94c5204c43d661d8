"""A device and a collector, cut, killed and changed at any moment: in the end what is reported is what is wished."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from linemon.lines.devices import Devices
from linemon.lines.intake import Intake
from linemon.lines.session import Session
from linemon.store.devices import DeviceBook
from linemon.store.marks import Mark
from linemon.store.specs import Specs
from tests.examples import examples
from tests.fuzz import EmptyStore

BORN: dict[str, Any] = {"interval": 1, "groups": [], "columns": ["*"]}
VALUES = st.sampled_from([0.5, 1, 5, 1000, "x", None])  # 1000 and "x" are refused, None takes the wish back
PEER = "10.0.0.7"


class TwoSides(RuleBasedStateMachine):
    """The device is a simple one that does what docs/DEVICES.md asks of it; the collector is linemon's."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        (self.folder / "specs").mkdir()
        self.store = EmptyStore(self.folder / "store")
        self.now = 1_600_000_000 * 10**9
        self.marks: list[Mark] = []
        self.spec_version = 0
        self.session: Session | None = None
        self.heard: list[str] = []  # answers that are on their way to the device
        self.book: DeviceBook | None = None
        # of the device:
        self.current, self.version, self.spec = dict(BORN), 0, ""

    @initialize()
    def start(self) -> None:
        self.start_collector()

    # -- the collector

    @rule()
    def start_collector(self) -> None:
        """It was killed: what it had not written down is gone."""
        self.cut()
        if self.book:
            self.book._later.clear()
            self.book.close()
        self.book = DeviceBook(self.folder)
        self.devices = Devices(self.book, Specs(self.folder / "specs"), mark=self.marks.append)
        self.intake = Intake(self.store, self.devices)

    @rule()
    def a_second_goes_by(self) -> None:
        self.now += 10**9
        self.devices.update()

    @rule(key=st.sampled_from(["interval", "groups", "unknown"]), value=VALUES)
    def wish(self, key: str, value: object) -> None:
        for device in self.devices.book:
            self.devices.wish(device, {key: value}, self.now)

    @rule()
    def change_the_spec(self) -> None:
        self.spec_version += 1
        (self.folder / "specs" / "meter.toml").write_text(f'version = "v{self.spec_version}"\n')

    # -- the link

    @rule()
    def cut(self) -> None:
        """What is on its way is lost, whether the other side notices at once or not."""
        if self.session:
            self.devices.leave(self.session, self.now)
        self.session, self.heard = None, []

    @precondition(lambda self: self.session is None)
    @rule()
    def connect(self) -> None:
        self.session = Session(PEER, 65536)
        self.say("#device meter 42", f"#is {self.version} {json.dumps(self.current)}")

    def say(self, *lines: str) -> None:
        assert self.session
        self.intake.take(self.session, "".join(f"{line}\n" for line in lines).encode(), self.now)
        self.intake.flush(self.now)

    def fetch(self) -> None:
        """Answers that the collector has sent get on their way."""
        while self.session and (answers := self.session.to_send()):
            self.heard += answers.decode().splitlines()
            answers.clear()

    # -- the device

    @rule()
    def start_device(self) -> None:
        """It forgets what was wished of it, and comes with what it was born with."""
        self.cut()
        self.current, self.version, self.spec = dict(BORN), 0, ""

    @rule()
    def listen(self) -> None:
        """It reads one answer, and does what it says."""
        self.fetch()
        if not self.heard:
            return
        word, _, rest = self.heard.pop(0).partition(" ")
        if word == "#set":
            version, _, wishes = rest.partition(" ")
            assert int(version) > self.version, "a wish that was answered came again"
            self.version = int(version)
            wished = json.loads(wishes)
            refused = {key: "cannot" for key, value in wished.items() if key not in BORN or value in (1000, "x")}
            self.current = BORN | {key: value for key, value in wished.items() if key not in refused}
            self.say(f"#is {self.version} {json.dumps(self.current | ({'refused': refused} if refused else {}))}")
        elif word == "#spec":
            self.spec = rest.partition(" ")[0]
            self.say(f"#spec {self.spec}")
        else:
            assert word in ("#device",), word

    def teardown(self) -> None:
        """Both sides are left in peace for a moment."""
        if self.session is None:
            self.connect()
        for _ in range(3):
            self.a_second_goes_by()
            self.fetch()
            while self.heard:
                self.listen()
                self.fetch()
        [device] = self.devices.book
        assert device.has_answered
        assert device.reported == self.current
        for key, value in device.desired.items():
            assert device.reported.get(key) == value or device.refused.get(key) == "cannot"
        assert all(self.current[key] == value for key, value in BORN.items() if key not in device.desired)
        assert device.spec == self.spec == (f"v{self.spec_version}" if self.spec_version else "")
        assert all(mark.source == device.name and mark.text for mark in self.marks)
        self.cut()
        if self.book:
            self.book.close()
        self.store.close()
        shutil.rmtree(self.folder)


TestTwoSides = TwoSides.TestCase
TestTwoSides.settings = settings(max_examples=examples(60), stateful_step_count=40, deadline=None)
