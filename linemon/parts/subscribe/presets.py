"""Maps for what common devices and programs publish, by their documentation; in each the first that fits."""

from __future__ import annotations

from typing import Final

from linemon.parts.subscribe.mapping import Map
from linemon.sections import MapConfig

OF_ZIGBEE: Final = "^zigbee2mqtt/bridge/|/(set|get)(/|$)"  # what is no state of a device
OF_OTHERS: Final = "^(tele|zigbee2mqtt|shellies|homeassistant|homie|telegraf)/"  # where a device's name may come first
PRESETS: Final[dict[str, tuple[Map, ...]]] = {
    "tasmota": (
        Map(MapConfig("tele/{d}/SENSOR", "tasmota.{d}")),
        Map(MapConfig("tele/{d}/STATE", "tasmota.{d}")),
    ),
    "zigbee2mqtt": (Map(MapConfig("zigbee2mqtt/{name...}", "zigbee.{name}"), unless=OF_ZIGBEE),),
    "shelly": (
        Map(MapConfig("shellies/{d}/{rest...}", "shelly.{d}.{rest}"), unless="/(command|set)$"),
        Map(MapConfig("{d}/status/{c}", "shelly.{d}.{c}"), unless=OF_OTHERS),
    ),
    "esphome": (
        Map(MapConfig("{d}/sensor/{s}/state", "esphome.{d}.{s}"), unless=OF_OTHERS),
        Map(MapConfig("{d}/binary_sensor/{s}/state", "esphome.{d}.{s}"), unless=OF_OTHERS),
    ),
    "homeassistant": (Map(MapConfig("homeassistant/{domain}/{object}/state", "ha.{domain}.{object}")),),
    "homie": (Map(MapConfig("homie/{d}/{node}/{prop}", "homie.{d}.{node}.{prop}"), unless=r"/\$"),),
    "telegraf": (Map(MapConfig("telegraf/{rest...}", payload="influx")),),
    "sys": (Map(MapConfig("$SYS/{name...}", "{name}")),),
}
