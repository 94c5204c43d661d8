"""What people change on boards: they pin, order, name and remove charts; rename and delete boards. All can be undone.

A board is its file's text. A change says which text it has seen, by its version; where that is another one by now it is
refused, so that of two people, or of one with an editor, nobody's is lost. A pin is put behind whatever is there.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from linemon import boards, locks
from linemon.boards import Chart, line_of, parse, rewritten
from linemon.config import Config
from linemon.errors import LinemonError
from linemon.store.folder import replace_file

from .kept import Refused
from .panels import MAX_PANELS

log = logging.getLogger(__name__)

HEAD: Final = "# A board of linemon's page. docs/DASHBOARD.md says what may stand here.\n"
MOST_UNDO: Final = 100  # changes that can be taken back
MOST_BYTES: Final = 1 << 20  # of all of them
Texts = dict[str, str | None]  # of boards, by name; None: there is none
Change = tuple[int, Texts, Texts]  # its number, what was there before it and after it


def keep(config: Config, said: dict[str, Any]) -> dict[str, Any]:
    """Do `what` one of `WORKS` says; `change` in the answer is its number, `error` why it could not be."""
    folder = config.boards_folder
    try:
        with _alone(folder):
            now: Texts = WORKS[said["what"]](folder, said)
            was = {name: boards.read(folder, name) for name in now}
            for name, text in now.items():
                _put(folder / f"{name}.toml", text)
            return {"change": _note(folder, was, now)}
    except LinemonError as error:
        return {"error": str(error)}


def version(text: str) -> str:
    """What stands for a text."""
    return sha256(text.encode()).hexdigest()[:16]


def pin(folder: Path, said: dict[str, Any]) -> Texts:
    """`chart`: its `title`, `lines` as (source, column), `kind`, `limits`; the last one of `board` from now on."""
    name, chart = str(said["board"]), said["chart"]
    if not boards.is_name(name):
        raise Refused(f"a board's name is that of its file: no /, no dot first, at most {boards.MAX_NAME} characters")
    text = boards.read(folder, name)
    charts = parse(text or "")
    if len(charts) >= MAX_PANELS:
        raise Refused(f"a board has {MAX_PANELS} charts at most")
    lines = tuple(line_of(str(source), str(column)) for source, column in chart["lines"])
    new = Chart(str(chart["title"]), lines, str(chart["kind"]), tuple(map(float, chart["limits"])))
    return {name: rewritten(HEAD if text is None else text, [*charts, new])}


def order(folder: Path, said: dict[str, Any]) -> Texts:
    """`charts`: the numbers of those that stay, as they are to follow one another."""
    text = _seen(folder, said)
    charts, numbers = parse(text), [int(number) for number in said["charts"]]
    if len(set(numbers)) < len(numbers):
        raise Refused(f"each chart stands on a board once, not as in {numbers}")
    _check(charts, numbers)
    return {said["board"]: rewritten(text, [charts[number] for number in numbers])}


def entitle(folder: Path, said: dict[str, Any]) -> Texts:
    """`title` of a `chart`, by its number."""
    text, number = _seen(folder, said), int(said["chart"])
    charts = list(parse(text))
    _check(charts, [number])
    charts[number] = replace(charts[number], title=str(said["title"]))
    return {said["board"]: rewritten(text, charts)}


def rename(folder: Path, said: dict[str, Any]) -> Texts:
    """`to` another name."""
    text, to = _seen(folder, said), str(said["to"])
    if not boards.is_name(to) or (folder / f"{to}.toml").exists():
        raise Refused(f"there is a board {to!r}" if boards.is_name(to) else f"no board can be called {to!r}")
    return {to: text, said["board"]: None}


def delete(folder: Path, said: dict[str, Any]) -> Texts:
    _seen(folder, said)
    return {said["board"]: None}


def undo(folder: Path, said: dict[str, Any]) -> Texts:
    """Take a `change` back, by its number."""
    found = [(was, now) for number, was, now in _changes(folder) if number == int(said["change"])]
    if not found:
        raise Refused("that is too long ago to be taken back")
    [(was, now)] = found
    if any(boards.read(folder, name) != text for name, text in now.items()):
        raise Refused("it has been changed again meanwhile")
    return was


WORKS = {each.__name__: each for each in (pin, order, entitle, rename, delete, undo)}


def _seen(folder: Path, said: dict[str, Any]) -> str:
    """The text of the `board`, as it was seen: `version`."""
    if (text := boards.read(folder, str(said["board"]))) is None:
        raise Refused(f"there is no board {said['board']!r} any more")
    if version(text) != said["version"]:
        raise Refused("somebody else has changed this board meanwhile")
    return text


def _check(charts: Sequence[Chart], numbers: Sequence[int]) -> None:
    if not set(numbers) <= set(range(len(charts))):
        raise Refused(f"there are no such charts: {numbers}")


def _changes(folder: Path) -> list[Change]:
    """The last ones, the newest at the end, as a file beside the folder keeps them."""
    try:
        said = json.loads(_file(folder, "undo").read_bytes())
        return [(int(number), dict(was), dict(now)) for number, was, now in said]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError) as error:
        log.error("%s cannot be read, so nothing of before is undone: %s", _file(folder, "undo"), error)
        return []


def _note(folder: Path, was: Texts, now: Texts) -> int:
    """Keep a change, so that it can be taken back; its number."""
    changes = _changes(folder)
    number = changes[-1][0] + 1 if changes else 1
    pieces = [json.dumps(each, ensure_ascii=False) for each in [*changes, (number, was, now)][-MOST_UNDO:]]
    while sum(map(len, pieces)) > MOST_BYTES:
        del pieces[0]
    try:
        os.close(replace_file(_file(folder, "undo"), f"[{', '.join(pieces)}]\n".encode(), 0o600, is_synced=False))
    except OSError as error:
        log.error("%s cannot be written, so this is not undone: %s", _file(folder, "undo"), error.strerror)
    return number


def _file(folder: Path, what: str) -> Path:
    """A file of ours beside the folder, in which there are boards only."""
    return folder.with_name(f"{folder.name}.{what}")


def _put(path: Path, text: str | None) -> None:
    try:
        if text is None:
            path.unlink()
            return
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
        os.close(replace_file(path.resolve(), text.encode(), mode, is_synced=True))  # where a link leads
    except OSError as error:
        raise Refused(f"cannot write {path}: {error.strerror}") from error


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One at a time, whichever process: by a lock."""
    try:
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(exist_ok=True)
        lock = locks.take(_file(folder, "lock"))
    except locks.Taken:
        raise Refused("somebody else is just changing boards: try again") from None
    except OSError as error:
        raise Refused(f"cannot write beside {folder}: {error.strerror}") from error
    try:
        yield
    finally:
        with suppress(OSError):
            os.close(lock)
