"""What tasks keep on the disk, so that it survives a restart: how each is, what online ones have learnt, and what a run
gave and the collector has not taken yet. `tasks.json` beside the rings says how each is now, for whoever looks.

    state.json                  a `Record` of each task, and up to when it has written of each source
    out/000000000012.run        rows that wait: a line of JSON, a `#columns` line, the rows
    online/TASK/HASH.npz        state and cursor of an online task on one source
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import numpy as np

from linemon.config import Config
from linemon.errors import LinemonError
from linemon.homes import expanded
from linemon.parts.tasks.turns import Record
from linemon.patterns import OUTPUT
from linemon.store.folder import replace_file

log = logging.getLogger(__name__)

STATE: Final = "state.json"
NOW: Final = "tasks.json"
VERSION: Final = 1
OUT: Final = "out"
ONLINE: Final = "online"
MOST_STATE: Final = 1 << 20  # bytes of one source
WRITE_S: Final = 60.0  # from one write of the state to the next, where there is no news


class NotKept(LinemonError):
    """A state that cannot be kept."""


def folder(config: Config) -> Path:
    """Where all of it is."""
    return (expanded("[tasks] state", config.tasks.state) if config.tasks.state else config.state_folder) / "tasks"


class Records:
    """The file of all tasks."""

    def __init__(self, path: Path, store: Path, mode: int, names: list[str]) -> None:
        """Begins anew, loudly, where it cannot be read."""
        self._path, self._now, self._mode = path / STATE, store / NOW, mode
        self._written, self._data, self._shown = float("-inf"), b"", b""
        self.newest: dict[str, int] = {}  # of each output, up to when (ns) rows were given
        self.of: dict[str, Record] = {}
        self.has_news = True  # what must outlive a kill
        try:
            said = read(self._path)
            self.of = {name: Record.load(each) for name, each in said["tasks"].items()}
            self.newest = {name: at for name, at in said["newest"].items() if name.rpartition(OUTPUT)[2] in names}
        except FileNotFoundError:
            pass
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            aside = self._path.with_name(f"{STATE}.unreadable")
            self._path.rename(aside)
            log.error("%s cannot be read (%s); it is %s now, and tasks begin anew", self._path, error, aside.name)
        self.of = {name: self.of.get(name, Record()) for name in names}

    def write(self) -> None:
        """Show how it is, and keep it: what is news at once, counts alone now and then."""
        said = {
            "version": VERSION,
            "newest": self.newest,
            "tasks": {name: each.save() for name, each in self.of.items()},
        }
        data, now = json.dumps(said, separators=(",", ":")).encode(), time.monotonic()
        try:
            if data != self._shown:
                os.close(replace_file(self._now, data, self._mode))
                self._shown = data
            if data != self._data and (self.has_news or now - self._written >= WRITE_S):
                os.close(replace_file(self._path, data, 0o600, is_synced=True))
                self._written, self._data, self.has_news = now, data, False
        except OSError as error:
            log.error("cannot write how tasks are: %s", error)


def read(path: Path) -> dict[str, Any]:
    """What such a file says. OSError; ValueError where it is of another version."""
    said: dict[str, Any] = json.loads(path.read_bytes())
    if said["version"] != VERSION:
        raise ValueError(f"version {said['version']}")
    return said


def online_file(path: Path, task: str, source: str) -> Path:
    """Where what a task has learnt of a source is; names are longer than those of files may be."""
    return path / ONLINE / task / f"{hashlib.sha256(source.encode()).hexdigest()[:24]}.npz"


def packed(state: Mapping[str, Any], head: Mapping[str, Any]) -> bytes:
    """A state, a dict of JSON values and numpy arrays, and `head`, which says whose it is. NotKept."""
    arrays = {name: value for name, value in state.items() if isinstance(value, np.ndarray)}
    if any(each.dtype.hasobject for each in arrays.values()):
        raise NotKept("its state has an array of objects: expected numbers")
    rest = {name: value for name, value in state.items() if name not in arrays}
    if not all(isinstance(name, str) for name in state):
        raise NotKept("its state has a key that is no string")
    try:
        said = json.dumps({**head, "names": list(arrays), "state": rest}, default=plain)
    except (TypeError, ValueError) as error:
        raise NotKept(f"its state cannot be kept: {error}; expected JSON values and numpy arrays") from None
    size = len(said) + sum(each.nbytes for each in arrays.values())
    if size > MOST_STATE:
        raise NotKept(f"its state has {size} bytes; {MOST_STATE} of a source are kept")
    data = io.BytesIO()
    named: dict[str, Any] = {f"a{i}": each for i, each in enumerate(arrays.values())}
    np.savez(data, said=np.array(said), **named)
    return data.getvalue()


def plain(value: Any) -> Any:
    """A numpy number as JSON has it."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} is no JSON value")


def unpacked(data: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """The state and the head of `packed`. ValueError, KeyError or OSError where it is damaged."""
    with np.load(io.BytesIO(data), allow_pickle=False) as found:
        head = json.loads(str(found["said"]))
        arrays = {name: found[f"a{i}"] for i, name in enumerate(head.pop("names"))}
    return head.pop("state") | arrays, head


def forget(path: Path, task: str) -> int:
    """Remove what an online task has learnt; of how many sources that was."""
    files = list((path / ONLINE / task).glob("*.npz"))
    for each in files:
        with suppress(FileNotFoundError):
            each.unlink()
    return len(files)
