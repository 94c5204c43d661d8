"""How far a forward is, as a file: for far sides that keep no cursor, and for what they cannot know."""

from __future__ import annotations

import json
import logging
import os
import time
from pathlib import Path
from typing import Final

from linemon.parts.forward.flow import Flow, Saved
from linemon.store.folder import replace_file

log = logging.getLogger(__name__)

SAVE_S: Final = 1.0  # at most so often: with ten thousand sources a file has half a megabyte


class Cursors:
    """`STATE/forward.NAME.json`, of one address; replaced by rename, so that it is whole whenever we are killed."""

    def __init__(self, path: Path, address: str, since: str) -> None:
        self._path, self._address, self._since = path, address, since
        self._saved: dict[str, Saved] = {}
        self._lives: dict[tuple[int, str], Saved] = {}  # the same by `born`, and what stands behind the name,
        self._lives_of: object = None  # as it was when this was made
        self._began = time.time_ns()  # when it ran first: sources made later are sent from their first row
        self._written = float("-inf")
        self._told: object = None
        self._read()

    def _read(self) -> None:
        try:
            said = json.loads(self._path.read_bytes())
            if said["to"] == self._address:
                self._began = int(said["began"])
                self._saved = {name: Saved(*map(int, each)) for name, each in said["sources"].items()}
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            log.error("%s cannot be read, the forward begins anew: %s", self._path, error)

    def begins(self, key: str, born: int, head: int) -> Saved:
        """Where a life of a source is to be gone on with; `head`: how many rows it has had by now."""
        saved = self._saved.get(key) or self._renamed(key, born)
        if saved and saved.born == born and saved.done <= head:
            return saved
        is_old = saved is None and born < self._began and self._since == "now"
        return Saved(born, head, head) if is_old else Saved(born, 0, 0)

    def _renamed(self, key: str, born: int) -> Saved | None:
        """What is known of a source that had another name before, by its life."""
        if self._lives_of is not self._saved:
            self._lives_of = self._saved
            self._lives = {(each.born, name.partition("\0")[2]): each for name, each in self._saved.items()}
        return self._lives.get((born, key.partition("\0")[2]))

    def save(self, flows: dict[str, Flow], is_end: bool = False) -> None:
        """Replace the file where there is something new. OSError."""
        now = time.monotonic()
        if now - self._written < SAVE_S and not is_end:
            return
        said = {key: Saved(flow.born, flow.first, flow.done, flow.turn) for key, flow in flows.items()}
        if said == self._told:
            return
        text = json.dumps({"to": self._address, "began": self._began, "sources": said})
        os.close(replace_file(self._path, text.encode(), 0o600))
        self._told, self._written, self._saved = said, now, said
