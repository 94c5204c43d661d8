"""What others publish by MQTT, taken from a real broker and stored by a real collector."""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt import client as paho

from linemon.config import load
from linemon.errors import ConfigError
from linemon.parts.subscribe.mapping import Map, Unreadable, covers, filters
from linemon.parts.subscribe.origins import build
from linemon.parts.subscribe.presets import PRESETS
from linemon.sections import MapConfig
from linemon.store.status import read_part
from tests.running import Running, Work, eventually
from tests.sinks import Broker

# As the devices' and programs' own documentation has them: preset, topic, payload, and the lines that they become.
PUBLISHED: list[tuple[str, str, str, list[str]]] = [
    (
        "tasmota",
        "tele/kitchen/SENSOR",
        '{"Time":"2026-11-25T10:00:00","DS18B20":{"Id":"0000081","Temperature":20.6},"TempUnit":"C"}',
        ["#source tasmota.kitchen", '{"DS18B20": {"Temperature": 20.6}}'],
    ),
    (
        "tasmota",
        "tele/plug/STATE",
        '{"Time":"2026-11-25T10:00:00","UptimeSec":94,"POWER":"ON","Wifi":{"RSSI":82}}',
        ["#source tasmota.plug", '{"UptimeSec": 94, "POWER": 1.0, "Wifi": {"RSSI": 82}}'],
    ),
    (
        "zigbee2mqtt",
        "zigbee2mqtt/floor 1/bath",
        '{"battery":97,"humidity":54.1,"temperature":21.3,"linkquality":120,"state":"OFF","last_seen":"x"}',
        [
            "#source zigbee.floor_1.bath",
            '{"battery": 97, "humidity": 54.1, "temperature": 21.3, "linkquality": 120, "state": 0.0}',
        ],
    ),
    (
        "zigbee2mqtt",
        "zigbee2mqtt/bath/availability",
        '{"state":"online"}',
        ["#source zigbee.bath.availability", '{"state": 1.0}'],
    ),
    ("shelly", "shellies/shelly1-B929CC/relay/0", "on", ["shelly.shelly1-B929CC.relay.0 1.0"]),
    ("shelly", "shellies/shellyht-1/sensor/temperature", "21.88", ["shelly.shellyht-1.sensor.temperature 21.88"]),
    (
        "shelly",
        "shellyplus1-a8/status/switch:0",
        '{"id":0,"output":false,"apower":8.9,"aenergy":{"total":6.5,"by_minute":[0.1,0.2],"minute_ts":1626935739}}',
        [
            "#source shelly.shellyplus1-a8.switch_0",
            '{"id": 0, "output": false, "apower": 8.9, '
            '"aenergy": {"total": 6.5, "by_minute": {"0": 0.1, "1": 0.2}, "minute_ts": 1626935739}}',
        ],
    ),
    ("esphome", "livingroom/sensor/co2/state", "612", ["esphome.livingroom.co2 612"]),
    ("esphome", "hall/binary_sensor/motion/state", "ON", ["esphome.hall.motion 1.0"]),
    ("homeassistant", "homeassistant/sensor/outside_temperature/state", "7.4", ["ha.sensor.outside_temperature 7.4"]),
    ("homie", "homie/super-car/engine/temperature", "21.5", ["homie.super-car.engine.temperature 21.5"]),
    ("homie", "homie/super-car/lights/power", "true", ["homie.super-car.lights.power 1.0"]),
    (
        "telegraf",
        "telegraf/h7/cpu",
        "cpu,cpu=cpu0,host=h7 usage_idle=98.2,usage_user=1i 1700000000000000000\n",
        ["cpu,cpu=cpu0,host=h7 usage_idle=98.2,usage_user=1i 1700000000000000000"],
    ),
    ("sys", "$SYS/broker/clients/connected", "3", ["broker.clients.connected 3"]),
]
NOT_MEANT = [
    ("zigbee2mqtt", "zigbee2mqtt/bridge/state"),
    ("zigbee2mqtt", "zigbee2mqtt/bath/set"),
    ("shelly", "shellies/shelly1-B929CC/relay/0/command"),
    ("homeassistant", "homeassistant/sensor/x/config"),
    ("esphome", "homeassistant/sensor/x/state"),
    ("esphome", "homeassistant/binary_sensor/x/state"),
    ("shelly", "zigbee2mqtt/status/bath"),
    ("homie", "homie/super-car/$nodes/x"),
    ("tasmota", "tele/kitchen/LWT"),
]


