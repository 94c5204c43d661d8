"""Temperatures, each named by the device that it belongs to: a disk that is unplugged hands its name to no other."""

from __future__ import annotations

import os
from contextlib import suppress

from agent.devices import first_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def temperatures(ps: Any, system: str) -> dict[str, float]:
    """Degrees Celsius by name: chip, device and label. Where the kernel has no hwmon, as psutil names them."""
    folder = os.path.join(system, "sys/class/hwmon")
    readings: dict[str, float] = {}
    try:
        chips = sorted(os.listdir(folder))
    except OSError:
        chips = []
    for chip in chips:
        readings.update(_chip(os.path.join(folder, chip)))
    return readings if chips else _by_psutil(ps)


def _chip(path: str) -> dict[str, float]:
    """What one chip measures; what it cannot say now is left out."""
    readings: dict[str, float] = {}
    device = os.path.join(path, "device")
    name, labels = "", set()
    for folder in (path, device):  # old kernels have the files there
        try:
            files = os.listdir(folder)
        except OSError:
            continue
        numbers = sorted([int(file[4:-6]) for file in files if _is_input(file)])
        for number in numbers:
            name = name or _name(first_line(os.path.join(folder, "name")), device)
            label = first_line(os.path.join(folder, f"temp{number}_label"))
            if not label or label in labels:
                label = ".".join([part for part in (label, str(number) if number > 1 else "") if part])
            labels.add(label)
            value = first_line(os.path.join(folder, f"temp{number}_input"))
            if value.lstrip("-").isdigit():
                readings[f"{name}.{label}" if label else name] = int(value) / 1000
        if numbers:
            break
    return readings


def _is_input(file: str) -> bool:
    return file.startswith("temp") and file.endswith("_input") and file[4:-6].isdigit()


def _name(chip: str, device: str) -> str:
    """`nvme0`, `coretemp` (the first of several), `drivetemp.sda`, `k10temp.0000-00-18.3`."""
    address = os.path.basename(os.path.realpath(device)) if os.path.exists(device) else ""
    with suppress(OSError, IndexError):  # of a disk: the name that its other columns have
        address = sorted(os.listdir(os.path.join(device, "block")))[0]
    if address in ("", f"{chip}.0") or address.startswith("thermal_zone"):  # there is one of these
        return chip
    return address if address.startswith(chip) else f"{chip}.{address.replace(':', '-')}"


def _by_psutil(ps: Any) -> dict[str, float]:
    read = getattr(ps, "sensors_temperatures", dict)
    readings: dict[str, float] = {}
    for chip, sensors in sorted(read().items()):
        for sensor in sensors:
            name = base = f"{chip}.{sensor.label}" if sensor.label else chip
            number = 1
            while name in readings:
                number += 1
                name = f"{base}.{number}"
            readings[name] = float("nan") if sensor.current is None else sensor.current
    return readings
