"""The devices that registered: who they are, what is wished of them, what they said. docs/STORE.md has the format.

`devices.json` is a journal: a line is all that is kept of one device, and the last one of each counts.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from linemon import locks
from linemon.errors import LineError, StoreError
from linemon.store.folder import replace_file
from linemon.store.journal import Journal, append, line_of

log = logging.getLogger(__name__)

DEVICES: Final = "devices.json"
LOCK: Final = "devices.lock"
MODE: Final = 0o600  # hashes of secrets are in it
SPARE_LINES: Final = 1000  # beyond two a device: then the file is made anew
KEPT: Final = (
    "product", "serial", "name", "wanted", "desired", "version", "wished", "reported", "reported_version", "refused",
    "spec", "token", "token_shown", "blocked",
)  # fmt: skip

Key = tuple[str, str]  # product and serial
Settings = dict[str, Any]


@dataclass(eq=False)
class Device:
    """One device; from `address` on what is known of it since the collector started."""

    product: str
    serial: str
    name: str  # of its source, for ever
    wanted: str = ""  # the name it asked for, where another device has that
    desired: Settings = field(default_factory=dict)
    version: int = 0  # of `desired`: one more with each change
    wished: int = 0  # when that was (ns)
    reported: Settings = field(default_factory=dict)
    reported_version: int = 0  # which version of `desired` that answers; 0: none, it came with these
    refused: dict[str, str] = field(default_factory=dict)  # why it does not set what is wished
    spec: str = ""  # the version of the spec that its rows are made by
    token: str = ""  # SHA-256 of its own, in hex
    token_shown: bool = False  # by the device: it has it for sure
    blocked: bool = False

    address: str = ""
    connected: bool = False
    since: int = 0  # when (ns) it connected, or was heard last; 0: not yet
    clone: str = ""  # another address, from where somebody says to be this device
    foreign: int = 0  # connections of others that wrote rows to its source

    @property
    def key(self) -> Key:
        return self.product, self.serial

    @property
    def has_answered(self) -> bool:
        """Whether there is nothing to set: it answered the last wish, or came with all that is wished."""
        if self.reported_version:
            return self.reported_version >= self.version
        missing = object()
        return not self.version or all(self.reported.get(key, missing) == value for key, value in self.desired.items())


class Registered:
    """The names of the sources of registered devices, for others than the collector."""

    def __init__(self, folder: Path) -> None:
        self._journal, self._of = Journal(folder / DEVICES), dict[Key, str]()
        self._names = frozenset[str]()

    def look(self) -> frozenset[str]:
        """As they are now; the same object while they stay the same. None where the file is not there, or not ours."""
        before = self._journal.state
        try:
            is_new, found = self._journal.read_on()
        except (OSError, StoreError):
            return self._names
        if is_new:
            self._of.clear()
        for fields in found:
            key = str(fields.get("product")), str(fields.get("serial"))
            self._of.pop(key, None)
            if "name" in fields:
                self._of[key] = str(fields["name"])
        if self._journal.state != before and (names := frozenset(self._of.values())) != self._names:
            self._names = names
        return self._names


class DeviceBook:
    """All devices, whole after `kill -9`; without a folder they are forgotten with the process."""

    def __init__(self, folder: Path | None = None) -> None:
        """StoreError where another process has the file, or there is no way to keep one."""
        self._by_key: dict[Key, Device] = {}
        self._by_name: dict[str, Device] = {}
        self._by_token: dict[str, Device] = {}
        self._later: dict[Key, Device] = {}  # to be written with the next `flush`
        self._path = folder / DEVICES if folder else None
        self._lines = 0
        self._lock = -1
        if folder and self._path:
            try:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._lock = locks.take(folder / LOCK)
                self._load(self._path)
            except locks.Taken as error:
                raise StoreError(f"another collector ({error}) has {self._path}: set [devices] path") from None
            except OSError as error:
                raise StoreError(f"cannot keep devices in {folder}: {error.strerror}: set [devices] path") from error

    @property
    def count(self) -> int:
        return len(self._by_key)

    def __iter__(self) -> Iterator[Device]:
        return iter(list(self._by_key.values()))

    def get(self, key: Key) -> Device | None:
        return self._by_key.get(key)

    def named(self, name: str) -> Device | None:
        """The device whose source is called so."""
        return self._by_name.get(name)

    def of_token(self, digest: str) -> Device | None:
        """The device whose own token has this SHA-256."""
        return self._by_token.get(digest)

    def keep(self, device: Device, token: str | None = None) -> None:
        """Write down what is known of it now, and that this is its token's SHA-256.

        LineError `store_full` where that cannot be written; what is there stays then.
        """
        fields = {name: getattr(device, name) for name in KEPT}
        if token is not None:
            fields |= {"token": token, "token_shown": False}
        self._write(fields)
        self._remove(device.key)
        device.token, device.token_shown = fields["token"], fields["token_shown"]
        self._add(device)
        self._tidy()

    def keep_later(self, device: Device) -> None:
        """The same with the next `flush`: of what a device says often."""
        self._later[device.key] = device

    def forget(self, device: Device) -> None:
        """Know nothing more of it; of one that is blocked, who it is. LineError as `keep`."""
        if device.blocked:
            return self.keep(Device(*device.key, device.name, blocked=True))
        self._write({"product": device.product, "serial": device.serial, "gone": True})
        self._remove(device.key)
        return self._tidy()

    def flush(self) -> None:
        """Write down what waits for it; where the disk has no room it waits on."""
        with suppress(LineError):
            for device in list(self._later.values()):
                self.keep(device)

    def close(self) -> None:
        self.flush()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _add(self, device: Device) -> None:
        self._by_key[device.key] = device
        self._by_name[device.name] = device
        if device.token:
            self._by_token[device.token] = device

    def _remove(self, key: Key) -> None:
        self._later.pop(key, None)
        if device := self._by_key.pop(key, None):
            self._by_name.pop(device.name, None)
            self._by_token.pop(device.token, None)

    def _load(self, path: Path) -> None:
        journal = Journal(path)
        try:
            _, found = journal.read_on()
        except FileNotFoundError:
            return
        finally:
            journal.close()
        for fields in found:
            try:
                if fields.get("gone"):
                    self._remove((fields["product"], fields["serial"]))
                else:
                    device = Device(**{name: fields[name] for name in KEPT if name in fields})
                    self._remove(device.key)
                    self._add(device)
            except (KeyError, TypeError):
                journal.damaged += 1
        self._lines = journal.lines
        if journal.damaged:
            aside = path.with_name(f"{path.name}.damaged")
            log.error("%s: %d damaged lines are dropped; it is kept as %s", path, journal.damaged, aside)
            path.rename(aside)
        if journal.damaged or journal.is_cut:
            self._rewrite(path)

    def _write(self, fields: dict[str, Any]) -> None:
        """Add a line. LineError `store_full`."""
        if not self._path:
            return
        try:
            fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, MODE)
            try:
                append(fd, line_of(fields))
            finally:
                os.close(fd)
        except OSError as error:
            raise LineError("store_full", f"cannot write {self._path}: {error.strerror}") from error
        self._lines += 1

    def _tidy(self) -> None:
        """Make the file anew where most of it counts no longer; where that cannot be, it grows on."""
        if self._path and self._lines > 2 * self.count + SPARE_LINES:
            with suppress(OSError):
                self._rewrite(self._path)

    def _rewrite(self, path: Path) -> None:
        """Replace the file by one that holds only what counts."""
        data = b"".join(line_of({name: getattr(device, name) for name in KEPT}) for device in self)
        os.close(replace_file(path, data, MODE, is_synced=True))
        self._lines = data.count(b"\n")
