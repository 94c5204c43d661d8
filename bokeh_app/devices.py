"""The devices that registered, as the collector says by its socket: for their page, and for each one's own."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

from linemon.errors import LinemonError
from linemon.patterns import exactly
from linemon.store.asking import NotRunning, ask
from linemon.store.status import COLLECT_SOCKET

from .alarms import summary
from .page import ListPage
from .pump import Pump

LOOK_S = 1.0
NONE_S = 5.0  # where there is none: most sources are no devices
MAX_ROWS = 500  # of the list
DEVICES_PER_S = 500  # that are asked for

Device = dict[str, Any]


class Known:
    """What the collector said last, of all devices or one; it is asked anew, beside the loop, when somebody looks."""

    def __init__(self, pump: Pump, name: str | None = None) -> None:
        self._folder = pump.config.store.folder
        self._request = {"do": "devices"} | ({} if name is None else {"name": exactly(name)})
        self.devices: list[Device] = []
        self.fault: str | None = None  # why there is nothing newer
        self._due = 0.0
        self._asking: asyncio.Task[None] | None = None

    def look(self) -> None:
        """See to it that what is known is soon about a second old, where there are many a few."""
        if self._asking is None and time.monotonic() >= self._due:
            self._asking = asyncio.get_running_loop().create_task(self._ask())

    async def _ask(self) -> None:
        try:
            self.devices, self.fault = await asyncio.to_thread(ask, self._folder, self._request, COLLECT_SOCKET), None
        except NotRunning as error:
            self.fault = str(error)
        except LinemonError:
            self.devices, self.fault = [], None
        finally:
            self._due = time.monotonic() + max(LOOK_S if self.devices else NONE_S, len(self.devices) / DEVICES_PER_S)
            self._asking = None


class Own:
    """The device whose source a page shows, where it is one."""

    def __init__(self, pump: Pump, name: str) -> None:
        self._known = Known(pump, name)

    def __call__(self) -> str:
        """As JSON; empty where it is no device."""
        self._known.look()
        return json.dumps({"devices": self._known.devices}) if self._known.devices else ""


every: list[Known] = []  # what all lists share, from the first one on


def listed(pump: Pump, find: str) -> str:
    """Those that hold all words of a text, as JSON."""
    known = every[0] if every else Known(pump)
    every[:] = [known]
    known.look()
    words = find.casefold().split()
    found = [
        each
        for each in known.devices
        if all(word in f"{each['name']} {each['product']} {each['serial']}".casefold() for word in words)
    ]
    more, count = max(0, len(found) - MAX_ROWS), len(known.devices)
    return json.dumps({"devices": found[:MAX_ROWS], "more": more, "all": count, "fault": known.fault})


class DevicesPage(ListPage):
    """The server's side of an open list of devices."""

    def message(self, kind: float) -> tuple[float, list[Any]]:
        self.answers.devices = listed(self._pump, self.wishes.find)
        self.answers.alarms = json.dumps(summary(self._pump))
        return kind, []
