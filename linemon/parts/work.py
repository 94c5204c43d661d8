"""`linemon work`: runs parts in one process, each for itself. One that fails is started again alone, ever more seldom.

A part runs in one process only: whose it is, `STATE/NAME.lock` says. How it is, is in `work/NAME.json` beside the
rings, replaced at most once a second, for `linemon status` and the page.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from linemon import locks
from linemon.config import Config, load
from linemon.errors import AskedWrongly, ConfigError, LinemonError
from linemon.logs import Seldom
from linemon.parts._marks import set_marks
from linemon.store.answering import Command, Commands
from linemon.store.folder import own_folder, replace_file
from linemon.store.marks import Mark
from linemon.store.status import WORK, WORK_SOCKET

log = logging.getLogger(__name__)

LOOK_S = 1.0  # from one look at the parts, and at linemon.toml, to the next
BACK_OFF_S = (1.0, 60.0)  # first and longest wait before a part is started again
STEADY_S = 60.0  # a part that ran so long had started well
STOP_S = 10.0  # until a part that does not end is left behind
OURS = ("part", "pid", "runs", "since", "failed", "failed_at")  # of its status: what is said of it here


class Part(Protocol):
    """One of them; linemon/parts/__init__.py has the rules."""

    name: str

    @property
    def settings(self) -> object: ...

    async def run(self) -> None: ...

    def state(self) -> dict[str, Any]: ...


def configured(config: Config) -> dict[str, Part]:
    """The parts that these settings ask for."""
    found: dict[str, Part] = {}
    for path in sorted(Path(__file__).parent.glob("[!_]*")):
        if path.stem != "work" and (path.suffix == ".py" or (path / "__init__.py").exists()):
            parts: list[Part] = import_module(f"linemon.parts.{path.stem}").parts(config)
            found |= {part.name: part for part in parts}
    return found


def chosen(config: Config, names: Iterable[str]) -> dict[str, Part]:
    """Of these the ones with these names; a name such as ``forward`` stands for all ``forward.NAME``."""
    found, names = configured(config), set(names)
    return {name: part for name, part in found.items() if not names or {name, name.partition(".")[0]} & names}


class Runner:
    """One part: its lock, its task, and what became of it."""

    def __init__(self, part: Part, config: Config) -> None:
        self.part, self._config = part, config
        self._lock_file = config.state_folder / f"{part.name}.lock"
        self._status_file = config.store.folder / WORK / f"{part.name}.json"
        self._mode = config.store.mode
        self._lock = -1
        self._task: asyncio.Task[None] | None = None
        self._marking: asyncio.Task[None] | None = None  # only so that it lives
        self._since = datetime.now(UTC)
        self._started = self._again = 0.0  # by the monotonic clock; `_again`: when to start it
        self._wait = BACK_OFF_S[0]
        self._failed: dict[str, str] = {}  # what failed last, and when
        self._failures = Seldom()
        self._told: dict[str, Any] = {}

    def take_lock(self) -> None:
        """Be the one process that runs this part; LinemonError if another does."""
        if self._lock < 0:
            own_folder(self._lock_file.parent, 0o700)
            try:
                self._lock = locks.take(self._lock_file, self._mode & 0o666)
            except locks.Taken as error:
                raise LinemonError(f"{self.part.name} is run by {error} already") from None

    def mind(self) -> None:
        """Start the part where that is due, notice its end, tell of both."""
        now = time.monotonic()
        if self._task is None and now >= self._again:
            self._since, self._started = datetime.now(UTC), now
            self._task = asyncio.create_task(self._run(), name=self.part.name)
        elif self._task is not None and self._task.done():
            if now - self._started > STEADY_S:
                self._wait = BACK_OFF_S[0]
            self._fails(self._task)
            if self._wait == BACK_OFF_S[0]:  # not of each of many failures
                self._marking = asyncio.create_task(self._mark())
            self._task, self._again = None, now + self._wait
            self._wait = min(2 * self._wait, BACK_OFF_S[1])
        self._tell()

    def commands(self) -> dict[str, Command]:
        """Those that the part takes, while it runs."""
        takes = getattr(self.part, "commands", None)
        return takes() if takes and self._task is not None else {}

    async def stop(self) -> None:
        """End the part, and let another process have it."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task], timeout=STOP_S)
            if not self._task.done():
                log.error("%s does not end", self.part.name)
            elif not self._task.cancelled() and self._task.exception():
                self._fails(self._task)
        if self._lock >= 0:
            os.close(self._lock)
        self._status_file.unlink(missing_ok=True)

    async def _run(self) -> None:
        self.take_lock()
        await self.part.run()

    def _fails(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        self._failed = {"failed": explained(error), "failed_at": datetime.now(UTC).isoformat(timespec="seconds")}
        if count := self._failures.due():
            more = f" ({count} times since the last such line)" if count > 1 else ""
            is_ours = error is None or isinstance(error, (LinemonError, OSError, ImportError))
            log.error("%s: %s%s", self.part.name, self._failed["failed"], more, exc_info=None if is_ours else error)

    async def _mark(self) -> None:
        """Have charts show that the part begins anew; why is not for everybody."""
        text = f"{self.part.name} failed and is started again: linemon status says why"
        try:
            await asyncio.to_thread(set_marks, self._config, [Mark.of(time.time_ns(), text, kind="part")])
        except LinemonError as error:
            log.debug("%s", error)

    def _tell(self) -> None:
        """Replace the status file where there is something new."""
        status: dict[str, Any] = {"part": self.part.name, "pid": os.getpid()}
        status |= {"runs": self._task is not None, "since": self._since.isoformat(timespec="seconds"), **self._failed}
        status |= {name: value for name, value in self.part.state().items() if name not in OURS}
        if status == self._told and self._status_file.exists():
            return
        folder = self._status_file.parent
        try:
            for each in (folder.parent, folder):
                own_folder(each, self._mode)
            os.close(replace_file(self._status_file, json.dumps(status).encode(), self._mode & 0o666))
            self._told = status
        except (OSError, LinemonError) as error:  # the part goes on; a full disk is told of by others, too
            log.debug("cannot write %s: %s", self._status_file, error)


def explained(error: BaseException | None) -> str:
    """What failed, for a person."""
    if isinstance(error, ImportError) and error.name and not error.name.startswith("linemon"):
        return f"it needs {error.name}: {sys.executable} -m pip install {error.name.partition('.')[0]}"
    if isinstance(error, LinemonError):
        return str(error)
    if isinstance(error, OSError):
        return str(error)
    return f"a bug: {type(error).__name__}: {error}" if error else "it ended by itself"


class Work:
    """All parts of one process."""

    def __init__(self, config: Config, names: list[str]) -> None:
        self._config, self._names = config, names
        self._file_state = self._stat()
        self._runners = {name: Runner(part, config) for name, part in chosen(config, names).items()}
        self._socket: Commands | None = None
        self._socket_fails = Seldom()

    async def run(self) -> None:
        """Run them until SIGINT or SIGTERM. LinemonError where another process runs one of them."""
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        try:
            for runner in self._runners.values():
                runner.take_lock()
            log.info("runs %s", ", ".join(self._runners))
            while not stop.is_set():
                if (state := self._stat()) != self._file_state:
                    self._file_state = state
                    await self._take_settings()
                for runner in self._runners.values():
                    runner.mind()
                self._listen()
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_S):
                        await stop.wait()
        finally:
            if self._socket:
                self._socket.close()
            await asyncio.gather(*(runner.stop() for runner in self._runners.values()))

    def _commands(self) -> dict[str, Command]:
        return {name: do for runner in self._runners.values() for name, do in runner.commands().items()}

    def _listen(self) -> None:
        """Take commands where a part takes any."""
        path = self._config.store.folder / WORK_SOCKET
        if self._socket and self._socket.is_gone():
            self._socket.close()
            self._socket = None
        if self._socket is None and self._commands() and path.parent.exists():
            try:
                self._socket = Commands(path, self._commands)
            except OSError as error:
                if self._socket_fails.due():
                    log.error("no commands are taken: %s", error)

    def _stat(self) -> object:
        """Another value once linemon.toml is another one."""
        if self._config.file is None:
            return None
        try:
            stat = self._config.file.stat()
        except OSError:
            return None
        return stat.st_ino, stat.st_size, stat.st_mtime_ns

    async def _take_settings(self) -> None:
        """Go by what linemon.toml says now: parts begin, end, or start again where they have other settings."""
        try:
            config = load(self._config.file)
            parts = chosen(config, self._names)
        except (ConfigError, LinemonError) as error:
            log.error("nothing is changed: %s", error)
            return
        self._config = config
        for name in list(self._runners):
            if name not in parts or parts[name].settings != self._runners[name].part.settings:
                await self._runners.pop(name).stop()
        for name, part in parts.items():
            if name not in self._runners:
                log.info("%s begins, as linemon.toml says", name)
                self._runners[name] = Runner(part, config)


def main(config: Config, names: list[str]) -> None:
    """Run these parts, or all, until told to stop. AskedWrongly where there are none of these names."""
    found = configured(config)
    for name in names:
        if name not in found and name not in {each.partition(".")[0] for each in found}:
            raise AskedWrongly(f"linemon.toml configures no part {name!r}; it does: {', '.join(found) or 'none'}")
    if not found:
        raise AskedWrongly("linemon.toml configures no part: history, for one, is off")

    async def start() -> None:
        await Work(config, names).run()

    asyncio.run(start())
