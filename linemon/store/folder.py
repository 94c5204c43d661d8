"""The folder of a store: whose it is, who writes to it, and which store of which machine it is."""

from __future__ import annotations

import base64
import fcntl
import hashlib
import os
from contextlib import suppress
from pathlib import Path

from linemon.errors import StoreError


def own_folder(folder: Path, mode: int) -> None:
    """Make sure that the folder exists and that nobody else could have put things into it."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        stat = folder.stat()
        if stat.st_uid != os.getuid():
            raise StoreError(f"{folder} belongs to another user: set [store] path to a folder of yours")
        folder.chmod(stat.st_mode | mode)
    except OSError as error:
        raise StoreError(f"cannot use {folder} as the store: {error.strerror}") from error


def lock(folder: Path, mode: int) -> int:
    """Be the only writer: a lock that the system gives back when the process ends, however it ends."""
    fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, mode)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = os.read(fd, 32).decode(errors="replace").strip()
        os.close(fd)
        raise StoreError(
            f"another collector (process {pid}) writes to {folder}: stop it, or set [store] path to another folder"
        ) from None
    os.ftruncate(fd, 0)
    os.write(fd, f"{os.getpid()}\n".encode())
    return fd


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
