"""Specs: how the readings of a product become columns, a file `PRODUCT.toml` each. Devices are sent them."""

from __future__ import annotations

import json
import logging
import tomllib
from collections.abc import Callable
from fnmatch import fnmatchcase
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, NamedTuple

log = logging.getLogger(__name__)

MAX_BYTES: Final = 60_000  # of a spec as JSON: its line must be one that a peer takes
MAX_FILES: Final = 1000
VERSION_BYTES: Final = 64
Check = Callable[[dict[str, Any]], object]  # ValueError says what is wrong with a spec
SHIPPED: Final = Path(str(files("linemon"))) / "specs"


class Spec(NamedTuple):
    """One spec; `text` is its JSON."""

    version: str
    text: str


def no_check(spec: dict[str, Any]) -> None:
    """Every spec will do."""


class Specs:
    """The specs of a folder, read anew when a file changes. A wrong one is logged, and the one before stays."""

    def __init__(self, folder: Path | None = None, check: Check = no_check, shipped: Specs | None = None) -> None:
        """`shipped`: those of products that the folder says nothing of."""
        self._folder, self._check, self._shipped = folder, check, shipped
        self._seen: dict[str, tuple[int, int, int]] = {}  # by the file's name: what tells that it is another one
        self._specs: dict[str, Spec] = {}
        self.faults: dict[str, str] = {}  # what is wrong with a file, by its name
        self._fault = ""
        self.refresh()

    @property
    def count(self) -> int:
        return len(self._specs)

    def find(self, product: str) -> Spec | None:
        """The spec of a product: of the file that is called so, else of the longest pattern that fits."""
        name = product.replace("%", "%25").replace("/", "%2F")
        if exact := self._specs.get(name):
            return exact
        fitting = [pattern for pattern in self._specs if "*" in pattern and fnmatchcase(name, escaped(pattern))]
        if fitting:
            return self._specs[max(fitting, key=lambda pattern: (len(pattern), pattern))]
        return self._shipped.find(product) if self._shipped else None

    def refresh(self) -> bool:
        """Whether a spec is there that was not, or changed, or one is gone."""
        if not self._folder:
            return False
        found: dict[str, tuple[Path, tuple[int, int, int]]] = {}
        try:
            for path in sorted(self._folder.glob("*.toml"))[:MAX_FILES]:
                stat = path.stat()
                found[path.stem] = path, (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        except OSError as error:
            self._say(f"{self._folder}: {error.strerror}")
            return False
        if not self._folder.is_dir():
            self._say(f"{self._folder}: there is no such folder")
            return False
        self._say("")
        before = dict(self._specs)
        for name in self._seen.keys() - found.keys():
            del self._seen[name]
            self._specs.pop(name, None)
            self.faults.pop(name, None)
        for name, (path, state) in found.items():
            if self._seen.get(name) != state:
                self._seen[name] = state
                self._read(name, path)
        return self._specs != before

    def _read(self, name: str, path: Path) -> None:
        before = self._specs.get(name)
        try:
            self._specs[name] = found = read(path, self._check, before)
            self.faults.pop(name, None)
            if before and (moved := other_units(before, found)):
                log.warning("%s: version %s has another unit for %s: rings keep theirs", path, found.version, moved)
        except (OSError, ValueError, RecursionError) as error:
            self.faults[name] = str(error)
            log.error("%s: %s%s", path, error, "; the one before stays" if name in self._specs else "")

    def _say(self, fault: str) -> None:
        if fault and fault != self._fault:
            log.error("[devices] specs: %s", fault)
        self._fault = fault


def escaped(pattern: str) -> str:
    """A pattern of which only ``*`` means something, as `fnmatch` has it."""
    return pattern.replace("[", "[[]").replace("?", "[?]")


def read(path: Path, check: Check, before: Spec | None = None) -> Spec:
    """A spec's file. ValueError says what is wrong with it, also that it changed and its version did not."""
    spec = tomllib.loads(path.read_text(encoding="utf-8"))
    version = spec.get("version")
    if not isinstance(version, str) or not is_version(version):
        raise ValueError(
            f'version = {version!r}: expected a string of at most {VERSION_BYTES} bytes without blanks, such as "3"'
        )
    check(spec)
    try:
        text = json.dumps(spec, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except TypeError:
        raise ValueError("a date or a time is no setting of a spec: write it in quotes") from None
    if len(text.encode()) > MAX_BYTES:
        raise ValueError(f"it is longer than {MAX_BYTES} bytes as JSON")
    if before and before.version == version and before.text != text:
        raise ValueError(f"it changed, but its version is still {version}: rows are known by that, count it up")
    return Spec(version, text)


def other_units(before: Spec, after: Spec) -> str:
    """The columns of both that have not the same unit."""
    one, other = (
        {column.get("name"): column.get("unit", "") for column in json.loads(spec.text).get("column", [])}
        for spec in (before, after)
    )
    return ", ".join(str(name) for name in one.keys() & other.keys() if one[name] != other[name])


def is_version(text: str) -> bool:
    return 1 <= len(text.encode()) <= VERSION_BYTES and text.isprintable() and " " not in text
