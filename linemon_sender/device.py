"""A sender as a device: who it is, what it works with, what the collector asks of it (docs/DEVICES.md). No socket."""

from __future__ import annotations

import os
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    Settings = dict[str, Any]

LONGEST = 64  # bytes of a PRODUCT and of a SERIAL


class Device:
    """What is said of one device over connections, and what is answered.

    `apply` gets the wishes, all of them, works by them from then on, and gives the settings that are in force now and
    the reasons for which it refuses others. `take_spec` gets the VERSION of a spec and what JSON made of it, and gives
    the reason why it does not work by it, if so.
    """

    def __init__(
        self,
        product: str,
        serial: str,
        apply: Callable[[Settings], tuple[Settings, Settings]],
        log: Callable[[str], None],
        state: State | None = None,
        take_spec: Callable[[str, object], str] | None = None,
    ) -> None:
        """`state`: where its own token is kept; None = for as long as it runs. ValueError for what names no device."""
        self._log, self._state = log, state
        self._apply, self._take_spec = apply, take_spec
        self._version, self._refused_spec = 0, ""
        self._wishes: Settings = {}
        self._settings, self._refused = apply(self._wishes)
        self.name = ""
        """As the collector has registered it."""
        self.token = state.read("token") if state else ""
        """Its own, which the collector gave it."""
        self.identity = ""
        """PRODUCT SERIAL; empty: not yet known."""
        self.is_news = False
        """There is something to report."""
        if product:
            self.become(product, serial)

    def become(self, product: str, serial: str) -> None:
        """It is this one from now on. ValueError."""
        for what, text in (("product", product), ("serial", serial)):
            if not text.isprintable() or " " in text or not 0 < len(text.encode()) <= LONGEST:
                raise ValueError(f"{what} {text!r} is not 1 to {LONGEST} bytes without blanks")
        self.identity, self.name = f"{product} {serial}", ""

    def report(self) -> bytes:
        """The `#is` line, to be sent now."""
        self.is_news = False
        refused = dict(self._refused, **({"spec": self._refused_spec} if self._refused_spec else {}))
        said = dict(self._settings, **({"refused": refused} if refused else {}))
        return f"#is {self._version} {_json(said)}\n".encode()

    def hear(self, line: bytes) -> None:
        """A line of the collector's."""
        word, _, rest = line.partition(b" ")
        if word == b"#device":
            self.name = rest.decode("utf-8", "replace")
        elif word == b"#token" and rest.isascii():
            self.token = rest.decode().strip()
            if self._state:
                self._state.write("token", self.token)
        elif word in (b"#set", b"#spec"):
            version, _, text = rest.decode("utf-8", "replace").partition(" ")
            import json

            try:
                said = json.loads(text)
            except (ValueError, RecursionError) as error:
                self._log(f"the collector says no JSON after {word.decode()} {version}: {error}")
                return
            if word == b"#spec":
                self._specified(version, said)
            elif version.isdigit() and isinstance(said, dict):
                self._version, self._wishes = int(version), said
                self._settings, self._refused = self._apply(said)
                why = "".join([f"; refuses {key}: {reason}" for key, reason in self._refused.items()])
                self._log(f"settings {version}: {' '.join([f'{k}={v}' for k, v in self._settings.items()])}{why}")
                self.is_news = True

    def _specified(self, version: str, said: object) -> None:
        before = self._settings, self._refused, self._refused_spec
        self.recall_spec(version, said)
        if self._refused_spec or before != (self._settings, self._refused, ""):
            self.is_news = True

    def recall_spec(self, version: str, said: object) -> None:
        """Work by this spec, as it was told to before."""
        self._refused_spec = self._take_spec(version, said) if self._take_spec else "it works by no spec"
        self._settings, self._refused = self._apply(self._wishes)  # what they mean may depend on it

    def refuse_spec(self, reason: str) -> None:
        """It does not work by the spec after all."""
        self._log(f"refuses the spec: {reason}")
        self._refused_spec, self.is_news = reason, True

    def forget_token(self) -> bool:
        """The collector does not know its own token; False if it has none."""
        had, self.token = bool(self.token), ""
        return had


class State:
    """Small files that outlive the device's process, each readable by its user alone."""

    def __init__(self, folder: str, log: Callable[[str], None]) -> None:
        self._folder, self._log = folder, log

    def read(self, name: str) -> str:
        """What was written last; empty if nothing was."""
        try:
            with open(os.path.join(self._folder, name)) as file:
                return file.read()
        except (OSError, ValueError):
            return ""

    def write(self, name: str, text: str) -> None:
        """Whole or not at all; a folder that does not take it is told of."""
        path = os.path.join(self._folder, name)
        try:
            os.makedirs(self._folder, mode=0o700, exist_ok=True)
            with open(os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                file.write(text)
            os.replace(f"{path}.new", path)
        except OSError as error:
            self._log(f"cannot keep {path}: {error.strerror}")


def _json(value: object) -> str:
    """The value as JSON; control characters of strings as ?. (The module json costs a host's agent memory.)"""
    if isinstance(value, dict):
        return "{" + ", ".join([f"{_json(str(key))}: {_json(each)}" for key, each in value.items()]) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join([_json(each) for each in value]) + "]"
    if isinstance(value, str):
        chars = [f"\\{char}" if char in '"\\' else char if char.isprintable() else "?" for char in value]
        return f'"{"".join(chars)}"'
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"{value:.15g}" if isinstance(value, float) else str(value)


def hashed(*words: str) -> str:
    """16 hexadecimal digits that stand for these words and do not tell them."""
    try:
        from _blake2 import blake2b  # hashlib brings OpenSSL, which is 3 MB
    except ImportError:
        from hashlib import blake2b
    return str(blake2b("\0".join(words).encode(), key=b"linemon device", digest_size=8).hexdigest())


def machine() -> str:
    """What tells this machine from others, for as long as it is installed; empty if nothing does.

    All its users can read it: the serial number that a mainboard has for root alone would make two devices of one host.
    """
    said = []
    for path in ("/etc/machine-id", "/proc/device-tree/serial-number"):
        with suppress(OSError), open(path) as file:
            said.append(file.read().strip("\0\n "))
    return " ".join(said)


def chosen(patterns: Sequence[str], names: Sequence[str]) -> list[bool]:
    """Which of the names a pattern fits, as in a shell, and none of those that begin with `!`."""
    from fnmatch import fnmatchcase

    if patterns == ["*"]:  # as a rule; to compile a pattern takes memory
        return [True] * len(names)
    yes = [each for each in patterns if not each.startswith("!")] or ["*"]
    no = [each[1:] for each in patterns if each.startswith("!")]
    return [
        any(fnmatchcase(name, each) for each in yes) and not any(fnmatchcase(name, each) for each in no)
        for name in names
    ]
