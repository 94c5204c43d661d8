"""What people ask of the devices, by the socket beside the rings and by HTTP: the list, wishes, whom to refuse."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from linemon.errors import LinemonError
from linemon.lines.devices import Devices
from linemon.store.describe import natural
from linemon.store.devices import Device
from linemon.when import iso_ns

AT_ONCE: Final = 100  # devices


def described(devices: Devices, device: Device) -> dict[str, Any]:
    """All there is to say of a device, as JSON has it. Times are ISO 8601."""
    spec = devices.specs.find(device.product)
    return {
        "name": device.name,
        "product": device.product,
        "serial": device.serial,
        "wanted": device.wanted or None,
        "address": device.address or None,
        "connected": device.connected,
        "since": iso_ns(device.since) if device.since else None,
        "spec": {"version": device.spec or None, "offered": spec.version if spec else None},
        "desired": device.desired,
        "reported": device.reported,
        "version": device.version,
        "reported_version": device.reported_version,
        "waiting_since": None if device.has_answered else iso_ns(device.wished),
        "refused": device.refused,
        "blocked": device.blocked,
        "foreign": device.foreign,
        "clone": device.clone or None,
    }


def set_settings(devices: Devices, device: Device, changes: Any, now: int) -> dict[str, Any]:
    """Wish for settings, an object in which null takes a wish back. LineError if they are none."""
    devices.wish(device, changes, now)
    return {name: getattr(device, name) for name in ("name", "version", "desired", "reported", "refused")}


def commands(
    devices: Devices, clock: Callable[[], int], rest: Callable[[], Awaitable[None]]
) -> dict[str, Callable[[dict[str, Any]], Awaitable[list[Any]]]]:
    """What the collector does for its own user. Each takes an object with `name`, of a device or a pattern.

    `rest` lets others have their turn.
    """

    def of_each(do: Callable[[Device, dict[str, Any]], Any]) -> Callable[[dict[str, Any]], Awaitable[list[Any]]]:
        async def work(request: dict[str, Any]) -> list[Any]:
            name, done = request.get("name"), []
            fitting = list(devices.book) if name is None else list(devices.matching(str(name)))
            if not fitting and name is not None:
                raise LinemonError(f"no device fits {name!r}; `linemon devices` lists them")
            for number, device in enumerate(sorted(fitting, key=lambda each: natural(each.name)), 1):
                done.append(do(device, request))
                if number % AT_ONCE == 0:
                    await rest()
            return done

        return work

    return {
        "devices": of_each(lambda device, request: described(devices, device)),
        "set": of_each(lambda device, request: set_settings(devices, device, request["settings"], clock())),
        "block": of_each(lambda device, request: devices.block(device, True, clock())),
        "unblock": of_each(lambda device, request: devices.block(device, False, clock())),
        "forget": of_each(lambda device, request: devices.forget(device, clock())),
    }
