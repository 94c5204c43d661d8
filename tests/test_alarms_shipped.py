"""Over a real store, by a clock of the test's own: the alarms that are shipped, each provoked once and then not; what
holds messages back; what a restart finds; the same rules over what was.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

from linemon.config import Config, StoreConfig, load
from linemon.errors import ConfigError
from linemon.parts.alarms.event import Event
from linemon.parts.alarms.feed import Feed
from linemon.parts.alarms.first import First
from linemon.parts.alarms.keeping import State
from linemon.parts.alarms.machine import S
from linemon.parts.alarms.nobody import Nobody
from linemon.parts.alarms.rules import rules, shipped
from linemon.parts.alarms.telling import Telling
from linemon.parts.alarms.trial import trial
from linemon.parts.history import History, end
from linemon.store.devices import Device, DeviceBook, Registered
from linemon.store.reader import Store
from linemon.store.writer import StoreWriter

HOST = {
    "fs./.used_pct": 50.0, "fs./.free_bytes": 1e9, "fs./.inodes_used_pct": 5.0, "mem.used_pct": 50.0,
    "mem.oom_kills": 0.0, "swap.used_pct": 5.0, "cpu.busy_pct": 10.0, "cpu.count": 4.0, "load.15m": 1.0,
    "cpu.steal_pct": 0.0,
    "net.eth0.errors_per_s": 0.0, "net.eth0.packets_per_s": 100.0, "clock.synced": 1.0, "clock.offset_s": 0.0,
    "sys.uptime_s": 1e6, "agent.rss_bytes": 1e7, "agent.dropped_rows": 0.0, "temp.cpu_celsius": 50.0,
}  # fmt: skip
# What provokes each, for how long (s), of columns, and whether it is told where there is a notifier.
BAD: dict[str, tuple[dict[str, float], int, bool]] = {
    "disk full": ({"fs./.used_pct": 95.0}, 300, True),
    "inodes": ({"fs./.inodes_used_pct": 95.0}, 300, False),
    "memory": ({"mem.used_pct": 95.0}, 700, True),
    "OOM kill": ({"mem.oom_kills": 1.0}, 30, True),
    "swapping": ({"swap.used_pct": 95.0, "mem.used_pct": 85.0}, 1000, False),
    "CPU": ({"cpu.busy_pct": 99.0}, 1800, False),
    "load per core": ({"load.15m": 9.0}, 30, False),
    "steal": ({"cpu.steal_pct": 50.0}, 1200, False),
    "NIC errors": ({"net.eth0.errors_per_s": 1.0}, 600, False),
    "clock not synchronised": ({"clock.synced": 0.0}, 1300, False),
    "clock wrong": ({"clock.offset_s": -5.0}, 700, False),
    "dropped rows": ({"agent.dropped_rows": 7.0}, 30, True),
    "sensor hot": ({"temp.cpu_celsius": 90.0}, 400, False),
    "rebooted": ({"sys.uptime_s": 30.0}, 30, False),
    "silent agent": ({}, 200, True),
}
# test_alarms_windows.py; test_alarms.py; below
NOT_HERE = {"disk fills up", "collector down", "notifier fails", "stamps wrong", "strange", "task fails"}
NOT_HERE |= {"forward behind", "forward refused", "subscription lost"}


class House:
    """A store that is written, and the part on it but for its files, at a clock that the test sets."""

    def __init__(self, folder: Path, settings: str = "", state: str = "state") -> None:
        self.folder, self.file = folder, folder / "linemon.toml"
        self.configure(settings)
        self.begin = int(time.time())  # sources are born by the real clock
        self.now = float(self.begin)
        self.writer = StoreWriter(folder / "store", 7200, 100)
        self.told: list[Event] = []
        self.state_file = folder / state
        self.start()

    def configure(self, settings: str) -> None:
        notify = '[[notify]]\nname = "all"\nkind = "command"\nargv = ["true"]\n'
        self.file.write_text(f'[store]\npath = "{self.folder}/store"\n{settings}\n{notify}')

    def start(self) -> None:
        """The part begins; after another one, where that left off."""
        self.config = load(self.file)
        self.state = State(self.state_file)
        known: dict[str, tuple[int, int]] = {}
        for each in self.told:
            known[each.key] = each.seq, 0 if each.kind in ("ok", "gone") else each.level
        self.telling = Telling(
            self.told.append, known.get, self.config.quiet, self.config.alarms.group_wait.ns, self.ns, self.state.n,
            self.state.silences, self.groups,
        )  # fmt: skip
        devices = Registered(self.config.devices_folder)
        self.feed = Feed(Store(self.folder / "store"), rules(self.config), self.telling, 20000, devices)
        self.looks = [Nobody(self.telling, self.feed, self.state).look]
        if self.state.is_first:
            self.looks.append(First(self.config, self.telling, self.feed).look)

    def groups(self, alarm: str) -> Any:
        return list(self.feed.groups(alarm))

    def stop(self) -> None:
        self.state.write(self.feed, self.telling, self.ns)

    @property
    def ns(self) -> int:
        return round(self.now * S)

    def row(self, source: str, **values: float) -> None:
        self.rows(source, values)

    def rows(self, source: str, values: dict[str, float], skew: float = 0.0) -> None:
        """One row; `skew`: s by which the sender's clock is ahead."""
        ring = self.writer.bind(source, tuple(values), ("",) * len(values))
        row = np.array([[0.0, *values.values()]])
        row.view(np.int64)[0, 0] = self.ns + round(skew * S)
        with mock.patch("linemon.store.arena.time.time_ns", return_value=self.ns):
            ring.arena.append_to(ring.entry.slot, row.view(np.int64))

    def turn(self) -> None:
        for turn in (self.feed.attach(self.ns, self.state.resume), self.feed.turn(self.ns)):
            for _ in turn:
                pass
        for look in self.looks:
            look(self.ns)

    def live(self, seconds: int, step: int = 1, **sources: dict[str, float]) -> None:
        """So long, with a row of each of these sources each `step` seconds."""
        for _ in range(seconds // step):
            self.now += step
            for source, values in sources.items():
                self.rows(source, values)
            self.turn()

    @property
    def said(self) -> list[tuple[str, str, str]]:
        return [(each.alarm, each.source, each.kind) for each in self.told]

    @property
    def log(self) -> list[tuple[str, str]]:
        return [(each["alarm"], each["event"]) for each in self.telling.fresh]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    yield house
    house.writer.close()


def test_each_alarm_that_is_shipped_is_provoked() -> None:
    assert {table["name"] for table in shipped()} == BAD.keys() | NOT_HERE


@pytest.mark.parametrize("alarm", BAD)
def test_a_shipped_alarm_fires(house: House, alarm: str) -> None:
    """A host that is well raises none; what is wrong raises this one, and no other that is told."""
    bad, seconds, is_told = BAD[alarm]
    house.live(1300, 10, host=HOST)
    assert house.log == []
    if alarm == "silent agent":
        house.live(seconds)
    else:
        house.live(seconds, 10, host=HOST | bad)
    assert (alarm, "warning") in house.log or (alarm, "critical") in house.log
    assert {name for name, _ in house.log} == {alarm}
    assert [name for name, _, _ in house.said] == [alarm] * is_told
    assert all("{" not in event.text and "no value" not in event.text for event in house.told)


def test_a_registered_device_that_falls_silent_is_told_of(house: House) -> None:
    """Whatever columns it has, from when it is registered until it is forgotten; a sender that is none is not."""
    sources = {"meter": {"power": 230.0}, "late": {"power": 1.0}, "sensor": {"t": 20.0}}
    book = DeviceBook(house.config.devices_folder)
    book.keep(Device("sdm630", "1", "meter"))
    house.live(900, 10, **sources)
    book.keep(late := Device("sdm630", "2", "late"))
    house.live(400, 10, **sources)
    house.live(200, 10)
    assert sorted(house.said) == [("silent agent", each, "warning") for each in ("late", "meter")]
    book.forget(late)
    house.live(60, 10, meter=sources["meter"])
    assert sorted(house.said[2:]) == [("silent agent", "late", "gone"), ("silent agent", "meter", "ok")]
    assert [name for name, each in house.feed.readings.items() if each.judged.groups] == ["meter"]
    book.close()


def test_a_large_disk_is_not_full(house: House) -> None:
    """95 % of 20 TB leaves a terabyte."""
    house.live(600, 10, host=HOST | {"fs./.used_pct": 95.0, "fs./.free_bytes": 1e12})
    assert house.log == []


@pytest.mark.parametrize("skew", [-8.0, -86400.0, 2.0, 86400.0])
def test_a_clock_that_is_wrong_is_seen_by_its_stamps(house: House, skew: float) -> None:
    """Also where rows are a day ahead, and so not judged; what comes late as a backlog is another thing."""

    def live(minutes: int, *skews: float) -> None:
        for second in range(0, minutes * 60, 10):
            house.now += 10
            house.rows("host", HOST, skews[second // 10 % len(skews)])
            house.turn()

    live(15, 0.0, -4.0, 0.5)
    live(5, *range(-3600, -1000, 90), 0.0)  # behind, and less and less
    live(15, -0.3)
    assert house.log == []
    live(12, skew, skew - 0.2)
    assert house.log == [("stamps wrong", "warning")]
    live(12, 0.0)
    assert house.log[1:] == [("stamps wrong", "ok")]


def test_needs(tmp_path: Path) -> None:
    """What is behind a gateway is not told while that is down, nor for a minute after; what still is so then, is."""
    rule = '[[alarm]]\nname = "{}"\ncolumns = "{}"\nwarning = "> 90"\n{}\n'
    house = House(tmp_path, rule.format("gateway", "g", "") + rule.format("web", "v", 'needs = "gateway@r*"'))
    house.live(20, r1={"g": 0.0}, web1={"v": 0.0})
    house.live(5, web1={"v": 99.0})  # it fires first, as the gateway's row comes later
    house.live(100, r1={"g": 99.0}, web1={"v": 99.0})
    assert house.said == [("gateway", "r1", "warning")]
    house.live(50, r1={"g": 0.0}, web1={"v": 99.0})
    assert house.said[1:] == [("gateway", "r1", "ok")]
    house.live(20, r1={"g": 0.0}, web1={"v": 99.0})
    assert house.said[2:] == [("web", "web1", "warning")]
    house.writer.close()


@pytest.mark.slow
def test_the_collector_hears_nobody(house: House) -> None:
    """Many that fall silent at once are one message, and one when they are back; one alone is told 30 s later."""
    hosts = {f"h{i}": {"agent.rss_bytes": 1.0} for i in range(4)}
    house.live(700, 1, **hosts)
    house.live(100)
    assert house.said == [("collector hears nobody", "linemon.collector", "critical")]
    assert "4 agents" in house.told[0].text
    house.live(100, 1, **hosts)
    assert [kind for _, _, kind in house.said] == ["critical", "ok"]
    only = dict(list(hosts.items())[1:])
    house.live(100, 1, **only)
    assert house.said[2:] == [("silent agent", "h0", "warning")]


def test_a_restart_goes_on(tmp_path: Path) -> None:
    """Nothing is told twice, `for` counts on, what came meanwhile is judged; a new rule judges what is held."""
    rule = '[[alarm]]\nname = "{}"\ncolumns = "{}"\nwarning = "> 90"\nfor = "{}"\n'
    first = rule.format("v", "v", "0s") + rule.format("w", "w", "60s")
    house = House(tmp_path, first)
    house.live(30, s={"v": 99.0, "w": 50.0})
    house.live(20, s={"v": 99.0, "w": 99.0})
    house.stop()
    house.now += 20
    house.row("s", v=99.0, w=99.0)
    house.configure(first + rule.format("x", "v", "0s"))
    house.start()
    house.live(10, s={"v": 99.0, "w": 99.0})
    assert house.said == [("v", "s", "warning"), ("x", "s", "warning")]
    house.live(30, s={"v": 50.0, "w": 99.0})
    ends = [(event.alarm, event.kind, event.since // S - house.begin) for event in house.told[2:]]
    assert ends == [("v", "ok", 1), ("x", "ok", 1), ("w", "warning", 31)]
    saved = json.loads(house.state_file.read_text())
    assert saved["sources"]["s"][1] == 50
    house.writer.close()


@pytest.mark.slow
@pytest.mark.parametrize("wrong", [20, 21])
def test_a_first_start_tells_of_many_at_once(tmp_path: Path, wrong: int) -> None:
    """What the rings hold is judged; up to twenty incidents are told one by one. A later start is no first one."""
    house = House(tmp_path, '[[alarm]]\nname = "v"\ncolumns = "v"\nwarning = "> 90"\ncritical = "> 98"\n')
    for i in range(100):
        house.now += 1
        for source in range(wrong):
            house.row(f"s{source}", v=99.0 if i > 50 else 95.0)
    hosts: dict[str, Any] = {f"s{source}": {"v": 99.0} for source in range(wrong)}
    house.start()
    house.live(14, **hosts)
    assert house.said == []
    house.live(10, **hosts)
    if wrong == 20:
        assert sorted(house.said) == sorted(("v", f"s{i}", "critical") for i in range(20))
    else:
        assert house.said == [("already wrong", "linemon.collector", "critical")]
        assert "21 alarms" in house.told[0].text
    house.stop()
    house.start()
    house.live(30, **hosts)
    house.live(5, **hosts | {"s0": {"v": 0.0}})
    assert house.said[1 if wrong > 20 else 20 :] == [("v", "s0", "ok")]
    house.writer.close()


def test_a_state_that_cannot_be_read_is_set_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "state").write_text("{")
    house = House(tmp_path)
    assert "cannot be read" in caplog.text
    assert (tmp_path / "state.unreadable").read_text() == "{"
    house.live(10, host=HOST)
    house.writer.close()


@pytest.mark.slow
def test_a_trial_over_rows_and_history(tmp_path: Path) -> None:
    """The same machine over what was, minutes where rows are gone; it tells nobody, and says what it used."""
    settings = '[[alarm]]\nname = "v"\ncolumns = "v"\nvalue = "max(5m)"\nwarning = "> 90"\nfor = "2m"\n'
    file = tmp_path / "linemon.toml"
    file.write_text(f'[store]\npath = "{tmp_path}/store"\npoints = 3600\n{settings}')
    config = load(file)
    writer = StoreWriter(tmp_path / "store", 3600, 10)
    ring = writer.bind("s", ("v",), ("",))
    oldest = int(time.time()) // 60 * 60 - 5 * 3600
    with ExitStack() as stack:
        part = History(Config(store=StoreConfig(path=str(tmp_path / "store"))))
        chain = part.open(stack)
        for begin in range(0, 4 * 3600, 600):
            seconds = begin + np.arange(600)
            is_high = (seconds % 7200 > 3000) & (seconds % 7200 < 4000) & (seconds % 60 == 30)  # a second a minute
            values = np.where(is_high, 99.0, 50.0)
            rows = np.column_stack((np.zeros(600), values))
            rows.view(np.int64)[:, 0] = (oldest + seconds) * S
            ring.arena.append_to(ring.entry.slot, rows.view(np.int64))
            for _ in chain.steps():
                pass
        end(chain)
        result = trial(Store(tmp_path / "store"), config, rules(config)[-1:], None)
    writer.close()
    assert [event["event"] for event in result.events] == ["warning", "ok", "warning", "ok"]
    [line] = result.lines
    assert line[:4] == ["v", "s", "v", "2"]
    assert 38 <= int(line[4]) <= 46  # twice 1,000 s and the window
    assert "buckets of 1m" in result.notes[0]


def normal(host: int, minutes: int, random: np.random.Generator) -> dict[str, np.ndarray[Any, Any]]:
    """Rows, a minute each: office hours, a backup each night, logs that grow and are rotated."""
    minute = np.arange(minutes)
    day = np.sin(2 * np.pi * (minute / 1440 - 0.3)).clip(0) * (minute // 1440 < 5)
    backup = (minute % 1440 >= 150) & (minute % 1440 < 190)
    noise = random.normal(size=(4, len(minute)))
    busy = (10 + 50 * day + 8 * noise[0] + 20 * (random.random(len(minute)) < 0.01)).clip(0, 100)
    busy[backup] = 80 + noise[3, backup]
    level = (70.0, 85.0, 92.0)[host]  # the last one is a large disk
    disk = level + minute % 1440 / 1440 * 1.5 + minute / 1440 * 0.1 + backup * 0.5
    memory = (55 + 15 * day + 2 * noise[1], 86 + 1.5 * noise[1], 40 + 10 * day + noise[1])[host]
    still = dict(HOST)
    found = {name: np.full(len(minute), value) for name, value in still.items()}
    return found | {
        "cpu.busy_pct": busy, "load.15m": busy / 25 + backup, "mem.used_pct": memory.clip(0, 100),
        "fs./.used_pct": disk, "fs./.free_bytes": (100 - disk) / 100 * (1e11, 2e11, 8e12)[host],
        "swap.used_pct": np.full(len(minute), 30.0 * host), "temp.cpu_celsius": 45 + busy / 4 + noise[2],
        "net.eth0.errors_per_s": (random.random(len(minute)) < 1e-3) / 60, "sys.uptime_s": 1e6 + minute * 60.0,
        "cpu.steal_pct": np.abs(noise[3]), "clock.offset_s": noise[3] * 1e-3,
    }  # fmt: skip


@pytest.mark.slow
def test_normal_work_tells_nothing(tmp_path: Path) -> None:
    """Three hosts; also of the alarms that are shown only. A week takes minutes, and tells nothing either."""
    minutes = 30 * 60
    file = tmp_path / "linemon.toml"
    notify = '[[notify]]\nname = "all"\nkind = "command"\nargv = ["true"]\n'
    file.write_text(f'[store]\npath = "{tmp_path}/store"\npoints = {minutes}\n{notify}')
    config, writer = load(file), StoreWriter(tmp_path / "store", minutes, 10)
    oldest = int(time.time()) // 60 * 60 - minutes * 60
    for host in range(3):
        columns = normal(host, minutes, np.random.default_rng(host))
        ring = writer.bind(f"host{host}", tuple(columns), ("",) * len(columns))
        rows = np.column_stack((np.zeros(minutes), *columns.values()))
        rows.view(np.int64)[:, 0] = (oldest + 60 * np.arange(minutes)) * S
        for part in np.split(rows, 5):
            ring.arena.append_to(ring.entry.slot, part.view(np.int64))
    by_rows = [rule for rule in rules(config) if not rule.terms.by_clock]  # others judge 600,000 seconds: minutes
    result = trial(Store(tmp_path / "store"), config, by_rows, None)
    writer.close()
    assert result.span_s > (minutes - 144) * 60
    assert result.events == []


TASKS = """
[[task]]
name = "normal"
run = "linemon:normal"
inputs = ["*:*"]
when = "daily at 02:30"

[[task]]
name = "strange"
run = "linemon:strange"
inputs = ["*:*"]
when = "rows"

[[alarm]]
name = "not normal"
columns = "*.pct"
value = "last() - last('~normal:{1}.pct.high')"
warning = "> 0"
"""


def gives(house: House, name: str, values: dict[str, float], after_s: float = 0) -> None:
    """A row of what a task gives, of a time ahead."""
    ring = house.writer.bind(name, tuple(values), ("",) * len(values))
    row = np.array([[0.0, *values.values()]])
    row.view(np.int64)[0, 0] = house.ns + round(after_s * S)
    ring.arena.append_to(ring.entry.slot, row.view(np.int64))


def test_what_a_task_says_is_taken_at_the_time_of_the_row(house: House) -> None:
    """Although it lies ahead, and the column itself is as before; of two rows of one time the later one counts."""
    house.configure(TASKS)
    house.start()
    for at, high in ((0, 70.0), (60, 70.0), (120, 40.0), (60, 90.0), (120, 50.0), (180, 90.0)):
        gives(house, "web1~normal", {"cpu.pct.high": high}, at)
    steady = {"cpu.pct": 60.0, "mem.pct": 60.0}
    house.live(119, web1=steady)
    assert not house.told
    house.live(10, web1=steady)
    assert house.said == [("not normal", "web1", "warning")]
    house.live(120, web1=steady)
    assert house.said[1:] == [("not normal", "web1", "ok")]
    assert {each.column for each in house.told} == {"cpu.pct"}


def test_what_a_task_says_no_more_is_unknown(house: House) -> None:
    """A prediction that ended is none: the alarm does not go by it."""
    house.configure(TASKS)
    house.start()
    for at in (0, 60, 120):
        gives(house, "web1~normal", {"cpu.pct.high": 70.0}, at)
    house.live(400, web1={"cpu.pct": 60.0})
    house.live(60, web1={"cpu.pct": 99.0})
    assert not house.told


def test_a_window_of_what_a_task_says(house: House) -> None:
    house.configure(TASKS.replace("not normal", "mean").replace("last('", "mean(2m, '"))
    house.start()
    for at in range(0, 300, 60):
        gives(house, "web1~normal", {"cpu.pct.high": float(at)}, at)
    house.live(59, web1={"cpu.pct": 100.0})
    assert not house.told  # not half of the window is there
    house.live(120, web1={"cpu.pct": 100.0})
    assert house.said == [("mean", "web1", "warning")]
    house.live(5, web1={"cpu.pct": 100.0})
    assert house.said[1:] == [("mean", "web1", "ok")]


def test_strange_columns_and_tasks_that_fail(house: House) -> None:
    """The alarms that come for tasks; that of `strange` only where there is one."""
    assert "strange" not in {rule.name for rule in rules(house.config)}
    house.configure(TASKS + '[[alarm]]\nname = "strange"\nnotify = ["all"]\n')
    house.start()
    for count, failing in ((0, 0), (4, 10), (0, 0)):
        gives(house, "web1~strange", {"strange_columns": count})
        house.rows("linemon.tasks", {"my task.failing": failing, "other.failing": 3})
        house.live(5, web1={"cpu": 1.0})
    alarms = ("strange", "web1"), ("task fails", "linemon.tasks")
    assert set(house.said) == {(*each, kind) for each in alarms for kind in ("warning", "ok")}
    [text] = [each.text for each in house.told if (each.alarm, each.kind) == ("task fails", "warning")]
    assert text == "task my task failed 10 times in a row; `linemon tasks` says why"


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("last('~normal')", "'~normal': expected a task and a column, such as '~normal:cpu.busy_pct.high'"),
        ("last('~other:cpu')", "no \\[\\[task\\]\\] has the name 'other'"),
    ],
)
def test_a_task_that_is_not_there(tmp_path: Path, value: str, says: str) -> None:
    file = tmp_path / "linemon.toml"
    file.write_text(TASKS + f'[[alarm]]\nname = "x"\ncolumns = "a"\nvalue = "{value}"\nwarning = "> 0"\n')
    with pytest.raises(ConfigError, match=says):
        rules(load(file))


def test_a_forward_that_is_behind_or_refused(house: House) -> None:
    """Told of once each; a forward that is well raises nothing."""
    well = {"behind_s": 0.4, "sent": 1000.0, "refused": 3.0, "missed": 0.0}
    house.live(600, 10, **{"linemon.forward.it": well})
    assert house.said == []
    house.live(60, 10, **{"linemon.forward.it": well | {"behind_s": 901.0, "refused": 8.0}})
    texts = {each.alarm: each.text for each in house.told}
    assert texts["forward behind"] == "linemon.forward.it is 901 s behind; `linemon status` says why"
    assert texts["forward refused"].startswith("linemon.forward.it: the far side refused 5 rows")


def test_a_subscription_that_loses_messages(house: House) -> None:
    well = {"behind_s": 0.4, "messages": 1000.0, "lost": 3.0, "refused": 0.0}
    house.live(600, 10, **{"linemon.subscribe.it": well})
    assert house.said == []
    house.live(60, 10, **{"linemon.subscribe.it": well | {"lost": 8.0}})
    texts = {each.alarm: each.text for each in house.told}
    assert texts["subscription lost"].startswith("linemon.subscribe.it: 5 messages were dropped over there")
