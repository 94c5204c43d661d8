"""What people ask of the devices, by the socket beside the rings and by HTTP: the list, wishes, whom to refuse."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from linemon.errors import LinemonError
from linemon.lines.devices import Devices
from linemon.store.devices import Device
from linemon.when import iso_ns


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


def commands(devices: Devices, clock: Callable[[], int]) -> dict[str, Callable[[dict[str, Any]], Awaitable[Any]]]:
    """What the collector does for its own user. Each takes an object with `name`, of a device or a pattern."""

    def found(request: dict[str, Any]) -> list[Device]:
        name = request.get("name", "*")
        if not (fitting := list(devices.matching(str(name)))):
            raise LinemonError(f"no device fits {name!r}; `linemon devices` lists them")
        return fitting

    async def listed(request: dict[str, Any]) -> list[dict[str, Any]]:
        known = found(request) if "name" in request else list(devices.book)
        return [described(devices, device) for device in sorted(known, key=lambda each: each.name)]

    async def wish(request: dict[str, Any]) -> list[dict[str, Any]]:
        return [set_settings(devices, device, request["settings"], clock()) for device in found(request)]

    async def block(request: dict[str, Any]) -> None:
        for device in found(request):
            devices.block(device, True, clock())

    async def unblock(request: dict[str, Any]) -> None:
        for device in found(request):
            devices.block(device, False, clock())

    async def forget(request: dict[str, Any]) -> None:
        for device in found(request):
            devices.forget(device, clock())

    return {"devices": listed, "set": wish, "block": block, "unblock": unblock, "forget": forget}
