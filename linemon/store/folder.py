"""The folder of a store: whose it is, who writes to it, and which store of which machine it is."""

from __future__ import annotations

import base64
import hashlib
import os
from contextlib import suppress
from pathlib import Path

from linemon import locks
from linemon.config import default_folder
from linemon.errors import StoreError
from linemon.store.ring import PAGE_BYTES, slot_bytes, step_bytes

OTHERS_WRITE = 0o022
KEY = "work.key"  # beside the rings, for its owner only: who shows it may write what parts of `linemon work` write


def own_folder(folder: Path, mode: int) -> None:
    """Make sure that the folder exists and that nobody else could have put things into it."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        link, stat = folder.lstat(), folder.stat()
        if stat.st_uid != os.getuid() or link.st_uid not in (os.getuid(), 0):  # a link of root's is one that root meant
            raise StoreError(f"{folder} belongs to another user: set [store] path to a folder of yours")
        if stat.st_mode & OTHERS_WRITE:
            raise StoreError(f"others may write to {folder}: `chmod go-w` it, or set [store] path to another folder")
        folder.chmod(stat.st_mode & ~0o777 | mode)
    except OSError as error:
        raise StoreError(f"cannot use {folder} as the store: {error.strerror}") from error


def check_owner(folder: Path) -> None:
    """StoreError if the folder stands where everybody may make one, under our name, and is not ours."""
    if folder == default_folder() and folder.lstat().st_uid != os.getuid():
        raise StoreError(f"{folder} was made by another user: what it holds is not from a collector of yours")


def sources_that_fit(folder: Path, points: int, columns: int) -> int:
    """How many sources of so many columns the file system has room for, all rings full, in place of what is there."""
    there = next(each for each in (folder, *folder.absolute().parents) if each.is_dir())
    disk = os.statvfs(there)
    free = disk.f_bavail * disk.f_frsize + sum(path.stat().st_blocks * 512 for path in folder.glob("*.ring"))
    grown = step_bytes(slot_bytes(columns, points))
    return max(0, free - PAGE_BYTES) // grown * (grown // slot_bytes(columns, points))


def lock(folder: Path, mode: int) -> int:
    """Be the only writer: a lock that the system gives back when the process ends, however it ends."""
    try:
        return locks.take(folder / "lock", mode)
    except locks.Taken as error:
        raise StoreError(
            f"another collector ({error}) writes to {folder}: stop it, or set [store] path to another folder"
        ) from None


def replace_file(path: Path, data: bytes, mode: int, is_synced: bool = False) -> int:
    """Put a file in this place, of whatever was there, in one step; its open file descriptor is the caller's.

    `is_synced`: also if the power goes, one of the two is there whole.
    """
    draft = path.with_name(f"{path.name}.new")
    fd = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        os.fchmod(fd, mode)
        write_all(fd, data)
        if is_synced:
            os.fsync(fd)
        draft.rename(path)
    except BaseException:
        os.close(fd)
        raise
    return fd


def write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def read_key(folder: Path) -> str:
    """The secret of `work.key`; empty where there is none."""
    return _read(str(folder / KEY))


def keep_key(folder: Path) -> str:
    """The same, drawn where there was none. OSError where it cannot be written."""
    if not read_key(folder):
        os.close(replace_file(folder / KEY, os.urandom(16).hex().encode(), 0o600))
    return read_key(folder)


def draw_id() -> str:
    """Twelve characters that no other store has."""
    return base64.b32encode(os.urandom(8)).decode()[:12].lower()


def here() -> dict[str, str]:
    """`machine`, a hash of the machine's id (the id itself is not for others), and `boot`; empty where unknown."""
    machine = _read("/etc/machine-id")
    return {
        "machine": hashlib.sha256(b"linemon " + machine.encode()).hexdigest()[:16] if machine else "",
        "boot": _read("/proc/sys/kernel/random/boot_id"),
    }


def _read(path: str) -> str:
    with suppress(OSError, UnicodeDecodeError):
        return Path(path).read_text().strip()
    return ""
