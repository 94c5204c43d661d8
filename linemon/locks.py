"""Files that one process at a time may hold. The system takes a lock back when its process ends, however it ends."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

ATTEMPTS, AGAIN_S = 5, 0.01  # who only looks whether a lock is held has it for a moment


class Taken(Exception):
    """Another process holds the lock; the text is ``process 4711``."""


def take(path: Path, mode: int = 0o600) -> int:
    """Hold the lock until the file descriptor that is returned is closed. `Taken` says who has it."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, mode)
    for attempt in range(ATTEMPTS):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if attempt == ATTEMPTS - 1:
                pid = os.read(fd, 32).decode(errors="replace").strip()
                os.close(fd)
                raise Taken(f"process {pid}") from None
            time.sleep(AGAIN_S)
    os.ftruncate(fd, 0)
    os.write(fd, f"{os.getpid()}\n".encode())
    return fd


def is_taken(path: Path) -> bool:
    """Whether some process holds it."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False
