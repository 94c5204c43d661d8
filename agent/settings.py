"""What a host's agent works with: its options, and over them what the collector wishes while it runs."""

from __future__ import annotations

import os
import socket

from agent.options import LONGEST, SHORTEST, SHORTEST_SUBSAMPLE, SUBSAMPLES
from linemon_sender.device import Device, State, chosen, hashed, machine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from agent.options import Options
    from agent.sampler import Sampler

PRODUCT = "host"


class HostSettings:
    """The settings in force, applied to the sampler; the loop looks at `is_new`."""

    def __init__(self, options: Options, sampler: Sampler) -> None:
        self._came: dict[str, Any] = {
            "interval": options.interval,
            "subsamples": options.subsamples,
            "groups": list(options.groups),
            "columns": ["*"],
        }
        self._sampler = sampler
        self.interval, self.subsamples = options.interval, options.subsamples
        self.columns = ["*"]
        """Patterns of the columns that are sent; of others the values are missing."""
        self.is_new = False

    def apply(self, wishes: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Work by these wishes, and by the options where there is none; what is in force, and what is refused."""
        settings = dict(self._came)
        refused: dict[str, Any] = {}
        for key, wish in wishes.items():
            if key not in settings:
                refused[key] = f"a host has {', '.join(self._came)}"
                continue
            try:
                settings[key] = CHECKS[key](wish)
            except ValueError as error:
                refused[key] = str(error)
        interval, subsamples = settings["interval"], settings["subsamples"]
        if subsamples > 1 and interval / subsamples < SHORTEST_SUBSAMPLE:
            key = "subsamples" if "subsamples" in wishes else "interval"
            refused[key] = f"readings would be less than {SHORTEST_SUBSAMPLE} s apart"
            settings[key] = self._came[key]
        if not any(chosen(settings["columns"], list(self._sampler.columns))):
            refused["columns"], settings["columns"] = "there is no such column", self._came["columns"]
        self.interval, self.subsamples = settings["interval"], settings["subsamples"]
        self.columns = settings["columns"]
        self._sampler.read(tuple(settings["groups"]), self.subsamples > 1)
        self.is_new = True
        return settings, refused

    def wanted(self, names: list[str]) -> list[bool]:
        """Which of the columns are sent."""
        return chosen(self.columns, names)


def _interval(wish: object) -> float:
    return seconds(wish, SHORTEST, LONGEST)


def _subsamples(wish: object) -> int:
    if isinstance(wish, bool) or not isinstance(wish, (int, float)) or wish != wish // 1 or not 1 <= wish <= SUBSAMPLES:
        raise ValueError(f"expected 1 to {SUBSAMPLES} readings")
    return int(wish)


def _groups(wish: object) -> list[str]:
    from agent.groups import names

    groups = texts(wish)
    if unknown := [group for group in groups if group not in names()]:
        raise ValueError(f"{unknown[0]!r} is none of {', '.join(names())}")
    return groups


def _columns(wish: object) -> list[str]:
    return texts(wish) or ["*"]


CHECKS: dict[str, Callable[[object], Any]] = {
    "interval": _interval,
    "subsamples": _subsamples,
    "groups": _groups,
    "columns": _columns,
}


def seconds(wish: object, least: float, most: float) -> float:
    """A number of seconds within these bounds. ValueError."""
    if isinstance(wish, bool) or not isinstance(wish, (int, float)) or not least <= wish <= most:
        raise ValueError(f"expected {least:g} to {most:g} seconds")
    return float(wish)


def texts(wish: object) -> list[str]:
    """A list of strings, or one string with commas between. ValueError."""
    if isinstance(wish, str):
        wish = [each for each in wish.split(",") if each]
    if not isinstance(wish, list) or not all(isinstance(each, str) and 0 < len(each) <= 255 for each in wish):
        raise ValueError("expected a list of strings")
    return list(wish)


def state_of(options: Options, what: str, log: Callable[[str], None]) -> State:
    """The folder of what an agent keeps beside its spool: one of its own for each collector and what it reads."""
    home = os.path.expanduser("~").removeprefix("~") or "/"  # a user whom a container made up has none
    folder = (
        options.spool
        or os.environ.get("STATE_DIRECTORY")
        or os.path.join(os.environ.get("XDG_STATE_HOME") or os.path.join(home, ".local/state"), "linemon-agent")
    )
    return State(os.path.join(folder, f"device-{hashed(str(options.to), what)}"), log)


def host(options: Options, settings: HostSettings, log: Callable[[str], None]) -> Device:
    """This machine as a device; two agents of one machine are two where one has another name than the host's."""
    name = "" if options.name == socket.gethostname() else options.name
    state = state_of(options, name, log)
    return Device(PRODUCT, serial(state, name), settings.apply, log, state)


def serial(state: State, *more: str) -> str:
    """A SERIAL made of what tells this machine from others; drawn once where nothing does."""
    here = machine() or state.read("serial")
    if not here:
        here = os.urandom(16).hex()
        state.write("serial", here)
    return hashed(here, *more)
