"""A device that is connected: what stands between its session and all the devices. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from linemon.errors import LineError
from linemon.store.devices import Device

if TYPE_CHECKING:
    from linemon.lines.session import Session


class Refusal(LineError):
    """A device is turned away: it is told why, whatever it asked for, and the connection ends."""

    def __init__(self, why: str) -> None:
        super().__init__("device", why)


class Link(Protocol):
    """The connection of a session."""

    @property
    def is_private(self) -> bool:
        """Whether a secret may be told over it."""

    def silent_s(self) -> float:
        """Seconds since something was heard of the peer."""

    def wake(self) -> None:
        """Send what the session has to say, and end where it is over."""


@dataclass(eq=False)
class Contact:
    """A device that is connected, and what of it this connection was told."""

    device: Device
    session: Session
    told_set: int = 0  # the version
    told_spec: str = ""
