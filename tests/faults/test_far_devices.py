"""A meter far away, on a pseudo-terminal, where only the device can dial: what is cut and killed heals."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from linemon.store.reader import Store
from tests.faults.test_second_host import HERE, Cable, cable
from tests.meters import P1_SERIAL
from tests.running import archive, command, eventually

__all__ = ["cable"]  # a fixture
NAME = f"dsmr5.ISk-M550E-1012.{P1_SERIAL}"
METER = """
import os, sys, time, tty
sys.path.insert(0, sys.argv[1])
from tests.meters import p1
far, near = os.openpty()
tty.setraw(near)
os.symlink(os.ttyname(near), sys.argv[2])
os.set_blocking(far, False)
count = 0
while True:
    time.sleep(0.2)
    stamp = time.strftime("%y%m%d%H%M%SW", time.gmtime(1291890620 + 3600 + count))
    try:
        os.write(far, p1(count % 60000 / 1000, stamp))
        count += 1
    except BlockingIOError:
        pass
"""


class Field:
    """A centre here; there a meter with an agent, which dials and on which nothing listens."""

    def __init__(self, cable: Cable, folder: Path) -> None:
        self.cable, self.folder = cable, folder
        self.config = folder / "linemon.toml"
        self.config.write_text(
            f'[store]\npath = "{folder}/store"\n[tcp]\nlisten = "0.0.0.0:4000"\nallow_open = true\n'
            '[[tap]]\nlisten = "127.0.0.1:0"\n'
        )
        self.archive = archive(folder / "other")
        self.port = folder / "ttyUSB0"
        self._log = open(folder / "log", "wb")  # noqa: SIM115
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.store = Store(folder / "store")
        self.start("meter", self.there(sys.executable, "-c", METER, str(Path(__file__).parents[2]), str(self.port)))
        eventually(self.port.is_symlink, "the meter")

    def there(self, *words: str) -> list[str]:
        return ["ip", "netns", "exec", self.cable.far, *words]

    def here(self, *words: str) -> list[str]:
        return ["ip", "netns", "exec", self.cable.near, *words]

    def start(self, name: str, words: list[str]) -> None:
        state = {"XDG_STATE_HOME": str(self.folder / "state")}
        self.processes[name] = subprocess.Popen(
            words, env={**os.environ, **state}, cwd=self.folder, stderr=self._log, stdout=self._log
        )

    def start_centre(self) -> None:
        self.start("centre", self.here(*command("collect", "--config", str(self.config))))

    def start_agent(self) -> None:
        reads = ("--read", f"serial:{self.port}?baud=115200", "--spool", str(self.folder / "spool"))
        self.start("agent", self.there(sys.executable, str(self.archive), "--to", f"{HERE}:4000", *reads))

    def kill(self, name: str) -> None:
        self.processes[name].kill()
        self.processes[name].wait()

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        asked = self.here(*command(*words, "--config", str(self.config)))
        return subprocess.run(asked, capture_output=True, text=True, cwd=self.folder)

    def device(self) -> dict[str, Any]:
        found = json.loads(self.run("devices", "--json").stdout or "[]")
        said: dict[str, Any] = next((each for each in found if each["name"] == NAME), {})
        return said

    def rows(self) -> int:
        return self.store[NAME].rows if NAME in self.store else 0

    def powers(self) -> list[int]:
        source = self.store[NAME]
        return [round(each) for each in source.since(0).values[:, source.columns.index("power_import")]]

    def end(self) -> None:
        for process in reversed(self.processes.values()):
            process.terminate()
            process.wait()
        self._log.close()


@pytest.fixture
def field(cable: Cable, tmp_path: Path) -> Iterator[Field]:
    made = Field(cable, tmp_path)
    yield made
    made.end()


def test_a_meter_far_away_from_box_to_plot(field: Field) -> None:
    """Registered, spec'd, stored, its interval changed: whatever is killed or cut at each step heals by itself.

    Every telegram of the meter that was to become a row became one, once.
    """
    field.start_agent()  # before there is a centre
    eventually(lambda: "is dsmr5" in (field.folder / "log").read_text(), "the meter's name")
    listening = subprocess.run(field.there("ss", "-Hltn"), capture_output=True, text=True)
    assert listening.stdout.strip() == ""

    def more(rows: int, what: str) -> None:
        before = field.rows()
        eventually(lambda: field.rows() > before + rows, f"rows {what}", 60.0)

    def heals(what: str, break_it: Callable[[], None]) -> None:
        break_it()
        more(10, f"after: {what}")

    def cut() -> None:
        field.cable.pull()
        time.sleep(2.0)
        field.cable.plug_in()

    def centre_again() -> None:
        field.kill("centre")
        time.sleep(1.0)
        field.start_centre()

    def agent_again() -> None:
        field.kill("agent")
        field.start_agent()

    field.start_centre()
    heals("the start", lambda: None)
    assert field.device()["spec"] == {"version": "1", "offered": "1"}
    for step, wish in ((cut, 3.0), (centre_again, 2.0), (agent_again, 5.0)):
        heals("the cable was cut", cut)
        heals("the centre was killed", centre_again)
        heals("the agent was killed", agent_again)
        step()
        eventually(lambda: field.device().get("connected"), "the device, which comes back", 60.0)
        done = field.run("set", NAME, f"interval={wish}", "--wait", "30s")
        assert done.returncode == 0, done.stderr
        assert field.device()["reported"]["interval"] == wish
        more(4, "at the new pace")
        assert set(np.diff(field.powers()[-4:])) == {wish}
        assert field.run("set", NAME, "interval=", "--wait", "30s").returncode == 0
    powers = field.powers()
    assert powers == sorted(set(powers))
    missing = [gap for gap in np.diff(powers) if gap not in (1, 2, 3, 5)]
    assert len(missing) <= 9, missing  # while an agent was dead, nobody read
