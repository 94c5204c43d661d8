"""Sockets in use, by protocol and state."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

HELP = "sockets in use, by protocol and state"
SLOW = True
SOCKETS = {
    ("sockstat", "sockets:", "used"): "sockets.used",
    ("sockstat", "TCP:", "inuse"): "sockets.tcp_inuse",
    ("sockstat", "TCP:", "orphan"): "sockets.tcp_orphan",
    ("sockstat", "TCP:", "tw"): "sockets.tcp_time_wait",
    ("sockstat", "UDP:", "inuse"): "sockets.udp_inuse",
    ("sockstat6", "TCP6:", "inuse"): "sockets.tcp6_inuse",
    ("sockstat6", "UDP6:", "inuse"): "sockets.udp6_inuse",
}


class Probe:
    """The columns of `SOCKETS`."""

    def __init__(self, ps: Any, log: Callable[[str], None], system: str = "/") -> None:
        self._net = os.path.join(system, "proc", "net")

    def __call__(self, now: float) -> dict[str, float]:
        """Sockets in use, as /proc/net says: psutil would look at every file of every process."""
        values: dict[str, float] = {}
        for file in ("sockstat", "sockstat6"):
            try:
                with open(os.path.join(self._net, file)) as lines:
                    for line in lines:
                        kind, *pairs = line.split()
                        for key, count in zip(pairs[::2], pairs[1::2]):
                            column = SOCKETS.get((file, kind, key))
                            if column:
                                values[column] = float(count)
            except FileNotFoundError:
                if file == "sockstat":  # without the other there is only no IPv6
                    raise
        return values