def find(preset: str, topic: str) -> tuple[Map, str] | None:
    found = [(each, each.source(topic)) for each in PRESETS[preset]]
    return next(((each, source) for each, source in found if source is not None), None)


@pytest.mark.parametrize(("preset", "topic", "payload", "lines"), PUBLISHED, ids=lambda value: str(value)[:40])
def test_what_devices_publish(preset: str, topic: str, payload: str, lines: list[str]) -> None:
    found = find(preset, topic)
    assert found
    assert found[0].lines(found[1], payload) == lines


@pytest.mark.parametrize(("preset", "topic"), NOT_MEANT)
def test_what_is_no_state_of_a_device(preset: str, topic: str) -> None:
    assert find(preset, topic) is None


def test_maps() -> None:
    """Places, the time, what is skipped, texts of one's own, names that are none of a metric."""
    plant = Map(
        MapConfig(
            "plant/{line}/{name...}", "{line}.{name}", time="meta.at", skip=("*.rssi", "*.in.x"), texts={"open": 7}
        )
    )
    assert plant.filter == "plant/+/#"
    assert plant.source("plant/l1/a/b c") == "l1.a.b_c"
    assert [plant.source(topic) for topic in ("plant/l1", "other/l1/a", "plant/l1/")] == [None, None, None]
    text = '{"meta": {"at": 1700000000}, "rssi": -70, "in": {"x": 1, "y": 2}, "door": "OPEN", "ts": 5, "n": null}'
    said = plant.lines("l1.a", text)
    assert said == [
        "#source l1.a",
        '{"time": 1700000000, "meta": {"at": 1700000000}, "in": {"y": 2}, "door": 7.0}',
    ]
    assert plant.lines("5.7", "20") == ["#source 5.7", '{"value": 20.0}']
    assert plant.lines("nan", "20") == ["#source nan", '{"value": 20.0}']
    assert plant.lines("a.rssi", "20") == []
    for payload in ("on", "[1, 2]", "{broken", "12 V", "1_000"):
        with pytest.raises(Unreadable):
            plant.lines("x", payload)
    raw = Map(MapConfig("raw/#".replace("#", "{x...}"), "raw.{x}", payload="lines"))
    assert raw.lines("raw.a", "#token x\n1 2\n#stats\n#columns a b\n3 4") == [
        "#source raw.a",
        "1 2",
        "#columns a b",
        "3 4",
    ]


def test_filters_that_others_cover_are_not_subscribed() -> None:
    """Else some brokers send a message once for each."""
    every = [each for maps in PRESETS.values() for each in maps]
    assert len(filters(every)) == len({each.filter for each in every})
    more = [Map(MapConfig("tele/{x...}", "{x}")), *PRESETS["tasmota"], Map(MapConfig("{a}/{b}/x", "{a}"))]
    assert filters(more) == ["tele/#", "+/+/x"]
    assert covers("#", "a/b")
    assert not covers("#", "$SYS/x")
    assert not covers("a/+", "a/#")
    assert covers("a/#", "a")


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ('preset = ["x"]', "preset = 'x': expected some of: tasmota"),
        ("", "expected a preset or a [[subscribe.map]]"),
        ('[[subscribe.map]]\ntopic = "a/{x...}/b"\nsource = "s"', "expected levels that are words"),
        ('[[subscribe.map]]\ntopic = "a/#"\nsource = "s"', "expected levels that are words"),
        ('[[subscribe.map]]\ntopic = "a/{x}"\nsource = "{y}"', "source = '{y}': expected a name"),
        ('[[subscribe.map]]\ntopic = "a"\nsource = "s"\npayload = "xml"', "payload = 'xml': expected one of"),
        ('[[subscribe.map]]\ntopic = "a"\nsource = "s"\ntexts = { on = "x" }', "texts: on = 'x': expected a number"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, said: str, why: str) -> None:
    file = tmp_path / "linemon.toml"
    file.write_text(f'[[subscribe]]\nfrom = "mqtt://me:hush@broker"\n{said}\n')
    with pytest.raises(ConfigError) as error:
        build(load(file))
    assert why in str(error.value)
    assert "hush" not in str(error.value)


