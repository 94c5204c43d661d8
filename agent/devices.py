"""Devices: which have columns, and which add up to what the machine moves, so that nothing is counted per layer."""

from __future__ import annotations

import os

TYPE_CHECKING = False  # typing itself would cost the agent memory
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Hashable
    from typing import Any

NAN = float("nan")
DEVICES = 16  # of a kind at a time; a host with hundreds of disks must not become hundreds of columns
EVER = 64  # in all: a column never goes away, and all columns must fit one line
GONE = 3600.0  # seconds after which a device's place is given to another
LONGEST_NAME = 255  # characters
LOOK_EVERY = 10.0  # seconds from one look at how interfaces hang together to the next
BACKWARDS = "ran backwards; it is missing where it does"  # as the log says it
HIDDEN_NICS = ("veth", "br-", "docker0", "Loopback")
HIDDEN_DISKS = ("loop", "ram", "zram")


def encode(name: str) -> str:
    """The device name as part of a column name: blanks, colons, percents and controls percent-encoded."""
    if name.isalnum():  # nearly all, in every row
        return name
    return "".join(
        "".join(f"%{byte:02X}" for byte in char.encode("utf-8", "surrogateescape"))
        if char in ":%" or char.isspace() or not char.isprintable()
        else char
        for char in name
    )


class Rates:
    """Counters to change per second, by device and name; nan where a counter ran backwards.

    All of a device's run backwards when it starts anew. A single one that does is logged, once for each.
    A counter that was not there the time before has no rate yet.
    """

    def __init__(self, log: Callable[[str], None] | None = None) -> None:
        self._log = log
        self._told: set[tuple[str, Hashable]] = set()
        self._then = 0.0
        self._before: dict[str, dict[Any, float]] = {}

    def __call__(self, now: float, counters: dict[str, dict[Any, float]]) -> dict[str, dict[Any, float]]:
        """`counters`: new dicts each time, as they are kept until the next."""
        elapsed, before = now - self._then, self._before
        self._then, self._before = now, counters
        if elapsed <= 0:
            return {}
        rates = {}
        for device, counts in counters.items():
            was = before.get(device)
            if was:
                each = {name: (count - was[name]) / elapsed for name, count in counts.items() if name in was}
                if each and min(each.values()) < 0:
                    self._mend(device, each)
                rates[device] = each
        return rates

    def _mend(self, device: str, rates: dict[Any, float]) -> None:
        goes_on = max(rates.values()) > 0
        for name in [name for name, rate in rates.items() if rate < 0]:
            rates[name] = NAN
            if self._log and goes_on and (device, name) not in self._told:
                self._told.add((device, name))
                self._log(f"{device} {name}: its counter {BACKWARDS}".lstrip())


class Places:
    """Who of a kind has columns: at most DEVICES at a time, those with hardware before all others."""

    def __init__(self, kind: str, log: Callable[[str], None], most: int = DEVICES, ever: int = EVER) -> None:
        """`kind`: what they are, in the plural."""
        self._kind, self._log, self._most, self._ever = kind, log, most, ever
        self._seen: dict[str, float] = {}  # who holds a place, and when it was last there
        self._known: set[str] = set()  # who ever did
        self._crowded = False
        self._asked: tuple[list[str], Collection[str]] = [], ()  # the last question,
        self._admitted: list[str] = []  # its answer
        self._at = 0.0  # and when it was last asked

    def admit(self, now: float, names: list[str], hardware: Collection[str] = ()) -> list[str]:
        """Those of the devices that are there now which have columns."""
        if (names, hardware) != self._asked or len(self._admitted) < len(names):
            self._seen.update(dict.fromkeys(self._admitted, self._at))
            self._seen = {name: at for name, at in self._seen.items() if now - at <= GONE}
            self._asked, self._at = (names, hardware), now
            self._admitted = [
                name for name in sorted(names, key=lambda name: name not in hardware) if self._admits(name, hardware)
            ]
        self._at = now
        return self._admitted

    def _admits(self, name: str, hardware: Collection[str]) -> bool:
        if len(name) > LONGEST_NAME:
            return False
        if name in self._seen or self._has_room(name, hardware):
            self._seen[name] = self._at
            self._known.add(name)
            return True
        if not self._crowded:
            self._crowded = True
            self._log(f"more than {self._most} {self._kind}: {name} and later ones get no columns")
        return False

    def held(self) -> list[str]:
        """Who holds a place, also while it is not there."""
        return list(self._seen)

    def _has_room(self, name: str, hardware: Collection[str]) -> bool:
        if name in hardware:  # what is only virtual does not keep it out
            rivals, ever = sum([each in hardware for each in self._seen]), 2 * self._ever
        else:
            rivals, ever = len(self._seen), self._ever
        return rivals < self._most and (name in self._known or len(self._known) < ever)