class House:
    """A broker, a collector, and `linemon work`."""

    def __init__(self, folder: Path, settings: str) -> None:
        self.folder = folder
        more = "allow_anonymous true\nmax_inflight_messages 0\nmax_queued_messages 0\npersistence true\n"
        self.broker = Broker(folder, f"user root\n{more}persistence_location {folder}/\nautosave_interval 1")
        subscribe = f'[[subscribe]]\nname = "it"\nfrom = "mqtt://127.0.0.1:{self.broker.port}"\n{settings}'
        self.settings = f"[history]\nenabled = false\n[alarms]\nenabled = false\n{subscribe}"
        self.collector = Running(folder / "linemon", self.settings)
        self.publisher: Any = client("publisher")
        self.publisher.reconnect_delay_set(1, 1)
        self.publisher.connect("127.0.0.1", self.broker.port)
        self.publisher.loop_start()
        self.random = random.Random(1)
        self.work = Work(self.collector.config).start()

    def begin(self) -> None:
        """Wait until it has subscribed."""
        file = self.collector.store_path / "subscribe.it.json"
        eventually(file.exists, "a subscription")

    def publish(self, topic: str, payload: str | bytes, qos: int = 1, retain: bool = False) -> None:
        said = self.publisher.publish(topic, payload, qos, retain)
        said.wait_for_publish(20)
        assert said.is_published(), self.broker.log

    def status(self) -> dict[str, Any]:
        return read_part(self.collector.store_path, "subscribe.it")

    def values(self, source: str) -> list[float]:
        return self.collector.store[source].since(0).values[:, 0].tolist() if source in self.collector.store else []

    def close(self) -> None:
        self.work.kill()
        self.publisher.disconnect()
        self.publisher.loop_stop()
        self.publisher = None  # with its sockets
        self.collector.stop()
        self.broker.close()


def client(name: str) -> Any:
    version = getattr(paho, "CallbackAPIVersion", None)
    return paho.Client(version.VERSION2, name) if version else paho.Client(name)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    settings = '[[subscribe.map]]\ntopic = "n/{name}"\nsource = "{name}"\n'
    house = House(tmp_path, 'preset = ["tasmota", "zigbee2mqtt", "telegraf"]\n' + settings)
    yield house
    house.close()


def test_messages_become_rows(house: House) -> None:
    """Of numbers, objects and lines; what cannot be stored is counted, and said to be taken."""
    house.begin()
    eventually(lambda: "away" not in house.status() and house.status(), "that it is connected")
    house.publish("n/room", "20.5")
    house.publish("tele/plug/STATE", '{"POWER": "ON", "UptimeSec": 5}')
    house.publish("telegraf/x", "cpu,host=h7 idle=98.5 1700000000000000000\ncpu,host=h8 idle=9\n")
    for topic, payload in (("n/room", "warm"), ("zigbee2mqtt/bridge/info", "{}"), ("n/room", b"\xff"), ("n/x", "")):
        house.publish(topic, payload)
    house.publish("telegraf/x", "no line\n")
    house.publish("n/room", "21.5")
    eventually(lambda: house.values("room") == [20.5, 21.5], "the rows")
    store = house.collector.store
    assert store["tasmota.plug"].columns == ("POWER", "UptimeSec")
    assert house.values("cpu,host=h7") == [98.5]
    assert house.values("cpu,host=h8") == [9.0]
    said = eventually(lambda: house.status() if house.status()["messages"] == 9 else None, "all of them")
    assert (said["unmapped"], said["unreadable"], said["rejected"]) == (1, 1, 2)
    own = eventually(lambda: store["linemon.subscribe.it"].last(1), "its own source")
    assert set(own.columns) >= {"messages", "unmapped", "unreadable", "rejected"}