class Nets:
    """Network interfaces as /sys/class/net describes them: which are hardware, and which are the way out."""

    def __init__(self, system: str) -> None:
        self._folder = os.path.join(system, "sys/class/net")
        self._looked = float("-inf")
        self._there: set[str] = set()
        self._shown: list[str] = []
        self.hardware: set[str] = set()
        self.outside: set[str] = set()
        """Those that add up to what enters and leaves the machine."""

    def shown(self, now: float, counters: dict[str, Any]) -> list[str]:
        """Those that have columns, after a look at how they hang together."""
        if counters.keys() != self._there or now - self._looked >= LOOK_EVERY:
            self._there, self._looked = set(counters), now
            self._shown = sorted(counters)
            self._look()
        return self._shown

    def _look(self) -> None:
        entries: dict[str, list[str]] = {}
        for nic in self._shown:
            try:
                entries[nic] = os.listdir(os.path.join(self._folder, nic))
            except OSError:  # not Linux, or gone a moment ago
                entries[nic] = []
        self.hardware = {nic for nic in self._shown if "device" in entries[nic]}
        if self.hardware:
            self.outside = {nic for nic in self.hardware if not self._repeats(nic, entries[nic])}
            return
        # As in a container. Bridges, bonds and VLANs are made of others; tunnels travel inside others.
        lowest = {nic for nic in self._shown if not any(each.startswith("lower_") for each in entries[nic])}
        wired = {nic for nic in lowest if "tun_flags" not in entries[nic] and self._type(nic) in ("1", "")}
        self.outside = wired or lowest or set(self._shown)

    def _repeats(self, nic: str, entries: list[str]) -> bool:
        """Whether another interface with hardware counts the same bytes.

        A virtual function's are in those of its master (Hyper-V, Azure), a switch's port's in those of the interface
        that it hangs on.
        """
        if self._master(nic) in self.hardware:
            return True
        lower = [each[len("lower_") :] for each in entries if each.startswith("lower_")]
        return any(each in self.hardware and self._master(each) != nic for each in lower)

    def _type(self, nic: str) -> str:
        return first_line(os.path.join(self._folder, nic, "type"))  # 1 = Ethernet

    def _master(self, nic: str) -> str:
        try:
            return os.path.basename(os.readlink(os.path.join(self._folder, nic, "master")))
        except OSError:
            return ""


def is_shown(nic: str) -> bool:
    """Whether the interface is no loopback and none of a container."""
    return nic not in ("lo", "lo0") and not nic.startswith(HIDDEN_NICS)


class Disks:
    """Whole disks, as /sys/block describes them."""

    def __init__(self, system: str) -> None:
        self._folder = os.path.join(system, "sys/block")
        self._seen: set[str] = set()
        self._whole: list[str] = []
        self.hardware: set[str] = set()
        self.outside: set[str] = set()
        """Those that add up to what the machine reads and writes."""

    def whole(self, counters: dict[str, Any]) -> list[str]:
        """Those whose counters are not counted in another disk's again."""
        if counters.keys() != self._seen:
            self._seen = set(counters)
            self._whole = sorted([disk for disk in counters if self._is_whole(disk)])
            self.hardware = {disk for disk in self._whole if os.path.exists(os.path.join(self._path(disk), "device"))}
            # A volume of ZFS, DRBD or bcache is written to disks that are hardware, which /sys does not always say.
            self.outside = self.hardware or set(self._whole)
        return self._whole

    def _path(self, disk: str) -> str:
        return os.path.join(self._folder, disk.replace("/", "!"))

    def _is_whole(self, disk: str) -> bool:
        """Partitions are part of their disk; LVM, RAID and encrypted volumes sit on others (their slaves)."""
        if not os.path.isdir(self._folder):  # not Linux: psutil lists whole disks only
            return True
        folder = self._path(disk)
        slaves = os.path.join(folder, "slaves")
        if not os.path.isdir(folder) or (os.path.isdir(slaves) and os.listdir(slaves)):
            return False
        return first_line(os.path.join(folder, "hidden")) != "1"  # one path of several to a disk that is there, too


def first_line(path: str) -> str:
    """The first line of a file of /sys or /proc; empty where there is none."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.readline().strip()
    except OSError:
        return ""