def test_the_first_example_of_its_doc_runs(tmp_path: Path) -> None:
    """As docs/MQTT.md has it but for the broker's port: each of its presets takes a message."""
    example = re.search(
        r"```toml\n(.*?)```", (Path(__file__).parent.parent / "docs" / "MQTT.md").read_text(), re.DOTALL
    )
    assert example
    broker = Broker(tmp_path)
    text = example[1].replace("127.0.0.1:1883", f"127.0.0.1:{broker.port}")
    collector = Running(tmp_path / "linemon", text + "[history]\nenabled = false\n")
    work, publisher = Work(collector.config, "subscribe").start(), client("publisher")
    publisher.connect("127.0.0.1", broker.port)
    publisher.loop_start()
    asked = {preset: (topic, payload) for preset, topic, payload, _ in reversed(PUBLISHED)}
    sources = {preset: lines[0] for preset, _, _, lines in reversed(PUBLISHED)}
    presets = re.findall(r'"(\w+)"', text.partition("preset")[2].partition("\n")[0])
    try:
        for preset in presets:
            source = sources[preset].removeprefix("#source ").partition(" ")[0]

            def arrives(name: str = source, message: tuple[str, str] = asked[preset]) -> bool:
                publisher.publish(*message, 1).wait_for_publish(20)  # it may not have subscribed yet
                return collector.store[name].rows > 0

            eventually(arrives, f"a row of {preset}")
        assert len(presets) == 7
    finally:
        publisher.disconnect()
        publisher.loop_stop()
        work.kill()
        collector.stop()
        broker.close()


def test_nothing_is_lost_over_kills(house: House) -> None:
    """Of the part 25 times, of the collector, while messages come: each is stored, some perhaps twice."""
    house.begin()
    sent = 0
    for i in range(25):
        for _ in range(house.random.randint(1, 50)):
            house.publish("n/s", str(sent))
            sent += 1
        if i in (3, 17):
            house.collector.process.kill()
            house.collector.process.wait()
            house.collector.log.close()
            house.publish("n/s", str(sent))
            sent += 1
            house.collector = Running(house.folder / "linemon")
        time.sleep(house.random.random() * 0.6)  # it starts, connects, takes
        house.work.kill()
        house.publish("n/s", str(sent))
        sent += 1
        house.work.start()
    eventually(lambda: {*house.values("s")} == {*map(float, range(sent))}, "all messages", 40)


@pytest.mark.slow
def test_what_the_broker_kept_is_not_new(tmp_path: Path) -> None:
    """A retained message is no row, unless that is asked for."""
    settings = "".join(
        f'[[subscribe.map]]\ntopic = "{name}/{{x}}"\nsource = "{name}.{{x}}"\nretained = {kept}\n'
        for name, kept in (("old", "false"), ("kept", "true"))
    )
    house = House(tmp_path, settings)
    try:
        house.work.kill()
        for file in (house.collector.store_path / "subscribe.it.json",):
            file.unlink(missing_ok=True)
        for topic in ("old/x", "kept/x"):
            house.publish(topic, "1", retain=True)
        house.work.start()
        eventually(lambda: house.values("kept.x"), "what was kept")
        house.publish("old/x", "2")
        eventually(lambda: house.values("old.x") == [2.0], "what is new")
    finally:
        house.close()


def test_a_collector_without_room_gets_it_later(house: House) -> None:
    """A message is acknowledged to the broker once its line is stored: until then it waits there."""
    house.begin()
    house.collector.process.kill()
    house.collector.process.wait()
    house.collector.log.close()
    for i in range(20):
        house.publish("n/later", str(i))
    eventually(lambda: house.status().get("away"), "that the collector is away")
    house.collector = Running(house.folder / "linemon")
    eventually(lambda: [*dict.fromkeys(house.values("later"))] == [*map(float, range(20))], "all of them")
    eventually(lambda: "away" not in house.status(), "that all is well")


def test_topics_that_are_no_longer_named(house: House) -> None:
    """The broker remembers subscriptions: what linemon.toml no longer names is ended there."""
    house.begin()
    config = house.collector.config
    eventually(house.status, "its status")
    config.write_text(config.read_text().replace('topic = "n/{name}"', 'topic = "m/{name}"'))
    file = house.collector.store_path / "subscribe.it.json"
    eventually(lambda: "m/+" in json.loads(file.read_text()), "the new topic")
    house.publish("n/gone", "1")
    house.publish("m/here", "1")
    eventually(lambda: house.values("here") == [1.0], "the row")
    assert house.status()["unmapped"] == 0
